import PGProtocol
import Testing

@testable import Cache

private let catalog = FixtureCatalog()

private func resolve(_ text: String) -> Resolution { parse(text).resolved(with: catalog) { _ in true } }

private func query(_ text: String) -> ResolvedQuery? {
    if case .cacheable(let query) = resolve(text) { query } else { nil }
}

/// What is read by a statement of several levels, and which of it matters.
@Suite struct LevelsTests {
    // MARK: Constraints of every level

    static let levels: [(String, [String])] = [
        // Each level's WHERE is for its own relations
        ("select 1 from t where a = 1 and exists (select 1 from u where b = 2)", ["t a=1", "u b=2"]),
        ("select 1 from t where not exists (select 1 from u where u.b = 2)", ["t", "u b=2"]),
        ("select 1 from t where a = 1 or b in (select b from u where a = 2)", ["t", "u a=2"]),
        ("select (select max(a) from u where b = 2) from t", ["t", "u b=2"]),
        ("select array(select a from u where b = 2) from t where a = 1", ["t a=1", "u b=2"]),
        ("select 1 from t left join u on u.a in (select v.a from v where v.b = 1)", ["t", "u", "v b=1"]),
        ("select a from t where b = 1 union all select a from u where b = 2", ["t b=1", "u b=2"]),
        ("select a from t where b = 1 except (select a from u where b = 2 intersect select a from v)",
            ["t b=1", "u b=2", "v"]),
        ("select sum(a) from t where b = 1 group by name having sum(a) = 3", ["t b=1"]),
        ("select sum(a) over (partition by b) from t where b = 1 limit 3", ["t b=1"]),
        ("with recursive r as (select a from t where b = 1 union all select u.a from u, r where u.b = 2 and u.a = r.a)"
            + " select * from r where a = 3", ["t b=1", "u b=2"]),
        // A column of a level around constrains nothing here, nor there
        ("select 1 from t where exists (select 1 from u where t.a = 1)", ["t", "u"]),
        ("select 1 from t where exists (select 1 from u where t.a is null and u.a = 1)", ["t", "u a=1"]),
        ("select 1 from t where exists (select 1 from abs(1) g where a = 1)", ["t"]),
        // Into correlated subqueries, from WHERE
        ("select 1 from t where t.b = 1 and exists (select 1 from u where u.b = t.b)", ["t b=1", "u b=1"]),
        ("select 1 from t where t.b = 1 and not exists (select 1 from u where u.b = t.b)", ["t b=1", "u b=1"]),
        ("select (select max(a) from u where u.b = t.b) from t where t.b = 1", ["t b=1", "u b=1"]),
        ("select (select max(a) from u where u.b = x.b) from t x left join v on true where x.b = 1",
            ["t b=1", "v", "u b=1"]),
        ("select 1 from t where t.b = 1 and t.a in (select a from u left join v on v.b = t.b)",
            ["t b=1", "u", "v b=1"]),
        ("select 1 from t, lateral (select a from u where u.b = t.b limit 1) d where t.b = 1", ["t b=1", "u b=1"]),
        ("select 1 from t where t.b = 1 and exists (select 1 from u where exists (select 1 from v where v.b = t.b))",
            ["t b=1", "u", "v b=1"]),
        ("select 1 from t where t.b = 1 and exists (select 1 from u where u.b = t.b"
            + " and exists (select 1 from v where v.b = u.b))", ["t b=1", "u b=1", "v b=1"]),
        ("select 1 from t where t.b = 1 and exists (select 1 from u union select 2 from v where v.b = t.b)",
            ["t b=1", "u", "v b=1"]),
        // Never up
        ("select 1 from t where exists (select 1 from u where u.b = t.b and u.b = 1)", ["t", "u b=1"]),
        ("select 1 from t where exists (select 1 from u where u.b = t.b and t.b = 1)", ["t", "u b=1"]),
        ("select 1 from t where exists (select 1 from u where u.b = t.b) or t.b = 1", ["t", "u"]),
        ("select 1 from t join v on v.b = 1 where exists (select 1 from u where u.b = v.b)", ["t", "v b=1", "u b=1"]),
        ("select 1 from t left join v on v.b = 1 where exists (select 1 from u where u.b = v.b)", ["t", "v b=1", "u"]),
        // Whose column it is
        ("select 1 from t x where x.b = 1 and exists (select 1 from u x where x.b = 2)", ["t b=1", "u b=2"]),
        ("select 1 from t x, v where x.b = 1 and exists (select 1 from u where u.b = x.b)", ["t b=1", "v", "u b=1"]),
        ("select 1 from t where t.b = 1 and exists (select 1 from u, v where u.b = b)", ["t b=1", "u", "v"]),
        ("select 1 from t where exists (select 1 from u join v on t.a = 1 and u.a = 2)", ["t", "u a=2", "v"]),
    ]

