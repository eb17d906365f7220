import PGProtocol
import Testing

@testable import Cache

/// Views, what is below a relation, and bodies of functions, as a real PostgreSQL has them.
@Suite struct CatalogTreesOriginTests {
    let database: CatalogOrigin.Database

    init() throws { database = try CatalogOrigin.shared.get().database() }

    private func found(_ name: String, _ schema: String = "public") throws -> Relation {
        guard case .found(let relation) = try database.relation(schema, name) else {
            throw CatalogOrigin.Failure(description: "\(name) was not found")
        }
        return relation
    }

    @Test func aViewHasItsDefinition() throws {
        let owner = "owner_\(database.name)"
        try database.run(
            """
            CREATE ROLE "\(owner) 1"; CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, "A b" text);
            CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE VIEW v AS SELECT id, lower("A b") AS low FROM app.t WHERE "A b" LIKE 'x%';
            ALTER VIEW v OWNER TO "\(owner) 1";
            CREATE VIEW invoker WITH (security_invoker) AS SELECT app.f(id) FROM v;
            CREATE VIEW definer WITH (security_invoker = off, security_barrier) AS TABLE app.t;
            CREATE VIEW wide AS SELECT id, id AS id2, id AS id3 FROM app.t; CREATE VIEW none AS SELECT FROM app.t;
            CREATE VIEW const AS SELECT 1 AS a; CREATE VIEW now_view AS SELECT current_date AS d, id FROM app.t;
            CREATE MATERIALIZED VIEW m AS SELECT id FROM app.t;
            """)
        let view = try found("v")
        #expect(view.kind == UInt8(ascii: "v") && view.forwardReason == nil && !view.hidesCode && !view.hasRules)
        #expect(view.columns.map(\.name) == ["id", "low"] && view.view?.owner == "\(owner) 1")
        let mentions = try #require(view.view?.statement.mentions)
        #expect(mentions.relations == [RelationName(schema: "app", name: "t")])
        #expect(mentions.calls.map(\.name) == ["lower"] && mentions.operators == ["~~"])
        let invoker = try found("invoker")
        #expect(invoker.view != nil && invoker.view?.owner == nil)
        #expect(invoker.view?.statement.mentions.relations == [RelationName(schema: "public", name: "v")])
        #expect(invoker.view?.statement.mentions.calls.first?.schema == "app")
        #expect(try found("definer").view?.owner == "postgres" && found("none").view?.owner == "postgres")
        #expect(try found("wide").columns.count == 3 && found("wide").view != nil && found("const").view != nil)
        #expect(try found("now_view").view?.statement.body == .forward(.timeDependent))
        #expect(try found("m").view == nil && found("m").forwardReason == .notATable)
        #expect(try found("pg_views", "pg_catalog").view == nil)
        #expect(try found("tables", "information_schema").forwardReason == .systemCatalog)
    }

    @Test func aRelationHasAllThatIsBelowIt() throws {
        try database.run(
            """
            CREATE SCHEMA other; CREATE TABLE root (id int PRIMARY KEY, day date) PARTITION BY RANGE (id);
            CREATE TABLE other.low PARTITION OF root FOR VALUES FROM (0) TO (10);
            CREATE TABLE high (day date, gone int, id int PRIMARY KEY); ALTER TABLE high DROP COLUMN gone;
            ALTER TABLE root ATTACH PARTITION high FOR VALUES FROM (10) TO (20);
            CREATE TABLE mid PARTITION OF root FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (id);
            CREATE UNLOGGED TABLE deep PARTITION OF mid FOR VALUES FROM (20) TO (25);
            CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (b int) INHERITS (parent);
            CREATE TABLE grandchild (c int, PRIMARY KEY (id)) INHERITS (child);
            """)
        let root = try found("root")
        #expect(root.kind == UInt8(ascii: "p") && root.forwardReason == nil && !root.isInherited)
        #expect(Set(root.descendants.map(\.name)) == ["low", "high", "mid", "deep"])
        let below = Dictionary(uniqueKeysWithValues: root.descendants.map { ($0.name, $0) })
        #expect(below["low"]?.schema == "other" && below["low"]?.forwardReason == nil)
        #expect(below["high"]?.columns.map(\.name) == ["day", "id"])
        #expect(below["high"]?.columns.map(\.number) == [1, 3] && below["high"]?.primaryKey == [1])
        #expect(below["mid"]?.forwardReason == nil && below["deep"]?.forwardReason == .unlogged)
        #expect(below.values.allSatisfy { $0.descendants.isEmpty && $0.isInherited })
        #expect(try found("mid").descendants.map(\.name) == ["deep"])
        let leaf = try found("high")
        #expect(leaf.forwardReason == nil && leaf == below["high"], "a leaf by itself is an ordinary relation")
        let parent = try found("parent")
        #expect(parent.descendants.map(\.name) == ["child", "grandchild"] && parent.forwardReason == nil)
        #expect(parent.descendants[0].forwardReason == .noReplicaIdentity)
        #expect(try found("child").descendants.map(\.name) == ["grandchild"])
    }

