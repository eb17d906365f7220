import Loop
import Testing

@testable import Shell

/// A real cluster, from nothing to its end and back.
@Suite(.serialized)
struct EmbeddedPostgresTests {
    private static let plan = ClusterPlan(majorVersion: 15, encoding: "LATIN1")

    @Test(arguments: ReactorBackend.allCases)
    func itIsMadePrivateAndEmptyAndLeavesNothing(_ backend: ReactorBackend) throws {
        let world = try ClusterWorld(backend)
        world.cluster.start(Self.plan)
        let endpoint = try world.ready()
        let link = try world.connected(endpoint)
        let settings = try world.rows(
            link,
            """
            select name, setting from pg_settings where name in ('server_encoding', 'lc_collate', 'fsync',
            'listen_addresses', 'wal_level', 'shared_buffers', 'restart_after_crash', 'TimeZone', 'jit') order by name
            """)
        #expect(settings.map { "\($0[0] ?? "")=\($0[1] ?? "")" } == [
            "TimeZone=UTC", "fsync=off", "jit=off", "lc_collate=C", "listen_addresses=", "restart_after_crash=off",
            "server_encoding=LATIN1", "shared_buffers=10923", "wal_level=minimal",
        ])
        #expect(try world.rows(link, "select usesuper from pg_user where usename = current_user") == [["t"]])
        #expect(world.folders == [endpoint.host])
        #expect(world.cluster.serverProcess != nil)
        world.cluster.start(Self.plan)
        try world.pass(milliseconds: 20)
        #expect(world.cluster.nextEvent() == nil, "the same plan changes nothing")

        world.cluster.stop()
        #expect(!world.cluster.isStopped)
        try world.wait { world.cluster.isStopped && world.folders.isEmpty }
        #expect(world.cluster.nextEvent() == nil)
        world.cluster.stop()
    }

    @Test(arguments: ReactorBackend.allCases)
    func aKilledServerComesBackEmpty(_ backend: ReactorBackend) throws {
        let world = try ClusterWorld(backend)
        world.cluster.start(Self.plan)
        let first = try world.ready()
        let link = try world.connected(first)
        _ = try world.rows(link, "create table t as select 1")
        try Syscalls.sendSignal(9, to: try #require(world.cluster.serverProcess))
        guard case .ended(let words) = try world.event() else {
            Issue.record("a killed server has ended")
            return
        }
        #expect(words.hasPrefix("the server ended (signal 9)"))
        let second = try world.ready()
        #expect(second.host != first.host)
        let again = try world.connected(second)
        #expect(try world.rows(again, "select to_regclass('t')") == [[nil]])

        // A crash of one backend ends the whole server, too, and does not bring back what was there.
        let backendProcess = again.backendProcess
        try Syscalls.sendSignal(9, to: backendProcess)
        guard case .ended(let reason) = try world.event() else {
            Issue.record("the server must not recover by itself")
            return
        }
        #expect(reason.hasPrefix("the server ended (exit code"))
        _ = try world.ready()
        try world.wait { world.folders.count == 1 }

        // Stopped while it is made, begun anew with another plan, stopped while it waits.
        world.cluster.stop()
        world.cluster.start(ClusterPlan(majorVersion: 15, encoding: "UTF8"))
        let third = try world.ready()
        #expect(try world.rows(try world.connected(third), "show server_encoding") == [["UTF8"]])
        world.cluster.start(Self.plan)
        try world.pass(milliseconds: 30)
        world.cluster.stop()
        try world.wait { world.cluster.isStopped && world.folders.isEmpty }
    }

    @Test func whatCannotBeMadeIsSaidAndTriedAgain() throws {
        let world = try ClusterWorld(.epoll)
        world.cluster.start(ClusterPlan(majorVersion: 9, encoding: "UTF8"))
        for _ in 0..<2 {
            guard case .unavailable(let reason) = try world.event() else {
                Issue.record("nobody has PostgreSQL 9")
                return
            }
            #expect(reason.hasPrefix("there is no PostgreSQL 9 on this machine, only "))
            #expect(reason.contains("15"))
        }
        world.cluster.start(ClusterPlan(majorVersion: 15, encoding: "NOTHING"))
        guard case .unavailable(let reason) = try world.event() else {
            Issue.record("there is no such encoding")
            return
        }
        #expect(reason.hasPrefix("initdb failed (exit code 1)"))
        #expect(reason.contains("NOTHING"))
        world.cluster.stop()
        #expect(world.cluster.isStopped)
        try world.wait { world.folders.isEmpty }

        let nowhere = try ClusterWorld(.epoll, parent: "/dev/null/folder")
        nowhere.cluster.start(Self.plan)
        guard case .unavailable = try nowhere.event() else {
            Issue.record("a file is no folder")
            return
        }
        let deep = try ClusterWorld(.epoll, parent: world.parent + "/" + String(repeating: "x", count: 80))
        deep.cluster.start(Self.plan)
        guard case .unavailable(let words) = try deep.event() else {
            Issue.record("a socket's path has 107 bytes")
            return
        }
        #expect(words.contains("too long"))
        try deep.wait { deep.folders.isEmpty }
    }

    /// Of what PATH has, the version that is wanted is taken, and what gives no answer is passed over.
    @Test func versionsInPathAreAskedFor() throws {
        let world = try ClusterWorld(.epoll) { options, parent in
            let programs = PostgresPrograms.byVersion
            for (name, answer) in [("old", "echo 'postgres (PostgreSQL) 9.6.1'"), ("mute", "exit 1")] {
                let folder = "\(parent)/\(name)"
                try Syscalls.makeFolder(folder)
                for program in ["initdb", "postgres"] {
                    try Syscalls.writeFile("\(folder)/\(program)", "#!/bin/sh\n\(answer)\n", permissions: 0o755)
                }
            }
            options.programsByVersion = { programs.filter { $0.key != 15 } }
            options.programsInPath = {
                ["\(parent)/mute", "\(parent)/gone", "\(parent)/old"] + (programs[15].map { [$0] } ?? [])
            }
        }
        world.cluster.start(Self.plan)
        let endpoint = try world.ready()
        #expect(try world.rows(try world.connected(endpoint), "show server_encoding") == [["LATIN1"]])
        world.cluster.start(ClusterPlan(majorVersion: 7, encoding: "UTF8"))
        guard case .unavailable(let reason) = try world.event() else {
            Issue.record("nobody has PostgreSQL 7")
            return
        }
        #expect(reason.contains(", only 9, 15 ("))
    }

    @Test func whatKilledInstancesHaveLeftIsRemoved() throws {
        let world = try ClusterWorld(.epoll)
        let left = world.parent + "/" + ClusterFolder.prefix + "left"
        let alive = world.parent + "/" + ClusterFolder.prefix + "alive"
        for folder in [left, alive] {
            try Syscalls.makeFolder(folder)
            try Syscalls.makeFolder(folder + "/data")
            // Not a server of ours, whatever runs there.
            try Syscalls.writeFile(folder + "/data/postmaster.pid", "1\n")
        }
        let lock = try Syscalls.lockFolder(alive)
        defer { Syscalls.unlockFolder(lock) }
        try Syscalls.writeFile(world.parent + "/file", "of somebody else's")
        world.cluster.start(Self.plan)
        let endpoint = try world.ready()
        try world.wait { !Syscalls.exists(left) }
        #expect(world.folders == [alive, endpoint.host].sorted())
        #expect(Syscalls.exists(world.parent + "/file"))
        // Another instance beside this one leaves it alone.
        #expect(ClusterFolder.leftOver(in: world.parent).isEmpty)
        world.cluster.stop()
        try world.wait { world.cluster.isStopped }
    }

    @Test func anExistingServerIsReadyAtOnce() throws {
        let reactor = try EpollReactor()
        let resolver = NameResolver(reactor: reactor, tag: 1)
        var rows = Settings.Rows()
        var server = Settings.Endpoint()
        server.host = "/run/cache"
        rows.server = server
        let cluster = rows.makeCluster(reactor: reactor, resolver: resolver, tag: 7)
        #expect(cluster.isStopped)
        cluster.start(Self.plan)
        let completion = try #require(reactor.next())
        #expect(completion.tag == 7)
        cluster.advance(completion)
        #expect(cluster.nextEvent() == .ready(server))
        #expect(cluster.nextEvent() == nil)
        cluster.stop()
        #expect(cluster.isStopped)
        rows.server = nil
        #expect(rows.makeCluster(reactor: reactor, resolver: resolver, tag: 7) is EmbeddedPostgres)
    }

    @Test func memoryIsShared() {
        let settings = EmbeddedPostgres.serverSettings(memoryBytes: 768 << 20, socketFolder: "/a \"b\"")
        #expect(settings.contains("shared_buffers=262144kB"))
        #expect(settings.contains("work_mem=12288kB"))
        #expect(settings.contains("unix_socket_directories=\"/a \"\"b\"\"\""))
        #expect(EmbeddedPostgres.serverSettings(memoryBytes: 0, socketFolder: "/a").contains("shared_buffers=16384kB"))
    }

    @Test(arguments: [
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", 15), ("postgres (PostgreSQL) 18beta1\n", 18),
        ("postgres (PostgreSQL) devel", nil), ("bash: no such file", nil), ("", nil),
    ] as [(String, Int?)])
    func versionsAreRead(text: String, major: Int?) {
        #expect(PostgresPrograms.majorVersion(in: text) == major)
    }
}

