import Testing

@testable import Cache

/// How alike two databases are, and how to make one that is.
@Suite struct DatabaseFactsTests {
    static let plain = DatabaseFacts(
        serverVersion: 150_004, encoding: "UTF8", collate: "en_US.UTF-8", ctype: "en_US.UTF-8",
        provider: UInt8(ascii: "c"), collationVersion: "2.36", libcVersion: "2.36")

    static func changed(_ change: (inout DatabaseFacts) -> Void) -> DatabaseFacts {
        var facts = plain
        change(&facts)
        return facts
    }

    @Test func versionAndEncoding() {
        let same = Self.plain.alikeness(of: Self.changed { $0.serverVersion = 150_020 })
        #expect(same.majorVersion && same.encoding && same.defaultCollation && same.allowsPools)
        #expect(!Self.plain.alikeness(of: Self.changed { $0.serverVersion = 160_000 }).allowsPools)
        #expect(!Self.plain.alikeness(of: Self.changed { $0.encoding = "LATIN1" }).allowsPools)
    }

    @Test func theDefaultCollation() {
        func isAlike(_ left: DatabaseFacts, _ right: DatabaseFacts) -> Bool {
            left.alikeness(of: right).defaultCollation
        }
        #expect(!isAlike(Self.plain, Self.changed { $0.collate = "de_DE.UTF-8" }))
        #expect(!isAlike(Self.plain, Self.changed { $0.ctype = "C" }))
        #expect(!isAlike(Self.plain, Self.changed { $0.collationVersion = "2.41" }))
        #expect(!isAlike(Self.plain, Self.changed { $0.provider = UInt8(ascii: "i") }))
        let unknown = Self.changed { $0.collationVersion = nil }
        #expect(!isAlike(unknown, unknown))
        func timeless(_ name: String, _ version: String?) -> DatabaseFacts {
            Self.changed {
                $0.collate = name
                $0.ctype = name
                $0.collationVersion = version
                $0.libcVersion = nil
            }
        }
        #expect(isAlike(timeless("C", nil), timeless("POSIX", "1")))
        #expect(isAlike(timeless("C.UTF-8", nil), timeless("C.UTF-8", nil)))
        #expect(!isAlike(timeless("C", nil), timeless("C.UTF-8", nil)))
        // Letters are those of a language, whatever the order is.
        let mixed = Self.changed { $0.collate = "C" }
        #expect(isAlike(mixed, mixed) && !isAlike(mixed, Self.changed { $0.libcVersion = "2.41" }))
        func icu(_ version: String?, _ locale: String, _ rules: String? = nil) -> DatabaseFacts {
            Self.changed {
                $0.provider = UInt8(ascii: "i")
                $0.locale = locale
                $0.rules = rules
                $0.collationVersion = version
            }
        }
        #expect(isAlike(icu("153.120", "de"), icu("153.120", "de")))
        #expect(!isAlike(icu("153.120", "de"), icu("153.121", "de")))
        #expect(!isAlike(icu("153.120", "de"), icu("153.120", "fr")))
        #expect(!isAlike(icu("153.120", "de"), icu("153.120", "de", "&a < b")))
        #expect(!isAlike(icu(nil, "de"), icu(nil, "de")))
    }

    @Test func statementsThatMakeOne() {
        let end = "LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'en_US.UTF-8'"
        let start = "CREATE DATABASE \"o\"\"d\" TEMPLATE template0 ENCODING 'UTF8'"
        let plain = " LC_COLLATE 'C' LC_CTYPE 'C'"
        func statements(_ change: (inout DatabaseFacts) -> Void) -> [String] {
            DatabaseFacts.createDatabase("o\"d", like: Self.changed(change))
        }
        let libc = start + " LOCALE_PROVIDER libc"
        #expect(statements { _ in } == ["\(libc) \(end)", libc + plain])
        #expect(statements { $0.serverVersion = 130_001 } == ["\(start) \(end)", start + plain])
        let icu = statements {
            $0.provider = UInt8(ascii: "i")
            $0.locale = "de'"
            $0.rules = "&a < b"
        }
        #expect(icu[0] == "\(start) LOCALE_PROVIDER icu ICU_LOCALE 'de''' ICU_RULES '&a < b' \(end)")
        let own = statements {
            $0.provider = UInt8(ascii: "b")
            $0.locale = "C.UTF-8"
        }
        #expect(own[0] == "\(start) LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' \(end)")
        let onlyC = statements {
            $0.collate = "C"
            $0.ctype = "C"
        }
        #expect(onlyC == [libc + plain])
    }

