import PGProtocol

/// In which formats the columns of a result are written: Bind's result format codes.
///
/// Almost always all columns have the same one; then `Wire` writes the bytes. Mixed formats are composed here.
enum RowFormat: Equatable {
    case all(isBinary: Bool)
    case mixed([Bool])

    static let text = RowFormat.all(isBinary: false)

    /// nil when there are neither none, nor one, nor as many codes as columns.
    init?(_ codes: [Int16], columns: Int) {
        guard let first = codes.first else {
            self = .text
            return
        }
        guard codes.count == 1 || codes.count == columns else { return nil }
        self = codes.allSatisfy { $0 == first } ? .all(isBinary: first == 1) : .mixed(codes.map { $0 == 1 })
    }

    func isBinary(_ column: Int) -> Bool {
        switch self {
        case .all(let isBinary): isBinary
        case .mixed(let columns): columns[column]
        }
    }
}

/// What a statement returns, as the messages that carry it.
extension Statement {
    /// COMMIT, ROLLBACK and their like: allowed in a failed block (postgres.c, IsTransactionExitStmt).
    var endsTransaction: Bool {
        switch self {
        case .commit, .rollback: true
        case .block(let block):
            switch block {
            case .rollbackTo, .commitAndChain, .rollbackAndChain, .prepare: true
            case .savepoint, .release, .setTransaction, .commitPrepared, .rollbackPrepared: false
            }
        case .begin, .setting, .catalog, .channel, .select, .insert, .update, .delete, .truncate, .ping, .nonsense:
            false
        }
    }
    /// BEGIN, COMMIT, ROLLBACK and their like.
    var isTransactionControl: Bool {
        switch self {
        case .begin, .commit, .rollback, .block: true
        case .setting, .catalog, .channel, .select, .insert, .update, .delete, .truncate, .ping, .nonsense: false
        }
    }
    /// Control of transactions, and SET, take no snapshot (pquery.c, PlannedStmtRequiresSnapshot).
    var needsSnapshot: Bool {
        if case .setting(let setting) = self { return setting.returnsRows }
        if case .channel = self { return false }
        return !isTransactionControl
    }
    var changesRows: Bool {
        switch self {
        case .insert, .update, .delete, .truncate: true
        case .catalog(let statement): statement.mayWrite
        case .begin, .commit, .rollback, .block, .setting, .channel, .select, .ping, .nonsense: false
        }
    }
    /// It may not be run in a transaction that only reads, and is called so in the error.
    var writesAs: String? {
        switch self {
        case .insert: "INSERT"
        case .update: "UPDATE"
        case .delete: "DELETE"
        case .truncate: "TRUNCATE TABLE"
        case .catalog(let statement): statement.mayWrite ? statement.tag : nil
        case .select(let select): select.locks ? "SELECT FOR UPDATE" : nil
        case .begin, .commit, .rollback, .block, .setting, .channel, .ping, .nonsense: nil
        }
    }

    /// The types of the result's columns; none where there are no rows.
    var resultTypes: [ColumnType] {
        switch self {
        case .select(let select): select.outputTypes
        case .ping: [.int4]
        case .catalog: []
        case .setting(let setting): setting.returnsRows ? [.text] : []
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .block, .channel, .nonsense: []
        }
    }

    /// The RowDescription; nil where there are no rows.
    func rowDescription(_ format: RowFormat) -> [UInt8]? {
        var plain: [UInt8]
        switch self {
        case .select(let select):
            if case .all(let isBinary) = format { return Wire.description(select, isBinary: isBinary) }
            plain = Wire.description(select, isBinary: false)
        case .ping:
            plain = Messages.rowDescription([("?column?", .int4)])
        case .catalog: return nil
        case .setting(.configure):
            plain = Messages.rowDescription([("set_config", .text)])
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .block, .setting, .channel, .nonsense:
            return nil
        }
        // Every field is a name and 18 bytes, of which the last two are the format (manual, 55.7).
        var position = 7
        for column in resultTypes.indices {
            while plain[position] != 0 { position += 1 }
            position += 19
            plain[position - 1] = format.isBinary(column) ? 1 : 0
        }
        return plain
    }

    /// The DataRow messages.
    func dataRows(_ rows: [[Datum]], _ format: RowFormat, _ style: TextStyle) -> [UInt8] {
        if case .select(let select) = self, case .all(let isBinary) = format {
            return Wire.rows(rows, of: select, isBinary: isBinary, style)
        }
        let types = resultTypes
        var bytes: [UInt8] = []
        for row in rows {
            bytes += Messages.dataRow(
                row.indices.map { Wire.bytes(row[$0], types[$0], isBinary: format.isBinary($0), style) })
        }
        return bytes
    }
}

/// Messages of a backend that are no rows of a statement (manual, 55.7 Message Formats).
enum Messages {
    static func empty(_ type: UInt8) -> [UInt8] { [type, 0, 0, 0, 4] }

    static func commandComplete(_ tag: String) -> [UInt8] {
        Wire.message(BackendType.commandComplete) { $0.cString(tag) }
    }

    static func parameterStatus(_ name: String, _ value: String) -> [UInt8] {
        Wire.message(BackendType.parameterStatus) { body in
            body.cString(name)
            body.cString(value)
        }
    }

    static func parameterDescription(_ types: [OID]) -> [UInt8] {
        Wire.message(BackendType.parameterDescription) { body in
            body.uint16(UInt16(types.count))
            for type in types { body.uint32(type.value) }
        }
    }

    /// Fields in text format that are no columns of a table.
    static func rowDescription(_ fields: [(name: String, type: ColumnType)]) -> [UInt8] {
        Wire.message(BackendType.rowDescription) { body in
            body.uint16(UInt16(fields.count))
            for field in fields {
                body.cString(field.name)
                body.uint32(0)
                body.uint16(0)
                body.uint32(field.type.oid.value)
                body.uint16(UInt16(bitPattern: field.type.size))
                body.uint32(.max)
                body.uint16(0)
            }
        }
    }

    static func dataRow(_ values: [[UInt8]?]) -> [UInt8] {
        Wire.message(BackendType.dataRow) { body in
            body.uint16(UInt16(values.count))
            for value in values {
                body.uint32(value.map { UInt32($0.count) } ?? .max)
                if let value { body.append(value) }
            }
        }
    }

    /// NotificationResponse on the one channel that there is.
    static let notification = Wire.message(BackendType.notificationResponse) { body in
        body.uint32(1)
        body.cString("news")
        body.cString("")
    }

    /// NoticeResponse: `NOTICE` or `WARNING`.
    static func notice(_ severity: String, _ state: String, _ message: String) -> [UInt8] {
        Wire.message(BackendType.noticeResponse) { body in
            for (code, value) in [("S", severity), ("V", severity), ("C", state), ("M", message)] {
                body.append(Array(code.utf8))
                body.cString(value)
            }
            body.uint8(0)
        }
    }
}
