import PGProtocol

/// What pools take, and what goes when that is too much.
extension RowTier {
    mutating func measure() {
        guard !isMeasuring else { return }
        isMeasuring = true
        operationsUnmeasured = 0
        send(.measure)
    }

    /// What the pools take on disk. `bytesMax` is what they may.
    mutating func measured(_ bytes: [OID: Int], bytesMax: Int) {
        isMeasuring = false
        self.bytesMax = bytesMax
        for (relation, size) in bytes { pools[relation]?.bytes = size }
        var excess = pools.values.reduce(0) { $0 + $1.bytes - $1.bytesRemoved } - bytesMax
        while excess > 0, let freed = evictOne() { excess -= freed }
        // A table that is made anew is smaller at once; else what is removed makes room for what comes.
        let isOver = pools.values.reduce(0) { $0 + $1.bytes } > bytesMax
        for (relation, pool) in pools
        where pool.bytesRemoved > (isOver ? 0 : max(pool.bytes / 2, 1 << 20))
            && !cleanups.contains(where: { $0.relation == relation })
        {
            pools[relation]?.bytesRemoved = 0
            send(.compact(relation))
            measure()
        }
    }

    /// The next fragment that nobody has used for a round goes.
    /// - Returns: the bytes that it took, about; nil when there is nothing to evict.
    mutating func evictOne() -> Int? {
        for _ in 0..<2 {
            // Relations take turns, and with them what they hold.
            let behind = pools.keys.filter { $0.value > hand.value }.sorted()
            for relation in behind + pools.keys.filter({ $0.value <= hand.value }).sorted() {
                guard let evicted = evictOne(of: relation) else { continue }
                hand = relation
                return evicted.bytes
            }
        }
        return nil
    }

    private mutating func evictOne(of relation: OID) -> (fragment: Fragment, bytes: Int)? {
        guard let pool = pools[relation] else { return nil }
        for (index, loaded) in pool.fragments.enumerated() where loaded.isComplete && !loaded.isPinned {
            if loaded.isRecent, !usesFIFO {
                pools[relation]?.fragments.update(index) { $0.isRecent = false }
                continue
            }
            let isLast = pool.fragments.count == 1
            if !isLast { pools[relation]?.bytesRemoved += loaded.bytes }
            counters.evictions += 1
            dropFragments(of: relation) { $0.fragment == loaded.fragment && $0.isComplete }
            return (loaded.fragment, max(isLast ? pool.bytes : loaded.bytes, 1))
        }
        return nil
    }

    /// Where a relation has as many fragments as it may, one gives its place to another.
    mutating func makePlace(in relation: OID) {
        guard let count = pools[relation]?.fragments.count, count >= limits.fragmentsMax else { return }
        // At the second look nobody has used them lately.
        guard let (fragment, _) = evictOne(of: relation) ?? evictOne(of: relation) else { return }
        // Too many that are all in use shall not take turns with each miss.
        misses[missKey(relation, fragment.constraints)] = nil
    }
}
