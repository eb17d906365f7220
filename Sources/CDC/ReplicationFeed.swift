import PGProtocol

/// The life of the replication link: from connecting over the slot to the stream, and back.
///
/// ```
///  idle ─started→ connecting → identifying ─┬─ temporary ─────────────────→ creatingSlot ─┐
///    ▲                                       └─ persistent → inspectingSlot ─┬─ dropping ──┤
///    │                                                     healthy, resuming ┴→ starting ←─┘
///  stopped ←─ stopping                                             (a new slot: fencing)
///    any ─failure→ waiting ─clockReached→ connecting                      streaming ┘
/// ```
///
/// A slot is temporary unless configured otherwise, so that nothing of a dead proxy holds WAL back, and
/// each attempt has its own name: the slot of a walsender that has not noticed yet is not in the way. A
/// persistent slot is resumed after a lost connection, if origin, timeline and position are still those
/// that were left; then nothing needs to be emptied [T7]. At a start of the process everything is empty and the
/// publication is new, so an old persistent slot is dropped and made again: it would
/// decode changes from before the publication, which ends the stream with 42704.
///
/// Why positions can be trusted: pgoutput sends whole transactions in the order of their commits, and a
/// keepalive outside a transaction carries what was decoded. So the watermark is the end of the
/// last commit, or the position of a keepalive that came with nothing half received.
///
/// An acknowledgement wakes the walsender, so there are few. It sends what it has decoded and its new position, whether
/// its last one was acknowledged or not, and T8 lives on that. Before version 15, where that was not tried, and when it
/// asks, it is answered at once.
///
/// What was committed before a new slot's position is never sent, although new snapshots may not see it yet: a standby
/// that commits wait for makes that long. So behind its slot the feed takes a transaction number as a fence; who
/// keeps answers of the origin waits until everyone below it has finished [T2].
///
/// Owner: the shell. All events carry the loop's time. Bounds: one transaction, by `Limits`.
public struct ReplicationFeed {
    public struct Configuration: Equatable, Sendable {
        /// The slot's name; a temporary one gets a number behind it. `[a-z0-9_]`, up to 50 characters;
        /// should begin with `Leftovers.slotPrefix`. The feed drops and creates it at will.
        public var slot: String
        public var isPersistent = false
        /// For every lock, so also for each transaction that slot creation waits for.
        public var lockTimeoutMilliseconds: UInt64 = 10_000
        /// Without a byte for half of it a reply is asked for; without that the stream is lost.
        public var silenceMilliseconds: UInt64 = 10_000
        /// At most one acknowledgement within this time, unless one is asked for.
        public var acknowledgeMilliseconds: UInt64 = 50
        /// Beyond it the slot is given up rather than fill the origin's disk.
        public var lagBytesMax: UInt64 = 1 << 30
        /// For each step before the stream; slot creation has ten lock timeouts more.
        public var answerMilliseconds: UInt64 = 30_000
        public var retryMillisecondsMin: UInt64 = 500
        public var retryMillisecondsMax: UInt64 = 30_000
        public var limits = SourceTransactionBuilder.Limits()

        public init(slot: String) { self.slot = slot }
    }

    /// The origin as IDENTIFY_SYSTEM describes it: positions mean something only within one of these.
    struct Identity: Equatable {
        var system: String
        var timeline: String
    }

    struct Stream {
        var builder: SourceTransactionBuilder
        /// The watermark that has to be reached for the stream to count as caught up.
        var target: LSN
        var isLive = false
        var lastHeard: Instant
        /// When a reply was asked for because of silence; nil after the next byte.
        var askedAt: Instant?
        var acknowledgedAt: Instant
        /// Something came since then.
        var owesAcknowledgement = false
    }

    enum State {
        case idle
        case waiting(until: Instant)
        case connecting
        case identifying
        case inspectingSlot
        case droppingSlot
        case creatingSlot
        case fencing
        case starting
        case streaming(Stream)
        /// Stopping: a connection is made once more to drop the persistent slot.
        case stopping
        case stopped
    }

    public let configuration: Configuration
    /// Every change up to here was given to the tiers.
    public private(set) var watermark = LSN.zero
    /// The highest position that the stream has mentioned.
    public private(set) var receivedLSN = LSN.zero
    /// The origin's own position as far as it is known.
    public private(set) var originLSN = LSN.zero

