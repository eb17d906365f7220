import PGProtocol

/// What Bind carries behind the portal's and the statement's name (manual, 55.7 Bind): the formats of
/// the parameters, their values, and the formats of the result.
///
/// Borrowed: valid as long as the bytes it was parsed from. The bytes come from a client and may be
/// anything; what PostgreSQL would refuse is refused here too.
struct BindTail {
    enum Format: UInt16 { case text = 0, binary = 1 }

    /// None: all text; one: for all; else one for each parameter.
    let formats: [Format]
    /// Nil is NULL.
    let values: [ByteView?]
    /// None: all text; one: for all; else one for each column.
    let resultFormats: [Format]

    init(_ view: ByteView) throws(ProtocolError) {
        var reader = ByteReader(view)
        formats = try Self.formats(&reader)
        let count = Int(try reader.uint16("Bind: number of parameters"))
        guard formats.count <= 1 || formats.count == count else {
            throw ProtocolError("Bind: \(formats.count) formats for \(count) parameters")
        }
        var values: [ByteView?] = []
        values.reserveCapacity(min(count, reader.remaining / 4))
        for _ in 0..<count {
            let length = try reader.int32("Bind: length of a parameter")
            values.append(
                length == -1 ? nil : try reader.bytes(Int(length), "Bind: value of a parameter"))
        }
        self.values = values
        resultFormats = try Self.formats(&reader)
        guard reader.remaining == 0 else {
            throw ProtocolError("Bind: \(reader.remaining) bytes behind its end")
        }
    }

    private static func formats(_ reader: inout ByteReader) throws(ProtocolError) -> [Format] {
        let count = Int(try reader.uint16("Bind: number of formats"))
        var formats: [Format] = []
        formats.reserveCapacity(min(count, reader.remaining / 2))
        for _ in 0..<count {
            let code = try reader.uint16("Bind: format")
            guard let format = Format(rawValue: code) else {
                throw ProtocolError("Bind: 0 or 1 expected for a format, \(code) came")
            }
            formats.append(format)
        }
        return formats
    }

    /// Of the parameter at this position, from 0.
    func format(of position: Int) -> Format {
        switch formats.count {
        case 0: .text
        case 1: formats[0]
        default: formats[position]
        }
    }

    /// Of any column.
    var asksForBinary: Bool { resultFormats.contains(.binary) }

    func resultFormat(of column: Int) -> Format? {
        switch resultFormats.count {
        case 0: .text
        case 1: resultFormats[0]
        default: resultFormats.indices.contains(column) ? resultFormats[column] : nil
        }
    }
}
