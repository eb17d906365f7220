import CDC
import Cache
import Loop
import PGProtocol
import Shell

/// The cache database of a simulated world, in place of a PostgreSQL beside the proxy.
///
/// It keeps the promises of `PostgresCacheDatabase`, and no more: what changes the pools is done in order on one
/// connection, a batch at one moment; reads run on a few others, each at one moment that has nothing to do with the
/// batches that are under way; populations copy what the origin shows at one moment of their own. Answers come in later
/// turns, in the order of their connection. Losing it loses all; it comes back, empty, a while later.
///
/// Owner: the proxy. The world keeps it too, for faults.
final class ModelledCacheDatabase: CacheDatabase {
    /// What it needs of the world.
    struct Surface {
        var surroundings: Surroundings
        var origin: Origin
        /// A completion for the proxy.
        var announce: () -> Void
        /// `CacheStore.parseBody` and `CacheStore.settings`.
        var parseBody: (UInt64) -> [UInt8]?
        var settings: (UInt32) -> [(name: String, value: String)]
    }
    private enum Request {
        case create(PoolTable)
        case apply(RowBatch)
        case drop(PopulationID)
        case list(KeyList)
        case measure
        case zone(String)
    }
    private struct Question {
        var entry: UInt64
        /// Parse's body behind the name, Bind's behind the names.
        var parse: [UInt8]
        var bind: [UInt8]
        var settings: [(name: String, value: String)]
    }
    private enum State { case down, preparing, ready }
    private final class Reader {
        let toDatabase: LinkPipe<Question>
        let toProxy: LinkPipe<CacheDatabaseEvent>
        /// Not answered yet.
        var count = 0

        init(_ toDatabase: LinkPipe<Question>, _ toProxy: LinkPipe<CacheDatabaseEvent>) {
            self.toDatabase = toDatabase
            self.toProxy = toProxy
        }
    }
    private final class Worker {
        var current: PopulationID?
        var isBusy = false
        var isCancelled = false
    }

    static let readersCount = 3

    private let surface: Surface
    private let workersCount: Int
    private var random: Random
    private var state = State.down
    private var isStarted = false
    private(set) var hasStopped = false
    /// Counts its lives: what belongs to an earlier one does not happen.
    private var life = 0
    private var tables = CacheTables()
    private var toApplier: LinkPipe<Request>?
    private var fromApplier: LinkPipe<CacheDatabaseEvent>?
    private var readers: [Reader] = []
    private var workers: [Worker] = []
    /// Has come, and was not looked at by `advance`.
    private var arrived: [CacheDatabaseEvent] = []
    private var events: [CacheDatabaseEvent] = []
    private var eventsTaken = 0
    private var tablesMade: UInt32 = 0
    /// Faults: of the next batches, populations and reads, how many fail.
    var failures: (batches: Int, populations: Int, reads: Int) = (0, 0, 0)
    /// How often the origin was restarted: populations that were under way have failed.
    private var originRestarts = 0
    /// What it has done, for reports.
    private(set) var populationsLoaded = 0

    init(_ surface: Surface, populationsMax: Int) {
        self.surface = surface
        workersCount = max(populationsMax, 1)
        random = surface.surroundings.random("cache database")
        surface.origin.restarted.append { [weak self] in self?.originRestarts += 1 }
    }

    private var scheduler: Scheduler { surface.surroundings.scheduler }
    private var parameters: Parameters { surface.surroundings.parameters }
    private func note(_ what: @autoclosure () -> String) { surface.surroundings.trace.note("rows", what()) }

    // MARK: - CacheDatabase

    func start(like origin: DatabaseFacts) {
        isStarted = true
        prepare(after: UInt64(random.within(1...200)) * millisecond)
    }

    func perform(_ command: RowCommand) {
        guard state == .ready else { return }
        switch command {
        case .create(let table): toApplier?.send([.create(table)])
        case .apply(let batch):
            note("apply \(batch.sequence): \(batch.operations.map { Self.text($0) }.joined(separator: "; "))")
            toApplier?.send([.apply(batch)])
        case .populate(let plan): populate(plan)
        case .list(let keys): toApplier?.send([.list(keys)])
        case .forget(let id): forget(id)
        case .read(let read): self.read(read)
        case .measure: toApplier?.send([.measure])
        case .describeZone(let zone): toApplier?.send([.zone(zone)])
        // No table of a world has others below it, and none takes more than its rows.
        case .inherit, .compact: break
        case .reset:
            lose("it is begun anew")
            events.append(.lost("it is begun anew"))
        }
    }

