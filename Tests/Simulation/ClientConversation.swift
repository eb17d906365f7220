import PGProtocol

/// One connection of a client as the protocol sees it: what was asked, what is owed, and whether what comes is
/// that [rule 5].
///
/// Replies come in the order of the requests, each exactly once; an error skips to Sync; the byte of
/// ReadyForQuery follows from what was answered. ParameterStatus and notices may come anywhere. Bytes in and
/// bytes out: it knows no socket and no time.
///
/// Owner: `Client`. Invariants: `owed[..<head]` is answered; `progress` belongs to `owed[head]`.
struct ClientConversation {
    /// application_name
    let name: String
    private let book: StatementBook
    private let configuration: Configuration
    private var reader = ReplyReader()

    /// One request, as the place of its reply.
    private enum Owed {
        case encryption
        case startup
        case query(Asked)
        case parse(String)
        case bind
        case statementDescription(Prepared)
        case portalDescription(Asked)
        case execute(Asked)
        case close(String)
        case sync
    }
    /// A statement that was sent to be executed.
    private struct Asked {
        var number = 0
        var bound: BoundStatement
        var isBinary = false
        var limit = 0
        /// Of the prepared statement.
        var name = ""
        var sentAt: UInt64
    }
    private struct Prepared {
        var name: String
        var statement: Statement
        /// ParseComplete has come.
        var isComplete = false
    }
    /// What has come of the reply to `owed[head]`.
    private struct Progress {
        var description: [UInt8]?
        var hasParameters = false
        var rows: [UInt8] = []
        var rowCount = 0
        /// A query was answered, ReadyForQuery is not here yet.
        var isAnswered = false
    }

    private var owed: [Owed] = []
    private var head = 0
    private var progress = Progress()
    /// Statements by name and portals by name, as sent.
    private var prepared: [String: Prepared] = [:]
    private var portals: [String: Asked] = [:]
    /// What the server has said of prepared statements whose result follows from the catalog.
    private var told: [String: [ColumnType]] = [:]
    /// RowDescription of the portal that is executed next.
    private var portalDescription: [UInt8]?
    /// An error came: nothing is answered up to the next Sync.
    private var isSkipping = false
    private var isAuthenticated = false
    /// The block as the replies so far make it; after a COMMIT or ROLLBACK that failed it may have ended or not.
    private var block = TransactionStatus.idle
    private var mayHaveEnded = false
    private(set) var belief = SessionBelief()
    /// ParameterStatus as last seen.
    private var reported: [String: String] = [:]
    /// SQLSTATEs of the notices since the last answer.
    private var notices: [String] = []
    /// LISTEN was sent.
    private var hasListened = false
    /// Notifications that have come.
    private var notified = 0

    /// As of the last ReadyForQuery.
    private(set) var status = TransactionStatus.idle
    private(set) var key: BackendKey?
    /// The connection is over by the server's own word.
    private(set) var fatal: String?
    /// Statements sent, and answered.
    private(set) var sent = 0
    private(set) var answered = 0

    init(name: String, book: StatementBook, configuration: Configuration = Configuration()) {
        self.name = name
        self.book = book
        self.configuration = configuration
    }
    init(name: String, _ surroundings: Surroundings) {
        self.init(name: name, book: surroundings.book, configuration: surroundings.configuration)
    }

    /// Replies that have not come.
    var outstanding: Int { owed.count - head }
    /// Bytes of the stream that make no whole message yet.
    var pendingBytes: Int { reader.pending }
    /// A statement can be bound without being parsed.
    func isPrepared(_ name: String) -> Bool { prepared[name]?.isComplete ?? false }

    // MARK: What is sent

    /// The bytes of these messages; their replies are owed from now on. `event` is the moment.
    mutating func send(_ messages: [ClientRequest], event: UInt64) -> [UInt8] {
        if head == owed.count {
            owed.removeAll(keepingCapacity: true)
            head = 0
        }
        var writer = ByteWriter()
        for message in messages {
            message.write(to: &writer, book)
            guard let owing = owing(message, event) else { continue }
            if isSkipping {
                // Sent behind an error that has come: dropped up to Sync.
                guard case .sync = owing else { continue }
            }
            owed.append(owing)
        }
        return writer.bytes
    }

