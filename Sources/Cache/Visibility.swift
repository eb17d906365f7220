import PGProtocol

/// Received changes that new snapshots of the origin may not see yet [T2].
///
/// The stream can deliver a commit before the origin shows it to anybody else: under synchronous
/// replication for as long as the standby takes. A capture that begins in between would store the
/// answer from before, and no second change would ever come. So each received transaction is
/// remembered, with what its changes touch, until a snapshot of the origin shows it finished; a
/// capture that begins meanwhile is stored only if nothing that is remembered `matches` it. (What is
/// received later meets the capture in the dependency index [T1].) What was committed before the stream began is never
/// received at all: until everyone below a fence behind that has finished, everything matches.
///
/// With a transaction stand the entries that it was written into: what proves it makes them servable.
///
/// Bounds: `changesMax` changes are kept row by row, beyond them a relation counts as wholly changed.
/// Over `transactionsMax` transactions nothing more is kept: everything matches until `removeAll`, and
/// `isOverfull` tells the owner that the stream is in doubt [T7].
///
/// Owner: the cache store.
struct Visibility {
    static let changesMax = 4096
    static let transactionsMax = 1 << 20

    private enum Proof {
        /// Finished in a snapshot.
        case transaction(UInt32)
        /// Any snapshot that was asked for after the event.
        case nextSnapshot(isAsked: Bool)
        /// A snapshot in which every transaction with a lower number has finished.
        case everyone(below: TransactionID)
    }
    /// What an item that is remembered stands for, beside its rows.
    struct Extent: OptionSet {
        let rawValue: UInt8
        /// Every answer may be altered.
        static let everything = Extent(rawValue: 1)
        /// What was read of the catalog before the proof may be from before the change.
        static let schema = Extent(rawValue: 2)
        /// The publications may be others.
        static let publications = Extent(rawValue: 4)
    }
    /// Entries that a transaction was written into.
    struct Patches: Equatable {
        /// `MemoEntry.patchedBy`.
        var transaction: UInt64
        /// Each once.
        var entries: [EntryID]
    }
    /// What a snapshot has shown to be finished.
    struct Proven {
        var extent: Extent = []
        var patches: [Patches] = []
    }
    private struct Remembered {
        var proof: Proof
        var rows: [BoundChange]
        var whole: [OID]
        var extent: Extent = []
        var patches: Patches?
    }
    /// What is remembered of one relation.
    private struct Touched {
        var isWhole = false
        var rows: [BoundChange] = []
    }

    private var remembered: [Remembered] = []
    /// Derived from `remembered`.
    private var touched: [OID: Touched] = [:]
    private var isEverythingTouched = false
    private(set) var changeCount = 0
    private(set) var isOverfull = false

    /// Nothing waits for a snapshot.
    var isEmpty: Bool { remembered.isEmpty && !isOverfull }
    var transactionCount: Int { remembered.count }
    /// One more transaction would be remembered.
    var hasRoom: Bool { remembered.count < Self.transactionsMax }

    /// A transaction was received. `narrowID` is its number as the stream carries it.
    mutating func received(
        narrowID: UInt32, changes: [BoundChange], whollyChanged: Set<OID> = [], patches: Patches? = nil
    ) {
        var rows: [BoundChange] = []
        var whole = whollyChanged
        for change in changes where !whole.contains(change.relation) {
            if case .row = change.extent, changeCount + rows.count < Self.changesMax {
                rows.append(change)
            } else {
                whole.insert(change.relation)
            }
        }
        rows.removeAll { whole.contains($0.relation) }
        guard !rows.isEmpty || !whole.isEmpty else { return }
        remember(
            Remembered(
                proof: .transaction(narrowID), rows: rows, whole: Array(whole),
                patches: patches.flatMap { $0.entries.isEmpty ? nil : $0 }))
    }

    /// Something happened that may alter any answer. With the number of its transaction it is forgotten when that is
    /// finished; without, by the next snapshot that is asked for from now on.
    /// - Parameter extent: what else it may have changed.
    mutating func rememberAll(narrowID: UInt32? = nil, _ extent: Extent = []) {
        remember(
            Remembered(
                proof: narrowID.map { .transaction($0) } ?? .nextSnapshot(isAsked: false), rows: [],
                whole: [], extent: extent.union(.everything)))
    }

    /// Transactions below this number may have changed anything, and the stream will not tell.
    mutating func rememberAll(below fence: TransactionID, _ extent: Extent = .schema) {
        remember(
            Remembered(
                proof: .everyone(below: fence), rows: [], whole: [], extent: extent.union(.everything)))
    }

    /// The origin is being asked for a snapshot.
    mutating func snapshotAsked() {
        for index in remembered.indices {
            if case .nextSnapshot = remembered[index].proof {
                remembered[index].proof = .nextSnapshot(isAsked: true)
            }
        }
    }

    /// The answer to the last `snapshotAsked`. `isFinished` takes a transaction number of 32 bits, and
    /// says whether the snapshot shows it ended.
    @discardableResult
    mutating func snapshotArrived(
        isFinished: (UInt32) -> Bool, isEveryoneFinished: (TransactionID) -> Bool = { _ in true }
    ) -> Proven {
        let before = remembered.count
        var proven = Proven()
        remembered.removeAll { item in
            let isProven =
                switch item.proof {
                case .transaction(let narrowID): isFinished(narrowID)
                case .nextSnapshot(let isAsked): isAsked
                case .everyone(let fence): isEveryoneFinished(fence)
                }
            if isProven {
                proven.extent.formUnion(item.extent)
                if let patches = item.patches { proven.patches.append(patches) }
            }
            return isProven
        }
        guard remembered.count < before else { return proven }
        touched.removeAll(keepingCapacity: true)
        isEverythingTouched = false
        changeCount = 0
        for item in remembered { touch(item) }
        return proven
    }

    /// Whether something that is remembered could alter the answer of a capture that begins now.
    func matches(_ uses: [BoundUse]) -> Bool {
        if isOverfull || isEverythingTouched { return true }
        if touched.isEmpty { return false }
        for use in uses {
            guard let known = touched[use.relation] else { continue }
            if known.isWhole || known.rows.contains(where: { $0.mayAlter(use) }) { return true }
        }
        return false
    }

    /// More is in doubt than what changed row by row.
    var isEverythingInDoubt: Bool { isOverfull || isEverythingTouched }

    /// The tiers were emptied and the stream begins anew: its past is of no concern.
    mutating func removeAll() { self = Visibility() }

    private mutating func remember(_ item: Remembered) {
        guard hasRoom else {
            isOverfull = true
            return
        }
        remembered.append(item)
        touch(item)
    }

    private mutating func touch(_ item: Remembered) {
        if item.extent.contains(.everything) { isEverythingTouched = true }
        for relation in item.whole { touched[relation, default: Touched()].isWhole = true }
        for change in item.rows { touched[change.relation, default: Touched()].rows.append(change) }
        changeCount += item.rows.count
    }
}

extension BoundChange {
    /// Whether one of its images may satisfy all constraints of a use of its relation.
    func mayAlter(_ use: BoundUse) -> Bool {
        switch extent {
        case .whole: true
        case .row(let old, _, let new):
            use.depends(on: changed) && (new.map(use.mayMatch) ?? false || old.map(use.mayMatch) ?? false)
        }
    }
}
