import CDC
import Mutation
import PGProtocol

/// A change of one row, for the answers that show the row as it is [I4].
///
/// A read by primary key shows one row, or none; where it shows only columns, in text, of types that print the same
/// under any settings, the change holds the new answer. Written into the stored bytes, it keeps a hit what is read
/// and written all the time. Nothing here has to be possible: an answer that is not patched is invalidated.
///
/// A patched answer is the origin's at W at once. But the stream may deliver a commit before new snapshots of the
/// origin see it [T2]: a session that had such an answer from here, and then asked the origin, would see its row go
/// back. So the entry is served again only when a snapshot shows the transaction finished; until then its readers go
/// to the origin.
struct RowPatch {
    /// As the store numbers what it receives, from 1.
    let transaction: UInt64
    private let relation: Relation
    private let mapping: RowMapping
    private let key: RowKey
    /// Whether there was a row before.
    private let hadRow: Bool
    /// Nil for DELETE.
    private let image: RowImage?

    /// Types whose text no setting alters.
    private static let types: Set<OID> = [
        16, 19, 20, 21, 23, 25, 26, 114, 1042, 1043, 1700, 2950, 3802,
    ].reduce(into: []) { $0.insert(OID($1)) }

    /// Nil for a change of anything but one row whose key is known and stays.
    init?(
        _ change: RowChange, _ bound: BoundChange, of transaction: UInt64, _ relation: Relation, _ mapping: RowMapping
    ) {
        guard case .row(let old, let oldKey, let new) = bound.extent else { return nil }
        let newKey = new.flatMap { $0.key(relation.primaryKey) }
        guard let key = new == nil ? oldKey : newKey, old == nil || oldKey == key else { return nil }
        self.transaction = transaction
        self.relation = relation
        self.mapping = mapping
        self.key = key
        hadRow = old != nil
        switch change.kind {
        case .insert(let image), .update(_, let image): self.image = image
        case .delete: image = nil
        case .truncate: return nil
        }
    }

    /// Whether these are a point read's of this very row.
    func isWhatIsRead(by uses: [BoundUse]) -> Bool {
        guard uses.count == 1, uses[0].relation == relation.oid else { return false }
        var values: [Value] = []
        for column in relation.primaryKey {
            let tests = uses[0].constraints.filter { $0.column == column }
            guard tests.count == 1, case .among(let some) = tests[0].test, some.count == 1 else { return false }
            values.append(some[0])
        }
        return RowKey(values) == key
    }

    /// DataRow, if there is a row, and CommandComplete; nil where that is not certain.
    ///
    /// - Parameter rows: what was there.
    func rows(_ rows: ByteView, _ fields: [ResultField]) throws(ProtocolError) -> [UInt8]? {
        var messages = ByteReader(rows)
        var before: ByteView?
        var type = try messages.uint8("type")
        var body = try messages.bytes(Int(try messages.int32("length")) - 4, "body")
        if type == BackendType.dataRow {
            before = body
            type = try messages.uint8("type")
            body = try messages.bytes(Int(try messages.int32("length")) - 4, "body")
        }
        guard type == BackendType.commandComplete, messages.remaining == 0, (before != nil) == hadRow
        else { return nil }
        var writer = ByteWriter()
        if let image {
            guard let values = try values(image, before, fields) else { return nil }
            writer.message(BackendType.dataRow) { row in
                row.uint16(UInt16(values.count))
                for value in values {
                    row.uint32(value.map { UInt32($0.count) } ?? .max)
                    if let value { row.append(value) }
                }
            }
        }
        writer.message(BackendType.commandComplete) { $0.cString(image == nil ? "SELECT 0" : "SELECT 1") }
        return writer.bytes
    }

    private func values(
        _ image: RowImage, _ before: ByteView?, _ fields: [ResultField]
    ) throws(ProtocolError) -> [[UInt8]?]? {
        var shown: [[UInt8]?] = []
        if let before {
            var reader = ByteReader(before)
            guard Int(try reader.uint16("number of values")) == fields.count else { return nil }
            for _ in fields {
                let length = try reader.int32("length of a value")
                shown.append(length == -1 ? nil : try reader.bytes(Int(length), "value").bytes)
            }
        }
        var values: [[UInt8]?] = []
        values.reserveCapacity(fields.count)
        for (position, field) in fields.enumerated() {
            guard field.table == relation.oid, field.format == .text, Self.types.contains(field.type),
                let column = relation.columns.firstIndex(where: { $0.number == field.column }),
                relation.columns[column].type == field.type
            else { return nil }
            switch mapping.image(of: column, in: image) {
            case .null: values.append(nil)
            case .text(let text): values.append(text)
            case .unchanged where before != nil: values.append(shown[position])
            case .unchanged, .binary, nil: return nil
            }
        }
        return values
    }
}

extension Memo {
    /// Writes the change into an answer that shows its row. False where the entry must be invalidated instead.
    ///
    /// What somebody is reading stays as it is. An answer that has not been servable yet may be later than the change:
    /// it is taken back then, and made right again by the changes that follow, all of which are received before the
    /// watermark has passed it [T4].
    func patch(_ entry: UnsafeMutablePointer<MemoEntry>, _ change: RowPatch) -> Bool {
        guard entry.pointee.state == .servable || entry.pointee.state == .captured,
            entry.pointee.pins == 0 || Mutation.patchWhileRead.isOn,
            let statement = statements[entry.pointee.statement], statement.pointee.query?.isPointRead == true,
            change.isWhatIsRead(by: dependencies.uses(of: entry.pointee.id))
        else { return false }
        let described = entry.pointee.descriptionCount > 0 ? nil : statement.pointee.describeReply
        let rows = withView(described ?? []) { described in
            let own = entry.pointee.description
            return Self.patched(
                entry.pointee.rows, by: change, description: own.count > 0 ? own : described,
                tail: entry.pointee.tail.view)
        }
        guard let rows, replaceRows(of: entry, with: rows) else { return false }
        entry.pointee.patchedBy = change.transaction
        if Mutation.patchServableAtOnce.isOn { return true }
        entry.pointee.waits.insert(.proof)
        entry.pointee.state = .captured
        return true
    }

    private static func patched(
        _ rows: ByteView, by change: RowPatch, description: ByteView, tail: ByteView
    ) -> [UInt8]? {
        do throws(ProtocolError) {
            let tail = tail.count == 0 ? nil : try BindTail(tail)
            guard let fields = try ResultField.all(in: description, tail: tail) else { return nil }
            return try change.rows(rows, fields)
        } catch {
            return nil
        }
    }
}
