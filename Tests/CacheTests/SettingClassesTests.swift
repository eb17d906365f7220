import PGProtocol
import Testing

@testable import Cache

private let catalog = FixtureCatalog()

private func query(_ text: String, types: [UInt32] = [], custom: Set<String> = []) -> ResolvedQuery? {
    let resolution = parse(text).resolved(
        with: catalog, declaredTypes: types.map { OID($0) }, customSettings: custom) { _ in true }
    if case .cacheable(let query) = resolution { return query }
    return nil
}

/// Which settings a statement depends on [K1], and which columns it names [P1].
@Suite struct SettingClassesTests {
    static let dependencies: [(String, SettingClasses)] = [
        ("select id, name from t", []), ("select count(*) from t", []),
        ("select id from t where name = 'x' and b > 5 order by code limit 3", []),
        ("select upper(name), price, key, flag, o, s from t where code like 'a%'", []),
        ("select coalesce(name, 'x'), case when a = 1 then 'y' else code end, nullif(a, 1) from t", []),
        ("select sum(a), count(b), min(name), max(price) from t group by code having count(*) > 1", []),
        ("select name || code, a + 1, -a, not flag, (a, b) from t", []),
        ("select a::text, name::varchar(5), price::int8 from t", []),
        // What it names, it depends on, wherever it is.
        ("select day from t", .time), ("select id from t where at > $1", .time),
        ("select id from t order by time", .time), ("select count(*) from t group by day", .time),
        ("select * from named_twice", .time), ("select id, day::text from t", .time),
        ("select name || day from t", .time), ("select concat(at) from t", .time),
        ("select '2020-01-01'::date, id from t", .time), ("select interval '1 day', id from t", .time),
        ("select 1::float8, id from t", .float), ("select name::real from t", .float),
        ("select '\\x00'::bytea from t", [.bytes, .strings]),
        // What is made of plain values and is not plain.
        ("select abs(a) from t", .float), ("select a ^ 2 from t", .all), ("select + '0.1', id from t", .all),
        ("select to_char(a, '9') from t", .all), ("select md5(name) from t", []),
        // Arrays are read as array_nulls says.
        ("select id from t where a = any('{1,null}')", .rest), ("select id from t where a = any($1)", .rest),
        ("select array[a, b] from t", .rest), ("select name::int[] from t", .rest),
        ("select id from t where a in (1, 2)", []), ("select day::_date from t", [.time, .rest]),
        // How strings are read.
        (#"select id from t where name = 'a\b'"#, .strings), (#"select id from t where name = e'a\n'"#, .strings),
        ("select id from t where name = u&'abc'", .strings), ("select id from t where name = 'a&b'", []),
        ("select id from t where name = 'a' and code = '&'", []),
    ]

    @Test(arguments: dependencies)
    func aStatementDependsOnTheTypesInIt(text: String, expected: SettingClasses) throws {
        let text = text.replacing("named_twice", with: "(select 1)")
        guard let query = query(text) else {
            #expect(text.contains("(select 1)"), "\(text) is not cacheable")
            return
        }
        #expect(query.classes == expected, "\(text)")
    }

    @Test func declaredTypesCount() throws {
        #expect(try #require(query("select id from t where a = $1", types: [23])).classes == [])
        #expect(try #require(query("select id from t where a = $1", types: [0])).classes == [])
        #expect(try #require(query("select $1, id from t", types: [1184])).classes == .time)
        #expect(try #require(query("select id from t where a = any($1)", types: [1007])).classes == .rest)
        #expect(try #require(query("select $1, id from t", types: [600])).classes == .all)
    }

    @Test func whatIsNotListedDependsOnEverything() {
        for type in [600, 790, 142, 3614, 3904, 4072, 30_000, 1266] as [UInt32] {
            #expect(SettingClasses.ofType(OID(type)) == .all, "\(type)")
        }
        #expect(SettingClasses.ofType(OID(1185)) == [.time, .rest])
        #expect(SettingClasses.ofFunction("format") == .all)
        #expect(SettingClasses.ofFunction("quote_ident") == .all)
        #expect(!SettingClasses.all.contains(.custom))
        for (name, classes) in zip(Profile.settings, Profile.classes) where classes == nil {
            #expect(["client_encoding", "client_min_messages", "operator_precedence_warning"].contains(name))
        }
    }

    @Test func projectionsLeaveOutWhatNobodyDependsOn() throws {
        let utc = try ProfileTests.reading(["TimeZone": "UTC"]).profile
        let tokyo = try ProfileTests.reading(["TimeZone": "Asia/Tokyo"]).profile
        let debug = try ProfileTests.reading(["client_min_messages": "debug1"]).profile
        let elsewhere = try ProfileTests.reading(["TimeZone": "UTC", "schemas": "{pg_catalog,app}"]).profile
        #expect(Projection(utc, on: []) == Projection(tokyo, on: []))
        #expect(Projection(utc, on: .float) == Projection(tokyo, on: .float))
        #expect(Projection(utc, on: .time) != Projection(tokyo, on: .time))
        #expect(Projection(utc, on: .all) != Projection(tokyo, on: .all))
        #expect(Projection(utc, on: []) != Projection(debug, on: []))
        #expect(Projection(utc, on: .all) == Projection(elsewhere, on: .all))
        var projections = Projections(max: 3)
        let first = projections.intern(utc, 0, on: [])
        #expect(first != nil && projections.intern(tokyo, 1, on: []) == first)
        let second = projections.intern(utc, 0, on: .time)
        #expect(second != nil && second != first && projections.intern(utc, 0, on: .time) == second)
        #expect(projections.intern(tokyo, 1, on: .time) == nil, "no place")
    }

    // MARK: Columns [P1]

    static let named: [(String, [Int16])] = [
        ("select count(*) from t", []), ("select 1 from t", []),
        ("select id from t where name = 'x' order by b", [1, 3, 6]),
        ("select t.a from t group by code, a having max(price) > 1", [2, 7, 11]),
        ("select case when 1=1 then 0 else s end from t", [4]),
        ("select a as name from t order by name", [2, 6]),
    ]

    @Test(arguments: named)
    func everyColumnThatIsNamedCounts(text: String, numbers: [Int16]) throws {
        #expect(try #require(query(text)).columns.map(\.number).sorted() == numbers, "\(text)")
    }

    @Test func aStarNamesEveryColumnOfItsRelation() throws {
        var catalog = catalog
        catalog.add("short", oid: 20_100) { $0.columns = Array($0.columns[0...2]) }
        catalog.add("other", oid: 20_101) { $0.columns = Array($0.columns[0...3]) }
        func columns(_ text: String) throws -> [String] {
            guard case .cacheable(let query) = parse(text).resolved(with: catalog, allows: { _ in true })
            else { throw CatalogOrigin.Failure(description: "\(text) is not cacheable") }
            return query.columns.map { "\($0.relation.value - 20_100).\($0.number)" }.sorted()
        }
        #expect(try columns("select * from short") == ["0.1", "0.2", "0.3"])
        #expect(try columns("select short.* from short, other") == ["0.1", "0.2", "0.3"])
        #expect(try columns("select x.* from short, other x") == ["1.1", "1.2", "1.3", "1.4"])
        #expect(try columns("select * from short s, other x").count == 7)
        #expect(try columns("select 1 from short join other using (id)") == ["0.1", "1.1"])
        #expect(try columns("select 1 from short natural join other").count == 7)
        #expect(try columns("select s.id from short s join other x on s.a = x.b") == ["0.1", "0.2", "1.3"])
    }

    // MARK: Settings of an application [K4]

    @Test func onlyDeclaredSettingsAreRead() throws {
        let text = "select id from t where name = current_setting('app.tenant', true)"
        #expect(query(text) == nil)
        #expect(query(text, custom: ["app.other"]) == nil)
        #expect(try #require(query(text, custom: ["app.tenant"])).classes == .custom)
        let upper = "select current_setting('App.Tenant'), day from t"
        #expect(try #require(query(upper, custom: ["app.tenant"])).classes == [.custom, .time])
        for text in [
            "select current_setting(name) from t", "select current_setting('app.' || 'tenant') from t",
            "select current_setting('TimeZone') from t", "select current_setting($1) from t",
            "select current_setting('app.tenant'), current_setting('app.x') from t",
            "select current_setting('app.tenan\u{212A}') from t",
        ] {
            #expect(query(text, custom: ["app.tenant", "app.tenank"]) == nil, "\(text)")
        }
    }

    @Test(arguments: [
        ("set app.x = '1'", ["app.x"]), ("set local App.X to 1", ["app.x"]), ("reset app.x", ["app.x"]),
        ("set \"App.X\" = 1", ["app.x"]), ("set app.x to default", ["app.x"]),
        ("select set_config('app.x', 'y', false)", ["app.x"]),
        ("select set_config('app.x', 'y', false), set_config('APP.z', 'y', true)", ["app.x", "app.z"]),
        ("set app.x = 1; set app.y = 2", ["app.x", "app.y"]),
    ] as [(String, Set<String>)])
    func aSettingOfAnApplicationIsTold(text: String, names: Set<String>) {
        let parsed = parse(text)
        #expect(parsed.customSettings == names)
        #expect(!parsed.plainEffect.contains(.changesSession))
        #expect(parsed.effect.contains(.changesSession))
    }

    @Test(arguments: [
        "set timezone = 'UTC'", "reset all", "discard all", "select set_config(name, 'y', false) from t",
        "select set_config('timezone', 'y', false)", "set app.x = 1; set timezone = 'UTC'",
        "select set_config('app.x', 'y', false), set_config('role', 'y', false)",
        "select set_config(setting_name => 'app.x', new_value => 'y', is_local => false)", "set role app",
    ])
    func anythingElseChangesTheSession(text: String) {
        #expect(parse(text).plainEffect.contains(.changesSession))
    }

    @Test func namesOfCustomSettings() {
        for name in ["app.x", "a.b.c", "my_app.user$id", "_a._b", "app.x1"] { #expect(Profile.isCustomName(name)) }
        for name in ["timezone", "", ".", "a.", ".b", "a..b", "App.x", "a.'b", "a.\\b", "1a.b", "a.é", "a b.c"] {
            #expect(!Profile.isCustomName(name), "\(name)")
        }
        #expect(SQLText.libraries("\"$libdir/plugins/My_Lib.so\", auto_explain,, x") == ["my_lib", "auto_explain", "x"])
        #expect(SQLText.libraries("") == [])
    }

    // MARK: Tables that run code [K3]

    @Test(arguments: [
        ("insert into t (a) values (1)", false), ("insert into loud (a) values (1)", true),
        ("update loud set a = 1", true), ("delete from loud", true), ("truncate loud", true),
        ("truncate t", false), ("truncate t, loud", true), ("truncate t cascade", true),
        ("copy loud from stdin", true), ("copy t from stdin", false), ("copy loud to stdout", false),
        ("merge into loud using t on loud.id = t.id when matched then delete", true),
        ("explain analyze insert into loud (a) values (1)", true), ("select a from loud", false),
        ("with x as (insert into loud (a) values (1)) select 1", true), ("insert into parted values (1)", false),
        ("insert into parent values (1)", false), ("insert into offspring values (1)", true),
        ("insert into v1 values (1)", true),
        ("insert into foreign_one values (1)", true), ("insert into custom (a) values (1)", true),
        ("update pg_class set relname = 'x'", false), ("update settings set setting = 'x'", true),
        ("insert into absent values (1)", false), ("insert into later values (1)", true),
    ])
    func writingToATableThatRunsCode(text: String, isUnknown: Bool) {
        var catalog = catalog
        catalog.add("loud", oid: 20_102) { $0.runsCode = true }
        catalog.add("settings", schema: "pg_catalog", oid: 12_100) { $0.kind = UInt8(ascii: "v") }
        let aliases = ["settings": "pg_catalog.settings", "pg_class": "pg_catalog.pg_class"]
        var text = text
        for (name, full) in aliases where text.contains("update \(name)") { text.replace(name, with: full) }
        switch parse(text).resolved(with: catalog, allows: { _ in true }) {
        case .needs: #expect(text.contains("later"))
        case .forward(_, let callsUnknownCode): #expect(callsUnknownCode == isUnknown, "\(text)")
        case .cacheable: #expect(!isUnknown, "\(text)")
        }
    }

    @Test func whatThereIsNoRoomForMayDoAnything() {
        struct Full: CatalogLookup {
            func relation(_ name: RelationName) -> RelationLookup { .unknowable }
            func functions(named name: String) -> [FunctionFact] { catalog.functions(named: name) }
            func hasUserOperator(named name: String) -> Bool { false }
            func isUserType(named name: String) -> Bool { false }
        }
        for text in ["select a from t", "insert into t values (1)"] {
            guard case .forward(_, true) = parse(text).resolved(with: Full(), allows: { _ in true }) else {
                Issue.record("\(text) is taken for harmless")
                continue
            }
        }
    }

    /// More names than are listed: one of the others could be `random`.
    @Test func aStatementWithTooManyNamesIsForwarded() {
        let calls = (0...Mentions.namesMax).map { "concat(\(repeatElement("a", count: $0).joined(separator: ",")))" }
        let text = "select " + calls.joined(separator: ", ") + ", random() from t"
        guard case .forward(_, callsUnknownCode: true) = parse(text).resolved(with: catalog, allows: { _ in true })
        else {
            Issue.record("a call that is not listed was overlooked")
            return
        }
    }
}
