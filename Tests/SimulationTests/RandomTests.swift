import Testing

@testable import Simulation

@Suite struct RandomTests {
    @Test func theSameSeedDrawsTheSame() {
        var one = Random(seed: 7, "network", 3)
        var other = Random(seed: 7, "network", 3)
        for _ in 0..<100 { #expect(one.next() == other.next()) }
    }

    @Test func namesAndNumbersDrawDifferently() {
        var draws: Set<UInt64> = []
        for name in ["a", "b", "network"] {
            for number in 0..<10 {
                var random = Random(seed: 7, name, number)
                draws.insert(random.next())
            }
        }
        #expect(draws.count == 30)
    }
}