/// A cluster in a folder of its own, and links to it.
private final class ClusterWorld {
    let reactor: KernelReactor
    let cluster: EmbeddedPostgres
    let parent: String
    private let resolver: NameResolver
    private var links: [UInt64: LibpqLink] = [:]
    private let removesParent: Bool
    private static let resolverTag: UInt64 = 1
    private static let guardTag: UInt64 = 2
    private static let timerTag: UInt64 = 3
    private static let clusterTag: UInt64 = 100

    init(
        _ backend: ReactorBackend, parent given: String? = nil,
        _ change: (inout EmbeddedPostgres.Options, String) throws -> Void = { _, _ in }
    ) throws {
        reactor = try backend.makeReactor()
        resolver = NameResolver(reactor: reactor, tag: Self.resolverTag)
        parent = try given ?? Syscalls.makeTemporaryFolder(prefix: "cluster-test-")
        removesParent = given == nil
        // The server's user has to get through.
        if removesParent { try Syscalls.changePermissions(parent, 0o755) }
        var options = EmbeddedPostgres.Options(memoryBytes: 256 << 20, parent: parent)
        try change(&options, parent)
        cluster = EmbeddedPostgres(
            reactor: reactor, resolver: resolver, tag: Self.clusterTag, options: options)
    }

    deinit {
        cluster.stop()
        // A child that nobody reaps keeps Swift Testing from seeing the ends of its own, of exit tests.
        try? wait { cluster.isStopped && cluster.cleanersCount == 0 }
        if removesParent { Syscalls.removeTree(parent) }
    }

