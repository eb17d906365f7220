import PGProtocol

/// How the values of a column are compared when a row change meets a constraint.
///
/// Only what is certain to agree with PostgreSQL has a kind of its own; everything else is
/// `opaque`, and whatever depends on it "may match" [I3].
public enum ValueKind: UInt8, Equatable, Sendable {
    /// int2, int4, int8, oid: compared as numbers, in order.
    case integer
    /// text, varchar under a deterministic collation: equal exactly if their bytes are equal.
    /// Never ordered: that is the collation's business.
    case text
    /// uuid: 16 bytes, equal and ordered bytewise.
    case uuid
    case boolean
    /// date: days since 2000-01-01, in order. Like the other two a year of four digits, never infinity, which is not
    /// read.
    case date
    /// timestamp: microseconds since 2000-01-01, in order.
    case timestamp
    /// timestamptz: microseconds since 2000-01-01 in UTC, in order.
    case timestampWithZone
    /// numeric: the bytes of `Decimal`, which are equal and in order as the numbers are. NaN and infinity are not read.
    case numeric
    case opaque
}

/// A value that a constraint or a row change holds. Values of one kind are of one case.
public enum Value: Hashable, Sendable {
    case integer(Int64)
    case bytes([UInt8])
}

extension Value: Comparable {
    /// Numbers as numbers, bytes bytewise: the order of every kind that has one, and of the beginnings of a text.
    public static func < (left: Value, right: Value) -> Bool {
        switch (left, right) {
        case (.integer(let left), .integer(let right)): left < right
        case (.bytes(let left), .bytes(let right)): left.lexicographicallyPrecedes(right)
        case (.integer, .bytes): true
        case (.bytes, .integer): false
        }
    }
}

public struct Column: Equatable, Sendable {
    public var name: String
    /// pg_attribute.attnum, from 1, with gaps where columns were dropped.
    public var number: Int16
    public var type: OID
    /// The type with its domains peeled off; `anyenum` for an enum.
    public var baseType: OID
    public var kind: ValueKind
    /// Stored generated columns are not in the stream of PostgreSQL 15 [C2].
    public var isGenerated: Bool
    public var isNotNull: Bool

    public init(
        name: String, number: Int16, type: OID, baseType: OID? = nil, kind: ValueKind, isGenerated: Bool,
        isNotNull: Bool
    ) {
        self.name = name
        self.number = number
        self.type = type
        self.baseType = baseType ?? type
        self.kind = kind
        self.isGenerated = isGenerated
        self.isNotNull = isNotNull
    }
}

/// A relation of the origin as its catalog described it.
///
/// Columns are referred to by their position in `columns`, never by number or name.
public struct Relation: Equatable, Sendable {
    public var oid: OID
    public var schema: String
    public var name: String
    /// pg_class.relkind: `r` table, `p` partitioned, `v` view, `m` materialized view, `f` foreign, …
    public var kind: UInt8
    /// pg_class.relpersistence: `p`ermanent, `u`nlogged, `t`emporary.
    public var persistence: UInt8
    public var hasRowSecurity: Bool
    /// It is a partition, or a child, of another relation.
    public var isInherited: Bool
    /// Rules other than a view's own could rewrite statements (pg_class.relhasrules).
    public var hasRules: Bool
    /// pg_class.relreplident: `d`, `n`, `f` or `i`.
    public var replicaIdentity: UInt8
    /// Live columns in order of their numbers.
    public var columns: [Column]
    /// Positions of the primary key's columns; empty without one.
    public var primaryKey: [Int]
    /// Positions of the columns that a DELETE or key-changing UPDATE carries.
    public var identityColumns: [Int]
    /// Every column has a type of PostgreSQL's own, or an enum or a domain over such.
    public var hasOnlyKnownTypes: Bool
    /// Writing to it may run code that PostgreSQL did not bring: triggers, rules, defaults, checks, indexes, cascades.
    public var runsCode: Bool
    /// A hash of its row of pg_class, which the next poll must find; nil for what polls leave out.
    public var version: String?
    /// Everything below it by inheritance or partitioning, without itself, each with its own `descendants` left empty:
    /// reading it reads these, unless ONLY is said.
    public var descendants: [Relation] = []
    /// False when there are more of them than `CatalogQueries.descendantsMax`.
    public var hasAllDescendants = true
    /// What a view stands for.
    public var view: ViewDefinition?

    public init(
        oid: OID, schema: String, name: String, kind: UInt8, persistence: UInt8,
        hasRowSecurity: Bool, isInherited: Bool, hasRules: Bool, replicaIdentity: UInt8,
        columns: [Column], primaryKey: [Int], identityColumns: [Int], hasOnlyKnownTypes: Bool,
        runsCode: Bool = false
    ) {
        self.oid = oid
        self.schema = schema
        self.name = name
        self.kind = kind
        self.persistence = persistence
        self.hasRowSecurity = hasRowSecurity
        self.isInherited = isInherited
        self.hasRules = hasRules
        self.replicaIdentity = replicaIdentity
        self.columns = columns
        self.primaryKey = primaryKey
        self.identityColumns = identityColumns
        self.hasOnlyKnownTypes = hasOnlyKnownTypes
        self.runsCode = runsCode
    }
}

/// The query of a view (`pg_get_viewdef`, every name in it with its schema).
public struct ViewDefinition: Equatable, Sendable {
    public var statement: ParsedStatement
    /// Whose rights count for what it reads; nil with `security_invoker`, where it is whoever runs the statement,
    /// also where the view is read by another view.
    public var owner: String?

    public init(statement: ParsedStatement, owner: String?) {
        self.statement = statement
        self.owner = owner
    }
}
