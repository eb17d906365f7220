import Foundation
import PGProtocol
import Testing

@testable import Cache

/// The fingerprint of the catalog, told canned rows and asked of a real PostgreSQL.
@Suite struct CatalogPollTests {
    static let width = 31

    @Test func theFirstAnswerIsTheBaseLine() {
        var poll = CatalogPoll()
        let row: [String?] = Array(repeating: "1:5", count: Self.width)
        #expect(poll.absorb([row]) == .everything)
        #expect(poll.absorb([row]) == [])
    }

    @Test func eachPartSaysWhatToForget() {
        var seen: Set<CatalogPoll.Change> = []
        for position in 0..<Self.width - 1 {
            var poll = CatalogPoll()
            var row: [String?] = Array(repeating: "1:5", count: Self.width)
            _ = poll.absorb([row])
            row[position] = "1:6"
            let change = poll.absorb([row])
            #expect(!change.isEmpty)
            seen.insert(change)
            #expect(poll.absorb([row]) == [])
        }
        #expect(seen == [.schema, .builtIns, .sessions, .rights, [.schema, .sessions]])
    }

    /// [D1, P1] What was learned since the last poll must be so at the next one.
    @Test func whatWasLearnedInBetweenMustBeThere() {
        var relation = Relation(
            oid: OID(20001), schema: "public", name: "t", kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
            hasRowSecurity: false, isInherited: false, hasRules: false, replicaIdentity: UInt8(ascii: "d"), columns: [],
            primaryKey: [], identityColumns: [], hasOnlyKnownTypes: true)
        relation.version = "11"
        var unproven = CatalogPoll.Unproven()
        unproven.note(relation)
        let agrees = unproven.note(rights: "20001:11:7 20002:-12:8")
        #expect(agrees)
        #expect(CatalogPoll.query(proving: unproven).parameters == ["{20001,20002}"])
        let cases: [(String, CatalogPoll.Change)] = [
            ("20001:11:7 20002:-12:8", []), ("20001:11:9 20002:-12:8", .rights), ("20001:11:7", .rights),
            ("20001:1:7 20002:-12:8", [.schema, .rights]), ("", [.schema, .rights]),
            ("20001 20002: x", [.schema, .rights]),
        ]
        for (answer, change) in cases {
            var poll = CatalogPoll()
            let sums: [String?] = Array(repeating: "1:5", count: Self.width - 1)
            _ = poll.absorb([sums + [""]])
            #expect(poll.absorb([sums + [answer]], proving: unproven) == change, "\(answer)")
        }
        let agreesStill = unproven.note(rights: "20002:-12:9")
        #expect(!agreesStill)
        var later = CatalogPoll.Unproven()
        later.restore(unproven)
        #expect(later == unproven)
        later.forgetRights()
        #expect(CatalogPoll.query(proving: later).parameters == ["{20001}"])
    }

    @Test func anAnswerThatIsNoneCountsAsAChange() {
        let good: [String?] = Array(repeating: "1:5", count: Self.width)
        var broken = good
        broken[3] = nil
        for rows in [[], [good, good], [[]], [broken], [Array(good.dropLast())]] as [[[String?]]] {
            var poll = CatalogPoll()
            _ = poll.absorb([good])
            #expect(poll.absorb(rows) == .everything)
            #expect(poll.absorb([good]) == .everything)
            #expect(poll.absorb([good]) == [])
        }
    }
}

/// One at a time on a server of their own: roles and the configuration belong to the whole server.
@Suite(.serialized) struct CatalogPollOriginTests {
    static let origin = Result { try CatalogOrigin() }

