import Cache

/// Every setting, named once.
///
/// Options of the command line, names in the environment, keys of the TOML file, the table that `pgcache settings`
/// prints and the checks of bounds all derive from this list: a setting that is not here does not exist. PgCache's
/// names are kept where it has the setting.
struct Setting: Sendable {
    /// The place in the file: `section.key`, or `key` at the top level.
    let path: String
    let kind: Kind
    /// As an operator would write it; empty where there is none.
    let defaultText: String
    let documentation: String
    /// Takes effect on SIGHUP; the others need a new start.
    let isReloadable: Bool
    /// Not in tables and help.
    let isHidden: Bool
    /// Other spellings of `path`, e.g. PgCache's.
    let aliases: [String]
    let store: @Sendable (inout SettingsDraft, SettingValue) -> Void

    init(
        _ path: String, _ kind: Kind, _ defaultText: String, _ documentation: String,
        isReloadable: Bool = false, isHidden: Bool = false, aliases: [String] = [],
        _ store: @escaping @Sendable (inout SettingsDraft, SettingValue) -> Void
    ) {
        self.path = path
        self.kind = kind
        self.defaultText = defaultText
        self.documentation = documentation
        self.isReloadable = isReloadable
        self.isHidden = isHidden
        self.aliases = aliases
        self.store = store
    }

    /// What a value must look like, and between which bounds.
    enum Kind: Sendable {
        case text
        case integer(ClosedRange<Int>)
        case bytes(ClosedRange<Int>)
        case milliseconds(ClosedRange<Int>)
        case choice([String])
        case onOff
        case list
        /// As `list`, with semicolons between.
        case statements
        /// `host:port`, or `off`.
        case socket
        case url
    }

    /// `--origin-host` without its hyphens in front.
    var option: String { Setting.optionName(path) }
    /// `PGCACHE_ORIGIN_HOST`.
    var environmentName: String { Setting.environmentName(path) }
    var names: [String] { [path] + aliases }
    /// Between the items of a list.
    var separator: Character { if case .statements = kind { ";" } else { "," } }

    static func optionName(_ path: String) -> String {
        String(path.map { $0 == "." || $0 == "_" ? "-" : $0 })
    }
    static func environmentName(_ path: String) -> String {
        "PGCACHE_" + path.uppercased().map { $0 == "." ? "_" : String($0) }.joined()
    }
}

enum SettingsTable {
    static let all: [Setting] = origin + replication + stream + sockets + cache + rows + process

    /// Settings of PgCache that mean nothing here: accepted with a warning, so that its files still load.
    static let withoutEffect: Set<String> = [
        "num_workers", "tls_cert", "tls_key", "mv_size_ratio", "mv_compute_min_rows", "memory_limit",
        "disk_limit", "telemetry", "telemetry_off", "telemetry_endpoint", "population_workers_min",
    ]

    private static let sslModes = Settings.SSLMode.allCases.map(\.rawValue)

    private static func endpoint(
        _ name: String, _ whose: String, _ defaults: (host: String, port: String, ssl: String),
        _ place: any WritableKeyPath<SettingsDraft, SettingsDraft.PartialEndpoint> & Sendable
    ) -> [Setting] {
        [
            Setting(name, .url, "", "\(whose), as `postgres://user:password@host:port/database`; "
                + "its parts, below, win over it where both stand in one place", aliases: ["\(name).url"]) {
                    if case .url(let parts) = $1 { $0[keyPath: place].merge(parts) }
                },
            Setting("\(name).host", .text, defaults.host, "name, address, or directory of a Unix socket") {
                $0[keyPath: place].host = $1.text
            },
            Setting("\(name).port", .integer(1...65535), defaults.port, "TCP port") {
                $0[keyPath: place].port = UInt16(clamping: $1.integer)
            },
            Setting("\(name).user", .text, defaults.host, "pgcache's own role there") {
                $0[keyPath: place].user = $1.text
            },
            Setting("\(name).password", .text, "", "its password") {
                $0[keyPath: place].password = $1.text
            },
            Setting("\(name).database", .text, defaults.host, "the database whose answers are cached") {
                $0[keyPath: place].database = $1.text
            },
            Setting("\(name).ssl_mode", .choice(sslModes), defaults.ssl,
                "TLS of pgcache's own connections") {
                    $0[keyPath: place].sslMode = Settings.SSLMode(rawValue: $1.text)
                },
        ]
    }

