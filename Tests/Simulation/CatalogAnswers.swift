import CDC
import Cache
import PGProtocol

/// What the modelled origin answers to pgcache's questions about its catalog.
///
/// Tables and rights are those of `Table.all` and of the database's `CatalogState`, functions those of a new
/// PostgreSQL 15. A text that no part of pgcache sends is a mistake of the model's and stops it.
struct CatalogAnswers {
    let publications: Publications
    let database: OriginDatabase

    static let role = "pgcache"
    static let databaseName = "sim"

    func rows(_ sql: String, _ parameters: [String?]) -> [[String?]] {
        if sql == Rights.sql { return rights(parameters) }
        if sql == Rights.confirmation {
            return [[who, versions(parameters[0])]]
        }
        if sql == CatalogQueries.relations { return relations(parameters) }
        if sql == CatalogPoll.sql { return [poll + [versions(parameters[0])]] }
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
        if sql == DatabaseFacts.question(serverVersion: 150_000).sql {
            return [["150004", "UTF8", "C", "C", "c", nil, nil, nil, nil]]
        }
        if sql == DatabaseFacts.zoneQuestion("").sql {
            return [[Self.digest(ofZone: parameters.first.flatMap { $0 } ?? "")]]
        }
        if sql == PoolSchema.question(OID(0)).sql { return pool(parameters) }
        if sql == ReplicationFeed.blockerQuery { return blocker }
        preconditionFailure("the modelled origin has no answer to \(sql)")
    }

    /// For each pair of schema and name a row per column, ordered by both.
    private func relations(_ parameters: [String?]) -> [[String?]] {
        let arrays = parameters.map { SQLExcerpt.elements(ofArray: $0 ?? "") }
        precondition(arrays.count == 2 && arrays[0].count == arrays[1].count, "pairs of schema and name")
        let pairs = zip(arrays[0], arrays[1]).sorted { $0 < $1 }
        var rows: [[String?]] = []
        for (schema, name) in pairs {
            if schema == CatalogState.schema, name == Sheet.name, let sheet = database.catalog.sheet {
                rows += self.rows(of: sheet)
                continue
            }
            guard let table = Table.all.first(where: { $0.schema == schema && $0.name == name }) else {
                rows.append(
                    [schema, name] + [nil, nil, nil, nil, nil, "f"] + [nil, nil, nil, nil, nil, nil]
                        + ["t", "f", "f", nil, "f", nil, nil, nil, nil, nil, nil])
                continue
            }
            for (index, column) in table.columns.enumerated() {
                rows.append([
                    schema, name, "\(table.oid)", "r", "p", "f", "f", "f",
                    table.replicaIdentity == .full ? "f" : "d", "\(index + 1)", column.name,
                    "\(column.type.oid)", "f", column.isNotNull ? "t" : "f", "t", index == 0 ? "t" : "f",
                    "f", "t", table.trigger == nil ? "f" : "t", "\(column.type.oid)", schema, name, nil, nil,
                    version(of: table.oid),
                ])
            }
        }
        return rows
    }

    /// A row for each column of a table whose columns change.
    private func rows(of sheet: Sheet) -> [[String?]] {
        sheet.attributes.map { attribute in
            [
                CatalogState.schema, Sheet.name, "\(sheet.oid)", "r", "p",
                sheet.hasRowSecurity ? "t" : "f", "f", "f", "d",
                "\(attribute.number)", attribute.column.rawValue, "\(attribute.type.oid)", "f",
                attribute.number == 1 ? "t" : "f", "t", attribute.number == 1 ? "t" : "f", "f", "t", "f",
                "\(attribute.type.oid)", CatalogState.schema, Sheet.name, nil, nil, version(of: sheet.oid),
            ]
        }
    }

