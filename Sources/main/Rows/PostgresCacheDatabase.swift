import CDC
import Cache
import Logging
import Loop
import PGProtocol

/// The cache database in a PostgreSQL of its own: what the row tier wants, as SQL over a few connections.
///
///     down ─cluster ready→ preparing ─database made, emptied, compared→ ready ─any connection lost→ down (a while)
///
/// - One connection *applies*: what changes the pools, in order, one transaction for each request.
/// - A few *read*: statements, prepared once for each connection, under the settings of their profile.
/// - A worker for each population copies rows from the origin into a table of their own.
///
/// Losing one of them is losing the cache database: whoever is told of it forgets all, and it is begun anew, empty.
/// Owner: the shell. Bounds: `readersCount` connections for reads, `populationsMax` workers; the row tier bounds the
/// rest.
package final class PostgresCacheDatabase: CacheDatabase {
    private enum State {
        case down
        case preparing
        case ready
    }
    private enum Applying {
        case prepare(Preparation)
        case create(OID)
        case inherit(OID, parent: OID)
        /// The statements that most changes need.
        case parse(OID)
        /// `updates`: by the number of their CommandComplete, the positions of operations that need a row.
        /// By CommandComplete, the operations that need a row to be there, and those that tell one.
        case apply(UInt64, updates: [Int: Int], tells: [Int: Int])
        case list(KeyList)
        /// Whatever it answers.
        case housekeeping
        case measure
        case zone(String)
    }
    private enum Preparation {
        /// The database is made; the statements that may make it if this one does not.
        case database(ArraySlice<String>)
        case emptied
        case facts
    }

    /// Connections for reads.
    static let readersCount = 4
    private static let databaseName = "pgcache"
    /// Changes that the cache database has not taken; with more it is begun anew.
    private static let unsentBytesMax = 128 << 20
    private static let retryNanoseconds: UInt64 = 200_000_000
    private static let retryNanosecondsMax: UInt64 = 30_000_000_000
    /// How long the next loss is waited out: longer each time, until it has been ready for as long.
    private var patienceNanoseconds = PostgresCacheDatabase.retryNanoseconds
    private var readySinceNanoseconds: UInt64 = 0

    private let reactor: Reactor
    private let cluster: any CacheCluster
    private let log: Logger
    private let originParameters: [(keyword: String, value: String)]
    private let applier: CacheLink
    private var readers: [CacheReader] = []
    private var workers: [PopulationWorker] = []
    private var conversation = CacheConversation<Applying>()
    private var state = State.down
    /// The connections lead to the database that the cache is in, not to the one in which that is made.
    private var isInOwnDatabase = false
    private var origin: DatabaseFacts?
    /// Of the server, while it is there.
    private var endpoint: ClusterEndpoint?
    private let timerTag: UInt64
    private var timer: TimerID?
    private var tables: [OID: CacheSQL] = [:]
    private var events: [CacheDatabaseEvent] = []
    private var eventsTaken = 0
    /// Rows of the request that is being answered, and how many statements of it have ended.
    private var rows: [[String?]] = []
    private var completed = 0
    private var missing: [Int] = []
    private var told: [Int: RowImage] = [:]
    private var failure: String?
    private let parseBody: (UInt64) -> [UInt8]?
    private let profileSettings: (UInt32) -> [(name: String, value: String)]

    /// - Parameters:
    ///   - makeTag: for the completions of its connections, numbered from 0.
    ///   - originParameters: how to reach the origin for populations.
    ///   - parseBody: `CacheStore.parseBody`.
    init(
        cluster: any CacheCluster, isOwnCluster: Bool, reactor: Reactor, resolver: NameResolver, log: Logger,
        originParameters: [(keyword: String, value: String)], populationsMax: Int, makeTag: (UInt32) -> UInt64,
        parseBody: @escaping (UInt64) -> [UInt8]?,
        profileSettings: @escaping (UInt32) -> [(name: String, value: String)]
    ) {
        self.cluster = cluster
        self.isOwnCluster = isOwnCluster
        self.reactor = reactor
        self.log = log
        self.originParameters = originParameters
        self.parseBody = parseBody
        self.profileSettings = profileSettings
        applier = CacheLink(reactor: reactor, resolver: resolver, tag: makeTag(0))
        timerTag = makeTag(1)
        var number: UInt32 = 2
        for _ in 0..<Self.readersCount {
            readers.append(CacheReader(CacheLink(reactor: reactor, resolver: resolver, tag: makeTag(number))))
            number += 1
        }
        for _ in 0..<max(populationsMax, 1) {
            workers.append(
                PopulationWorker(
                    origin: LibpqLink(reactor: reactor, resolver: resolver, tag: makeTag(number)),
                    cache: CacheLink(reactor: reactor, resolver: resolver, tag: makeTag(number + 1)),
                    originParameters: originParameters))
            number += 2
        }
        tagsOfLinks = (0..<number).map(makeTag)
    }

    private let tagsOfLinks: [UInt64]
    /// A database is made in it; else the endpoint's is used.
    private let isOwnCluster: Bool

    // MARK: - Life

    package func start(like origin: DatabaseFacts) {
        let isOther = self.origin != nil && self.origin != origin
        self.origin = origin
        if isOther { lose("the origin is another one", isWanted: true) }
        cluster.start(ClusterPlan(majorVersion: origin.serverVersion / 10_000, encoding: origin.encoding))
    }

    package func stop() {
        closeAll()
        endpoint = nil
        if let timer { reactor.cancelTimer(timer) }
        timer = nil
        cluster.stop()
    }

    package var hasStopped: Bool { cluster.isStopped }

    private func closeAll() {
        state = .down
        applier.close()
        conversation.removeAll()
        for reader in readers { reader.close() }
        for worker in workers { worker.close() }
        tables.removeAll()
        rows.removeAll()
        failure = nil
        completed = 0
        missing = []
    }

    /// Some connection is gone, or an answer makes no sense: all of it is begun anew.
    /// - Parameter isWanted: it has done nothing wrong.
    private func lose(_ reason: String, isWanted: Bool = false) {
        guard state != .down else { return }
        let wasReady = state == .ready
        closeAll()
        events.append(.lost(reason))
        guard timer == nil else { return }
        if isWanted || wasReady && reactor.nowNanoseconds &- readySinceNanoseconds > patienceNanoseconds {
            patienceNanoseconds = Self.retryNanoseconds
        }
        timer = reactor.startTimer(nanoseconds: patienceNanoseconds, tag: timerTag)
        if !isWanted { patienceNanoseconds = min(patienceNanoseconds * 2, Self.retryNanosecondsMax) }
    }

    package func advance(_ completion: Completion) {
        guard let index = tagsOfLinks.firstIndex(of: completion.tag) else {
            cluster.advance(completion)
            while let event = cluster.nextEvent() { clusterEvent(event) }
            return
        }
        switch index {
        case 0:
            applier.advance(completion)
            while let event = applier.nextEvent() { applierEvent(event) }
        case 1:
            timer = nil
            prepare()
        case 2..<(2 + Self.readersCount):
            let reader = readers[index - 2]
            reader.advance(completion)
            while let event = reader.nextEvent() { readerEvent(event) }
        default:
            let offset = index - 2 - Self.readersCount
            let worker = workers[offset / 2]
            worker.advance(completion, isOrigin: offset % 2 == 0)
            while let event = worker.nextEvent() { workerEvent(event) }
        }
    }

    private func clusterEvent(_ event: ClusterEvent) {
        switch event {
        case .ready(let endpoint):
            self.endpoint = endpoint
            prepare()
        case .ended(let reason):
            endpoint = nil
            lose(reason)
        case .unavailable(let reason):
            events.append(.lost(reason))
        }
    }

    package func flush() {
        applier.flush()
        for reader in readers { reader.link.flush() }
        for worker in workers { worker.flush() }
    }

    package func nextEvent() -> CacheDatabaseEvent? {
        guard eventsTaken < events.count else { return nil }
        let event = events[eventsTaken]
        eventsTaken += 1
        if eventsTaken == events.count {
            events.removeAll(keepingCapacity: true)
            eventsTaken = 0
        }
        return event
    }

    // MARK: - Preparing

    private func prepare() {
        guard state == .down, let endpoint else { return }
        state = .preparing
        isInOwnDatabase = !isOwnCluster
        applier.connect(parameters(endpoint, "pgcache rows"))
    }

    /// With the name of the database that the cache is in.
    private func parameters(
        _ endpoint: ClusterEndpoint, _ application: String, options: String = CacheSQL.fixedOptions
    ) -> [(keyword: String, value: String)] {
        var endpoint = endpoint
        if isInOwnDatabase, isOwnCluster { endpoint.database = Self.databaseName }
        return endpoint.parameters(applicationName: application)
            + [(keyword: "options", value: options)]
    }

    private func applierConnected() {
        if isInOwnDatabase {
            send(.prepare(.emptied), CacheSQL.query(CacheSQL.empty))
            let facts = DatabaseFacts.question(serverVersion: origin?.serverVersion ?? 0)
            send(.prepare(.facts), CacheSQL.query(facts.sql))
        } else if let origin {
            createDatabase(DatabaseFacts.createDatabase(Self.databaseName, like: origin)[...])
        }
    }

    /// With the first of these statements that the server accepts.
    private func createDatabase(_ statements: ArraySlice<String>) {
        guard let first = statements.first else { return lose("no database can be made in it") }
        send(.prepare(.database(statements.dropFirst())), CacheSQL.query(first))
    }

    private func databaseMade(_ failure: String?, _ others: ArraySlice<String>) {
        // 42P04: it is there from before.
        guard failure == nil || failure?.hasPrefix("42P04") ?? false, let endpoint else {
            return createDatabase(others)
        }
        isInOwnDatabase = true
        applier.close()
        conversation.removeAll()
        applier.connect(parameters(endpoint, "pgcache rows"))
    }

    private func factsArrived() {
        guard let origin, let endpoint, let facts = DatabaseFacts(rows: rows) else {
            return lose("what it is like is not known")
        }
        let alikeness = origin.alikeness(of: facts)
        guard alikeness.allowsPools else { return lose("it is of another version or encoding than the origin") }
        state = .ready
        readySinceNanoseconds = reactor.nowNanoseconds
        for reader in readers {
            reader.link.connect(parameters(endpoint, "pgcache read", options: CacheSQL.readOptions))
        }
        for worker in workers { worker.start(parameters(endpoint, "pgcache populate")) }
        events.append(.ready(alikeness))
    }

    // MARK: - Commands

    package func perform(_ command: RowCommand) {
        guard state == .ready else { return }
        switch command {
        case .create(let table):
            let sql = CacheSQL(table)
            tables[table.relation] = sql
            send(.create(table.relation), CacheSQL.query(sql.create))
        case .inherit(let child, let parent):
            guard let sql = tables[child], let above = tables[parent] else { return }
            send(
                .inherit(child, parent: parent),
                CacheSQL.query("ALTER TABLE \(sql.name) INHERIT \(above.name)"))
        case .apply(let batch): apply(batch)
        case .populate(let plan):
            guard let sql = tables[plan.relation], let worker = workers.first(where: { $0.isIdle }) else {
                events.append(.populationFailed(plan.id, .busy))
                return
            }
            worker.begin(plan, sql)
        case .list(let keys):
            if let sql = tables[keys.relation] { send(.list(keys), CacheSQL.query(sql.list(keys))) }
        case .forget(let id):
            if let worker = workers.first(where: { $0.current == id }) {
                worker.cancel()
            } else {
                send(.housekeeping, CacheSQL.query("DROP TABLE IF EXISTS \(CacheSQL.staging(id))"))
            }
        case .read(let read): self.read(read)
        case .describeZone(let zone):
            send(.zone(zone), CacheSQL.ask(DatabaseFacts.zoneQuestion(zone)))
        case .compact(let relation):
            if let sql = tables[relation] { send(.housekeeping, CacheSQL.query("VACUUM (FULL, ANALYZE) \(sql.name)")) }
        case .measure: send(.measure, CacheSQL.query(CacheSQL.measure))
        case .reset: lose("it is begun anew", isWanted: true)
        }
    }

    private func send(_ request: Applying, _ bytes: [UInt8]) {
        conversation.sent(request)
        applier.send(bytes)
    }

    private func apply(_ batch: RowBatch) {
        var writer = ByteWriter()
        var updates: [Int: Int] = [:]
        var tells: [Int: Int] = [:]
        var count = 0
        for (position, operation) in batch.operations.enumerated() {
            guard let sql = tables[operation.relation] else { continue }
            for completion in sql.write(operation.kind, &writer) {
                switch completion {
                case .plain: break
                case .needsRow: updates[count] = position
                case .tells: tells[count] = position
                }
                count += 1
            }
        }
        CacheSQL.sync(&writer)
        send(.apply(batch.sequence, updates: updates, tells: tells), writer.bytes)
        if applier.unsentBytes > Self.unsentBytesMax { lose("it does not keep up with the changes") }
    }

    private func read(_ read: RowRead) {
        // The one with the least to do; of those, one that has the settings already.
        let open = readers.filter { $0.link.isOpen }
        guard
            let reader = open.min(by: {
                ($0.count, $0.profile == read.profile ? 0 : 1) < ($1.count, $1.profile == read.profile ? 0 : 1)
            })
        else {
            events.append(.readFailed(read.entry))
            return
        }
        let isSent = reader.send(read, parseBody: parseBody, settings: profileSettings)
        if !isSent { events.append(.readFailed(read.entry)) }
    }

    // MARK: - Answers

    private func applierEvent(_ event: CacheLink.Event) {
        switch event {
        case .connected: applierConnected()
        case .lost(let reason): lose(reason)
        case .received(let bytes):
            for reply in CacheReply.all(bytes) {
                switch reply {
                case .messages(let messages): applierAnswered(messages, conversation.current)
                case .ended: if let request = conversation.ended() { applierEnded(request) }
                }
            }
        }
    }

    private func applierAnswered(_ messages: ArraySlice<UInt8>, _ request: Applying?) {
        for message in CacheMessage.all(messages) {
            switch message.type {
            case BackendType.errorResponse:
                let error = message.error
                failure = "\(error.state) \(error.message)"
            case BackendType.dataRow:
                if case .apply(_, _, let tells)? = request {
                    if let position = tells[completed] { told[position] = message.image }
                } else {
                    rows.append(message.row)
                }
            case BackendType.commandComplete:
                if case .apply(_, let updates, _)? = request, let position = updates[completed],
                    message.tag == "UPDATE 0"
                {
                    missing.append(position)
                }
                completed += 1
            default: break
            }
        }
    }

    private func applierEnded(_ request: Applying) {
        let failure = self.failure
        let rows = self.rows
        let missing = self.missing
        let told = self.told
        self.failure = nil
        completed = 0
        self.missing = []
        self.told = [:]
        defer { self.rows = [] }
        switch request {
        case .prepare(.database(let others)): databaseMade(failure, others)
        case .prepare(.emptied):
            if let failure { lose("it cannot be emptied: \(failure)") }
        case .prepare(.facts):
            if let failure { lose(failure) } else { factsArrived() }
        case .create(let relation):
            guard failure == nil, let sql = tables[relation],
                let table = rows.first?.first.flatMap({ $0 }).flatMap({ OID($0) })
            else {
                events.append(.poolFailed(relation, failure ?? "its number is not known"))
                return
            }
            if !sql.table.key.isEmpty {
                var writer = ByteWriter()
                sql.prepare(&writer)
                CacheSQL.sync(&writer)
                send(.parse(relation), writer.bytes)
            }
            let types = rows.compactMap { $0.count > 1 ? $0[1].flatMap { OID($0) } : nil }
            events.append(.poolCreated(relation, tableOID: table, columnTypes: types))
        case .inherit(let child, let parent):
            events.append(failure.map { .poolFailed(parent, $0) } ?? .poolInherits(child, parent: parent))
        case .parse(let relation):
            if let failure { events.append(.poolFailed(relation, failure)) }
        case .apply(let sequence, _, _):
            if let failure {
                log.warning("the cache database refused changes", metadata: ["error": "\(failure)"])
                events.append(.applyFailed(failure))
            } else {
                events.append(.applied(sequence, missing: missing, told: told))
            }
        case .list(let keys):
            let found = rows.compactMap { $0.first.flatMap { $0 }.map { Array($0.utf8) } }
            let isUsable = failure == nil && found.count == rows.count && found.count <= keys.countMax
            events.append(.keysListed(keys.number, isUsable ? found : nil))
        case .housekeeping: break
        case .zone(let zone):
            events.append(.zoneDescribed(zone, failure == nil ? rows.first?.first.flatMap { $0 } : nil))
        case .measure:
            var bytes: [OID: Int] = [:]
            for row in rows where row.count == 3 {
                guard let size = row[2].flatMap({ Int($0) }) else { continue }
                for (relation, sql) in tables where sql.table.schema == row[0] && sql.table.name == row[1] {
                    bytes[relation] = size
                }
            }
            // Without an answer sizes stay as they were; somebody waits for one.
            events.append(.measured(bytes))
        }
    }

    private func readerEvent(_ event: CacheReader.Event) {
        switch event {
        case .arrived(let entry, let bytes): events.append(.readArrived(entry, bytes))
        case .ended(let entry): events.append(.readEnded(entry))
        case .failed(let entry): events.append(.readFailed(entry))
        case .lost(let reason): lose(reason)
        }
    }

    private func workerEvent(_ event: PopulationWorker.Event) {
        switch event {
        case .loaded(let id, let bytes, let reach):
            events.append(.populationLoaded(id, bytes: bytes, reach: reach))
        case .failed(let id, let failure): events.append(.populationFailed(id, failure))
        case .lost(let reason): lose(reason)
        }
    }
}
