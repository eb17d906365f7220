import Glibc
import Testing

@testable import Loop

@Suite("Bytes over sockets")
struct ReactorTests {
    @Test("What is sent over TCP is received", arguments: Backend.allCases)
    func echoOverTCP(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        try world.say(client, "hello")
        #expect(try world.hear(server) == "hello")
        try world.say(server, "good day")
        #expect(try world.hear(client) == "good day")
    }

    @Test("What is sent over a Unix socket is received", arguments: Backend.allCases)
    func echoOverUnixSocket(_ backend: Backend) throws {
        let folder = try TemporaryFolder()
        let world = try World(backend)
        let address = SocketAddress.unix(path: folder.path + "/s")
        let listener = try world.reactor.listen(on: address, backlog: 16, tag: 1)
        let client = try world.reactor.connect(to: address, tag: 2)
        #expect(try world.expect(.connected, client).result == 0)
        let server = try world.expect(.accepted).socket
        try world.say(client, "hello")
        #expect(try world.hear(server) == "hello")
        world.reactor.close(listener)
        try world.expect(.closed, listener)
        #expect(!Syscalls.exists(folder.path + "/s"), "the file goes with its listener")
    }

    @Test("64 slices go out in order with one send", arguments: Backend.allCases)
    func gatheredSend(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let texts = (0..<Reactor.slicesMax).map { Buffer(Array("slice \($0);".utf8)) }
        let slices = texts.map { Slice(base: UnsafeRawPointer($0.base), count: $0.count) }
        slices.withUnsafeBufferPointer { world.reactor.send(client, $0) }
        let expected = (0..<Reactor.slicesMax).map { "slice \($0);" }.joined()
        #expect(try world.expect(.sent, client).result == expected.utf8.count)
        #expect(try world.hear(server) == expected)
    }

    @Test("A send of many megabytes completes once, in full, for a slow reader",
        arguments: Backend.allCases)
    func partialSends(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        // Slices of odd sizes, so that the kernel stops inside of some.
        let count = 24 << 20
        let buffer = Buffer(count: count)
        for index in stride(from: 0, to: count, by: 3) { buffer.bytes[index] = UInt8(index % 251) }
        var slices: [Slice] = []
        var begin = 0
        for index in 0..<Reactor.slicesMax {
            let end = index == Reactor.slicesMax - 1
                ? count : begin + count / Reactor.slicesMax - 7 * index
            slices.append(Slice(base: UnsafeRawPointer(buffer.base + begin), count: end - begin))
            begin = end
        }
        slices.withUnsafeBufferPointer { world.reactor.send(client, $0) }
        let received = Buffer(count: count)
        var place = 0
        while place < count {
            world.reactor.receive(
                server, into: received.base + place, capacity: min(count - place, 300_001))
            let step = try world.expect(.received, server).result
            try #require(step > 0)
            place += step
        }
        #expect(try world.expect(.sent, client).result == count)
        #expect(received.bytes.elementsEqual(buffer.bytes))
    }
}

@Suite("Waiting without sleep")
struct SpinTests {
    @Test("A reactor that spins for a while still waits, and still hears")
    func spin() throws {
        let reactor = try EpollReactor(spinNanosecondsMax: 200_000)
        let listener = try reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 1, tag: 1)
        let address = SocketAddress.tcp(
            address: "127.0.0.1", port: reactor.boundPort(listener))
        _ = try reactor.connect(to: address, tag: 2)
        _ = reactor.startTimer(nanoseconds: 20_000_000, tag: 3)
        var kinds: [Completion.Kind] = []
        let before = Syscalls.threadCPUNanoseconds()
        while kinds.count < 3 {
            try reactor.wait()
            while let completion = reactor.next() { kinds.append(completion.kind) }
        }
        #expect(Set(kinds) == [.accepted, .connected, .timer] && kinds.last == .timer)
        #expect(Syscalls.threadCPUNanoseconds() - before < 10_000_000)
    }
}

