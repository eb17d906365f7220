import PGProtocol

/// The type family of a column for which comparisons are certain to agree with PostgreSQL's.
enum ValueFamily: Equatable {
    case integer, text, uuid, boolean

    var kind: ValueKind {
        switch self {
        case .integer: .integer
        case .text: .text
        case .uuid: .uuid
        case .boolean: .boolean
        }
    }

    var isOrdered: Bool { self == .integer || self == .uuid }

    /// Of a column: nil where nothing may be concluded from its values.
    init?(_ column: Column) {
        // A generated column's values are not in the stream [C2].
        guard !column.isGenerated, let family = ValueFamily(type: column.type) ?? (
            column.type == Self.oidType ? .integer : nil), family.kind == column.kind
        else { return nil }
        self = family
    }

    /// Of a parameter's declared type. Not oid: its values wrap around where integers have a sign.
    init?(type: OID) {
        switch type.value {
        case 20, 21, 23: self = .integer  // int8, int2, int4
        case 25, 1043: self = .text  // text, varchar
        case 2950: self = .uuid
        case 16: self = .boolean
        default: return nil
        }
    }

    /// Of a cast's type, where the cast leaves values alone.
    init?(cast: ParsedTypeName) {
        guard cast.schema == nil || cast.schema == "pg_catalog", !cast.isArray, !cast.hasModifier
        else { return nil }
        switch cast.name {
        case "int2", "int4", "int8": self = .integer
        case "text", "varchar": self = .text
        case "uuid": self = .uuid
        case "bool": self = .boolean
        default: return nil
        }
    }

    static let oidType = OID(26)
}

/// Values from text, read so strictly that PostgreSQL cannot read anything else from it. What is not
/// plain is nil and constrains nothing [I3].
public enum ConstantText {
    /// For constants in a statement, parameters in text format and row images alike. Text must be
    /// in the encoding of whatever it is compared with.
    public static func value(_ text: UnsafeRawBufferPointer, kind: ValueKind) -> Value? {
        switch kind {
        case .integer: integer(text).map { .integer($0) }
        case .text: .bytes(Array(text))
        case .uuid: uuid(text).map { .bytes($0) }
        case .boolean: boolean(text).map { .integer($0 ? 1 : 0) }
        case .opaque: nil
        }
    }

    /// An optional minus sign and digits, inside of 64 bits.
    static func integer(_ text: UnsafeRawBufferPointer) -> Int64? {
        var digits = text[...]
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        if digits.isEmpty { return nil }
        var value: Int64 = 0
        for byte in digits {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let digit = Int64(byte - UInt8(ascii: "0"))
            let (scaled, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (next, overflowedToo) = isNegative
                ? scaled.subtractingReportingOverflow(digit) : scaled.addingReportingOverflow(digit)
            if overflowed || overflowedToo { return nil }
            value = next
        }
        return value
    }

    /// The standard form only: 8-4-4-4-12 hexadecimal digits (manual, 8.12).
    static func uuid(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count == 36 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        var high: UInt8?
        for offset in 0..<36 {
            if offset == 8 || offset == 13 || offset == 18 || offset == 23 {
                guard text[offset] == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = hexadecimal(text[offset]) else { return nil }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return bytes
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    static func boolean(_ text: UnsafeRawBufferPointer) -> Bool? {
        switch String(decoding: text, as: UTF8.self) {
        case "t", "true": true
        case "f", "false": false
        default: nil
        }
    }
}
