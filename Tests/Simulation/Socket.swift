import Loop

/// The models' end of a connection whose other end is a socket of the proxy's.
///
/// What is sent arrives later, in order, in pieces cut anywhere. Owner: a client's model, or the origin's.
///
/// Both directions are kept here: `toProxy` and `toModel`. An event under way keeps its socket alive, the reactor
/// does until the proxy has closed its end; the owner is told whatever arrives until then, or nobody is.
///
/// Invariants:
/// - The owner is told from scheduled events only; behind `closed` it is told nothing more.
/// - `closed` comes exactly once for a connection that the proxy closed, that was reset (whoever asked for that), or
///   that the proxy's listener did not take. It never comes for one that vanished, unless that was reset too.
final class Socket {
    /// For the trace: `client 3`, `origin for client 3`.
    let name: String
    weak var owner: (any SocketOwner)?
    /// The proxy has made this connection, to the origin.
    let isFromProxy: Bool
    /// The number that the proxy knows this connection by; of nothing any more once the proxy was told `.closed`.
    let proxySocket: SocketID

    /// The proxy's end, while it has one: the reactor takes it away, since the two ends keep each other. (A weak
    /// reference would make every use of the other end slow.)
    var proxyEnd: ProxySocket?
    private unowned let surroundings: Surroundings?
    private var toProxy: ByteStream
    private var toModel: ByteStream
    /// What the model has sent and the window has no room for yet.
    private var unsent = ByteQueue()

    // The model's doing.
    private var hasEnded = false
    private var isEndUnderWay = false
    private(set) var isReset = false
    private(set) var isVanished = false

    // What has arrived at the proxy.
    private var hasEndArrived = false
    private(set) var hasResetArrived = false

    // What has arrived at the model, behind the bytes, and whether the owner has been told.
    private var hasProxyEnded = false
    private var hasProxyClosed = false
    private var hasToldEnd = false
    private var hasToldClose = false

    /// A socket without another end: what is sent is lost, and nothing arrives.
    convenience init(name: String) {
        self.init(
            name: name, isFromProxy: false, proxySocket: .none, delay: Delay(typicalMicroseconds: 0),
            random: Random(seed: 0), parameters: Parameters(seed: 0), surroundings: nil)
    }

    /// One end of a connection; `ScriptedReactor` adds the other.
    convenience init(
        name: String, isFromProxy: Bool, proxySocket: SocketID, random: Random, _ surroundings: Surroundings
    ) {
        let parameters = surroundings.parameters
        self.init(
            name: name, isFromProxy: isFromProxy, proxySocket: proxySocket,
            delay: Delay(
                typicalMicroseconds: isFromProxy ? parameters.originMicroseconds : parameters.clientMicroseconds),
            random: random, parameters: parameters, surroundings: surroundings)
    }

    private init(
        name: String, isFromProxy: Bool, proxySocket: SocketID, delay: Delay, random: Random,
        parameters: Parameters, surroundings: Surroundings?
    ) {
        self.name = name
        self.isFromProxy = isFromProxy
        self.proxySocket = proxySocket
        self.surroundings = surroundings
        var random = random
        toProxy = ByteStream(parameters, delay: delay, random: Random(seed: random.next()))
        toModel = ByteStream(parameters, delay: delay, random: Random(seed: random.next()))
    }

    // MARK: - For the model

    /// Bytes for the proxy. Ignored when the connection is over.
    func send(_ bytes: [UInt8]) {
        guard isOpen, !hasEnded, !isVanished else { return }
        unsent.append(bytes)
        sendMore()
    }

    /// Half-closes: the proxy will read the end of the stream behind what was sent.
    func end() {
        guard isOpen, !hasEnded else { return }
        note("ends")
        hasEnded = true
        sendMore()
    }

    /// Both directions are over at once; what was on its way is lost. The proxy sees ECONNRESET; the owner is told
    /// `closed`, by an event of this moment.
    func reset() {
        guard !isReset, !hasToldClose else { return }
        note("resets")
        tellProxy { socket in
            socket.hasResetArrived = true
            socket.proxyEnd?.wasReset()
        }
        cutOff()
    }

    /// Half-open: nothing arrives any more in either direction, and nobody is told until the kernels' keepalive
    /// finds out.
    func vanish() {
        guard !isVanished, !isReset, !hasToldClose else { return }
        note("vanishes")
        isVanished = true
        surroundings?.scheduler.after(Socket.keepaliveNanoseconds) { [self] in
            note("is found dead")
            hasResetArrived = true
            proxyEnd?.wasReset()
            if !isReset { cutOff() }
        }
    }
    private static let keepaliveNanoseconds = 25 * second

    /// While false nothing is taken: the window fills, and the proxy's sends do not complete.
    var isReading = true {
        didSet {
            guard isReading, !oldValue else { return }
            surroundings?.scheduler.after(0) { [self] in deliver() }
        }
    }

