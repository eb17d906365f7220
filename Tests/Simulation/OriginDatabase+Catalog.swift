import PGProtocol

/// Roles' rights and the table `sheet`: reading, writing, changing their catalog.
///
/// A statement that changes the shape of `sheet` waits for everybody who has used it in an open transaction, and is
/// waited for; GRANT and REVOKE wait for nobody who reads, which is why they can be decoded before they are visible
/// while others go on [T2]. One transaction at a time changes the catalog.
extension OriginDatabase {
    /// As a transaction sees it: its own changes, and what is visible to everybody.
    func catalog(for transaction: Transaction) -> CatalogState { transaction.catalog ?? catalog }

    func run(
        _ statement: CatalogStatement, _ parameters: [Datum], in transaction: Transaction, _ view: View
    ) -> Outcome {
        do throws(OriginError) {
            switch statement {
            case .change(let change): return try apply(change, in: transaction)
            case .read(let read):
                if let other = sheetHolder(other: transaction) { return .waits(for: other) }
                return .answer(try answer(read, parameters, in: transaction, view))
            case .write(let write):
                if let other = sheetHolder(other: transaction) { return .waits(for: other) }
                return try run(write, in: transaction, view)
            case .setRole, .setLocalRole, .setSession:
                preconditionFailure("\(statement.sql) is the session's affair")
            }
        } catch {
            return .failed(error)
        }
    }

    // MARK: Locks

    /// Another that has changed the shape of `sheet` and is not over.
    func sheetHolder(other transaction: Transaction?) -> Transaction? {
        running.first { $0 !== transaction && $0.locksSheet }
    }

    /// Whether a relation has another one working on its shape: ALTER PUBLICATION waits for that.
    var isSheetLocked: Bool { sheetHolder(other: nil) != nil }

    private func use(_ transaction: Transaction) {
        if !sheetUsers.contains(where: { $0 === transaction }) { sheetUsers.append(transaction) }
    }

    private func lock(_ transaction: Transaction) -> Transaction? {
        if let other = sheetHolder(other: transaction) { return other }
        return sheetUsers.first { $0 !== transaction && $0.state != .ended }
    }

    // MARK: Reading

    /// The columns of the result, in the catalog of this moment.
    func fields(of read: SheetRead, in transaction: Transaction?, as role: OriginRole) throws(OriginError)
        -> [ResultField]
    {
        try (transaction?.catalog ?? catalog).found(role).fields(of: read)
    }

    private func answer(
        _ read: SheetRead, _ parameters: [Datum], in transaction: Transaction, _ view: View
    ) throws(OriginError) -> Answer {
        let state = catalog(for: transaction)
        use(transaction)
        return try state.answer(
            read, parameters, as: transaction.role, tables, .view(view, own: transaction.xid))
    }

    // MARK: Writing

    private func run(
        _ write: SheetWrite, in transaction: Transaction, _ view: View
    ) throws(OriginError) -> Outcome {
        let sheet = try catalog(for: transaction).found(transaction.role)
        if case .update(_, let column, _) = write, sheet.attribute(column) == nil { throw sheet.missing(column) }
        guard transaction.role.isUnbound else { throw CatalogState.denied(Sheet.name) }
        let id: Int64
        switch write {
        case .insert(let key, _), .update(let key, _, _), .delete(let key): id = Int64(key)
        case .truncate:
            if let other = lock(transaction) { return .waits(for: other) }
            use(transaction)
            return truncateSheet(sheet, in: transaction)
        }
        use(transaction)
        let chain = tables[sheet.table].chain(id)
        if let last = chain.last {
            let stamp = last.ended ?? last.created
            if stamp.xid != transaction.xid, let other = self.transaction(stamp.xid) { return .waits(for: other) }
        }
        let current = chain.last.flatMap { $0.ended == nil ? $0.row : nil }
        switch write {
        case .insert(_, let owner):
            if current != nil {
                _ = number(transaction)
                throw OriginError(
                    state: "23505", message: "duplicate key value violates unique constraint \"sheet_pkey\"")
            }
            var row = Row(repeating: .null, count: sheet.attributeCount)
            for attribute in sheet.attributes { row[attribute.number - 1] = attribute.standard }
            row[0] = .int(id)
            row[1] = .text(owner.rawValue)
            let version = Version(row: row, created: .init(xid: number(transaction)), isUpdated: false)
            tables[sheet.table].append(version, id)
            note(.insert(sheet.published(row)), sheet, id, transaction)
            return .changed(tag: "INSERT 0 1")
        case .update(_, let column, let value):
            guard let old = try end(id, current, chain.count - 1, sheet, transaction, view),
                let attribute = sheet.attribute(column)
            else { return .changed(tag: "UPDATE 0") }
            // Every attribute gets a value of its own: what stood for it before does not any more.
            var row = Row(repeating: .null, count: sheet.attributeCount)
            for attribute in sheet.attributes { row[attribute.number - 1] = attribute.value(in: old) }
            row[attribute.number - 1] = column.isText ? .text("\(value)") : .int(Int64(value))
            tables[sheet.table].append(Version(row: row, created: .init(xid: number(transaction)), isUpdated: true), id)
            note(.update(old: sheet.published(old), new: sheet.published(row)), sheet, id, transaction)
            return .changed(tag: "UPDATE 1")
        case .delete:
            guard let old = try end(id, current, chain.count - 1, sheet, transaction, view) else {
                return .changed(tag: "DELETE 0")
            }
            note(.delete(sheet.published(old)), sheet, id, transaction)
            return .changed(tag: "DELETE 1")
        case .truncate: preconditionFailure("is done")
        }
    }

