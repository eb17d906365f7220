import Cache
import Loop
import PGProtocol

/// One server process: the backend's half of the protocol for one client session (manual, chapter 55).
///
/// Messages are handled strictly one after the other. Each takes virtual time, so that between the view of a statement
/// and its reply other sessions go on; what stands between two moments is a closure that is void once the statement was
/// cancelled or the session is over (`step`).
///
///     input ─▶ pump ─▶ begin ─(spend)─▶ perform ─▶ … spend, wait, commit … ─▶ finished ─▶ pump
///
/// Invariants: `phase` is idle exactly between two messages; a transaction is rolled back when the session ends, except
/// one whose commit has begun; output leaves in the order in which it was written.
///
/// Other files: BackendStartup (log-in), BackendTransaction (views, blocks, commit), BackendQuery (running statements,
/// the simple protocol), BackendExtended (the extended protocol).
final class Backend: SocketOwner {
    /// What happens on the connection.
    enum Output: Equatable {
        case bytes([UInt8])
        /// The end of the stream, behind the bytes.
        case end
        case reset
    }
    /// What the message in hand is doing.
    enum Phase { case idle, working, waiting, committing }
    /// ReadyForQuery's I, T and E.
    enum Block { case none, open, failed }

    /// The statement in hand, as it will be noted in the execution log.
    struct InHand {
        var statement: Statement
        var parameters: [Datum] = []
        /// At Query, or at the Bind of a SELECT's portal: under REPEATABLE READ too, where the view itself is older.
        var viewedAt: UInt64?
        var shown: [Answer.Shown] = []
        /// SQLSTATEs of the notices that came with it.
        var notices: [String] = []
    }

    unowned let origin: Origin
    let surroundings: Surroundings
    let database: OriginDatabase
    /// application_name; by the process until log-in.
    var client: String
    let key: BackendKey
    var random: Random
    var settings = SessionSettings()
    /// What ParameterStatus has told last.
    var reported: [String: String] = [:]
    var isLoggedIn = false
    /// Who the session is, and who it is again when its transaction fails.
    var identity = Identity(.app) {
        didSet {
            guard identity != oldValue else { return }
            origin.executions.note(role: identity.current, of: client, at: event)
        }
    }
    var settledIdentity = Identity(.app)

    private(set) var phase = Phase.idle
    /// Counts what can be going on: a closure of an earlier step does nothing.
    private(set) var step: UInt64 = 0
    /// The session is over: nothing is sent, nothing is handled.
    private(set) var isOver = false
    private var message: FrontendMessage?
    var inHand: InHand?
    /// `Scheduler.count` when a statement last asked for its view.
    var viewedAt: UInt64 = 0
    /// An error came in the extended protocol: everything is dropped up to Sync.
    var skipsToSync = false

    var block = Block.none
    /// A block's, or the implicit one of what was sent since the last Sync.
    var transaction: Transaction?
    /// The transaction has taken a snapshot: its isolation level stands.
    var hasSnapshot = false
    var savepoints: [Savepoint] = []
    /// LISTEN, and what the transaction wants of its commit.
    var isListening = false
    var listensWhenCommitted = false
    var notifiesWhenCommitted = false
    /// Commits that the client is to be notified of.
    var notifications: [LSN] = []
    /// ReadyForQuery was the last thing that was said.
    var isReady = false
    /// Of the block's transaction that was rolled back by an error: AND CHAIN goes on with them.
    var blockIsolation = Statement.Isolation.readCommitted
    var blockIsReadOnly = false
    /// Places in the execution log of what the implicit transaction has changed.
    var implicitChanges: [Int] = []
    var prepared: [String: Prepared] = [:]
    var portals: [String: Portal] = [:]

    private var input: [UInt8] = []
    private var inputStart = 0
    private var inputHasEnded = false
    private var isPumping = false

    private let output: (Output) -> Void
    /// What the process has written and not sent.
    private var buffer: [UInt8] = []
    /// 8 KiB as in PostgreSQL (PQ_SEND_BUFFER_SIZE), for some less: their answers leave in parts as larger ones would.
    private let bufferBytes: Int
    private var outbox: [[UInt8]] = []
    private var isSending = false
    private var endsWhenSent = false

    init(_ origin: Origin, number: Int, _ output: @escaping (Output) -> Void) {
        self.origin = origin
        surroundings = origin.surroundings
        database = origin.database
        self.output = output
        random = surroundings.random("backend", number)
        client = "process \(1000 + number)"
        let secret = random.next()
        key = BackendKey(
            process: UInt32(1000 + number), secret: (0..<4).map { UInt8(truncatingIfNeeded: secret >> ($0 * 8)) })
        bufferBytes = random.chance(200) ? 256 : 8192
    }

