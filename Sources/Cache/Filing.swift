import PGProtocol

/// Where a use is filed in the dependency index: under the values of some columns that it needs to be equal to, and
/// there in the order of one more column, if it has a range on one.
///
/// Only some of its constraints: the index tries all of them on what it finds.
struct Filing {
    /// A use with more combinations of values is filed under fewer columns.
    static let combinationsMax = 256
    /// Columns that are compared for equality.
    static let columnsMax = 4

    /// In order.
    private(set) var equalColumns: [Int] = []
    /// For each of them.
    private var values: [[Value]] = []
    private(set) var orderedColumn = -1
    private(set) var lower: BoundConstraint.Limit?
    private(set) var upper: BoundConstraint.Limit?

    /// `known`: the columns that every old image tells; nil when old images do not matter. Where they do, a use is
    /// filed under such columns alone if it can be: under another column besides, it would not be found without its
    /// value.
    init(_ use: BoundUse, known: [Int]?) {
        var equalities: [(column: Int, values: [Value])] = []
        for constraint in use.constraints {
            guard case .among(let values) = constraint.test, !values.isEmpty,
                !equalities.contains(where: { $0.column == constraint.column })
            else { continue }
            equalities.append((constraint.column, values.count == 1 ? values : Array(Set(values))))
        }
        if let known, equalities.contains(where: { known.contains($0.column) && fits($0.values.count) }) {
            equalities.removeAll { !known.contains($0.column) }
        }
        equalities.sort { $0.values.count < $1.values.count }
        var combinations = 1
        var chosen: [(column: Int, values: [Value])] = []
        for equality in equalities
        where chosen.count < Self.columnsMax && combinations * equality.values.count <= Self.combinationsMax {
            combinations *= equality.values.count
            chosen.append(equality)
        }
        chosen.sort { $0.column < $1.column }
        equalColumns = chosen.map(\.column)
        values = chosen.map(\.values)
        order(use, known: known)
    }

    private func fits(_ count: Int) -> Bool { count <= Self.combinationsMax }

    private mutating func order(_ use: BoundUse, known: [Int]?) {
        var isKnown = false
        for constraint in use.constraints where !equalColumns.contains(constraint.column) {
            let bounds: (BoundConstraint.Limit?, BoundConstraint.Limit?)
            switch constraint.test {
            case .range(let low, let high): bounds = (low, high)
            case .among(let values):
                guard let low = values.min(), let high = values.max() else { continue }
                bounds = (.init(value: low, isInclusive: true), .init(value: high, isInclusive: true))
            case .isNull, .isNotNull: continue
            }
            let isBetter = !isKnown && (known?.contains(constraint.column) ?? false)
            guard orderedColumn < 0 || isBetter else { continue }
            isKnown = isBetter
            orderedColumn = constraint.column
            (lower, upper) = bounds
        }
    }

    /// The same use, filed under nothing but its first column.
    var narrowed: Filing {
        var narrowed = self
        narrowed.equalColumns = Array(equalColumns.prefix(1))
        narrowed.values = Array(values.prefix(1))
        narrowed.orderedColumn = -1
        return narrowed
    }

    /// Every way to choose one value for each column; nil is the only one where there is no column.
    var combinations: [RowKey?] {
        var combinations: [[Value]] = [[]]
        for some in values { combinations = combinations.flatMap { chosen in some.map { chosen + [$0] } } }
        return combinations.map { RowKey($0) }
    }

    /// How many there are at most, and the bytes of their values, for a use that is filed in the costliest way.
    static func costliest(_ use: BoundUse) -> (count: Int, bytes: Int) {
        var count = 1
        var bytes = 0
        for constraint in use.constraints {
            guard case .among(let values) = constraint.test else { continue }
            count = min(count * max(values.count, 1), combinationsMax)
            bytes += values.reduce(0) { max($0, $1.footprint) } + 24
        }
        return (count, bytes * count)
    }
}
