import PGProtocol

/// The life of the publication, on a connection of its own, and of each relation in it.
///
/// ```
///  idle → connecting → locking → listing orphans ⇄ dropping, unlocking → installing → finding ─→ creating ─→ open
///   ▲         ▲                                               (adopted: examining) ────────────────────────↗ │
///  stopped ←─ stopping       waiting ←──────────────── any failure of the link or of a step ─────────────────┘
///
///  a relation:  wanted ─ADD TABLE→ added ─fence→ joined ─older ended→ settled ─ALTER→ refreshed ─fence→
///               renewed ─older ended→ followed
/// ```
///
/// What a relation waits for [T3]: pgoutput looks membership up as of the changing transaction, so what
/// a transaction wrote before the ALTER committed is never sent. Every transaction that could
/// have done so has to end first. Its number is below a *fence*: a number that this connection takes after the
/// ALTER was answered. The upper end of a snapshot does not do for that, as it is one past the highest
/// *completed* number and a writer above it is not listed (seen on PostgreSQL 15). The second ALTER
/// makes walsenders of some minor releases forget that they had seen the relation unpublished, and the
/// fence after it covers transactions that committed before but are not yet visible [T2].
///
/// The publication is this instance's own: a session advisory lock says that it is alive, and publications of ours
/// whose lock nobody holds are orphans and dropped at the start. When the link is lost so is
/// the lock, so nothing counts as followed until the lock is held again and the relations were added anew.
/// An operator's publication is only read. The event trigger (`EventTrigger`) is installed on the way, before the slot
/// that follows is made, and belongs to the same lock; to have none is no failure.
///
/// Owner: the shell. One query in flight. Bounds: `relationsMax` relations, `batchMax` in one ALTER.
public struct Publication {
    public struct Configuration: Equatable, Sendable {
        /// Ours: `Leftovers.publicationPrefix` and random hexadecimal digits. Adopted: any name.
        public var name: String
        /// The publication is the operator's: it is read and never changed.
        public var isAdopted: Bool
        /// What the lock stands for; the publication's name where it is ours.
        public var instance: String
        public var installsEventTrigger = false
        /// How long the application could wait behind us for a lock that we wait for.
        public var lockTimeoutMilliseconds: UInt64 = 1_000
        public var answerMilliseconds: UInt64 = 30_000
        public var pollMilliseconds: UInt64 = 5_000
        public var retryMillisecondsMin: UInt64 = 500
        public var retryMillisecondsMax: UInt64 = 30_000
        /// Attempts to add a relation that is locked.
        public var lockAttemptsMax = 5
        public var relationsMax = 10_000
        public var batchMax = 100

        public static func own(_ name: String) -> Configuration {
            Configuration(name: name, isAdopted: false, instance: name)
        }
        public static func adopt(_ name: String, instance: String = "") -> Configuration {
            Configuration(name: name, isAdopted: true, instance: instance)
        }
    }

    /// What the open link is asking.
    enum Work: Equatable {
        case none
        case adding([OID])
        /// Reads the members again after ADD, to know their identities.
        case identifying([OID])
        /// Takes a number; the relations then wait for everyone below it.
        case fencing([OID])
        case refreshing([OID])
        case polling
    }

    enum State: Equatable {
        case idle
        case waiting(until: Instant)
        case connecting
        case locking
        case listingOrphans
        case droppingOrphan(String, rest: [String])
        case unlockingOrphan(rest: [String])
        case installing
        case finding
        case dropping
        case creating
        case examining
        case open(Work)
        case stopping
        case stopped
    }

    enum Phase: Equatable {
        /// To be added, alone if a batch failed, not before a moment if it was locked.
        case wanted(attempts: Int, alone: Bool, notBefore: Instant?)
        case added
        case joined(fence: TransactionID)
        case settled
        case refreshed
        case renewed(fence: TransactionID)
        case followed
    }

    struct Member: Equatable {
        var schema: String
        var name: String
        var phase: Phase
        /// Of its row in the publication; nil before it was read.
        var identity: String?
    }

    public private(set) var configuration: Configuration
    public let applicationName = "pgcache publication"

