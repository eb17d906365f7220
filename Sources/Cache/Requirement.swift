/// One thing that `pgcache check` asks of the origin: the question, and how its answer is judged.
///
/// Pure values: the shell runs `query` as pgcache's own role and prints what `judge` finds. A
/// requirement that fails keeps pgcache from caching, never from forwarding. Lists of names end
/// after `namesMax`; the count is always whole.
public struct Requirement: Sendable {
    /// A few words, for the left column.
    public let name: String
    public let query: OriginQuery
    /// Judges the rows of the answer; never empty.
    public let judge: @Sendable ([[String?]]) -> [Finding]

    public struct Finding: Equatable, Sendable {
        public enum Level: String, Sendable { case ok, warning, failure }
        public var level: Level
        public var text: String
        /// The statement that repairs it, for someone with the right to run it.
        public var fix: String?

        static func ok(_ text: String) -> [Finding] { [Finding(level: .ok, text: text)] }
        static func warning(_ text: String, fix: String? = nil) -> [Finding] {
            [Finding(level: .warning, text: text, fix: fix)]
        }
        static func failure(_ text: String, fix: String? = nil) -> [Finding] {
            [Finding(level: .failure, text: text, fix: fix)]
        }
    }

    /// What a failed query means.
    public func failed(state: String, message: String) -> [Finding] {
        Finding.failure("could not be asked: \(message) (\(state))")
    }

    /// Names that a list shows.
    static let namesMax = 50

    /// Everything that is checked, in the order to print it.
    /// - Parameters:
    ///   - publication: the operator's own publication, when pgcache is told to use one.
    ///   - allowedTables: `name` or `schema.name` in any case; empty for all.
    public static func all(publication: String? = nil, allowedTables: [String] = []) -> [Requirement] {
        let tables = SQLText.array(allowedTables.map { $0.lowercased() })
        var requirements = [
            serverVersion, primary, walLevel, replicationRight, freeSlots, freeSenders, slotLimit,
            preparedTransactions, plainNames,
        ]
        if let publication {
            requirements.append(ownPublication(publication))
        } else {
            requirements.append(createRight)
            requirements.append(ownership(tables))
        }
        requirements.append(eventTrigger)
        requirements += [replicaIdentity(tables), rowSecurity(tables), notFollowed(tables), orphans]
        return requirements
    }
}

// MARK: The server

extension Requirement {
    private typealias SQL = CatalogQueries

    /// A requirement on the single row of `sql`, which has that many values and no NULL.
    private init(
        _ name: String, columns: Int, _ sql: String, _ parameters: [String?] = [],
        judgingRow judge: @escaping @Sendable ([String]) -> [Finding]
    ) {
        self.init(name: name, query: OriginQuery(sql, parameters)) { rows in
            let values = rows.first?.compactMap { $0 } ?? []
            guard rows.count == 1, values.count == columns else {
                return Finding.failure("the origin gave no answer")
            }
            return judge(values)
        }
    }

    /// A requirement that is met when `sql` gives no rows; else its rows, of that many values, are
    /// names and what to do about them.
    private init(
        _ name: String, columns: Int, _ sql: String, _ parameters: [String?] = [], none: String,
        judgingRows judge: @escaping @Sendable ([[String]]) -> [Finding]
    ) {
        self.init(name: name, query: OriginQuery(sql, parameters)) { rows in
            if rows.isEmpty { return Finding.ok(none) }
            guard rows.allSatisfy({ $0.count == columns }) else {
                return Finding.failure("the origin gave no answer")
            }
            return judge(rows.map { $0.map { $0 ?? "" } })
        }
    }

    static let serverVersion = Requirement(
        "server version", columns: 2,
        """
        SELECT pg_catalog.current_setting('server_version_num'),
          pg_catalog.current_setting('server_version')
        """
    ) { row in
        guard let number = Int(row[0]) else { return Finding.failure("unknown version \(row[1])") }
        switch number {
        case ..<130000: return Finding.failure("PostgreSQL \(row[1]); 13 or later is needed")
        case 180000...: return Finding.warning("PostgreSQL \(row[1]) is newer than what was tested")
        default: return Finding.ok("PostgreSQL \(row[1])")
        }
    }

    static let primary = Requirement("primary", columns: 1, "SELECT pg_catalog.pg_is_in_recovery()") { row in
        row[0] == "f"
            ? Finding.ok("not a standby")
            : Finding.failure("a standby: publications can only be made on the primary")
    }

