import Foundation
import PGProtocol
import Testing

@testable import Cache

/// The fingerprint of the catalog, told canned rows and asked of a real PostgreSQL.
@Suite struct CatalogPollTests {
    static let width = 22

    @Test func theFirstAnswerIsTheBaseLine() {
        var poll = CatalogPoll()
        let row: [String?] = Array(repeating: "1:5", count: Self.width)
        #expect(poll.absorb([row]) == .everything)
        #expect(poll.absorb([row]) == [])
    }

    @Test func eachPartSaysWhatToForget() {
        var seen: Set<CatalogPoll.Change> = []
        for position in 0..<Self.width {
            var poll = CatalogPoll()
            var row: [String?] = Array(repeating: "1:5", count: Self.width)
            _ = poll.absorb([row])
            row[position] = "1:6"
            let change = poll.absorb([row])
            #expect(!change.isEmpty)
            seen.insert(change)
            #expect(poll.absorb([row]) == [])
        }
        #expect(seen == [.schema, .builtIns, .sessions, [.schema, .sessions]])
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
        CREATE SEQUENCE s; CREATE MATERIALIZED VIEW m AS SELECT x FROM t; INSERT INTO t VALUES (1, 1, 'a');
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
        "CREATE CAST (bool AS date) WITH INOUT", "GRANT SELECT ON t TO pg_monitor",
        "GRANT SELECT (x) ON t TO pg_monitor", "REVOKE EXECUTE ON FUNCTION f() FROM public",
        "CREATE TEXT SEARCH CONFIGURATION c (COPY = english)",
        "ALTER TEXT SEARCH CONFIGURATION english DROP MAPPING FOR word",
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
        "GRANT pg_monitor TO {}", "ALTER ROLE {} RENAME TO {}_2",
    ])
    func aChangeThatSessionsFeelIsNoticed(statement: String) throws {
        #expect(try change(by: statement).contains(.sessions))
    }

    @Test func aChangeOfABuiltInFunctionIsNoticed() throws {
        #expect(try change(by: "ALTER FUNCTION lower(text) VOLATILE").contains(.builtIns))
    }

    @Test(arguments: [
        "INSERT INTO t VALUES (2, 2, 'b')", "UPDATE t SET x = 5", "DELETE FROM t", "TRUNCATE t", "VACUUM t",
        "VACUUM", "VACUUM FULL t", "VACUUM FREEZE", "ANALYZE", "ANALYZE t", "REINDEX TABLE t",
        "CREATE INDEX i ON t (x)", "CREATE SEQUENCE fresh", "SELECT nextval('s')", "CLUSTER t USING u",
        "REFRESH MATERIALIZED VIEW m", "CHECKPOINT",
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

    /// The server passes a reload on in its own time, so the poll is asked until it sees it.
    @Test func aReloadOfTheConfigurationIsNoticed() throws {
        let database = try Self.origin.get().database()
        var poll = CatalogPoll()
        let first = try database.rows(CatalogPoll.query)
        let second = try database.rows(CatalogPoll.query)
        #expect(poll.absorb(first) == .everything)
        #expect(poll.absorb(second) == [])
        try database.run("SELECT pg_reload_conf()")
        var change: CatalogPoll.Change = []
        for _ in 0..<200 where change.isEmpty {
            change = poll.absorb(try database.rows(CatalogPoll.query))
        }
        #expect(change == .sessions)
    }

    @Test func theMembershipOfAPublicationShowsReturningRelations() throws {
        let database = try Self.origin.get().database()
        try database.run(
            "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE PUBLICATION p FOR TABLE a, b")
        let query = CatalogPoll.membership(publication: "p")
        let before = try database.rows(query)
        try database.run("ALTER PUBLICATION p DROP TABLE b; ALTER PUBLICATION p ADD TABLE b")
        let after = try database.rows(query)
        #expect(before.count == 2 && after.count == 2)
        #expect(before[0] == after[0])
        #expect(before[1][0] == after[1][0] && before[1] != after[1])
        #expect(try database.rows(CatalogPoll.membership(publication: "other")).isEmpty)
    }

    @Test func thePollIsCheap() throws {
        let database = try Self.origin.get().database()
        try database.run(
            """
            DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, '
              'b text, c int, d int, e timestamptz, f numeric, g uuid, h bool, i jsonb)', i);
            END LOOP; END $$;
            """)
        let statement = CatalogPoll.query.sql.replacingOccurrences(of: "'", with: "''")
        let rows = try database.run(
            """
            CREATE TEMP TABLE times (t float);
            DO $$ DECLARE start timestamptz; BEGIN FOR i IN 1..20 LOOP start := clock_timestamp();
              EXECUTE '\(statement)'; INSERT INTO times
              VALUES (extract(epoch FROM clock_timestamp() - start) * 1000); END LOOP; END $$;
            SELECT round(min(t)::numeric, 2), round(avg(t)::numeric, 2) FROM times;
            """)
        let best = try #require(rows.last?[0].flatMap { Double($0) })
        let mean = rows.last?[1] ?? "?"
        print("catalog poll, 500 tables of 10 columns: best \(best) ms, mean \(mean) ms")
        // A bound for a slow machine; it takes a few milliseconds.
        #expect(best < 100)
    }

    /// What the poll says after `statement`, which is made in a session of its own.
    func change(by statement: String) throws -> CatalogPoll.Change {
        let database = try Self.origin.get().database()
        let role = "r_\(database.name)"
        let filled = statement.replacingOccurrences(
            of: "{}", with: statement.hasPrefix("ALTER DATABASE") ? database.name : role)
        try database.run(Self.before + "CREATE ROLE \(role);")
        let marker = "and now"
        let ask = "\\echo '\(marker)'\n\(CatalogPoll.query.sql);\n"
        let rows = try database.run(ask + filled + ";\n" + ask)
        let first = try #require(rows.firstIndex { $0 == [marker] })
        let second = try #require(rows.lastIndex { $0 == [marker] })
        var poll = CatalogPoll()
        #expect(poll.absorb([rows[first + 1]]) == .everything)
        return poll.absorb([rows[second + 1]])
    }
}
