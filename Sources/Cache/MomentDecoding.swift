import PGProtocol

/// Dates and timestamps from the one spelling that means the same under every DateStyle (manual, 8.5.1 Date/Time
/// Input), which is also how they are printed under DateStyle = ISO: a year of four digits, months and days of two.
///
/// Nil for everything else: infinity, BC, 24:00, more than six decimals, zones by name.
enum MomentDecoding {
    static let microsecondsPerDay: Int64 = 86_400_000_000
    /// The days from 0001-01-01 to 9999-12-31.
    static let daysRange: ClosedRange<Int64> = -730_119...2_921_939

    /// `YYYY-MM-DD`: days since 2000-01-01.
    static func days(_ view: ByteView) -> Int64? {
        guard view.count == 10, view[4] == UInt8(ascii: "-"), view[7] == UInt8(ascii: "-"),
            let year = number(view, 0, 4), let month = number(view, 5, 2), let day = number(view, 8, 2),
            year >= 1, (1...12).contains(month), day >= 1, day <= length(ofMonth: month, year)
        else { return nil }
        // Years that begin in March, so that a leap day is the last of its year.
        let marchYear = month > 2 ? year : year - 1
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return marchYear * 365 + marchYear / 4 - marchYear / 100 + marchYear / 400 + dayOfYear - 730_425
    }

    /// `YYYY-MM-DD HH:MM:SS[.ffffff]`, and with a zone `+HH[:MM]` behind it: microseconds since 2000-01-01, in UTC with
    /// a zone. Without a zone the time may be missing.
    static func microseconds(_ view: ByteView, hasZone: Bool) -> Int64? {
        guard view.count >= 10, let days = days(view.slice(from: 0, count: 10)) else { return nil }
        if view.count == 10 { return hasZone ? nil : days * microsecondsPerDay }
        guard view.count >= 19, view[10] == UInt8(ascii: " ") || view[10] == UInt8(ascii: "T"),
            view[13] == UInt8(ascii: ":"), view[16] == UInt8(ascii: ":"),
            let hour = number(view, 11, 2), let minute = number(view, 14, 2), let second = number(view, 17, 2),
            hour < 24, minute < 60, second < 60
        else { return nil }
        var position = 19
        var fraction: Int64 = 0
        if position < view.count, view[position] == UInt8(ascii: ".") {
            position += 1
            var unit: Int64 = 100_000
            while position < view.count, let digit = number(view, position, 1) {
                if unit == 0 { return nil }
                fraction += digit * unit
                unit /= 10
                position += 1
            }
            if unit == 100_000 { return nil }
        }
        var seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        if hasZone {
            guard let offset = offset(view, &position) else { return nil }
            seconds -= offset
        }
        return position == view.count ? seconds * 1_000_000 + fraction : nil
    }

    /// Seconds east of Greenwich, from `+HH` or `+HH:MM`.
    private static func offset(_ view: ByteView, _ position: inout Int) -> Int64? {
        guard view.count - position == 3 || view.count - position == 6,
            view[position] == UInt8(ascii: "+") || view[position] == UInt8(ascii: "-"),
            let hours = number(view, position + 1, 2), hours < 16
        else { return nil }
        var seconds = hours * 3600
        if view.count - position == 6 {
            guard view[position + 3] == UInt8(ascii: ":"), let minutes = number(view, position + 4, 2), minutes < 60
            else { return nil }
            seconds += minutes * 60
        }
        let isWest = view[position] == UInt8(ascii: "-")
        position = view.count
        return isWest ? -seconds : seconds
    }

    private static func number(_ view: ByteView, _ position: Int, _ count: Int) -> Int64? {
        guard position + count <= view.count else { return nil }
        var number: Int64 = 0
        for offset in 0..<count {
            let digit = view[position + offset] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            number = number * 10 + Int64(digit)
        }
        return number
    }

    private static func length(ofMonth month: Int64, _ year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}
