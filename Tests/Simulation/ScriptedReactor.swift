import Loop

/// The loop of a simulated world: sockets, timers and signals are models, time is the scheduler's.
///
/// `wait` lets scheduled events happen until there is a completion for the proxy, and sometimes goes on for a few
/// microseconds, so that a turn sees several. Nothing else happens while the proxy runs: what it submits is done by
/// later events, or where the outcome is clear at once, is queued behind what is queued already.
///
/// Invariants:
/// - A number is stale from `close` on, and given to nobody else before `.closed` has been handed out.
/// - After `close` exactly one `.closed` comes, and nothing else for that socket.
/// - Two runs of one seed see the same completions in the same order.
/// - It lives as long as the scheduler goes on.
final class ScriptedReactor: Reactor {
    weak var host: (any OriginHost)?
    weak var observer: (any TurnObserver)?

    private let surroundings: Surroundings
    let scheduler: Scheduler
    private var random: Random
    private var sockets = SocketTable()

    /// Completions, and how many of them have been handed out.
    private var queue: [Completion] = []
    private var handedOut = 0
    /// Whose completion the proxy is working on.
    private var current: SocketID?

    private var lastTimer: UInt64 = 0
    private var timers: Set<UInt64> = []
    private var signals: (numbers: [Int32], tag: UInt64) = ([], 0)
    /// Connections so far by name: each draws for itself.
    private var connections: [String: Int] = [:]

    init(_ surroundings: Surroundings) {
        self.surroundings = surroundings
        scheduler = surroundings.scheduler
        random = surroundings.random("reactor")
        super.init()
        setClock(nanoseconds: scheduler.now)
    }

    deinit { sockets.dissolve() }

    // MARK: - For the models

    /// A client connects; nil when the proxy does not listen. The accepted socket's number is `proxySocket`.
    func connect(client name: String, owner: any SocketOwner) -> Socket? {
        guard let listener = sockets.firstListener else { return nil }
        let (end, delay) = makeSocket(name, isFromProxy: false, tag: listener.tag)
        end.socket.owner = owner
        surroundings.trace.note(name, "connects")
        scheduler.after(delay) { [unowned self] in arrived(end, at: listener) }
        return end.socket
    }

    /// A signal for the process.
    func raise(signal: Int32) {
        surroundings.trace.note("signal", "\(signal)")
        guard signals.numbers.contains(signal) else { return }
        enqueue(Completion(kind: .signal, socket: .none, tag: signals.tag, result: Int(signal)))
    }

    /// What the proxy has begun and not been told the end of.
    struct InFlight: Equatable {
        var receives = 0
        var sends = 0
        /// From both sides; not those that it has not been offered yet, nor listeners.
        var sockets = 0
        var timers = 0
    }
    var inFlight: InFlight {
        var inFlight = InFlight(timers: timers.count)
        sockets.forEach { end in
            if end.state == .offered { return }
            inFlight.sockets += 1
            if end.state == .closing { return }
            if end.isReceiving { inFlight.receives += 1 }
            if end.isSending { inFlight.sends += 1 }
        }
        return inFlight
    }

    /// The models' end of a socket of the proxy's.
    func socket(_ id: SocketID) -> Socket? { sockets.end(id)?.socket }

    /// Bytes of the proxy's sends on this socket of whose end it has been told; 0 once it was told `.closed`.
    func bytesSent(by id: SocketID) -> Int { sockets.end(id)?.bytesSent ?? 0 }

    /// The connections that the proxy has not closed, clients' and origin's, in the order of their slots: a fault
    /// picks from these.
    var openSockets: [Socket] {
        var open: [Socket] = []
        sockets.forEach { if $0.state != .closing { open.append($0.socket) } }
        return open
    }
    func forEachSocket(_ body: (Socket) -> Void) { openSockets.forEach(body) }

    // MARK: - Turns

    override func wait() {
        finishStep()
        observer?.proxyWaits()
        while handedOut == queue.count {
            let hasHappened = scheduler.step()
            precondition(hasHappened, "the proxy waits, and nothing is left to happen")
        }
        if random.chance(500) {
            let end = scheduler.now + UInt64(random.within(1...8)) * microsecond
            while let time = scheduler.nextTime, time <= end, scheduler.step() {}
        }
        setClock(nanoseconds: scheduler.now)
    }

    override func next() -> Completion? {
        finishStep()
        while handedOut < queue.count {
            var completion = queue[handedOut]
            handedOut += 1
            guard isStillWanted(&completion) else { continue }
            current = completion.socket
            return completion
        }
        queue.removeAll(keepingCapacity: true)
        handedOut = 0
        return nil
    }

