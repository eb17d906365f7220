import Testing

@testable import PGProtocol

/// An error as a client reads it.
@Suite struct WireErrorTests {
    @Test func fieldsEndWithANul() {
        let error = WireError(.error, .queryCanceled, "no", hint: "wait")
        let fields = "SERROR\0VERROR\0C57014\0Mno\0Hwait\0\0"
        let length = UInt8(4 + fields.utf8.count)
        #expect(error.encoded == [UInt8(ascii: "E"), 0, 0, 0, length] + Array(fields.utf8))
        #expect(error.description == "ERROR 57014: no")
    }

    @Test func withoutAHintThereIsNone() {
        let bytes = WireError(.fatal, .tooManyConnections, "full").encoded
        #expect(!bytes.contains(UInt8(ascii: "H")))
    }
}