    static let walLevel = Requirement(
        "wal_level", columns: 1, "SELECT pg_catalog.current_setting('wal_level')"
    ) { row in
        row[0] == "logical"
            ? Finding.ok("logical")
            : Finding.failure(
                "\(row[0]); must be logical, and changes with a restart of the server",
                fix: "ALTER SYSTEM SET wal_level = 'logical';")
    }

    /// Some hosted services grant replication by membership in a role of theirs.
    static let replicationRight = Requirement(
        "replication right", columns: 2,
        """
        SELECT r.rolname, r.rolsuper OR r.rolreplication OR EXISTS (
          SELECT FROM pg_catalog.pg_roles g WHERE g.rolname \(SQL.equals) 'rds_replication'::pg_catalog.name
            AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER'))
        FROM pg_catalog.pg_roles r WHERE r.rolname \(SQL.equals) current_user
        """
    ) { row in
        row[1] == "t"
            ? Finding.ok("role \(row[0]) may replicate")
            : Finding.failure(
                "role \(row[0]) may not replicate",
                fix: "ALTER ROLE \(SQLText.identifier(row[0])) REPLICATION;")
    }

    static let createRight = Requirement(
        "create right", columns: 3,
        """
        SELECT current_user, d.datname, pg_catalog.has_database_privilege(d.oid, 'CREATE')
        FROM pg_catalog.pg_database d WHERE d.datname \(SQL.equals) pg_catalog.current_database()
        """
    ) { row in
        row[2] == "t"
            ? Finding.ok("role \(row[0]) may create a publication in \(row[1])")
            : Finding.failure(
                "role \(row[0]) may not create a publication in \(row[1])",
                fix: "GRANT CREATE ON DATABASE \(SQLText.identifier(row[1])) TO "
                    + "\(SQLText.identifier(row[0]));")
    }

    static let freeSlots = room(
        "replication slots", setting: "max_replication_slots", used: "pg_catalog.pg_replication_slots")
    static let freeSenders = room(
        "WAL senders", setting: "max_wal_senders", used: "pg_catalog.pg_stat_replication")

    private static func room(_ name: String, setting: String, used: String) -> Requirement {
        Requirement(
            name, columns: 2,
            "SELECT pg_catalog.current_setting('\(setting)'), (SELECT pg_catalog.count(*) FROM \(used))"
        ) { row in
            guard let most = Int(row[0]), let taken = Int(row[1]) else {
                return Finding.failure("unknown: \(row)")
            }
            if taken < most { return Finding.ok("\(taken) of \(most) are taken") }
            return Finding.failure(
                "all \(most) are taken; one is needed (changes with a restart)",
                fix: "ALTER SYSTEM SET \(setting) = \(most + 5);")
        }
    }

    static let slotLimit = Requirement(
        "max_slot_wal_keep_size", columns: 1,
        "SELECT pg_catalog.current_setting('max_slot_wal_keep_size', true)"
    ) { row in
        row[0] == "-1"
            ? Finding.warning(
                "no limit: a slot that is not read could fill the disk; pgcache drops its own before that",
                fix: "ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'; SELECT pg_reload_conf();")
            : Finding.ok(row[0])
    }

    /// A forgotten prepared transaction keeps every new slot waiting.
    static let preparedTransactions = Requirement(
        "prepared transactions", columns: 2,
        """
        SELECT x.gid, x.prepared FROM pg_catalog.pg_prepared_xacts x
        WHERE x.database \(SQL.equals) pg_catalog.current_database() ORDER BY x.prepared
        """,
        none: "none"
    ) { rows in
        rows.prefix(namesMax).map { row in
            Finding(
                level: .warning,
                text: "\(row[0]), prepared \(row[1]), blocks a new replication slot until it ends",
                fix: "ROLLBACK PREPARED \(SQLText.literal(row[0]));")
        } + more(rows, level: .warning)
    }

    /// What makes `Catalog.doubt`.
    static let plainNames = Requirement(
        name: "built-in objects", query: OriginQuery(CatalogQueries.userNames)
    ) { rows in
        let changed = rows.compactMap { row -> Finding? in
            guard row.count == 2, let name = row[1] else { return nil }
            switch row[0] {
            case "c":
                return Finding(
                    level: .failure,
                    text: "the cast \(name) between PostgreSQL's own types changes what statements mean; "
                        + "nothing is cached",
                    fix: "DROP CAST (\(name));")
            case "x":
                return Finding(
                    level: .failure,
                    text: "not everyone may execute \(name), which is behind an operator or a cast of "
                        + "PostgreSQL's own; nothing is cached",
                    fix: "GRANT EXECUTE ON ROUTINE pg_catalog.\(SQLText.identifier(name)) TO PUBLIC;")
            default: return nil
            }
        }
        return changed.isEmpty ? Finding.ok("as PostgreSQL brought them") : Array(changed.prefix(namesMax))
    }

