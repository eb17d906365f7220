import CDC
import Mutation
import PGProtocol

/// The owner of everything that is cached and of all that decides about it.
///
/// Sessions ask it where an answer comes from; the change stream tells it what changed; the catalog
/// answers what it asked. It does no I/O: what it wants of the origin stands in queues that the
/// shell empties at the end of a turn (`nextQuestion`, `wantsBeat`, `nextFollow`, `nextWoken`).
///
/// The life of an answer:
///
///     miss ─beginCapture→ capturing ─finishCapture→ captured ─beat, watermark→ servable ─→ hits
///            [T1] [T2] [C4]                 ▲           [T4]         │
///                                           └─ a change of the row that it shows (`RowPatch`) [T2]
///                 any other matching change, a change of the schema, eviction ─→ gone
///
/// Invariants: `isServing` only between `streamBecameLive` and `streamLost`, and outside of that there is no
/// entry; every live entry is filed in the dependency index. The state that a hit reads is behind
/// one pointer: a field of a class costs an exclusivity check for each access.
///
/// Owner: the shell. Single thread. Bounds: `Limits`.
public final class CacheStore {
    public struct Limits: Sendable {
        public var memoBytesMax = 64 << 20
        public var entryBytesMax = 1 << 20
        public var usesFIFO = false
        public var admissionThreshold = 1
        public var statementsMax = 50_000
        public var statementBytesMax = 64 << 10
        /// `table` or `schema.table` in lower case; empty allows every table.
        public var allowedTables: Set<String> = []
        public var readYourWrites = ReadYourWrites.forward
        /// Hits inside READ COMMITTED transactions [S2].
        public var cachesInTransactions = true
        /// Settings of the application that statements may read, in lower case [K4].
        public var customSettings: [String] = []
        /// Answers that nobody wants may wait, so that one beat tells of many.
        public var sharesBeats = true
        /// Received changes are ignored: shows that a comparison can fail.
        public var ignoresChanges = false
        /// The database that is followed.
        public var database = ""
        /// Nil without a row tier.
        public var rows: RowLimits?
        /// Whose rows are loaded at the start and stay.
        public var pinnedQueries: [String] = []
        /// The same, `table` or `schema.table` in lower case.
        public var pinnedTables: [String] = []

        public init() {}
    }

    struct Hot {
        var isServing = false
        var watermark = LSN.zero
        /// The latest beat that the watermark has passed: `Beats.reached`, where a hit reads it.
        var reachedBeat: UInt64 = 0
        var counters = CacheCounters()
    }

    public internal(set) var limits: Limits
    let hot: UnsafeMutablePointer<Hot>
    private let scratch = UnsafeMutableRawPointer.allocate(
        byteCount: ExtendedUnit.bytesMax + 4, alignment: 8)
    let statements: StatementTable
    let memo: Memo

    // Who and what.
    var catalog = Catalog()
    var profiles = Profiles()
    var projections = Projections()
    /// The settings of the application that statements may read, in the order in which sessions are asked for them.
    let declaredOrder: [String]
    let declaredSettings: Set<String>
    /// What a session is asked for its settings; `profileReading` takes the row.
    let profileSQL: String
    var roles = Roles()
    var knownSettings = KnownSettings()
    /// Grows when the configuration was loaded again, or what a log-in brings has changed.
    var settingsEra: UInt32 = 0
    /// By profile: the schemas in which names are looked up.
    var searchPaths: [UInt32: [String]] = [:]
    var questions = Questions()
    var rightsKnown: [RightsSubject: Bool] = [:]
    /// Of all columns: about these, or about some of their columns, a question is under way.
    var rightsAsked: Set<RightsSubject> = []
    /// What was answered with yes, and nobody has asked to be confirmed yet.
    var unconfirmed: [UnconfirmedRight] = []
    var poll = CatalogPoll()
    var hasPolled = false
    var catalogIsConnected = false
    /// Statements that wait for the catalog or for a relation to be followed.
    var pending: [StatementID: ParsedStatement] = [:]
    static let pendingMax = 10_000
    /// Grows with every change of the schema: a profile that was read before is read again.
    var schemaEpoch: UInt32 = 0

    // What texts have in common.
    let shapeScanner = ShapeScanner()
    var shapesSeen: ShapeTable
    var windows = WindowTable()

