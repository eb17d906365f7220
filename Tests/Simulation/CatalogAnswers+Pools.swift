import Cache
import PGProtocol

/// What a relation's pool is made of, as the modelled origin tells it (`PoolSchema.question`).
extension CatalogAnswers {
    /// All systems of a world know the same of a time zone.
    static func digest(ofZone zone: String) -> String { "digest of \(zone)" }

    /// Bytes that a row takes in the catalog's opinion.
    static let bytesPerRow = 100

    func pool(_ parameters: [String?]) -> [[String?]] {
        guard let oid = parameters.first.flatMap({ $0 }).flatMap({ OID($0) }), let place = database.table(oid) else {
            return []
        }
        let sheet = database.catalog.sheet
        guard place < Table.all.count || sheet?.table == place else { return [] }
        let table = place < Table.all.count ? Table.all[place] : sheet?.published ?? Table.all[0]
        let numbers = place < Table.all.count ? Array(1...table.columns.count) : sheet?.attributes.map(\.number) ?? []
        let view = Sight.view(database.currentView(), own: nil)
        func row(_ tag: String, _ place: Int, _ values: [String?]) -> [String?] {
            [tag, "\(place)"] + values + Array(repeating: nil, count: 14 - values.count)
        }
        let key = "\(table.oid.value + 1000)"
        var rows = [
            row(
                "r", 0,
                [
                    "\(oid)", table.schema, table.name, "r", "p",
                    place >= Table.all.count && sheet?.hasRowSecurity == true ? "true" : "false",
                    table.replicaIdentity == .full ? "f" : "d",
                    "\(database.tables[place].rows(view).count * Self.bytesPerRow)", "-1", version(of: table.oid),
                ])
        ]
        for (number, column) in zip(numbers, table.columns) {
            rows.append(
                row(
                    "c", number,
                    [
                        column.name, "\(column.type.oid)", "-1", column.type.keywords,
                        column.isNotNull ? "true" : "false", "", column.type == .text ? "100" : "0", nil, "true",
                    ]))
        }
        for type in [ColumnType.bool, .int4, .int8, .text, .date, .bytea] {
            rows.append(
                row(
                    "t", 0,
                    [
                        "\(type.oid)", "b", "pg_catalog", "\(type)", nil, "false", nil,
                        type == .text ? "100" : "0", "0", "false", "false",
                    ]))
        }
        rows.append(row("o", 0, ["100", "pg_catalog", "default", "d", "true"]))
        guard numbers.first == 1 else { return rows }
        rows.append(
            row("i", 1, [key, "\(table.name)_pkey", "btree", "true", "true", "false", "true", nil, "true"]))
        rows.append(row("k", 1, [key, "1", table.columns[0].name, "pg_catalog", "int4_ops", "true", "0", "0"]))
        return rows
    }
}

extension ColumnType {
    /// Its name where that is written in key words (format_type.c).
    fileprivate var keywords: String? {
        switch self {
        case .bool: "boolean"
        case .int4: "integer"
        case .int8: "bigint"
        case .text, .date, .bytea: nil
        }
    }
}
