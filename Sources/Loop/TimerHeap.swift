/// All timers of a reactor: a binary heap by deadline over a table of entries.
///
/// A heap and not a wheel: there are as many timers as sessions at most, they are started and cancelled in
/// O(log n), and their order is exact, which tests and simulations like. Equal deadlines fire in the order in which
/// they were started.
///
/// Invariants:
/// - `heap[entries[i].place] == i` for every waiting entry; parents are never later than their children.
/// - An entry that has expired stays taken until `deliver`, so that a cancellation between its expiry and its delivery
///   still counts.
/// - A `TimerID` is an entry and its generation, which changes when the entry is freed: a stale number hits nothing.
///
/// Owner: a reactor. Bounds: one entry per timer that runs or waits to be delivered.
struct TimerHeap {
    /// What happens at the deadline.
    enum Purpose: Equatable {
        /// A `.timer` completion with this tag.
        case completion(tag: UInt64)
        /// The reactor's own: tries again what this listener, signal set or child was watched for.
        case retrying(SocketID)
    }

    private enum Phase { case free, waiting, expired, cancelled }
    private struct Entry {
        var deadline: UInt64 = 0
        var sequence: UInt64 = 0
        var purpose: Purpose = .completion(tag: 0)
        var generation: UInt32 = 1
        var phase: Phase = .free
        /// Its place in the heap while it waits, the next free entry while it is free.
        var place: Int = -1
    }

    private var entries: [Entry] = []
    private var heap: [Int] = []
    private var firstFree = -1
    private var sequence: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var count: Int { heap.count }
    /// Nanoseconds of the monotonic clock; nil when no timer waits.
    var earliestDeadline: UInt64? { heap.first.map { entries[$0].deadline } }

    mutating func start(deadline: UInt64, purpose: Purpose) -> TimerID {
        let index: Int
        if firstFree >= 0 {
            index = firstFree
            firstFree = entries[index].place
        } else {
            index = entries.count
            entries.append(Entry())
        }
        sequence &+= 1
        entries[index].deadline = deadline
        entries[index].sequence = sequence
        entries[index].purpose = purpose
        entries[index].phase = .waiting
        entries[index].place = heap.count
        heap.append(index)
        rise(heap.count - 1)
        return identity(of: index)
    }

    mutating func cancel(_ timer: TimerID) {
        guard let index = current(timer) else { return }
        switch entries[index].phase {
        case .waiting:
            remove(at: entries[index].place)
            free(index)
        case .expired: entries[index].phase = .cancelled
        case .cancelled, .free: return
        }
    }

    /// Takes the earliest timer out of the heap if its deadline has come. `deliver` must follow.
    mutating func expire(nowNanoseconds: UInt64) -> (timer: TimerID, purpose: Purpose)? {
        guard let index = heap.first, entries[index].deadline <= nowNanoseconds else { return nil }
        remove(at: 0)
        entries[index].phase = .expired
        return (identity(of: index), entries[index].purpose)
    }

    /// Frees an expired timer. False when it was cancelled since it expired.
    mutating func deliver(_ timer: TimerID) -> Bool {
        guard let index = current(timer) else { return false }
        let counts = entries[index].phase == .expired
        free(index)
        return counts
    }

    private func identity(of index: Int) -> TimerID {
        TimerID(UInt64(entries[index].generation) << 32 | UInt64(index))
    }

    private func current(_ timer: TimerID) -> Int? {
        let index = Int(UInt32(truncatingIfNeeded: timer.value))
        guard index < entries.count, entries[index].phase != .free else { return nil }
        return entries[index].generation == UInt32(timer.value >> 32) ? index : nil
    }

    private mutating func free(_ index: Int) {
        entries[index].phase = .free
        entries[index].generation = max(entries[index].generation &+ 1, 1)
        entries[index].place = firstFree
        firstFree = index
    }

    private func isEarlier(_ one: Int, _ other: Int) -> Bool {
        let (a, b) = (entries[one].deadline, entries[other].deadline)
        return a != b ? a < b : entries[one].sequence < entries[other].sequence
    }

    private mutating func put(_ index: Int, at place: Int) {
        heap[place] = index
        entries[index].place = place
    }

    private mutating func rise(_ start: Int) {
        var place = start
        let index = heap[place]
        while place > 0 {
            let parent = (place - 1) / 2
            guard isEarlier(index, heap[parent]) else { break }
            put(heap[parent], at: place)
            place = parent
        }
        put(index, at: place)
    }

    private mutating func sink(_ start: Int) {
        var place = start
        let index = heap[place]
        while true {
            var child = 2 * place + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, isEarlier(heap[child + 1], heap[child]) { child += 1 }
            guard isEarlier(heap[child], index) else { break }
            put(heap[child], at: place)
            place = child
        }
        put(index, at: place)
    }

    private mutating func remove(at place: Int) {
        let last = heap.removeLast()
        guard place < heap.count else { return }
        put(last, at: place)
        sink(place)
        rise(entries[last].place)
    }
}
