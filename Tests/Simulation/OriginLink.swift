import Cache
import Loop
import PGProtocol

/// A connection of pgcache's own to the modelled origin, in place of libpq's.
///
/// It keeps `LibpqLink`'s promises: one query at a time, order kept, `.lost` the last event of a connection, nothing
/// from inside a call of the proxy's. What it is asked travels to a `LinkBackend`, is executed there at one moment, and
/// the answer travels back; then a `.ready` completion announces it, and `advance` lets the proxy see it.
///
/// Each connection has two pipes of its own, which are cut at its end [nothing of an earlier life is delivered].
///
/// Owner: the proxy, as of any link. The world keeps it too, for faults.
final class OriginLink: PostgresLink {
    enum Role: UInt32, CaseIterable { case control, catalog, publication, replication }
    let role: Role

    private enum State { case closed, connecting, idle, asking, starting, streaming }

    /// What a link needs of the world.
    struct Surface {
        var surroundings: Surroundings
        var database: OriginDatabase
        var publications: Publications
        /// Why the origin takes no new connection, while it does not.
        var refusal: () -> OriginError?
        /// A completion for the proxy.
        var announce: (Completion) -> Void
    }

    private let surface: Surface
    private let tag: UInt64
    private var state = State.closed
    /// Counts connections.
    private var life = 0
    private var toOrigin: LinkPipe<LinkBackend.Request>?
    private var toProxy: LinkPipe<LinkEvent>?
    private var backend: LinkBackend?
    /// Has come, and was not looked at by `advance`.
    private var arrived: [LinkEvent] = []
    private var events: [LinkEvent] = []
    private var eventsTaken = 0
    private var isPaused = false
    /// The question under way is the poll of the catalog.
    private var isPolling = false
    /// The transaction that comes in the stream, and whether it holds a message about the schema.
    private var streamed: (narrowID: UInt32, hasMessage: Bool) = (0, false)

    /// As `LibpqLink.connectTimeoutNanoseconds`.
    static let connectTimeoutNanoseconds = 10 * second

    init(_ role: Role, _ surface: Surface, tag: UInt64) {
        self.role = role
        self.surface = surface
        self.tag = tag
    }

    // MARK: PostgresLink

    func connect(_ parameters: [(keyword: String, value: String)]) {
        precondition(state == .closed, "connects once at a time")
        state = .connecting
        isPaused = false
        life += 1
        let life = self.life
        let number = life * Role.allCases.count + Int(role.rawValue)
        let toProxy = LinkPipe<LinkEvent>(surface.surroundings, "link to proxy", number) {
            [weak self] events in self?.arrive(events, of: life)
        }
        let backend = LinkBackend(
            role, number, surface, lockTimeoutMilliseconds: Self.lockTimeout(in: parameters), toProxy)
        toOrigin = LinkPipe(surface.surroundings, "link to origin", number) { requests in
            for request in requests { backend.received(request) }
        }
        self.backend = backend
        self.toProxy = toProxy
        toOrigin?.send([.connect])
        surface.surroundings.scheduler.after(Self.connectTimeoutNanoseconds) { [weak self] in
            guard let self, self.life == life, self.state == .connecting else { return }
            self.abandon()
            self.backend?.endsLater()
            self.arrive([.lost(state: "", message: "the connection attempt took too long")], of: life)
        }
    }

    func query(_ sql: String, _ parameters: [String?]) {
        guard state != .closed else { return }  // lost; its event says so
        precondition(state == .idle, "one query at a time")
        state = .asking
        isPolling = sql == CatalogPoll.sql
        toOrigin?.send([.query(sql, parameters)])
    }

    func startReplication(_ sql: String) {
        guard state != .closed else { return }
        precondition(state == .idle, "one query at a time")
        state = .starting
        toOrigin?.send([.startReplication(sql)])
    }

    func sendCopyData(_ bytes: [UInt8]) {
        guard state == .streaming else { return }
        toOrigin?.send([.copyData(bytes)])
    }

    func pause() { isPaused = true }

    func resume() {
        guard isPaused else { return }
        isPaused = false
        surface.announce(Completion(kind: .ready, socket: .none, tag: tag, result: 0))
    }

    func close() {
        toOrigin?.send([.end])
        forget()
        life += 1
        state = .closed
        arrived = []
        events = []
        eventsTaken = 0
    }

