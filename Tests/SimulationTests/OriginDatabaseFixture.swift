import PGProtocol

@testable import Simulation

/// A database and a clock, without a network; statements as tests write them.
struct DatabaseFixture {
    let surroundings: Surroundings
    let database: OriginDatabase

    init(seed: UInt64 = 1, _ change: (inout Parameters) -> Void = { _ in }) {
        var parameters = Parameters(seed: seed)
        change(&parameters)
        surroundings = Surroundings(parameters: parameters)
        database = OriginDatabase(surroundings)
    }

    /// Lets everything happen that is going to.
    func settle() {
        while surroundings.scheduler.step() {}
    }

    func run(
        _ statement: Statement, _ parameters: [Datum] = [], in transaction: Transaction
    ) -> OriginDatabase.Outcome {
        let view = transaction.view ?? database.currentView()
        return database.run(statement, parameters, in: transaction, view: view)
    }

    /// A transaction of its own; the end of its commit record, which may not be visible yet.
    @discardableResult
    func autocommit(_ statement: Statement, _ parameters: [Datum] = []) -> LSN {
        let transaction = database.begin(.readCommitted)
        guard case .changed = run(statement, parameters, in: transaction) else {
            preconditionFailure("\(statement.sql) changed nothing")
        }
        database.commit(transaction) { _ in }
        return database.log.last?.end ?? .zero
    }

    /// The rows of a SELECT under a new view.
    func rows(_ select: Select, _ parameters: [Datum] = []) -> [[Datum]] {
        rows(select, parameters, in: database.begin(.readCommitted))
    }
    func rows(_ select: Select, _ parameters: [Datum] = [], in transaction: Transaction) -> [[Datum]] {
        guard case .answer(let answer) = run(.select(select), parameters, in: transaction) else { return [] }
        return answer.rows
    }
    func balance(_ id: Int64) -> Datum? { rows(Select.balance(id)).first?.first }
    func balance(_ id: Int64, in transaction: Transaction) -> Datum? {
        rows(Select.balance(id), in: transaction).first?.first
    }
}

extension ColumnReference {
    static func a(_ column: Int) -> ColumnReference { ColumnReference(relation: 0, column: column) }
    static func b(_ column: Int) -> ColumnReference { ColumnReference(relation: 1, column: column) }
}

extension Condition {
    static func a(_ column: Int, _ test: Test) -> Condition { Condition(column: .a(column), test: test) }
    static func b(_ column: Int, _ test: Test) -> Condition { Condition(column: .b(column), test: test) }
    static func id(_ id: Int64) -> Condition { .a(0, .equals(.constant(.int(id)))) }
}

extension Select {
    static func all(_ table: Int) -> Select {
        Select(table: table, output: .columns(Table.all[table].columns.indices.map { .a($0) }))
    }
    static func balance(_ id: Int64) -> Select {
        Select(table: Table.account, conditions: [.id(id)], output: .columns([.a(2)]))
    }
    static let money = Select(table: Table.account, output: .totals(.a(2)))
    static let amounts = Select(table: Table.entry, output: .totals(.a(2)))
}

extension Statement {
    static func pay(_ amount: Int64, to id: Int64) -> Statement {
        .update(
            Update(table: Table.account, assignments: [.add(2, .constant(.int(amount)))], conditions: [.id(id)]))
    }
    static func remove(_ table: Int, _ id: Int64) -> Statement {
        .delete(Delete(table: table, conditions: [.id(id)]))
    }
    static func open(_ id: Int64, balance: Int64) -> Statement {
        .insert(
            Insert(
                table: Table.account,
                rows: [[.constant(.int(id)), .constant(.null), .constant(.int(balance)), .constant(.null)]]))
    }
}

extension OriginDatabase.Outcome {
    var tag: String? {
        if case .changed(let tag) = self { tag } else { nil }
    }
    var state: String? {
        if case .failed(let error) = self { error.state } else { nil }
    }
    var blocker: Transaction? {
        if case .waits(for: let other) = self { other } else { nil }
    }
}

