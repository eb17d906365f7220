import Loop
import Testing

@testable import Shell

/// Raw connections to a real PostgreSQL, and to a server that lies about its lengths.
@Suite(.serialized)
struct CacheLinkTests {
    @Test(arguments: ReactorBackend.allCases)
    func bytesGoToPostgreSQLAndComeBackAsWholeMessages(_ backend: ReactorBackend) throws {
        let links = try BlockingLinks()
        let server = try ThrowAwayOrigin(links)
        defer { server.remove(links) }
        try server.start(links)
        let world = try CacheLinkWorld(backend)
        let link = world.link
        link.connect(parameters(of: server))
        #expect(try world.event() == .connected)
        #expect(link.isOpen && link.backendProcess > 0 && link.unsentBytes == 0)

        link.send(query("select 1, 'two'; create table t (i int, s text)"))
        #expect(link.unsentBytes > 0)
        link.flush()
        #expect(try world.answer().kinds == "TDCCZ")

        // Batches that are sent together are answered in order.
        for number in 0..<3 {
            link.send(message("P", [0] + Array("select \(number) from generate_series(1, $1::int)".utf8) + [0, 0, 0]))
            link.send(message("B", [0, 0, 0, 0, 0, 1] + be(1) + [UInt8(ascii: "2"), 0, 0]))
            link.send(message("D", Array("P".utf8) + [0]) + message("E", [0] + be(0)) + message("S", []))
        }
        link.flush()
        #expect(try world.answer(syncs: 3).kinds == "12TDDCZ12TDDCZ12TDDCZ")

        link.send(query("copy t from stdin"))
        for number in 0..<50_000 { link.send(message("d", Array("\(number)\tnumber \(number)\n".utf8))) }
        link.send(message("c", []))
        link.flush()
        #expect(try world.answer().kinds == "GCZ")
        link.send(query("select * from t"))
        link.flush()
        #expect(try world.answer().rows == 50_000)

        // Messages that fit into no buffer, and those around them.
        link.send(query("select 'a'; select repeat('x', 5000000); select 'b'"))
        link.flush()
        let long = try world.answer()
        #expect(long.kinds == "TDCTDCTDCZ")
        #expect(long.bytes > 5_000_000)
        link.send(query("select length('" + String(repeating: "y", count: 5_000_000) + "')"))
        link.flush()
        #expect(try world.answer().kinds == "TDCZ")
    }

    @Test(arguments: ReactorBackend.allCases)
    func theEndIsAnEvent(_ backend: ReactorBackend) throws {
        let links = try BlockingLinks()
        let server = try ThrowAwayOrigin(links)
        defer { server.remove(links) }
        try server.start(links)
        let world = try CacheLinkWorld(backend)
        let link = world.link
        link.connect(parameters(of: server, database: "nothing"))
        guard case .lost(let reason) = try world.event() else {
            Issue.record("there is no such database")
            return
        }
        #expect(reason.contains("nothing"))

        // The server's last words come before the end.
        link.connect(parameters(of: server))
        #expect(try world.event() == .connected)
        link.send(query("select pg_terminate_backend(pg_backend_pid())"))
        link.flush()
        guard case .received(let words) = try world.event() else {
            Issue.record("57P01 comes first")
            return
        }
        #expect(String(decoding: words, as: UTF8.self).contains("57P01"))
        #expect(try world.event() == .lost("the server has closed the connection"))
        #expect(!link.isOpen)
        link.send(query("select 1"))
        link.flush()

        // Given up with everything in flight, and made again at once.
        link.connect(parameters(of: server))
        #expect(try world.event() == .connected)
        link.send(query("select repeat('x', 10000000)"))
        link.flush()
        link.close()
        #expect(link.nextEvent() == nil)
        link.connect(parameters(of: server))
        link.close()
        link.connect(parameters(of: server))
        #expect(try world.event() == .connected)
        link.send(query("select 1"))
        link.flush()
        #expect(try world.answer().kinds == "TDCZ")

        server.remove(links)
        while true {
            guard case .received = try world.event() else { break }
        }
        #expect(!link.isOpen)
        link.connect(parameters(of: server))
        guard case .lost = try world.event() else {
            Issue.record("nobody is there")
            return
        }
        link.close()
    }

