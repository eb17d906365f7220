import PGProtocol
import Testing

@testable import Cache

/// Whether a real PostgreSQL agrees that a statement depends on no other settings than `SettingClasses` says [K1].
@Suite struct SettingClassesOriginTests {
    let database: CatalogOrigin.Database

    init() throws { database = try CatalogOrigin.shared.get().database() }

    /// A value of each type that has classes of its own, by pg_type's names: two where one tells too little.
    static let values: [(type: String, literals: [String])] = [
        ("bool", ["t", "f"]), ("bytea", ["\\x00ff41"]), ("\"char\"", ["a"]), ("name", ["ab"]),
        ("int8", ["12345678901"]), ("int2", ["-7"]), ("int4", ["70000"]), ("text", ["a b", "NULL"]),
        ("oid", ["77"]), ("json", ["{\"a\": 1.50, \"b\": \"2020-01-02\"}"]),
        ("jsonb", ["{\"a\": 1.50, \"b\": [1, null]}"]), ("cidr", ["10.0.0.0/8"]),
        ("macaddr", ["08:00:2b:01:02:03"]), ("macaddr8", ["08:00:2b:01:02:03:04:05"]), ("inet", ["10.1.2.3/8"]),
        ("bpchar", ["x  "]), ("char(5)", ["y"]), ("varchar", ["v"]), ("varchar(7)", ["w"]),
        ("bit(3)", ["101"]), ("varbit", ["1010"]), ("numeric", ["1234.500", "NaN"]), ("numeric(9,2)", ["1.25"]),
        ("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]), ("float4", ["0.1", "1.23456789"]),
        ("float8", ["0.1", "1.234567890123456789", "Infinity"]), ("date", ["2020-03-04", "infinity"]),
        ("time", ["12:34:56.789"]), ("timestamp", ["2020-03-04 12:34:56"]),
        ("timestamptz", ["2020-03-04 22:34:56+00", "2020-07-04 22:34:56+00"]),
        ("interval", ["1 year 2 mons 3 days 04:05:06"]), ("mood", ["happy"]), ("day_name", ["2020-03-04"]),
        ("word", ["q"]), ("mood_word", ["sad"]),
        // Of these every setting may matter; they are here to see that the settings below do something.
        ("money", ["1234.50"]), ("point", ["(0.1,1.23456789012345678)"]), ("tstzrange", ["[2020-03-04,2020-03-05)"]),
        ("xml", ["<a/>"]), ("tsvector", ["'a' 'b'"]),
    ]

    static let settings: [(name: String, values: [String])] = [
        ("TimeZone", ["UTC", "Asia/Tokyo", "America/New_York"]), ("timezone_abbreviations", ["Default", "India"]),
        ("DateStyle", ["ISO, MDY", "German, DMY", "SQL, DMY", "Postgres, MDY"]),
        ("IntervalStyle", ["postgres", "iso_8601", "sql_standard"]), ("extra_float_digits", ["1", "0", "-5"]),
        ("bytea_output", ["hex", "escape"]), ("client_encoding", ["UTF8", "SQL_ASCII"]),
        ("standard_conforming_strings", ["on", "off"]), ("lc_monetary", ["C", "C.UTF-8"]),
        ("lc_numeric", ["C", "C.UTF-8"]), ("lc_time", ["C", "C.UTF-8"]), ("backslash_quote", ["on", "off"]),
        ("escape_string_warning", ["on", "off"]), ("quote_all_identifiers", ["on", "off"]),
        ("array_nulls", ["on", "off"]), ("xmlbinary", ["base64", "hex"]), ("xmloption", ["content", "document"]),
        ("default_text_search_config", ["simple", "english"]), ("row_security", ["on", "off"]),
        ("client_min_messages", ["notice", "error"]),
    ]

    /// Statements about every column, and some about how types come into a statement unseen.
    static var statements: [String] {
        var statements: [String] = []
        for (index, value) in values.enumerated() {
            let column = "c\(index)"
            statements += [
                "select \(column) from every", "select \(column)::text from every",
                "select \(column) || 'x' from every",
                "select concat(\(column), 'x'), concat_ws('-', \(column)) from every",
                "select coalesce(\(column)::text, 'x') from every", "select (id, \(column)) from every",
                "select max(\(column)), min(\(column)) from every", "select array[\(column)] from every",
                "select case when id = 1 then \(column) end from every", "select a\(index) from every",
                "select a\(index)[1] from every", "select id from every where \(column) = any('{NULL,\"x\"}')",
            ]
            let bare = value.literals[0].replacing("'", with: "''")
            for literal in [bare, "01.02.2020", "2020-03-05 02:00 IST", "{NULL}", "1-2 3 4:05:06", "0.1"] {
                statements += [
                    "select id from every where \(column) = '\(literal)'",
                    "select id from every where \(column) < '\(literal)'",
                    "select id from every where '{\(bare.replacing("\"", with: "\\\""))}' = a\(index)",
                ]
            }
        }
        let odd = ["'0.1'", "'5'", "0.1", "5", "null", "'{1,NULL}'", "'01.02.2020'", "' 12:34'", "E'a\\'b'", "'a\\b'"]
        for value in odd {
            for expression in [
                "\(value)", "+ \(value)", "- \(value)", "abs(\(value))", "round(\(value))", "sum(\(value))",
                "avg(\(value))", "max(\(value))", "length(\(value))", "upper(\(value))", "mod(\(value), '7')",
                "\(value) || \(value)", "\(value) ^ '0.3'", "\(value) + '0.3'", "\(value) * 0.3", "\(value) / 3",
                "\(value) % 3", "\(value) - 1", "coalesce(\(value), '7')", "greatest(\(value), 7)",
                "case when true then \(value) else 0.5 end", "nullif(\(value), 5)", "concat(\(value), 1)",
                "sqrt(\(value))", "@ \(value)", "string_agg(\(value), ',')",
                "id = \(value)", "id = any(\(value))", "c6 + \(value)", "c7 || \(value)", "\(value) || id",
                "c21 * \(value)", "c21 / \(value)", "c10 -> 'a'", "c10 ->> \(value)", "c10 || \(value)",
                "c24 + \(value)", "c24 * 0.3", "bool_and(\(value))", "substring(\(value) from 1)",
                "\(value) between '1' and '9'", "\(value) like 'a%'", "c26 - \(value)", "c29 + \(value)",
            ] {
                statements.append("select \(expression) from every where id = 1")
            }
        }
        for expression in [
            "5 ^ -1", "id ^ 0.3", "(id + 2) ^ -1", "|/ 5", "|/ id", "quote_ident(c3::text)", "format('%I', c7)",
            "to_char(c26, 'TMMonth')", "to_char(c6, 'L9D9')",
        ] {
            statements.append("select \(expression) from every where id = 1")
        }
        return statements
    }

    private func makeTables() throws {
        var text = """
            CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN day_name AS date; CREATE DOMAIN word AS text;
            CREATE DOMAIN mood_word AS mood;
            CREATE FUNCTION probe(asked text) RETURNS text LANGUAGE plpgsql SET search_path = public AS $f$
            DECLARE answer text;
            BEGIN
              EXECUTE 'SELECT string_agg(x::text, chr(10)) FROM (' || asked || ') x' INTO answer;
              RETURN answer;
            EXCEPTION WHEN OTHERS THEN RETURN sqlstate;
            END $f$;
            CREATE TABLE every (id int PRIMARY KEY

            """
        for (index, value) in Self.values.enumerated() {
            text += ", c\(index) \(value.type), a\(index) \(value.type)[]\n"
        }
        text += ");\n"
        for row in 0..<3 {
            let cells = Self.values.map { value in
                let literal = value.literals[min(row, value.literals.count - 1)].replacing("'", with: "''")
                return ", '\(literal)', ARRAY['\(literal)', NULL]::\(value.type)[]"
            }
            text += "INSERT INTO every VALUES (\(row + 1)\(cells.joined()));\n"
        }
        try database.run(text)
    }

    /// The answers to all statements under one value of one setting.
    private func answers(_ setting: String, _ value: String) throws -> [String] {
        var text = "SET lc_monetary = 'C'; SET TimeZone = 'UTC'; SET client_min_messages = 'notice';"
        text += "SET \(setting) = '\(value)';\n"
        for statement in Self.statements {
            text += "SELECT encode(convert_to(coalesce(probe($q$\(statement)$q$), '-'), 'UTF8'), 'hex');\n"
        }
        return try database.run(text).map { $0[0] ?? "" }
    }

    @Test func k1NoAnswerDependsOnASettingOfAnotherClass() throws {
        try makeTables()
        let catalog = try database.loadedCatalog()
        guard case .found(let relation) = try database.relation("public", "every") else {
            Issue.record("the table was not found")
            return
        }
        struct View: CatalogLookup {
            var loaded: CatalogView
            var every: Relation
            func relation(_ name: RelationName) -> RelationLookup { .found(every) }
            func functions(named name: String) -> [FunctionFact] {
                loaded.functions(named: name).filter { $0.isBuiltIn }
            }
            func hasUserOperator(named name: String) -> Bool { false }
            func isUserType(named name: String) -> Bool { loaded.isUserType(named: name) }
        }
        let view = View(
            loaded: try #require(catalog.view(searchPath: ["pg_catalog", "public"])), every: relation)
        let classes = Self.statements.map { text -> SettingClasses? in
            guard case .cacheable(let query) = parse(text).resolved(with: view, allows: { _ in true }) else {
                return nil
            }
            return query.classes
        }
        #expect(classes.count { $0 != nil } > 1000)
        var differed: Set<String> = []
        for (setting, values) in Self.settings {
            let all = try values.map { try answers(setting, $0) }
            #expect(all.allSatisfy { $0.count == Self.statements.count })
            let depends = SettingClasses.ofSetting(setting)
            for (index, text) in Self.statements.enumerated()
            where all.contains(where: { $0[index] != all[0][index] }) {
                differed.insert(setting)
                guard let depends, let classes = classes[index] else { continue }
                #expect(classes.contains(depends), "\(text) depends on \(setting)")
            }
        }
        // The others act on nothing that a statement of this kind can show.
        for setting in ["TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "array_nulls",
                        "standard_conforming_strings", "backslash_quote", "timezone_abbreviations",
                        "quote_all_identifiers"] {
            #expect(differed.contains(setting), "\(setting) altered nothing: the statements show too little")
        }
    }

    /// Whatever a plain function or operator returns depends on no more than what it is given does.
    @Test func k1NoOverloadBringsAClassOfItsOwn() throws {
        func list(_ names: Set<String>) -> String {
            "ARRAY[" + names.sorted().map { "'\($0)'" }.joined(separator: ",") + "]"
        }
        let functions = try database.run(
            "SELECT proname, prorettype, proargtypes FROM pg_proc "
                + "WHERE pronamespace = 'pg_catalog'::regnamespace "
                + "AND proname = ANY (\(list(SettingClasses.plainFunctions)))")
        let operators = try database.run(
            "SELECT oprname, oprresult, concat(oprleft, ' ', oprright) FROM pg_operator "
                + "WHERE oprnamespace = 'pg_catalog'::regnamespace "
                + "AND oprname = ANY (\(list(SettingClasses.plainOperators)))")
        #expect(functions.count > 100 && operators.count > 300)
        // Pseudo-types stand for what is given: any, anyarray, anyelement, anynonarray, anyrange, anycompatible, …
        let pseudo: Set<UInt32> = [2276, 2277, 2283, 2776, 3831, 4537, 4538, 5077, 5078, 5079, 5080, 2249]
        func classes(_ oid: OID) -> SettingClasses { pseudo.contains(oid.value) ? [] : .ofType(oid) }
        for row in functions + operators {
            let given = try #require(row[2]).split(separator: " ").compactMap { OID(String($0)) }
                .filter { $0.value != 0 }
            let result = try #require(row[1].flatMap { OID($0) })
            let all = given.reduce(into: SettingClasses()) { $0.formUnion(classes($1)) }
            #expect(all.isSuperset(of: classes(result)), "\(row)")
        }
        let known = try database.run("SELECT DISTINCT proname FROM pg_proc").compactMap { $0[0] }
        // character_length and its like are what the grammar writes; all of them are functions.
        #expect(SettingClasses.plainFunctions.union(SettingClasses.numericFunctions).isSubset(of: known))
    }
}
