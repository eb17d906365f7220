import PGProtocol

/// A type that a column of a pool uses. Enums, domains and composite types are made in the cache database, without a
/// domain's constraints: what the origin holds satisfies them. So a cast to a domain raises no error there, and is not
/// for the cache database to answer.
package struct PoolType: Equatable, Sendable {
    package let oid: OID
    /// Its number is another one in the cache database; so is its array type's.
    package let arrayOID: OID
    package let schema: String
    package let name: String
    /// In order; of an enum.
    package let labels: [String]
    /// Of a domain.
    package let collation: OID?
    /// pg_type.typtype: `b`, `d`omain, `e`num, `c`omposite, `r`ange, …
    let kind: UInt8
    let isArray: Bool
    /// The element of an array, the base of a domain.
    let below: OID?
    /// The base's text where it is written in key words.
    let baseKeywords: String?
    let isOfExtension: Bool
    let hasCode: Bool
    /// Of a composite type, in order; none of a table's.
    let fields: [Field]
    /// What makes it; set for those that a pool's schema lists.
    var definition = ""

    struct Field: Equatable, Sendable {
        let name: String
        let type: OID
        let keywords: String?
        let collation: OID?

        init?(row: PoolRow) {
            guard let name = row[1], let type = row.oid(2), let collation = row.oid(4) else { return nil }
            self.name = name
            self.type = type
            keywords = row[3]
            self.collation = collation.value == 0 ? nil : collation
        }
    }

    init?(row: PoolRow, fields rows: [PoolRow]) {
        guard let oid = row.oid(0), let kind = SQLText.character(row[1]), let schema = row[2], let name = row[3],
            let isArray = row.boolean(5), let collation = row.oid(7), let arrayOID = row.oid(8),
            let isOfExtension = row.boolean(9), let hasCode = row.boolean(10)
        else { return nil }
        self.oid = oid
        self.kind = kind
        self.schema = schema
        self.name = name
        self.isArray = isArray
        self.arrayOID = arrayOID
        self.isOfExtension = isOfExtension
        self.hasCode = hasCode
        fields = rows.compactMap { Field(row: $0) }
        guard fields.count == rows.count else { return nil }
        below = row.oid(4)
        baseKeywords = row[6]
        self.collation = kind == UInt8(ascii: "d") && collation.value != 0 ? collation : nil
        guard let labels = row[11] else {
            labels = []
            return
        }
        guard let elements = SQLText.elements(ofArray: labels) else { return nil }
        self.labels = elements
    }

    /// Its own and its fields'.
    var collations: [OID] { [collation].compactMap { $0 } + fields.compactMap(\.collation) }

    package var quotedName: String { SQLText.identifier(schema) + "." + SQLText.identifier(name) }

    /// With its schema; an array by its element, whose name users may have chosen and PostgreSQL made the array's from.
    func text(_ types: [OID: PoolType]) -> String? {
        guard isArray else { return quotedName }
        return below.flatMap { types[$0] }.map { $0.quotedName + "[]" }
    }

    /// The statement that makes it; `types` and `collations` know what it is made of.
    func definition(_ types: [OID: PoolType], _ collations: [OID: PoolCollation]) -> String {
        if kind == UInt8(ascii: "e") {
            return "CREATE TYPE \(quotedName) AS ENUM (\(labels.map(SQLText.literal).joined(separator: ", ")))"
        }
        if kind == UInt8(ascii: "c") {
            let parts = fields.map { field in
                let type = field.keywords ?? types[field.type]?.text(types) ?? ""
                let collated = field.collation.flatMap { PoolCollation.text($0, collations) }.map { " COLLATE \($0)" }
                return "\(SQLText.identifier(field.name)) \(type)\(collated ?? "")"
            }
            return "CREATE TYPE \(quotedName) AS (\(parts.joined(separator: ", ")))"
        }
        let base = baseKeywords ?? below.flatMap { types[$0]?.text(types) } ?? ""
        let collated = collation.flatMap { collations[$0] }.map { " COLLATE \($0.quotedName)" } ?? ""
        return "CREATE DOMAIN \(quotedName) AS \(base)\(collated)"
    }
}

/// Finds the types that are to be made, and the first thing that speaks against one.
struct TypeOrder {
    private let known: [OID: PoolType]
    private var seen: Set<OID> = []
    private(set) var types: [PoolType] = []

    init(_ known: [OID: PoolType]) { self.known = known }

    mutating func refusal(of column: PoolColumn) -> PoolRefusal? {
        guard let (type, reason) = visit(column.type) else { return nil }
        return .type(column: column.name, type: known[type]?.quotedName ?? type.description, reason)
    }

    /// Arrays have no arrays as elements, and no type holds itself, so this ends.
    private mutating func visit(_ oid: OID) -> (OID, PoolRefusal.TypeReason)? {
        guard let type = known[oid] else { return (oid, .text) }
        if type.isArray { return type.below.flatMap { visit($0) } }
        if oid.isBuiltIn { return Self.plain.contains(oid.value) ? nil : (oid, .text) }
        if type.isOfExtension { return (oid, .ofExtension) }
        switch type.kind {
        case UInt8(ascii: "e"): if type.hasCode { return (oid, .hasCode) }
        case UInt8(ascii: "d"): if let found = type.below.flatMap({ visit($0) }) { return found }
        case UInt8(ascii: "c"):
            // A table's own type changes with the table; one without fields is nobody's.
            if type.fields.isEmpty { return (oid, .composite) }
            if type.hasCode { return (oid, .hasCode) }
            for field in type.fields { if let found = visit(field.type) { return found } }
        default: return (oid, .madeByUsers)
        }
        if seen.insert(oid).inserted { types.append(type) }
        return nil
    }

    /// PostgreSQL's own types whose text, under the settings of `ConnectionOptions.fixed`, gives the same value back
    /// on any server of the version: pg_type.dat of 13 to 17. Not those that name objects (regclass, regconfig,
    /// aclitem), not money (its digits depend on lc_monetary where it is shown to a client), not xml (on
    /// encodings and xmloption), no internals of the catalogs.
    private static let plain: Set<UInt32> = [
        // Numbers, booleans, bytes, strings, identifiers.
        16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29, 30, 700, 701, 1042, 1043, 1560, 1562, 1700, 1790, 2950,
        2970, 3220, 5038, 5069,
        // Moments.
        1082, 1083, 1114, 1184, 1186, 1266,
        // json, jsonb, jsonpath, tsvector, tsquery.
        114, 3802, 4072, 3614, 3615,
        // Geometry and networks.
        600, 601, 602, 603, 604, 628, 718, 650, 774, 829, 869,
        // Ranges and multiranges.
        3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536,
    ]
}
