import CLoop
import Glibc

/// The reactor over epoll, level-triggered: the default backend.
///
/// It makes completions out of readiness. A receive in flight is only a flag: the descriptor stays registered for
/// input, `wait` reads straight into the memory of whoever asked, and the hit path costs epoll_wait, recv and
/// sendmsg and nothing else. Only when input comes that nobody asked for (back-pressure) is the
/// registration taken away, and given back with the next receive. Measured, this ties with io_uring.
///
/// Invariants:
/// - An event that nobody waits for is unregistered when it shows, so level-triggering never spins: also
///   hang-ups, which epoll reports without being asked, hence a mask of 0 means not registered at all.
/// - A send tries at once; what does not fit waits for EPOLLOUT, its slices copied.
/// - Closed slots are free at once: the kernel keeps no pointer of ours.
///
/// Owner: the shell. Bounds: `eventsPerWait` events a turn.
public final class EpollReactor: KernelReactor {
    private let epoll: Int32
    private let events: UnsafeMutablePointer<cloop_event>
    private static let eventsPerWait: Int32 = 512
    private static let input = UInt32(CLOOP_IN)
    private static let output = UInt32(CLOOP_OUT)
    private static let trouble = UInt32(CLOOP_ERR | CLOOP_HUP)

    /// How long `wait` polls without sleeping after a turn that brought something, in nanoseconds. Waking a
    /// sleeping core costs more than a hit; a spin trades an idle core's time for that. 0 by default.
    public var spinNanosecondsMax: UInt64 = 0

    /// - Throws: when there is no descriptor for epoll.
    public init(spinNanosecondsMax: UInt64 = 0) throws(SystemError) {
        let descriptor = cloop_epoll_create()
        guard descriptor >= 0 else { throw SystemError(-descriptor, "epoll_create1") }
        epoll = descriptor
        events = .allocate(capacity: Int(Self.eventsPerWait))
        self.spinNanosecondsMax = spinNanosecondsMax
        super.init(socketsBlock: false)
    }

    deinit {
        events.deallocate()
        _ = cloop_close(epoll)
    }

    // MARK: - The turn

    public override func wait() throws(SystemError) {
        // What is queued needs no kernel; but not twice in a row, or a busy owner would starve the others.
        if !completions.isEmpty, !hasSkippedWait {
            hasSkippedWait = true
            nowNanoseconds = cloop_monotonic_nanoseconds()
            fireTimers()
            return
        }
        hasSkippedWait = false
        repeat {
            let count = try poll()
            nowNanoseconds = cloop_monotonic_nanoseconds()
            for index in 0..<Int(count) { dispatch(events[index].events, events[index].data) }
            fireTimers()
        } while completions.isEmpty
    }

    private func poll() throws(SystemError) -> Int32 {
        let timeout = completions.isEmpty ? millisecondsToWait() : 0
        if spinNanosecondsMax > 0, timeout != 0 {
            let begin = cloop_monotonic_nanoseconds()
            repeat {
                let count = cloop_epoll_wait(epoll, events, Self.eventsPerWait, 0)
                if count != 0 { return try check(count, "epoll_wait") }
            } while cloop_monotonic_nanoseconds() - begin < spinNanosecondsMax
            return try check(
                cloop_epoll_wait(epoll, events, Self.eventsPerWait, millisecondsToWait()),
                "epoll_wait")
        }
        return try check(
            cloop_epoll_wait(epoll, events, Self.eventsPerWait, timeout), "epoll_wait")
    }

    private func dispatch(_ ready: UInt32, _ data: UInt64) {
        let socket = Self.socket(data)
        guard let slot = slots.find(socket) else { return }
        switch slot.pointee.role {
        case .stream: streamReady(socket, slot, ready)
        case .adopted: adoptedReady(socket, slot, ready)
        case .listener: acceptClients(socket, slot)
        case .connecting: connectEnded(socket, slot)
        case .signals: takeSignals(slot)
        case .child: if takeExit(slot) { drop(socket, slot) }
        case .free: break
        }
    }

