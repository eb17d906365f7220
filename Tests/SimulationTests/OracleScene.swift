import Loop
import PGProtocol
import Testing

@testable import Simulation

/// A world of a database and an oracle, in which a test says what the proxy tells whom.
final class OracleScene {
    let surroundings: Surroundings
    let database: OriginDatabase
    let executions = ExecutionLog()
    let ledger: Ledger
    let oracle: Oracle
    /// The proxy's.
    var watermark: LSN
    var isServing = true
    /// What the clients know of their sessions.
    var belief: SessionBelief?
    /// What the origin's sessions are like.
    var standing: SessionStanding?
    private var clients: [(name: String, length: Int, exchanges: Int)] = []

    init(_ change: (inout Parameters) -> Void = { _ in }) {
        var parameters = Parameters(seed: 7)
        change(&parameters)
        surroundings = Surroundings(parameters: parameters)
        database = OriginDatabase(surroundings)
        ledger = Ledger(surroundings.scheduler, bytesTaken: { _ in 0 })
        oracle = Oracle(surroundings.parameters, database, executions, ledger)
        watermark = database.insertLSN
    }

    var event: UInt64 { surroundings.scheduler.count }

    /// Everything that is on its way happens, and one event more.
    func tick() {
        surroundings.scheduler.after(microsecond) {}
        while surroundings.scheduler.step() {}
    }

    /// One transaction of somebody else's, visible when this returns; the end of its commit.
    @discardableResult
    func commit(_ statements: Statement...) -> LSN {
        let transaction = database.begin(.readCommitted)
        for statement in statements {
            let outcome = database.run(statement, [], in: transaction, view: database.currentView())
            guard case .changed = outcome else {
                Issue.record("\(statement.sql): \(outcome)")
                continue
            }
        }
        var end = LSN.zero
        database.commit(transaction) { end = $0 ?? .zero }
        tick()
        return end
    }

    func reply(_ select: Select, _ parameters: [Datum] = [], at lsn: LSN) -> Reply {
        reply(select, database.answer(select, parameters, at: lsn))
    }
    func reply(_ select: Select, _ answer: Answer) -> Reply {
        let rows = Wire.rows(answer.rows, of: select, isBinary: false)
        if let error = answer.error { return .error(state: error.state, rows: rows) }
        return .rows(description: nil, rows: rows, tag: "SELECT \(answer.rows.count)")
    }

    private func place(of client: String) -> Int {
        if let place = clients.firstIndex(where: { $0.name == client }) { return place }
        clients.append((client, 0, 0))
        let place = clients.count - 1
        oracle.began(client, on: SocketID(index: UInt32(place), generation: 1))
        return place
    }

    /// The proxy appends a reply to the client's stream, knowing what it knows now.
    func appended(
        _ reply: Reply, to statement: Statement, _ parameters: [Datum] = [], for client: String, sentAt: UInt64
    ) -> Exchange {
        let place = place(of: client)
        ledger.noteState(watermark: watermark, isServing: isServing)
        clients[place].length += 40
        clients[place].exchanges += 1
        ledger.noteLength(clients[place].length, of: SocketID(index: UInt32(place), generation: 1))
        return Exchange(
            client: client, number: clients[place].exchanges, statement: statement, parameters: parameters,
            isBinary: false, belief: belief, sentAt: sentAt, endOfReply: clients[place].length, reply: reply)
    }

    /// The origin executes a statement for a client.
    func executed(
        _ statement: Statement, _ parameters: [Datum] = [], for client: String, _ reply: Reply,
        shown: [Answer.Shown] = [], committed: LSN? = nil
    ) {
        tick()
        executions.note(
            Execution(
                statement: statement, parameters: parameters, viewedAt: event, event: event, shown: shown,
                committedLSN: committed, standing: standing, reply: reply), for: client)
        tick()
    }

    // MARK: What a client hears of it

    /// A SELECT that the origin answers.
    func forward(_ select: Select, for client: String = "a") -> Violation? {
        let answer = database.answer(select, [], at: database.insertLSN)
        return forward(.select(select), reply(select, answer), shown: answer.shown, for: client)
    }

    func forward(
        _ statement: Statement, _ reply: Reply, shown: [Answer.Shown] = [], committed: LSN? = nil,
        for client: String = "a"
    ) -> Violation? {
        let sentAt = event
        executed(statement, for: client, reply, shown: shown, committed: committed)
        return oracle.check(appended(reply, to: statement, for: client, sentAt: sentAt))
    }

    /// The proxy answers without anybody.
    func answered(_ statement: Statement, _ tag: String, for client: String = "a") -> Violation? {
        let sentAt = event
        tick()
        return oracle.check(appended(.done(tag: tag), to: statement, for: client, sentAt: sentAt))
    }

    /// An answer of the cache; without `reply` the right one.
    func hit(_ select: Select, _ reply: Reply? = nil, for client: String = "a") -> Violation? {
        let sentAt = event
        tick()
        let reply = reply ?? self.reply(select, at: watermark)
        return oracle.check(appended(reply, to: .select(select), for: client, sentAt: sentAt))
    }
}

/// Statements of the tests.
enum Say {
    static func key(_ id: Int64) -> [Condition] {
        [Condition(column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(id))))]
    }
    static func columns(_ columns: Int...) -> Select.Output {
        .columns(columns.map { ColumnReference(relation: 0, column: $0) })
    }
    /// `id, balance` of one account.
    static func account(_ id: Int64) -> Select {
        Select(table: Table.account, conditions: key(id), output: columns(0, 2))
    }
    static func note(_ id: Int64) -> Select {
        Select(table: Table.account, conditions: key(id), output: columns(0, 3))
    }
    static let accounts = Select(table: Table.account, output: columns(0, 2))
    static let total = Select(
        table: Table.account, output: .totals(ColumnReference(relation: 0, column: 2)))
    static let quotient = Select(table: Table.account, output: .quotient(2))

    static func add(_ amount: Int64, to id: Int64) -> Statement {
        .update(
            Update(
                table: Table.account, assignments: [.add(2, .constant(.int(amount)))], conditions: key(id)))
    }
    static func write(_ note: String, to id: Int64) -> Statement {
        .update(
            Update(
                table: Table.account, assignments: [.set(3, .constant(.text(note)))], conditions: key(id)))
    }
    static func delete(_ id: Int64) -> Statement { .delete(Delete(table: Table.account, conditions: key(id))) }
}