    /// What is below a relation is found by its number, whether it was asked for by name or not.
    @Test func whatIsBelowIsKnownByItsNumber() throws {
        try database.run(
            """
            CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
            CREATE TABLE mid PARTITION OF root FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
            CREATE TABLE leaf PARTITION OF mid FOR VALUES FROM (0) TO (5);
            """)
        for order in [["root", "mid", "leaf"], ["leaf", "mid", "root"], ["mid", "root", "leaf"]] {
            var catalog = try database.loadedCatalog()
            for name in order {
                let request = try catalog.ask([RelationName(schema: "public", name: name)], searchPath: [])
                let rows = try database.catalogRows(request.query)
                #expect(catalog.absorb(rows, answering: request) == .used, "\(order)")
            }
            #expect(catalog.relationCount == 3)
            let view = try #require(catalog.view(searchPath: ["pg_catalog", "public"]))
            guard case .found(let root) = view.relation(RelationName(schema: "public", name: "root")),
                case .found(let mid) = view.relation(RelationName(schema: "public", name: "mid"))
            else {
                Issue.record("not found")
                return
            }
            #expect(root.descendants.count == 2 && mid.descendants.map(\.name) == ["leaf"])
            for relation in root.descendants { #expect(catalog.relation(relation.oid)?.name == relation.name) }
        }
        var small = try database.loadedCatalog(relationsMax: 2)
        let request = try small.ask([RelationName(schema: "public", name: "root")], searchPath: [])
        #expect(small.absorb(try database.catalogRows(request.query), answering: request) == .used)
        #expect(small.view(searchPath: ["pg_catalog"])?.relation(RelationName(schema: "public", name: "root"))
            == .unknowable)
    }

