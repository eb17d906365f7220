import PGProtocol

/// Answers that the origin has not given: may the session have been told this?
extension Oracle {
    func checkHit(_ exchange: Exchange, _ session: OracleSession, _ mark: Ledger.Mark) -> Violation? {
        counts.hits += 1
        counts.checks[1] += 1
        if case .catalog(.read(let read)) = exchange.statement { return checkSheetHit(exchange, read, session, mark) }
        guard case .select(let asked) = exchange.statement, !asked.locks else {
            return Violation(
                rule: 1, text: exchange.title + " was answered without the origin\n" + ReplyText.got(exchange))
        }
        guard mark.isServing else {
            return Violation(
                rule: 1, text: exchange.title + " was answered from the cache while the stream was not live")
        }
        if let violation = checkBlock(exchange, session) { return violation }
        if let violation = checkRights(exchange, asked.tablesRead, mark) { return violation }
        guard case .rows(let description, let rows, let tag) = exchange.reply else {
            return Violation(
                rule: 1, text: exchange.title + " got from the cache what is no answer\n" + ReplyText.got(exchange))
        }
        guard exchange.notices.isEmpty else {
            return Violation(rule: 8, text: exchange.title + " got notices \(exchange.notices) with a hit")
        }
        let readings = readings(exchange)
        guard let first = readings.first else {
            return Violation(
                rule: 8, text: exchange.title + " was answered from the cache, and names nothing in its search path")
        }
        var reading = first
        var expected = database.answer(first.select, exchange.parameters, at: mark.watermark)
        var isOfWatermark = false
        for one in readings.reversed() where !isOfWatermark {
            reading = one
            expected = database.answer(one.select, exchange.parameters, at: mark.watermark)
            isOfWatermark =
                if tag == Reply.suspended {
                    isBeginning(rows, of: expected, reading, exchange)
                } else {
                    expected.error == nil && tag == "SELECT \(expected.rows.count)"
                        && rows == reading.rows(expected, isBinary: exchange.isBinary)
                }
        }
        let select = reading.select
        if let description, description != Wire.description(select, isBinary: exchange.isBinary) {
            return Violation(rule: 1, text: exchange.title + " got another row description than the origin's")
        }
        counts.checks[8] += 1
        var shown = expected.shown
        if !isOfWatermark {
            guard let leader = leader(of: exchange, reading, mark, expected) else {
                return wrongHit(exchange, reading, mark, expected)
            }
            counts.followed += 1
            shown = leader.shown
        }
        if let violation = checkOwnWrites(exchange, session, mark) { return violation }
        // Which rows it would have shown if it had gone on is nothing that the session has seen.
        if tag == Reply.suspended { return checkMoney(exchange, select, nil, session) }
        counts.checks[2] += 1
        if let violation = isOfWatermark
            ? checkWatermark(exchange, reading, session, mark) : checkFollowed(exchange, shown, session)
        {
            return violation
        }
        remember(exchange, select, shown, session, mark, isOfWatermark: isOfWatermark)
        return checkMoney(exchange, select, nil, session)
    }

    // MARK: - Rule 1

    /// The rows of an Execute that asked for so many are the first ones; that an error waits behind them does not show.
    private func isBeginning(
        _ rows: [UInt8], of expected: Answer, _ reading: Reading, _ exchange: Exchange
    ) -> Bool {
        guard let count = ReplyText.rows(rows, reading.select.outputTypes, isBinary: exchange.isBinary)?.count,
            count > 0, count <= expected.rows.count
        else { return false }
        return rows
            == reading.rows(Answer(rows: Array(expected.rows.prefix(count))), isBinary: exchange.isBinary)
    }