    var state = State.idle
    var members: [OID: Member] = [:]
    var serverVersion: Int32 = 0
    /// Adopted: who is published, and under which identity.
    var published: [OID: String] = [:]
    /// Failures since the publication was last ready.
    private var failures = 0
    private var deadline: Instant?
    var pollAt: Instant?
    private var refreshNotBefore: Instant?
    /// Stopped while a query was in flight.
    private var isStopWanted = false
    /// Somebody has changed a publication: it is looked at anew when the link is free.
    private var isChangedByOthers = false
    /// The event trigger is there.
    var hasEventTrigger = false
    /// When a snapshot is asked for next, or again; nil exactly while nobody waits for one.
    var beatAt: Instant?
    var beatMilliseconds: UInt64 = Self.beatMillisecondsMin

    static let beatMillisecondsMin: UInt64 = 10
    static let beatMillisecondsMax: UInt64 = 1_000

    public init(configuration: Configuration) { self.configuration = configuration }

    /// libpq's `options`. Its commits do not wait for a synchronous standby: what follows reads snapshots.
    public var connectionOptions: String {
        ConnectionOptions.fixed
            + " -c lock_timeout=\(min(configuration.lockTimeoutMilliseconds, 1_000))"
            + " -c statement_timeout=0 -c synchronous_commit=local"
            + " -c default_transaction_read_only=off -c \(EventTrigger.silence)=on"
    }

    /// Relations whose changes surely reach the stream.
    public func isFollowed(_ relation: OID) -> Bool { members[relation]?.phase == .followed }

    // MARK: Events

    public mutating func started(now: Instant) -> [PublicationAction] {
        guard state == .idle else { return [] }
        return connect(now)
    }

    public mutating func linkConnected(serverVersion: Int32, now: Instant) -> [PublicationAction] {
        switch state {
        case .connecting:
            self.serverVersion = serverVersion
            // Nothing of the operator's is locked by us; the event trigger is ours.
            if configuration.isAdopted, !configuration.installsEventTrigger { return find(now) }
            return ask(.locking, PublicationSQL.lock(configuration.instance), now)
        case .idle, .waiting, .locking, .listingOrphans, .droppingOrphan, .unlockingOrphan, .installing, .finding,
            .dropping, .creating, .examining, .open, .stopping, .stopped:
            return []
        }
    }

    public mutating func linkAnswered(rows: [[String?]], now: Instant) -> [PublicationAction] {
        switch state {
        case .locking:
            guard rows.first?.first == "t" else {
                return restart(
                    SQLState.objectInUse.code, "another session holds \(configuration.instance)", now)
            }
            return ask(.listingOrphans, Leftovers.instancesQuery(except: configuration.instance), now)
        case .listingOrphans:
            let orphans = rows.compactMap { row in
                row.count == 2 && row[1] == "t" ? row[0] : nil
            }
            return dropNextOrphan(orphans, now)
        case .droppingOrphan(let name, let rest):
            return [.orphanDropped(name)] + unlock(name, rest, now)
        case .unlockingOrphan(let rest): return dropNextOrphan(rest, now)
        case .installing:
            hasEventTrigger = true
            return [.eventTriggerReady] + find(now)
        case .finding: return rows.isEmpty ? create(now) : opened(isNew: false, now)
        case .dropping: return create(now)
        case .creating: return opened(isNew: true, now)
        case .examining: return examined(rows, now)
        case .open(let work): return workAnswered(work, rows, now)
        case .stopping: return finish()
        case .idle, .waiting, .connecting, .stopped: return []
        }
    }

    public mutating func linkFailed(
        state sqlState: String, message: String, now: Instant
    ) -> [PublicationAction] {
        switch state {
        case .droppingOrphan(let name, let rest):
            return [.orphanKept(name, state: sqlState, message: message)] + unlock(name, rest, now)
        case .installing:
            hasEventTrigger = false
            return [.eventTriggerMissing(state: sqlState, message: message)] + find(now)
        case .open(.adding(let relations)):
            return addFailed(relations, sqlState, message, now)
        case .open(.refreshing(let relations)):
            state = .open(.none)
            for relation in relations { members[relation]?.phase = .settled }
            refreshNotBefore = now.advanced(byMilliseconds: configuration.retryMillisecondsMin)
            return next(now)
        case .locking, .listingOrphans, .unlockingOrphan, .finding, .dropping, .creating, .examining,
            .open:
            return restart(sqlState, message, now)
        case .stopping: return finish()
        case .idle, .waiting, .connecting, .stopped: return []
        }
    }