    @Test(arguments: ReactorBackend.allCases)
    func aServerThatLiesIsLeft(_ backend: ReactorBackend) throws {
        for (bytes, reason) in [
            (message("Z", [73]) + [68, 0, 0, 0, 3, 0], "the server has sent a message of an impossible length"),
            ([68, 255, 255, 255, 255], "the server has sent a message of an impossible length"),
            ([68, 128, 0, 0, 0], "the server has sent a message of an impossible length"),
            ([68, 127, 255, 255, 255], "the server has sent a message of more than 268435456 bytes"),
            ([68, 16, 0, 0, 0], "the server has sent a message of more than 268435456 bytes"),
            ([68, 0], "the server has closed the connection"),
            ([68, 0, 255, 255, 255, 1, 2, 3], "the server has closed the connection"),
        ] as [([UInt8], String)] {
            let world = try CacheLinkWorld(backend)
            try world.connectToScript(isLast: bytes.count == 2 || bytes.count == 8, [bytes])
            if bytes.first == 90 { #expect(try world.event() == .received(message("Z", [73]))) }
            #expect(try world.event() == .lost(reason))
            #expect(!world.link.isOpen)
        }
    }

    /// However the bytes are cut, the same messages come.
    @Test(arguments: ReactorBackend.allCases)
    func messagesAreWholeHoweverTheyCome(_ backend: ReactorBackend) throws {
        var random = Lcg(state: 7)
        for round in 0..<6 {
            var bytes: [UInt8] = []
            for size in [0, 1, 130_000, 3, 131_067, 131_068, 131_072, 400_000, 5, 20_000, 262_144, 0] {
                bytes += message("D", (0..<size).map { UInt8(truncatingIfNeeded: $0) })
            }
            var pieces: [[UInt8]] = []
            var place = 0
            while place < bytes.count {
                let size = min(random.next(round < 3 ? 100_000 : 300_000) + 1, bytes.count - place)
                pieces.append(Array(bytes[place..<place + size]))
                place += size
            }
            let world = try CacheLinkWorld(backend)
            try world.connectToScript(isLast: false, pieces)
            var come: [UInt8] = []
            while come.count < bytes.count {
                guard case .received(let some) = try world.event() else { break }
                #expect(some.withUnsafeBytes { CacheLink.wholeMessages($0).count } == some.count)
                come += some
            }
            #expect(come == bytes)
        }
    }

    @Test(arguments: ReactorBackend.allCases)
    func whatIsNotTakenIsCountedAndWhatIsNotReadStays(_ backend: ReactorBackend) throws {
        let world = try CacheLinkWorld(backend)
        let link = world.link
        let row = message("D", [UInt8](repeating: 1, count: 1000))
        try world.connectToScript(isLast: false, [[UInt8]](repeating: row, count: 4000))
        link.pause()
        link.send([UInt8](repeating: 0, count: 20 << 20))
        link.flush()
        try world.pass(milliseconds: 50)
        #expect(link.unsentBytes == 20 << 20)
        var come = 0
        while let event = link.nextEvent() {
            if case .received(let some) = event { come += some.count }
        }
        #expect(come <= ReceiveBuffer.capacityMax)
        link.resume()
        while come < 4000 * row.count {
            guard case .received(let some) = try world.event() else { break }
            come += some.count
        }
        #expect(come == 4000 * row.count)
    }

    private func parameters(
        of server: ThrowAwayOrigin, database: String = "postgres"
    ) -> [(keyword: String, value: String)] {
        server.endpoint(user: "postgres", database: database).parameters(applicationName: "test")
    }
}

private struct Lcg {
    var state: UInt64
    mutating func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
}

private func be(_ number: Int) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
}

private func message(_ kind: Unicode.Scalar, _ body: [UInt8]) -> [UInt8] {
    [UInt8(ascii: kind)] + be(body.count + 4) + body
}

private func query(_ sql: String) -> [UInt8] { message("Q", Array(sql.utf8) + [0]) }

