import Testing

@testable import PGProtocol

/// Messages with their lengths filled in.
@Suite struct ByteWriterTests {
    @Test func aMessageHasItsTypeAndALengthThatCountsItself() {
        var writer = ByteWriter()
        writer.message(UInt8(ascii: "Q")) { $0.cString("x") }
        #expect(writer.bytes == [81, 0, 0, 0, 6, 120, 0])
    }

    @Test func messagesFollowEachOther() {
        var writer = ByteWriter(reserving: 16)
        writer.message(UInt8(ascii: "S")) { _ in }
        writer.lengthPrefixed { $0.uint16(258) }
        #expect(writer.bytes == [83, 0, 0, 0, 4, 0, 0, 0, 6, 1, 2])
    }

    @Test func numbersAreBigEndian() {
        var writer = ByteWriter()
        writer.uint8(1)
        writer.uint16(0x0203)
        writer.uint32(0x0405_0607)
        writer.uint64(0x0809_0A0B_0C0D_0E0F)
        #expect(writer.bytes == Array(1...15))
    }
}
