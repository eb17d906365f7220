import Testing

@testable import Cache

/// [S1] [S5] What a session has seen and done, and how old an answer may be for it.
@Suite struct BoundsTests {
    @Test func aReadBoundsWithItsAnswer() {
        var bounds = Bounds()
        bounds.sent()
        #expect(bounds.highest == 0)
        bounds.answered(before: 7, isAll: true)
        #expect(bounds.highest == 7 && bounds.written == 0)
    }

    @Test func whatReadsNothingBoundsNothing() {
        var bounds = Bounds()
        bounds.answered(before: 7, isAll: true)
        #expect(bounds.highest == 0)
    }

    @Test func aWriteBounds() {
        var bounds = Bounds()
        bounds.wrote(before: 4)
        #expect(bounds.written == 4 && bounds.highest == 4)
    }

    @Test func whatIsStillUnderWayBoundsAgainWithItsOwnAnswer() {
        var bounds = Bounds()
        bounds.sent()
        bounds.answered(before: 3, isAll: false)
        bounds.answered(before: 5, isAll: true)
        #expect(bounds.highest == 5)
        bounds.answered(before: 9, isAll: true)
        #expect(bounds.highest == 5)
    }
}
