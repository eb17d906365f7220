import Glibc
import Testing

@testable import Loop

@Suite("A link to PostgreSQL", .serialized)
struct LibpqLinkTests {
    @Test("Queries are answered, failures carry their SQLSTATE, and the link lives on",
        arguments: Backend.allCases)
    func queries(_ backend: Backend) throws {
        let links = try LinkWorld(backend)
        let server = try PostgresServer(links.world)
        let link = try links.connected(server.parameters())
        #expect(link.isIdle)
        #expect(link.serverVersion / 10000 == 15)
        #expect(link.backendProcess > 0)
        #expect(try links.rows(link, "select 1, null, 'zwölf'") == [["1", nil, "zwölf"]])
        #expect(
            try links.rows(link, "select $1::int + 1, $2::text is null", ["41", nil])
                == [["42", "t"]])
        #expect(try links.rows(link, "create table t (i int)").isEmpty)
        #expect(
            try links.rows(link, "insert into t values (1); select 7; select 8") == [["8"]],
            "of several statements the last one's rows")

        link.query("select 1/0", [])
        #expect(try links.event(of: link) == .failed(state: "22012", message: "division by zero"))
        link.query("selec", [])
        guard case .failed(state: "42601", message: _) = try links.event(of: link) else {
            Issue.record("a syntax error is 42601")
            return
        }
        #expect(try links.rows(link, "select 2") == [["2"]])

        let numbers = try links.rows(link, "select i, i * i from generate_series(1, 20000) i")
        #expect(numbers.count == 20000 && numbers.last == ["20000", "400000000"])
        link.query("select 1; select 1/0; select 2", [])
        #expect(try links.event(of: link) == .failed(state: "22012", message: "division by zero"))

        // Larger than any socket's buffer, in both directions.
        let long = String(repeating: "x", count: 5_000_000)
        #expect(try links.rows(link, "select length($1), $1", [long]) == [["5000000", long]])

        link.answerBytesMax = 1 << 20
        link.query("select repeat('x', 1000) from generate_series(1, 1000000)", [])
        #expect(
            try links.event(of: link)
                == .lost(state: "", message: "an answer of more than 1048576 bytes"))
        link.connect(server.parameters())
        #expect(try links.event(of: link) == .connected)
        #expect(try links.rows(link, "").isEmpty)

        link.query("copy t from stdin", [])
        guard case .lost = try links.event(of: link) else {
            Issue.record("nothing is copied to the server")
            return
        }
        #expect(!link.isIdle)
        link.connect(server.parameters())
        #expect(try links.event(of: link) == .connected)
        try refusals(links, server, link)
    }

    private func refusals(
        _ links: LinkWorld, _ server: PostgresServer, _ idle: LibpqLink
    ) throws {
        // By name, and through the Unix socket's folder.
        #expect(
            try links.rows(try links.connected(server.parameters(host: "localhost")), "select 3")
                == [["3"]])
        #expect(
            try links.rows(
                try links.connected(server.parameters(host: server.folder.path)), "select 4")
                == [["4"]])

        let other = links.makeLink()
        other.connect(server.parameters().filter { $0.keyword != "dbname" } + [("dbname", "nix")])
        guard case .lost(state: "3D000", let message) = try links.event(of: other) else {
            Issue.record("a database that is not there is 3D000")
            return
        }
        #expect(message.contains(#"database "nix" does not exist"#))
        #expect(!message.contains("LOCATION"))

        // An idle link notices that its backend was terminated, and why.
        let killer = try links.connected(server.parameters())
        _ = try links.rows(killer, "select pg_terminate_backend(\(idle.backendProcess))")
        guard case .lost(state: "57P01", message: _) = try links.event(of: idle) else {
            Issue.record("a terminated backend is 57P01")
            return
        }
        // So does one that is asking.
        idle.connect(server.parameters())
        #expect(try links.event(of: idle) == .connected)
        idle.query("select pg_sleep(60)", [])
        _ = try links.rows(killer, "select pg_terminate_backend(\(idle.backendProcess))")
        guard case .lost(state: "57P01", message: _) = try links.event(of: idle) else {
            Issue.record("a terminated backend is 57P01")
            return
        }
    }

    @Test("What is copied out comes row by row, and waits for a slow owner", arguments: Backend.allCases)
    func copies(_ backend: Backend) throws {
        let links = try LinkWorld(backend)
        let hasTLS = Syscalls.isExecutable(PostgresServer.openssl)
        let server = try PostgresServer(links.world, hasTLS: hasTLS)
        for mode in hasTLS ? ["disable", "require"] : ["disable"] {
            let link = try links.connected(server.parameters() + [("sslmode", mode)])
            link.query("copy (select i, i * 2 from generate_series(1, 3) i) to stdout", [])
            let rows = ["1\t2\n", "2\t4\n", "3\t6\n"].map { LinkEvent.copyData(Array($0.utf8)) }
            for event in [.streaming] + rows + [.answered([])] {
                #expect(try links.event(of: link) == event)
            }
            #expect(link.isIdle)
            link.query("copy (select 1 where false) to stdout; select 5", [])
            for event in [LinkEvent.streaming, .answered([["5"]])] {
                #expect(try links.event(of: link) == event)
            }
            link.query("copy nothing to stdout", [])
            guard case .failed(state: "42P01", message: _) = try links.event(of: link) else {
                Issue.record("there is no such table")
                return
            }
            link.query("copy (select 1 / (3 - i) from generate_series(1, 3) i) to stdout", [])
            for event in [
                LinkEvent.streaming, .copyData(Array("0\n".utf8)), .copyData(Array("1\n".utf8)),
                .failed(state: "22012", message: "division by zero"),
            ] {
                #expect(try links.event(of: link) == event)
            }
            // Rows of every length around those of TLS records and buffers.
            link.query("copy (select repeat('x', i * 7 % 40000) from generate_series(1, 6000) i) to stdout", [])
            #expect(try links.event(of: link) == .streaming)
            var lengths: [Int] = []
            while case .copyData(let bytes) = try links.event(of: link) { lengths.append(bytes.count) }
            #expect(lengths == (1...6000).map { $0 * 7 % 40000 + 1 })
            #expect(try links.rows(link, "select repeat('y', 3000000)").first?[0]?.utf8.count == 3_000_000)
            try pausedCopy(links, server, link)
        }
    }

    private func pausedCopy(_ links: LinkWorld, _ server: PostgresServer, _ link: LibpqLink) throws {
        link.query("copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout", [])
        #expect(try links.event(of: link) == .streaming)
        link.pause()
        var count = 0
        while case .copyData = link.nextEvent() { count += 1 }
        for _ in 0..<5 { try links.pass(milliseconds: 10) }
        #expect(link.nextEvent() == nil)
        #expect(count < 20000)
        link.resume()
        while case .copyData = try links.event(of: link) { count += 1 }
        #expect(count == 50000)
        #expect(link.isIdle)

        // Its end is noticed once it goes on.
        link.query("copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout", [])
        #expect(try links.event(of: link) == .streaming)
        link.pause()
        let killer = try links.connected(server.parameters())
        _ = try links.rows(killer, "select pg_terminate_backend(\(link.backendProcess))")
        link.resume()
        while true {
            switch try links.event(of: link) {
            case .copyData: continue
            case .lost: break
            case let other: Issue.record("\(other)")
            }
            break
        }
    }

    @Test("A server that stops is noticed, and one that is not there", arguments: Backend.allCases)
    func serverStops(_ backend: Backend) throws {
        let links = try LinkWorld(backend)
        let server = try PostgresServer(links.world)
        let link = try links.connected(server.parameters())
        try server.stop(links.world)
        guard case .lost(state: "57P01", message: _) = try links.event(of: link) else {
            Issue.record("a stopped server is 57P01")
            return
        }
        let port = try Syscalls.freePort()
        link.connect([("host", "127.0.0.1"), ("port", "\(port)"), ("user", "postgres")])
        guard case .lost(state: "", let message) = try links.event(of: link) else {
            Issue.record("nobody listens there")
            return
        }
        #expect(message.contains("Connection refused"))
    }

    @Test("A server that never answers runs into the limit", arguments: Backend.allCases)
    func attemptTimesOut(_ backend: Backend) throws {
        let links = try LinkWorld(backend)
        let listener = try links.world.reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 900)
        let port = links.world.reactor.boundPort(listener)
        let link = links.makeLink()
        link.connectTimeoutNanoseconds = 50_000_000
        link.connect([("host", "127.0.0.1"), ("port", "\(port)"), ("user", "postgres")])
        #expect(
            try links.event(of: link)
                == .lost(state: "", message: "the connection attempt took too long"))
        link.connect([("host", "a,b"), ("port", "\(port)")])
        guard case .lost = try links.event(of: link) else {
            Issue.record("several hosts")
            return
        }
        // Closing in the middle of an attempt leaves nothing behind.
        link.connect([("host", "127.0.0.1"), ("port", "\(port)"), ("user", "postgres")])
        link.close()
        #expect(link.nextEvent() == nil)
    }

    @Test("Changes are streamed, feedback moves the slot, a dropped publication ends the stream",
        arguments: Backend.allCases)
    func replication(_ backend: Backend) throws {
        let links = try LinkWorld(backend)
        let server = try PostgresServer(links.world)
        let control = try links.connected(server.parameters())
        _ = try links.rows(control, "create table t (id int primary key, name text)")
        _ = try links.rows(control, "create publication p for table t")
        let stream = try links.connected(
            server.parameters() + [("replication", "database"), ("application_name", "feed")])
        // Before the slot is made: an error drops the temporary slots of its connection.
        stream.startReplication("START_REPLICATION SLOT nix LOGICAL 0/0 (proto_version '1')")
        guard case .failed(state: "42704", message: _) = try links.event(of: stream) else {
            Issue.record("a slot that is not there")
            return
        }
        let slot = try links.rows(
            stream, "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
        let start = try #require(slot.first?[1])
        stream.startReplication(
            "START_REPLICATION SLOT s LOGICAL \(start) "
                + "(proto_version '1', publication_names 'p')")
        let began = try links.event(of: stream)
        try #require(began == .streaming)
        #expect(!stream.isIdle)
        _ = try links.rows(control, "insert into t values (1, 'one')")
        let (kinds, end) = try messagesUntilCommit(links, stream)
        #expect(kinds == ["B", "R", "I", "C"])

        // Standby status update: written, flushed and applied up to the end of the commit.
        var feedback: [UInt8] = [UInt8(ascii: "r")]
        for position in [end, end, end, 0] {
            feedback += (0..<8).map { UInt8(truncatingIfNeeded: position >> (56 - 8 * $0)) }
        }
        stream.sendCopyData(feedback + [0])
        let confirmed = "select confirmed_flush_lsn - '0/0' from pg_replication_slots"
        var flushed = ""
        for _ in 0..<10_000 where flushed != "\(end)" {
            flushed = try links.rows(control, confirmed).first?[0] ?? ""
        }
        #expect(flushed == "\(end)")

        _ = try links.rows(control, "drop publication p")
        _ = try links.rows(control, "insert into t values (2, 'two')")
        while true {
            switch try links.event(of: stream) {
            case .copyData: continue
            case .lost(let state, _): #expect(state == "42704")
            case let other: Issue.record("\(other)")
            }
            return
        }
    }

    /// The kinds of pgoutput's messages up to a commit, and the end of that commit's transaction.
    private func messagesUntilCommit(
        _ links: LinkWorld, _ stream: LibpqLink
    ) throws -> (kinds: [String], end: UInt64) {
        var kinds: [String] = []
        while true {
            guard case .copyData(let bytes) = try links.event(of: stream) else {
                throw NothingCame(description: "the stream ended")
            }
            guard bytes.first == UInt8(ascii: "w"), bytes.count > 25 else { continue }
            kinds.append(String(decoding: bytes[25..<26], as: UTF8.self))
            guard bytes[25] == UInt8(ascii: "C") else { continue }
            // Commit: kind, flags, LSN of the commit, LSN of its end.
            let end = bytes[35..<43].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return (kinds, end)
        }
    }
}