    private mutating func owing(_ message: ClientRequest, _ event: UInt64) -> Owed? {
        switch message {
        case .encryptionRequest: return .encryption
        case .startup(let name, let login):
            belief.begins(name, login)
            return .startup
        case .query(let bound):
            sent += 1
            prepared[""] = nil
            if case .channel(.listen) = bound.statement { hasListened = true }
            return .query(Asked(number: sent, bound: bound, sentAt: event))
        case .parse(let name, let statement, _):
            prepared[name] = Prepared(name: name, statement: statement)
            return .parse(name)
        case .describeStatement(let name):
            guard let statement = prepared[name] else { preconditionFailure("\(name) was never parsed") }
            return .statementDescription(statement)
        case .bind(let binding):
            portals[binding.portal] = Asked(
                bound: binding.bound, isBinary: binding.hasBinaryResults, name: binding.statement, sentAt: event)
            return .bind
        case .describePortal(let portal):
            guard let asked = portals[portal] else { preconditionFailure("\(portal) was never bound") }
            return .portalDescription(asked)
        case .execute(let portal, let limit):
            guard var asked = portals[portal] else { preconditionFailure("\(portal) was never bound") }
            sent += 1
            asked.number = sent
            if case .channel(.listen) = asked.bound.statement { hasListened = true }
            asked.limit = limit
            return .execute(asked)
        case .closeStatement(let name): return .close(name)
        case .sync: return .sync
        case .flush, .terminate: return nil
        }
    }

    // MARK: What comes

    /// Takes in a piece of the stream; what it completes is appended to `exchanges`.
    mutating func receive(_ piece: [UInt8], _ exchanges: inout [Exchange]) throws(Violation) {
        reader.append(piece)
        if head < owed.count, case .encryption = owed[head] {
            guard let byte = reader.byte() else { return }
            guard byte == UInt8(ascii: "N") else { throw violation("\(byte) as the answer to SSLRequest") }
            finished()
        }
        while fatal == nil, let message = try reader.next() {
            try take(message, &exchanges)
        }
    }

    private mutating func take(_ message: ReplyReader.Message, _ exchanges: inout [Exchange]) throws(Violation) {
        switch message.type {
        case BackendType.parameterStatus: return try noteParameter(message)
        case BackendType.notificationResponse:
            guard hasListened else { throw violation("a notification for who does not listen") }
            notified += 1
            return
        case BackendType.noticeResponse: return try noteNotice(message)
        case BackendType.errorResponse: return try failed(message, &exchanges)
        default: break
        }
        guard head < owed.count else { throw violation("\(letter(message.type)) that nothing asked for") }
        switch (owed[head], message.type) {
        case (.startup, BackendType.authentication):
            guard !isAuthenticated, Array(message.body) == [0, 0, 0, 0] else {
                throw violation("an unexpected authentication request")
            }
            isAuthenticated = true
        case (.startup, BackendType.backendKeyData):
            var fields = FieldReader(message.body)
            guard isAuthenticated, key == nil, let process = fields.integer(4) else {
                throw violation("BackendKeyData out of place")
            }
            key = BackendKey(process: UInt32(process), secret: fields.remainder)
        case (.startup, BackendType.readyForQuery):
            guard key != nil else { throw violation("ReadyForQuery before BackendKeyData") }
            try ready(message)
        case (.parse(let name), BackendType.parseComplete):
            try expectEmpty(message)
            prepared[name]?.isComplete = true
            told[name] = nil
            finished()
        case (.bind, BackendType.bindComplete):
            try expectEmpty(message)
            portalDescription = nil
            finished()
        case (.close(let name), BackendType.closeComplete):
            try expectEmpty(message)
            prepared[name] = nil
            finished()
        case (.statementDescription(let statement), _): try describeStatement(statement, message)
        case (.portalDescription(let asked), _):
            portalDescription = try description(asked.bound.statement, asked.isBinary, message)
            finished()
        case (.query(let asked), _), (.execute(let asked), _): try reply(to: asked, message, &exchanges)
        case (.sync, BackendType.readyForQuery): try ready(message)
        default: throw unexpected(message)
        }
    }

    private mutating func finished() {
        head += 1
        progress = Progress()
    }

    // MARK: Descriptions

