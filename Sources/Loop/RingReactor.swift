import CLoop
import Glibc

/// The reactor over io_uring: an option, for kernels from 5.19.
///
/// Operations are queued in the ring and go to the kernel together, with the wait, in one system call per turn;
/// with DEFER_TASKRUN the kernel does its part inside that call, on our thread (6.1; older kernels run without).
/// Sockets are blocking here: the ring fails an operation on a non-blocking one with EAGAIN instead of waiting.
///
/// Invariants:
/// - `inFlight` of a slot counts the operations whose last event has not come. A closed slot keeps its
///   descriptor and its memory until that is 0: the kernel may write until then. Then `.closed` follows.
/// - An event's data names its slot, the slot's generation, the kind of operation and, for polls, which one it was:
///   whatever does not match any more only counts down.
///
/// Owner: the shell; all on the thread that made it (SINGLE_ISSUER). Bounds: the submission queue, submitted early
/// when full; the kernel keeps events that do not fit (NODROP).
public final class RingReactor: KernelReactor {
    private enum Operation: UInt64 {
        case receive = 1, send, accept, connect, poll, watch
    }

    private let ring: OpaquePointer
    private let events: UnsafeMutablePointer<cloop_ring_event>
    private static let eventsPerTake: Int32 = 256
    private static let entries: UInt32 = 1024

    /// - Throws: ENOSYS or EPERM when io_uring is missing or forbidden (sysctl kernel.io_uring_disabled, seccomp).
    public init() throws(SystemError) {
        var made: OpaquePointer?
        let result = cloop_ring_make(&made, Self.entries)
        guard result == 0, let made else { throw SystemError(-result, "io_uring_setup") }
        ring = made
        events = .allocate(capacity: Int(Self.eventsPerTake))
        super.init(socketsBlock: true)
    }

    deinit {
        cloop_ring_end(ring)
        events.deallocate()
        for index in 0..<UInt32(slots.count) {
            guard let slot = slots.slot(at: index) else { continue }
            dropBlock(slot)
        }
    }

    // MARK: - The turn

    public override func wait() throws(SystemError) {
        if !completions.isEmpty, !hasSkippedWait {
            hasSkippedWait = true
            try check(cloop_ring_submit(ring), "io_uring_enter")
            nowNanoseconds = cloop_monotonic_nanoseconds()
            fireTimers()
            return
        }
        hasSkippedWait = false
        repeat {
            let limit = completions.isEmpty ? nanosecondsToWait() : 0
            try check(cloop_ring_wait(ring, limit), "io_uring_enter")
            nowNanoseconds = cloop_monotonic_nanoseconds()
            takeEvents()
            fireTimers()
        } while completions.isEmpty
    }

    private func takeEvents() {
        while true {
            let count = cloop_ring_take(ring, events, Self.eventsPerTake)
            for index in 0..<Int(count) { dispatch(events[index]) }
            guard count == Self.eventsPerTake else { return }
        }
    }

    private func dispatch(_ event: cloop_ring_event) {
        guard let operation = Operation(rawValue: event.data >> 20 & 0xf) else { return }
        let socket = SocketID(
            index: UInt32(event.data & 0xf_ffff), generation: UInt32(event.data >> 32))
        guard let slot = slots.slot(at: socket.index) else { return }
        if event.hasMore == 0 { slot.pointee.inFlight -= 1 }
        let result = Int(event.result)
        guard slot.pointee.generation == socket.generation else {
            // A client that was accepted while its listener closed.
            if operation == .accept, result >= 0 { _ = cloop_close(event.result) }
            endClosing(socket.index, slot)
            return
        }
        switch operation {
        case .receive:
            slot.pointee.isReceiving = false
            complete(.received, socket, slot.pointee.tag, result)
        case .send: sendEnded(socket, slot, result)
        case .accept: accepted(socket, slot, event)
        case .connect:
            slot.pointee.role = .stream
            complete(.connected, socket, slot.pointee.tag, result)
        case .poll:
            guard UInt8(event.data >> 24 & 0xff) == slot.pointee.pollSequence else { return }
            pollEnded(socket, slot, result)
        case .watch: watchEnded(socket, slot)
        }
    }

    /// slot 20 bits · operation 4 · poll's number 8 · generation 32
    @inline(__always)
    private func data(
        _ operation: Operation, _ socket: SocketID, _ sequence: UInt8 = 0
    ) -> UInt64 {
        UInt64(socket.index) | operation.rawValue << 20 | UInt64(sequence) << 24
            | UInt64(socket.generation) << 32
    }

