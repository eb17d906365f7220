import Mutation
import PGProtocol

/// The fragments of one relation, in the order in which they came.
///
/// Each miss asks which of them contains a use, and each change whether some may hold a row. Most do not, and that is
/// told without looking at them, by *fences*: numbers in one array that is gone through from its beginning to its end.
///
/// Owner: the relation's pool.
struct FragmentTable: RandomAccessCollection {
    private var fragments: [RelationPool.Loaded] = []
    /// Of all fragments, one fragment's behind the other's.
    private var fences: [Fence] = []
    /// Where each fragment's end.
    private var fenceEnds: [Int] = []

    var startIndex: Int { 0 }
    var endIndex: Int { fragments.count }

    subscript(index: Int) -> RelationPool.Loaded { fragments[index] }

    mutating func append(_ loaded: RelationPool.Loaded) {
        fragments.append(loaded)
        fence(loaded.fragment)
    }

    mutating func removeAll(where isRemoved: (RelationPool.Loaded) -> Bool) {
        let count = fragments.count
        fragments.removeAll(where: isRemoved)
        if fragments.count < count { fenceAll() }
    }

    /// Alters what is known of a fragment.
    mutating func update(_ index: Int, _ body: (inout RelationPool.Loaded) -> Void) {
        let fragment = fragments[index].fragment
        body(&fragments[index])
        if fragments[index].fragment != fragment { fenceAll() }
    }

    mutating func used(_ index: Int) { fragments[index].isRecent = true }

    /// A fragment that has every row that could satisfy the use, or is being loaded with them.
    func index(containing use: BoundUse, isComplete: Bool) -> Int? {
        let wanted = fences.isEmpty ? [] : use.constraints.compactMap(Fence.init)
        return search { first, end in
            for fence in fences[first..<end] where !wanted.contains(where: { fence.contains($0) }) {
                // The mutant asks for something else, of which fences say nothing.
                if !Mutation.fragmentCoversWiderUse.isOn { return false }
            }
            return true
        } where: {
            $0.isComplete == isComplete && $0.fragment.contains(use)
        }
    }

    /// Whether a row like this may belong to one of them.
    func mayHold(_ row: RowValues) -> Bool {
        let places = fences.isEmpty ? [] : row.columns.map { Fence.place($0) }
        return search { first, end in
            for fence in fences[first..<end] where places.indices.contains(fence.column) {
                if let place = places[fence.column], !fence.contains(place) { return false }
            }
            return true
        } where: {
            $0.fragment.mayMatch(row)
        } != nil
    }

    /// - Parameter mayBe: whether a fragment may be it by its fences.
    private func search(_ mayBe: (Int, Int) -> Bool, where isIt: (RelationPool.Loaded) -> Bool) -> Int? {
        var first = 0
        for index in fragments.indices {
            let end = fenceEnds[index]
            if mayBe(first, end), isIt(fragments[index]) { return index }
            first = end
        }
        return nil
    }

    private mutating func fenceAll() {
        fences.removeAll(keepingCapacity: true)
        fenceEnds.removeAll(keepingCapacity: true)
        for loaded in fragments { fence(loaded.fragment) }
    }

    private mutating func fence(_ fragment: Fragment) {
        fences += fragment.constraints.compactMap(Fence.init)
        fenceEnds.append(fences.count)
    }
}

/// Between which places the values lie that satisfy a constraint. A value's place is a number that is not greater than
/// that of a greater value; values beside each other may have the same.
private struct Fence {
    let column: Int
    var lowest = UInt64.min
    var highest = UInt64.max

    /// Nil where all values may satisfy it, or none does.
    init?(_ constraint: BoundConstraint) {
        column = constraint.column
        switch constraint.test {
        case .isNull, .isNotNull: return nil
        case .among(let values):
            guard let first = values.first else { return nil }
            lowest = Self.place(first)
            highest = lowest
            for value in values.dropFirst() {
                let place = Self.place(value)
                lowest = Swift.min(lowest, place)
                highest = Swift.max(highest, place)
            }
        case .range(let lower, let upper):
            if let lower { lowest = Self.place(lower.value) }
            if let upper { highest = Self.place(upper.value) }
        }
    }

    func contains(_ other: Fence) -> Bool {
        column == other.column && lowest <= other.lowest && other.highest <= highest
    }

    func contains(_ place: UInt64) -> Bool { lowest <= place && place <= highest }

    /// Nil for what is not known, or is no value.
    static func place(_ known: KnownValue) -> UInt64? {
        guard case .value(let value) = known else { return nil }
        return place(value)
    }

    private static func place(_ value: Value) -> UInt64 {
        switch value {
        case .integer(let number): return (UInt64(bitPattern: number) ^ 1 << 63) >> 1
        case .bytes(let bytes):
            var place: UInt64 = 0
            for position in 0..<8 { place = place << 8 | UInt64(position < bytes.count ? bytes[position] : 0) }
            return 1 << 63 | place >> 1
        }
    }
}
