import CDC
import Mutation
import PGProtocol

/// Who waits for a beat [T8], and for the watermark to reach what a beat told.
///
/// A beat is `select pg_current_snapshot(), pg_current_wal_insert_lsn()` on the control connection. It
/// serves only what was before it began: what it tells is then later than that. Beats are numbered; a beat is *reached*
/// when every transaction that it saw finished was received. So whoever must not see less than there was at some moment
/// keeps the number `next` of that moment, and looks at `reached`.
///
///     entries: waiting ─began→ in flight ─answered(LSN, snapshot)→ until reached → servable
///     bounds:  a number, wanted or not ─began→ in flight ─answered(LSN, snapshot)→ until reached
///
/// That is so when the watermark has passed the position that it told, or that a later one told. It is so earlier, if
/// the beat before was reached, and the stream has brought each transaction that has finished since by their snapshots:
/// the position may lie behind what others are still writing, or a read has pruned. Of a transaction that the stream
/// does not bring (it was rolled back, it was part of another, it changed nothing that is published) only the position
/// tells.
///
/// A beat costs the origin as much as a read by key. Entries can wait a little, so that one beat tells of many: until
/// somebody wants one of them, or a bound. Where that has happened since the beat before the latest one began, it will
/// again, and they do not wait.
///
/// Bounds: `waitingMax` entries wait at a time; who finds no room is told so. `answersMax` answers are kept; of
/// more, the oldest are reached with the one behind them. Over `namedMax` transactions are not told apart.
struct Beats {
    private(set) var begun: UInt64 = 0
    private(set) var isInFlight = false
    /// The latest beat whose position the watermark has passed.
    private(set) var reached: UInt64 = 0
    static let waitingMax = 1 << 20
    private static let answersMax = 1024
    private static let namedMax = 256

    private var entries: [EntryID] = []
    private var entriesInFlight: [EntryID] = []
    /// Captured entries with the beat they wait for, in its order.
    private var targets: [(beat: UInt64, entry: EntryID)] = []
    private var firstTarget = 0
    /// The highest number that somebody has asked for.
    private var wanted: UInt64 = 0
    /// Somebody wanted what no beat had told of: since the latest beat began, and before it did.
    private var isMissed = false
    private var wasMissed = false
    private struct Answer {
        let beat: UInt64
        let lsn: LSN
        /// What had finished since the beat before, and is not received; nil where that is not known.
        var missing: [UInt32]?
    }
    /// Beats that were answered and are not reached, in order.
    private var answers: [Answer] = []
    /// Of the latest beat.
    private var latest: Snapshot?
    /// Received, and not finished by `latest`.
    private var early: [UInt32] = []

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

    mutating func answered(_ lsn: LSN, _ snapshot: Snapshot? = nil) {
        isInFlight = false
        for entry in entriesInFlight { targets.append((begun, entry)) }
        entriesInFlight.removeAll(keepingCapacity: true)
        answers.append(Answer(beat: begun, lsn: lsn, missing: missing(since: latest, snapshot)))
        latest = snapshot
        if answers.count > Beats.answersMax {
            answers.removeFirst()
            answers[0].missing = nil
        }
    }

    /// What had finished by `snapshot`, but not by the one before, and is not received.
    private mutating func missing(since before: Snapshot?, _ snapshot: Snapshot?) -> [UInt32]? {
        guard let before, let snapshot, snapshot.upper >= before.upper,
            snapshot.upper.value - before.upper.value <= Beats.namedMax, before.running.count <= Beats.namedMax
        else {
            early.removeAll(keepingCapacity: true)
            return nil
        }
        var missing: [UInt32] = []
        func look(at id: TransactionID) {
            guard snapshot.isFinished(id) else { return }
            let narrow = UInt32(truncatingIfNeeded: id.value)
            if let index = early.firstIndex(of: narrow) {
                early.remove(at: index)
            } else if !Mutation.finishedTakenForReceived.isOn {
                missing.append(narrow)
            }
        }
        for id in before.running { look(at: id) }
        for number in before.upper.value..<snapshot.upper.value { look(at: TransactionID(number)) }
        return missing
    }

    /// A transaction was received, and what it changed has taken effect.
    /// - Parameter narrow: its number, as the stream carries it.
    mutating func received(_ narrow: UInt32) {
        for index in answers.indices {
            guard let position = answers[index].missing?.firstIndex(of: narrow) else { continue }
            answers[index].missing?.remove(at: position)
            return
        }
        guard let latest, !latest.isFinished(latest.widen(narrow)) else { return }
        if early.count == Beats.namedMax { early.removeFirst() }
        early.append(narrow)
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
        while let first = answers.first, first.lsn <= passed || first.missing?.isEmpty ?? false {
            reached = first.beat
            answers.removeFirst()
        }
    }

    /// The next entry whose beat is reached.
    mutating func nextReached() -> EntryID? {
        guard firstTarget < targets.count, targets[firstTarget].beat <= reached else { return nil }
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

    /// A transaction that is not received may have been received before, or its number be given to another.
    mutating func forgetTransactions() {
        latest = nil
        early.removeAll()
        for index in answers.indices { answers[index].missing = nil }
    }
}