@Suite("Back-pressure and ends")
struct ReactorEndTests {
    @Test("Last words and the end, which come together and before anybody asks, are read in pieces",
        arguments: Backend.allCases, [4, 64])
    func lastWords(_ backend: Backend, _ capacity: Int) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        try world.say(client, "first")
        #expect(try world.hear(server) == "first")
        try world.say(client, "last words")
        world.reactor.shutdownSend(client)
        try world.pass(milliseconds: 20)
        let buffer = Buffer(count: capacity)
        var heard = ""
        while true {
            world.reactor.receive(server, into: buffer.base, capacity: capacity)
            let count = try world.expect(.received, server).result
            if count <= 0 {
                #expect(count == 0)
                break
            }
            heard += String(decoding: UnsafeRawBufferPointer(buffer.bytes)[..<count], as: UTF8.self)
        }
        #expect(heard == "last words")
    }

    @Test("Bytes that nobody asked for stay where they are, and cost nothing",
        arguments: Backend.allCases)
    func unreadStaysQuiet(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        try world.say(client, "first")
        #expect(try world.hear(server) == "first")
        try world.say(client, "second")
        let before = Syscalls.threadCPUNanoseconds()
        #expect(try world.pass(milliseconds: 200) <= 3)
        #expect(Syscalls.threadCPUNanoseconds() - before < 50_000_000, "no spinning")
        #expect(world.takeOthers().isEmpty)
        #expect(try world.hear(server) == "second", "asked for later, it is there")
        try world.say(client, "third")
        #expect(try world.hear(server) == "third")
    }

    @Test("A sender whose reader does not read waits quietly, and goes on when it does",
        arguments: Backend.allCases)
    func slowReader(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let count = 16 << 20
        let buffer = Buffer(count: count)
        world.send(client, UnsafeRawBufferPointer(buffer.bytes))
        let before = Syscalls.threadCPUNanoseconds()
        #expect(try world.pass(milliseconds: 200) <= 3)
        #expect(Syscalls.threadCPUNanoseconds() - before < 100_000_000, "no spinning")
        #expect(world.takeOthers().isEmpty, "not sent before all of it is")
        var place = 0
        while place < count {
            world.reactor.receive(server, into: buffer.base, capacity: 1 << 20)
            place += try world.expect(.received, server).result
        }
        #expect(try world.expect(.sent, client).result == count)
    }

    @Test("Receive and send are in flight at once, each way", arguments: Backend.allCases)
    func bothWays(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let incoming = Buffer(count: 100)
        world.reactor.receive(client, into: incoming.base, capacity: 100)
        try world.say(client, "question")
        #expect(try world.hear(server) == "question")
        try world.say(server, "answer")
        #expect(try world.expect(.received, client).result == 6)
    }

    @Test("After a hang-up the other side hears the end, once per receive, and does not spin",
        arguments: Backend.allCases)
    func hangUp(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        try world.say(client, "last words")
        world.reactor.close(client)
        try world.expect(.closed, client)
        #expect(try world.hear(server) == "last words")
        #expect(try world.hear(server) == "")
        let before = Syscalls.threadCPUNanoseconds()
        try world.pass(milliseconds: 100)
        #expect(Syscalls.threadCPUNanoseconds() - before < 50_000_000)
        #expect(try world.hear(server) == "")
    }

    @Test("A half-closed socket still receives", arguments: Backend.allCases)
    func halfClose(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        try world.say(client, "bye")
        world.reactor.shutdownSend(client)
        #expect(try world.hear(server) == "bye")
        #expect(try world.hear(server) == "")
        try world.say(server, "still here")
        #expect(try world.hear(client) == "still here")
        let buffer = Buffer(Array("x".utf8))
        world.send(client, UnsafeRawBufferPointer(buffer.bytes))
        #expect(try world.expect(.sent, client).result == -Int(EPIPE))
    }

    @Test("A send to a peer that is gone fails, and does not signal", arguments: Backend.allCases)
    func sendToNobody(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let buffer = Buffer(count: 8 << 20)
        world.send(client, UnsafeRawBufferPointer(buffer.bytes))
        try world.pass(milliseconds: 5)
        // Closed with bytes unread: the peer gets a reset.
        world.reactor.close(server)
        try world.expect(.closed, server)
        let result = try world.expect(.sent, client).result
        #expect(result == -Int(ECONNRESET) || result == -Int(EPIPE))
    }

    @Test("Closing ends the operations in flight: one .closed comes and nothing else",
        arguments: Backend.allCases)
    func closeInFlight(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let incoming = Buffer(count: 100)
        let outgoing = Buffer(count: 32 << 20)
        world.reactor.receive(client, into: incoming.base, capacity: 100)
        world.send(client, UnsafeRawBufferPointer(outgoing.bytes))
        try world.pass(milliseconds: 10)
        world.reactor.close(client)
        world.reactor.close(client)  // a stale number: nothing
        #expect(try world.expect(.closed, client).tag == 2)
        try world.pass(milliseconds: 10)
        #expect(world.takeOthers().isEmpty)
        world.reactor.close(server)
        try world.expect(.closed, server)
        #expect(world.reactor.liveCount == 0)
    }

    @Test("A completion that was queued before the close is not delivered after it",
        arguments: Backend.allCases)
    func queuedBeforeClose(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        let incoming = Buffer(count: 100)
        try world.say(client, "unheard")
        world.reactor.receive(server, into: incoming.base, capacity: 100)
        // The receive has been done by the time wait returns; its completion is in the queue.
        try world.reactor.wait()
        world.reactor.close(server)
        let (_, next) = try world.pair()
        #expect(next != server)
        #expect(try world.expect(.closed, server).kind == .closed)
        try world.pass(milliseconds: 10)
        #expect(!world.takeOthers().contains { $0.kind == .received })
    }

    @Test("Slots are used again under new numbers; old numbers do nothing",
        arguments: Backend.allCases)
    func staleNumbers(_ backend: Backend) throws {
        let world = try World(backend)
        let listener = try world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 1)
        let memory = Buffer(count: 16)
        var numbers: Set<SocketID> = []
        for _ in 0..<50 {
            let (client, server) = try world.connect(to: listener)
            #expect(numbers.insert(client).inserted && numbers.insert(server).inserted)
            world.reactor.close(client)
            world.reactor.close(server)
            try world.expect(.closed, client)
            try world.expect(.closed, server)
            world.reactor.receive(client, into: memory.base, capacity: memory.count)
            world.send(client, UnsafeRawBufferPointer(memory.bytes))
            world.reactor.poll(client, .readable)
            world.reactor.release(client)
            world.reactor.setTag(client, 9)
        }
        #expect(numbers.map(\.index).max() ?? 100 < 10, "slots are used again")
        #expect(world.takeOthers().isEmpty)
    }
}
