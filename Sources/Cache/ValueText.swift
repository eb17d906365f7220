/// Values as PostgreSQL prints them, for people and for tests: what is read again is the same value.
extension Value {
    func text(_ kind: ValueKind) -> String {
        switch (self, kind) {
        case (.integer(let number), .boolean): number == 0 ? "f" : "t"
        case (.integer(let number), .date): Self.date(number)
        case (.integer(let number), .timestamp): Self.moment(number)
        case (.integer(let number), .timestampWithZone): Self.moment(number) + "+00"
        case (.integer(let number), _): String(number)
        case (.bytes(let bytes), .numeric): Decimal.text(bytes)
        case (.bytes(let bytes), .uuid): Self.uuid(bytes)
        case (.bytes(let bytes), _): String(decoding: bytes, as: UTF8.self)
        }
    }

    private static func uuid(_ bytes: [UInt8]) -> String {
        var text = ""
        for (position, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(position) { text += "-" }
            text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        return text
    }

    private static func digits(_ number: Int64, _ count: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, count - digits.count)) + digits
    }

    /// The inverse of `MomentDecoding.days`: years that begin in March, in cycles of 400.
    private static func date(_ days: Int64) -> String {
        let sinceMarchOfYear0 = days + 730_425
        let (cycles, day) = sinceMarchOfYear0.quotientAndRemainder(dividingBy: 146_097)
        let yearOfCycle = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
        let month = (5 * dayOfYear + 2) / 153
        let year = cycles * 400 + yearOfCycle + (month < 10 ? 0 : 1)
        return digits(year, 4) + "-" + digits(month < 10 ? month + 3 : month - 9, 2) + "-"
            + digits(dayOfYear - (153 * month + 2) / 5 + 1, 2)
    }

    private static func moment(_ microseconds: Int64) -> String {
        var days = microseconds / MomentDecoding.microsecondsPerDay
        var rest = microseconds % MomentDecoding.microsecondsPerDay
        if rest < 0 {
            days -= 1
            rest += MomentDecoding.microsecondsPerDay
        }
        let seconds = rest / 1_000_000
        let time = [seconds / 3600, seconds / 60 % 60, seconds % 60].map { digits($0, 2) }.joined(separator: ":")
        let fraction = rest % 1_000_000
        return date(days) + " " + time + (fraction == 0 ? "" : "." + digits(fraction, 6))
    }
}

extension Decimal {
    /// Without needless zeros.
    static func text(_ bytes: [UInt8]) -> String {
        guard bytes.count > 3 else { return "0" }
        let isNegative = bytes[0] == 0
        let high = isNegative ? ~bytes[1] : bytes[1]
        let low = isNegative ? ~bytes[2] : bytes[2]
        let exponent = (Int(high) << 8 | Int(low)) - 0x8000
        let digits = bytes[3...].filter { $0 < 10 }.map { String(isNegative ? 9 - $0 : $0) }.joined()
        var text = isNegative ? "-" : ""
        if exponent <= 0 {
            text += "0." + String(repeating: "0", count: -exponent) + digits
        } else if exponent >= digits.count {
            text += digits + String(repeating: "0", count: exponent - digits.count)
        } else {
            text += digits.prefix(exponent) + "." + digits.dropFirst(exponent)
        }
        return text
    }
}
