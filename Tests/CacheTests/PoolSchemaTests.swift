import PGProtocol
import Testing

@testable import Cache

/// What is read of rows that nobody has asked a server for, and what is written from them.
@Suite struct PoolSchemaTests {
    static func row(_ tag: String, _ place: Int, _ values: [String?]) -> [String?] {
        [tag, String(place)] + values + Array(repeating: nil, count: PoolSchema.rowWidth - values.count)
    }

    static let rows: [[String?]] = [
        row("c", 1, ["id", "23", "-1", "integer", "true", "", "0", nil, "true"]),
        row("c", 3, ["a\"b", "20001", "-1", nil, "false", "", "100", nil, "true"]),
        row("c", 4, ["sum", "23", "-1", "integer", "false", "s", "0", "(id + 1)", "true"]),
        row(
            "i", 30001,
            ["30001", "t_pkey", "btree", "true", "true", "false", "true", nil, "true"]),
        row(
            "i", 30002,
            ["30002", "by label", "btree", "true", "false", "false", "false", "(id > 0)", "true", nil, nil]),
        row("k", 1, ["30001", "1", "id", "pg_catalog", "int4_ops", "true", "0", "0"]),
        row("k", 1, ["30002", "3", "\"a\"\"b\"", "pg_catalog", "text_ops", "true", "100", "3"]),
        row("k", 2, ["30002", "1", "id"]),
        row("o", 0, ["100", "pg_catalog", "default", "d", "true", "", "", nil, nil, nil]),
        row("r", 0, ["20002", "S", "t", "r", "p", "false", "d", "16384", "250", "77"]),
        row("t", 0, ["23", "b", "pg_catalog", "int4", nil, "false", nil, "0", "1007", "false", "false", nil]),
        row("t", 0, ["25", "b", "pg_catalog", "text", nil, "false", nil, "100", "1009", "false", "false", nil]),
        row("t", 0, ["20001", "d", "S", "label", "25", "false", nil, "100", "20003", "false", "false", nil]),
    ]

    @Test func statements() throws {
        let pool = try #require(PoolSchema(rows: Self.rows))
        #expect(pool.refusal == nil && pool.keyColumns == [0] && pool.storedColumns == [0, 1])
        #expect(pool.bytes == 16384 && pool.rowsEstimate == 250 && pool.version == "77" && pool.usesDefaultCollation)
        let statements = pool.createStatements
        #expect(statements.count == 4)
        #expect(statements[0] == #"CREATE SCHEMA IF NOT EXISTS "S""#)
        let domain = #"CREATE DOMAIN "S"."label" AS "pg_catalog"."text" COLLATE "pg_catalog"."default""#
        #expect(statements[1].contains(domain))
        #expect(
            statements[2].hasPrefix(
                #"CREATE UNLOGGED TABLE "S"."t" ("id" integer NOT NULL, "# + #""a""b" "S"."label" COLLATE "#
                    + #""pg_catalog"."default", "sum" integer GENERATED ALWAYS AS ((id + 1)) STORED, "#
                    + #"CONSTRAINT "t_pkey" PRIMARY KEY ("id")) WITH (fillfactor = 90, "#))
        #expect(
            statements[3] == #"CREATE INDEX "by label" ON "S"."t" USING "btree" ("a""b" "#
                + #"COLLATE "pg_catalog"."default" "pg_catalog"."text_ops" DESC NULLS FIRST) "#
                + "INCLUDE (id) WHERE (id > 0)")
        #expect(pool.dropStatements == [#"DROP TABLE IF EXISTS "S"."t""#])
        #expect(pool.dropTypeStatements == [#"DROP TYPE IF EXISTS "S"."label""#])
        #expect(pool.copyQuery() == #"COPY (SELECT "id", "a""b" FROM ONLY "S"."t") TO STDOUT"#)
        #expect(pool.copyStatement == #"COPY "S"."t" ("id", "a""b") FROM STDIN"#)
        #expect(
            PoolSchema.inheritStatement(child: pool, parent: pool) == #"ALTER TABLE "S"."t" INHERIT "S"."t""#)
    }

    /// An answer that is cut or garbled is none, or one that is refused or without an index; never a trap.
    @Test func rowsThatAreNoAnswer() throws {
        let whole = try #require(PoolSchema(rows: Self.rows))
        for (number, row) in Self.rows.enumerated() {
            for place in row.indices {
                for value in [nil, "", "x", "-1", "99999999999999999999", "{1,x}"] as [String?] {
                    var rows = Self.rows
                    rows[number][place] = value
                    _ = PoolSchema(rows: rows)?.createStatements
                }
            }
            var rows = Self.rows
            rows.remove(at: number)
            #expect(PoolSchema(rows: rows) != whole)
            rows.insert(Array(row.dropLast()), at: number)
            #expect(PoolSchema(rows: rows) == nil)
        }
    }

    @Test func sizesThatNobodyHasCounted() throws {
        let cases: [(String, UInt64?)] = [("-1", nil), ("0", nil), ("1e+06", 1_000_000), ("NaN", nil)]
        for (estimate, expected) in cases {
            var rows = Self.rows
            rows[9][10] = estimate
            #expect(PoolSchema(rows: rows)?.rowsEstimate == expected)
        }
    }
}
