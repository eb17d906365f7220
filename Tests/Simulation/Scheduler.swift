/// The virtual clock of a world, and everything that is going to happen in it.
///
/// Nothing happens but what was scheduled; equal moments happen in the order in which they were scheduled. Time
/// passes only by going on to the next event.
final class Scheduler {
    /// Nanoseconds.
    private(set) var now: UInt64 = 1_000_000_000
    private var heap: [Event] = []
    private var sequence: UInt64 = 0
    /// Events that have happened.
    private(set) var count: UInt64 = 0

    /// What happens is kept apart, so that ordering moves plain numbers.
    private struct Event {
        var time: UInt64
        var sequence: UInt64
        var slot: Int

        func isEarlier(than other: Event) -> Bool {
            time != other.time ? time < other.time : sequence < other.sequence
        }
    }
    private var bodies: [(() -> Void)?] = []
    private var free: [Int] = []

    var nextTime: UInt64? { heap.first?.time }

    func after(_ nanoseconds: UInt64, _ body: @escaping () -> Void) { at(now &+ nanoseconds, body) }

    func at(_ time: UInt64, _ body: @escaping () -> Void) {
        sequence += 1
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            bodies[slot] = body
        } else {
            slot = bodies.count
            bodies.append(body)
        }
        heap.append(Event(time: max(time, now), sequence: sequence, slot: slot))
        rise()
    }

    /// Lets the next event happen; false when nothing is left.
    func step() -> Bool {
        guard let event = heap.first else { return false }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        now = event.time
        count += 1
        let body = bodies[event.slot]
        bodies[event.slot] = nil
        free.append(event.slot)
        body?()
        return true
    }

    /// Nothing happens any more; whatever waited to happen is let go of.
    func clear() {
        heap = []
        bodies = []
        free = []
    }

    private func rise() {
        heap.withUnsafeMutableBufferPointer { heap in
            var place = heap.count - 1
            let event = heap[place]
            while place > 0 {
                let parent = (place - 1) / 2
                guard event.isEarlier(than: heap[parent]) else { break }
                heap[place] = heap[parent]
                place = parent
            }
            heap[place] = event
        }
    }

    private func sink() {
        heap.withUnsafeMutableBufferPointer { heap in
            var place = 0
            let event = heap[0]
            while true {
                var child = 2 * place + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, heap[child + 1].isEarlier(than: heap[child]) { child += 1 }
                guard heap[child].isEarlier(than: event) else { break }
                heap[place] = heap[child]
                place = child
            }
            heap[place] = event
        }
    }
}

/// Nanoseconds in a microsecond, a millisecond, a second.
let microsecond: UInt64 = 1_000
let millisecond: UInt64 = 1_000_000
let second: UInt64 = 1_000_000_000
