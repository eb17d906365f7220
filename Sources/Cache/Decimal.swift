import PGProtocol

/// A number of type numeric as bytes that are equal and ordered, bytewise, as the numbers are: `1.0` and `1.00` are
/// one.
///
/// The sign (0, 1 for zero, 2), the exponent, the digits from the first that is not zero to the last that is not; below
/// zero each of them mirrored, with an end behind them that is above every digit. NaN, the infinities and numbers that
/// are very long, large or small have none.
enum Decimal {
    /// That are read.
    private static let digitsMax = 512
    /// From the first that is not zero to the last.
    private static let significantMax = 256
    private static let exponentMax = 200

    /// An optional sign, digits, and a point among or beside them, nothing else.
    static func bytes(text: ByteView) -> [UInt8]? {
        guard text.count <= digitsMax else { return nil }
        var digits: [UInt8] = []
        digits.reserveCapacity(text.count)
        var point: Int?
        var isNegative = false
        for position in 0..<text.count {
            switch text[position] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(text[position] - UInt8(ascii: "0"))
            case UInt8(ascii: ".") where point == nil: point = digits.count
            case UInt8(ascii: "-") where position == 0: isNegative = true
            case UInt8(ascii: "+") where position == 0: break
            default: return nil
            }
        }
        if digits.isEmpty { return nil }
        return bytes(isNegative: isNegative, digits: digits, exponent: point ?? digits.count)
    }

    static func bytes(integer: Int64) -> [UInt8] {
        let digits = String(integer.magnitude).utf8.map { $0 - UInt8(ascii: "0") }
        return bytes(isNegative: integer < 0, digits: digits, exponent: digits.count) ?? []
    }

    /// The send format: digits of base 10000, and how many decimals count (numeric_recv cuts off the others).
    static func bytes(binary: ByteView) -> [UInt8]? {
        guard binary.count >= 8 else { return nil }
        let count = Int(binary.uint16(at: 0))
        let weight = Int(Int16(bitPattern: binary.uint16(at: 2)))
        let sign = binary.uint16(at: 4)
        let scale = Int(binary.uint16(at: 6))
        guard binary.count == 8 + 2 * count, 4 * count <= digitsMax, sign == 0 || sign == 0x4000 else { return nil }
        var digits: [UInt8] = []
        digits.reserveCapacity(4 * count)
        for position in 0..<count {
            let group = binary.uint16(at: 8 + 2 * position)
            guard group < 10_000 else { return nil }
            for divisor in [1000, 100, 10, 1] as [UInt16] { digits.append(UInt8(group / divisor % 10)) }
        }
        let exponent = 4 * (weight + 1)
        let written = (digits.lastIndex { $0 != 0 } ?? -1) + 1
        guard written - exponent <= scale else { return nil }
        return bytes(isNegative: sign != 0, digits: digits, exponent: exponent)
    }

    /// Of a number that is written like those of `bytes(text:)`; nil unless it is whole.
    static func integer(text: ByteView) -> Int64? {
        var end = text.count
        for position in 0..<text.count where text[position] == UInt8(ascii: ".") {
            end = position
            break
        }
        for position in end..<text.count where position > end && text[position] != UInt8(ascii: "0") { return nil }
        let whole = text.slice(from: 0, count: end)
        guard case .integer(let value)? = Value(text: whole, kind: .integer) else { return nil }
        return value
    }

    /// 0.d₁d₂d₃… × 10^exponent.
    private static func bytes(isNegative: Bool, digits: [UInt8], exponent: Int) -> [UInt8]? {
        guard let first = digits.firstIndex(where: { $0 != 0 }), let last = digits.lastIndex(where: { $0 != 0 })
        else { return [1] }
        let exponent = exponent - first
        guard abs(exponent) <= exponentMax, last - first < significantMax else { return nil }
        let biased = UInt16(exponent + 0x8000)
        var bytes = [2, UInt8(biased >> 8), UInt8(biased & 0xFF)] + digits[first...last]
        if isNegative {
            bytes[0] = 0
            for position in 1...2 { bytes[position] = ~bytes[position] }
            for position in 3..<bytes.count { bytes[position] = 9 - bytes[position] }
            bytes.append(10)
        }
        return bytes
    }
}