    private mutating func describeStatement(_ prepared: Prepared, _ message: ReplyReader.Message) throws(Violation) {
        guard progress.hasParameters else {
            guard message.type == BackendType.parameterDescription else { throw unexpected(message) }
            var expected = ByteWriter()
            let types = prepared.statement.parameterTypes
            expected.uint16(UInt16(types.count))
            for type in types { expected.uint32(type.oid.value) }
            guard message.body.elementsEqual(expected.bytes) else {
                throw violation("ParameterDescription \(Array(message.body)), not \(expected.bytes)")
            }
            progress.hasParameters = true
            return
        }
        let description = try description(prepared.statement, false, message)
        if case .catalog = prepared.statement, let description { told[prepared.name] = ResultTypes.of(description) }
        finished()
    }

    /// RowDescription or NoData, whichever the statement is owed.
    private func description(
        _ statement: Statement, _ isBinary: Bool, _ message: ReplyReader.Message
    ) throws(Violation) -> [UInt8]? {
        guard statement.returnsRows else {
            guard message.type == BackendType.noData else { throw unexpected(message) }
            try expectEmpty(message)
            return nil
        }
        guard message.type == BackendType.rowDescription else { throw unexpected(message) }
        if case .select = statement {
            let readings = readings(of: statement)
            let isRight = readings.contains { select in
                message.bytes.elementsEqual(Wire.description(select, isBinary: isBinary))
            }
            guard isRight else {
                throw violation("RowDescription \(Array(message.bytes)), not one of \(readings)")
            }
        }
        return Array(message.bytes)
    }

    /// What a SELECT may mean in this session, whose settings a reload may have changed.
    private func readings(of statement: Statement) -> [Select] {
        configuration.values(since: 0).compactMap { values in
            let schemas = belief.standing(values).schemas
            guard case .select(let select) = statement.resolved(in: schemas) else { return nil }
            return select
        }
    }

    // MARK: Answers

    private mutating func reply(
        to asked: Asked, _ message: ReplyReader.Message, _ exchanges: inout [Exchange]
    ) throws(Violation) {
        let statement = asked.bound.statement
        var isQuery = false
        if case .query = owed[head] { isQuery = true }
        if progress.isAnswered {
            guard message.type == BackendType.readyForQuery else { throw unexpected(message) }
            return try ready(message)
        }
        switch message.type {
        case BackendType.rowDescription where isQuery && statement.returnsRows && progress.description == nil:
            progress.description = try description(statement, false, message)
        case BackendType.dataRow where statement.returnsRows && (!isQuery || progress.description != nil):
            try check(row: message, asked)
            progress.rows.append(contentsOf: message.bytes)
            progress.rowCount += 1
            guard asked.limit == 0 || progress.rowCount <= asked.limit else {
                throw violation("more than \(asked.limit) rows")
            }
        case BackendType.commandComplete where !isQuery || !statement.returnsRows || progress.description != nil:
            var fields = FieldReader(message.body)
            guard let tag = fields.text(), fields.isAtEnd else { throw violation("CommandComplete without a tag") }
            try completed(statement, tag)
            let reply = answer(statement, tag, isQuery)
            report(asked, reply, message.end, &exchanges)
            belief.completed(statement, tag)
            if case .setting(.discardAll) = statement { prepared = [:] }
            answered(isQuery)
        case BackendType.portalSuspended where !isQuery && asked.limit > 0 && progress.rowCount == asked.limit:
            try expectEmpty(message)
            report(asked, answer(statement, Reply.suspended, false), message.end, &exchanges)
            answered(false)
        default: throw unexpected(message)
        }
    }

    private mutating func answer(_ statement: Statement, _ tag: String, _ isQuery: Bool) -> Reply {
        guard statement.returnsRows else { return .done(tag: tag) }
        let description = isQuery ? progress.description : portalDescription
        portalDescription = nil
        return .rows(description: description, rows: progress.rows, tag: tag)
    }

    private mutating func answered(_ isQuery: Bool) {
        if isQuery {
            progress.isAnswered = true
            progress.rows = []
        } else {
            finished()
        }
    }

    private mutating func report(_ asked: Asked, _ reply: Reply, _ end: Int, _ exchanges: inout [Exchange]) {
        answered += 1
        exchanges.append(
            Exchange(
                client: name, number: asked.number, statement: asked.bound.statement,
                parameters: asked.bound.parameters, isBinary: asked.isBinary,
                belief: belief, notices: notices, notified: notified, sentAt: asked.sentAt, endOfReply: end,
                reply: reply))
        notices = []
    }

