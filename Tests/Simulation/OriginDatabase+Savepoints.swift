import PGProtocol

/// Savepoints and prepared transactions.
extension OriginDatabase {
    /// How far a transaction had come.
    struct Mark {
        fileprivate var edits: Int
        fileprivate var touched: Int
        fileprivate var locked: Int
        fileprivate var changedTables: Int
        fileprivate var truncatedTables: Int
        fileprivate var catalog: CatalogState?
    }

    func mark(_ transaction: Transaction) -> Mark {
        Mark(
            edits: transaction.edits.count, touched: transaction.touched.count, locked: transaction.locked.count,
            changedTables: transaction.changedTables, truncatedTables: transaction.truncatedTables,
            catalog: transaction.catalog)
    }

    /// What the transaction has done since has not happened: the stream will not tell it either.
    func rollBack(_ transaction: Transaction, to mark: Mark) {
        transaction.waitsFor = nil
        guard let xid = transaction.xid else { return }
        for row in transaction.touched[mark.touched...].reversed() { tables[row.table].undoLast(row.id, xid) }
        transaction.touched.removeSubrange(mark.touched...)
        transaction.edits.removeSubrange(mark.edits...)
        transaction.locked.removeSubrange(mark.locked...)
        transaction.changedTables = mark.changedTables
        transaction.truncatedTables = mark.truncatedTables
        transaction.catalog = mark.catalog
    }

    // MARK: Two-phase commit

    /// The transaction is nobody's from here on, keeps its locks, and survives a crash. False where the name is taken.
    ///
    /// An administrator ends what has stood for a while: nobody is to wait for ever.
    func prepare(_ transaction: Transaction, as name: String) -> Bool {
        guard prepared[name] == nil else { return false }
        _ = number(transaction)
        transaction.waitsFor = nil
        transaction.state = .prepared
        prepared[name] = transaction
        writeOther()
        var random = surroundings.random(name)
        let commits = random.chance(500)
        surroundings.scheduler.after(UInt64(random.within(500...3000)) * millisecond) { [weak self] in
            guard let self, self.prepared[name] === transaction else { return }
            self.finishPrepared(name, commits: commits) { _ in }
        }
        return true
    }

    /// COMMIT PREPARED or ROLLBACK PREPARED, by anybody: false where there is no such transaction. `done` is told as
    /// `commit` does, nil for a rollback.
    @discardableResult
    func finishPrepared(_ name: String, commits: Bool, _ done: @escaping (LSN?) -> Void) -> Bool {
        guard let transaction = prepared.removeValue(forKey: name) else { return false }
        transaction.state = .running
        if commits {
            commit(transaction, done)
        } else {
            rollback(transaction)
            done(nil)
        }
        return true
    }
}