    @inline(__always)
    private func streamReady(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ ready: UInt32
    ) {
        if ready & (Self.input | Self.trouble) != 0 {
            if slot.pointee.isReceiving, let memory = slot.pointee.memory {
                let count = cloop_receive(slot.pointee.descriptor, memory, slot.pointee.capacity)
                if count != -Int64(EAGAIN) {
                    slot.pointee.isReceiving = false
                    complete(.received, socket, slot.pointee.tag, Int(count))
                }
            } else if ready & Self.input != 0 || !slot.pointee.isSending {
                register(slot, socket, slot.pointee.isSending ? Self.output : 0)
            }
        }
        if ready & (Self.output | Self.trouble) != 0, slot.pointee.isSending {
            continueSending(socket, slot)
        }
    }

    private func adoptedReady(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ ready: UInt32
    ) {
        let wanted = ready & (slot.pointee.polled | Self.trouble)
        guard slot.pointee.polled != 0, wanted != 0 else {
            register(slot, socket, slot.pointee.polled)
            return
        }
        slot.pointee.polled = 0
        complete(.ready, socket, slot.pointee.tag, Self.readiness(wanted).rawValue)
    }

    static func readiness(_ mask: UInt32) -> Readiness {
        var readiness: Readiness = []
        if mask & input != 0 { readiness.insert(.readable) }
        if mask & output != 0 { readiness.insert(.writable) }
        if mask & trouble != 0 { readiness.insert(.failed) }
        return readiness
    }

    // MARK: - Registration

    @inline(__always) private static func data(_ socket: SocketID) -> UInt64 {
        UInt64(socket.generation) << 32 | UInt64(socket.index)
    }

    @inline(__always) private static func socket(_ data: UInt64) -> SocketID {
        SocketID(index: UInt32(truncatingIfNeeded: data), generation: UInt32(data >> 32))
    }

    /// Makes `mask` what epoll reports of the descriptor; 0 takes it out, since hang-ups are always reported.
    @discardableResult
    private func register(
        _ slot: UnsafeMutablePointer<Slot>, _ socket: SocketID, _ mask: UInt32
    ) -> Int32 {
        let before = slot.pointee.registered
        guard before != mask else { return 0 }
        let descriptor = slot.pointee.descriptor
        let result =
            if mask == 0 {
                cloop_epoll_remove(epoll, descriptor)
            } else if before == 0 {
                cloop_epoll_add(epoll, descriptor, mask, Self.data(socket))
            } else {
                cloop_epoll_change(epoll, descriptor, mask, Self.data(socket))
            }
        slot.pointee.registered = result == 0 || mask == 0 ? mask : before
        return result
    }

    override func watchInput(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>
    ) throws(SystemError) {
        try check(register(slot, socket, Self.input), "epoll_ctl")
    }

    // MARK: - Clients

