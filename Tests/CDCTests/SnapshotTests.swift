import CDC
import PGProtocol
import Testing

@Suite struct SnapshotTests {
    @Test func itKnowsWhoHasFinished() throws {
        let snapshot = try #require(Snapshot("10:20:12,15"))
        func isFinished(_ id: UInt64) -> Bool { snapshot.isFinished(TransactionID(id)) }
        #expect(isFinished(9) && isFinished(10) && isFinished(13) && isFinished(19))
        #expect(!isFinished(12) && !isFinished(15) && !isFinished(20) && !isFinished(99))
    }

    @Test func numbersAreWiderThanTheStreams() throws {
        let snapshot = try #require(Snapshot("4294967290:4294967300:4294967295"))
        #expect(snapshot.widen(4) == TransactionID(4_294_967_300))
        #expect(snapshot.widen(4_294_967_295) == TransactionID(4_294_967_295))
        #expect(!snapshot.isFinished(snapshot.widen(4_294_967_295)))
        #expect(snapshot.isFinished(snapshot.widen(2)))
        #expect(!snapshot.isFinished(snapshot.widen(5)))
    }

    @Test func everyoneBelowAFenceHasFinishedOnlyWithoutRunners() throws {
        #expect(try #require(Snapshot("12:20:12,15")).isEveryoneFinished(below: TransactionID(12)))
        #expect(try !#require(Snapshot("12:20:12,15")).isEveryoneFinished(below: TransactionID(13)))
        #expect(try #require(Snapshot("20:20:")).isEveryoneFinished(below: TransactionID(20)))
    }

    @Test(arguments: [
        "", "1", "1:2", "1:2:3", "2:1:", "a:2:", "1:5:3,2", "1:5:3,3", "1:5:3,", "1:5:0", "-1:5:",
        "1:5:3:4", "1:99999999999999999999:",
    ])
    func otherTextIsNoSnapshot(text: String) { #expect(Snapshot(text) == nil) }
}
