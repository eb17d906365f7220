import CDC
import Mutation
import PGProtocol

/// Source rows in a local PostgreSQL, the *cache database*, which the change stream keeps up to date.
///
/// What a query reads is there when each of its uses lies in complete fragments, and then it is answered without the
/// origin:
///
///                    ┌ changes of the stream ─ apply ─┐
///     origin ─ copy ─┴─▶ staging ─ merge (W ≥ beat) ──┴▶ pool ─ read ─▶ memo ─▶ hits
///
/// - *Populations* [T5]. What is received from the moment one begins is applied to the pool as if the fragment were
///   complete, and the keys that it touches are noted: of them the pool knows better than the copy. So is what was
///   received before and may not be visible to the copy yet [T2] (`ReceivedHistory`). When a beat that began after the
///   copy has been reached, every transaction that the copy may have seen was received, and the rest of it joins the
///   pool.
/// - *Changes* [T6]. One transaction of the origin is one in the cache database; they are sent in order and not waited
///   for. Until one is answered it is *outstanding*.
/// - *Reads* [T6]. An answer is filed in the memo's index before it is read, and is read when no outstanding change
///   could alter it. A change that could and comes meanwhile ends the entry, and with it the read. So the answer that
///   remains is the one at W. What waits to become visible at the origin is not shown either: such reads are forwarded.
///
/// Everything is forgotten when the cache database is lost, the stream is in doubt [T7], or an answer of it makes no
/// sense.
///
/// Owner: the cache store, which tells it what happens and takes its commands to the shell. Bounds: `RowLimits`.
struct RowTier {
    enum Standing: Equatable {
        /// There is no cache database, or none at the moment.
        case absent
        case ready
    }
    struct Population {
        var fragment: Fragment
        /// How many rows of it are copied, and in which order, if not all.
        var first: FirstRowsPlan?
        var isPinned = false
        /// For a dependent fragment.
        var isOfKeys = false
        var state = State.waiting
        /// Keys that changes have touched since it was sent. Nil: the pool has what has become of the row. Else the
        /// values that changed; the others, TOASTed ones that nobody touched, are in the copy.
        var touched: [[[UInt8]]: [RowImage]?] = [:]
        /// Images in there, since it was sent.
        var amendmentCount = 0

        enum State: Equatable {
            case waiting
            case copying
            /// Copied; joins the pool when this beat is reached.
            case loaded(UInt64)
            case merging(UInt64)
        }
        /// More changed keys and images than this, and the population is begun anew some time.
        static let touchedMax = 100_000

        /// The pool has the row, if it has it, with the change; the copy shall have it, too.
        /// - Returns: false where the copy's row is of no use any more: only the pool can have it.
        mutating func amend(_ amendment: RowAmendment) -> Bool {
            amendmentCount += 1
            switch touched[amendment.key] {
            case .some(nil): return false
            case .some(let rows?): touched[amendment.key] = rows + [amendment.row]
            case nil: touched[amendment.key] = [amendment.row]
            }
            return true
        }
    }
    /// An update that needs a row to be there.
    struct NeededRow {
        let change: BoundChange
        /// Populations know of it: where the pool lacks the row, their copy may have it.
        let isAmendment: Bool
        /// But not the copies of these: the row had left their fragment since, and has come back.
        let lost: [PopulationID]
    }
    struct Outstanding {
        let sequence: UInt64
        let changes: [BoundChange]
        let operationCount: Int
        /// The updates in it that need a row to be there: which images, for what happens when it is not.
        let updates: [Int: NeededRow]
    }
    struct Read {
        let number: UInt64
        let uses: [BoundUse]
        let links: [JoinLink]
        let command: RowRead
        /// What its answer has to show.
        var proof: RankingProof?
        /// Is sent when this batch was applied; 0 when it was sent.
        var waitsFor: UInt64
    }

