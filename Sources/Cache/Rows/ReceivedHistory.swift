import CDC
import PGProtocol

/// Row changes that were received and that a copy which begins now may not see [T2]: all that came since the oldest
/// transaction that no snapshot of the origin has shown finished, those behind it included, since what comes later
/// decides what a row is.
///
/// Owner: the row tier. Bounds: `changesMax`; with more, whoever begins has to wait until everything is visible.
struct ReceivedHistory {
    static let changesMax = 50_000

    struct Received {
        let narrowID: UInt32
        let changes: [RowChange]
        let bound: [BoundChange]
        let whole: Set<OID>
        var isProven = false
    }

    /// In the order of the stream.
    private(set) var received: [Received] = []
    private var changeCount = 0
    /// Some transaction that is not proven is not here.
    private var isIncomplete = false

    mutating func received(_ transaction: SourceTransaction, _ bound: [BoundChange]) {
        guard !transaction.changes.isEmpty || !transaction.whollyChanged.isEmpty else { return }
        guard changeCount + transaction.changes.count <= Self.changesMax else { return missed(transaction) }
        changeCount += transaction.changes.count
        received.append(
            Received(
                narrowID: transaction.narrowID, changes: transaction.changes, bound: bound,
                whole: transaction.whollyChanged))
    }

    /// A transaction that is not kept. What came before it is of no use without it.
    mutating func missed(_ transaction: SourceTransaction) {
        guard !transaction.changes.isEmpty || !transaction.whollyChanged.isEmpty else { return }
        received.removeAll()
        changeCount = 0
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
        for gone in received[..<first] { changeCount -= gone.changes.count }
        received.removeFirst(first)
    }

    /// Everything that was received is visible.
    mutating func allVisible() { isIncomplete = false }
}
