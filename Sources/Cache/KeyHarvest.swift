import PGProtocol

/// Reads from an answer which rows it holds, by their primary keys [I2].
///
/// Under the default replica identity an UPDATE does not tell what the row was like before, so it could
/// have left any entry whose constraint is not on the key. An answer that shows the primary key of
/// each of its rows tells the rest: the row left it exactly if the answer holds its key.
///
/// Nil is the answer to everything unexpected; the entry is then invalidated more often than it had to
/// be.
enum KeyHarvest {
    /// An answer with more rows is not indexed by them.
    static let rowsMax = 4096

    /// Whether an entry over this relation gains from being indexed by keys: only where the row's key is
    /// always known and some other column of a constraint is not.
    static func isWorthwhile(
        _ query: ResolvedQuery, uses: [BoundUse], relation: Relation
    ) -> Bool {
        guard query.isRowForRow, uses.allSatisfy({ $0.relation == relation.oid }),
            !relation.primaryKey.isEmpty,
            relation.primaryKey.allSatisfy(relation.identityColumns.contains)
        else { return false }
        return uses.contains { $0.constraints.contains { !relation.identityColumns.contains($0.column) } }
    }

    /// The keys of all rows of an answer.
    ///
    /// `answer` has the layout of `MemoEntry.bytes`. `described` is what Describe once said of the
    /// statement (ParameterDescription, then RowDescription), used when the answer has no description
    /// of its own. `tail` is nil for the simple protocol. `isEncodingShared` is that of
    /// `OperandBinding`.
    static func keys(
        answer: ByteView, descriptionCount: Int, described: ByteView?, tail: BindTail?,
        relation: Relation, isEncodingShared: Bool
    ) -> [RowKey]? {
        guard !relation.primaryKey.isEmpty, descriptionCount <= answer.count else { return nil }
        let own = answer.slice(from: 0, count: descriptionCount)
        let description = descriptionCount > 0 ? own : described
        do throws(ProtocolError) {
            guard let description,
                let fields = try Self.fields(of: description, relation: relation, tail: tail)
            else { return nil }
            return try rows(
                answer.dropFirst(descriptionCount), fields, relation: relation,
                isEncodingShared: isEncodingShared)
        } catch {
            return nil
        }
    }

    /// Where a column of the primary key is in a row.
    private struct Field {
        /// Position in the row.
        var position: Int
        var kind: ValueKind
        var type: OID
        var format: BindTail.Format
    }

    /// One field for each column of the primary key, in its order; nil when one is not shown.
    private static func fields(
        of description: ByteView, relation: Relation, tail: BindTail?
    ) throws(ProtocolError) -> [Field]? {
        guard let shown = try ResultField.all(in: description, tail: tail) else { return nil }
        var fields: [Field] = []
        for position in relation.primaryKey {
            guard relation.columns.indices.contains(position) else { return nil }
            let column = relation.columns[position]
            guard column.kind != .opaque,
                let place = shown.firstIndex(where: { $0.table == relation.oid && $0.column == column.number }),
                shown[place].type == column.type
            else { return nil }
            fields.append(
                Field(position: place, kind: column.kind, type: column.type, format: shown[place].format))
        }
        return fields
    }

    private static func rows(
        _ view: ByteView, _ fields: [Field], relation: Relation, isEncodingShared: Bool
    ) throws(ProtocolError) -> [RowKey]? {
        var messages = ByteReader(view)
        var keys: [RowKey] = []
        while true {
            let type = try messages.uint8("type")
            let length = try messages.int32("length")
            let body = try messages.bytes(Int(length) - 4, "body")
            switch type {
            case BackendType.dataRow:
                guard keys.count < rowsMax,
                    let key = try key(of: body, fields, isEncodingShared: isEncodingShared)
                else { return nil }
                keys.append(key)
            case BackendType.commandComplete:
                return messages.remaining == 0 ? keys : nil
            default:
                return nil
            }
        }
    }

    private static func key(
        of row: ByteView, _ fields: [Field], isEncodingShared: Bool
    ) throws(ProtocolError) -> RowKey? {
        var reader = ByteReader(row)
        let count = Int(try reader.uint16("number of values"))
        var last = 0
        for field in fields { last = max(last, field.position) }
        guard last < count else { return nil }
        var shown: [ByteView?] = []
        shown.reserveCapacity(last + 1)
        for _ in 0...last {
            let length = try reader.int32("length of a value")
            shown.append(length == -1 ? nil : try reader.bytes(Int(length), "value"))
        }
        var values: [Value] = []
        values.reserveCapacity(fields.count)
        for field in fields {
            guard let view = shown[field.position] else { return nil }
            let value: Value? =
                switch field.format {
                case .text: Value(text: view, kind: field.kind)
                case .binary: Value(binary: view, kind: field.kind, type: field.type)
                }
            guard let value else { return nil }
            if field.kind == .text, !isEncodingShared, !view.buffer.allSatisfy({ $0 < 0x80 }) {
                return nil
            }
            values.append(value)
        }
        return RowKey(values)
    }
}
