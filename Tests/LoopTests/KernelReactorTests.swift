import Glibc
import Testing

@testable import Loop

@Suite("Listeners and connections")
struct ListenerTests {
    @Test("Nobody listens: the connection is refused", arguments: Backend.allCases)
    func refused(_ backend: Backend) throws {
        let world = try World(backend)
        let port = try Syscalls.freePort()
        let socket = try world.reactor.connect(to: .tcp(address: "127.0.0.1", port: port), tag: 7)
        let completion = try world.expect(.connected, socket)
        #expect(completion.result == -Int(ECONNREFUSED))
        #expect(completion.tag == 7)
        world.reactor.close(socket)
        try world.expect(.closed, socket)
        let missing = try world.reactor.connect(to: .unix(path: "/nonexistent/s"), tag: 7)
        #expect(try world.expect(.connected, missing).result == -Int(ENOENT))
    }

    @Test("An address that is none is an error at once", arguments: Backend.allCases)
    func badAddress(_ backend: Backend) throws {
        let world = try World(backend)
        #expect(throws: SystemError.self) {
            try world.reactor.connect(to: .tcp(address: "localhost", port: 1), tag: 1)
        }
        let long = String(repeating: "x", count: 200)
        #expect(throws: SystemError.self) {
            try world.reactor.listen(on: .unix(path: "/tmp/" + long), backlog: 1, tag: 1)
        }
        #expect(throws: SystemError.self) {
            try world.reactor.listen(
                on: .unix(path: "/nonexistent/socket"), backlog: 1, tag: 1)
        }
        #expect(world.reactor.liveCount == 0)
    }

    @Test("A port that is taken is named in the error", arguments: Backend.allCases)
    func takenPort(_ backend: Backend) throws {
        let world = try World(backend)
        let listener = try world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 1)
        let port = world.reactor.boundPort(listener)
        let error = #expect(throws: SystemError.self) {
            try world.reactor.listen(
                on: .tcp(address: "127.0.0.1", port: port), backlog: 16, tag: 1)
        }
        #expect(error?.code == EADDRINUSE)
        #expect(error?.description.contains("127.0.0.1:\(port)") == true)
    }

    @Test("Many clients are accepted, each with its own socket and the listener's tag",
        arguments: Backend.allCases)
    func manyClients(_ backend: Backend) throws {
        let world = try World(backend)
        let listener = try world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 512, tag: 11)
        let address = SocketAddress.tcp(
            address: "127.0.0.1", port: world.reactor.boundPort(listener))
        let count = 150
        for index in 0..<count { _ = try world.reactor.connect(to: address, tag: UInt64(index)) }
        var servers: Set<SocketID> = []
        for _ in 0..<count {
            let accepted = try world.expect(.accepted)
            #expect(accepted.tag == 11)
            servers.insert(accepted.socket)
        }
        #expect(servers.count == count)
        for _ in 0..<count { #expect(try world.expect(.connected).result == 0) }
        #expect(world.reactor.liveCount == 2 * count + 1)
    }

    @Test("TCP sockets send at once and are kept alive; the peer has a name",
        arguments: Backend.allCases)
    func options(_ backend: Backend) throws {
        let world = try World(backend)
        let (client, server) = try world.pair()
        for socket in [client, server] {
            #expect(world.reactor.option(socket, level: Int32(IPPROTO_TCP), name: TCP_NODELAY) == 1)
            #expect(world.reactor.option(socket, level: SOL_SOCKET, name: SO_KEEPALIVE) == 1)
        }
        guard case .tcp(address: "127.0.0.1", port: let port)? = world.reactor.peer(server) else {
            Issue.record("the client's address")
            return
        }
        #expect(port == world.reactor.boundPort(client))
    }

    @Test("IPv6 works where the machine has it", arguments: Backend.allCases)
    func version6(_ backend: Backend) throws {
        let world = try World(backend)
        let address = SocketAddress.tcp(address: "::1", port: 0)
        guard Syscalls.exists("/proc/net/if_inet6"),
            let listener = try? world.reactor.listen(on: address, backlog: 4, tag: 1)
        else { return }
        let port = world.reactor.boundPort(listener)
        let client = try world.reactor.connect(to: .tcp(address: "::1", port: port), tag: 2)
        #expect(try world.expect(.connected, client).result == 0)
        let server = try world.expect(.accepted).socket
        #expect(world.reactor.peer(server)?.description.hasPrefix("[::1]:") == true)
    }

    @Test("A listener that pauses leaves its clients waiting", arguments: Backend.allCases)
    func pause(_ backend: Backend) throws {
        let world = try World(backend)
        let listener = try world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 1)
        try world.pass(milliseconds: 1)
        world.reactor.setAccepting(listener, false)
        try world.pass(milliseconds: 1)
        let address = SocketAddress.tcp(
            address: "127.0.0.1", port: world.reactor.boundPort(listener))
        let client = try world.reactor.connect(to: address, tag: 2)
        #expect(try world.expect(.connected, client).result == 0, "the kernel takes it")
        try world.pass(milliseconds: 30)
        #expect(world.takeOthers().isEmpty)
        world.reactor.setAccepting(listener, true)
        #expect(try world.expect(.accepted).tag == 1)
        // Off and on within one turn.
        world.reactor.setAccepting(listener, false)
        world.reactor.setAccepting(listener, true)
        _ = try world.connect(to: listener)
    }

    @Test("A stale socket file is replaced, a live one is not", arguments: Backend.allCases)
    func staleSocketFile(_ backend: Backend) throws {
        let folder = try TemporaryFolder()
        let address = SocketAddress.unix(path: folder.path + "/s")
        // A descriptor that was closed without its file being removed.
        var raw = sockaddr_un()
        raw.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: (folder.path + "/s").utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let bound = withUnsafePointer(to: &raw) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        Glibc.close(descriptor)

        let world = try World(backend)
        let listener = try world.reactor.listen(on: address, backlog: 16, tag: 1)
        let error = #expect(throws: SystemError.self) {
            try world.reactor.listen(on: address, backlog: 16, tag: 2)
        }
        #expect(error?.code == EADDRINUSE)
        let client = try world.reactor.connect(to: address, tag: 3)
        #expect(try world.expect(.connected, client).result == 0, "the first still listens")
        #expect(try world.expect(.accepted).tag == 1)
        world.reactor.close(listener)
        try world.expect(.closed, listener)
        #expect(!Syscalls.exists(folder.path + "/s"))
    }

    @Test("A file that is no socket is never removed", arguments: Backend.allCases)
    func otherFile(_ backend: Backend) throws {
        let folder = try TemporaryFolder()
        try Syscalls.writeFile(folder.path + "/s", "precious")
        let world = try World(backend)
        let error = #expect(throws: SystemError.self) {
            try world.reactor.listen(on: .unix(path: folder.path + "/s"), backlog: 16, tag: 1)
        }
        #expect(error?.code == EADDRINUSE)
        #expect(try Syscalls.readText(folder.path + "/s") == "precious")
    }

    @Test("Without descriptors a listener pauses instead of spinning, and goes on (epoll)")
    func shortOfDescriptorsOnEpoll() async {
        await #expect(processExitsWith: .success) { try ShortOfDescriptors.run(.epoll) }
    }

    @Test("Without descriptors a listener pauses instead of spinning, and goes on (io_uring)")
    func shortOfDescriptorsOnRing() async {
        await #expect(processExitsWith: .success) { try ShortOfDescriptors.run(.ring) }
    }
}