    public mutating func linkLost(
        state sqlState: String, message: String, now: Instant
    ) -> [PublicationAction] {
        switch state {
        case .idle, .waiting, .stopped: return []
        case .stopping: return finish()
        case .connecting, .locking, .listingOrphans, .droppingOrphan, .unlockingOrphan, .installing,
            .finding, .dropping, .creating, .examining, .open:
            return restart(sqlState, message, now)
        }
    }

    /// A transaction that may have changed a publication has committed, and is visible. Nothing counts as followed
    /// before it has been looked at and has joined anew [T3].
    public mutating func changedByOthers(now: Instant) -> [PublicationAction] {
        switch state {
        case .finding, .dropping, .creating, .examining, .open:
            isChangedByOthers = true
            return forgetAll() + next(now)
        case .idle, .waiting, .connecting, .locking, .listingOrphans, .droppingOrphan, .unlockingOrphan,
            .installing, .stopping, .stopped:
            return []
        }
    }

    /// How long a change by others that nothing else tells of may go unnoticed.
    public mutating func setPollMilliseconds(_ milliseconds: UInt64) {
        configuration.pollMilliseconds = milliseconds
    }

    /// The cache wants changes of a relation. `followed`, `refused` or `unfollowed` answers, once.
    public mutating func relationWanted(
        _ relation: OID, schema: String, name: String, now: Instant
    ) -> [PublicationAction] {
        if let member = members[relation] {
            return member.phase == .followed ? [.followed([relation])] : []
        }
        guard members.count < configuration.relationsMax else { return [.refused(relation, .tooMany)] }
        switch state {
        case .stopping, .stopped: return [.unfollowed([relation])]
        case .idle, .waiting, .connecting, .locking, .listingOrphans, .droppingOrphan,
            .unlockingOrphan, .installing, .finding, .dropping, .creating, .examining, .open:
            members[relation] = Member(
                schema: schema, name: name,
                phase: .wanted(attempts: 0, alone: false, notBefore: nil))
            return next(now)
        }
    }

    /// Any snapshot of the origin, asked for by `beatWanted` or not.
    public mutating func snapshotArrived(_ snapshot: Snapshot, now: Instant) -> [PublicationAction] {
        guard beatAt != nil else { return [] }
        var followed: [OID] = []
        for (relation, member) in members {
            switch member.phase {
            case .joined(let fence) where snapshot.isEveryoneFinished(below: fence):
                // An operator's publication is not ours to alter.
                members[relation]?.phase = configuration.isAdopted ? .followed : .settled
                if configuration.isAdopted { followed.append(relation) }
            case .renewed(let fence) where snapshot.isEveryoneFinished(below: fence):
                members[relation]?.phase = .followed
                followed.append(relation)
            case .wanted, .added, .joined, .settled, .refreshed, .renewed, .followed: break
            }
        }
        if isAnyoneWaiting {
            beatAt = now.advanced(byMilliseconds: beatMilliseconds)
            beatMilliseconds = min(beatMilliseconds * 2, Self.beatMillisecondsMax)
        } else {
            beatAt = nil
            beatMilliseconds = Self.beatMillisecondsMin
        }
        return (followed.isEmpty ? [] : [.followed(followed.sorted())]) + next(now)
    }

    public mutating func clockReached(_ now: Instant) -> [PublicationAction] {
        switch state {
        case .idle, .stopped: return []
        case .waiting(let until): return now < until ? [.wake(at: until)] : connect(now)
        case .open(.none): return next(now)
        case .stopping:
            guard let deadline, now < deadline else { return finish() }
            return [.wake(at: deadline)]
        case .connecting, .locking, .listingOrphans, .droppingOrphan, .unlockingOrphan, .installing,
            .finding, .dropping, .creating, .examining, .open:
            guard let deadline, now >= deadline else { return beat(now) + wake(now) }
            return restart(SQLState.connectionFailure.code, "no answer in time", now)
        }
    }

