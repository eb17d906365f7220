/// BEGIN and START TRANSACTION.
struct Begin: Hashable {
    /// nil: the session's default.
    var isolation: Statement.Isolation?
    var isReadOnly: Bool?
    /// Spelled `start transaction`.
    var isStart = false

    static let readCommitted = Begin()
    static let repeatableRead = Begin(isolation: .repeatableRead)
}

/// Control of a transaction block beyond BEGIN, COMMIT and ROLLBACK.
enum BlockStatement: Hashable {
    case savepoint(String)
    case release(String)
    case rollbackTo(String)
    case setTransaction(Statement.Isolation)
    case commitAndChain, rollbackAndChain
    /// Two-phase commit, by global identifiers.
    case prepare(String)
    case commitPrepared(String)
    case rollbackPrepared(String)
}

/// Something that changes a session's settings.
enum SettingStatement: Hashable {
    case set(Setting, String, isLocal: Bool)
    case reset(Setting)
    case resetAll
    case discardAll
    /// `select set_config(…)`: one row.
    case configure(Setting, String, isLocal: Bool)
    /// SET SESSION CHARACTERISTICS
    case characteristics(Statement.Isolation)
}

/// There is one channel.
enum ChannelStatement: Hashable {
    case listen, notify

    var sql: String { self == .listen ? "listen news" : "notify news" }
    var tag: String { self == .listen ? "LISTEN" : "NOTIFY" }
}

/// Settings that the modelled clients change.
enum Setting: String, CaseIterable {
    /// Alters the text of dates; told by ParameterStatus.
    case dateStyle = "DateStyle"
    /// Alters the text of bytes; nobody is told.
    case byteaOutput = "bytea_output"
    /// Decides what an unqualified name means.
    case searchPath = "search_path"
    case isolation = "default_transaction_isolation"
    /// The application's own, which no answer depends on.
    case custom = "app.request"

    /// As settings are looked up.
    var key: String { rawValue.lowercased() }

    /// What clients set it to.
    var values: [String] {
        switch self {
        case .dateStyle: ["ISO, MDY", "German, DMY", "SQL, DMY"]
        case .byteaOutput: ["hex", "escape"]
        case .searchPath: ["public", "archive, public", "public, archive", "archive"]
        case .isolation: Statement.Isolation.allCases.map(\.rawValue)
        case .custom: ["1", "2", "3"]
        }
    }

    /// A value as SET wants it: a list of names is not one constant.
    fileprivate func written(_ value: String) -> String { self == .searchPath ? value : "'\(value)'" }
}

extension Begin {
    var tag: String { isStart ? "START TRANSACTION" : "BEGIN" }

    var sql: String {
        var words = [isStart ? "start transaction" : "begin"]
        if let isolation { words.append("isolation level \(isolation.rawValue)") }
        if let isReadOnly { words.append(isReadOnly ? "read only" : "read write") }
        return words.joined(separator: " ")
    }
}

extension BlockStatement {
    var sql: String {
        switch self {
        case .savepoint(let name): "savepoint \(name)"
        case .release(let name): "release savepoint \(name)"
        case .rollbackTo(let name): "rollback to savepoint \(name)"
        case .setTransaction(let isolation): "set transaction isolation level \(isolation.rawValue)"
        case .commitAndChain: "commit and chain"
        case .rollbackAndChain: "rollback and chain"
        case .prepare(let name): "prepare transaction '\(name)'"
        case .commitPrepared(let name): "commit prepared '\(name)'"
        case .rollbackPrepared(let name): "rollback prepared '\(name)'"
        }
    }

    /// Its command tag where it succeeds.
    var tag: String {
        switch self {
        case .savepoint: "SAVEPOINT"
        case .release: "RELEASE"
        case .rollbackTo, .rollbackAndChain: "ROLLBACK"
        case .setTransaction: "SET"
        case .commitAndChain: "COMMIT"
        case .prepare: "PREPARE TRANSACTION"
        case .commitPrepared: "COMMIT PREPARED"
        case .rollbackPrepared: "ROLLBACK PREPARED"
        }
    }
}

extension SettingStatement {
    var sql: String {
        switch self {
        case .set(let setting, let value, let isLocal):
            "set \(isLocal ? "local " : "")\(setting.rawValue) to \(setting.written(value))"
        case .reset(let setting): "reset \(setting.rawValue)"
        case .resetAll: "reset all"
        case .discardAll: "discard all"
        case .configure(let setting, let value, let isLocal):
            "select set_config('\(setting.rawValue)', '\(value)', \(isLocal))"
        case .characteristics(let isolation):
            "set session characteristics as transaction isolation level \(isolation.rawValue)"
        }
    }

    /// Its command tag, where it has no rows.
    var tag: String {
        switch self {
        case .set, .characteristics: "SET"
        case .reset, .resetAll: "RESET"
        case .discardAll: "DISCARD ALL"
        case .configure: "SELECT 1"
        }
    }

    var returnsRows: Bool {
        if case .configure = self { true } else { false }
    }
}
