import CDC
import Cache
import PGProtocol

/// What the modelled cache database holds: a table of rows for each relation pool, and what populations have copied.
///
/// It holds what was brought and nothing else: rows of a fragment that is not complete are really missing. Pure: it
/// executes batches and statements, each as a whole at one moment. Rows are found by their key, the first column.
struct CacheTables {
    struct Pool {
        let name: String
        let columns: [Column]
        /// The cache database's own.
        let oid: OID
        var rows: [Int64: Row] = [:]

        /// As a table whose shape changes at the origin, numbered as it is here.
        var sheet: Sheet {
            var sheet = Sheet(table: 0)
            sheet.oid = oid
            sheet.attributes = columns.indices.compactMap { place in
                SheetColumn(rawValue: columns[place].name).map {
                    Sheet.Attribute(column: $0, type: columns[place].type, number: place + 1)
                }
            }
            return sheet
        }
    }
    /// By the origin's number of the relation.
    private(set) var pools: [OID: Pool] = [:]
    /// What was copied and has not joined a pool.
    var staged: [PopulationID: [Int64: Row]] = [:]
    /// By the position of the operation that asked, in the last batch.
    private(set) var told: [Int: RowImage] = [:]

    // MARK: - Changing

    /// False where one of its name is there already.
    mutating func create(_ table: PoolTable, oid: OID) -> Bool {
        let name = "\(table.schema).\(table.name)"
        guard !pools.values.contains(where: { $0.name == name }) else { return false }
        let statement = table.statements.first { $0.hasPrefix("CREATE UNLOGGED TABLE ") } ?? ""
        let columns = table.columns.map { Column(name: $0, type: Self.type(of: $0, in: statement)) }
        pools[table.relation] = Pool(name: name, columns: columns, oid: oid)
        return true
    }

    private static func type(of column: String, in statement: String) -> ColumnType {
        guard let place = statement.firstRange(of: "\"\(column)\" ") else {
            preconditionFailure("no column \(column) in \(statement)")
        }
        let rest = statement[place.upperBound...]
        if rest.hasPrefix("integer") { return .int4 }
        if rest.hasPrefix("bigint") { return .int8 }
        if rest.hasPrefix("boolean") { return .bool }
        let others = [ColumnType.text, .date, .bytea]
        guard let type = others.first(where: { rest.hasPrefix("\"pg_catalog\".\"\($0)\"") }) else {
            preconditionFailure("no type that is known: \(statement)")
        }
        return type
    }

    /// All of a batch, or nothing: then nil, as where a table is not there.
    /// - Returns: the positions of the updates that found no row.
    mutating func apply(_ operations: [RowOperation]) -> [Int]? {
        var missing: [Int] = []
        var after = self
        after.told = [:]
        for (position, operation) in operations.enumerated() {
            guard let pool = after.pools[operation.relation] else { return nil }
            let columns = pool.columns
            func row(_ images: [ColumnImage], over known: Row? = nil) -> Row {
                images.indices.map { Self.datum(images[$0], columns[$0].type) ?? known?[$0] ?? .null }
            }
            switch operation.kind {
            case .upsert(let images):
                let row = row(images)
                guard let id = Self.key(row) else { return nil }
                after.pools[operation.relation]?.rows[id] = row
            case .update(let key, let images):
                guard let old = Self.key(key), let known = pool.rows[old] else {
                    missing.append(position)
                    continue
                }
                let row = row(images, over: known)
                guard let id = Self.key(row), id == old || pool.rows[id] == nil else { return nil }
                after.pools[operation.relation]?.rows[old] = nil
                after.pools[operation.relation]?.rows[id] = row
            case .tell(let key):
                guard let id = Self.key(key) else { return nil }
                if let row = pool.rows[id] {
                    after.told[position] = zip(row, columns).map {
                        Wire.bytes($0, $1.type, isBinary: false).map { .text($0) } ?? .null
                    }
                }
            case .delete(let key):
                guard let id = Self.key(key) else { return nil }
                after.pools[operation.relation]?.rows[id] = nil
            case .truncate: after.pools[operation.relation]?.rows = [:]
            case .remove(let condition, let keeping):
                let removed = condition.map { CacheCondition($0, columns) }
                let kept = keeping.map { CacheCondition($0, columns) }
                after.pools[operation.relation]?.rows = pool.rows.filter { _, row in
                    !(removed?.isTrue(row) ?? true) || kept.contains { $0.isTrue(row) }
                }
            case .merge(let id, let touched, let amended):
                guard var copied = after.staged.removeValue(forKey: id) else { return nil }
                let touched = Set(touched.compactMap(Self.key))
                for amendment in amended {
                    guard let key = Self.key(amendment.key), let known = copied[key] else {
                        if !missing.contains(position) { missing.append(position) }
                        continue
                    }
                    copied[key] = row(amendment.row, over: known)
                }
                for (key, row) in copied where !touched.contains(key) && pool.rows[key] == nil {
                    after.pools[operation.relation]?.rows[key] = row
                }
            }
        }
        self = after
        return missing
    }

    /// Nil for a value that is not told.
    private static func datum(_ image: ColumnImage, _ type: ColumnType) -> Datum? {
        switch image {
        case .null: .null
        case .unchanged: nil
        case .text(let bytes): Wire.datum(bytes, type, isBinary: false)
        case .binary(let bytes): Wire.datum(bytes, type, isBinary: true)
        }
    }

    static func key(_ row: Row) -> Int64? { if case .int(let id) = row[0] { id } else { nil } }
    private static func key(_ texts: [[UInt8]]) -> Int64? {
        texts.first.flatMap { Int64(String(decoding: $0, as: UTF8.self)) }
    }

    // MARK: - Reading

