import PGProtocol

/// Who waits for a beat [T8], and for the watermark to reach what a beat told.
///
/// A beat is `select pg_current_snapshot(), pg_current_wal_insert_lsn()` on the control connection. It
/// serves only who was waiting before it began: what it tells is then later than what they did.
///
///     waiting ─began→ in flight ─answered(LSN)→ entries: until W ≥ LSN    sessions: told their bound
///
/// Bounds: `waitingMax` entries and as many sessions wait at a time. Who finds no room is told so: the entry
/// is given up, the session forwards until it writes again.
struct Beats {
    private(set) var begun: UInt64 = 0
    private(set) var isInFlight = false
    static let waitingMax = 1 << 20

    private var entries: [EntryID] = []
    private var sessions: Set<SessionNumber> = []
    private var entriesInFlight: [EntryID] = []
    private var sessionsInFlight: Set<SessionNumber> = []
    /// Captured entries with the LSN they wait for, in its order.
    private var targets: [(lsn: LSN, entry: EntryID)] = []
    private var firstTarget = 0
    private var bounds: [(session: SessionNumber, lsn: LSN, beat: UInt64)] = []

    var isWanted: Bool { !entries.isEmpty || !sessions.isEmpty }
    /// Somebody waits for the watermark.
    var hasTargets: Bool { firstTarget < targets.count }

    /// False without room.
    mutating func wait(entry: EntryID) -> Bool {
        guard entries.count + targets.count - firstTarget < Beats.waitingMax else { return false }
        entries.append(entry)
        return true
    }

    /// The number of the first beat that will do. A session that writes again before it began waits once.
    mutating func wait(session: SessionNumber) -> UInt64 {
        if sessions.count < Beats.waitingMax { sessions.insert(session) }
        return begun + 1
    }

    mutating func began() {
        precondition(!isInFlight, "one beat at a time")
        isInFlight = true
        begun += 1
        swap(&entries, &entriesInFlight)
        swap(&sessions, &sessionsInFlight)
    }

    mutating func answered(_ lsn: LSN) {
        isInFlight = false
        for entry in entriesInFlight { targets.append((lsn, entry)) }
        for session in sessionsInFlight { bounds.append((session, lsn, begun)) }
        entriesInFlight.removeAll(keepingCapacity: true)
        sessionsInFlight.removeAll(keepingCapacity: true)
    }

    /// The link is gone: who waited waits for the next one.
    mutating func failed() {
        guard isInFlight else { return }
        isInFlight = false
        entries += entriesInFlight
        sessions.formUnion(sessionsInFlight)
        entriesInFlight.removeAll(keepingCapacity: true)
        sessionsInFlight.removeAll(keepingCapacity: true)
    }

    /// The next entry that waited for this watermark or an earlier one.
    mutating func nextReached(_ watermark: LSN) -> EntryID? {
        guard firstTarget < targets.count, targets[firstTarget].lsn <= watermark else { return nil }
        let entry = targets[firstTarget].entry
        firstTarget += 1
        if firstTarget == targets.count {
            targets.removeAll(keepingCapacity: true)
            firstTarget = 0
        } else if firstTarget > 1024, firstTarget * 2 > targets.count {
            targets.removeFirst(firstTarget)
            firstTarget = 0
        }
        return entry
    }

    mutating func nextBound() -> (session: SessionNumber, lsn: LSN, beat: UInt64)? { bounds.popLast() }

    mutating func forgetEntries() {
        entries.removeAll()
        entriesInFlight.removeAll()
        targets.removeAll()
        firstTarget = 0
    }
}
