import Loop
import Testing

@testable import Simulation

@Suite struct ScriptedReactorTests {
    // MARK: - Bytes

    @Test(arguments: UInt64(1)...20)
    func bytesArriveInOrderInBothDirectionsAtOnce(seed: UInt64) throws {
        let bench = NetworkBench(seed: seed) {
            $0.windowBytes = 2048
            $0.cutPerMille = 500
        }
        let (peer, socket) = try bench.client()
        let outgoing = Memory(Memory.pattern(100_000, seed: seed))
        let incoming = Memory.pattern(70_000, seed: seed + 1)
        bench.send(socket, outgoing, slices: 64)
        for begin in stride(from: 0, to: incoming.count, by: 1_700) {
            peer.socket?.send(Array(incoming[begin..<min(begin + 1_700, incoming.count)]))
        }
        var heard: [UInt8] = []
        while heard.count < incoming.count {
            let piece = try bench.hear(socket, capacity: 100 + heard.count % 3_000)
            try #require(!piece.isEmpty)
            heard += piece
        }
        #expect(heard == incoming)
        #expect(try bench.expect(.sent, socket).result == outgoing.count)
        bench.pass(milliseconds: 100)
        #expect(peer.bytes.elementsEqual(outgoing.bytes))
        #expect(peer.pieces > 100, "cut")
        #expect(bench.reactor.bytesSent(by: socket) == outgoing.count)
        #expect(!peer.wasCalledByProxy)
    }

    @Test(arguments: UInt64(1)...10)
    func aSendIsOverOnlyWhenTheWindowHasTakenAllOfIt(seed: UInt64) throws {
        let bench = NetworkBench(seed: seed) { $0.windowBytes = 1000 }
        let (peer, socket) = try bench.client()
        peer.socket?.isReading = false
        let short = Memory(Memory.pattern(100, seed: seed))
        bench.send(socket, short)
        #expect(try bench.expect(.sent, socket).result == 100, "there is room, though nobody reads")
        let long = Memory(Memory.pattern(5000, seed: seed))
        bench.send(socket, long)
        bench.pass(milliseconds: 500)
        bench.forget()
        #expect(bench.reactor.inFlight.sends == 1)
        #expect(peer.bytes.isEmpty)
        peer.socket?.isReading = true
        #expect(try bench.expect(.sent, socket).result == 5000)
        #expect(peer.bytes.count >= 4100, "the rest is within the window")
        bench.pass(milliseconds: 100)
        #expect(peer.bytes == Array(short.bytes) + Array(long.bytes))
        #expect(bench.reactor.inFlight.sends == 0)
    }

    @Test func bytesAreTakenFromTheProxysMemoryWhenThereIsRoomForThem() throws {
        let bench = NetworkBench(seed: 3) { $0.windowBytes = 1000 }
        let (peer, socket) = try bench.client()
        peer.socket?.isReading = false
        let memory = Memory([UInt8](repeating: 1, count: 3000))
        bench.send(socket, memory)
        bench.pass(milliseconds: 100)
        memory.bytes[2999] = 2  // too early: the send is not over
        peer.socket?.isReading = true
        try bench.expect(.sent, socket)
        bench.pass(milliseconds: 100)
        #expect(peer.bytes.count == 3000 && peer.bytes.last == 2)
    }

    @Test func aReceiveThatWaitsGetsWhatArrivesAndOneThatComesLateFindsIt() throws {
        let bench = NetworkBench(seed: 4) { $0.cutPerMille = 0 }
        let (peer, socket) = try bench.client()
        let memory = Memory(count: 100)
        bench.receive(socket, memory)
        bench.pass(milliseconds: 10)
        #expect(bench.reactor.inFlight.receives == 1)
        peer.socket?.send(Array("hello".utf8))
        #expect(try bench.expect(.received, socket).result == 5)
        #expect(bench.reactor.inFlight.receives == 0)
        peer.socket?.send(Array("good ".utf8))
        peer.socket?.send(Array("day".utf8))
        bench.pass(milliseconds: 10)
        #expect(try bench.hear(socket) == Array("good day".utf8))
    }

    // MARK: - Ends

