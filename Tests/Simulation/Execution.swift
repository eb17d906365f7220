import PGProtocol

/// What a client gets for one statement: what must agree between the origin, the cache and the client.
enum Reply: Hashable {
    /// DataRow messages and the command tag; `description` is the RowDescription message, where the client was
    /// owed one.
    case rows(description: [UInt8]?, rows: [UInt8], tag: String)
    /// No rows: the command tag.
    case done(tag: String)
    /// SQLSTATE. Rows that came before it are `rows`.
    case error(state: String, rows: [UInt8])
    case empty
}

/// One statement that the modelled origin has executed for a client.
struct Execution {
    var statement: Statement
    var parameters: [Datum]
    /// `Scheduler.count` when the view was taken: at Query, or at Bind.
    var viewedAt: UInt64
    /// `Scheduler.count` when the reply was made.
    var event: UInt64
    /// What a SELECT has shown of which rows.
    var shown: [Answer.Shown] = []
    /// The end of the commit record, where the statement committed something.
    var committedLSN: LSN?
    /// SQLSTATEs of the notices that came with the reply.
    var notices: [String] = []
    /// What the session was like then; nil where nobody noted it.
    var standing: SessionStanding?
    var reply: Reply
}

/// What answers depend on besides data.
struct SessionStanding: Hashable {
    var style: TextStyle
    var schemas: [String]
    /// Of the transaction, or of the next one.
    var isolation: Statement.Isolation

    init(_ settings: SessionSettings, _ isolation: Statement.Isolation?) {
        style = settings.style
        schemas = settings.schemas
        self.isolation = isolation ?? settings.isolation
    }
}

/// An ErrorResponse that the modelled origin has sent, whatever the message was that failed.
struct Failure {
    /// `Scheduler.count` when it was made.
    var event: UInt64
    /// SQLSTATE.
    var state: String
    /// The text, where it was a Parse: pgcache may have sent one that the client was answered earlier.
    var parsed: String?
}

/// All executions by client, in order; a client is named by its application_name.
final class ExecutionLog {
    private(set) var executions: [String: [Execution]] = [:]
    /// Every error by client, in order: those of executions too.
    private(set) var errors: [String: [Failure]] = [:]
    /// Every change of a client's current_user by client, in order.
    private var roles: [String: [(event: UInt64, role: OriginRole)]] = [:]
    /// Versions of the catalog that a client has made and not been told of yet.
    private var catalogVersions: [String: [Int]] = [:]

    /// Its place among the client's executions, for `amend`.
    @discardableResult
    func note(_ execution: Execution, for client: String) -> Int {
        executions[client, default: []].append(execution)
        return executions[client, default: []].count - 1
    }
    func note(_ failure: Failure, for client: String) {
        errors[client, default: []].append(failure)
    }
    func note(role: OriginRole, of client: String, at event: UInt64) {
        roles[client, default: []].append((event, role))
    }
    /// current_user of a client's session at an event.
    func role(of client: String, at event: UInt64) -> OriginRole {
        roles[client]?.last { $0.event <= event }?.role ?? .app
    }
    func note(catalogVersion: Int, by client: String) {
        catalogVersions[client, default: []].append(catalogVersion)
    }
    func takeCatalogVersions(of client: String) -> [Int] { catalogVersions.removeValue(forKey: client) ?? [] }
    /// The commits that a client was notified of, in order.
    private(set) var deliveries: [String: [LSN]] = [:]
    func noteDelivery(_ lsn: LSN, to client: String) { deliveries[client, default: []].append(lsn) }

    /// Completes the one at a place that `note` gave.
    func amend(_ client: String, at place: Int, _ body: (inout Execution) -> Void) {
        guard place < executions[client]?.count ?? 0 else { return }
        body(&executions[client, default: []][place])
    }
    /// Completes the last one: its commit has become visible, or failed.
    func amend(_ client: String, _ body: (inout Execution) -> Void) {
        guard let list = executions[client], !list.isEmpty else { return }
        body(&executions[client, default: []][list.count - 1])
    }
}

/// One statement of a client with what came of it, for the oracle.
struct Exchange {
    /// application_name
    var client: String
    /// Counts the client's statements.
    var number: Int
    var statement: Statement
    var parameters: [Datum]
    /// Result formats of Bind: binary or not, for all columns; simple queries are text.
    var isBinary: Bool
    /// What the client can know of its session; nil in tests that do not ask.
    var belief: SessionBelief?
    /// SQLSTATEs of the notices that came with the reply.
    var notices: [String] = []
    /// Notifications that came before its end.
    var notified = 0
    /// `Scheduler.count` when it was sent.
    var sentAt: UInt64
    /// Position in the client's incoming stream behind the last byte of the reply's rows and tag (not ReadyForQuery).
    var endOfReply: Int
    var reply: Reply
}
