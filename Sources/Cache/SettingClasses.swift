import PGProtocol

/// The settings that can alter one statement's answer, by classes: only these split its entries [K1].
///
/// What an answer shows, and what a statement compares, are values of types; a setting acts where a value becomes
/// text or text becomes a value. So a statement depends on the classes of the types that can occur in it, and a type
/// can come into it only by
/// - a column that it names, by `*` included;
/// - a cast, or a declared type of a parameter;
/// - the result of a function, of which only those count as plain that return nothing but what they are given, or
///   a plain type; every other function depends on all classes;
/// - the result of an operator, under the same rule: `^` makes double precision of integers, so it is not plain;
/// - a constant or a parameter without a type, which takes the type of what it meets. Alone it is text. The
///   grammar's exceptions are `= ANY('{…}')`, which makes an array of it, and a sign in front of it, which makes it
///   double precision.
///
/// CASE, COALESCE, GREATEST, UNION and the like give one of the types they are given (manual, 10.5). A composite value
/// `ROW(a, b)` is written by the output functions of its columns. Domains are written and read like what they are
/// over; an enum's text depends on nothing; arrays are read as `array_nulls` says.
public struct SettingClasses: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Dates, times and intervals, in and out.
    static let time = SettingClasses(rawValue: 1)
    /// real and double precision, out.
    static let float = SettingClasses(rawValue: 2)
    /// bytea, out.
    static let bytes = SettingClasses(rawValue: 4)
    /// Where constants end and what a backslash in them means; the warnings about both.
    static let strings = SettingClasses(rawValue: 8)
    /// Arrays that are read, money, XML, text search, the patterns of to_char, and whatever has no class of its own.
    static let rest = SettingClasses(rawValue: 16)
    /// Settings of the application that the operator has declared [K4].
    public static let custom = SettingClasses(rawValue: 32)

    /// What names mean that are looked up along the search path when the statement is analyzed or runs: functions and
    /// types of users, configurations of text search. Relations are compared one by one instead.
    static let path = SettingClasses(rawValue: 64)

    /// Everything but `custom`, which only `current_setting` reads, and `path`.
    public static let all: SettingClasses = [.time, .float, .bytes, .strings, .rest]

    /// The class of a setting of `Profile.settings`; nil where every statement depends on it: what the client's bytes
    /// mean, and which notices it is sent, on `debug1` with any statement at all.
    static func ofSetting(_ name: String) -> SettingClasses? {
        switch name {
        case "TimeZone", "timezone_abbreviations", "DateStyle", "IntervalStyle", "lc_time": .time
        case "extra_float_digits": .float
        case "bytea_output": .bytes
        case "standard_conforming_strings", "backslash_quote", "escape_string_warning": .strings
        case "client_encoding", "client_min_messages", "operator_precedence_warning": nil
        default: .rest
        }
    }

    /// The classes of a type by its number in pg_type.dat. An enum goes by `anyenum`.
    static func ofType(_ type: OID) -> SettingClasses {
        if let classes = byType[type.value] { return classes }
        // A configuration or dictionary is written with its schema where the path does not lead to it.
        if [3734, 3735, 3769, 3770].contains(type.value) { return [.all, .path] }
        // Only reading an array depends on a setting of its own; what is in it is written like its elements.
        if let element = elements[type.value] { return ofType(OID(element)).union(.rest) }
        return .all
    }

    /// The classes of a type by the name that a cast gives it.
    static func ofType(named name: ParsedTypeName) -> SettingClasses {
        let isArray = name.isArray || name.name.hasPrefix("_")
        guard let type = byName[String(name.name.drop { $0 == "_" })] else { return [.all, .path] }
        return isArray ? ofType(OID(type)).union(.rest) : ofType(OID(type))
    }

    /// What calling a function of this name adds to the classes of its arguments.
    static func ofFunction(_ name: String) -> SettingClasses {
        if plainFunctions.contains(name) { return [] }
        // They make double precision of integers, and of text without a type.
        if numericFunctions.contains(name) { return .float }
        if name == "current_setting" { return .custom }
        return Volatility.textSearch(name).isEmpty ? .all : [.all, .path]
    }

    /// What an operator of this name adds: nothing where all results are of plain types, or of a type that is given.
    static func ofOperator(_ name: String) -> SettingClasses {
        if plainOperators.contains(name) { return [] }
        return Volatility.textSearch(name).isEmpty ? .all : [.all, .path]
    }

    static let anyEnum = OID(3500)

    // MARK: Lists

    private static let byType: [UInt32: SettingClasses] = {
        var classes: [UInt32: SettingClasses] = [
            17: .bytes, 700: .float, 701: .float,
            1082: .time, 1083: .time, 1114: .time, 1184: .time, 1186: .time,
        ]
        for type in [
            16, 18, 19, 20, 21, 23, 25, 26,  // bool, char, name, int8, int2, int4, text, oid
            114, 3802,  // json, jsonb: kept as they came, and of plain values
            650, 774, 829, 869,  // cidr, macaddr8, macaddr, inet
            1042, 1043, 1560, 1562, 1700, 2950, 3500,  // bpchar, varchar, bit, varbit, numeric, uuid, enums
        ] as [UInt32] {
            classes[type] = []
        }
        return classes
    }()

    /// Array types with their elements.
    private static let elements: [UInt32: UInt32] = [
        1000: 16, 1001: 17, 1002: 18, 1003: 19, 1016: 20, 1005: 21, 1007: 23, 1009: 25, 1028: 26, 199: 114,
        3807: 3802, 651: 650, 775: 774, 1040: 829, 1041: 869, 1014: 1042, 1015: 1043, 1561: 1560, 1563: 1562,
        1231: 1700, 2951: 2950, 1021: 700, 1022: 701, 1182: 1082, 1183: 1083, 1115: 1114, 1185: 1184,
        1187: 1186,
    ]

    private static let byName: [String: UInt32] = [
        "bool": 16, "bytea": 17, "char": 18, "name": 19, "int8": 20, "int2": 21, "int4": 23, "text": 25,
        "oid": 26, "json": 114, "jsonb": 3802, "cidr": 650, "macaddr8": 774, "macaddr": 829, "inet": 869,
        "bpchar": 1042, "varchar": 1043, "bit": 1560, "varbit": 1562, "numeric": 1700, "uuid": 2950,
        "float4": 700, "float8": 701, "date": 1082, "time": 1083, "timestamp": 1114, "timestamptz": 1184,
        "interval": 1186,
    ]

    /// No overload returns a type that depends on a setting unless it is given one; a test asks PostgreSQL.
    static let plainFunctions: Set<String> = [
        "count", "sum", "min", "max", "avg", "bool_and", "bool_or", "every", "bit_and", "bit_or", "mod",
        "lower", "upper", "initcap", "length", "char_length", "character_length", "octet_length", "bit_length",
        "btrim", "ltrim", "rtrim", "substring", "substr", "replace", "left", "right", "lpad", "rpad", "position",
        "strpos", "split_part", "repeat", "reverse", "ascii", "chr", "md5", "to_hex", "translate", "starts_with",
        "concat", "concat_ws", "string_agg", "like_escape", "similar_to_escape",
    ]

    static let numericFunctions: Set<String> = [
        "abs", "round", "ceil", "ceiling", "floor", "trunc", "sign", "sqrt", "power", "pow", "exp", "ln", "log",
    ]

    static let plainOperators: Set<String> = [
        "=", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||",
        "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*", "^@",
        "->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&",
    ]
}
