import PGProtocol

/// Bounds of the row tier.
public struct RowLimits: Equatable, Sendable {
    /// Relations up to this are loaded whole; bytes at the origin.
    public var tableBytesMax = 32 << 20
    /// What one population may copy, in bytes.
    public var fragmentBytesMax = 64 << 20
    /// At the same time.
    public var populationsMax = 2
    /// Waiting to begin.
    public var populationsWaitingMax = 1000
    /// First rows of a relation that are loaded beyond those that are asked for: not every row that goes shall cost a
    /// copy.
    public var spareRows = 200
    /// Fragments of one relation; with more, those that come take the place of others.
    public var fragmentsMax = 256
    /// Executions in the cache database that are not answered yet.
    public var readsMax = 256
    /// Row operations that were not answered; with more the cache database is too slow to follow.
    public var operationsMax = 100_000
    /// Misses of the same fragment before it is loaded.
    public var admissionThreshold = 2
    /// What the memo and all pools on the cache database's disk may take together.
    public var bytesMax = 1 << 30

    public init() {}
}

/// What the catalog says of a relation that should have a pool.
enum PoolAnswer {
    case refused(String)
    /// - originBytes: how large it is there.
    case table(PoolTable, originBytes: Int)
    /// What it reads has to be there first.
    case view(PoolTable, reads: Set<OID>)
}

/// What the row tier counts, since the start.
public struct RowCounters: Equatable, Sendable {
    public var populations: UInt64 = 0
    /// Populations that led to nothing.
    public var givenUp: UInt64 = 0
    public var operations: UInt64 = 0
    public var evictions: UInt64 = 0
    public var resets: UInt64 = 0
}
