import PGProtocol
import Testing

@testable import Cache

/// What the catalog says of a real PostgreSQL.
@Suite struct CatalogOriginTests {
    let database: CatalogOrigin.Database

    init() throws { database = try CatalogOrigin.shared.get().database() }

    func found(_ name: String, _ schema: String = "public") throws -> Relation {
        guard case .found(let relation) = try database.relation(schema, name) else {
            throw CatalogOrigin.Failure(description: "\(name) was not found")
        }
        return relation
    }

    @Test func functionsOperatorsAndTypesAreLoaded() throws {
        try database.run(
            """
            CREATE SCHEMA s; CREATE FUNCTION s.lower(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
            CREATE PROCEDURE p() LANGUAGE sql AS ''; CREATE TYPE mood AS ENUM ('a');
            CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
            CREATE TEMP TABLE gone (a int); CREATE TABLE orders (a int);
            """)
        let catalog = try database.loadedCatalog()
        #expect(catalog.doubt == nil)
        let view = try #require(catalog.view(searchPath: ["pg_catalog", "public"]))
        let own = view.functions(named: "lower").filter { !$0.isBuiltIn }
        #expect(own.map(\.schema) == ["s"] && own.map(\.volatility) == [UInt8(ascii: "s")])
        #expect(view.functions(named: "lower").count == 4)
        #expect(!view.functions(named: "count").contains { !$0.isAggregate })
        #expect(!view.functions(named: "row_number").contains { !$0.isWindow })
        #expect(!view.functions(named: "generate_series").contains { !$0.returnsSet })
        #expect(view.functions(named: "now").map(\.volatility) == [UInt8(ascii: "s")])
        #expect(view.functions(named: "random").map(\.volatility).contains(UInt8(ascii: "v")))
        #expect(view.hasUserOperator(named: "<+>") && !view.hasUserOperator(named: "+"))
        #expect(view.isEnum(named: "mood") && !view.isUserType(named: "mood") && view.isUserType(named: "orders"))
        #expect(!view.isUserType(named: "int4"))
        let facts = try #require(catalog.originFacts)
        #expect(facts.database == database.name && facts.walLevel == "logical" && facts.isSuperuser)
        #expect(facts.serverVersion / 10000 == 15 && facts.serverEncoding == "UTF8" && !facts.isInRecovery)
    }

    @Test func aCastOrARightOnBuiltInsMakesDoubt() throws {
        try database.run("CREATE CAST (bool AS date) WITH INOUT")
        #expect(try database.loadedCatalog().doubt?.contains("boolean as date") == true)
        try database.run("DROP CAST (bool AS date); REVOKE EXECUTE ON FUNCTION int4eq FROM public")
        #expect(try database.loadedCatalog().doubt?.contains("int4eq") == true)
        try database.run("GRANT EXECUTE ON FUNCTION int4eq TO public")
        #expect(try database.loadedCatalog().doubt == nil)
    }