    static let before = """
        CREATE TYPE mood AS ENUM ('a', 'b'); CREATE SCHEMA other;
        CREATE TABLE t (id int PRIMARY KEY, x int, y mood, z text);
        CREATE TABLE parted (id int) PARTITION BY RANGE (id); CREATE TABLE leaf (id int);
        CREATE VIEW v AS SELECT x FROM t; CREATE POLICY old ON t USING (true);
        CREATE UNIQUE INDEX u ON t (id); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER old AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tf();
        CREATE DOMAIN dom AS int CONSTRAINT small CHECK (VALUE < 9); CREATE COLLATION mine FROM "C";
        CREATE DOMAIN known AS int; CREATE SEQUENCE s; CREATE MATERIALIZED VIEW m AS SELECT x FROM t;
        INSERT INTO t VALUES (1, 1, 'a');
        """

    @Test(arguments: [
        "ALTER TABLE t ADD COLUMN w int", "ALTER TABLE t DROP COLUMN x CASCADE",
        "ALTER TABLE t RENAME COLUMN z TO q", "ALTER TABLE t ALTER COLUMN z TYPE varchar(3)",
        "ALTER TABLE t ALTER COLUMN z SET DEFAULT 'x'", "ALTER TABLE t ALTER COLUMN x SET NOT NULL",
        "ALTER TABLE t RENAME TO t2", "ALTER TABLE t SET SCHEMA other", "ALTER TABLE t SET UNLOGGED",
        "DROP TABLE leaf", "DROP TABLE leaf; CREATE TABLE leaf (id int)", "CREATE TABLE fresh (a int)",
        "ALTER TYPE mood RENAME VALUE 'a' TO 'c'", "ALTER TYPE mood ADD VALUE 'c' BEFORE 'a'",
        "ALTER TYPE mood RENAME TO moods", "CREATE DOMAIN d AS int",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY fresh ON t USING (id > 0)",
        "ALTER POLICY old ON t USING (false)", "DROP POLICY old ON t",
        "ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t REPLICA IDENTITY USING INDEX u",
        "ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE leaf ADD PRIMARY KEY (id)",
        "ALTER TABLE parted ATTACH PARTITION leaf FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE leaf INHERIT ROOT", "CREATE OR REPLACE VIEW v AS SELECT x + 1 AS x FROM t",
        "CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER FUNCTION f() IMMUTABLE",
        "DROP FUNCTION f()", "CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)",
        "CREATE CAST (bool AS date) WITH INOUT", "ALTER TABLE t ADD CHECK (x > 0)",
        "CREATE INDEX ON t (abs(x))", "CREATE EXTENSION pg_trgm",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE DOMAIN checked AS int", "ALTER DOMAIN known ADD CHECK (VALUE > 0)",
        "GRANT SELECT (x) ON t TO pg_monitor", "REVOKE EXECUTE ON FUNCTION f() FROM public",
        "CREATE TEXT SEARCH CONFIGURATION c (COPY = english)",
        "ALTER TEXT SEARCH CONFIGURATION english DROP MAPPING FOR word",
        "ALTER TEXT SEARCH DICTIONARY english_stem (StopWords)", "ALTER TEXT SEARCH CONFIGURATION english RENAME TO e",
        "ALTER VIEW v SET (security_invoker)", "ALTER VIEW v OWNER TO pg_monitor",
        "CREATE OPERATOR CLASS odd FOR TYPE int USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)",
        "ALTER TABLE leaf INHERIT ROOT; ALTER TABLE leaf NO INHERIT root",
        "CREATE TRIGGER fresh AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf()", "DROP TRIGGER old ON t",
        "ALTER TABLE t DISABLE TRIGGER old", "ALTER TRIGGER old ON t RENAME TO newer",
        "ALTER DOMAIN dom ADD CONSTRAINT positive CHECK (VALUE > 0)", "ALTER DOMAIN dom SET DEFAULT 3",
        "ALTER DOMAIN dom DROP CONSTRAINT small", "ALTER DOMAIN dom SET NOT NULL",
        "ALTER TABLE t ADD CHECK (x > 0)", "ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES t",
        "ALTER TABLE t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY", "ALTER VIEW v SET (security_barrier)",
        "ALTER COLLATION mine RENAME TO yours", "ALTER COLLATION \"C\" OWNER TO pg_monitor",
        "CREATE TABLE part PARTITION OF parted DEFAULT", "ALTER TABLE t OWNER TO pg_monitor",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY", "CREATE MATERIALIZED VIEW fresh AS SELECT 1 AS a",
        "ALTER FUNCTION f() SET work_mem = '1MB'",
    ])
    func aChangeOfSchemaIsNoticed(statement: String) throws {
        let statement = statement.replacingOccurrences(
            of: "ALTER TABLE leaf INHERIT ROOT",
            with: "CREATE TABLE root (id int); ALTER TABLE leaf INHERIT root")
        #expect(try change(by: statement).contains(.schema))
    }

