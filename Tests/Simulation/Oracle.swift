import Loop
import PGProtocol

/// A rule that was broken, and by what.
struct Violation: Error, Equatable, CustomStringConvertible {
    /// Number of the oracle's rule.
    var rule: Int
    var text: String
    var description: String { "rule \(rule): \(text)" }
}

/// Knows what each session may be told, and looks whether it was told that.
///
/// 1. An answer is the origin's own, or it is a hit: then it equals what the origin answers at the watermark under
///    which the proxy decided on it, or what it has just answered to a leader that this session waited for [S6].
/// 2. Nobody sees a row go back to an older version.
/// 3. Nobody outside of a transaction sees a half of it: money is neither made nor lost.
/// 4. A hit is not older than what its own session has written [S1].
/// 8. Settings: an answer means, and looks like, what its session's settings make of it [K1, K3]; the origin's session
///    has those that its client gave it, and its notices arrive.
/// 9. Inside a transaction block there are hits only under READ COMMITTED, and before it writes or locks [S2].
///
/// Whose answer it is follows from the order of things alone. The proxy answers from its cache only while the origin
/// owes the session nothing, so an execution that had ended when the proxy appended a reply, and that no earlier
/// reply was for, is what this one is for. Replies in the wrong order show as answers to another statement.
///
/// Fed with exchanges in the order in which each client got them. It changes nothing in the world, draws nothing, and
/// looks things up by name only, so a world with an oracle runs as one without.
final class Oracle {
    struct Counts: Equatable {
        var exchanges = 0
        /// Answered by the origin, errors included.
        var forwarded = 0
        var hits = 0
        /// Of these, those with an answer that the origin had just given to another session.
        var followed = 0
        var errors = 0
        /// Inside transaction blocks.
        var hitsInBlocks = 0
        /// BEGIN, COMMIT and ROLLBACK that the origin never heard of, and BEGINs that it heard of later.
        var localControls = 0
        var deferredBegins = 0
        /// Times that a rule was looked at, by its number.
        var checks = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        /// Times that a session saw a row go back, whether or not that counts as a violation.
        var stepsBack = 0
    }

    /// Without it a step back behind a forwarded answer is only counted: a proxy whose hits do not wait for what the
    /// session has read from the origin makes some [S5].
    var enforcesMonotonicReads = true
    var counts = Counts()
    /// The same for two runs in which the same clients got the same answers for the same reasons.
    private(set) var digest = Digest()

    let database: OriginDatabase
    let executions: ExecutionLog
    let ledger: Ledger
    private let rowsPerTable: Int
    private var sessions: [String: OracleSession] = [:]

    init(_ parameters: Parameters, _ database: OriginDatabase, _ executions: ExecutionLog, _ ledger: Ledger) {
        self.database = database
        self.executions = executions
        self.ledger = ledger
        rowsPerTable = parameters.rowsPerTable
    }

    // MARK: - What is told

    /// A client has connected; `socket` is the proxy's end.
    func began(_ client: String, on socket: SocketID) { ledger.began(client, on: socket) }

    /// The connection of a client is over. What the origin has executed of the statements that were not answered, and
    /// what it never heard of, is nobody's fault.
    func lost(_ client: String, outstanding: Int = 1) {
        session(client).isOver(isLost: outstanding > 0)
        ledger.ended(client)
    }

