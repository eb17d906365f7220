import PGProtocol

/// INSERT, UPDATE, DELETE and TRUNCATE: who may change which version of a row, and who has to wait.
///
/// Each first looks at everything that it would change, and changes it only when nothing stands in the way.
/// PostgreSQL changes row by row and waits in between: here a statement that waits holds no locks of its own doing.
extension OriginDatabase {
    // MARK: Locks

    /// The transaction, other than this, that did it and is not over.
    private func holder(_ stamp: Version.Stamp, other transaction: Transaction) -> Transaction? {
        stamp.xid == transaction.xid ? nil : self.transaction(stamp.xid)
    }

    /// Another that has locked the row without changing it.
    private func locker(_ table: Int, _ id: Int64, other transaction: Transaction) -> Transaction? {
        let name = RowName(table: table, id: id)
        return running.first { $0 !== transaction && $0.locked.contains(name) }
    }

    /// Another that truncates this table.
    private func truncater(of table: Int, other transaction: Transaction) -> Transaction? {
        running.first { $0 !== transaction && $0.truncatedTables & (1 << table) != 0 }
    }

    // MARK: INSERT

    func run(_ insert: Insert, _ parameters: [Datum], in transaction: Transaction) -> Outcome {
        if let other = truncater(of: insert.table, other: transaction) { return .waits(for: other) }
        let table = Table.all[insert.table]
        var rows: [Row] = []
        var ids: [Int64] = []
        for operands in insert.rows {
            precondition(operands.count == table.columns.count, "an INSERT gives every column a value")
            let row = operands.map { $0.value(parameters) }
            if let error = Self.error(in: row, table) { return failed(error, in: transaction) }
            guard case .int(let id) = row[0] else { preconditionFailure("keys are integers") }
            if let last = tables[insert.table].chain(id).last {
                if let other = holder(last.ended ?? last.created, other: transaction) { return .waits(for: other) }
                if last.ended == nil { return failed(Self.duplicate(table), in: transaction) }
            }
            if ids.contains(id) { return failed(Self.duplicate(table), in: transaction) }
            ids.append(id)
            rows.append(row)
        }
        for row in rows { add(row, insert.table, transaction) }
        return .changed(tag: "INSERT 0 \(rows.count)")
    }

    /// Makes the first version of a row.
    func add(_ row: Row, _ table: Int, _ transaction: Transaction) {
        guard case .int(let id) = row[0] else { preconditionFailure("keys are integers") }
        let xid = number(transaction)
        tables[table].append(Version(row: row, created: .init(xid: xid), isUpdated: false), id)
        note(.insert(row), table, id, transaction)
    }

    /// The row was stored already when its error was found, so its transaction has a number.
    private func failed(_ error: OriginError, in transaction: Transaction) -> Outcome {
        if error.state == "23505" { _ = number(transaction) }
        return .failed(error)
    }

    // MARK: UPDATE and DELETE

    func run(_ update: Update, _ parameters: [Datum], in transaction: Transaction, _ view: View) -> Outcome {
        let table = Table.all[update.table]
        let victims: [Victim]
        switch self.victims(update.table, update.conditions, parameters, transaction, view) {
        case .found(let found): victims = found
        case .stopped(let outcome): return outcome
        }
        var rows: [Row] = []
        for victim in victims {
            var row = victim.row
            for assignment in update.assignments {
                switch assignment {
                case .set(let column, let operand):
                    precondition(column != 0, "a primary key does not change")
                    row[column] = operand.value(parameters)
                case .add(let column, let operand):
                    // The old row's value, as every expression of SET.
                    row[column] = Self.sum(victim.row[column], operand.value(parameters))
                }
            }
            if let error = Self.error(in: row, table) { return .failed(error) }
            rows.append(row)
        }
        for (victim, row) in zip(victims, rows) {
            let xid = number(transaction)
            let old = tables[update.table].end(victim.id, victim.index, by: xid)
            tables[update.table].append(Version(row: row, created: .init(xid: xid), isUpdated: true), victim.id)
            note(.update(old: old, new: row), update.table, victim.id, transaction)
        }
        return .changed(tag: "UPDATE \(rows.count)")
    }

    func run(_ delete: Delete, _ parameters: [Datum], in transaction: Transaction, _ view: View) -> Outcome {
        let victims: [Victim]
        switch self.victims(delete.table, delete.conditions, parameters, transaction, view) {
        case .found(let found): victims = found
        case .stopped(let outcome): return outcome
        }
        for victim in victims {
            let row = tables[delete.table].end(victim.id, victim.index, by: number(transaction))
            note(.delete(row), delete.table, victim.id, transaction)
        }
        return .changed(tag: "DELETE \(victims.count)")
    }