    /// A role, and the OIDs of tables; no functions need a right of their own here.
    private func rights(_ parameters: [String?]) -> [[String?]] {
        let state = database.catalog
        let tables = (parameters[1] ?? "{}").dropFirst().dropLast().split(separator: ",").map { OID($0) }
        guard let role = parameters[0].flatMap({ OriginRole(rawValue: $0) }) else {
            return [["f", who, versions(parameters[1], parameters[7])]]
        }
        let mayRead = tables.allSatisfy { oid in
            guard let table = oid.flatMap({ database.table($0) }) else { return false }
            return state.mayRead(role, table) && state.mayUseSchema(role, of: table)
        }
        let hasPolicy = tables.contains { $0 == state.sheet?.oid } && state.sheet?.hasRowSecurity == true
        return [[!mayRead ? "f" : hasPolicy ? "p" : "t", who, versions(parameters[1], parameters[7])]]
    }
    private var who: String? { CatalogPoll.who(ofRow: poll + [""]) }

    /// What stands for a hash of a table's row of pg_class, without its privileges.
    func version(of oid: OID) -> String? {
        if let sheet = database.catalog.sheet, sheet.oid == oid { return sheet.hasRowSecurity ? "secured" : "open" }
        return Table.all.contains { $0.oid == oid } ? "same" : nil
    }

    /// The same with the privileges, for arrays of OIDs.
    private func versions(_ arrays: String?...) -> String {
        let numbers = arrays.flatMap { ($0 ?? "{}").dropFirst().dropLast().split(separator: ",") }
        return Set(numbers.compactMap { OID(String($0)) }).sorted().compactMap { oid in
            guard let version = version(of: oid), let table = database.table(oid) else { return nil }
            let state = database.catalog
            let readers = table < state.readers.count ? state.readers[table] : state.sheet?.readers ?? []
            return "\(oid):\(version):\(readers.map(\.rawValue).sorted().joined(separator: ","))"
        }.joined(separator: " ")
    }

    /// One value per part of the poll: behind the colon the version of the catalog that has changed it last. The last
    /// is the moment at which the configuration was loaded.
    private var poll: [String?] {
        let versions = database.catalogVersions
        func last(_ isChange: (CatalogState, CatalogState) -> Bool) -> String {
            let place = versions.indices.dropFirst().last { isChange(versions[$0 - 1].state, versions[$0].state) }
            return "1:\(place ?? 0)"
        }
        return Self.pollParts.map { part in
            if part.contains("pg_attribute x") { return last { $0.sheet?.attributes != $1.sheet?.attributes } }
            if part.contains("pg_auth_members x") { return last { $0.staff != $1.staff } }
            if part.contains("spaces n)") { return last { $0.schemaUsers != $1.schemaUsers } }
            if part.contains("c.relacl") {
                return last { $0.readers != $1.readers || $0.sheet?.readers != $1.sheet?.readers }
            }
            guard part.contains("c.relrowsecurity") else { return "1:0" }
            return last { $0.sheet?.oid != $1.sheet?.oid || $0.sheet?.hasRowSecurity != $1.sheet?.hasRowSecurity }
        } + ["2026-01-01 00:00:\(10 + publications.catalogVersion)"]
    }

    /// The version of the catalog that an answer to the poll tells of.
    static func version(ofPoll rows: [[String?]]) -> Int? {
        rows.first?.dropLast(2).compactMap { $0?.split(separator: ":").last.flatMap { Int($0) } }.max()
    }

    /// The expressions of the poll but the last two: the moment at which the configuration was loaded, and `versions`.
    private static let pollParts: [String] = {
        let opening = "(SELECT pg_catalog.concat(pg_catalog.count(*)"
        let end = CatalogPoll.sql.firstRange(of: "pg_catalog.pg_conf_load_time()")?.lowerBound
        var rest = CatalogPoll.sql[..<(end ?? CatalogPoll.sql.endIndex)]
        var parts: [String] = []
        while let place = rest.firstRange(of: opening) {
            rest = rest[place.upperBound...]
            parts.append(String(rest[..<(rest.firstRange(of: opening)?.lowerBound ?? rest.endIndex)]))
        }
        return parts
    }()

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
