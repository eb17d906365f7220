import CDC
import Loop
import PGProtocol

@testable import Simulation

/// An origin with links, without the proxy: the machines of module CDC as the shell drives them, and transactions as
/// clients would run them.
final class LinkFixture {
    let surroundings: Surroundings
    let database: OriginDatabase
    let publications: Publications
    var isReachable = true
    private(set) var links: [OriginLink] = []
    private var announced: [Completion] = []
    /// Every event of a link that no machine takes, by role.
    private(set) var events: [[LinkEvent]] = [[], [], [], []]

    static let name = "pgcache_pub_ab12"
    var publication = Publication(configuration: .own(LinkFixture.name))
    var feed: ReplicationFeed
    private var publicationWakes = 0
    private var feedWakes = 0
    private var wantsBeat = false
    private var isBeating = false

    // What came of it.
    private(set) var followed: [OID] = []
    private(set) var unfollowed: [OID] = []
    private(set) var transactions: [SourceTransaction] = []
    private(set) var shapes: [RelationShape] = []
    private(set) var lives = 0
    private(set) var losses: [LossReason] = []
    private(set) var watermark = LSN.zero
    /// The last snapshot of the origin that was seen.
    private(set) var snapshot: Snapshot?
    /// Called for each transaction that the feed gives.
    var transactionReceived: ((SourceTransaction) -> Void)?

    init(seed: UInt64 = 1, isPersistent: Bool = false, _ change: (inout Parameters) -> Void = { _ in }) {
        var parameters = Parameters(seed: seed)
        change(&parameters)
        surroundings = Surroundings(parameters: parameters, isTraced: true)
        database = OriginDatabase(surroundings)
        publications = Publications(surroundings, database)
        publications.alterFailsPerMille = 0
        var configuration = ReplicationFeed.Configuration(slot: "pgcache_ab12")
        configuration.isPersistent = isPersistent
        feed = ReplicationFeed(configuration: configuration)
        links = OriginLink.Role.allCases.map { role in
            OriginLink(
                role,
                OriginLink.Surface(
                    surroundings: surroundings, database: database, publications: publications,
                    refusal: { [unowned self] in
                        isReachable ? nil : OriginError(state: "", message: "connection refused")
                    },
                    announce: { [unowned self] in self.announced.append($0) }), tag: UInt64(role.rawValue))
        }
    }

    func link(_ role: OriginLink.Role) -> OriginLink { links[Int(role.rawValue)] }
    func events(_ role: OriginLink.Role) -> [LinkEvent] { events[Int(role.rawValue)] }
    var now: Instant { Instant(nanoseconds: surroundings.scheduler.now) }
    var trace: [String] { surroundings.trace.lines }

    // MARK: Time

    /// Lets so much time pass, or less if `isEnough` before.
    @discardableResult
    func pass(milliseconds: UInt64, until isEnough: () -> Bool = { false }) -> Bool {
        let scheduler = surroundings.scheduler
        let end = scheduler.now + milliseconds * millisecond
        // The clock stands still between events.
        scheduler.at(end) {}
        while true {
            drain()
            if isEnough() { return true }
            guard let next = scheduler.nextTime, next <= end, scheduler.step() else { return isEnough() }
        }
    }

    private func drain() {
        while !announced.isEmpty {
            let completion = announced.removeFirst()
            guard let role = OriginLink.Role(rawValue: UInt32(completion.tag)) else { continue }
            link(role).advance(completion)
            while let event = link(role).nextEvent() { take(event, role) }
        }
        if wantsBeat, !isBeating, link(.control).isIdle {
            wantsBeat = false
            isBeating = true
            link(.control).query(LinkFixture.beat, [])
        }
    }

    static let beat =
        "select pg_catalog.pg_current_snapshot()::pg_catalog.text, "
        + "pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, "
        + "pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text"

    private func take(_ event: LinkEvent, _ role: OriginLink.Role) {
        events[Int(role.rawValue)].append(event)
        switch (role, event) {
        case (.control, .answered(let rows)):
            isBeating = false
            snapshot = rows.first?.first.flatMap { $0 }.flatMap { Snapshot($0) }
            if let snapshot { perform(publication.snapshotArrived(snapshot, now: now)) }
        case (.control, .lost): isBeating = false
        case (.publication, .connected): perform(publication.linkConnected(serverVersion: 150_018, now: now))
        case (.publication, .answered(let rows)): perform(publication.linkAnswered(rows: rows, now: now))
        case (.publication, .failed(let state, let message)):
            perform(publication.linkFailed(state: state, message: message, now: now))
        case (.publication, .lost(let state, let message)):
            perform(publication.linkLost(state: state, message: message, now: now))
        case (.replication, .connected): perform(feed.linkConnected(serverVersion: 150_018, now: now))
        case (.replication, .answered(let rows)): perform(feed.linkAnswered(rows: rows, now: now))
        case (.replication, .failed(let state, let message)):
            perform(feed.linkFailed(state: state, message: message, now: now))
        case (.replication, .lost(let state, let message)):
            perform(feed.linkLost(state: state, message: message, now: now))
        case (.replication, .streaming): perform(feed.linkStreaming(now: now))
        case (.replication, .copyData(let bytes)):
            let moment = now
            perform(withView(bytes) { feed.copyDataReceived($0, now: moment) })
        default: break
        }
    }

