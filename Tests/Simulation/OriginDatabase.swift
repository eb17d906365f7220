import PGProtocol

/// Which transactions a statement sees: PostgreSQL's snapshot.
struct View: Hashable {
    var lower: TransactionID
    var upper: TransactionID
    var running: [TransactionID]

    /// As `pg_current_snapshot()` prints it.
    var text: String {
        "\(lower):\(upper):" + running.map(\.description).joined(separator: ",")
    }
    func sees(_ xid: TransactionID) -> Bool {
        xid < lower || (xid < upper && !running.contains(xid))
    }
}

/// A transaction of the modelled origin.
///
/// running -> logged (its commit record is written) -> ended (visible, its locks gone), or running -> ended; between
/// running and the others it may be prepared, and nobody's.
final class Transaction {
    enum State { case running, prepared, logged, ended }
    /// Stands once it has a view.
    var isolation: Statement.Isolation
    var isReadOnly = false
    /// Given with its first write.
    var xid: TransactionID?
    var state = State.running
    /// REPEATABLE READ: of its first statement.
    var view: View?

    // What follows is the database's.

    /// What it did, in order.
    var edits: [RowEdit] = []
    /// Rows that it changed.
    var touched: [(table: Int, id: Int64)] = []
    /// Rows that it locked without changing them.
    var locked: [RowName] = []
    /// Tables that it changed or locked rows of, and that it truncated, a bit each.
    var changedTables = 0
    var truncatedTables = 0
    /// current_user of its statements, set before each.
    var role = OriginRole.app
    /// The catalog as it has changed it, and the place of that among all versions once it is visible.
    var catalog: CatalogState?
    var catalogVersion: Int?
    /// It has changed the shape of `sheet`.
    var locksSheet = false
    /// Whom its last statement could not do without the end of.
    var waitsFor: Transaction?
    var waiters: [Waiter] = []

    final class Waiter {
        var remaining: Int
        let done: () -> Void
        init(_ remaining: Int, _ done: @escaping () -> Void) {
            self.remaining = remaining
            self.done = done
        }
    }

    init(isolation: Statement.Isolation) { self.isolation = isolation }
}

/// An error as the origin gives it.
struct OriginError: Error, Hashable {
    var state: String
    var message: String
}

/// What a SELECT returns.
struct Answer {
    /// A row of a table that the answer shows, in the version that was committed behind `lsn`. Versions that the
    /// transaction itself has made and not committed are left out.
    struct Shown: Hashable {
        var table: Int
        var id: Int64
        var lsn: LSN
    }
    /// Where the result's columns follow from the catalog of the moment.
    var fields: [ResultField]?
    var rows: [[Datum]] = []
    var shown: [Shown] = []
    /// It ended here, behind `rows`.
    var error: OriginError?
}

/// Tables, rows, transactions and the log of the modelled origin, without the wire.
///
/// Every version of a row is kept for the whole run, with the transaction and the position of the commit that made it
/// and that ended it: so a statement can be answered for a view, and for any position of the past [the invariant].
///
/// A commit is written to the log, and becomes visible later, perhaps in another order than others; locks last until
/// then. Not modelled: locks of readers (a TRUNCATE waits for writers only, and who reads while it runs sees the rows
/// from before it), changes of a primary key; who waits for what a savepoint undoes waits for the whole transaction.
final class OriginDatabase {
    let surroundings: Surroundings
    var tables = Table.all.map { _ in VersionedTable() }

    /// What the catalog is for everybody, and all that it ever was.
    var catalog: CatalogState { catalogVersions[catalogVersions.count - 1].state }
    var catalogVersions = [CatalogVersion(event: 0, time: 0, state: CatalogState(), noticedAt: 0)]
    /// Open transactions that have used `sheet`.
    var sheetUsers: [Transaction] = []
    /// Whether an event trigger tells of changes of the schema in the stream.
    var hasEventTrigger = false
    /// Transactions whose message the proxy has taken, and whose change is not visible yet.
    var messagesTaken: [UInt32] = []
    /// Called when the catalog has changed for everybody.
    var catalogChanged: ((_ before: CatalogState, _ now: CatalogState) -> Void)?

    /// Everything that was logged, in order.
    private(set) var log: [LogRecord] = []
    /// Called when something is logged.
    var logged: (() -> Void)?

    private var logEnd: LogEnd
    private var random: Random
    private var nextID: TransactionID
    private var highestCompleted: TransactionID
    /// Transactions with a number that are not over, by their numbers.
    private var inFlight: [Transaction] = []
    /// Prepared transactions by their global identifiers.
    var prepared: [String: Transaction] = [:]
    /// No commit becomes visible before this moment.
    private var stuckUntil: UInt64 = 0
    /// Counts crashes: what was scheduled before one does not happen.
    private var generation = 0

