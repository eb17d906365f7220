import Testing

@testable import Cache

@Suite struct IntervalTreesTests {
    private struct Bounds: Hashable {
        var lower: Int64?, isLowerInclusive: Bool, upper: Int64?, isUpperInclusive: Bool

        init(_ random: inout Seeded) {
            lower = Int.random(in: 0..<8, using: &random) == 0 ? nil : .random(in: 0..<20, using: &random)
            upper = Int.random(in: 0..<8, using: &random) == 0 ? nil : .random(in: 0..<20, using: &random)
            isLowerInclusive = lower == nil || Bool.random(using: &random)
            isUpperInclusive = upper == nil || Bool.random(using: &random)
        }
        func holds(_ value: Int64) -> Bool {
            (lower.map { isLowerInclusive ? $0 <= value : $0 < value } ?? true)
                && (upper.map { isUpperInclusive ? value <= $0 : value < $0 } ?? true)
        }
        var limits: (IntervalTrees.Limit?, IntervalTrees.Limit?) {
            (
                lower.map { .init(value: .integer($0), isInclusive: isLowerInclusive) },
                upper.map { .init(value: .integer($0), isInclusive: isUpperInclusive) }
            )
        }
    }

    /// Two trees over one pool, changed at random.
    @Test func whatHoldsAValueIsFoundAndNothingElse() {
        var random = Seeded(state: 9)
        var trees = IntervalTrees()
        var roots = [IntervalTrees.none, IntervalTrees.none]
        var models: [[Bounds: UInt32]] = [[:], [:]]
        for step in 0..<8000 {
            let tree = step & 1
            let bounds = Bounds(&random)
            if let known = models[tree][bounds], Bool.random(using: &random) {
                trees.remove(known, from: &roots[tree])
                models[tree][bounds] = nil
            } else if models[tree].count > 150, let (other, known) = models[tree].randomElement(using: &random) {
                trees.remove(known, from: &roots[tree])
                models[tree][other] = nil
            } else {
                let (lower, upper) = bounds.limits
                let interval = trees.insert(lower, upper, into: &roots[tree])
                #expect(models[tree][bounds] ?? interval == interval)
                models[tree][bounds] = interval
            }
            #expect(trees.count == models[0].count + models[1].count)
            if step % 16 == 0 { #expect(trees.isSound(below: roots[tree])) }
            let value = Int64.random(in: -1...20, using: &random)
            var found: [UInt32] = []
            trees.append(holding: .integer(value), below: roots[tree], to: &found)
            #expect(found.sorted() == models[tree].filter { $0.key.holds(value) }.map(\.value).sorted())
            found.removeAll()
            trees.append(allBelow: roots[tree], to: &found)
            #expect(found.sorted() == models[tree].values.sorted())
        }
    }

    @Test func aSearchLooksAtATreesHeightAndAtWhatItFinds() {
        var trees = IntervalTrees()
        var root = IntervalTrees.none
        for number in 0..<100_000 as Range<Int64> {
            _ = trees.insert(
                .init(value: .integer(10 * number), isInclusive: true),
                .init(value: .integer(10 * number + 10), isInclusive: false), into: &root)
        }
        var found: [UInt32] = []
        for value in stride(from: Int64(5), to: 1_000_000, by: 997) {
            found.removeAll(keepingCapacity: true)
            trees.append(holding: .integer(value), below: root, to: &found)
            #expect(found.count == 1)
        }
        #expect(trees.checks <= 1003 * 40)
    }
}
