import CDC
import Loop
import PGProtocol

/// The origin's server process behind one connection of pgcache's own: it executes what comes, one thing after the
/// other, each at one moment of virtual time.
///
/// What a process holds (advisory locks, temporary slots, a walsender) is gone when it ends, and it may end later than
/// its connection: a process that waits for a lock does not look at its socket.
///
/// Owner: its link's pipe, and `Publications` while it is connected.
final class LinkBackend {
    enum Request {
        case connect
        case query(String, [String?])
        case startReplication(String)
        case copyData([UInt8])
        case end
    }

    let role: OriginLink.Role
    /// Of all connections of all links.
    let number: Int
    private let surface: OriginLink.Surface
    private let lockTimeoutMilliseconds: UInt64
    private let toProxy: LinkPipe<LinkEvent>
    private var random: Random
    private(set) var isEnded = false
    private var walsender: Walsender?

    private var scheduler: Scheduler { surface.surroundings.scheduler }
    private var publications: Publications { surface.publications }
    private var database: OriginDatabase { surface.database }

    init(
        _ role: OriginLink.Role, _ number: Int, _ surface: OriginLink.Surface,
        lockTimeoutMilliseconds: UInt64, _ toProxy: LinkPipe<LinkEvent>
    ) {
        self.role = role
        self.number = number
        self.surface = surface
        self.lockTimeoutMilliseconds = lockTimeoutMilliseconds
        self.toProxy = toProxy
        random = surface.surroundings.random("link backend", number)
    }

    func received(_ request: Request) {
        if isEnded { return }
        switch request {
        case .connect:
            if let refusal = surface.refusal() {
                note(refusal.message)
                isEnded = true
                return toProxy.send([.lost(state: refusal.state, message: refusal.message)])
            }
            publications.connected(self)
            answer(.connected)
        case .query(let sql, let parameters): execute(sql, parameters)
        case .startReplication(let sql): startReplication(sql)
        case .copyData(let bytes): walsender?.statusReceived(bytes)
        case .end: ended()
        }
    }

    // MARK: Ends

    /// The process ends; nobody hears of it through the connection.
    func ended() {
        if isEnded { return }
        isEnded = true
        walsender?.stop()
        walsender = nil
        publications.disconnected(self)
    }

    /// Nobody has told it that its connection is gone: it finds out in a while.
    func endsLater() {
        scheduler.after(UInt64(random.within(1_000...20_000)) * millisecond) { [weak self] in self?.ended() }
    }

    /// Says why, or nothing at all, and ends.
    func terminated(state: String, message: String) {
        if isEnded { return }
        toProxy.send([.lost(state: state, message: message)])
        ended()
    }

    // MARK: Executing

    private func execute(_ sql: String, _ parameters: [String?]) {
        switch role {
        case .control: beat(sql)
        case .catalog:
            let answers = CatalogAnswers(publications: publications, database: database)
            let rows = answers.rows(sql, parameters)
            note("\(excerpt(sql)) → \(rows.count) rows")
            answer(.answered(rows))
        case .publication:
            let (event, delay) = publications.execute(sql, for: number)
            note("\(excerpt(sql)) → \(outcome(event))")
            answer(event, after: delay)
        case .replication: command(sql)
        }
    }

    /// A statement takes its snapshot first and evaluates its functions a little later.
    private func beat(_ sql: String) {
        precondition(sql.hasPrefix("select pg_catalog.pg_current_snapshot("), "beats alone: \(sql)")
        let view = database.currentView().text
        guard random.chance(300) else { return beatRead(view) }
        scheduler.after(UInt64(random.within(200...30_000))) { [weak self] in self?.beatRead(view) }
    }

    private func beatRead(_ view: String) {
        let position = database.insertLSN
        note("beat \(view) \(position)")
        answer(.answered([[view, position.description, publications.flushedLSN.description]]))
    }

    private func answer(_ event: LinkEvent, after nanoseconds: UInt64 = 0) {
        if isEnded { return }
        guard nanoseconds > 0 else { return toProxy.send([event]) }
        scheduler.after(nanoseconds) { [weak self] in
            guard let self, !self.isEnded else { return }
            self.toProxy.send([event])
        }
    }

    // MARK: Replication commands

