/// What a client can know of its session from what it has sent and how it was answered: its settings, the level of its
/// transaction, its savepoints.
///
/// Of code that runs unseen it knows what the world knows: the triggers of `Table.all`.
///
/// Owner: the client's conversation, which tells it every answer, error and ReadyForQuery in their order.
struct SessionBelief: Hashable {
    var settings = SessionSettings()
    private(set) var isInBlock = false
    private(set) var hasFailed = false
    /// Of the transaction; nil before it begins.
    private var level: Statement.Isolation?
    private var savepoints: [String] = []

    /// Of the transaction, or of the next one.
    var isolation: Statement.Isolation { level ?? settings.isolation }

    func standing(_ configuration: [String: String]) -> SessionStanding {
        var settings = settings
        settings.configuration = configuration
        return SessionStanding(settings, level)
    }

    /// The session begins.
    mutating func begins(_ name: String, _ login: Login) {
        settings = SessionSettings()
        settings.set(login.parameters(name))
    }

    // MARK: Answers

    mutating func completed(_ statement: Statement, _ tag: String) {
        begin()
        switch statement {
        case .begin(let options):
            isInBlock = true
            if let isolation = options.isolation { level = isolation }
        case .commit, .rollback: end(commits: tag == "COMMIT")
        case .block(let block): completed(block, tag)
        case .setting(let setting): settings.apply(setting)
        case .insert(let insert):
            if let trigger = Table.all[insert.table].trigger {
                settings.set(trigger.setting, trigger.value, isLocal: false)
            }
        case .select, .update, .delete, .truncate, .catalog, .channel, .ping, .nonsense: break
        }
    }

    private mutating func completed(_ block: BlockStatement, _ tag: String) {
        switch block {
        case .savepoint(let name):
            savepoints.append(name)
            settings.savepoint()
        case .release(let name):
            guard let place = savepoints.lastIndex(of: name) else { return }
            savepoints.removeSubrange(place...)
            settings.release(place + 1)
        case .rollbackTo(let name):
            guard let place = savepoints.lastIndex(of: name) else { return }
            savepoints.removeSubrange((place + 1)...)
            settings.rollBack(to: place + 1)
            hasFailed = false
        case .setTransaction(let isolation): level = isolation
        case .commitAndChain, .rollbackAndChain:
            let level = level
            end(commits: tag == "COMMIT")
            self.level = level
            isInBlock = true
        case .prepare: end(commits: tag == block.tag)
        case .commitPrepared, .rollbackPrepared: break
        }
    }

    /// An implicit transaction begins with the first message behind a Sync.
    private mutating func begin() {
        if level == nil { level = settings.isolation }
    }

    private mutating func end(commits: Bool) {
        if commits { settings.committed() } else { settings.rolledBack() }
        isInBlock = false
        hasFailed = false
        savepoints = []
        level = nil
    }

    /// An error: what a block has done since its last savepoint is undone, or all that was done since the last Sync.
    mutating func failed() {
        guard isInBlock else { return end(commits: false) }
        hasFailed = true
        if savepoints.isEmpty { settings.rolledBack() } else { settings.rollBack(to: savepoints.count) }
    }

    /// ReadyForQuery.
    mutating func ready(isIdle: Bool) {
        guard isIdle else { return }
        // A COMMIT that failed has ended the block all the same.
        end(commits: !isInBlock)
    }
}

/// How a client logs in.
struct Login: Hashable {
    struct Parameter: Hashable {
        var name: String
        var value: String
    }
    var user = "app"
    /// Besides the user, the database and the application's name.
    var parameters: [Parameter] = []

    static let plain = Login()

    /// Of everybody: roles with settings of their own, parameters, options.
    static let all = [
        Login(), Login(), Login(user: "clerk"), Login(user: "archivist"),
        Login(parameters: [Parameter(name: "DateStyle", value: "German, DMY")]),
        Login(parameters: [Parameter(name: "options", value: "-c bytea_output=escape")]),
        Login(user: "clerk", parameters: [Parameter(name: "options", value: "-c search_path=archive,public")]),
        Login(parameters: [
            Parameter(name: "options", value: "-c DateStyle=SQL,DMY -c default_transaction_isolation=serializable")
        ]),
    ]

    func parameters(_ name: String) -> [(name: String, value: String)] {
        [("user", user), ("database", "sim"), ("application_name", name)] + parameters.map { ($0.name, $0.value) }
    }
}
