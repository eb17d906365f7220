import PGProtocol
import Testing

@testable import Cache

/// [T8] Who waits for a beat, and for the watermark behind it.
@Suite struct BeatsTests {
    let entry = EntryID(packed: 1)
    let later = EntryID(packed: 2)
    let session = SessionNumber(index: 3, generation: 1)

    @Test func anEntryWaitsForABeatAndThenForTheWatermark() {
        var beats = Beats()
        let hasRoom = beats.wait(entry: entry)
        #expect(hasRoom)
        #expect(beats.isWanted)
        #expect(beats.nextReached(.never) == nil)
        beats.began()
        #expect(!beats.isWanted && beats.isInFlight)
        beats.answered(LSN(50))
        #expect(beats.hasTargets)
        #expect(beats.nextReached(LSN(49)) == nil)
        #expect(beats.nextReached(LSN(50)) == entry)
        #expect(beats.nextReached(LSN(50)) == nil)
        #expect(!beats.hasTargets)
    }

    @Test func whoComesDuringABeatWaitsForTheNext() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.began()
        _ = beats.wait(entry: later)
        beats.answered(LSN(50))
        #expect(beats.nextReached(.never) == entry)
        #expect(beats.nextReached(.never) == nil)
        #expect(beats.isWanted)
        beats.began()
        beats.answered(LSN(60))
        #expect(beats.nextReached(.never) == later)
    }

    @Test func aSessionIsToldTheBeatThatBeganBehindItsWrite() {
        var beats = Beats()
        beats.began()
        #expect(beats.wait(session: session) == 2)
        beats.answered(LSN(50))
        #expect(beats.nextBound() == nil)
        beats.began()
        beats.answered(LSN(60))
        let known = beats.nextBound()
        #expect(known?.session == session)
        #expect(known?.lsn == LSN(60))
        #expect(known?.beat == 2)
    }

    @Test func whoWaitedForAFailedBeatWaitsForTheNext() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        _ = beats.wait(session: session)
        beats.began()
        beats.failed()
        #expect(beats.isWanted && !beats.isInFlight)
        beats.began()
        beats.answered(LSN(60))
        #expect(beats.nextReached(.never) == entry)
        #expect(beats.nextBound()?.session == session)
    }

    @Test func aFailureWithoutABeatIsNone() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.failed()
        #expect(beats.isWanted)
    }

    /// The origin's connection may be away for long, while sessions go on writing.
    @Test func aSessionThatWritesOftenWaitsOnce() {
        var beats = Beats()
        for _ in 0..<1000 { _ = beats.wait(session: session) }
        for _ in 0..<10 {
            beats.began()
            _ = beats.wait(session: session)
            beats.failed()
        }
        beats.began()
        beats.answered(LSN(60))
        #expect(beats.nextBound() != nil)
        #expect(beats.nextBound() == nil)
    }

    @Test func forgottenEntriesAreNotReached() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.began()
        beats.answered(LSN(1))
        _ = beats.wait(entry: later)
        beats.began()
        beats.forgetEntries()
        beats.answered(LSN(2))
        #expect(beats.nextReached(.never) == nil)
    }

    @Test func manyTargetsAreReachedInOrder() {
        var beats = Beats()
        for number in 0..<5000 {
            _ = beats.wait(entry: EntryID(packed: UInt64(number)))
            beats.began()
            beats.answered(LSN(UInt64(number)))
        }
        for number in 0..<5000 {
            #expect(beats.nextReached(LSN(UInt64(number))) == EntryID(packed: UInt64(number)))
            #expect(beats.nextReached(LSN(UInt64(number))) == nil)
        }
    }
}
