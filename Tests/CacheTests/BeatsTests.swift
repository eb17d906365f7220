import CDC
import PGProtocol
import Testing

@testable import Cache

/// [T8] Who waits for a beat, and for the watermark behind it.
@Suite struct BeatsTests {
    let entry = EntryID(packed: 1)
    let later = EntryID(packed: 2)

    /// The next entry that is reached when the watermark is here.
    func next(_ beats: inout Beats, _ watermark: LSN) -> EntryID? {
        beats.watermarkReached(watermark)
        return beats.nextReached()
    }

    /// A beat from end to end, and the number of the latest that is reached before the watermark has moved.
    func reached(_ beats: inout Beats, _ snapshot: String) -> UInt64 {
        beats.began()
        beats.answered(.never, Snapshot(snapshot))
        beats.watermarkReached(.zero)
        return beats.reached
    }

    /// Beats whose positions nothing passes, from a first one that was reached.
    func named(_ snapshot: String) -> Beats {
        var beats = Beats()
        beats.began()
        beats.answered(LSN(1), Snapshot(snapshot))
        beats.watermarkReached(LSN(1))
        return beats
    }

    /// Others are still writing behind it, or a read has pruned: nobody has to wait for that.
    @Test func aBeatIsReachedWhenWhatHadFinishedIsReceived() {
        var beats = named("5:8:5,6")
        #expect(beats.reached == 1)
        #expect(reached(&beats, "5:8:5,6") == 2, "nothing has finished since")
        #expect(reached(&beats, "6:10:6,8") == 2)
        for id in [5, 8, 9] as [UInt32] {
            beats.received(id)
            beats.watermarkReached(.zero)
            #expect(beats.reached == (id == 9 ? 3 : 2), "5 and 9 had finished, 8 had not")
        }
        #expect(reached(&beats, "6:10:6") == 4, "8 was received before")
        #expect(reached(&beats, "10:10:") == 4)
        #expect(reached(&beats, "10:10:") == 4, "each waits for those before")
        beats.received(6)
        beats.watermarkReached(.zero)
        #expect(beats.reached == 6 && beats.isCaughtUp)
    }

    @Test func whatIsNeverReceivedIsToldByThePosition() {
        var beats = named("5:5:")
        beats.received(6)
        beats.began()
        beats.answered(LSN(7), Snapshot("7:7:"))
        beats.watermarkReached(LSN(6))
        #expect(beats.reached == 1, "5 was rolled back")
        beats.began()
        beats.answered(LSN(9), Snapshot("8:8:"))
        beats.received(7)
        #expect(beats.nextReached() == nil)
        beats.watermarkReached(LSN(7))
        #expect(beats.reached == 3, "7 was received")
        #expect(reached(&beats, "8:8:") == 4)
    }

    @Test func anEntryIsServableWithItsBeat() {
        var beats = named("5:5:")
        _ = beats.wait(entry: entry)
        #expect(reached(&beats, "6:6:") == 1)
        #expect(beats.nextReached() == nil)
        beats.received(5)
        #expect(next(&beats, .zero) == entry)
    }

    @Test func numbersWrapAround() {
        var beats = named("8589934590:8589934590:")
        #expect(reached(&beats, "8589934593:8589934593:") == 1)
        for id in [.max - 1, .max, 0] as [UInt32] { beats.received(id) }
        beats.watermarkReached(.zero)
        #expect(beats.reached == 2)
    }

    @Test(arguments: ["400:400:", "4:4:", "5:5:5"]) func whatCannotBeToldApartIsToldByThePosition(snapshot: String) {
        var beats = named("5:5:")
        #expect(reached(&beats, snapshot) == 1)
        for id in 0..<400 as Range<UInt32> { beats.received(id) }
        beats.watermarkReached(.zero)
        #expect(beats.reached == 1)
    }

    @Test func ofTooManyThatCameEarlyTheOldestAreToldByThePosition() {
        var beats = named("5:5:")
        for id in 5..<300 as Range<UInt32> { beats.received(id) }
        #expect(reached(&beats, "7:7:") == 1)
    }

    /// Nobody knows what a stream that was lost would have brought, nor who has a number after a crash.
    @Test func whatIsForgottenIsToldByThePosition() {
        var beats = named("5:5:")
        beats.received(5)
        beats.forgetTransactions()
        #expect(reached(&beats, "6:6:") == 1)
        #expect(reached(&beats, "7:7:") == 1)
        beats.forgetTransactions()
        beats.received(6)
        beats.watermarkReached(.zero)
        #expect(beats.reached == 1)
    }

    @Test func anEntryWaitsForABeatAndThenForTheWatermark() {
        var beats = Beats()
        let hasRoom = beats.wait(entry: entry)
        #expect(hasRoom)
        #expect(beats.isWanted)
        #expect(next(&beats, .never) == nil)
        beats.began()
        #expect(!beats.isWanted && beats.isInFlight)
        beats.answered(LSN(50))
        #expect(beats.hasTargets)
        #expect(next(&beats, LSN(49)) == nil)
        #expect(next(&beats, LSN(50)) == entry)
        #expect(next(&beats, LSN(50)) == nil)
        #expect(!beats.hasTargets)
    }

    @Test func whoComesDuringABeatWaitsForTheNext() {
        var beats = Beats()
        _ = beats.wait(entry: entry)
        beats.began()
        _ = beats.wait(entry: later)
        beats.answered(LSN(50))
        #expect(next(&beats, .never) == entry)
        #expect(next(&beats, .never) == nil)
        #expect(beats.isWanted)
        beats.began()
        beats.answered(LSN(60))
        #expect(next(&beats, .never) == later)
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
        #expect(next(&beats, .never) == nil)
    }

    @Test func manyTargetsAreReachedInOrder() {
        var beats = Beats()
        for number in 0..<1024 {
            _ = beats.wait(entry: EntryID(packed: UInt64(number)))
            beats.began()
            beats.answered(LSN(UInt64(number)))
        }
        for number in 0..<1024 {
            #expect(next(&beats, LSN(UInt64(number))) == EntryID(packed: UInt64(number)))
            #expect(next(&beats, LSN(UInt64(number))) == nil)
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