    @Test(arguments: [
        "CREATE SCHEMA fresh", "GRANT USAGE ON SCHEMA other TO pg_monitor", "ALTER ROLE {} SUPERUSER",
        "ALTER ROLE {} SET bytea_output = 'escape'", "ALTER DATABASE {} SET bytea_output = 'escape'",
        "GRANT pg_monitor TO {}", "ALTER ROLE {} RENAME TO {}_2", "ALTER DATABASE {} CONNECTION LIMIT 7",
        "GRANT TEMP ON DATABASE {db} TO pg_monitor",
    ])
    func aChangeThatSessionsFeelIsNoticed(statement: String) throws {
        #expect(try change(by: statement).contains(.sessions))
    }

    /// What is cached stays; who may see it is asked again.
    @Test func p1AGrantOnARelationIsOneOfRights() throws {
        #expect(try change(by: "GRANT SELECT ON t TO pg_monitor") == .rights)
        #expect(try change(by: "REVOKE SELECT ON v FROM postgres") == .rights)
    }

    @Test func aChangeOfABuiltInFunctionIsNoticed() throws {
        #expect(try change(by: "ALTER FUNCTION lower(text) VOLATILE").contains(.builtIns))
    }

    /// An instance that starts or stops empties nobody's cache.
    @Test func theFunctionsOfPgcachesOwnEventTriggersDoNotCount() throws {
        let make =
            "CREATE FUNCTION pg_catalog.pgcache_ddl_ab12() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
        #expect(try change(by: make) == [])
        #expect(try change(by: make.replacingOccurrences(of: "pg_catalog.", with: "public.")) == .schema)
    }

    @Test(arguments: [
        "INSERT INTO t VALUES (2, 2, 'b')", "UPDATE t SET x = 5", "DELETE FROM t", "VACUUM t",
        "VACUUM", "VACUUM FREEZE", "ANALYZE", "ANALYZE t", "REINDEX TABLE t",
        "CREATE INDEX i ON t (x)", "CREATE SEQUENCE fresh", "SELECT nextval('s')", "CHECKPOINT",
        """
        CREATE TEMP TABLE tt (id serial PRIMARY KEY, a text DEFAULT 'x', b mood);
        CREATE TEMP VIEW tv AS SELECT * FROM tt;
        CREATE FUNCTION pg_temp.tf() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE TEMP TABLE tc () INHERITS (tt)
        """,
    ])
    func dailyWorkIsNot(statement: String) throws {
        #expect(try change(by: statement) == [])
    }

    /// A table that gets another file gets another row in the catalog.
    @Test(arguments: ["TRUNCATE t", "VACUUM FULL t", "CLUSTER t USING u", "REFRESH MATERIALIZED VIEW m"])
    func anotherFileIsNone(statement: String) throws {
        #expect(try change(by: statement) == [])
    }

