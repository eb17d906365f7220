import PGProtocol

/// What is needed to make the pool of one relation: a plain table in the cache database under the relation's own
/// schema and name, where a client's text means what it means at the origin.
///
/// Made from the rows of `question` and never altered: when the relation changes, so does everything that was made
/// of this. Whoever uses it asks first: `refusal` is nil, the collations of `collations` are alike in the cache
/// database, and, where `usesDefaultCollation`, the databases' own are too (`DatabaseFacts`).
///
/// Columns are referred to by their position among the live ones, as in `Relation.columns`.
package struct PoolSchema: Equatable, Sendable {
    package let oid: OID
    package let schema: String
    package let name: String
    /// A partitioned table holds no rows itself: it needs no key, and nothing is copied.
    package let isPartitioned: Bool
    package let columns: [PoolColumn]
    /// The types that the columns use and users made, each behind those that it is made of.
    package let types: [PoolType]
    /// All collations of columns and types but the database's default and those that compare bytes everywhere.
    package let collations: [PoolCollation]
    /// Positions of the key's columns, in the order of its index; `Relation.primaryKey` has them in the columns' order.
    package let keyColumns: [Int]
    /// The key's index at the origin; no other relation of the schema has its name.
    package let keyName: String?
    /// Or only the replica identity. GROUP BY a primary key permits columns that it does not name, so none is invented.
    let isKeyPrimary: Bool
    /// The others that can be made in the cache database as well.
    package let indexes: [PoolIndex]
    /// About, without indexes.
    package let bytes: UInt64
    /// As VACUUM and ANALYZE have counted them; nil if they never have.
    package let rowsEstimate: UInt64?
    /// Hash of its row of pg_class: that of `Relation.version` if both are of one state of it.
    package let version: String?
    /// Why it cannot have a pool; nothing else is to be used then.
    package let refusal: PoolRefusal?

    /// Positions of the columns that COPY and row changes carry: all but generated ones.
    package var storedColumns: [Int] { columns.indices.filter { columns[$0].expression == nil } }

    package var usesDefaultCollation: Bool {
        columns.contains { $0.collation == PoolCollation.databaseDefault }
            || types.contains { $0.collations.contains(PoolCollation.databaseDefault) }
    }

    /// Whether the catalog's description is of the same shape.
    package func agrees(with relation: Relation) -> Bool {
        relation.oid == oid && relation.schema == schema && relation.name == name && relation.version == version
            && relation.columns.count == columns.count
            && zip(relation.columns, columns).allSatisfy {
                $0.name == $1.name && $0.number == $1.number && $0.type == $1.type
            }
    }

    /// Nil for rows that are not an answer to `question`, or tell that the relation is gone.
    package init?(rows: [[String?]]) {
        guard let parts = PoolRow.parts(rows), let relation = parts.relation, let oid = relation.oid(0),
            let schema = relation[1], let name = relation[2], let kind = SQLText.character(relation[3]),
            let persistence = SQLText.character(relation[4]), let hasRowSecurity = relation.boolean(5),
            let identity = SQLText.character(relation[6]), let estimate = relation[8].flatMap(Double.init)
        else { return nil }
        var known: [OID: PoolType] = [:]
        for row in parts.types {
            guard let oid = row.oid(0), let type = PoolType(row: row, fields: parts.fields[oid] ?? []) else {
                return nil
            }
            known[type.oid] = type
        }
        var collations: [OID: PoolCollation] = [:]
        for row in parts.collations {
            guard let oid = row.oid(0), let collation = PoolCollation(row: row[1..<10]) else { return nil }
            collations[oid] = collation
        }
        var columns: [PoolColumn] = []
        for row in parts.columns {
            guard let column = PoolColumn(row: row, known, collations) else { return nil }
            columns.append(column)
        }
        var indexes: [CatalogIndex] = []
        for row in parts.indexes {
            guard let index = CatalogIndex(row: row, keys: parts.indexColumns) else { return nil }
            indexes.append(index)
        }
        self.oid = oid
        self.schema = schema
        self.name = name
        self.columns = columns
        bytes = relation[7].flatMap { UInt64($0) } ?? 0
        rowsEstimate = estimate > 0 ? UInt64(min(estimate, 1e15)) : nil
        version = relation[9]

        var order = TypeOrder(known)
        let unfit = columns.lazy.compactMap { order.refusal(of: $0) }.first
        types = order.types.map { type in
            var type = type
            type.definition = type.definition(known, collations)
            return type
        }
        let inUse = Set(columns.compactMap(\.collation) + types.flatMap(\.collations))
        self.collations = inUse.compactMap { collations[$0] }
            .filter { !$0.comparesBytesEverywhere && $0.provider != UInt8(ascii: "d") }
            .sorted { ($0.schema, $0.name) < ($1.schema, $1.name) }
        let acceptable = inUse.union(PoolCollation.everywhere)
        let isPartitioned = kind == UInt8(ascii: "p")
        self.isPartitioned = isPartitioned
        let key = indexes.first { $0.isKey(of: columns, isPartitioned ? UInt8(ascii: "d") : identity, collations) }
        keyColumns = key?.positions(columns) ?? []
        keyName = key?.name
        isKeyPrimary = key?.isPrimary ?? false
        self.indexes = isPartitioned ? [] : indexes.filter { $0.oid != key?.oid && $0.isPlain(acceptable) }
            .map { $0.rendered(collations) }

        let generated = columns.first { $0.expression != nil && !$0.isComputedAlike(acceptable) }
        refusal =
            if ![UInt8(ascii: "r"), UInt8(ascii: "p")].contains(kind) || oid.isBuiltIn {
                .kind(kind)
            } else if persistence != UInt8(ascii: "p") {
                .persistence(persistence)
            } else if hasRowSecurity {
                .rowSecurity
            } else if let unfit {
                unfit
            } else if let generated {
                .generatedColumn(generated.name)
            } else if let odd = self.collations.first(where: { !$0.isAlikeByDefinition }) {
                .collation(odd.quotedName)
            } else if key == nil && !isPartitioned {
                .noKey
            } else {
                nil
            }
    }
}

