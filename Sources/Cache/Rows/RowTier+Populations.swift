import CDC
import Mutation
import PGProtocol

/// How rows that are there come into a pool [T5].
extension RowTier {
    /// Begins what may begin, and lets join what has waited long enough.
    /// - Parameters:
    ///   - isEverythingInDoubt: more than rows may not be visible at the origin yet [T2].
    ///   - isInvisible: a received change that may matter is not.
    ///   - shape: under which the images of a relation come.
    mutating func advance(
        reachedBeat: UInt64, isEverythingInDoubt: Bool, isInvisible: ([BoundUse]) -> Bool,
        shape: (OID) -> RelationShape?
    ) {
        guard isReady else { return }
        if !populations.isEmpty { mergeLoaded(reachedBeat) }
        guard !waiting.isEmpty else { return }
        var running = populations.values.count { $0.state == .copying }
        let candidates = waiting
        waiting.removeAll(keepingCapacity: true)
        for id in candidates {
            guard let fragment = populations[id]?.fragment else { continue }
            // What cannot be replayed has to be seen by the copy. What it sees is not replayed: changes that are not
            // known row by row may have followed it.
            let isUnseen = isInvisible([fragment.use]) && !Mutation.populationBeforeVisible.isOn
            let mustWait =
                isEverythingInDoubt && !Mutation.populationBeforeVisible.isOn
                || isUnseen && !history.isReplayable(fragment.relation)
            if running >= limits.populationsMax || mustWait {
                waiting.append(id)
            } else if start(id, fragment, replays: isUnseen, shape) {
                running += 1
            }
        }
    }

    /// - Parameter replays: the copy may not see everything that was received.
    mutating func start(
        _ id: PopulationID, _ fragment: Fragment, replays: Bool, _ shape: (OID) -> RelationShape?
    ) -> Bool {
        let isWanted = pools[fragment.relation]?.isWanting(fragment.use) ?? false
        if isWanted { makePlace(in: fragment.relation) }
        guard isWanted, var pool = pools[fragment.relation], pool.fragments.count < limits.fragmentsMax,
            !cleanups.contains(where: { $0.relation == fragment.relation })
        else {
            populations[id] = nil
            keysEnded(id, fragment.relation, .busy)
            return false
        }
        let isPinned = populations[id]?.isPinned ?? false
        pool.fragments.append(
            RelationPool.Loaded(
                fragment: fragment, population: id, isPinned: isPinned, isOfKeys: populations[id]?.isOfKeys ?? false))
        pools[fragment.relation] = pool
        populations[id]?.state = .copying
        counters.populations += 1
        if replays { replay(fragment.relation, shape) }
        send(
            .populate(
                PopulationPlan(
                    id: id, relation: fragment.relation, condition: fragment.condition(pool.relation),
                    bytesMax: limits.fragmentBytesMax, first: populations[id]?.first?.rows)))
        return true
    }

    /// What may not be visible to the copy is applied once more, in its order, to the keys that it touches.
    mutating func replay(_ relation: OID, _ shape: (OID) -> RelationShape?) {
        var operations: [RowOperation] = []
        var touching: [BoundChange] = []
        var updates: [Int: NeededRow] = [:]
        for received in history.received {
            for (change, bound) in zip(received.changes, received.bound) where change.relation == relation {
                take(change, bound, shape, &operations, &touching, &updates)
            }
        }
        // At once: nobody shall see a row as it was in between.
        if !operations.isEmpty { _ = apply(operations, changes: touching, updates: updates) }
    }

    /// The origin's snapshot shows these transactions finished, by the numbers that the stream gives them.
    mutating func proven(_ isFinished: (UInt32) -> Bool, isAllVisible: Bool) {
        history.proven(isFinished)
        if isAllVisible { history.allVisible() }
    }

    /// The copy is whole. `nextBeat` is the number of the first beat that begins from now on.
    /// - Parameter reach: of the first rows, if it was made of these.
    mutating func populationLoaded(
        _ id: PopulationID, bytes: Int, reach: FirstRowsReach? = nil, nextBeat: UInt64
    ) -> Bool {
        guard let relation = populations[id]?.fragment.relation, populations[id]?.state == .copying else {
            send(.forget(id))
            return false
        }
        if populations[id]?.first != nil, !narrow(id, reach ?? FirstRowsReach()) { return false }
        if let index = pools[relation]?.fragments.firstIndex(where: { $0.population == id }) {
            pools[relation]?.fragments.update(index) { $0.bytes = bytes }
        }
        populations[id]?.state = .loaded(nextBeat)
        return true
    }

    mutating func populationFailed(_ id: PopulationID, _ failure: PopulationFailure) {
        guard let population = populations[id] else { return }
        let relation = population.fragment.relation
        let name = population.first?.name
            ?? pools[relation].flatMap { population.fragment.condition($0.relation) } ?? ""
        // What fails again and again would cost the origin a query at each miss.
        if failure == .tooLarge || failure != .busy && hasFailedOften(relation, name) {
            if refused[relation, default: []].count >= Self.refusedMax { refused[relation] = [] }
            refused[relation, default: []].insert(name)
        }
        give(up: id, failure)
    }

    mutating func hasFailedOften(_ relation: OID, _ name: String) -> Bool {
        if failures.count >= Self.missesMax { failures.removeAll(keepingCapacity: true) }
        let key = "\(relation.value) \(name)"
        failures[key, default: 0] += 1
        return failures[key, default: 0] >= Self.failuresMax
    }

    /// The population leads to nothing. Rows that changes have brought meanwhile stay, and are kept up to date.
    mutating func give(up id: PopulationID, _ failure: PopulationFailure = .busy) {
        guard let population = populations.removeValue(forKey: id) else { return }
        defer { keysEnded(id, population.fragment.relation, failure) }
        guard population.state != .waiting else { return }
        counters.givenUp += 1
        send(.forget(id))
        dropFragments(of: population.fragment.relation) { $0.population == id }
    }

    mutating func mergeLoaded(_ reachedBeat: UInt64) {
        for (id, population) in populations {
            guard case .loaded(let beat) = population.state,
                beat <= reachedBeat || Mutation.mergeBeforeWatermark.isOn
            else { continue }
            let touched = Mutation.populationOverwritesChanges.isOn ? [:] : population.touched
            let merge = RowOperation.Kind.merge(
                id, touched: touched.filter { $0.value == nil }.map(\.key),
                amended: touched.flatMap { key, rows in (rows ?? []).map { RowAmendment(key: key, row: $0) } })
            let sequence = apply([RowOperation(relation: population.fragment.relation, kind: merge)], changes: [])
            populations[id]?.state = .merging(sequence)
            populations[id]?.touched = [:]
        }
    }
}
