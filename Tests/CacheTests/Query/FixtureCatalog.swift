import Cache
import PGProtocol

/// A small origin: relations `t`, `u`, `v` alike, and one of each kind that is not cacheable.
struct FixtureCatalog: CatalogLookup {
    var relations: [RelationName: Relation] = [:]
    var functions: [String: [FunctionFact]] = [:]
    var userOperators: Set<String> = ["<+>", "~~~"]
    var userTypes: Set<String> = ["mood", "_mood", "money_amount"]
    var notLoaded: Set<String> = ["later", "soon"]
    var foreignTextSearch: ForeignTextSearch = []

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
        ("key", 2950, .uuid), ("flag", 16, .boolean), ("price", 1700, .numeric),
        ("day", 1082, .date), ("at", 1184, .timestampWithZone), ("clock", 1266, .opaque),
        ("doubled", 23, .integer), ("fixed", 1042, .opaque), ("time", 1083, .opaque),
        ("c", 23, .integer), ("noted", 1114, .timestamp),
    ]

    init() {
        for (index, name) in ["t", "u", "v"].enumerated() { add(name, oid: UInt32(20000 + index)) }
        add("v1", oid: 20010) { $0.kind = UInt8(ascii: "v") }
        add("offspring", oid: 20025) { $0.isInherited = true }
        let offspring = relations[RelationName(schema: "public", name: "offspring")]
        add("parent", oid: 20011) { $0.descendants = offspring.map { [$0] } ?? [] }
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
        addFamilies()
        addViews()
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

    /// `m` and `n` are like `t`, without a time zone; `family` is inherited by what `leafy` is partitioned into.
    private mutating func addFamilies() {
        for (index, name) in ["m", "n"].enumerated() {
            add(name, oid: UInt32(20030 + index)) { $0.columns[13].type = OID(1083) }
        }
        for index in 0..<8 { add("x\(index)", oid: UInt32(20100 + index)) }
        add("child", oid: 20061) {
            let extra = Column(
                name: "extra", number: 1, type: OID(23), kind: .integer, isGenerated: false, isNotNull: false)
            $0.columns.insert(extra, at: 0)
        }
        let child = relations[RelationName(schema: "public", name: "child")]
        for (name, oid, kind) in [("family", 20060, "r"), ("leafy", 20062, "p")] as [(String, UInt32, Unicode.Scalar)] {
            add(name, oid: oid) {
                $0.kind = UInt8(ascii: kind)
                $0.isInherited = true
                $0.descendants = child.map { [$0] } ?? []
            }
        }
    }

    private mutating func addViews() {
        func addView(_ name: String, _ oid: UInt32, _ columns: [Int], owner: String?, _ text: String) {
            add(name, oid: oid) {
                $0.kind = UInt8(ascii: "v")
                $0.columns = zip(["x", "y", "a", "at"], columns).enumerated().map { index, pair in
                    let (_, type, kind) = Self.columns[pair.1]
                    return Column(
                        name: pair.0, number: Int16(index + 1), type: OID(type), kind: kind, isGenerated: false,
                        isNotNull: false)
                }
                $0.primaryKey = []
                $0.view = ViewDefinition(statement: parse(text), owner: owner)
            }
        }
        addView(
            "m_view", 20051, [1, 2, 1, 12], owner: nil,
            "select m.a as p, m.b, m.a as q, m.at from public.m where m.b = 7")
        addView(
            "outer_view", 20052, [1, 2], owner: "bob",
            "select v.x, n.a from public.n left join public.m_view v on true")
        addView(
            "sum_view", 20053, [1], owner: "bob", "select max(m.a) as x from public.m where m.b = 7 group by m.name")
        addView("random_view", 20054, [1], owner: "bob", "select m.a from public.m where random() > 1")
        addView("mine_view", 20055, [1], owner: "bob", "select public.mine(m.a) from public.m")
        addView("now_view", 20056, [1], owner: "bob", "select m.a from public.m where m.at > now()")
        addView("quick_view", 20057, [1], owner: "bob", "select q.a from public.quick q")
        addView("soon_view", 20058, [1], owner: "bob", "select s.a from soon s")
        addView("endless_view", 20059, [1], owner: "bob", "select x from public.endless_view")
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
        case .parameter(let number): return "$\(number)"
        case .constant(.integer(let value)), .promoted(.integer(let value)): return "\(value)"
        case .constant(.bytes(let bytes)), .promoted(.bytes(let bytes)):
            switch constraint.kind {
            case .uuid: return "uuid:\(bytes[0])"
            case .numeric: return "#" + bytes.map(String.init).joined(separator: ".")
            default: return "'\(String(decoding: bytes, as: UTF8.self))'"
            }
        }
    }
    let name = FixtureCatalog.columns[constraint.column].0
    switch constraint.test {
    case .among(let operands) where operands.count == 1: return "\(name)=\(operand(operands[0]))"
    case .among(let operands):
        return "\(name) in (\(operands.map(operand).joined(separator: ", ")))"
    case .elements(let number): return "\(name)=any($\(number))"
    case .symmetric(let one, let other): return "\(name) between symmetric \(operand(one)) and \(operand(other))"
    case .like(let pattern): return "\(name) like \(operand(pattern))"
    case .range(let lower, let upper):
        let low = lower.map { operand($0.operand) + ($0.isInclusive ? "<=" : "<") } ?? ""
        let high = upper.map { ($0.isInclusive ? "<=" : "<") + operand($0.operand) } ?? ""
        return low + name + high
    case .isNull: return "\(name) is null"
    case .isNotNull: return "\(name) is not null"
    }
}