    func advance(_ completion: Completion) {
        events += arrived
        arrived = []
    }

    func flush() {}

    func nextEvent() -> CacheDatabaseEvent? {
        guard eventsTaken < events.count else { return nil }
        let event = events[eventsTaken]
        eventsTaken += 1
        if eventsTaken == events.count {
            events.removeAll(keepingCapacity: true)
            eventsTaken = 0
        }
        return event
    }

    func stop() {
        closeAll()
        isStarted = false
        scheduler.after(UInt64(random.within(1...50)) * millisecond) { [weak self] in self?.hasStopped = true }
    }

    // MARK: - Life

    /// Whatever was under way is not answered any more.
    private func closeAll() {
        state = .down
        life += 1
        toApplier?.cut()
        fromApplier?.cut()
        for reader in readers {
            reader.toDatabase.cut()
            reader.toProxy.cut()
        }
        readers = []
        workers = []
        arrived = []
        tables = CacheTables()
    }

    private func lose(_ reason: String) {
        note("is lost: \(reason)")
        closeAll()
        prepare(after: UInt64(random.within(1...200)) * millisecond)
    }

    private func prepare(after nanoseconds: UInt64) {
        guard state == .down, isStarted else { return }
        state = .preparing
        let life = self.life
        scheduler.after(nanoseconds) { [weak self] in
            guard let self, self.life == life, self.isStarted else { return }
            self.open()
            self.note("is there")
            self.arrive([
                .ready(DatabaseFacts.Alikeness(majorVersion: true, encoding: true, defaultCollation: true))
            ])
        }
    }

    private func open() {
        state = .ready
        func pipe<Item>(_ name: String, _ number: Int, _ deliver: @escaping ([Item]) -> Void) -> LinkPipe<Item> {
            LinkPipe(
                surface.surroundings, "cache database, \(name)", life * 8 + number,
                microseconds: parameters.cacheMicroseconds, deliver: deliver)
        }
        toApplier = pipe("to applier", 0) { [weak self] requests in
            for request in requests { self?.execute(request) }
        }
        fromApplier = pipe("from applier", 0) { [weak self] in self?.arrive($0) }
        for number in 0..<Self.readersCount {
            let toProxy: LinkPipe<CacheDatabaseEvent> = pipe("from reader", number) { [weak self] in
                for event in $0 { if case .readEnded = event { self?.readers[number].count -= 1 } }
                self?.arrive($0)
            }
            readers.append(
                Reader(
                    pipe("to reader", number) { [weak self] questions in
                        for question in questions { self?.answer(question, toProxy) }
                    }, toProxy))
        }
        workers = (0..<workersCount).map { _ in Worker() }
    }

    private func arrive(_ more: [CacheDatabaseEvent]) {
        arrived += more
        surface.announce()
    }

    // MARK: - Faults

    /// All that it holds is gone.
    func fail() {
        guard state == .ready else { return }
        lose("it has failed")
        arrive([.lost("it has failed")])
    }

    /// One of its connections, or all of them, are slow for a while.
    func stall(for nanoseconds: UInt64, _ random: inout Random) {
        note("stalls for \(nanoseconds / microsecond) µs")
        let which = random.below(4)
        if which != 0 {
            toApplier?.stall(for: nanoseconds)
            if random.chance(300) { fromApplier?.stall(for: nanoseconds) }
        }
        if which != 1 {
            for reader in readers where which == 3 || random.chance(500) {
                reader.toDatabase.stall(for: nanoseconds)
                if random.chance(300) { reader.toProxy.stall(for: nanoseconds) }
            }
        }
    }

    private static func takes(_ count: inout Int) -> Bool {
        if count == 0 { return false }
        count -= 1
        return true
    }

    // MARK: - The connection that applies

