import PGProtocol

/// Types that a value of a kind has on the wire (catalog/pg_type.dat).
private enum WireType {
    static let boolean = OID(16)
    static let int8 = OID(20)
    static let int2 = OID(21)
    static let int4 = OID(23)
    static let text = OID(25)
    static let oid = OID(26)
    static let varchar = OID(1043)
    static let date = OID(1082)
    static let timestamp = OID(1114)
    static let timestampWithZone = OID(1184)
    static let numeric = OID(1700)
    static let uuid = OID(2950)
}

/// Values from the text and binary formats of PostgreSQL.
///
/// Nil is the answer to everything that is not plainly the one value that PostgreSQL would read:
/// blanks, other spellings, other bases, numbers beyond 64 bits. Nobody may conclude anything
/// from a nil [I3]. Constants of a statement, parameters and row images are all read here: what meets
/// in a comparison was read alike.
extension Value {
    /// Text as the type's output function writes it.
    init?(text: ByteView, kind: ValueKind) {
        switch kind {
        case .integer:
            guard let number = Self.decimal(text) else { return nil }
            self = .integer(number)
        case .text:
            self = .bytes(text.bytes)
        case .uuid:
            guard let bytes = Self.uuid(text) else { return nil }
            self = .bytes(bytes)
        case .boolean:
            switch (text.count, text.count > 0 ? text[0] : 0) {
            case (1, UInt8(ascii: "t")): self = .integer(1)
            case (1, UInt8(ascii: "f")): self = .integer(0)
            case (4, _) where text.string == "true": self = .integer(1)
            case (5, _) where text.string == "false": self = .integer(0)
            default: return nil
            }
        case .date:
            guard let days = MomentDecoding.days(text) else { return nil }
            self = .integer(days)
        case .timestamp, .timestampWithZone:
            let hasZone = kind == .timestampWithZone
            guard let moment = MomentDecoding.microseconds(text, hasZone: hasZone) else { return nil }
            self = .integer(moment)
        case .numeric:
            guard let bytes = Decimal.bytes(text: text) else { return nil }
            self = .bytes(bytes)
        case .opaque:
            return nil
        }
    }

    /// The type's send format. `type` may be zero, for "not known"; then a number of four bytes with
    /// its highest bit set is refused, for it may be an int4 or an oid.
    init?(binary: ByteView, kind: ValueKind, type: OID) {
        switch kind {
        case .integer:
            guard let number = Self.integer(binary, type) else { return nil }
            self = .integer(number)
        case .text:
            self = .bytes(binary.bytes)
        case .uuid:
            guard binary.count == 16 else { return nil }
            self = .bytes(binary.bytes)
        case .boolean:
            // boolrecv takes any byte but zero for true.
            guard binary.count == 1 else { return nil }
            self = .integer(binary[0] == 0 ? 0 : 1)
        case .date:
            guard binary.count == 4, type.value == 0 || type == WireType.date else { return nil }
            self = .integer(Int64(Int32(bitPattern: binary.uint32(at: 0))))
            guard isFourDigitYear(kind) else { return nil }
        case .timestamp, .timestampWithZone:
            let own = kind == .timestamp ? WireType.timestamp : WireType.timestampWithZone
            guard binary.count == 8, type.value == 0 || type == own else { return nil }
            self = .integer(Int64(bitPattern: binary.uint64(at: 0)))
            guard isFourDigitYear(kind) else { return nil }
        case .numeric:
            guard type.value == 0 || type == WireType.numeric, let bytes = Decimal.bytes(binary: binary)
            else { return nil }
            self = .bytes(bytes)
        case .opaque:
            return nil
        }
    }

    /// What values of a type are read as when they meet a column of this kind in a comparison; nil where the comparison
    /// is not one that we know. A type of zero is the column's own: whoever left it open let PostgreSQL choose that.
    static func kind(declared type: OID, comparedWith kind: ValueKind) -> ValueKind? {
        let own: ValueKind? =
            switch type {
            case OID(0): kind
            case WireType.int2, WireType.int4, WireType.int8, WireType.oid: .integer
            case WireType.text, WireType.varchar: .text
            case WireType.uuid: .uuid
            case WireType.boolean: .boolean
            case WireType.date: .date
            case WireType.timestamp: .timestamp
            case WireType.timestampWithZone: .timestampWithZone
            case WireType.numeric: .numeric
            default: nil
            }
        guard let own, kind != .opaque, own == kind || own.isComparable(with: kind),
        type != WireType.oid || kind == .integer
        else { return nil }
        return own
    }

