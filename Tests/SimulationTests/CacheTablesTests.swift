import CDC
import PGProtocol
import Testing

@testable import Cache
@testable import Simulation

/// The modelled cache database: conditions as fragments write them, batches as a whole, and what is missing.
@Suite struct CacheTablesTests {
    private static let account = Table.all[Table.account]

    private func made() -> CacheTables {
        var tables = CacheTables()
        let account = Self.account
        let pool = PoolTable(
            relation: account.oid, schema: account.schema, name: account.name, columns: account.columns.map(\.name),
            key: [0],
            statements: [
                "CREATE UNLOGGED TABLE t (\"id\" integer NOT NULL, \"branch\" integer, \"balance\" integer NOT NULL, "
                    + "\"note\" \"pg_catalog\".\"text\" COLLATE \"pg_catalog\".\"default\")"
            ])
        #expect(tables.create(pool, oid: OID(50_001)) == true)
        #expect(tables.create(pool, oid: OID(50_002)) == false)
        return tables
    }

    private func text(_ value: String) -> ColumnImage { .text(Array(value.utf8)) }
    private func operation(_ kind: RowOperation.Kind) -> RowOperation {
        RowOperation(relation: Self.account.oid, kind: kind)
    }
    private func ids(_ tables: CacheTables) -> [Int64] { tables.pools[Self.account.oid]?.rows.keys.sorted() ?? [] }

    private func isTrue(_ sql: String, _ row: Row) -> Bool { CacheCondition(sql, Self.account.columns).isTrue(row) }

    @Test func conditionsAreReadAsFragmentsWriteThem() {
        let row: Row = [.int(7), .int(-2), .int(100), .text("it's AND")]
        #expect(isTrue("\"branch\" IN ((-2), (3)) AND \"note\" IN ('it''s AND')", row))
        #expect(!isTrue("\"branch\" IN ((3))", row))
        #expect(isTrue("\"id\" >= (7) AND \"id\" <= (7)", row))
        #expect(!isTrue("\"id\" > (7)", row) && !isTrue("\"id\" < (7)", row))
        #expect(isTrue("\"note\" COLLATE \"C\" < 'j' AND \"branch\" IS NOT NULL", row))
        #expect(!isTrue("\"branch\" IS NULL", row) && !isTrue("false", row) && isTrue("true", row))
        // NULL satisfies no comparison.
        #expect(!isTrue("\"branch\" <= (5)", [.int(7), .null, .int(0), .null]))
    }

    @Test func aBatchTellsOfUpdatesThatFoundNoRow() {
        var tables = made()
        let row = [text("1"), text("2"), text("100"), text("n1")]
        #expect(tables.apply([operation(.upsert(row))]) == [])
        let changed = [text("1"), text("3"), text("100"), ColumnImage.unchanged]
        let missed = tables.apply([
            operation(.update(key: [Array("1".utf8)], changed)), operation(.update(key: [Array("9".utf8)], changed)),
        ])
        #expect(missed == [1])
        #expect(tables.pools[Self.account.oid]?.rows[1] == [.int(1), .int(3), .int(100), .text("n1")])
        // Nothing of a batch that fails has happened.
        let other = RowOperation(relation: OID(1), kind: .truncate)
        #expect(tables.apply([operation(.truncate), other]) == nil)
        #expect(ids(tables) == [1])
    }

    @Test func aMergeBringsWhatIsNotThereAndWasNotTouched() {
        var tables = made()
        let row = [text("1"), text("2"), text("100"), text("new")]
        #expect(tables.apply([operation(.upsert(row))]) == [])
        let id = PopulationID(number: 1)
        tables.staged[id] = [
            1: [.int(1), .int(2), .int(100), .text("old")], 2: [.int(2), .null, .int(0), .null],
            3: [.int(3), .int(4), .int(0), .null],
        ]
        #expect(tables.apply([operation(.merge(id, touched: [[Array("2".utf8)]], amended: []))]) == [])
        #expect(ids(tables) == [1, 3])
        #expect(tables.pools[Self.account.oid]?.rows[1]?[3] == .text("new"))
        #expect(tables.apply([operation(.remove(condition: "\"branch\" IN ((4))", keeping: ["\"id\" >= (9)"]))]) == [])
        #expect(ids(tables) == [1])
    }
}
