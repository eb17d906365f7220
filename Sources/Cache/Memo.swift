import Mutation
import PGProtocol

/// Finished answers of the origin by statement and tail, as the bytes that go to clients.
///
/// `find` is the heart of a hit: a probe, a full compare of the key [K1], no reference counting.
/// Everything hangs behind `let` pointers: entries in slabs, so that a pointer to one stays valid
/// as long as the entry; their index; one queue in order of age for eviction; a list per statement.
/// What an entry depends on is filed in `dependencies` from the moment its capture begins [T1] until
/// it dies, so nobody can forget either.
///
/// Invariants: `bytes` is the sum over all entries that exist, dead ones included, and never above
/// `bytesMax` except by dead entries that clients are still reading. Live entries are in the index,
/// in the list of their statement and in `dependencies`; those that are not capturing are in the
/// queue; dead ones are in none. Slots are reused under a new generation.
///
/// Owner: the cache store. Single thread. Bounds: `bytesMax` over all, `entryBytesMax` for one answer.
final class Memo {
    struct Storage {
        /// Slabs of `slabCount` entries; their places are fixed, and they are never given back.
        var slabs: UnsafeMutablePointer<UnsafeMutablePointer<MemoEntry>>
        /// Slots below were in use at some time.
        var used: UInt32 = 0
        /// Free slots, linked by `nextInQueue`.
        var firstFree = SlotIndex.none
        var index = SlotIndex()
        /// Oldest first.
        var queueHead = SlotIndex.none
        var queueTail = SlotIndex.none
        var bytesMax: Int
        var counters = MemoCounters()
    }

    private static let slabShift: UInt32 = 12
    private static let slabCount = 1 << slabShift
    private static let slabsMax = 1 << 14
    static let slotsMax = UInt32(slabsMax * slabCount)
    /// Accounted for each entry beside its bytes, tail and dependencies.
    static let bytesPerEntry = MemoryLayout<MemoEntry>.stride + SlotIndex.bytesPerSlot + 32

    let statements: StatementTable
    let dependencies = DependencyIndex()
    let admission: Admission
    let policy: EvictionPolicy
    let entryBytesMax: Int
    let storage: UnsafeMutablePointer<Storage>

    /// Sizes in bytes; a `bytesMax` of 0 turns the memo off.
    init(
        statements: StatementTable, bytesMax: Int, entryBytesMax: Int, policy: EvictionPolicy = .clock,
        admissionThreshold: Int = 1
    ) {
        self.statements = statements
        self.policy = policy
        self.entryBytesMax = entryBytesMax
        admission = Admission(policy: policy, threshold: admissionThreshold)
        storage = .allocate(capacity: 1)
        storage.initialize(to: Storage(slabs: .allocate(capacity: Self.slabsMax), bytesMax: bytesMax))
    }

    deinit {
        for slot in 0..<storage.pointee.used {
            let entry = pointer(slot)
            entry.pointee.base?.deallocate()
            if entry.pointee.isLive { entry.pointee.tail.free() }
        }
        for slab in 0..<slabs(for: storage.pointee.used) {
            storage.pointee.slabs[slab].deallocate()
        }
        storage.pointee.slabs.deallocate()
        storage.pointee.index.free()
        storage.deallocate()
    }

    var counters: MemoCounters { storage.pointee.counters }
    /// Bytes accounted for, of `bytesMax`.
    var bytes: Int { storage.pointee.counters.bytes }
    var bytesMax: Int { storage.pointee.bytesMax }
    var isOn: Bool { storage.pointee.bytesMax > 0 }

    // MARK: Looking up

    /// The hash by which `find` and `beginCapture` know a key.
    @inline(__always)
    func hash(_ statement: UnsafeMutablePointer<Statement>, tail: ByteView) -> UInt64 {
        tail.count == 0 || Mutation.constantNotInKey.isOn
            ? statement.pointee.hash : XXHash.hash(tail, seed: statement.pointee.hash)
    }

    /// The live entry of this key, in whatever state. The pointer is valid until the entry dies.
    @inline(__always)
    func find(
        _ statement: StatementID, tail: ByteView, hash: UInt64
    ) -> UnsafeMutablePointer<MemoEntry>? {
        var probe = storage.pointee.index.probe(hash)
        while true {
            let slot = storage.pointee.index.next(&probe)
            if slot == SlotIndex.none { return nil }
            let entry = pointer(slot)
            if entry.pointee.hash == hash, entry.pointee.statement == statement,
                entry.pointee.tail.equals(tail) || Mutation.constantNotInKey.isOn
            {
                entry.pointee.isRecent = true
                return entry
            }
        }
    }

