import PGProtocol

/// The transactions of one session: blocks, implicit ones, savepoints, views, commit.
///
/// Under READ COMMITTED every statement has a view of its own; under REPEATABLE READ all have the first one's. A commit
/// cannot be cancelled, and goes on when the session ends meanwhile. Settings follow the transaction.
extension Backend {
    struct Savepoint {
        var name: String
        var mark: OriginDatabase.Mark
        var identity: Identity
    }

    var status: TransactionStatus {
        switch block {
        case .none: .idle
        case .open: .inTransaction
        case .failed: .failed
        }
    }

    /// The block's transaction, or the implicit one, begun now if there is none.
    func currentTransaction() -> Transaction {
        if let transaction { return transaction }
        let new = database.begin(settings.isolation)
        transaction = new
        return new
    }

    /// The view of the next statement.
    func takeView() -> View {
        let transaction = currentTransaction()
        hasSnapshot = true
        viewedAt = event
        guard transaction.isolation.keepsView else { return database.currentView() }
        if let view = transaction.view { return view }
        let view = database.currentView()
        transaction.view = view
        return view
    }

    /// Only COMMIT and ROLLBACK are taken in a failed block: true if the message in hand has failed for that.
    func isRefusedInFailedBlock(_ statement: Statement?) -> Bool {
        guard block == .failed, statement?.endsTransaction != true else { return false }
        fail(
            SQLState("25P02"),
            "current transaction is aborted, commands ignored until end of transaction block")
        return true
    }

    typealias Controlled = (_ tag: String, LSN?) -> Void

    /// BEGIN, COMMIT, ROLLBACK and their like; `done` is told the tag, and what was committed.
    func control(_ statement: Statement, _ done: @escaping Controlled) {
        switch statement {
        case .begin(let options): begin(options, done)
        case .commit: endBlock(commits: true, done)
        case .rollback: endBlock(commits: false, done)
        case .block(let statement): control(statement, done)
        case .select, .insert, .update, .delete, .truncate, .setting, .catalog, .channel, .ping, .nonsense:
            preconditionFailure("\(statement) does not control a transaction")
        }
    }

    private func control(_ statement: BlockStatement, _ done: @escaping Controlled) {
        switch statement {
        case .savepoint(let name):
            guard isInBlock("SAVEPOINT") else { return }
            let mark = database.mark(currentTransaction())
            savepoints.append(Savepoint(name: name, mark: mark, identity: identity))
            settings.savepoint()
            done(statement.tag, nil)
        case .release(let name):
            guard isInBlock("RELEASE SAVEPOINT"), let place = place(of: name) else { return }
            savepoints.removeSubrange(place...)
            settings.release(place + 1)
            done(statement.tag, nil)
        case .rollbackTo(let name):
            guard isInBlock("ROLLBACK TO SAVEPOINT"), let place = place(of: name) else { return }
            savepoints.removeSubrange((place + 1)...)
            rollBackToLastSavepoint()
            block = .open
            done(statement.tag, nil)
        case .setTransaction(let isolation):
            if block == .none { warn("25P01", "SET TRANSACTION can only be used in transaction blocks") }
            guard set(isolation) else { return }
            done(statement.tag, nil)
        case .commitAndChain, .rollbackAndChain: chain(statement, done)
        case .prepare(let name): prepare(name, done)
        case .commitPrepared(let name): finishPrepared(name, commits: true, statement.tag, done)
        case .rollbackPrepared(let name): finishPrepared(name, commits: false, statement.tag, done)
        }
    }

    // MARK: Blocks

    private func begin(_ options: Begin, _ done: Controlled) {
        if block == .open { warn("25001", "there is already a transaction in progress") }
        // Inside a pipeline it takes over what was done since the last Sync.
        if let isolation = options.isolation, !set(isolation) { return }
        let transaction = currentTransaction()
        if let isReadOnly = options.isReadOnly {
            if !isReadOnly, transaction.isReadOnly, hasSnapshot || !savepoints.isEmpty {
                return fail(SQLState("25001"), "transaction read-write mode must be set before any query")
            }
            transaction.isReadOnly = isReadOnly
        }
        block = .open
        implicitChanges = []
        done(options.tag, nil)
    }

    /// The transaction's level, which stands once it has a view; false when that has failed.
    private func set(_ isolation: Statement.Isolation) -> Bool {
        let transaction = currentTransaction()
        guard transaction.isolation != isolation else { return true }
        guard !hasSnapshot, savepoints.isEmpty else {
            fail(SQLState("25001"), "SET TRANSACTION ISOLATION LEVEL must be called before any query")
            return false
        }
        transaction.isolation = isolation
        return true
    }

    private func endBlock(commits: Bool, _ done: @escaping Controlled) {
        if block == .none { warn("25P01", "there is no transaction in progress") }
        if commits, block != .failed { return commit { lsn in done("COMMIT", lsn) } }
        abort()
        endOfTransaction()
        done("ROLLBACK", nil)
    }

    /// The next transaction is as this one was.
    private func chain(_ statement: BlockStatement, _ done: @escaping Controlled) {
        guard isInBlock(statement == .commitAndChain ? "COMMIT AND CHAIN" : "ROLLBACK AND CHAIN") else { return }
        // A failed one without a savepoint is gone already.
        let old = (transaction?.isolation ?? blockIsolation, transaction?.isReadOnly ?? blockIsReadOnly)
        endBlock(commits: statement == .commitAndChain) { [self] tag, lsn in
            let new = database.begin(old.0)
            new.isReadOnly = old.1
            transaction = new
            block = .open
            done(tag, lsn)
        }
    }