    private func execute(_ request: Request) {
        switch request {
        case .create(let table):
            tablesMade += 1
            let oid = OID(50_000 + tablesMade)
            guard tables.create(table, oid: oid), let pool = tables.pools[table.relation] else {
                fromApplier?.send([.poolFailed(table.relation, "there is no such table to be made")])
                return
            }
            note("makes \(pool.name)")
            let types = pool.columns.map(\.type.oid)
            fromApplier?.send([.poolCreated(table.relation, tableOID: oid, columnTypes: types)])
        case .apply(let batch):
            if Self.takes(&failures.batches) {
                note("refuses batch \(batch.sequence)")
                fromApplier?.send([.applyFailed("53100 there is no room")])
            } else if let missing = tables.apply(batch.operations) {
                note("has applied \(batch.sequence)\(missing.isEmpty ? "" : ", missing \(missing)")")
                fromApplier?.send([.applied(batch.sequence, missing: missing, told: tables.told)])
            } else {
                preconditionFailure("a batch that cannot be applied: \(batch)")
            }
        case .drop(let id): tables.staged[id] = nil
        case .list(let keys):
            let found = tables.values(keys)
            note("lists \(keys.column) \(keys.condition ?? ""): \(found?.count ?? -1)")
            fromApplier?.send([.keysListed(keys.number, found)])
        case .zone(let zone): fromApplier?.send([.zoneDescribed(zone, CatalogAnswers.digest(ofZone: zone))])
        case .measure:
            fromApplier?.send([.measured(tables.pools.mapValues { 8192 + $0.rows.count * 64 })])
        }
    }

    // MARK: - Populations

    private func populate(_ plan: PopulationPlan) {
        guard let worker = workers.first(where: { !$0.isBusy }), let pool = tables.pools[plan.relation] else {
            events.append(.populationFailed(plan.id, .failed("no worker is free")))
            return
        }
        let first = plan.first.map { "by \($0.order) up to \($0.countMax)" } ?? ""
        note("population \(plan.id.number) of \(pool.name) \(plan.condition ?? "") \(first)")
        worker.isBusy = true
        worker.isCancelled = false
        worker.current = plan.id
        let life = self.life
        scheduler.after(populationDelay()) { [weak self] in
            guard let self, self.life == life else { return }
            self.copy(plan, pool, worker)
        }
    }

    private func populationDelay() -> UInt64 {
        UInt64(parameters.populationMicroseconds * random.within(100...3_000))
    }

    /// The copy has one moment, and takes its time.
    private func copy(_ plan: PopulationPlan, _ pool: CacheTables.Pool, _ worker: Worker) {
        let database = surface.origin.database
        let origin = surface.origin
        guard origin.isUp, !origin.isStarting, !origin.refusesConnections, !worker.isCancelled else {
            return ended(plan, worker, .failed("the connection broke"))
        }
        guard let shown = shown(pool, plan.relation) else {
            return ended(plan, worker, .failed("its columns are others by now"))
        }
        let condition = plan.condition.map { CacheCondition($0, pool.columns) }
        var rows: [Int64: Row] = [:]
        var bytes = 0
        var chosen = shown.filter { condition?.isTrue($0) ?? true }
        var reach: FirstRowsReach?
        if let first = plan.first { reach = Self.cut(&chosen, to: first, pool.columns) }
        for row in chosen {
            guard let id = CacheTables.key(row) else { continue }
            rows[id] = row
            bytes += 1
            for (value, column) in zip(row, pool.columns) {
                bytes += 1 + (Wire.bytes(value, column.type, isBinary: false)?.count ?? 1)
            }
        }
        note("population \(plan.id.number) sees \(database.currentView().text), \(rows.count) rows")
        let life = self.life
        let restarts = originRestarts
        let isTooLarge = bytes > plan.bytesMax
        scheduler.after(populationDelay()) { [weak self] in
            guard let self, self.life == life else { return }
            if isTooLarge { return self.ended(plan, worker, .tooLarge) }
            guard restarts == self.originRestarts, !worker.isCancelled, !Self.takes(&self.failures.populations) else {
                return self.ended(plan, worker, .failed("the connection broke"))
            }
            self.tables.staged[plan.id] = rows
            worker.current = nil
            worker.isBusy = false
            self.populationsLoaded += 1
            self.note("population \(plan.id.number) has come")
            self.arrive([.populationLoaded(plan.id, bytes: bytes, reach: reach)])
        }
    }

