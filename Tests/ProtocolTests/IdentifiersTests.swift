import Testing

@testable import PGProtocol

/// OIDs, transaction numbers and moments.
@Suite struct IdentifiersTests {
    @Test func oids() {
        #expect(OID("16384")?.isBuiltIn == false)
        #expect(OID("16383")?.isBuiltIn == true)
        #expect(OID("4294967296") == nil && OID("x") == nil && OID("") == nil)
        #expect(OID(5) < OID(6) && OID(7).description == "7")
    }

    /// A number of 32 bits means the one nearest to what is known.
    @Test func transactionNumbersAreWidenedAcrossTheWrap() {
        func widened(_ narrow: UInt32, near reference: UInt64) -> UInt64 {
            TransactionID(narrow: narrow, near: TransactionID(reference)).value
        }
        #expect(widened(1000, near: 900) == 1000)
        #expect(widened(800, near: 900) == 800)
        #expect(widened(3, near: 0xFFFF_FFF0) == 0x1_0000_0003)
        #expect(widened(0xFFFF_FFF0, near: 0x1_0000_0003) == 0xFFFF_FFF0)
        #expect(widened(5, near: 0x7_0000_0003) == 0x7_0000_0005)
    }

    @Test func moments() {
        let start = Instant(nanoseconds: 5)
        #expect(start.advanced(byMilliseconds: 2).since(start) == 2_000_000)
        #expect(start.since(start.advanced(byMilliseconds: 2)) == 0)
    }
}
