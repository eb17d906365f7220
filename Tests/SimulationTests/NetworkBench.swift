import Loop

@testable import Simulation

/// A scripted reactor with a proxy that is only a list of what it was told, and peers that remember what they got.
final class NetworkBench: TurnObserver {
    let surroundings: Surroundings
    let reactor: ScriptedReactor
    let host = Host()
    /// Told to the proxy, and not asked for by a test yet.
    private(set) var told: [Completion] = []
    /// What the observer was told, in words.
    private(set) var watched: [String] = []
    /// While the proxy calls the reactor, no model may be called.
    private(set) var isProxyCalling = false

    /// Memory that the reactor was given: it may use it until the completion.
    private var given: [Memory] = []

    struct Missing: Error { var kind: Completion.Kind }

    init(seed: UInt64, _ change: (inout Parameters) -> Void = { _ in }) {
        var parameters = Parameters(seed: seed)
        change(&parameters)
        surroundings = Surroundings(parameters: parameters, isTraced: true)
        reactor = ScriptedReactor(surroundings)
        reactor.host = host
        reactor.observer = self
        host.peer.bench = self
    }

    func proxyStepped(after socket: SocketID) {
        watched.append(socket == .none ? "stepped" : "stepped \(socket.index)")
    }
    func proxyWaits() { watched.append("waits") }

    // MARK: - The proxy

    func call<Result>(_ body: (ScriptedReactor) throws -> Result) rethrows -> Result {
        isProxyCalling = true
        defer { isProxyCalling = false }
        return try body(reactor)
    }

    func turn() {
        reactor.wait()
        while let completion = call({ $0.next() }) { told.append(completion) }
    }

    /// Lets virtual time pass, whatever happens meanwhile.
    func pass(milliseconds: UInt64) {
        _ = reactor.startTimer(nanoseconds: milliseconds * millisecond, tag: .max)
        while true {
            turn()
            if let place = told.firstIndex(where: { $0.tag == .max }) {
                told.remove(at: place)
                return
            }
        }
    }

    /// The next completion of this kind, for this socket or any; a virtual minute is waited for it.
    @discardableResult
    func expect(_ kind: Completion.Kind, _ socket: SocketID? = nil) throws -> Completion {
        let deadline = surroundings.scheduler.now + 60 * second
        let timer = reactor.startTimer(nanoseconds: 61 * second, tag: .max)
        defer { reactor.cancelTimer(timer) }
        while true {
            let place = told.firstIndex { $0.kind == kind && (socket == nil || $0.socket == socket) }
            if let place { return told.remove(at: place) }
            guard surroundings.scheduler.now < deadline else { throw Missing(kind: kind) }
            turn()
        }
    }

    /// A client's connection: the peer is its model's, the number is the proxy's.
    func client(_ name: String = "client 1") throws -> (peer: Peer, socket: SocketID) {
        if !isListening { try listen() }
        let peer = Peer()
        peer.bench = self
        peer.socket = reactor.connect(client: name, owner: peer)
        return (peer, try expect(.accepted).socket)
    }

    private var isListening = false
    @discardableResult
    func listen() throws -> SocketID {
        isListening = true
        return try call { try $0.listen(on: NetworkBench.address, backlog: 16, tag: 7) }
    }
    static let address = SocketAddress.unix(path: "pgcache")

    func connect(tag: UInt64 = 8) throws -> SocketID {
        try call { try $0.connect(to: NetworkBench.address, tag: tag) }
    }

    func receive(_ socket: SocketID, _ memory: Memory) {
        given.append(memory)
        call { $0.receive(socket, into: memory.base, capacity: memory.count) }
    }

    /// What one receive gives.
    func hear(_ socket: SocketID, capacity: Int = 64 * 1024) throws -> [UInt8] {
        let memory = Memory(count: capacity)
        receive(socket, memory)
        let count = try expect(.received, socket).result
        return count > 0 ? Array(memory.bytes[..<count]) : []
    }

    /// What one receive results in, where no bytes are expected.
    func result(ofReceiveOn socket: SocketID) throws -> Int {
        let memory = Memory(count: 16)
        receive(socket, memory)
        return try expect(.received, socket).result
    }

    /// Sends memory as slices of odd sizes.
    func send(_ socket: SocketID, _ memory: Memory, slices number: Int = 1) {
        given.append(memory)
        var slices: [Slice] = []
        var begin = 0
        for index in 1...number {
            let end = memory.count * index / number
            slices.append(Slice(base: UnsafeRawPointer(memory.base + begin), count: end - begin))
            begin = end
        }
        slices.withUnsafeBufferPointer { slices in call { $0.send(socket, slices) } }
    }

    func close(_ socket: SocketID) { call { $0.close(socket) } }
    func forget() { told = [] }
}

/// A model's end that remembers.
final class Peer: SocketOwner {
    var bench: NetworkBench?
    var socket: Socket?
    private(set) var bytes: [UInt8] = []
    private(set) var pieces = 0
    /// What came after the bytes, in order.
    private(set) var ends: [String] = []
    private(set) var wasCalledByProxy = false

    func received(_ bytes: [UInt8], on socket: Socket) {
        note()
        self.bytes += bytes
        pieces += 1
    }
    func ended(_ socket: Socket) {
        note()
        ends.append("ended")
    }
    func closed(_ socket: Socket) {
        note()
        ends.append("closed")
    }
    private func note() {
        if bench?.isProxyCalling == true { wasCalledByProxy = true }
    }
}

/// The origin's address: one peer for whoever connects.
final class Host: OriginHost {
    let peer = Peer()
    var isUp = true

    func accepts(_ socket: Socket) -> Bool {
        guard isUp else { return false }
        peer.socket = socket
        socket.owner = peer
        return true
    }
}

/// Memory at one place.
final class Memory {
    let count: Int
    let base: UnsafeMutableRawPointer

    init(count: Int) {
        self.count = count
        base = .allocate(byteCount: max(count, 1), alignment: 16)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    }
    convenience init(_ bytes: [UInt8]) {
        self.init(count: bytes.count)
        self.bytes.copyBytes(from: bytes)
    }
    deinit { base.deallocate() }

    var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: count) }

    /// Bytes that repeat only after a while.
    static func pattern(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = Random(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
}
