import PGProtocol

/// Every SQL text that was seen, under each profile, with what was found out about it.
///
/// A text that was seen before is never parsed again: `find` costs one hash and one full compare of
/// the key [K1]. The slots have fixed places in raw memory behind one `let` pointer: no reference
/// counting and no exclusivity check on a lookup. (A struct stored in a class costs a
/// `swift_beginAccess` for each use.)
///
/// Bounds: `countMax` statements and `bytesMax` bytes, overhead included. When full, a clock drops
/// statements that no session has prepared and nothing waits for; a sweep looks at no more than
/// `sweepMax` of them, so that an insertion stays cheap when all are held. The memo entries of a
/// dropped statement go with it. Slots are reused under a new generation: an old `StatementID`
/// finds nothing.
///
/// Owner: the cache store. Single thread.
final class StatementTable {
    private struct Storage {
        var slots: UnsafeMutablePointer<Statement>
        /// By slot; odd while the slot is in use.
        var generations: UnsafeMutablePointer<UInt32>
        var free: UnsafeMutablePointer<UInt32>
        var freeCount = 0
        /// Slots below were in use at some time.
        var used = 0
        var index = SlotIndex()
        var hand = 0
        var count = 0
        var bytes = 0
        var evictions: UInt64 = 0
        var refusals: UInt64 = 0
    }

    static let sweepMax = 1024
    /// Accounted for each statement beside its key: the slot, its cells, and a guess of what a
    /// resolved query and a description take.
    static let bytesPerStatement =
        MemoryLayout<Statement>.stride + SlotIndex.bytesPerSlot + 8 + 1024

    let countMax: Int
    let bytesMax: Int
    private let seed: UInt64
    /// Statements that others share, by projection, relations and key.
    private var shared: [UInt64: StatementID] = [:]
    private let storage: UnsafeMutablePointer<Storage>

    /// `seed` should be drawn at random by whoever has randomness, so that nobody can prepare texts
    /// that collide.
    init(countMax: Int, bytesMax: Int, seed: UInt64 = 0) {
        precondition(countMax > 0 && countMax < Int(UInt32.max), "a table has room for something")
        self.countMax = countMax
        self.bytesMax = bytesMax
        self.seed = seed
        // Large allocations are not touched before use: an empty table takes no memory.
        let generations = UnsafeMutablePointer<UInt32>.allocate(capacity: countMax)
        storage = .allocate(capacity: 1)
        storage.initialize(
            to: Storage(
                slots: .allocate(capacity: countMax), generations: generations,
                free: .allocate(capacity: countMax)))
    }

    deinit {
        for index in 0..<storage.pointee.used where storage.pointee.generations[index] & 1 == 1 {
            storage.pointee.slots[index].key.free()
            (storage.pointee.slots + index).deinitialize(count: 1)
        }
        storage.pointee.slots.deallocate()
        storage.pointee.generations.deallocate()
        storage.pointee.free.deallocate()
        storage.pointee.index.free()
        storage.deallocate()
    }

    var count: Int { storage.pointee.count }
    var bytes: Int { storage.pointee.bytes }
    var evictions: UInt64 { storage.pointee.evictions }
    /// Insertions that found no room.
    var refusals: UInt64 { storage.pointee.refusals }

    // MARK: Looking up

    @inline(__always)
    func hash(profile: UInt32, key: ByteView) -> UInt64 {
        XXHash.hash(key, seed: seed &+ UInt64(profile) &* 0x9E37_79B9_7F4A_7C15)
    }

    /// `hash` is that of `hash(profile:key:)`. The pointer is valid until the next insertion.
    @inline(__always)
    func find(profile: UInt32, key: ByteView, hash: UInt64) -> UnsafeMutablePointer<Statement>? {
        var probe = storage.pointee.index.probe(hash)
        while true {
            let slot = storage.pointee.index.next(&probe)
            if slot == SlotIndex.none { return nil }
            let statement = storage.pointee.slots + Int(slot)
            if statement.pointee.hash == hash, statement.pointee.profile == profile,
                statement.pointee.key.equals(key)
            {
                statement.pointee.isRecent = true
                return statement
            }
        }
    }

    /// Nil when it was evicted. The pointer is valid until the next insertion.
    @inline(__always)
    subscript(id: StatementID) -> UnsafeMutablePointer<Statement>? {
        let index = Int(id.index)
        guard index < storage.pointee.used, storage.pointee.generations[index] == id.generation,
            id.generation & 1 == 1
        else { return nil }
        return storage.pointee.slots + index
    }

    /// Visits at most `max` statements.
    func forEach(max: Int, _ body: (UnsafeMutablePointer<Statement>) -> Void) {
        var visited = 0
        for index in 0..<storage.pointee.used where storage.pointee.generations[index] & 1 == 1 {
            if visited == max { return }
            visited += 1
            body(storage.pointee.slots + index)
        }
    }

    // MARK: Changing