/// Runs in a process of its own, since the limit of descriptors belongs to the process.
enum ShortOfDescriptors {
    static func run(_ backend: Backend) throws {
        // First of all: the ring reads the limit when an accept is queued.
        try Syscalls.setDescriptorLimit(200)
        let world = try World(backend)
        let listener = try world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 1)
        try world.pass(milliseconds: 1)
        let address = SocketAddress.tcp(
            address: "127.0.0.1", port: world.reactor.boundPort(listener))
        // Every descriptor but those that the clients take. The runtime of the test may give one or two back at
        // any time, hence several clients: not all of them find one.
        let clients = 8
        var taken: [Int32] = []
        while true {
            let descriptor = dup(0)
            guard descriptor >= 0 else { break }
            taken.append(descriptor)
        }
        for _ in 0..<clients { Glibc.close(taken.removeLast()) }
        for _ in 0..<clients { _ = try world.reactor.connect(to: address, tag: 2) }
        for _ in 0..<clients where try world.expect(.connected).result != 0 {
            throw failure("connect")
        }
        let before = Syscalls.threadCPUNanoseconds()
        let turns = try world.pass(milliseconds: 250)
        guard turns <= 5, Syscalls.threadCPUNanoseconds() - before < 100_000_000 else {
            throw failure("spins: \(turns) turns")
        }
        guard world.others.count < clients else { throw failure("descriptors were not short") }
        // Pausing and going on while starved changes nothing.
        world.reactor.setAccepting(listener, false)
        world.reactor.setAccepting(listener, true)
        for _ in 0..<(clients + 4) { Glibc.close(taken.removeLast()) }
        for _ in 0..<clients where try world.expect(.accepted).tag != 1 {
            throw failure("not accepted")
        }
    }

    private static func failure(_ text: String) -> NothingCame { NothingCame(description: text) }
}

