import PGProtocol
import Testing

@testable import Simulation

@Suite struct WireTests {
    private let select = Select(
        table: Table.account, join: .init(kind: .left, table: Table.branch, left: 1, right: 0),
        output: .columns([.a(2), .b(2)]))

    @Test func aRowDescriptionNamesTableAndColumn() {
        let bytes = Wire.description(select, isBinary: false)
        let balance: [UInt8] = Array("balance\u{0}".utf8)
            + [0, 0, 0x40, 0x11, 0, 3, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]
        let open: [UInt8] = Array("open\u{0}".utf8)
            + [0, 0, 0x40, 0x13, 0, 3, 0, 0, 0, 16, 0, 1, 255, 255, 255, 255, 0, 0]
        let body = [0, 2] + balance + open
        #expect(bytes == [UInt8(ascii: "T"), 0, 0, 0, UInt8(body.count + 4)] + body)
    }

    @Test func expressionsBelongToNoTable() {
        #expect(
            Select.money.fields == [
                ResultField(name: "count", type: .int8), ResultField(name: "sum", type: .int8),
            ])
        let quotient = Select(table: Table.account, output: .quotient(2))
        #expect(quotient.fields[0].table == OID(16401))
        #expect(quotient.fields[1] == ResultField(name: "?column?", type: .int4))
        #expect(quotient.fields.map(\.type) == quotient.outputTypes)
    }

    @Test func rowsAreTextOrBinary() {
        let rows: [Row] = [[.int(-2), .bool(true)], [.int(7), .null]]
        #expect(
            Wire.rows(rows, of: select, isBinary: false) == [
                UInt8(ascii: "D"), 0, 0, 0, 17, 0, 2, 0, 0, 0, 2, 0x2D, 0x32, 0, 0, 0, 1, 0x74,
                UInt8(ascii: "D"), 0, 0, 0, 15, 0, 2, 0, 0, 0, 1, 0x37, 255, 255, 255, 255,
            ])
        #expect(
            Wire.rows(rows, of: select, isBinary: true) == [
                UInt8(ascii: "D"), 0, 0, 0, 19, 0, 2, 0, 0, 0, 4, 255, 255, 255, 254, 0, 0, 0, 1, 1,
                UInt8(ascii: "D"), 0, 0, 0, 18, 0, 2, 0, 0, 0, 4, 0, 0, 0, 7, 255, 255, 255, 255,
            ])
        #expect(Wire.rows([], of: select, isBinary: false) == [])
    }

    static let values: [(Datum, ColumnType)] = [
        (.null, .int4), (.null, .text), (.bool(true), .bool), (.bool(false), .bool), (.int(0), .int4),
        (.int(Int64(Int32.min)), .int4), (.int(-1), .int8), (.int(.max), .int8), (.int(.min), .int8),
        (.text(""), .text), (.text("it's"), .text),
    ]

    @Test(arguments: WireTests.values, [false, true])
    func whatIsWrittenIsRead(value: (Datum, ColumnType), isBinary: Bool) {
        let bytes = Wire.bytes(value.0, value.1, isBinary: isBinary)
        #expect((bytes == nil) == (value.0 == .null))
        #expect(Wire.datum(bytes, value.1, isBinary: isBinary) == value.0)
    }

    @Test func malformedValuesAreRefused() {
        #expect(Wire.datum(Array("x".utf8), .int4, isBinary: false) == nil)
        #expect(Wire.datum([], .int4, isBinary: false) == nil)
        #expect(Wire.datum(Array("2147483648".utf8), .int4, isBinary: false) == nil)
        #expect(Wire.datum(Array("2147483648".utf8), .int8, isBinary: false) == .int(2_147_483_648))
        #expect(Wire.datum([0, 0, 1], .int4, isBinary: true) == nil)
        #expect(Wire.datum([0, 0, 0, 1], .int8, isBinary: true) == nil)
        #expect(Wire.datum([1, 1], .bool, isBinary: true) == nil)
        #expect(Wire.datum(Array("maybe".utf8), .bool, isBinary: false) == nil)
        #expect(Wire.datum([0x61, 0], .text, isBinary: false) == nil)
        #expect(Wire.datum([0xFF], .text, isBinary: true) == nil)
    }
}
