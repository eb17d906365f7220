import Mutation
import PGProtocol

/// Who waits for a beat [T8], and for the watermark to reach what a beat told.
///
/// A beat is `select pg_current_snapshot(), pg_current_wal_insert_lsn()` on the control connection. It
/// serves only what was before it began: what it tells is then later than that. Beats are numbered; a beat is *reached*
/// when the watermark has passed the position that it told, or that a later one told. So whoever must not see less than
/// there was at some moment keeps the number `next` of that moment, and looks at `reached`.
///
///     entries: waiting ─began→ in flight ─answered(LSN)→ until W ≥ LSN → servable
///     bounds:  a number, wanted or not ─began→ in flight ─answered(LSN)→ until W ≥ LSN → reached
///
/// A beat costs the origin as much as a read by key. Entries can wait a little, so that one beat tells of many: until
/// somebody wants one of them, or a bound. Where that has happened since the beat before the latest one began, it will
/// again, and they do not wait.
///
/// Bounds: `waitingMax` entries wait at a time; who finds no room is told so. `answersMax` answers are kept; of
/// more, the oldest are reached with the one behind them.
struct Beats {
    private(set) var begun: UInt64 = 0
    private(set) var isInFlight = false
    /// The latest beat whose position the watermark has passed.
    private(set) var reached: UInt64 = 0
    static let waitingMax = 1 << 20
    private static let answersMax = 1024

    private var entries: [EntryID] = []
    private var entriesInFlight: [EntryID] = []
    /// Captured entries with the LSN they wait for, in its order.
    private var targets: [(lsn: LSN, entry: EntryID)] = []
    private var firstTarget = 0
    /// The highest number that somebody has asked for.
    private var wanted: UInt64 = 0
    /// Somebody wanted what no beat had told of: since the latest beat began, and before it did.
    private var isMissed = false
    private var wasMissed = false
    /// Beats that were answered and are not reached, in order.
    private var answers: [(beat: UInt64, lsn: LSN)] = []

    var isWanted: Bool { !entries.isEmpty || wanted > begun }
    /// A client may be waiting, or is about to.
    var isUrgent: Bool { wanted > begun || (isMissed || wasMissed) && !entries.isEmpty }
    /// Somebody waits for the watermark.
    var hasTargets: Bool { firstTarget < targets.count }
    /// The first beat that will tell of everything up to now.
    var next: UInt64 { begun + 1 }
    /// The watermark has passed every beat that was answered.
    var isCaughtUp: Bool { answers.isEmpty }

    /// False without room.
    mutating func wait(entry: EntryID) -> Bool {
        guard entries.count + targets.count - firstTarget < Beats.waitingMax else { return false }
        entries.append(entry)
        return true
    }

    /// Makes sure that `beat`, or a later one, will be reached some time.
    mutating func want(_ beat: UInt64) {
        guard beat > reached else { return }
        isMissed = true
        if isInFlight, beat <= begun { return }
        if let last = answers.last, beat <= last.beat { return }
        wanted = begun + 1
    }

    /// Somebody has asked for an entry that waits.
    mutating func missed() { isMissed = true }

    mutating func began() {
        precondition(!isInFlight, "one beat at a time")
        wasMissed = isMissed
        isMissed = false
        isInFlight = true
        begun += 1
        swap(&entries, &entriesInFlight)
    }

    mutating func answered(_ lsn: LSN) {
        isInFlight = false
        for entry in entriesInFlight { targets.append((lsn, entry)) }
        entriesInFlight.removeAll(keepingCapacity: true)
        answers.append((begun, lsn))
        if answers.count > Beats.answersMax { answers.removeFirst() }
    }

    /// The link is gone: who waited waits for the next one.
    mutating func failed() {
        guard isInFlight else { return }
        isInFlight = false
        entries += entriesInFlight
        entriesInFlight.removeAll(keepingCapacity: true)
        if wanted == begun { wanted = begun + 1 }
    }

    /// The watermark has moved, or a beat was answered.
    mutating func watermarkReached(_ watermark: LSN) {
        let passed =
            Mutation.ownWriteOffByOne.isOn && watermark < .never ? LSN(watermark.value + 1) : watermark
        while let first = answers.first, first.lsn <= passed {
            reached = first.beat
            answers.removeFirst()
        }
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

    mutating func forgetEntries() {
        entries.removeAll()
        entriesInFlight.removeAll()
        targets.removeAll()
        firstTarget = 0
    }

    /// The positions that were told may be another log's. Whoever waits wants a new beat.
    mutating func forgetAnswers() { answers.removeAll() }
}