    /// What the origin had just answered to a session that asked the same, if this session may have waited for it
    /// [S6]. It may be newer than the watermark; nothing in it may be older.
    private func leader(
        of exchange: Exchange, _ reading: Reading, _ mark: Ledger.Mark, _ expected: Answer
    ) -> Execution? {
        let select = reading.select
        for client in executions.executions.keys.sorted() where client != exchange.client {
            guard let list = executions.executions[client] else { continue }
            for execution in list.suffix(Oracle.leadersLooked).reversed()
            where execution.event <= mark.event && execution.statement == exchange.statement
                && execution.parameters == exchange.parameters && execution.reply.isSame(as: exchange.reply)
                && isRead(execution, as: reading)
                && !isOlder(execution.shown, than: expected.shown, select, at: mark.watermark)
            {
                return execution
            }
        }
        return nil
    }
    /// The execution's session read the statement as this one does.
    private func isRead(_ execution: Execution, as reading: Reading) -> Bool {
        guard let standing = execution.standing else { return true }
        guard case .select(let select) = execution.statement.resolved(in: standing.schemas) else { return false }
        // A style that nothing is printed in is no difference [K1].
        let isPrintedAlike = standing.style == reading.style
            || !select.outputTypes.contains { $0 == .date || $0 == .bytea }
        return select == reading.select && isPrintedAlike
    }
    /// Executions of each client that are looked at.
    static let leadersLooked = 64

    /// Something in what the origin has shown is older than at `lsn`, or was gone then.
    private func isOlder(
        _ shown: [Answer.Shown], than expected: [Answer.Shown], _ select: Select, at lsn: LSN
    ) -> Bool {
        for one in shown where one.lsn <= lsn {
            if database.row(one.table, one.id, at: lsn)?.lsn != one.lsn { return true }
        }
        // What is missing must have been changed since, or been pushed out by what was.
        let names = Set(shown.map { RowName(table: $0.table, id: $0.id) })
        let isComplete = expected.allSatisfy { names.contains(RowName(table: $0.table, id: $0.id)) }
        return !isComplete && !database.hasChanged(select.tablesRead, behind: lsn)
    }

    private func wrongHit(
        _ exchange: Exchange, _ reading: Reading, _ mark: Ledger.Mark, _ expected: Answer
    ) -> Violation {
        let rows = reading.rows(expected, isBinary: exchange.isBinary)
        let reply =
            if let error = expected.error {
                Reply.error(state: error.state, rows: rows)
            } else {
                Reply.rows(
                    description: nil, rows: rows,
                    tag: "SELECT \(expected.rows.count)")
            }
        return Violation(
            rule: 1,
            text: exchange.title + " is not the origin's answer at W = \(mark.watermark), event \(mark.event)\n"
                + ReplyText.comparison(exchange, expected: reply) + "\n  it is "
                + positionText(exchange, reading) + "\n" + commits(around: mark.watermark, of: reading.select))
    }

    /// Where the origin would have answered so.
    private func positionText(_ exchange: Exchange, _ reading: Reading) -> String {
        for record in database.log.suffix(1000).reversed() {
            if answer(exchange, reading, isTrueAt: record.end) { return "the origin's answer at \(record.end)" }
        }
        return "no answer that the origin has given for a long time"
    }

    private func answer(_ exchange: Exchange, _ reading: Reading, isTrueAt lsn: LSN) -> Bool {
        guard case .rows(_, let rows, _) = exchange.reply else { return false }
        let answer = database.answer(reading.select, exchange.parameters, at: lsn)
        return answer.error == nil && rows == reading.rows(answer, isBinary: exchange.isBinary)
    }

    /// The last commits on the tables up to a position, and the first ones behind it.
    func commits(around lsn: LSN, of select: Select) -> String {
        let place = database.firstRecord(behind: lsn)
        var before: [String] = []
        for record in database.log[..<place].reversed() {
            guard before.count < 4 else { break }
            if let text = record.text(select.tablesRead) { before.append(text) }
        }
        var after: [String] = []
        for record in database.log[place...] {
            guard after.count < 4 else { break }
            if let text = record.text(select.tablesRead) { after.append(text) }
        }
        return (before.reversed().map { "  in W:     " + $0 } + after.map { "  behind W: " + $0 })
            .joined(separator: "\n")
    }

    // MARK: - Rule 4