    private(set) var state = State.idle
    private var publication = ""
    private var serverVersion: Int32 = 0
    private var identity = Identity(system: "", timeline: "")
    private var target = LSN.zero
    /// Whose stream the tiers' content comes from; nil when it may not be resumed.
    private var resumable: Identity?
    /// The slot of the current attempt.
    private var slotName = ""
    /// The persistent slot is of our making, so stopping drops it.
    private var ownsPersistentSlot = false
    private var attempts: UInt64 = 0
    /// Failures since the stream was last live.
    private var failures = 0
    /// When the current step counts as unanswered.
    private var deadline: Instant?
    /// The origin's clock, microseconds since 2000-01-01: the latest seen, and the moment up to which all
    /// commits were given.
    private var originClock: Int64 = 0
    private var currentAsOf: Int64 = 0

    public init(configuration: Configuration) { self.configuration = configuration }

    // MARK: What is asked of the feed

    public var isLive: Bool {
        if case .streaming(let stream) = state { stream.isLive } else { false }
    }

    /// Bytes of WAL that the origin has written, as far as known, and the tiers have not seen.
    public var lagBytes: UInt64 {
        originLSN > watermark ? originLSN.value - watermark.value : 0
    }

    /// How old the tiers' content is, by the origin's clock alone; 0 when caught up. A keepalive that the
    /// origin sends while it decodes a long transaction shows no lag; `originObserved` does.
    public var lagMicroseconds: Int64 { max(0, originClock - currentAsOf) }

    /// libpq's `options` for the replication link. Fixes how values are printed, which ALTER DATABASE
    /// or ALTER ROLE could have set otherwise, and bounds the waits.
    public var connectionOptions: String {
        ConnectionOptions.fixed
            + " -c lock_timeout=\(configuration.lockTimeoutMilliseconds) -c statement_timeout=0"
            // The fence takes a transaction number, and waits for no standby.
            + " -c default_transaction_read_only=off -c synchronous_commit=local"
    }

    /// What the slot costs the origin, for `retentionMeasured`: run on another link now and then, while live.
    /// One row: bytes of WAL that the slot holds back, and wal_status.
    public var retentionQuery: String {
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, wal_status "
            + "FROM pg_catalog.pg_replication_slots WHERE slot_name = \(SQLText.literal(slotName))"
    }

    // MARK: Events

    /// The publication exists and is committed. Given again with another, or made anew, starts over.
    public mutating func started(publication: String, now: Instant) -> [ReplicationAction] {
        self.publication = publication
        switch state {
        case .idle: return connect(now)
        case .stopping, .stopped: return []
        case .waiting, .connecting, .identifying, .inspectingSlot, .droppingSlot, .creatingSlot,
            .fencing, .starting, .streaming:
            failures = 0
            return lose(.publicationReplaced, mayResume: false, now)
        }
    }

    public mutating func linkConnected(serverVersion: Int32, now: Instant) -> [ReplicationAction] {
        switch state {
        case .connecting:
            self.serverVersion = serverVersion
            state = .identifying
            return [.query("IDENTIFY_SYSTEM")]
        case .stopping:
            return [.query("DROP_REPLICATION_SLOT \(SQLText.identifier(slotName)) WAIT")]
        case .idle, .waiting, .identifying, .inspectingSlot, .droppingSlot, .creatingSlot, .fencing,
            .starting, .streaming, .stopped:
            return []
        }
    }

    public mutating func linkAnswered(rows: [[String?]], now: Instant) -> [ReplicationAction] {
        switch state {
        case .identifying: return identified(rows, now)
        case .inspectingSlot: return slotInspected(rows, now)
        case .droppingSlot: return createSlot(now)
        case .creatingSlot:
            // slot_name, consistent_point, snapshot_name, output_plugin (manual, 55.4).
            guard let row = rows.first, row.count >= 2, let point = row[1].flatMap({ LSN($0) }) else {
                return lose(.protocolViolation("no consistent point"), mayResume: false, now)
            }
            watermark = point
            return ask(.fencing, PublicationSQL.fence, now)
        case .fencing:
            guard let text = rows.first?.last ?? nil, let fence = UInt64(text) else {
                return lose(.protocolViolation("no transaction number"), mayResume: false, now)
            }
            return [.fenced(below: TransactionID(fence))] + startStream(now)
        case .stopping: return finish()
        case .idle, .waiting, .connecting, .starting, .streaming, .stopped: return []
        }
    }

