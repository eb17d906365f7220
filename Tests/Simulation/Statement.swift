/// A statement that the modelled world knows, as a value: clients make it and send its text, the modelled origin finds
/// it again by that text (`StatementBook`) and evaluates it. So no model has to parse SQL.
enum Statement: Hashable {
    case select(Select)
    case insert(Insert)
    case update(Update)
    case delete(Delete)
    /// Numbers of tables in `Table.all`.
    case truncate([Int])
    case begin(Begin)
    case commit
    case rollback
    case block(BlockStatement)
    case setting(SettingStatement)
    /// About roles, rights and the table `sheet`: see CatalogStatement.swift.
    case catalog(CatalogStatement)
    case channel(ChannelStatement)
    /// `SELECT 1`: no relation, never cached.
    case ping
    /// A text that is no SQL: 42601.
    case nonsense

    enum Isolation: String, CaseIterable {
        case readUncommitted = "read uncommitted"
        case readCommitted = "read committed"
        case repeatableRead = "repeatable read"
        /// As REPEATABLE READ: that a transaction may have to be tried again is not modelled.
        case serializable

        /// All statements have the view of the first one.
        var keepsView: Bool { self == .repeatableRead || self == .serializable }
    }
}

/// A column of one of the relations of a statement: 0 is the first in FROM, 1 the joined one.
struct ColumnReference: Hashable {
    var relation: Int
    var column: Int
}

/// Where a value comes from: it stands in the text, or is the parameter `$number` (from 1).
enum Operand: Hashable {
    case constant(Datum)
    case parameter(Int)
}

/// A condition on one column. NULL follows SQL's three-valued logic: only a true condition lets a row pass.
struct Condition: Hashable {
    enum Test: Hashable {
        case equals(Operand)
        case differs(Operand)
        case less(Operand)
        case atLeast(Operand)
        case among([Operand])
        case isNull
        case isNotNull
    }
    var column: ColumnReference
    var test: Test
}

struct Select: Hashable {
    struct Join: Hashable {
        enum Kind: Hashable { case inner, left }
        var kind: Kind
        var table: Int
        /// Column of relation 0 = column of relation 1.
        var left: Int
        var right: Int
        /// Further conditions of ON; they may be on either relation.
        var conditions: [Condition] = []
    }
    enum Output: Hashable {
        case columns([ColumnReference])
        /// `count(*), sum(column)`, both int8; one row.
        case totals(ColumnReference)
        /// `id, 1000 / column` of relation 0: fails with 22012 at the first row where the column is 0, behind the rows
        /// before it.
        case quotient(Int)
    }
    var table: Int
    var join: Join?
    var conditions: [Condition] = []
    var output: Output
    /// `ORDER BY` the primary key of relation 0 and, with a join, that of relation 1. Without it the model gives the
    /// same order.
    var isOrdered = false
    var limit: Int?
    /// FOR UPDATE: only over one relation, with columns and without a limit.
    var locks = false
}

struct Insert: Hashable {
    var table: Int
    /// One operand per column of the table.
    var rows: [[Operand]]
}

struct Update: Hashable {
    enum Assignment: Hashable {
        case set(Int, Operand)
        /// `column = column + value`
        case add(Int, Operand)
    }
    var table: Int
    var assignments: [Assignment]
    var conditions: [Condition]
}

struct Delete: Hashable {
    var table: Int
    var conditions: [Condition]
}

/// Statements by their texts. One for a world; clients enter what they send.
final class StatementBook {
    private var statements: [String: Statement] = [:]

    /// The text of a statement, entered.
    func text(of statement: Statement) -> String {
        let text = statement.sql
        statements[text] = statement
        return text
    }

    func statement(_ text: String) -> Statement? { statements[text] }
}