    private func command(_ sql: String) {
        let name = SQLExcerpt.quoted(after: "REPLICATION_SLOT", in: sql) ?? ""
        if sql == "IDENTIFY_SYSTEM" {
            let position = publications.flushedLSN
            note("IDENTIFY_SYSTEM → \(position)")
            answer(
                .answered([["7300000000000000001", "1", position.description, CatalogAnswers.databaseName]]))
        } else if sql.hasPrefix("SELECT active, ") {
            let rows = publications.inspection(SQLExcerpt.quoted(after: "slot_name = ", in: sql) ?? "")
            note("slot → \(rows)")
            answer(.answered(rows))
        } else if sql.hasPrefix("SELECT 'fence'") {
            let (event, delay) = publications.execute(sql, for: number)
            note("fence → \(outcome(event))")
            answer(event, after: delay)
        } else if sql.hasPrefix("DROP_REPLICATION_SLOT ") {
            dropSlot(name, waits: sql.hasSuffix(" WAIT"))
        } else if sql.hasPrefix("CREATE_REPLICATION_SLOT ") {
            createSlot(name, isTemporary: sql.contains(" TEMPORARY "))
        } else {
            preconditionFailure("the modelled walsender does not know \(sql)")
        }
    }

    private func dropSlot(_ name: String, waits: Bool) {
        if isEnded { return }
        let outcome = publications.dropSlot(name)
        if waits, case .failed(state: "55006", _) = outcome {
            scheduler.after(10 * millisecond) { [weak self] in self?.dropSlot(name, waits: true) }
            return
        }
        note("DROP_REPLICATION_SLOT \(name) → \(self.outcome(outcome))")
        answer(outcome)
    }

    /// Whoever has a number and is not over is waited for, one after the other, each for at most the lock timeout. The
    /// slot is there from the beginning, and stays until the waiting ends even if the connection is gone meanwhile.
    private func createSlot(_ name: String, isTemporary: Bool) {
        guard let slot = publications.makeSlot(name, isTemporary: isTemporary, for: number) else {
            return answer(
                .failed(state: "42710", message: "replication slot \"\(name)\" already exists"))
        }
        let open = database.running
        note("CREATE_REPLICATION_SLOT \(name) waits for \(open.compactMap { $0.xid?.description })")
        waitForAll(open[...], slot)
    }

    private func waitForAll(_ open: ArraySlice<Transaction>, _ slot: ReplicationSlot) {
        guard let first = open.first else { return slotCreated(slot) }
        var isDecided = false
        database.whenEnded([first]) {
            if isDecided { return }
            isDecided = true
            self.waitForAll(open.dropFirst(), slot)
        }
        if isDecided { return }
        scheduler.after(lockTimeoutMilliseconds * millisecond) {
            if isDecided { return }
            isDecided = true
            self.publications.removeSlot(slot)
            self.note("CREATE_REPLICATION_SLOT \(slot.name) → 55P03")
            self.answer(.failed(state: "55P03", message: "canceling statement due to lock timeout"))
        }
    }

    private func slotCreated(_ slot: ReplicationSlot) {
        // Killed while it waited: only now it sees that nobody wants the slot any more.
        if isEnded { return publications.removeSlot(slot) }
        let point = publications.completeSlot(slot)
        note("CREATE_REPLICATION_SLOT \(slot.name) → \(point)")
        answer(.answered([[slot.name, point.description, nil, "pgoutput"]]))
    }

    private func startReplication(_ sql: String) {
        let name = SQLExcerpt.quoted(after: "START_REPLICATION SLOT ", in: sql) ?? ""
        let publication = SQLExcerpt.quoted(after: "publication_names '", in: sql) ?? ""
        guard let position = SQLExcerpt.word(after: " LOGICAL ", in: sql).flatMap({ LSN($0) }) else {
            preconditionFailure("START_REPLICATION without a position: \(sql)")
        }
        switch publications.takeSlot(name, for: number) {
        case .failure(let error):
            note("START_REPLICATION \(name) → \(error.state)")
            answer(.failed(state: error.state, message: error.message))
        case .success(let slot):
            note("START_REPLICATION \(name) from \(position), confirmed \(slot.confirmed)")
            answer(.streaming)
            let walsender = Walsender(
                surface.surroundings, publications, slot, publication, from: position, number: number,
                send: { [weak self] in self?.toProxy.send($0) },
                end: { [weak self] state, message in
                    self?.terminated(state: state, message: message)
                })
            self.walsender = walsender
            walsender.start()
        }
    }

    // MARK: Trace

    private func note(_ what: @autoclosure () -> String) {
        surface.surroundings.trace.note("\(role) \(number)", what())
    }

    private func excerpt(_ sql: String) -> String { String(sql.prefix(48)) }

    private func outcome(_ event: LinkEvent) -> String {
        switch event {
        case .answered(let rows): "\(rows.map { $0.map { $0 ?? "-" } })"
        case .failed(let state, _): state
        case .connected, .streaming, .copyData, .lost: "\(event)"
        }
    }
}