    private static let origin = endpoint(
        "origin", "the database behind pgcache", ("required", "5432", "disable"), \.origin)
    private static let replication = endpoint(
        "replication", "where the change stream comes from", ("origin's", "origin's", "origin's"),
        \.replication)

    private static let stream: [Setting] = [
        Setting("cdc.publication_name", .text, "one per instance",
            "a publication of the operator's, used and never changed") {
                $0.settings.cdc.publicationName = $1.text.isEmpty ? nil : $1.text
            },
        Setting("cdc.slot_name", .text, "one per instance", "the replication slot") {
            $0.settings.cdc.slotName = $1.text.isEmpty ? nil : $1.text.lowercased()
        },
        Setting("cdc.slot", .choice(Settings.SlotKind.allCases.map(\.rawValue)), "temporary",
            "a temporary slot holds no WAL back once pgcache is gone") {
                $0.settings.cdc.slot = Settings.SlotKind(rawValue: $1.text) ?? .temporary
            },
        Setting("cdc.lag_limit_bytes", .bytes(1 << 20...1 << 50), "1GiB",
            "with more WAL than this to catch up on, the slot is dropped and everything forwarded") {
                $0.settings.cdc.lagLimitBytes = $1.integer
            },
        Setting("cdc.silence_timeout", .milliseconds(500...3_600_000), "10s",
            "a stream that says nothing for this long counts as down") {
                $0.settings.cdc.silenceMilliseconds = UInt64($1.integer)
            },
        Setting("cdc.event_trigger", .onOff, "on",
            "an event trigger on the origin reports changes of the schema at once, where pgcache's role may create "
                + "one") {
                $0.settings.usesEventTrigger = $1.flag
            },
        Setting("catalog_poll_interval", .milliseconds(100...3_600_000), "5s",
            "how often the catalog is looked at for changes that nothing else reports", isReloadable: true) {
                $0.settings.catalogPollMilliseconds = UInt64($1.integer)
            },
    ]

    private static let sockets: [Setting] = [
        Setting("listen.socket", .socket, "127.0.0.1:6432", "where clients connect; `off` for none") {
            $0.settings.listen.socket = $1.socket
        },
        Setting("listen.unix_socket", .text, "none", "path of a Unix socket for clients, "
            + "e.g. `/tmp/.s.PGSQL.6432`") {
                $0.settings.listen.unixSocket = $1.text.isEmpty ? nil : $1.text
            },
        Setting("metrics.socket", .socket, "off",
            "HTTP: /healthz, /readyz, /status, /metrics; nobody is asked for a password there") {
                $0.settings.metrics.socket = $1.socket
            },
        Setting("clients_max", .integer(1...100_000), "1000",
            "clients at once; one more is refused with SQLSTATE 53300") {
                $0.settings.clientsMax = $1.integer
            },
    ]

