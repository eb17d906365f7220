import PGProtocol
import Testing

@testable import Cache

@Suite struct RightsTests {
    @Test func onlyAPlainYesIsAYes() {
        #expect(Rights.judge([["t"]]) && Rights.coversAllColumns([["t"]]))
        #expect(Rights.judge([["c"]]) && !Rights.coversAllColumns([["c"]]))
        for rows in [[], [["f"]], [[nil]], [[]], [["t"], ["t"]]] as [[[String?]]] {
            #expect(!Rights.judge(rows))
        }
    }

    @Test func objectsAreParameters() {
        let query = Rights.query(
            role: "o'hara",
            needs: [
                RightsNeed(
                    role: nil, relations: [OID(1), OID(2)],
                    columns: [ColumnName(relation: OID(2), number: 3), ColumnName(relation: OID(1), number: 7)]),
                RightsNeed(role: "a, b", relations: [OID(9)], columns: []),
            ], reads: [OID(9), OID(4)], functions: [OID(5)])
        #expect(
            query.parameters == [
                "o'hara", "{9,1,2}", "{\"a, b\",\"o'hara\",\"o'hara\"}", "{5}", "{1,2}", "{7,3}",
                "{\"o'hara\",\"o'hara\"}", "{4,9}",
            ])
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
        func may(
            _ relations: [OID], _ functions: [OID], columns: [(OID, Int16)] = [], role asked: String? = nil,
            ofAll: Bool = false, owner: String? = nil, reads: [OID]? = nil
        ) throws -> Bool {
            let columns = Set(columns.map { ColumnName(relation: $0.0, number: $0.1) })
            let need = RightsNeed(role: owner, relations: Set(relations), columns: columns)
            let rows = try database.rows(
                Rights.query(
                    role: asked ?? role, needs: [need], reads: Set(reads ?? relations), functions: functions),
                after: "SET search_path = public, pg_catalog")
            return ofAll ? Rights.coversAllColumns(rows) : Rights.judge(rows)
        }
        let (a, b, f) = (oids[0], oids[1], oids[2])
        #expect(try may([], []))
        #expect(try may([], [OID(870)]))
        #expect(try !may([a], []))
        try database.run("GRANT SELECT ON s.a TO \(role)")
        #expect(try !may([a], []), "without USAGE on the schema")
        try database.run("GRANT USAGE ON SCHEMA s TO \(role); GRANT SELECT (x) ON s.b TO \(role)")
        #expect(try may([a], []))
        // [P1] A right on some columns is one to count the rows, and to name these columns.
        #expect(try may([a, b], []) && !may([a, b], [], ofAll: true) && may([a], [], ofAll: true))
        #expect(try may([a, b], [], columns: [(a, 1), (a, 2), (b, 1)]))
        try database.run("ALTER TABLE s.b ADD COLUMN y int; CREATE TABLE s.c (x int)")
        #expect(try !may([a, b], [], columns: [(b, 1), (b, 2)]))
        #expect(try !may([b], [], columns: [(b, 3)]), "a column that is gone")
        let c = try #require(try database.run("SELECT 's.c'::regclass::oid").last?[0].flatMap { OID($0) })
        #expect(try !may([a, c], []), "no right on any column")
        #expect(try !may([a], [f]))
        try database.run("GRANT EXECUTE ON FUNCTION s.f() TO \(role)")
        #expect(try may([a], [f, OID(870)]))
        #expect(try !may([OID(1)], []) && !may([], [OID(1)]), "objects that are gone")
        #expect(try !may([a], [], role: "nobody"))
        #expect(try may([a, b], [f], columns: [(b, 2)], role: "postgres"))
        try database.run("REVOKE SELECT ON s.a FROM \(role)")
        #expect(try !may([a], [f]))
        // What a view reads is its owner's business; the functions are the reader's.
        #expect(try may([a], [f], owner: "postgres") && !may([a], [], owner: "nobody"))
        try database.run("REVOKE EXECUTE ON FUNCTION s.f() FROM \(role)")
        #expect(try !may([a], [f], owner: "postgres"))
        // [P2] Policies on what is read count, whoever has the right to what is named.
        try database.run("ALTER TABLE s.c ENABLE ROW LEVEL SECURITY")
        #expect(try may([a], [], role: "postgres") && !may([a], [], role: "postgres", reads: [a, c]))
    }
}
