import Cache
import Loop
import PGProtocol

/// `pgcache demo`: a throw-away origin, pgcache in front of it, a mixed load, and the proof.
///
/// The proof is the comparison: once writes have stopped and pgcache has received them, every read there is gets asked
/// of pgcache and of the origin, and the answers must be equal. `breaksInvalidation` runs pgcache with its
/// ears shut, to show that the comparison would notice.
/// Owner: the `demo` command. Whatever happens, `run` leaves no process and no folder behind.
final class Demo {
    struct Choice {
        var seconds = 6
        var endsAfterReport = false
        var breaksInvalidation = false
        /// More options for `pgcache run`.
        var runOptions: [String] = []
    }

    private let choice: Choice
    private let links: BlockingLinks
    private var origin: ThrowAwayOrigin?
    private var children: [ChildProcess] = []
    private var listenPort: UInt16 = 0
    private var metricsPort: UInt16 = 0

    private static let readyMilliseconds: UInt64 = 30_000
    private static let catchUpMilliseconds: UInt64 = 5000
    private static let rowsMilliseconds: UInt64 = 20_000
    static let hitRatioMin = 0.9

    init(_ choice: Choice) throws(DemoError) {
        self.choice = choice
        do { links = try BlockingLinks() } catch { throw DemoError("\(error)") }
    }

    /// - Returns: the exit status: 0, or 1 when answers differ or hits are too few, 2 when a broken invalidation
    ///   was not noticed, 130 after an interruption before the report.
    func run() -> Int32 {
        defer { remove() }
        do {
            let report = try measured()
            for line in report.lines(choice) { say(line) }
            guard !choice.endsAfterReport else { return report.status(choice) }
            say("")
            say("It stays up until Ctrl-C. Try it:")
            say("  psql 'host=127.0.0.1 port=\(listenPort) user=\(DemoShop.roleThroughCache) "
                + "dbname=\(DemoShop.database)'")
            say("  curl -s http://127.0.0.1:\(metricsPort)/status")
            links.waitForSignal()
            return report.status(choice)
        } catch {
            if error.isInterruption { return 130 }
            StandardStream.error.line("pgcache demo: \(error.description)")
            return 1
        }
    }

    private func say(_ line: String) { StandardStream.output.line(line) }

    // MARK: Steps

    private func measured() throws(DemoError) -> DemoReport {
        let origin = try startedOrigin()
        try startProxy(origin)
        try untilHits()
        let hasRows = try untilRows()
        try direct(origin) { (link) throws(LinkFailure) in
            if origin.hasStatementStatistics { try links.ask(link, "select pg_stat_statements_reset()") }
        }
        let before = try metrics()
        let load = try loaded(origin)
        let after = try metrics()
        var report = DemoReport(load: load)
        report.hits = after.metric(.queriesCacheHit) - before.metric(.queriesCacheHit)
        report.misses = after.metric(.queriesCacheMiss) - before.metric(.queriesCacheMiss)
        report.forwardedReads = Self.forwardedReads(before, after)
        report.invalidations = after.metric(.cacheInvalidations) - before.metric(.cacheInvalidations)
        report.originCalls = try originCalls(origin)
        if hasRows {
            report.rowAnswers = after.metric(.cacheRowsAnswers) - before.metric(.cacheRowsAnswers)
            report.rowChanges = after.metric(.cacheRowsOperations) - before.metric(.cacheRowsOperations)
        }
        try untilCaughtUp(origin)
        let comparison = try compared(origin)
        report.compared = comparison.count
        report.differences = comparison.differences
        return report
    }

    /// Reads that were neither hit nor miss, by reason: what is no SELECT is a write here.
    private static func forwardedReads(
        _ before: HTTPProbe.Answer, _ after: HTTPProbe.Answer
    ) -> [String: Int] {
        let earlier = before.reasons(of: .queriesForwarded)
        var counts = after.reasons(of: .queriesForwarded).filter {
            $0.key != ForwardReason.notSelect.rawValue
        }
        for reason in counts.keys { counts[reason, default: 0] -= earlier[reason] ?? 0 }
        return counts.filter { $0.value > 0 }
    }

