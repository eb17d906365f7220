import PGProtocol

/// A relation as a statement names it.
public struct RelationName: Hashable, Sendable {
    /// nil: to be found through the session's search path.
    public var schema: String?
    public var name: String

    public init(schema: String?, name: String) {
        self.schema = schema
        self.name = name
    }
}

/// What the catalog knows of a relation name.
public enum RelationLookup: Equatable, Sendable {
    /// Not loaded yet: to be asked from the origin.
    case unknown
    /// The origin has no such relation on this path.
    case absent
    /// There may be one, but no room to learn of it: a statement that names it may do anything.
    case unknowable
    case found(Relation)
}

/// One function of the origin, one of possibly several of the same name (pg_proc).
public struct FunctionFact: Sendable {
    public var oid: OID
    public var schema: String
    /// pg_proc.provolatile: `i`mmutable, `s`table or `v`olatile.
    public var volatility: UInt8
    public var isAggregate: Bool
    public var isWindow: Bool
    public var returnsSet: Bool
    /// What it does, if it is a function of users' that can be read.
    public var body: FunctionBody?

    /// PostgreSQL brought it: its body is known to do what the manual says.
    public var isBuiltIn: Bool { oid.isBuiltIn }

    public init(
        oid: OID, schema: String, volatility: UInt8, isAggregate: Bool = false,
        isWindow: Bool = false, returnsSet: Bool = false
    ) {
        self.oid = oid
        self.schema = schema
        self.volatility = volatility
        self.isAggregate = isAggregate
        self.isWindow = isWindow
        self.returnsSet = returnsSet
    }
}

/// What resolution asks of the catalog, seen through one session's search path.
///
/// Functions, operators and types are loaded whole before the first resolution; relations one by
/// one. The answers about them ignore the search path on purpose: a name that exists outside of
/// PostgreSQL's own objects in *any* schema is in doubt, so a change of path cannot mislead.
public protocol CatalogLookup {
    /// Through the session's search path when the name has no schema.
    func relation(_ name: RelationName) -> RelationLookup
    /// All schemas, all overloads; empty when there is none.
    func functions(named name: String) -> [FunctionFact]
    /// Any operator of that name that PostgreSQL did not bring, in any schema.
    ///
    /// Counts when both operands are types of PostgreSQL's own (pseudo-types included), enums or
    /// domains. An extension's operator over its own base type may be left out: relations with
    /// columns of such a type are forwarded for that, and nothing else brings a value of it.
    /// Casts count as operators of every name: where a cast between two types of PostgreSQL's own
    /// exists that PostgreSQL did not bring (pg_cast), this is true for all names.
    func hasUserOperator(named name: String) -> Bool
    /// Any type of that name that PostgreSQL did not bring, in any schema: base types, domains,
    /// ranges, row types of relations, and arrays of them (`_name`). Not enums, which run nobody's code.
    func isUserType(named name: String) -> Bool
    /// Any enum of that name, or array of one.
    func isEnum(named name: String) -> Bool
    /// Text search that would run code which PostgreSQL did not bring, in any schema.
    var foreignTextSearch: ForeignTextSearch { get }
}

extension CatalogLookup {
    public func isEnum(named name: String) -> Bool { false }
    public var foreignTextSearch: ForeignTextSearch { [] }
}

/// Parsers and dictionary templates are code in C; extensions bring some.
public struct ForeignTextSearch: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A configuration uses some.
    public static let configurations = ForeignTextSearch(rawValue: 1)
    /// A dictionary is some.
    public static let dictionaries = ForeignTextSearch(rawValue: 2)
}