    @Test func tooManyBelowARelationForwardIt() throws {
        try database.run(
            """
            CREATE TABLE root (id int PRIMARY KEY) PARTITION BY LIST (id);
            DO $$ BEGIN FOR i IN 1..\(CatalogQueries.descendantsMax + 1) LOOP
              EXECUTE format('CREATE TABLE leaf%s PARTITION OF root FOR VALUES IN (%s)', i, i); END LOOP; END $$;
            """)
        func root() throws -> Relation {
            var catalog = try database.loadedCatalog(relationsMax: 2000)
            let name = RelationName(schema: "public", name: "root")
            let request = try catalog.ask([name], searchPath: [])
            #expect(catalog.absorb(try database.catalogRows(request.query), answering: request) == .used)
            guard case .found(let root) = try #require(catalog.view(searchPath: ["pg_catalog"])).relation(name) else {
                throw CatalogOrigin.Failure(description: "not found")
            }
            return root
        }
        #expect(try root().forwardReason == .inheritance && root().runsCodeWhenWritten && root().hidesCode)
        try database.run("DROP TABLE leaf1")
        #expect(try root().forwardReason == nil && root().descendants.count == CatalogQueries.descendantsMax)
    }

    // MARK: Functions

    static let functions: [(definition: String, isVisible: Bool)] = [
        ("f(int) RETURNS int LANGUAGE sql AS 'SELECT $1'", true),
        ("f(a int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + 1", true),
        ("f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT id FROM t WHERE id = a; END", true),
        ("f() RETURNS SETOF t LANGUAGE sql STABLE AS 'SELECT * FROM t'", true),
        ("f() RETURNS TABLE (a int, b text) LANGUAGE sql AS 'SELECT id, name FROM t'", true),
        ("f(a mood, b words, c pair, VARIADIC d int[]) RETURNS mood LANGUAGE sql AS 'SELECT a'", true),
        ("f(a int DEFAULT 3, b text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT a'", true),
        ("f(a timestamptz DEFAULT now()) RETURNS int LANGUAGE sql AS 'SELECT 1'", false),
        ("f(a int DEFAULT 1 + 1) RETURNS int LANGUAGE sql AS 'SELECT 1'", false),
        ("f(int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT $1'", false),
        ("f(int) RETURNS int LANGUAGE sql SET search_path = public AS 'SELECT $1'", false),
        ("f(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'", false),
        ("f(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1'", false),
        ("f(citext) RETURNS int LANGUAGE sql AS 'SELECT 1'", false),
        ("f(regclass) RETURNS int LANGUAGE sql AS 'SELECT 1'", false),
        ("f(int) RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'", false),
        ("f(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END", false),
        ("f(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING id'", false),
        ("f() RETURNS void LANGUAGE sql AS ''", false),
    ]

    @Test(arguments: functions)
    func bodiesThatCanBeRead(definition: String, isVisible: Bool) throws {
        try database.run(
            """
            CREATE EXTENSION citext; CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TYPE mood AS ENUM ('a');
            CREATE DOMAIN words AS text; CREATE TYPE pair AS (a int, b mood); CREATE FUNCTION \(definition);
            """)
        let view = try #require(try database.loadedCatalog().view(searchPath: ["pg_catalog", "public"]))
        let facts = view.functions(named: "f")
        #expect(facts.count == 1 && (facts.first?.body != nil) == isVisible)
        if definition.contains("ATOMIC"), isVisible {
            #expect(facts.first?.body?.mentions.relations == [RelationName(schema: "public", name: "t")])
        }
    }

    @Test func textSearchByCodeOfOthersIsKnown() throws {
        #expect(try foreign() == [])
        try database.run("CREATE EXTENSION unaccent")
        #expect(try foreign() == .dictionaries)
        try database.run(
            """
            CREATE TEXT SEARCH CONFIGURATION mine (COPY = english);
            ALTER TEXT SEARCH CONFIGURATION mine ALTER MAPPING FOR word WITH unaccent, english_stem;
            """)
        #expect(try foreign() == [.dictionaries, .configurations])
    }

    private func foreign() throws -> ForeignTextSearch {
        try #require(try database.loadedCatalog().view(searchPath: ["pg_catalog"])).foreignTextSearch
    }

    // MARK: Volatility

    /// Every function that counts as one of settings alone is one that PostgreSQL has, is nowhere volatile, and
    /// reads and gives nothing that names objects.
    @Test func c1StableFunctionsAreWhatTheListTakesThemFor() throws {
        let names = "ARRAY[" + Volatility.settingsOnly.sorted().map { "'\($0)'" }.joined(separator: ",") + "]"
        let rows = try database.run(
            """
            SELECT proname, provolatile, concat(prorettype, ' ', proargtypes)
            FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (\(names))
            """)
        #expect(Set(rows.compactMap { $0[0] }) == Volatility.settingsOnly)
        for row in rows {
            #expect(row[1] == "i" || row[1] == "s", "\(row)")
            let types = try #require(row[2]).split(separator: " ").compactMap { UInt32($0) }
            #expect(Volatility.catalogTypeOIDs.isDisjoint(with: types), "\(row)")
        }
        // Each is stable with some arguments, or it need not be listed; one only since PostgreSQL 16.
        let stable = Set(rows.filter { $0[1] == "s" }.compactMap { $0[0] })
        #expect(Volatility.settingsOnly.subtracting(stable) == ["jsonb_object_agg"])
    }

    /// The other stable functions depend on more. A name that is new to PostgreSQL has to be thought about.
    @Test func c1OtherStableFunctionsAreForwarded() throws {
        let rows = try database.run(
            """
            SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 's'
              AND prokind = 'f' AND 2281 <> ALL (proargtypes) AND proname !~ \
            '^(pg_|has_|txid_|inet_|current_|session_|xml|.*_to_xml|.*(in|out|recv|send)$|to_reg|reg)'
            """)
        let others = Set(rows.compactMap { $0[0] }).subtracting(Volatility.settingsOnly)
        #expect(others == Self.moreThanSettings)
    }

    static let moreThanSettings: Set<String> = [
        // Of time, of catalogs and files, of who asks.
        "now", "age", "statement_timestamp", "transaction_timestamp", "timetz", "mxid_age",
        "aclexplode", "col_description", "obj_description", "shobj_description", "format_type", "oidvectortypes",
        "fmgr_c_validator", "fmgr_internal_validator", "fmgr_sql_validator", "row_security_active", "getpgusername",
        "version", "getdatabaseencoding", "get_current_ts_config", "ts_debug", "ts_parse", "ts_token_type",
        // By conversions that users may make.
        "convert", "convert_from", "convert_to",
        // A time may be moved to today's zone.
        "jsonb_path_exists_tz", "jsonb_path_match_tz", "jsonb_path_query_array_tz", "jsonb_path_query_first_tz",
        "jsonb_path_query_tz",
        // Text that is read as the types of any row.
        "json_populate_record", "json_populate_recordset", "jsonb_populate_record", "jsonb_populate_recordset",
    ]
}
