import CDC
import Cache
import Logging
import Loop
import PGProtocol

/// From settings to a running proxy, and the end of one: signals, timers, listeners, the origin's address.
extension Proxy {
    /// Runs until a signal ends it.
    /// - Parameter reload: settings as they are now, for SIGHUP; nil where they cannot be used.
    /// - Returns: the process' exit status.
    public static func run(_ settings: Settings, reload: @escaping () -> Settings?) -> Int32 {
        let log = Logger.ofProcess(settings.logLevel)
        if let flaw = StatementParser.selfTest() {
            log.error("libpg_query is not laid out as expected", metadata: ["flaw": "\(flaw)"])
            return 70
        }
        do throws(SystemError) {
            if let processor = settings.processor { try Syscalls.pinToProcessor(processor) }
            Signals.ignoreBrokenPipes()
            _ = try Syscalls.raiseDescriptorLimit()
            let reactor: Reactor =
                switch settings.reactor {
                case .epoll: try EpollReactor()
                case .ioUring: try RingReactor()
                }
            let resolver = NameResolver(reactor: reactor, tag: Tag(.resolver).value)
            let random = try Syscalls.randomBytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let proxy = Proxy(
                settings: settings, reactor: reactor, resolver: resolver, log: log,
                makeLink: { LibpqLink(reactor: $0, resolver: $1, tag: $2) }, seed: random)
            proxy.reload = reload
            proxy.makeCacheDatabase()
            try proxy.start()
            try proxy.run()
            return 0
        } catch {
            log.error("cannot run", metadata: ["error": "\(error)"])
            return 1
        }
    }

    /// Opens what the proxy listens on, and begins to follow the origin.
    public func start() throws(SystemError) {
        try reactor.watchSignals(Signals.all, tag: Tag(.signal).value)
        if let listen = settings.listen.socket {
            try self.listen(.tcp(address: listen.numericHost, port: listen.port))
        }
        if let path = settings.listen.unixSocket { try self.listen(.unix(path: path)) }
        if let metrics = settings.metrics.socket {
            let server = try AdminServer(
                address: metrics.numericHost, port: metrics.port, pages: self)
            adminSocket = try reactor.adopt(server.descriptor, tag: Tag(.admin).value)
            reactor.poll(adminSocket, .readable)
            admin = server
        }
        resolveOrigin()
        _ = startClock(.sweep, milliseconds: 1000)
        startFreshnessTimer()
        startReplication()
        log.info(
            "pgcache listens",
            metadata: [
                "socket": "\(settings.listen.socket?.description ?? "-")",
                "unix": "\(settings.listen.unixSocket ?? "-")",
                "origin": "\(settings.origin.host):\(settings.origin.port)/\(settings.origin.database)",
                "reactor": "\(settings.reactor.rawValue)",
            ])
    }

    private func listen(_ address: SocketAddress) throws(SystemError) {
        listeners.append(
            try reactor.listen(on: address, backlog: 1024, tag: Tag(.listener).value))
    }

    // MARK: - The origin's address

    /// Looks the origin's name up; clients connect to the last address that was found.
    func resolveOrigin() {
        let origin = settings.origin
        if origin.isUnixSocket {
            originAddress = .unix(path: "\(origin.host)/.s.PGSQL.\(origin.port)")
        } else if originQuery == nil {
            originQuery = resolver.resolve(
                origin.host, port: origin.port, tag: Tag(.clock, index: Clock.resolve.rawValue).value)
        }
    }

    /// A name may lead elsewhere after a failover: it is looked up again every few seconds.
    private func originResolved() {
        guard let query = originQuery else {
            resolveOrigin()
            return
        }
        guard let answer = resolver.takeAnswer(query) else { return }
        originQuery = nil
        switch answer {
        case .found(let addresses):
            if let first = addresses.first { originAddress = first }
        case .failed(let words):
            log.warning("the origin's name is not resolved", metadata: ["reason": "\(words)"])
        }
        _ = startClock(.resolve, milliseconds: 5000)
    }

    // MARK: - Timers

    func clockCompleted(_ tag: Tag) {
        switch Clock(rawValue: tag.index) {
        case .sweep: sweep()
        case .follow:
            isFollowTimerRunning = false
            releaseSlowFollowers()
        case .beat: beatTimerFired()
        case .feed:
            replication.feedTimer = nil
            perform(replication.feed.clockReached(now))
        case .publication:
            replication.publicationTimer = nil
            perform(replication.publication.clockReached(now))
        case .catalogPoll: pollTimerFired()
        case .freshness: freshnessTimerFired()
        case .reconnect: reconnect()
        case .resolve: originResolved()
        case .shutdown: hasStopped = true
        case .admin: adminCompleted()
        case nil: break
        }
    }

    /// Once a second: what takes too long is given up.
    private func sweep() {
        let now = reactor.nowNanoseconds
        connections.forEach { connection in
            if connection.pointee.deadlineNanoseconds <= now { close(connection) }
        }
        checkBeat()
        // Nobody may be waiting, but how far behind we are should be known.
        replication.isLagBeatDue = replication.feed.isLive
        _ = startClock(.sweep, milliseconds: 1000)
        stopIfDone()
    }

    /// A watermark that takes longer to pass a beat is not waited for.
    static let lateMilliseconds: UInt64 = 20