    @Test(arguments: levels)
    func eachLevelConstrainsItsOwn(text: String, expected: [String]) {
        #expect(describeUses(text) == expected)
    }

    static let merged: [(String, [String])] = [
        ("select * from (select a, b as x from t where name = 'y') d where d.x = 1", ["t b=1 name='y'"]),
        ("select * from (select * from m where a = 1) d where b = 2", ["m b=2 a=1"]),
        ("select * from (select d.b from (select b from t where a = 1) d) e where e.b = 2", ["t b=2 a=1"]),
        ("select 1 from u join (select a, b from t) d on d.a = u.a where u.a = 1", ["u a=1", "t a=1"]),
        ("select 1 from u left join (select a, b from t where b = 1) d on d.a = u.a where u.a = 1",
            ["u a=1", "t b=1 a=1"]),
        ("select 1 from u left join (select a, b from t where b = 1) d on d.a = 2", ["u", "t a=2 b=1"]),
        ("select 1 from (select a from t) d left join u on d.a = 2", ["u", "t"]),
        ("select 1 from u left join (select a from t) d on true where d.a is null", ["u", "t"]),
        ("select 1 from (select x.a, y.b from t x left join u y on true) d where d.b is null and d.a = 1",
            ["t a=1", "u"]),
        ("select 1 from t, lateral (select u.a from u where u.b = t.b) d where t.b = 1 and d.a = 2",
            ["t b=1", "u a=2 b=1"]),
        ("select 1 from t left join lateral (select t.a as x) d on true where d.x is null", ["t"]),
        ("with x as (select a, b from t) select * from x where b = 1", ["t b=1"]),
        ("with x (p, q) as materialized (select a, b from t) select * from x y where y.q = 1", ["t b=1"]),
        ("with x as (select a, b from t) select 1 from u where exists (select 1 from x where x.b = 1)",
            ["u", "t b=1"]),
        ("select * from (select a, b from t) d (p, q) where q = 1 and d.p = 2", ["t b=1 a=2"]),
        ("select * from t d (p, q) where q = 1 and b = 3", ["t a=1 b=3"]),
        // Not where rows are not rows
        ("select * from (select a, b from t limit 3) d where b = 1", ["t"]),
        ("select * from (select distinct b from t) d where b = 1", ["t"]),
        ("select * from (select b from t group by b) d where b = 1", ["t"]),
        ("select * from (select max(b) as b from t) d where b = 1", ["t"]),
        ("select * from (select b, sum(a) over () from t) d where b = 1", ["t"]),
        ("select * from (select b, generate_series(1, 2) from t) d where b = 1", ["t"]),
        ("select * from (select b from t union all select b from u) d where b = 1", ["t", "u"]),
        ("with x as (select b from t) select * from x, x y where x.b = 1", ["t"]),
        ("with recursive x as (select b from t) select * from x where b = 1", ["t"]),
        ("select * from (select b + 0 as b from t) d where b = 1", ["t"]),
        ("select * from (select a as b, b from t) d where b = 1", ["t"]),
        ("select 1 from t where exists (select 1 from (select t.a as x from u) d where d.x = 1)", ["t", "u"]),
    ]

    @Test(arguments: merged)
    func aSimpleSubqueryIsPartOfItsLevel(text: String, expected: [String]) {
        #expect(describeUses(text) == expected)
    }

    // MARK: Views and what inherits

    @Test(arguments: [
        ("select * from m_view", ["m b=7"]), ("select * from m_view where x = 1", ["m a=1 b=7"]),
        ("select 1 from m_view v where v.a = 1 and v.x in (1, 2)", ["m a=1 a in (1, 2) b=7"]),
        ("select 1 from outer_view where x = 1", ["n", "m a=1 b=7"]),
        ("select 1 from m_view v, m_view w where v.x = 1 and w.x = 2", ["m a=1 b=7", "m a=2 b=7"]),
        ("select 1 from t left join m_view v on v.x = t.a where t.a = 1", ["t a=1", "m b=7 a=1"]),
        ("select 1 from sum_view where x = 1", ["m b=7"]),
    ] as [(String, [String])])
    func aViewIsItsQuery(text: String, expected: [String]) {
        #expect(describeUses(text) == expected)
    }

