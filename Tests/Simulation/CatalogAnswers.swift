import CDC
import Cache
import PGProtocol

/// What the modelled origin answers to pgcache's questions about its catalog.
///
/// Nothing in this catalog ever changes but `catalogVersion`: tables, functions and rights are those of `Table.all` and
/// of a new PostgreSQL 15. A text that no part of pgcache sends is a mistake of the model's and stops it.
struct CatalogAnswers {
    let publications: Publications
    let database: OriginDatabase

    static let role = "pgcache"
    static let databaseName = "sim"

    func rows(_ sql: String, _ parameters: [String?]) -> [[String?]] {
        if sql == Rights.sql { return [["t"]] }
        if sql == CatalogQueries.relations { return relations(parameters) }
        if sql == CatalogPoll.query.sql { return [poll] }
        if sql.hasPrefix("SELECT pg_wal_lsn_diff(") { return publications.retention(sql) }
        if sql == CatalogQueries.originFacts {
            return [
                [
                    "16384", Self.databaseName, "150004", "logical", "UTF8", "f", Self.role, "t", "t", "f",
                ]
            ]
        }
        if sql == CatalogQueries.functions(builtIn: true) { return Self.builtInFunctions }
        if sql == CatalogQueries.functions(builtIn: false) { return [] }
        if sql == CatalogQueries.userNames { return [] }
        if sql == ReplicationFeed.blockerQuery { return blocker }
        if let name = parameters.first ?? nil, sql == CatalogPoll.membership(publication: name).sql {
            return publications.memberships(name)
        }
        preconditionFailure("the modelled origin has no answer to \(sql)")
    }

    /// For each pair of schema and name a row per column, ordered by both; only `public` holds anything.
    private func relations(_ parameters: [String?]) -> [[String?]] {
        let arrays = parameters.map { SQLExcerpt.elements(ofArray: $0 ?? "") }
        precondition(arrays.count == 2 && arrays[0].count == arrays[1].count, "pairs of schema and name")
        let pairs = zip(arrays[0], arrays[1]).sorted { $0 < $1 }
        var rows: [[String?]] = []
        for (schema, name) in pairs {
            guard schema == "public", let table = Table.all.first(where: { $0.name == name }) else {
                rows.append(
                    [schema, name] + [nil, nil, nil, nil, nil, "f"] + [nil, nil, nil, nil, nil, nil]
                        + ["t", "f", "f", nil])
                continue
            }
            for (index, column) in table.columns.enumerated() {
                rows.append([
                    schema, name, "\(table.oid)", "r", "p", "f", "f", "f",
                    table.replicaIdentity == .full ? "f" : "d", "\(index + 1)", column.name,
                    "\(column.type.oid)", "f", column.isNotNull ? "t" : "f", "t", index == 0 ? "t" : "f",
                    "f", "t",
                ])
            }
        }
        return rows
    }

    /// One value per part of the poll; the last is the moment at which the configuration was loaded.
    private var poll: [String?] {
        [String?](repeating: "1:1", count: Self.pollParts - 1)
            + ["2026-01-01 00:00:\(10 + publications.catalogVersion)"]
    }
    private static let pollParts =
        CatalogPoll.query.sql.ranges(of: "pg_catalog.concat(pg_catalog.count(*)").count + 1

    private var blocker: [[String?]] {
        guard let open = database.running.first else { return [] }
        let number = open.xid.map(\.description) ?? "-"
        return [["session", number, Self.role, Self.databaseName, "2026-01-01 00:00:00+00", "client"]]
    }

    /// Some of PostgreSQL 15's own (catalog/pg_proc.dat): name, oid, schema, volatility, kind, returns a set.
    private static let builtInFunctions: [[String?]] = [
        ("count", 2147, "i", "a"), ("count", 2803, "i", "a"), ("sum", 2107, "i", "a"),
        ("sum", 2108, "i", "a"), ("sum", 2109, "i", "a"), ("max", 2116, "i", "a"),
        ("min", 2132, "i", "a"), ("lower", 870, "i", "f"), ("upper", 871, "i", "f"),
        ("abs", 1397, "i", "f"), ("length", 1317, "i", "f"), ("concat", 3058, "s", "f"),
        ("now", 1299, "s", "f"), ("random", 1598, "v", "f"), ("nextval", 1574, "v", "f"),
        ("row_number", 3100, "i", "w"),
    ].map { [$0.0, "\($0.1)", "pg_catalog", $0.2, $0.3, "f"] }
}
