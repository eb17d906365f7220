/// What the cache counts since its start. Plain numbers, written on the hot path.
public struct CacheCounters: Sendable {
    public var queries: UInt64 = 0
    public var simpleQueries: UInt64 = 0
    public var extendedQueries: UInt64 = 0
    public var hits: UInt64 = 0
    public var misses: UInt64 = 0
    /// Parse messages that were answered here.
    public var parsesAnswered: UInt64 = 0
    /// BEGIN, COMMIT and ROLLBACK that were answered here.
    public var blockVerbsAnswered: UInt64 = 0
    /// Times that a session's settings were read from the origin.
    public var profileReads: UInt64 = 0
    /// Sessions that got the answer of another one's execution.
    public var coalesced: UInt64 = 0
    public var coalesceTimeouts: UInt64 = 0
    /// Captures that T2 or C1 forbade.
    public var capturesRefused: UInt64 = 0
    public var statementsParsed: UInt64 = 0
    /// Texts that were classified by what was known of their shapes.
    public var statementsByShape: UInt64 = 0
    /// Answers made of the rows of another one, which a LIMIT or OFFSET alone sets apart.
    public var windowsShared: UInt64 = 0
    /// Executions that were sent to the cache database, answered by it, and of no use.
    public var rowReads: UInt64 = 0
    public var rowAnswers: UInt64 = 0
    public var rowRefusals: UInt64 = 0
    /// Reads of rows that were loaded for a wider query.
    public var subsumptions: UInt64 = 0
    public var schemaChanges: UInt64 = 0
    public var streamLosses: UInt64 = 0
    public var transactions: UInt64 = 0
    public var inserts: UInt64 = 0
    public var updates: UInt64 = 0
    public var deletes: UInt64 = 0
    public var truncates: UInt64 = 0
    public var invalidations: UInt64 = 0
    /// Answers that a change could have altered by what its row was like before, and did not.
    public var spared: UInt64 = 0
    public var beats: UInt64 = 0

    /// Statements forwarded, by the position of their reason in `ForwardReason.allCases`.
    public private(set) var forwards = [UInt64](repeating: 0, count: ForwardReason.allCases.count)

    mutating func forwarded(_ reason: ForwardReason) {
        forwards[reason.position] &+= 1
    }

    public var forwardsTotal: UInt64 { forwards.reduce(0, &+) }
}

extension ForwardReason {
    /// Its position in `allCases`: an enum without payloads is stored as that, in a byte. Its raw value would
    /// have to be hashed, which takes longer than the whole routing of a statement.
    @inline(__always)
    var position: Int { Int(unsafeBitCast(self, to: UInt8.self)) }
}