    /// The live entry with an empty tail, without a probe.
    @inline(__always)
    func findSole(_ statement: UnsafeMutablePointer<Statement>) -> UnsafeMutablePointer<MemoEntry>? {
        let slot = statement.pointee.soleEntry
        if slot == SlotIndex.none { return nil }
        let entry = pointer(slot)
        entry.pointee.isRecent = true
        return entry
    }

    /// Nil when it is gone; a dead entry that is pinned is still there.
    @inline(__always)
    subscript(id: EntryID) -> UnsafeMutablePointer<MemoEntry>? {
        guard id.index < storage.pointee.used else { return nil }
        let entry = pointer(id.index)
        return entry.pointee.id == id && entry.pointee.state != .free ? entry : nil
    }

    @inline(__always)
    func pointer(_ slot: UInt32) -> UnsafeMutablePointer<MemoEntry> {
        storage.pointee.slabs[Int(slot >> Self.slabShift)] + Int(slot & UInt32(Self.slabCount - 1))
    }

    // MARK: Capturing

    /// Begins an entry whose bytes will come through `append`. From now on a change that matches `uses`
    /// finds it [T1]. Nil when the memo is off or full of what cannot be evicted, the key is
    /// there already, or the statement is gone. Whether the miss is worth it is `admission`'s to say.
    func beginCapture(
        statement id: StatementID, tail: ByteView, hash: UInt64, uses: [BoundUse]
    ) -> EntryID? {
        guard isOn, let statement = statements[id], tail.count <= entryBytesMax,
            find(id, tail: tail, hash: hash) == nil
        else { return nil }
        let overhead =
            Self.bytesPerEntry + tail.count + DependencyIndex.cost(of: uses)
        guard makeRoom(for: overhead), let entry = takeSlot() else { return nil }
        let slot = entry.pointee.id.index
        entry.pointee.state = .capturing
        entry.pointee.hash = hash
        entry.pointee.statement = id
        entry.pointee.tail = KeyBytes(tail)
        entry.pointee.overhead = overhead
        storage.pointee.counters.captures &+= 1
        storage.pointee.counters.entries += 1
        storage.pointee.counters.bytes += overhead
        entry.pointee.captureSequence = storage.pointee.counters.captures

        storage.pointee.index.insert(hash, slot: slot)
        let first = statement.pointee.firstEntry
        entry.pointee.nextOfStatement = first
        if first != SlotIndex.none { pointer(first).pointee.previousOfStatement = slot }
        statement.pointee.firstEntry = slot
        if tail.count == 0 { statement.pointee.soleEntry = slot }
        dependencies.register(entry.pointee.id, uses: uses)
        return entry.pointee.id
    }

    /// Adds bytes to a capture. False when the capture is over, because it was invalidated before or has
    /// just grown too large: then the caller forgets it and has nothing to clean up.
    func append(_ id: EntryID, _ view: ByteView) -> Bool {
        guard let entry = self[id], entry.pointee.state == .capturing else { return false }
        let count = entry.pointee.count + view.count
        guard count <= entryBytesMax else {
            abandon(id)
            return false
        }
        if count > entry.pointee.capacity {
            var capacity = max(entry.pointee.capacity * 2, 512)
            while capacity < count { capacity *= 2 }
            guard resize(entry, to: min(capacity, entryBytesMax)) else {
                abandon(id)
                return false
            }
        }
        if let base = entry.pointee.base {
            (base + entry.pointee.count).copyMemory(from: view.base, byteCount: view.count)
            entry.pointee.count = count
        }
        return true
    }

    /// Everything behind the description becomes this. False without room for it: nothing has changed then.
    func replaceRows(of entry: UnsafeMutablePointer<MemoEntry>, with rows: [UInt8]) -> Bool {
        let start = entry.pointee.descriptionCount
        let count = start + rows.count
        guard count <= entryBytesMax else { return false }
        if count > entry.pointee.capacity {
            // It must not make room for itself.
            entry.pointee.pins += 1
            defer { entry.pointee.pins -= 1 }
            guard resize(entry, to: count) else { return false }
        }
        guard let base = entry.pointee.base else { return false }
        withView(rows) { (base + start).copyMemory(from: $0.base, byteCount: $0.count) }
        entry.pointee.count = count
        return true
    }

