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
    public var explainCall = ExplainCall.none

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
    /// The same behind a value: `(value).name`.
    public internal(set) var valueFields: Set<String> = []
    /// There is more in the statement than is listed here.
    public internal(set) var isIncomplete = false

    /// Nothing in the statement is looked up.
    var isEmpty: Bool {
        relations.isEmpty && calls.isEmpty && operators.isEmpty && types.isEmpty && fields.isEmpty
            && valueFields.isEmpty && !isIncomplete
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
    mutating func add(valueField field: String) {
        if valueFields.count < Self.namesMax { valueFields.insert(field) } else { isIncomplete = true }
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
    /// The level whose text it is in: position in `ParsedSelect.levels`.
    public var level = 0

    func moved(to level: Int) -> ParsedColumn {
        ParsedColumn(schema: schema, relation: relation, name: name, level: level)
    }
}

/// Where the value comes from that a cast turns into another type.
public indirect enum ValueSource: Hashable, Sendable {
    case constant
    case parameter
    case column(ParsedColumn)
    /// A date or timestamp for certain, by a cast or by a function that returns nothing else.
    case dateTime
    /// The result of arithmetic: whatever it is, it was not read from a text.
    case computed
    /// The value of one of these.
    case oneOf([ValueSource])
    case other

    func map(_ change: (ParsedColumn) -> ParsedColumn) -> ValueSource {
        switch self {
        case .column(let column): .column(change(column))
        case .oneOf(let sources): .oneOf(sources.map { $0.map(change) })
        case .constant, .parameter, .dateTime, .computed, .other: self
        }
    }
}

/// A cast, or a call with one argument, which is a cast when its name is a type's (manual, 10.3); of `timezone`, which
/// AT TIME ZONE calls, the value that is moved.
public struct ParsedCast: Hashable, Sendable {
    public var type: ParsedTypeName
    public var source: ValueSource
}