    /// Without it the poll notices what others change of the schema, a few seconds later.
    static let eventTrigger = Requirement(
        "event trigger", columns: 4,
        """
        SELECT r.rolname, r.rolsuper, pg_catalog.current_setting('server_version_num'),
          EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname \(SQL.equals) 'plpgsql'::pg_catalog.name)
        FROM pg_catalog.pg_roles r WHERE r.rolname \(SQL.equals) current_user
        """
    ) { row in
        let meanwhile = "changes of the schema by others are noticed within catalog_poll_interval"
        if row[3] != "t" {
            return Finding.warning(
                "the extension plpgsql is not there; \(meanwhile)", fix: "CREATE EXTENSION plpgsql;")
        }
        if (Int(row[2]) ?? 0) < 140000 {
            return Finding.warning("needs PostgreSQL 14 or later; \(meanwhile)")
        }
        return row[1] == "t"
            ? Finding.ok("role \(row[0]) may create one")
            : Finding.warning(
                "only a superuser may create one; \(meanwhile)",
                fix: "ALTER ROLE \(SQLText.identifier(row[0])) SUPERUSER;")
    }

    /// The operator's own publication must carry every kind of change.
    private static func ownPublication(_ publication: String) -> Requirement {
        Requirement(
            name: "publication",
            query: OriginQuery(
                """
                SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot
                FROM pg_catalog.pg_publication p WHERE p.pubname \(SQL.equals) $1::pg_catalog.name
                """, [publication])
        ) { rows in
            let name = SQLText.identifier(publication)
            guard let row = rows.first, row.count == 2 else {
                return Finding.failure(
                    "there is no publication \(publication)",
                    fix: "CREATE PUBLICATION \(name) FOR ALL TABLES;")
            }
            var findings: [Finding] = []
            if row[0] != "t" {
                findings += Finding.failure(
                    "publication \(publication) leaves out some kinds of changes",
                    fix: "ALTER PUBLICATION \(name) SET (publish = 'insert, update, delete, truncate');")
            }
            if row[1] != "f" {
                findings += Finding.failure(
                    "publication \(publication) would hide the TRUNCATE of a partition",
                    fix: "ALTER PUBLICATION \(name) SET (publish_via_partition_root = false);")
            }
            return findings.isEmpty ? Finding.ok("\(publication) carries every change") : findings
        }
    }

    /// What instances that are gone, or are still running, have left.
    static let orphans = Requirement(
        "left by other instances", columns: 2,
        """
        SELECT 'publication', p.pubname::pg_catalog.text FROM pg_catalog.pg_publication p
        WHERE p.pubname OPERATOR(pg_catalog.~) '^pgcache_pub_'::pg_catalog.text
        UNION ALL
        SELECT 'event trigger', e.evtname::pg_catalog.text FROM pg_catalog.pg_event_trigger e
        WHERE e.evtname OPERATOR(pg_catalog.~) '^pgcache_ddl_'::pg_catalog.text
        UNION ALL
        SELECT 'slot', s.slot_name::pg_catalog.text FROM pg_catalog.pg_replication_slots s
        WHERE s.slot_name OPERATOR(pg_catalog.~) '^pgcache_'::pg_catalog.text AND NOT s.active
        """,
        none: "nothing"
    ) { rows in
        rows.prefix(namesMax).map { row in
            Finding(
                level: .warning,
                text: "\(row[0]) \(row[1]); `pgcache cleanup` removes it when no instance holds it")
        }
    }
}

// MARK: The tables

