import CDC
import PGProtocol

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
/// Sums see no change that was undone between two polls, but what was learned in between may be of that time. So each
/// answer about a relation comes with a hash of the row of pg_class that it was made from, and the next poll, in the
/// snapshot of its sums, must find the same (`Unproven`).
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

        public static let everything: Change = [.schema, .sessions, .builtIns, .rights]
    }

    /// What the catalog has told of relations, and no poll has confirmed yet. Bounds: the relations of the catalog.
    package struct Unproven: Equatable, Sendable {
        /// By relation the hash with which it was loaded.
        private(set) var relations: [OID: Substring] = [:]
        /// By relation the hashes with which a role's rights were judged.
        private(set) var rights: [OID: Substring] = [:]

        package init() {}

        mutating func note(_ relation: Relation) {
            if let version = relation.version { relations[relation.oid] = version[...] }
        }

        /// Notes what came with an answer about rights, `oid:hash:hash` of each relation; false when one is another
        /// than it was before.
        mutating func note(rights text: String) -> Bool {
            CatalogPoll.versionsByOID(text).allSatisfy { oid, version in
                rights.updateValue(version, forKey: oid).map { $0 == version } ?? true
            }
        }

        mutating func forgetRights() { rights = [:] }

        /// Also what was learned earlier, for a poll that failed.
        mutating func restore(_ earlier: Unproven) {
            relations.merge(earlier.relations) { $1 }
            rights.merge(earlier.rights) { $1 }
        }

        /// What a poll says otherwise.
        /// - Parameter text: `oid:hash:hash` of each relation that is still there.
        fileprivate func contradicted(by text: String) -> Change {
            let versions = Dictionary(CatalogPoll.versionsByOID(text)) { $1 }
            var change: Change = []
            for (oid, version) in relations
            where versions[oid].map({ $0.prefix { $0 != ":" } }) != version { change.insert(.schema) }
            for (oid, version) in rights where versions[oid] != version { change.insert(.rights) }
            return change
        }
    }

    private var previous: [Fingerprint]?

    private struct Fingerprint: Equatable, Sendable {
        var part: Change
        var value: String
    }

    public init() {}

    /// The query to run every few seconds on a connection that has nothing else to do.
    package static func query(proving unproven: Unproven = Unproven()) -> OriginQuery {
        let oids = Set(unproven.relations.keys).union(unproven.rights.keys).sorted()
        return OriginQuery(sql, ["{" + oids.map(\.description).joined(separator: ",") + "}"])
    }

    /// Compares the row with the one before, and with what was learned before it was asked for.
    /// - Returns: what changed; empty when nothing did. An answer that is not such a row counts as
    ///   a change of everything, and so does the one after it.
    package mutating func absorb(_ rows: [[String?]], proving unproven: Unproven = Unproven()) -> Change {
        who = rows.first.flatMap(Self.who(ofRow:))
        guard rows.count == 1, rows[0].count == Self.parts.count + 1, let versions = rows[0].last ?? nil else {
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
        var change = unproven.contradicted(by: versions)
        for (before, now) in zip(previous, current) where before != now { change.formUnion(now.part) }
        return change
    }

    /// OIDs and what is behind each.
    static func versionsByOID(_ text: String) -> [(OID, Substring)] {
        text.split(separator: " ").compactMap { word in
            guard let colon = word.firstIndex(of: ":"), let oid = OID(String(word[..<colon])) else { return nil }
            return (oid, word[word.index(after: colon)...])
        }
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

    /// Whether row `c` of pg_class counts.
    static let counts = "c.oid \(CatalogQueries.atLeast) \(CatalogQueries.firstUserOID) "
        + "AND c.relkind \(CatalogQueries.equals) ANY ('{r,p,v,m,f,c}'::pg_catalog.\"char\"[]) "
        + "AND c.relpersistence \(CatalogQueries.differs) 't'::pg_catalog.\"char\""

    /// Hash of row `c` of pg_class, without its privileges.
    static let version = hash(
        texts: "c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relrowsecurity, "
            + "c.relforcerowsecurity, c.relispartition, c.relreplident, c.reltype, c.relowner, c.reloptions")
    private static let rights = hash(texts: "c.oid, c.relacl")

    /// `oid:hash:hash` of those rows of `from` whose OIDs are among `oids`, an expression.
    static func versions(of oids: String, from: String) -> String {
        "(SELECT COALESCE(pg_catalog.string_agg(pg_catalog.concat(c.oid, ':', \(version), ':', \(rights)), "
            + "' ' ORDER BY c.oid), '') "
            + "FROM \(from) c WHERE c.oid \(CatalogQueries.equals) ANY (\(oids)) AND \(counts))"
    }

    package static let sql = """
        WITH lasting AS MATERIALIZED (
          SELECT c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relrowsecurity,
            c.relforcerowsecurity, c.relispartition, c.relreplident, c.reltype, c.relowner, c.relacl,
            c.reloptions
          FROM pg_catalog.pg_class c WHERE \(counts)),
        spaces AS MATERIALIZED (
          SELECT n.oid, n.nspname, n.xmin AS version FROM pg_catalog.pg_namespace n
          WHERE \(CatalogQueries.isLasting("n")))
        SELECT
        """ + " " + parts.map(\.expression).joined(separator: ",\n") + ",\n"
        + versions(of: "$1::pg_catalog.oid[]", from: "lasting")

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
        guard row.count == parts.count + 1,
            let roles = parts.firstIndex(where: { $0.expression == Self.roles.expression }),
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
            Part(.schema, version, "lasting c"),
            Part(.rights, rights, "lasting c"),
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
