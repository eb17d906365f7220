import PGProtocol

/// A value of the modelled origin.
enum Datum: Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case text(String)
    /// Days from 2000-01-01 on, as on the wire.
    case date(Int32)
    case bytes([UInt8])
}

/// The types that the modelled origin knows; numbers and sizes are PostgreSQL's (catalog/pg_type.dat).
enum ColumnType {
    case bool, int4, int8, text, date, bytea

    var oid: OID {
        switch self {
        case .bool: OID(16)
        case .bytea: OID(17)
        case .int8: OID(20)
        case .int4: OID(23)
        case .text: OID(25)
        case .date: OID(1082)
        }
    }
    /// Bytes; -1 where it varies (pg_type.typlen).
    var size: Int16 {
        switch self {
        case .bool: 1
        case .int8: 8
        case .int4, .date: 4
        case .text, .bytea: -1
        }
    }
}

struct Column: Equatable {
    var name: String
    var type: ColumnType
    var isNotNull = false
}

/// A table of the modelled origin. Its primary key is its first column.
struct Table {
    /// pg_class.relreplident
    enum ReplicaIdentity: UInt8 {
        case primaryKey = 0x64  // d
        case full = 0x66  // f
    }
    var oid: OID
    var name: String
    var columns: [Column]
    var replicaIdentity: ReplicaIdentity
    var schema = "public"
    /// Statements name its schema.
    var isQualified = false
    /// Setting of the session that a trigger sets behind each INSERT, and to what.
    var trigger: (setting: Setting, value: String)?

    var sqlName: String { isQualified ? "\(schema).\(name)" : name }

    /// The tables of every world, by their numbers in statements.
    ///
    /// Money is only ever moved between accounts, so the sum of `balance` never changes; a transfer writes two rows of
    /// `entry` whose amounts are opposite, so their sum is zero: whoever sees a half of a transaction sees that.
    static let all: [Table] = [
        Table(
            oid: OID(16401), name: "account",
            columns: [
                Column(name: "id", type: .int4, isNotNull: true),
                Column(name: "branch", type: .int4),
                Column(name: "balance", type: .int4, isNotNull: true),
                Column(name: "note", type: .text),
            ], replicaIdentity: .primaryKey),
        Table(
            oid: OID(16402), name: "entry",
            columns: [
                Column(name: "id", type: .int4, isNotNull: true),
                Column(name: "account", type: .int4),
                Column(name: "amount", type: .int4, isNotNull: true),
                Column(name: "state", type: .text),
            ], replicaIdentity: .primaryKey),
        Table(
            oid: OID(16403), name: "branch",
            columns: [
                Column(name: "id", type: .int4, isNotNull: true),
                Column(name: "name", type: .text),
                Column(name: "open", type: .bool),
            ], replicaIdentity: .full),
        Table(oid: OID(16404), name: "event", columns: eventColumns, replicaIdentity: .primaryKey),
        Table(
            oid: OID(16405), name: "event", columns: eventColumns, replicaIdentity: .primaryKey, schema: "archive",
            isQualified: true),
        Table(
            oid: OID(16406), name: "journal",
            columns: [Column(name: "id", type: .int4, isNotNull: true), Column(name: "note", type: .text)],
            replicaIdentity: .primaryKey, trigger: (.byteaOutput, "escape")),
    ]
    static let account = 0
    static let entry = 1
    static let branch = 2
    /// `event` is whichever of the two comes first in the search path: this one, unless something says otherwise.
    static let event = 3
    static let archivedEvent = 4
    static let journal = 5

    static let schemas = ["public", "archive"]

    /// The text of the last two depends on the settings of the session that reads it.
    private static let eventColumns = [
        Column(name: "id", type: .int4, isNotNull: true), Column(name: "kind", type: .int4),
        Column(name: "mark", type: .bytea), Column(name: "day", type: .date),
    ]
}

/// The values of one row, in the order of its table's columns.
typealias Row = [Datum]