    @Test(arguments: UInt64(1)...20)
    func closingGivesOneClosedAndNothingElse(seed: UInt64) throws {
        let bench = NetworkBench(seed: seed) { $0.windowBytes = 1000 }
        let (peer, socket) = try bench.client()
        peer.socket?.isReading = false
        let incoming = Memory(count: 100)
        let outgoing = Memory(count: 10_000)
        bench.receive(socket, incoming)
        bench.send(socket, outgoing)
        bench.pass(milliseconds: 5)
        peer.socket?.send([1, 2, 3])
        if seed % 2 == 0 { bench.reactor.wait() }  // the receive may be done, its completion in the queue
        bench.close(socket)
        bench.close(socket)
        bench.receive(socket, incoming)
        bench.send(socket, outgoing)
        try bench.expect(.closed, socket)
        #expect(bench.reactor.socket(socket) == nil)
        bench.pass(milliseconds: 100)
        #expect(!bench.watched.isEmpty)
        #expect(try bench.client("client 2").socket != socket)
        bench.pass(milliseconds: 100)
        #expect(bench.reactor.inFlight == ScriptedReactor.InFlight(sockets: 1))
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.closed) }
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.received) }
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.sent) }
    }

    @Test func whatWasTakenBeforeTheCloseIsStillDelivered() throws {
        let bench = NetworkBench(seed: 5)
        let (peer, socket) = try bench.client()
        peer.socket?.isReading = false
        bench.send(socket, Memory(Array("last words".utf8)))
        try bench.expect(.sent, socket)
        bench.close(socket)
        bench.pass(milliseconds: 100)
        #expect(peer.ends == [] && peer.socket?.isOpen == true)
        peer.socket?.isReading = true
        bench.pass(milliseconds: 1)
        #expect(peer.bytes == Array("last words".utf8))
        #expect(peer.ends == ["closed"] && peer.socket?.isOpen == false)
    }

    @Test func theKernelMayWriteToMemoryUntilClosed() throws {
        var written = 0
        for seed in UInt64(1)...40 {
            let bench = NetworkBench(seed: seed)
            let (_, socket) = try bench.client()
            let memory = Memory(count: 100)
            bench.receive(socket, memory)
            bench.close(socket)
            try bench.expect(.closed, socket)
            if memory.bytes.contains(where: { $0 != 0 }) { written += 1 }
            memory.bytes.initializeMemory(as: UInt8.self, repeating: 7)
            bench.pass(milliseconds: 10)
            #expect(memory.bytes.allSatisfy { $0 == 7 })
        }
        #expect((5...35).contains(written))
    }

    @Test func theEndOfTheStreamComesBehindTheBytesAndAgainWhenAskedAgain() throws {
        let bench = NetworkBench(seed: 6) { $0.windowBytes = 800 }
        let (peer, socket) = try bench.client()
        let words = Memory.pattern(5000, seed: 6)
        peer.socket?.send(words)
        peer.socket?.end()
        peer.socket?.send([1])
        var heard: [UInt8] = []
        while heard.count < words.count { heard += try bench.hear(socket) }
        #expect(heard == words)
        #expect(try bench.result(ofReceiveOn: socket) == 0)
        #expect(try bench.result(ofReceiveOn: socket) == 0)
        bench.send(socket, Memory([1, 2]))
        #expect(try bench.expect(.sent, socket).result == 2, "the other direction goes on")
        bench.call { $0.shutdownSend(socket) }
        bench.pass(milliseconds: 100)
        #expect(peer.bytes == [1, 2] && peer.ends == ["ended"])
        #expect(peer.socket?.isOpen == false)
        bench.send(socket, Memory([3]))
        #expect(try bench.expect(.sent, socket).result == -32)
        bench.close(socket)
        bench.pass(milliseconds: 100)
        #expect(peer.ends == ["ended", "closed"])
    }

    @Test(arguments: UInt64(1)...10)
    func aResetEndsBothDirections(seed: UInt64) throws {
        let bench = NetworkBench(seed: seed) { $0.windowBytes = 1000 }
        let (peer, socket) = try bench.client()
        let incoming = Memory(count: 100)
        let outgoing = Memory(count: 10_000)
        peer.socket?.isReading = false
        bench.receive(socket, incoming)
        bench.send(socket, outgoing)
        bench.pass(milliseconds: 5)
        peer.socket?.send([1, 2, 3])
        peer.socket?.reset()
        peer.socket?.reset()
        #expect(peer.ends == [], "told by an event")
        #expect(peer.socket?.isOpen == false)
        #expect(try bench.expect(.received, socket).result == -104, "what was under way is lost")
        #expect([-104, -32].contains(try bench.expect(.sent, socket).result))
        #expect(try bench.result(ofReceiveOn: socket) == -104)
        bench.send(socket, outgoing)
        #expect([-104, -32].contains(try bench.expect(.sent, socket).result))
        bench.close(socket)
        try bench.expect(.closed, socket)
        bench.pass(milliseconds: 100)
        #expect(peer.ends == ["closed"] && peer.bytes.isEmpty)
    }

    @Test func whoVanishesTellsNobody() throws {
        let bench = NetworkBench(seed: 8) { $0.windowBytes = 8000 }
        let (peer, socket) = try bench.client()
        let incoming = Memory(count: 100)
        bench.receive(socket, incoming)
        peer.socket?.vanish()
        peer.socket?.send([1, 2, 3])
        peer.socket?.end()
        bench.send(socket, Memory(count: 500))
        #expect(try bench.expect(.sent, socket).result == 500, "the window has room")
        let outgoing = Memory(count: 10_000)
        bench.send(socket, outgoing)
        bench.pass(milliseconds: 1000)
        #expect(bench.reactor.inFlight == ScriptedReactor.InFlight(receives: 1, sends: 1, sockets: 1))
        bench.close(socket)
        try bench.expect(.closed, socket)
        bench.pass(milliseconds: 1000)
        #expect(peer.bytes.isEmpty && peer.ends.isEmpty)
        #expect(bench.reactor.inFlight == ScriptedReactor.InFlight())
    }

    // MARK: - Connecting

    @Test func theOriginTakesAConnection() throws {
        let bench = NetworkBench(seed: 9)
        let (_, client) = try bench.client("client 3")
        bench.call { $0.setTag(client, 1 << 56 | 5) }
        let socket = try bench.connect(tag: 2 << 56 | 5)
        let connected = try bench.expect(.connected, socket)
        #expect(connected.result == 0 && connected.tag == 2 << 56 | 5)
        #expect(bench.host.peer.socket?.name == "origin for client 3")
        #expect(bench.reactor.socket(socket) === bench.host.peer.socket)
        #expect(bench.reactor.openSockets.map(\.name) == ["client 3", "origin for client 3"])
        bench.host.peer.socket?.send(Array("hello".utf8))
        #expect(try bench.hear(socket).first == UInt8(ascii: "h"))
    }

    @Test func whoIsNotThereRefuses() throws {
        let bench = NetworkBench(seed: 10)
        bench.host.isUp = false
        let socket = try bench.connect()
        #expect(try bench.expect(.connected, socket).result == -111)
        bench.close(socket)
        try bench.expect(.closed, socket)
        #expect(bench.reactor.inFlight == ScriptedReactor.InFlight())
    }

    @Test(arguments: UInt64(1)...10)
    func aConnectionThatIsGivenUpEarlyIsClosedForTheHostToo(seed: UInt64) throws {
        let bench = NetworkBench(seed: seed)
        let socket = try bench.connect()
        while bench.host.peer.socket == nil, bench.surroundings.scheduler.step() {}
        bench.close(socket)
        try bench.expect(.closed, socket)
        bench.pass(milliseconds: 100)
        #expect(bench.host.peer.ends == ["closed"])
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.connected) }
    }

    @Test func nobodyConnectsWithoutAListener() throws {
        let bench = NetworkBench(seed: 11)
        let peer = Peer()
        #expect(bench.reactor.connect(client: "client 1", owner: peer) == nil)
        let listener = try bench.listen()
        let socket = bench.reactor.connect(client: "client 1", owner: peer)
        bench.close(listener)
        #expect(try bench.expect(.closed, listener).tag == 7)
        #expect(bench.reactor.connect(client: "client 2", owner: peer) == nil)
        bench.pass(milliseconds: 10)
        #expect(peer.ends == ["closed"], "it came too late")
        #expect(socket?.isOpen == false)
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.accepted) }
    }

    @Test func aListenerThatPausesKeepsItsClientsWaiting() throws {
        let bench = NetworkBench(seed: 12)
        let listener = try bench.listen()
        bench.call { $0.setAccepting(listener, false) }
        let peer = Peer()
        let socket = bench.reactor.connect(client: "client 1", owner: peer)
        socket?.send(Array("early".utf8))
        bench.pass(milliseconds: 100)
        #expect(bench.reactor.inFlight.sockets == 0)
        bench.call { $0.setAccepting(listener, true) }
        let accepted = try bench.expect(.accepted)
        #expect(accepted.tag == 7 && accepted.result == 0 && accepted.socket == socket?.proxySocket)
        bench.call { $0.setTag(accepted.socket, 77) }
        bench.receive(accepted.socket, Memory(count: 10))
        #expect(try bench.expect(.received).tag == 77)
    }

    // MARK: - Time and signals

    @Test func timersFireOnceNotEarlyAndNotWhenCancelled() throws {
        let bench = NetworkBench(seed: 13)
        let begin = bench.surroundings.scheduler.now
        _ = bench.call { $0.startTimer(nanoseconds: 5 * millisecond, tag: 1) }
        let cancelled = bench.call { $0.startTimer(nanoseconds: 3 * millisecond, tag: 2) }
        let late = bench.call { $0.startTimer(nanoseconds: 9 * millisecond, tag: 3) }
        _ = bench.call { $0.startTimer(nanoseconds: .max, tag: 4) }
        #expect(bench.reactor.inFlight.timers == 4)
        bench.call { $0.cancelTimer(cancelled) }
        bench.call { $0.cancelTimer(cancelled) }
        let completion = try bench.expect(.timer)
        #expect(completion.tag == 1 && completion.socket == .none)
        #expect(bench.reactor.nowNanoseconds >= begin + 5 * millisecond)
        #expect(bench.reactor.nowNanoseconds == bench.surroundings.scheduler.now)
        // Fired, queued, and cancelled before it was handed out.
        bench.reactor.wait()
        bench.call { $0.cancelTimer(late) }
        #expect(bench.reactor.next() == nil)
        #expect(bench.reactor.inFlight.timers == 1)
    }

    @Test func signalsReachWhoWatchesThem() throws {
        let bench = NetworkBench(seed: 14)
        bench.reactor.raise(signal: 15)
        try bench.call { try $0.watchSignals([1, 15], tag: 9) }
        bench.surroundings.scheduler.after(millisecond) { bench.reactor.raise(signal: 15) }
        bench.surroundings.scheduler.after(2 * millisecond) { bench.reactor.raise(signal: 2) }
        let signal = try bench.expect(.signal)
        #expect(signal.result == 15 && signal.tag == 9 && signal.socket == .none)
        #expect(throws: NetworkBench.Missing.self) { try bench.expect(.signal) }
    }

    @Test func theObserverLooksAfterEachStepAndBeforeEachWait() throws {
        let bench = NetworkBench(seed: 15)
        bench.reactor.enqueue(Completion(kind: .ready, socket: .none, tag: 1, result: 0))
        bench.reactor.enqueue(Completion(kind: .ready, socket: .none, tag: 2, result: 0))
        bench.turn()
        #expect(bench.watched == ["waits", "stepped", "stepped"])
        let (_, socket) = try bench.client()
        #expect(bench.watched.suffix(2) == ["waits", "stepped \(socket.index)"])
    }

    // MARK: - The whole

    /// Some talk of several clients with an origin that repeats what it hears.
    private func story(seed: UInt64) throws -> [String] {
        let bench = NetworkBench(seed: seed) { $0.windowBytes = 3000 }
        var story: [String] = []
        var sockets: [SocketID] = []
        var peers: [Peer] = []
        for number in 1...5 {
            let (peer, socket) = try bench.client("client \(number)")
            peers.append(peer)
            sockets.append(socket)
            peer.socket?.send(Memory.pattern(1000 * number, seed: seed))
            bench.call { $0.setTag(socket, UInt64(number)) }
        }
        let memories = sockets.map { _ in Memory(count: 700) }
        let outgoing = Memory(count: 5000)
        for (socket, memory) in zip(sockets, memories) {
            bench.receive(socket, memory)
            bench.send(socket, outgoing)
        }
        for _ in 0..<60 {
            _ = bench.reactor.startTimer(nanoseconds: 20 * millisecond, tag: 0)
            bench.reactor.wait()
            story.append("turn")
            while let completion = bench.reactor.next() {
                story.append("\(bench.reactor.nowNanoseconds) \(completion)")
                if completion.kind == .received, completion.result > 0 {
                    let number = Int(completion.tag) - 1
                    bench.receive(sockets[number], memories[number])
                }
            }
        }
        peers[2].socket?.reset()
        bench.close(sockets[0])
        bench.pass(milliseconds: 10)
        return story + bench.surroundings.trace.lines + peers.map { "\($0.pieces) \($0.ends)" }
    }

    @Test func theSameSeedTellsTheSameStory() throws {
        let first = try story(seed: 1)
        #expect(first == (try story(seed: 1)))
        #expect(first != (try story(seed: 2)))
        let turns = first.split(separator: "turn")
        #expect(turns.contains { $0.count > 1 }, "some turns see several completions")
    }

    @Test func nothingKeepsAWorldThatIsOver() throws {
        weak var reactor: ScriptedReactor?
        weak var socket: Socket?
        do {
            let surroundings = Surroundings(parameters: Parameters(seed: 1))
            let world = ScriptedReactor(surroundings)
            let peer = Peer()
            _ = try world.listen(on: NetworkBench.address, backlog: 1, tag: 1)
            let client = world.connect(client: "client 1", owner: peer)
            client?.send([1])
            _ = world.startTimer(nanoseconds: second, tag: 1)
            world.wait()
            client?.isReading = true
            (reactor, socket) = (world, client)
        }
        #expect(reactor == nil && socket == nil)
    }
}