    /// [D1, P1] The sums are what they were, and yet somebody could read it in between.
    @Test func whatWasGivenAndTakenBackIsNotWhatWasLearned() throws {
        let database = try Self.origin.get().database()
        try database.run(Self.before)
        let oid = try #require(try database.run("SELECT 't'::regclass::oid")[0][0].flatMap { OID($0) })
        var poll = CatalogPoll()
        _ = poll.absorb(try database.rows(CatalogPoll.query()))
        func learned() throws -> CatalogPoll.Unproven {
            var unproven = CatalogPoll.Unproven()
            let need = RightsNeed(role: nil, relations: [oid], columns: [])
            let answer = try database.rows(
                Rights.query(role: "pg_monitor", needs: [need], reads: [oid], functions: []))
            let agrees = unproven.note(rights: try #require(Rights.versions(answer)))
            #expect(agrees)
            return unproven
        }
        func changed(_ unproven: CatalogPoll.Unproven) throws -> CatalogPoll.Change {
            poll.absorb(try database.rows(CatalogPoll.query(proving: unproven)), proving: unproven)
        }
        #expect(try changed(try learned()) == [])
        try database.run("GRANT SELECT ON t TO pg_monitor")
        let given = try learned()
        try database.run("REVOKE SELECT ON t FROM pg_monitor")
        #expect(try changed(given) == .rights)
        try database.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        let secured = try learned()
        try database.run("ALTER TABLE t DISABLE ROW LEVEL SECURITY; TRUNCATE t")
        #expect(try changed(secured) == .rights)
    }

    /// The server passes a reload on in its own time, so the poll is asked until it sees it.
    @Test func aReloadOfTheConfigurationIsNoticed() throws {
        let database = try Self.origin.get().database()
        var poll = CatalogPoll()
        let first = try database.rows(CatalogPoll.query())
        let second = try database.rows(CatalogPoll.query())
        #expect(poll.absorb(first) == .everything)
        #expect(poll.absorb(second) == [])
        try database.run("SELECT pg_reload_conf()")
        var change: CatalogPoll.Change = []
        for _ in 0..<200 where change.isEmpty {
            change = poll.absorb(try database.rows(CatalogPoll.query()))
        }
        #expect(change == .sessions)
    }

    /// It looks at each page of the catalog a few times at most, however many tables there are.
    @Test func thePollIsCheap() throws {
        let database = try Self.origin.get().database()
        try database.run(
            """
            DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, '
              'b text, c int, d int, e timestamptz, f numeric, g uuid, h bool, i jsonb)', i);
            END LOOP; END $$; VACUUM ANALYZE;
            """)
        let plan = try database.run("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) \(Self.poll)").compactMap { $0[0] }
        let hits = plan.compactMap { $0.firstMatch(of: /shared hit=(\d+)/).flatMap { Int($0.1) } }
        let looks = try #require(hits.first)
        let size = try database.run(
            "SELECT sum(pg_relation_size(oid) / 8192) FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace")
        let pages = try #require(size[0][0].flatMap { Int($0) })
        print("catalog poll, 500 tables of 10 columns: \(looks) looks at pages; the catalog has \(pages)")
        #expect(looks < 2 * pages)
    }

    /// The poll as a text of its own.
    static let poll = CatalogPoll.sql.replacingOccurrences(of: "$1", with: "'{}'")

    /// What the poll says after `statement`, which is made in a session of its own.
    func change(by statement: String) throws -> CatalogPoll.Change {
        let database = try Self.origin.get().database()
        let role = "r_\(database.name)"
        let filled = statement.replacingOccurrences(
            of: "{}", with: statement.hasPrefix("ALTER DATABASE") ? database.name : role
        ).replacingOccurrences(of: "{db}", with: database.name)
        try database.run(Self.before + "CREATE ROLE \(role);")
        let marker = "and now"
        let ask = "\\echo '\(marker)'\n\(Self.poll);\n"
        let rows = try database.run(ask + filled + ";\n" + ask)
        let first = try #require(rows.firstIndex { $0 == [marker] })
        let second = try #require(rows.lastIndex { $0 == [marker] })
        var poll = CatalogPoll()
        #expect(poll.absorb([rows[first + 1]]) == .everything)
        return poll.absorb([rows[second + 1]])
    }
}
