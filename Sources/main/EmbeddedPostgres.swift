import Loop

/// A PostgreSQL of pgcache's own for the cache database: made, watched, made anew, removed.
///
/// What it holds can always be loaded from the origin again, so nothing here is careful with it: no fsync, no recovery,
/// and after every end a new, empty cluster. The server dies with us, and its folder goes at the next start then.
///
///     stopped ─start→ asking (which version is in PATH?) ─→ creating (initdb) ─→ starting ─→ running
///        ↑                 │                                    │                   │           │
///        └ ending ←─stop── ┴──────────── waiting ←──────────────┴───────────────────┴───────────┘
///                                          └─→ asking, after a while
///
/// Invariants:
/// - One child at a time, of which the reactor tells the end; a new one is started after that only.
/// - A server lives in a folder that nobody has used before.
/// - `.ended` follows `.ready` only; `.unavailable` comes with every attempt that fails.
///
/// Owner: the shell. Bounds: attempts are `retryNanosecondsMax` apart at most; each step has its longest time.
final class EmbeddedPostgres: CacheCluster {
    struct Options {
        /// What the server may use of the machine's memory.
        var memoryBytes = 256 << 20
        /// Where its folders are; made if it is not there.
        var parent = Syscalls.temporaryParent
        /// Looked up at each attempt: what is missing may be installed meanwhile.
        var programsByVersion = { PostgresPrograms.byVersion }
        var programsInPath = { PostgresPrograms.inPath }
    }

    private enum State {
        case stopped
        case asking(ChildProcess, Search)
        case creating(ChildProcess, ClusterFolder, programs: String)
        case starting(ChildProcess, ClusterFolder)
        case running(ChildProcess, ClusterFolder)
        /// The child has been told to end.
        case ending(ChildProcess, ClusterFolder?)
        /// For the timer, to try again.
        case waiting
    }

    /// Folders of PATH, of which the first is being asked for its version.
    private struct Search {
        var folders: [String]
        /// Versions that are of no use.
        var others: Set<Int>
    }

    /// Tags that belong to it, from the first one on: its child and announcements, its timer, its link, its cleaners.
    static let tagCount: UInt64 = 4
    private static let pollNanoseconds: UInt64 = 20_000_000
    private static let answerNanosecondsMax: UInt64 = 5_000_000_000
    private static let createNanosecondsMax: UInt64 = 120_000_000_000
    private static let startNanosecondsMax: UInt64 = 60_000_000_000
    private static let endNanosecondsMax: UInt64 = 10_000_000_000
    private static let retryNanosecondsMax: UInt64 = 60_000_000_000
    private static let restartNanoseconds: UInt64 = 200_000_000
    private static let restartNanosecondsMax: UInt64 = 10_000_000_000
    /// A server that ran for so long had no trouble with starting.
    private static let longNanoseconds: UInt64 = 60_000_000_000
    // Signals of PostgreSQL's shutdown modes (manual, 19.5), and the one that nobody survives.
    private static let immediateShutdown: Int32 = 3
    private static let kill: Int32 = 9

    private let reactor: Reactor
    private let tag: UInt64
    private let options: Options
    private let link: LibpqLink
    private var state = State.stopped
    /// What is wanted; nil when nothing is.
    private var plan: ClusterPlan?
    private var timer: TimerID?
    private var events: [ClusterEvent] = []
    private var hasCleaned = false
    /// Programs that remove folders; they are not waited for, and may go on after us.
    private(set) var cleanersCount = 0
    /// When the server was started, and when it was ready.
    private var sinceNanoseconds: UInt64 = 0
    /// How long to wait after the next failure, and after the next end.
    private var retryNanoseconds: UInt64 = 1_000_000_000
    private var restartNanoseconds = EmbeddedPostgres.restartNanoseconds

    /// - Parameter tag: the first of `tagCount` that nobody else uses.
    init(reactor: Reactor, resolver: NameResolver, tag: UInt64, options: Options) {
        self.reactor = reactor
        self.tag = tag
        self.options = options
        link = LibpqLink(reactor: reactor, resolver: resolver, tag: tag + 2)
    }

    deinit { stop() }

    var isStopped: Bool { if case .stopped = state { true } else { false } }

