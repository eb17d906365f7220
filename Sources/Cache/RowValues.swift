import CDC
import PGProtocol

/// What a row image tells about one column.
enum KnownValue: Hashable, Sendable {
    /// Not in the image, or of a kind that is not ours to compare: may be anything, NULL too.
    case unknown
    case null
    case value(Value)
    /// Some value that could not be read.
    case notNull
}

/// One image of a row, by position in `Relation.columns`.
struct RowValues: Equatable, Sendable {
    var columns: [KnownValue]

    /// Positions outside are unknown: a constraint of another shape of the relation may match.
    subscript(column: Int) -> KnownValue {
        columns.indices.contains(column) ? columns[column] : .unknown
    }

    /// The values at these positions; nil unless there are some and all are known.
    func key(_ positions: [Int]) -> RowKey? {
        var values: [Value] = []
        values.reserveCapacity(positions.count)
        for position in positions {
            guard case .value(let value) = self[position] else { return nil }
            values.append(value)
        }
        return RowKey(values)
    }
}

/// The values of a primary key. The first is apart, so that a key of one number takes no memory of its
/// own.
struct RowKey: Hashable, Sendable {
    var first: Value
    var rest: [Value]

    init(first: Value) {
        self.first = first
        rest = []
    }

    /// Nil without any value.
    init?(_ values: [Value]) {
        guard let first = values.first else { return nil }
        self.first = first
        rest = Array(values.dropFirst())
    }

    /// Bytes on the heap, about.
    var footprint: Int {
        first.footprint + rest.reduce(rest.isEmpty ? 0 : 32) { $0 + 24 + $1.footprint }
    }
}

/// A change of the origin as the memo understands it: what is known of a row before and after.
struct BoundChange: Equatable, Sendable {
    enum Extent: Equatable, Sendable {
        /// One row. No `old` for an INSERT, no `new` for a DELETE. `oldKey` is the primary key that
        /// the row had before, if that is known.
        case row(old: RowValues?, oldKey: RowKey?, new: RowValues?)
        /// Any number of rows: TRUNCATE, or more changes than are kept row by row.
        case whole
    }
    var relation: OID
    var extent: Extent
    /// The columns that are not known to be after an UPDATE what they were before; `.all` for every other change.
    var changed = ColumnMask.all
}

/// Turns row images of the stream into values by column of a relation.
///
/// Made once from what the catalog says of the relation and what the stream says. Where they
/// disagree there is no mapping: one of them is out of date, and the caller takes that for a change of
/// schema [D1].
struct RowMapping: Equatable, Sendable {
    let relation: OID
    private let columnCount: Int
    private let primaryKey: [Int]
    private let fields: [Field]
    /// Columns of which the stream tells nothing.
    private let unreadable: ColumnMask

    /// Printed without the encoding that it declares.
    private static let xmlType = OID(142)

    private struct Field: Equatable, Sendable {
        /// Position in `Relation.columns`.
        var column: Int
        var kind: ValueKind
        var type: OID
        var isIdentity: Bool
        /// Generated columns are unknown whatever the stream says [C2].
        var isReadable: Bool
        /// By the catalog. It is out of date where the stream says otherwise: then this, too, may be anything.
        var isNotNull: Bool
        /// Different values are printed differently, which nobody promises for types that PostgreSQL did not bring.
        var isPrintedWhole: Bool
    }

    init?(_ relation: Relation, _ shape: RelationShape) {
        guard relation.oid == shape.oid, relation.replicaIdentity == shape.replicaIdentity else {
            return nil
        }
        let identity = Set(relation.identityColumns)
        var byName: [String: Int] = [:]
        for (position, column) in relation.columns.enumerated() { byName[column.name] = position }
        var fields: [Field] = []
        var seen: Set<Int> = []
        for described in shape.columns {
            guard let position = byName[described.name], seen.insert(position).inserted else {
                return nil
            }
            let column = relation.columns[position]
            guard column.type == described.type else { return nil }
            let isIdentity = identity.contains(position)
            guard isIdentity == described.isKey || column.isGenerated else { return nil }
            fields.append(
                Field(
                    column: position, kind: column.kind, type: column.type, isIdentity: isIdentity,
                    isReadable: !column.isGenerated, isNotNull: column.isNotNull,
                    isPrintedWhole: column.baseType.isBuiltIn && column.baseType != Self.xmlType
                        && !Volatility.catalogTypeOIDs.contains(column.baseType.value)))
        }
        for (position, column) in relation.columns.enumerated()
        where !seen.contains(position) && !column.isGenerated { return nil }
        self.relation = relation.oid
        columnCount = relation.columns.count
        primaryKey = relation.primaryKey
        self.fields = fields
        let readable = Set(fields.filter(\.isReadable).map(\.column))
        unreadable = ColumnMask(relation.columns.indices.filter { !readable.contains($0) })
    }

