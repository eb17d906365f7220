/// Which misses are worth a capture.
///
/// Under CLOCK a key is captured from its `threshold`-th miss on, so that what is asked once does not
/// push out what is asked often. A key that was captured before and then invalidated is asked often
/// by definition, and is readmitted at once. Under FIFO everything is admitted.
///
/// The counts sit in a table of fixed size, one cell for each of the hash's low bits: a key that
/// shares its cell with another may be counted from the start again, which costs a miss and no more.
/// With a threshold of 1 there is no table.
///
/// Owner: `Memo`.
final class Admission {
    private struct Cell {
        var tag: UInt32 = 0
        var misses: UInt32 = 0
    }

    static let cellCount = 1 << 16
    let threshold: UInt32
    private var cells: [Cell]

    init(policy: EvictionPolicy, threshold: Int) {
        switch policy {
        case .clock: self.threshold = UInt32(clamping: max(threshold, 1))
        case .fifo: self.threshold = 1
        }
        cells = self.threshold > 1 ? Array(repeating: Cell(), count: Self.cellCount) : []
    }

    /// Counts a miss of the key with this hash; true when its answer shall be captured.
    func missed(_ hash: UInt64) -> Bool {
        guard threshold > 1 else { return true }
        let index = Int(truncatingIfNeeded: hash) & (Self.cellCount - 1)
        let tag = UInt32(truncatingIfNeeded: hash >> 32)
        if cells[index].tag != tag { cells[index] = Cell(tag: tag) }
        if cells[index].misses < threshold { cells[index].misses += 1 }
        return cells[index].misses >= threshold
    }

    /// The next miss of this key will be admitted.
    func readmit(_ hash: UInt64) {
        guard threshold > 1 else { return }
        let index = Int(truncatingIfNeeded: hash) & (Self.cellCount - 1)
        cells[index] = Cell(tag: UInt32(truncatingIfNeeded: hash >> 32), misses: threshold)
    }
}
