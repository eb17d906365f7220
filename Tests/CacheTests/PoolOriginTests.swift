import CDC
import PGProtocol
import Testing

@testable import Cache

/// Pools of a real origin in a second database of its server, which stands for the cache database.
@Suite struct PoolOriginTests {
    let database: CatalogOrigin.Database
    let cache: CatalogOrigin.Database

    init() throws {
        database = try CatalogOrigin.shared.get().database()
        cache = try CatalogOrigin.shared.get().database()
    }

    /// The settings of pgcache's own connections.
    static let settings = ConnectionOptions.fixed.split(separator: " ").compactMap { word in
        let parts = word.split(separator: "=")
        return parts.count == 2 ? "SET \(parts[0]) = '\(parts[1])';\n" : nil
    }.joined()

    func schema(_ name: String) throws -> PoolSchema {
        let oid = try database.run("SELECT '\(name)'::regclass::oid")[0][0]
        let question = PoolSchema.question(try #require(oid.flatMap { OID($0) }))
        return try #require(PoolSchema(rows: try database.catalogRows(question)))
    }

    func make(_ schema: PoolSchema) throws {
        #expect(schema.refusal == nil)
        try cache.run(Self.settings + schema.createStatements.joined(separator: ";\n"))
    }

    /// Copies all rows as a population does.
    func fill(_ schema: PoolSchema) throws {
        let file = database.origin.directory + "/" + database.name
        let query = schema.copyQuery().replacing("TO STDOUT", with: "TO '\(file)'")
        try database.run(Self.settings + query)
        try cache.run(Self.settings + schema.copyStatement.replacing("FROM STDIN", with: "FROM '\(file)'"))
    }

    /// What both databases answer to a query, byte by byte.
    func expectAlike(_ query: String, binary: Bool = true, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let answers = try [database, cache].map { side in
            try (binary ? ["text", "binary"] : ["text"]).map { format in
                let file = "\(side.origin.directory)/\(side.name).\(format)"
                return try side.run(
                    """
                    \(Self.settings)SET search_path = public;
                    COPY (\(query)) TO '\(file)' (FORMAT \(format));
                    SELECT encode(pg_read_binary_file('\(file)'), 'hex')
                    """)[0][0]
            }
        }
        #expect(answers[0] == answers[1], "\(query)", sourceLocation: sourceLocation)
        #expect(answers[0][0]?.isEmpty == false, "\(query)", sourceLocation: sourceLocation)
    }

    /// That the tables are described alike, and hold the same.
    func expectAlike(_ schema: PoolSchema, binary: String? = "*", orderBy: String = "1") throws {
        try expectAlike(
            """
            SELECT row_number() OVER (ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              l.collname, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
            FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
            WHERE a.attrelid = '\(schema.quotedName)'::regclass AND a.attnum > 0 AND NOT a.attisdropped
            """)
        try expectAlike("SELECT * FROM \(schema.quotedName) ORDER BY \(orderBy)", binary: false)
        if let binary { try expectAlike("SELECT \(binary) FROM \(schema.quotedName) ORDER BY \(orderBy)") }
    }

    static let builtIn: [(type: String, values: [String])] = [
        ("bool", ["true", "false"]), ("bytea", ["'\\x00ff5c27'", "''"]), ("\"char\"", ["'a'", "''"]),
        ("name", ["'na me'"]), ("int8", ["-9223372036854775808"]), ("int2", ["32767"]), ("int2vector", ["'1 2 -3'"]),
        ("int4", ["-2147483648"]), ("text", ["E'a\\tb\\nc\\\\d\\r'", "'\\N'", "'ÄÖ 漢字 😀 \"'''", "''", "' x '"]),
        ("oid", ["4294967295"]), ("tid", ["'(1,2)'"]), ("xid", ["'4294967295'"]), ("cid", ["'7'"]),
        ("oidvector", ["'1 2 3'"]), ("json", ["'{\"b\": 1, \"a\":  1.00}'"]), ("jsonb", ["'{\"b\": 1, \"a\":  1.00}'"]),
        ("jsonpath", ["'$.a[*] ? (@ > 1)'"]), ("float4", ["1.1", "'NaN'", "'-0'", "1e-45", "'-Infinity'"]),
        ("float8", ["0.1::float8 + 0.2::float8", "'NaN'", "5e-324", "1.7976931348623157e308"]),
        ("bpchar", ["'a  '"]), ("char(3)", ["'a'"]), ("char", ["'a'"]), ("varchar", ["'a  '"]),
        ("varchar(3)", ["'abc'"]),
        ("bit", ["B'1'"]), ("bit(5)", ["B'10101'"]), ("varbit", ["B''", "B'101'"]), ("varbit(4)", ["B'101'"]),
        ("numeric", ["'1e-100'", "'NaN'", "'Infinity'", "1.500", "-0.00"]), ("numeric(10,2)", ["12345678.9"]),
        ("numeric(3,-2)", ["12345"]), ("refcursor", ["'c'"]), ("uuid", ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
        ("txid_snapshot", ["'10:20:10,14'"]), ("pg_snapshot", ["'10:20:10,14'"]), ("pg_lsn", ["'16/B374D848'"]),
        ("xid8", ["'18446744073709551615'"]),
        ("date", ["'0044-03-15 BC'", "'infinity'", "'5874897-12-31'"]), ("time", ["'24:00'", "'01:02:03.000004'"]),
        ("time(2)", ["'01:02:03.456'"]), ("timetz", ["'01:02:03+15:59:59'"]), ("timetz(1)", ["'01:02:03.45-03'"]),
        ("timestamp", ["'4713-01-01 00:00:00 BC'", "'-infinity'", "'2024-02-29 23:59:59.999999'"]),
        ("timestamp(3)", ["'2024-02-29 23:59:59.9999'"]), ("timestamptz", ["'2024-10-27 02:30+02'", "'infinity'"]),
        ("timestamptz(0)", ["'2024-10-27 02:30:00.5+02'"]),
        ("interval", ["'-1 year 3 days -04:05:06.000007'", "'1 mon -1 day'"]),
        ("interval day to second(3)", ["'1 02:03'"]),
        ("interval year", ["'7 years'"]), ("interval(2)", ["'1.239 s'"]), ("tsvector", ["'''it''''s'':2A b:1'"]),
        ("tsquery", ["'a & !(b <2> c:*AB)'"]), ("point", ["'(0.1,-0)'"]), ("lseg", ["'[(0,0),(1e-300,1)]'"]),
        ("path", ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]), ("box", ["'(0,0),(1,2)'"]),
        ("polygon", ["'(0,0),(1,1),(1,0)'"]),
        ("line", ["'{1,2,3.3}'"]), ("circle", ["'<(0,0),1.1>'"]), ("cidr", ["'10.0.0.0/8'", "'::/0'"]),
        ("inet", ["'10.0.0.1/8'", "'fe80::1'"]), ("macaddr", ["'08:00:2b:01:02:03'"]),
        ("macaddr8", ["'08:00:2b:01:02:03:04:05'"]), ("int4range", ["'[1,5)'", "'empty'", "'(,)'"]),
        ("numrange", ["'(1.0,1.50]'"]), ("tsrange", ["'[2024-01-01,infinity)'"]), ("tstzrange", ["'[2024-01-01,)'"]),
        ("daterange", ["'[2024-01-01,2024-01-03]'"]), ("int8range", ["'[1,2]'"]),
        ("int4multirange", ["'{[1,2),[5,7)}'"]),
        ("nummultirange", ["'{}'"]), ("tsmultirange", ["'{[2024-01-01,2024-01-02)}'"]),
        ("tstzmultirange", ["'{[2024-01-01,2024-01-02)}'"]), ("datemultirange", ["'{[2024-01-01,2024-01-02)}'"]),
        ("int8multirange", ["'{[1,2)}'"]),
    ]

    /// Each type and its array, with values that are hard to print.
    @Test func everyTypeOfPostgreSQL() throws {
        var columns = ["id int PRIMARY KEY"]
        var inserts: [String] = []
        for (place, (type, values)) in Self.builtIn.enumerated() {
            // int2vector and oidvector are arrays, and have arrays, of their own kind.
            columns.append("c\(place) \(type), a\(place) \(type)[]")
            let list = values.map { "(\($0))::\(type)" }
            for (number, value) in list.enumerated() {
                inserts.append(
                    """
                    INSERT INTO t (id, c\(place), a\(place)) VALUES (\(place * 100 + number), \(value),
                      ARRAY[ARRAY[\(list.joined(separator: ", ")), NULL], ARRAY[\(list.joined(separator: ", ")), NULL]])
                    """)
            }
            inserts.append("INSERT INTO t (id, a\(place)) VALUES (\(place * 100 + 50), '{}')")
        }
        try database.run(
            "CREATE TABLE t (\(columns.joined(separator: ", ")));" + inserts.joined(separator: ";\n"))
        let pool = try schema("t")
        #expect(pool.types.isEmpty && pool.collations.isEmpty && pool.usesDefaultCollation)
        try make(pool)
        try fill(pool)
        try expectAlike(pool)
    }

    @Test func enumsAndDomains() throws {
        try database.run(
            """
            CREATE SCHEMA "My ""odd"" schema"; SET search_path = "My ""odd"" schema", public;
            CREATE TYPE mood AS ENUM ('sad', 'it''s', 'NULL', '', 'a,"b\\', 'ÄÖ');
            ALTER TYPE mood ADD VALUE 'ok' BEFORE 'sad';
            CREATE TYPE "Mood []" AS ENUM ('x'); CREATE TYPE public.mood AS ENUM ('other');
            CREATE TYPE "none" AS ENUM ();
            CREATE DOMAIN word AS varchar(7) COLLATE "C" DEFAULT 'w' CHECK (VALUE <> 'never');
            CREATE DOMAIN "Deep" AS word;
            CREATE DOMAIN deeper AS "Deep" NOT NULL; CREATE DOMAIN moods AS mood[]; CREATE DOMAIN more AS moods;
            CREATE DOMAIN sums AS numeric(6,2)[]; CREATE DOMAIN at AS timestamptz(2);
            CREATE TABLE "T ""t"" x" (id deeper PRIMARY KEY, a mood, b mood[], c "Mood []", d public.mood[], e "Deep"[],
              f moods, g more, h sums, i at, j at[], k word COLLATE "POSIX", l "none", m moods[]);
            INSERT INTO "T ""t"" x" VALUES ('a', 'it''s', ARRAY[['NULL', ''], ['a,"b\\', 'ÄÖ']]::mood[], 'x',
              '{other,NULL}', '{a,"b c",NULL,"NULL"}', '{ok,sad}', '{}', '{1.5,NULL}', '2024-01-01 00:00:00.123+00',
              '{2024-01-01 00:00:00.123+00,infinity}', 'x', NULL, ARRAY['{ok,sad}'::moods]);
            INSERT INTO "T ""t"" x" (id, a) VALUES ('b', 'ok');
            """)
        let pool = try schema(#""My ""odd"" schema"."T ""t"" x""#)
        let names = pool.types.map(\.name)
        #expect(names.filter { $0 == "mood" }.count == 2 && names.count == 11)
        #expect(pool.types.first { $0.name == "mood" }?.labels == ["ok", "sad", "it's", "NULL", "", "a,\"b\\", "ÄÖ"])
        #expect(pool.types.allSatisfy { $0.arrayOID.value > 16384 && !$0.oid.isBuiltIn })
        try make(pool)
        try fill(pool)
        // An array's binary form names its element type by number, which is another here.
        try expectAlike(pool, binary: "id, a, c, h, i, k, l")
        try expectAlike(
            "SELECT id, array_agg(x ORDER BY x) FROM \(pool.quotedName), unnest(b) x GROUP BY 1", binary: false)
        // Once more: another relation may have made the types.
        try cache.run(Self.settings + pool.typeStatements.joined(separator: ";\n"))
        try database.run(#"SET search_path = "My ""odd"" schema"; ALTER TYPE mood ADD VALUE 'new'"#)
        let later = try schema(#""My ""odd"" schema"."T ""t"" x""#)
        #expect(throws: CatalogOrigin.Failure.self) {
            try cache.run(Self.settings + later.typeStatements.joined(separator: ";\n"))
        }
        #expect(throws: CatalogOrigin.Failure.self) {
            try cache.run(Self.settings + pool.dropTypeStatements.joined(separator: ";\n"))
        }
        let anew = pool.dropStatements + pool.dropTypeStatements + later.createStatements
        try cache.run(Self.settings + anew.joined(separator: ";\n"))
    }

    @Test func compositeTypes() throws {
        try database.run(
            """
            CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN word AS varchar(7);
            CREATE TYPE "In ner" AS (n numeric(6, 2), "a ""b" text COLLATE "C", gone int, m mood[]);
            ALTER TYPE "In ner" DROP ATTRIBUTE gone; ALTER TYPE "In ner" ADD ATTRIBUTE c char(4);
            CREATE TYPE outside AS (i "In ner", l "In ner"[], w word, at timestamptz(2));
            CREATE DOMAIN places AS outside;
            CREATE TABLE t (id int PRIMARY KEY, i "In ner", o outside, p places, l "In ner"[]);
            INSERT INTO t VALUES (1, ROW(1.5, 'x,"y\\', '{ok,sad}', 'c'), ROW(ROW(1, '', NULL, NULL), '{}', 'w',
                '2024-01-01 00:00:00.123+00'), ROW(NULL, NULL, NULL, NULL),
                ARRAY[NULL, ROW(2, 'ä', '{}', 'd')::"In ner"]),
              (2, NULL, ROW(NULL, ARRAY[ROW(3, 'b', NULL, '')::"In ner"], NULL, 'infinity'), NULL, NULL),
              (3, ROW(NULL, NULL, NULL, NULL), NULL, NULL, '{}');
            """)
        let pool = try schema("t")
        #expect(pool.types.map(\.name) == ["mood", "In ner", "word", "outside", "places"])
        try make(pool)
        try fill(pool)
        // In binary a composite value names its fields' types by number, which is another here.
        try expectAlike(pool, binary: "id")
        try expectAlike("SELECT id, (i).n, (i).\"a \"\"b\", (o).at, (p).w, i IS NULL FROM t ORDER BY i, id")
        try expectAlike("SELECT id FROM t WHERE o IS NOT NULL OR i = ROW(1.5, 'x,\"y\\', '{ok,sad}', 'c')::\"In ner\"")
        try cache.run(Self.settings + pool.typeStatements.joined(separator: ";\n"))
    }

    /// Whatever the search path of the catalog's connection hides, names and types are found.
    @Test func hostileNames() throws {
        try database.run(
            """
            CREATE SCHEMA evil; CREATE TYPE evil.json AS ENUM ('e'); CREATE TYPE evil.text AS ENUM ('e');
            CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
            CREATE TABLE t (id int, "select" pg_catalog.json, "UPPER" pg_catalog.text, " " evil.json,
              "a""b" evil.text[],
              "é" bpchar, "gone" int, "1" bit, "$1" "char", PRIMARY KEY ("é", id)); ALTER TABLE t DROP COLUMN gone;
            ALTER TABLE t ADD COLUMN later int DEFAULT 7 NOT NULL;
            INSERT INTO t VALUES (1, '{}', 'x', 'e', '{e}', 'b ', NULL, 'q'),
              (2, '[]', 'y', NULL, NULL, 'a', B'1', 'r');
            """)
        let oid = try #require(try database.run("SELECT 't'::regclass::oid")[0][0].flatMap { OID($0) })
        let rows = try database.rows(PoolSchema.question(oid), after: "SET search_path = evil, pg_catalog")
        let pool = try #require(PoolSchema(rows: rows))
        #expect(pool == (try schema("t")))
        #expect(pool.keyColumns == [5, 0] && pool.columns.map(\.number) == [1, 2, 3, 4, 5, 6, 8, 9, 10])
        #expect(pool.columnList == #""id", "select", "UPPER", " ", "a""b", "é", "1", "$1", "later""#)
        let query = pool.copyQuery(where: "id = 1", limit: 5)
        #expect(query.hasSuffix(#"FROM ONLY "public"."t" WHERE id = 1 LIMIT 5) TO STDOUT"#))
        #expect(pool.agrees(with: try found("t")))
        try make(pool)
        try fill(pool)
        try expectAlike(pool, binary: #"id, "select", "UPPER", " ", "é", "1", "$1", later"#)
        try expectAlike("SELECT \"é\", count(*) FROM t GROUP BY 1 ORDER BY 1")
    }

    func found(_ name: String) throws -> Relation {
        guard case .found(let relation) = try database.relation("public", name) else {
            throw CatalogOrigin.Failure(description: "\(name) was not found")
        }
        return relation
    }

    @Test func generatedIdentityAndDefault() throws {
        try database.run(
            """
            CREATE TYPE mood AS ENUM ('a', 'b');
            CREATE TABLE t (g int GENERATED ALWAYS AS (id * 2) STORED, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
              m mood DEFAULT 'b', "Full Name" text GENERATED ALWAYS AS (upper(first) || ' ' || last COLLATE "C") STORED,
              first text, last text, at timestamptz DEFAULT now(), s serial,
              happy bool GENERATED ALWAYS AS (m >= 'b'::mood) STORED NOT NULL,
              words tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.simple', coalesce(first, ''))) STORED);
            INSERT INTO t (first, last) VALUES ('ann', 'x'), ('straße', NULL), ('b', 'y');
            """)
        let pool = try schema("t")
        #expect(pool.storedColumns == [1, 2, 4, 5, 6, 7])
        try make(pool)
        try fill(pool)
        try expectAlike(pool, orderBy: "id")
    }

    @Test func indexes() throws {
        try database.run(
            """
            CREATE EXTENSION pg_trgm;
            CREATE TYPE mood AS ENUM ('a', 'b');
            CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
            CREATE TABLE t (id int, "B b" text COLLATE "C", c jsonb, d int4range, e timestamptz, m mood, p point,
              CONSTRAINT "the key" PRIMARY KEY (id) INCLUDE (e));
            CREATE UNIQUE INDEX "Desc" ON t ("B b" DESC NULLS LAST, id) INCLUDE (c);
            CREATE INDEX pattern ON t ("B b" text_pattern_ops);
            CREATE INDEX hashed ON t USING hash (id); CREATE INDEX gin ON t USING gin (c jsonb_path_ops);
            CREATE INDEX gist ON t USING gist (d, p); CREATE INDEX brin ON t USING brin (e);
            CREATE INDEX sp ON t USING spgist (p);
            CREATE INDEX partial ON t (id) WHERE m = 'a' AND e IS NOT NULL;
            CREATE INDEX expression ON t (lower("B b") COLLATE "POSIX", ((c ->> 'x')), (id + 1));
            CREATE INDEX theirs ON t (f(id)); CREATE INDEX also ON t (id) WHERE f(id) = 1;
            CREATE INDEX trgm ON t USING gin ("B b" gin_trgm_ops);
            CREATE INDEX icu ON t ("B b" COLLATE "de-x-icu");
            CREATE INDEX inside ON t (("B b" COLLATE "de-x-icu" > 'x'));
            INSERT INTO t SELECT i, 'x' || i, jsonb_build_object('x', i), int4range(i, i + 2), NULL, 'a', point(i, i)
              FROM generate_series(1, 50) i;
            """)
        let pool = try schema("t")
        let names = ["Desc", "brin", "expression", "gin", "gist", "hashed", "partial", "pattern", "sp"]
        #expect(pool.indexes.map(\.name).sorted() == names && pool.keyName == "the key")
        #expect(pool.bytes > 0 && pool.rowsEstimate == nil)
        try make(pool)
        try fill(pool)
        try expectAlike(pool)
        // Alike but for being unique, and for what is included in the key.
        let rows = [database, cache].map { side in
            Result {
                try side.run(
                    """
                    SELECT c.relname, replace(pg_get_indexdef(i.indexrelid), 'UNIQUE INDEX', 'INDEX') FROM pg_index i
                    JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 't'::regclass
                      AND c.relname = ANY ('{\(names.joined(separator: ","))}') ORDER BY 1
                    """)
            }
        }
        #expect(try rows[0].get() == rows[1].get())
        try database.run("VACUUM ANALYZE t")
        let counted = try schema("t")
        #expect(counted.rowsEstimate == 50 && counted.bytes >= 8192)
    }

    /// Which columns are the key, or why there is none; `CatalogOriginTests.keys` asks the same of the catalog.
    @Test(arguments: [
        ("a int, b int, c int, PRIMARY KEY (c, a)", "", [2, 0]),
        ("a int PRIMARY KEY DEFERRABLE, b int, c int", "", []),
        ("a int, b int, c int", "", []),
        ("a int UNIQUE NOT NULL, b int, c int", "", []),
        ("a int PRIMARY KEY, b int, c int", "ALTER TABLE t REPLICA IDENTITY FULL", [0]),
        ("a int, b int, c int", "ALTER TABLE t REPLICA IDENTITY FULL", []),
        ("a int PRIMARY KEY, b int, c int", "ALTER TABLE t REPLICA IDENTITY NOTHING", []),
        (
            "a int PRIMARY KEY, b int NOT NULL, c int",
            "CREATE UNIQUE INDEX u ON t (b) INCLUDE (c); ALTER TABLE t REPLICA IDENTITY USING INDEX u", [1]
        ),
        ("a int, b int GENERATED ALWAYS AS (a) STORED PRIMARY KEY, c int", "", []),
        ("a text COLLATE loose PRIMARY KEY, b int", "", [0]),
        (
            "a text COLLATE loose NOT NULL, b int",
            "CREATE UNIQUE INDEX u ON t (a COLLATE \"C\"); ALTER TABLE t REPLICA IDENTITY USING INDEX u", []
        ),
        (
            "a text NOT NULL, b int",
            "CREATE UNIQUE INDEX u ON t (a COLLATE \"C\"); ALTER TABLE t REPLICA IDENTITY USING INDEX u", [0]
        ),
    ] as [(String, String, [Int])])
    func keys(columns: String, then: String, key: [Int]) throws {
        try database.run(
            """
            CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE TABLE t (\(columns)); \(then)
            """)
        let pool = try schema("t")
        #expect(pool.keyColumns == key && pool.refusal == (key.isEmpty ? .noKey : nil))
        let relation = try found("t")
        #expect(key.isEmpty || relation.replicaIdentity != UInt8(ascii: "d") || relation.primaryKey == key.sorted())
        if !key.isEmpty { try make(pool) }
    }

    @Test func collations() throws {
        try database.run(
            """
            CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE COLLATION "Old" (provider = libc, locale = 'C.UTF-8');
            CREATE TABLE t (a text COLLATE loose PRIMARY KEY, b text COLLATE "de-x-icu", c text COLLATE "Old",
              d text COLLATE ucs_basic, e varchar(3)[] COLLATE "POSIX");
            INSERT INTO t VALUES ('a', 'ä', 'z', 'x'), ('ä', 'z', 'a', 'y'), ('Z', 'a', 'ä', 'Z');
            """)
        let pool = try schema("t")
        #expect(pool.collations.map(\.name) == ["de-x-icu", "Old", "loose"] && !pool.usesDefaultCollation)
        try make(pool)
        let there = PoolCollation.answer(try cache.rows(PoolCollation.question(pool.collations)))
        #expect(pool.collations.allSatisfy(there.contains))
        try fill(pool)
        for column in ["a", "b", "c", "d"] { try expectAlike(pool, orderBy: column) }
        try expectAlike("SELECT a FROM t WHERE a = 'z'")
        // Another of the same name.
        try cache.run(
            """
            DROP TABLE t; DROP COLLATION loose; CREATE COLLATION loose (provider = icu, locale = 'und');
            DROP COLLATION "Old"
            """)
        let after = PoolCollation.answer(try cache.rows(PoolCollation.question(pool.collations)))
        #expect(pool.collations.filter(after.contains).map(\.name) == ["de-x-icu"])
    }

    @Test(arguments: [
        ("money", .text), ("xml", .text), ("money[]", .text), ("regclass", .text), ("regconfig", .text),
        ("aclitem", .text), ("pg_node_tree", .text), ("amount", .text), ("citext", .ofExtension),
        ("citext[]", .ofExtension), ("pair", .composite), ("pair[]", .composite), ("pairs", .composite),
        ("hollow", .composite), ("costs", .text), ("known", .hasCode),
        ("spread", .madeByUsers), ("spread_multirange", .madeByUsers), ("converted", .hasCode), ("ordered", .hasCode),
        ("earth", .ofExtension),
    ] as [(String, PoolRefusal.TypeReason)])
    func typesThatAreRefused(type: String, reason: PoolRefusal.TypeReason) throws {
        try database.run(
            """
            CREATE EXTENSION citext; CREATE EXTENSION earthdistance CASCADE; CREATE TABLE pair (a int, b int);
            CREATE DOMAIN pairs AS pair; CREATE TYPE hollow AS (); CREATE TYPE costs AS (a int, b money);
            CREATE TYPE known AS (a int); CREATE FUNCTION plain(known) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE CAST (known AS int) WITH FUNCTION plain(known);
            CREATE TYPE spread AS RANGE (subtype = text); CREATE DOMAIN amount AS money;
            CREATE TYPE converted AS ENUM ('a'); CREATE FUNCTION convert(converted) RETURNS int LANGUAGE sql
              AS 'SELECT 1'; CREATE CAST (converted AS int) WITH FUNCTION convert(converted) AS IMPLICIT;
            CREATE TYPE ordered AS ENUM ('a'); CREATE OPERATOR CLASS odd DEFAULT FOR TYPE ordered USING hash
              AS OPERATOR 1 =(anyenum, anyenum), FUNCTION 1 hashenum(anyenum);
            CREATE TABLE t (id int PRIMARY KEY, "x x" \(type));
            """)
        guard case .type("x x", _, let found) = try schema("t").refusal else {
            Issue.record("\(type) is not refused")
            return
        }
        #expect(found == reason)
    }

    @Test(arguments: [
        ("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)", .persistence(UInt8(ascii: "u"))),
        ("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY", .rowSecurity),
        ("CREATE VIEW t AS SELECT 1 AS id", .kind(UInt8(ascii: "v"))),
        ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS id", .kind(UInt8(ascii: "m"))),
        ("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (f(id)) STORED)", .generatedColumn("g")),
        (
            "CREATE TABLE t (id int PRIMARY KEY, g bool GENERATED ALWAYS AS "
                + "('a' < id::text COLLATE \"de-x-icu\") STORED)",
            .generatedColumn("g")
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, g text GENERATED ALWAYS AS (id::positive::int::text) STORED)",
            .generatedColumn("g")
        ),
    ] as [(String, PoolRefusal)])
    func relationsThatAreRefused(statement: String, refusal: PoolRefusal) throws {
        try database.run(
            """
            CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN positive AS int;
            \(statement)
            """)
        #expect(try schema("t").refusal == refusal)
    }

    @Test func catalogsAreRefusedAndWhatIsGoneIsNothing() throws {
        #expect(try schema("pg_class").refusal == .kind(UInt8(ascii: "r")))
        #expect(PoolSchema(rows: try database.catalogRows(PoolSchema.question(OID(4_000_000_000)))) == nil)
        #expect(PoolSchema(rows: []) == nil)
        #expect(PoolSchema(rows: [["r"], ["c", nil]]) == nil)
    }

    @Test func partitionsAndChildren() throws {
        try database.run(
            """
            CREATE TABLE parted (id int, at date, note text DEFAULT 'n', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
            CREATE TABLE middle (note text, gone int, at date NOT NULL, id int NOT NULL) PARTITION BY LIST (id);
            ALTER TABLE middle DROP COLUMN gone; CREATE INDEX ON parted (note);
            ALTER TABLE parted ATTACH PARTITION middle FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
            CREATE TABLE leaf PARTITION OF middle FOR VALUES IN (1, 2);
            CREATE TABLE rest (at date NOT NULL, note text, id int NOT NULL);
            ALTER TABLE parted ATTACH PARTITION rest DEFAULT;
            INSERT INTO parted VALUES (1, '2024-02-01', 'n'), (2, '2024-03-01', 'x'), (3, '2020-01-01', 'o');
            CREATE TABLE parent (id int PRIMARY KEY, a text); CREATE TABLE other (z int, id int PRIMARY KEY);
            CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (parent, other);
            INSERT INTO parent VALUES (1, 'p'); INSERT INTO other VALUES (9, 2);
            INSERT INTO child VALUES (3, 'c', 4, 5);
            """)
        var pools: [String: PoolSchema] = [:]
        for name in ["parted", "middle", "leaf", "rest", "parent", "other", "child"] {
            let pool = try schema(name)
            try make(pool)
            if !pool.isPartitioned { try fill(pool) }
            pools[name] = pool
        }
        let pairs = [
            ("middle", "parted"), ("leaf", "middle"), ("rest", "parted"), ("child", "parent"), ("child", "other"),
        ]
        for (child, parent) in pairs {
            let (child, parent) = (try #require(pools[child]), try #require(pools[parent]))
            try cache.run(PoolSchema.inheritStatement(child: child, parent: parent))
        }
        for name in ["parted", "middle", "leaf", "rest", "parent", "other", "child"] {
            try expectAlike(try #require(pools[name]), orderBy: "id")
        }
        try expectAlike("SELECT * FROM ONLY parent ORDER BY 1")
        try expectAlike("SELECT id, at, note FROM parted GROUP BY id, at ORDER BY 1")
        #expect(pools["parted"]?.isPartitioned == true && pools["leaf"]?.keyColumns == [2, 1])
        // Children first.
        try cache.run(["rest", "leaf", "middle", "parted"].compactMap { pools[$0] }.flatMap(\.dropStatements)
            .joined(separator: ";\n"))
    }

    @Test func aRoleWithoutRightsIsAnswered() throws {
        let role = "plain_\(database.name)"
        try database.run(
            "CREATE ROLE \(role) LOGIN; CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED)")
        let oid = try #require(try database.run("SELECT 't'::regclass::oid")[0][0].flatMap { OID($0) })
        let pool = PoolSchema(rows: try database.asRole(role).catalogRows(PoolSchema.question(oid)))
        #expect(pool == (try schema("t")))
    }

    func view(_ name: String) throws -> PoolView {
        let oid = try database.run("SELECT '\(name)'::regclass::oid")[0][0]
        let question = PoolView.question(try #require(oid.flatMap { OID($0) }))
        return try #require(PoolView(rows: try database.catalogRows(question)))
    }

    @Test func views() throws {
        try database.run(
            """
            CREATE SCHEMA s; CREATE TYPE mood AS ENUM ('a', 'b');
            CREATE TABLE t (id int PRIMARY KEY, m mood, name text, at timestamptz);
            INSERT INTO t VALUES (1, 'a', 'Ann', '2024-01-01'), (2, 'b', 'bob', '2024-01-02'), (3, 'b', NULL, NULL);
            CREATE VIEW s."V v" ("The id", m, twice) WITH (security_barrier) AS
              SELECT id, m, lower(name) COLLATE "C" FROM t WHERE m >= 'a'::mood;
            CREATE VIEW over AS SELECT v.m, count(*) AS n, array_agg(v."The id" ORDER BY twice) AS ids
              FROM s."V v" v JOIN t USING (m) WHERE t.name <> 'it''s;' GROUP BY v.m;
            CREATE VIEW grouped AS SELECT id, name FROM t GROUP BY id;
            """)
        let pool = try schema("t")
        try make(pool)
        try fill(pool)
        let first = try view(#"s."V v""#)
        #expect(first.reads == [pool.oid] && first.columns == ["The id", "m", "twice"] && first.refusal == nil)
        let second = try view("over")
        #expect(second.reads == [pool.oid, first.oid] && second.usesDefaultCollation && second.collations.isEmpty)
        for view in [first, second, try view("grouped")] {
            try cache.run(Self.settings + view.createStatements.joined(separator: ";\n"))
            try expectAlike("SELECT * FROM \(view.quotedName) ORDER BY 1")
            try expectAlike(
                """
                SELECT attname, format_type(atttypid, atttypmod), attnum FROM pg_attribute
                WHERE attrelid = '\(view.quotedName)'::regclass ORDER BY attnum
                """)
        }
        try cache.run(Self.settings + (second.dropStatements + first.dropStatements).joined(separator: ";\n"))
    }

    @Test(arguments: [
        ("SELECT f(id) FROM t", .code), ("SELECT id::positive FROM t", .code), ("SELECT id <+> 1 FROM t", .code),
        ("SELECT ROW(id)::pair FROM t", .code), ("SELECT oid FROM pg_class", .catalog),
        ("SELECT id FROM t WHERE EXISTS (SELECT FROM pg_stats)", .catalog),
        ("SELECT id FROM t WHERE '{a}' = ARRAY['a'::mood]", nil), ("SELECT 1 AS one", nil),
    ] as [(String, PoolView.Refusal?)])
    func viewsThatAreRefused(query: String, refusal: PoolView.Refusal?) throws {
        try database.run(
            """
            CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN positive AS int;
            CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl); CREATE TYPE pair AS (a int);
            CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS \(query);
            """)
        #expect(try view("v").refusal == refusal)
        #expect(try view("t").refusal == .kind(UInt8(ascii: "r")))
    }
}