    /// What a change tells, by columns of the relation.
    func bind(_ change: RowChange) -> BoundChange {
        let extent: BoundChange.Extent
        var changed = ColumnMask.all
        switch change.kind {
        case .insert(let new):
            extent = .row(old: nil, oldKey: nil, new: values(new))
        case .update(.full(let old), let new):
            let before = values(old)
            let whole = old.count == new.count ? zip(old, new).map { $1 == .unchanged ? $0 : $1 } : new
            extent = .row(old: before, oldKey: before.key(primaryKey), new: values(whole))
            changed = changedColumns(old: old, isWhole: true, whole)
        case .update(.absent, let new):
            let before = values(new, identityOnly: true)
            extent = .row(old: before, oldKey: before.key(primaryKey), new: values(new))
            changed = changedColumns(old: new, isWhole: false, new)
        case .update(.key(let old), let new):
            let before = values(old, identityOnly: true)
            extent = .row(old: before, oldKey: before.key(primaryKey), new: values(new))
            changed = changedColumns(old: old, isWhole: false, new)
        case .delete(let old):
            let before =
                switch old {
                case .full(let image): values(image)
                case .key(let image): values(image, identityOnly: true)
                case .absent: values([])
                }
            extent = .row(old: before, oldKey: before.key(primaryKey), new: nil)
        case .truncate:
            extent = .whole
        }
        return BoundChange(relation: change.relation, extent: extent, changed: changed)
    }

    /// What an image says of a column of the relation; nil for one of which the stream tells nothing.
    func image(of column: Int, in image: RowImage) -> ColumnImage? {
        guard image.count == fields.count,
            let place = fields.firstIndex(where: { $0.column == column && $0.isReadable })
        else { return nil }
        return image[place]
    }

    /// The columns that may have another value now. Equal images are equal values: what is printed tells them apart,
    /// for types of PostgreSQL's own. An UPDATE leaves out a TOASTed value that it did not touch.
    private func changedColumns(old: RowImage, isWhole: Bool, _ new: RowImage) -> ColumnMask {
        guard old.count == fields.count, new.count == fields.count else { return .all }
        var changed = unreadable
        for (position, field) in fields.enumerated() where new[position] != .unchanged {
            let isSame = (isWhole || field.isIdentity) && field.isPrintedWhole && old[position] == new[position]
            if !isSame { changed.insert(field.column) }
        }
        return changed
    }

    /// An image that does not have the shape's number of columns tells nothing.
    private func values(_ image: RowImage, identityOnly: Bool = false) -> RowValues {
        var columns = [KnownValue](repeating: .unknown, count: columnCount)
        if image.count == fields.count {
            for (field, value) in zip(fields, image)
            where field.isReadable && (field.isIdentity || !identityOnly) {
                columns[field.column] = Self.known(value, field)
            }
        }
        return RowValues(columns: columns)
    }

    private static func known(_ image: ColumnImage, _ field: Field) -> KnownValue {
        switch image {
        case .unchanged: return .unknown
        case .null: return field.isNotNull ? .unknown : .null
        case .text(let bytes):
            // A composite that is not NULL can still satisfy IS NULL.
            if field.kind == .opaque { return .unknown }
            return withView(bytes) { Value(text: $0, kind: field.kind) }.map { .value($0) } ?? .notNull
        case .binary(let bytes):
            if field.kind == .opaque { return .unknown }
            return withView(bytes) { Value(binary: $0, kind: field.kind, type: field.type) }
                .map { .value($0) } ?? .notNull
        }
    }
}
