import CLoop
import Glibc

/// What the two reactors over a real kernel share: the queue, the timers, the slots, and the making of sockets.
///
/// A backend adds how to learn that something happened: `EpollReactor` by readiness, `RingReactor` by
/// completion. The rules of `Reactor` that do not depend on it are kept here:
/// - A queued completion whose socket was closed meanwhile, or whose timer was cancelled, is dropped in `next()`.
/// - A listener that finds no descriptors left pauses for `retryNanoseconds` instead of spinning.
/// - The file of a Unix socket goes with its listener, and a stale one is removed before binding, a live one never.
///
/// Owner: the shell, one per process (tests: one per test). Bounds: `Slots.slotsMax` sockets.
public class KernelReactor: Reactor {
    final let completions = CompletionQueue()
    final let slots = Slots()
    final var timers = TimerHeap()
    /// Listener's slot index → the file of its socket.
    private final var socketFiles: [UInt32: String] = [:]
    private final var watchedSignals: [Int32] = []
    private final let socketsBlock: Bool
    /// `wait` returned at once the last time, since completions were queued.
    final var hasSkippedWait = false

    /// How long a listener without descriptors waits before it accepts again.
    static let retryNanoseconds: UInt64 = 100_000_000
    /// Clients taken from one listener per turn, so that a storm of them does not starve the others.
    static let acceptsPerTurn = 64

    /// - Parameter socketsBlock: how sockets are made; io_uring wants them blocking, and never blocks.
    init(socketsBlock: Bool) {
        self.socketsBlock = socketsBlock
        super.init()
        nowNanoseconds = cloop_monotonic_nanoseconds()
    }

    deinit {
        for index in 0..<UInt32(slots.count) {
            guard let slot = slots.slot(at: index), slot.pointee.role != .free else { continue }
            slot.pointee.dropSlices()
            if slot.pointee.isOwned, slot.pointee.descriptor >= 0 {
                _ = cloop_close(slot.pointee.descriptor)
            }
        }
        for path in socketFiles.values { unlink(path) }
        restoreSignals()
    }

    // MARK: - The queue

    public final override func enqueue(_ completion: Completion) { completions.push(completion) }

    public final override func next() -> Completion? {
        while var completion = completions.pop() {
            guard completion.socket.index != .max else { return completion }
            switch completion.kind {
            case .received, .sent, .connected, .ready, .accepted:
                if slots.find(completion.socket) == nil { continue }
            case .timer:
                let timer = TimerID(
                    UInt64(completion.socket.generation) << 32 | UInt64(completion.socket.index))
                guard timers.deliver(timer) else { continue }
                completion.socket = .none
            case .closed, .signal, .exited: break
            }
            return completion
        }
        return nil
    }

    @inline(__always)
    final func complete(_ kind: Completion.Kind, _ socket: SocketID, _ tag: UInt64, _ result: Int) {
        completions.push(Completion(kind: kind, socket: socket, tag: tag, result: result))
    }

    // MARK: - Timers

    public final override func startTimer(nanoseconds: UInt64, tag: UInt64) -> TimerID {
        // A fresh reading: `nowNanoseconds` is as old as the turn, and the timer must not be early.
        startTimer(nanoseconds: nanoseconds, purpose: .completion(tag: tag))
    }

    private final func startTimer(nanoseconds: UInt64, purpose: TimerHeap.Purpose) -> TimerID {
        let (deadline, overflow) = cloop_monotonic_nanoseconds()
            .addingReportingOverflow(nanoseconds)
        return timers.start(deadline: overflow ? .max : deadline, purpose: purpose)
    }

    public final override func cancelTimer(_ timer: TimerID) { timers.cancel(timer) }

    /// Queues what has expired at `nowNanoseconds`.
    final func fireTimers() {
        while let (timer, purpose) = timers.expire(nowNanoseconds: nowNanoseconds) {
            switch purpose {
            case .completion(let tag):
                let place = SocketID(
                    index: UInt32(truncatingIfNeeded: timer.value),
                    generation: UInt32(timer.value >> 32))
                complete(.timer, place, tag, 0)
            case .retrying(let socket):
                _ = timers.deliver(timer)
                retry(socket)
            }
        }
    }

    /// Milliseconds until the next timer, rounded up; -1 without one.
    final func millisecondsToWait() -> Int32 {
        let nanoseconds = nanosecondsToWait()
        return nanoseconds > 0 ? Int32((nanoseconds - 1) / 1_000_000 + 1) : Int32(nanoseconds)
    }

    /// Nanoseconds until the next timer, at most an hour; -1 without one.
    final func nanosecondsToWait() -> Int64 {
        guard let deadline = timers.earliestDeadline else { return -1 }
        let now = cloop_monotonic_nanoseconds()
        guard deadline > now else { return 0 }
        return Int64(min(deadline - now, 3_600_000_000_000))
    }

