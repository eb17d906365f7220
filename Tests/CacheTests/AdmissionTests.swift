import Testing

@testable import Cache

@Suite struct AdmissionTests {
    @Test func aThresholdOfOneAdmitsAtOnce() {
        #expect(Admission(policy: .clock, threshold: 1).missed(5))
        #expect(Admission(policy: .clock, threshold: 0).missed(5))
    }

    @Test func aKeyIsAdmittedAtItsThresholdAndStaysAdmitted() {
        let admission = Admission(policy: .clock, threshold: 3)
        #expect([5, 5, 5, 5].map(admission.missed) == [false, false, true, true])
        #expect(!admission.missed(6))
    }

    @Test func whatWasInvalidatedIsReadmittedAtOnce() {
        let admission = Admission(policy: .clock, threshold: 3)
        admission.readmit(5)
        #expect(admission.missed(5))
    }

    @Test func keysThatShareACellDoNotShareACount() {
        let admission = Admission(policy: .clock, threshold: 2)
        #expect(!admission.missed(5))
        #expect(!admission.missed(5 | 1 << 40))
        #expect(!admission.missed(5))
        #expect(admission.missed(5))
    }

    @Test func fifoAdmitsEverything() {
        #expect(Admission(policy: .fifo, threshold: 100).missed(5))
    }
}
