import CDC
import Mutation
import PGProtocol

/// What the change stream, the beat and the schema tell.
extension CacheStore {
    // MARK: - The stream

    /// The stream does not send what transactions below this number have committed before it began [T2].
    public func streamFenced(below fence: TransactionID) {
        visibility.rememberAll(below: fence, Mutation.noFlushAfterLoss.isOn ? [] : .schema)
    }

    /// The stream has caught up at `lsn`.
    public func streamBecameLive(_ lsn: LSN) {
        hot.pointee.watermark = lsn
        isLive = true
        hot.pointee.isServing = !isStale
    }

    /// Nothing is known of what changes from now on. With `mustEmpty` also what was known is in doubt [T7].
    public func streamLost(mustEmpty: Bool) {
        counters.streamLosses += 1
        isLive = false
        hot.pointee.isServing = false
        wakeWaiting()
        beats.forgetTransactions()
        guard mustEmpty else { return }
        if !Mutation.noFlushAfterLoss.isOn { empty(.stream) }
        beats.forgetAnswers()
        resetRows()
        visibility = Visibility()
        hot.pointee.watermark = .zero
    }

    /// The watermark is older than it may be, or no longer: meanwhile everything is forwarded.
    public func setStale(_ isStale: Bool) {
        guard isStale != self.isStale else { return }
        self.isStale = isStale
        hot.pointee.isServing = isLive && !isStale
        if isStale { wakeWaiting() }
    }

