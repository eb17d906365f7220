import PGProtocol
import Testing

@testable import Cache

/// [T8] Who waits for a beat, and for the watermark behind it.
@Suite struct BeatsTests {
    let entry = EntryID(packed: 1)
    let later = EntryID(packed: 2)

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

    @Test func aBeatIsReachedWhenTheWatermarkHasPassedWhatItTold() {
        var beats = Beats()
        beats.began()
        let bound = beats.next
        #expect(bound == 2)
        beats.want(bound)
        beats.answered(LSN(50))
        beats.watermarkReached(.never)
        #expect(beats.reached == 1)
        #expect(beats.isWanted)
        beats.began()
        beats.answered(LSN(60))
        beats.watermarkReached(LSN(59))
        #expect(beats.reached == 1 && !beats.isCaughtUp)
        beats.watermarkReached(LSN(60))
        #expect(beats.reached == 2 && beats.isCaughtUp)
    }

    @Test func aBoundIsNotAskedForBeforeSomebodyWantsIt() {
        var beats = Beats()
        let bound = beats.next
        #expect(!beats.isWanted)
        beats.want(bound)
        #expect(beats.isWanted)
        beats.began()
        beats.want(bound)
        #expect(!beats.isWanted)
        beats.answered(LSN(60))
        beats.want(bound)
        #expect(!beats.isWanted)
    }

    @Test func aBoundWhoseAnswerWasForgottenWantsANewBeat() {
        var beats = Beats()
        let bound = beats.next
        beats.want(bound)
        beats.began()
        beats.answered(LSN(60))
        beats.forgetAnswers()
        beats.watermarkReached(.never)
        #expect(beats.reached == 0)
        beats.want(bound)
        #expect(beats.isWanted)
        beats.began()
        beats.answered(LSN(10))
        beats.watermarkReached(LSN(10))
        #expect(beats.reached >= bound)
    }

    @Test func ofTooManyAnswersTheOldestAreReachedWithTheNext() {
        var beats = Beats()
        for number in 1...5000 {
            beats.began()
            beats.answered(LSN(UInt64(number)))
        }
        beats.watermarkReached(LSN(3))
        #expect(beats.reached == 0)
        beats.watermarkReached(LSN(4999))
        #expect(beats.reached == 4999)
    }

    @Test func whoWaitedForAFailedBeatWaitsForTheNext() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.want(beats.next)
        beats.began()
        beats.failed()
        #expect(beats.isWanted && !beats.isInFlight)
        beats.forgetEntries()
        #expect(beats.isWanted)
        beats.began()
        beats.answered(LSN(60))
        beats.watermarkReached(.never)
        #expect(beats.reached == 2)
    }

    @Test func aFailureWithoutABeatIsNone() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.failed()
        #expect(beats.isWanted)
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

    @Test func entriesAreInNoHurryUntilSomebodyWantsOne() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        #expect(beats.isWanted && !beats.isUrgent)
        beats.missed()
        #expect(beats.isUrgent)
    }

    @Test func whoMissedOneMissesTheNext() {
        var beats = Beats()
        beats.want(1)
        #expect(beats.isUrgent)
        for isUrgent in [true, false] {
            beats.began()
            beats.answered(LSN(1))
            #expect(!beats.isUrgent, "nobody waits")
            _ = beats.wait(entry: entry)
            #expect(beats.isUrgent == isUrgent)
        }
    }

    @Test func aBeatThatSomebodyWaitsForMakesTheNextOneUrgent() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.began()
        // It came too late for it not to wait.
        beats.want(1)
        beats.answered(LSN(1))
        #expect(!beats.isWanted)
        _ = beats.wait(entry: later)
        #expect(beats.isUrgent)
    }
}
