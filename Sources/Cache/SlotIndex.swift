/// Finds slot numbers by hash: open addressing with linear probing over raw memory.
///
/// It knows no keys. A lookup yields every slot whose 32-bit tag agrees, and the caller compares
/// the key. Cells are eight bytes, so that a probe rarely leaves its cache line; removal shifts the
/// followers back, so that there are no tombstones and the table never decays. At most half of the
/// cells are taken; growing moves all of them at once (about 10 ms at a million entries), which
/// happens as often as the number of entries doubles.
///
/// Owner: the table whose slots it numbers, which calls `free` once.
struct SlotIndex {
    /// No slot.
    static let none = UInt32.max

    private struct Cell {
        var tag: UInt32
        var slot: UInt32
    }

    private var cells: UnsafeMutablePointer<Cell>
    private var mask: Int
    private(set) var count = 0

    /// Bytes that one slot costs, on average, in the cells.
    static let bytesPerSlot = 3 * MemoryLayout<Cell>.stride

    init(capacity: Int = 64) {
        var cellCount = 64
        while cellCount < capacity * 2 { cellCount *= 2 }
        cells = Self.allocate(cellCount)
        mask = cellCount - 1
    }

    private static func allocate(_ count: Int) -> UnsafeMutablePointer<Cell> {
        let cells = UnsafeMutablePointer<Cell>.allocate(capacity: count)
        cells.initialize(repeating: Cell(tag: 0, slot: none), count: count)
        return cells
    }

    func free() { cells.deallocate() }

    @inline(__always)
    private static func tag(_ hash: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: hash ^ (hash >> 32))
    }

    /// A lookup under way.
    struct Probe {
        fileprivate let tag: UInt32
        fileprivate var position: Int
    }

    @inline(__always)
    func probe(_ hash: UInt64) -> Probe {
        let tag = Self.tag(hash)
        return Probe(tag: tag, position: Int(tag) & mask)
    }

    /// The next slot that may be the one, or `none` when there is no other.
    @inline(__always)
    func next(_ probe: inout Probe) -> UInt32 {
        while true {
            let cell = cells[probe.position]
            if cell.slot == Self.none { return Self.none }
            probe.position = (probe.position &+ 1) & mask
            if cell.tag == probe.tag { return cell.slot }
        }
    }

    mutating func insert(_ hash: UInt64, slot: UInt32) {
        assert(slot != Self.none)
        if (count + 1) * 2 > mask + 1 { grow() }
        place(Cell(tag: Self.tag(hash), slot: slot))
        count += 1
    }

    private func place(_ cell: Cell) {
        var position = Int(cell.tag) & mask
        while cells[position].slot != Self.none { position = (position + 1) & mask }
        cells[position] = cell
    }

    private mutating func grow() {
        let old = cells
        let oldCount = mask + 1
        cells = Self.allocate(oldCount * 2)
        mask = oldCount * 2 - 1
        for position in 0..<oldCount where old[position].slot != Self.none { place(old[position]) }
        old.deallocate()
    }

    /// Removes a slot that was inserted under this hash.
    mutating func remove(_ hash: UInt64, slot: UInt32) {
        var hole = Int(Self.tag(hash)) & mask
        while cells[hole].slot != slot {
            precondition(cells[hole].slot != Self.none, "a slot that was never inserted")
            hole = (hole + 1) & mask
        }
        var position = hole
        while true {
            position = (position + 1) & mask
            let cell = cells[position]
            if cell.slot == Self.none { break }
            // A cell may move into the hole unless its home lies behind the hole.
            let home = Int(cell.tag) & mask
            if (position - home) & mask >= (position - hole) & mask {
                cells[hole] = cell
                hole = position
            }
        }
        cells[hole] = Cell(tag: 0, slot: Self.none)
        count -= 1
    }

    mutating func removeAll() {
        cells.update(repeating: Cell(tag: 0, slot: Self.none), count: mask + 1)
        count = 0
    }
}
