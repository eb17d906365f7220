import PGProtocol

/// The bytes of answers, as PostgreSQL writes them: used by the modelled origin to answer and by the oracle to
/// expect, so that what a client gets can be compared byte for byte.
///
/// Message formats: manual, 55.7; text and binary forms of values: the types' output and send functions.
enum Wire {
    /// RowDescription of a SELECT.
    static func description(_ select: Select, isBinary: Bool) -> [UInt8] {
        let fields = select.fields
        return message(BackendType.rowDescription) { body in
            body.uint16(UInt16(fields.count))
            for field in fields {
                body.cString(field.name)
                body.uint32(field.table?.value ?? 0)
                body.uint16(UInt16(field.attribute))
                body.uint32(field.type.oid.value)
                body.uint16(UInt16(bitPattern: field.type.size))
                // No type modifier.
                body.uint32(.max)
                body.uint16(isBinary ? 1 : 0)
            }
        }
    }

    /// The DataRow messages of an answer.
    static func rows(
        _ rows: [[Datum]], of select: Select, isBinary: Bool, _ style: TextStyle = .standard
    ) -> [UInt8] {
        let types = select.outputTypes
        var all: [UInt8] = []
        all.reserveCapacity(rows.count * (7 + types.count * 10))
        // Written in place: answers are most of what the models produce.
        func patch(_ place: Int) {
            let count = UInt32(all.count - place)
            for byte in 0..<4 { all[place + byte] = UInt8(truncatingIfNeeded: count >> (24 - 8 * UInt32(byte))) }
        }
        func append(_ value: Int64, bytes: Int) {
            for byte in 0..<bytes { all.append(UInt8(truncatingIfNeeded: value >> (8 * (bytes - 1 - byte)))) }
        }
        func append(_ text: String) {
            append(Int64(text.utf8.count), bytes: 4)
            all.append(contentsOf: text.utf8)
        }
        for row in rows {
            precondition(row.count == types.count, "a row has one value for each column of the result")
            all.append(BackendType.dataRow)
            let start = all.count
            append(0, bytes: 4)
            append(Int64(row.count), bytes: 2)
            for (datum, type) in zip(row, types) {
                switch datum {
                case .null: append(-1, bytes: 4)
                case .text(let value): append(value)
                case .int(let value) where isBinary:
                    append(Int64(type.size), bytes: 4)
                    append(value, bytes: Int(type.size))
                case .int(let value): append(value.description)
                case .bool(let value):
                    append(1, bytes: 4)
                    all.append(isBinary ? (value ? 1 : 0) : UInt8(ascii: value ? "t" : "f"))
                case .date, .bytes:
                    let bytes = bytes(datum, type, isBinary: isBinary, style) ?? []
                    append(Int64(bytes.count), bytes: 4)
                    all.append(contentsOf: bytes)
                }
            }
            patch(start)
        }
        return all
    }

    /// What a value looks like in Bind and DataRow; nil for NULL.
    static func bytes(
        _ datum: Datum, _ type: ColumnType, isBinary: Bool, _ style: TextStyle = .standard
    ) -> [UInt8]? {
        switch (datum, type) {
        case (.null, _): return nil
        case (.bool(let value), .bool):
            return [isBinary ? (value ? 1 : 0) : UInt8(ascii: value ? "t" : "f")]
        case (.int(let value), .int4):
            guard isBinary else { return Array(value.description.utf8) }
            guard let narrow = Int32(exactly: value) else { preconditionFailure("an int4 has 32 bits") }
            return withUnsafeBytes(of: narrow.bigEndian, Array.init)
        case (.int(let value), .int8):
            return isBinary ? withUnsafeBytes(of: value.bigEndian, Array.init) : Array(value.description.utf8)
        case (.text(let value), .text): return Array(value.utf8)
        case (.date(let days), .date):
            return isBinary ? withUnsafeBytes(of: days.bigEndian, Array.init) : Array(date(days, style.dates).utf8)
        case (.bytes(let bytes), .bytea):
            return isBinary ? bytes : Array(bytea(bytes, escapes: style.escapesBytes).utf8)
        case (.bool, _), (.int, _), (.text, _), (.date, _), (.bytes, _):
            preconditionFailure("\(datum) is no \(type)")
        }
    }

