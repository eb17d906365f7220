import PGProtocol

/// What is needed to have a view of the origin in the cache database, over the pools of what it reads.
///
/// Whose rights count for what it reads, and what it shows to whom, is not of its concern: rights were proved at the
/// origin [P1].
package struct PoolView: Equatable, Sendable {
    package let oid: OID
    package let schema: String
    package let name: String
    package let columns: [String]
    /// With the schemas of all that is not in pg_catalog (`PoolSchema.question` says under which search path).
    package let definition: String
    /// The relations that it names, which have to be there first; views among them as they are.
    package let reads: Set<OID>
    /// Those of its expressions but the database's default and those that compare bytes everywhere.
    package let collations: [PoolCollation]
    package let usesDefaultCollation: Bool
    /// Hash of its row of pg_class: that of `Relation.version` if both are of one state of it.
    package let version: String?
    package let refusal: Refusal?

    package enum Refusal: Equatable, Sendable {
        /// Not a view (pg_class.relkind), or one of PostgreSQL's own.
        case kind(UInt8)
        /// It names functions, operators or types that users made, enums apart: a domain has no constraints in the
        /// cache database.
        case code
        /// It reads catalogs, which are others there.
        case catalog
        case collation(String)
    }

    private static let equals = CatalogQueries.equals

    /// About relation `oid`; rows as for `PoolSchema.question`. Takes the locks that a reader of the view takes.
    package static func question(_ oid: OID) -> OriginQuery {
        let isUsers = "\(CatalogQueries.atLeast) \(CatalogQueries.firstUserOID)"
        let numbers = { (pattern: String) in
            """
            (SELECT pg_catalog.array_agg(DISTINCT found.parts[1]) FROM pg_catalog.regexp_matches(
              w.ev_action::pg_catalog.text, '\(pattern) ([1-9][0-9]*)', 'g') AS found(parts))
            """
        }
        let values = PoolCollation.values.map { "(\($0))::pg_catalog.text" }.joined(separator: ", ")
        return OriginQuery(
            """
            SELECT 'v', c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
              c.relkind::pg_catalog.text,
              CASE WHEN c.relkind \(equals) 'v'::pg_catalog."char" THEN pg_catalog.pg_get_viewdef(c.oid) END,
              (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a WHERE a.attrelid \(equals) c.oid
                  AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2)::pg_catalog.text,
              \(numbers(":relid"))::pg_catalog.text, \(numbers(":[a-z_]*coll(?:id|Oid)"))::pg_catalog.text,
              (NOT EXISTS (SELECT FROM pg_catalog.pg_depend u
                LEFT JOIN pg_catalog.pg_type t ON t.oid \(equals) u.refobjid
                LEFT JOIN pg_catalog.pg_type e ON e.oid \(equals) t.typelem AND e.typarray \(equals) t.oid
                WHERE u.classid \(equals) '2618'::pg_catalog.oid AND u.objid \(equals) w.oid AND u.refobjid \(isUsers)
                  AND u.refclassid \(CatalogQueries.differs) ALL ('{1259,2606,3456}'::pg_catalog.oid[])
                  AND NOT (u.refclassid \(equals) '1247'::pg_catalog.oid
                    AND COALESCE(e.typtype, t.typtype) \(equals) 'e'::pg_catalog."char")))::pg_catalog.text,
              (CASE WHEN \(CatalogPoll.counts) THEN \(CatalogPoll.version) END)::pg_catalog.text
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid \(equals) c.relnamespace
            LEFT JOIN pg_catalog.pg_rewrite w ON w.ev_class \(equals) c.oid
              AND w.rulename \(equals) '_RETURN'::pg_catalog.name
            WHERE c.oid \(equals) $1::pg_catalog.oid
            UNION ALL
            SELECT 'o', l.oid::pg_catalog.text, \(values)
            FROM pg_catalog.pg_rewrite w, pg_catalog.pg_collation l
            JOIN pg_catalog.pg_namespace n ON n.oid \(equals) l.collnamespace
            WHERE w.ev_class \(equals) $1::pg_catalog.oid
              AND l.oid::pg_catalog.text \(equals) ANY (\(numbers(":[a-z_]*coll(?:id|Oid)"))::pg_catalog.text[])
            """, [oid.description])
    }

    /// Nil for rows that are not an answer to `question`, or tell that the view is gone.
    package init?(rows: [[String?]]) {
        guard let row = rows.first(where: { $0.first == "v" }), row.count == 11, let oid = row[1].flatMap({ OID($0) }),
            let schema = row[2], let name = row[3], let kind = SQLText.character(row[4]),
            let columns = SQLText.elements(ofArray: row[6] ?? "{}"),
            let read = SQLText.elements(ofArray: row[7] ?? "{}"), let used = SQLText.elements(ofArray: row[8] ?? "{}"),
            let isPlain = PoolRow.boolean(row[9])
        else { return nil }
        self.oid = oid
        self.schema = schema
        self.name = name
        self.columns = columns
        var definition = (row[5] ?? "")[...]
        while let last = definition.last, last == ";" || last.isWhitespace { definition.removeLast() }
        self.definition = String(definition)
        // Up to PostgreSQL 15 a view's tree begins with the view itself, twice.
        reads = Set(read.compactMap { OID($0) }).subtracting([oid])
        usesDefaultCollation = used.contains(PoolCollation.databaseDefault.description)
        collations = rows.filter { $0.first == "o" }.compactMap { PoolCollation(row: $0.dropFirst(2)) }
            .filter { !$0.comparesBytesEverywhere && $0.provider != UInt8(ascii: "d") }
            .sorted { ($0.schema, $0.name) < ($1.schema, $1.name) }
        version = row[10]
        refusal =
            if kind != UInt8(ascii: "v") || oid.isBuiltIn || row[5] == nil {
                .kind(kind)
            } else if !isPlain {
                .code
            } else if reads.contains(where: \.isBuiltIn) {
                .catalog
            } else if let odd = collations.first(where: { !$0.isAlikeByDefinition }) {
                .collation(odd.quotedName)
            } else {
                nil
            }
    }

    package var quotedName: String { SQLText.identifier(schema) + "." + SQLText.identifier(name) }

    /// Under the settings of `PoolSchema`'s statements.
    package var createStatements: [String] {
        let names = columns.isEmpty ? "" : " (\(columns.map(SQLText.identifier).joined(separator: ", ")))"
        return ["CREATE SCHEMA IF NOT EXISTS \(SQLText.identifier(schema))"]
            + collations.filter(\.isUsers).flatMap {
                ["CREATE SCHEMA IF NOT EXISTS \(SQLText.identifier($0.schema))", $0.createStatement]
            }
            + ["CREATE VIEW \(quotedName)\(names) AS \(definition)"]
    }

    /// Fails while other views are over it.
    package var dropStatements: [String] { ["DROP VIEW IF EXISTS \(quotedName)"] }
}