    /// Ends the current version of a row, if there is one that the view may change.
    private func end(
        _ id: Int64, _ current: Row?, _ index: Int, _ sheet: Sheet, _ transaction: Transaction, _ view: View
    ) throws(OriginError) -> Row? {
        let seen = tables[sheet.table].visible(id, .view(view, own: transaction.xid))
        guard seen != nil else { return nil }
        if transaction.isolation == .repeatableRead, current == nil || seen?.row != current {
            throw OriginError(state: "40001", message: "could not serialize access due to concurrent update")
        }
        guard current != nil else { return nil }
        return tables[sheet.table].end(id, index, by: number(transaction))
    }

    private func truncateSheet(_ sheet: Sheet, in transaction: Transaction) -> Outcome {
        let xid = number(transaction)
        transaction.locksSheet = true
        for id in tables[sheet.table].ids {
            let chain = tables[sheet.table].chain(id)
            guard let last = chain.last, last.ended == nil else { continue }
            _ = tables[sheet.table].end(id, chain.count - 1, by: xid)
            transaction.touched.append((sheet.table, id))
        }
        transaction.edits.append(RowEdit(lsn: appendEdit(), table: sheet.table, kind: .truncate, sheet: sheet))
        return .changed(tag: "TRUNCATE TABLE")
    }

    private func note(_ kind: RowEdit.Kind, _ sheet: Sheet, _ id: Int64, _ transaction: Transaction) {
        transaction.touched.append((sheet.table, id))
        transaction.edits.append(RowEdit(lsn: appendEdit(), table: sheet.table, kind: kind, sheet: sheet))
    }

    // MARK: Changing the catalog

    private func apply(_ change: CatalogChange, in transaction: Transaction) throws(OriginError) -> Outcome {
        var state = catalog(for: transaction)
        // Names are looked up, and rights checked, before anything is waited for.
        if change.locksSheet {
            _ = try state.found(transaction.role)
            guard transaction.role.isUnbound else { throw Self.notOwner }
            if let other = lock(transaction) { return .waits(for: other) }
        }
        if let other = running.first(where: { $0 !== transaction && $0.catalog != nil }) {
            return .waits(for: other)
        }
        if case .create = change, state.sheet == nil, transaction.role.isUnbound {
            tables.append(VersionedTable())
            state.sheet = Sheet(table: tables.count - 1)
        } else {
            try state.apply(change, as: transaction.role)
        }
        _ = number(transaction)
        let position = appendEdit()
        if hasEventTrigger, change.firesEventTriggers {
            transaction.edits.append(RowEdit(lsn: position, table: 0, kind: .schemaMessage))
        }
        transaction.catalog = state
        if change.locksSheet || change == .create {
            transaction.locksSheet = true
            use(transaction)
        }
        return .changed(tag: CatalogStatement.change(change).tag)
    }

    private static let notOwner = OriginError(state: "42501", message: "must be owner of table sheet")

    /// The table as it is at first.
    func makeSheet(_ transaction: Transaction) {
        var sheet = Sheet(table: tables.count)
        sheet.readers = [.staff, .guest]
        sheet.hasRowSecurity = surroundings.parameters.startsWithPolicy
        tables.append(VersionedTable())
        catalogVersions[0].state.sheet = sheet
        // Where sessions have search paths of their own, the oracle takes `public` to be in them.
        if surroundings.parameters.settingsPerMille > 0 {
            catalogVersions[0].state.schemaUsers = Set(OriginRole.allCases)
        }
        for (place, owner) in [OriginRole.app, .clerk, .guest, .clerk].enumerated() {
            let id = Int64(place + 1)
            let row: Row = [.int(id), .text(owner.rawValue), .int(10 * id), .text("l\(id)")]
            let version = Version(row: row, created: .init(xid: number(transaction)), isUpdated: false)
            tables[sheet.table].append(version, id)
            note(.insert(row), sheet, id, transaction)
        }
    }

