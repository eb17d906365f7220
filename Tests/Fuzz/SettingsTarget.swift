import PGProtocol

@testable import Shell

/// Arbitrary configuration: a file, options, the environment, or a URL, as the first control says.
///
/// What is accepted is within its bounds; what is not is named in an error that says something. The file is
/// given as well-formed TOML: toml++ 3.4.0 aborts on some that is not (`[ = 1`, `a = 1979-05-27Tz07:32:00Z`),
/// and its grammar is not ours to test.
enum SettingsTarget {
    static func run(_ input: FuzzInput) {
        var input = input
        let text = input.payload.string
        var loader = SettingsLoader(options: [], fileText: nil, environment: [:], memoryBytes: 1 << 34)
        switch input.control() % 4 {
        case 0: loader.fileText = toml(of: text)
        case 1: loader.options = text.split(separator: "\n").map(String.init)
        case 2:
            for line in text.split(separator: "\n") {
                let halves = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                loader.environment["PGCACHE_" + halves[0]] = halves.count == 2 ? String(halves[1]) : ""
            }
        default:
            loader.options = ["--origin=" + text]
            loader.fileText = "[origin]\nhost = \"elsewhere\""
        }
        do throws(SettingsError) {
            let loaded = try loader.load(needsOrigin: input.control() & 1 == 0)
            check(loaded.settings)
            let again = try loader.load(needsOrigin: false)
            expect(again == loaded, "the same sources give the same settings")
        } catch {
            expect(!error.description.isEmpty, "an error says something")
        }
    }

    private static func check(_ settings: Settings) {
        expect((1...100_000).contains(settings.clientsMax), "clients_max \(settings.clientsMax)")
        expect((128...64 << 10).contains(settings.statementBytesMax), "statement_bytes_max")
        expect((16...10_000_000).contains(settings.statementsMax), "statements_max")
        expect((1 << 10...1 << 30).contains(settings.memo.entryBytesMax), "memo_entry_max")
        expect((0...1 << 45).contains(settings.memo.bytesMax), "memo_cache_size")
        expect((64 << 20...1 << 40).contains(settings.rows.memoryBytes), "cache_memory")
        expect((1...16).contains(settings.rows.populationsMax), "population_workers_max")
        expect(settings.rows.server.map { !$0.host.isEmpty && $0.port > 0 } ?? true, "a cache database has an address")
        expect((500...3_600_000).contains(settings.cdc.silenceMilliseconds), "cdc.silence_timeout")
        expect(settings.origin.port > 0 && settings.replication.port > 0, "a port is not 0")
        expect(settings.listen.socket != nil || settings.listen.unixSocket != nil, "nowhere to connect")
    }

    // MARK: - TOML

    /// Each line as a section, or as a key with a number, a boolean, a list or a string.
    private static func toml(of text: String) -> String {
        text.split(separator: "\n").compactMap { line -> String? in
            if line.first == "[" { return bareKey(line).map { "[\($0)]" } }
            let halves = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, let key = bareKey(halves[0]) else { return nil }
            return key + " = " + value(halves[1].drop { $0 == " " })
        }.joined(separator: "\n")
    }

    /// Keys of letters, digits, `_` and `-`, with dots between them; nil where nothing is left.
    private static func bareKey(_ text: Substring) -> String? {
        let parts = text.split(separator: ".").map { part in
            part.unicodeScalars.filter {
                $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil || $0 == "_" || $0 == "-")
            }
        }
        guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        return parts.map { String(String.UnicodeScalarView($0)) }.joined(separator: ".")
    }

    private static func value(_ text: Substring) -> String {
        if let number = Int(text) { return String(number) }
        if text == "true" || text == "false" { return String(text) }
        guard text.first == "[" else { return string(text) }
        let items = text.dropFirst().prefix { $0 != "]" }.split(separator: ",")
        return "[" + items.map { string($0.drop { $0 == " " }) }.joined(separator: ", ") + "]"
    }

    /// A basic string; quotes around the text are taken for its own.
    private static func string(_ text: Substring) -> String {
        var inner = text
        for quote in ["\"", "'"] where text.count >= 2 && text.hasPrefix(quote) && text.hasSuffix(quote) {
            inner = text.dropFirst().dropLast()
        }
        var escaped = "\""
        for scalar in inner.unicodeScalars {
            switch scalar {
            case "\"", "\\": escaped += "\\" + String(scalar)
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped + "\""
    }
}
