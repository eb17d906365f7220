import PGProtocol

/// Whether a role may run a statement, asked of the origin once per statement and role [P1].
///
/// Only rights on whole tables count: a role with rights on some columns is forwarded. The answer
/// holds until the poll, or a statement that passes, says that privileges, roles or membership
/// changed.
public enum Rights {
    /// One row, one boolean: SELECT on every relation, USAGE on the schema of each relation and
    /// function, EXECUTE on each function. False as well when the role or one of the objects is
    /// gone.
    package static let sql: String = {
        let equals = CatalogQueries.equals
        return """
            SELECT EXISTS (
              SELECT FROM pg_catalog.pg_roles r
              WHERE r.rolname \(equals) $1::pg_catalog.name
                AND (SELECT COALESCE(pg_catalog.bool_and(c.oid IS NOT NULL
                    AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
                    AND pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE')), true)
                  FROM pg_catalog.unnest($2::pg_catalog.oid[]) AS asked(oid)
                  LEFT JOIN pg_catalog.pg_class c ON c.oid \(equals) asked.oid)
                AND (SELECT COALESCE(pg_catalog.bool_and(p.oid IS NOT NULL
                    AND pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
                    AND pg_catalog.has_schema_privilege(r.oid, p.pronamespace, 'USAGE')), true)
                  FROM pg_catalog.unnest($3::pg_catalog.oid[]) AS asked(oid)
                  LEFT JOIN pg_catalog.pg_proc p ON p.oid \(equals) asked.oid))
            """
    }()

    /// The question for one role, by name, about a resolved statement's relations and functions.
    public static func query(role: String, relations: [OID], functions: [OID]) -> OriginQuery {
        OriginQuery(sql, [role, array(relations), array(functions)])
    }

    /// Whether the role has all of these rights; anything but a plain yes is a no.
    public static func judge(_ rows: [[String?]]) -> Bool {
        rows.count == 1 && rows[0] == ["t"]
    }

    private static func array(_ oids: [OID]) -> String {
        "{" + oids.map(\.description).joined(separator: ",") + "}"
    }
}
