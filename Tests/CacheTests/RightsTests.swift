import PGProtocol
import Testing

@testable import Cache

@Suite struct RightsTests {
    @Test func onlyAPlainYesIsAYes() {
        #expect(Rights.judge([["t"]]))
        for rows in [[], [["f"]], [[nil]], [[]], [["t", "t"]], [["t"], ["t"]]] as [[[String?]]] {
            #expect(!Rights.judge(rows))
        }
    }

    @Test func objectsAreParameters() {
        let query = Rights.query(role: "o'hara", relations: [OID(1), OID(2)], functions: [])
        #expect(query.parameters == ["o'hara", "{1,2}", "{}"])
    }

    @Test func everyRightIsAsked() throws {
        let database = try CatalogOrigin.shared.get().database()
        let role = "rights_\(database.name)"
        let rows = try database.run(
            """
            CREATE ROLE \(role); CREATE SCHEMA s; CREATE TABLE s.a (x int, y int); CREATE TABLE s.b (x int);
            CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
            REVOKE EXECUTE ON FUNCTION s.f() FROM public;
            SELECT 's.a'::regclass::oid, 's.b'::regclass::oid, 's.f'::regproc::oid;
            """)
        let oids = try #require(rows.last).compactMap { $0.flatMap { OID($0) } }
        func may(_ relations: [OID], _ functions: [OID], role asked: String? = nil) throws -> Bool {
            Rights.judge(
                try database.rows(
                    Rights.query(role: asked ?? role, relations: relations, functions: functions),
                    after: "SET search_path = public, pg_catalog"))
        }
        let (a, b, f) = (oids[0], oids[1], oids[2])
        #expect(try may([], []))
        #expect(try may([], [OID(870)]))
        #expect(try !may([a], []))
        try database.run("GRANT SELECT ON s.a TO \(role)")
        #expect(try !may([a], []), "without USAGE on the schema")
        try database.run("GRANT USAGE ON SCHEMA s TO \(role); GRANT SELECT (x) ON s.b TO \(role)")
        #expect(try may([a], []))
        #expect(try !may([a, b], []), "a right on some columns")
        #expect(try !may([a], [f]))
        try database.run("GRANT EXECUTE ON FUNCTION s.f() TO \(role)")
        #expect(try may([a], [f, OID(870)]))
        #expect(try !may([OID(1)], []) && !may([], [OID(1)]), "objects that are gone")
        #expect(try !may([a], [], role: "nobody"))
        #expect(try may([a, b], [f], role: "postgres"))
        try database.run("REVOKE SELECT ON s.a FROM \(role)")
        #expect(try !may([a], [f]))
    }
}
