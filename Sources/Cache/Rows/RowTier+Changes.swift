import CDC
import Mutation
import PGProtocol

/// How pools follow the change stream [T6].
extension RowTier {
    /// Whether some relation has rows here, or is about to.
    var holdsAnything: Bool { pools.contains { !$0.value.isEmpty } }

    /// Whether the pool may know what a row of it was like before a change.
    func mayTell(_ relation: OID) -> Bool { isReady && !(pools[relation]?.isEmpty ?? true) }

    /// One transaction of the origin. `changes` are those of it, bound, in the same order.
    /// - Parameters:
    ///   - asking: of which of them somebody wants to know what the row was like before.
    ///   - shape: under which the images of a relation come.
    /// - Returns: the batch that it is, and for the changes that were asked for the operations that will tell.
    @discardableResult
    mutating func received(
        _ transaction: SourceTransaction, _ changes: [BoundChange], asking: Set<Int> = [],
        _ shape: (OID) -> RelationShape?
    ) -> (sequence: UInt64, telling: [Int: Int])? {
        guard isReady else { return nil }
        history.received(transaction, changes)
        guard holdsAnything else { return nil }
        var telling: [Int: Int] = [:]
        var operations: [RowOperation] = []
        var touching: [BoundChange] = []
        var updates: [Int: NeededRow] = [:]
        for relation in transaction.whollyChanged { giveUpRows(of: relation, &operations, &touching) }
        for (position, (change, bound)) in zip(transaction.changes, changes).enumerated() {
            let tells = take(
                change, bound, shape, &operations, &touching, &updates, tells: asking.contains(position))
            if let tells { telling[position] = tells }
        }
        guard !operations.isEmpty else { return nil }
        let sequence = apply(operations, changes: touching, updates: updates)
        if operationCount > limits.operationsMax {
            reset()
            return nil
        }
        return (sequence, telling)
    }

    /// It came while there was no cache database. What begins when there is one may not see it.
    mutating func missed(_ transaction: SourceTransaction) { history.missed(transaction) }

    /// - Returns: the operation that tells what the row was like before, where `tells` asks for it.
    @discardableResult
    mutating func take(
        _ change: RowChange, _ bound: BoundChange, _ shape: (OID) -> RelationShape?,
        _ operations: inout [RowOperation], _ touching: inout [BoundChange], _ updates: inout [Int: NeededRow],
        tells: Bool = false
    ) -> Int? {
        guard var pool = pools[change.relation], !pool.isEmpty else { return nil }
        guard bound.extent != .whole || change.kind == .truncate, let shape = shape(change.relation),
            pool.prepare(for: shape), let outcome = pool.outcome(of: change, bound)
        else {
            giveUpRows(of: change.relation, &operations, &touching)
            return nil
        }
        var telling: Int?
        if tells, let key = outcome.oldKey {
            telling = operations.count
            operations.append(RowOperation(relation: change.relation, kind: .tell(key: key)))
        }
        pools[change.relation] = pool
        if pool.hasDependents { noteKeys(of: bound) }
        var lost: [PopulationID] = []
        if change.kind == .truncate {
            giveUpLoading(of: change.relation)
        } else {
            lost = touch(change.relation, outcome, bound)
        }
        for operation in outcome.operations {
            if case .update = operation.kind {
                updates[operations.count] = NeededRow(
                    change: bound, isAmendment: outcome.amendment != nil, lost: lost)
            }
            operations.append(operation)
        }
        touching.append(bound)
        return telling
    }

    mutating func apply(
        _ operations: [RowOperation], changes: [BoundChange], updates: [Int: NeededRow] = [:]
    ) -> UInt64 {
        sequence += 1
        outstanding.append(
            Outstanding(
                sequence: sequence, changes: changes, operationCount: operations.count, updates: updates))
        operationCount += operations.count
        counters.operations &+= UInt64(operations.count)
        operationsUnmeasured += operations.count
        if operationsUnmeasured > Self.operationsBetweenMeasures { measure() }
        send(.apply(RowBatch(sequence: sequence, operations: operations)))
        return sequence
    }

    /// - Returns: the populations whose copies do not have the row that an amendment needs.
    mutating func touch(
        _ relation: OID, _ outcome: RelationPool.Outcome, _ bound: BoundChange
    ) -> [PopulationID] {
        var lost: [PopulationID] = []
        for (id, population) in populations where population.fragment.relation == relation {
            switch population.state {
            case .waiting, .merging: continue
            case .copying, .loaded:
                guard population.touched.count + population.amendmentCount + 2 <= Population.touchedMax else {
                    give(up: id)
                    continue
                }
                for key in outcome.touched { populations[id]?.touched[key] = .some(nil) }
                guard let amendment = outcome.amendment, case .row(_, _, let new?) = bound.extent else { continue }
                if population.fragment.mayMatch(new) {
                    if !(populations[id]?.amend(amendment) ?? true) { lost.append(id) }
                } else {
                    populations[id]?.touched[amendment.key] = .some(nil)
                }
            }
        }
        return lost
    }