    private func isInBlock(_ name: String) -> Bool {
        if block != .none { return true }
        fail(SQLState("25P01"), "\(name) can only be used in transaction blocks")
        return false
    }

    // MARK: Savepoints

    private func place(of name: String) -> Int? {
        if let place = savepoints.lastIndex(where: { $0.name == name }) { return place }
        fail(SQLState("3B001"), "savepoint \"\(name)\" does not exist")
        return nil
    }

    private func rollBackToLastSavepoint() {
        guard let last = savepoints.last, let transaction else { return }
        database.rollBack(transaction, to: last.mark)
        settings.rollBack(to: savepoints.count)
        identity = last.identity
        portals = [:]
    }

    // MARK: Two-phase commit

    private func prepare(_ name: String, _ done: @escaping Controlled) {
        guard block == .open, let transaction else { return endBlock(commits: false, done) }
        guard !listensWhenCommitted, !notifiesWhenCommitted else {
            return fail(
                .featureNotSupported,
                "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY")
        }
        guard database.prepare(transaction, as: name) else {
            return fail(SQLState("42710"), "transaction identifier \"\(name)\" is already in use")
        }
        self.transaction = nil
        settings.committed()
        endOfTransaction()
        done("PREPARE TRANSACTION", nil)
    }

    private func finishPrepared(_ name: String, commits: Bool, _ tag: String, _ done: @escaping Controlled) {
        guard block == .none else {
            return fail(SQLState("25001"), "\(tag) cannot run inside a transaction block")
        }
        guard database.prepared[name] != nil else {
            return fail(
                SQLState("42704"), "prepared transaction with identifier \"\(name)\" does not exist")
        }
        beginsCommit()
        database.finishPrepared(name, commits: commits) { [self] lsn in
            note(ofLateCommit: lsn)
            done(tag, lsn)
        }
    }

    private func note(ofLateCommit lsn: LSN?) {
        if let lsn { surroundings.trace.note(traceName, "a prepared transaction committed at \(lsn)") }
    }

    // MARK: Ends

    /// Commits what there is; goes on once it is visible.
    func commit(_ done: @escaping (LSN?) -> Void) {
        settings.committed()
        guard let transaction else {
            endOfTransaction()
            return done(nil)
        }
        beginsCommit()
        self.transaction = nil
        let changes = implicitChanges
        let (listens, notifies) = (listensWhenCommitted, notifiesWhenCommitted)
        if notifies { _ = database.number(transaction) }
        let number = transaction.xid
        database.commit(transaction) { [self] lsn in
            if let version = transaction.catalogVersion { origin.executions.note(catalogVersion: version, by: client) }
            for place in changes { origin.executions.amend(client, at: place) { $0.committedLSN = lsn } }
            if let number, let lsn { surroundings.trace.note(traceName, "transaction \(number) committed at \(lsn)") }
            if listens { isListening = true }
            if notifies, let lsn { origin.notify(of: lsn) }
            endOfTransaction()
            done(lsn)
        }
    }

    /// An error: a block has failed from its last savepoint on, or wholly.
    func failTransaction() {
        guard block != .none, !savepoints.isEmpty else { return abort() }
        rollBackToLastSavepoint()
        block = .failed
    }

    /// Rolls back what runs: an open block has failed then.
    func abort() {
        if let transaction {
            (blockIsolation, blockIsReadOnly) = (transaction.isolation, transaction.isReadOnly)
            database.rollback(transaction)
        }
        transaction = nil
        hasSnapshot = false
        implicitChanges = []
        savepoints = []
        identity = settledIdentity
        listensWhenCommitted = false
        notifiesWhenCommitted = false
        settings.rolledBack()
        if block == .none {
            portals = [:]
        } else {
            block = .failed
        }
    }

    /// There is no transaction any more. Portals end with it.
    func endOfTransaction() {
        identity = identity.settled
        settledIdentity = identity
        block = .none
        hasSnapshot = false
        implicitChanges = []
        savepoints = []
        listensWhenCommitted = false
        notifiesWhenCommitted = false
        portals = [:]
    }

    // MARK: Notifications

    /// A commit has become visible that notifies: told at once to who is idle, else before the next ReadyForQuery
    /// outside of a block (manual, NOTIFY).
    func notified(of lsn: LSN) {
        guard isListening else { return }
        notifications.append(lsn)
        guard isReady, block == .none else { return }
        writeNotifications()
        flush()
    }

    private func writeNotifications() {
        for lsn in notifications {
            origin.executions.noteDelivery(lsn, to: client)
            write(Messages.notification)
        }
        notifications = []
    }

    func warn(_ state: String, _ text: String) { notice("WARNING", state, text) }

    /// ReadyForQuery, behind what has changed of the settings that are reported; with it everything that was written
    /// is sent.
    func ready() {
        if block == .none { writeNotifications() }
        isReady = true
        for (name, value) in reportedNow where reported[name] != value {
            reported[name] = value
            write(Messages.parameterStatus(name, value))
        }
        write(Wire.message(BackendType.readyForQuery) { $0.uint8(status.rawValue) })
        flush()
    }
}