    /// The shape under which the next changes of a relation come.
    public func relationDescribed(_ shape: RelationShape) {
        let known = shapes.updateValue(shape, forKey: shape.oid)
        if known == shape { return }
        mappings[shape.oid] = nil
        if known != nil {
            // The stream is the first to tell that the relation is another one now [D1].
            schemaChanged()
            isShapeNew = true
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
        let whole = changes.count
        for change in transaction.changes {
            count(change)
            changes.append(bind(change))
        }
        guard !limits.ignoresChanges else { return }
        var patched: [EntryID] = []
        var suspended: [Int: [EntryID]] = [:]
        for (position, change) in changes.enumerated() {
            let source = position < whole ? nil : transaction.changes[position - whole]
            let maySuspend = source.map { mayBeTold($0) } ?? false
            let outcome = memo.invalidate(
                by: change, at: watermark, into: &invalidated, patch: { source.flatMap { patch($0, change) } },
                suspends: { maySuspend && images.suspend($0) })
            patched += outcome.patched
            if !outcome.suspended.isEmpty { suspended[position - whole] = outcome.suspended }
        }
        counters.invalidations &+= UInt64(invalidated.count)
        if !Mutation.followerGetsOldAnswer.isOn { for id in invalidated { releaseFollowers(of: id) } }
        invalidated.removeAll(keepingCapacity: true)
        visibility.received(
            narrowID: transaction.narrowID, changes: changes,
            patches: Visibility.Patches(transaction: counters.transactions, entries: patched))
        if rows.isReady {
            let asked = rows.received(
                transaction, Array(changes.dropFirst(whole)), asking: Set(suspended.keys)) { shapes[$0] }
            awaitImages(suspended, of: transaction, asked)
        } else if !Mutation.absenceForgotten.isOn {
            rows.missed(transaction)
        }
        schemaMayHaveChanged(by: transaction)
        beats.received(transaction.narrowID)
    }

    /// A transaction that changed the schema may not be visible yet: what is read of the catalog meanwhile, and what is
    /// captured, may be from before it. So everything is forgotten at once, for those who look from W, nothing is
    /// captured before a snapshot shows the transaction finished, and then everything is forgotten once more [T2] [D1].
    private func schemaMayHaveChanged(by transaction: SourceTransaction) {
        var extent: Visibility.Extent = []
        if transaction.changesSchema, !Mutation.schemaChangeUnnoticed.isOn { extent.insert(.schema) }
        if transaction.changesPublications { extent.formUnion([.schema, .publications]) }
        if !extent.isEmpty { schemaChanged() }
        // A new shape has emptied everything a moment ago.
        if isShapeNew { extent.insert(.schema) }
        isShapeNew = false
        if !extent.isEmpty, !Mutation.schemaMessageWithoutT2.isOn {
            visibility.rememberAll(narrowID: transaction.narrowID, extent)
        }
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
    func bind(_ change: RowChange) -> BoundChange {
        guard let relation = catalog.relation(change.relation),
            let mapping = mapping(change.relation, relation)
        else { return BoundChange(relation: change.relation, extent: .whole) }
        return mapping.bind(change)
    }

    /// What is patched has to be remembered until it is proven.
    private func patch(_ change: RowChange, _ bound: BoundChange) -> RowPatch? {
        guard visibility.hasRoom, let relation = catalog.relation(change.relation),
            let mapping = mapping(change.relation, relation)
        else { return nil }
        return RowPatch(change, bound, of: counters.transactions, relation, mapping)
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
        reachBeats()
    }

    /// The watermark has moved, or a beat was answered: bounds may have been reached.
    private func reachBeats() {
        beats.watermarkReached(watermark)
        while let id = beats.nextReached() { _ = memo.makeServable(id) }
        guard beats.reached > reachedBeat else { return }
        hot.pointee.reachedBeat = beats.reached
        if beats.isCaughtUp { lateness = .none }
        guard !waitingForBeat.isEmpty else { return }
        waitingForBeat.removeAll { waiting in
            guard waiting.beat <= beats.reached else { return false }
            woken.append(waiting.session)
            return true
        }
    }

    // MARK: - Beats

    /// Something waits for a beat; `isUrgent` when a client may be waiting for it.
    public var wantsBeat: (isWanted: Bool, isUrgent: Bool) {
        (
            beats.isWanted || !visibility.isEmpty,
            beats.isUrgent || !limits.sharesBeats && beats.isWanted || isVisibilityUrgent && !visibility.isEmpty
        )
    }
    public var isBeatInFlight: Bool { beats.isInFlight }

    public func beatBegan() {
        counters.beats += 1
        visibility.snapshotAsked()
        isVisibilityUrgent = false
        beats.began()
    }

    public func beatAnswered(_ snapshot: Snapshot, _ lsn: LSN) {
        let proven = visibility.snapshotArrived(
            isFinished: { snapshot.isFinished(snapshot.widen($0)) },
            isEveryoneFinished: { snapshot.isEveryoneFinished(below: $0) })
        rows.proven({ snapshot.isFinished(snapshot.widen($0)) }, isAllVisible: visibility.isEmpty)
        if proven.extent.contains(.schema) { schemaChanged() }
        if proven.extent.contains(.publications) { isPublicationChanged = true }
        for patches in proven.patches {
            for id in patches.entries { memo.proven(id, by: patches.transaction) }
        }
        beats.answered(lsn.withoutPageHeader, snapshot)
        reachBeats()
    }

    public func beatFailed() { beats.failed() }

    /// The number of the latest beat that began.
    public var beatsBegun: UInt64 { beats.begun }

    /// Whether others have changed a publication, visibly, since this was asked.
    public func takePublicationChange() -> Bool {
        defer { isPublicationChanged = false }
        return isPublicationChanged
    }

    /// The session waits for a beat to be reached, or for `watermarkIsLate`.
    /// - Parameter mayBeForwarded: or for `watermarkIsStalled`.
    func wait(_ session: SessionNumber, for beat: UInt64, mayBeForwarded: Bool) {
        waitingForBeat.append((beat, session, mayBeForwarded))
    }

    /// What the latest beat told was not on the origin's disk, from where the stream is read, and nobody is about to
    /// commit: reads have pruned pages, or a transaction goes on. Whoever may goes to the origin meanwhile.
    public func watermarkIsStalled() {
        stalledBeat = beats.begun
        wakeForwardable()
    }

    /// A session has waited long enough for the watermark: until it has caught up, nobody waits for it.
    /// - Parameter forWrites: That was for its own write. Else those do who wait for theirs, which may take longer.
    public func watermarkIsLate(forWrites: Bool) {
        if forWrites {
            lateness = .writes
            wakeWaiting()
        } else {
            if lateness == .none { lateness = .reads }
            wakeForwardable()
        }
    }

    private func wakeWaiting() {
        woken += waitingForBeat.map(\.session)
        waitingForBeat.removeAll()
    }

    private func wakeForwardable() {
        waitingForBeat.removeAll { waiting in
            guard waiting.mayBeForwarded else { return false }
            woken.append(waiting.session)
            return true
        }
    }

    // MARK: - Schema

    /// Privileges on relations have changed, and nothing else: what is cached is still true, but who may see it is
    /// to be asked again [P1].
    func rightsChanged() {
        guard !Mutation.revokeUnnoticed.isOn else { return }
        statements.forgetRights()
        shapesSeen.forgetRights()
        questions.rightsChanged()
        catalog.unproven.forgetRights()
        rightsKnown.removeAll()
        rightsAsked.removeAll()
        unconfirmed.removeAll()
    }

    /// The schema, privileges or roles have changed, or may have: nothing that was read of them counts.
    public func schemaChanged(builtInsToo: Bool = false) {
        counters.schemaChanges += 1
        empty(.schema)
        resetRows()
        statements.reset()
        shapesSeen.removeAll()
        pending.removeAll()
        catalog.forgetAll(builtInsToo: builtInsToo)
        mappings.removeAll()
        membership.reconsider()
        knownSettings.forgetSteps()
        pinned.schemaChanged()
        likeness.forgetZones()
        schemaEpoch &+= 1
        questions.schemaChanged()
        rightsKnown.removeAll()
        rightsAsked.removeAll()
        unconfirmed.removeAll()
        wakeExplaining()
        askBootstrap()
    }
}