    // MARK: - Making sockets

    final func take(
        _ descriptor: Int32, role: Slot.Role, tag: UInt64, call: String
    ) throws(SystemError) -> (socket: SocketID, slot: UnsafeMutablePointer<Slot>) {
        guard let taken = slots.take() else { throw SystemError(EMFILE, call) }
        taken.slot.pointee.descriptor = descriptor
        taken.slot.pointee.role = role
        taken.slot.pointee.tag = tag
        return taken
    }

    public final override func listen(
        on address: SocketAddress, backlog: Int32, tag: UInt64
    ) throws(SystemError) -> SocketID {
        var raw = try Self.raw(address, "listen on \(address)")
        if case .unix(let path) = address, cloop_probe_unix(&raw) == -ECONNREFUSED { unlink(path) }
        let descriptor = try check(cloop_socket(raw.family, socketsBlock ? 1 : 0), "socket \(address)")
        do {
            try check(cloop_bind(descriptor, &raw), "bind \(address)")
            try check(cloop_listen(descriptor, backlog), "listen \(address)")
            let (socket, slot) = try take(
                descriptor, role: .listener, tag: tag, call: "listen \(address)")
            slot.pointee.isAccepting = true
            if case .unix(let path) = address { socketFiles[socket.index] = path }
            resumeAccepting(socket, slot)
            return socket
        } catch {
            _ = cloop_close(descriptor)
            throw error
        }
    }

    /// A socket on its way to `address`; the backend starts the connection.
    final func makeSocket(
        to address: SocketAddress, tag: UInt64
    ) throws(SystemError) -> (SocketID, UnsafeMutablePointer<Slot>, cloop_address) {
        let raw = try Self.raw(address, "connect \(address)")
        let descriptor = try check(cloop_socket(raw.family, socketsBlock ? 1 : 0), "socket \(address)")
        do {
            let (socket, slot) = try take(
                descriptor, role: .connecting, tag: tag, call: "connect \(address)")
            return (socket, slot, raw)
        } catch {
            _ = cloop_close(descriptor)
            throw error
        }
    }

    public final override func adopt(
        _ descriptor: Int32, tag: UInt64
    ) throws(SystemError) -> SocketID {
        try check(cloop_descriptor_check(descriptor), "adopt \(descriptor)")
        let (socket, slot) = try take(descriptor, role: .adopted, tag: tag, call: "adopt")
        slot.pointee.isOwned = false
        return socket
    }

    public final override func takeOver(
        _ descriptor: Int32, tag: UInt64
    ) throws(SystemError) -> SocketID {
        do throws(SystemError) {
            try check(cloop_set_blocking(descriptor, socketsBlock ? 1 : 0), "take over \(descriptor)")
            return try take(descriptor, role: .stream, tag: tag, call: "take over").socket
        } catch {
            _ = cloop_close(descriptor)
            throw error
        }
    }

    public final override func setTag(_ socket: SocketID, _ tag: UInt64) {
        guard let slot = slots.find(socket) else { return }
        slot.pointee.tag = tag
    }

    public final override func shutdownSend(_ socket: SocketID) {
        guard let slot = slots.find(socket) else { return }
        _ = cloop_shutdown_send(slot.pointee.descriptor)
    }

    public final override func watchSignals(
        _ signals: [Int32], tag: UInt64
    ) throws(SystemError) {
        let descriptor = try check(
            cloop_signal_descriptor(signals, Int32(signals.count)), "signalfd")
        watchedSignals += signals
        do {
            let (socket, slot) = try take(descriptor, role: .signals, tag: tag, call: "signalfd")
            try watchInput(socket, slot)
        } catch {
            _ = cloop_close(descriptor)
            throw error
        }
    }

    public final override func watchChild(_ process: Int32, tag: UInt64) throws(SystemError) {
        let descriptor = try check(cloop_pidfd(process), "pidfd_open \(process)")
        do {
            let (socket, slot) = try take(
                descriptor, role: .child, tag: tag, call: "pidfd_open \(process)")
            slot.pointee.process = process
            try watchInput(socket, slot)
        } catch {
            _ = cloop_close(descriptor)
            throw error
        }
    }

    public final override func setAccepting(_ listener: SocketID, _ accepting: Bool) {
        guard let slot = slots.find(listener), slot.pointee.role == .listener,
            slot.pointee.isAccepting != accepting
        else { return }
        slot.pointee.isAccepting = accepting
        if slot.pointee.isStarved { return }
        if accepting { resumeAccepting(listener, slot) } else { pauseAccepting(listener, slot) }
    }

