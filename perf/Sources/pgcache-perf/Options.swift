/// The words behind a subcommand, as `--name value` pairs.
struct Options {
    private var values: [String: String] = [:]

    init(_ words: ArraySlice<String>) throws(UsageError) {
        var rest = words
        while let name = rest.popFirst() {
            guard name.hasPrefix("--"), let value = rest.popFirst() else {
                throw UsageError("expected --name value, got \(name)")
            }
            values[String(name.dropFirst(2))] = value
        }
    }

    func text(_ name: String, default fallback: String? = nil) throws(UsageError) -> String {
        guard let value = values[name] ?? fallback else { throw UsageError("--\(name) is missing") }
        return value
    }

    func number(_ name: String, default fallback: Int? = nil) throws(UsageError) -> Int {
        guard let value = values[name] else {
            guard let fallback else { throw UsageError("--\(name) is missing") }
            return fallback
        }
        guard let number = Int(value), number >= 0 else {
            throw UsageError("--\(name) is not a number: \(value)")
        }
        return number
    }

    /// A port on the loopback interface; nothing here ever leaves the machine.
    func port(_ name: String) throws(UsageError) -> UInt16 {
        guard let port = UInt16(exactly: try number(name)) else {
            throw UsageError("--\(name) is not a port")
        }
        return port
    }
}

/// The command line, or what a peer answered, makes it impossible to go on.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