    override func enqueue(_ completion: Completion) { queue.append(completion) }

    private func finishStep() {
        guard let socket = current else { return }
        current = nil
        observer?.proxyStepped(after: socket)
    }

    /// Whether the proxy is to hear of this now; its part in `inFlight` ends with that.
    private func isStillWanted(_ completion: inout Completion) -> Bool {
        let place = completion.socket
        guard place.index != .max else { return true }
        switch completion.kind {
        case .accepted, .connected, .received, .sent:
            return sockets.end(place)?.handsOut(completion) ?? false
        case .closed:
            sockets.free(place)
            return true
        case .timer:
            completion.socket = .none
            return timers.remove(UInt64(place.generation) << 32 | UInt64(place.index)) != nil
        case .ready, .signal, .exited:
            return true
        }
    }

    // MARK: - Making sockets

    private func makeSocket(
        _ name: String, isFromProxy: Bool, tag: UInt64
    ) -> (end: ProxySocket, delay: UInt64) {
        let number = connections[name, default: 0]
        connections[name] = number + 1
        var random = surroundings.random("network of \(name)", number)
        let parameters = surroundings.parameters
        let delay = Delay(
            typicalMicroseconds: isFromProxy ? parameters.originMicroseconds : parameters.clientMicroseconds
        ).draw(&random)
        let socket = Socket(
            name: name, isFromProxy: isFromProxy, proxySocket: sockets.take(),
            random: Random(seed: random.next()), surroundings)
        let end = ProxySocket(
            id: socket.proxySocket, socket: socket, tag: tag, state: isFromProxy ? .connecting : .offered,
            random: random, self)
        sockets.set(end)
        return (end, delay)
    }

    /// A client has reached the listener.
    private func arrived(_ end: ProxySocket, at listener: Listener) {
        if listener.isClosed || end.socket.isVanished { return turnAway(end) }
        listener.offer(end, self)
    }

    private func turnAway(_ end: ProxySocket) {
        sockets.free(end.id)
        if !end.socket.isVanished { end.socket.refuse() }
    }

    override func listen(on address: SocketAddress, backlog: Int32, tag: UInt64) throws(SystemError) -> SocketID {
        let id = sockets.take()
        sockets.set(Listener(id, tag: tag))
        return id
    }

    override func setAccepting(_ listener: SocketID, _ accepting: Bool) {
        sockets.listener(listener)?.setAccepting(accepting, self)
    }

    override func connect(to address: SocketAddress, tag: UInt64) throws(SystemError) -> SocketID {
        let (end, delay) = makeSocket(nameOfOrigin(for: tag), isFromProxy: true, tag: tag)
        surroundings.trace.note(end.socket.name, "connects")
        scheduler.after(delay) { [unowned self] in
            guard end.state == .connecting else { return }
            // The answer sets out before whatever the host sends.
            var isAccepted = false
            end.socket.tellProxy { _ in
                end.connected(isAccepted ? 0 : -ProxySocket.connectionRefused)
            }
            isAccepted = host?.accepts(end.socket) ?? false
            if !isAccepted { end.socket.refuse() }
        }
        return end.id
    }

    /// `origin for client 3`: the client's own socket has the same tag but for the role, its highest byte.
    private func nameOfOrigin(for tag: UInt64) -> String {
        var name = "origin"
        sockets.forEach { end in
            if !end.socket.isFromProxy, end.state == .open, (end.tag ^ tag) << 8 == 0 {
                name = "origin for \(end.socket.name)"
            }
        }
        return name
    }

    // MARK: - Submissions

    override func setTag(_ socket: SocketID, _ tag: UInt64) { sockets.live(socket)?.tag = tag }

    override func receive(_ socket: SocketID, into memory: UnsafeMutableRawPointer, capacity: Int) {
        sockets.live(socket)?.receive(into: memory, capacity: capacity)
    }

    override func send(_ socket: SocketID, _ slices: UnsafeBufferPointer<Slice>) {
        sockets.live(socket)?.send(slices)
    }

    override func shutdownSend(_ socket: SocketID) { sockets.live(socket)?.shutdownSend() }

    override func close(_ socket: SocketID) {
        if let listener = sockets.listener(socket) {
            guard !listener.isClosed else { return }
            for end in listener.close() { turnAway(end) }
            enqueue(Completion(kind: .closed, socket: socket, tag: listener.tag, result: 0))
        } else {
            sockets.live(socket)?.close()
        }
    }

    // MARK: - Descriptors of libraries, and children: a world has none

