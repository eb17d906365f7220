import CDC
import Loop
import PGProtocol

/// One walsender that streams: decodes the log in order from a position and sends what is published.
///
/// A record is decoded some time after it was logged and never before; a commit can be decoded before it is visible
/// [T2]. Whether a change is sent is decided as of the position of the change, not of its commit [T3]: what a
/// transaction wrote before its relation was added is never sent. With `remembersUnpublished` the answer for a
/// relation, once computed, is kept until a later change of a publication is decoded, as some minor releases of
/// PostgreSQL do.
///
/// When nothing is left to decode, a peer that has confirmed less than was decoded gets a keepalive with that
/// position (WalSndWaitForWal in walsender.c); so it does when it asks, and at half of wal_sender_timeout.
///
/// Invariants: `sent` never goes back; all records up to it were decoded. Owner: its `LinkBackend`.
final class Walsender {
    private let surroundings: Surroundings
    private unowned let publications: Publications
    private let database: OriginDatabase
    private let slot: ReplicationSlot
    private let publication: String
    private let send: ([LinkEvent]) -> Void
    private let end: (_ state: String, _ message: String) -> Void
    private var random: Random

    /// Index in the log of the record that is decoded next.
    private var nextRecord: Int
    private var isDecodingScheduled = false
    /// Everything up to here was decoded.
    private(set) var sent: LSN
    /// What the peer has confirmed on this connection.
    private(set) var confirmed = LSN.zero
    private var lastReply: UInt64
    /// The peer was asked for a reply and has not given one.
    private var isWaitingForReply = false
    /// The peer has asked while this was stalled.
    private var owesReply = false
    private var stalledUntil: UInt64 = 0
    private var isOver = false

    /// What is remembered of a relation on this connection.
    private struct Entry {
        /// With `remembersUnpublished`: the answer of before.
        var isPublished: Bool?
        var version = -2
        var isDescribed = false
        /// As which it was described, where its shape can change.
        var sheet: Sheet?
    }
    private var entries = [Entry](repeating: Entry(), count: Table.all.count)

    /// PostgreSQL's default of wal_sender_timeout.
    static let timeoutNanoseconds = 60 * second

    init(
        _ surroundings: Surroundings, _ publications: Publications, _ slot: ReplicationSlot,
        _ publication: String, from position: LSN, number: Int, send: @escaping ([LinkEvent]) -> Void,
        end: @escaping (_ state: String, _ message: String) -> Void
    ) {
        self.surroundings = surroundings
        self.publications = publications
        self.slot = slot
        self.publication = publication
        self.send = send
        self.end = end
        database = publications.database
        random = surroundings.random("walsender", number)
        // What was confirmed is not sent again, whatever is asked for.
        let start = max(position, slot.confirmed)
        sent = slot.confirmed
        lastReply = surroundings.scheduler.now
        nextRecord = Self.firstRecord(behind: start, in: publications.database)
    }

