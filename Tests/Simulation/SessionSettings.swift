import Cache
import PGProtocol

/// How values look as text: DateStyle and bytea_output.
struct TextStyle: Hashable {
    enum Dates: Hashable { case iso, german, sql }
    var dates = Dates.iso
    var escapesBytes = false

    /// As pgcache's own connections and the change stream have it.
    static let standard = TextStyle()
}

/// The settings of one session, with what can undo their changes (manual, 20.1.3, and SET).
///
/// A value is the newest of: SET LOCAL, SET, what the log-in said, the role's, the configuration's, PostgreSQL's own.
/// A transaction that is rolled back, wholly or to a savepoint, takes its changes along; its end takes SET LOCAL's.
///
/// Both a modelled server process and whoever watches its client keep one: they are told different things.
struct SessionSettings: Hashable {
    private struct Values: Hashable {
        var session: [String: String] = [:]
        var local: [String: String] = [:]
    }
    private(set) var user = ""
    private(set) var database = ""
    /// Of the start-up packet; names in lower case.
    private var login: [String: String] = [:]
    private var values = Values()
    /// As they were when the transaction began, and at each savepoint; empty while nothing can be undone.
    private var saved: [Values] = []
    /// Of the configuration file, as last read.
    var configuration: [String: String] = [:]

    private static let defaults: [String: String] = [
        "timezone": "Etc/UTC", "timezone_abbreviations": "Default", "datestyle": "ISO, MDY",
        "intervalstyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex",
        "client_encoding": "UTF8", "server_encoding": "UTF8", "standard_conforming_strings": "on",
        "lc_monetary": "C.UTF-8", "lc_numeric": "C.UTF-8", "lc_time": "C.UTF-8",
        "backslash_quote": "safe_encoding", "escape_string_warning": "on", "quote_all_identifiers": "off",
        "array_nulls": "on", "xmlbinary": "base64", "xmloption": "content",
        "default_text_search_config": "pg_catalog.english", "row_security": "on",
        "client_min_messages": "notice", "transaction_isolation": "read committed",
        "default_transaction_isolation": "read committed", "transform_null_equals": "off",
        "session_replication_role": "origin", "gin_fuzzy_search_limit": "0", "application_name": "",
        "is_superuser": "off", "integer_datetimes": "on", "default_transaction_read_only": "off",
        "in_hot_standby": "off", "server_version": "15.4", "search_path": "\"$user\", public",
    ]

    /// ALTER ROLE … SET: acts at log-in, and no packet tells.
    private static let ofRoles: [String: [String: String]] = [
        "clerk": [Setting.byteaOutput.key: "escape"], "archivist": [Setting.searchPath.key: "archive, public"],
    ]

    /// What PostgreSQL 15 reports with ParameterStatus, in its order.
    static let reported = [
        "application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "in_hot_standby",
        "integer_datetimes", "IntervalStyle", "is_superuser", "server_encoding", "server_version",
        "session_authorization", "standard_conforming_strings", "TimeZone",
    ]

    /// The start-up packet; `options` holds more of them, as `-c name=value`.
    mutating func set(_ parameters: [StartupPacket.Parameter]) {
        set(parameters.map { ($0.name, $0.value) })
    }

    mutating func set(_ parameters: [(name: String, value: String)]) {
        for (name, value) in parameters {
            switch name {
            case "user": user = value
            case "database": database = value
            case "options":
                for option in value.split(separator: " ") where option != "-c" {
                    let parts = option.split(separator: "=", maxSplits: 1)
                    guard parts.count == 2 else { continue }
                    login[parts[0].lowercased()] = parts[1].split(separator: ",").joined(separator: ", ")
                }
            default: login[name.lowercased()] = value
            }
        }
        if database.isEmpty { database = user }
        login["session_authorization"] = user
    }

    /// nil where there is no such setting.
    subscript(name: String) -> String? {
        let key = name.lowercased()
        if let value = values.local[key] ?? values.session[key] ?? login[key] { return value }
        return Self.ofRoles[user]?[key] ?? configuration[key] ?? Self.defaults[key]
    }

    var report: [(name: String, value: String)] { Self.reported.map { ($0, self[$0] ?? "") } }

    // MARK: Changing

