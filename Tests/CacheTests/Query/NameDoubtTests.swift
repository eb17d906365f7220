import PGProtocol
import Testing

@testable import Cache

/// Functions of users' whose bodies can be read: a call is as good as its body.
@Suite struct NameDoubtTests {
    private var catalog = FixtureCatalog()

    private mutating func add(
        _ name: String, _ volatility: Unicode.Scalar, _ source: String, types: [UInt32] = [23, 23],
        isDefinition: Bool = false, schema: String = "app"
    ) {
        let number = UInt32(31_000 + catalog.functions.values.reduce(0) { $0 + $1.count })
        catalog.add(function: name, volatility) {
            $0.oid = OID(number)
            $0.schema = schema
            $0.body = FunctionBody(source: source, isDefinition: isDefinition, types: types.map { OID($0) })
        }
    }

    init() {
        catalog.add("orders", oid: 20_200)
        catalog.add("plain", oid: 20_202) { relation in relation.columns.removeAll { $0.name == "clock" } }
        let plain = catalog.relations[RelationName(schema: "public", name: "plain")]
        catalog.add("tree", oid: 20_203) { relation in
            relation.columns.removeAll { $0.name == "clock" }
            relation.descendants = plain.map { [$0] } ?? []
        }
        add("twice", "i", "select $1 + $1")
        add("twice_atomic", "i", "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN (a + a)", isDefinition: true)
        add(
            "block", "s",
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT id FROM public.plain; END",
            isDefinition: true)
        add("name_of", "s", "select name from plain where id = $1", types: [25, 23])
        add("of_tree", "s", "select name from tree where id = $1", types: [25, 23])
        add("frozen", "i", "select name from plain where id = $1", types: [25, 23])
        add("late", "v", "select name from plain where id = $1", types: [25, 23])
        add("harmless", "v", "select $1 * 2")
        add("outer", "s", "select twice(a) from plain")
        add("chain", "s", "select app.name_of($1)")
        add("late_chain", "v", "select app.name_of($1)")
        add("immutable_chain", "i", "select app.chain($1)")
        add("itself", "s", "select itself($1 - 1)")
        add("dice", "v", "select random()")
        add("clock_of", "s", "select 'now'::timestamptz", types: [1184])
        add("day_of", "s", "select $1::date", types: [1082, 25])
        add("day_of_text", "s", "select date($1)", types: [1082, 25])
        add("fixed_day", "s", "select '2020-01-01'::date", types: [1082])
        add("formatted", "i", "select to_char($1, 'YYYY')", types: [25, 1184])
        add("formatted_stable", "s", "select to_char($1, 'YYYY')", types: [25, 1184])
        add("timed", "s", "select $1", types: [1266, 1266])
        add("of_setting", "s", "select current_setting('app.x')", types: [25])
        add("of_class", "s", "select $1::regclass::text", types: [25, 26])
        add("with_operator", "s", "select $1 <+> 1")
        add("with_type", "s", "select $1::mood", types: [25])
        add("of_view", "s", "select id from v1")
        add("of_secret", "s", "select id from secret")
        add("of_catalog", "s", "select oid from pg_catalog.pg_class")
        add("of_absent", "s", "with absent as (select 1) select * from absent")
        add("of_later", "s", "select id from later")
        add("of_clock", "s", "select id from orders")
        add("locks", "s", "select id from plain for update")
        add("sets", "s", "select set_config('a', 'b', true)")
        add("writes", "v", "insert into plain (id) values (1) returning id")
        add("two", "s", "select 1; select 2")
        add("slashed", "i", "select 'a\\\\b'", types: [25])
        add("unreadable", "i", "selec 1")
        add("make_date", "s", "select $1", types: [25, 25])
        add("field", "s", "select p.mine from plain p")
        add("column_of", "s", "select p.name from plain p", types: [25])
        add("lower", "i", "select $1 || 'x'", types: [25, 23])
    }

    private func resolve(_ text: String) -> Resolution {
        parse(text).resolved(with: catalog, allows: { $0.name != "denied" })
    }

    static let good = [
        "select twice(a) from t", "select app.twice(a) from t", "select twice(twice(a)) from t where twice(b) = 4",
        "select twice_atomic(a) from t", "select harmless(a) from t", "select itself(a) from t",
        "select formatted_stable(at) from t", "select fixed_day() from t", "select lower(name) from t",
        "select app.lower(a) from t",
    ]

    @Test(arguments: good)
    func aBodyThatIsPureIsCacheable(text: String) {
        guard case .cacheable(let query) = resolve(text) else {
            Issue.record("\(text): \(resolve(text))")
            return
        }
        #expect(query.uses.count == 1 && query.classes.isSuperset(of: .all))
        #expect(query.functions.contains { !$0.isBuiltIn }, "a right to execute it is needed [P1]")
    }