    init(_ surroundings: Surroundings) {
        self.surroundings = surroundings
        logEnd = LogEnd(surroundings)
        random = surroundings.random("transactions")
        // Some worlds are about to use up 32 bits: the stream carries no more of a number.
        nextID = TransactionID(random.chance(250) ? (1 << 32) - UInt64(random.within(5...200)) : 700)
        highestCompleted = TransactionID(nextID.value - 1)
        insertInitialRows()
    }

    // MARK: Now

    /// As `pg_current_wal_insert_lsn()` shows it: right behind a page header where a page begins.
    var insertLSN: LSN { logEnd.next }

    func currentView() -> View {
        let upper = Self.successor(of: highestCompleted)
        var view = View(lower: upper, upper: upper, running: [])
        for transaction in inFlight {
            guard let xid = transaction.xid, xid < upper else { continue }
            if view.running.isEmpty { view.lower = xid }
            view.running.append(xid)
        }
        return view
    }

    /// Transactions with a number that are not over (running or logged), by their numbers.
    var running: [Transaction] { inFlight }

    func transaction(_ xid: TransactionID) -> Transaction? { inFlight.first { $0.xid == xid } }

    /// Nothing that is logged becomes visible for so long.
    func stickStandby(for nanoseconds: UInt64) {
        stuckUntil = max(stuckUntil, surroundings.scheduler.now + nanoseconds)
        surroundings.trace.note("origin", "commits wait for a standby for \(nanoseconds / microsecond) µs")
    }
    var isStandbyStuck: Bool { stuckUntil > surroundings.scheduler.now }

    // MARK: Transactions

    func begin(_ isolation: Statement.Isolation) -> Transaction { Transaction(isolation: isolation) }

    enum Outcome {
        case answer(Answer)
        /// A change; its command tag.
        case changed(tag: String)
        /// It would change a row that this transaction has changed: try again when that has ended, under READ
        /// COMMITTED with a new view.
        case waits(for: Transaction)
        case failed(OriginError)
    }

    /// SELECT, INSERT, UPDATE, DELETE or TRUNCATE under `view`: as a whole or not at all. A failure leaves it to the
    /// caller to roll back.
    ///
    /// Who waits is remembered until the transaction's next statement or its end, to find deadlocks: a caller that
    /// gives up waiting, and neither goes on nor rolls back, calls `stopWaiting`.
    func run(
        _ statement: Statement, _ parameters: [Datum], in transaction: Transaction, view: View
    ) -> Outcome {
        precondition(transaction.state == .running, "a statement needs a running transaction")
        transaction.waitsFor = nil
        let outcome: Outcome
        switch statement {
        case .select(let select):
            if let error = catalog(for: transaction).refusal(select.tablesRead, transaction.role) {
                return .failed(error)
            }
            if select.locks {
                outcome = lock(select, parameters, in: transaction, view)
                break
            }
            return .answer(answer(select, parameters, .view(view, own: transaction.xid)))
        case .insert(let insert): outcome = run(insert, parameters, in: transaction)
        case .update(let update): outcome = run(update, parameters, in: transaction, view)
        case .delete(let delete): outcome = run(delete, parameters, in: transaction, view)
        case .truncate(let tables): outcome = truncate(tables, in: transaction)
        case .catalog(let statement): outcome = run(statement, parameters, in: transaction, view)
        case .begin, .commit, .rollback, .block, .setting, .channel, .ping, .nonsense:
            preconditionFailure("\(statement.sql) is not for the database")
        }
        guard case .waits(for: let other) = outcome else { return outcome }
        var next = other.waitsFor
        while let waiting = next {
            if waiting === transaction {
                return .failed(OriginError(state: "40P01", message: "deadlock detected"))
            }
            next = waiting.waitsFor
        }
        transaction.waitsFor = other
        return outcome
    }

    func stopWaiting(_ transaction: Transaction) { transaction.waitsFor = nil }

