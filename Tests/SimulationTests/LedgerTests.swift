import Loop
import PGProtocol
import Testing

@testable import Simulation

@Suite struct LedgerTests {
    private let scheduler = Scheduler()
    private let socket = SocketID(index: 3, generation: 1)
    private let ledger: Ledger

    init() { ledger = Ledger(scheduler, bytesTaken: { _ in 0 }) }

    private func turn() {
        scheduler.after(1) {}
        _ = scheduler.step()
    }

    @Test func bytesHaveTheWatermarkUnderWhichTheyWereAppended() {
        ledger.began("a", on: socket)
        ledger.noteState(watermark: LSN(10), isServing: true)
        ledger.noteLength(100, of: socket)
        turn()
        ledger.noteState(watermark: LSN(20), isServing: true)
        ledger.noteLength(100, of: socket)
        ledger.noteLength(150, of: socket)
        #expect(ledger.mark(of: "a", at: 40)?.watermark == LSN(10))
        #expect(ledger.mark(of: "a", at: 100)?.watermark == LSN(10))
        #expect(ledger.mark(of: "a", at: 101)?.watermark == LSN(20))
        #expect(ledger.mark(of: "a", at: 101)?.event == 1)
        #expect(ledger.mark(of: "a", at: 150)?.upTo == 150)
        #expect(ledger.mark(of: "a", at: 151) == nil)
        #expect(ledger.mark(of: "b", at: 1) == nil)
    }

    @Test func stepsOfOneTurnShareAMark() {
        ledger.began("a", on: socket)
        ledger.noteState(watermark: LSN(10), isServing: true)
        ledger.noteLength(100, of: socket)
        ledger.noteLength(150, of: socket)
        #expect(ledger.mark(of: "a", at: 1)?.upTo == 150)
    }

    @Test func aSlotThatIsUsedAgainIsAnotherStream() {
        ledger.noteState(watermark: LSN(10), isServing: true)
        ledger.noteLength(100, of: socket)
        ledger.began("a", on: socket)
        let second = SocketID(index: 3, generation: 3)
        ledger.noteLength(50, of: second)
        ledger.began("b", on: second)
        #expect(ledger.mark(of: "a", at: 100)?.upTo == 100)
        #expect(ledger.mark(of: "b", at: 50)?.upTo == 50)
        #expect(ledger.mark(of: "b", at: 51) == nil)
    }

    @Test func manyMarksAreForgottenAsTheyAreRead() {
        ledger.began("a", on: socket)
        for length in 1...2000 {
            turn()
            ledger.noteState(watermark: LSN(UInt64(length)), isServing: true)
            ledger.noteLength(length, of: socket)
            #expect(ledger.mark(of: "a", at: length)?.watermark == LSN(UInt64(length)))
        }
    }

    @Test func theWatermarkGoesBackOnlyWithTheStream() {
        ledger.noteState(watermark: LSN(10), isServing: true)
        ledger.noteState(watermark: LSN(0), isServing: false)
        ledger.noteState(watermark: LSN(5), isServing: true)
        #expect(ledger.takeSetBack() == nil)
        ledger.noteState(watermark: LSN(4), isServing: true)
        #expect(ledger.takeSetBack()?.rule == 1)
        #expect(ledger.takeSetBack() == nil)
    }
}
