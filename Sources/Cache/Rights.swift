import Mutation
import PGProtocol

/// Whether a role may run a statement, asked of the origin once per statement and role [P1].
///
/// As PostgreSQL does, it asks for SELECT on the table or on each column that is named, executed or not; where none
/// is named, as in count(*), any column will do (ExecCheckRTEPerms in execMain.c). What a view reads is asked of the
/// view's owner, functions always of the role itself. The answer holds until the poll, or a statement that passes, says
/// that privileges, roles or membership changed.
public enum Rights {
    /// One row, a letter, what the roles were then (`CatalogPoll.who`) and what the relations were
    /// (`CatalogPoll.Unproven`): `t` with SELECT on every relation, `c` with SELECT on each of the columns, and on some
    /// column of every relation; `f` without, or without USAGE on the schema of each relation and function, or EXECUTE
    /// on each function, or when a role or one of the objects is gone.
    /// `p` where a relation has row-level security: it may have got it after it was loaded, and what is cached may show
    /// other rows than this role may see [P2].
    ///
    /// Parameters: the role (`$1`); relations with whoever needs SELECT on them (`$2`, `$3`), functions (`$4`), columns
    /// by relation and number with whoever needs SELECT on them (`$5` to `$7`), relations that are read (`$8`).
    package static let sql: String = {
        let equals = CatalogQueries.equals
        func all(_ condition: String, _ asked: String) -> String {
            "(SELECT COALESCE(pg_catalog.bool_and(COALESCE(\(condition), false)), true) FROM \(asked))"
        }
        let role = "LEFT JOIN pg_catalog.pg_roles w ON w.rolname \(equals) asked.role"
        let relation = "LEFT JOIN pg_catalog.pg_class c ON c.oid \(equals) asked.oid"
        let relations = "ROWS FROM (pg_catalog.unnest($2::pg_catalog.oid[]), "
            + "pg_catalog.unnest($3::pg_catalog.name[])) AS asked(oid, role) \(relation) \(role)"
        let functions = "pg_catalog.unnest($4::pg_catalog.oid[]) AS asked(oid) "
            + "LEFT JOIN pg_catalog.pg_proc p ON p.oid \(equals) asked.oid"
        let columns = "ROWS FROM (pg_catalog.unnest($5::pg_catalog.oid[]), "
            + "pg_catalog.unnest($6::pg_catalog.int2[]), pg_catalog.unnest($7::pg_catalog.name[])) "
            + "AS asked(relation, number, role) \(role)"
        let reads = "pg_catalog.unnest($8::pg_catalog.oid[]) AS asked(oid) \(relation)"
        let isOpen = "pg_catalog.has_schema_privilege(w.oid, c.relnamespace, 'USAGE')"
        let isCallable = "pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE') "
            + "AND pg_catalog.has_schema_privilege(r.oid, p.pronamespace, 'USAGE')"
        return """
            SELECT COALESCE((SELECT CASE
              WHEN NOT \(all(isOpen, relations)) OR NOT \(all(isCallable, functions)) THEN 'f'
              WHEN NOT \(all("NOT c.relrowsecurity", relations)) OR NOT \(all("NOT c.relrowsecurity", reads)) THEN 'p'
              WHEN \(all("pg_catalog.has_table_privilege(w.oid, c.oid, 'SELECT')", relations)) THEN 't'
              WHEN \(all("pg_catalog.has_any_column_privilege(w.oid, c.oid, 'SELECT')", relations))
                AND \(all(
                    "pg_catalog.has_column_privilege(w.oid, asked.relation, asked.number, 'SELECT')", columns))
                THEN 'c'
              ELSE 'f' END
              FROM pg_catalog.pg_roles r WHERE r.rolname \(equals) $1::pg_catalog.name), 'f'),
              \(CatalogPoll.whoExpression),
              \(CatalogPoll.versions(of: "$2::pg_catalog.oid[] OPERATOR(pg_catalog.||) $8::pg_catalog.oid[]",
                from: "pg_catalog.pg_class"))
            """
    }()

    /// What the roles and the relations (`$1`) are now, as in the last two values of `sql`.
    ///
    /// Privileges are looked up in what the backend has just heard of, the roles in the question's snapshot, which may
    /// be older: a right that is given while the question runs would be judged by roles that do not have it yet. So a
    /// yes counts only if the same is true in a later snapshot.
    package static let confirmation =
        "SELECT \(CatalogPoll.whoExpression), "
        + CatalogPoll.versions(of: "$1::pg_catalog.oid[]", from: "pg_catalog.pg_class")

    /// The question for one role, by name, about what a resolved statement names.
    package static func query(
        role: String, needs: [RightsNeed], reads: Set<OID>, functions: [OID]
    ) -> OriginQuery {
        // In order, so that one question has one text.
        let needs = needs.map { (role: $0.role ?? role, relations: $0.relations, columns: $0.columns) }
            .sorted { ($0.role, $0.relations.count) < ($1.role, $1.relations.count) }
        let relations = needs.flatMap { need in need.relations.sorted().map { (need.role, $0) } }
        let columns = needs.flatMap { need in
            need.columns.sorted { ($0.relation, $0.number) < ($1.relation, $1.number) }.map { (need.role, $0) }
        }
        return OriginQuery(
            sql,
            [
                role, array(relations.map(\.1)), SQLText.array(relations.map(\.0)), array(functions),
                array(columns.map(\.1.relation)), array(columns.map(\.1.number)), SQLText.array(columns.map(\.0)),
                array(reads.sorted()),
            ])
    }

    /// The question whether the roles and relations that these were judged by are still the same.
    static func confirmation(of answers: [UnconfirmedRight]) -> OriginQuery {
        let judged = answers.compactMap { versions($0.answer) }.flatMap(CatalogPoll.versionsByOID)
        return OriginQuery(confirmation, [array(Set(judged.map(\.0.value)).sorted())])
    }

    /// Whether that question's answer shows what the right was judged by.
    static func confirms(_ rows: [[String?]], _ right: UnconfirmedRight) -> Bool {
        guard rows.count == 1, rows[0].first ?? nil == who(right.answer) else { return false }
        guard let judged = versions(right.answer) else { return true }
        guard let shown = rows[0].count > 1 ? rows[0][1] : nil else { return false }
        let now = Dictionary(CatalogPoll.versionsByOID(shown), uniquingKeysWith: { $1 })
        return CatalogPoll.versionsByOID(judged).allSatisfy { now[$0] == $1 }
    }

    /// Whether the role has all of these rights; anything but a plain yes is a no.
    public static func judge(_ rows: [[String?]]) -> Bool {
        guard rows.count == 1, let letter = rows[0].first else { return false }
        return letter == "t" || letter == "c" || letter == "p" && Mutation.rowSecurityCached.isOn
    }

    /// The roles and memberships that it was judged by.
    static func who(_ rows: [[String?]]) -> String? { rows.first.flatMap { $0.count > 1 ? $0[1] : nil } }

    /// The relations that it was judged by; nil for an answer that does not say.
    static func versions(_ rows: [[String?]]) -> String? { rows.first.flatMap { $0.count > 2 ? $0[2] : nil } }

    /// Whether it has them on whole relations, whatever columns are named.
    static func coversAllColumns(_ rows: [[String?]]) -> Bool { rows.count == 1 && rows[0].first == "t" }

    private static func array(_ numbers: [some CustomStringConvertible]) -> String {
        "{" + numbers.map(\.description).joined(separator: ",") + "}"
    }
}
