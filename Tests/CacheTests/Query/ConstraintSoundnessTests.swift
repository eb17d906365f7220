import PGProtocol
import Testing

@testable import Cache

/// Constraints against their definition [I1]: a change none of whose images satisfies the
/// constraints of a use leaves the answer as it was. Random joins with subqueries over small relations with nulls are
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

    /// The tables that a level can name, and those that it reads.
    private struct Atom {
        indirect enum Test {
            case equal(Int64), less(Int64), among([Int64]), isNull, isNotNull, column(Int, Int)
            /// EXISTS or NOT EXISTS of this table's rows where all of these hold.
            case exists(Bool, [Atom])
        }
        var source: Int
        var column: Int
        var test: Test

        /// `names`: what the columns of a source are called where the atom stands.
        func text(_ names: [Int: String]) -> String {
            func column(_ source: Int, _ number: Int) -> String {
                (names[source] ?? "x\(source).") + ["a", "c"][number]
            }
            let name = column(source, self.column)
            switch test {
            case .equal(let value): return "\(name) = \(value)"
            case .less(let value): return "\(name) < \(value)"
            case .among(let values): return "\(name) in (\(values.map(String.init).joined(separator: ",")))"
            case .isNull: return "\(name) is null"
            case .isNotNull: return "\(name) is not null"
            case .column(let other, let number): return "\(name) = \(column(other, number))"
            case .exists(let isTrue, let atoms):
                let filter = (atoms.map { $0.text(names) } + ["true"]).joined(separator: " and ")
                return "\(isTrue ? "" : "not ")exists (select 1 from x\(source) where \(filter))"
            }
        }

        /// Whether it is true; false and null are one to WHERE and ON.
        func holds(_ rows: [Int: Row], _ data: [[Row]]) -> Bool {
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
            case .exists(let isTrue, let atoms):
                let found = data[source].contains { row in
                    let all = rows.merging([source: row]) { $1 }
                    return atoms.allSatisfy { $0.holds(all, data) }
                }
                return found == isTrue
            }
        }
    }

    private indirect enum From {
        enum Kind: String, CaseIterable { case inner = "", left, right, full }
        case relation(Int)
        case join(Kind, From, From, on: [Atom])
        /// A subquery with a WHERE, by its number.
        case derived(Int, From, filter: [Atom])

        var sources: [Int] {
            switch self {
            case .relation(let source): [source]
            case .join(_, let left, let right, _): left.sources + right.sources
            case .derived(_, let from, _): from.sources
            }
        }
        /// What the columns of its sources are called around it.
        var names: [Int: String] {
            switch self {
            case .relation: [:]
            case .join(_, let left, let right, _): left.names.merging(right.names) { first, _ in first }
            case .derived(let number, let from, _):
                Dictionary(uniqueKeysWithValues: from.sources.map { ($0, "d\(number).x\($0)") })
            }
        }
        var text: String {
            switch self {
            case .relation(let source): return "x\(source)"
            case .join(let kind, let left, let right, let on):
                let condition = on.isEmpty ? "true" : on.map { $0.text(names) }.joined(separator: " and ")
                return "(\(left.text) \(kind.rawValue) join \(right.text) on \(condition))"
            case .derived(let number, let from, let filter):
                let list = from.sources.flatMap { source in
                    ["a", "c"].map { "\(from.names[source] ?? "x\(source).")\($0) as x\(source)\($0)" }
                }
                let conditions = (filter.map { $0.text(from.names) } + ["true"]).joined(separator: " and ")
                return "(select \(list.joined(separator: ", ")) from \(from.text) where \(conditions)) d\(number)"
            }
        }
        func rows(_ data: [[Row]]) -> [[Int: Row]] {
            switch self {
            case .relation(let source): return data[source].map { [source: $0] }
            case .derived(_, let from, let filter):
                return from.rows(data).filter { row in filter.allSatisfy { $0.holds(row, data) } }
            case .join(let kind, let left, let right, let on):
                let others = right.rows(data)
                var isJoined = [Bool](repeating: false, count: others.count)
                var result: [[Int: Row]] = []
                for row in left.rows(data) {
                    var hasOther = false
                    for (index, other) in others.enumerated() {
                        let pair = row.merging(other) { first, _ in first }
                        guard on.allSatisfy({ $0.holds(pair, data) }) else { continue }
                        hasOther = true
                        isJoined[index] = true
                        result.append(pair)
                    }
                    if !hasOther, kind == .left || kind == .full { result.append(row) }
                }
                if kind == .right || kind == .full {
                    result += others.indices.filter { !isJoined[$0] }.map { others[$0] }
                }
                return result
            }
        }
    }

    private static func value(_ random: inout Random) -> Int64? {
        Int.random(in: 0..<5, using: &random) == 0 ? nil : Int64.random(in: 0..<4, using: &random)
    }

    private static func atoms(
        _ sources: [Int], _ free: inout [Int], _ random: inout Random, depth: Int = 0
    ) -> [Atom] {
        (0..<Int.random(in: 0...3, using: &random)).map { _ in
            let source = sources.randomElement(using: &random) ?? 0
            let other = sources.randomElement(using: &random) ?? 0
            let number = Int64.random(in: 0..<4, using: &random)
            if depth < 2, Int.random(in: 0..<4, using: &random) == 0, let inner = free.popLast() {
                let atoms = atoms(sources + [inner, inner], &free, &random, depth: depth + 1)
                let link = Atom(source: inner, column: 0, test: .column(source, Int.random(in: 0..<2, using: &random)))
                let isTrue = Bool.random(using: &random)
                return Atom(source: inner, column: 0, test: .exists(isTrue, [link] + atoms))
            }
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

    private static func from(
        _ sources: ArraySlice<Int>, _ free: inout [Int], _ number: inout Int, _ random: inout Random
    ) -> From {
        var from: From
        if sources.count > 1, let first = sources.first {
            let split = Int.random(in: (first + 1)..<sources.endIndex, using: &random)
            let left = Self.from(sources[..<split], &free, &number, &random)
            let right = Self.from(sources[split...], &free, &number, &random)
            from = .join(
                From.Kind.allCases.randomElement(using: &random) ?? .inner, left, right,
                on: atoms(Array(sources), &free, &random))
        } else {
            from = .relation(sources.first ?? 0)
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
            number += 1
            from = .derived(number, from, filter: atoms(Array(sources), &free, &random))
        }
        return from
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
            case .symmetric, .elements, .like: return true
            }
        }
    }

    /// A random SELECT, and what it answers.
    private struct Question {
        let query: ResolvedQuery
        let text: String
        let answer: ([[Row]]) -> [String]

        init?(_ random: inout Random) {
            let count = Int.random(in: 2...4, using: &random)
            var free = [4, 5, 6, 7]
            var number = 0
            var from = ConstraintSoundnessTests.from((0..<count)[...].map { $0 }[...], &free, &number, &random)
            let filter = ConstraintSoundnessTests.atoms(Array(0..<count), &free, &random)
            let shown = ConstraintSoundnessTests.atoms(Array(0..<count), &free, &random)
            if Bool.random(using: &random) {
                number += 1
                from = .derived(number, from, filter: [])
            }
            let list = (shown.map { $0.text(from.names) } + ["1"]).joined(separator: ", ")
            text = "select \(list) from \(from.text)"
                + (filter.isEmpty ? "" : " where " + filter.map { $0.text(from.names) }.joined(separator: " and "))
            let resolution = parse(text).resolved(with: FixtureCatalog()) { _ in true }
            guard case .cacheable(let query) = resolution else {
                Issue.record("\(text): \(resolution)")
                return nil
            }
            self.query = query
            answer = { [from] data in
                from.rows(data).filter { row in filter.allSatisfy { $0.holds(row, data) } }
                    .map { row in
                        (0..<count).map { "\(String(describing: row[$0]))" }.joined()
                            + shown.map { "\($0.holds(row, data))" }.joined()
                    }
                    .sorted()
            }
        }
    }

    private static func data(_ random: inout Random) -> [[Row]] {
        (0..<8).map { _ in
            (0..<Int.random(in: 0...4, using: &random)).map { _ in [value(&random), value(&random)] }
        }
    }

    private static func source(_ use: RelationUse) -> Int { Int(use.relation.value) - 20100 }

    @Test(arguments: 0..<8)
    func whatConstraintsExcludeCannotMatter(seed: Int) {
        var random = Random(state: UInt64(seed + 1) &* 0x2545_F491_4F6C_DD1D)
        var changes = 0
        for _ in 0..<300 {
            guard let question = Question(&random) else { return }
            for _ in 0..<20 {
                var data = Self.data(&random)
                guard let use = question.query.uses.randomElement(using: &random) else { continue }
                let source = Self.source(use)
                let images = (0..<2).map { _ in [Self.value(&random), Self.value(&random)] }
                guard !images.contains(where: { Self.satisfies($0, use.constraints) }) else { continue }
                changes += 1
                let without = question.answer(data)
                data[source].append(images[0])
                let withOld = question.answer(data)
                data[source][data[source].count - 1] = images[1]
                #expect(without == withOld && withOld == question.answer(data), "\(question.text)")
            }
        }
        #expect(changes > 500)
    }

    /// What has no partner among the rows that can matter to the partner's use cannot matter either: several such rows,
    /// of several uses, at once.
    @Test(arguments: 0..<8)
    func whatJoinsNothingCannotMatter(seed: Int) {
        var random = Random(state: UInt64(seed + 1) &* 0x9E6D_62D0_6F6A_4A35)
        var lonely = 0
        for _ in 0..<200 {
            guard let question = Question(&random) else { return }
            let uses = question.query.uses
            // Each use through one of its links; a partner has all of its own rows.
            var chosen: [Int: JoinLink] = [:]
            for link in question.query.links.shuffled(using: &random)
            where !chosen.values.contains(where: { $0.partner == link.use }) && chosen[link.partner] == nil {
                chosen[link.use] = link
            }
            guard !chosen.isEmpty else { continue }
            for _ in 0..<10 {
                let data = Self.data(&random)
                var kept = data
                for (position, link) in chosen {
                    let partners = data[Self.source(uses[link.partner])].filter {
                        Self.satisfies($0, uses[link.partner].constraints)
                    }
                    let partnerColumn = FixtureCatalog.columns[link.partnerColumn].0 == "a" ? 0 : 1
                    let keys = Set(partners.compactMap { $0[partnerColumn] })
                    let column = FixtureCatalog.columns[link.column].0 == "a" ? 0 : 1
                    kept[Self.source(uses[position])].removeAll { row in !(row[column].map(keys.contains) ?? false) }
                }
                guard kept != data else { continue }
                lonely += 1
                #expect(question.answer(data) == question.answer(kept), "\(question.text) \(chosen)")
            }
        }
        #expect(lonely > 200)
    }
}