    /// Drops what is ours. `finished` follows. Stop the feed first.
    public mutating func stopped(now: Instant) -> [PublicationAction] {
        switch state {
        case .stopping, .stopped: return []
        case .installing, .finding, .dropping, .creating, .examining, .open:
            guard !configuration.isAdopted || hasEventTrigger || state == .installing else { return finish() }
            // A query in flight is answered first: it may be the one that creates.
            isStopWanted = true
            return next(now)
        case .idle, .waiting, .connecting, .locking, .listingOrphans, .droppingOrphan,
            .unlockingOrphan:
            return finish()
        }
    }

    // MARK: The link

    private mutating func connect(_ now: Instant) -> [PublicationAction] {
        state = .connecting
        deadline = now.advanced(byMilliseconds: configuration.answerMilliseconds)
        return [.connect] + wake(now)
    }

    mutating func ask(
        _ state: State, _ sql: String, _ now: Instant
    ) -> [PublicationAction] {
        self.state = state
        deadline = now.advanced(byMilliseconds: configuration.answerMilliseconds)
        return [.query(sql)] + wake(now)
    }

    /// Gives up the connection, and with it the lock; nothing is followed any more.
    mutating func restart(
        _ sqlState: String, _ message: String, _ now: Instant
    ) -> [PublicationAction] {
        if isStopWanted { return finish() }
        failures += 1
        let doublings = UInt64(min(failures - 1, 16))
        let until = now.advanced(
            byMilliseconds: min(
                configuration.retryMillisecondsMin << doublings, configuration.retryMillisecondsMax))
        let forgotten = forgetAll()
        state = .waiting(until: until)
        deadline = nil
        return forgotten + [
            .unavailable(state: sqlState, message: message), .close, .wake(at: until),
        ]
    }

    mutating func forgetAll() -> [PublicationAction] {
        let all = members.keys.sorted()
        members.removeAll()
        published.removeAll()
        beatAt = nil
        beatMilliseconds = Self.beatMillisecondsMin
        return all.isEmpty ? [] : [.unfollowed(all)]
    }

    private mutating func finish() -> [PublicationAction] {
        state = .stopped
        return forgetAll() + [.close, .finished]
    }

    private mutating func dropNextOrphan(_ names: [String], _ now: Instant) -> [PublicationAction] {
        guard let name = names.first else { return install(now) }
        return ask(.droppingOrphan(name, rest: Array(names.dropFirst())), Leftovers.remove(name), now)
    }

    private mutating func install(_ now: Instant) -> [PublicationAction] {
        guard configuration.installsEventTrigger else { return find(now) }
        guard serverVersion >= EventTrigger.serverVersionMin else {
            let why = "the change stream of this server carries no messages"
            return [.eventTriggerMissing(state: SQLState.featureNotSupported.code, message: why)] + find(now)
        }
        return ask(.installing, EventTrigger.create(configuration.instance), now)
    }

    private mutating func find(_ now: Instant) -> [PublicationAction] {
        configuration.isAdopted
            ? ask(.examining, membersQuery, now)
            : ask(.finding, PublicationSQL.find(configuration.name), now)
    }

    private mutating func unlock(
        _ name: String, _ rest: [String], _ now: Instant
    ) -> [PublicationAction] {
        ask(.unlockingOrphan(rest: rest), Leftovers.unlock(name), now)
    }

    mutating func create(_ now: Instant) -> [PublicationAction] {
        ask(.creating, PublicationSQL.create(configuration.name), now)
    }

    mutating func opened(isNew: Bool, _ now: Instant) -> [PublicationAction] {
        failures = 0
        state = .open(.none)
        pollAt = now.advanced(byMilliseconds: configuration.pollMilliseconds)
        return [.ready(publication: configuration.name, isNew: isNew)] + next(now)
    }

    var membersQuery: String {
        let members =
            configuration.isAdopted
            ? PublicationSQL.adoptedMembers(of: configuration.name, serverVersion: serverVersion)
            : PublicationSQL.members(of: configuration.name, serverVersion: serverVersion)
        return configuration.installsEventTrigger
            ? "\(members) UNION ALL \(EventTrigger.state(configuration.instance))" : members
    }

    // MARK: The relations

