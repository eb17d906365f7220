/// The sockets of a reactor: a table of slots in raw memory, each with a generation.
///
/// A number that outlives its socket (an event of the kernel, a queued completion, a caller's mistake) carries an old
/// generation and finds nothing. Slots lie in chunks that never move, so a pointer to one stays valid while
/// others come and go, and the kernel may keep pointers into them.
///
/// Invariants:
/// - A slot is free (on the free list), live (its generation is in its owner's `SocketID`) or retired (closed by
///   its owner, its generation gone on, but not yet free since operations are in flight).
///
/// Owner: a reactor. Bounds: `slotsMax` sockets; chunks are kept until the table ends.
struct Slots: ~Copyable {
    static let slotsMax = 1 << 20
    private static let chunkBits = 10
    private static let chunkSize = 1 << chunkBits

    private struct State {
        var count = 0
        var live = 0
        var firstFree = UInt32.max
    }
    private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Slot>?>
    private let state: UnsafeMutablePointer<State>

    init() {
        let chunksMax = Self.slotsMax / Self.chunkSize
        chunks = .allocate(capacity: chunksMax)
        chunks.initialize(repeating: nil, count: chunksMax)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    deinit {
        var index = 0
        while index < Self.slotsMax / Self.chunkSize, let chunk = chunks[index] {
            chunk.deallocate()  // slots are plain bytes
            index += 1
        }
        chunks.deallocate()
        state.deallocate()
    }

    /// Sockets that are live.
    var live: Int { state.pointee.live }
    /// Slots ever used; every index is below.
    var count: Int { state.pointee.count }

    @inline(__always) func slot(at index: UInt32) -> UnsafeMutablePointer<Slot>? {
        guard index < state.pointee.count else { return nil }
        guard let chunk = chunks[Int(index) >> Self.chunkBits] else { return nil }
        return chunk + (Int(index) & (Self.chunkSize - 1))
    }

    /// The live slot of `socket`; nil when the number is stale.
    @inline(__always) func find(_ socket: SocketID) -> UnsafeMutablePointer<Slot>? {
        guard let slot = slot(at: socket.index), slot.pointee.generation == socket.generation
        else { return nil }
        return slot
    }

    /// A fresh slot, or nil when there are `slotsMax`.
    func take() -> (socket: SocketID, slot: UnsafeMutablePointer<Slot>)? {
        let index: UInt32
        if state.pointee.firstFree != .max, let slot = slot(at: state.pointee.firstFree) {
            index = state.pointee.firstFree
            state.pointee.firstFree = slot.pointee.nextFree
            slot.initialize(to: Slot(generation: slot.pointee.generation))
        } else {
            guard state.pointee.count < Self.slotsMax else { return nil }
            index = UInt32(state.pointee.count)
            let chunk = Int(index) >> Self.chunkBits
            if chunks[chunk] == nil { chunks[chunk] = .allocate(capacity: Self.chunkSize) }
            state.pointee.count += 1
            slot(at: index)?.initialize(to: Slot(generation: 1))
        }
        guard let slot = slot(at: index) else { return nil }
        state.pointee.live += 1
        return (SocketID(index: index, generation: slot.pointee.generation), slot)
    }

    /// Makes every number of this slot stale. `free` follows once nothing refers to it any more.
    func retire(_ index: UInt32) {
        guard let slot = slot(at: index) else { return }
        slot.pointee.generation &+= 1
        state.pointee.live -= 1
    }

    /// Gives a retired slot back.
    func free(_ index: UInt32) {
        guard let slot = slot(at: index) else { return }
        slot.pointee.role = .free
        slot.pointee.nextFree = state.pointee.firstFree
        state.pointee.firstFree = index
    }
}

/// What a reactor knows of one descriptor. Plain bytes; both backends share it.
struct Slot: BitwiseCopyable {
    enum Role: UInt8, BitwiseCopyable {
        case free, listener, connecting, stream, adopted, signals, child
    }

    var generation: UInt32
    var nextFree: UInt32 = .max
    var descriptor: Int32 = -1
    var role: Role = .free
    /// A receive is in flight, into `memory`.
    var isReceiving = false
    /// A send is in flight: slices `sliceFirst..<sliceCount` of `slices` are still to go.
    var isSending = false
    /// A listener whose owner wants clients, and that is not short of descriptors.
    var isAccepting = false
    var isStarved = false
    /// The descriptor is ours to close.
    var isOwned = true
    var tag: UInt64 = 0

    var memory: UnsafeMutableRawPointer?
    var capacity = 0
    var slices: UnsafeMutablePointer<Slice>?
    var sliceFirst: Int32 = 0
    var sliceCount: Int32 = 0
    var sent = 0

    /// What a poll in flight waits for (CLOOP_IN, CLOOP_OUT); 0 without one.
    var polled: UInt32 = 0
    /// epoll: what the descriptor is registered for; 0 when it is not.
    var registered: UInt32 = 0
    /// Ring: operations whose completion the kernel still owes; the slot is not freed before.
    var inFlight: Int32 = 0
    /// Ring: numbers polls, so that the completion of one that was replaced is told apart.
    var pollSequence: UInt8 = 0
    /// Ring: `.closed` is to be reported once nothing is in flight.
    var isClosing = false
    /// Ring: struct msghdr or sockaddr of the operation in flight.
    var block: UnsafeMutableRawPointer?
    /// The child's process number.
    var process: Int32 = 0

    init(generation: UInt32) { self.generation = generation }

    /// Counts `count` bytes as sent. True when all are gone.
    mutating func advance(by count: Int) -> Bool {
        sent += count
        guard let slices else { return true }
        var left = count
        while sliceFirst < sliceCount {
            let at = slices + Int(sliceFirst)
            if left < at.pointee.count {
                at.pointee.base += left
                at.pointee.count -= left
                return false
            }
            left -= at.pointee.count
            sliceFirst += 1
        }
        return true
    }

    /// Copies what was not sent of `source`, of which `count` bytes were.
    mutating func keep(_ source: UnsafeBufferPointer<Slice>) {
        guard let from = source.baseAddress else { return }
        let copy = UnsafeMutablePointer<Slice>.allocate(capacity: source.count)
        copy.initialize(from: from, count: source.count)
        slices = copy
        sliceFirst = 0
        sliceCount = Int32(source.count)
    }

    mutating func dropSlices() {
        slices?.deallocate()
        slices = nil
    }
}