@Suite("Time, signals, children and adopted descriptors")
struct KernelReactorTests {
    @Test("Timers fire in order, not early, and not when cancelled", arguments: Backend.allCases)
    func timers(_ backend: Backend) throws {
        let world = try World(backend)
        let begin = Syscalls.monotonicNanoseconds()
        _ = world.reactor.startTimer(nanoseconds: 30_000_000, tag: 3)
        _ = world.reactor.startTimer(nanoseconds: 10_000_000, tag: 1)
        let cancelled = world.reactor.startTimer(nanoseconds: 15_000_000, tag: 99)
        _ = world.reactor.startTimer(nanoseconds: 20_000_000, tag: 2)
        _ = world.reactor.startTimer(nanoseconds: 0, tag: 0)
        world.reactor.cancelTimer(cancelled)
        for tag in UInt64(0)..<4 {
            let completion = try world.expect(.timer)
            #expect(completion.tag == tag)
            #expect(completion.socket == .none)
            #expect(Syscalls.monotonicNanoseconds() - begin >= tag * 10_000_000)
            #expect(world.reactor.nowNanoseconds - begin >= tag * 10_000_000)
        }
        world.reactor.cancelTimer(cancelled)
        try world.pass(milliseconds: 5)
        #expect(world.takeOthers().isEmpty)
    }

    @Test("A timer cancelled after it expired but before it was taken does not come",
        arguments: Backend.allCases)
    func lateCancel(_ backend: Backend) throws {
        let world = try World(backend)
        let timer = world.reactor.startTimer(nanoseconds: 0, tag: 5)
        try world.reactor.wait()
        world.reactor.cancelTimer(timer)
        #expect(world.reactor.next() == nil)
    }