    struct NothingCame: Error {}

    /// Folders of clusters, whole or in the making.
    var folders: [String] {
        Syscalls.names(in: parent).filter { $0.hasPrefix("pgcache-") }.map { parent + "/" + $0 }
    }

    private func turn() throws -> Bool {
        try reactor.wait()
        var hasTimerFired = false
        while let completion = reactor.next() {
            switch completion.tag {
            case Self.resolverTag: resolver.advance(completion)
            case Self.guardTag: throw NothingCame()
            case Self.timerTag: hasTimerFired = true
            case Self.clusterTag..<Self.clusterTag + EmbeddedPostgres.tagCount: cluster.advance(completion)
            default: links[completion.tag]?.advance(completion)
            }
        }
        return hasTimerFired
    }

    private func until<R>(_ body: () throws -> R?) throws -> R {
        let limit = reactor.startTimer(nanoseconds: 60_000_000_000, tag: Self.guardTag)
        defer { reactor.cancelTimer(limit) }
        while true {
            if let result = try body() { return result }
            _ = try turn()
        }
    }

    func event() throws -> ClusterEvent { try until { cluster.nextEvent() } }

    func ready() throws -> ClusterEndpoint {
        switch try event() {
        case .ready(let endpoint): return endpoint
        case let other:
            Issue.record("\(other)")
            throw NothingCame()
        }
    }

    func pass(milliseconds: UInt64) throws {
        _ = reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: Self.timerTag)
        while try !turn() {}
    }

    func wait(_ condition: () -> Bool) throws {
        for _ in 0..<3000 where !condition() { try pass(milliseconds: 10) }
        if !condition() { throw NothingCame() }
    }

    func connected(_ endpoint: ClusterEndpoint) throws -> LibpqLink {
        let tag = UInt64(1000 + links.count)
        let link = LibpqLink(reactor: reactor, resolver: resolver, tag: tag)
        links[tag] = link
        link.connect(endpoint.parameters(applicationName: "test"))
        #expect(try until { link.nextEvent() } == .connected)
        return link
    }

    func rows(_ link: LibpqLink, _ sql: String) throws -> [[String?]] {
        link.query(sql, [])
        guard case .answered(let rows) = try until({ link.nextEvent() }) else { throw NothingCame() }
        return rows
    }
}