    /// Gives the bytes of an entry that capacity, which is at least their count.
    private func resize(_ entry: UnsafeMutablePointer<MemoEntry>, to capacity: Int) -> Bool {
        assert(capacity >= entry.pointee.count)
        let difference = capacity - entry.pointee.capacity
        if difference > 0, !makeRoom(for: difference) { return false }
        var base: UnsafeMutableRawPointer?
        if capacity > 0 {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 1)
            if let old = entry.pointee.base {
                memory.copyMemory(from: old, byteCount: entry.pointee.count)
            }
            base = memory
        }
        entry.pointee.base?.deallocate()
        entry.pointee.base = base
        entry.pointee.capacity = capacity
        storage.pointee.counters.bytes += difference
        return true
    }

    /// The answer is complete; its first `descriptionCount` bytes are its RowDescription message. False
    /// when the capture is over already.
    func finishCapture(_ id: EntryID, descriptionCount: Int) -> Bool {
        guard let entry = self[id], entry.pointee.state == .capturing else { return false }
        precondition(
            descriptionCount >= 0 && descriptionCount <= entry.pointee.count,
            "the description is part of the answer")
        if entry.pointee.capacity > entry.pointee.count { _ = resize(entry, to: entry.pointee.count) }
        entry.pointee.descriptionCount = descriptionCount
        entry.pointee.state = .captured
        entry.pointee.waits = .watermark
        enqueue(entry)
        return true
    }

    /// Indexes a finished entry by the primary keys its rows hold, which makes invalidation by old
    /// images exact [I2]: `KeyHarvest` says which. Without room for that the entry stays as it is.
    func hold(_ id: EntryID, keys: [RowKey]) {
        guard let entry = self[id], entry.pointee.isLive, entry.pointee.state != .capturing,
            !entry.pointee.isKeyHeld
        else { return }
        let cost = DependencyIndex.cost(of: keys)
        // The entry is pinned meanwhile: it must not make room for itself.
        entry.pointee.pins += 1
        let hasRoom = makeRoom(for: cost)
        entry.pointee.pins -= 1
        guard hasRoom, dependencies.hold(id, keys: keys) else { return }
        entry.pointee.isKeyHeld = true
        entry.pointee.overhead += cost
        storage.pointee.counters.bytes += cost
    }

    /// The watermark has passed what the capture needed [T4]. False when the entry is no longer waiting for that, or
    /// waits for something else.
    @discardableResult
    func makeServable(_ id: EntryID) -> Bool {
        guard let entry = self[id], entry.pointee.state == .captured else { return false }
        if Mutation.followerGetsOldAnswer.isOn, entry.pointee.captureSequence == .max {
            kill(entry)
            return false
        }
        return end(.watermark, of: entry)
    }

    /// New snapshots of the origin show the transaction with this number [T2]: the entry may be served if that is the
    /// last one that was written into it. Who changed the row after another saw that one's change, and so does
    /// everybody who sees his.
    func proven(_ id: EntryID, by transaction: UInt64) {
        guard let entry = self[id], entry.pointee.state == .captured, entry.pointee.patchedBy == transaction
        else { return }
        _ = end(.proof, of: entry)
    }

    private func end(_ wait: MemoEntry.Waits, of entry: UnsafeMutablePointer<MemoEntry>) -> Bool {
        entry.pointee.waits.remove(wait)
        guard entry.pointee.waits.isEmpty else { return false }
        entry.pointee.state = .servable
        return true
    }

    // MARK: Reading in several turns

    /// The bytes of the entry stay where they are until `unpin`, whatever becomes of the entry. It
    /// must not be capturing: a growing answer moves.
    func pin(_ id: EntryID) {
        guard let entry = self[id], entry.pointee.state != .capturing else {
            preconditionFailure("pins an entry that cannot be read")
        }
        entry.pointee.pins += 1
    }

    func unpin(_ id: EntryID) {
        guard let entry = self[id], entry.pointee.pins > 0 else {
            preconditionFailure("unpins an entry that it did not pin")
        }
        entry.pointee.pins -= 1
        if entry.pointee.pins == 0, entry.pointee.state == .dead { freeSlot(entry) }
    }

    /// Entries that are pinned, dead ones included.
    var pinnedCount: Int {
        (0..<storage.pointee.used).count { pointer($0).pointee.pins > 0 && pointer($0).pointee.state != .free }
    }

    // MARK: Ending

    /// A change made the answer wrong, or a capture unfit. Its key is readmitted at its next miss. False
    /// when the entry was gone.
    @discardableResult
    func invalidate(_ id: EntryID) -> Bool {
        guard let entry = self[id], entry.pointee.isLive else { return false }
        admission.readmit(entry.pointee.hash)
        storage.pointee.counters.invalidations &+= 1
        kill(entry)
        return true
    }

    /// Invalidates everything that this change can alter and tells which entries those were, but for what takes the
    /// change in, or waits for what else is known of the row. `invalidated` is appended to: the caller reuses it.
    ///
    /// - Parameter suspends: whether an entry may be suspended: it is as it was, but may not be served before `resume`.
    /// - Returns: what the change was written into, and no earlier one of its transaction; what was suspended.
    @discardableResult
    func invalidate(
        by change: BoundChange, at watermark: LSN, into invalidated: inout [EntryID], patch: () -> RowPatch? = { nil },
        suspends: (EntryID) -> Bool = { _ in false }
    ) -> (patched: [EntryID], suspended: [EntryID]) {
        let first = invalidated.count
        dependencies.affected(by: change, into: &invalidated)
        guard invalidated.count > first else { return ([], []) }
        let patch = patch()
        var patched: [EntryID] = []
        var suspended: [EntryID] = []
        let areFew = invalidated.count - first <= Self.suspendedMax
        var kept = first
        for position in first..<invalidated.count {
            let id = invalidated[position]
            if let patch, let entry = self[id] {
                let before = entry.pointee.patchedBy
                if self.patch(entry, patch) {
                    storage.pointee.counters.patches &+= 1
                    if before != patch.transaction { patched.append(id) }
                    continue
                }
            }
            if areFew, let entry = self[id], entry.pointee.isSuspendable, suspends(id) {
                suspended.append(id)
                if Mutation.imageNotAwaited.isOn { continue }
                entry.pointee.waits.insert(.image)
                entry.pointee.state = .captured
                continue
            }
            invalidated[kept] = id
            kept += 1
            if staysAlthoughAltered(id) { continue }
            note(Invalidation(cause: change.cause, watermark: watermark), self[id])
            invalidate(id)
        }
        invalidated.removeLast(invalidated.count - kept)
        return (patched, suspended)
    }

    /// By one change; of more it is not worth it.
    private static let suspendedMax = 64

    /// No change that it was suspended for has altered it.
    func resume(_ id: EntryID) {
        guard let entry = self[id], entry.pointee.state == .captured else { return }
        _ = end(.image, of: entry)
    }

    /// A change that it was suspended for has altered it, or may have.
    func invalidate(_ id: EntryID, by invalidation: Invalidation) {
        note(invalidation, self[id])
        invalidate(id)
    }

    private func note(_ invalidation: Invalidation, _ entry: UnsafeMutablePointer<MemoEntry>?) {
        guard let entry, let statement = statements[entry.pointee.statement] else { return }
        statement.pointee.lastInvalidation = invalidation
    }

    @inline(__always)
    private func staysAlthoughAltered(_ id: EntryID) -> Bool {
        guard
            Mutation.noT1Check.isOn || Mutation.t1AtExecute.isOn || Mutation.followerGetsOldAnswer.isOn
                || Mutation.readSurvivesChange.isOn,
            let entry = self[id], entry.pointee.state == .capturing
        else { return false }
        if Mutation.readSurvivesChange.isOn { return entry.pointee.captureSequence == .max }
        if Mutation.followerGetsOldAnswer.isOn { entry.pointee.captureSequence = .max }
        return !Mutation.t1AtExecute.isOn || entry.pointee.count == 0
    }

    /// A capture that leads to nothing: an error, a notice, a client that went away.
    func abandon(_ id: EntryID) {
        guard let entry = self[id], entry.pointee.state == .capturing else { return }
        storage.pointee.counters.abandoned &+= 1
        kill(entry)
    }

    /// Ends every entry, captures included: after a change of schema, or when the stream is in doubt [T7].
    func removeAll(_ cause: Invalidation?) {
        for slot in 0..<storage.pointee.used where pointer(slot).pointee.isLive {
            if let cause { note(cause, pointer(slot)) }
            kill(pointer(slot))
        }
    }

    func entryCount(of statement: UnsafeMutablePointer<Statement>) -> Int {
        var count = 0
        var slot = statement.pointee.firstEntry
        while slot != SlotIndex.none {
            if pointer(slot).pointee.isLive { count += 1 }
            slot = pointer(slot).pointee.nextOfStatement
        }
        return count
    }

    func entries(of statement: UnsafeMutablePointer<Statement>) -> [EntryID] {
        var entries: [EntryID] = []
        var slot = statement.pointee.firstEntry
        while slot != SlotIndex.none {
            entries.append(pointer(slot).pointee.id)
            slot = pointer(slot).pointee.nextOfStatement
        }
        return entries
    }

    /// The statement is about to be dropped.
    func removeEntries(of statement: UnsafeMutablePointer<Statement>) {
        while statement.pointee.firstEntry != SlotIndex.none {
            kill(pointer(statement.pointee.firstEntry))
        }
    }

    /// Takes a live entry out of everything; its memory goes with its last reader.
    func kill(_ entry: UnsafeMutablePointer<MemoEntry>) {
        assert(entry.pointee.isLive)
        let slot = entry.pointee.id.index
        if entry.pointee.state != .capturing { dequeue(entry) }
        storage.pointee.index.remove(entry.pointee.hash, slot: slot)
        dependencies.unregister(entry.pointee.id)
        unlinkFromStatement(entry)
        entry.pointee.tail.free()
        entry.pointee.tail = .empty
        entry.pointee.state = .dead
        storage.pointee.counters.entries -= 1
        storage.pointee.counters.bytes -= entry.pointee.overhead
        entry.pointee.overhead = 0
        if entry.pointee.pins == 0 { freeSlot(entry) }
    }

    private func unlinkFromStatement(_ entry: UnsafeMutablePointer<MemoEntry>) {
        let slot = entry.pointee.id.index
        let next = entry.pointee.nextOfStatement
        let previous = entry.pointee.previousOfStatement
        if next != SlotIndex.none { pointer(next).pointee.previousOfStatement = previous }
        if previous != SlotIndex.none { pointer(previous).pointee.nextOfStatement = next }
        // The statement outlives its entries: its removal ends them first.
        guard let statement = statements[entry.pointee.statement] else {
            assertionFailure("an entry without its statement")
            return
        }
        if statement.pointee.firstEntry == slot { statement.pointee.firstEntry = next }
        if statement.pointee.soleEntry == slot { statement.pointee.soleEntry = SlotIndex.none }
    }

    // MARK: Slots

    private func slabs(for slots: UInt32) -> Int {
        (Int(slots) + Self.slabCount - 1) >> Int(Self.slabShift)
    }

    private func takeSlot() -> UnsafeMutablePointer<MemoEntry>? {
        let slot = storage.pointee.firstFree
        if slot != SlotIndex.none {
            let entry = pointer(slot)
            storage.pointee.firstFree = entry.pointee.nextInQueue
            entry.initialize(
                to: MemoEntry(
                    id: EntryID(index: slot, generation: entry.pointee.id.generation &+ 1)))
            return entry
        }
        let next = storage.pointee.used
        guard next < Self.slotsMax else { return nil }
        if slabs(for: next + 1) > slabs(for: next) {
            storage.pointee.slabs[slabs(for: next)] = .allocate(capacity: Self.slabCount)
        }
        storage.pointee.used += 1
        let entry = pointer(next)
        entry.initialize(to: MemoEntry(id: EntryID(index: next, generation: 0)))
        return entry
    }

    private func freeSlot(_ entry: UnsafeMutablePointer<MemoEntry>) {
        assert(entry.pointee.pins == 0 && entry.pointee.state == .dead)
        entry.pointee.base?.deallocate()
        entry.pointee.base = nil
        storage.pointee.counters.bytes -= entry.pointee.capacity
        entry.pointee.capacity = 0
        entry.pointee.count = 0
        entry.pointee.state = .free
        entry.pointee.nextInQueue = storage.pointee.firstFree
        storage.pointee.firstFree = entry.pointee.id.index
    }
}

/// What the memo tells the metrics.
struct MemoCounters: Equatable, Sendable {
    /// Live entries, captures included.
    var entries = 0
    /// Bytes that all entries take, dead ones that are being read included.
    var bytes = 0
    /// Captures begun.
    var captures: UInt64 = 0
    /// Captures that led to nothing.
    var abandoned: UInt64 = 0
    var evictions: UInt64 = 0
    var invalidations: UInt64 = 0
    /// Answers that a change was written into.
    var patches: UInt64 = 0
}
