import Cache
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
    /// COMMIT and ROLLBACK: allowed in a failed block.
    var endsTransaction: Bool {
        switch self {
        case .commit, .rollback: true
        case .begin, .select, .insert, .update, .delete, .truncate, .ping, .nonsense: false
        }
    }
    /// BEGIN, COMMIT and ROLLBACK need no snapshot.
    var isTransactionControl: Bool {
        if case .begin = self { true } else { endsTransaction }
    }
    var changesRows: Bool {
        switch self {
        case .insert, .update, .delete, .truncate: true
        case .begin, .commit, .rollback, .select, .ping, .nonsense: false
        }
    }

    /// The types of the result's columns; none where there are no rows.
    var resultTypes: [ColumnType] {
        switch self {
        case .select(let select): select.outputTypes
        case .ping: [.int4]
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .nonsense: []
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
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .nonsense:
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
    func dataRows(_ rows: [[Datum]], _ format: RowFormat) -> [UInt8] {
        if case .select(let select) = self, case .all(let isBinary) = format {
            return Wire.rows(rows, of: select, isBinary: isBinary)
        }
        let types = resultTypes
        var bytes: [UInt8] = []
        for row in rows {
            bytes += Messages.dataRow(
                row.indices.map { Wire.bytes(row[$0], types[$0], isBinary: format.isBinary($0)) })
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

/// The settings of one session, by name: PostgreSQL's defaults, and what the start-up packet sets.
struct SessionSettings {
    private(set) var user = ""
    private(set) var database = ""
    /// Names as the start-up packet may have them, in lower case.
    private var values: [String: String] = SessionSettings.defaults

    private static let defaults: [String: String] = [
        "timezone": "Etc/UTC", "timezone_abbreviations": "Default", "datestyle": "ISO, MDY",
        "intervalstyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex",
        "client_encoding": "UTF8", "server_encoding": "UTF8", "standard_conforming_strings": "on",
        "lc_monetary": "C.UTF-8", "lc_numeric": "C.UTF-8", "lc_time": "C.UTF-8",
        "backslash_quote": "safe_encoding", "escape_string_warning": "on", "quote_all_identifiers": "off",
        "array_nulls": "on", "xmlbinary": "base64", "xmloption": "content",
        "default_text_search_config": "pg_catalog.english", "row_security": "on",
        "client_min_messages": "notice", "transaction_isolation": "read committed",
        "default_transaction_isolation": "read committed", "transform_null_equals": "off",
        "session_replication_role": "origin", "gin_fuzzy_search_limit": "0", "application_name": "",
        "is_superuser": "off", "integer_datetimes": "on", "default_transaction_read_only": "off",
        "in_hot_standby": "off", "server_version": "15.4",
    ]

    /// What PostgreSQL 15 reports with ParameterStatus, in its order.
    private static let reported = [
        "application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "in_hot_standby",
        "integer_datetimes", "IntervalStyle", "is_superuser", "server_encoding", "server_version",
        "session_authorization", "standard_conforming_strings", "TimeZone",
    ]

    mutating func set(_ parameters: [StartupPacket.Parameter]) {
        for parameter in parameters {
            switch parameter.name {
            case "user": user = parameter.value
            case "database": database = parameter.value
            default: values[parameter.name.lowercased()] = parameter.value
            }
        }
        if database.isEmpty { database = user }
        values["session_authorization"] = user
    }

    /// nil where there is no such setting.
    subscript(name: String) -> String? { values[name.lowercased()] }

    var report: [UInt8] {
        Self.reported.flatMap { Messages.parameterStatus($0, self[$0] ?? "") }
    }

    // MARK: The profile

    /// The settings that `Profile.readSQL` asks for: its columns behind the first four, in order.
    private static let asked: [String] = {
        let opening = "current_setting('"
        var names: [String] = []
        var rest = Profile.readSQL[...]
        while let start = rest.firstRange(of: opening) {
            rest = rest[start.upperBound...]
            names.append(String(rest.prefix { $0 != "'" }))
        }
        return names
    }()

    /// RowDescription and the row that `Profile.readSQL` returns.
    func profile(isRepeatableRead: Bool) -> (description: [UInt8], row: [UInt8]) {
        let names =
            ["current_database", "session_user", "current_user", "current_schemas"]
            + Self.asked.map { _ in "current_setting" }
        let row: [String?] =
            [database, user, user, "{pg_catalog,public}"]
            + Self.asked.map { name in
                name == "transaction_isolation" && isRepeatableRead ? "repeatable read" : self[name]
            }
        return (
            Messages.rowDescription(names.map { ($0, .text) }),
            Messages.dataRow(row.map { value in value.map { Array($0.utf8) } })
        )
    }
}
