import CDC
import Mutation
import PGProtocol

/// Answers that wait for what changed rows were like before.
///
/// Under the default replica identity the stream does not tell: an UPDATE of any row could have been one of a row that
/// some answer counted [I2]. The row tier knows, if it has the row. So an answer that the change may alter is
/// suspended: nobody is given it while the pool is asked, in front of the very change. Then it is invalidated by what
/// the change really was, or goes on. The watermark does not wait for that.
///
/// Whatever ends the pool's knowledge ends the answers that wait for it. Bounds: `changesMax` for one answer, and what
/// the row tier bounds itself.
struct AwaitedImages {
    struct Awaited {
        /// In its batch.
        let operation: Int
        let change: RowChange
        let entries: [EntryID]
    }
    /// An answer that waits for more is invalidated: it would hardly ever be servable.
    private static let changesMax: UInt8 = 8

    /// By the batch that tells.
    private var batches: [UInt64: [Awaited]] = [:]
    /// Of each suspended entry, how many changes it waits for.
    private var counts: [EntryID: UInt8] = [:]

    /// It waits for one change more; false where that is too many.
    mutating func suspend(_ id: EntryID) -> Bool {
        guard counts[id, default: 0] < Self.changesMax else { return false }
        counts[id, default: 0] += 1
        return true
    }

    mutating func keep(_ awaited: [Awaited], for batch: UInt64) { batches[batch] = awaited }

    mutating func told(_ batch: UInt64) -> [Awaited] { batches.removeValue(forKey: batch) ?? [] }

    /// One of the changes that it waits for has not altered it.
    /// - Returns: whether that was the last.
    mutating func settled(_ id: EntryID) -> Bool {
        guard let count = counts[id], count > 1 else {
            counts[id] = nil
            return true
        }
        counts[id] = count - 1
        return false
    }

    mutating func ended(_ id: EntryID) { counts[id] = nil }

    /// Nobody will tell anything any more.
    mutating func removeAll() -> [EntryID] {
        defer {
            batches.removeAll()
            counts.removeAll()
        }
        return batches.values.flatMap { $0.flatMap(\.entries) }
    }
}

extension CacheStore {
    /// Whether the stream leaves open what the row was like, and the pool may know.
    func mayBeTold(_ change: RowChange) -> Bool {
        switch change.kind {
        case .update(.absent, _), .update(.key, _), .delete(.key): rows.mayTell(change.relation)
        case .update(.full, _), .delete, .insert, .truncate: false
        }
    }

    /// - Parameters:
    ///   - suspended: by the position of the change in its transaction, what it has suspended.
    ///   - asked: what the row tier will tell.
    func awaitImages(
        _ suspended: [Int: [EntryID]], of transaction: SourceTransaction,
        _ asked: (sequence: UInt64, telling: [Int: Int])?
    ) {
        var awaited: [AwaitedImages.Awaited] = []
        for (position, entries) in suspended {
            let change = transaction.changes[position]
            if let asked, let operation = asked.telling[position] {
                awaited.append(AwaitedImages.Awaited(operation: operation, change: change, entries: entries))
            } else {
                for id in entries { end(id, by: change) }
            }
        }
        if let asked, !awaited.isEmpty { images.keep(awaited, for: asked.sequence) }
    }

    /// A batch is applied.
    /// - Parameter rows: what its operations have told, by position, as the tables' columns.
    func imagesTold(_ sequence: UInt64, _ rows: [Int: RowImage]) {
        var altered: [EntryID] = []
        for awaited in images.told(sequence) {
            guard let exact = exact(awaited.change, rows[awaited.operation]) else {
                for id in awaited.entries {
                    if Mutation.untoldRowHarmless.isOn { goOn(id) } else { end(id, by: awaited.change) }
                }
                continue
            }
            altered.removeAll(keepingCapacity: true)
            memo.dependencies.affected(by: exact, into: &altered)
            let affected = Set(altered)
            for id in awaited.entries {
                if affected.contains(id) { end(id, by: awaited.change) } else { goOn(id) }
            }
        }
    }

    /// The change, with what the row was like before.
    private func exact(_ change: RowChange, _ row: RowImage?) -> BoundChange? {
        guard let row, let image = rows.pools[change.relation]?.image(row) else { return nil }
        switch change.kind {
        case .update(_, let new):
            return bind(RowChange(relation: change.relation, kind: .update(old: .full(image), new: new)))
        case .delete: return bind(RowChange(relation: change.relation, kind: .delete(old: .full(image))))
        case .insert, .truncate: return nil
        }
    }

    private func goOn(_ id: EntryID) {
        guard images.settled(id) else { return }
        // It may have been evicted meanwhile; whoever waits for it hears of that here.
        if memo[id]?.pointee.isLive ?? false {
            counters.spared += 1
            memo.resume(id)
        }
        releaseFollowers(of: id)
    }

    private func end(_ id: EntryID, by change: RowChange) {
        images.ended(id)
        if memo[id]?.pointee.isLive ?? false {
            memo.invalidate(id, by: Invalidation(cause: bind(change).cause, watermark: watermark))
            counters.invalidations &+= 1
        }
        releaseFollowers(of: id)
    }

    /// The row tier knows nothing any more.
    func forgetImages() {
        for id in images.removeAll() { drop(id) }
    }
}
