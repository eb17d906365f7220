import PGProtocol

/// Texts that mean another moment whenever they are read, and the types that read them [C1].
enum DateTimeText {
    /// Whether the text holds `now`, `today`, `tomorrow` or `yesterday` as a word.
    ///
    /// PostgreSQL reads them in any case, between other fields, and ends such a word at anything but
    /// a letter: `today04:05` is one (manual, 8.5.1.4 Special Values; ParseDateTime).
    static func isTimeDependent(_ text: UnsafeRawBufferPointer) -> Bool {
        var wordStart = 0
        for offset in 0...text.count {
            if offset < text.count, isLetter(text[offset]) { continue }
            switch offset - wordStart {
            case 3: if matches(text, wordStart, "now") { return true }
            case 5: if matches(text, wordStart, "today") { return true }
            case 8: if matches(text, wordStart, "tomorrow") { return true }
            case 9: if matches(text, wordStart, "yesterday") { return true }
            default: break
            }
            wordStart = offset + 1
        }
        return false
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z")
    }

    private static func matches(
        _ text: UnsafeRawBufferPointer, _ start: Int, _ word: StaticString
    ) -> Bool {
        for offset in 0..<word.utf8CodeUnitCount
        where text[start + offset] | 0x20 != word.utf8Start[offset] {
            return false
        }
        return true
    }

    /// Types whose input may hold such a word: the dates and times themselves, and the ranges over
    /// them, whose text holds two.
    static let types: Set<String> = [
        "date", "time", "timetz", "timestamp", "timestamptz", "daterange", "tsrange", "tstzrange",
        "datemultirange", "tsmultirange", "tstzmultirange",
    ]

    /// date, time, timestamp, timestamptz and arrays of them: a value of such a column was read once
    /// and for all. Not timetz, whose conversions look at today's daylight saving time.
    static let columnTypes: Set<OID> = Set(
        [1082, 1083, 1114, 1184, 1182, 1183, 1115, 1185].map { OID($0) })

    /// timetz and its array.
    static let timeWithZoneTypes: Set<OID> = [OID(1266), OID(1270)]

    /// date, timestamp and timestamptz: what AT TIME ZONE moves without a look at today's date.
    static let momentTypes: Set<OID> = [OID(1082), OID(1114), OID(1184)]

    /// Functions of PostgreSQL that return dates or timestamps whatever they are given, or intervals.
    static let functions: Set<String> = [
        "date_trunc", "date_bin", "timezone", "to_timestamp", "to_date", "make_date",
        "make_timestamp", "make_timestamptz",
    ]
}
