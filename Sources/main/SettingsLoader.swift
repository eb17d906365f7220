/// Where settings come from, and who wins.
///
/// For each setting: option > TOML file > environment > default. (PgCache: the same.) A URL counts as its parts, so
/// `--origin-host` wins over the host of an `origin` URL in the file, and an `--origin` URL over `host` in the file;
/// in one source, parts win over the URL.
///
/// The loader reads no file and no environment: it is given them, and can be asked again (SIGHUP).
public struct SettingsLoader: Sendable {
    /// What follows the command's name, without `--config`: `--name value`, `--name=value`.
    public var options: [String]
    /// The text of the TOML file; nil where there is none.
    public var fileText: String?
    public var environment: [String: String]
    /// The machine's memory; the memo's default is a quarter of it.
    public var memoryBytes: Int

    public init(options: [String], fileText: String?, environment: [String: String], memoryBytes: Int) {
        self.options = options
        self.fileText = fileText
        self.environment = environment
        self.memoryBytes = memoryBytes
    }

    /// The settings, and sentences about what was given without effect.
    public struct Loaded: Equatable, Sendable {
        public var settings: Settings
        public var warnings: [String]
    }

    /// - Parameter needsOrigin: false where settings without an origin are complete, as in the demo.
    /// - Throws: the first value that is wrong, with its name, where it stands, and what was expected.
    public func load(needsOrigin: Bool = true) throws(SettingsError) -> Loaded {
        var draft = SettingsDraft()
        var warnings: [String] = []
        try applyEnvironment(&draft, &warnings)
        try applyFile(&draft, &warnings)
        try applyOptions(&draft, &warnings)
        let settings = try draft.finished(memoryBytes: memoryBytes, needsOrigin: needsOrigin)
        return Loaded(settings: settings, warnings: warnings)
    }

    // MARK: Sources

    private func applyEnvironment(
        _ draft: inout SettingsDraft, _ warnings: inout [String]
    ) throws(SettingsError) {
        for setting in SettingsTable.all {
            for name in setting.names.map(Setting.environmentName) {
                guard let raw = environment[name] else { continue }
                try apply(setting, raw, from: "environment \(name)", &draft)
            }
        }
        for path in SettingsTable.withoutEffect.sorted() {
            let name = Setting.environmentName(path)
            if environment[name] != nil { warnings.append("\(name) has no effect in pgcache") }
        }
    }

    private func applyFile(_ draft: inout SettingsDraft, _ warnings: inout [String]) throws(SettingsError) {
        guard let fileText else { return }
        let entries = try SettingsFile.entries(of: fileText)
        // A URL stands before its parts in the table; the file may have them in any order.
        for entry in entries where SettingsTable.setting(path: entry.path) == nil {
            let section = entry.path.split(separator: ".").first.map(String.init) ?? entry.path
            guard SettingsTable.withoutEffect.contains(entry.path) || section == "cache" else {
                throw SettingsError(name: entry.path, source: "file", problem: "there is no such setting")
            }
            warnings.append("\(entry.path) has no effect in pgcache")
        }
        for setting in SettingsTable.all {
            for entry in entries where setting.names.contains(entry.path) {
                try apply(setting, entry.value(separator: setting.separator), from: "file", &draft)
            }
        }
    }

    private func applyOptions(
        _ draft: inout SettingsDraft, _ warnings: inout [String]
    ) throws(SettingsError) {
        var given: [(setting: Setting, raw: String, name: String)] = []
        var index = 0
        while index < options.count {
            let word = options[index]
            index += 1
            guard word.hasPrefix("--") else {
                throw SettingsError(name: word, source: "command line", problem: "an option was expected")
            }
            let halves = word.dropFirst(2).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(halves.first ?? "")
            guard let setting = SettingsTable.setting(option: name) else {
                guard SettingsTable.hasNoEffect(option: name) else {
                    throw SettingsError(name: "--\(name)", source: "command line", problem: "there is no such option")
                }
                warnings.append("--\(name) has no effect in pgcache")
                if halves.count == 1, index < options.count, !options[index].hasPrefix("--") { index += 1 }
                continue
            }
            if halves.count == 2 {
                given.append((setting, String(halves[1]), name))
            } else if case .onOff = setting.kind, index >= options.count || options[index].hasPrefix("--") {
                given.append((setting, "on", name))
            } else {
                guard index < options.count else {
                    throw SettingsError(name: "--\(name)", source: "command line", problem: "its value is missing")
                }
                given.append((setting, options[index], name))
                index += 1
            }
        }
        for setting in SettingsTable.all {
            for one in given where one.setting.path == setting.path {
                try apply(setting, one.raw, from: "option --\(one.name)", &draft)
            }
        }
    }