    private func startedOrigin() throws(DemoError) -> ThrowAwayOrigin {
        let origin = try ThrowAwayOrigin(links)
        self.origin = origin
        try origin.start(links)
        try direct(origin, database: "postgres") { (link) throws(LinkFailure) in
            for sql in DemoShop.rolesSQL { try links.ask(link, sql) }
        }
        try direct(origin) { (link) throws(LinkFailure) in
            if origin.hasStatementStatistics { try links.ask(link, "create extension pg_stat_statements") }
            for sql in DemoShop.schemaSQL { try links.ask(link, sql) }
            let version = try links.ask(link, "show server_version").first?.first.flatMap { $0 } ?? "?"
            say("origin      PostgreSQL \(version) on 127.0.0.1:\(origin.port): \(DemoShop.products) products, "
                + "\(DemoShop.customers) customers, \(DemoShop.orders) orders")
        }
        return origin
    }

    private func startProxy(_ origin: ThrowAwayOrigin) throws(DemoError) {
        do {
            listenPort = try Syscalls.freePort()
            metricsPort = try Syscalls.freePort()
        } catch { throw DemoError("\(error)") }
        var options = [
            "run", "--origin", "postgres://postgres@127.0.0.1:\(origin.port)/\(DemoShop.database)",
            "--listen-socket", "127.0.0.1:\(listenPort)", "--metrics-socket", "127.0.0.1:\(metricsPort)",
        ]
        if choice.breaksInvalidation { options += ["--ignore-changes", "on"] }
        let proxy = try spawn(options + choice.runOptions, logName: "pgcache.log")
        var waited: UInt64 = 0
        while true {
            let answer = try DemoError.wrapping { () throws(LinkFailure) in
                try HTTPProbe.get("/readyz", port: metricsPort, links)
            }
            if answer?.status == 200 { break }
            guard links.exits[proxy.processID] == nil, waited < Self.readyMilliseconds else {
                throw DemoError(
                    "pgcache did not get ready: \(answer?.body ?? "no answer")\n\(log("pgcache.log"))")
            }
            try pause(milliseconds: 50)
            waited += 50
        }
        say("pgcache     on 127.0.0.1:\(listenPort), its pages on http://127.0.0.1:\(metricsPort)/status"
            + (choice.breaksInvalidation ? " (invalidation is broken on purpose)" : ""))
    }

    /// Reads until each kind of read has been answered from the cache: the tables are followed.
    private func untilHits() throws(DemoError) {
        let link = try connect(throughCache)
        defer { links.close(link) }
        var waited: UInt64 = 0
        while waited < Self.readyMilliseconds {
            let before = try metrics().metric(.queriesCacheHit)
            try DemoError.wrapping { () throws(LinkFailure) in
                for read in DemoShop.Read.allCases { try links.ask(link, read.sql(1)) }
            }
            if try metrics().metric(.queriesCacheHit) >= before + DemoShop.Read.allCases.count { return }
            try pause(milliseconds: 50)
            waited += 50
        }
        say("pgcache     has not answered each kind of read from the cache after "
            + "\(Self.readyMilliseconds / 1000) s; going on")
    }

    /// Waits until the tables are in the cache database; false where there is none.
    private func untilRows() throws(DemoError) -> Bool {
        if choice.breaksInvalidation { return false }
        let link = try connect(throughCache)
        defer { links.close(link) }
        var waited: UInt64 = 0
        var key = 1
        while waited < Self.rowsMilliseconds {
            if try metrics().metric(.cacheRowsFragments) >= DemoShop.tables { return true }
            // Misses are what makes it load.
            key += 1
            try DemoError.wrapping { () throws(LinkFailure) in
                for read in DemoShop.Read.allCases { try links.ask(link, read.sql(key)) }
            }
            try pause(milliseconds: 100)
            waited += 100
        }
        say("pgcache     has no cache database (is PostgreSQL of the origin's version installed?); going on")
        return false
    }

    private func loaded(_ origin: ThrowAwayOrigin) throws(DemoError) -> DemoLoad.Result {
        let child = try spawn(
            [
                "demo-load", "--cache-port", String(listenPort), "--origin-port", String(origin.port),
                "--seconds", String(choice.seconds),
            ], logName: "load.log")
        say("load        \(choice.seconds) s in a process of its own ...")
        let status = try DemoError.wrapping { () throws(LinkFailure) in try links.exit(of: child.processID) }
        guard status == 0, let result = DemoLoad.Result(text: log("load.log")) else {
            throw DemoError("the load failed:\n\(log("load.log"))\n\(log("pgcache.log"))")
        }
        return result
    }

