import Loop
import PGProtocol

/// A logical replication slot of the modelled origin.
final class ReplicationSlot {
    let name: String
    let isTemporary: Bool
    /// The server process that uses it, or creates it; nil when nobody does.
    fileprivate(set) var user: Int?
    /// Its consistent point is not reached yet.
    fileprivate(set) var isIncomplete = true
    /// Everything up to here is never sent again.
    fileprivate(set) var confirmed = LSN.zero
    /// What a crash of the origin leaves of `confirmed`: it is written to disk only now and then.
    fileprivate var durable = LSN.zero
    /// Its WAL was removed.
    fileprivate(set) var isLost = false

    fileprivate init(_ name: String, isTemporary: Bool, user: Int) {
        self.name = name
        self.isTemporary = isTemporary
        self.user = user
    }
}

/// The slots of the origin: made, taken, confirmed, lost. Persistent ones outlive connections and restarts.
extension Publications {
    /// nil if there is one of this name.
    func makeSlot(_ name: String, isTemporary: Bool, for backend: Int) -> ReplicationSlot? {
        guard slot(name) == nil else { return nil }
        let slot = ReplicationSlot(name, isTemporary: isTemporary, user: backend)
        slots.append(slot)
        return slot
    }

    /// Everything that was running is over: the slot begins behind a record of its own (xl_running_xacts).
    func completeSlot(_ slot: ReplicationSlot) -> LSN {
        let point = database.writeOther()
        slot.isIncomplete = false
        slot.confirmed = point
        slot.durable = point
        if !slot.isTemporary { slot.user = nil }
        return point
    }

    func removeSlot(_ slot: ReplicationSlot) { slots.removeAll { $0 === slot } }

    func dropSlot(_ name: String) -> LinkEvent {
        guard let slot = slot(name) else {
            return .failed(state: "42704", message: "replication slot \"\(name)\" does not exist")
        }
        guard slot.user == nil else {
            return .failed(state: "55006", message: "replication slot \"\(name)\" is active")
        }
        removeSlot(slot)
        return .answered([])
    }

    /// For START_REPLICATION.
    func takeSlot(_ name: String, for backend: Int) -> Result<ReplicationSlot, OriginError> {
        guard let slot = slot(name) else {
            return .failure(
                OriginError(state: "42704", message: "replication slot \"\(name)\" does not exist"))
        }
        guard slot.user == nil || slot.user == backend, !slot.isIncomplete else {
            return .failure(OriginError(state: "55006", message: "replication slot \"\(name)\" is active"))
        }
        guard !slot.isLost else {
            return .failure(
                OriginError(
                    state: "55000", message: "cannot read from logical replication slot \"\(name)\""))
        }
        slot.user = backend
        return .success(slot)
    }

    /// The answer to the feed's question before it resumes a persistent slot.
    func inspection(_ name: String) -> [[String?]] {
        guard let slot = slot(name) else { return [] }
        return [
            [
                slot.user == nil ? "f" : "t", "t", slot.isLost ? "lost" : "reserved",
                slot.isIncomplete ? nil : slot.confirmed.description,
            ]
        ]
    }

    /// The answer to `ReplicationFeed.retentionQuery`.
    func retention(_ sql: String) -> [[String?]] {
        guard let slot = slot(SQLExcerpt.quoted(after: "slot_name = ", in: sql) ?? "") else { return [] }
        if slot.isLost { return [[nil, "lost"]] }
        let end = max(database.insertLSN, slot.confirmed)
        return [["\(end.value - slot.confirmed.value)", "reserved"]]
    }

    func confirm(_ slot: ReplicationSlot, _ position: LSN, isDurable: Bool) {
        slot.confirmed = max(slot.confirmed, position)
        if isDurable { slot.durable = slot.confirmed }
    }

    /// A process has ended.
    func releaseSlots(of backend: Int) {
        // One that is still being created lingers until what it waits for has ended.
        slots.removeAll { $0.user == backend && $0.isTemporary && !$0.isIncomplete }
        for slot in slots where slot.user == backend && !slot.isIncomplete { slot.user = nil }
    }

    /// The origin crashed: what was not written to disk is forgotten.
    func restartSlots() {
        slots.removeAll { $0.isTemporary || $0.isIncomplete }
        for slot in slots {
            slot.user = nil
            slot.confirmed = slot.durable
        }
    }

    /// The slots have fallen too far behind: their WAL is removed, and who reads them is stopped.
    func loseSlot() {
        surroundings.trace.note("stream", "slots lost")
        for slot in slots where !slot.isIncomplete { slot.isLost = true }
        for walsender in walsenders {
            walsender.fail(
                state: "57P01", message: "terminating connection due to administrator command")
        }
    }

    func slot(_ name: String) -> ReplicationSlot? { slots.first { $0.name == name } }
}
