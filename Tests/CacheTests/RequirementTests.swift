import Testing

@testable import Cache

@Suite struct RequirementTests {
    typealias Level = Requirement.Finding.Level

    static func levels(_ requirement: Requirement, _ rows: [[String?]]) -> [Level] {
        requirement.judge(rows).map(\.level)
    }

    @Test func rowsAreJudged() {
        let cases: [(Requirement, [[String?]], [Level])] = [
            (.serverVersion, [["120010", "12.10"]], [.failure]),
            (.serverVersion, [["130000", "13.0"]], [.ok]),
            (.serverVersion, [["170002", "17.2"]], [.ok]),
            (.serverVersion, [["180000", "18.0"]], [.warning]),
            (.serverVersion, [], [.failure]), (.serverVersion, [["x", nil]], [.failure]),
            (.primary, [["f"]], [.ok]), (.primary, [["t"]], [.failure]),
            (.walLevel, [["logical"]], [.ok]), (.walLevel, [["replica"]], [.failure]),
            (.replicationRight, [["a", "t"]], [.ok]), (.replicationRight, [["a", "f"]], [.failure]),
            (.createRight, [["a", "d", "t"]], [.ok]), (.createRight, [["a", "d", "f"]], [.failure]),
            (.freeSlots, [["10", "9"]], [.ok]), (.freeSlots, [["10", "10"]], [.failure]),
            (.freeSenders, [["0", "0"]], [.failure]), (.freeSenders, [["?", "0"]], [.failure]),
            (.slotLimit, [["-1"]], [.warning]), (.slotLimit, [["8GB"]], [.ok]),
            (.plainNames, [["o", "x"]], [.ok]), (.plainNames, [["c", "x"], ["x", "="]], [.failure, .failure]),
            (.orphans, [], [.ok]), (.orphans, [["slot", "pgcache_1"]], [.warning]),
            (.preparedTransactions, [["a'b", "now"]], [.warning]),
        ]
        for (requirement, rows, levels) in cases {
            #expect(Self.levels(requirement, rows) == levels, "\(requirement.name) \(rows)")
        }
        #expect(
            Requirement.preparedTransactions.judge([["a'b", "now"]])[0].fix == "ROLLBACK PREPARED 'a''b';")
    }

    @Test func aShortOrBrokenAnswerNeverTraps() {
        for requirement in Requirement.all() + Requirement.all(publication: "p") {
            for rows in [[], [[]], [[nil]], [["a"]], [["a", "b"]], [["a", nil, "c", "d"]]] as [[[String?]]] {
                #expect(!requirement.judge(rows).isEmpty, "\(requirement.name)")
            }
        }
    }

    @Test func longListsAreCutAndCounted() throws {
        let requirement = try #require(Requirement.all().first { $0.name == "replica identity" })
        let rows: [[String?]] = (0..<60).map { ["s", "t\($0)", "d"] }
        let findings = requirement.judge(rows)
        #expect(findings.count == Requirement.namesMax + 1)
        #expect(findings.last?.text == "and 10 more")
    }

    /// What an ordinary role misses is named, and the statements that are printed repair it.
    @Test func whatIsMissingIsNamedWithItsRepair() throws {
        let database = try CatalogOrigin.shared.get().database()
        let role = "check_\(database.name)"
        try database.run(
            """
            CREATE ROLE \(role) LOGIN; CREATE TABLE "Bare" (a int); CREATE TABLE keyed (a int PRIMARY KEY);
            CREATE TABLE late (a int PRIMARY KEY DEFERRABLE); CREATE UNLOGGED TABLE quick (a int);
            CREATE TABLE parted (a int) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF parted DEFAULT;
            CREATE TABLE guarded (a int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
            """)
        func findings(_ allowed: [String] = []) throws -> [String: [Requirement.Finding]] {
            var all: [String: [Requirement.Finding]] = [:]
            for requirement in Requirement.all(allowedTables: allowed) {
                all[requirement.name] = requirement.judge(
                    try database.asRole(role).rows(
                        requirement.query, after: "SET search_path = public, pg_catalog"))
            }
            return all
        }
        let first = try findings()
        func texts(_ name: String) -> String { first[name, default: []].map(\.text).joined(separator: "; ") }
        #expect(first["server version"]?.map(\.level) == [.ok] && first["wal_level"]?.map(\.level) == [.ok])
        #expect(first["replication slots"]?.map(\.level) == [.ok])
        #expect(first["WAL senders"]?.map(\.level) == [.ok])
        #expect(first["built-in objects"]?.map(\.level) == [.ok])
        #expect(first["replication right"]?.map(\.level) == [.failure])
        #expect(first["create right"]?.map(\.level) == [.failure])
        #expect(first["ownership"]?.count == 5, "\(texts("ownership"))")
        let bare = try #require(first["replica identity"])
        #expect(bare.map { $0.text.prefix { $0 != ":" } } == ["public.Bare", "public.late", "public.part"])
        #expect(texts("row-level security").contains("public.guarded"))
        #expect(first["row-level security"]?.count == 1)
        #expect(texts("other relations") == "public.quick: unlogged; it is forwarded")

        for name in ["replication right", "create right", "ownership", "replica identity"] {
            for finding in first[name, default: []] { try database.run(try #require(finding.fix)) }
        }
        let second = try findings()
        for name in ["replication right", "create right", "ownership", "replica identity"] {
            #expect(second[name]?.map(\.level) == [.ok], "\(name)")
        }
        // GRANT postgres TO role made it a member of a superuser's role, not of its attributes.
        #expect(try findings(["KEYED", "public.part"])["row-level security"]?.map(\.level) == [.ok])
        #expect(try findings(["public.PART"])["other relations"]?.count == 1)
    }

    @Test func anOperatorsPublicationMustCarryEverything() throws {
        let database = try CatalogOrigin.shared.get().database()
        func levels() throws -> [Level] {
            let requirement = try #require(
                Requirement.all(publication: "mine").first { $0.name == "publication" })
            let findings = requirement.judge(try database.rows(requirement.query))
            for finding in findings { try finding.fix.map { _ = try database.run($0) } }
            return findings.map(\.level)
        }
        #expect(try levels() == [.failure])
        #expect(try levels() == [.ok])
        try database.run(
            "ALTER PUBLICATION mine SET (publish = 'insert', publish_via_partition_root = true)")
        #expect(try levels() == [.failure, .failure])
        #expect(try levels() == [.ok])
        let names = Requirement.all(publication: "mine").map(\.name)
        #expect(!names.contains("ownership") && !names.contains("create right"))
    }

    @Test func leftoversAndPreparedTransactionsAreFound() throws {
        let database = try CatalogOrigin.shared.get().database()
        try database.run("CREATE PUBLICATION pgcache_pub_00ff")
        let findings = Requirement.orphans.judge(try database.rows(Requirement.orphans.query))
        #expect(findings.map(\.level) == [.warning])
        #expect(findings.first?.text.contains("pgcache_pub_00ff") == true)
        #expect(
            Requirement.preparedTransactions.judge(
                try database.rows(Requirement.preparedTransactions.query)).map(\.level) == [.ok])
    }
}