    /// What a column has, each value once; nil where there are too many.
    func values(_ keys: KeyList) -> [[UInt8]]? {
        guard let pool = pools[keys.relation], let place = pool.columns.firstIndex(where: { $0.name == keys.column })
        else { return nil }
        let condition = keys.condition.map { CacheCondition($0, pool.columns) }
        let found = Set(
            pool.rows.values.lazy.filter { condition?.isTrue($0) ?? true }
                .compactMap { Wire.bytes($0[place], pool.columns[place].type, isBinary: false) })
        return found.count > keys.countMax ? nil : found.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Nil where a table is not there.
    func answer(_ select: Select, _ parameters: [Datum]) -> Answer? {
        guard let all = rows(of: select.table) else { return nil }
        var first = all
        if let keys = Evaluation.keys(select.conditions, parameters) {
            first = all.filter { row in CacheTables.key(row.row).map { keys.contains($0) } ?? false }
        }
        var second: [VisibleRow] = []
        if let join = select.join {
            guard let rows = rows(of: join.table) else { return nil }
            second = rows
        }
        return Evaluation.answer(select, parameters, first: first, second: second)
    }

    /// A SELECT on the table whose shape changes; nil where it, or a column, is not there.
    func answer(_ read: SheetRead, _ parameters: [Datum]) -> Answer? {
        let name = "\(CatalogState.schema).\(Sheet.name)"
        guard let pool = pools.values.first(where: { $0.name == name }),
            let fields = try? pool.sheet.fields(of: read)
        else { return nil }
        var answer = Answer()
        answer.fields = fields
        var ids = pool.rows.keys.sorted()
        if let key = read.key { ids = ids.filter { .int($0) == key.value(parameters) } }
        if case .count = read.output {
            answer.rows = [[.int(Int64(ids.count))]]
        } else {
            answer.rows = ids.compactMap { pool.rows[$0] }.map { row in fields.map { row[$0.attribute - 1] } }
        }
        return answer
    }

    private func rows(of table: Int) -> [VisibleRow]? {
        guard let pool = pools[Table.all[table].oid] else { return nil }
        return pool.rows.keys.sorted().compactMap { id in pool.rows[id].map { VisibleRow(row: $0, lsn: .zero) } }
    }
}

/// A condition in SQL as fragments write it: comparisons of columns with constants, all of which must be true.
struct CacheCondition {
    private enum Test {
        case isNull, isNotNull
        case among([Datum])
        /// `<`, `<=`, `>`, `>=`
        case compares(String, Datum)
    }
    private var tests: [(column: Int, test: Test)] = []
    private var isNever = false

    init(_ sql: String, _ columns: [Column]) {
        var scanner = Scanner(sql)
        repeat {
            if scanner.takes("true") { continue }
            if scanner.takes("false") {
                isNever = true
                continue
            }
            let name = scanner.quoted("\"")
            guard let place = columns.firstIndex(where: { $0.name == name }) else {
                preconditionFailure("no column in \(sql)")
            }
            let type = columns[place].type
            _ = scanner.takes("COLLATE \"C\"")
            if scanner.takes("IS NULL") {
                tests.append((place, .isNull))
            } else if scanner.takes("IS NOT NULL") {
                tests.append((place, .isNotNull))
            } else if scanner.takes("IN (") {
                var values: [Datum] = []
                repeat { values.append(scanner.literal(type)) } while scanner.takes(",")
                precondition(scanner.takes(")"), "a list ends: \(sql)")
                tests.append((place, .among(values)))
            } else if let sign = ["<=", ">=", "<", ">"].first(where: { scanner.takes($0) }) {
                tests.append((place, .compares(sign, scanner.literal(type))))
            } else {
                preconditionFailure("no test in \(sql)")
            }
        } while scanner.takes("AND")
        precondition(scanner.isAtEnd, "something is left of \(sql)")
    }

    func isTrue(_ row: Row) -> Bool {
        !isNever
            && tests.allSatisfy { column, test in
                let value = row[column]
                return switch test {
                case .isNull: value == .null
                case .isNotNull: value != .null
                case .among(let values): values.contains { Datum.equal(value, $0) == true }
                case .compares("<", let limit): Datum.less(value, limit) == true
                case .compares("<=", let limit): Datum.less(limit, value) == false
                case .compares(">", let limit): Datum.less(limit, value) == true
                case .compares(_, let limit): Datum.less(value, limit) == false
                }
            }
    }

    private struct Scanner {
        private var rest: Substring
        private let sql: String

        init(_ sql: String) {
            self.sql = sql
            rest = sql[...]
        }

        var isAtEnd: Bool { rest.allSatisfy { $0 == " " } }

        mutating func takes(_ word: String) -> Bool {
            let trimmed = rest.drop { $0 == " " }
            guard trimmed.hasPrefix(word) else { return false }
            rest = trimmed.dropFirst(word.count)
            return true
        }

        mutating func quoted(_ mark: Character) -> String {
            precondition(takes(String(mark)), "a quote in \(sql)")
            var text = ""
            while let next = rest.popFirst() {
                if next == mark {
                    guard rest.first == mark else { break }
                    rest.removeFirst()
                }
                text.append(next)
            }
            return text
        }

        mutating func literal(_ type: ColumnType) -> Datum {
            var text: String
            if takes("(") {
                text = String(rest.prefix { $0 != ")" })
                rest = rest.dropFirst(text.count + 1)
            } else {
                text = quoted("'")
                if takes("::") { rest = rest.drop { $0.isLetter } }
            }
            guard let value = Wire.datum(Array(text.utf8), type, isBinary: false) else {
                preconditionFailure("\(text) is no value in \(sql)")
            }
            return value
        }
    }
}
