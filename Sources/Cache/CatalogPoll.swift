import CDC

/// Notices what changed in the origin's catalog without pgcache seeing the statement [D1].
///
/// One query gives one row of numbers: per catalog the count of its rows and the sum of a hash over
/// each row's OID and xmin. A sum does not depend on the order of the rows, and xmin changes with
/// every transactional change of a row, while VACUUM and ANALYZE write their statistics in place
/// and leave it. pg_class is hashed by what matters in it instead, because TRUNCATE and VACUUM FULL
/// give a table a new file and thereby its row a new xmin. Temporary objects, TOAST tables,
/// sequences and indexes do not count; an application makes those all the time. Nor do the functions of
/// pgcache's own event triggers: an instance that starts empties nobody's cache.
///
/// The first answer is the base line and counts as a change of everything, so that nothing can
/// have been loaded before it. Owner: the cache store. Bounds: one row.
public struct CatalogPoll: Sendable {
    /// What has to be forgotten.
    public struct Change: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Relations, columns, types, functions, policies, privileges: `Catalog.forgetAll`, and
        /// every resolved statement, right and answer with it.
        public static let schema = Change(rawValue: 1)
        /// Schemas, roles, membership, or a reload of the configuration: rights, and every
        /// session's profile, which is to be read again, since its path may resolve otherwise now.
        public static let sessions = Change(rawValue: 2)
        /// PostgreSQL's own functions: `Catalog.forgetAll(builtInsToo: true)`.
        public static let builtIns = Change(rawValue: 4)
        /// Privileges on relations: the proofs of rights, and nothing else [P1].
        public static let rights = Change(rawValue: 8)

        /// Rows of relations were written, perhaps as they had been: what was learned of them since the last poll
        /// may be of a time in between. TRUNCATE and VACUUM FULL do so, too.
        public static let versions = Change(rawValue: 16)