    override func adopt(_ descriptor: Int32, tag: UInt64) throws(SystemError) -> SocketID { sockets.take() }
    override func poll(_ socket: SocketID, _ interest: Readiness) {}
    override func release(_ socket: SocketID) { sockets.free(socket) }
    override func watchChild(_ process: Int32, tag: UInt64) throws(SystemError) {}

    // MARK: - Signals and timers

    override func watchSignals(_ signals: [Int32], tag: UInt64) throws(SystemError) {
        self.signals = (signals, tag)
    }

    override func startTimer(nanoseconds: UInt64, tag: UInt64) -> TimerID {
        lastTimer += 1
        let timer = lastTimer
        timers.insert(timer)
        // Timers are late, mostly a little.
        let late = UInt64(random.chance(20) ? random.below(1000) : random.below(30)) * microsecond
        let (time, overflow) = scheduler.now.addingReportingOverflow(nanoseconds)
        scheduler.at(overflow || time > .max - late ? .max : time + late) { [unowned self] in
            guard timers.contains(timer) else { return }
            let place = SocketID(index: UInt32(truncatingIfNeeded: timer), generation: UInt32(timer >> 32))
            enqueue(Completion(kind: .timer, socket: place, tag: tag, result: 0))
        }
        return TimerID(timer)
    }

    override func cancelTimer(_ timer: TimerID) { timers.remove(timer.value) }
}

/// Where clients arrive.
final class Listener {
    let id: SocketID
    let tag: UInt64
    private(set) var isClosed = false
    private var isAccepting = true
    /// Who has arrived and was not offered to the proxy yet.
    private var backlog: [ProxySocket] = []

    init(_ id: SocketID, tag: UInt64) {
        self.id = id
        self.tag = tag
    }

    func offer(_ end: ProxySocket, _ reactor: ScriptedReactor) {
        backlog.append(end)
        if isAccepting { offerAll(reactor) }
    }

    func setAccepting(_ accepting: Bool, _ reactor: ScriptedReactor) {
        isAccepting = accepting
        if accepting { offerAll(reactor) }
    }

    private func offerAll(_ reactor: ScriptedReactor) {
        for end in backlog {
            reactor.enqueue(Completion(kind: .accepted, socket: end.id, tag: tag, result: 0))
        }
        backlog.removeAll()
    }

    /// Who waited in vain.
    func close() -> [ProxySocket] {
        isClosed = true
        defer { backlog = [] }
        return backlog
    }
}

/// The reactor's slots: what a number stands for, if it is not stale.
struct SocketTable {
    private enum Slot {
        case free
        /// Taken, by something that is no socket of the world's.
        case reserved
        case socket(ProxySocket)
        case listener(Listener)
    }
    private var slots: [Slot] = []
    private var generations: [UInt32] = []
    private var unused: [Int] = []

    mutating func take() -> SocketID {
        let index: Int
        if let last = unused.popLast() {
            index = last
        } else {
            index = slots.count
            slots.append(.free)
            generations.append(0)
        }
        generations[index] &+= 1
        slots[index] = .reserved
        return SocketID(index: UInt32(index), generation: generations[index])
    }

    mutating func set(_ end: ProxySocket) { slots[Int(end.id.index)] = .socket(end) }
    mutating func set(_ listener: Listener) { slots[Int(listener.id.index)] = .listener(listener) }

    mutating func free(_ id: SocketID) {
        guard slot(id) != nil else { return }
        end(id)?.socket.proxyEnd = nil
        slots[Int(id.index)] = .free
        unused.append(Int(id.index))
    }

    private func slot(_ id: SocketID) -> Slot? {
        let index = Int(id.index)
        guard index < slots.count, generations[index] == id.generation else { return nil }
        if case .free = slots[index] { return nil }
        return slots[index]
    }

    /// A socket whose `.closed` was not handed out yet.
    func end(_ id: SocketID) -> ProxySocket? {
        guard case .socket(let end) = slot(id) else { return nil }
        return end
    }

    /// A socket that the proxy has not closed.
    func live(_ id: SocketID) -> ProxySocket? {
        guard let end = end(id), end.state != .closing else { return nil }
        return end
    }

    func listener(_ id: SocketID) -> Listener? {
        guard case .listener(let listener) = slot(id) else { return nil }
        return listener
    }

    /// Takes the two ends of every connection apart.
    func dissolve() { forEach { $0.socket.proxyEnd = nil } }

    /// The listener that clients reach: the first that is open.
    var firstListener: Listener? {
        for case .listener(let listener) in slots where !listener.isClosed { return listener }
        return nil
    }

    /// In the order of the slots.
    func forEach(_ body: (ProxySocket) -> Void) {
        for case .socket(let end) in slots { body(end) }
    }
}