    private static let cache: [Setting] = [
        Setting("allowed_tables", .list, "all", "only these, as `table` or `schema.table`, are cached",
            isReloadable: true) {
                if case .list(let names) = $1 { $0.settings.allowedTables = names.map { $0.lowercased() } }
            },
        Setting("memo_cache_size", .bytes(0...1 << 45), "a quarter of the memory",
            "bytes of finished answers; 0 turns the memo off", isReloadable: true) {
                $0.memoBytesMax = $1.integer
            },
        Setting("memo_entry_max", .bytes(1 << 10...1 << 30), "1MiB", "a larger answer is not kept") {
            $0.settings.memo.entryBytesMax = $1.integer
        },
        Setting("cache_size", .bytes(0...1 << 50), "unset", "bounds all tiers together") {
            $0.settings.cacheBytesMax = $1.integer
        },
        Setting("cache_policy", .choice(Settings.Policy.allCases.map(\.rawValue)), "clock",
            "who is evicted first") {
                $0.settings.memo.policy = Settings.Policy(rawValue: $1.text) ?? .clock
            },
        Setting("admission_threshold", .integer(1...1_000_000), "1",
            "misses before an answer is kept; ignored under fifo") {
                $0.settings.memo.admissionThreshold = $1.integer
            },
        Setting("transactions", .choice(["cache", "forward"]), "cache",
            "whether reads inside READ COMMITTED transactions may be answered from the cache") {
                $0.settings.cachesInTransactions = $1.text == "cache"
            },
        Setting("read_your_writes", .choice(ReadYourWrites.allCases.map(\.rawValue)), "forward",
            "how a session sees its own writes: its reads go to the origin for a moment, wait for the change stream, "
                + "or the write's answer waits for it, so that every other session sees it, too") {
                    $0.settings.readYourWrites = ReadYourWrites(rawValue: $1.text) ?? .forward
                },
        Setting("read_your_writes_timeout", .milliseconds(1...60_000), "100ms",
            "how long `wait` and `commit` wait") {
                $0.settings.readYourWritesMilliseconds = UInt64($1.integer)
            },
        Setting("max_staleness", .milliseconds(0...3_600_000), "0",
            "no cached answer is older than this, or it is forwarded; 0 for no limit") {
                $0.settings.maxStalenessMilliseconds = UInt64($1.integer)
            },
        Setting("custom_settings", .list, "none",
            "settings of the application, such as `app.tenant`, that cached statements may read") {
                if case .list(let names) = $1 { $0.settings.customSettings = names.map { $0.lowercased() } }
            },
        Setting("coalesce_timeout", .milliseconds(0...60_000), "200ms",
            "how long a miss waits for the answer to the same miss of another client", isReloadable: true) {
                $0.settings.coalesceMilliseconds = UInt64($1.integer)
            },
        Setting("statement_bytes_max", .bytes(128...64 << 10), "64KiB",
            "a longer statement is forwarded without a look at it") {
                $0.settings.statementBytesMax = $1.integer
            },
        Setting("statements_max", .integer(16...10_000_000), "50000",
            "statements that are remembered as classified") {
                $0.settings.statementsMax = $1.integer
            },
    ]

    private static let rows: [Setting] = [
        Setting("cache.rows", .onOff, "on",
            "whether rows are kept in a cache database, a PostgreSQL beside pgcache, so that answers survive writes") {
                $0.settings.rows.isOn = $1.flag
            },
        Setting("cache.host", .text, "none",
            "the cache database's address, or directory of a Unix socket; without it one is started") {
                $0.cache.host = $1.text
            },
        Setting("cache.port", .integer(1...65535), "5432", "with `cache.host`: TCP port") {
            $0.cache.port = UInt16(clamping: $1.integer)
        },
        Setting("cache.user", .text, "pgcache", "with `cache.host`: pgcache's role there") {
            $0.cache.user = $1.text
        },
        Setting("cache.password", .text, "", "with `cache.host`: its password") {
            $0.cache.password = $1.text
        },
        Setting("cache.database", .text, "pgcache",
            "with `cache.host`: a database for pgcache alone, which empties it") {
                $0.cache.database = $1.text
            },
        Setting("cache.ssl_mode", .choice([Settings.SSLMode.disable.rawValue]), "disable",
            "with `cache.host`: it is meant to be on this machine, so there is no TLS") {
                $0.cache.sslMode = Settings.SSLMode(rawValue: $1.text)
            },
        Setting("cache.data_directory", .text, "none",
            "folder for the cache database that pgcache starts; a temporary one where none is given") {
                $0.settings.rows.dataDirectory = $1.text.isEmpty ? nil : $1.text
            },
        Setting("cache_memory", .bytes(64 << 20...1 << 40), "256MiB",
            "what the cache database that pgcache starts may use of the memory") {
                $0.settings.rows.memoryBytes = $1.integer
            },
        Setting("cache_fragment_size", .bytes(1 << 16...1 << 40), "64MiB",
            "more rows than this are not loaded for one query") {
                $0.settings.rows.fragmentBytesMax = $1.integer
            },
        Setting("cache_table_size", .bytes(0...1 << 40), "32MiB",
            "tables up to this size are loaded whole") {
                $0.settings.rows.tableBytesMax = $1.integer
            },
        Setting("population_workers_max", .integer(1...16), "2", "connections that load rows from the origin") {
            $0.settings.rows.populationsMax = $1.integer
        },
        Setting("pinned_queries", .statements, "none",
            "queries whose rows are loaded at the start and never evicted") {
                if case .list(let texts) = $1 { $0.settings.rows.pinnedQueries = texts }
            },
        Setting("pinned_tables", .list, "none",
            "tables, as `table` or `schema.table`, that are loaded at the start and never evicted") {
                if case .list(let names) = $1 {
                    $0.settings.rows.pinnedTables = names.map { $0.lowercased() }
                }
            },
        Setting("pinned_ready", .onOff, "off", "`/readyz` waits until what is pinned is loaded") {
            $0.settings.rows.isReadyWhenPinned = $1.flag
        },
    ]

