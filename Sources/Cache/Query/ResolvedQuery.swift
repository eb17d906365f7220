import PGProtocol

/// A SELECT whose names are resolved: which relations it reads, and which changes can alter it.
///
/// Owned by the statement it belongs to; immutable. Constraints hold for every row that can matter:
/// a row change none of whose images satisfies all constraints of a use cannot alter the answer
/// through that use [I1]. Fewer constraints are always safe.
public final class ResolvedQuery: Sendable {
    public let uses: [RelationUse]
    /// Which of them are joined in a way that says which rows can matter.
    public let links: [JoinLink]
    /// Where LIMIT takes the first rows in the order of a column.
    public let ranking: Ranking?
    /// The functions on which a role needs EXECUTE, and USAGE on their schemas [P1].
    public let functions: [OID]
    /// The relations that somebody needs SELECT on, and USAGE on their schemas [P1]. Not the same as `uses`: a view
    /// needs its own, and its owner those of what it reads; for a partitioned table its own are enough.
    public let rights: [RightsNeed]
    /// All uses are of one relation in FROM, no LIMIT or OFFSET, no aggregate, GROUP BY, DISTINCT or set-returning
    /// function, and every row of the result is one row of the relation: an entry may be indexed by the keys it holds
    /// [I2].
    public let isRowForRow: Bool
    /// The same, and WHERE is nothing but the whole primary key of that relation and one value for each of its columns:
    /// the answer is that row, or none.
    public let isPointRead: Bool
    /// Number of parameters, highest `$n`.
    public let parameterCount: Int
    /// Every column that is named, by `*` included: a role needs SELECT on them, or on their relations [P1].
    public let columns: Set<ColumnName>
    /// The settings that the answer depends on [K1].
    public let classes: SettingClasses
    /// Functions of users are called, which may have been computed under the settings that a prepared statement was
    /// planned under.
    public let callsBodies: Bool
    /// The answer may depend on the order of texts, or on what their letters are, which is a matter of collations.
    public let ordersText: Bool
    /// COLLATE stands in it.
    public let namesCollation: Bool

    public init(
        uses: [RelationUse], functions: [OID], isRowForRow: Bool, parameterCount: Int,
        columns: Set<ColumnName> = [], rights: [RightsNeed]? = nil, classes: SettingClasses = [.all, .custom],
        callsBodies: Bool = false, ordersText: Bool = true, namesCollation: Bool = false, isPointRead: Bool = false,
        links: [JoinLink] = [], ranking: Ranking? = nil
    ) {
        self.links = links
        self.ranking = ranking
        self.namesCollation = namesCollation
        self.ordersText = ordersText
        self.callsBodies = callsBodies
        self.isPointRead = isPointRead
        self.rights = rights ?? [RightsNeed(role: nil, relations: Set(uses.map(\.relation)), columns: columns)]
        self.columns = columns
        self.classes = classes
        self.uses = uses
        self.functions = functions
        self.isRowForRow = isRowForRow
        self.parameterCount = parameterCount
    }
}

extension ResolvedQuery {
    /// Whether the names of a text mean what they mean elsewhere: the same relations, views and functions. Two views
    /// over one table are told apart by the rights that they need.
    func meansTheSame(as other: ResolvedQuery) -> Bool {
        uses.map(\.relation) == other.uses.map(\.relation) && functions == other.functions && rights == other.rights
            && columns == other.columns
    }
}

/// What one role needs to be allowed to read.
public struct RightsNeed: Hashable, Sendable {
    /// The owner of a view, by name; nil for whoever runs the statement.
    public var role: String?
    public var relations: Set<OID>
    /// Columns that are named; of a relation without any, SELECT on some column is enough.
    public var columns: Set<ColumnName>

    public init(role: String?, relations: Set<OID>, columns: Set<ColumnName>) {
        self.role = role
        self.relations = relations
        self.columns = columns
    }
}

/// A column of a relation, by pg_attribute's numbers.
public struct ColumnName: Hashable, Sendable {
    public var relation: OID
    public var number: Int16
}

/// One appearance of a relation in FROM, or one of the alternatives of an OR that restricts it: a row matters if it
/// satisfies any of the uses.
public struct RelationUse: Equatable, Sendable {
    public var relation: OID
    /// All of them hold for a row that matters (a conjunction).
    public var constraints: [Constraint]
    /// Positions in `Relation.columns` of all that the answer could depend on: a change that leaves them as they were
    /// does not alter it. Nil for every column, and for rows that are counted or ordered by their places.
    public var reads: Set<Int>?

    public init(relation: OID, constraints: [Constraint], reads: Set<Int>? = nil) {
        self.relation = relation
        self.constraints = constraints
        self.reads = reads
    }
}

/// A row of one use matters only if its value in a column is one that a row which matters to another use, the partner,
/// has in a column of that.
public struct JoinLink: Equatable, Sendable {
    /// Positions in `ResolvedQuery.uses`.
    public var use: Int
    public var partner: Int
    /// Positions in `Relation.columns`; both are of one type whose values are compared as they are.
    public var column: Int
    public var partnerColumn: Int
}

/// The rows of a result come, first of all, in the order of one column of one use. Rows behind a value of it, NULL
/// among them, are rows behind that value in the result, and what is in front of these does not depend on them.
public struct Ranking: Equatable, Sendable {
    /// Position in `ResolvedQuery.uses`; the only one of its relation.
    public var use: Int
    /// Position in `Relation.columns`; of a kind whose values are in order as PostgreSQL has them.
    public var column: Int
    public var isDescending: Bool
}

/// What the values of one column must be for a row to matter.
public struct Constraint: Equatable, Sendable {
    /// Position in `Relation.columns`.
    public var column: Int
    public var kind: ValueKind
    public var test: Test

    public enum Test: Equatable, Sendable {
        /// Equal to one of these: `=`, IN.
        case among([Operand])
        /// Between these bounds, each optional: `<`, `<=`, `>`, `>=`, BETWEEN.
        case range(lower: Bound?, upper: Bound?)
        /// Between these two, whichever is the lower: BETWEEN SYMMETRIC.
        case symmetric(Operand, Operand)
        /// Equal to an element of the array `$n`, from 1, whose elements are certain to be comparable: = ANY.
        case elements(Int)
        /// LIKE this pattern, with the backslash as its escape character.
        case like(Operand)
        case isNull
        case isNotNull
    }
    public struct Bound: Equatable, Sendable {
        public var operand: Operand
        public var isInclusive: Bool
        public init(operand: Operand, isInclusive: Bool) {
            self.operand = operand
            self.isInclusive = isInclusive
        }
    }
    public enum Operand: Equatable, Sendable {
        case constant(Value)
        /// The same, of a constant that was not read as the column's values are: a date beside a timestamp, an array.
        case promoted(Value)
        /// `$n`, from 1. Its type is certain to be comparable with the column as `kind` says; `type` is what
        /// the binary format would carry: an integer's width is that of the value itself (2, 4 or 8 bytes).
        case parameter(Int)
    }

    public init(column: Int, kind: ValueKind, test: Test) {
        self.column = column
        self.kind = kind
        self.test = test
    }
}
