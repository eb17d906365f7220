/// What the text of a statement says, before any name is looked up.
///
/// Owned by whoever remembers the text; holds values only, nothing of the parser's memory.
public struct ParsedStatement: Equatable, Sendable {
    public enum Body: Equatable, Sendable {
        case select(ParsedSelect)
        case forward(ForwardReason)
    }

    /// What it may do, whatever the settings of an application mean.
    public var effect: StatementEffect {
        customSettings.isEmpty ? plainEffect : plainEffect.union(.changesSession)
    }
    /// What it may do beside changing `customSettings`.
    public let plainEffect: StatementEffect
    /// Settings with a dot in their names that it changes, in lower case [K4].
    public let customSettings: Set<String>
    public let body: Body
    /// Every name in the text behind which code could hide. Resolution looks them up to find out
    /// whether a statement, forwarded or not, runs code that PostgreSQL did not bring.
    public let mentions: Mentions
    /// Only bytes below 128. Any other text means what was parsed here only if the encodings of client
    /// and server are both UTF-8: the caller forwards it otherwise.
    public let isASCII: Bool
    /// What it is to the block around it; `none` for a text of several statements.
    public var verb = TransactionVerb.none
    /// What it does to the settings, if that is all that it does.
    public var settingChange = SettingChange.none
    /// Prepared statements that it drops by their SQL names.
    public var deallocation = Deallocation.none

    /// DEALLOCATE, and what includes it.
    public enum Deallocation: Equatable, Sendable {
        case none
        case named([String])
        case all
    }

    public init(
        effect: StatementEffect, customSettings: Set<String> = [], body: Body, mentions: Mentions,
        isASCII: Bool
    ) {
        plainEffect = effect
        self.customSettings = customSettings
        self.body = body
        self.mentions = mentions
        self.isASCII = isASCII
    }
}

/// The names in a statement, wherever they are in it; each once. At most `namesMax` of each kind.
public struct Mentions: Equatable, Sendable {
    public internal(set) var relations: Set<RelationName> = []
    public internal(set) var calls: Set<ParsedCall> = []
    /// Operators by name, without their schemas.
    public internal(set) var operators: Set<String> = []
    public internal(set) var types: Set<ParsedTypeName> = []
    /// What follows a dot: `t.name` calls the function `name` where `t` has no such column
    /// (manual, 8.16.5).
    public internal(set) var fields: Set<String> = []
    /// There is more in the statement than is listed here.
    public internal(set) var isIncomplete = false

    /// Nothing in the statement is looked up.
    var isEmpty: Bool {
        relations.isEmpty && calls.isEmpty && operators.isEmpty && types.isEmpty && fields.isEmpty && !isIncomplete
    }

    static let namesMax = 256

    mutating func add(relation: RelationName) {
        if relations.count < Self.namesMax { relations.insert(relation) } else { isIncomplete = true }
    }
    mutating func add(call: ParsedCall) {
        if calls.count < Self.namesMax { calls.insert(call) } else { isIncomplete = true }
    }
    mutating func add(operator name: String) {
        if operators.count < Self.namesMax { operators.insert(name) } else { isIncomplete = true }
    }
    mutating func add(field: String) {
        if fields.count < Self.namesMax { fields.insert(field) } else { isIncomplete = true }
    }
    mutating func add(type: ParsedTypeName) {
        if types.count < Self.namesMax { types.insert(type) } else { isIncomplete = true }
    }
}

/// A call as it is written: which function it means is the catalog's business.
public struct ParsedCall: Hashable, Sendable {
    public var schema: String?
    public var name: String
    public var argumentCount: Int
    /// Of a call with one argument, which is a cast when its name is a type's (manual, 10.3); of
    /// `timezone`, which AT TIME ZONE calls, the value that is moved.
    public var argument: ValueSource?
    /// The constant that `current_setting` is called with, in lower case.
    public var setting: String?
}

public struct ParsedTypeName: Hashable, Sendable {
    public var schema: String?
    public var name: String
    public var isArray: Bool
    /// `(10)`, `(10, 2)`: the cast can change the value.
    public var hasModifier: Bool
}

public struct ParsedColumn: Hashable, Sendable {
    public var schema: String?
    public var relation: String?
    public var name: String
    /// In ORDER BY, GROUP BY or DISTINCT ON by itself, where the name of an output column will do.
    public var mayBeOutput = false
}

/// Where the value comes from that a cast turns into another type.
public enum ValueSource: Hashable, Sendable {
    case constant
    case parameter
    case column(ParsedColumn)
    /// A date or timestamp for certain, by a cast or by a function that returns nothing else.
    case dateTime
    case other
}

public struct ParsedCast: Hashable, Sendable {
    public var type: ParsedTypeName
    public var source: ValueSource
}

/// A SELECT whose grammar is cacheable; its names are not resolved.
public struct ParsedSelect: Equatable, Sendable {
    public enum JoinKind: Equatable, Sendable { case inner, left }

    /// One relation of FROM.
    public struct Source: Equatable, Sendable {
        public var name: RelationName
        public var alias: String?
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
        case whole
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
            case string([UInt8])
            case boolean(Bool)
            case parameter(Int)
        }
        public var literal: Literal
        public var cast: ParsedTypeName?
    }
    /// One conjunct `column = column`.
    public struct Equality: Equatable, Sendable {
        public var scope: Scope
        public var left: ParsedColumn
        public var right: ParsedColumn
    }

    public internal(set) var sources: [Source] = []
    public internal(set) var joins: [JoinKind] = []
    /// Columns named by USING.
    public internal(set) var usingColumns: Set<String> = []
    public internal(set) var hasNaturalJoin = false
    public internal(set) var conditions: [Condition] = []
    public internal(set) var equalities: [Equality] = []
    /// Every column that the statement names.
    public internal(set) var columns: Set<ParsedColumn> = []
    /// Relations whose columns are all taken (`t.*`).
    public internal(set) var starred: Set<ParsedColumn> = []
    public internal(set) var outputNames: Set<String> = []
    public internal(set) var casts: Set<ParsedCast> = []
    /// How often each `$n` occurs.
    public internal(set) var parameterUses: [Int: Int] = [:]
    public internal(set) var hasLimit = false
    /// GROUP BY, HAVING or DISTINCT: rows of the result are not rows of a relation.
    public internal(set) var hasGrouping = false
    public internal(set) var mentions = Mentions()
    /// The settings that it depends on by its text alone [K1].
    var classes: SettingClasses = []

    public var parameterCount: Int { parameterUses.keys.max() ?? 0 }

    /// More relations, or joins around one, are forwarded.
    static let sourcesMax = 64
    /// Longer lists do not constrain.
    static let operandsMax = 1024
    /// Further conjuncts do not constrain.
    static let conditionsMax = 256
    /// More distinct columns or casts are forwarded.
    static let namesMax = 4096
}