extension Requirement {
    /// Lasting relations of users that `$1` allows, as `c` with their schema `n`.
    private static let allowedRelations = """
        pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid \(SQL.equals) c.relnamespace
        WHERE c.oid \(SQL.atLeast) \(SQL.firstUserOID) AND \(SQL.isLasting("n"))
          AND n.nspname \(SQL.differs) 'information_schema'::pg_catalog.name
          AND c.relpersistence \(SQL.differs) 't'::pg_catalog."char"
          AND (pg_catalog.cardinality($1::pg_catalog.text[]) \(SQL.equals) 0
            OR pg_catalog.lower(c.relname::pg_catalog.text) \(SQL.equals) ANY ($1::pg_catalog.text[])
            OR pg_catalog.lower(pg_catalog.concat(n.nspname, '.', c.relname))
              \(SQL.equals) ANY ($1::pg_catalog.text[]))
        """
    private static let isLoggedTable = """
        c.relkind \(SQL.equals) 'r'::pg_catalog."char"
          AND c.relpersistence \(SQL.equals) 'p'::pg_catalog."char"
        """

    private static func ownership(_ tables: String) -> Requirement {
        Requirement(
            "ownership", columns: 4,
            """
            SELECT n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner), current_user
            FROM \(allowedRelations) AND \(isLoggedTable)
              AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
            ORDER BY n.nspname, c.relname
            """, [tables], none: "every table can be followed"
        ) { rows in
            listed(rows, level: .failure, "only its owner can have it published") { row in
                "GRANT \(SQLText.identifier(row[2])) TO \(SQLText.identifier(row[3]));"
            }
        }
    }

    private static func replicaIdentity(_ tables: String) -> Requirement {
        Requirement(
            "replica identity", columns: 3,
            """
            SELECT n.nspname, c.relname, c.relreplident FROM \(allowedRelations) AND \(isLoggedTable)
              AND c.relreplident \(SQL.differs) 'f'::pg_catalog."char" AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_index i WHERE i.indrelid \(SQL.equals) c.oid
                  AND i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
                  AND ((c.relreplident \(SQL.equals) 'd'::pg_catalog."char" AND i.indisprimary)
                    OR (c.relreplident \(SQL.equals) 'i'::pg_catalog."char" AND i.indisreplident)))
            ORDER BY n.nspname, c.relname
            """, [tables], none: "every table has one"
        ) { rows in
            listed(rows, level: .warning, "no usable replica identity; it is forwarded") { row in
                "ALTER TABLE \(SQLText.identifier(row[0])).\(SQLText.identifier(row[1])) REPLICA IDENTITY "
                    + "FULL; -- a primary key, not deferrable, would be better"
            }
        }
    }

    private static func rowSecurity(_ tables: String) -> Requirement {
        Requirement(
            "row-level security", columns: 2,
            "SELECT n.nspname, c.relname FROM \(allowedRelations) AND c.relrowsecurity "
                + "ORDER BY n.nspname, c.relname", [tables], none: "no table has it"
        ) { rows in listed(rows, level: .warning, "row-level security; it is forwarded") { _ in nil } }
    }

    /// Relations whose changes are not in the stream. What reads them, as a partition or in a view, is forwarded, too.
    private static func notFollowed(_ tables: String) -> Requirement {
        Requirement(
            "other relations", columns: 3,
            """
            SELECT n.nspname, c.relname,
              CASE WHEN c.relpersistence \(SQL.equals) 'u'::pg_catalog."char" THEN 'unlogged'
                WHEN c.relkind \(SQL.equals) 'f'::pg_catalog."char" THEN 'foreign table'
                ELSE 'materialized view' END
            FROM \(allowedRelations) AND ((c.relkind \(SQL.equals) 'r'::pg_catalog."char"
                AND c.relpersistence \(SQL.equals) 'u'::pg_catalog."char")
              OR c.relkind \(SQL.equals) ANY ('{f,m}'::pg_catalog."char"[]))
            ORDER BY n.nspname, c.relname
            """, [tables], none: "every relation is a logged table or a view"
        ) { rows in
            rows.prefix(namesMax).map {
                Finding(level: .warning, text: "\($0[0]).\($0[1]): \($0[2]); it is forwarded")
            } + more(rows, level: .warning)
        }
    }

    /// One finding for each of the first rows, and one that counts the rest.
    private static func listed(
        _ rows: [[String]], level: Finding.Level, _ text: String, fix: ([String]) -> String?
    ) -> [Finding] {
        rows.prefix(namesMax).map {
            Finding(level: level, text: "\($0[0]).\($0[1]): \(text)", fix: fix($0))
        } + more(rows, level: level)
    }

    private static func more(_ rows: [[String]], level: Finding.Level) -> [Finding] {
        rows.count > namesMax ? [Finding(level: level, text: "and \(rows.count - namesMax) more")] : []
    }
}