    /// More has changed than is known row by row.
    mutating func giveUpRows(
        of relation: OID, _ operations: inout [RowOperation], _ touching: inout [BoundChange]
    ) {
        guard let pool = pools[relation], !pool.isEmpty else { return }
        giveUpLoading(of: relation)
        dropFragments(of: relation) { _ in true }
        operations.append(RowOperation(relation: relation, kind: .truncate))
        touching.append(BoundChange(relation: relation, extent: .whole))
    }

    mutating func giveUpLoading(of relation: OID) {
        for (id, population) in populations
        where population.fragment.relation == relation && population.state != .waiting { give(up: id) }
    }

    /// A batch is done. `missing` are the updates of it, by position, whose row was not there.
    mutating func applied(_ done: UInt64, missing: [Int]) {
        guard let index = outstanding.firstIndex(where: { $0.sequence == done }) else { return }
        let batch = outstanding.remove(at: index)
        operationCount -= batch.operationCount
        for position in missing where !Mutation.toastMissingIgnored.isOn {
            if let needed = batch.updates[position] { giveUpFragments(of: needed) }
        }
        for (id, population) in populations where population.state == .merging(done) {
            if missing.isEmpty || Mutation.toastMissingIgnored.isOn {
                complete(id, population.fragment)
            } else {
                give(up: id)
            }
        }
        releaseReads(upTo: done)
    }

    /// A row that belongs into the pool is not there in full.
    mutating func giveUpFragments(of needed: NeededRow) {
        let change = needed.change
        guard case .row(_, _, let new?) = change.extent, let pool = pools[change.relation] else { return }
        func isBroken(_ loaded: RelationPool.Loaded) -> Bool {
            loaded.fragment.mayMatch(new)
                && (loaded.population.map { needed.lost.contains($0) } ?? true || !needed.isAmendment)
        }
        for loaded in pool.fragments where isBroken(loaded) {
            if let id = loaded.population { give(up: id) }
        }
        dropFragments(of: change.relation, where: isBroken)
    }

    /// What belonged to them alone goes when no read needs it any more.
    mutating func dropFragments(of relation: OID, where isDropped: (RelationPool.Loaded) -> Bool) {
        guard var pool = pools[relation] else { return }
        for loaded in pool.fragments where isDropped(loaded) {
            hasLost = true
            cleanups.append((relation, loaded.fragment, lastRead))
        }
        let dropped = pool.fragments.filter { $0.isComplete && isDropped($0) }.map(\.fragment)
        pool.fragments.removeAll(where: isDropped)
        pools[relation] = pool
        if !dropped.isEmpty { keysDropped(with: dropped, of: relation) }
        cleanUp()
    }

    mutating func cleanUp() {
        guard !cleanups.isEmpty else { return }
        let oldest = reads.values.map(\.number).min() ?? .max
        var operations: [RowOperation] = []
        cleanups.removeAll { cleanup in
            guard cleanup.lastRead < oldest || Mutation.cleanupUnderRead.isOn, let pool = pools[cleanup.relation] else {
                return pools[cleanup.relation] == nil
            }
            let kept = pool.fragments.map { $0.fragment.condition(pool.relation) ?? "true" }
            let kind: RowOperation.Kind =
                kept.isEmpty
                ? .truncate : .remove(condition: cleanup.fragment.condition(pool.relation), keeping: kept)
            operations.append(RowOperation(relation: cleanup.relation, kind: kind))
            return true
        }
        guard !operations.isEmpty else { return }
        _ = apply(operations, changes: [])
        measure()
    }

    mutating func complete(_ id: PopulationID, _ fragment: Fragment) {
        populations[id] = nil
        guard var pool = pools[fragment.relation] else { return }
        for index in pool.fragments.indices where pool.fragments[index].population == id {
            pool.fragments.update(index) { $0.population = nil }
        }
        // What lies in it needs no place of its own any more.
        let isPinned = pool.fragments.contains { $0.isPinned && fragment.contains($0.fragment.use) }
        pool.fragments.removeAll { $0.isComplete && $0.fragment != fragment && fragment.contains($0.fragment.use) }
        if isPinned, let index = pool.fragments.firstIndex(where: { $0.fragment == fragment }) {
            pool.fragments.update(index) { $0.isPinned = true }
        }
        if let column = fragment.constraints.first?.column, pool.fragments.contains(where: \.isOfKeys) {
            pool.uniteKeys(of: column)
        }
        pools[fragment.relation] = pool
        keysCompleted(by: fragment)
        keysEnded(id, fragment.relation)
        measure()
        send(.forget(id))
    }
}
