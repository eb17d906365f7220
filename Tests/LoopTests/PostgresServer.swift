import Glibc
import Testing

@testable import Loop

/// A PostgreSQL of a test's own: in a temporary folder, on a free port and a Unix socket there.
final class PostgresServer {
    let folder: TemporaryFolder
    let port: UInt16
    private let process: ChildProcess
    private static let programs = "/usr/lib/postgresql/15/bin/"
    /// PostgreSQL does not run as root.
    private static var user: String? { Syscalls.isRoot ? "postgres" : nil }

    /// Makes the certificate of a server with TLS.
    static let openssl = "/usr/bin/openssl"

    init(_ world: World, hasTLS: Bool = false) throws {
        folder = try TemporaryFolder()
        port = try Syscalls.freePort()
        if let name = Self.user {
            let user = try #require(Syscalls.user(named: name))
            try Syscalls.changeOwner(folder.path, user: user.user, group: user.group)
        }
        var initdb = Self.plan("initdb", folder.path, [
            "-D", folder.path + "/data", "-A", "trust", "-U", "postgres", "-E", "UTF8",
            "--locale=C", "--no-sync", "--no-instructions",
        ])
        initdb.output = .discarded
        let status = try ChildProcess.spawn(initdb).waitForExit()
        try #require(status == 0, "initdb")
        var server = Self.plan("postgres", folder.path, [
            "-D", folder.path + "/data", "-k", folder.path, "-p", "\(port)", "-c", "fsync=off",
            "-c", "listen_addresses=127.0.0.1", "-c", "wal_level=logical",
        ])
        if hasTLS {
            var request = Self.plan("openssl", folder.path, [
                "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-keyout", "data/server.key", "-out", "data/server.crt",
            ])
            request.path = Self.openssl
            request.output = .discarded
            request.errors = .discarded
            try #require(try ChildProcess.spawn(request).waitForExit() == 0, "openssl")
            server.arguments += ["-c", "ssl=on"]
        }
        server.errors = .file(folder.path + "/log")
        server.deathSignal = SIGQUIT
        process = try ChildProcess.spawn(server)
    }

    deinit {
        try? process.signal(SIGQUIT)
        _ = try? process.waitForExit()
    }

    /// SIGINT: disconnects everyone and ends.
    func stop(_ world: World) throws { try process.signal(SIGINT) }

    private static func plan(
        _ program: String, _ folder: String, _ arguments: [String]
    ) -> ChildProcess.Plan {
        ChildProcess.Plan(
            path: programs + program, arguments: arguments, user: user, directory: folder)
    }

    func parameters(host: String = "127.0.0.1") -> [(keyword: String, value: String)] {
        [
            ("host", host), ("port", "\(port)"), ("user", "postgres"), ("dbname", "postgres"),
            ("client_encoding", "UTF8"),
        ]
    }
}

/// Links and their resolver on one world; routes completions by tag as the shell does.
final class LinkWorld {
    let world: World
    let resolver: NameResolver
    private var links: [UInt64: LibpqLink] = [:]
    private static let resolverTag: UInt64 = 1000
    private static let retryTag: UInt64 = 1001
    private static let guardTag: UInt64 = 1002

    init(_ backend: Backend) throws {
        world = try World(backend)
        resolver = NameResolver(reactor: world.reactor, tag: Self.resolverTag)
    }

    func makeLink() -> LibpqLink {
        let tag = UInt64(links.count + 1)
        let link = LibpqLink(reactor: world.reactor, resolver: resolver, tag: tag)
        links[tag] = link
        return link
    }

    /// The next event of `link`; other links go on meanwhile.
    func event(of link: LibpqLink) throws -> LinkEvent {
        if let event = link.nextEvent() { return event }
        let limit = world.reactor.startTimer(nanoseconds: 30_000_000_000, tag: Self.guardTag)
        defer { world.reactor.cancelTimer(limit) }
        while true {
            while let completion = world.reactor.next() {
                if completion.tag == Self.guardTag { throw NothingCame(description: "no event") }
                if completion.tag == Self.resolverTag { resolver.advance(completion) }
                links[completion.tag]?.advance(completion)
                if let event = link.nextEvent() { return event }
            }
            try world.reactor.wait()
        }
    }

    /// A link to a server that may still be starting.
    func connected(_ parameters: [(keyword: String, value: String)]) throws -> LibpqLink {
        let link = makeLink()
        for _ in 0..<300 {
            link.connect(parameters)
            let event = try event(of: link)
            if event == .connected { return link }
            _ = world.reactor.startTimer(nanoseconds: 50_000_000, tag: Self.retryTag)
            try world.expect(.timer)
        }
        throw NothingCame(description: "the server does not start")
    }

    /// Lets time pass for all links.
    func pass(milliseconds: UInt64) throws {
        _ = world.reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: Self.retryTag)
        while true {
            while let completion = world.reactor.next() {
                if completion.tag == Self.retryTag { return }
                links[completion.tag]?.advance(completion)
            }
            try world.reactor.wait()
        }
    }

    func rows(_ link: LibpqLink, _ sql: String, _ parameters: [String?] = []) throws -> [[String?]] {
        link.query(sql, parameters)
        switch try event(of: link) {
        case .answered(let rows): return rows
        case let other: throw NothingCame(description: "\(sql): \(other)")
        }
    }
}
