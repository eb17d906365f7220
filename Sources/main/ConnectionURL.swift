/// `postgres://user:password@host:port/database?keyword=value` (manual, 34.1.1.2 Connection URIs).
///
/// Only what the text names is set. A socket directory is written percent-encoded as the host
/// (`postgres://%2Ftmp/db`) or as `?host=/tmp`. Lists of hosts are refused: there is one origin.
struct ConnectionURL: Equatable, Sendable {
    var host: String?
    var port: UInt16?
    var user: String?
    var password: String?
    var database: String?
    var sslMode: Settings.SSLMode?

    /// - Throws: what was expected instead, never with the text itself, which may hold a password.
    init(_ text: String) throws(SettingValueError) {
        guard let scheme = ["postgres://", "postgresql://"].first(where: text.lowercased().hasPrefix) else {
            throw SettingValueError("a URL that begins with postgres://")
        }
        var rest = text.dropFirst(scheme.count)
        if let mark = rest.firstIndex(of: "?") {
            let query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
            try readKeywords(query)
        }
        if let slash = rest.firstIndex(of: "/") {
            let name = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
            if !name.isEmpty { database = try Self.decoded(name) }
        }
        if let at = rest.lastIndex(of: "@") {
            try readCredentials(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        try readHost(rest)
    }

    private mutating func readCredentials(_ text: Substring) throws(SettingValueError) {
        let halves = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        if let first = halves.first, !first.isEmpty { user = try Self.decoded(first) }
        if halves.count == 2 { password = try Self.decoded(halves[1]) }
    }

    private mutating func readHost(_ text: Substring) throws(SettingValueError) {
        guard !text.contains(",") else { throw SettingValueError("a URL with a single host") }
        var name = text
        var portText: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else {
                throw SettingValueError("a URL whose IPv6 address ends with ]")
            }
            name = text[text.index(after: text.startIndex)..<end]
            let after = text[text.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else {
                throw SettingValueError("a URL with :port after the IPv6 address")
            }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = text.lastIndex(of: ":") {
            name = text[..<colon]
            portText = text[text.index(after: colon)...]
        }
        if !name.isEmpty { host = try Self.decoded(name) }
        if let portText, !portText.isEmpty { try setPort(String(portText)) }
    }

    private mutating func setPort(_ text: String) throws(SettingValueError) {
        guard let number = UInt16(text), number > 0 else {
            throw SettingValueError("a URL whose port is between 1 and 65535")
        }
        port = number
    }

    private mutating func readKeywords(_ query: Substring) throws(SettingValueError) {
        for pair in query.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2 else { throw SettingValueError("a URL with keyword=value after the ?") }
            let value = try Self.decoded(halves[1])
            switch halves[0] {
            case "host": host = value
            case "port": try setPort(value)
            case "user": user = value
            case "password": password = value
            case "dbname": database = value
            case "sslmode":
                guard let mode = Settings.SSLMode(rawValue: value) else {
                    throw SettingValueError(
                        "a URL whose sslmode is one of "
                            + Settings.SSLMode.allCases.map(\.rawValue).joined(separator: ", "))
                }
                sslMode = mode
            default:
                throw SettingValueError("a URL without the keyword \(halves[0]), which is not supported")
            }
        }
    }

    /// Replaces %XX by its byte.
    static func decoded(_ text: Substring) throws(SettingValueError) -> String {
        var bytes: [UInt8] = []
        var digits = text.utf8.makeIterator()
        while let byte = digits.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = digits.next(), let low = digits.next(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), value != 0
            else { throw SettingValueError("a URL with two hexadecimal digits after each %") }
            bytes.append(value)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