/// Statements of every kind, drawn.
struct StatementDraw {
    var random: Random

    init(seed: UInt64) { random = Random(seed: seed, "statements") }

    mutating func statement() -> Statement {
        switch random.below(10) {
        case 0:
            let table = random.below(Table.all.count)
            let rows = (0..<random.within(1...3)).map { _ in
                Table.all[table].columns.map { operand($0.type, parameter: nil) }
            }
            return .insert(Insert(table: table, rows: rows))
        case 1:
            let assignments: [Update.Assignment] = (0..<random.within(1...2)).map { _ in
                random.chance(500)
                    ? .add(2, operand(.int4, parameter: nil)) : .set(3, operand(.text, parameter: 1))
            }
            return .update(Update(table: random.below(2), assignments: assignments, conditions: conditions(nil)))
        case 2: return .delete(Delete(table: random.below(2), conditions: conditions(nil)))
        case 3: return random.pick([.truncate([0]), .truncate([1]), .truncate([0, 1]), .truncate([1, 0])])
        case 4:
            return random.pick([
                .begin(.readCommitted), .begin(.repeatableRead), .commit, .rollback, .ping, .nonsense,
                .block(.savepoint("s1")), .block(.rollbackTo("s1")), .block(.prepare("g1")),
                .setting(.set(.dateStyle, "German, DMY", isLocal: true)), .setting(.discardAll),
                .setting(.configure(.byteaOutput, "escape", isLocal: false)),
            ])
        default: return .select(select())
        }
    }

    mutating func select() -> Select {
        let table = random.below(2)
        var join: Select.Join?
        if random.chance(500) {
            var drawn = Select.Join(
                kind: random.pick([.inner, .left]), table: random.below(2), left: random.below(3),
                right: random.below(3))
            drawn.conditions = conditions(drawn)
            join = drawn
        }
        var output = Select.Output.totals(.a(random.below(3)))
        if random.chance(800) {
            output = .columns((0..<random.within(1...4)).map { _ in reference(join) })
        } else if random.chance(500) {
            output = .quotient(random.below(3))
        }
        return Select(
            table: table, join: join, conditions: conditions(join), output: output, isOrdered: random.chance(500),
            limit: random.chance(300) ? random.below(6) : nil)
    }

    private mutating func reference(_ join: Select.Join?) -> ColumnReference {
        ColumnReference(relation: join == nil ? 0 : random.below(2), column: random.below(4))
    }
    private mutating func conditions(_ join: Select.Join?) -> [Condition] {
        (0..<random.below(3)).map { _ in condition(join) }
    }

    /// Over tables 0 and 1, whose columns have the same types.
    private mutating func condition(_ join: Select.Join?) -> Condition {
        let column = reference(join)
        let type = Table.all[0].columns[column.column].type
        let parameter = type == .int4 ? 2 : 1
        let test: Condition.Test
        switch random.below(7) {
        case 0: test = .equals(operand(type, parameter: parameter))
        case 1: test = .differs(operand(type, parameter: parameter))
        case 2: test = .less(operand(type, parameter: parameter))
        case 3: test = .atLeast(operand(type, parameter: parameter))
        case 4:
            test = .among((0..<random.within(1...3)).map { _ in operand(type, parameter: parameter) })
        case 5: test = .isNull
        default: test = .isNotNull
        }
        return Condition(column: column, test: test)
    }

    /// Text is parameter 1, a number parameter 2.
    private mutating func operand(_ type: ColumnType, parameter: Int?) -> Operand {
        if let parameter, random.chance(200) { return .parameter(parameter) }
        if random.chance(80) { return .constant(.null) }
        return switch type {
        case .bool: .constant(.bool(random.chance(500)))
        case .date: .constant(.date(Int32(random.below(366))))
        case .bytea: .constant(.bytes(random.pick([[], [0], [0x41, 0x5C]])))
        case .int4, .int8: .constant(.int(Int64(random.within(-2...6))))
        case .text: .constant(.text(random.pick(["open", "done", "it's", "''", "n1", "1", "null", "$1", ""])))
        }
    }
}
