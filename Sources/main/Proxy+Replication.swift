import CDC
import Cache
import Logging
import Loop
import PGProtocol

/// The change stream: the machines' actions performed, the links' events told.
extension Proxy {
    /// One snapshot and one position, for everybody who waits [T8], and how much of the WAL is on disk.
    static let beatQuery =
        "select pg_catalog.pg_current_snapshot()::pg_catalog.text, "
        + "pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, "
        + "pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text"
    /// Behind it: a transaction with a number is flushed when it commits, and with it all that was written before.
    private static let flush = ", pg_catalog.pg_current_xact_id()::pg_catalog.text"

    func linkCompleted(_ completion: Completion, _ tag: Tag) {
        guard let role = LinkRole(rawValue: tag.index), let link = links[role] else { return }
        link.advance(completion)
        drainEvents(of: link, role)
    }

    private func drainEvents(of link: any PostgresLink, _ role: LinkRole) {
        var next = link.nextEvent()
        while let event = next {
            next = nil
            switch role {
            case .control: controlEvent(event)
            case .catalog: catalogEvent(event)
            case .publication: publicationEvent(event, link)
            case .replication:
                next = link.nextEvent()
                replicationEvent(event, link, moreFollow: next != nil)
            }
            if next == nil { next = link.nextEvent() }
        }
    }

    // MARK: - Starting

    func startReplication() {
        connectControl()
        connectCatalog()
        perform(replication.publication.started(now: now))
    }

    func parameters(
        _ endpoint: Settings.Endpoint, application: String, options: String
    ) -> [(keyword: String, value: String)] {
        endpoint.parameters(applicationName: application)
            + [(keyword: "options", value: options)]
    }

    func connectControl() {
        links[.control]?.connect(
            parameters(
                settings.origin, application: "pgcache control",
                options: "-c statement_timeout=0 -c default_transaction_read_only=off -c synchronous_commit=local"))
    }

    /// Compiling a question takes seconds, and answering it milliseconds: no JIT.
    func connectCatalog() {
        links[.catalog]?.connect(
            parameters(
                settings.origin, application: "pgcache catalog",
                options: ConnectionOptions.fixed + " -c statement_timeout=30000 -c lock_timeout=2000 -c jit=off"))
    }

    // MARK: - Beats

    private func controlEvent(_ event: LinkEvent) {
        switch event {
        case .answered(let rows):
            replication.beatDeadlineNanoseconds = .max
            guard let row = rows.first, row.count >= 3, let text = row[0], let position = row[1],
                let snapshot = Snapshot(text), let lsn = LSN(position), let flushed = row[2].flatMap({ LSN($0) })
            else {
                store.beatFailed()
                return
            }
            store.beatAnswered(snapshot, lsn)
            if flushed < lsn.withoutPageHeader, !replication.isFlushing,
                reactor.nowNanoseconds &- replication.advancedNanoseconds > Proxy.quietNanoseconds
            {
                store.watermarkIsStalled()
            }
            if store.takePublicationChange() {
                perform(replication.publication.changedByOthers(now: now))
            }
            perform(replication.feed.originObserved(lsn, now: now))
            if replication.publicationWantsBeat {
                replication.publicationWantsBeat = false
                perform(replication.publication.snapshotArrived(snapshot, now: now))
            }
        case .failed(let state, let message):
            replication.beatDeadlineNanoseconds = .max
            log.warning("beat failed", metadata: ["state": "\(state)", "message": "\(message)"])
            if replication.isFlushing { replication.mayFlush = false }
            store.beatFailed()
        case .lost(_, let message):
            controlLost(message)
        case .connected, .streaming, .copyData:
            break
        }
    }

    func settleReplication() {
        while let wanted = store.nextFollow() {
            perform(
                replication.publication.relationWanted(
                    wanted.oid, schema: wanted.schema, name: wanted.name, now: now))
        }
        beatIfWanted()
    }

    private func beatIfWanted() {
        // Most turns want nothing: that comes first.
        let (isWanted, isUrgent) = store.wantsBeat
        guard isWanted || replication.wantsBeat, !store.isBeatInFlight,
            let link = links[.control], link.isIdle
        else { return }
        if isUrgent || replication.wantsBeat {
            replication.isLagBeatDue = false
            beat(link)
        } else if isWanted, !replication.isBeatTimerRunning {
            // No client waits: one beat for all that comes within this time.
            replication.isBeatTimerRunning = true
            _ = startClock(.beat, milliseconds: 5)
        }
    }