    // MARK: Numbers of tables

    /// A table's OID, and its number by its OID, whether or not it is there any more.
    func oid(of table: Int) -> OID { table < Table.all.count ? Table.all[table].oid : Sheet(table: table).oid }
    static func name(of table: Int) -> String { table < Table.all.count ? Table.all[table].name : Sheet.name }
    func table(_ oid: OID) -> Int? {
        if let number = Table.all.firstIndex(where: { $0.oid == oid }) { return number }
        return catalog.sheet.flatMap { $0.oid == oid ? $0.table : nil }
    }
}

extension Sheet {
    func fields(of read: SheetRead) throws(OriginError) -> [ResultField] {
        if read.key != nil, attribute(.id) == nil { throw missing(.id) }
        switch read.output {
        case .count: return [ResultField(name: "count", type: .int8)]
        case .everything: return attributes.map(field)
        case .columns(let columns):
            var fields: [ResultField] = []
            for column in columns {
                guard let attribute = attribute(column) else { throw missing(column) }
                fields.append(field(attribute))
            }
            return fields
        }
    }

    private func field(_ attribute: Attribute) -> ResultField {
        ResultField(
            name: attribute.column.rawValue, table: oid, attribute: attribute.number, type: attribute.type)
    }
}

extension CatalogState {
    /// What a role gets for a SELECT on `sheet` under this catalog.
    func answer(
        _ read: SheetRead, _ parameters: [Datum], as role: OriginRole, _ tables: [VersionedTable], _ sight: Sight
    ) throws(OriginError) -> Answer {
        let sheet = try found(role)
        var answer = Answer()
        let fields = try sheet.fields(of: read)
        guard mayRead(role, sheet.table) else { throw Self.denied(Sheet.name) }
        answer.fields = fields
        var keys: [Int64]?
        if let key = read.key {
            if case .int(let id) = key.value(parameters) { keys = [id] } else { keys = [] }
        }
        let rows = tables[sheet.table].rows(sight, keys: keys).map(\.row).filter { sheet.shows($0, to: role) }
        if case .count = read.output {
            answer.rows = [[.int(Int64(rows.count))]]
        } else {
            let shown = fields.compactMap { field in sheet.attributes.first { $0.number == field.attribute } }
            answer.rows = rows.map { row in shown.map { $0.value(in: row) } }
        }
        return answer
    }

    /// What a change makes of it.
    mutating func apply(_ change: CatalogChange, as role: OriginRole) throws(OriginError) {
        switch change {
        case .create:
            if sheet != nil { throw OriginError(state: "42P07", message: "relation \"sheet\" already exists") }
            throw OriginError(state: "42501", message: "permission denied for schema public")
        case .grant(nil, _), .revoke(nil, _): _ = try found(role)
        default: break
        }
        guard role.isUnbound else { throw OriginError(state: "42501", message: "permission denied") }
        switch change {
        case .grant(let table?, let other): readers[table].insert(other)
        case .revoke(let table?, let other): readers[table].remove(other)
        case .grant(nil, let other): sheet?.readers.insert(other)
        case .revoke(nil, let other): sheet?.readers.remove(other)
        case .grantUsage(let other): schemaUsers.insert(other)
        case .revokeUsage(let other): schemaUsers.remove(other)
        case .join(let other): staff.insert(other)
        case .leave(let other): staff.remove(other)
        case .rowSecurity(let isOn): sheet?.hasRowSecurity = isOn
        case .drop: sheet = nil
        case .create: break
        case .addColumn, .dropColumn, .rename, .alterType: try sheet?.apply(change)
        }
    }
}

extension Sheet {
    fileprivate mutating func apply(_ change: CatalogChange) throws(OriginError) {
        func place(_ column: SheetColumn) throws(OriginError) -> Int {
            guard let place = attributes.firstIndex(where: { $0.column == column }) else { throw missing(column) }
            return place
        }
        func free(_ column: SheetColumn) throws(OriginError) {
            guard attribute(column) == nil else {
                throw OriginError(
                    state: "42701", message: "column \"\(column.rawValue)\" of relation \"sheet\" already exists")
            }
        }
        switch change {
        case .addColumn(let column, let type, let standard):
            try free(column)
            attributeCount += 1
            let value = standard.map { column.isText ? Datum.text("\($0)") : .int(Int64($0)) } ?? .null
            attributes.append(Attribute(column: column, type: type, number: attributeCount, standard: value))
        case .dropColumn(let column):
            attributes.remove(at: try place(column))
        case .rename(let old, let new):
            let place = try place(old)
            try free(new)
            attributes[place].column = new
        case .alterType(let column, let type):
            attributes[try place(column)].type = type
        default: break
        }
    }
}
