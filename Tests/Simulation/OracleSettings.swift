import PGProtocol

/// What a SELECT means in a session, and how its answer looks there.
struct Reading: Hashable {
    /// Over the tables that its names mean.
    var select: Select
    var style: TextStyle

    func rows(_ answer: Answer, isBinary: Bool) -> [UInt8] {
        Wire.rows(answer.rows, of: select, isBinary: isBinary, style)
    }
}

/// Settings and transactions: what a session's answers depend on besides data [K1, K3, S2].
extension Oracle {
    /// For so long nobody need have noticed that the configuration was reloaded: the interval of the poll, and some.
    static let reloadUnnoticed = 20 * second

    /// What the SELECT of an exchange can mean: one thing, unless the configuration was reloaded lately. None where its
    /// names mean nothing.
    func readings(_ exchange: Exchange) -> [Reading] {
        guard let belief = exchange.belief else {
            guard case .select(let select) = exchange.statement else { return [] }
            return [Reading(select: select, style: .standard)]
        }
        var readings: [Reading] = []
        for standing in standings(belief) {
            guard case .select(let select) = exchange.statement.resolved(in: standing.schemas) else { continue }
            let reading = Reading(select: select, style: standing.style)
            if !readings.contains(reading) { readings.append(reading) }
        }
        return readings
    }

    private func standings(_ belief: SessionBelief) -> [SessionStanding] {
        let now = database.surroundings.scheduler.now
        let since = now > Oracle.reloadUnnoticed ? now - Oracle.reloadUnnoticed : 0
        return database.surroundings.configuration.values(since: since).map { belief.standing($0) }
    }

    /// Rule 8: the origin's session is as its client made it, and says so.
    func checkStanding(_ exchange: Exchange, _ execution: Execution) -> Violation? {
        guard let belief = exchange.belief else { return nil }
        if case .error = exchange.reply { return nil }
        guard exchange.notices == execution.notices else {
            return Violation(
                rule: 8, text: exchange.title + " came with notices \(exchange.notices), not \(execution.notices)")
        }
        guard case .select = exchange.statement, let standing = execution.standing else { return nil }
        counts.checks[8] += 1
        let expected = standings(belief)
        guard !expected.contains(standing) else { return nil }
        return Violation(
            rule: 8, text: exchange.title + " was executed with \(standing), and the client's session has \(expected)")
    }

    /// Rule 9: a cached answer inside a transaction block.
    func checkBlock(_ exchange: Exchange, _ session: OracleSession) -> Violation? {
        guard session.isInBlock else { return nil }
        counts.checks[9] += 1
        counts.hitsInBlocks += 1
        var reason: String?
        if exchange.belief?.hasFailed == true { reason = "that has failed" }
        if exchange.belief?.isolation.keepsView == true { reason = "whose statements all have one view" }
        if session.hasWrittenInBlock { reason = "that has written, or locked" }
        return reason.map {
            Violation(rule: 9, text: exchange.title + " was answered from the cache inside a transaction " + $0)
        }
    }

    // MARK: Blocks of which the origin has not heard

    /// The BEGIN of a block that the proxy had answered, and sends in front of what it cannot answer.
    func skipDeferredBegin(_ client: String, _ session: OracleSession, before event: UInt64) {
        while let begin = session.deferredBegin, let list = executions.executions[client],
            session.consumed < list.count, list[session.consumed].event <= event,
            list[session.consumed].statement == begin
        {
            let reply = list[session.consumed].reply
            session.consumed += 1
            // One that was cancelled is sent again.
            if case .error = reply { continue }
            session.deferredBegin = nil
            counts.deferredBegins += 1
        }
    }

    /// An answer without the origin that is none of the cache's: the beginning of a block, or the end of one of which
    /// the origin has never heard.
    func isLocalControl(_ exchange: Exchange, _ session: OracleSession) -> Bool {
        guard case .done(let tag) = exchange.reply, exchange.notices.isEmpty else { return false }
        switch exchange.statement {
        case .begin(let begin):
            guard !session.isInBlock, tag == begin.tag else { return false }
            session.deferredBegin = exchange.statement
        case .commit, .rollback:
            guard session.isInBlock, session.deferredBegin != nil,
                tag == (exchange.statement == .commit ? "COMMIT" : "ROLLBACK")
            else { return false }
            session.deferredBegin = nil
        case .block(.commitAndChain), .block(.rollbackAndChain):
            guard session.isInBlock, session.deferredBegin != nil,
                tag == (exchange.statement == .block(.commitAndChain) ? "COMMIT" : "ROLLBACK")
            else { return false }
        case .block, .setting, .catalog, .channel, .select, .insert, .update, .delete, .truncate, .ping, .nonsense:
            return false
        }
        counts.localControls += 1
        return true
    }

    /// What the reply says of the session's transaction and of its own writes.
    func noteTransaction(_ exchange: Exchange, _ execution: Execution?, _ session: OracleSession) {
        if let lsn = execution?.committedLSN { session.committed(lsn, by: exchange) }
        switch (exchange.statement, exchange.reply) {
        case (.select(let select), .rows) where select.locks && session.isInBlock: session.hasWrittenInBlock = true
        default: break
        }
        guard case .done = exchange.reply else { return }
        switch exchange.statement {
        case .begin:
            if !session.isInBlock { session.hasWrittenInBlock = false }
            session.isInBlock = true
        case .commit, .rollback:
            session.isInBlock = false
            session.hasWrittenInBlock = false
        case .block(let block):
            switch block {
            case .commitAndChain, .rollbackAndChain: session.hasWrittenInBlock = false
            case .prepare:
                session.isInBlock = false
                session.hasWrittenInBlock = false
            case .savepoint, .release, .rollbackTo, .setTransaction, .commitPrepared, .rollbackPrepared: break
            }
        case .insert, .update, .delete, .truncate:
            if session.isInBlock {
                session.hasWrittenInBlock = true
            } else if let execution, execution.committedLSN == nil {
                session.wrote(session.consumed - 1, exchange)
            }
        case .catalog(let statement) where statement.mayWrite:
            if session.isInBlock {
                session.hasWrittenInBlock = true
            } else if let execution, execution.committedLSN == nil {
                session.wrote(session.consumed - 1, exchange)
            }
        case .select, .setting, .catalog, .channel, .ping, .nonsense: break
        }
    }
}