    private func apply(
        _ setting: Setting, _ raw: String, from source: String, _ draft: inout SettingsDraft
    ) throws(SettingsError) {
        do {
            setting.store(&draft, try SettingValue(raw, as: setting.kind))
        } catch {
            // Neither a password nor a URL that holds one belongs in a message.
            let isSecret = if case .url = setting.kind { true } else { setting.path.hasSuffix("password") }
            throw SettingsError(
                name: setting.path, source: source,
                problem: (isSecret ? "the value" : "\"\(raw)\"") + " is not \(error.expected)")
        }
    }
}

/// A setting that cannot be used.
public struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    public var name: String
    /// `file`, `option --memo-cache-size`, `environment PGCACHE_…`.
    public var source: String
    public var problem: String

    public init(name: String, source: String, problem: String) {
        self.name = name
        self.source = source
        self.problem = problem
    }
    public var description: String { "setting \(name) (\(source)): \(problem)" }
}

/// Settings while their sources are being read: what was not given is nil.
struct SettingsDraft {
    var settings = Settings()
    var origin = PartialEndpoint()
    var replication = PartialEndpoint()
    var cache = PartialEndpoint()
    var memoBytesMax: Int?

    struct PartialEndpoint {
        var host: String?
        var port: UInt16?
        var user: String?
        var password: String?
        var database: String?
        var sslMode: Settings.SSLMode?

        mutating func merge(_ url: ConnectionURL) {
            host = url.host ?? host
            port = url.port ?? port
            user = url.user ?? user
            password = url.password ?? password
            database = url.database ?? database
            sslMode = url.sslMode ?? sslMode
        }

        /// The parts that were given, and `other`'s for the rest.
        func complete(from other: Settings.Endpoint) -> Settings.Endpoint {
            var endpoint = other
            endpoint.host = host ?? other.host
            endpoint.port = port ?? other.port
            endpoint.user = user ?? other.user
            endpoint.password = password ?? other.password
            endpoint.database = database ?? other.database
            endpoint.sslMode = sslMode ?? other.sslMode
            return endpoint
        }
    }

    /// The memo is never smaller by default than this (PgCache: the same).
    static let memoBytesMinimum = 64 << 20

    func finished(memoryBytes: Int, needsOrigin: Bool) throws(SettingsError) -> Settings {
        var result = settings
        result.origin = origin.complete(from: Settings.Endpoint())
        if needsOrigin {
            for (name, value) in [
                ("origin.host", result.origin.host), ("origin.user", result.origin.user),
                ("origin.database", result.origin.database),
            ] where value.isEmpty {
                throw SettingsError(
                    name: name, source: "nowhere",
                    problem: "it is required, e.g. --origin postgres://user:password@host:5432/database")
            }
        }
        result.replication = replication.complete(from: result.origin)
        if let host = cache.host, !host.isEmpty {
            var server = Settings.Endpoint()
            server.user = "pgcache"
            server.database = "pgcache"
            result.rows.server = cache.complete(from: server)
        }
        if let folder = result.rows.dataDirectory, !folder.hasPrefix("/") || folder.utf8.count > 60 {
            // The path of the Unix socket in it has 107 bytes (unix(7)).
            throw SettingsError(
                name: "cache.data_directory", source: "all",
                problem: "\"\(folder)\" is not an absolute path of at most 60 bytes")
        }
        result.memo.bytesMax = memoBytesMax ?? max(memoryBytes / 4, Self.memoBytesMinimum)
        if let all = result.cacheBytesMax { result.memo.bytesMax = min(result.memo.bytesMax, all) }
        guard result.listen.socket != nil || result.listen.unixSocket != nil else {
            throw SettingsError(
                name: "listen.socket", source: "all", problem: "neither a TCP nor a Unix socket is given")
        }
        if let path = result.listen.unixSocket, !path.hasPrefix("/") || path.utf8.count > 107 {
            throw SettingsError(
                name: "listen.unix_socket", source: "all",
                problem: "\"\(path)\" is not an absolute path of at most 107 bytes")
        }
        return result
    }
}