    func checkOwnWrites(
        _ exchange: Exchange, _ session: OracleSession, _ mark: Ledger.Mark
    ) -> Violation? {
        counts.checks[4] += 1
        if let violation = resolveWrites(exchange.client, session) { return violation }
        let told = executions.deliveries[exchange.client] ?? []
        if let newest = told.prefix(exchange.notified).max(), newest > mark.watermark {
            return Violation(
                rule: 4,
                text: exchange.title + " was answered at W = \(mark.watermark), behind the notification of a commit "
                    + "at \(newest)\n" + ReplyText.got(exchange))
        }
        guard session.ownLSN <= mark.watermark else {
            return Violation(
                rule: 4,
                text: exchange.title + " was answered at W = \(mark.watermark), behind a write of its own that "
                    + "committed at \(session.ownLSN)\n  the write: " + (session.ownWrite?.title ?? "") + "\n"
                    + ReplyText.got(exchange))
        }
        for place in session.openWrites.indices {
            session.openWrites[place].lowestHit = min(session.openWrites[place].lowestHit, mark.watermark)
        }
        return nil
    }

    /// Writes of a pipeline commit with its Sync, behind hits that were answered before it.
    private func resolveWrites(_ client: String, _ session: OracleSession) -> Violation? {
        guard !session.openWrites.isEmpty, let list = executions.executions[client] else { return nil }
        var open: [OracleSession.OpenWrite] = []
        for write in session.openWrites {
            guard let lsn = list[write.execution].committedLSN else {
                open.append(write)
                continue
            }
            session.committed(lsn, by: write.exchange)
            if write.lowestHit < lsn {
                return Violation(
                    rule: 4,
                    text: "\(client) had a hit at W = \(write.lowestHit) behind a write of its own that committed at "
                        + "\(lsn)\n  the write: " + write.exchange.title)
            }
        }
        session.openWrites = open
        return nil
    }

    // MARK: - Rule 2

    /// A hit at a watermark: hits do not go back among themselves, and not behind what the origin has shown.
    private func checkWatermark(
        _ exchange: Exchange, _ reading: Reading, _ session: OracleSession, _ mark: Ledger.Mark
    ) -> Violation? {
        let select = reading.select
        if let last = session.lastHit, last.epoch == mark.epoch, mark.watermark < last.watermark {
            return Violation(
                rule: 2, text: exchange.title + " is a hit at \(mark.watermark) after one at \(last.watermark)")
        }
        let newer = session.seen(behind: mark.watermark, in: select.tablesRead)
        guard let newest = newer.map(\.at).max() else { return nil }
        let mixed = database.answer(select, exchange.parameters, at: mark.watermark, with: newer)
        guard case .rows(_, let rows, _) = exchange.reply,
            mixed.error != nil || rows != reading.rows(mixed, isBinary: exchange.isBinary)
        else { return nil }
        // It may as well be an answer of a time when all that was so: then nobody can tell that it went back.
        if answer(exchange, reading, isTrueAt: newest) { return nil }
        for record in database.log[database.firstRecord(behind: newest)...].prefix(64)
        where answer(exchange, reading, isTrueAt: record.end) { return nil }
        let rowsText = newer.prefix(4).map { "\($0.row.text) of \($0.at)" }.joined(separator: ", ")
        return stepBack(
            exchange,
            "it is a hit at W = \(mark.watermark); before it the session was shown \(rowsText)\n"
                + commits(around: mark.watermark, of: select))
    }

    /// An answer that was given to another session.
    private func checkFollowed(
        _ exchange: Exchange, _ shown: [Answer.Shown], _ session: OracleSession
    ) -> Violation? {
        for one in shown {
            let name = RowName(table: one.table, id: one.id)
            guard let known = session.seen[name], known > one.lsn else { continue }
            return stepBack(
                exchange, "its leader was shown \(name.text) of \(one.lsn), this session before it that of \(known)")
        }
        return nil
    }

    private func remember(
        _ exchange: Exchange, _ select: Select, _ shown: [Answer.Shown], _ session: OracleSession,
        _ mark: Ledger.Mark, isOfWatermark: Bool
    ) {
        guard isOfWatermark else {
            for one in shown { session.saw(RowName(table: one.table, id: one.id), at: one.lsn) }
            return
        }
        session.lastHit = mark
        for one in shown {
            let name = RowName(table: one.table, id: one.id)
            session.hitRows[name] = OracleSession.HitRow(
                lsn: one.lsn, isAbsent: false, columns: select.columnsRead(of: one.table))
        }
        if shown.isEmpty, let name = select.onlyRow(exchange.parameters) {
            session.hitRows[name] = OracleSession.HitRow(lsn: mark.watermark, isAbsent: true, columns: 0)
        }
    }
}