    private var isAnyoneWaiting: Bool {
        members.values.contains { member in
            switch member.phase {
            case .joined, .renewed: true
            case .wanted, .added, .settled, .refreshed, .followed: false
            }
        }
    }

    private func relations(where matches: (Phase) -> Bool) -> [OID] {
        members.filter { matches($0.value.phase) }.keys.sorted()
    }

    /// Asks the next thing if the link is free. Later steps go first, so that relations finish.
    mutating func next(_ now: Instant) -> [PublicationAction] {
        guard case .open(.none) = state else { return beat(now) + wake(now) }
        if isStopWanted {
            return ask(.stopping, Leftovers.remove(configuration.instance), now)
        }
        if isChangedByOthers {
            isChangedByOthers = false
            return find(now)
        }
        let unfenced = relations { $0 == .added || $0 == .refreshed }
        if !unfenced.isEmpty {
            return ask(.open(.fencing(unfenced)), PublicationSQL.fence, now)
        }
        if let notBefore = refreshNotBefore, now >= notBefore { refreshNotBefore = nil }
        let settled = refreshNotBefore == nil ? relations { $0 == .settled } : []
        if !settled.isEmpty {
            let sql = PublicationSQL.refresh(configuration.name)
            return beat(now) + ask(.open(.refreshing(settled)), sql, now)
        }
        let refusals = configuration.isAdopted ? takeInPublished() : []
        if configuration.isAdopted, !relations(where: { $0 == .added }).isEmpty {
            return refusals + next(now)
        }
        let batch = configuration.isAdopted ? [] : nextBatch(now)
        if !batch.isEmpty {
            let named = batch.compactMap { relation in
                members[relation].map { (oid: relation, schema: $0.schema, name: $0.name) }
            }
            return beat(now)
                + ask(
                    .open(.adding(batch)), PublicationSQL.add(named, to: configuration.name), now)
        }
        if let pollAt, now >= pollAt { return refusals + ask(.open(.polling), membersQuery, now) }
        return refusals + beat(now) + wake(now)
    }

    /// Relations to add in one statement: those that may go together, else one that goes alone.
    private func nextBatch(_ now: Instant) -> [OID] {
        var together: [OID] = []
        var alone: OID?
        for relation in members.keys.sorted() {
            guard case .wanted(_, let isAlone, let notBefore) = members[relation]?.phase,
                notBefore.map({ now >= $0 }) ?? true
            else { continue }
            if !isAlone {
                if together.count < configuration.batchMax { together.append(relation) }
            } else if alone == nil {
                alone = relation
            }
        }
        return together.isEmpty ? alone.map { [$0] } ?? [] : together
    }

    /// Adopted: whoever is published has been added by the operator, the others are refused.
    private mutating func takeInPublished() -> [PublicationAction] {
        var refusals: [PublicationAction] = []
        for relation in members.keys.sorted() {
            guard case .wanted = members[relation]?.phase else { continue }
            if let identity = published[relation] {
                members[relation]?.phase = .added
                members[relation]?.identity = identity
            } else {
                members[relation] = nil
                refusals.append(.refused(relation, .notPublished))
            }
        }
        return refusals
    }

    private mutating func beat(_ now: Instant) -> [PublicationAction] {
        guard let beatAt, now >= beatAt else { return [] }
        // Asked again in case the link that was to answer is lost.
        self.beatAt = now.advanced(byMilliseconds: 5_000)
        return [.beatWanted]
    }

    /// The earliest moment at which something is due.
    private func wake(_ now: Instant) -> [PublicationAction] {
        var moments = [beatAt].compactMap { $0 }
        switch state {
        case .idle, .stopped: return []
        case .waiting(let until): moments = [until]
        case .open(.none):
            moments += [pollAt, refreshNotBefore].compactMap { $0 }
            for member in members.values {
                if case .wanted(_, _, let notBefore?) = member.phase { moments.append(notBefore) }
            }
        case .connecting, .locking, .listingOrphans, .droppingOrphan, .unlockingOrphan, .installing,
            .finding, .dropping, .creating, .examining, .open, .stopping:
            moments += [deadline].compactMap { $0 }
        }
        return moments.min().map { [.wake(at: $0)] } ?? []
    }
}