    /// No descriptors, or no memory, for another client: try again later.
    final func starve(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        slot.pointee.isStarved = true
        pauseAccepting(listener, slot)
        retryLater(listener)
    }

    final func retryLater(_ socket: SocketID) {
        _ = startTimer(nanoseconds: Self.retryNanoseconds, purpose: .retrying(socket))
    }

    private final func retry(_ socket: SocketID) {
        guard let slot = slots.find(socket) else { return }
        switch slot.pointee.role {
        case .listener:
            slot.pointee.isStarved = false
            if slot.pointee.isAccepting { resumeAccepting(socket, slot) }
        case .signals, .child: rewatchInput(socket, slot)
        case .connecting, .stream, .adopted, .free: break
        }
    }

    /// Watches a descriptor of the reactor's own again; where the kernel has no room, later.
    final func rewatchInput(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        do throws(SystemError) {
            try watchInput(socket, slot)
        } catch {
            retryLater(socket)
        }
    }

    // MARK: - For the backends

    func resumeAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        preconditionFailure("abstract")
    }
    func pauseAccepting(_ listener: SocketID, _ slot: UnsafeMutablePointer<Slot>) {
        preconditionFailure("abstract")
    }
    /// Watches a descriptor of the reactor's own (signals, a child) until it is dropped.
    func watchInput(_ socket: SocketID, _ slot: UnsafeMutablePointer<Slot>) throws(SystemError) {
        preconditionFailure("abstract")
    }

    /// Reads the signals that have come.
    final func takeSignals(_ slot: UnsafeMutablePointer<Slot>) {
        while true {
            let signal = cloop_signal_read(slot.pointee.descriptor)
            guard signal > 0 else { return }
            complete(.signal, .none, slot.pointee.tag, Int(signal))
        }
    }

    /// Reaps the child if it has ended. True when the slot is done with.
    final func takeExit(_ slot: UnsafeMutablePointer<Slot>) -> Bool {
        var status: Int32 = 0
        let reaped = cloop_reap(slot.pointee.process, &status)
        guard reaped != 0 else { return false }
        complete(.exited, .none, slot.pointee.tag, reaped > 0 ? Int(status) : Int(reaped))
        return true
    }

    /// Takes the socket's file away, if it has one.
    final func removeSocketFile(_ index: UInt32) {
        guard let path = socketFiles.removeValue(forKey: index) else { return }
        unlink(path)
    }

    private final func restoreSignals() {
        guard !watchedSignals.isEmpty else { return }
        cloop_signal_restore(watchedSignals, Int32(watchedSignals.count))
    }

    static func raw(
        _ address: SocketAddress, _ call: String
    ) throws(SystemError) -> cloop_address {
        var raw = cloop_address()
        let result =
            switch address {
            case .tcp(let host, let port): cloop_address_tcp(&raw, host, port)
            case .unix(let path): cloop_address_unix(&raw, path)
            }
        guard result == 0 else { throw SystemError(-result, call) }
        return raw
    }

    @discardableResult
    final func check(_ result: Int32, _ call: @autoclosure () -> String)
        throws(SystemError) -> Int32
    {
        guard result >= 0 else { throw SystemError(-result, call()) }
        return result
    }

    // MARK: - Questions

    /// The port that a TCP listener got when it asked for port 0; 0 for others.
    public final func boundPort(_ socket: SocketID) -> UInt16 {
        guard let slot = slots.find(socket) else { return 0 }
        return UInt16(clamping: cloop_local_port(slot.pointee.descriptor))
    }

    /// Who is at the other end; nil for a Unix socket or a connection that is gone.
    public final func peer(_ socket: SocketID) -> SocketAddress? {
        guard let slot = slots.find(socket) else { return nil }
        var port: UInt16 = 0
        var text = [CChar](repeating: 0, count: 64)
        guard cloop_peer(slot.pointee.descriptor, &text, text.count, &port) == 0, text[0] != 0
        else { return nil }
        let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return .tcp(address: String(decoding: bytes, as: UTF8.self), port: port)
    }

    /// Sizes of the kernel's buffers of one socket in bytes; 0 leaves one as it is. The kernel doubles them.
    public final func setBuffers(_ socket: SocketID, sendBytes: Int32, receiveBytes: Int32) {
        guard let slot = slots.find(socket) else { return }
        _ = cloop_set_buffers(slot.pointee.descriptor, sendBytes, receiveBytes)
    }

    /// A socket option's number, for tests; a negative errno when there is none.
    final func option(_ socket: SocketID, level: Int32, name: Int32) -> Int32 {
        guard let slot = slots.find(socket) else { return -EBADF }
        return cloop_option(slot.pointee.descriptor, level, name)
    }

    /// Sockets, listeners, adopted descriptors, watched children and signal sets that are live.
    public final var liveCount: Int { slots.live }
}
