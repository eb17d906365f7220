import PGProtocol

/// Which transactions of the origin were finished at one moment: the answer of
/// `pg_current_snapshot()` (manual, 9.27.9 Transaction ID and Snapshot Information Functions).
///
/// `upper` is one past the highest *completed* number, not the next one to be given out: a transaction
/// that runs may have a number at or above it and then is not listed. So "everything below `upper` has
/// finished" says nothing about what was running; whoever needs that takes a number of its own as a
/// fence (`Publication`).
public struct Snapshot: Equatable, Sendable {
    /// Every transaction below has finished.
    public let lower: TransactionID
    /// Every transaction from here on has not.
    public let upper: TransactionID
    /// Those between `lower` and `upper` that still run, ascending.
    public let running: [TransactionID]

    /// Parses `xmin:xmax:xip,…`; nil if the text is not a snapshot.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, let lower = UInt64(parts[0]), let upper = UInt64(parts[1]),
            lower <= upper
        else { return nil }
        var running: [TransactionID] = []
        if !parts[2].isEmpty {
            for number in parts[2].split(separator: ",", omittingEmptySubsequences: false) {
                guard let value = UInt64(number), value >= lower, value < upper,
                    running.last.map({ $0.value < value }) ?? true
                else { return nil }
                running.append(TransactionID(value))
            }
        }
        self.lower = TransactionID(lower)
        self.upper = TransactionID(upper)
        self.running = running
    }

    /// Whether the transaction had committed or rolled back, and its changes are visible if it committed.
    public func isFinished(_ id: TransactionID) -> Bool {
        if id < lower { return true }
        if id >= upper { return false }
        var low = 0
        var high = running.count
        while low < high {
            let middle = (low + high) / 2
            if running[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low == running.count || running[low] != id
    }

    /// Whether every transaction with a lower number than `fence` has finished.
    public func isEveryoneFinished(below fence: TransactionID) -> Bool {
        // `lower` is the lowest that runs, or `upper` when none does.
        lower >= fence
    }

    /// The full number of a transaction of which the stream gave the low 32 bits.
    public func widen(_ narrow: UInt32) -> TransactionID {
        TransactionID(narrow: narrow, near: upper)
    }
}