    /// Reads of the load that reached the origin through pgcache, by the origin's own count.
    private func originCalls(_ origin: ThrowAwayOrigin) throws(DemoError) -> Int? {
        guard origin.hasStatementStatistics else { return nil }
        return try direct(origin) { (link) throws(LinkFailure) in
            let rows = try links.ask(
                link,
                """
                select coalesce(sum(s.calls), 0)::bigint from pg_stat_statements s join pg_roles r on r.oid = s.userid \
                where r.rolname = $1 and s.query ~ '^select.* from (products|orders|customers) '
                """, [DemoShop.roleThroughCache])
            return rows.first?.first.flatMap { $0 }.flatMap { Int($0) }
        }
    }

    /// Waits until pgcache has received what the origin has written by now.
    private func untilCaughtUp(_ origin: ThrowAwayOrigin) throws(DemoError) {
        let text = try direct(origin) { (link) throws(LinkFailure) in
            try links.ask(link, "select pg_current_wal_flush_lsn()").first?.first.flatMap { $0 } ?? ""
        }
        guard let target = LSN(text)?.withoutPageHeader.value else { return }
        var waited: UInt64 = 0
        while waited < Self.catchUpMilliseconds {
            if UInt64(clamping: try metrics().metric(.cdcAppliedLSN)) >= target { return }
            try pause(milliseconds: 20)
            waited += 20
        }
    }

    private func compared(_ origin: ThrowAwayOrigin) throws(DemoError) -> (count: Int, differences: Int) {
        let through = try connect(throughCache)
        let direct = try connect(origin.endpoint(user: DemoShop.roleDirect, database: DemoShop.database))
        defer {
            links.close(through)
            links.close(direct)
        }
        return try DemoError.wrapping { () throws(LinkFailure) in
            var differences = 0
            let reads = DemoShop.everyRead
            for (read, key) in reads {
                let sql = read.sql(key)
                let cached = try links.ask(through, sql)
                if try links.ask(direct, sql) != cached { differences += 1 }
            }
            return (reads.count, differences)
        }
    }

    // MARK: Means

    private var throughCache: Settings.Endpoint {
        var endpoint = Settings.Endpoint()
        endpoint.host = "127.0.0.1"
        endpoint.port = listenPort
        endpoint.user = DemoShop.roleThroughCache
        endpoint.database = DemoShop.database
        return endpoint
    }

    private func connect(_ endpoint: Settings.Endpoint) throws(DemoError) -> UInt64 {
        try DemoError.wrapping { () throws(LinkFailure) in try links.connect(endpoint, name: "pgcache demo") }
    }

    /// Runs `body` with a superuser's connection to the origin.
    private func direct<R>(
        _ origin: ThrowAwayOrigin, database: String = DemoShop.database,
        _ body: (UInt64) throws(LinkFailure) -> R
    ) throws(DemoError) -> R {
        let link = try connect(origin.endpoint(user: "postgres", database: database))
        defer { links.close(link) }
        return try DemoError.wrapping { () throws(LinkFailure) in try body(link) }
    }

    private func pause(milliseconds: UInt64) throws(DemoError) {
        try DemoError.wrapping { () throws(LinkFailure) in try links.pause(milliseconds: milliseconds) }
    }

    private func metrics() throws(DemoError) -> HTTPProbe.Answer {
        let answer = try DemoError.wrapping { () throws(LinkFailure) in
            try HTTPProbe.get("/metrics", port: metricsPort, links)
        }
        guard let answer, answer.status == 200 else {
            throw DemoError("pgcache does not answer on /metrics\n\(log("pgcache.log"))")
        }
        return answer
    }

    /// This very program again, with other arguments.
    private func spawn(_ arguments: [String], logName: String) throws(DemoError) -> ChildProcess {
        let path = (origin?.folder ?? "/tmp") + "/" + logName
        do {
            var plan = ChildProcess.Plan(path: "/proc/self/exe", arguments: arguments)
            plan.output = .file(path)
            plan.errors = .file(path)
            plan.hasOwnGroup = true
            let child = try ChildProcess.spawn(plan)
            children.append(child)
            try links.watch(child.processID)
            return child
        } catch { throw DemoError("\(error)") }
    }

    private func log(_ name: String) -> String {
        (try? Syscalls.readText((origin?.folder ?? "/tmp") + "/" + name)) ?? ""
    }

    private func remove() {
        links.forgetInterruption()
        for child in children where links.exits[child.processID] == nil {
            try? child.signal(15)
            _ = try? links.exit(of: child.processID)
        }
        origin?.remove(links)
    }
}
