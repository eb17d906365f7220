import PGProtocol

/// A SELECT whose names are resolved: which relations it reads, and which changes can alter it.
///
/// Owned by the statement it belongs to; immutable. Constraints hold for every row that can matter:
/// a row change none of whose images satisfies all constraints of a use cannot alter the answer
/// through that use [I1]. Fewer constraints are always safe.
public final class ResolvedQuery: Sendable {
    public let uses: [RelationUse]
    /// The objects a role needs rights on: EXECUTE on these functions [P1]. SELECT on each used
    /// relation, and USAGE on its schema, go without saying.
    public let functions: [OID]
    /// One use, no LIMIT or OFFSET, no aggregate, GROUP BY, DISTINCT or set-returning function, and every
    /// row of the result is one row of the relation: an entry may be indexed by the keys it holds [I2].
    public let isRowForRow: Bool
    /// Number of parameters, highest `$n`.
    public let parameterCount: Int
    /// Every column that is named, by `*` included: a role needs SELECT on them, or on their relations [P1].
    public let columns: Set<ColumnName>
    /// The settings that the answer depends on [K1].
    public let classes: SettingClasses

    public init(
        uses: [RelationUse], functions: [OID], isRowForRow: Bool, parameterCount: Int,
        columns: Set<ColumnName> = [], classes: SettingClasses = [.all, .custom]
    ) {
        self.columns = columns
        self.classes = classes
        self.uses = uses
        self.functions = functions
        self.isRowForRow = isRowForRow
        self.parameterCount = parameterCount
    }
}

/// A column of a relation, by pg_attribute's numbers.
public struct ColumnName: Hashable, Sendable {
    public var relation: OID
    public var number: Int16
}

/// One appearance of a relation in FROM.
public struct RelationUse: Equatable, Sendable {
    public var relation: OID
    /// All of them hold for a row that matters (a conjunction).
    public var constraints: [Constraint]

    public init(relation: OID, constraints: [Constraint]) {
        self.relation = relation
        self.constraints = constraints
    }
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