    // MARK: The machines

    /// Connects everything and begins to follow.
    func start() {
        link(.control).connect([])
        perform(publication.started(now: now))
    }

    /// The feed alone, with a publication that is there already.
    func startFeed(_ name: String = LinkFixture.name) { perform(feed.started(publication: name, now: now)) }

    func want(_ tables: Int...) {
        for table in tables {
            let table = Table.all[table]
            perform(
                publication.relationWanted(table.oid, schema: "public", name: table.name, now: now))
        }
    }

    func isFollowed(_ table: Int) -> Bool { publication.isFollowed(Table.all[table].oid) }

    private func perform(_ actions: [PublicationAction]) {
        for action in actions {
            switch action {
            case .connect: link(.publication).connect([])
            case .query(let sql): link(.publication).query(sql, [])
            case .close: link(.publication).close()
            case .wake(let instant):
                publicationWakes += 1
                let number = publicationWakes
                surroundings.scheduler.at(instant.nanoseconds) { [unowned self] in
                    if number == publicationWakes { perform(publication.clockReached(now)) }
                }
            case .beatWanted: wantsBeat = true
            case .ready(let name, let isNew):
                if isNew || lives == 0 { perform(feed.started(publication: name, now: now)) }
            case .followed(let relations): followed += relations
            case .unfollowed(let relations): unfollowed += relations
            case .refused, .grown, .orphanDropped, .orphanKept, .eventTriggerReady, .eventTriggerMissing, .unavailable,
                .finished: break
            }
        }
    }

    private func perform(_ actions: [ReplicationAction]) {
        for action in actions {
            switch action {
            case .connect: link(.replication).connect([("options", feed.connectionOptions)])
            case .query(let sql): link(.replication).query(sql, [])
            case .startReplication(let sql): link(.replication).startReplication(sql)
            case .sendCopyData(let bytes): link(.replication).sendCopyData(bytes)
            case .close: link(.replication).close()
            case .wake(let instant):
                feedWakes += 1
                let number = feedWakes
                surroundings.scheduler.at(instant.nanoseconds) { [unowned self] in
                    if number == feedWakes { perform(feed.clockReached(now)) }
                }
            case .relationDescribed(let shape): shapes.append(shape)
            case .transactionReceived(let transaction):
                transactions.append(transaction)
                transactionReceived?(transaction)
            case .watermarkAdvanced(let lsn): watermark = lsn
            case .live(let lsn):
                lives += 1
                watermark = lsn
            case .lost(let reason, _): losses.append(reason)
            case .fenced, .explainBlocker, .finished: break
            }
        }
    }

    // MARK: What clients do

    func run(_ statement: Statement, in transaction: Transaction) {
        guard case .changed = database.run(statement, [], in: transaction, view: database.currentView()) else {
            preconditionFailure("\(statement.sql) changed nothing")
        }
    }

    /// A transaction of its own; the end of its commit record.
    @discardableResult
    func commit(_ statements: Statement...) -> LSN {
        let transaction = database.begin(.readCommitted)
        for statement in statements { run(statement, in: transaction) }
        return commit(transaction)
    }

    @discardableResult
    func commit(_ transaction: Transaction) -> LSN {
        database.commit(transaction) { _ in }
        return database.log.last?.end ?? .zero
    }
}

extension Statement {
    private static func isRow(_ id: Int64) -> [Condition] {
        [Condition(column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(id))))]
    }
    /// `update account set balance = balance + 5 where id = …`
    static func deposit(_ id: Int64, _ amount: Int64 = 5) -> Statement {
        .update(
            Update(
                table: Table.account, assignments: [.add(2, .constant(.int(amount)))], conditions: isRow(id)))
    }
    static func setNote(_ id: Int64, _ note: Datum) -> Statement {
        .update(
            Update(table: Table.account, assignments: [.set(3, .constant(note))], conditions: isRow(id)))
    }
    static func close(branch id: Int64) -> Statement {
        .update(
            Update(
                table: Table.branch, assignments: [.set(2, .constant(.bool(false)))], conditions: isRow(id)))
    }
    static func add(_ table: Int, _ row: Row) -> Statement {
        .insert(Insert(table: table, rows: [row.map { .constant($0) }]))
    }
    static func removal(_ table: Int, _ id: Int64) -> Statement {
        .delete(Delete(table: table, conditions: isRow(id)))
    }
}