    private static func firstRecord(behind position: LSN, in database: OriginDatabase) -> Int {
        var low = 0
        var high = database.log.count
        while low < high {
            let middle = (low + high) / 2
            if database.log[middle].end <= position { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private var now: UInt64 { surroundings.scheduler.now }
    private var messages: WalsenderMessages {
        WalsenderMessages(
            clock: WalsenderMessages.microseconds(now), toastBytesMin: surroundings.parameters.toastBytesMin)
    }
    private func note(_ what: @autoclosure () -> String) { surroundings.trace.note("stream", what()) }

    // MARK: Life

    func start() {
        publications.started(self)
        scheduleDecoding()
        if nextRecord == database.log.count { caughtUp() }
        watchPeer()
    }

    func stop() {
        isOver = true
        publications.stopped(self)
    }

    /// The stream ends with an error.
    func fail(state: String, message: String) {
        if isOver { return }
        note("ends \(state) \(message)")
        stop()
        end(state, message)
    }

    /// Nothing is decoded, and no keepalive sent, for so long.
    func stall(for nanoseconds: UInt64) {
        note("walsender stalls for \(nanoseconds / microsecond) µs")
        stalledUntil = max(stalledUntil, now &+ nanoseconds)
        surroundings.scheduler.at(stalledUntil) { [weak self] in self?.resumed() }
    }

    private func resumed() {
        guard !isOver, now >= stalledUntil else { return }
        if owesReply {
            owesReply = false
            sendKeepalive(wantsReply: false)
        }
        if nextRecord == database.log.count { caughtUp() }
    }

    // MARK: Decoding

    func logged() {
        if !isOver { scheduleDecoding() }
    }

    private func scheduleDecoding() {
        guard !isDecodingScheduled, nextRecord < database.log.count else { return }
        isDecodingScheduled = true
        let due = publications.timeLogged(nextRecord) &+ decodingDelay()
        surroundings.scheduler.at(max(due, stalledUntil)) { [weak self] in self?.decodeNext() }
    }

    /// Nanoseconds behind the writing of a record; often none.
    private func decodingDelay() -> UInt64 {
        let typical = max(surroundings.parameters.decodingMicroseconds, 1)
        if random.chance(250) { return 0 }
        if random.chance(5) { return UInt64(typical) * 30_000 }
        return UInt64(typical * random.within(100...3_000))
    }

    private func decodeNext() {
        isDecodingScheduled = false
        if isOver { return }
        guard now >= stalledUntil else { return scheduleDecoding() }
        let record = database.log[nextRecord]
        let committed = publications.timeLogged(nextRecord)
        nextRecord += 1
        sent = max(sent, record.end)
        switch record.kind {
        case .commit(let xid, let edits):
            if !edits.isEmpty { decode(xid, edits, record, committed: committed) }
        case .publication:
            for index in entries.indices { entries[index].isPublished = nil }
        case .rollback, .other: break
        }
        if isOver { return }
        if nextRecord < database.log.count { scheduleDecoding() } else { caughtUp() }
    }

    /// nil where the publication does not exist.
    private func isPublished(_ table: Int, at position: LSN) -> Bool? {
        let remembers = surroundings.parameters.remembersUnpublished
        if remembers, let known = entries[table].isPublished { return known }
        let (version, members) = publications.version(of: publication, at: position)
        guard let members else { return nil }
        let isMember = members.contains { $0.table == table }
        if remembers { entries[table].isPublished = isMember }
        if entries[table].version != version {
            entries[table].version = version
            entries[table].isDescribed = false
        }
        return isMember
    }

    private func decode(
        _ xid: TransactionID, _ edits: [RowEdit], _ record: LogRecord, committed: UInt64
    ) {
        let messages = self.messages
        let commitClock = WalsenderMessages.microseconds(committed)
        var output: [LinkEvent] = []
        var truncated: [Table] = []
        func endTruncate(_ position: LSN) {
            if truncated.isEmpty { return }
            output.append(.copyData(messages.truncate(truncated, at: position)))
            truncated = []
        }
        for edit in edits {
            if case .schemaMessage = edit.kind {
                endTruncate(edit.lsn)
                if output.isEmpty {
                    output.append(.copyData(messages.begin(xid, record, at: edit.lsn, committed: commitClock)))
                }
                output.append(.copyData(messages.schemaMessage(at: edit.lsn)))
                continue
            }
            while entries.count <= edit.table { entries.append(Entry()) }
            guard let isPublished = isPublished(edit.table, at: edit.lsn) else {
                send(output)
                return fail(state: "42704", message: "publication \"\(publication)\" does not exist")
            }
            guard isPublished else { continue }
            let table = edit.sheet?.published ?? Table.all[edit.table]
            if output.isEmpty {
                output.append(
                    .copyData(messages.begin(xid, record, at: edit.lsn, committed: commitClock)))
            }
            // TRUNCATE of several relations is one change.
            if case .truncate = edit.kind, !truncated.contains(where: { $0.oid == table.oid }) {
            } else {
                endTruncate(edit.lsn)
            }
            // A change of the shape makes it forget that it has described the relation.
            let columns = entries[edit.table].sheet?.published.columns
            if !entries[edit.table].isDescribed || columns != edit.sheet?.published.columns {
                entries[edit.table].isDescribed = true
                entries[edit.table].sheet = edit.sheet
                output.append(.copyData(messages.relation(table, at: edit.lsn)))
            }
            switch edit.kind {
            case .insert(let row): output.append(.copyData(messages.insert(table, row, at: edit.lsn)))
            case .update(let old, let new):
                output.append(.copyData(messages.update(table, old: old, new: new, at: edit.lsn)))
            case .delete(let row): output.append(.copyData(messages.delete(table, row, at: edit.lsn)))
            case .truncate: truncated.append(table)
            case .schemaMessage: break
            }
        }
        endTruncate(record.start)
        if output.isEmpty { return note("transaction \(xid) to \(record.end) is not published") }
        output.append(.copyData(messages.commit(record, committed: commitClock)))
        note("transaction \(xid) to \(record.end), \(output.count) messages")
        deliver(output)
    }

    /// A transaction may arrive in two pieces.
    private func deliver(_ output: [LinkEvent]) {
        guard random.chance(150) else { return send(output) }
        let cut = random.within(1...output.count - 1)
        send(Array(output[..<cut]))
        send(Array(output[cut...]))
    }

    // MARK: The peer

    /// More of the log than its commits is on disk.
    func flushed() {
        if !isOver, nextRecord == database.log.count { caughtUp() }
    }

    private func caughtUp() {
        guard now >= stalledUntil else { return }
        sent = max(sent, publications.flushedLSN)
        if confirmed < sent, !isWaitingForReply { sendKeepalive(wantsReply: false) }
    }

    private func sendKeepalive(wantsReply: Bool) {
        note("keepalive \(sent)\(wantsReply ? ", wants a reply" : "")")
        send([.copyData(messages.keepalive(sent, wantsReply: wantsReply))])
    }

    /// A standby status update: written, flushed, applied, clock, whether a reply is wanted.
    func statusReceived(_ bytes: [UInt8]) {
        precondition(bytes.count == 34 && bytes[0] == UInt8(ascii: "r"), "status updates alone are sent")
        let flushed = bytes[9..<17].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        lastReply = now
        isWaitingForReply = false
        confirmed = LSN(flushed)
        publications.confirm(slot, confirmed, isDurable: random.chance(100))
        if bytes[33] != 0 {
            if now >= stalledUntil { sendKeepalive(wantsReply: false) } else { owesReply = true }
        }
        if nextRecord == database.log.count { caughtUp() }
    }

    /// Asks a peer that has been silent for half of the timeout, and gives it up at the whole.
    private func watchPeer() {
        let half = Self.timeoutNanoseconds / 2
        let moment = isWaitingForReply ? lastReply &+ 2 * half : lastReply &+ half
        surroundings.scheduler.at(max(moment, stalledUntil)) { [weak self] in
            guard let self, !self.isOver else { return }
            let silence = self.now &- self.lastReply
            if silence >= 2 * half, self.isWaitingForReply {
                return self.fail(state: "", message: "terminating walsender process due to replication timeout")
            }
            if silence >= half, !self.isWaitingForReply, self.now >= self.stalledUntil {
                self.isWaitingForReply = true
                self.sendKeepalive(wantsReply: true)
            }
            self.watchPeer()
        }
    }
}
