import PGProtocol

/// An index of the origin that the cache database has too, as it is written there. Never unique: a pool holds what
/// the origin holds, and holds it for a moment in another order.
package struct PoolIndex: Equatable, Sendable {
    package let name: String
    let method: String
    let keys: [String]
    let included: [String]
    let predicate: String?
}

/// An index as the catalog describes it.
struct CatalogIndex {
    struct Key {
        /// 0 for an expression.
        var number: Int16
        /// The column or the expression, as it stands in CREATE INDEX.
        var text: String
        /// Schema and name; nil for an included column.
        var operatorClass: String?
        var isDefaultClass: Bool
        var collation: OID
        var option: Int16
    }

    let oid: OID
    let name: String
    private let method: String
    private let isOwnMethod: Bool
    let isPrimary: Bool
    private let isIdentity: Bool
    private let isUnique: Bool
    private let predicate: String?
    private let isPlain: Bool
    private let collations: [OID]
    private let keys: [Key]

    init?(row: PoolRow, keys rows: [OID: [PoolRow]]) {
        guard let oid = row.oid(0), let name = row[1], let method = row[2], let isOwnMethod = row.boolean(3),
            let isPrimary = row.boolean(4), let isIdentity = row.boolean(5), let isUnique = row.boolean(6),
            let isPlain = row.boolean(8), let inPredicate = row.oids(9), let inExpressions = row.oids(10)
        else { return nil }
        var keys: [Key] = []
        for row in rows[oid] ?? [] {
            guard let number = row[1].flatMap({ Int16($0) }), let text = row[2] else { return nil }
            guard let schema = row[3], let className = row[4] else {
                keys.append(Key(number: number, text: text, isDefaultClass: true, collation: OID(0), option: 0))
                continue
            }
            guard let isDefault = row.boolean(5), let collation = row.oid(6), let option = row[7].flatMap({ Int16($0) })
            else { return nil }
            keys.append(
                Key(
                    number: number, text: text,
                    operatorClass: SQLText.identifier(schema) + "." + SQLText.identifier(className),
                    isDefaultClass: isDefault, collation: collation, option: option))
        }
        self.oid = oid
        self.name = name
        self.method = method
        self.isOwnMethod = isOwnMethod
        self.isPrimary = isPrimary
        self.isIdentity = isIdentity
        self.isUnique = isUnique
        self.isPlain = isPlain
        self.keys = keys
        predicate = row[7]
        collations = inPredicate + inExpressions
    }

    /// Positions of its columns; nil with an expression. Included columns do not count.
    func positions(_ columns: [PoolColumn]) -> [Int]? {
        var positions: [Int] = []
        for key in keys where key.operatorClass != nil {
            guard let position = columns.firstIndex(where: { $0.number == key.number }) else { return nil }
            positions.append(position)
        }
        return positions.isEmpty ? nil : positions
    }

    /// Whether it is by this index that the stream tells rows apart, under an identity of this kind (`Relation`).
    ///
    /// The pool's primary key compares by the columns' own collations and default classes. That must not take for
    /// equal what the index keeps apart, which only collations that are not deterministic could do.
    func isKey(of columns: [PoolColumn], _ identity: UInt8, _ collations: [OID: PoolCollation]) -> Bool {
        let isMeant =
            switch identity {
            case UInt8(ascii: "d"), UInt8(ascii: "f"): isPrimary
            case UInt8(ascii: "i"): isIdentity
            default: false
            }
        guard isMeant, isUnique, predicate == nil, isPlain, method == "btree", let positions = positions(columns)
        else { return false }
        let own = keys.filter { $0.operatorClass != nil }
        return zip(own, positions).allSatisfy { key, position in
            let column = columns[position]
            let isAsTheColumn = key.isDefaultClass && key.collation == (column.collation ?? OID(0))
            let isDeterministic =
                column.collation.map { collations[$0]?.isDeterministic ?? false } ?? key.isDefaultClass
            return column.expression == nil && column.isNotNull && (isAsTheColumn || isDeterministic)
        }
    }

    /// Whether the cache database can have it: PostgreSQL's own methods and code, and collations that it has.
    func isPlain(_ known: Set<OID>) -> Bool {
        isPlain && isOwnMethod && !keys.isEmpty && collations.allSatisfy(known.contains)
            && keys.allSatisfy { $0.collation.value == 0 || known.contains($0.collation) }
    }

    func rendered(_ known: [OID: PoolCollation]) -> PoolIndex {
        let keyTexts = keys.filter { $0.operatorClass != nil }.map { key in
            var text = key.text
            if let collation = PoolCollation.text(key.collation, known) { text += " COLLATE \(collation)" }
            text += " \(key.operatorClass ?? "")"
            // Only btree has an order; bits of pg_index.indoption: 1 DESC, 2 NULLS FIRST.
            if method == "btree" {
                text += key.option & 1 == 0 ? " ASC" : " DESC"
                text += key.option & 2 == 0 ? " NULLS LAST" : " NULLS FIRST"
            }
            return text
        }
        return PoolIndex(
            name: name, method: method, keys: keyTexts,
            included: keys.filter { $0.operatorClass == nil }.map(\.text), predicate: predicate)
    }
}
