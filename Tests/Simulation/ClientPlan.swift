/// What one client will do, drawn before the run: a plain value, so that a failing run can be made shorter by leaving
/// steps out. Every step makes sense without those before it, and money is safe whichever are left.
struct ClientPlan: Hashable {
    var number: Int
    var login = Login.plain
    var steps: [Step] = []
}

/// A statement with the values of its parameters.
struct BoundStatement: Hashable {
    var statement: Statement
    var parameters: [Datum] = []

    init(_ statement: Statement, _ parameters: [Datum] = []) {
        self.statement = statement
        self.parameters = parameters
    }
}

/// One thing that a client does, to its end: it leaves no request unanswered and no transaction open behind it.
struct Step: Hashable {
    /// For what is drawn while it runs: formats, names, where a request is cut.
    var seed: UInt64
    var action: Action

    enum Action: Hashable {
        /// Nothing, for so many nanoseconds.
        case think(UInt64)
        /// The simple protocol.
        case query(BoundStatement)
        /// The extended protocol, in one of its manners.
        case execute(BoundStatement)
        /// Several executions sent at once, with one Sync for all or with one each.
        case pipeline([BoundStatement], syncsEach: Bool)
        /// Several simple queries sent without waiting.
        case queries([BoundStatement])
        case transaction(TransactionBlock)
        /// Parse now; Bind and Execute after other queries and a pause.
        case prepareEarly(BoundStatement, between: [BoundStatement], pause: UInt64)
        /// Nothing is read for a while after these were sent.
        case readSlowly([BoundStatement], pause: UInt64)
        /// A request whose second part follows later.
        case sendInTwo(BoundStatement, pause: UInt64)
        /// A CancelRequest follows so many nanoseconds after the statement.
        case cancel(BoundStatement, after: UInt64)
        /// Goes away so many nanoseconds after these were sent, then connects again.
        case leave(Leaving, during: [BoundStatement], after: UInt64, inBlock: Bool)
    }

    /// How a connection is ended by its client.
    enum Leaving: Hashable {
        /// Terminate, then the end of the stream.
        case terminate
        /// The end of the stream; replies are read on.
        case end
        case reset
        /// Nobody is told.
        case vanish
    }
}

/// A transaction block and what is in it.
struct TransactionBlock: Hashable {
    var begin = Begin.readCommitted
    var statements: [BoundStatement]
    var commits = true
    /// Instead of COMMIT or ROLLBACK.
    var end: BlockStatement?
    /// What follows it: the other half of PREPARE TRANSACTION.
    var behind: [BoundStatement] = []
    /// One statement after the other, by one protocol, as a mapper of objects does.
    var isPlain = false

    var ending: BoundStatement {
        BoundStatement(end.map { .block($0) } ?? (commits ? .commit : .rollback))
    }
}

extension Step.Action {
    /// For the trace.
    var words: String {
        switch self {
        case .think(let nanoseconds): "thinks for \(nanoseconds / microsecond) µs"
        case .query: "a query"
        case .execute: "an execution"
        case .pipeline(let list, let syncsEach): "a pipeline of \(list.count)" + (syncsEach ? ", a Sync each" : "")
        case .queries(let list): "\(list.count) queries at once"
        case .transaction(let block): "a transaction of \(block.statements.count)"
        case .prepareEarly(_, let between, _): "prepares, \(between.count) queries, executes"
        case .readSlowly(_, let pause): "reads nothing for \(pause / millisecond) ms"
        case .sendInTwo: "a request in two parts"
        case .cancel: "a statement and its cancelling"
        case .leave(let leaving, let list, _, let inBlock):
            "leaves (\(leaving)) with \(list.count) requests" + (inBlock ? " in a block" : "")
        }
    }

    /// The statements that it sends, but those that only begin or end a block.
    var statements: [BoundStatement] {
        switch self {
        case .think: []
        case .query(let one), .execute(let one), .sendInTwo(let one, _), .cancel(let one, _): [one]
        case .pipeline(let list, _), .queries(let list), .readSlowly(let list, _): list
        case .leave(_, let list, _, _): list
        case .transaction(let block): block.statements + block.behind
        case .prepareEarly(let one, let between, _): between + [one]
        }
    }
}

extension Statement {
    /// It is answered with rows, where it does not fail.
    var returnsRows: Bool {
        switch self {
        case .select, .ping: true
        case .setting(let setting): setting.returnsRows
        case .catalog(let statement): statement.isRead
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .block, .channel, .nonsense: false
        }
    }

    /// It changes a balance, and is therefore right only together with another.
    var movesMoney: Bool {
        guard case .update(let update) = self else { return false }
        return update.assignments.contains { if case .add = $0 { true } else { false } }
    }

    /// The same with every operand replaced, in the order of the text.
    func mapped(_ body: (Operand) -> Operand) -> Statement {
        func mapped(_ conditions: [Condition]) -> [Condition] {
            conditions.map { Condition(column: $0.column, test: $0.test.mapped(body)) }
        }
        switch self {
        case .select(var select):
            if let join = select.join { select.join?.conditions = mapped(join.conditions) }
            select.conditions = mapped(select.conditions)
            return .select(select)
        case .insert(var insert):
            insert.rows = insert.rows.map { $0.map(body) }
            return .insert(insert)
        case .update(var update):
            update.assignments = update.assignments.map {
                switch $0 {
                case .set(let column, let operand): .set(column, body(operand))
                case .add(let column, let operand): .add(column, body(operand))
                }
            }
            update.conditions = mapped(update.conditions)
            return .update(update)
        case .delete(var delete):
            delete.conditions = mapped(delete.conditions)
            return .delete(delete)
        case .catalog(.read(var read)):
            read.key = read.key.map(body)
            return .catalog(.read(read))
        case .truncate, .begin, .commit, .rollback, .block, .setting, .catalog, .channel, .ping, .nonsense:
            return self
        }
    }
}

extension Condition.Test {
    fileprivate func mapped(_ body: (Operand) -> Operand) -> Condition.Test {
        switch self {
        case .equals(let operand): .equals(body(operand))
        case .differs(let operand): .differs(body(operand))
        case .less(let operand): .less(body(operand))
        case .atLeast(let operand): .atLeast(body(operand))
        case .among(let operands): .among(operands.map(body))
        case .isNull, .isNotNull: self
        }
    }
}

extension BoundStatement {
    /// Its parameters as constants of the text, as the simple protocol needs it.
    var inlined: BoundStatement {
        guard !parameters.isEmpty else { return self }
        return BoundStatement(
            statement.mapped { operand in
                guard case .parameter(let number) = operand else { return operand }
                return .constant(parameters[number - 1])
            })
    }

    /// Its constants as parameters; it has none yet.
    var lifted: BoundStatement {
        precondition(parameters.isEmpty, "it has parameters already")
        var values: [Datum] = []
        let statement = statement.mapped { operand in
            guard case .constant(let datum) = operand else { return operand }
            values.append(datum)
            return .parameter(values.count)
        }
        return BoundStatement(statement, values)
    }
}