    private func check(row message: ReplyReader.Message, _ asked: Asked) throws(Violation) {
        var columns = asked.bound.statement.columnCount
        if case .catalog = asked.bound.statement {
            let described = progress.description ?? portalDescription
            guard let types = described.map(ResultTypes.of) ?? told[asked.name] else { return }
            // Rows are what the client was told that they would be [S4].
            guard ResultTypes.fit(message.body, types, isBinary: asked.isBinary) else {
                throw violation("DataRow that is not of \(types.map { "\($0)" })")
            }
            columns = types.count
        }
        var fields = FieldReader(message.body)
        guard fields.integer(2) == columns else { throw violation("DataRow without \(columns) columns") }
        for _ in 0..<columns {
            guard let size = fields.integer(4), size == 0xFFFF_FFFF || fields.skip(size) else {
                throw violation("DataRow that ends early")
            }
        }
        guard fields.isAtEnd else { throw violation("DataRow with more than \(columns) columns") }
    }

    /// Checks the command tag, and follows the transaction block.
    private mutating func completed(_ statement: Statement, _ tag: String) throws(Violation) {
        func counted(_ word: String) -> Bool {
            tag.hasPrefix(word) && Int(tag.dropFirst(word.count)).map { $0 >= 0 } ?? false
        }
        let isRight: Bool
        switch statement {
        case .select, .ping, .setting(.configure): isRight = tag == "SELECT \(progress.rowCount)"
        case .setting(let setting): isRight = tag == setting.tag
        case .channel(let channel): isRight = tag == channel.tag
        case .block(.commitAndChain): isRight = tag == (block == .failed ? "ROLLBACK" : "COMMIT")
        case .block(.prepare): isRight = tag == (block == .inTransaction ? "PREPARE TRANSACTION" : "ROLLBACK")
        case .block(let block): isRight = tag == block.tag
        case .insert(let insert): isRight = tag == "INSERT 0 \(insert.rows.count)"
        case .update: isRight = counted("UPDATE ")
        case .delete: isRight = counted("DELETE ")
        case .truncate: isRight = tag == "TRUNCATE TABLE"
        case .catalog(.read): isRight = tag == "SELECT \(progress.rowCount)"
        case .catalog(let statement): isRight = tag == statement.tag || counted(statement.tag)
        case .begin(let begin): isRight = tag == begin.tag
        case .commit: isRight = tag == (block == .failed ? "ROLLBACK" : "COMMIT") || (mayHaveEnded && tag == "COMMIT")
        case .rollback: isRight = tag == "ROLLBACK"
        case .nonsense: isRight = false
        }
        guard isRight else { throw violation("\(tag) as the tag of \(book.text(of: statement))") }
        switch statement {
        case .begin: block = .inTransaction
        case .commit, .rollback, .block(.prepare):
            block = .idle
            mayHaveEnded = false
        case .block(.commitAndChain), .block(.rollbackAndChain), .block(.rollbackTo):
            guard block != .idle else { throw violation("\(tag) outside of a transaction") }
            block = .inTransaction
            mayHaveEnded = false
        case .select, .insert, .update, .delete, .truncate, .block, .setting, .catalog, .channel, .ping, .nonsense:
            guard block != .failed || mayHaveEnded else {
                throw violation("\(book.text(of: statement)) was answered in a failed transaction")
            }
        }
    }

    private mutating func ready(_ message: ReplyReader.Message) throws(Violation) {
        guard message.body.count == 1, let byte = message.body.first, let status = TransactionStatus(rawValue: byte)
        else { throw violation("ReadyForQuery \(Array(message.body))") }
        guard status == block || (mayHaveEnded && status == .idle) else {
            throw violation("ReadyForQuery \(letter(byte)), not \(letter(block.rawValue))")
        }
        self.status = status
        block = status
        belief.ready(isIdle: status == .idle)
        try checkReported()
        mayHaveEnded = false
        isSkipping = false
        portalDescription = nil
        finished()
    }

    // MARK: Errors

