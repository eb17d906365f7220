import PGProtocol

/// Relations out of the rows of `CatalogQueries.relations`.
extension Relation {
    /// Number of values in a row.
    static let rowCount = 25

    /// From all rows of one pair: the relation that was asked for, and those below it.
    init?(tree rows: ArraySlice<[String?]>) {
        var found: [Relation] = []
        var start = rows.startIndex
        while start < rows.endIndex {
            var end = start + 1
            while end < rows.endIndex, rows[end][2] == rows[start][2] { end += 1 }
            guard let relation = Relation(rows: rows[start..<end]) else { return nil }
            found.append(relation)
            start = end
        }
        guard let top = found.first else { return nil }
        self = top
        descendants = Array(found.dropFirst())
        guard descendants.count > CatalogQueries.descendantsMax else { return }
        descendants = []
        hasAllDescendants = false
    }

    /// From the rows of one relation, which differ only in their columns.
    private init?(rows: ArraySlice<[String?]>) {
        guard let first = rows.first, let oid = first[2].flatMap({ OID($0) }),
            let kind = SQLText.character(first[3]), let persistence = SQLText.character(first[4]),
            let hasRowSecurity = SQLText.boolean(first[5]), let isInherited = SQLText.boolean(first[6]),
            let hasRules = SQLText.boolean(first[7]), let identity = SQLText.character(first[8]),
            let runsCode = SQLText.boolean(first[18]), let schema = first[20], let name = first[21]
        else { return nil }
        var columns: [Column] = []
        var primaryKey: [Int] = []
        var identityIndex: [Int] = []
        var hasOnlyKnownTypes = true
        for row in rows where row[9] != nil {
            guard let column = Column(row: row), let isInPrimaryKey = SQLText.boolean(row[15]),
                let isInIdentityIndex = SQLText.boolean(row[16])
            else { return nil }
            if isInPrimaryKey { primaryKey.append(columns.count) }
            if isInIdentityIndex { identityIndex.append(columns.count) }
            if SQLText.boolean(row[17]) != true { hasOnlyKnownTypes = false }
            columns.append(column)
        }
        // A generated column is not in the stream, so a key that holds one identifies nothing there
        // [C2].
        if primaryKey.contains(where: { columns[$0].isGenerated }) { primaryKey = [] }
        if identityIndex.contains(where: { columns[$0].isGenerated }) { identityIndex = [] }
        let identityColumns =
            switch identity {
            case UInt8(ascii: "d"): primaryKey
            case UInt8(ascii: "i"): identityIndex
            case UInt8(ascii: "f"): columns.indices.filter { !columns[$0].isGenerated }
            default: [Int]()
            }
        self.init(
            oid: oid, schema: schema, name: name, kind: kind, persistence: persistence,
            hasRowSecurity: hasRowSecurity, isInherited: isInherited, hasRules: hasRules,
            replicaIdentity: identity, columns: columns, primaryKey: primaryKey,
            identityColumns: identityColumns, hasOnlyKnownTypes: hasOnlyKnownTypes, runsCode: runsCode)
        version = first[24]
        view = first[22].flatMap { ViewDefinition(text: $0, owner: first[23]) }
    }

    /// Itself, without what is below it.
    var alone: Relation {
        var relation = self
        relation.descendants = []
        relation.hasAllDescendants = true
        return relation
    }
}

extension ViewDefinition {
    static let bytesMax = 256 << 10

    /// Nil for what the parser does not understand.
    /// - Parameter text: in UTF-8, printed under `standard_conforming_strings`.
    init?(text: String, owner: String?) {
        let parsed = withView(Array(text.utf8)) {
            StatementParser.parse($0, standardConformingStrings: true, bytesMax: Self.bytesMax)
        }
        guard parsed.effect.isEmpty, !parsed.mentions.isIncomplete else { return nil }
        self.init(statement: parsed, owner: owner)
    }
}
