import PGProtocol

/// One client connection with its origin connection, as a machine without I/O.
///
/// Bytes of the client and of the origin come in, where they are, in the shell's buffers; a step says what is to
/// be done with how many of them. What is not understood is relayed.
///
///                    startup packet            first ReadyForQuery
///        starting ──────────────▶ loggingIn ────────────────▶ ready ──▶ opaque
///            │ cancel, encryption                               (something we cannot follow:
///            ▼ requests stay here                                bytes are relayed for good)
///
/// The rules that keep answers right and in order:
/// - A *segment* runs from one Sync to the next; a simple query is one. Once something of a segment was sent to
///   the origin, the rest of it is sent too, so that errors and the implicit transaction are the origin's.
/// - A hit is answered only while the origin owes nothing; else the client's input waits (`park`). Replies thus keep
///   their order, and a hit never overtakes what came before it [S3].
/// - Inside a transaction block hits end with the first statement that is more than a read [S2] (Session+Transaction).
///   After a possible write hits wait for the watermark [S1], and so they do after a read at the origin, over the
///   relations that it read [S5].
/// - The settings are known exactly, or there are no hits [K3] (Session+Settings).
///
/// Owned by the shell's table of connections. Bounded: `Pipeline.countMax` requests, `PreparedStatements.countMax`
/// names, units of `ExtendedUnit.bytesMax`.
public struct Session {
    public enum State: UInt8, Sendable {
        case starting
        case loggingIn
        case ready
        case opaque
    }

    /// What the shell does next with the client's bytes.
    public enum ClientStep {
        /// Nothing can be decided before there are this many bytes.
        case needMore(Int)
        /// Nothing may be decided before `wake`.
        case park
        /// Answer `N` to a request for encryption.
        case refuseEncryption(consumed: Int)
        /// Connect to the origin and send it these bytes.
        case open(consumed: Int)
        case cancel(consumed: Int, key: BackendKey)
        /// A cached answer.
        case hit(consumed: Int, Hit)
        /// Send `takeOutgoing()` to the client.
        case reply(consumed: Int)
        /// Send `takeInjection()` and then these bytes to the origin.
        case forward(consumed: Int)
        /// The client says goodbye: the origin hears it, and both connections end.
        case terminate(consumed: Int)
        case fail(WireError)
    }

    /// A cached answer: which parts of the entry's bytes, and what stands around them.
    public struct Hit {
        public var entry: EntryID
        public var parts: Parts

        public struct Parts: OptionSet, Sendable {
            public let rawValue: UInt8
            public init(rawValue: UInt8) { self.rawValue = rawValue }
            public static let parseComplete = Parts(rawValue: 1)
            public static let bindComplete = Parts(rawValue: 2)
            public static let description = Parts(rawValue: 4)
            public static let ready = Parts(rawValue: 8)
            /// ReadyForQuery says that a transaction block is open.
            public static let isInBlock = Parts(rawValue: 16)
        }
    }

    /// What the shell does next with the origin's bytes.
    public enum OriginStep {
        case needMore(Int)
        case relay(Int)
        /// The client did not ask for these.
        case swallow(Int)
        /// The client gets the rest later, when the session is woken [S1].
        case hold
    }