    func beatTimerFired() {
        replication.isBeatTimerRunning = false
        guard !store.isBeatInFlight, let link = links[.control], link.isIdle,
            store.wantsBeat.isWanted
        else { return }
        beat(link)
    }

    private func beat(_ link: any PostgresLink) {
        replication.beatDeadlineNanoseconds = reactor.nowNanoseconds &+ Proxy.beatNanosecondsMax
        store.beatBegan()
        replication.staleness.reached(store.reachedBeat)
        replication.staleness.beatBegan(store.beatsBegun, nowNanoseconds: reactor.nowNanoseconds)
        let now = reactor.nowNanoseconds
        replication.isFlushing =
            replication.mayFlush && replication.feed.isLive && replication.staleness.isStalled(now: now)
            && now &- replication.flushedNanoseconds > Staleness.stallNanoseconds
        if replication.isFlushing { replication.flushedNanoseconds = now }
        link.query(Proxy.beatQuery + (replication.isFlushing ? Proxy.flush : ""), [])
    }

    /// Before anything else in a turn: what is older than it may be is not served [T7].
    func limitStaleness() {
        guard replication.staleness.boundNanoseconds > 0 else { return }
        replication.staleness.reached(store.reachedBeat)
        store.setStale(replication.staleness.isExceeded(now: reactor.nowNanoseconds))
    }

    /// While there are clients, the watermark's age is asked for four times as often as it may grow too old.
    func freshnessTimerFired() {
        if connections.count > 0, replication.feed.isLive { replication.isLagBeatDue = true }
        startFreshnessTimer()
    }

    func startFreshnessTimer() {
        guard settings.maxStalenessMilliseconds > 0 else { return }
        _ = startClock(.freshness, milliseconds: max(settings.maxStalenessMilliseconds / 4, 1))
    }

    /// With commits more often than this, the next one puts on disk what is not there yet.
    private static let quietNanoseconds: UInt64 = 1_000_000

    /// A half-open connection would never answer.
    private static let beatNanosecondsMax: UInt64 = 10_000_000_000

    /// Gives the control connection up when a beat has been under way for too long.
    func checkBeat() {
        guard reactor.nowNanoseconds > replication.beatDeadlineNanoseconds else { return }
        links[.control]?.close()
        controlLost("a beat was not answered")
    }

    private func controlLost(_ message: String) {
        replication.beatDeadlineNanoseconds = .max
        store.beatFailed()
        if isStopping { return }
        log.warning("control connection lost", metadata: ["message": "\(message)"])
        reconnectLater(.control)
    }

    // MARK: - Publication

    private func publicationEvent(_ event: LinkEvent, _ link: any PostgresLink) {
        switch event {
        case .connected:
            perform(
                replication.publication.linkConnected(serverVersion: link.serverVersion, now: now))
        case .answered(let rows):
            perform(replication.publication.linkAnswered(rows: rows, now: now))
        case .failed(let state, let message):
            perform(replication.publication.linkFailed(state: state, message: message, now: now))
        case .lost(let state, let message):
            perform(replication.publication.linkLost(state: state, message: message, now: now))
        case .streaming, .copyData:
            break
        }
    }

    func perform(_ actions: [PublicationAction]) {
        for action in actions { perform(action) }
    }