    /// A version that is to end.
    private struct Victim {
        var id: Int64
        var index: Int
        var row: Row
    }
    private enum Search {
        case found([Victim])
        case stopped(Outcome)
    }

    /// The rows that an UPDATE or DELETE changes: those that its view sees, in their newest versions.
    private func victims(
        _ table: Int, _ conditions: [Condition], _ parameters: [Datum], _ transaction: Transaction, _ view: View
    ) -> Search {
        if let other = truncater(of: table, other: transaction) { return .stopped(.waits(for: other)) }
        let sight = Sight.view(view, own: transaction.xid)
        var victims: [Victim] = []
        for id in Evaluation.keys(conditions, parameters) ?? tables[table].ids {
            let chain = tables[table].chain(id)
            guard var index = VersionedTable.visible(in: chain, sight),
                Condition.areTrue(conditions, chain[index].row, parameters)
            else { continue }
            var isCurrent = true
            while let ended = chain[index].ended, isCurrent {
                if let other = holder(ended, other: transaction) { return .stopped(.waits(for: other)) }
                if transaction.isolation.keepsView { return .stopped(.failed(Self.conflict)) }
                isCurrent = index + 1 < chain.count && chain[index + 1].isUpdated
                if isCurrent { index += 1 }
            }
            // READ COMMITTED takes the newest version, if that still is what it looks for (manual, 13.2.1).
            guard isCurrent, Condition.areTrue(conditions, chain[index].row, parameters) else { continue }
            if let other = locker(table, id, other: transaction) { return .stopped(.waits(for: other)) }
            victims.append(Victim(id: id, index: index, row: chain[index].row))
        }
        return .found(victims)
    }

    // MARK: SELECT FOR UPDATE

    /// The newest versions of the rows, which nobody else changes until the transaction ends.
    func lock(_ select: Select, _ parameters: [Datum], in transaction: Transaction, _ view: View) -> Outcome {
        let victims: [Victim]
        switch self.victims(select.table, select.conditions, parameters, transaction, view) {
        case .found(let found): victims = found
        case .stopped(let outcome): return outcome
        }
        var rows: [VisibleRow] = []
        for victim in victims {
            _ = number(transaction)
            transaction.changedTables |= 1 << select.table
            transaction.locked.append(RowName(table: select.table, id: victim.id))
            let made = tables[select.table].chain(victim.id)[victim.index].created
            rows.append(VisibleRow(row: victim.row, lsn: made.commit))
        }
        return .answer(Evaluation.answer(select, parameters, first: rows, second: []))
    }

    // MARK: TRUNCATE

    func truncate(_ numbers: [Int], in transaction: Transaction) -> Outcome {
        for number in numbers {
            for other in running where other !== transaction {
                if (other.changedTables | other.truncatedTables) & (1 << number) != 0 { return .waits(for: other) }
            }
        }
        let xid = number(transaction)
        for number in numbers {
            for id in tables[number].ids {
                let chain = tables[number].chain(id)
                guard let last = chain.last, last.ended == nil else { continue }
                _ = tables[number].end(id, chain.count - 1, by: xid)
                transaction.touched.append((number, id))
            }
            transaction.truncatedTables |= 1 << number
            transaction.edits.append(RowEdit(lsn: appendEdit(), table: number, kind: .truncate))
        }
        return .changed(tag: "TRUNCATE TABLE")
    }

    // MARK: Notes and errors

    private func note(_ kind: RowEdit.Kind, _ table: Int, _ id: Int64, _ transaction: Transaction) {
        transaction.changedTables |= 1 << table
        transaction.touched.append((table, id))
        transaction.edits.append(RowEdit(lsn: appendEdit(), table: table, kind: kind))
    }

    private static let conflict = OriginError(
        state: "40001", message: "could not serialize access due to concurrent update")

    private static func duplicate(_ table: Table) -> OriginError {
        OriginError(
            state: "23505", message: "duplicate key value violates unique constraint \"\(table.name)_pkey\"")
    }

    /// What the table has against a row.
    private static func error(in row: Row, _ table: Table) -> OriginError? {
        for (datum, column) in zip(row, table.columns) {
            if case .int(let value) = datum, !column.type.holds(value) {
                return OriginError(state: "22003", message: "integer out of range")
            }
        }
        for (datum, column) in zip(row, table.columns) where column.isNotNull && datum == .null {
            return OriginError(
                state: "23502",
                message: "null value in column \"\(column.name)\" of relation \"\(table.name)\" "
                    + "violates not-null constraint")
        }
        return nil
    }

    private static func sum(_ left: Datum, _ right: Datum) -> Datum {
        switch (left, right) {
        case (.null, _), (_, .null): return .null
        case (.int(let left), .int(let right)): return .int(left + right)
        case (.bool, _), (.text, _), (.int, _), (.date, _), (.bytes, _):
            preconditionFailure("only integers are added")
        }
    }
}
