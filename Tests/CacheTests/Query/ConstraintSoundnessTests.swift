import PGProtocol
import Testing

@testable import Cache

/// Constraints against their definition [I1]: a change none of whose images satisfies the
/// constraints of a use leaves the answer as it was. Random joins over small relations with nulls are
/// executed by the simplest evaluator there could be, before and after such changes.
@Suite struct ConstraintSoundnessTests {
    private typealias Row = [Int64?]  // columns a and c
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state ^ (state >> 29)) &* 0x9E37_79B9_7F4A_7C15
        }
    }

    private struct Atom {
        enum Test {
            case equal(Int64), less(Int64), among([Int64]), isNull, isNotNull, column(Int, Int)
        }
        var source: Int
        var column: Int
        var test: Test

        var text: String {
            let name = "x\(source).\(["a", "c"][column])"
            switch test {
            case .equal(let value): return "\(name) = \(value)"
            case .less(let value): return "\(name) < \(value)"
            case .among(let values): return "\(name) in (\(values.map(String.init).joined(separator: ",")))"
            case .isNull: return "\(name) is null"
            case .isNotNull: return "\(name) is not null"
            case .column(let other, let number): return "\(name) = x\(other).\(["a", "c"][number])"
            }
        }

        /// Whether it is true; false and null are one to WHERE and ON.
        func holds(_ rows: [Int: Row]) -> Bool {
            let value = rows[source]?[column] ?? nil
            switch test {
            case .isNull: return value == nil
            case .isNotNull: return value != nil
            case .equal(let other): return value == other
            case .less(let other): return value.map { $0 < other } ?? false
            case .among(let others): return value.map { others.contains($0) } ?? false
            case .column(let source, let number):
                guard let value, let other = rows[source]?[number] ?? nil else { return false }
                return value == other
            }
        }
    }

    private indirect enum From {
        case relation(Int)
        case join(isLeft: Bool, From, From, on: [Atom])

        var sources: [Int] {
            switch self {
            case .relation(let source): [source]
            case .join(_, let left, let right, _): left.sources + right.sources
            }
        }
        var text: String {
            switch self {
            case .relation(let source): return "t x\(source)"
            case .join(let isLeft, let left, let right, let on):
                let condition = on.isEmpty ? "true" : on.map(\.text).joined(separator: " and ")
                return "(\(left.text) \(isLeft ? "left " : "")join \(right.text) on \(condition))"
            }
        }
        func rows(_ data: [[Row]]) -> [[Int: Row]] {
            switch self {
            case .relation(let source): return data[source].map { [source: $0] }
            case .join(let isLeft, let left, let right, let on):
                let others = right.rows(data)
                return left.rows(data).flatMap { row in
                    let pairs = others.map { row.merging($0) { first, _ in first } }
                        .filter { pair in on.allSatisfy { $0.holds(pair) } }
                    return pairs.isEmpty && isLeft ? [row] : pairs
                }
            }
        }
    }

    private static func value(_ random: inout Random) -> Int64? {
        Int.random(in: 0..<5, using: &random) == 0 ? nil : Int64.random(in: 0..<4, using: &random)
    }

    private static func atoms(_ sources: [Int], _ random: inout Random) -> [Atom] {
        (0..<Int.random(in: 0...3, using: &random)).map { _ in
            let source = sources.randomElement(using: &random) ?? 0
            let other = sources.randomElement(using: &random) ?? 0
            let number = Int64.random(in: 0..<4, using: &random)
            let tests: [Atom.Test] = [
                .equal(number), .less(number), .among([number, 3]), .isNull, .isNotNull,
                .column(other, Int.random(in: 0..<2, using: &random)),
                .column(other, Int.random(in: 0..<2, using: &random)),
            ]
            return Atom(
                source: source, column: Int.random(in: 0..<2, using: &random),
                test: tests.randomElement(using: &random) ?? .isNull)
        }
    }

    private static func from(_ sources: ArraySlice<Int>, _ random: inout Random) -> From {
        guard sources.count > 1, let first = sources.first else {
            return .relation(sources.first ?? 0)
        }
        let split = Int.random(in: (first + 1)..<sources.endIndex, using: &random)
        let left = from(sources[..<split], &random)
        let right = from(sources[split...], &random)
        return .join(
            isLeft: Bool.random(using: &random), left, right, on: atoms(Array(sources), &random))
    }

    private static func satisfies(_ row: Row, _ constraints: [Constraint]) -> Bool {
        constraints.allSatisfy { constraint in
            let value = row[FixtureCatalog.columns[constraint.column].0 == "a" ? 0 : 1]
            func number(_ operand: Constraint.Operand) -> Int64? {
                if case .constant(.integer(let value)) = operand { value } else { nil }
            }
            switch constraint.test {
            case .isNull: return value == nil
            case .isNotNull: return value != nil
            case .among(let operands): return value.map { operands.map(number).contains($0) } ?? false
            case .range(_, let upper):
                guard let value, let bound = upper.flatMap({ number($0.operand) }) else { return false }
                return value < bound
            }
        }
    }

    @Test(arguments: 0..<8)
    func whatConstraintsExcludeCannotMatter(seed: Int) {
        var random = Random(state: UInt64(seed + 1) &* 0x2545_F491_4F6C_DD1D)
        let catalog = FixtureCatalog()
        var changes = 0
        for _ in 0..<400 {
            let count = Int.random(in: 2...4, using: &random)
            let from = Self.from((0..<count)[...].map { $0 }[...], &random)
            let filter = Self.atoms(Array(0..<count), &random)
            let text = "select 1 from \(from.text)"
                + (filter.isEmpty ? "" : " where " + filter.map(\.text).joined(separator: " and "))
            let resolution = parse(text).resolved(with: catalog) { _ in true }
            guard case .cacheable(let query) = resolution else {
                Issue.record("\(text): \(resolution)")
                return
            }
            func answer(_ data: [[Row]]) -> [String] {
                from.rows(data).filter { row in filter.allSatisfy { $0.holds(row) } }
                    .map { row in (0..<count).map { "\(String(describing: row[$0]))" }.joined() }
                    .sorted()
            }
            for _ in 0..<20 {
                var data = (0..<count).map { _ in
                    (0..<Int.random(in: 0...4, using: &random)).map { _ in
                        [Self.value(&random), Self.value(&random)]
                    }
                }
                let source = Int.random(in: 0..<count, using: &random)
                let constraints = query.uses[source].constraints
                let images = (0..<2).map { _ in [Self.value(&random), Self.value(&random)] }
                guard !images.contains(where: { Self.satisfies($0, constraints) }) else { continue }
                changes += 1
                let without = answer(data)
                data[source].append(images[0])
                let withOld = answer(data)
                data[source][data[source].count - 1] = images[1]
                #expect(without == withOld && withOld == answer(data), "\(text)")
            }
        }
        #expect(changes > 500)
    }
}
