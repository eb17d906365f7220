/// The event trigger that tells in the change stream itself that the schema has changed [D1].
///
/// Each instance has its own: one function and two event triggers, for what is made or altered and for what is
/// dropped. The function runs inside of whatever statement changes the schema, as whoever executes that. So it must
/// not fail, needs no right, and looks no name up by a search path; what it cannot find out counts as a change. It
/// emits a transactional message: rolled back with its transaction, in the stream at the place of its commit.
///
/// All are members of the extension plpgsql, in whose language the function is: so DROP EXTENSION plpgsql goes on as if
/// they were not there, and pg_dump leaves them out. They are in pg_catalog, since a schema of ours would be one more
/// that everybody sees.
///
/// What no event trigger sees (roles, settings, sessions with session_replication_role = replica) is left to the poll.
public enum EventTrigger {
    /// The prefix of our logical messages.
    public static let messagePrefix = "pgcache"
    /// The content of a message about publications. Any other content tells of a change of the schema.
    static let aboutPublications = "publication"
    /// Set on connections of pgcache's: what is done there is known.
    static let silence = "pgcache.internal"
    /// The walsenders of older servers send no messages.
    static let serverVersionMin: Int32 = 140_000

    static func functionName(_ instance: String) -> String { namePrefix + digits(instance) }
    static func triggerNames(_ instance: String) -> [String] {
        ["_end", "_drop"].map { functionName(instance) + $0 }
    }
    public static let namePrefix = "pgcache_ddl_"

    /// Instances are called as their publications are, or would be.
    private static func digits(_ instance: String) -> String {
        instance.hasPrefix(Leftovers.publicationPrefix)
            ? String(instance.dropFirst(Leftovers.publicationPrefix.count)) : instance
    }

    /// Makes function and triggers; nothing if they are there. One statement, so all or nothing.
    static func create(_ instance: String) -> String {
        let function = "pg_catalog.\(SQLText.identifier(functionName(instance)))()"
        let triggers = triggerNames(instance).map(SQLText.identifier)
        let body = """
            BEGIN
            IF EXISTS (\(present(instance))) THEN RETURN; END IF;
            CREATE OR REPLACE FUNCTION \(function) RETURNS event_trigger LANGUAGE plpgsql
            AS \(SQLText.literal(functionBody));
            CREATE EVENT TRIGGER \(triggers[0]) ON ddl_command_end EXECUTE FUNCTION \(function);
            CREATE EVENT TRIGGER \(triggers[1]) ON sql_drop EXECUTE FUNCTION \(function);
            ALTER EXTENSION plpgsql ADD FUNCTION \(function);
            ALTER EXTENSION plpgsql ADD EVENT TRIGGER \(triggers[0]);
            ALTER EXTENSION plpgsql ADD EVENT TRIGGER \(triggers[1]);
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// PL/pgSQL: removes them if they are there.
    static func removal(_ instance: String) -> String {
        let function = "pg_catalog.\(SQLText.identifier(functionName(instance)))()"
        let triggers = triggerNames(instance).map(SQLText.identifier)
        let members = triggers.map { "EVENT TRIGGER \($0)" } + ["FUNCTION \(function)"]
        return "IF EXISTS (\(present(instance))) THEN\n"
            + members.map { "ALTER EXTENSION plpgsql DROP \($0);\n" }.joined()
            + members.map { "DROP \($0);\n" }.joined() + "END IF;"
    }

    /// Those of the triggers that are there.
    private static func present(_ instance: String) -> String {
        let names = triggerNames(instance).map(SQLText.literal).joined(separator: ", ")
        return "SELECT FROM pg_catalog.pg_event_trigger WHERE evtname IN (\(names))"
    }

    /// A row `event trigger` with how many of them are there and enabled.
    static func state(_ instance: String) -> String {
        let names = triggerNames(instance).map(SQLText.literal).joined(separator: ", ")
        return "SELECT 'event trigger', count(*)::text, NULL FROM pg_catalog.pg_event_trigger "
            + "WHERE evtname IN (\(names)) AND evtenabled IN ('O', 'A')"
    }

    /// Statements that cannot alter an answer, nor what is known of the schema.
    private static let harmless = [
        "COMMENT", "CREATE INDEX", "ALTER INDEX", "REINDEX", "CREATE SEQUENCE", "ALTER SEQUENCE", "DROP SEQUENCE",
        "CREATE STATISTICS", "ALTER STATISTICS", "DROP STATISTICS", "REFRESH MATERIALIZED VIEW",
        "ALTER DEFAULT PRIVILEGES", "CREATE PUBLICATION",
    ]

    /// The rule of a view that is dropped does not know that the view was temporary.
    ///
    /// Only the inner block looks at the database. The message has no block of its own: so a transaction of a thousand
    /// statements has no thousand subtransactions with numbers.
    private static let functionBody = """
        DECLARE
        matters boolean := true;
        BEGIN
        BEGIN
        IF coalesce(pg_catalog.current_setting('\(silence)', true), '') OPERATOR(pg_catalog.<>) ''
        OR tg_tag OPERATOR(pg_catalog.=) ANY ('{\(harmless.joined(separator: ","))}'::pg_catalog.text[])
        OR NOT pg_catalog.has_function_privilege(
        'pg_catalog.pg_logical_emit_message(boolean,text,text)', 'EXECUTE') THEN
        RETURN;
        END IF;
        IF tg_event OPERATOR(pg_catalog.=) 'sql_drop' THEN
        matters := EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() AS object
        WHERE NOT object.is_temporary AND (object.original OR object.object_type OPERATOR(pg_catalog.<>) 'rule'));
        ELSIF tg_tag OPERATOR(pg_catalog.<>) 'DROP OWNED' THEN
        matters := EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() AS command
        WHERE coalesce(command.schema_name, '') OPERATOR(pg_catalog.<>) 'pg_temp');
        END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        IF matters THEN
        PERFORM pg_catalog.pg_logical_emit_message(true, '\(messagePrefix)', CASE WHEN tg_tag
        OPERATOR(pg_catalog.=) ANY ('{ALTER PUBLICATION,DROP PUBLICATION}'::pg_catalog.text[])
        THEN '\(aboutPublications)' ELSE 'schema' END);
        END IF;
        END
        """
}
