import PGProtocol

/// A collation as one server knows it. Values compare strings alike if they are equal and have a version, or if they
/// never change.
package struct PoolCollation: Hashable, Sendable {
    package var schema: String
    package var name: String
    /// pg_collation.collprovider: `c` libc, `i` ICU, `b` PostgreSQL's own code (17), `d` the database's default.
    package var provider: UInt8
    package var isDeterministic: Bool
    package var collate: String?
    package var ctype: String?
    package var locale: String?
    package var rules: String?
    /// Of the library's rules as they are now (pg_collation_actual_version), not as they were when it was made.
    package var version: String?

    /// Expressions over `l` of pg_collation and `n` of pg_namespace, in the order of `init(row:)`. Columns that only
    /// some versions have are read through jsonb: ICU's locale has its own from 15, its rules from 16.
    static let values: [String] = {
        let column = { (name: String) in
            "pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) '\(name)'::pg_catalog.text"
        }
        return [
            "n.nspname", "l.collname", "l.collprovider", "l.collisdeterministic", "l.collcollate", "l.collctype",
            "COALESCE(\(column("colllocale")), \(column("colliculocale")))", column("collicurules"),
            "pg_catalog.pg_collation_actual_version(l.oid)",
        ]
    }()

    init?(row: some Collection<String?>) {
        let row = Array(row)
        guard row.count == Self.values.count, let schema = row[0], let name = row[1],
            let provider = SQLText.character(row[2]), let isDeterministic = PoolRow.boolean(row[3])
        else { return nil }
        self.schema = schema
        self.name = name
        self.provider = provider
        self.isDeterministic = isDeterministic
        collate = row[4]
        ctype = row[5]
        locale = row[6]
        rules = row[7]
        version = row[8]
    }

    /// Collations by schema and name, as the asked database would find them: one for its encoding before one for all.
    package static func question(_ names: [PoolCollation]) -> OriginQuery {
        let equals = CatalogQueries.equals
        return OriginQuery(
            """
            SELECT DISTINCT ON (asked.place) \(values.map { "(\($0))::pg_catalog.text" }.joined(separator: ", "))
            FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
              WITH ORDINALITY AS asked(schema, name, place)
            JOIN pg_catalog.pg_namespace n ON n.nspname \(equals) asked.schema::pg_catalog.name
            JOIN pg_catalog.pg_collation l ON l.collnamespace \(equals) n.oid
              AND l.collname \(equals) asked.name::pg_catalog.name
            JOIN pg_catalog.pg_database d ON d.datname \(equals) pg_catalog.current_database()
            WHERE l.collencoding \(equals) d.encoding OR l.collencoding \(equals) '-1'::pg_catalog.int4
            ORDER BY asked.place, l.collencoding DESC
            """,
            [SQLText.array(names.map(\.schema)), SQLText.array(names.map(\.name))])
    }

    /// The answer to `question`.
    package static func answer(_ rows: [[String?]]) -> Set<PoolCollation> {
        Set(rows.compactMap { PoolCollation(row: $0) })
    }

    /// Whether it means the same wherever it has this definition.
    package var isAlikeByDefinition: Bool {
        switch provider {
        case UInt8(ascii: "b"), UInt8(ascii: "i"): version != nil
        case UInt8(ascii: "c"):
            Self.neverChanges(collate) && Self.neverChanges(ctype) || version != nil
        default: false
        }
    }

    /// Locales of libc by code points, for which PostgreSQL itself keeps no version (pg_locale.c).
    static func neverChanges(_ locale: String?) -> Bool {
        guard let locale = locale?.lowercased() else { return false }
        return locale == "c" || locale == "posix" || locale.hasPrefix("c.")
    }

    /// pg_collation.dat: `default`, which is what the database was made with.
    static let databaseDefault = OID(100)
    /// That, `C` and `POSIX`, which every database has under these numbers.
    static let everywhere: Set<OID> = [databaseDefault, OID(950), OID(951)]

    /// How a collation is written; nil for none.
    static func text(_ oid: OID, _ known: [OID: PoolCollation]) -> String? {
        switch oid.value {
        case 0: nil
        case databaseDefault.value: "\"pg_catalog\".\"default\""
        case 950: "\"pg_catalog\".\"C\""
        case 951: "\"pg_catalog\".\"POSIX\""
        default: known[oid]?.quotedName
        }
    }

    /// C, POSIX and ucs_basic, of PostgreSQL's own making.
    var comparesBytesEverywhere: Bool {
        !isUsers && ["C", "POSIX", "ucs_basic"].contains(name)
    }

    /// Made by users, not by PostgreSQL itself.
    var isUsers: Bool { schema != "pg_catalog" }

    var quotedName: String { SQLText.identifier(schema) + "." + SQLText.identifier(name) }

    /// Makes it unless it is there, whatever it is then: ask `question` afterwards.
    var createStatement: String {
        var options: [String] = []
        switch provider {
        case UInt8(ascii: "i"):
            options.append("provider = icu")
            // Before PostgreSQL 15 the locale of ICU stands where libc's does.
            options.append("locale = \(SQLText.literal(locale ?? collate ?? ""))")
        case UInt8(ascii: "b"):
            options.append("provider = builtin")
            options.append("locale = \(SQLText.literal(locale ?? ""))")
        default:
            options.append("provider = libc")
            options.append("lc_collate = \(SQLText.literal(collate ?? ""))")
            options.append("lc_ctype = \(SQLText.literal(ctype ?? ""))")
        }
        if let rules { options.append("rules = \(SQLText.literal(rules))") }
        if !isDeterministic { options.append("deterministic = false") }
        return "CREATE COLLATION IF NOT EXISTS \(quotedName) (\(options.joined(separator: ", ")))"
    }
}