    // What changes.
    /// The stream is live; `isServing` needs more.
    var isLive = false
    /// The watermark is older than the operator allows.
    var isStale = false
    /// The next transaction has described a relation as another one than before.
    var isShapeNew = false
    var isPublicationChanged = false
    var membership = Membership()
    var shapes: [OID: RelationShape] = [:]
    var mappings: [OID: RowMapping] = [:]
    var visibility = Visibility()
    /// A capture was refused for what `visibility` remembers, or a reader sent away from what was patched: the next one
    /// of the same waits for a beat.
    var isVisibilityUrgent = false

    // Rows.
    var rows: RowTier
    var images = AwaitedImages()
    var pinned: PinnedQueries
    var likeness = Likeness()
    /// What a cache database has to be like.
    package internal(set) var originDatabase: DatabaseFacts?
    /// With `memo_cache_size` 0 an answer from the rows is dropped when those who waited for it have it.
    var keepsAnswers: Bool
    var transients: [EntryID] = []

    // Who waits.
    var beats = Beats()
    var followers: [EntryID: [SessionNumber]] = [:]
    /// Sessions that wait for a beat to be reached, in the order in which they came.
    var waitingForBeat: [(beat: UInt64, session: SessionNumber, mayBeForwarded: Bool)] = []
    /// Who does not wait for the watermark, as it takes too long, until it has passed every beat.
    var lateness = Lateness.none
    enum Lateness { case none, reads, writes }
    /// The watermark will not pass this beat soon: who may be forwarded does not wait for it.
    var stalledBeat: UInt64 = 0
    var isStalled: Bool { stalledBeat > reachedBeat }
    var woken: [SessionNumber] = []
    /// Sessions that wait for an explanation, until anything more is known of the catalog.
    var waitingForCatalog: [SessionNumber] = []
    var invalidated: [EntryID] = []

    public init(limits: Limits, seed: UInt64) {
        self.limits = limits
        declaredOrder = limits.customSettings.filter { Profile.isCustomName($0) }
        declaredSettings = Set(declaredOrder)
        profileSQL = Profile.readSQL(declared: declaredOrder)
        shapesSeen = ShapeTable(seed: seed)
        rows = RowTier(limits: limits.rows ?? RowLimits(), usesFIFO: limits.usesFIFO)
        pinned = PinnedQueries(queries: limits.pinnedQueries, tables: limits.pinnedTables)
        keepsAnswers = limits.memoBytesMax > 0
        hot = .allocate(capacity: 1)
        hot.initialize(to: Hot())
        statements = StatementTable(
            countMax: max(limits.statementsMax, 16), bytesMax: max(limits.statementsMax, 16) * 4096,
            seed: seed)
        memo = Memo(
            statements: statements,
            bytesMax: Self.memoBytesMax(limits.memoBytesMax, limits),
            entryBytesMax: limits.entryBytesMax, policy: limits.usesFIFO ? .fifo : .clock,
            admissionThreshold: limits.admissionThreshold)
    }

    /// For answers from the rows where the memo is off.
    private static let transitBytesMax = 32 << 20

    static func memoBytesMax(_ wanted: Int, _ limits: Limits) -> Int {
        wanted > 0 || limits.rows == nil ? wanted : transitBytesMax
    }

    deinit {
        hot.deinitialize(count: 1)
        hot.deallocate()
        scratch.deallocate()
    }

    /// Hits are allowed: the stream is live, and the watermark not too old.
    public var isServing: Bool { hot.pointee.isServing }
    /// Every change up to here has taken effect.
    public var watermark: LSN { hot.pointee.watermark }
    public var reachedBeat: UInt64 { hot.pointee.reachedBeat }
    public var counters: CacheCounters {
        @inline(__always) _read { yield hot.pointee.counters }
        @inline(__always) _modify { yield &hot.pointee.counters }
    }

    /// Whether `nextWoken`, `nextFollow`, `nextQuestion` or `wantsBeat` has something for the shell.
    public var wantsAnything: Bool {
        !woken.isEmpty || membership.hasWanted || !questions.isEmpty || beats.isWanted
            || !visibility.isEmpty || rows.isBusy || !transients.isEmpty
    }

    // MARK: - Bytes of an answer

