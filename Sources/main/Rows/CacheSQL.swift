import CDC
import Cache
import PGProtocol

/// The row tier's operations as statements of the extended protocol, for the connection that applies them.
///
/// Values travel as text under the fixed settings of pgcache's own connections, as the change stream brought them; the
/// server takes parameters for the types of the columns that they meet.
struct CacheSQL {
    let table: PoolTable
    let name: String
    let columnList: String
    private let keyList: String

    static let stagingSchema = "pgcache_staging"

    init(_ table: PoolTable) {
        self.table = table
        name = Self.identifier(table.schema) + "." + Self.identifier(table.name)
        columnList = table.columns.map { Self.identifier($0) }.joined(separator: ", ")
        keyList = table.key.map { Self.identifier(table.columns[$0]) }.joined(separator: ", ")
    }

    static func identifier(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
    static func literal(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }
    static func staging(_ id: PopulationID) -> String { "\(stagingSchema).population_\(id.number)" }

    // MARK: - The database

    /// The settings under which values are read and written, and no time limit.
    static let fixedOptions = ConnectionOptions.fixed + " -c statement_timeout=0 -c jit=off"
    /// The same for reads. Whoever asks has long been forwarded then, and the statement is not tried here again.
    static let readOptions = ConnectionOptions.fixed + " -c statement_timeout=10s -c jit=off"

    /// Everything in it goes, which must be ours: a database with tables that pgcache did not make is refused.
    static let empty = """
        DO $$
        DECLARE name text;
        BEGIN
          IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname !~ '^pg_')
            AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '\(stagingSchema)')
          THEN
            RAISE EXCEPTION 'the database holds tables that are not of pgcache';
          END IF;
          FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', name);
          END LOOP;
          EXECUTE 'CREATE SCHEMA \(stagingSchema)';
          EXECUTE 'CREATE SCHEMA public';
        END
        $$
        """

    /// Bytes on disk of each table, with its indexes.
    static let measure = """
        SELECT n.nspname, c.relname, pg_total_relation_size(c.oid) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 AND c.relkind = 'r'
        """

    /// One statement that sets all of these.
    static func setting(_ settings: [(name: String, value: String)]) -> String {
        let calls = settings.map { "set_config(\(literal($0.name)), \(literal($0.value)), false)" }
        return "SELECT " + calls.joined(separator: ", ")
    }

    /// Makes the table, and tells its number and the types of its columns.
    var create: String {
        (table.statements + [
            """
            SELECT a.attrelid, a.atttypid FROM pg_attribute a WHERE a.attrelid = \(Self.literal(name))::regclass
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """
        ]).joined(separator: ";\n")
    }

    // MARK: - Texts

    /// Names of prepared statements.
    private var tellName: String { "tell_\(table.relation.value)" }
    private var upsertName: String { "upsert_\(table.relation.value)" }
    private var deleteName: String { "delete_\(table.relation.value)" }

    private var upsert: String {
        let values = table.columns.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        let others = table.columns.indices.filter { !table.key.contains($0) }.map {
            let column = Self.identifier(table.columns[$0])
            return "\(column) = EXCLUDED.\(column)"
        }
        let action = others.isEmpty ? "NOTHING" : "UPDATE SET " + others.joined(separator: ", ")
        return "INSERT INTO \(name) (\(columnList)) VALUES (\(values)) ON CONFLICT (\(keyList)) DO \(action)"
    }

    func list(_ keys: KeyList) -> String {
        let column = Self.identifier(keys.column)
        return "SELECT DISTINCT \(column) FROM ONLY \(name) WHERE \(column) IS NOT NULL "
            + "AND (\(keys.condition ?? "true")) LIMIT \(keys.countMax + 1)"
    }

    private func delete(from name: String) -> String { "DELETE FROM ONLY \(name) WHERE \(keyCondition(from: 1))" }

    private func keyCondition(from number: Int) -> String {
        table.key.enumerated().map { "\(Self.identifier(table.columns[$1])) = $\(number + $0)" }
            .joined(separator: " AND ")
    }

    /// What prepares the statements that most changes need.
    func prepare(_ writer: inout ByteWriter) {
        Self.parse(upsertName, upsert, &writer)
        Self.parse(deleteName, delete(from: name), &writer)
        Self.parse(tellName, "SELECT \(columnList) FROM ONLY \(name) WHERE \(keyCondition(from: 1))", &writer)
    }

    // MARK: - Operations

    /// What a CommandComplete is about.
    enum Completion {
        case plain
        /// An update of no row means that one is missing.
        case needsRow
        /// The row in front of it was asked for.
        case tells
    }

    /// Writes the requests of an operation.
    /// - Returns: one for each CommandComplete that they bring.
    func write(_ kind: RowOperation.Kind, _ writer: inout ByteWriter) -> [Completion] {
        switch kind {
        case .upsert(let row):
            Self.execute(upsertName, row, &writer)
        case .delete(let key):
            Self.execute(deleteName, key.map { .text($0) }, &writer)
        case .tell(let key):
            Self.execute(tellName, key.map { .text($0) }, &writer)
            return [.tells]
        case .update(let key, let row):
            update(name, RowAmendment(key: key, row: row), &writer)
            return [.needsRow]
        case .truncate:
            Self.run("TRUNCATE ONLY \(name)", &writer)
        case .remove(let condition, let keeping):
            let kept = keeping.map { "(\($0))" }.joined(separator: " OR ")
            Self.run(
                "DELETE FROM ONLY \(name) WHERE (\(condition ?? "true"))"
                    + (kept.isEmpty ? "" : " AND (\(kept)) IS NOT TRUE"), &writer)
        case .merge(let id, let touched, let amended):
            return merge(Self.staging(id), touched, amended, &writer)
        }
        return [.plain]
    }

    /// All values but the unchanged ones.
    private func update(_ name: String, _ amendment: RowAmendment, _ writer: inout ByteWriter) {
        let changed = amendment.row.indices.filter { amendment.row[$0] != .unchanged }
        let assignments = changed.enumerated().map { "\(Self.identifier(table.columns[$1])) = $\($0 + 1)" }
        Self.parse(
            "", "UPDATE ONLY \(name) SET \(assignments.joined(separator: ", ")) "
                + "WHERE \(keyCondition(from: changed.count + 1))", &writer)
        Self.execute("", changed.map { amendment.row[$0] } + amendment.key.map { .text($0) }, &writer)
    }

    private func merge(
        _ staging: String, _ touched: [[[UInt8]]], _ amended: [RowAmendment], _ writer: inout ByteWriter
    ) -> [Completion] {
        var completions: [Completion] = []
        if touched.count + amended.count > Self.lookupsWithoutIndex {
            Self.run("CREATE INDEX ON \(staging) (\(keyList))", &writer)
            completions.append(.plain)
        }
        for amendment in amended {
            update(staging, amendment, &writer)
            completions.append(.needsRow)
        }
        if !touched.isEmpty { Self.parse("", delete(from: staging), &writer) }
        for key in touched {
            Self.execute("", key.map { .text($0) }, &writer)
            completions.append(.plain)
        }
        Self.run(
            "INSERT INTO \(name) (\(columnList)) SELECT \(columnList) FROM \(staging) ON CONFLICT DO NOTHING", &writer)
        Self.run("ANALYZE \(name)", &writer)
        return completions + [.plain, .plain]
    }

    /// More are worth an index.
    private static let lookupsWithoutIndex = 8

    // MARK: - Messages

    static func query(_ sql: String) -> [UInt8] {
        var writer = ByteWriter()
        writer.message(FrontendType.query) { $0.cString(sql) }
        return writer.bytes
    }

    /// A question with its parameters, as text.
    static func ask(_ question: OriginQuery) -> [UInt8] {
        var writer = ByteWriter()
        parse("", question.sql, &writer)
        execute("", question.parameters.map { $0.map { .text(Array($0.utf8)) } ?? .null }, &writer)
        sync(&writer)
        return writer.bytes
    }

    static func sync(_ writer: inout ByteWriter) { writer.message(FrontendType.sync) { _ in } }

    private static func parse(_ name: String, _ sql: String, _ writer: inout ByteWriter) {
        writer.message(FrontendType.parse) { body in
            body.cString(name)
            body.cString(sql)
            body.uint16(0)
        }
    }

    /// Parse, Bind and Execute of a text without parameters.
    static func run(_ sql: String, _ writer: inout ByteWriter) {
        parse("", sql, &writer)
        execute("", [], &writer)
    }

    private static func execute(_ name: String, _ values: [ColumnImage], _ writer: inout ByteWriter) {
        writer.message(FrontendType.bind) { body in
            body.cString("")
            body.cString(name)
            body.uint16(0)
            body.uint16(UInt16(clamping: values.count))
            for value in values {
                switch value {
                case .text(let bytes), .binary(let bytes):
                    body.uint32(UInt32(clamping: bytes.count))
                    body.append(bytes)
                case .null, .unchanged:
                    body.uint32(.max)
                }
            }
            body.uint16(0)
        }
        writer.message(FrontendType.execute) { body in
            body.cString("")
            body.uint32(0)
        }
    }
}
