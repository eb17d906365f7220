import CDC
import PGProtocol

/// What the row tier wants done in the cache database, or at the origin for it.
///
/// The shell performs commands in order, those that change the cache database on one connection: each `create` and
/// `apply` is one transaction there. It answers each but `forget` with an event (`CacheStore+Rows`).
public enum RowCommand: Equatable, Sendable {
    /// Make the relation's table: `poolCreated` or `poolFailed`.
    case create(PoolTable)
    /// Reading the parent's table shall read the child's: `poolInherits` or `poolFailed`.
    case inherit(OID, parent: OID)
    /// The changes of one transaction of the origin, or an affair of our own: `rowsApplied`.
    case apply(RowBatch)
    /// Copy rows of the origin aside, in the state of one moment after this: `populationLoaded` or `populationFailed`.
    case populate(PopulationPlan)
    /// Tell which values a column has: `keysListed`.
    case list(KeyList)
    /// What was copied is of no use any more.
    case forget(PopulationID)
    /// Execute a statement: `readArrived`, then `readEnded`.
    case read(RowRead)
    /// Tell how much room the pools take: `poolsMeasured`.
    case measure
    /// Answer `DatabaseFacts.zoneQuestion`: `zoneDescribed`.
    case describeZone(String)
    /// Give back what a table takes beyond its rows.
    case compact(OID)
    /// Everything goes.
    case reset
}

public struct PopulationID: Hashable, Sendable {
    public var number: UInt64
}

/// A relation's table in the cache database.
public struct PoolTable: Equatable, Sendable {
    public var relation: OID
    public var schema: String
    public var name: String
    /// Those that are written: generated ones are not among them.
    public var columns: [String]
    /// Positions in `columns`; empty where it has no rows of its own.
    public var key: [Int]
    /// What makes it.
    public var statements: [String]

    public init(
        relation: OID, schema: String, name: String, columns: [String], key: [Int], statements: [String]
    ) {
        self.relation = relation
        self.schema = schema
        self.name = name
        self.columns = columns
        self.key = key
        self.statements = statements
    }
}

/// What becomes visible in the cache database at once [T6].
public struct RowBatch: Equatable, Sendable {
    /// Ascending.
    public var sequence: UInt64
    public var operations: [RowOperation]
}

public struct RowOperation: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// A whole row, by the table's columns.
        case upsert([ColumnImage])
        /// The row with this key becomes this one, but for what is unchanged. It has to be there.
        case update(key: [[UInt8]], [ColumnImage])
        case delete(key: [[UInt8]])
        /// Say what the row with this key is, before what follows.
        case tell(key: [[UInt8]])
        case truncate
        /// Rows that satisfy the condition and none of the others.
        case remove(condition: String?, keeping: [String])
        /// The rows that were copied aside, amended, but for those with these keys, and for those that are there. Those
        /// that are amended have to be among them.
        case merge(PopulationID, touched: [[[UInt8]]], amended: [RowAmendment])
    }
    public var relation: OID
    public var kind: Kind
}

/// What has changed of a row: all but the values that are unchanged.
public struct RowAmendment: Equatable, Sendable {
    public var key: [[UInt8]]
    /// By the table's columns.
    public var row: RowImage

    public init(key: [[UInt8]], row: RowImage) {
        self.key = key
        self.row = row
    }
}

/// What to copy.
public struct PopulationPlan: Equatable, Sendable {
    public var id: PopulationID
    public var relation: OID
    /// SQL, under the fixed settings of pgcache's own connections; nil for all rows.
    public var condition: String?
    /// Of what the origin sends; more fails with `.tooLarge`.
    public var bytesMax: Int
    /// Nil for all rows that satisfy the condition.
    public var first: FirstRows?
}

/// The first rows in the order of a column.
public struct FirstRows: Equatable, Sendable {
    public var column: String
    /// What ORDER BY says: SQL.
    public var order: String
    public var countMax: Int
}

/// How far the first rows go that were copied.
public struct FirstRowsReach: Equatable, Sendable {
    public var count = 0
    /// The column's value in the last row, as text; nil for NULL.
    public var last: [UInt8]?
    /// Rows in front of the first with that value.
    public var countAhead = 0

    public init() {}

    /// The next row has this value.
    public mutating func append(_ value: [UInt8]?) {
        if count == 0 || value != last {
            countAhead = count
            last = value
        }
        count += 1
    }
}

/// Which values to list: those of one column in the rows of a relation's table that satisfy a condition.
public struct KeyList: Equatable, Sendable {
    public var number: UInt64
    public var relation: OID
    public var column: String
    /// SQL; nil for all rows.
    public var condition: String?
    /// More are as good as none.
    public var countMax: Int
}

public enum PopulationFailure: Equatable, Sendable {
    case tooLarge
    /// All connections are in use.
    case busy
    case failed(String)
}

/// One execution in the cache database.
public struct RowRead: Equatable, Sendable {
    /// The entry that it fills.
    public var entry: UInt64
    /// The statement is prepared once for each connection: `CacheStore.parseBody` gives its text and types.
    public var statement: UInt64
    /// What Bind carries behind the names of portal and statement.
    public var bindTail: [UInt8]
    /// The profile whose settings it runs under: `CacheStore.settings(ofProfile:)`.
    public var profile: UInt32
}