    /// The value as a column of another kind would hold it, so that comparing the two is what PostgreSQL does with a
    /// value of `source` and the column.
    func converted(from source: ValueKind, to kind: ValueKind) -> Value? {
        if source == kind { return self }
        switch (source, kind, self) {
        case (.integer, .numeric, .integer(let number)): return .bytes(Decimal.bytes(integer: number))
        case (.date, .timestamp, .integer(let days)) where MomentDecoding.daysRange.contains(days):
            return .integer(days * MomentDecoding.microsecondsPerDay)
        default: return nil
        }
    }

    private func isFourDigitYear(_ kind: ValueKind) -> Bool {
        guard case .integer(let number) = self else { return false }
        let unit = kind == .date ? 1 : MomentDecoding.microsecondsPerDay
        return number >= MomentDecoding.daysRange.lowerBound * unit
            && number < (MomentDecoding.daysRange.upperBound + 1) * unit
    }

    /// Whether text of this type may begin with a minus sign and mean what it says: oid reads -1 as
    /// 4294967295, and an undeclared type may be oid.
    static func mayBeNegative(declared type: OID) -> Bool {
        type == WireType.int2 || type == WireType.int4 || type == WireType.int8
    }

    private static func integer(_ view: ByteView, _ type: OID) -> Int64? {
        switch view.count {
        case 2:
            guard type.value == 0 || type == WireType.int2 else { return nil }
            return Int64(Int16(bitPattern: view.uint16(at: 0)))
        case 4:
            let bits = view.uint32(at: 0)
            if type == WireType.oid { return Int64(bits) }
            if type == WireType.int4 { return Int64(Int32(bitPattern: bits)) }
            return type.value == 0 && bits < 0x8000_0000 ? Int64(bits) : nil
        case 8:
            guard type.value == 0 || type == WireType.int8 else { return nil }
            return Int64(bitPattern: view.uint64(at: 0))
        default: return nil
        }
    }

    /// An optional sign and digits, nothing else.
    private static func decimal(_ view: ByteView) -> Int64? {
        var position = 0
        var isNegative = false
        if view.count > 0, view[0] == UInt8(ascii: "-") || view[0] == UInt8(ascii: "+") {
            isNegative = view[0] == UInt8(ascii: "-")
            position = 1
        }
        guard position < view.count else { return nil }
        // Built up below zero, where there is one number more.
        var number: Int64 = 0
        while position < view.count {
            let digit = view[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (product, isTooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, isStillTooLarge) = product.subtractingReportingOverflow(Int64(digit))
            if isTooLarge || isStillTooLarge { return nil }
            number = sum
            position += 1
        }
        if isNegative { return number }
        return number == .min ? nil : -number
    }

    /// 32 hexadecimal digits, plain or as 8-4-4-4-12.
    private static func uuid(_ view: ByteView) -> [UInt8]? {
        guard view.count == 32 || view.count == 36 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        var high: UInt8?
        for position in 0..<view.count {
            if view.count == 36, [8, 13, 18, 23].contains(position) {
                guard view[position] == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = hexadecimal(view[position]) else { return nil }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return bytes.count == 16 ? bytes : nil
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension ValueKind {
    /// Values of this kind are compared with a column of the other as `converted` has them: numeric with integers, and
    /// timestamp with dates, which count as their midnights. (timestamptz with either depends on the time zone.)
    func isComparable(with column: ValueKind) -> Bool {
        self == .integer && column == .numeric || self == .date && column == .timestamp
    }

    /// `<` between values of this kind is that of `Value`.
    var isOrdered: Bool {
        switch self {
        case .integer, .uuid, .date, .timestamp, .timestampWithZone, .numeric: true
        case .text, .boolean, .opaque: false
        }
    }
}