    /// The server's process number while it runs.
    var serverProcess: Int32? {
        if case .running(let child, _) = state { child.processID } else { nil }
    }

    func start(_ plan: ClusterPlan) {
        guard plan != self.plan else { return }
        stop()
        self.plan = plan
        if isStopped { begin() }
    }

    func stop() {
        plan = nil
        events = []
        switch state {
        case .stopped, .ending: return
        case .waiting:
            cancelTimer()
            state = .stopped
        case .asking(let child, _): end(child, nil, Self.kill)
        case .creating(let child, let folder, _): end(child, folder, Self.kill)
        case .starting(let child, let folder), .running(let child, let folder):
            end(child, folder, Self.immediateShutdown)
        }
    }

    func nextEvent() -> ClusterEvent? { events.isEmpty ? nil : events.removeFirst() }

    func advance(_ completion: Completion) {
        switch completion.tag {
        case tag where completion.kind == .exited: exited(completion.result)
        case tag + 1:
            timer = nil
            timerFired()
        case tag + 2:
            link.advance(completion)
            while let event = link.nextEvent() { probed(event) }
        case tag + 3: cleanersCount -= 1
        default: break
        }
    }

    // MARK: - From nothing to a server

    private func begin() {
        guard let plan else { return }
        cleanOnce()
        if let user = PostgresPrograms.user, Syscalls.user(named: user) == nil {
            return fail("PostgreSQL does not run as root, and there is no user \(user)")
        }
        let installed = options.programsByVersion()
        if let programs = installed[plan.majorVersion] { return create(programs) }
        ask(Search(folders: options.programsInPath(), others: Set(installed.keys)))
    }

    private func ask(_ search: Search) {
        guard let plan else { return }
        guard let folder = search.folders.first else {
            let others = search.others.sorted().map(String.init).joined(separator: ", ")
            return fail(
                "there is no PostgreSQL \(plan.majorVersion) on this machine"
                    + (others.isEmpty ? "" : ", only \(others)")
                    + " (initdb and postgres were looked for in /usr/lib/postgresql and PATH)")
        }
        do throws(SystemError) {
            var program = ChildProcess.Plan(path: folder + "/postgres", arguments: ["--version"])
            program.output = .pipe
            program.errors = .discarded
            program.deathSignal = Self.kill
            state = .asking(try spawn(program), search)
            startTimer(Self.answerNanosecondsMax)
        } catch {
            askNext(search, nil)
        }
    }

    private func answered(_ child: ChildProcess, _ search: Search) {
        let text = String(decoding: child.readOutput() ?? [], as: UTF8.self)
        let version = PostgresPrograms.majorVersion(in: text)
        if let folder = search.folders.first, let version, version == plan?.majorVersion {
            return create(folder)
        }
        askNext(search, version)
    }

    private func askNext(_ search: Search, _ version: Int?) {
        var rest = search
        rest.folders.removeFirst()
        if let version { rest.others.insert(version) }
        ask(rest)
    }

    private func create(_ programs: String) {
        guard let plan else { return }
        do throws(SystemError) {
            let folder = try ClusterFolder(in: options.parent, user: PostgresPrograms.user)
            guard !folder.isTooDeep else {
                remove(folder.path)
                return fail("the path of a socket in \(options.parent) would be too long")
            }
            var arguments = [
                "-D", folder.data, "-A", "trust", "-U", "pgcache", "-E", plan.encoding, "--locale=C", "--no-sync",
            ]
            if plan.majorVersion >= 14 { arguments.append("--no-instructions") }
            var initdb = program(programs + "/initdb", arguments, folder)
            initdb.deathSignal = Self.kill
            state = .creating(try spawn(initdb, in: folder), folder, programs: programs)
            startTimer(Self.createNanosecondsMax)
        } catch { fail(error.description) }
    }

    private func startServer(_ folder: ClusterFolder, _ programs: String) {
        // From here on the last words are the server's.
        Syscalls.removeFile(folder.log)
        do throws(SystemError) {
            let settings = Self.serverSettings(memoryBytes: options.memoryBytes, socketFolder: folder.path)
            var server = program(
                programs + "/postgres", ["-D", folder.data] + settings.flatMap { ["-c", $0] }, folder)
            server.deathSignal = Self.immediateShutdown
            state = .starting(try spawn(server, in: folder), folder)
            sinceNanoseconds = reactor.nowNanoseconds
            startTimer(Self.pollNanoseconds)
        } catch { fail(error.description) }
    }

