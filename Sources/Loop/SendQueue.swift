/// What is to be sent on one socket, in order: own bytes, and slices of memory that others keep.
///
/// Two batches: one is with the reactor and must not move, the other is being filled. So a turn's
/// bytes leave in one gathered send, and the next turn can add while a slow peer takes its time.
///
/// A borrowed slice carries the owner's number of what it has pinned; the number comes back in
/// `sent` or `free` when the bytes are no longer needed. Up to `copiedMax` bytes are copied instead:
/// measured on loopback with head, answer and tail, one copied slice and three gathered ones tie up to 4 KB,
/// gathering is a tenth cheaper from 8 KB on, and a copy needs no pin. So the usual batch is own bytes alone.
///
/// Bounds: the owner stops adding at its high-water mark of `count`; a batch borrows `borrowedMax`
/// slices, after which everything is copied.
public struct SendQueue {
    public static let copiedMax = 4096
    /// With own bytes before, between and behind them they fill a send.
    private static let borrowedMax = (Reactor.slicesMax - 1) / 2

    private struct Batch {
        struct Borrowed {
            var slice: Slice
            var pin: UInt64
            /// Own bytes that go before it.
            var ownBefore: Int
        }

        /// Own bytes, `[0, used)` of `memory`.
        var memory: UnsafeMutableRawPointer?
        var capacity = 0
        var used = 0
        /// In order; `ownBefore` never falls.
        var borrowed: [Borrowed] = []
        /// Bytes, own and borrowed.
        var count = 0

        @inline(__always)
        mutating func append(_ bytes: UnsafeRawPointer, _ length: Int) {
            if used + length > capacity { grow(used + length) }
            guard let memory else { return }
            (memory + used).copyMemory(from: bytes, byteCount: length)
            used += length
            count += length
        }

        private mutating func grow(_ needed: Int) {
            let larger = max(512, capacity * 2, needed)
            let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
            if let memory {
                fresh.copyMemory(from: memory, byteCount: used)
                memory.deallocate()
            }
            memory = fresh
            capacity = larger
        }

        /// Calls `body` with everything, in order, as slices.
        func withSlices(_ body: (UnsafeBufferPointer<Slice>) -> Void) {
            withUnsafeTemporaryAllocation(of: Slice.self, capacity: borrowed.count * 2 + 1) { slices in
                var count = 0
                var position = 0
                func addOwn(upTo end: Int) {
                    guard end > position, let memory else { return }
                    slices.initializeElement(
                        at: count, to: Slice(base: memory + position, count: end - position))
                    position = end
                    count += 1
                }
                for one in borrowed {
                    addOwn(upTo: one.ownBefore)
                    slices.initializeElement(at: count, to: one.slice)
                    count += 1
                }
                addOwn(upTo: used)
                body(UnsafeBufferPointer(start: slices.baseAddress, count: count))
            }
        }

        func forEachPin(_ body: (UInt64) -> Void) {
            for one in borrowed { body(one.pin) }
        }

        @inline(__always)
        mutating func clear() {
            if !borrowed.isEmpty { borrowed.removeAll(keepingCapacity: true) }
            used = 0
            count = 0
            // A burst must not stay allocated for the life of a connection.
            if capacity > 256 * 1024 {
                memory?.deallocate()
                memory = nil
                capacity = 0
            }
        }
    }

    private var filling = Batch()
    private var sending = Batch()
    public private(set) var isSending = false

    public init() {}

    /// Bytes that are not with the kernel yet.
    public var count: Int { filling.count + sending.count }
    public var isEmpty: Bool { count == 0 }
    public var hasMore: Bool { filling.count > 0 }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        filling.append(base, bytes.count)
    }

    public mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Adds bytes that somebody keeps. True if they were borrowed, and `pin` comes back later; false if
    /// they were copied.
    public mutating func append(_ bytes: UnsafeRawBufferPointer, pin: UInt64) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > SendQueue.copiedMax,
            filling.borrowed.count < SendQueue.borrowedMax
        else {
            append(bytes)
            return false
        }
        filling.borrowed.append(
            Batch.Borrowed(
                slice: Slice(base: base, count: bytes.count), pin: pin, ownBefore: filling.used))
        filling.count += bytes.count
        return true
    }

    /// Hands what has gathered to the reactor, unless a send is in flight.
    public mutating func flush(_ socket: SocketID, _ reactor: Reactor) {
        guard !isSending, filling.count > 0 else { return }
        swap(&filling, &sending)
        isSending = true
        guard sending.borrowed.isEmpty, let memory = sending.memory else {
            sending.withSlices { reactor.send(socket, $0) }
            return
        }
        var own = Slice(base: memory, count: sending.used)
        withUnsafePointer(to: &own) {
            reactor.send(socket, UnsafeBufferPointer(start: $0, count: 1))
        }
    }

    /// The send has completed: its memory is free, its pins come back.
    public mutating func sent(_ unpinned: (UInt64) -> Void) {
        if !sending.borrowed.isEmpty { sending.forEachPin(unpinned) }
        sending.clear()
        isSending = false
    }

    /// Gives everything back; no send may be in flight any more.
    public mutating func free(_ unpinned: (UInt64) -> Void) {
        filling.forEachPin(unpinned)
        sending.forEachPin(unpinned)
        filling.memory?.deallocate()
        sending.memory?.deallocate()
        self = SendQueue()
    }
}