        public static let everything: Change = [.schema, .sessions, .builtIns, .rights, .versions]
    }

    private var previous: [Fingerprint]?

    private struct Fingerprint: Equatable, Sendable {
        var part: Change
        var value: String
    }

    public init() {}

    /// The query to run every few seconds on a connection that has nothing else to do.
    public static let query = OriginQuery(sql)

    /// Compares the row with the one before.
    /// - Returns: what changed; empty when nothing did. An answer that is not such a row counts as
    ///   a change of everything, and so does the one after it.
    public mutating func absorb(_ rows: [[String?]]) -> Change {
        who = rows.first.flatMap(Self.who(ofRow:))
        guard rows.count == 1, rows[0].count == Self.parts.count else {
            previous = nil
            return .everything
        }
        var current: [Fingerprint] = []
        for (part, value) in zip(Self.parts, rows[0]) {
            guard let value else {
                previous = nil
                return .everything
            }
            current.append(Fingerprint(part: part.change, value: value))
        }
        defer { previous = current }
        guard let previous else { return .everything }
        var change: Change = []
        for (before, now) in zip(previous, current) where before != now { change.formUnion(now.part) }
        return change
    }

    // MARK: The query

    private struct Part: Sendable {
        var change: Change
        var expression: String

        /// Count and sum over rows of `from`; `hash` is an int8 for a row.
        init(_ change: Change, _ hash: String, _ from: String) {
            self.change = change
            expression = "(SELECT pg_catalog.concat(pg_catalog.count(*), ':', "
                + "pg_catalog.sum(\(hash))) FROM \(from))"
        }
        init(_ change: Change, expression: String) {
            self.change = change
            self.expression = expression
        }
    }

    private static let sql: String = {
        let kinds = "c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,c}'::pg_catalog.\"char\"[])"
        return """
            WITH lasting AS MATERIALIZED (
              SELECT c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relrowsecurity,
                c.relforcerowsecurity, c.relispartition, c.relreplident, c.reltype, c.relowner, c.relacl,
                c.reloptions, c.xmin AS version
              FROM pg_catalog.pg_class c
              WHERE c.oid \(CatalogQueries.atLeast) \(CatalogQueries.firstUserOID) AND \(kinds)
                AND c.relpersistence \(CatalogQueries.differs) 't'::pg_catalog."char"),
            spaces AS MATERIALIZED (
              SELECT n.oid, n.nspname, n.xmin AS version FROM pg_catalog.pg_namespace n
              WHERE \(CatalogQueries.isLasting("n")))
            SELECT
            """ + " " + parts.map(\.expression).joined(separator: ",\n")
    }()

    /// Hashes numbers and, last, a row version: each is the seed of the one before.
    private static func hash(_ numbers: String..., version: String) -> String {
        numbers.reversed().reduce("\(version)::pg_catalog.text::pg_catalog.int8") { seed, number in
            "pg_catalog.hashint8extended(\(number)::pg_catalog.int8, \(seed))"
        }
    }
    private static func hash(texts row: String) -> String {
        "pg_catalog.hashtextextended(ROW(\(row))::pg_catalog.text, 0)"
    }

    private static let roles = Part(
        [.schema, .sessions],
        hash(texts: "x.oid, x.rolname, x.rolsuper, x.rolinherit, x.rolcanlogin, x.rolbypassrls"),
        "pg_catalog.pg_roles x")
    private static let members = Part(
        [.schema, .sessions], hash("x.roleid", "x.member", version: "x.xmin"), "pg_catalog.pg_auth_members x")

    /// Roles and memberships, for an answer that depends on them: a role that was a superuser for a moment, or a
    /// member of another, leaves no mark in the catalogs afterwards. `who` compares it with the poll's.
    static let whoExpression = "pg_catalog.concat(\(roles.expression), ' ', \(members.expression))"

    /// The same of a poll's row.
    package static func who(ofRow row: [String?]) -> String? {
        guard row.count == parts.count, let roles = parts.firstIndex(where: { $0.expression == Self.roles.expression }),
            let members = parts.firstIndex(where: { $0.expression == Self.members.expression }),
            let first = row[roles], let second = row[members]
        else { return nil }
        return first + " " + second
    }
    /// Of the last poll; nil before there was one.
    private(set) var who: String?

    private static let parts: [Part] = {
        let equals = CatalogQueries.equals
        let first = CatalogQueries.firstUserOID
        let isUsers = { (column: String) in "\(column) \(CatalogQueries.atLeast) \(first)" }
        /// A catalog whose rows belong to relations.
        func ofRelations(
            _ catalog: String, _ relation: String, _ hash: String, where condition: String = "true"
        ) -> Part {
            Part(
                .schema, hash,
                "pg_catalog.\(catalog) x JOIN lasting c ON c.oid \(equals) x.\(relation) WHERE \(condition)")
        }
        /// A catalog whose rows belong to schemas; those that users made.
        func ofSchemas(_ catalog: String, _ schema: String, where condition: String = "true") -> Part {
            Part(
                .schema, hash("x.oid", version: "x.xmin"),
                "pg_catalog.\(catalog) x JOIN spaces n ON n.oid \(equals) x.\(schema) "
                    + "WHERE \(isUsers("x.oid")) AND \(condition)")
        }
        let byOID = hash("x.oid", version: "x.xmin")
        return [
            Part(
                .schema,
                hash(
                    texts: "c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relrowsecurity, "
                        + "c.relforcerowsecurity, c.relispartition, c.relreplident, c.reltype, c.relowner, "
                        + "c.reloptions"), "lasting c"),
            Part(.rights, hash(texts: "c.oid, c.relacl"), "lasting c"),
            Part(.versions, hash("c.oid", version: "c.version"), "lasting c"),
            ofRelations(
                "pg_attribute", "attrelid", hash("x.attrelid", "x.attnum", version: "x.xmin"),
                where: "x.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND \(isUsers("x.attrelid"))"),
            // A generated column may get another expression, and new values, without a row change.
            ofRelations("pg_attrdef", "adrelid", byOID),
            ofRelations("pg_policy", "polrelid", byOID),
            ofRelations("pg_rewrite", "ev_class", byOID),
            ofRelations("pg_inherits", "inhrelid", hash("x.inhrelid", "x.inhparent", version: "x.xmin")),
            ofRelations(
                "pg_index", "indrelid", hash("x.indexrelid", version: "x.xmin"),
                where: "x.indisprimary OR x.indisreplident OR x.indexprs IS NOT NULL OR x.indpred IS NOT NULL "
                    + "OR EXISTS (SELECT FROM pg_catalog.unnest(x.indclass::pg_catalog.oid[]) AS o(oid) "
                    + "WHERE \(isUsers("o.oid")))"),
            // What writing to a relation may run [K3].
            ofRelations("pg_trigger", "tgrelid", byOID),
            // Also those of domains, which belong to no relation.
            ofSchemas("pg_constraint", "connamespace"),
            Part(.schema, byOID, "pg_catalog.pg_extension x"),
            ofSchemas(
                "pg_proc", "pronamespace",
                where: "NOT (n.nspname \(equals) 'pg_catalog'::pg_catalog.name "
                    + "AND x.proname OPERATOR(pg_catalog.~) '^\(EventTrigger.namePrefix)'::pg_catalog.text)"),
            ofSchemas("pg_type", "typnamespace"),
            ofSchemas("pg_operator", "oprnamespace"),
            ofSchemas("pg_opclass", "opcnamespace"),
            // PostgreSQL's own too: REFRESH VERSION tells that the operating system's rules are others.
            Part(
                .schema, byOID,
                "pg_catalog.pg_collation x JOIN spaces n ON n.oid \(equals) x.collnamespace"),
            // PostgreSQL's own too: their owner may alter them.
            Part(.schema, byOID, "pg_catalog.pg_ts_config x"),
            Part(.schema, byOID, "pg_catalog.pg_ts_dict x"),
            Part(.schema, byOID, "pg_catalog.pg_ts_parser x"),
            Part(.schema, byOID, "pg_catalog.pg_ts_template x"),
            Part(
                .schema, hash("x.mapcfg", "x.maptokentype", "x.mapseqno", version: "x.xmin"),
                "pg_catalog.pg_ts_config_map x"),
            Part(.schema, byOID, "pg_catalog.pg_enum x"),
            Part(.schema, byOID, "pg_catalog.pg_cast x"),
            Part(
                .builtIns, byOID,
                "pg_catalog.pg_proc x WHERE x.oid \(CatalogQueries.less) \(first)"),
            Part([.schema, .sessions], hash("n.oid", version: "n.version"), "spaces n"),
            roles, members,
            Part(
                [.schema, .sessions], byOID,
                "pg_catalog.pg_database x WHERE x.datname \(equals) pg_catalog.current_database()"),
            Part(
                .sessions, hash("x.setdatabase", "x.setrole", version: "x.xmin"),
                "pg_catalog.pg_db_role_setting x"),
            // A reload can change any session's settings, and the server reports few of them.
            Part(.sessions, expression: "pg_catalog.pg_conf_load_time()"),
        ]
    }()
}
