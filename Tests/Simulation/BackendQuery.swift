import Cache
import PGProtocol

/// Running statements, and the simple protocol (manual, 55.2.2 Simple Query).
///
/// A SELECT's rows are those of the moment of its view, whenever they are sent. A change outside a block is answered
/// once its commit is visible.
extension Backend {
    /// The statement that a text is; nil for an empty one and for the question for the session's settings.
    func statement(_ text: String) -> Statement? {
        if let known = surroundings.book.statement(text) { return known }
        return isEmpty(text) || text == Profile.readSQL ? nil : .nonsense
    }

    func isEmpty(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: ";") || $0 == UInt8(ascii: "\n") }
    }

    func failSyntax(_ text: String) {
        let word = text.prefix { $0 != " " }
        fail(SQLState("42601"), "syntax error at or near \"\(word)\"")
    }

    /// Runs a statement that is not about transactions under a view of this moment, after whatever it has to wait for.
    func run(_ statement: Statement, _ parameters: [Datum], _ done: @escaping (OriginDatabase.Outcome) -> Void) {
        let view = takeView()
        inHand?.viewedAt = viewedAt
        if case .ping = statement { return done(.answer(Answer(rows: [[.int(1)]]))) }
        let outcome = database.run(statement, parameters, in: currentTransaction(), view: view)
        switch outcome {
        case .answer, .changed:
            surroundings.trace.note(traceName, "\(statement.sql) under \(view.text)")
            done(outcome)
        case .waits(let other):
            wait(for: other) { [self] in run(statement, parameters, done) }
        case .failed(let error):
            fail(error)
        }
    }

    /// Some statements have something to say besides: such an answer is not only its rows.
    func noticeNowAndThen() {
        if random.chance(2) { write(Messages.notice("NOTICE", "00000", "this is worth mentioning")) }
    }

    // MARK: The simple protocol

    func query(_ text: String) {
        prepared[""] = nil
        portals[""] = nil
        if isEmpty(text) {
            return endQuery { [self] _ in write(Messages.empty(BackendType.emptyQueryResponse)) }
        }
        guard let statement = statement(text) else { return readProfile() }
        if case .nonsense = statement { return failSyntax(text) }
        if isRefusedInFailedBlock(statement) { return }
        if statement.isTransactionControl {
            return control(statement) { [self] tag, lsn in
                surroundings.trace.note(traceName, tag)
                note(.done(tag: tag), lsn)
                write(Messages.commandComplete(tag))
                ready()
                finished()
            }
        }
        run(statement, []) { [self] outcome in
            // What it has done stands, and others may go on before it is told.
            spend { [self] in answer(statement, outcome) }
        }
    }

    private func answer(_ statement: Statement, _ outcome: OriginDatabase.Outcome) {
        switch outcome {
        case .answer(let answer):
            let description = statement.rowDescription(.text)
            let rows = statement.dataRows(answer.rows, .text)
            inHand?.shown = answer.shown
            write(description ?? [])
            noticeNowAndThen()
            write(rows)
            if let error = answer.error { return fail(SQLState(error.state), error.message, rows: rows) }
            endQuery { [self] lsn in
                let tag = "SELECT \(answer.rows.count)"
                note(.rows(description: description, rows: rows, tag: tag), lsn)
                write(Messages.commandComplete(tag))
            }
        case .changed(let tag):
            endQuery { [self] lsn in
                note(.done(tag: tag), lsn)
                write(Messages.commandComplete(tag))
            }
        case .waits, .failed:
            preconditionFailure("a statement that has not run is not answered")
        }
    }

    /// Outside a block a query is a transaction: its end comes before the reply.
    private func endQuery(_ reply: @escaping (LSN?) -> Void) {
        let end = { [self] (lsn: LSN?) in
            reply(lsn)
            ready()
            finished()
        }
        if block == .none {
            commit(end)
        } else {
            end(nil)
        }
    }

    /// The question for the session's settings, which the client did not ask.
    private func readProfile() {
        if isRefusedInFailedBlock(nil) { return }
        _ = takeView()
        let isRepeatableRead = currentTransaction().isolation == .repeatableRead
        let (description, row) = settings.profile(isRepeatableRead: isRepeatableRead)
        write(description)
        write(row)
        endQuery { [self] _ in write(Messages.commandComplete("SELECT 1")) }
    }
}