    private func program(
        _ path: String, _ arguments: [String], _ folder: ClusterFolder
    ) -> ChildProcess.Plan {
        // PostgreSQL's own variables could move its socket or its data; messages are to be read here.
        var environment = ["LC_ALL": "C"]
        for name in ["PATH", "LD_LIBRARY_PATH"] { environment[name] = Syscalls.environment(name) }
        var program = ChildProcess.Plan(
            path: path, arguments: arguments, environment: environment, user: PostgresPrograms.user,
            directory: folder.path)
        program.output = .file(folder.log)
        program.errors = .file(folder.log)
        return program
    }

    private func spawn(
        _ plan: ChildProcess.Plan, in folder: ClusterFolder? = nil
    ) throws(SystemError) -> ChildProcess {
        do throws(SystemError) {
            var plan = plan
            plan.hasOwnGroup = true
            let child = try ChildProcess.spawn(plan)
            do throws(SystemError) {
                try reactor.watchChild(child.processID, tag: tag)
            } catch {
                try? child.signalGroup(Self.kill)
                throw error
            }
            return child
        } catch {
            if let folder { remove(folder.path) }
            throw error
        }
    }

    /// Settings of the server, derived from what it may use.
    static func serverSettings(memoryBytes: Int, socketFolder: String) -> [String] {
        func kilobytes(_ bytes: Int, _ range: ClosedRange<Int>) -> String {
            "\(min(max(bytes, range.lowerBound), range.upperBound) >> 10)kB"
        }
        let quoted = socketFolder.replacing("\"", with: "\"\"")
        return [
            // Nobody but us, and only through the folder.
            "listen_addresses=", "unix_socket_directories=\"\(quoted)\"", "unix_socket_permissions=0700",
            "port=\(ClusterFolder.port)", "max_connections=40", "ssl=off",
            // Nothing has to survive: after a crash of any of its processes a new cluster is made.
            "fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
            "min_wal_size=32MB", "max_wal_size=128MB", "restart_after_crash=off",
            "shared_buffers=" + kilobytes(memoryBytes / 3, 16 << 20...1 << 40),
            "work_mem=" + kilobytes(memoryBytes / 64, 1 << 20...64 << 20),
            "maintenance_work_mem=" + kilobytes(memoryBytes / 16, 8 << 20...512 << 20),
            "effective_cache_size=" + kilobytes(memoryBytes, 16 << 20...1 << 40),
            // Rows are replaced all the time.
            "autovacuum=on", "autovacuum_naptime=5s",
            // Short queries, which have to give the same bytes each time: sums of floats depend on the order.
            "jit=off", "max_parallel_workers_per_gather=0", "synchronize_seqscans=off",
            // The log has what ended the server, and does not grow with what clients do.
            "logging_collector=off", "log_destination=stderr", "log_min_messages=fatal", "log_checkpoints=off",
            "log_line_prefix=", "update_process_title=off", "timezone=UTC", "log_timezone=UTC",
        ]
    }

    // MARK: - Completions

    private func timerFired() {
        switch state {
        case .starting(let child, let folder):
            guard reactor.nowNanoseconds &- sinceNanoseconds < Self.startNanosecondsMax else {
                let reason = "the server did not start in time"
                end(child, folder, Self.kill)
                return post(.unavailable(reason))
            }
            link.connect(endpoint(folder).parameters(applicationName: "pgcache"))
        case .asking(let child, _), .creating(let child, _, _), .ending(let child, _):
            // What hangs is given up; its exit leads on.
            try? child.signalGroup(Self.kill)
        case .waiting:
            state = .stopped
            begin()
        case .stopped, .running: break
        }
    }