/// One link on a reactor of its own, and a server that says what a test wants.
private final class CacheLinkWorld {
    let reactor: KernelReactor
    let link: CacheLink
    private let resolver: NameResolver
    private static let linkTag: UInt64 = 1
    private static let resolverTag: UInt64 = 2
    private static let guardTag: UInt64 = 3
    private static let timerTag: UInt64 = 4
    private static let scriptTag: UInt64 = 5
    /// What the server says, piece by piece, behind the greeting.
    private var script: [[UInt8]] = []
    private var said = 0
    /// Has heard the greeting alone: what comes with it would be libpq's.
    private var greeted: SocketID?
    private var closesAtTheEnd = false
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    private let heard = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)

    init(_ backend: ReactorBackend) throws {
        reactor = try backend.makeReactor()
        resolver = NameResolver(reactor: reactor, tag: Self.resolverTag)
        link = CacheLink(reactor: reactor, resolver: resolver, tag: Self.linkTag)
    }

    deinit {
        memory.deallocate()
        heard.deallocate()
    }

    struct NothingCame: Error {}

    private func turn() throws -> Bool {
        try reactor.wait()
        var hasTimerFired = false
        while let completion = reactor.next() {
            switch completion.tag {
            case Self.linkTag: link.advance(completion)
            case Self.resolverTag: resolver.advance(completion)
            case Self.guardTag: throw NothingCame()
            case Self.timerTag: hasTimerFired = true
            default: scripted(completion)
            }
        }
        if let greeted, link.isOpen {
            self.greeted = nil
            sayNext(greeted)
        }
        return hasTimerFired
    }

    func event() throws -> CacheLink.Event {
        let limit = reactor.startTimer(nanoseconds: 30_000_000_000, tag: Self.guardTag)
        defer { reactor.cancelTimer(limit) }
        while true {
            if let event = link.nextEvent() { return event }
            _ = try turn()
        }
    }

    func pass(milliseconds: UInt64) throws {
        _ = reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: Self.timerTag)
        while try !turn() {}
    }

    /// The kinds of all messages up to the last of `syncs` ReadyForQuery; rows of a long answer are only counted.
    func answer(syncs: Int = 1) throws -> (kinds: String, rows: Int, bytes: Int) {
        var kinds: [UInt8] = []
        var (rows, bytes, ready) = (0, 0, 0)
        while ready < syncs {
            guard case .received(let some) = try event() else { throw NothingCame() }
            bytes += some.count
            var place = 0
            while place < some.count {
                let length = some[(place + 1)..<(place + 5)].reduce(0) { $0 << 8 | Int($1) }
                if some[place] == UInt8(ascii: "D") { rows += 1 }
                if some[place] == UInt8(ascii: "Z") { ready += 1 }
                if kinds.count < 100 { kinds.append(some[place]) }
                place += length + 1
            }
            #expect(place == some.count)
        }
        return (String(decoding: kinds, as: UTF8.self), rows, bytes)
    }

    // MARK: - The server that says what it is told

    func connectToScript(isLast: Bool, _ pieces: [[UInt8]]) throws {
        script = [message("R", be(0)) + message("Z", [73])] + pieces
        closesAtTheEnd = isLast
        let listener = try reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 4, tag: Self.scriptTag)
        link.connect([
            ("host", "127.0.0.1"), ("port", "\(reactor.boundPort(listener))"), ("user", "u"),
            ("sslmode", "disable"),
        ])
        #expect(try event() == .connected)
    }

    private func scripted(_ completion: Completion) {
        switch completion.kind {
        case .accepted:
            guard let base = heard.baseAddress else { return }
            reactor.receive(completion.socket, into: base, capacity: heard.count)
        case .received where completion.result > 0: sayNext(completion.socket)
        case .sent where completion.result >= 0:
            if said > 1 { sayNext(completion.socket) } else { greeted = completion.socket }
        default: break
        }
    }

    private func sayNext(_ socket: SocketID) {
        guard said < script.count, let base = memory.baseAddress else {
            if closesAtTheEnd { reactor.close(socket) }
            return
        }
        memory.copyBytes(from: script[said])
        let slice = Slice(base: base, count: script[said].count)
        said += 1
        withUnsafePointer(to: slice) { reactor.send(socket, UnsafeBufferPointer(start: $0, count: 1)) }
    }
}