    mutating func set(_ setting: Setting, _ value: String, isLocal: Bool) {
        remember()
        if isLocal {
            values.local[setting.key] = value
        } else {
            values.local[setting.key] = nil
            values.session[setting.key] = value
        }
    }
    mutating func reset(_ setting: Setting) {
        remember()
        values.local[setting.key] = nil
        values.session[setting.key] = nil
    }
    mutating func resetAll() {
        remember()
        values = Values()
    }

    mutating func apply(_ statement: SettingStatement) {
        switch statement {
        case .set(let setting, let value, let isLocal), .configure(let setting, let value, let isLocal):
            set(setting, value, isLocal: isLocal)
        case .reset(let setting): reset(setting)
        case .resetAll, .discardAll: resetAll()
        case .characteristics(let isolation): set(.isolation, isolation.rawValue, isLocal: false)
        }
    }

    // MARK: Transactions

    private mutating func remember() {
        if saved.isEmpty { saved = [values] }
    }

    mutating func savepoint() {
        remember()
        saved.append(values)
    }
    /// The savepoint at this depth (the first has 1) and those behind it are given up.
    mutating func release(_ depth: Int) { saved.removeSubrange(depth...) }
    /// As it was at the savepoint of this depth, which stays; 0 is the beginning of the transaction.
    mutating func rollBack(to depth: Int) {
        guard depth < saved.count else { return }
        values = saved[depth]
        saved.removeSubrange((depth + 1)...)
    }
    mutating func committed() {
        values.local = [:]
        saved = []
    }
    mutating func rolledBack() {
        rollBack(to: 0)
        committed()
    }

    // MARK: What they mean

    var style: TextStyle {
        let dates = self[Setting.dateStyle.rawValue] ?? ""
        return TextStyle(
            dates: dates.hasPrefix("German") ? .german : dates.hasPrefix("SQL") ? .sql : .iso,
            escapesBytes: self[Setting.byteaOutput.rawValue] == "escape")
    }
    /// The schemas of the search path that exist, but pg_catalog.
    var schemas: [String] {
        (self[Setting.searchPath.rawValue] ?? "").split(separator: ",").map {
            String($0.drop { $0 == " " })
        }.filter { Table.schemas.contains($0) }
    }
    var isolation: Statement.Isolation {
        Statement.Isolation(rawValue: self[Setting.isolation.rawValue] ?? "") ?? .readCommitted
    }

    // MARK: The profile

    /// The settings that `Profile.readSQL` asks for: its columns behind the first four, in order.
    private static let asked: [String] = {
        let opening = "current_setting('"
        var names: [String] = []
        var rest = Profile.readSQL[...]
        while let start = rest.firstRange(of: opening) {
            rest = rest[start.upperBound...]
            names.append(String(rest.prefix { $0 != "'" }))
        }
        return names
    }()

    /// RowDescription and the row that `Profile.readSQL` returns, in a transaction of this level.
    func profile(
        _ isolation: Statement.Isolation, _ identity: Identity? = nil, mayUsePublic: Bool = true
    ) -> (description: [UInt8], row: [UInt8]) {
        let names =
            ["current_database", "session_user", "current_user", "current_schemas"]
            + Self.asked.map { _ in "current_setting" }
        let schemas = mayUsePublic ? schemas : schemas.filter { $0 != CatalogState.schema }
        let path = "{" + (["pg_catalog"] + schemas).joined(separator: ",") + "}"
        let row: [String?] =
            [database, identity?.session.rawValue ?? user, identity?.current.rawValue ?? user, path]
            + Self.asked.map { $0 == "transaction_isolation" ? isolation.rawValue : self[$0] }
        return (
            Messages.rowDescription(names.map { ($0, .text) }),
            Messages.dataRow(row.map { value in value.map { Array($0.utf8) } })
        )
    }
}

/// The configuration file of the modelled origin, in all the editions that were loaded.
final class Configuration {
    struct Edition: Hashable {
        /// Nanoseconds.
        var since: UInt64
        var values: [String: String]
    }
    private(set) var editions = [Edition(since: 0, values: [:])]

    var values: [String: String] { editions[editions.count - 1].values }

    func reload(_ values: [String: String], at now: UInt64) { editions.append(Edition(since: now, values: values)) }

    /// What was in force at some moment behind `since`, the newest first.
    func values(since: UInt64) -> [[String: String]] {
        var found: [[String: String]] = []
        for edition in editions.reversed() {
            if !found.contains(edition.values) { found.append(edition.values) }
            if edition.since <= since { break }
        }
        return found
    }
}