/// Why a relation cannot have a pool.
package enum PoolRefusal: Equatable, Sendable {
    /// Not a table or a partitioned one (pg_class.relkind), or one of PostgreSQL's own.
    case kind(UInt8)
    /// Its changes are not in the stream (pg_class.relpersistence).
    case persistence(UInt8)
    /// [P2]
    case rowSecurity
    /// Nothing tells which row a change is about: no primary key, or one that is not what the stream carries.
    case noKey
    /// Of an expression that the cache database might not compute alike.
    case generatedColumn(String)
    case type(column: String, type: String, TypeReason)
    /// Nobody knows a version of its rules, so they cannot be compared with the cache database's.
    case collation(String)

    package enum TypeReason: Equatable, Sendable {
        /// Its text depends on settings or on other objects, or nobody has looked at it.
        case text
        case composite
        /// A range or a base type that users made.
        case madeByUsers
        case ofExtension
        /// Users gave it casts or operator classes.
        case hasCode
    }
}

/// A live column of a relation.
package struct PoolColumn: Equatable, Sendable {
    package let name: String
    /// pg_attribute.attnum.
    package let number: Int16
    package let type: OID
    package let typeModifier: Int32
    /// The type as the cache database is to read it, whatever the search path.
    package let typeText: String
    package let isNotNull: Bool
    /// The collation, and how it is written.
    package let collation: OID?
    let collationText: String?
    /// Of a stored generated column.
    package let expression: String?
    private let isPlain: Bool
    private let expressionCollations: [OID]

    init?(row: PoolRow, _ types: [OID: PoolType], _ collations: [OID: PoolCollation]) {
        guard let name = row[0], let type = row.oid(1), let modifier = row[2].flatMap({ Int32($0) }),
            let isNotNull = row.boolean(4), let generated = row[5], let collation = row.oid(6),
            let isPlain = row.boolean(8), let used = row.oids(9), let number = Int16(exactly: row.place),
            let typeText = row[3] ?? types[type]?.text(types)
        else { return nil }
        self.name = name
        self.number = number
        self.type = type
        typeModifier = modifier
        self.typeText = typeText
        self.isNotNull = isNotNull
        self.collation = collation.value == 0 ? nil : collation
        collationText = collations[collation]?.quotedName
        // `s` is all that PostgreSQL 12 to 17 have; another kind has no expression that is safe to use.
        expression = generated.isEmpty ? nil : row[7] ?? ""
        self.isPlain = isPlain && generated == "s" && row[7] != nil
        expressionCollations = used
        if self.collation != nil && collationText == nil { return nil }
    }

    /// Whether the expression calls PostgreSQL's own functions only, which are immutable, under known collations.
    func isComputedAlike(_ collations: Set<OID>) -> Bool {
        isPlain && expressionCollations.allSatisfy(collations.contains)
    }
}

/// A row of `PoolSchema.question`.
struct PoolRow {
    var place: Int64
    private let values: [String?]

    init?(_ row: [String?]) {
        guard row.count == PoolSchema.rowWidth + 2, let place = row[1].flatMap({ Int64($0) }) else { return nil }
        self.place = place
        values = Array(row[2...])
    }

    subscript(index: Int) -> String? { values[index] }
    subscript(range: Range<Int>) -> ArraySlice<String?> { values[range] }
    func oid(_ index: Int) -> OID? { self[index].flatMap { OID($0) } }
    func boolean(_ index: Int) -> Bool? { Self.boolean(self[index]) }
    /// None for NULL.
    func oids(_ index: Int) -> [OID]? {
        guard let text = self[index] else { return [] }
        guard let elements = SQLText.elements(ofArray: text) else { return nil }
        let oids = elements.compactMap { OID($0) }
        return oids.count == elements.count ? oids : nil
    }

    /// A boolean that was cast to text.
    static func boolean(_ text: String?) -> Bool? {
        switch text {
        case "true": true
        case "false": false
        default: nil
        }
    }

    struct Parts {
        var relation: PoolRow?
        var columns: [PoolRow] = []
        var types: [PoolRow] = []
        /// By their type.
        var fields: [OID: [PoolRow]] = [:]
        var collations: [PoolRow] = []
        var indexes: [PoolRow] = []
        var indexColumns: [OID: [PoolRow]] = [:]
    }

    static func parts(_ rows: [[String?]]) -> Parts? {
        var parts = Parts()
        for values in rows {
            guard let row = PoolRow(values) else { return nil }
            switch values[0] {
            case "r": parts.relation = row
            case "c": parts.columns.append(row)
            case "t": parts.types.append(row)
            case "f":
                guard let type = row.oid(0) else { return nil }
                parts.fields[type, default: []].append(row)
            case "o": parts.collations.append(row)
            case "i": parts.indexes.append(row)
            case "k":
                guard let index = row.oid(0) else { return nil }
                parts.indexColumns[index, default: []].append(row)
            default: return nil
            }
        }
        return parts
    }
}