    let limits: RowLimits
    /// What the pools may take; nothing is evicted before it is known.
    var bytesMax: Int
    let usesFIFO: Bool
    var hasLost = false
    /// What was asked of the cache database is not answered any more.
    private var hasForgotten = false
    var isMeasuring = false
    var operationsUnmeasured = 0
    static let operationsBetweenMeasures = 10_000
    /// The relation that was evicted from last.
    var hand = OID(0)
    var standing = Standing.absent
    var pools: [OID: RelationPool] = [:]
    var populations: [PopulationID: Population] = [:]
    /// In the order in which they came.
    var waiting: [PopulationID] = []
    var lastPopulation: UInt64 = 0
    var outstanding: [Outstanding] = []
    var history = ReceivedHistory()
    var operationCount = 0
    var sequence: UInt64 = 0
    var reads: [UInt64: Read] = [:]
    var lastRead: UInt64 = 0
    var lastKeyList: UInt64 = 0
    /// Entries that nobody reads any more.
    var abandoned: [UInt64] = []
    /// Rows that belong to no fragment any more, until no read is under way that began when they did.
    var cleanups: [(relation: OID, fragment: Fragment, lastRead: UInt64)] = []
    var commands: [RowCommand] = []
    var firstCommand = 0
    /// Fragments that were too large, by relation and condition.
    var refused: [OID: Set<String>] = [:]
    static let refusedMax = 10_000
    /// How often a fragment that is not there would have been of use, by a hash of what it is.
    var misses: [Int: Int] = [:]
    static let missesMax = 10_000
    /// How often in a row a fragment could not be loaded, or had too few rows.
    var failures: [String: Int] = [:]
    static let failuresMax = 5
    /// Rows behind fewer than which nothing is looked for in fragments of some first rows.
    var tooShort: [String: Int] = [:]
    /// Hashes of executions whose answers the memo did not take; that of another one by chance is forwarded, too.
    private var oversized: Set<UInt64> = []
    /// Relations whose schema should be asked for.
    var wantedSchemas: [OID] = []
    var counters = RowCounters()
    /// Of the pools that there are; nil until somebody needs it.
    private var knownMapping: DescriptionMapping?

    var isReady: Bool { standing == .ready }

    init(limits: RowLimits, usesFIFO: Bool) {
        self.limits = limits
        self.usesFIFO = usesFIFO
        bytesMax = limits.bytesMax
    }

    // MARK: - Commands

    var hasCommands: Bool { firstCommand < commands.count }
    /// Something may go on, or somebody has to hear of something.
    var isBusy: Bool {
        hasCommands || !wantedSchemas.isEmpty || !populations.isEmpty || !abandoned.isEmpty || hasLost || hasForgotten
    }

    mutating func nextCommand() -> RowCommand? {
        guard firstCommand < commands.count else { return nil }
        let command = commands[firstCommand]
        firstCommand += 1
        if firstCommand == commands.count {
            commands.removeAll(keepingCapacity: true)
            firstCommand = 0
        }
        return command
    }

    mutating func send(_ command: RowCommand) { commands.append(command) }

    // MARK: - The cache database

    /// The cache database is there, and empty.
    mutating func databaseReady() {
        forget()
        standing = .ready
    }

    /// It is gone, or of no use.
    mutating func databaseLost() {
        if standing == .ready { counters.resets += 1 }
        forget()
        standing = .absent
    }

    /// The pools are in doubt: the cache database is emptied.
    mutating func reset() {
        guard standing == .ready else { return }
        let hadAny = !pools.isEmpty
        forget()
        if hadAny {
            counters.resets += 1
            // `databaseReady` comes when it was done.
            standing = .absent
            send(.reset)
        }
    }

    mutating func takeForgotten() -> Bool {
        defer { hasForgotten = false }
        return hasForgotten
    }

    mutating func forget() {
        hasForgotten = true
        abandoned += reads.keys
        cleanups.removeAll()
        isMeasuring = false
        pools.removeAll()
        populations.removeAll()
        waiting.removeAll()
        outstanding.removeAll()
        operationCount = 0
        reads.removeAll()
        commands.removeAll()
        firstCommand = 0
        refused.removeAll()
        misses.removeAll()
        failures.removeAll()
        tooShort.removeAll()
        oversized.removeAll()
        wantedSchemas.removeAll()
        knownMapping = nil
    }

    // MARK: - Schemas

    mutating func takeWantedSchema() -> OID? { wantedSchemas.popLast() }

    /// The catalog has answered: the relation's table, or why it cannot have one.
    mutating func schemaArrived(_ relation: OID, _ answer: PoolAnswer) {
        guard var pool = pools[relation], pool.state == .asked else { return }
        switch answer {
        case .refused(let reason): pool.state = .refused(reason)
        case .table(let table, let originBytes):
            pool.table = table
            pool.originBytes = originBytes
            pool.state = .creating
            send(.create(table))
        case .view(let view, let reads):
            pool.table = view
            pool.state = .waiting(reads)
        }
        pools[relation] = pool
        createViews()
    }

    /// Those whose relations are all there.
    mutating func createViews() {
        for (relation, pool) in pools {
            guard case .waiting(let reads) = pool.state, let view = pool.table else { continue }
            if reads.contains(where: { pools[$0]?.isRefused ?? false }) {
                pools[relation]?.state = .refused("it reads a relation that has no pool")
            } else if reads.allSatisfy({ pools[$0]?.isReady ?? false }) {
                pools[relation]?.state = .creating
                send(.create(view))
            }
        }
    }