    @Test func rowsThatAreNoAnswer() {
        #expect(DatabaseFacts(rows: []) == nil)
        #expect(DatabaseFacts(rows: [["150000"]]) == nil)
        #expect(DatabaseFacts(rows: [Array(repeating: nil, count: 9)]) == nil)
    }

    // MARK: A real PostgreSQL

    private func facts(_ database: CatalogOrigin.Database) throws -> DatabaseFacts {
        try #require(
            DatabaseFacts(rows: try database.rows(DatabaseFacts.question(serverVersion: 150_000))))
    }

    @Test func databasesAreMadeAlike() throws {
        let origin = try CatalogOrigin.shared.get()
        let postgres = CatalogOrigin.Database(origin: origin, name: "postgres", user: "postgres")
        for options in [
            "LOCALE 'C.UTF-8'", "LOCALE 'C' ENCODING 'LATIN1'", "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
            "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-ks-level2'",
        ] {
            let name = "like" + String(options.utf8.reduce(UInt32(0)) { $0 &* 31 &+ UInt32($1) })
            try postgres.run("CREATE DATABASE \(name) TEMPLATE template0 \(options)")
            let made = try facts(CatalogOrigin.Database(origin: origin, name: name, user: "postgres"))
            let statements = DatabaseFacts.createDatabase(name + "b", like: made)
            try postgres.run(statements[0])
            let copy = try facts(CatalogOrigin.Database(origin: origin, name: name + "b", user: "postgres"))
            let expected = DatabaseFacts.Alikeness(majorVersion: true, encoding: true, defaultCollation: true)
            #expect(made.alikeness(of: copy) == expected, "\(options)")
            guard let last = statements.dropFirst().last else { continue }
            try postgres.run("DROP DATABASE \(name)b; \n" + last)
            let other = try facts(CatalogOrigin.Database(origin: origin, name: name + "b", user: "postgres"))
            #expect(made.alikeness(of: other).allowsPools && !made.alikeness(of: other).defaultCollation)
        }
    }

    /// The text for PostgreSQL 13 and 14 is a statement here too.
    @Test func olderServersAreAskedLess() throws {
        let database = try CatalogOrigin.shared.get().database()
        let old = DatabaseFacts(rows: try database.rows(DatabaseFacts.question(serverVersion: 130_000)))
        #expect(old?.collate == "C.UTF-8" && old?.provider == UInt8(ascii: "c"))
    }

    @Test func timeZones() throws {
        let database = try CatalogOrigin.shared.get().database()
        func digest(_ zone: String, after: String = "") throws -> String? {
            try database.rows(DatabaseFacts.zoneQuestion(zone), after: after)[0][0]
        }
        let paris = try digest("Europe/Paris")
        #expect(paris?.count == 32)
        #expect(paris == (try digest("europe/paris", after: "SET TimeZone = 'Asia/Tokyo'")))
        #expect(paris != (try digest("Europe/Berlin")))
        #expect(try digest("UTC") == (try digest("Etc/UTC")))
        #expect(try digest("<+02>-02") != (try digest("<+03>-03")))
        // A second is enough to tell two zones apart: this one ends its summer an hour later than Paris.
        #expect(
            try digest("CET-1CEST,M3.5.0/02:00:00,M10.5.0/03:00:00")
                != (try digest("CET-1CEST,M3.5.0/02:00:00,M10.5.0/03:00:01")))
        // SET takes it for a zone with a summer, and timezone() for an abbreviation without one.
        #expect(try digest("CET") == nil)
        #expect(throws: CatalogOrigin.Failure.self) { try digest("Nowhere/City") }
        let hint = try database.rows(DatabaseFacts.zonesQuestion)[0][0]
        #expect(hint?.count == 32)
        #expect(hint == (try database.rows(DatabaseFacts.zonesQuestion, after: "SET TimeZone = 'Asia/Tokyo'")[0][0]))
    }
}
