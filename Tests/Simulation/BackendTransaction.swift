import PGProtocol

/// The transactions of one session: blocks, implicit ones, views, commit.
///
/// Under READ COMMITTED every statement has a view of its own; under REPEATABLE READ all have the first one's. A commit
/// cannot be cancelled, and goes on when the session ends meanwhile.
extension Backend {
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
        let new = database.begin(.readCommitted)
        transaction = new
        return new
    }

    /// The view of the next statement.
    func takeView() -> View {
        let transaction = currentTransaction()
        hasSnapshot = true
        viewedAt = event
        guard transaction.isolation == .repeatableRead else { return database.currentView() }
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

    /// BEGIN, COMMIT and ROLLBACK; `done` is told the tag, and what was committed.
    func control(_ statement: Statement, _ done: @escaping (_ tag: String, LSN?) -> Void) {
        switch statement {
        case .begin(let isolation):
            begin(isolation, done)
        case .commit where block == .failed:
            abort()
            endOfTransaction()
            done("ROLLBACK", nil)
        case .commit:
            if block == .none { warn("25P01", "there is no transaction in progress") }
            commit { lsn in done("COMMIT", lsn) }
        case .rollback:
            if block == .none { warn("25P01", "there is no transaction in progress") }
            abort()
            endOfTransaction()
            done("ROLLBACK", nil)
        case .select, .insert, .update, .delete, .truncate, .ping, .nonsense:
            preconditionFailure("\(statement) does not control a transaction")
        }
    }

    private func begin(_ isolation: Statement.Isolation, _ done: (String, LSN?) -> Void) {
        if block == .open { warn("25001", "there is already a transaction in progress") }
        // A plain BEGIN leaves the level as it is; inside a pipeline it takes over what was done since the last Sync.
        if isolation == .repeatableRead, currentTransaction().isolation != .repeatableRead {
            guard !hasSnapshot else {
                return fail(
                    SQLState("25001"), "SET TRANSACTION ISOLATION LEVEL must be called before any query")
            }
            if let transaction { database.rollback(transaction) }
            transaction = database.begin(.repeatableRead)
        }
        _ = currentTransaction()
        block = .open
        implicitChanges = []
        done("BEGIN", nil)
    }

    /// Commits what there is; goes on once it is visible.
    func commit(_ done: @escaping (LSN?) -> Void) {
        guard let transaction else {
            endOfTransaction()
            return done(nil)
        }
        beginsCommit()
        self.transaction = nil
        let changes = implicitChanges
        let number = transaction.xid
        database.commit(transaction) { [self] lsn in
            for place in changes { origin.executions.amend(client, at: place) { $0.committedLSN = lsn } }
            if let number, let lsn { surroundings.trace.note(traceName, "transaction \(number) committed at \(lsn)") }
            endOfTransaction()
            done(lsn)
        }
    }

    /// Rolls back what runs: an open block has failed then.
    func abort() {
        if let transaction { database.rollback(transaction) }
        transaction = nil
        hasSnapshot = false
        implicitChanges = []
        if block == .none {
            portals = [:]
        } else {
            block = .failed
        }
    }

    /// There is no transaction any more. Portals end with it.
    func endOfTransaction() {
        block = .none
        hasSnapshot = false
        implicitChanges = []
        portals = [:]
    }

    private func warn(_ state: String, _ text: String) { write(Messages.notice("WARNING", state, text)) }

    /// ReadyForQuery; with it everything that was written is sent.
    func ready() {
        write(Wire.message(BackendType.readyForQuery) { $0.uint8(status.rawValue) })
        flush()
    }
}