    /// - Parameter columnTypes: the numbers of its columns' types in the cache database, generated ones included.
    mutating func poolCreated(_ relation: OID, tableOID: OID, columnTypes: [OID]) {
        guard var pool = pools[relation], pool.state == .creating else { return }
        pool.state = columnTypes.count == pool.relation.columns.count ? .ready : .refused("another number of columns")
        pool.tableOID = tableOID
        pool.columnTypes = columnTypes
        pools[relation] = pool
        knownMapping = nil
        createViews()
    }

    /// What makes the origin's row descriptions of the cache database's.
    mutating func mapping() -> DescriptionMapping {
        let mapping = knownMapping ?? DescriptionMapping(pools.values)
        knownMapping = mapping
        return mapping
    }

    mutating func poolInherits(_ child: OID, parent: OID) {
        guard pools[child] != nil else { return }
        pools[parent]?.children.insert(child)
    }

    mutating func poolFailed(_ relation: OID, _ reason: String) {
        pools[relation]?.state = .refused(reason)
        createViews()
    }

    mutating func compare(zone: String) { send(.describeZone(zone)) }

    // MARK: - Wanting

    /// Whether everything that the uses need is there, and the names of their statement mean what they mean at the
    /// origin.
    ///
    /// - Parameters:
    ///   - links: between the uses.
    ///   - named: the relations that the statement names, itself or through others.
    mutating func covers(
        _ uses: [BoundUse], _ links: [JoinLink] = [], named: @autoclosure () -> [Relation]
    ) -> Bool {
        guard isReady else { return false }
        for (position, use) in uses.enumerated() {
            guard pools[use.relation]?.isReady ?? false else { return false }
            if Mutation.onlyFirstUseCovered.isOn, position > 0 { continue }
            guard pools[use.relation]?.covers(use) ?? false || coversByLink(position, uses, links) else {
                return false
            }
        }
        return named().allSatisfy { isMade($0) }
    }

    /// False where no rows at all are there of something that a query reads: then `covers` is false, too.
    func hasSomeRows(_ relations: some Sequence<OID>) -> Bool {
        relations.allSatisfy { !(pools[$0]?.fragments.isEmpty ?? true) } || Mutation.onlyFirstUseCovered.isOn
    }

    /// Its table is there, with all that reading it reads.
    func isMade(_ relation: Relation) -> Bool {
        guard let pool = pools[relation.oid], pool.isReady else { return false }
        return relation.descendants.isEmpty || Self.leaves(relation).allSatisfy { pool.children.contains($0.oid) }
    }

    /// What has rows of its own below it.
    static func leaves(_ relation: Relation) -> [Relation] {
        relation.descendants.filter { $0.kind != UInt8(ascii: "p") }
    }

    /// The same, and nobody has used it by that.
    func mayCover(_ uses: [BoundUse], _ links: [JoinLink] = [], named: [Relation]) -> Bool {
        var copy = self
        return copy.covers(uses, links, named: named)
    }

    /// Whether none of these was loaded for what it says alone.
    func isSubsumed(_ uses: [BoundUse]) -> Bool {
        uses.contains { use in
            guard !use.constraints.isEmpty, let fragments = pools[use.relation]?.fragments else { return false }
            let own = Fragment(use)
            return !fragments.contains { $0.isComplete && $0.fragment == own }
        }
    }

    /// Why there will be no pool for these.
    func refusal(of uses: [BoundUse]) -> String? {
        for use in uses {
            if case .refused(let reason)? = pools[use.relation]?.state { return reason }
        }
        return nil
    }

    /// Some fragment is gone since this was asked: who wants it may want it again.
    mutating func takeLoss() -> Bool {
        defer { hasLost = false }
        return hasLost
    }

    /// A query has missed: what it reads is loaded if that is worth it.
    /// - Parameters:
    ///   - first: the rows that its LIMIT asks for.
    ///   - isPinned: it is, whatever it costs.
    mutating func want(
        _ uses: [BoundUse], _ links: [JoinLink] = [], first: RankedRows? = nil, named: [Relation],
        _ relation: (OID) -> Relation?, isPinned: Bool = false
    ) {
        guard isReady else { return }
        for relation in named { make(relation) }
        for (position, use) in uses.enumerated() {
            guard let isWanting = pools[use.relation]?.isWanting(use) else {
                if let relation = relation(use.relation) { ask(relation) }
                continue
            }
            if !isWanting || populate(use, isPinned: isPinned) { continue }
            if let first, first.ranking.use == position {
                wantFirst(first, use)
            } else {
                wantDependent(position, first.flatMap { narrowed(uses, $0)?.uses } ?? uses, links, isPinned: isPinned)
            }
        }
    }

    /// As far as is possible now.
    mutating func make(_ relation: Relation) {
        guard let pool = pools[relation.oid] else { return ask(relation) }
        guard pool.isReady else { return }
        for child in Self.leaves(relation) where !pool.childrenAsked.contains(child.oid) {
            guard let known = pools[child.oid] else {
                ask(child)
                continue
            }
            guard known.isReady else { continue }
            pools[relation.oid]?.childrenAsked.insert(child.oid)
            send(.inherit(child.oid, parent: relation.oid))
        }
    }