    /// Counts an operation that was queued; a failure to queue is handed back.
    @inline(__always)
    private func queued(_ slot: UnsafeMutablePointer<Slot>, _ result: Int32) -> Bool {
        guard result == 0 else { return false }
        slot.pointee.inFlight += 1
        return true
    }

    // MARK: - Bytes

    public override func receive(
        _ socket: SocketID, into memory: UnsafeMutableRawPointer, capacity: Int
    ) {
        guard let slot = slots.find(socket) else { return }
        precondition(!slot.pointee.isReceiving, "one receive at a time")
        precondition(capacity > 0, "a receive needs room")
        let result = cloop_ring_receive(
            ring, slot.pointee.descriptor, memory, capacity, data(.receive, socket))
        slot.pointee.isReceiving = queued(slot, result)
        if !slot.pointee.isReceiving {
            complete(.received, socket, slot.pointee.tag, Int(result))
        }
    }

    public override func send(_ socket: SocketID, _ slices: UnsafeBufferPointer<Slice>) {
        guard let slot = slots.find(socket) else { return }
        precondition(!slot.pointee.isSending, "one send at a time")
        precondition(slices.count <= Reactor.slicesMax, "too many slices")
        var total = 0
        for slice in slices { total += slice.count }
        guard total > 0, let source = slices.baseAddress else {
            complete(.sent, socket, slot.pointee.tag, 0)
            return
        }
        let copy = (block(of: slot) + Int(CLOOP_RING_SLICES)).assumingMemoryBound(to: Slice.self)
        copy.update(from: source, count: slices.count)
        slot.pointee.slices = copy
        slot.pointee.sliceFirst = 0
        slot.pointee.sliceCount = Int32(slices.count)
        slot.pointee.sent = 0
        slot.pointee.isSending = true
        submitSend(socket, slot)
    }

    private func submitSend(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        let first = slot.pointee.sliceFirst
        let result = cloop_ring_send(
            ring, slot.pointee.descriptor, block(of: slot), first,
            slot.pointee.sliceCount - first, data(.send, socket))
        guard !queued(slot, result) else { return }
        slot.pointee.isSending = false
        complete(.sent, socket, slot.pointee.tag, Int(result))
    }

    private func sendEnded(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ result: Int) {
        if result >= 0, !slot.pointee.advance(by: result) {
            submitSend(socket, slot)
        } else {
            slot.pointee.isSending = false
            complete(
                .sent, socket, slot.pointee.tag, result < 0 ? result : slot.pointee.sent)
        }
    }

