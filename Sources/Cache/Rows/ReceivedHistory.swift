import CDC
import PGProtocol

/// Row changes that were received and that a copy which begins now may not see [T2]: all that came since the oldest
/// transaction that no snapshot of the origin has shown finished, those behind it included, since what comes later
/// decides what a row is.
///
/// Owner: the row tier. Bounds: `changesMax`, `bytesMax`; with more, whoever begins has to wait until everything is
/// visible.
struct ReceivedHistory {
    static let changesMax = 50_000
    static let bytesMax = 64 << 20

    struct Received {
        let narrowID: UInt32
        let changes: [RowChange]
        let bound: [BoundChange]
        let whole: Set<OID>
        let bytes: Int
        var isProven = false
    }

    /// In the order of the stream.
    private(set) var received: [Received] = []
    private var changeCount = 0
    private var bytes = 0
    /// Some transaction that is not proven is not here.
    private var isIncomplete = false

    mutating func received(_ transaction: SourceTransaction, _ bound: [BoundChange]) {
        guard !transaction.changes.isEmpty || !transaction.whollyChanged.isEmpty else { return }
        let size = transaction.changes.reduce(0) { $0 + $1.footprint }
        guard changeCount + transaction.changes.count <= Self.changesMax, bytes + size <= Self.bytesMax else {
            return missed(transaction)
        }
        changeCount += transaction.changes.count
        bytes += size
        received.append(
            Received(
                narrowID: transaction.narrowID, changes: transaction.changes, bound: bound,
                whole: transaction.whollyChanged, bytes: size))
    }

    /// A transaction that is not kept. What came before it is of no use without it.
    mutating func missed(_ transaction: SourceTransaction) {
        guard !transaction.changes.isEmpty || !transaction.whollyChanged.isEmpty else { return }
        received.removeAll()
        changeCount = 0
        bytes = 0
        isIncomplete = true
    }

    /// Whether what is here is all that a copy of this relation may not see, row by row.
    func isReplayable(_ relation: OID) -> Bool {
        !isIncomplete
            && received.allSatisfy { received in
                !received.whole.contains(relation)
                    && received.bound.allSatisfy { $0.relation != relation || $0.extent != .whole }
            }
    }

    mutating func proven(_ isFinished: (UInt32) -> Bool) {
        for index in received.indices where !received[index].isProven && isFinished(received[index].narrowID) {
            received[index].isProven = true
        }
        let first = received.firstIndex { !$0.isProven } ?? received.endIndex
        for gone in received[..<first] {
            changeCount -= gone.changes.count
            bytes -= gone.bytes
        }
        received.removeFirst(first)
    }

    /// Everything that was received is visible.
    mutating func allVisible() { isIncomplete = false }
}

extension RowChange {
    /// Bytes of its images on the heap, about.
    fileprivate var footprint: Int {
        func size(_ image: RowImage) -> Int {
            image.reduce(32) { sum, column in
                switch column {
                case .null, .unchanged: sum + 16
                case .text(let value), .binary(let value): sum + 48 + value.count
                }
            }
        }
        func size(_ old: OldImage) -> Int {
            switch old {
            case .absent: 0
            case .key(let image), .full(let image): size(image)
            }
        }
        return switch kind {
        case .insert(let new): size(new)
        case .update(let old, let new): size(old) + size(new)
        case .delete(let old): size(old)
        case .truncate: 0
        }
    }
}