    /// The session waits for somebody else's answer, or for the watermark, but not for ever.
    func patience(of connection: UnsafeMutablePointer<Connection>) {
        let isFollower = connection.pointee.session.awaited != nil
        guard isFollower || connection.pointee.session.awaitsBeat,
            connection.pointee.followDeadlineNanoseconds == .max
        else { return }
        let milliseconds =
            isFollower
            ? settings.coalesceMilliseconds
            : connection.pointee.session.awaitsOwnWrite
                ? settings.readYourWritesMilliseconds : min(settings.coalesceMilliseconds, Proxy.lateMilliseconds)
        connection.pointee.followDeadlineNanoseconds =
            reactor.nowNanoseconds &+ milliseconds &* 1_000_000
        startFollowTimer()
    }

    private func startFollowTimer() {
        if isFollowTimerRunning { return }
        isFollowTimerRunning = true
        _ = startClock(
            .follow, milliseconds: max(min(settings.coalesceMilliseconds, Proxy.lateMilliseconds) / 2, 1))
    }

    private func releaseSlowFollowers() {
        let now = reactor.nowNanoseconds
        var isAnyoneWaiting = false
        connections.forEach { connection in
            if connection.pointee.session.awaitsBeat {
                if connection.pointee.followDeadlineNanoseconds <= now {
                    store.watermarkIsLate(forWrites: connection.pointee.session.awaitsOwnWrite)
                } else {
                    isAnyoneWaiting = true
                }
            }
            guard connection.pointee.session.awaited != nil else { return }
            if connection.pointee.followDeadlineNanoseconds <= now {
                store.counters.coalesceTimeouts += 1
                connection.pointee.session.followerReleased()
                wake(connection)
            } else {
                isAnyoneWaiting = true
            }
        }
        if isAnyoneWaiting { startFollowTimer() }
    }

    // MARK: - Signals and the end

    func signalled(_ number: Int32) {
        if number == Signals.hangup {
            reloadSettings()
        } else if isStopping {
            hasStopped = true
        } else {
            stop()
        }
    }

    /// What can change at run time does; the rest needs a new process.
    private func reloadSettings() {
        guard let fresh = reload() else { return }
        log.logLevel = fresh.logLevel.level
        store.setBytesMax(fresh.cacheLimits.memoBytesMax)
        store.setAllowedTables(fresh.allowedTables)
        settings.logLevel = fresh.logLevel
        settings.memo.bytesMax = fresh.memo.bytesMax
        settings.allowedTables = fresh.allowedTables
        settings.coalesceMilliseconds = fresh.coalesceMilliseconds
        settings.catalogPollMilliseconds = fresh.catalogPollMilliseconds
        replication.publication.setPollMilliseconds(fresh.catalogPollMilliseconds)
        settings.shutdownMilliseconds = fresh.shutdownMilliseconds
        log.info("settings reloaded")
        if fresh != settings { log.warning("some changed settings take effect after a restart") }
    }

    /// No new clients; idle ones hear why they have to go; busy ones may finish; slot and publication go.
    private func stop() {
        isStopping = true
        log.info("stopping", metadata: ["connections": "\(connections.count)"])
        for listener in listeners { reactor.close(listener) }
        listeners = []
        _ = startClock(.shutdown, milliseconds: settings.shutdownMilliseconds)
        perform(replication.feed.stopped(now: now))
        cacheDatabase?.stop()
        endIdleConnections()
    }

    /// Ends every connection that is not in the middle of something.
    func endIdleConnections() {
        guard isStopping else { return }
        connections.forEach { connection in
            guard connection.pointee.state == .open, !connection.pointee.session.isBusy else { return }
            fail(
                connection,
                WireError(
                    .fatal, .adminShutdown, "terminating connection due to administrator command"))
        }
    }

    func stopIfDone() {
        guard isStopping else { return }
        endIdleConnections()
        if replication.isFeedFinished, replication.isPublicationFinished, connections.count == 0,
            cacheDatabase?.hasStopped ?? true
        {
            log.info("stopped")
            hasStopped = true
        }
    }
}

extension Settings.HostPort {
    /// Listening needs an address, not a name.
    var numericHost: String {
        switch host {
        case "localhost": "127.0.0.1"
        case "*", "": "0.0.0.0"
        default: host
        }
    }
}

extension Settings {
    /// What the cache needs to know.
    var cacheLimits: CacheStore.Limits {
        var limits = CacheStore.Limits()
        limits.memoBytesMax = min(memo.bytesMax, cacheBytesMax ?? memo.bytesMax)
        limits.entryBytesMax = memo.entryBytesMax
        limits.usesFIFO = memo.policy == .fifo
        limits.admissionThreshold = memo.admissionThreshold
        limits.statementsMax = statementsMax
        limits.statementBytesMax = statementBytesMax
        limits.allowedTables = Set(allowedTables.map { $0.lowercased() })
        limits.readYourWrites = readYourWrites
        limits.cachesInTransactions = cachesInTransactions
        limits.customSettings = customSettings
        limits.ignoresChanges = ignoresChanges
        limits.sharesBeats = sharesBeats
        limits.database = origin.database
        if rows.isOn {
            var bounds = RowLimits()
            bounds.tableBytesMax = rows.tableBytesMax
            bounds.spareRows = rows.spareRows
            bounds.fragmentsMax = rows.fragmentsMax
            bounds.fragmentBytesMax = rows.fragmentBytesMax
            bounds.populationsMax = rows.populationsMax
            bounds.admissionThreshold = memo.admissionThreshold + 1
            bounds.bytesMax = cacheBytesMax ?? limits.memoBytesMax + bounds.bytesMax
            limits.rows = bounds
            limits.pinnedQueries = rows.pinnedQueries
            limits.pinnedTables = rows.pinnedTables
        }
        return limits
    }
}
