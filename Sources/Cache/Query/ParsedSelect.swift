/// A SELECT whose grammar is cacheable; its names are not resolved.
///
/// Flat: every SELECT in the text, wherever it stands, is a *level*, and what belongs to a level carries its number.
/// The first is the statement itself; a level comes after the one that it stands in. A view's query is appended to the
/// statement's by `ViewExpansion`, with the same meaning.
public struct ParsedSelect: Equatable, Sendable {
    public struct Level: Equatable, Sendable {
        /// The level in whose text it stands, whose names it can see. Nil for a text's first.
        public var parent: Int?
        /// Its place in the WITH of `parent`, for a common table expression.
        public var commonPosition: Int?
        public var hasLimit = false
        /// GROUP BY, HAVING or DISTINCT: rows of the result are not rows of a relation.
        public var hasGrouping = false
        public var hasWindow = false
        public var isSetOperation = false
        public var isValues = false
        /// Part of WITH RECURSIVE.
        public var isRecursive = false
        /// The list of the result in its order; of a set operation, of VALUES: nothing.
        public var outputs: [Output] = []
        /// For a set operation the level that names its columns.
        public var firstArm: Int?
        /// Its result has columns that are not in `outputs`: SEARCH, CYCLE.
        public var hasHiddenOutputs = false
        /// The functions that are called in it, by name.
        public var calls: Set<String> = []

        public init(parent: Int?) { self.parent = parent }
    }
    /// One item of the list of a result.
    public struct Output: Equatable, Sendable {
        /// Nil where nobody gave one.
        public var name: String?
        /// Where it is nothing but a column; with the name `*`, the columns of a relation or of all of FROM.
        public var column: ParsedColumn?
        public var isStar: Bool { column?.name == "*" }
    }

    public enum JoinKind: Equatable, Sendable { case inner, left, right, full }
    public struct Join: Equatable, Sendable {
        public var kind: JoinKind
        public var level: Int
        public var isNatural = false
        /// Columns named by USING.
        public var using: [String] = []
        /// What it is called as a whole, which hides the names of its arms.
        public var alias: String?
        /// What the columns of USING are called together.
        public var usingAlias: String?

        public init(kind: JoinKind, level: Int) {
            self.kind = kind
            self.level = level
        }
        /// Whether a row of this arm can be left out of the result's rows, with nulls in its place.
        func isNullable(rightArm: Bool) -> Bool {
            switch kind {
            case .inner: false
            case .left: rightArm
            case .right: !rightArm
            case .full: true
            }
        }
    }

    /// One item of FROM that is no join.
    public struct Source: Equatable, Sendable {
        public enum Content: Equatable, Sendable {
            case relation(RelationName)
            /// The result of a level: a subquery, or a common table expression.
            case derived(Int)
            /// A function's, or another's whose columns are not known.
            case opaque
        }
        public var content: Content
        public var level: Int
        /// What it is called in its level; nil without a name.
        public var name: String?
        /// The name was given by the text, so a schema in front of it is not the relation's.
        public var hasAlias: Bool
        /// What its columns are called instead of their own names, from the first on.
        public var columnNames: [String]?
        /// ONLY: without the relations that inherit from it.
        public var isOnly = false
        /// The joins it is in, the outermost first.
        public var path: [Step]
    }
    public struct Step: Equatable, Sendable {
        /// Position in `joins`.
        public var join: Int
        public var isRightArm: Bool
    }
    /// Where a condition stands.
    public enum Scope: Hashable, Sendable {
        /// WHERE of a level.
        case whole(Int)
        case on(Int)
    }
    /// One conjunct of WHERE or ON that restricts a single column.
    public struct Condition: Equatable, Sendable {
        public var scope: Scope
        public var column: ParsedColumn
        public var test: Test
    }
    public enum Test: Equatable, Sendable {
        /// Equal to one of them; never empty.
        case among([Operand])
        case range(lower: Bound?, upper: Bound?)
        /// Between two bounds, whichever is the lower: BETWEEN SYMMETRIC.
        case symmetric(Operand, Operand)
        /// Equal to an element of this array: = ANY.
        case elements(Operand)
        /// LIKE this pattern, with the backslash as its escape character.
        case like(Operand)
        case isNull
        case isNotNull
        /// A boolean column, tested for this value.
        case truth(Bool)
    }
    public struct Bound: Equatable, Sendable {
        public var operand: Operand
        public var isInclusive: Bool
    }
    public struct Operand: Equatable, Sendable {
        public enum Literal: Equatable, Sendable {
            case integer(Int64)
            /// A number that is no 64-bit integer, as it is written.
            case decimal([UInt8])
            case string([UInt8])
            case boolean(Bool)
            case parameter(Int)
        }
        public var literal: Literal
        public var cast: ParsedTypeName?
    }
    /// One conjunct of WHERE or ON, an OR whose alternatives each restrict some columns.
    public struct Disjunction: Equatable, Sendable {
        public struct Restriction: Equatable, Sendable {
            public var column: ParsedColumn
            public var test: Test
        }
        public var scope: Scope
        /// Those of one alternative hold together; none is empty.
        public var alternatives: [[Restriction]]
    }
    /// The first item of an ORDER BY, where it is a column or one of the result's, from 1.
    public struct Order: Equatable, Sendable {
        public enum Item: Equatable, Sendable {
            case column(ParsedColumn)
            case position(Int)
        }
        public var item: Item
        public var isDescending: Bool
        public var putsNullsFirst: Bool
    }
    /// One conjunct `column = column`.
    public struct Equality: Equatable, Sendable {
        public var scope: Scope
        public var left: ParsedColumn
        public var right: ParsedColumn
    }

    public internal(set) var levels: [Level] = []
    public internal(set) var sources: [Source] = []
    public internal(set) var joins: [Join] = []
    public internal(set) var conditions: [Condition] = []
    public internal(set) var disjunctions: [Disjunction] = []
    public internal(set) var equalities: [Equality] = []
    /// Of the statement itself, not of what stands in it.
    public internal(set) var order: Order?
    /// ORDER BY, GREATEST, LEAST: values are put in an order.
    public internal(set) var ordersValues = false
    public internal(set) var hasTextConstant = false
    /// COLLATE stands somewhere.
    public internal(set) var namesCollation = false
    /// A conjunct of WHERE or ON is not among `conditions`.
    public internal(set) var hasFurtherConditions = false
    /// Every column that the statement names.
    public internal(set) var columns: Set<ParsedColumn> = []
    /// `*` and `t.*`, wherever they stand.
    public internal(set) var stars: Set<ParsedColumn> = []
    public internal(set) var casts: Set<ParsedCast> = []
    /// How often each `$n` occurs.
    public internal(set) var parameterUses: [Int: Int] = [:]
    /// The settings that it depends on by its text alone [K1].
    var classes: SettingClasses = []

    public var parameterCount: Int { parameterUses.keys.max() ?? 0 }

    /// More SELECTs in one statement are forwarded.
    static let levelsMax = 64
    /// More items of FROM in one statement, or joins around one, are forwarded.
    static let sourcesMax = 64
    /// Longer lists do not constrain.
    static let operandsMax = 1024
    /// Further conjuncts do not constrain.
    static let conditionsMax = 256
    /// An OR of more does not constrain.
    static let alternativesMax = 16
    /// Further ORs do not constrain.
    static let disjunctionsMax = 16
    /// More columns in one USING are forwarded.
    static let usingMax = 64
    /// More distinct columns or casts, or items in the lists of all results, are forwarded.
    static let namesMax = 4096
}