    /// Neither ended by both sides nor reset.
    var isOpen: Bool { !isReset && !hasToldClose && !(hasEnded && hasToldEnd) }

    // MARK: - To the proxy

    /// Sends on what the window has room for, and the end behind the last byte.
    private func sendMore() {
        guard let scheduler = surroundings?.scheduler else { return }
        var left = toProxy.room(for: unsent.count)
        toProxy.accept(left)
        while left > 0 {
            let piece = unsent.take(toProxy.pieceLength(of: left))
            left -= piece.count
            scheduler.at(toProxy.arrivalTime(sentAt: scheduler.now)) { [self] in
                guard !isVanished, !isReset else { return }
                toProxy.arrive(piece)
                proxyEnd?.fillReceive()
            }
        }
        guard hasEnded, unsent.isEmpty, !isEndUnderWay else { return }
        isEndUnderWay = true
        tellProxy { socket in
            guard !socket.isReset else { return }
            socket.hasEndArrived = true
            socket.proxyEnd?.fillReceive()
        }
    }

    /// Something other than bytes reaches the proxy, behind the bytes that are under way.
    func tellProxy(_ body: @escaping (Socket) -> Void) {
        guard let scheduler = surroundings?.scheduler else { return }
        scheduler.at(toProxy.arrivalTime(sentAt: scheduler.now)) { [self] in
            if !isVanished { body(self) }
        }
    }

    /// Moves what has arrived to the proxy's memory: how many bytes, 0 at the end, or a negative errno; nil while there
    /// is nothing to tell.
    func take(into memory: UnsafeMutableRawPointer, capacity: Int) -> Int? {
        if !toProxy.arrived.isEmpty {
            let count = toProxy.take(into: memory, capacity: capacity)
            sendMore()
            return count
        }
        if hasResetArrived { return -ProxySocket.connectionReset }
        return hasEndArrived ? 0 : nil
    }

    // MARK: - From the proxy

    /// How many of `count` bytes the proxy may hand over now; they are accepted with that.
    func acceptRoom(for count: Int) -> Int {
        let room = toModel.room(for: count)
        toModel.accept(room)
        return room
    }

    func pieceLength(of count: Int) -> Int { toModel.pieceLength(of: count) }

    /// A piece of the proxy's sets out, within the room that was given.
    func carry(_ piece: [UInt8]) {
        guard let scheduler = surroundings?.scheduler else { return }
        scheduler.at(toModel.arrivalTime(sentAt: scheduler.now)) { [self] in
            guard !isVanished, !isReset else { return }
            toModel.arrive(piece)
            deliver()
        }
    }

    /// The proxy has half-closed, or closed.
    func proxyEnded(isClosed: Bool) {
        guard let scheduler = surroundings?.scheduler else { return }
        scheduler.at(toModel.arrivalTime(sentAt: scheduler.now)) { [self] in
            if isClosed { hasProxyClosed = true } else { hasProxyEnded = true }
            deliver()
        }
    }

    /// Nobody at the other end takes this connection.
    func refuse() {
        note("is refused")
        cutOff()
    }

    private func cutOff() {
        isReset = true
        unsent = ByteQueue()
        surroundings?.scheduler.after(0) { [self] in tellClosed() }
    }

    /// Tells the owner what has arrived, in order.
    private func deliver() {
        while isReading, !isVanished, !isReset, let piece = toModel.takePiece() {
            proxyEnd?.takeMore()
            owner?.received(piece, on: self)
        }
        guard isReading, !isVanished, !isReset else { return }
        if hasProxyEnded, !hasToldEnd, !hasToldClose {
            hasToldEnd = true
            note("hears the end")
            owner?.ended(self)
        }
        if hasProxyClosed, !isVanished, !isReset {
            note("hears that it is closed")
            tellClosed()
        }
    }

    private func tellClosed() {
        guard !hasToldClose else { return }
        hasToldClose = true
        owner?.closed(self)
    }

    private func note(_ what: String) { surroundings?.trace.note(name, what) }
}

/// Whom a socket tells what came of the proxy. Called from the scheduler, never from inside a call of the proxy's.
protocol SocketOwner: AnyObject {
    func received(_ bytes: [UInt8], on socket: Socket)
    /// The proxy has half-closed.
    func ended(_ socket: Socket)
    /// The proxy has closed, or the connection was reset.
    func closed(_ socket: Socket)
}

/// Who listens at the origin's address.
protocol OriginHost: AnyObject {
    /// The proxy connects: false refuses it (ECONNREFUSED). The host becomes, or sets, the socket's owner.
    func accepts(_ socket: Socket) -> Bool
}

/// Who looks at the proxy between its steps. No scheduled event happens between two calls but those inside `wait`.
protocol TurnObserver: AnyObject {
    /// The proxy has taken in all that `next` gave it so far; the completion before this call was for `socket`, if
    /// for one.
    func proxyStepped(after socket: SocketID)
    /// The proxy has finished its turn: it waits.
    func proxyWaits()
}