    /// ORDER BY and LIMIT, and how far the rows go that are left.
    private static func cut(_ rows: inout [Row], to first: FirstRows, _ columns: [Column]) -> FirstRowsReach {
        guard let position = columns.firstIndex(where: { $0.name == first.column }) else {
            preconditionFailure("no column \(first.column)")
        }
        let isDescending = first.order.contains(" DESC")
        let known = rows.filter { $0[position] != .null }.sorted {
            (isDescending ? Datum.less($1[position], $0[position]) : Datum.less($0[position], $1[position])) == true
        }
        rows = Array((known + rows.filter { $0[position] == .null }).prefix(first.countMax))
        var reach = FirstRowsReach()
        for row in rows { reach.append(Wire.bytes(row[position], columns[position].type, isBinary: false)) }
        return reach
    }

    /// What the origin shows of a table by its name, and by its columns' names, read as the pool's types; nil where
    /// that is not possible.
    private func shown(_ pool: CacheTables.Pool, _ relation: OID) -> [Row]? {
        let database = surface.origin.database
        let sight = Sight.view(database.currentView(), own: nil)
        if let table = Table.all.firstIndex(where: { $0.oid == relation }) {
            return database.tables[table].rows(sight).map(\.row)
        }
        guard let sheet = database.catalog.sheet, !database.isSheetLocked else { return nil }
        let attributes = pool.sheet.attributes.compactMap { sheet.attribute($0.column) }
        guard attributes.count == pool.columns.count else { return nil }
        var rows: [Row] = []
        for row in database.tables[sheet.table].rows(sight) {
            var values: Row = []
            for (attribute, column) in zip(attributes, pool.columns) {
                let text = Wire.bytes(attribute.value(in: row.row), attribute.type, isBinary: false)
                guard let value = Wire.datum(text, column.type, isBinary: false) else { return nil }
                values.append(value)
            }
            rows.append(values)
        }
        return rows
    }

    private func ended(_ plan: PopulationPlan, _ worker: Worker, _ failure: PopulationFailure) {
        note("population \(plan.id.number) ends: \(failure)")
        worker.current = nil
        arrive([.populationFailed(plan.id, failure)])
        // It cleans up before it is free again.
        let life = self.life
        scheduler.after(UInt64(parameters.cacheMicroseconds) * 2 * microsecond) { [weak self] in
            guard let self, self.life == life else { return }
            worker.isBusy = false
        }
    }

    private func forget(_ id: PopulationID) {
        if let worker = workers.first(where: { $0.current == id }) {
            worker.isCancelled = true
        } else {
            toApplier?.send([.drop(id)])
        }
    }

    // MARK: - Reads

    private func read(_ read: RowRead) {
        guard let reader = readers.min(by: { $0.count < $1.count }), let parse = surface.parseBody(read.statement)
        else {
            events.append(.readEnded(read.entry))
            return
        }
        reader.count += 1
        reader.toDatabase.send([
            Question(
                entry: read.entry, parse: parse, bind: read.bindTail, settings: surface.settings(read.profile))
        ])
    }

    /// A statement is executed at one moment; its answer comes whole, or in pieces.
    private func answer(_ question: Question, _ toProxy: LinkPipe<CacheDatabaseEvent>) {
        var messages = Self.takes(&failures.reads)
            ? [Self.error("53200", "out of memory")] : self.messages(question)
        note("read \(question.entry) → \(messages.count) messages")
        var events: [CacheDatabaseEvent] = []
        while !messages.isEmpty {
            let count = random.chance(700) ? messages.count : random.within(1...messages.count)
            events.append(.readArrived(question.entry, Array(messages[..<count].joined())))
            messages.removeFirst(count)
        }
        if random.chance(700) { return toProxy.send(events + [.readEnded(question.entry)]) }
        for event in events { toProxy.send([event]) }
        toProxy.send([.readEnded(question.entry)])
    }