    /// A client got a reply: nil when it could.
    func check(_ exchange: Exchange) -> Violation? {
        counts.exchanges += 1
        if let setBack = ledger.takeSetBack() { return setBack }
        guard let mark = ledger.mark(of: exchange.client, at: exchange.endOfReply) else {
            return Violation(
                rule: 1, text: "\(exchange.title) got bytes up to \(exchange.endOfReply) that the proxy never appended")
        }
        let session = session(exchange.client)
        skipDeferredBegin(exchange.client, session, before: mark.event)
        let next = next(of: exchange.client, session, endedBy: mark.event)
        var isForwarded = true
        let violation: Violation?
        if let failure = failure(exchange, session, by: mark.event), next?.event != failure.event {
            violation = noteError()
        } else if case .error(state: "0A000", _) = exchange.reply, case .catalog(.read) = exchange.statement {
            violation = checkChangedResult(exchange, session, mark)
        } else if let next {
            violation = checkForwarded(exchange, next, session)
        } else if isLocalControl(exchange, session) {
            noteTransaction(exchange, nil, session)
            violation = nil
        } else {
            isForwarded = false
            violation = checkHit(exchange, session, mark)
        }
        digest.add(exchange)
        digest.add(isForwarded ? 0 : mark.watermark.value)
        return violation
    }

    /// All clients are done: everything that was executed for one that was not lost has been answered.
    func finish() -> Violation? {
        for client in sessions.keys.sorted() {
            let session = session(client)
            guard !session.isLost, let list = executions.executions[client], session.consumed < list.count
            else { continue }
            let execution = list[session.consumed]
            return Violation(
                rule: 1,
                text: "\(client): the origin executed \(execution.statement.sql), whose answer nobody got")
        }
        return nil
    }

    private func session(_ client: String) -> OracleSession {
        if let session = sessions[client] { return session }
        let session = OracleSession()
        sessions[client] = session
        return session
    }

    private func next(of client: String, _ session: OracleSession, endedBy event: UInt64) -> Execution? {
        guard let list = executions.executions[client], session.consumed < list.count,
            list[session.consumed].event <= event
        else { return nil }
        return list[session.consumed]
    }

    /// The origin's error that a client got. It is an execution's, made at the same event, or it has refused Parse or
    /// Bind: then the next execution, which may have ended meanwhile, is for a later request.
    private func failure(_ exchange: Exchange, _ session: OracleSession, by event: UInt64) -> Failure? {
        guard case .error(let state, _) = exchange.reply, let failures = executions.errors[exchange.client]
        else { return nil }
        let answered = failures[session.failures...].prefix { $0.event <= event }
        let its = answered.indices.filter { failures[$0].event >= exchange.sentAt && failures[$0].state == state }
        let place =
            its.first { failures[$0].parsed.map { $0 == exchange.statement.sql } ?? true }
            // In a block that has failed, whatever is parsed in front of it fails like it.
            ?? (state == "25P02" ? its.first : nil)
        guard let place else { return nil }
        session.failures = place + 1
        return failures[place]
    }

    private func noteError() -> Violation? {
        counts.forwarded += 1
        counts.errors += 1
        return nil
    }

    // MARK: - Forwarded

    private func checkForwarded(
        _ exchange: Exchange, _ execution: Execution, _ session: OracleSession
    ) -> Violation? {
        counts.forwarded += 1
        counts.checks[1] += 1
        guard execution.statement == exchange.statement, execution.parameters == exchange.parameters else {
            return Violation(
                rule: 1,
                text: "\(exchange.title) was answered, but what the origin had executed next for it was "
                    + "\(execution.statement.sql)\(ReplyText.parameters(execution.parameters))")
        }
        guard execution.viewedAt >= exchange.sentAt else {
            return Violation(
                rule: 1,
                text: "\(exchange.title) was sent at event \(exchange.sentAt), and the origin executed the same "
                    + "statement already at \(execution.viewedAt): that was for nobody")
        }
        guard exchange.reply.isSame(as: execution.reply) else {
            return Violation(
                rule: 1,
                text: exchange.title + " is not what the origin answered\n"
                    + ReplyText.comparison(exchange, expected: execution.reply))
        }
        session.consumed += 1
        if case .error = execution.reply { counts.errors += 1 }
        var violation = checkStanding(exchange, execution)
        let resolved = execution.standing.flatMap { exchange.statement.resolved(in: $0.schemas) }
        if violation == nil, case .select(let select) = resolved ?? exchange.statement {
            violation =
                checkShown(exchange, select, execution, session) ?? checkMoney(exchange, select, execution, session)
        }
        noteTransaction(exchange, execution, session)
        return violation
    }

