import Cache
import PGProtocol

/// A small origin: relations `t`, `u`, `v` alike, and one of each kind that is not cacheable.
struct FixtureCatalog: CatalogLookup {
    var relations: [RelationName: Relation] = [:]
    var functions: [String: [FunctionFact]] = [:]
    var userOperators: Set<String> = ["<+>", "~~~"]
    var userTypes: Set<String> = ["mood", "_mood", "money_amount"]
    var notLoaded: Set<String> = ["later", "soon"]

    func relation(_ name: RelationName) -> RelationLookup {
        if notLoaded.contains(name.name) { return .unknown }
        let found = relations[name] ?? (name.schema == nil
            ? relations[RelationName(schema: "public", name: name.name)] : nil)
        return found.map { .found($0) } ?? .absent
    }
    func functions(named name: String) -> [FunctionFact] { functions[name] ?? [] }
    func hasUserOperator(named name: String) -> Bool { userOperators.contains(name) }
    func isUserType(named name: String) -> Bool { userTypes.contains(name) }

    static let columns: [(String, UInt32, ValueKind)] = [
        ("id", 23, .integer), ("a", 23, .integer), ("b", 20, .integer), ("s", 21, .integer),
        ("o", 26, .integer), ("name", 25, .text), ("code", 1043, .text), ("label", 25, .opaque),
        ("key", 2950, .uuid), ("flag", 16, .boolean), ("price", 1700, .opaque),
        ("day", 1082, .opaque), ("at", 1184, .opaque), ("clock", 1266, .opaque),
        ("doubled", 23, .integer), ("fixed", 1042, .opaque), ("time", 1083, .opaque),
        ("c", 23, .integer),
    ]

    init() {
        for (index, name) in ["t", "u", "v"].enumerated() { add(name, oid: UInt32(20000 + index)) }
        add("v1", oid: 20010) { $0.kind = UInt8(ascii: "v") }
        add("parent", oid: 20011) { $0.isInherited = true }
        add("parted", oid: 20012) { $0.kind = UInt8(ascii: "p") }
        add("foreign_one", oid: 20013) { $0.kind = UInt8(ascii: "f") }
        add("matview", oid: 20014) { $0.kind = UInt8(ascii: "m") }
        add("quick", oid: 20015) { $0.persistence = UInt8(ascii: "u") }
        add("temporary", oid: 20016) { $0.persistence = UInt8(ascii: "t") }
        add("secret", oid: 20017) { $0.hasRowSecurity = true }
        add("ruled", oid: 20018) { $0.hasRules = true }
        add("custom", oid: 20019) { $0.hasOnlyKnownTypes = false }
        add("keyless", oid: 20020) { $0.primaryKey = [] }
        add("nothing", oid: 20021) { $0.replicaIdentity = UInt8(ascii: "n") }
        add("whole", oid: 20022) {
            $0.replicaIdentity = UInt8(ascii: "f")
            $0.primaryKey = []
        }
        add("named", oid: 20023) { $0.columns[1].type = OID(2205) }
        add("denied", oid: 20024)
        add("pg_class", schema: "pg_catalog", oid: 1259)
        add("tables", schema: "information_schema", oid: 13000) { $0.kind = UInt8(ascii: "v") }
        for name in ["lower", "upper", "abs", "coalesce_x", "btrim", "like_escape", "md5"] {
            add(function: name, "i")
        }
        for name in ["count", "sum", "min", "max", "string_agg", "array_agg"] {
            add(function: name, "i") { $0.isAggregate = true }
        }
        for name in ["to_char", "concat", "date_trunc", "extract", "timezone", "date", "timestamptz",
            "now", "current_setting", "version", "jsonb_build_object", "to_tsvector", "age",
            "pg_typeof", "statement_timestamp", "timetz", "interval_pl_timetz"]
        { add(function: name, "s") }
        for name in ["random", "nextval", "set_config", "query_to_xml", "timeofday"] {
            add(function: name, "v")
        }
        add(function: "rank", "i") { $0.isWindow = true }
        add(function: "generate_series", "i") { $0.returnsSet = true }
        add(function: "overloaded", "i")
        add(function: "overloaded", "s")
        add(function: "mine", "i") { $0.oid = OID(30000); $0.schema = "public" }
        add(function: "substr", "i")
        add(function: "substr", "i") { $0.oid = OID(30001); $0.schema = "app" }
        add(function: "_pg_char_max_length", "i") { $0.schema = "information_schema" }
    }

    mutating func add(
        _ name: String, schema: String = "public", oid: UInt32,
        _ change: (inout Relation) -> Void = { _ in }
    ) {
        let columns = Self.columns.enumerated().map { index, column in
            Column(
                name: column.0, number: Int16(index + 1), type: OID(column.1), kind: column.2,
                isGenerated: column.0 == "doubled", isNotNull: column.0 == "id")
        }
        var relation = Relation(
            oid: OID(oid), schema: schema, name: name, kind: UInt8(ascii: "r"),
            persistence: UInt8(ascii: "p"), hasRowSecurity: false, isInherited: false,
            hasRules: false, replicaIdentity: UInt8(ascii: "d"), columns: columns, primaryKey: [0],
            identityColumns: [0], hasOnlyKnownTypes: true)
        change(&relation)
        relations[RelationName(schema: schema, name: name)] = relation
    }

    mutating func add(
        function name: String, _ volatility: Unicode.Scalar,
        _ change: (inout FunctionFact) -> Void = { _ in }
    ) {
        var fact = FunctionFact(
            oid: OID(UInt32(1000 + functions.count)), schema: "pg_catalog",
            volatility: UInt8(ascii: volatility))
        change(&fact)
        functions[name, default: []].append(fact)
    }
}

/// A constraint in the words of the tests: `a=1`, `b in (1, 2)`, `1<=a<5`, `a is null`.
func describe(_ constraint: Constraint) -> String {
    func operand(_ operand: Constraint.Operand) -> String {
        switch operand {
        case .parameter(let number): "$\(number)"
        case .constant(.integer(let value)): "\(value)"
        case .constant(.bytes(let bytes)):
            constraint.kind == .uuid
                ? "uuid:\(bytes[0])" : "'\(String(decoding: bytes, as: UTF8.self))'"
        }
    }
    let name = FixtureCatalog.columns[constraint.column].0
    switch constraint.test {
    case .among(let operands) where operands.count == 1: return "\(name)=\(operand(operands[0]))"
    case .among(let operands):
        return "\(name) in (\(operands.map(operand).joined(separator: ", ")))"
    case .range(let lower, let upper):
        let low = lower.map { operand($0.operand) + ($0.isInclusive ? "<=" : "<") } ?? ""
        let high = upper.map { ($0.isInclusive ? "<=" : "<") + operand($0.operand) } ?? ""
        return low + name + high
    case .isNull: return "\(name) is null"
    case .isNotNull: return "\(name) is not null"
    }
}