    /// Writes the commit, if there is something to commit; `done` is told once it is visible, with the end of its
    /// record, or at once, before this returns, with nil.
    func commit(_ transaction: Transaction, _ done: @escaping (LSN?) -> Void) {
        precondition(transaction.state == .running, "a transaction ends once")
        guard let xid = transaction.xid else {
            finish(transaction)
            done(nil)
            release(transaction)
            return
        }
        transaction.waitsFor = nil
        transaction.state = .logged
        let record = append(.commit(xid: xid, edits: transaction.edits)) { [self] end in
            for row in transaction.touched { tables[row.table].commit(row.id, xid, at: end) }
        }
        surroundings.trace.note("origin", "commit of \(xid) is logged, up to \(record.end)")
        let parameters = surroundings.parameters
        // What the event trigger tells of is often decoded long before: else nobody would read the old catalog [T2].
        let isAnnounced = hasEventTrigger && transaction.catalog != nil
        let typical =
            random.chance(max(parameters.slowVisibilityPerMille, isAnnounced ? 400 : 0))
            ? max(parameters.slowVisibilityMicroseconds, isAnnounced ? 20_000 : 0) : parameters.visibilityMicroseconds
        let delay = UInt64(random.within(200...3000)) * UInt64(typical)
        let start = max(surroundings.scheduler.now, stuckUntil)
        scheduleVisibility(transaction, at: start + delay) { done(record.end) }
    }

    /// Does nothing where the commit is in the log, or it is over: what is logged stays.
    func rollback(_ transaction: Transaction) {
        guard transaction.state == .running else { return }
        undo(transaction)
        if let xid = transaction.xid { append(.rollback(xid: xid)) }
        finish(transaction)
        guard !transaction.waiters.isEmpty else { return }
        // Not from inside of the caller's doing.
        let generation = generation
        surroundings.scheduler.after(0) { [self] in
            if generation == self.generation { release(transaction) }
        }
    }

    /// Calls back once, when all of these are over (before this returns if they are), from an event of the scheduler.
    func whenEnded(_ transactions: [Transaction], _ done: @escaping () -> Void) {
        let open = transactions.filter { $0.state != .ended }
        guard !open.isEmpty else { return done() }
        let waiter = Transaction.Waiter(open.count, done)
        for transaction in open { transaction.waiters.append(waiter) }
    }

    /// Takes a number and commits at once, with a record of this kind: a fence, or a change of the publication.
    @discardableResult
    func commitAlone(_ kind: (TransactionID) -> LogRecord.Kind) -> (xid: TransactionID, end: LSN) {
        let xid = takeID()
        let kind = kind(xid)
        complete(xid)
        return (xid, append(kind).end)
    }

    /// A checkpoint, the work of another database: something that only takes room.
    @discardableResult
    func writeOther() -> LSN { append(.other).end }

    /// The origin is stopped at once: what runs is rolled back, what is logged becomes visible, what is prepared
    /// stays. Callbacks are dropped.
    func crash() {
        generation += 1
        stuckUntil = 0
        sheetUsers.removeAll { $0.state != .prepared }
        for transaction in inFlight {
            if transaction.state == .prepared {
                transaction.waiters = []
                continue
            }
            if transaction.state == .running { undo(transaction) }
            finish(transaction)
            transaction.waiters = []
        }
        // A server that starts takes every number that was given for completed.
        complete(TransactionID(nextID.value - 1))
        writeOther()
    }

    // MARK: Numbers

    /// The transaction's number, which it now has.
    func number(_ transaction: Transaction) -> TransactionID {
        if let xid = transaction.xid { return xid }
        let xid = takeID()
        transaction.xid = xid
        inFlight.append(transaction)
        return xid
    }

    private func takeID() -> TransactionID {
        let xid = nextID
        nextID = Self.successor(of: xid)
        return xid
    }

    private static func successor(of xid: TransactionID) -> TransactionID {
        let next = xid.value + 1
        // The lowest numbers of 32 bits mean something else (src/include/access/transam.h, FirstNormalTransactionId).
        return TransactionID(next & 0xFFFF_FFFF < 3 ? next - (next & 0xFFFF_FFFF) + 3 : next)
    }

    private func complete(_ xid: TransactionID) { highestCompleted = max(highestCompleted, xid) }

    // MARK: Ends

    private func scheduleVisibility(_ transaction: Transaction, at time: UInt64, _ done: @escaping () -> Void) {
        let generation = generation
        surroundings.scheduler.at(time) { [self] in
            guard generation == self.generation else { return }
            if isStandbyStuck { return scheduleVisibility(transaction, at: stuckUntil, done) }
            finish(transaction)
            surroundings.trace.note("origin", "commit of \(transaction.xid?.description ?? "") is visible")
            done()
            release(transaction)
        }
    }

