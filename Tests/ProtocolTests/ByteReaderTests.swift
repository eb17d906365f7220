import Testing

@testable import PGProtocol

/// Fields of a message; never a byte outside of it.
@Suite struct ByteReaderTests {
    @Test func fieldsComeInTheirOrder() throws {
        let bytes: [UInt8] = [1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0xFF, 0xFF, 65, 66, 0, 9]
        try withView(bytes) { view in
            var reader = ByteReader(view)
            let byte = try reader.uint8("a")
            let short = try reader.uint16("b")
            let long = try reader.uint32("c")
            let longest = try reader.uint64("d")
            let signed = try reader.int16("e")
            let name = try reader.cString("f").string
            #expect(byte == 1 && short == 2 && long == 3 && longest == 4 && signed == -1)
            #expect(name == "AB")
            #expect(reader.remaining == 1)
            #expect(reader.rest.bytes == [9])
        }
    }

    /// What reading says of these bytes; nil when it reads them.
    private func complaint(
        _ bytes: [UInt8], _ read: (inout ByteReader) throws(ProtocolError) -> Void
    ) -> String? {
        bytes.withUnsafeBytes { buffer in
            var reader = ByteReader(ByteView(buffer))
            do throws(ProtocolError) {
                try read(&reader)
                return nil
            } catch {
                return error.message
            }
        }
    }

    @Test func whatIsNotThereIsAnError() {
        let bytes: [UInt8] = [1, 2, 3]
        let number = complaint(bytes) { (reader) throws(ProtocolError) in _ = try reader.uint32("number") }
        #expect(number == "number: 4 bytes expected, 3 left")
        let name = complaint(bytes) { (reader) throws(ProtocolError) in _ = try reader.cString("name") }
        #expect(name == "name: no terminating NUL")
        for length in [-1, 4, Int.max, Int.min] {
            let some = complaint(bytes) { (reader) throws(ProtocolError) in
                _ = try reader.bytes(length, "bytes")
            }
            #expect(some != nil)
        }
        let all = complaint(bytes) { (reader) throws(ProtocolError) in _ = try reader.bytes(3, "bytes") }
        #expect(all == nil)
    }

    @Test func ofNoBytesNothingCanBeRead() {
        #expect(complaint([]) { (reader) throws(ProtocolError) in _ = try reader.uint8("byte") } != nil)
        #expect(complaint([]) { (reader) throws(ProtocolError) in _ = try reader.cString("name") } != nil)
        #expect(complaint([]) { (reader) throws(ProtocolError) in _ = try reader.bytes(0, "none") } == nil)
    }
}
