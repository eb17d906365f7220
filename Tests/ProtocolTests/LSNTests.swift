import Testing

@testable import PGProtocol

/// Positions in the write-ahead log.
@Suite struct LSNTests {
    @Test func isReadAndPrintedAsPostgreSQLDoes() {
        #expect(LSN("16/B374D848")?.value == 0x16_B374_D848)
        #expect(LSN(0x16_B374_D848).description == "16/B374D848")
        #expect(LSN("0/0") == .zero)
        #expect(LSN("FFFFFFFF/FFFFFFFF") == .never)
    }

    @Test func whatIsNotAPositionIsNone() {
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "G/0", "100000000/0", "0/100000000", "0/ 1", "-1/0"] {
            #expect(LSN(text) == nil, "\(text)")
        }
    }

    /// [T8]
    @Test func behindAHeaderIsTheStartOfItsPage() {
        #expect(LSN(8192 + 24).withoutPageHeader == LSN(8192))
        #expect(LSN(16 << 20 | 40).withoutPageHeader == LSN(16 << 20))
        #expect(LSN(8192 + 32).withoutPageHeader == LSN(8192 + 32))
        #expect(LSN(8192).withoutPageHeader == LSN(8192))
        #expect(LSN.never.withoutPageHeader == .never)
    }

    @Test func positionsAreOrdered() { #expect(LSN(1) < LSN(2) && LSN.zero < .never) }
}