    @Test func everyKindOfRelation() throws {
        try database.run(
            """
            CREATE TABLE plain (id int PRIMARY KEY);
            CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
            CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
            CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (10);
            CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
            CREATE VIEW v AS SELECT * FROM plain; CREATE MATERIALIZED VIEW m AS SELECT * FROM plain;
            CREATE TABLE ruled (id int); CREATE RULE r AS ON INSERT TO ruled DO ALSO NOTIFY x;
            CREATE TABLE secured (id int); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
            CREATE SEQUENCE seq; CREATE TABLE empty ();
            CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw;
            CREATE FOREIGN TABLE far (a int) SERVER f OPTIONS (filename '/dev/null');
            """)
        struct Shape: Equatable {
            var kind: Character, persistence: Character = "p"
            var security = false, inherited = false, rules = false
        }
        let expected: [String: Shape] = [
            "plain": Shape(kind: "r"), "unlogged": Shape(kind: "r", persistence: "u"),
            "parted": Shape(kind: "p"), "leaf": Shape(kind: "r", inherited: true),
            "parent": Shape(kind: "r"), "child": Shape(kind: "r", inherited: true),
            "v": Shape(kind: "v"), "m": Shape(kind: "m"), "ruled": Shape(kind: "r", rules: true),
            "secured": Shape(kind: "r", security: true), "seq": Shape(kind: "S"),
            "empty": Shape(kind: "r"), "far": Shape(kind: "f"), "plain_pkey": Shape(kind: "i"),
        ]
        var catalog = try database.loadedCatalog()
        let names = expected.keys.sorted().map { RelationName(schema: "public", name: $0) }
        let request = try catalog.ask(names, searchPath: [])
        // The search path of pgcache's own session must not matter, whatever it holds.
        try database.run(
            """
            CREATE SCHEMA evil; CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
            """)
        let rows = try database.rows(request.query, after: "SET search_path = evil, pg_catalog")
        #expect(catalog.absorb(rows, answering: request) == .used)
        let view = try #require(catalog.view(searchPath: ["pg_catalog"]))
        for (name, shape) in expected {
            guard case .found(let relation) = view.relation(RelationName(schema: "public", name: name))
            else {
                Issue.record("\(name) was not found")
                continue
            }
            #expect(
                Shape(
                    kind: Character(UnicodeScalar(relation.kind)),
                    persistence: Character(UnicodeScalar(relation.persistence)),
                    security: relation.hasRowSecurity, inherited: relation.isInherited,
                    rules: relation.hasRules) == shape, "\(name)")
            #expect(relation.name == name && relation.schema == "public" && relation.oid.value > 16384)
        }
        #expect(try found("empty").columns.isEmpty)
        #expect(try found("pg_class", "pg_catalog").oid == OID(1259))
        #expect(try database.relation(nil, "nowhere") == .absent)
        #expect(try database.relation("nowhere", "plain") == .absent)
    }

    @Test func columnsWithTheirTypes() throws {
        try database.run(
            """
            CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('a');
            CREATE TABLE t (a int2 NOT NULL, gone int, b int4, c int8, d oid, e text, f varchar(3),
              g text COLLATE "C", h text COLLATE loose, i uuid, j bool, k positive, l mood, m numeric,
              n char(3), o name, p timestamptz, q jsonb, r int[], s mood[],
              "T t" int GENERATED ALWAYS AS (b + 1) STORED);
            ALTER TABLE t DROP COLUMN gone;
            """)
        let relation = try found("t")
        let kinds: [ValueKind] = [
            .integer, .integer, .integer, .integer, .text, .text, .text, .opaque, .uuid, .boolean, .opaque,
            .opaque, .numeric, .opaque, .opaque, .timestampWithZone, .opaque, .opaque, .opaque, .integer,
        ]
        #expect(relation.columns.map(\.kind) == kinds)
        let names = relation.columns.map(\.name).joined(separator: " ")
        #expect(names == "a b c d e f g h i j k l m n o p q r s T t")
        #expect(relation.columns.map(\.number) == [1] + Array(3...21))
        #expect(relation.columns.map(\.type).prefix(6) == [21, 23, 20, 26, 25, 1043].map { OID($0) }[...])
        #expect(relation.columns.map(\.isNotNull) == [true] + Array(repeating: false, count: 19))
        #expect(relation.columns.map(\.isGenerated) == Array(repeating: false, count: 19) + [true])
        #expect(relation.hasOnlyKnownTypes)
    }

    @Test(arguments: [
        ("int[]", true), ("mood", true), ("mood[]", true), ("words", true), ("words[]", true),
        ("list", true), ("int4range", true), ("datemultirange", true), ("tsvector", true), ("point", true),
        ("pair", true), ("pair[]", true), ("pairs", true), ("spread", true), ("spread_multirange", true),
        ("deep", true), ("timetz", true), ("timetz[]", true), ("regconfig", true), ("u", true), ("citext", false),
        ("regclass", false), ("regtype[]", false), ("aclitem", false), ("kinds", false), ("clocks", false),
        ("clock_pair", false), ("clock_range", false), ("named", false), ("shouting", false), ("converted", false),
        ("ordered", false), ("canonical", false), ("pg_class", false),
    ])
    func knownTypes(type: String, isKnown: Bool) throws {
        try database.run(
            """
            CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a int, b int);
            CREATE DOMAIN words AS text; CREATE DOMAIN list AS mood[]; CREATE DOMAIN pairs AS pair;
            CREATE DOMAIN kinds AS regtype; CREATE TYPE spread AS RANGE (subtype = text);
            CREATE TYPE deep AS (a pair, b pair[], c mood, d spread_multirange); CREATE DOMAIN clocks AS timetz;
            CREATE TYPE clock_pair AS (a timetz); CREATE TYPE clock_range AS RANGE (subtype = timetz);
            CREATE TYPE named AS (a int, b regclass); CREATE TYPE shouting AS (a citext); CREATE TABLE u (a pair);
            CREATE TYPE converted AS ENUM ('a'); CREATE FUNCTION convert(converted) RETURNS int LANGUAGE sql
              AS 'SELECT 1'; CREATE CAST (converted AS int) WITH FUNCTION convert(converted) AS IMPLICIT;
            CREATE TYPE ordered AS ENUM ('a'); CREATE OPERATOR CLASS odd DEFAULT FOR TYPE ordered USING hash
              AS OPERATOR 1 =(anyenum, anyenum), FUNCTION 1 hashenum(anyenum);
            CREATE TYPE canonical; CREATE FUNCTION canon(canonical) RETURNS canonical IMMUTABLE LANGUAGE internal
              AS 'int4range_canonical'; CREATE TYPE canonical AS RANGE (subtype = int, canonical = canon);
            CREATE TABLE t (id int PRIMARY KEY, x \(type));
            """)
        #expect(try found("t").hasOnlyKnownTypes == isKnown)
    }

    @Test(arguments: [
        ("a int, b int, c int, PRIMARY KEY (c, a)", "", "d", [0, 2], [0, 2]),
        ("a int PRIMARY KEY DEFERRABLE, b int, c int", "", "d", [], []),
        ("a int, b int, c int", "", "d", [], []),
        ("a int, b int, c int, PRIMARY KEY (a) INCLUDE (b)", "", "d", [0], [0]),
        ("a int PRIMARY KEY, b int, c int", "ALTER TABLE t REPLICA IDENTITY FULL", "f", [0], [0, 1, 2]),
        ("a int PRIMARY KEY, b int, c int", "ALTER TABLE t REPLICA IDENTITY NOTHING", "n", [0], []),
        (
            "a int PRIMARY KEY, b int NOT NULL, c int",
            "CREATE UNIQUE INDEX u ON t (b) INCLUDE (c); ALTER TABLE t REPLICA IDENTITY USING INDEX u", "i",
            [0], [1]
        ),
        (
            "a int PRIMARY KEY, b int NOT NULL, c int",
            "CREATE UNIQUE INDEX u ON t (b); ALTER TABLE t REPLICA IDENTITY USING INDEX u; DROP INDEX u", "i",
            [0], []
        ),
        (
            "a int, b int GENERATED ALWAYS AS (a) STORED PRIMARY KEY, c int", "", "d", [], []
        ),
        (
            "a int PRIMARY KEY, b int GENERATED ALWAYS AS (a) STORED, c int",
            "ALTER TABLE t REPLICA IDENTITY FULL", "f", [0], [0, 2]
        ),
    ] as [(String, String, String, [Int], [Int])])
    func keys(
        columns: String, then: String, identity: String, primaryKey: [Int], identityColumns: [Int]
    ) throws {
        try database.run("CREATE TABLE t (\(columns)); \(then)")
        let relation = try found("t")
        #expect(relation.replicaIdentity == identity.utf8.first)
        #expect(relation.primaryKey == primaryKey)
        #expect(relation.identityColumns == identityColumns)
    }

    @Test func aRoleWithoutRightsReadsTheCatalog() throws {
        let role = "plain_\(database.name)"
        try database.run(
            "CREATE ROLE \(role) LOGIN; CREATE TABLE t (id int PRIMARY KEY); REVOKE ALL ON t FROM public")
        let own = database.asRole(role)
        let catalog = try own.loadedCatalog()
        #expect(catalog.originFacts?.role == role && catalog.originFacts?.isSuperuser == false)
        guard case .found(let relation) = try own.relation(nil, "t") else {
            Issue.record("not found")
            return
        }
        #expect(relation.primaryKey == [0])
    }
}
