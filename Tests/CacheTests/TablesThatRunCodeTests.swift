import PGProtocol
import Testing

@testable import Cache

/// Which tables of a real PostgreSQL run somebody's code when they are written to [K3].
@Suite struct TablesThatRunCodeTests {
    let database: CatalogOrigin.Database

    init() throws { database = try CatalogOrigin.shared.get().database() }

    /// What is said about table `t`, and whether writing to it runs code.
    static let tables: [(String, Bool)] = [
        ("CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'x', b timestamptz DEFAULT now())", false),
        ("CREATE TABLE t (id serial PRIMARY KEY, a int CHECK (a > 0), b int REFERENCES u, UNIQUE (a, b))", false),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, a int GENERATED ALWAYS AS (1 + 2) STORED)", false),
        ("CREATE TABLE t (a mood DEFAULT 'sad', b mood[] DEFAULT '{sad}', CHECK (a IN ('sad', 'happy')))", false),
        ("CREATE TABLE t (a text); CREATE INDEX ON t (lower(a)) WHERE a > 'b'", false),
        ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE v (a int REFERENCES t ON DELETE RESTRICT)", false),
        ("CREATE TABLE t (a positive, b words[], c uuid DEFAULT gen_random_uuid())", false),
        ("CREATE TABLE t (a int DEFAULT current_setting('app.x')::int)", false),
        // Triggers, enabled or not.
        ("CREATE TABLE t (a int); CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION act()", true),
        (
            """
            CREATE TABLE t (a int); CREATE TRIGGER g AFTER TRUNCATE ON t EXECUTE FUNCTION act();
            ALTER TABLE t DISABLE TRIGGER g
            """, true
        ),
        (
            """
            CREATE TABLE t (a int); CREATE CONSTRAINT TRIGGER g AFTER INSERT ON t
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION act()
            """, true
        ),
        ("CREATE TABLE t (a tsvector, b text); CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW "
            + "EXECUTE FUNCTION tsvector_update_trigger(a, 'pg_catalog.simple', b)", true),
        // Expressions.
        ("CREATE TABLE t (a int DEFAULT own(1))", true),
        ("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (own(a)) STORED)", true),
        ("CREATE TABLE t (a int CHECK (own(a) > 0))", true),
        ("CREATE TABLE t (a int CHECK (a <+> 1 > 0))", true),
        ("CREATE TABLE t (a int); CREATE INDEX ON t (own(a))", true),
        ("CREATE TABLE t (a int); CREATE INDEX ON t (a) WHERE own(a) > 0", true),
        ("CREATE TABLE t (a int); CREATE INDEX ON t (a odd)", true),
        ("CREATE TABLE t (a int, EXCLUDE USING btree (own(a) WITH =))", true),
        ("CREATE TABLE t (a text DEFAULT set_config('bytea_output', 'escape', false))", true),
        ("CREATE TABLE t (a text CHECK (set_config('bytea_output', a, false) > ''))", true),
        ("CREATE TABLE t (a text DEFAULT query_to_xml('select own(1)', true, true, '')::text)", true),
        ("CREATE TABLE t (a text DEFAULT 'x'::careful)", true),
        // Domains.
        ("CREATE TABLE t (a checked)", true), ("CREATE TABLE t (a checked[])", true),
        ("CREATE DOMAIN filled AS int DEFAULT own(1); CREATE TABLE t (a filled)", true),
        // Foreign keys that act.
        ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE v (a int REFERENCES t ON DELETE CASCADE)", true),
        ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE v (a int REFERENCES t ON UPDATE CASCADE)", true),
        ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE v (a int REFERENCES t ON DELETE SET NULL)", true),
        ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE v (a int REFERENCES t ON UPDATE SET DEFAULT)", true),
        // Others than tables, and what their own columns tell.
        ("CREATE VIEW t AS SELECT * FROM u", true), ("CREATE TABLE t (a int) PARTITION BY RANGE (a)", false),
        ("CREATE TABLE t (a int) PARTITION BY RANGE (own(a))", true),
        ("CREATE TABLE t (a int) PARTITION BY RANGE (a); CREATE TABLE t1 PARTITION OF t DEFAULT", false),
        (
            """
            CREATE TABLE t (a int) PARTITION BY RANGE (a); CREATE TABLE t1 PARTITION OF t DEFAULT;
            CREATE TRIGGER g BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION act()
            """, true
        ),
        ("CREATE TABLE t (a int); CREATE TABLE t1 (b int CHECK (own(b) > 0)) INHERITS (t)", true),
        ("CREATE TABLE t () INHERITS (u)", true), ("CREATE TABLE t (a pair)", false),
        ("CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY", true),
        ("CREATE TABLE t (a int); CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x", true),
        ("CREATE EXTENSION citext; CREATE TABLE t (a citext)", true),
    ]

    @Test(arguments: tables)
    func k3WritingRunsCode(definition: String, runsCode: Bool) throws {
        try database.run(
            """
            CREATE FUNCTION own(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
            CREATE FUNCTION own2(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
            CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = own2);
            CREATE OPERATOR CLASS odd FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
              OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
            CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN words AS text;
            CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a int, b int);
            CREATE TABLE u (id int PRIMARY KEY);
            """)
        if definition.contains("checked") || definition.contains("careful") {
            try database.run(
                "CREATE DOMAIN checked AS int CHECK (own(VALUE) > 0); "
                    + "CREATE DOMAIN careful AS text CHECK (VALUE > '')")
        }
        try database.run(definition)
        guard case .found(let relation) = try database.relation("public", "t") else {
            Issue.record("not found")
            return
        }
        #expect(relation.runsCodeWhenWritten == runsCode, "\(definition)")
    }

    @Test func baseTypesAreWhatDomainsAreOver() throws {
        try database.run(
            """
            CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN feeling AS mood; CREATE DOMAIN deep AS feeling;
            CREATE DOMAIN days AS date; CREATE DOMAIN lists AS int[];
            CREATE TABLE t (a int, b mood, c feeling, d deep, e days, f lists, g mood[], h days[]);
            """)
        guard case .found(let relation) = try database.relation("public", "t") else {
            Issue.record("not found")
            return
        }
        #expect(relation.columns.map(\.baseType).prefix(6) == [23, 3500, 3500, 3500, 1082, 1007].map { OID($0) }[...])
        #expect(relation.columns[1].type.value > 16384)
        let classes = relation.columns.map { SettingClasses.ofType($0.baseType) }
        #expect(classes == [[], [], [], [], .time, .rest, .all, .all])
    }

    @Test func settingsOfExtensionsAndLibrariesAreNotAnApplications() throws {
        try database.run("CREATE EXTENSION pg_trgm")
        let catalog = try database.loadedCatalog()
        for name in ["app.x", "myapp.user_id"] { #expect(catalog.isOfApplication(setting: name)) }
        for name in ["plpgsql.variable_conflict", "pg_trgm.similarity_threshold", "timezone", "app.X"] {
            #expect(!catalog.isOfApplication(setting: name), "\(name)")
        }
        // C functions of no extension, and libraries that a role loads.
        try database.run(
            """
            CREATE FUNCTION c_one(text, text) RETURNS float4 LANGUAGE c AS '$libdir/fuzzystrmatch', 'levenshtein';
            CREATE ROLE loads_\(database.name); ALTER ROLE loads_\(database.name)
              SET session_preload_libraries = 'auto_explain';
            """)
        let later = try database.loadedCatalog()
        for name in ["fuzzystrmatch.x", "auto_explain.log_analyze"] {
            #expect(catalog.isOfApplication(setting: name) && !later.isOfApplication(setting: name))
        }
        // Who may not read which libraries are loaded knows nothing of them.
        try database.run("CREATE ROLE plain_\(database.name) LOGIN")
        let own = try database.asRole("plain_\(database.name)").loadedCatalog()
        #expect(own.doubt == nil && !own.isOfApplication(setting: "app.x"))
        try database.run("GRANT pg_read_all_settings TO plain_\(database.name)")
        #expect(try database.asRole("plain_\(database.name)").loadedCatalog().isOfApplication(setting: "app.x"))
        #expect(!Catalog().isOfApplication(setting: "app.x"))
    }
}