    private func block(of slot: UnsafeMutablePointer<Slot>) -> UnsafeMutableRawPointer {
        if let block = slot.pointee.block { return block }
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: Int(CLOOP_RING_BLOCK), alignment: 16)
        slot.pointee.block = block
        return block
    }

    private func dropBlock(_ slot: UnsafeMutablePointer<Slot>) {
        slot.pointee.block?.deallocate()
        slot.pointee.block = nil
        slot.pointee.slices = nil
    }

    // MARK: - Clients

    override func resumeAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        // Still there, or its cancellation is under way: its last event starts it again.
        guard !slot.pointee.isReceiving else { return }
        let result = cloop_ring_accept(ring, slot.pointee.descriptor, data(.accept, listener))
        slot.pointee.isReceiving = queued(slot, result)
        if !slot.pointee.isReceiving { starve(listener, slot) }
    }

    override func pauseAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        guard slot.pointee.isReceiving else { return }
        _ = cloop_ring_cancel(ring, data(.accept, listener))
    }

    private func accepted(
        _ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ event: cloop_ring_event
    ) {
        if event.hasMore == 0 { slot.pointee.isReceiving = false }
        if event.result >= 0 {
            if let (socket, client) = slots.take() {
                client.pointee.descriptor = event.result
                client.pointee.role = .stream
                client.pointee.tag = slot.pointee.tag
                complete(.accepted, socket, slot.pointee.tag, 0)
            } else {
                _ = cloop_close(event.result)
                if !slot.pointee.isStarved { starve(listener, slot) }
            }
        } else if [EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL].contains(-event.result) {
            if !slot.pointee.isStarved { starve(listener, slot) }
        }
        if event.hasMore == 0, slot.pointee.isAccepting, !slot.pointee.isStarved {
            resumeAccepting(listener, slot)
        }
    }

    // MARK: - Connecting

    public override func connect(
        to address: SocketAddress, tag: UInt64
    ) throws(SystemError) -> SocketID {
        let (socket, slot, raw) = try makeSocket(to: address, tag: tag)
        let place = block(of: slot).assumingMemoryBound(to: cloop_address.self)
        place.initialize(to: raw)
        let result = cloop_ring_connect(
            ring, slot.pointee.descriptor, place, data(.connect, socket))
        if !queued(slot, result) { complete(.connected, socket, tag, Int(result)) }
        return socket
    }

    // MARK: - Descriptors of libraries and of the reactor's own

    public override func poll(_ socket: SocketID, _ interest: Readiness) {
        guard let slot = slots.find(socket), slot.pointee.role == .adopted else { return }
        var mask: UInt32 = 0
        if interest.contains(.readable) { mask |= UInt32(CLOOP_IN) }
        if interest.contains(.writable) { mask |= UInt32(CLOOP_OUT) }
        guard mask != slot.pointee.polled else { return }
        endPoll(socket, slot)
        guard mask != 0 else { return }
        let result = cloop_ring_poll(
            ring, slot.pointee.descriptor, mask, data(.poll, socket, slot.pointee.pollSequence))
        if queued(slot, result) {
            slot.pointee.polled = mask
        } else {
            complete(.ready, socket, slot.pointee.tag, interest.union(.failed).rawValue)
        }
    }

    /// Cancels the poll in flight; whatever still comes of it has an old number.
    private func endPoll(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        guard slot.pointee.polled != 0 else { return }
        _ = cloop_ring_cancel(ring, data(.poll, socket, slot.pointee.pollSequence))
        slot.pointee.polled = 0
        slot.pointee.pollSequence &+= 1
    }

    private func pollEnded(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ result: Int) {
        let wanted = slot.pointee.polled
        slot.pointee.polled = 0
        slot.pointee.pollSequence &+= 1
        let mask = result < 0 ? wanted | UInt32(CLOOP_ERR) : UInt32(truncatingIfNeeded: result)
        complete(.ready, socket, slot.pointee.tag, EpollReactor.readiness(mask).rawValue)
    }

    override func watchInput(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>
    ) throws(SystemError) {
        let result = cloop_ring_poll(
            ring, slot.pointee.descriptor, UInt32(CLOOP_IN), data(.watch, socket))
        guard queued(slot, result) else { throw SystemError(-result, "io_uring_enter") }
    }

    private func watchEnded(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        if slot.pointee.role == .child {
            if takeExit(slot) {
                slots.retire(socket.index)
                endClosing(socket.index, slot)
                return
            }
        } else {
            takeSignals(slot)
        }
        rewatchInput(socket, slot)
    }

    // MARK: - Ends

    public override func close(_ socket: SocketID) {
        guard let slot = slots.find(socket) else { return }
        removeSocketFile(socket.index)
        if slot.pointee.inFlight > 0 { cancelAll(socket, slot) }
        slot.pointee.isClosing = true
        slots.retire(socket.index)
        endClosing(socket.index, slot)
    }

    public override func release(_ socket: SocketID) {
        guard let slot = slots.find(socket), slot.pointee.role == .adopted else { return }
        endPoll(socket, slot)
        slots.retire(socket.index)
        endClosing(socket.index, slot)
    }

    private func cancelAll(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        switch slot.pointee.role {
        case .listener: if slot.pointee.isReceiving { pauseAccepting(socket, slot) }
        case .connecting: _ = cloop_ring_cancel(ring, data(.connect, socket))
        case .adopted: endPoll(socket, slot)
        case .stream:
            if slot.pointee.isReceiving { _ = cloop_ring_cancel(ring, data(.receive, socket)) }
            if slot.pointee.isSending { _ = cloop_ring_cancel(ring, data(.send, socket)) }
        case .signals, .child, .free: break
        }
    }

    /// Frees a retired slot once the kernel owes nothing for it any more.
    private func endClosing(_ index: UInt32, _ slot: UnsafeMutablePointer<Slot>) {
        guard slot.pointee.inFlight == 0 else { return }
        dropBlock(slot)
        if slot.pointee.isOwned { _ = cloop_close(slot.pointee.descriptor) }
        if slot.pointee.isClosing {
            let socket = SocketID(index: index, generation: slot.pointee.generation &- 1)
            complete(.closed, socket, slot.pointee.tag, 0)
        }
        slots.free(index)
    }
}

/// Which reactor to run on.
public enum ReactorBackend: String, CaseIterable, Sendable {
    case epoll
    case ring = "io_uring"

    /// - Throws: when the kernel refuses it.
    public func makeReactor() throws(SystemError) -> KernelReactor {
        switch self {
        case .epoll: try EpollReactor()
        case .ring: try RingReactor()
        }
    }
}