    override func resumeAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        if register(slot, listener, Self.input) < 0 { starve(listener, slot) }
    }

    override func pauseAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        register(slot, listener, 0)
    }

    private func acceptClients(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        for _ in 0..<Self.acceptsPerTurn {
            let descriptor = cloop_accept(slot.pointee.descriptor)
            if descriptor >= 0 {
                guard let (socket, client) = slots.take() else {
                    _ = cloop_close(descriptor)
                    starve(listener, slot)
                    return
                }
                client.pointee.descriptor = descriptor
                client.pointee.role = .stream
                client.pointee.tag = slot.pointee.tag
                complete(.accepted, socket, slot.pointee.tag, 0)
                continue
            }
            switch -descriptor {
            case EAGAIN: return
            // accept(2): errors of the client that was waiting; the next one is another's.
            case ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN, EHOSTDOWN, ENONET, EHOSTUNREACH,
                ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP:
                continue
            default:
                starve(listener, slot)
                return
            }
        }
    }

    // MARK: - Connecting

    public override func connect(
        to address: SocketAddress, tag: UInt64
    ) throws(SystemError) -> SocketID {
        var (socket, slot, raw) = try makeSocket(to: address, tag: tag)
        let result = cloop_connect(slot.pointee.descriptor, &raw)
        if result == -EINPROGRESS {
            let registered = register(slot, socket, Self.output)
            if registered < 0 { endConnecting(socket, slot, registered) }
        } else {
            endConnecting(socket, slot, result)
        }
        return socket
    }

    private func connectEnded(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        let error = cloop_socket_error(slot.pointee.descriptor)
        register(slot, socket, error == 0 ? Self.input : 0)
        endConnecting(socket, slot, error)
    }

    private func endConnecting(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ result: Int32
    ) {
        slot.pointee.role = .stream
        complete(.connected, socket, slot.pointee.tag, Int(result))
    }

    // MARK: - Bytes

    public override func receive(
        _ socket: SocketID, into memory: UnsafeMutableRawPointer, capacity: Int
    ) {
        guard let slot = slots.find(socket) else { return }
        precondition(!slot.pointee.isReceiving, "one receive at a time")
        precondition(capacity > 0, "a receive needs room")
        slot.pointee.memory = memory
        slot.pointee.capacity = capacity
        slot.pointee.isReceiving = true
        guard slot.pointee.registered & Self.input == 0 else { return }
        let result = register(slot, socket, slot.pointee.registered | Self.input)
        if result < 0 {
            slot.pointee.isReceiving = false
            complete(.received, socket, slot.pointee.tag, Int(result))
        }
    }

    public override func send(_ socket: SocketID, _ slices: UnsafeBufferPointer<Slice>) {
        guard let slot = slots.find(socket) else { return }
        precondition(!slot.pointee.isSending, "one send at a time")
        precondition(slices.count <= Reactor.slicesMax, "too many slices")
        var total = 0
        for slice in slices { total += slice.count }
        guard total > 0 else {
            complete(.sent, socket, slot.pointee.tag, 0)
            return
        }
        let sent = cloop_send(slot.pointee.descriptor, slices.baseAddress, Int32(slices.count))
        if sent == total || (sent < 0 && sent != -Int64(EAGAIN)) {
            complete(.sent, socket, slot.pointee.tag, Int(sent))
            return
        }
        slot.pointee.keep(slices)
        slot.pointee.sent = 0
        _ = slot.pointee.advance(by: max(Int(sent), 0))
        slot.pointee.isSending = true
        let result = register(slot, socket, slot.pointee.registered | Self.output)
        if result < 0 { endSending(socket, slot, Int(result)) }
    }

    private func continueSending(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        while slot.pointee.isSending, let slices = slot.pointee.slices {
            let first = Int(slot.pointee.sliceFirst)
            let sent = cloop_send(
                slot.pointee.descriptor, slices + first, slot.pointee.sliceCount - Int32(first))
            if sent == -Int64(EAGAIN) { return }
            if sent < 0 {
                endSending(socket, slot, Int(sent))
            } else if slot.pointee.advance(by: Int(sent)) {
                endSending(socket, slot, slot.pointee.sent)
            }
        }
    }

    private func endSending(
        _ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>, _ result: Int
    ) {
        slot.pointee.isSending = false
        slot.pointee.dropSlices()
        register(slot, socket, slot.pointee.registered & ~Self.output)
        complete(.sent, socket, slot.pointee.tag, result)
    }

    // MARK: - Ends

    public override func close(_ socket: SocketID) {
        guard let slot = slots.find(socket) else { return }
        removeSocketFile(socket.index)
        let tag = slot.pointee.tag
        drop(socket, slot)
        complete(.closed, socket, tag, 0)
    }

    /// Frees a slot of ours and its descriptor, which leaves epoll with it.
    private func drop(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        slot.pointee.dropSlices()
        if slot.pointee.isOwned {
            _ = cloop_close(slot.pointee.descriptor)
        } else {
            register(slot, socket, 0)
        }
        slots.retire(socket.index)
        slots.free(socket.index)
    }

    // MARK: - Descriptors of libraries

    public override func poll(_ socket: SocketID, _ interest: Readiness) {
        guard let slot = slots.find(socket), slot.pointee.role == .adopted else { return }
        var mask: UInt32 = 0
        if interest.contains(.readable) { mask |= Self.input }
        if interest.contains(.writable) { mask |= Self.output }
        slot.pointee.polled = mask
        let result = register(slot, socket, mask)
        guard result < 0 else { return }
        // A file that cannot be waited for is always ready; anything else is an error its owner will meet.
        slot.pointee.polled = 0
        let readiness = result == -EPERM ? interest : interest.union(.failed)
        complete(.ready, socket, slot.pointee.tag, readiness.rawValue)
    }

    public override func release(_ socket: SocketID) {
        guard let slot = slots.find(socket), slot.pointee.role == .adopted else { return }
        drop(socket, slot)
    }
}
