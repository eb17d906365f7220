import PGProtocol

/// The statements that make a pool, fill it and end it.
///
/// Those for the cache database run under `search_path = pg_catalog` and `standard_conforming_strings = on`, as all
/// that pgcache's own connections have (`ConnectionOptions`): expressions were printed for that path.
extension PoolSchema {
    package var quotedName: String { SQLText.identifier(schema) + "." + SQLText.identifier(name) }

    /// Everything, in one transaction or not. Types and collations may be there already, from another relation.
    package var createStatements: [String] { typeStatements + [tableStatement] + indexStatements }

    /// Schemas, collations, types. A type that is there and is another fails: whatever used it has to go first
    /// (`dropTypeStatements`). Collations are made if they are not there, and to be asked about afterwards.
    package var typeStatements: [String] {
        let made = collations.filter(\.isUsers)
        let schemas = Set([schema] + types.map(\.schema) + made.map(\.schema)).subtracting(Self.givenSchemas).sorted()
        return schemas.map { "CREATE SCHEMA IF NOT EXISTS \(SQLText.identifier($0))" }
            + made.map(\.createStatement)
            + types.map(\.createStatement)
    }
    private static let givenSchemas: Set<String> = ["pg_catalog", "information_schema"]

    /// The table alone, which must not be there. Its key has the name that it has at the origin, because an invented
    /// one could be a relation's of the same schema.
    package var tableStatement: String {
        var parts = columns.map(\.declaration)
        if let keyName {
            let names = keyColumns.map { SQLText.identifier(columns[$0].name) }.joined(separator: ", ")
            let kind = isKeyPrimary ? "PRIMARY KEY" : "UNIQUE"
            parts.append("CONSTRAINT \(SQLText.identifier(keyName)) \(kind) (\(names))")
        }
        let table = "CREATE UNLOGGED TABLE \(quotedName) (\(parts.joined(separator: ", ")))"
        return isPartitioned ? table : table + " WITH (\(Self.storage))"
    }

    /// Room for new versions of rows on their pages; VACUUM and ANALYZE early, as a pool is changed in place all day
    /// and read by plans that go by its statistics.
    private static let storage = """
        fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05, \
        autovacuum_analyze_scale_factor = 0.02
        """

    /// Made fastest when the rows are there; a pool that lacks one is slow, not wrong.
    package var indexStatements: [String] { indexes.map { $0.createStatement(on: quotedName) } }

    /// Fails while views or children of the pool are there: those go first.
    package var dropStatements: [String] { ["DROP TABLE IF EXISTS \(quotedName)"] }

    /// The types, which must not be in use any more.
    package var dropTypeStatements: [String] { types.reversed().map { "DROP TYPE IF EXISTS \($0.quotedName)" } }

    /// The columns that COPY and row changes carry.
    package var columnList: String {
        storedColumns.map { SQLText.identifier(columns[$0].name) }.joined(separator: ", ")
    }

    /// For the origin: rows of the relation itself, without its children's.
    /// - Parameters:
    ///   - condition: SQL over its columns, whose names, functions and operators are the caller's to qualify.
    package func copyQuery(where condition: String? = nil, limit: Int? = nil) -> String {
        var query = "SELECT \(columnList) FROM ONLY \(quotedName)"
        if let condition { query += " WHERE \(condition)" }
        if let limit { query += " LIMIT \(limit)" }
        return "COPY (\(query)) TO STDOUT"
    }

    /// For the cache database.
    package var copyStatement: String { "COPY \(quotedName) (\(columnList)) FROM STDIN" }

    /// Makes reading `parent` read `child` too. Both pools are there; a parent with several columns of one name in its
    /// tree has them in any order, as at the origin.
    package static func inheritStatement(child: PoolSchema, parent: PoolSchema) -> String {
        "ALTER TABLE \(child.quotedName) INHERIT \(parent.quotedName)"
    }
}

extension PoolColumn {
    fileprivate var declaration: String {
        var text = "\(SQLText.identifier(name)) \(typeText)"
        if let collationText { text += " COLLATE \(collationText)" }
        if let expression { text += " GENERATED ALWAYS AS (\(expression)) STORED" }
        return isNotNull ? text + " NOT NULL" : text
    }
}

extension PoolIndex {
    fileprivate func createStatement(on table: String) -> String {
        var text = "CREATE INDEX \(SQLText.identifier(name)) ON \(table) USING \(SQLText.identifier(method)) "
        text += "(\(keys.joined(separator: ", ")))"
        if !included.isEmpty { text += " INCLUDE (\(included.joined(separator: ", ")))" }
        if let predicate { text += " WHERE \(predicate)" }
        return text
    }
}

extension PoolType {
    /// Makes the type, or finds it there as this has made it before, which its comment tells.
    fileprivate var createStatement: String {
        let name = SQLText.literal(quotedName)
        let comment = SQLText.literal(definition)
        let body = """
            BEGIN
              IF pg_catalog.to_regtype(\(name)) IS NULL THEN
                \(definition);
                COMMENT ON TYPE \(quotedName) IS \(comment);
              ELSIF pg_catalog.obj_description(pg_catalog.to_regtype(\(name)), 'pg_type') \
            IS DISTINCT FROM \(comment) THEN
                RAISE EXCEPTION 'the type is there and is another' USING ERRCODE = 'duplicate_object';
              END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }
}