    /// What a hit sends of an entry: rows and command tag, with the row description in front or not.
    public func bytes(_ id: EntryID, describes: Bool) -> ByteView {
        guard let entry = memo[id] else { preconditionFailure("a hit names an entry that is gone") }
        return describes ? entry.pointee.bytes : entry.pointee.rows
    }

    /// A client reads the entry's bytes until `unpin`.
    public func pin(_ id: EntryID) { memo.pin(id) }
    public func unpin(_ packed: UInt64) {
        if !Mutation.pinNotReleased.isOn { memo.unpin(EntryID(packed: packed)) }
    }

    // MARK: - Captures

    /// Begins to copy the answer that the origin is about to give, if that copy may be kept.
    ///
    /// Nil where a hit would not be allowed [C4], where a received change that may not be visible yet
    /// matches [T2], where a parameter may mean the time of day [C1], or where it is not worth it.
    func beginCapture(_ execution: Execution) -> EntryID? {
        let statement = execution.statement
        let tail = execution.tail
        guard isServing, let query = statement.pointee.query,
            memo.find(statement, execution.key) == nil || !keepsAnswers,
            query.uses.allSatisfy({ membership.isFollowed($0.relation) }),
            tail.count == 0 || !StatementParser.isTimeDependentText(tail)
        else { return nil }
        let hash = memo.hash(statement, tail: execution.key)
        guard memo.admission.missed(hash), let binding = binding(statement, tail) else { return nil }
        let uses = binding.bind(query)
        wantRows(query, uses, statement, binding)
        guard keepsAnswers else { return nil }
        guard !visibility.matches(uses) || Mutation.noT2Check.isOn else {
            counters.capturesRefused += 1
            isVisibilityUrgent = true
            return nil
        }
        return memo.beginCapture(
            statement: statement.pointee.id, tail: execution.key, hash: hash, uses: uses)
    }

    /// What turns the constraints of an execution's statement into those of its answer; nil where its tail is
    /// malformed.
    func binding(_ statement: UnsafeMutablePointer<Statement>, _ tail: ByteView) -> OperandBinding? {
        var binding = OperandBinding(isEncodingShared: true)
        guard tail.count > 0 else { return binding }
        guard let parsed = try? BindTail(tail) else { return nil }
        binding.tail = parsed
        binding.declaredTypes = statement.pointee.declaredTypes
        return binding
    }

    /// False when the capture has ended, well or not: nothing more needs to be copied.
    func append(_ id: EntryID, _ bytes: ByteView) -> Bool {
        if memo.append(id, bytes) { return true }
        releaseFollowers(of: id)
        return false
    }

    /// The row description has been appended whole, and nothing else yet.
    func descriptionEnded(_ id: EntryID) {
        guard let entry = memo[id], entry.pointee.state == .capturing else { return }
        entry.pointee.descriptionCount = entry.pointee.count
    }

    /// The answer is whole. It is servable when a beat that begins from now on says so [T4].
    func finishCapture(_ id: EntryID) {
        guard let entry = memo[id], entry.pointee.state == .capturing,
            memo.finishCapture(id, descriptionCount: entry.pointee.descriptionCount)
        else {
            releaseFollowers(of: id)
            return
        }
        if let statement = statements[entry.pointee.statement], let shape = entry.pointee.description.rowShape {
            described(statement, shape) { $0 == id }
            guard memo[id] != nil else { return }
        }
        holdKeys(id)
        noteWindow(id)
        if Mutation.noT4Wait.isOn { memo.makeServable(id) }
        if !beats.wait(entry: id) { drop(id) }
        guard let waiting = followers.removeValue(forKey: id) else { return }
        counters.coalesced &+= UInt64(waiting.count)
        woken += waiting
    }

    /// The origin says what a statement returns. Was it something else, the schema has changed, and nobody had noticed
    /// [D1]. Did nobody know, what came without a description may be from before such a change [S4].
    /// - Parameter isBehind: which entries' answers come behind this.
    func described(
        _ statement: UnsafeMutablePointer<Statement>, _ shape: [UInt8]?, reply: [UInt8]? = nil,
        isBehind: (EntryID) -> Bool
    ) {
        let known = statement.pointee.rowShape
        statement.pointee.rowShape = shape
        if let reply { statement.pointee.describeReply = reply }
        guard shape != known else { return }
        if known != nil { return schemaChanged() }
        for id in memo.entries(of: statement) where !isBehind(id) { drop(id) }
    }

