/// What a proxy that was killed may have left on the origin, and how to remove it.
///
/// Publications and event triggers belong to an instance as long as a session holds its advisory lock; without a
/// holder they are orphans. A slot without a walsender is one too, if its name says that it is ours. All statements are
/// run one by one, by a role that may drop what it finds.
public enum Leftovers {
    /// Instances and their publications are named so, with random hexadecimal digits behind it.
    public static let publicationPrefix = "pgcache_pub_"
    public static let slotPrefix = "pgcache_"

    /// SQL: the advisory lock that stands for an instance. `name` is an SQL expression.
    ///
    /// Session locks are counted and belong to one database, as publications do (manual, 13.3.5).
    static func lockKey(_ name: String) -> String { "hashtextextended(\(name), 0)" }

    /// Name of each instance that has left something, except `own`, and whether its lock could be taken (`t`: an
    /// orphan, and the asking session holds its lock until it ends or `unlock` is run).
    ///
    /// The names are materialized first: the planner must not try locks of rows that it filters later.
    public static func instancesQuery(except own: String = "") -> String {
        """
        WITH ours AS MATERIALIZED (SELECT name FROM (SELECT pubname::text AS name \
        FROM pg_catalog.pg_publication WHERE pubname ~ '^\(publicationPrefix)[0-9a-f]+$' \
        UNION SELECT '\(publicationPrefix)' || split_part(evtname, '_', 3) \
        FROM pg_catalog.pg_event_trigger WHERE evtname ~ '^\(EventTrigger.namePrefix)[0-9a-f]+_(end|drop)$') \
        AS found WHERE name <> \(SQLText.literal(own)) ORDER BY 1 LIMIT 1000) \
        SELECT name, pg_try_advisory_lock(\(lockKey("name"))) FROM ours
        """
    }

    /// Removes all that an instance has made.
    public static func remove(_ instance: String) -> String {
        let body = """
            BEGIN
            PERFORM pg_catalog.set_config('\(EventTrigger.silence)', 'on', true);
            \(EventTrigger.removal(instance))
            \(dropPublication(instance));
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    static func dropPublication(_ name: String) -> String {
        "DROP PUBLICATION IF EXISTS \(SQLText.identifier(name))"
    }

    public static func unlock(_ name: String) -> String {
        "SELECT pg_advisory_unlock(\(lockKey(SQLText.literal(name))))"
    }

    /// Name of each slot of ours in this database that nobody uses. Temporary ones end with their session.
    public static let slotsQuery = """
        SELECT slot_name FROM pg_catalog.pg_replication_slots \
        WHERE slot_name ~ '^\(slotPrefix)' AND plugin = 'pgoutput' AND NOT active AND NOT temporary \
        AND database = current_database() ORDER BY 1 LIMIT 1000
        """

    public static func dropSlot(_ name: String) -> String {
        "SELECT pg_drop_replication_slot(\(SQLText.literal(name)))"
    }
}
