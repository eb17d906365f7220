import PGProtocol

/// Puts the messages of the stream together to whole transactions of the origin.
///
/// pgoutput sends a transaction when it has committed, from Begin to Commit without another in between,
/// and describes a relation before its first change on a connection and after each change of its shape. The builder
/// checks both, so that nothing behind it has to: a change of a relation that was not described, or with
/// another number of columns, is an error.
///
/// Bounds: a relation with more than `rowChangesMax` changes in one transaction, and the largest ones when
/// all images together exceed `bytesMax`, are not kept row by row but named in `whollyChanged`; so is a relation whose
/// shape changes after its first change in a transaction, because its images no longer fit one shape.
/// Shapes are held for each published relation, at most `relationsMax`; messages up to `bytesMax` too.
/// Owner: `ReplicationFeed`, a new one for each connection.
public struct SourceTransactionBuilder {
    /// A whole transaction, and the shapes that came inside of it, in the order of the stream.
    public typealias Completed = (transaction: SourceTransaction, shapes: [RelationShape])

    public struct Limits: Equatable, Sendable {
        /// Row changes of one relation in one transaction.
        public var rowChangesMax = 10_000
        /// Bytes of all row images of one transaction, as they are held.
        public var bytesMax = 64 << 20
        public var relationsMax = 100_000
        public init() {}
    }

    private struct Volume {
        var rows = 0
        var bytes = 0
    }

    private struct Open {
        var finalLSN: LSN
        var transaction: SourceTransaction
        var volumes: [OID: Volume] = [:]
        var bytes = 0
        var shapes: [RelationShape] = []

        mutating func keep(_ change: RowChange, bytes changeBytes: Int, limits: Limits) {
            let relation = change.relation
            volumes[relation, default: Volume()].rows += 1
            volumes[relation, default: Volume()].bytes += changeBytes
            bytes += changeBytes
            transaction.changes.append(change)
            if let rows = volumes[relation]?.rows, rows > limits.rowChangesMax {
                giveUpRows(of: relation)
            }
            // The largest goes first, so that a mass load does not cost the small ones their rows.
            while bytes > limits.bytesMax,
                let largest = volumes.max(by: { $0.value.bytes < $1.value.bytes })?.key
            {
                giveUpRows(of: largest)
            }
        }

        mutating func giveUpRows(of relation: OID) {
            bytes -= volumes.removeValue(forKey: relation)?.bytes ?? 0
            transaction.changes.removeAll { $0.relation == relation }
            transaction.whollyChanged.insert(relation)
        }
    }

    private let limits: Limits
    private var open: Open?
    private var shapesKnown: [OID: RelationShape] = [:]

    public init(limits: Limits = Limits()) { self.limits = limits }

    /// Between Begin and Commit: what came is not yet true.
    public var isInsideTransaction: Bool { open != nil }

    /// Commit time of the transaction that is being received.
    public var openCommitMicroseconds: Int64? { open?.transaction.commitMicroseconds }

    /// Takes one pgoutput message. After an error the builder is useless: the position is in doubt.
    public mutating func messageReceived(_ view: ByteView) throws(PgOutputError) -> Completed? {
        // A relation that already counts as truncated costs no copy of its rows.
        if let relation = PgOutputDecoder.changedRelation(view),
            open?.transaction.whollyChanged.contains(relation) == true
        {
            return nil
        }
        switch try PgOutputDecoder.decode(view) {
        case .begin(let finalLSN, let commitMicroseconds, let narrowID):
            guard open == nil else { throw .malformed("Begin inside a transaction") }
            open = Open(
                finalLSN: finalLSN,
                transaction: SourceTransaction(
                    narrowID: narrowID, endLSN: .zero, commitMicroseconds: commitMicroseconds))
            return nil
        case .commit(let commitLSN, let endLSN, _):
            guard var ending = open else { throw .malformed("Commit outside a transaction") }
            guard ending.finalLSN == commitLSN, endLSN > commitLSN else {
                throw .malformed("Commit at \(commitLSN) to \(endLSN), begun for \(ending.finalLSN)")
            }
            ending.transaction.endLSN = endLSN
            open = nil
            return (ending.transaction, ending.shapes)
        case .message(let message):
            try logicalMessageReceived(message)
            return nil
        case .origin, .type:
            try requireOpen("Origin or Type")
            return nil
        case .relation(let shape):
            try requireOpen("Relation")
            try relationReceived(shape)
            return nil
        case .change(let change):
            try requireOpen("a row change")
            try changeReceived(change)
            return nil
        case .truncate(let relations, _, _):
            try requireOpen("Truncate")
            for relation in relations { truncateReceived(relation) }
            return nil
        }
    }

    private func requireOpen(_ what: String) throws(PgOutputError) {
        if open == nil { throw .malformed("\(what) outside a transaction") }
    }

    /// Of our event trigger's messages only that they came is kept. Applications may use messages for themselves.
    private mutating func logicalMessageReceived(_ message: LogicalMessage) throws(PgOutputError) {
        guard message.isTransactional else { return }
        try requireOpen("a transactional message")
        guard message.prefix == EventTrigger.messagePrefix else { return }
        if message.content.elementsEqual(EventTrigger.aboutPublications.utf8) {
            open?.transaction.changesPublications = true
        } else {
            open?.transaction.changesSchema = true
        }
    }

    private mutating func relationReceived(_ shape: RelationShape) throws(PgOutputError) {
        let known = shapesKnown[shape.oid]
        if known == nil, shapesKnown.count >= limits.relationsMax {
            throw .beyondLimit("\(shapesKnown.count) relations in the stream")
        }
        if let known, known != shape, open?.volumes[shape.oid] != nil {
            open?.giveUpRows(of: shape.oid)
        }
        shapesKnown[shape.oid] = shape
        open?.shapes.removeAll { $0.oid == shape.oid }
        open?.shapes.append(shape)
    }

    private mutating func changeReceived(_ change: RowChange) throws(PgOutputError) {
        guard let shape = shapesKnown[change.relation] else {
            throw .malformed("a change of relation \(change.relation), which was not described")
        }
        var bytes = 64
        for image in change.images {
            guard image.count == shape.columns.count else {
                throw .malformed(
                    "\(image.count) columns of relation \(change.relation), which has "
                        + "\(shape.columns.count)")
            }
            for column in image { bytes += column.bytesHeld }
        }
        open?.keep(change, bytes: bytes, limits: limits)
    }

    private mutating func truncateReceived(_ relation: OID) {
        guard open?.transaction.whollyChanged.contains(relation) == false else { return }
        open?.keep(
            RowChange(relation: relation, kind: .truncate), bytes: 64, limits: limits)
    }
}

extension RowChange {
    /// All images that came with the change.
    fileprivate var images: [RowImage] {
        func image(_ old: OldImage) -> [RowImage] {
            switch old {
            case .absent: []
            case .key(let row), .full(let row): [row]
            }
        }
        return switch kind {
        case .insert(let new): [new]
        case .update(let old, let new): image(old) + [new]
        case .delete(let old): image(old)
        case .truncate: []
        }
    }
}

extension ColumnImage {
    /// Bytes in memory: the enum in its array, and an array of its own for a value.
    fileprivate var bytesHeld: Int {
        switch self {
        case .null, .unchanged: 16
        case .text(let value), .binary(let value): 48 + value.count
        }
    }
}
