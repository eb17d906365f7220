import Loop

/// A PostgreSQL of its own in a temporary folder: initdb, start, stop, remove.
///
/// For `pgcache demo`. It runs as user `postgres` when we are root (PostgreSQL refuses root), listens on a free port of
/// 127.0.0.1 and on a Unix socket in its folder, trusts everybody there, and skips fsync: its data is worth nothing.
/// Owner: the demo. `remove()` must run on every way out; a kill of the demo takes the server with it, and leaves
/// only the folder.
final class ThrowAwayOrigin {
    let folder: String
    let port: UInt16
    private let programs: String
    private let user: String?
    private var server: ChildProcess?
    /// Statistics per statement (pg_stat_statements) are there.
    let hasStatementStatistics: Bool

    private static let readyMilliseconds: UInt64 = 30_000

    /// Creates the folder and the cluster; nothing runs yet.
    init(_ links: BlockingLinks) throws(DemoError) {
        guard let programs = PostgresPrograms.newest else {
            throw DemoError(
                "no PostgreSQL server on this machine (initdb and postgres were looked for in PATH and "
                    + "/usr/lib/postgresql); on Debian: apt-get install postgresql-15")
        }
        self.programs = programs
        user = PostgresPrograms.user
        do {
            folder = try Syscalls.makeTemporaryFolder(prefix: "pgcache-demo-")
            port = try Syscalls.freePort()
        } catch { throw DemoError("\(error)") }
        // Debian and Red Hat, in this order; elsewhere the demo counts transactions instead.
        hasStatementStatistics =
            ["\(programs)/../lib", "/usr/lib64/pgsql", "\(programs)/../lib/postgresql"].contains {
                Syscalls.exists($0 + "/pg_stat_statements.so")
            }
        do {
            if let user, let owner = Syscalls.user(named: user) {
                try Syscalls.changeOwner(folder, user: owner.user, group: owner.group)
            } else if user != nil {
                throw DemoError("PostgreSQL does not run as root, and there is no user postgres")
            }
            let status = try wait(
                for: spawn("initdb", ["-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8",
                    "--locale=C", "--no-sync"], links), links)
            guard status == 0 else { throw DemoError("initdb failed:\n\(logText)") }
        } catch {
            Syscalls.removeTree(folder)
            throw error as? DemoError ?? DemoError("\(error)")
        }
    }

    private var data: String { folder + "/data" }
    private var logFile: String { folder + "/log" }
    /// The end of what initdb and the server wrote.
    var logText: String {
        let lines = ((try? Syscalls.readText(logFile)) ?? "").split(separator: "\n")
        return lines.suffix(20).joined(separator: "\n")
    }

    /// How to reach it over TCP as `user`.
    func endpoint(user: String, database: String) -> Settings.Endpoint {
        var endpoint = Settings.Endpoint()
        endpoint.host = "127.0.0.1"
        endpoint.port = port
        endpoint.user = user
        endpoint.database = database
        return endpoint
    }

    /// Starts the server and waits until it answers.
    func start(_ links: BlockingLinks) throws(DemoError) {
        var options = [
            "wal_level=logical", "fsync=off", "listen_addresses=127.0.0.1", "port=\(port)",
            "unix_socket_directories=\(folder)", "max_connections=100", "max_wal_senders=10",
            "max_replication_slots=10", "shared_buffers=64MB", "logging_collector=off",
        ]
        if hasStatementStatistics { options.append("shared_preload_libraries=pg_stat_statements") }
        let child = try spawn("postgres", ["-D", data] + options.flatMap { ["-c", $0] }, links)
        server = child
        try DemoError.wrapping { () throws(LinkFailure) in
            var waited: UInt64 = 0
            while true {
                let first = endpoint(user: "postgres", database: "postgres")
                if let link = try? links.connect(first, name: "pgcache demo") {
                    links.close(link)
                    return
                }
                guard waited < Self.readyMilliseconds, links.exits[child.processID] == nil else {
                    throw .refused(state: "", message: "the origin did not start:\n\(logText)")
                }
                try links.pause(milliseconds: 50)
                waited += 50
            }
        }
    }

    /// Ends the server at once and removes the folder. Harmless when called again.
    func remove(_ links: BlockingLinks) {
        if let server {
            // SIGQUIT is PostgreSQL's immediate shutdown (manual, 19.5): nothing here is worth a checkpoint.
            try? server.signal(3)
            _ = try? wait(for: server, links)
        }
        server = nil
        Syscalls.removeTree(folder)
    }

    private func spawn(
        _ program: String, _ arguments: [String], _ links: BlockingLinks
    ) throws(DemoError) -> ChildProcess {
        do {
            var plan = ChildProcess.Plan(path: programs + "/" + program, arguments: arguments)
            plan.user = user
            plan.directory = folder
            plan.output = .file(logFile)
            plan.errors = .file(logFile)
            plan.hasOwnGroup = true
            // PostgreSQL's immediate shutdown, should we be killed (manual, 19.5).
            plan.deathSignal = 3
            let child = try ChildProcess.spawn(plan)
            try links.watch(child.processID)
            return child
        } catch { throw DemoError("\(program): \(error)") }
    }

    private func wait(for child: ChildProcess, _ links: BlockingLinks) throws(DemoError) -> Int32 {
        try DemoError.wrapping { () throws(LinkFailure) in try links.exit(of: child.processID) }
    }
}

/// Why the demo cannot go on.
struct DemoError: Error, CustomStringConvertible {
    var description: String
    var isInterruption = false

    init(_ description: String) { self.description = description }

    init(_ failure: LinkFailure) {
        description = failure.description
        isInterruption = failure == .interrupted
    }

    static func wrapping<R>(_ body: () throws(LinkFailure) -> R) throws(DemoError) -> R {
        do { return try body() } catch { throw DemoError(error) }
    }
}