    /// Things that came up and that the shell acts upon after a step.
    public struct Signals: OptionSet, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// The origin owes nothing any more, or the settings are known: look at the client's bytes again.
        public static let wake = Signals(rawValue: 1)
        /// Log-in is over: the origin may be asked for the session's settings.
        public static let loggedIn = Signals(rawValue: 2)
        /// The origin said FATAL: its end of stream needs no words of ours.
        public static let originSaidFatal = Signals(rawValue: 4)
        /// The origin has refused the BEGIN that the client takes for granted: the connection has to end.
        public static let blockWasRefused = Signals(rawValue: 8)
    }

    /// Why the session does not use the cache, or that it may.
    enum Standing: Equatable {
        /// The settings are not known: they are read before the cache is used.
        case unknown
        case cacheable
        /// The settings forbid it, until they change.
        case refused(ForwardReason)
        /// For good.
        case bypass(ForwardReason)
    }

    public let number: SessionNumber
    public internal(set) var state = State.starting
    public var signals: Signals = []
    public internal(set) var parameters: [StartupPacket.Parameter] = []
    public internal(set) var key: BackendKey?

    var pipeline = Pipeline()
    var status = TransactionStatus.idle
    var standing = Standing.unknown
    /// `.max` unless the session is cacheable.
    var profile = UInt32.max
    var role = UInt8.max
    var settings = SessionSettings()
    var block = Block.none
    /// The BEGIN that the origin has not been sent, while the block is local.
    var begin: StatementID?
    /// The origin has been sent our BEGIN and has not answered.
    var isBeginning = false
    /// How often the origin has not begun the block.
    var beginFailures = 0
    static let beginFailuresMax = 3
    /// The origin's block is made to fail, as the client was told that it has.
    var isFailingBlock = false
    /// The block has had a hit: to the client, it has read.
    var owesSnapshot = false
    /// The schema that the profile was read under.
    var schemaEpoch: UInt32 = 0
    var standardConformingStrings = true
    /// How old an answer may be that is not the origin's [S1] [S5].
    var bounds = Bounds()
    /// Something of the open segment was sent to the origin.
    var segmentIsForwarded = false
    /// Something of the open segment was answered here.
    var segmentIsLocal = false
    /// A possible write, or change of the schema, whose transaction has not ended yet.
    var hasWritten = false
    var hasChangedSchema = false
    /// A transaction block may have begun of which no ReadyForQuery has told yet.
    var mayHaveBegun = false
    /// The origin raised a notice while it parsed: a Parse that we answer would not [C3].
    var parseWasNoticed = false
    /// Bytes of a client's message that are still to be relayed without a look.
    var clientRemaining = 0
    /// The same of an origin's message, its type, and what becomes of them.
    var originRemaining = 0
    var originType: UInt8 = 0
    var originCapture = UInt64.max
    var originDescribes = false
    var prepared = PreparedStatements()
    /// A simple query that we answered has ended the unnamed statement, and the origin still has it.
    var hasEndedUnnamed = false
    /// Parse messages that were sent to the origin, ours and the client's.
    var parses: UInt32 = 0
    /// The origin has asked for a password or the like.
    var isChallenged = false
    /// ParameterStatus as last seen; PostgreSQL reports about fifteen.
    static let reportedMax = 256
    var reported: [String: String] = [:]
    /// A follower waits for this entry; `granted` is one whose leader has ended well, `declined` one that will not
    /// be waited for again [S6].
    public internal(set) var awaited: EntryID?
    /// A client waits for the watermark; for its own write's sake.
    public internal(set) var awaitsBeat = false
    public internal(set) var awaitsOwnWrite = false
    /// The client has cancelled that wait: what it waited with is forwarded.
    var declinesBeat = false
    /// The beat that a write's ReadyForQuery is held back for; 0 for none.
    var heldForBeat: UInt64 = 0
    var granted: EntryID?
    var declined: EntryID?
    /// The origin expects COPY data of the client and ignores Sync.
    var isCopyingIn = false
    /// What has come of the description of the statement that the origin describes at this moment.
    var describing: [UInt8] = []
    /// How injected Parse messages described what the client was told of its statements, in their order [S4].
    var promised: [(name: [UInt8], shape: [UInt8], schemaEpoch: UInt32)] = []
    /// What the client's Close messages that are on their way have closed, in their order.
    var closing: [PreparedStatements.Slot?] = []
    /// The client is owed an error instead of what the origin answers up to the next ReadyForQuery.
    var isReplacing = false
    /// A Parse of ours went along in a segment of the client's: the next segment waits until it was answered.
    var hasInjectedParse = false
    /// The origin was told to answer what it owes, so that the session can become opaque.
    var isFlushing = false
    var injection: [UInt8] = []
    var outgoing: [UInt8] = []

    public init(number: SessionNumber) { self.number = number }

    public mutating func takeInjection() -> [UInt8] {
        defer { injection = [] }
        return injection
    }
    public var hasInjection: Bool { !injection.isEmpty }

    public mutating func takeOutgoing() -> [UInt8] {
        defer { outgoing = [] }
        return outgoing
    }

    /// Everything sent has been answered, and no message of the origin is half relayed.
    public var isQuiet: Bool { pipeline.isEmpty && originRemaining == 0 }
    /// In a transaction, or waiting for an answer: a graceful stop lets it finish.
    public var isBusy: Bool { !pipeline.isEmpty || status != .idle || segmentIsForwarded }

    /// The client has got only a part of a message yet: nothing may be put in between.
    public var isInsideMessage: Bool { originRemaining > 0 }

    public var startupUser: String { parameters.first { $0.name == "user" }?.value ?? "" }
    public var startupDatabase: String {
        let database = parameters.first { $0.name == "database" }?.value ?? ""
        return database.isEmpty ? startupUser : database
    }
    var isReplication: Bool {
        let value = parameters.first { $0.name == "replication" }?.value.lowercased() ?? ""
        return !["", "false", "off", "no", "0"].contains(value)
    }

    /// What the origin says of a statement here, it would say to every session of this profile: the settings
    /// are those of the profile, and the schema is the one that all see.
    func sharesStatements(_ store: CacheStore) -> Bool {
        standing == .cacheable && schemaEpoch == store.schemaEpoch && allowsHits
            && !hasChangedSchema && !mayHaveBegun
    }

    /// Forwards for good.
    mutating func bypass(_ reason: ForwardReason) {
        if case .bypass = standing { return }
        standing = .bypass(reason)
    }

    /// Relays for good, without a look: something came that cannot be followed.
    mutating func becomeOpaque(_ store: CacheStore) {
        // The client takes a block for granted that the origin was never sent.
        if block == .local { signals.insert(.blockWasRefused) }
        forgetBegin(store)
        block = .dirty
        while !pipeline.isEmpty { store.requestDropped(pipeline.removeFirst()) }
        bypass(.sessionState)
        state = .opaque
        signals.insert(.wake)
    }

    /// Whatever was sent up to now may have written: hits wait for a beat that begins from now on.
    mutating func raiseBound(_ store: CacheStore) {
        guard store.limits.readYourWrites.isOn else { return }
        let beat = store.beats.next
        bounds.wrote(before: beat)
        // Who does not use the cache waits for nothing.
        if standing == .cacheable || standing == .unknown { store.beats.want(beat) }
    }

    /// What this session waited for has come: the leader's answer, if it ended well, is this session's too; or the
    /// watermark.
    public mutating func woken() {
        if awaited != nil { granted = awaited }
        awaited = nil
        awaitsBeat = false
        awaitsOwnWrite = false
    }

    /// The client wants to cancel what waits here.
    public mutating func waitCancelled() {
        if awaited != nil { followerReleased() }
        if awaitsBeat { declinesBeat = heldForBeat == 0 }
        awaitsBeat = false
        awaitsOwnWrite = false
    }

    /// The leader is slow, or has failed: the origin answers.
    public mutating func followerReleased() {
        declined = awaited
        awaited = nil
    }

    /// The connection is gone: gives back what the session holds.
    public mutating func ended(_ store: CacheStore) {
        while !pipeline.isEmpty { store.requestDropped(pipeline.removeFirst()) }
        for statement in prepared.removeAll() { store.statements.release(statement) }
        for slot in closing { if let slot { store.statements.release(slot.statement) } }
        forgetBegin(store)
        if hasChangedSchema { store.schemaChanged() }
    }
}

/// A session as the rest of the cache knows it: its slot and generation.
public struct SessionNumber: Hashable, Sendable {
    public var index: UInt32
    public var generation: UInt32
    public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
}
