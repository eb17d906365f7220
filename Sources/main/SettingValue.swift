/// A value that was given for a setting, checked against its kind.
enum SettingValue: Equatable, Sendable {
    case text(String)
    case integer(Int)
    case flag(Bool)
    case list([String])
    case socket(Settings.HostPort?)
    case url(ConnectionURL)

    var text: String { if case .text(let text) = self { text } else { "" } }
    var integer: Int { if case .integer(let integer) = self { integer } else { 0 } }
    var flag: Bool { if case .flag(let flag) = self { flag } else { false } }
    var socket: Settings.HostPort? { if case .socket(let socket) = self { socket } else { nil } }

    /// Parses what an operator wrote.
    /// - Throws: the sentence that ends "… is not ", without the value.
    init(_ raw: String, as kind: Setting.Kind) throws(SettingValueError) {
        switch kind {
        case .text: self = .text(raw)
        case .integer(let range):
            self = .integer(try Self.bounded(Int(raw), range, "a whole number") { String($0) })
        case .bytes(let range):
            self = .integer(
                try Self.bounded(
                    Self.scaled(raw, Self.byteUnits), range, "a size in bytes such as 67108864 or 64MiB",
                    Self.bytesText))
        case .milliseconds(let range):
            self = .integer(
                try Self.bounded(
                    Self.scaled(raw, Self.timeUnits), range, "a time in milliseconds, or such as 250ms or 30s",
                    Self.durationText))
        case .choice(let choices):
            let lowered = raw.lowercased()
            guard choices.contains(lowered) else {
                throw SettingValueError("one of " + choices.joined(separator: ", "))
            }
            self = .text(lowered)
        case .onOff:
            switch raw.lowercased() {
            case "on", "true", "yes", "1": self = .flag(true)
            case "off", "false", "no", "0": self = .flag(false)
            default: throw SettingValueError("on or off")
            }
        case .list: self = .list(Self.items(raw, ","))
        case .statements: self = .list(Self.items(raw, ";"))
        case .socket:
            self = .socket(try Self.socket(raw))
        case .url:
            do { self = .url(try ConnectionURL(raw)) } catch { throw SettingValueError(error.expected) }
        }
    }

    private static func items(_ raw: String, _ separator: Character) -> [String] {
        raw.split(separator: separator).map(trimmed).filter { !$0.isEmpty }
    }

    private static func bounded(
        _ value: Int?, _ range: ClosedRange<Int>, _ what: String, _ format: (Int) -> String
    ) throws(SettingValueError) -> Int {
        guard let value else { throw SettingValueError(what) }
        guard range.contains(value) else {
            throw SettingValueError("between \(format(range.lowerBound)) and \(format(range.upperBound))")
        }
        return value
    }

    /// `host:port`, `[v6]:port`, or `off`.
    private static func socket(_ raw: String) throws(SettingValueError) -> Settings.HostPort? {
        if raw.isEmpty || raw.lowercased() == "off" { return nil }
        guard let colon = raw.lastIndex(of: ":"), let port = UInt16(raw[raw.index(after: colon)...]) else {
            throw SettingValueError("host:port, or off")
        }
        var host = String(raw[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw SettingValueError("host:port with an IPv6 address in brackets")
        }
        // `:6432` and `*:6432` mean every address, as they do for PostgreSQL's own listen_addresses.
        return Settings.HostPort(host: host.isEmpty || host == "*" ? "0.0.0.0" : host, port: port)
    }

    static func trimmed(_ text: some StringProtocol) -> String {
        let whole = String(text)
        guard let first = whole.firstIndex(where: { !$0.isWhitespace }),
            let last = whole.lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return String(whole[first...last])
    }

    // MARK: Units

    private typealias Unit = (name: String, factor: Int)
    /// `kB`, `MB` and `GB` are powers of 1024, as in PostgreSQL's own settings (manual, 20.1.1).
    private static let byteUnits: [Unit] = [
        ("tib", 1 << 40), ("gib", 1 << 30), ("mib", 1 << 20), ("kib", 1 << 10),
        ("tb", 1 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("b", 1), ("", 1),
    ]
    private static let timeUnits: [Unit] = [
        ("ms", 1), ("min", 60_000), ("h", 3_600_000), ("s", 1000), ("", 1),
    ]

    private static func scaled(_ raw: String, _ units: [Unit]) -> Int? {
        let digits = raw.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits) else { return nil }
        let name = trimmed(raw.dropFirst(digits.count)).lowercased()
        guard let unit = units.first(where: { $0.name == name }) else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.factor)
        return overflow ? nil : product
    }

    static func bytesText(_ bytes: Int) -> String {
        for (name, factor) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        where bytes != 0 && bytes % factor == 0 {
            return "\(bytes / factor)\(name)"
        }
        return String(bytes)
    }

    static func durationText(_ milliseconds: Int) -> String {
        for (name, factor) in [("h", 3_600_000), ("min", 60_000), ("s", 1000)]
        where milliseconds != 0 && milliseconds % factor == 0 {
            return "\(milliseconds / factor)\(name)"
        }
        return "\(milliseconds)ms"
    }
}

/// What would have been right.
struct SettingValueError: Error, Equatable {
    var expected: String
    init(_ expected: String) { self.expected = expected }
}