    /// - Precondition: there is no pool of it.
    mutating func ask(_ relation: Relation) {
        pools[relation.oid] = RelationPool(relation)
        wantedSchemas.append(relation.oid)
    }

    /// - Returns: whether there is a fragment that could be loaded for what the use says alone.
    mutating func populate(_ use: BoundUse, isPinned: Bool) -> Bool {
        guard let pool = pools[use.relation] else { return false }
        let isSmall = pool.originBytes <= min(limits.tableBytesMax, isPinned ? .max : bytesMax / 4)
        var candidates: [Fragment] = []
        if isSmall { candidates.append(Fragment(relation: use.relation, constraints: [])) }
        // A large relation is loaded whole only where somebody insists on it.
        if !use.constraints.isEmpty || isPinned { candidates.append(Fragment(use)) }
        for fragment in candidates {
            if let refused = refused[use.relation], refused.contains(fragment.condition(pool.relation) ?? "") {
                continue
            }
            // The whole relation is of use to many: one miss is enough. So is one that will be asked again for sure.
            let isFull = pool.fragments.count >= limits.fragmentsMax
            if !fragment.isWhole, !isPinned, !isOftenMissed(use.relation, use.constraints, isFull: isFull) {
                return true
            }
            begin(fragment, isPinned: isPinned)
            return true
        }
        return false
    }

    /// - Parameter isFull: what is loaded takes the place of something else, for which it is missed once more.
    mutating func isOftenMissed(_ relation: OID, _ what: some Hashable, isFull: Bool = false) -> Bool {
        if misses.count >= Self.missesMax { misses.removeAll(keepingCapacity: true) }
        let key = missKey(relation, what)
        misses[key, default: 0] += 1
        return misses[key, default: 0] >= limits.admissionThreshold + (isFull ? 1 : 0)
    }

    func missKey(_ relation: OID, _ what: some Hashable) -> Int {
        var hasher = Hasher()
        hasher.combine(relation.value)
        hasher.combine(what)
        return hasher.finalize()
    }

    @discardableResult
    mutating func begin(
        _ fragment: Fragment, first: FirstRowsPlan? = nil, isPinned: Bool, isOfKeys: Bool = false
    ) -> PopulationID? {
        guard waiting.count < limits.populationsWaitingMax,
            !waiting.contains(where: { populations[$0]?.fragment == fragment })
        else { return nil }
        lastPopulation += 1
        let id = PopulationID(number: lastPopulation)
        populations[id] = Population(fragment: fragment, first: first, isPinned: isPinned, isOfKeys: isOfKeys)
        waiting.append(id)
        return id
    }

    // MARK: - Reads

    var hasRoomForRead: Bool { isReady && reads.count < limits.readsMax }

    /// - Precondition: `covers(uses)`, and the entry is in the dependency index since before.
    mutating func read(_ command: RowRead, uses: [BoundUse], _ links: [JoinLink] = [], proof: RankingProof? = nil) {
        lastRead += 1
        let waitsFor =
            outstanding.last { batch in
                batch.changes.contains { change in
                    uses.contains { $0.relation == change.relation && change.mayAlter($0) }
                }
            }?.sequence ?? 0
        let mustWait = waitsFor > 0 && !Mutation.readBeforeApplied.isOn
        reads[command.entry] = Read(
            number: lastRead, uses: uses, links: links, command: command, proof: proof,
            waitsFor: mustWait ? waitsFor : 0)
        if !mustWait { send(.read(command)) }
    }

    mutating func releaseReads(upTo done: UInt64) {
        for (entry, read) in reads where read.waitsFor > 0 && read.waitsFor <= done {
            // What it needs may have been given up meanwhile.
            guard covers(read.uses, read.links, named: []) else {
                reads[entry] = nil
                abandoned.append(entry)
                continue
            }
            reads[entry]?.waitsFor = 0
            send(.read(read.command))
        }
        cleanUp()
    }

    /// The cache database has answered all of it, or the entry is gone.
    /// - Returns: what its answer was, so far.
    mutating func readEnded(_ entry: UInt64) -> Read? {
        defer { cleanUp() }
        return reads.removeValue(forKey: entry)
    }

    func isOversized(_ hash: UInt64) -> Bool { !oversized.isEmpty && oversized.contains(hash) }

    mutating func oversized(_ hash: UInt64) {
        if oversized.count >= Self.missesMax { oversized.removeAll(keepingCapacity: true) }
        oversized.insert(hash)
    }

    mutating func takeAbandoned() -> UInt64? { abandoned.popLast() }
}
