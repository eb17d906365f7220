import Cache
import PGProtocol

/// Running statements, and the simple protocol (manual, 55.2.2 Simple Query).
///
/// A SELECT's rows are those of the moment of its view, whenever they are sent. A change outside a block is answered
/// once its commit is visible.
extension Backend {
    /// Sent by pgcache behind reads of which the origin has not heard, alone or behind BEGIN: so that the transaction
    /// has a view, as it would have had.
    static let viewTaker = "SELECT 1"
    private static let behindBegin = "\n;" + viewTaker

    /// The statement that a text is; nil for an empty one and for what pgcache asks.
    func statement(_ text: String) -> Statement? {
        if let known = surroundings.book.statement(text) { return known }
        if text.hasSuffix(Self.behindBegin) {
            return surroundings.book.statement(String(text.dropLast(Self.behindBegin.count))) ?? .nonsense
        }
        return isEmpty(text) || text == Profile.readSQL || text == Self.viewTaker ? nil : .nonsense
    }

    /// What pgcache asks by itself: its answers, and its failures, are nobody's.
    func isUnasked(_ text: String) -> Bool {
        text == Profile.readSQL || text == Self.viewTaker || text.hasPrefix("ROLLBACK TO SAVEPOINT \"")
    }

    func isUnasked(_ message: FrontendMessage?) -> Bool {
        switch message {
        case .query(let text), .parse(_, let text, _): isUnasked(text)
        case .bind(let bind): prepared[bind.statement]?.own != nil
        case .execute(let portal, _): portals[portal]?.own != nil
        case .describe, .close, .flush, .sync, .terminate, .malformed, .unknown, nil: false
        }
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
        if case .setting(.configure(_, let value, _)) = statement {
            return done(.answer(Answer(rows: [[.text(value)]])))
        }
        if let command = statement.writesAs, currentTransaction().isReadOnly {
            return fail(SQLState("25006"), "cannot execute \(command) in a read-only transaction")
        }
        currentTransaction().role = identity.current
        let outcome =
            changeRole(statement) ?? database.run(statement, parameters, in: currentTransaction(), view: view)
        switch outcome {
        case .answer, .changed:
            surroundings.trace.note(traceName, "\(statement.sql) under \(view.text)")
            if case .changed = outcome, case .insert(let insert) = statement,
                let trigger = Table.all[insert.table].trigger
            {
                settings.set(trigger.setting, trigger.value, isLocal: false)
            }
            done(outcome)
        case .waits(let other):
            wait(for: other) { [self] in run(statement, parameters, done) }
        case .failed(let error):
            fail(error)
        }
    }

    /// Some statements have something to say besides: such an answer is not only its rows.
    func noticeNowAndThen() {
        if random.chance(2) { notice("NOTICE", "00000", "this is worth mentioning") }
    }

    // MARK: The simple protocol

    func query(_ text: String) {
        prepared[""] = nil
        portals[""] = nil
        if isEmpty(text) {
            return endQuery { [self] _ in write(Messages.empty(BackendType.emptyQueryResponse)) }
        }
        guard let statement = statement(text) else {
            return text == Self.viewTaker ? takeViewUnasked() : readProfile()
        }
        if case .nonsense = statement { return failSyntax(text) }
        if isRefusedInFailedBlock(statement) { return }
        if statement.isTransactionControl {
            return control(statement) { [self] tag, lsn in
                surroundings.trace.note(traceName, tag)
                note(.done(tag: tag), lsn)
                write(Messages.commandComplete(tag))
                // SET TRANSACTION has begun one that nobody needs.
                if block == .none { abort() }
                if text.hasSuffix(Self.behindBegin) { writeView() }
                ready()
                finished()
            }
        }
        if case .setting(let setting) = statement, !setting.returnsRows {
            guard change(setting) else { return }
            return endQuery { [self] lsn in
                note(.done(tag: setting.tag), lsn)
                write(Messages.commandComplete(setting.tag))
            }
        }
        if case .channel(let channel) = statement {
            join(channel)
            return endQuery { [self] lsn in
                note(.done(tag: channel.tag), lsn)
                write(Messages.commandComplete(channel.tag))
            }
        }
        guard let resolved = resolved(statement) else { return }
        run(resolved, []) { [self] outcome in
            // What it has done stands, and others may go on before it is told.
            spend { [self] in answer(resolved, outcome) }
        }
    }

    /// The statement over the tables that its names mean in this session; nil when that has failed.
    func resolved(_ statement: Statement) -> Statement? {
        let schemas = mayUsePublic ? settings.schemas : settings.schemas.filter { $0 != CatalogState.schema }
        if let resolved = statement.resolved(in: schemas) { return resolved }
        fail(Statement.unknownTable)
        return nil
    }

    /// LISTEN and NOTIFY act with the commit.
    func join(_ channel: ChannelStatement) {
        if channel == .listen { listensWhenCommitted = true } else { notifiesWhenCommitted = true }
    }

    /// SET and its like; false when that has failed.
    func change(_ setting: SettingStatement) -> Bool {
        if case .set(_, _, isLocal: true) = setting, block == .none {
            warn("25P01", "SET LOCAL can only be used in transaction blocks")
        }
        if case .discardAll = setting {
            guard block == .none else {
                fail(SQLState("25001"), "DISCARD ALL cannot run inside a transaction block")
                return false
            }
            prepared = [:]
            portals = [:]
            isListening = false
        }
        settings.apply(setting)
        if case .discardAll = setting { identity = Identity(identity.login) }
        return true
    }

    private func answer(_ statement: Statement, _ outcome: OriginDatabase.Outcome) {
        switch outcome {
        case .answer(let answer):
            let description = statement.rowDescription(answer.fields, .text)
            if case .setting(let setting) = statement { settings.apply(setting) }
            let rows = statement.dataRows(answer.rows, answer.fields, .text, settings.style)
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

    private func takeViewUnasked() {
        if isRefusedInFailedBlock(nil) { return }
        writeView()
        endQuery { _ in }
    }

    private func writeView() {
        _ = takeView()
        write(Statement.ping.rowDescription(.text) ?? [])
        write(Statement.ping.dataRows([[.int(1)]], .text, .standard) + Messages.commandComplete("SELECT 1"))
    }

    /// The same in the extended protocol, which has no description where none is asked for.
    func answerUnasked(_ text: String) {
        _ = takeView()
        if text == Profile.readSQL {
            write(settings.profile(currentTransaction().isolation, identity, mayUsePublic: mayUsePublic).row)
        } else {
            write(Statement.ping.dataRows([[.int(1)]], .text, .standard))
        }
        write(Messages.commandComplete("SELECT 1"))
        finished()
    }

    /// The question for the session's settings, which the client did not ask.
    private func readProfile() {
        if isRefusedInFailedBlock(nil) { return }
        _ = takeView()
        let (description, row) = settings.profile(
            currentTransaction().isolation, identity, mayUsePublic: mayUsePublic)
        write(description)
        write(row)
        endQuery { [self] _ in write(Messages.commandComplete("SELECT 1")) }
    }
}