    /// Visible, or never to be; its locks are gone.
    private func finish(_ transaction: Transaction) {
        if let state = transaction.catalog, transaction.state == .logged { catalogBecame(state, by: transaction) }
        if !sheetUsers.isEmpty { sheetUsers.removeAll { $0 === transaction } }
        transaction.locksSheet = false
        transaction.state = .ended
        transaction.waitsFor = nil
        transaction.edits = []
        transaction.touched = []
        guard let xid = transaction.xid else { return }
        inFlight.removeAll { $0 === transaction }
        complete(xid)
    }

    private func catalogBecame(_ state: CatalogState, by transaction: Transaction) {
        let before = catalog
        transaction.catalog = nil
        transaction.catalogVersion = catalogVersions.count
        catalogVersions.append(
            CatalogVersion(
                event: surroundings.scheduler.count, time: surroundings.scheduler.now, state: state,
                xid: transaction.xid))
        messageTaken(nil)
        surroundings.trace.note("origin", "catalog version \(catalogVersions.count - 1) is visible")
        catalogChanged?(before, state)
    }

    private func release(_ transaction: Transaction) {
        let waiters = transaction.waiters
        transaction.waiters = []
        for waiter in waiters {
            waiter.remaining -= 1
            if waiter.remaining == 0 { waiter.done() }
        }
    }

    private func undo(_ transaction: Transaction) {
        guard let xid = transaction.xid else { return }
        for row in transaction.touched { tables[row.table].undo(row.id, xid) }
    }

    // MARK: The log

    /// Takes room for the record of a row's change.
    func appendEdit() -> LSN { logEnd.append().start }

    /// `before` happens before anybody is told.
    @discardableResult
    private func append(_ kind: LogRecord.Kind, before: (LSN) -> Void = { _ in }) -> LogRecord {
        let (start, end) = logEnd.append()
        let record = LogRecord(start: start, end: end, kind: kind)
        log.append(record)
        before(end)
        logged?()
        return record
    }

    // MARK: The beginning

    /// All rows come from one transaction, the first in the log.
    private func insertInitialRows() {
        var random = surroundings.random("initial rows")
        let transaction = begin(.readCommitted)
        for row in InitialRows.draw(
            surroundings.parameters.rowsPerTable, noteBytes: surroundings.parameters.noteBytes, &random) {
            add(row.values, row.table, transaction)
        }
        if surroundings.parameters.changesCatalog { makeSheet(transaction) }
        var events = surroundings.random("initial events")
        for row in InitialRows.events(surroundings.parameters.rowsPerTable, &events) {
            add(row.values, row.table, transaction)
        }
        guard let xid = transaction.xid else { return }
        append(.commit(xid: xid, edits: transaction.edits)) { [self] end in
            for row in transaction.touched { tables[row.table].commit(row.id, xid, at: end) }
        }
        finish(transaction)
    }
}

/// What the tables hold at first.
enum InitialRows {
    static func draw(_ count: Int, noteBytes: Int, _ random: inout Random) -> [(table: Int, values: Row)] {
        var rows: [(table: Int, values: Row)] = []
        for id in 1...max(1, count) {
            let name = Int64(id)
            rows.append(
                (
                    Table.account,
                    [
                        .int(name), random.chance(100) ? .null : .int(name % 4 + 1), .int(100),
                        .text("n\(id)" + String(repeating: ".", count: max(0, noteBytes - 2))),
                    ]
                ))
            rows.append(
                (
                    Table.branch,
                    [.int(name), .text("b\(id)"), random.chance(100) ? .null : .bool(random.chance(600))]
                ))
        }
        for id in 1...max(1, count) {
            // 1 and 2 are opposite, 3 and 4, and so on; one without a partner moves nothing.
            let pair = (id + 1) / 2
            let size = Int64(pair * 7 % 40 + 1)
            let amount = id % 2 == 1 ? (id == count ? 0 : size) : -size
            let account: Datum = random.chance(150) ? .null : .int(Int64(random.within(1...max(1, count))))
            let state = random.pick([Datum.text("open"), .text("open"), .text("done"), .null])
            rows.append((Table.entry, [.int(Int64(id)), account, .int(amount), state]))
        }
        return rows
    }

    /// Others in each of the two tables of that name.
    static func events(_ count: Int, _ random: inout Random) -> [(table: Int, values: Row)] {
        var rows: [(table: Int, values: Row)] = []
        for table in [Table.event, Table.archivedEvent] {
            for id in 1...max(1, count) {
                let kind = Datum.int(Int64(random.within(1...3)))
                rows.append(
                    (
                        table,
                        [.int(Int64(id)), kind, SessionTemplates.marks(&random), SessionTemplates.days(&random)]
                    ))
            }
        }
        return rows
    }
}
