import PGProtocol

/// The statements of `Publication`. Each is one statement, so that each is one transaction.
enum PublicationSQL {
    /// SQLSTATEs of our own, raised by `add`.
    static let stateRenamed = "PGC01"
    static let stateWithoutIdentity = "PGC02"

    static let publishAll = "publish = 'insert, update, delete, truncate'"

    static func lock(_ publication: String) -> String {
        "SELECT pg_try_advisory_lock(\(Leftovers.lockKey(SQLText.literal(publication))))"
    }

    static func find(_ publication: String) -> String {
        "SELECT oid FROM pg_catalog.pg_publication WHERE pubname = \(SQLText.literal(publication))"
    }

    /// Roots are not published in place of their partitions: the TRUNCATE of a leaf would be lost [C2].
    static func create(_ publication: String) -> String {
        "CREATE PUBLICATION \(SQLText.identifier(publication)) "
            + "WITH (\(publishAll), publish_via_partition_root = false)"
    }

    /// Harmless, but it makes every walsender forget what it thought of the publication [T3].
    static func refresh(_ publication: String) -> String {
        "ALTER PUBLICATION \(SQLText.identifier(publication)) SET (\(publishAll))"
    }

    /// Adds relations, and takes them back at once if a name has come to mean another relation, or if
    /// the application's UPDATE and DELETE would fail from now on. Holding the lock that ALTER
    /// PUBLICATION took on each relation keeps both from changing until this has ended.
    static func add(_ relations: [(oid: OID, schema: String, name: String)], to name: String) -> String {
        let tables = relations.map {
            "ONLY \(SQLText.identifier($0.schema)).\(SQLText.identifier($0.name))"
        }.joined(separator: ", ")
        let numbers = "ARRAY[" + relations.map { "\($0.oid)" }.joined(separator: ",") + "]::oid[]"
        let body = """
            BEGIN
            ALTER PUBLICATION \(SQLText.identifier(name)) ADD TABLE \(tables);
            IF EXISTS (SELECT FROM unnest(\(numbers)) AS asked(relation) WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_publication_rel AS member
            JOIN pg_catalog.pg_publication AS publication ON publication.oid = member.prpubid
            WHERE publication.pubname = \(SQLText.literal(name))
            AND member.prrelid = asked.relation)) THEN
            RAISE EXCEPTION 'renamed meanwhile' USING ERRCODE = '\(stateRenamed)';
            END IF;
            IF EXISTS (SELECT FROM unnest(\(numbers)) AS asked(relation)
            CROSS JOIN LATERAL (SELECT asked.relation UNION
            SELECT relid FROM pg_partition_tree(asked.relation)) AS part(relation)
            JOIN pg_catalog.pg_class AS class ON class.oid = part.relation
            WHERE class.relkind = 'r' AND NOT (class.relreplident = 'f' OR EXISTS (
            SELECT FROM pg_catalog.pg_index AS index WHERE index.indrelid = class.oid
            AND index.indisvalid AND ((class.relreplident = 'd' AND index.indisprimary)
            OR (class.relreplident = 'i' AND index.indisreplident))))) THEN
            RAISE EXCEPTION 'no replica identity' USING ERRCODE = '\(stateWithoutIdentity)';
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// A transaction number of our own, above that of every transaction that has written before.
    static let fence = "SELECT 'fence', pg_current_xact_id()::text"

    /// Who is in our publication: a row `publication`, fit or not, and a row for each `member` with an
    /// identity that changes when it is removed and added again. No rows without the publication. A row filter or a
    /// column list that somebody has put on a member makes it unfit.
    static func members(of publication: String, serverVersion: Int32) -> String {
        let cut =
            serverVersion >= 150_000
            ? "AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel "
                + "WHERE prpubid = publication.oid AND (prqual IS NOT NULL OR prattrs IS NOT NULL))" : ""
        return """
            SELECT 'publication', (NOT puballtables AND pubinsert AND pubupdate AND pubdelete \
            AND pubtruncate AND NOT pubviaroot \(cut))::text, oid::text \
            FROM pg_catalog.pg_publication AS publication WHERE pubname = \(SQLText.literal(publication)) \
            UNION ALL SELECT 'member', prrelid::text, member.oid || ':' || member.xmin \
            FROM pg_catalog.pg_publication_rel AS member \
            JOIN pg_catalog.pg_publication AS publication ON publication.oid = prpubid \
            WHERE pubname = \(SQLText.literal(publication))
            """
    }

    /// The same for a publication of the operator's, which may also be for all tables or for schemas: a
    /// `member` is a relation all of whose changes are sent under its own number. Its identity
    /// changes with everything that the operator does to its membership.
    static func adoptedMembers(of publication: String, serverVersion: Int32) -> String {
        let filtered = serverVersion >= 150_000
        let rowFilter = filtered ? "AND listed.rowfilter IS NULL" : ""
        let cut = filtered ? "(prqual IS NOT NULL OR prattrs IS NOT NULL)" : "false"
        return """
            WITH RECURSIVE publication AS (SELECT *, xmin::text AS version FROM pg_catalog.pg_publication \
            WHERE pubname = \(SQLText.literal(publication))), \
            own AS (SELECT member.oid, member.xmin::text AS version, member.prrelid, \(cut) AS cut \
            FROM pg_catalog.pg_publication_rel AS member JOIN publication ON publication.oid = prpubid), \
            line(relation, ancestor) AS (SELECT class.oid, class.oid \
            FROM pg_catalog.pg_publication_tables AS listed \
            JOIN pg_catalog.pg_namespace AS space ON space.nspname = listed.schemaname \
            JOIN pg_catalog.pg_class AS class \
            ON class.relnamespace = space.oid AND class.relname = listed.tablename \
            WHERE listed.pubname = \(SQLText.literal(publication)) \(rowFilter) \
            UNION SELECT line.relation, inhparent FROM line \
            JOIN pg_catalog.pg_inherits ON inhrelid = line.ancestor \
            JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid AND child.relispartition) \
            SELECT 'publication', (pubinsert AND pubupdate AND pubdelete AND pubtruncate \
            AND NOT pubviaroot)::text, oid::text FROM publication \
            UNION ALL SELECT 'member', line.relation::text, \
            publication.version || ':' || coalesce(string_agg(own.oid || '.' || own.version, ':' \
            ORDER BY own.oid), '') \
            FROM publication CROSS JOIN line LEFT JOIN own ON own.prrelid = line.ancestor \
            GROUP BY line.relation, publication.version HAVING NOT coalesce(bool_or(own.cut), false)
            """
    }
}