    private func messages(_ question: Question) -> [[UInt8]] {
        guard case .parse(_, let text, let types) = FrontendMessage(FrontendType.parse, [0] + question.parse),
            case .bind(let bind) = FrontendMessage(FrontendType.bind, [0, 0] + question.bind)
        else { preconditionFailure("no Parse or no Bind for the cache database") }
        let settings = Dictionary(question.settings.map { ($0.name, $0.value) }) { $1 }
        let schemas = (settings["search_path"] ?? "").split(separator: ",").map { part in
            String(part.filter { $0 != " " && $0 != "\"" })
        }.filter { Table.schemas.contains($0) }
        guard let known = surface.surroundings.book.statement(text), let statement = known.resolved(in: schemas) else {
            return [Self.error("42P01", "relation does not exist")]
        }
        var parameters: [Datum] = []
        for (place, implied) in statement.parameterTypes.enumerated() {
            let declared = place < types.count && types[place].value != 0 ? ColumnType(types[place]) : implied
            let formats = bind.formats
            let format = formats.count == 1 ? formats[0] : place < formats.count ? formats[place] : 0
            guard place < bind.values.count, let type = declared,
                let value = Wire.datum(bind.values[place], type, isBinary: format == 1)
            else { return [Self.error("22P02", "parameter $\(place + 1) is no value of its type")] }
            parameters.append(value)
        }
        guard let answer = answer(statement, parameters),
            let format = RowFormat(bind.resultFormats, columns: answer.fields?.count ?? statement.resultTypes.count),
            let description = description(statement, answer, format)
        else { return [Self.error("42P01", "relation does not exist")] }
        var style = TextStyle()
        let dates = settings[Setting.dateStyle.rawValue] ?? ""
        style.dates = dates.hasPrefix("German") ? .german : dates.hasPrefix("SQL") ? .sql : .iso
        style.escapesBytes = settings[Setting.byteaOutput.rawValue] == "escape"
        var messages = [BackendType.parseComplete, BackendType.bindComplete].map { Messages.empty($0) } + [description]
        messages += answer.rows.map { statement.dataRows([$0], answer.fields, format, style) }
        if let error = answer.error { return messages + [Self.error(error.state, error.message)] }
        return messages + [Messages.commandComplete("SELECT \(answer.rows.count)")]
    }

    private func answer(_ statement: Statement, _ parameters: [Datum]) -> Answer? {
        switch statement {
        case .select(let select): tables.answer(select, parameters)
        case .catalog(.read(let read)): tables.answer(read, parameters)
        default: nil
        }
    }

    /// With this database's own numbers of tables; nil where one is not there.
    private func description(_ statement: Statement, _ answer: Answer, _ format: RowFormat) -> [UInt8]? {
        if let fields = answer.fields { return Messages.rowDescription(of: fields, format) }
        guard var bytes = statement.rowDescription(format) else { return nil }
        var position = 7
        for _ in statement.resultTypes {
            while bytes[position] != 0 { position += 1 }
            let number = bytes[position + 1..<position + 5].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            if number != 0 {
                guard let pool = tables.pools[OID(number)] else { return nil }
                for byte in 0..<4 {
                    bytes[position + 1 + byte] = UInt8(truncatingIfNeeded: pool.oid.value >> (24 - 8 * UInt32(byte)))
                }
            }
            position += 19
        }
        return bytes
    }

    private static func error(_ state: String, _ message: String) -> [UInt8] {
        Wire.message(BackendType.errorResponse) { body in
            for (code, value) in [("S", "ERROR"), ("V", "ERROR"), ("C", state), ("M", message)] {
                body.append(Array(code.utf8))
                body.cString(value)
            }
            body.uint8(0)
        }
    }

    private static func text(_ operation: RowOperation) -> String {
        let table = Table.all.first { $0.oid == operation.relation }?.name ?? "\(operation.relation)"
        func values(_ images: [ColumnImage]) -> String {
            images.map { image in
                switch image {
                case .null: "null"
                case .unchanged: "unchanged"
                case .text(let bytes), .binary(let bytes): String(decoding: bytes, as: UTF8.self)
                }
            }.joined(separator: ",")
        }
        func key(_ key: [[UInt8]]) -> String { key.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ",") }
        return switch operation.kind {
        case .upsert(let row): "\(table) := (\(values(row)))"
        case .update(let old, let row): "\(table) \(key(old)) := (\(values(row)))"
        case .delete(let old): "\(table) - \(key(old))"
        case .tell(let old): "\(table) \(key(old))?"
        case .truncate: "\(table) emptied"
        case .remove(let condition, let keeping): "\(table) - where \(condition ?? "true") but \(keeping)"
        case .merge(let id, let touched, let amended):
            "\(table) + population \(id.number) but \(touched.map(key)), amended "
                + amended.map { "\(key($0.key)) := (\(values($0.row)))" }.joined(separator: " ")
        }
    }
}