    /// An entry whose rows are rows of one table is found by the keys it holds [I2].
    func holdKeys(_ id: EntryID) {
        guard let entry = memo[id], let statement = statements[entry.pointee.statement],
            let query = statement.pointee.query, let use = query.uses.first,
            let relation = catalog.relation(use.relation)
        else { return }
        guard let binding = binding(statement, entry.pointee.tail.view) else { return }
        guard KeyHarvest.isWorthwhile(query, uses: binding.bind(query), relation: relation) else { return }
        let keys = withView(statement.pointee.describeReply ?? []) { described in
            KeyHarvest.keys(
                answer: entry.pointee.bytes, descriptionCount: entry.pointee.descriptionCount,
                described: described.count > 0 ? described : nil, tail: binding.tail,
                relation: relation, isEncodingShared: true)
        }
        if let keys { memo.hold(id, keys: keys) }
    }

    /// A capture that leads to nothing.
    func abandon(_ id: EntryID) {
        memo.abandon(id)
        releaseFollowers(of: id)
    }

    /// An entry that cannot serve what is asked of it.
    func drop(_ id: EntryID) {
        _ = memo.invalidate(id)
        releaseFollowers(of: id)
    }

    /// The origin will not answer this request.
    func requestDropped(_ owed: Pipeline.Owed) {
        guard owed.capture != .max else { return }
        abandon(EntryID(packed: owed.capture))
    }

    /// The key of an execution that stops after `limit` rows: its tail with the limit behind it. Valid until the
    /// next call.
    func tail(_ tail: ByteView, limit: UInt32) -> ByteView {
        precondition(tail.count <= ExtendedUnit.bytesMax, "a unit has a bound")
        if tail.count > 0 { scratch.copyMemory(from: tail.base, byteCount: tail.count) }
        scratch.storeBytes(of: limit, toByteOffset: tail.count, as: UInt32.self)
        return ByteView(base: UnsafeRawPointer(scratch), count: tail.count + 4)
    }

    // MARK: - Coalescing

    /// The session waits for another one's capture of what it wants itself [S6].
    func follow(_ id: EntryID, _ session: SessionNumber) {
        followers[id, default: []].append(session)
    }

    func releaseFollowers(of id: EntryID) {
        guard !followers.isEmpty, let waiting = followers.removeValue(forKey: id) else { return }
        woken += waiting
    }

    /// The next session whose client's input should be looked at again.
    public func nextWoken() -> SessionNumber? { woken.popLast() }

    // MARK: - Emptying

    /// Nothing that was cached or is being captured counts any more.
    func empty(_ cause: Invalidation.Cause) {
        memo.removeAll(Invalidation(cause: cause, watermark: watermark))
        beats.forgetEntries()
        for waiting in followers.values { woken += waiting }
        followers.removeAll()
    }
}

/// One execution of a statement, while it is decided on.
struct Execution {
    var statement: UnsafeMutablePointer<Statement>
    /// What Bind carries behind the statement's name; empty in the simple protocol.
    var tail: ByteView
    /// What the entry is found by: the tail, and the row limit if there is one.
    var key: ByteView
    /// The client is owed a row description.
    var isDescribed: Bool
}

extension Memo {
    /// The live entry of a statement's execution with this tail.
    @inline(__always)
    func find(
        _ statement: UnsafeMutablePointer<Statement>, _ tail: ByteView
    ) -> UnsafeMutablePointer<MemoEntry>? {
        tail.count == 0
            ? findSole(statement)
            : find(statement.pointee.id, tail: tail, hash: hash(statement, tail: tail))
    }
}

extension EntryID {
    /// As the pipeline and the send queues carry it; `.max` stands for none.
    public var packed: UInt64 { UInt64(generation) << 32 | UInt64(index) }
    public init(packed: UInt64) {
        self.init(index: UInt32(truncatingIfNeeded: packed), generation: UInt32(packed >> 32))
    }
}

extension StatementID {
    var packed: UInt64 { UInt64(generation) << 32 | UInt64(index) }
    init(packed: UInt64) {
        self.init(index: UInt32(truncatingIfNeeded: packed), generation: UInt32(packed >> 32))
    }
}