    private static let process: [Setting] = [
        Setting("reactor", .choice(Settings.ReactorKind.allCases.map(\.rawValue)), "epoll",
            "how the loop asks the kernel") {
                $0.settings.reactor = Settings.ReactorKind(rawValue: $1.text) ?? .epoll
            },
        Setting("cpu", .integer(0...1023), "unset", "the processor to pin to") {
            $0.settings.processor = $1.integer
        },
        Setting("shutdown_timeout", .milliseconds(0...600_000), "5s",
            "how long a stopping pgcache waits for statements in flight", isReloadable: true) {
                $0.settings.shutdownMilliseconds = UInt64($1.integer)
            },
        Setting("log_level", .choice(Settings.LogLevel.allCases.map(\.rawValue)), "info",
            "the least severe lines that are written", isReloadable: true) {
                $0.settings.logLevel = Settings.LogLevel(rawValue: $1.text) ?? .info
            },
        Setting("ignore_changes", .onOff, "off", "for the demo: answers go stale", isHidden: true) {
            $0.settings.ignoresChanges = $1.flag
        },
    ]

    // MARK: Looking up

    private static let byPath: [String: Setting] = {
        var map: [String: Setting] = [:]
        for setting in all { for name in setting.names { map[name] = setting } }
        return map
    }()
    private static let byOption: [String: Setting] = {
        var map: [String: Setting] = [:]
        for setting in all { for name in setting.names { map[Setting.optionName(name)] = setting } }
        return map
    }()
    private static let optionsWithoutEffect = Set(withoutEffect.map(Setting.optionName))

    /// Every variable that means something here.
    static var environmentNames: [String] {
        all.flatMap { $0.names.map(Setting.environmentName) }
            + withoutEffect.sorted().map(Setting.environmentName)
    }

    static func setting(path: String) -> Setting? { byPath[path] }
    /// By the name of an option, hyphens or underscores alike.
    static func setting(option: String) -> Setting? { byOption[Setting.optionName(option)] }
    static func hasNoEffect(option: String) -> Bool {
        optionsWithoutEffect.contains(Setting.optionName(option))
    }
}

extension SettingsTable {
    /// The table of the README, and of `pgcache settings`.
    static var markdown: String {
        var lines = [
            "| setting | type | default | unit | bounds | meaning |",
            "|---|---|---|---|---|---|",
        ]
        for setting in all where !setting.isHidden {
            let reload = setting.isReloadable ? " (SIGHUP)" : ""
            lines.append(
                "| `\(setting.path)` | \(setting.kind.name) | \(setting.defaultText) | "
                    + "\(setting.kind.unit) | \(setting.kind.bounds) | \(setting.documentation)\(reload) |")
        }
        return lines.joined(separator: "\n")
    }

    /// The options, as `pgcache run --help` lists them.
    static var optionHelp: String {
        all.filter { !$0.isHidden }.map { setting in
            let defaultText = setting.defaultText.isEmpty ? "" : " (\(setting.defaultText))"
            return "--\(setting.option): \(setting.documentation)\(defaultText)"
        }.joined(separator: "\n")
    }
}

extension Setting.Kind {
    var name: String {
        switch self {
        case .text: "text"
        case .integer, .bytes, .milliseconds: "integer"
        case .choice: "choice"
        case .onOff: "on/off"
        case .list: "list"
        case .statements: "list with `;`"
        case .socket: "host:port"
        case .url: "URL"
        }
    }

    /// Of a number without a suffix.
    var unit: String {
        switch self {
        case .bytes: "bytes"
        case .milliseconds: "ms"
        case .text, .integer, .choice, .onOff, .list, .statements, .socket, .url: ""
        }
    }

    var bounds: String {
        switch self {
        case .text, .list, .statements, .socket, .url: ""
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .bytes(let range):
            "\(SettingValue.bytesText(range.lowerBound)) to \(SettingValue.bytesText(range.upperBound))"
        case .milliseconds(let range):
            "\(SettingValue.durationText(range.lowerBound)) to \(SettingValue.durationText(range.upperBound))"
        case .choice(let choices): choices.joined(separator: ", ")
        case .onOff: "on, off"
        }
    }
}
