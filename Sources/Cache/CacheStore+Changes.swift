import CDC
import PGProtocol

/// What the change stream, the beat and the schema tell.
extension CacheStore {
    // MARK: - The stream

    /// The stream has caught up at `lsn`.
    public func streamBecameLive(_ lsn: LSN) {
        hot.pointee.watermark = lsn
        hot.pointee.isServing = true
    }

    /// Nothing is known of what changes from now on. With `mustEmpty` also what was known is in doubt [T7].
    public func streamLost(mustEmpty: Bool) {
        counters.streamLosses += 1
        hot.pointee.isServing = false
        guard mustEmpty else { return }
        empty()
        visibility = Visibility()
        hot.pointee.watermark = .zero
    }

    /// The shape under which the next changes of a relation come.
    public func relationDescribed(_ shape: RelationShape) {
        let known = shapes.updateValue(shape, forKey: shape.oid)
        if known == shape { return }
        mappings[shape.oid] = nil
        if known != nil {
            // The stream is the first to tell that the relation is another one now [D1].
            schemaChanged()
        }
    }

    /// One committed transaction: all of its invalidations take effect at once [I1] [I2] [T2].
    public func transactionReceived(_ transaction: SourceTransaction) {
        counters.transactions += 1
        var changes: [BoundChange] = []
        changes.reserveCapacity(transaction.changes.count)
        for oid in transaction.whollyChanged {
            changes.append(BoundChange(relation: oid, extent: .whole))
        }
        for change in transaction.changes {
            count(change)
            changes.append(bind(change))
        }
        guard !limits.ignoresChanges else { return }
        for change in changes { memo.invalidate(by: change, into: &invalidated) }
        counters.invalidations &+= UInt64(invalidated.count)
        for id in invalidated { releaseFollowers(of: id) }
        invalidated.removeAll(keepingCapacity: true)
        visibility.received(narrowID: transaction.narrowID, changes: changes)
    }

    private func count(_ change: RowChange) {
        switch change.kind {
        case .insert: counters.inserts += 1
        case .update: counters.updates += 1
        case .delete: counters.deletes += 1
        case .truncate: counters.truncates += 1
        }
    }

    /// The change by positions of the catalog's columns; the whole relation where that is not certain [I3].
    private func bind(_ change: RowChange) -> BoundChange {
        guard let relation = catalog.relation(change.relation),
            let mapping = mapping(change.relation, relation)
        else { return BoundChange(relation: change.relation, extent: .whole) }
        return mapping.bind(change)
    }

    private func mapping(_ oid: OID, _ relation: Relation) -> RowMapping? {
        if let mapping = mappings[oid] { return mapping }
        guard let shape = shapes[oid], let mapping = RowMapping(relation, shape)
        else { return nil }
        mappings[oid] = mapping
        return mapping
    }

    /// Every change up to `lsn` was given.
    public func watermarkAdvanced(_ lsn: LSN) {
        hot.pointee.watermark = lsn
        while let id = beats.nextReached(lsn) { _ = memo.makeServable(id) }
    }

    // MARK: - Beats

    /// Something waits for a beat; `isUrgent` when a client may be waiting for it.
    public var wantsBeat: (isWanted: Bool, isUrgent: Bool) {
        (beats.isWanted || !visibility.isEmpty, beats.isWanted || isVisibilityUrgent && !visibility.isEmpty)
    }
    public var isBeatInFlight: Bool { beats.isInFlight }

    public func beatBegan() {
        counters.beats += 1
        visibility.snapshotAsked()
        isVisibilityUrgent = false
        beats.began()
    }

    public func beatAnswered(_ snapshot: Snapshot, _ lsn: LSN) {
        visibility.snapshotArrived { snapshot.isFinished(snapshot.widen($0)) }
        beats.answered(lsn.withoutPageHeader)
        while let id = beats.nextReached(watermark) { _ = memo.makeServable(id) }
    }

    public func beatFailed() { beats.failed() }

    /// The next session whose bound is known.
    public func nextBound() -> (session: SessionNumber, lsn: LSN, beat: UInt64)? { beats.nextBound() }

    /// A session may have written: the first beat that can tell its bound [S1].
    func sessionWrote(_ session: SessionNumber) -> UInt64 { beats.wait(session: session) }

    // MARK: - Schema

    /// The schema, privileges or roles have changed, or may have: nothing that was read of them counts.
    public func schemaChanged(builtInsToo: Bool = false) {
        counters.schemaChanges += 1
        empty()
        statements.reset()
        pending.removeAll()
        catalog.forgetAll(builtInsToo: builtInsToo)
        mappings.removeAll()
        membership.reconsider()
        schemaEpoch &+= 1
        questions.schemaChanged()
        rightsKnown.removeAll()
        askBootstrap()
    }
}