    /// Adds a statement that `find` did not find, in state `fresh`. `key` is copied; its first
    /// `textCount` bytes are the SQL text. Nil when there is no room: the statement is then forwarded
    /// as if it had never been seen. What is dropped to make room takes its entries out of `memo`.
    func insert(
        profile: UInt32, key: ByteView, textCount: Int, hash: UInt64, evictingFrom memo: Memo
    ) -> UnsafeMutablePointer<Statement>? {
        precondition(textCount >= 0 && textCount <= key.count, "the text is part of the key")
        assert(find(profile: profile, key: key, hash: hash) == nil)
        let cost = key.count + Self.bytesPerStatement
        guard makeRoom(for: cost, evictingFrom: memo) else {
            storage.pointee.refusals &+= 1
            return nil
        }
        let index: Int
        if storage.pointee.freeCount > 0 {
            storage.pointee.freeCount -= 1
            index = Int(storage.pointee.free[storage.pointee.freeCount])
            storage.pointee.generations[index] &+= 1
        } else {
            index = storage.pointee.used
            storage.pointee.used += 1
            (storage.pointee.generations + index).initialize(to: 1)
        }
        let id = StatementID(
            index: UInt32(index), generation: storage.pointee.generations[index])
        let slot = storage.pointee.slots + index
        slot.initialize(
            to: Statement(
                id: id, hash: hash, profile: profile, key: KeyBytes(key), textCount: textCount))
        storage.pointee.index.insert(hash, slot: id.index)
        storage.pointee.count += 1
        storage.pointee.bytes += cost
        return slot
    }

    /// A session holds it as a prepared statement: it stays until as many `release`s.
    func retain(_ id: StatementID) {
        guard let statement = self[id] else { preconditionFailure("retains a statement that is gone") }
        statement.pointee.references += 1
    }

    func release(_ id: StatementID) {
        guard let statement = self[id], statement.pointee.references > 0 else {
            preconditionFailure("releases a statement that it did not retain")
        }
        statement.pointee.references -= 1
    }

    /// Forgets what the catalog said about every statement (after a change of schema or rights).
    /// The statements, their IDs and their memo entries stay; the caller empties the memo.
    func reset() {
        for index in 0..<storage.pointee.used where storage.pointee.generations[index] & 1 == 1 {
            storage.pointee.slots[index].forgetResolution()
        }
        shared.removeAll(keepingCapacity: true)
    }

    /// Forgets who may execute every statement.
    func forgetRights() {
        for index in 0..<storage.pointee.used where storage.pointee.generations[index] & 1 == 1 {
            storage.pointee.slots[index].rolesAllowed = RoleSet()
            storage.pointee.slots[index].rolesAsked = RoleSet()
        }
    }

    // MARK: Sharing

    /// Finds the statement that this one shares everything with: the same key under a profile with the same projection,
    /// whose names mean the same relations, all compared in full [K1]. Without one it stands for itself, and for
    /// those to come.
    @discardableResult
    func elect(_ statement: UnsafeMutablePointer<Statement>) -> UnsafeMutablePointer<Statement> {
        statement.pointee.canonical = statement.pointee.id
        guard let projection = statement.pointee.projection, let query = statement.pointee.query else {
            return statement
        }
        var hash = hash(profile: projection, key: statement.pointee.key.view)
        for use in query.uses { hash = (hash ^ UInt64(use.relation.value)) &* 0x9E37_79B9_7F4A_7C15 }
        guard let id = shared[hash], let found = self[id] else {
            shared[hash] = statement.pointee.id
            return statement
        }
        let isSame = found.pointee.projection == projection && found.pointee.state == .cacheable
            && found.pointee.key.equals(statement.pointee.key.view)
            && found.pointee.query?.meansTheSame(as: query) ?? false
        guard isSame else { return statement }
        statement.pointee.canonical = id
        return found
    }

    // MARK: Dropping

    private func makeRoom(for cost: Int, evictingFrom memo: Memo) -> Bool {
        guard cost <= bytesMax else { return false }
        var steps = 0
        while storage.pointee.count >= countMax || storage.pointee.bytes + cost > bytesMax {
            guard let victim = nextVictim(&steps) else { return false }
            remove(victim, from: memo)
            storage.pointee.evictions &+= 1
        }
        return true
    }

    private func nextVictim(_ steps: inout Int) -> UnsafeMutablePointer<Statement>? {
        while steps < Self.sweepMax {
            steps += 1
            if storage.pointee.hand >= storage.pointee.used { storage.pointee.hand = 0 }
            let index = storage.pointee.hand
            storage.pointee.hand += 1
            guard storage.pointee.generations[index] & 1 == 1 else { continue }
            let statement = storage.pointee.slots + index
            guard statement.pointee.references == 0, !statement.pointee.isPinnedByCatalogRequest
            else { continue }
            if statement.pointee.isRecent {
                statement.pointee.isRecent = false
                continue
            }
            return statement
        }
        return nil
    }

    private func remove(_ statement: UnsafeMutablePointer<Statement>, from memo: Memo) {
        memo.removeEntries(of: statement)
        if shared.count >= 2 * countMax { shared = shared.filter { self[$0.value] != nil } }
        let index = statement.pointee.id.index
        storage.pointee.index.remove(statement.pointee.hash, slot: index)
        storage.pointee.bytes -= statement.pointee.key.count + Self.bytesPerStatement
        storage.pointee.count -= 1
        statement.pointee.key.free()
        statement.deinitialize(count: 1)
        storage.pointee.generations[Int(index)] &+= 1
        storage.pointee.free[storage.pointee.freeCount] = index
        storage.pointee.freeCount += 1
    }
}