    private mutating func failed(_ message: ReplyReader.Message, _ exchanges: inout [Exchange]) throws(Violation) {
        var fields = FieldReader(message.body)
        var severity = "", state = ""
        while let code = fields.byte(), code != 0 {
            guard let value = fields.text() else { throw violation("an ErrorResponse that ends early") }
            if code == UInt8(ascii: "V") { severity = value }
            if code == UInt8(ascii: "C") { state = value }
        }
        guard fields.isAtEnd, state.utf8.count == 5 else { throw violation("an ErrorResponse without SQLSTATE") }
        guard severity == "ERROR" else {
            fatal = "\(severity) \(state)"
            return
        }
        guard head < owed.count else { throw violation("ERROR \(state) that nothing asked for") }
        switch owed[head] {
        case .query(let asked):
            guard !progress.isAnswered else { throw violation("ERROR \(state) behind CommandComplete") }
            let rows = progress.rows
            failed(asked, state, rows, message.end, &exchanges)
            belief.failed()
            answered(true)
        case .encryption, .startup: throw violation("ERROR \(state) while connecting")
        case .sync:
            // What the segment did could not be committed.
            guard !progress.isAnswered else { throw violation("ERROR \(state) behind an error of Sync") }
            progress.isAnswered = true
            if block == .inTransaction { block = .failed }
            belief.failed()
        case .parse, .bind, .statementDescription, .portalDescription, .execute, .close:
            skip(state, message.end, &exchanges)
        }
    }

    private mutating func failed(
        _ asked: Asked, _ state: String, _ rows: [UInt8], _ end: Int, _ exchanges: inout [Exchange]
    ) {
        switch asked.bound.statement {
        // It may have failed before it ended the block, or while it did.
        case .commit, .rollback, .block(.prepare): mayHaveEnded = block != .idle
        default: break
        }
        if block == .inTransaction { block = .failed }
        report(asked, .error(state: state, rows: rows), end, &exchanges)
    }

    // MARK: Settings and notices

    private mutating func noteParameter(_ message: ReplyReader.Message) throws(Violation) {
        var fields = FieldReader(message.body)
        guard let name = fields.text(), let value = fields.text(), fields.isAtEnd else {
            throw violation("a ParameterStatus that ends early")
        }
        reported[name] = value
    }

    private mutating func noteNotice(_ message: ReplyReader.Message) throws(Violation) {
        var fields = FieldReader(message.body)
        while let code = fields.byte(), code != 0 {
            guard let value = fields.text() else { throw violation("a NoticeResponse that ends early") }
            if code == UInt8(ascii: "C") { notices.append(value) }
        }
    }

    /// The session's settings as far as they are reported: those that what was done has made.
    private func checkReported() throws(Violation) {
        for (name, value) in reported
        where SessionSettings.reported.contains(name) && name != "is_superuser" && name != "session_authorization" {
            let possible = configuration.values(since: 0).map { values in
                var settings = belief.settings
                settings.configuration = values
                return settings[name] ?? ""
            }
            guard possible.contains(value) else {
                throw violation("\(name) was reported as \(value), and is \(possible)")
            }
        }
    }

    /// Nothing more is owed up to Sync. The error is the answer to the first execution that it keeps from happening.
    private mutating func skip(_ state: String, _ end: Int, _ exchanges: inout [Exchange]) {
        var place = head
        var hasReported = false
        isSkipping = true
        search: while place < owed.count {
            switch owed[place] {
            case .sync: break search
            case .execute(let asked) where !hasReported:
                failed(asked, state, place == head ? progress.rows : [], end, &exchanges)
                hasReported = true
            default: break
            }
            place += 1
        }
        if block == .inTransaction { block = .failed }
        belief.failed()
        portalDescription = nil
        head = place
        progress = Progress()
    }

    // MARK: Violations

    private func expectEmpty(_ message: ReplyReader.Message) throws(Violation) {
        guard message.body.isEmpty else { throw violation("\(letter(message.type)) with a body") }
    }

    private func unexpected(_ message: ReplyReader.Message) -> Violation {
        violation("\(letter(message.type)) where \(expectation) is due")
    }

    private var expectation: String {
        switch owed[head] {
        case .encryption: "the answer to SSLRequest"
        case .startup: "the answer to StartupMessage"
        case .query(let asked):
            progress.isAnswered ? "ReadyForQuery" : "the answer to \(book.text(of: asked.bound.statement))"
        case .parse: "ParseComplete"
        case .bind: "BindComplete"
        case .statementDescription: "the description of a statement"
        case .portalDescription: "the description of a portal"
        case .execute(let asked): "the answer to Execute of \(book.text(of: asked.bound.statement))"
        case .close: "CloseComplete"
        case .sync: "ReadyForQuery"
        }
    }

    private func letter(_ type: UInt8) -> String { "'\(Character(UnicodeScalar(type)))'" }

    private func violation(_ text: String) -> Violation {
        Violation(rule: 5, text: "\(name), byte \(reader.position): \(text)")
    }
}