    /// `Scheduler.count`.
    var event: UInt64 { surroundings.scheduler.count }
    /// Whose connection this is.
    var traceName: String { "origin for \(client)" }

    // MARK: Input

    func received(_ bytes: [UInt8], on socket: Socket) { received(bytes) }
    func ended(_ socket: Socket) { ended() }
    func closed(_ socket: Socket) { closed() }

    func received(_ bytes: [UInt8]) {
        guard !isOver else { return }
        input += bytes
        pump()
    }

    /// The client sends nothing more: what it has sent is finished first.
    func ended() {
        guard !isOver else { return }
        inputHasEnded = true
        pump()
    }

    /// Nobody is there any more. A server process learns that only when it reads or writes: sometimes it finishes what
    /// it has received.
    func closed() {
        guard !isOver else { return }
        if phase != .waiting, random.chance(500) {
            ended()
        } else {
            end()
        }
    }

    /// Begins what has been received, one message at a time.
    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        while phase == .idle, !isOver {
            guard isLoggedIn else {
                if let packet = nextPacket() {
                    phase = .working
                    startUp(packet)
                    continue
                }
                if inputHasEnded { end() }
                return
            }
            guard let message = nextMessage() else {
                if inputHasEnded { end() }
                return
            }
            begin(message)
        }
    }

    /// The next packet of the start; nil while it is not whole.
    private func nextPacket() -> [UInt8]? {
        let rest = Array(input[inputStart...])
        do {
            guard let length = try withView(rest, StartupPacket.length), rest.count >= length else { return nil }
            consume(length)
            return Array(rest.prefix(length))
        } catch {
            terminate(isAnnounced: false)
            return nil
        }
    }

    private func nextMessage() -> FrontendMessage? {
        let available = input.count - inputStart
        guard available >= 5 else { return nil }
        var length = 0
        for byte in input[inputStart + 1..<inputStart + 5] { length = length << 8 | Int(byte) }
        guard length >= 4 else { return .unknown(input[inputStart]) }
        guard available > length else { return nil }
        let type = input[inputStart]
        let body = Array(input[(inputStart + 5)..<(inputStart + 1 + length)])
        consume(1 + length)
        return FrontendMessage(type, body)
    }

    private func consume(_ count: Int) {
        inputStart += count
        if inputStart == input.count {
            input.removeAll(keepingCapacity: true)
            inputStart = 0
        } else if inputStart > 16 * 1024 {
            input.removeFirst(inputStart)
            inputStart = 0
        }
    }

    // MARK: One message

    private func begin(_ message: FrontendMessage) {
        if skipsToSync, message != .sync, message != .terminate { return }
        phase = .working
        isReady = false
        // A reload of the configuration acts between two messages (postgres.c, PostgresMain).
        settings.configuration = surroundings.configuration.values
        self.message = message
        if surroundings.trace.isOn { surroundings.trace.note(traceName, "hears \(message.title)") }
        switch message {
        case .query(let text):
            inHand = isUnasked(text) ? nil : statement(text).map { InHand(statement: $0) }
        case .execute(let name, _):
            if let portal = portals[name], let statement = portal.statement {
                inHand = InHand(
                    statement: statement, parameters: portal.parameters, viewedAt: portal.viewedAt,
                    shown: portal.answer?.shown ?? [])
            }
        case .parse, .bind:
            break
        case .describe, .close, .flush, .sync, .terminate, .malformed, .unknown:
            // These take hardly any time.
            if random.chance(700) { return perform(message) }
        }
        spend { [self] in perform(message) }
    }

    private func perform(_ message: FrontendMessage) {
        switch message {
        // Outside a block an implicit transaction begins, under the settings of this moment.
        case .query, .parse, .bind, .execute: if block == .none { _ = currentTransaction() }
        case .describe, .close, .flush, .sync, .terminate, .malformed, .unknown: break
        }
        switch message {
        case .query(let text): query(text)
        case .parse(let name, let text, let types): parse(name, text, types)
        case .bind(let bind): self.bind(bind)
        case .describe(let kind, let name): describe(kind, name)
        case .execute(let name, let rowsMax): execute(name, rowsMax)
        case .close(let kind, let name): close(kind, name)
        case .flush:
            flush()
            finished()
        case .sync: sync()
        case .terminate: end()
        case .malformed(let text): fail(.protocolViolation, text)
        case .unknown(let type): fatal(.protocolViolation, "invalid frontend message type \(type)")
        }
    }

    /// The message in hand has been handled.
    func finished() {
        guard !isOver else { return }
        inHand = nil
        message = nil
        step += 1
        phase = .idle
        pump()
    }

    /// Lets virtual time pass before `body`.
    func spend(_ body: @escaping () -> Void) {
        phase = .working
        let step = step
        let micros = random.chance(4) ? random.within(1000...6000) : random.within(5...100)
        surroundings.scheduler.after(UInt64(micros) * microsecond) { [self] in
            if step == self.step, !isOver { body() }
        }
    }

    /// Goes on some time after another transaction is over.
    func wait(for other: Transaction, _ body: @escaping () -> Void) {
        phase = .waiting
        surroundings.trace.note(traceName, "waits for transaction \(other.xid.map(\.description) ?? "without number")")
        let step = step
        database.whenEnded([other]) { [self] in
            if step == self.step, !isOver { spend(body) }
        }
    }

    /// Nothing interrupts the message in hand from here on.
    func beginsCommit() { phase = .committing }

    /// CancelRequest: what executes or waits fails; anything else is not disturbed.
    func cancel() {
        guard !isOver, phase == .working || phase == .waiting, message?.isInterruptible == true else { return }
        step += 1
        fail(.queryCanceled, "canceling statement due to user request")
    }

    /// The message in hand fails (manual, 55.2.3): the transaction is aborted, and in the extended protocol nothing is
    /// read up to Sync. `rows` went out before.
    func fail(_ state: SQLState, _ text: String, rows: [UInt8] = []) {
        note(.error(state: state.code, rows: rows))
        send(WireError(.error, state, text))
        failTransaction()
        // PostgreSQL sends its buffer behind every error (elog.c, send_message_to_frontend).
        flush()
        if message?.isSimple == true {
            ready()
        } else {
            skipsToSync = true
        }
        finished()
    }

    func fail(_ error: OriginError) { fail(SQLState(error.state), error.message) }

    /// The session ends with an error.
    func fatal(_ state: SQLState, _ text: String) {
        guard !isOver else { return }
        send(WireError(.fatal, state, text))
        end()
    }

    private func send(_ error: WireError) {
        if !isUnasked(message) {
            var failure = Failure(event: event, state: error.state.code)
            if case .parse(_, let text, _) = message { failure.parsed = text }
            origin.executions.note(failure, for: client)
        }
        surroundings.trace.note(traceName, error.description)
        write(error.encoded)
    }

    /// Notes what has come of the statement in hand; gives the place in the log.
    @discardableResult
    func note(_ reply: Reply, _ committedLSN: LSN? = nil) -> Int? {
        guard let inHand else { return nil }
        return origin.executions.note(
            Execution(
                statement: inHand.statement, parameters: inHand.parameters,
                viewedAt: inHand.viewedAt ?? event, event: event,
                shown: inHand.shown, committedLSN: committedLSN, notices: inHand.notices,
                standing: SessionStanding(settings, transaction?.isolation), reply: reply), for: client)
    }

    // MARK: Output

    func notice(_ severity: String, _ state: String, _ text: String) {
        inHand?.notices.append(state)
        write(Messages.notice(severity, state, text))
    }

    func write(_ bytes: [UInt8]) {
        guard !isOver else { return }
        buffer += bytes
        while buffer.count >= bufferBytes {
            outbox.append(Array(buffer.prefix(bufferBytes)))
            buffer.removeFirst(bufferBytes)
        }
        drain()
    }

    func flush() {
        guard !isOver else { return }
        if !buffer.isEmpty {
            outbox.append(buffer)
            buffer = []
        }
        drain()
    }

    /// Sends the first part now and the others a bit later each.
    private func drain() {
        guard !isSending else { return }
        guard !outbox.isEmpty else {
            if endsWhenSent {
                endsWhenSent = false
                output(.end)
            }
            return
        }
        let part = outbox.removeFirst()
        output(.bytes(part))
        guard !outbox.isEmpty || endsWhenSent else { return }
        isSending = true
        surroundings.scheduler.after(UInt64(random.within(2...40)) * microsecond) { [self] in
            isSending = false
            drain()
        }
    }

    // MARK: The end

    /// The process exits: what runs is rolled back, what was written is sent.
    func end() {
        guard !isOver else { return }
        flush()
        leave()
        endsWhenSent = true
        drain()
        origin.forget(self)
    }

    /// Ended by the origin: with 57P01, or without a word. Whoever calls forgets it.
    func terminate(isAnnounced: Bool) {
        guard !isOver else { return }
        if isAnnounced {
            send(WireError(.fatal, .adminShutdown, "terminating connection due to administrator command"))
            flush()
            leave()
            endsWhenSent = true
            drain()
        } else {
            leave()
            outbox = []
            output(.reset)
        }
    }

    private func leave() {
        savepoints = []
        abort()
        isOver = true
        step += 1
        phase = .idle
        prepared = [:]
        portals = [:]
        input = []
        inputStart = 0
    }
}
