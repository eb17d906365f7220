import PGProtocol

/// A row by its table and primary key.
struct RowName: Hashable, Comparable {
    var table: Int
    var id: Int64

    static func < (left: RowName, right: RowName) -> Bool {
        left.table != right.table ? left.table < right.table : left.id < right.id
    }
}

/// What the oracle asks of the origin's past.
extension OriginDatabase {
    /// The answer at a position, but each of these rows as it was at a position of its own.
    func answer(
        _ select: Select, _ parameters: [Datum], at lsn: LSN, with rows: [(row: RowName, at: LSN)]
    ) -> Answer {
        let overrides = rows.map { row, lsn in
            Override(table: row.table, id: row.id, row: self.row(row.table, row.id, at: lsn)?.row, lsn: lsn)
        }
        return answer(select, parameters, at: lsn, overriding: overrides)
    }

    /// Number of the first record that ends behind `lsn`.
    func firstRecord(behind lsn: LSN) -> Int {
        var low = 0
        var high = log.count
        while low < high {
            let middle = (low + high) / 2
            if log[middle].end > lsn { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Whether a commit behind `lsn` has changed one of these tables.
    func hasChanged(_ tables: [Int], behind lsn: LSN) -> Bool {
        for number in firstRecord(behind: lsn)..<log.count {
            guard case .commit(_, let edits) = log[number].kind else { continue }
            if edits.contains(where: { tables.contains($0.table) }) { return true }
        }
        return false
    }

    /// Where the row was gone for the first time behind a position at which it was there.
    func deletion(of row: RowName, behind lsn: LSN) -> LSN? {
        for version in tables[row.table].chain(row.id) {
            guard let ended = version.ended?.commit, ended != .never, ended > lsn else { continue }
            if self.row(row.table, row.id, at: ended) == nil { return ended }
        }
        return nil
    }
}

extension Select {
    var tablesRead: [Int] { join.map { [table, $0.table] } ?? [table] }

    /// The columns that it reads of a table, a bit each.
    func columnsRead(of wanted: Int) -> UInt64 {
        var bits: UInt64 = 0
        func note(_ column: ColumnReference) {
            let owner = column.relation == 0 ? table : join?.table
            if owner == wanted { bits |= 1 << UInt64(column.column) }
        }
        for condition in conditions { note(condition.column) }
        switch output {
        case .columns(let columns): columns.forEach(note)
        case .totals(let column): note(column)
        case .quotient(let column):
            note(ColumnReference(relation: 0, column: 0))
            note(ColumnReference(relation: 0, column: column))
        }
        if let join {
            note(ColumnReference(relation: 0, column: join.left))
            note(ColumnReference(relation: 1, column: join.right))
            for condition in join.conditions { note(condition.column) }
        }
        return bits
    }

    /// The one row that it can return: it asks for a primary key and for nothing else.
    func onlyRow(_ parameters: [Datum]) -> RowName? {
        guard join == nil, conditions.count == 1, limit == nil, case .columns = output,
            conditions[0].column == ColumnReference(relation: 0, column: 0),
            case .equals(let operand) = conditions[0].test
        else { return nil }
        let value: Datum? =
            switch operand {
            case .constant(let value): value
            case .parameter(let number): number <= parameters.count ? parameters[number - 1] : nil
            }
        guard case .int(let id) = value else { return nil }
        return RowName(table: table, id: id)
    }

    /// It adds up a column of a whole table.
    var isTotalOfAll: Bool {
        guard case .totals = output else { return false }
        return join == nil && conditions.isEmpty && limit == nil
    }
}