    private func perform(_ action: PublicationAction) {
        switch action {
        case .connect:
            links[.publication]?.connect(
                parameters(
                    settings.origin, application: replication.publication.applicationName,
                    options: replication.publication.connectionOptions))
        case .query(let sql): links[.publication]?.query(sql, [])
        case .close: links[.publication]?.close()
        case .wake(let instant):
            rearm(&replication.publicationTimer, .publication, at: instant)
        case .beatWanted: replication.publicationWantsBeat = true
        case .ready(let name, let isNew):
            log.info("publication ready", metadata: ["name": "\(name)", "new": "\(isNew)"])
            // A stream that runs under this name goes on, unless the publication was made anew.
            if isNew || !replication.isFeedStarted {
                replication.isFeedStarted = true
                perform(replication.feed.started(publication: name, now: now))
            } else if replication.feed.isLive {
                replication.trouble = nil
            }
        case .followed(let relations):
            log.info("relations followed", metadata: ["oids": "\(relations)"])
            store.relationsFollowed(relations)
        case .unfollowed(let relations):
            log.info("relations no longer followed", metadata: ["oids": "\(relations)"])
            store.relationsUnfollowed(relations)
        case .refused(let relation, let reason):
            log.warning(
                "relation not followed", metadata: ["oid": "\(relation)", "reason": "\(reason)"])
            store.relationRefused(relation)
        case .grown: store.schemaChanged()
        case .eventTriggerReady:
            replication.eventTriggerTrouble = nil
            log.info("event trigger ready")
        case .eventTriggerMissing(let state, let message):
            replication.eventTriggerTrouble = message
            log.warning(
                "no event trigger, changes of the schema by others are noticed by the poll",
                metadata: ["state": "\(state)", "message": "\(message)"])
        case .orphanDropped(let name):
            log.info("what a dead instance had left is dropped", metadata: ["name": "\(name)"])
        case .orphanKept(let name, let state, let message):
            log.warning(
                "what a dead instance had left is kept",
                metadata: ["name": "\(name)", "state": "\(state)", "message": "\(message)"])
        case .unavailable(let state, let message):
            replication.trouble = "no publication: \(message)"
            log.warning(
                "no publication, everything is forwarded",
                metadata: ["state": "\(state)", "message": "\(message)"])
        case .finished:
            replication.isPublicationFinished = true
            stopIfDone()
        }
    }

    // MARK: - Stream

    private func replicationEvent(
        _ event: LinkEvent, _ link: any PostgresLink, moreFollow: Bool
    ) {
        switch event {
        case .connected:
            perform(replication.feed.linkConnected(serverVersion: link.serverVersion, now: now))
        case .answered(let rows):
            perform(replication.feed.linkAnswered(rows: rows, now: now))
        case .failed(let state, let message):
            perform(replication.feed.linkFailed(state: state, message: message, now: now))
        case .streaming: perform(replication.feed.linkStreaming(now: now))
        case .copyData(let bytes):
            let moment = now
            let actions = withView(bytes) {
                replication.feed.copyDataReceived($0, now: moment, moreFollow: moreFollow)
            }
            perform(actions)
        case .lost(let state, let message):
            perform(replication.feed.linkLost(state: state, message: message, now: now))
        }
    }

    func perform(_ actions: [ReplicationAction]) {
        for action in actions { perform(action) }
    }

    private func perform(_ action: ReplicationAction) {
        switch action {
        case .connect:
            links[.replication]?.connect(
                parameters(
                    settings.replication, application: "pgcache stream",
                    options: replication.feed.connectionOptions)
                    + [(keyword: "replication", value: "database")])
        case .query(let sql): links[.replication]?.query(sql, [])
        case .startReplication(let sql): links[.replication]?.startReplication(sql)
        case .sendCopyData(let bytes): links[.replication]?.sendCopyData(bytes)
        case .close: links[.replication]?.close()
        case .fenced(let fence): store.streamFenced(below: fence)
        case .relationDescribed(let shape): store.relationDescribed(shape)
        case .transactionReceived(let transaction): store.transactionReceived(transaction)
        case .watermarkAdvanced(let lsn):
            replication.advancedNanoseconds = reactor.nowNanoseconds
            store.watermarkAdvanced(lsn)
        case .live(let lsn):
            replication.trouble = nil
            log.info("change stream live", metadata: ["lsn": "\(lsn)"])
            store.streamBecameLive(lsn)
        case .lost(let reason, let mustEmpty):
            replication.trouble = "change stream: \(reason)"
            store.streamLost(mustEmpty: mustEmpty)
            if !isStopping {
                log.warning(
                    "change stream lost, everything is forwarded",
                    metadata: ["reason": "\(reason)", "empty": "\(mustEmpty)"])
            }
        case .explainBlocker(let sql): explainBlocker(sql)
        case .wake(let instant): rearm(&replication.feedTimer, .feed, at: instant)
        case .finished:
            replication.isFeedFinished = true
            perform(replication.publication.stopped(now: now))
            stopIfDone()
        }
    }

    private func rearm(_ timer: inout TimerID?, _ clock: Clock, at instant: Instant) {
        if let timer { reactor.cancelTimer(timer) }
        timer = reactor.startTimer(
            nanoseconds: instant.since(now), tag: Tag(.clock, index: clock.rawValue).value)
    }
}
