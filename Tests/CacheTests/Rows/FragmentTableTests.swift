import PGProtocol
import Testing

@testable import Cache

/// That fences leave out nothing: what the table finds is what looking at each fragment finds.
@Suite struct FragmentTableTests {
    private static let relation = OID(16_400)
    /// Numbers beside each other and at the ends, and bytes that differ behind the eighth or by a zero.
    private static let values: [[Value]] = [
        [.min, .min + 1, -2, -1, 0, 1, 2, 3, .max - 1, .max].map { Value.integer($0) },
        ["", "\0", "a", "a\0", "abcdefgh", "abcdefgh\0", "abcdefghi", "abcdefghj", "b", "\u{10FFFF}"]
            .map { Value.bytes(Array($0.utf8)) } + [.bytes([0xFF]), .bytes(Array(repeating: 0xFF, count: 9))],
    ]

    private func constraint(_ random: inout Seeded) -> BoundConstraint {
        let column = Int.random(in: 0...1, using: &random)
        let values = Self.values[column]
        func value() -> Value { values.randomElement(using: &random) ?? .integer(0) }
        func limit() -> BoundConstraint.Limit? {
            Int.random(in: 0..<4, using: &random) == 0
                ? nil : .init(value: value(), isInclusive: .random(using: &random))
        }
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return BoundConstraint(column: column, test: .isNull)
        case 1: return BoundConstraint(column: column, test: .isNotNull)
        case 2...4: return BoundConstraint(column: column, test: .range(lower: limit(), upper: limit()))
        case 5: return BoundConstraint(column: column, test: .among((0..<40).map { _ in value() }))
        default:
            let count = Int.random(in: 1...3, using: &random)
            return BoundConstraint(column: column, test: .among((0..<count).map { _ in value() }))
        }
    }

    private func constraints(_ random: inout Seeded) -> [BoundConstraint] {
        (0..<Int.random(in: 0...9, using: &random) / 3).map { _ in constraint(&random) }
    }

    private func row(_ random: inout Seeded) -> RowValues {
        RowValues(
            columns: Self.values.prefix(Int.random(in: 1...2, using: &random)).map { values in
                switch Int.random(in: 0..<6, using: &random) {
                case 0: .unknown
                case 1: .null
                case 2: .notNull
                default: values.randomElement(using: &random).map { .value($0) } ?? .unknown
                }
            })
    }

    @Test func itFindsWhatIsThere() {
        var random = Seeded(state: 7)
        var found = 0, held = 0
        for _ in 0..<300 {
            var table = FragmentTable()
            for number in 0..<Int.random(in: 1...6, using: &random) {
                let constraints = constraints(&random)
                table.append(
                    .init(
                        fragment: Fragment(relation: Self.relation, constraints: constraints),
                        population: .random(using: &random) ? PopulationID(number: UInt64(number)) : nil))
            }
            for round in 0..<30 {
                if round == 10, let last = table.indices.last {
                    let fragment = Fragment(relation: Self.relation, constraints: constraints(&random))
                    table.update(last) { $0.fragment = fragment }
                }
                if round == 20, let first = table.first { table.removeAll { $0.fragment == first.fragment } }
                let use = BoundUse(relation: Self.relation, constraints: constraints(&random))
                for isComplete in [true, false] {
                    let expected = table.firstIndex { $0.isComplete == isComplete && $0.fragment.contains(use) }
                    #expect(table.index(containing: use, isComplete: isComplete) == expected, "\(use)")
                    found += expected == nil ? 0 : 1
                }
                let row = row(&random)
                let mayHold = table.contains { $0.fragment.mayMatch(row) }
                #expect(table.mayHold(row) == mayHold, "\(row)")
                held += mayHold ? 1 : 0
            }
        }
        #expect(found > 1000 && held > 1000, "\(found) \(held)")
    }
}
