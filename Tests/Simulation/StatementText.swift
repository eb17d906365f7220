import PGProtocol

/// Statements as SQL: what a client sends, as a person would write it.
///
/// Two different statements never have the same text, so that the modelled origin finds a statement by its text.
/// Relations of a SELECT are called `a` and `b`; statements that write use no alias. Texts are ASCII where the
/// constants are.
extension Statement {
    /// The text that a client sends.
    var sql: String {
        switch self {
        case .select(let select): return select.sql
        case .insert(let insert):
            precondition(!insert.rows.isEmpty, "an INSERT has rows")
            let rows = insert.rows.map { "(" + $0.map(\.sql).joined(separator: ", ") + ")" }
            return "insert into \(Table.all[insert.table].sqlName) values " + rows.joined(separator: ", ")
        case .update(let update):
            precondition(!update.assignments.isEmpty, "an UPDATE assigns something")
            let columns = Table.all[update.table].columns
            let assignments = update.assignments.map { assignment in
                switch assignment {
                case .set(let column, let value): "\(columns[column].name) = \(value.sql)"
                case .add(let column, let value):
                    "\(columns[column].name) = \(columns[column].name) + \(value.sql)"
                }
            }
            return "update \(Table.all[update.table].sqlName) set " + assignments.joined(separator: ", ")
                + Condition.sql(update.conditions, of: update.table)
        case .delete(let delete):
            return "delete from \(Table.all[delete.table].sqlName)"
                + Condition.sql(delete.conditions, of: delete.table)
        case .truncate(let tables):
            return "truncate " + tables.map { Table.all[$0].sqlName }.joined(separator: ", ")
        case .catalog(let statement): return statement.sql
        case .begin(let begin): return begin.sql
        case .commit: return "commit"
        case .rollback: return "rollback"
        case .block(let block): return block.sql
        case .setting(let setting): return setting.sql
        case .channel(let channel): return channel.sql
        case .ping: return "select 1"
        case .nonsense: return "selec nothing"
        }
    }

    /// The types of its parameters, in order: of the columns that they are compared with or assigned to.
    var parameterTypes: [ColumnType] {
        var types = ParameterTypes()
        switch self {
        case .select(let select):
            for condition in (select.join?.conditions ?? []) + select.conditions {
                for operand in condition.test.operands { types.note(operand, select.column(condition.column).type) }
            }
        case .insert(let insert):
            for row in insert.rows {
                for (operand, column) in zip(row, Table.all[insert.table].columns) { types.note(operand, column.type) }
            }
        case .update(let update):
            let columns = Table.all[update.table].columns
            for assignment in update.assignments {
                switch assignment {
                case .set(let column, let operand), .add(let column, let operand):
                    types.note(operand, columns[column].type)
                }
            }
            types.note(update.conditions, columns)
        case .delete(let delete): types.note(delete.conditions, Table.all[delete.table].columns)
        case .catalog(let statement): return statement.parameterTypes
        case .truncate, .begin, .commit, .rollback, .block, .setting, .channel, .ping, .nonsense: break
        }
        return types.inOrder
    }
}

/// Collects the types of parameters as they are met.
private struct ParameterTypes {
    private var types: [ColumnType?] = []

    mutating func note(_ operand: Operand, _ type: ColumnType) {
        guard case .parameter(let number) = operand else { return }
        while types.count < number { types.append(nil) }
        precondition((types[number - 1] ?? type) == type, "a parameter has one type")
        types[number - 1] = type
    }
    mutating func note(_ conditions: [Condition], _ columns: [Column]) {
        for condition in conditions {
            for operand in condition.test.operands { note(operand, columns[condition.column.column].type) }
        }
    }
    var inOrder: [ColumnType] {
        types.map { type in
            guard let type else { preconditionFailure("every parameter up to the last is used") }
            return type
        }
    }
}

extension Select {
    var outputTypes: [ColumnType] {
        switch output {
        case .columns(let references): references.map { column($0).type }
        case .totals: [.int8, .int8]
        case .quotient: [Table.all[table].columns[0].type, .int4]
        }
    }

    func table(of relation: Int) -> Table {
        if relation == 0 { return Table.all[table] }
        guard let join, relation == 1 else { preconditionFailure("there is no relation \(relation)") }
        return Table.all[join.table]
    }
    func column(_ reference: ColumnReference) -> Column {
        table(of: reference.relation).columns[reference.column]
    }

    fileprivate var sql: String {
        let first = Table.all[table]
        var sql = "select "
        switch output {
        case .columns(let references):
            precondition(!references.isEmpty, "a result has columns")
            sql += references.map(name).joined(separator: ", ")
        case .totals(let reference): sql += "count(*), sum(\(name(reference)))"
        case .quotient(let column):
            sql += "a.\(first.columns[0].name), \(Evaluation.numerator) / a.\(first.columns[column].name)"
        }
        sql += " from \(first.sqlName) a"
        if let join {
            let second = Table.all[join.table]
            sql += join.kind == .left ? " left join" : " join"
            sql += " \(second.sqlName) b on a.\(first.columns[join.left].name) = b.\(second.columns[join.right].name)"
            for condition in join.conditions { sql += " and " + condition.sql(name(condition.column)) }
        }
        for (number, condition) in conditions.enumerated() {
            sql += (number == 0 ? " where " : " and ") + condition.sql(name(condition.column))
        }
        if isOrdered {
            sql += " order by a.\(first.columns[0].name)"
            if let join { sql += ", b.\(Table.all[join.table].columns[0].name)" }
        }
        if let limit { sql += " limit \(limit)" }
        if locks { sql += " for update" }
        return sql
    }

    private func name(_ reference: ColumnReference) -> String {
        (reference.relation == 0 ? "a." : "b.") + column(reference).name
    }
}

extension Condition {
    fileprivate func sql(_ name: String) -> String {
        switch test {
        case .equals(let operand): "\(name) = \(operand.sql)"
        case .differs(let operand): "\(name) <> \(operand.sql)"
        case .less(let operand): "\(name) < \(operand.sql)"
        case .atLeast(let operand): "\(name) >= \(operand.sql)"
        case .among(let operands): "\(name) in (\(operands.map(\.sql).joined(separator: ", ")))"
        case .isNull: "\(name) is null"
        case .isNotNull: "\(name) is not null"
        }
    }

    /// WHERE of a statement that writes.
    fileprivate static func sql(_ conditions: [Condition], of table: Int) -> String {
        var sql = ""
        for (number, condition) in conditions.enumerated() {
            precondition(condition.column.relation == 0, "a statement that writes has one relation")
            sql += number == 0 ? " where " : " and "
            sql += condition.sql(Table.all[table].columns[condition.column.column].name)
        }
        return sql
    }
}

extension Condition.Test {
    var operands: [Operand] {
        switch self {
        case .equals(let operand), .differs(let operand), .less(let operand), .atLeast(let operand): [operand]
        case .among(let operands): operands
        case .isNull, .isNotNull: []
        }
    }
}

extension Operand {
    fileprivate var sql: String {
        switch self {
        case .parameter(let number): "$\(number)"
        case .constant(.null): "null"
        case .constant(.bool(let value)): value ? "true" : "false"
        case .constant(.int(let value)): String(value)
        case .constant(.date(let days)): "'" + Wire.date(days, .iso) + "'"
        case .constant(.bytes(let bytes)): "'" + Wire.bytea(bytes, escapes: false) + "'"
        case .constant(.text(let value)):
            "'" + value.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
        }
    }
}