    /// The server took the connection, or does not take any yet.
    private func probed(_ event: LinkEvent) {
        guard case .starting(let child, let folder) = state else { return }
        switch event {
        case .connected:
            link.close()
            // Attempts that came too early have left their words there; the server appends.
            try? Syscalls.writeFile(folder.log, "")
            state = .running(child, folder)
            sinceNanoseconds = reactor.nowNanoseconds
            retryNanoseconds = 1_000_000_000
            post(.ready(endpoint(folder)))
        case .lost: startTimer(Self.pollNanoseconds)
        case .answered, .failed, .streaming, .copyData: break
        }
    }

    private func exited(_ status: Int) {
        endProbe()
        switch state {
        case .asking(let child, let search): answered(child, search)
        case .creating(_, let folder, let programs):
            if status == 0 { return startServer(folder, programs) }
            fail("initdb failed", status, folder)
        case .starting(_, let folder): fail("the server did not start", status, folder)
        case .running(_, let folder):
            if reactor.nowNanoseconds &- sinceNanoseconds > Self.longNanoseconds {
                restartNanoseconds = Self.restartNanoseconds
            }
            post(.ended(Self.reason("the server ended", status, folder)))
            wait(&restartNanoseconds, max: Self.restartNanosecondsMax)
            remove(folder.path)
        case .ending(_, let folder):
            if let folder { remove(folder.path) }
            state = .stopped
            begin()
        case .stopped, .waiting: break
        }
    }

    private func endpoint(_ folder: ClusterFolder) -> ClusterEndpoint {
        var endpoint = ClusterEndpoint()
        endpoint.host = folder.path
        endpoint.port = ClusterFolder.port
        endpoint.user = "pgcache"
        endpoint.database = "postgres"
        return endpoint
    }

    // MARK: - Ends

    private func fail(_ words: String, _ status: Int, _ folder: ClusterFolder) {
        fail(Self.reason(words, status, folder))
        remove(folder.path)
    }

    private func fail(_ reason: String) {
        post(.unavailable(reason))
        wait(&retryNanoseconds, max: Self.retryNanosecondsMax)
    }

    private func wait(_ nanoseconds: inout UInt64, max: UInt64) {
        state = .waiting
        startTimer(nanoseconds)
        nanoseconds = min(nanoseconds * 2, max)
    }

    /// How a child ended, and what it said last.
    private static func reason(_ words: String, _ status: Int, _ folder: ClusterFolder) -> String {
        let how =
            ChildProcess.exitSignal(status).map { "signal \($0)" }
            ?? "exit code \(ChildProcess.exitCode(status) ?? -1)"
        let last = folder.lastWords
        return "\(words) (\(how))" + (last.isEmpty ? "" : ": \(last)")
    }

    /// Tells a child to end; its exit leads on.
    private func end(_ child: ChildProcess, _ folder: ClusterFolder?, _ signal: Int32) {
        endProbe()
        if signal == Self.kill { try? child.signalGroup(signal) } else { try? child.signal(signal) }
        state = .ending(child, folder)
        startTimer(Self.endNanosecondsMax)
    }

    private func endProbe() {
        cancelTimer()
        link.close()
    }

    /// What killed instances have left; once, since others come and go beside us.
    private func cleanOnce() {
        if hasCleaned { return }
        hasCleaned = true
        for folder in ClusterFolder.leftOver(in: options.parent) { remove(folder) }
    }

    /// Removes a folder with all it holds, by another program: it may take longer than a turn may, and go on after us.
    private func remove(_ folder: String) {
        var cleaner = ChildProcess.Plan(path: "/bin/rm", arguments: ["-rf", "--", folder])
        cleaner.output = .discarded
        cleaner.errors = .discarded
        cleaner.hasOwnGroup = true
        cleaner.deathSignal = 0
        do throws(SystemError) {
            try reactor.watchChild(try ChildProcess.spawn(cleaner).processID, tag: tag + 3)
            cleanersCount += 1
        } catch { return }
    }

    private func startTimer(_ nanoseconds: UInt64) {
        timer = reactor.startTimer(nanoseconds: nanoseconds, tag: tag + 1)
    }

    private func cancelTimer() {
        if let timer { reactor.cancelTimer(timer) }
        timer = nil
    }

    /// Events come from calls, too: a completion makes the owner look.
    private func post(_ event: ClusterEvent) {
        events.append(event)
        reactor.enqueue(Completion(kind: .ready, socket: .none, tag: tag, result: 0))
    }
}