    public mutating func linkFailed(
        state sqlState: String, message: String, now: Instant
    ) -> [ReplicationAction] {
        func refused(_ step: String) -> LossReason {
            .refused(step: step, state: sqlState, message: message)
        }
        switch state {
        case .identifying: return lose(refused("IDENTIFY_SYSTEM"), mayResume: true, now)
        case .inspectingSlot: return lose(refused("looking for the slot"), mayResume: true, now)
        case .droppingSlot: return lose(refused("DROP_REPLICATION_SLOT"), mayResume: false, now)
        case .creatingSlot:
            guard sqlState == SQLState.lockNotAvailable.code else {
                return lose(refused("CREATE_REPLICATION_SLOT"), mayResume: false, now)
            }
            return [.explainBlocker(sql: Self.blockerQuery)]
                + lose(.slotBlocked, mayResume: false, now)
        case .fencing: return lose(refused("taking a transaction number"), mayResume: false, now)
        case .starting:
            // In use: our own walsender of before has not noticed yet.
            return lose(
                refused("START_REPLICATION"), mayResume: sqlState == SQLState.objectInUse.code, now)
        case .streaming: return streamEnded(sqlState, message, now)
        case .stopping: return finish()
        case .idle, .waiting, .connecting, .stopped: return []
        }
    }

    public mutating func linkStreaming(now: Instant) -> [ReplicationAction] {
        guard case .starting = state else { return [] }
        deadline = nil
        resumable = identity
        receivedLSN = watermark
        originLSN = max(target, watermark)
        state = .streaming(
            Stream(
                builder: SourceTransactionBuilder(limits: configuration.limits), target: target,
                lastHeard: now, acknowledgedAt: now))
        return [acknowledgement(wantsReply: false)] + becomeLiveIfCaughtUp()
            + [.wake(at: now.advanced(byMilliseconds: configuration.silenceMilliseconds / 2))]
    }

    /// One CopyData message. With `moreFollow`, when the shell already holds the next one, it is acknowledged together
    /// with that; everything else is the same.
    public mutating func copyDataReceived(
        _ view: ByteView, now: Instant, moreFollow: Bool = false
    ) -> [ReplicationAction] {
        guard case .streaming(var stream) = state else { return [] }
        // The builder's arrays must not be shared while they grow.
        state = .idle
        stream.lastHeard = now
        stream.askedAt = nil
        var actions: [ReplicationAction] = []
        do throws(PgOutputError) {
            try receive(view, &stream, now, moreFollow: moreFollow, &actions)
            state = .streaming(stream)
        } catch {
            state = .streaming(stream)
            return actions + lose(.protocolViolation("\(error)"), mayResume: false, now)
        }
        actions += becomeLiveIfCaughtUp()
        return actions + giveUpIfBehind(lagBytes, now)
    }

    public mutating func linkLost(
        state sqlState: String, message: String, now: Instant
    ) -> [ReplicationAction] {
        switch state {
        case .idle, .waiting, .stopped: return []
        case .stopping: return finish()
        case .streaming: return streamEnded(sqlState, message, now)
        case .connecting, .identifying, .inspectingSlot, .droppingSlot, .creatingSlot, .fencing, .starting:
            return lose(.linkLost(state: sqlState, message: message), mayResume: true, now)
        }
    }

    public mutating func clockReached(_ now: Instant) -> [ReplicationAction] {
        switch state {
        case .idle, .stopped: return []
        case .waiting(let until):
            return now < until ? [.wake(at: until)] : connect(now)
        case .streaming(let stream): return silenceChecked(stream, now)
        case .connecting: return deadlineChecked("connecting", now)
        case .identifying: return deadlineChecked("IDENTIFY_SYSTEM", now)
        case .inspectingSlot: return deadlineChecked("looking for the slot", now)
        case .droppingSlot: return deadlineChecked("DROP_REPLICATION_SLOT", now)
        case .creatingSlot: return deadlineChecked("CREATE_REPLICATION_SLOT", now)
        case .fencing: return deadlineChecked("taking a transaction number", now)
        case .starting: return deadlineChecked("START_REPLICATION", now)
        case .stopping:
            guard let deadline, now < deadline else { return finish() }
            return [.wake(at: deadline)]
        }
    }

