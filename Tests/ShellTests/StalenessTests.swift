import Testing

@testable import Shell

/// The age of the watermark: from the beginning of the latest beat that it has passed.
@Suite struct StalenessTests {
    private func staleness(bound: UInt64 = 100) -> Staleness {
        Staleness(boundNanoseconds: bound, nowNanoseconds: 1_000)
    }

    @Test func itGrowsUntilABeatIsReached() {
        var staleness = staleness()
        staleness.beatBegan(1, nowNanoseconds: 1_050)
        #expect(!staleness.isExceeded(now: 1_100))
        #expect(staleness.isExceeded(now: 1_101))
        staleness.reached(0)
        #expect(staleness.isExceeded(now: 1_101), "no beat was reached")
        staleness.reached(1)
        #expect(staleness.ageNanoseconds(now: 1_101) == 51)
        #expect(!staleness.isExceeded(now: 1_150))
        #expect(staleness.isExceeded(now: 1_151))
    }

    @Test func theLatestThatIsReachedCounts() {
        var staleness = staleness()
        for beat in 1...5 { staleness.beatBegan(UInt64(beat), nowNanoseconds: 1_000 + UInt64(beat) * 10) }
        staleness.reached(3)
        #expect(staleness.ageNanoseconds(now: 1_060) == 30)
        staleness.reached(3)
        #expect(staleness.ageNanoseconds(now: 1_060) == 30)
        staleness.reached(5)
        #expect(staleness.ageNanoseconds(now: 1_060) == 10)
    }

    /// A beat that failed has a number and is never reached; a later one stands for it.
    @Test func aBeatThatFailedIsPassedOver() {
        var staleness = staleness()
        staleness.beatBegan(1, nowNanoseconds: 1_010)
        staleness.beatBegan(2, nowNanoseconds: 1_020)
        staleness.reached(2)
        #expect(staleness.ageNanoseconds(now: 1_020) == 0)
    }

    @Test func withoutABoundNothingIsTooOld() {
        let staleness = staleness(bound: 0)
        #expect(!staleness.isExceeded(now: .max))
        #expect(staleness.ageNanoseconds(now: 500) == 0, "a clock that stands still is no age")
    }

    /// Beats that find no room only make it seem older.
    @Test func itIsBounded() {
        var staleness = staleness()
        for beat in 1...5_000 { staleness.beatBegan(UInt64(beat), nowNanoseconds: 1_000 + UInt64(beat)) }
        staleness.reached(5_000)
        #expect(staleness.ageNanoseconds(now: 6_000) >= 0 && staleness.ageNanoseconds(now: 6_000) < 5_000)
        staleness.beatBegan(5_001, nowNanoseconds: 7_000)
        staleness.reached(5_001)
        #expect(staleness.ageNanoseconds(now: 7_000) == 0)
    }
}