    /// The value of a parameter of Bind; nil where PostgreSQL would refuse its bytes.
    static func datum(_ bytes: [UInt8]?, _ type: ColumnType, isBinary: Bool) -> Datum? {
        guard let bytes else { return .null }
        switch type {
        case .text:
            guard !bytes.contains(0) else { return nil }
            return String(validating: bytes, as: UTF8.self).map { .text($0) }
        case .bool where isBinary:
            return bytes.count == 1 ? .bool(bytes[0] != 0) : nil
        case .bool:
            switch String(decoding: bytes, as: UTF8.self) {
            case "t", "true", "1", "on", "yes": return .bool(true)
            case "f", "false", "0", "off", "no": return .bool(false)
            default: return nil
            }
        case .date:
            guard isBinary else { return date(String(decoding: bytes, as: UTF8.self)).map { .date($0) } }
            guard bytes.count == 4 else { return nil }
            return .date(Int32(bitPattern: bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }))
        case .bytea:
            return isBinary ? .bytes(bytes) : bytea(String(decoding: bytes, as: UTF8.self)).map { .bytes($0) }
        case .int4, .int8:
            guard isBinary else {
                guard let value = Int64(String(decoding: bytes, as: UTF8.self)), type.holds(value) else { return nil }
                return .int(value)
            }
            guard bytes.count == Int(type.size) else { return nil }
            let unsigned = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return .int(
                type == .int4
                    ? Int64(Int32(truncatingIfNeeded: unsigned)) : Int64(truncatingIfNeeded: unsigned))
        }
    }

    // MARK: Texts that depend on settings

    /// Dates of the model are in 2000: day 0 is 2000-01-01 (manual, 8.5.2 Date/Time Output).
    static func date(_ days: Int32, _ style: TextStyle.Dates) -> String {
        var month = 0
        var day = Int(days)
        while month < 11, day >= monthLengths[month] {
            day -= monthLengths[month]
            month += 1
        }
        precondition(days >= 0 && day < monthLengths[month], "dates are in the year 2000")
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return switch style {
        case .iso: "2000-\(two(month + 1))-\(two(day + 1))"
        case .german: "\(two(day + 1)).\(two(month + 1)).2000"
        case .sql: "\(two(day + 1))/\(two(month + 1))/2000"
        }
    }
    private static let monthLengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

    /// As clients write them, which every DateStyle takes.
    private static func date(_ text: String) -> Int32? {
        let parts = text.split(separator: "-").compactMap { Int($0) }
        guard parts.count == 3, parts[0] == 2000, (1...12).contains(parts[1]),
            (1...monthLengths[parts[1] - 1]).contains(parts[2])
        else { return nil }
        return Int32(monthLengths[..<(parts[1] - 1)].reduce(0, +) + parts[2] - 1)
    }

    /// (manual, 8.4 Binary Data Types)
    static func bytea(_ bytes: [UInt8], escapes: Bool) -> String {
        func padded(_ byte: UInt8, _ radix: Int, _ width: Int) -> String {
            let digits = String(byte, radix: radix)
            return String(repeating: "0", count: width - digits.count) + digits
        }
        guard escapes else { return "\\x" + bytes.map { padded($0, 16, 2) }.joined() }
        return bytes.map { byte in
            switch byte {
            case UInt8(ascii: "\\"): "\\\\"
            case 0x20...0x7E: String(UnicodeScalar(byte))
            default: "\\" + padded(byte, 8, 3)
            }
        }.joined()
    }

    /// As clients write them, which every bytea_output takes.
    private static func bytea(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard text.hasPrefix("\\x"), digits.count % 2 == 0 else { return nil }
        return stride(from: 2, to: digits.count, by: 2).map { place in
            UInt8(String(decoding: digits[place...place + 1], as: UTF8.self), radix: 16) ?? 0
        }
    }

    static func message(_ type: UInt8, _ body: (inout ByteWriter) -> Void) -> [UInt8] {
        var writer = ByteWriter()
        writer.message(type, body)
        return writer.bytes
    }
}

extension ColumnType {
    /// Whether an integer is in the type's range.
    func holds(_ value: Int64) -> Bool { self != .int4 || Int32(exactly: value) != nil }
}

/// A column of a result as RowDescription tells it.
struct ResultField: Hashable {
    var name: String
    /// Set, with the attribute's number, for a plain column of a table.
    var table: OID?
    var attribute = 0
    var type: ColumnType
}

extension Select {
    var fields: [ResultField] {
        switch output {
        case .columns(let references):
            references.map { reference in
                let column = self.column(reference)
                return ResultField(
                    name: column.name, table: table(of: reference.relation).oid, attribute: reference.column + 1,
                    type: column.type)
            }
        case .totals:
            [ResultField(name: "count", type: .int8), ResultField(name: "sum", type: .int8)]
        case .quotient:
            [
                ResultField(
                    name: Table.all[table].columns[0].name, table: Table.all[table].oid, attribute: 1,
                    type: Table.all[table].columns[0].type),
                ResultField(name: "?column?", type: .int4),
            ]
        }
    }
}
