import PGProtocol

/// What one client connection has done and seen so far, as far as later answers depend on it.
///
/// `seen` are facts: an answer of the origin has shown the row in the version that was committed behind this
/// position, or has shown that it was gone. `hitRows` are conclusions: a hit equals the origin's answer at its
/// watermark, so in the columns that it reads the row looks as it did there; whether the version is the same nobody
/// can tell.
final class OracleSession {
    /// Executions of the origin that an exchange has matched.
    var consumed = 0
    /// Errors of the origin up to the last one that was matched.
    var failures = 0
    /// The connection ended while something was not answered.
    private(set) var isLost = false
    /// In a transaction block, as far as the replies tell.
    var isInBlock = false
    /// Or locked.
    var hasWrittenInBlock = false
    /// A BEGIN that the proxy has answered, and that the origin has not executed.
    var deferredBegin: Statement?

    /// The end of the last commit of its own, and what it was [S1].
    var ownLSN = LSN.zero
    var ownWrite: Exchange?
    /// Writes that the origin has answered and not committed yet: their commit comes with the Sync.
    struct OpenWrite {
        var execution: Int
        var exchange: Exchange
        /// The lowest watermark of a hit that was answered since.
        var lowestHit = LSN.never
    }
    var openWrites: [OpenWrite] = []
    /// A write that changes no row never commits: only the latest are worth a look.
    static let openWritesMax = 16
    /// Something that it has written may be seen by nobody else yet, or be rolled back.
    var hasFreshWrites: Bool { openWrites.contains { $0.lowestHit == .never } }

    var seen: [RowName: LSN] = [:]
    var newestSeen = LSN.zero
    struct HitRow {
        /// The version's position; the watermark where the row was not there.
        var lsn: LSN
        var isAbsent: Bool
        var columns: UInt64
    }
    var hitRows: [RowName: HitRow] = [:]
    var lastHit: Ledger.Mark?

    /// Nothing more will be asked of it but whether all was answered.
    func isOver(isLost: Bool) {
        self.isLost = isLost
        seen = [:]
        hitRows = [:]
        openWrites = []
    }

    func saw(_ row: RowName, at lsn: LSN) {
        if let known = seen[row], known >= lsn { return }
        seen[row] = lsn
        newestSeen = max(newestSeen, lsn)
    }

    /// The rows of these tables that it has seen as they were behind `lsn`, by table and key.
    func seen(behind lsn: LSN, in tables: [Int]) -> [(row: RowName, at: LSN)] {
        guard newestSeen > lsn else { return [] }
        var rows: [(row: RowName, at: LSN)] = []
        for (row, at) in seen where at > lsn && tables.contains(row.table) { rows.append((row, at)) }
        return rows.sorted { $0.row < $1.row }
    }

    func committed(_ lsn: LSN, by exchange: Exchange) {
        guard lsn > ownLSN else { return }
        ownLSN = lsn
        ownWrite = exchange
    }

    func wrote(_ execution: Int, _ exchange: Exchange) {
        if openWrites.count == OracleSession.openWritesMax { openWrites.removeFirst() }
        openWrites.append(OpenWrite(execution: execution, exchange: exchange))
    }
}