    /// Rule 2 for an answer of the origin: hits have shown nothing that is newer.
    private func checkShown(
        _ exchange: Exchange, _ select: Select, _ execution: Execution, _ session: OracleSession
    ) -> Violation? {
        // What a portal has not fetched yet nobody has seen.
        if case .rows(_, _, Reply.suspended) = execution.reply { return nil }
        counts.checks[2] += 1
        for shown in execution.shown {
            let name = RowName(table: shown.table, id: shown.id)
            if let known = session.seen[name], known > shown.lsn {
                return stepBack(exchange, "the origin showed \(name.text) of \(shown.lsn) after that of \(known)")
            }
            if let hit = session.hitRows[name], hit.lsn > shown.lsn, isNewer(hit, name, than: shown.lsn) {
                let violation = stepBack(
                    exchange, "\(name.text) of \(shown.lsn) came after a hit had shown that of \(hit.lsn)")
                if let violation { return violation }
            }
            session.saw(name, at: shown.lsn)
        }
        if execution.shown.isEmpty, case .rows(_, let rows, _) = exchange.reply, rows.isEmpty,
            let name = select.onlyRow(exchange.parameters), !session.hasWrittenInBlock, !session.hasFreshWrites
        {
            noteAbsent(name, session)
        }
        return nil
    }

    /// The hit has shown something that was not so in the version of `lsn`.
    private func isNewer(_ hit: OracleSession.HitRow, _ name: RowName, than lsn: LSN) -> Bool {
        if hit.isAbsent { return true }
        guard let new = database.row(name.table, name.id, at: hit.lsn),
            let old = database.row(name.table, name.id, at: lsn)
        else { return false }
        for column in new.row.indices where hit.columns & (1 << UInt64(column)) != 0 {
            if new.row[column] != old.row[column] { return true }
        }
        return false
    }

    /// The origin says that there is no such row. If the session had seen it, or could not but see it, it has been
    /// deleted since.
    private func noteAbsent(_ name: RowName, _ session: OracleSession) {
        let known = session.seen[name] ?? database.log.first?.end ?? .zero
        guard database.row(name.table, name.id, at: known) != nil,
            let deletion = database.deletion(of: name, behind: known)
        else { return }
        session.saw(name, at: deletion)
    }

    func stepBack(_ exchange: Exchange, _ text: String) -> Violation? {
        counts.stepsBack += 1
        guard enforcesMonotonicReads else { return nil }
        return Violation(rule: 2, text: exchange.title + "\n  " + text + "\n" + ReplyText.got(exchange))
    }

    // MARK: - Money

    /// Rule 3. `execution` is nil for a hit. Whoever has changed something in his own transaction sees a half of that.
    func checkMoney(
        _ exchange: Exchange, _ select: Select, _ execution: Execution?, _ session: OracleSession
    ) -> Violation? {
        guard select.isTotalOfAll, case .totals(let column) = select.output, column.column == 2,
            case .rows(_, let bytes, _) = exchange.reply,
            let row = ReplyText.rows(bytes, select.outputTypes, isBinary: exchange.isBinary)?.first, row.count == 2
        else { return nil }
        if let execution {
            if session.hasWrittenInBlock || row[0] != .int(Int64(execution.shown.count)) { return nil }
        }
        let isRight: Bool
        switch select.table {
        case Table.account: isRight = row[1] == .int(Int64(100 * rowsPerTable))
        case Table.entry: isRight = row[1] == .null || row[1] == .int(0)
        default: return nil
        }
        counts.checks[3] += 1
        if isRight { return nil }
        return Violation(
            rule: 3, text: exchange.title + " shows a half of a transaction\n" + ReplyText.got(exchange))
    }
}