    /// A beat or another query has read the origin's position.
    public mutating func originObserved(_ position: LSN, now: Instant) -> [ReplicationAction] {
        guard case .streaming = state else { return [] }
        originLSN = max(originLSN, position.withoutPageHeader)
        return giveUpIfBehind(lagBytes, now)
    }

    /// The answer to `retentionQuery`: bytes of WAL that the slot holds back.
    public mutating func retentionMeasured(
        bytes: UInt64, walStatus: String, now: Instant
    ) -> [ReplicationAction] {
        guard case .streaming = state else { return [] }
        if walStatus == "lost" {
            return lose(.slotLost("its WAL was removed"), mayResume: false, now)
        }
        return giveUpIfBehind(bytes, now)
    }

    /// Leaves nothing on the origin. `finished` follows.
    public mutating func stopped(now: Instant) -> [ReplicationAction] {
        switch state {
        case .stopping, .stopped: return []
        case .idle: return finish()
        case .waiting, .connecting, .identifying, .inspectingSlot, .droppingSlot, .creatingSlot,
            .fencing, .starting, .streaming:
            guard ownsPersistentSlot else { return finish() }
            state = .stopping
            let limit = now.advanced(byMilliseconds: 5_000)
            deadline = limit
            return [.close, .connect, .wake(at: limit)]
        }
    }

    // MARK: Before the stream

    private mutating func connect(_ now: Instant) -> [ReplicationAction] {
        state = .connecting
        let limit = now.advanced(byMilliseconds: configuration.answerMilliseconds)
        deadline = limit
        return [.connect, .wake(at: limit)]
    }

    private mutating func identified(_ rows: [[String?]], _ now: Instant) -> [ReplicationAction] {
        // systemid, timeline, xlogpos, dbname (manual, 55.4 IDENTIFY_SYSTEM).
        guard let row = rows.first, row.count >= 3, let system = row[0], let timeline = row[1],
            let position = row[2].flatMap({ LSN($0) })
        else {
            return lose(.protocolViolation("IDENTIFY_SYSTEM answered \(rows)"), mayResume: false, now)
        }
        identity = Identity(system: system, timeline: timeline)
        target = position.withoutPageHeader
        guard configuration.isPersistent else { return createSlot(now) }
        slotName = configuration.slot
        state = .inspectingSlot
        return [.query(Self.inspectionQuery(slotName))]
    }

    private mutating func slotInspected(_ rows: [[String?]], _ now: Instant) -> [ReplicationAction] {
        guard let row = rows.first else {
            return resumable == nil ? createSlot(now) : doubt("it does not exist", now)
        }
        guard row.count == 4, row[1] == "t" else {
            return lose(
                .refused(
                    step: "using the slot", state: SQLState.objectInUse.code,
                    message: "\(slotName) belongs to something else"), mayResume: false, now)
        }
        guard row[0] == "f" else {
            return lose(
                .refused(
                    step: "using the slot", state: SQLState.objectInUse.code,
                    message: "\(slotName) is active"), mayResume: true, now)
        }
        if resumable != nil {
            guard resumable == identity else { return doubt("another origin or timeline", now) }
            guard row[2] != "lost", let confirmed = row[3].flatMap({ LSN($0) }) else {
                return doubt("its WAL was removed", now)
            }
            guard confirmed <= watermark else { return doubt("it was moved to \(confirmed)", now) }
            return startStream(now)
        }
        state = .droppingSlot
        return [.query("DROP_REPLICATION_SLOT \(SQLText.identifier(slotName))")]
    }

    private mutating func doubt(_ why: String, _ now: Instant) -> [ReplicationAction] {
        lose(.slotLost(why), mayResume: false, now)
    }

    private mutating func createSlot(_ now: Instant) -> [ReplicationAction] {
        attempts += 1
        slotName =
            configuration.isPersistent
            ? configuration.slot : "\(configuration.slot)_\(attempts)"
        ownsPersistentSlot = configuration.isPersistent
        state = .creatingSlot
        let limit = now.advanced(
            byMilliseconds: configuration.answerMilliseconds
                + configuration.lockTimeoutMilliseconds * 10)
        deadline = limit
        let kind = configuration.isPersistent ? "" : "TEMPORARY "
        return [
            .query(
                "CREATE_REPLICATION_SLOT \(SQLText.identifier(slotName)) \(kind)LOGICAL pgoutput "
                    + "NOEXPORT_SNAPSHOT"),
            .wake(at: limit),
        ]
    }