    @Test("A completion of the owner's own comes in its turn, and wait does not block before it",
        arguments: Backend.allCases)
    func ownCompletions(_ backend: Backend) throws {
        let world = try World(backend)
        for tag in UInt64(1)...3000 {
            world.reactor.enqueue(Completion(kind: .ready, socket: .none, tag: tag, result: 1))
        }
        try world.reactor.wait()
        try world.reactor.wait()
        for tag in UInt64(1)...3000 { #expect(world.reactor.next()?.tag == tag) }
        #expect(world.reactor.next() == nil)
    }

    @Test("A watched signal is a completion", arguments: Backend.allCases)
    func signals(_ backend: Backend) throws {
        let world = try World(backend)
        try world.reactor.watchSignals([SIGUSR1, SIGUSR2], tag: 8)
        // To this thread, so that no other one takes it.
        raise(SIGUSR2)
        raise(SIGUSR1)
        let numbers = try [world.expect(.signal), world.expect(.signal)].map(\.result)
        #expect(Set(numbers) == [Int(SIGUSR1), Int(SIGUSR2)])
        raise(SIGUSR1)
        let again = try world.expect(.signal)
        #expect(again.result == Int(SIGUSR1) && again.tag == 8)
    }

    @Test("A child's end comes with its status, and it is reaped", arguments: Backend.allCases)
    func childExit(_ backend: Backend) throws {
        let world = try World(backend)
        let child = try ChildProcess.spawn(
            ChildProcess.Plan(path: "/bin/sh", arguments: ["-c", "exit 7"]))
        try world.reactor.watchChild(child.processID, tag: 4)
        let exited = try world.expect(.exited)
        #expect(ChildProcess.exitCode(exited.result) == 7)
        #expect(exited.tag == 4)
        #expect(!Syscalls.processExists(child.processID), "reaped")

        let sleeper = try ChildProcess.spawn(
            ChildProcess.Plan(path: "/bin/sleep", arguments: ["600"]))
        try world.reactor.watchChild(sleeper.processID, tag: 5)
        try world.pass(milliseconds: 5)
        try sleeper.signal(SIGTERM)
        let killed = try world.expect(.exited)
        #expect(ChildProcess.exitSignal(killed.result) == Int(SIGTERM))
        #expect(ChildProcess.exitCode(killed.result) == nil)
        #expect(world.reactor.liveCount == 0)
    }

    @Test("An adopted pipe tells once per poll that it is ready", arguments: Backend.allCases)
    func adoptedPipe(_ backend: Backend) throws {
        let world = try World(backend)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let reader = try world.reactor.adopt(ends[0], tag: 5)
        let writer = try world.reactor.adopt(ends[1], tag: 6)
        world.reactor.poll(reader, .readable)
        world.reactor.poll(writer, [.readable, .writable])
        let writable = try world.expect(.ready, writer)
        #expect(Readiness(rawValue: writable.result) == .writable && writable.tag == 6)
        try world.pass(milliseconds: 10)
        #expect(world.takeOthers().isEmpty)
        Glibc.write(ends[1], "x", 1)
        let readable = try world.expect(.ready, reader)
        #expect(Readiness(rawValue: readable.result) == .readable && readable.tag == 5)
        // Not asked for: quiet, although it is still readable.
        let before = Syscalls.threadCPUNanoseconds()
        try world.pass(milliseconds: 100)
        #expect(Syscalls.threadCPUNanoseconds() - before < 50_000_000)
        #expect(world.takeOthers().isEmpty)
        world.reactor.poll(reader, .readable)
        try world.expect(.ready, reader)
        // The other end goes: failed, also for one that is not polled for input.
        var byte: UInt8 = 0
        Glibc.read(ends[0], &byte, 1)
        world.reactor.poll(reader, .readable)
        world.reactor.release(writer)
        Glibc.close(ends[1])
        let hungUp = try world.expect(.ready, reader)
        #expect(Readiness(rawValue: hungUp.result).contains(.failed))
        world.reactor.release(reader)
        Glibc.close(ends[0])
    }

    @Test("A poll in flight takes a new interest; a released descriptor tells nothing more",
        arguments: Backend.allCases)
    func changedInterest(_ backend: Backend) throws {
        let world = try World(backend)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let writer = try world.reactor.adopt(ends[1], tag: 6)
        world.reactor.poll(writer, .readable)
        try world.pass(milliseconds: 5)
        #expect(world.takeOthers().isEmpty)
        world.reactor.poll(writer, .writable)
        #expect(try world.expect(.ready, writer).tag == 6)
        try world.pass(milliseconds: 5)
        #expect(world.takeOthers().isEmpty, "once")
        world.reactor.poll(writer, .writable)
        try world.reactor.wait()  // its completion is queued
        world.reactor.release(writer)
        let reader = try world.reactor.adopt(ends[0], tag: 7)
        world.reactor.poll(reader, .readable)
        world.reactor.release(reader)
        Glibc.write(ends[1], "x", 1)
        try world.pass(milliseconds: 10)
        #expect(world.takeOthers().isEmpty)
        // The descriptor is its owner's: still open, and adopted again it works.
        let again = try world.reactor.adopt(ends[0], tag: 8)
        world.reactor.poll(again, .readable)
        #expect(try world.expect(.ready).tag == 8)
        world.reactor.release(again)
        for end in ends { Glibc.close(end) }
        #expect(throws: SystemError.self) { try world.reactor.adopt(ends[0], tag: 9) }
    }
}
