import CAdmin
import Logging
import Loop

/// Lines for operators: one fact each, `time level message key=value …`, written in one piece.
///
/// A swift-log handler rather than a logger of our own, so that the shell logs through the field's interface. There is
/// no bootstrap of a process-wide system: whoever logs holds a `Logger`. Nothing is logged on a hit, and no constant of
/// a statement at info or above.
public struct LineLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel: Logger.Level
    /// Microseconds since 1970.
    private let wallClock: @Sendable () -> UInt64
    /// Gets each line with its end, to be written in one call.
    private let write: @Sendable ([UInt8]) -> Void

    public init(
        level: Settings.LogLevel, wallClock: @escaping @Sendable () -> UInt64,
        write: @escaping @Sendable ([UInt8]) -> Void
    ) {
        logLevel = level.level
        self.wallClock = wallClock
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var line = TimestampText.text(microsecondsSince1970: wallClock())
        line += " \(event.level.rawValue) "
        line += Self.withoutLineBreaks("\(event.message)")
        var all = metadata
        for (key, value) in event.metadata ?? [:] { all[key] = value }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(Self.quotedWhereNeeded("\(value)"))"
        }
        line += "\n"
        write(Array(line.utf8))
    }

    /// A value with spaces, quotes or controls stands in quotes, so that a line can be taken apart again.
    static func quotedWhereNeeded(_ text: String) -> String {
        let needsQuotes = text.isEmpty || text.unicodeScalars.contains {
            $0.value <= 0x20 || $0.value == 0x7F || $0 == "\"" || $0 == "="
        }
        return needsQuotes ? JSON.string(text).text : text
    }

    private static func withoutLineBreaks(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 }) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }))
    }
}

extension Logger {
    /// The log of a process: lines on standard error.
    public static func ofProcess(_ level: Settings.LogLevel) -> Logger {
        Logger(label: "pgcache") { _ in
            LineLog(level: level, wallClock: { Syscalls.wallMicroseconds() }) {
                StandardStream.error.write($0)
            }
        }
    }
}

/// Standard output and standard error, unbuffered.
enum StandardStream: Int32 {
    case output = 1
    case error = 2

    func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            if let start = buffer.baseAddress { cadmin_write(rawValue, start, buffer.count) }
        }
    }
    /// One line; its end is added.
    func line(_ text: String) { write(Array((text + "\n").utf8)) }
}

extension Settings.LogLevel {
    public var level: Logger.Level {
        switch self {
        case .trace: .trace
        case .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        }
    }
}

/// RFC 3339 in UTC, with microseconds.
enum TimestampText {
    static func text(microsecondsSince1970: UInt64) -> String {
        let seconds = microsecondsSince1970 / 1_000_000
        let microseconds = microsecondsSince1970 % 1_000_000
        let date = civil(day: Int(clamping: seconds / 86400))
        let rest = seconds % 86400
        return "\(padded(UInt64(clamping: date.year), 4))-\(padded(UInt64(clamping: date.month), 2))-"
            + "\(padded(UInt64(clamping: date.day), 2))T\(padded(rest / 3600, 2)):"
            + "\(padded(rest % 3600 / 60, 2)):\(padded(rest % 60, 2)).\(padded(microseconds, 6))Z"
    }

    private static func padded(_ number: UInt64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// The Gregorian date of a day since 1970-01-01. Years begin in March here, so that the day that leap
    /// years add comes last; an era is the 400 years, 146097 days, after which the calendar repeats.
    private static func civil(day: Int) -> (year: Int, month: Int, day: Int) {
        let sinceEra0 = day + 719_468
        let era = sinceEra0 / 146_097
        let dayOfEra = sinceEra0 % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}