    /// One step more that must be answered in time.
    private mutating func ask(_ state: State, _ sql: String, _ now: Instant) -> [ReplicationAction] {
        self.state = state
        let limit = now.advanced(byMilliseconds: configuration.answerMilliseconds)
        deadline = limit
        return [.query(sql), .wake(at: limit)]
    }

    private mutating func startStream(_ now: Instant) -> [ReplicationAction] {
        state = .starting
        let limit = now.advanced(byMilliseconds: configuration.answerMilliseconds)
        deadline = limit
        // The plugin parses the names as identifiers, inside what the grammar takes for a string.
        let names = SQLText.literal(SQLText.identifier(publication))
        let messages = serverVersion >= EventTrigger.serverVersionMin ? ", messages 'true'" : ""
        return [
            .startReplication(
                "START_REPLICATION SLOT \(SQLText.identifier(slotName)) LOGICAL \(watermark) "
                    + "(proto_version '1', publication_names \(names)\(messages))"),
            .wake(at: limit),
        ]
    }

    // MARK: The stream

    private mutating func receive(
        _ view: ByteView, _ stream: inout Stream, _ now: Instant, moreFollow: Bool,
        _ actions: inout [ReplicationAction]
    ) throws(PgOutputError) {
        let message: ReplicationMessage
        do throws(ProtocolError) {
            message = try ReplicationMessage(view)
        } catch {
            throw .malformed(error.message)
        }
        switch message {
        case .keepalive(let walEnd, let clock, let wantsReply):
            noteOrigin(walEnd, clock)
            if !stream.builder.isInsideTransaction {
                advance(to: walEnd, &actions)
                if originLSN <= watermark { currentAsOf = max(currentAsOf, clock) }
            }
            acknowledge(&stream, now, isAsked: wantsReply, moreFollow: moreFollow, &actions)
        case .walData(let start, let walEnd, let clock, let payload):
            noteOrigin(max(start, walEnd), clock)
            guard let (transaction, shapes) = try stream.builder.messageReceived(payload) else { return }
            guard transaction.endLSN > watermark else {
                throw .malformed("a commit at \(transaction.endLSN), behind \(watermark)")
            }
            actions += shapes.map { .relationDescribed($0) }
            actions.append(.transactionReceived(transaction))
            advance(to: transaction.endLSN, &actions)
            currentAsOf = max(currentAsOf, transaction.commitMicroseconds)
            acknowledge(&stream, now, isAsked: false, moreFollow: moreFollow, &actions)
        }
    }

    private func acknowledge(
        _ stream: inout Stream, _ now: Instant, isAsked: Bool, moreFollow: Bool,
        _ actions: inout [ReplicationAction]
    ) {
        let interval = serverVersion >= Self.serverVersionReporting ? configuration.acknowledgeMilliseconds : 0
        let due = stream.acknowledgedAt.advanced(byMilliseconds: interval)
        if isAsked || now >= due && !moreFollow {
            stream.acknowledgedAt = now
            stream.owesAcknowledgement = false
            actions.append(acknowledgement(wantsReply: false))
        } else if !stream.owesAcknowledgement {
            stream.owesAcknowledgement = true
            actions.append(.wake(at: due))
        }
    }

    /// From here on a walsender reports each new position, whether the last one was acknowledged or not: tried with 15.
    private static let serverVersionReporting: Int32 = 150_000

    private mutating func noteOrigin(_ position: LSN, _ clock: Int64) {
        receivedLSN = max(receivedLSN, position)
        originLSN = max(originLSN, position)
        if currentAsOf == 0 { currentAsOf = clock }
        originClock = max(originClock, clock)
    }

    private mutating func advance(to position: LSN, _ actions: inout [ReplicationAction]) {
        guard position > watermark else { return }
        watermark = position
        originLSN = max(originLSN, position)
        receivedLSN = max(receivedLSN, position)
        actions.append(.watermarkAdvanced(position))
    }

    private mutating func becomeLiveIfCaughtUp() -> [ReplicationAction] {
        guard case .streaming(var stream) = state, !stream.isLive, watermark >= stream.target else {
            return []
        }
        stream.isLive = true
        state = .streaming(stream)
        failures = 0
        return [.live(watermark)]
    }