    @Test(arguments: [
        ("frozen(a)", .userFunction, false), ("late(a)", .volatileFunction, false),
        ("late_chain(a)", .volatileFunction, false), ("immutable_chain(a)", .userFunction, false),
        ("dice()", .volatileFunction, false), ("clock_of()", .timeDependent, false),
        ("day_of(name)", .timeDependent, false), ("day_of_text(name)", .timeDependent, false),
        ("timed(null)", .timeDependent, false),
        ("of_setting()", .stableFunction, false), ("of_class(1)", .catalogDependent, false),
        ("with_operator(a)", .userOperator, true), ("with_type()", .userType, true),
        ("of_view()", .userFunction, true), ("of_secret()", .userFunction, true),
        ("of_catalog()", .systemCatalog, false), ("of_clock()", .timeDependent, false),
        ("locks()", .userFunction, true), ("sets()", .userFunction, true), ("writes()", .userFunction, true),
        ("two()", .userFunction, true), ("slashed()", .userFunction, true), ("unreadable()", .userFunction, true),
        ("make_date(name)", .userFunction, false), ("field()", .userFunction, true),
        ("pg_catalog.twice(a)", .unknownFunction, true), ("other.twice(a)", .unknownFunction, true),
    ] as [(String, ForwardReason, Bool)])
    func whatIsNotPureForwards(call: String, reason: ForwardReason, callsUnknownCode: Bool) {
        guard case .forward(let found, let calls) = resolve("select \(call) from t") else {
            Issue.record("\(call) was not forwarded")
            return
        }
        #expect(found == reason && calls == callsUnknownCode, "\(call): \(found) \(calls)")
    }

    @Test(arguments: [
        ("name_of(a)", [20_202]), ("chain(a)", [20_202]), ("block(a)", [20_202]), ("outer(a)", [20_202]),
        ("of_tree(a)", [20_203, 20_202]), ("column_of()", [20_202]), ("of_absent()", []),
    ] as [(String, [UInt32])])
    func whatABodyReadsIsRead(call: String, relations: [UInt32]) {
        guard case .cacheable(let query) = resolve("select \(call) from u where id = 1") else {
            Issue.record("\(call): \(resolve("select \(call) from u where id = 1"))")
            return
        }
        #expect(query.uses.first?.relation == OID(20001) && query.uses.first?.constraints.isEmpty == false)
        #expect(query.uses.dropFirst().map(\.relation) == relations.map { OID($0) })
        #expect(query.uses.dropFirst().allSatisfy { $0.constraints.isEmpty && $0.reads == nil })
        #expect(query.isRowForRow == relations.isEmpty)
        // [P1] The caller needs every column of what it reads; not of what is below that.
        guard let first = relations.first else { return }
        let need = query.rights.first { $0.relations == [OID(first)] }
        #expect(need?.role == nil && need?.columns.count == FixtureCatalog.columns.count - 1)
    }

    @Test func whatABodyNamesIsLoadedFirst() {
        guard case .needs(let names) = resolve("select of_later() from t") else {
            Issue.record("nothing was needed")
            return
        }
        #expect(names.map(\.name) == ["later"])
    }

    @Test func anOverloadThatCannotBeReadForwards() {
        var other = catalog
        other.add(function: "twice", "i") {
            $0.oid = OID(32_000)
            $0.schema = "elsewhere"
        }
        guard case .forward(.userFunction, true) = parse("select twice(a) from t").resolved(
            with: other, allows: { _ in true })
        else {
            Issue.record("an overload was overlooked")
            return
        }
        guard case .cacheable = parse("select app.twice(a) from t").resolved(with: other, allows: { _ in true }) else {
            Issue.record("another schema's function is not meant")
            return
        }
    }

    @Test func aRelationThatTheOperatorExcludesIsNotReadByABodyEither() {
        guard case .forward(.notAllowed, false) = parse("select name_of(a) from t").resolved(
            with: catalog, allows: { $0.name != "plain" })
        else {
            Issue.record("it is cached")
            return
        }
    }

    @Test func aChainWithoutEndIsGivenUp() {
        var deep = catalog
        for index in 0..<100 {
            deep.add(function: "step\(index)", "s") {
                $0.oid = OID(UInt32(33_000 + index))
                $0.body = FunctionBody(source: "select step\(index + 1)($1)", isDefinition: false, types: [OID(23)])
            }
        }
        guard case .forward(.userFunction, true) = parse("select step0(a) from t").resolved(
            with: deep, allows: { _ in true })
        else {
            Issue.record("there is no bound")
            return
        }
    }

    // MARK: Text search and records

    @Test(arguments: [
        ("to_tsvector(name)", ForeignTextSearch.configurations), ("name @@ 'x'", .configurations),
    ])
    func textSearchByCodeOfOthersForwards(expression: String, code: ForeignTextSearch) {
        var other = catalog
        guard case .cacheable(let query) = resolve("select \(expression) from t") else {
            Issue.record("\(expression) is forwarded")
            return
        }
        #expect(query.classes.isSuperset(of: .all))
        other.foreignTextSearch = code
        guard case .forward(.catalogDependent, false) = parse("select \(expression) from t").resolved(
            with: other, allows: { _ in true })
        else {
            Issue.record("\(expression) runs code of others")
            return
        }
    }
}