    @Test func aViewIsReadByItsOwner() {
        let owned = query("select x from outer_view where y = 1")
        #expect(owned?.rights.map(\.role) == [nil, "bob"])
        // What a view with security_invoker reads is read by whoever runs the statement, also inside of another.
        #expect(owned?.rights[0].relations == [OID(20030), OID(20052)])
        #expect(owned?.rights[1].relations == [OID(20031), OID(20051)])
        let columns = [(20031, 2), (20051, 1)].map { ColumnName(relation: OID($0.0), number: $0.1) }
        #expect(owned?.rights[1].columns == Set(columns))
        let invoker = query("select x from m_view")
        #expect(invoker?.rights.map(\.role) == [nil])
        #expect(invoker?.rights[0].relations == [OID(20030), OID(20051)])
    }

    @Test(arguments: [
        ("select * from random_view", .volatileFunction, false), ("select * from mine_view", .userFunction, true),
        ("select * from now_view", .timeDependent, false), ("select * from quick_view", .unlogged, false),
        ("select 1 from t where a in (select x from mine_view)", .userFunction, true),
        ("insert into t select * from mine_view", .notSelect, true),
        ("select * from endless_view", .tooDeep, false),
    ] as [(String, ForwardReason, Bool)])
    func aViewIsNoBetterThanItsQuery(text: String, reason: ForwardReason, callsUnknownCode: Bool) {
        guard case .forward(let found, let calls) = resolve(text) else {
            Issue.record("\(text) was not forwarded")
            return
        }
        #expect(found == reason && calls == callsUnknownCode)
    }

    @Test func relationsOfAViewAreAskedFor() {
        guard case .needs(let names) = resolve("select * from soon_view") else {
            Issue.record("nothing was needed")
            return
        }
        #expect(names.map(\.name) == ["soon"])
    }

    @Test(arguments: ["select (m).peek from m", "select x.peek from m x", "select peek(m) from m"])
    func whatAFunctionReadsIsAskedFor(text: String) {
        var catalog = catalog
        catalog.add(function: "peek", "s") {
            $0.oid = OID(30010)
            $0.schema = "public"
            $0.body = FunctionBody(source: "select max(s.a) from soon s", isDefinition: false, types: [])
        }
        guard case .needs(let names) = parse(text).resolved(with: catalog, allows: { _ in true }) else {
            Issue.record("nothing was needed")
            return
        }
        #expect(names.map(\.name) == ["soon"])
    }

    @Test func whatInheritsIsReadByName() {
        let family = query("select a from family where b = 1 and name = 'x'")
        #expect(family?.uses.map(\.relation) == [OID(20060), OID(20061)])
        #expect(family?.uses.map { $0.constraints.map(\.column) } == [[2, 5], [3, 6]])
        #expect(family?.uses.map { $0.reads ?? [] } == [[1, 2, 5], [2, 3, 6]])
        #expect(family?.rights.map(\.relations) == [[OID(20060)]])
        #expect(query("select a from only family")?.uses.map(\.relation) == [OID(20060)])
        #expect(query("select a from leafy")?.uses.map(\.relation) == [OID(20061)])
        let doubled = query("select doubled from leafy where a = 1")
        #expect(doubled?.uses.map(\.reads) == [nil])
    }

    // MARK: What is read

    @Test(arguments: [
        ("select a from t where b = 1", [["a", "b"]]), ("select count(*) from t", [[]]),
        ("select 1 from t where exists (select 1 from u where u.a = t.b)", [["b"], ["a"]]),
        ("select 1 from t join u using (a)", [["a"], ["a"]]), ("select a from t, u", [["a"], ["a"]]),
        ("select d.a from (select a, b from t) d", [["a", "b"]]),
        ("select name from t order by price", [["name", "price"]]),
        ("select 1 from t, u where t.id = u.a and t.id = 1", [["id"], ["a"]]),
        ("select a from t x where exists (select x.b from u x)", [["a", "b"], ["b"]]),
        ("select 1 from t x (p, q) join u y (q) using (q)", [["a"], ["id"]]),
    ] as [(String, [[String]])])
    func columnsThatAreRead(text: String, expected: [[String]]) {
        let found = query(text)?.uses.map { use in
            (use.reads ?? []).sorted().map { FixtureCatalog.columns[$0].0 }
        }
        #expect(found == expected)
    }

    @Test func aGeneratedColumnAndARowReadAll() {
        #expect(query("select doubled from t")?.uses[0].reads == nil)
        #expect(query("select * from m")?.uses[0].reads == nil)
        #expect(query("select a from t")?.uses[0].reads == [1])
        #expect(query("select m from m")?.classes == .all)
    }

    /// `t a=1 b=2` for each use.
    private func describeUses(_ text: String) -> [String]? {
        query(text)?.uses.map { use in
            let name = catalog.relations.values.first { $0.oid == use.relation }?.name ?? "?"
            return ([name] + use.constraints.map(describe)).joined(separator: " ")
        }
    }
}