    private func acknowledgement(wantsReply: Bool) -> ReplicationAction {
        .sendCopyData(
            ReplicationMessage.statusUpdate(
                position: watermark, clockMicroseconds: originClock, wantsReply: wantsReply))
    }

    private mutating func silenceChecked(_ stream: Stream, _ now: Instant) -> [ReplicationAction] {
        if stream.owesAcknowledgement {
            var acknowledged = stream
            acknowledged.acknowledgedAt = now
            acknowledged.owesAcknowledgement = false
            state = .streaming(acknowledged)
            return [acknowledgement(wantsReply: false)] + silenceChecked(acknowledged, now)
        }
        let half = configuration.silenceMilliseconds / 2
        // A process that was itself stopped for a while first asks, and then reads what had come.
        if let askedAt = stream.askedAt {
            let limit = askedAt.advanced(byMilliseconds: half)
            guard now >= limit else { return [.wake(at: limit)] }
            return lose(
                .silent(milliseconds: now.since(stream.lastHeard) / 1_000_000), mayResume: true, now)
        }
        let limit = stream.lastHeard.advanced(byMilliseconds: half)
        guard now >= limit else { return [.wake(at: limit)] }
        var asking = stream
        asking.askedAt = now
        state = .streaming(asking)
        return [acknowledgement(wantsReply: true), .wake(at: now.advanced(byMilliseconds: half))]
    }

    private mutating func giveUpIfBehind(_ bytes: UInt64, _ now: Instant) -> [ReplicationAction] {
        guard bytes > configuration.lagBytesMax else { return [] }
        return lose(.lagLimit(bytes: bytes), mayResume: false, now)
    }

    private mutating func streamEnded(
        _ sqlState: String, _ message: String, _ now: Instant
    ) -> [ReplicationAction] {
        if sqlState == SQLState.undefinedObject.code {
            return lose(.publicationMissing, mayResume: false, now)
        }
        return lose(.linkLost(state: sqlState, message: message), mayResume: true, now)
    }

    // MARK: Failure and end

    /// Gives up the connection and tries again later. After three failures in a row the slot is not resumed
    /// any more: what fails at one position would fail there for ever.
    private mutating func lose(
        _ reason: LossReason, mayResume: Bool, _ now: Instant
    ) -> [ReplicationAction] {
        failures += 1
        if !mayResume || !configuration.isPersistent || failures > 3 { resumable = nil }
        let doublings = UInt64(min(failures - 1, 16))
        let delay = min(
            configuration.retryMillisecondsMin << doublings, configuration.retryMillisecondsMax)
        let until = now.advanced(byMilliseconds: delay)
        state = .waiting(until: until)
        deadline = nil
        return [.lost(reason: reason, mustEmpty: resumable == nil), .close, .wake(at: until)]
    }

    private mutating func deadlineChecked(_ step: String, _ now: Instant) -> [ReplicationAction] {
        guard let deadline else { return [] }
        guard now >= deadline else { return [.wake(at: deadline)] }
        return lose(.unanswered(step: step), mayResume: true, now)
    }

    private mutating func finish() -> [ReplicationAction] {
        state = .stopped
        return [.close, .finished]
    }
}

// MARK: - Its SQL

extension ReplicationFeed {
    /// Active, ours by plugin and database, wal_status, confirmed position.
    static func inspectionQuery(_ slot: String) -> String {
        "SELECT active, coalesce(plugin = 'pgoutput' AND database = current_database(), false), "
            + "coalesce(wal_status, ''), confirmed_flush_lsn FROM pg_catalog.pg_replication_slots "
            + "WHERE slot_name = \(SQLText.literal(slot))"
    }

    /// The oldest transaction that slot creation waits for: what it is, whose, since when, and its text
    /// for a session or its global identifier when it is prepared. One row, or none if it has ended.
    public static let blockerQuery = """
        SELECT * FROM (\
        SELECT 'prepared transaction' AS kind, gid AS name, owner::text AS role, \
        database::text AS database, prepared AS since, '' AS application \
        FROM pg_catalog.pg_prepared_xacts \
        UNION ALL \
        SELECT 'session', pid::text, usename::text, datname::text, xact_start, application_name \
        FROM pg_catalog.pg_stat_activity \
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()) AS open \
        ORDER BY since LIMIT 1
        """
}