    func advance(_ completion: Completion) {
        if isPaused { return }
        for event in arrived {
            if state == .closed { break }
            switch event {
            case .connected, .answered, .failed: state = .idle
            case .streaming: state = .streaming
            case .copyData: break
            case .lost:
                state = .closed
                forget()
            }
            events.append(event)
        }
        arrived.removeAll(keepingCapacity: true)
    }

    func nextEvent() -> LinkEvent? {
        guard eventsTaken < events.count else { return nil }
        let event = events[eventsTaken]
        eventsTaken += 1
        if case .copyData(let bytes) = event, surface.database.hasEventTrigger { noteMessage(bytes) }
        if isPolling, case .answered(let rows) = event { surface.database.noticed(poll: rows) }
        if eventsTaken == events.count {
            events.removeAll(keepingCapacity: true)
            eventsTaken = 0
        }
        return event
    }

    var isIdle: Bool { state == .idle }
    var serverVersion: Int32 { 150_018 }
    var backendProcess: Int32 { 0 }

    // MARK: Faults

    /// Whether there is a connection, or an attempt to make one.
    var isOpen: Bool { state != .closed }

    /// The connection breaks; the proxy is told after `nanoseconds`, or never (half-open) with nil. Then the origin
    /// does not notice for a while either: what the connection held stays taken.
    func fail(state: String, noticedAfter nanoseconds: UInt64?) {
        guard self.state != .closed, let backend else { return }
        surface.surroundings.trace.note("\(role)", "connection breaks \(state)")
        let life = self.life
        abandon()
        if let nanoseconds {
            backend.ended()
            surface.surroundings.scheduler.after(nanoseconds) { [weak self] in
                self?.arrive([.lost(state: state, message: "the connection broke")], of: life)
            }
        } else {
            backend.endsLater()
        }
    }

    /// Nothing arrives in either direction for so long.
    func stall(for nanoseconds: UInt64) {
        surface.surroundings.trace.note("\(role)", "stalls for \(nanoseconds / microsecond) µs")
        toOrigin?.stall(for: nanoseconds)
        toProxy?.stall(for: nanoseconds)
    }

    // MARK: Inside

    /// Follows the stream as far as to know which transactions hold the event trigger's message.
    private func noteMessage(_ bytes: [UInt8]) {
        guard bytes.count > 25, bytes[0] == UInt8(ascii: "w") else { return }
        switch bytes[25] {
        case UInt8(ascii: "B"):
            streamed = (bytes[42..<46].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }, false)
        case UInt8(ascii: "M"): streamed.hasMessage = true
        case UInt8(ascii: "C"): if streamed.hasMessage { surface.database.messageTaken(streamed.narrowID) }
        default: break
        }
    }

    private func arrive(_ more: [LinkEvent], of life: Int) {
        guard life == self.life, state != .closed else { return }
        arrived.append(contentsOf: more)
        surface.announce(Completion(kind: .ready, socket: .none, tag: tag, result: 0))
    }

    /// Nothing passes any more; nobody is told.
    private func abandon() {
        toOrigin?.cut()
        toProxy?.cut()
    }

    private func forget() {
        toProxy?.cut()
        toOrigin = nil
        toProxy = nil
        backend = nil
    }

    /// Out of libpq's `options`.
    private static func lockTimeout(in parameters: [(keyword: String, value: String)]) -> UInt64 {
        for parameter in parameters where parameter.keyword == "options" {
            if let text = SQLExcerpt.word(after: "lock_timeout=", in: parameter.value),
                let milliseconds = UInt64(text)
            {
                return milliseconds
            }
        }
        return 10_000
    }
}

extension OriginLink {
    convenience init(_ role: Role, _ origin: Origin, _ reactor: ScriptedReactor, tag: UInt64) {
        self.init(
            role,
            Surface(
                surroundings: origin.surroundings, database: origin.database,
                publications: origin.publications, refusal: { Self.refusal(of: origin) },
                announce: { reactor.enqueue($0) }), tag: tag)
    }

    private static func refusal(of origin: Origin) -> OriginError? {
        if origin.refusesConnections { return OriginError(state: "", message: "connection refused") }
        if origin.isUp { return nil }
        return origin.isStarting
            ? OriginError(state: "57P03", message: "the database system is starting up")
            : OriginError(state: "", message: "connection refused")
    }
}
