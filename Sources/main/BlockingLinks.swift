import Loop

/// Connections for commands that have nothing to do but wait: check, cleanup, demo.
///
/// A reactor of its own with links over it. The proxy never uses this: it must not wait for anybody. SIGINT and SIGTERM
/// end a wait with `.interrupted`, so that who waits can clean up behind itself.
/// Owner: one command. Links are numbered in the order they were opened and live until closed.
final class BlockingLinks {
    let reactor: Reactor
    private let resolver: NameResolver
    private var links: [UInt64: any PostgresLink] = [:]
    private var nextTag: UInt64 = 16
    private(set) var isInterrupted = false
    /// What happened to others than links and children in this turn: timers, sockets.
    private(set) var others: [Completion] = []
    /// Wait statuses of watched children that have ended, by process.
    private(set) var exits: [Int32: Int32] = [:]

    private static let signalTag: UInt64 = 1
    private static let resolverTag: UInt64 = 2
    static let timerTag: UInt64 = 3
    static let socketTag: UInt64 = 5
    /// A child's tag is this and its process number.
    private static let childTag: UInt64 = 1 << 32
    private static let connectSeconds = 10

    init() throws(SystemError) {
        let reactor = try EpollReactor()
        self.reactor = reactor
        resolver = NameResolver(reactor: reactor, tag: Self.resolverTag)
        try reactor.watchSignals([2, 15], tag: Self.signalTag)
    }

    deinit { for link in links.values { link.close() } }

    /// A new connection that is not made yet; its number.
    func open() -> (number: UInt64, link: any PostgresLink) {
        let number = nextTag
        nextTag += 1
        let link = LibpqLink(reactor: reactor, resolver: resolver, tag: number)
        links[number] = link
        return (number, link)
    }

    /// Waits once, and hands every completion to its link. What is not a link's is in `others`.
    func turn() throws(LinkFailure) {
        others.removeAll(keepingCapacity: true)
        do { try reactor.wait() } catch { throw .system(error) }
        while let completion = reactor.next() {
            if let link = links[completion.tag] {
                link.advance(completion)
            } else if completion.tag == Self.signalTag {
                isInterrupted = true
            } else if completion.tag == Self.resolverTag {
                resolver.advance(completion)
            } else if completion.kind == .exited {
                exits[Int32(truncatingIfNeeded: completion.tag)] = Int32(truncatingIfNeeded: completion.result)
            } else {
                others.append(completion)
            }
        }
        if isInterrupted { throw .interrupted }
    }

    /// Connects and waits for it.
    /// - Parameter extra: more of libpq's keywords.
    func connect(
        _ endpoint: Settings.Endpoint, name: String, extra: [(keyword: String, value: String)] = []
    ) throws(LinkFailure) -> UInt64 {
        let (number, link) = open()
        link.connect(
            endpoint.parameters(applicationName: name) + extra
                + [(keyword: "connect_timeout", value: String(Self.connectSeconds))])
        do throws(LinkFailure) {
            guard case .connected = try event(of: link) else {
                throw .refused(state: "", message: "an unexpected answer")
            }
            return number
        } catch {
            close(number)
            throw error
        }
    }

    func link(_ number: UInt64) -> (any PostgresLink)? { links[number] }

    /// Asks and waits for the rows.
    @discardableResult
    func ask(
        _ number: UInt64, _ sql: String, _ parameters: [String?] = []
    ) throws(LinkFailure) -> [[String?]] {
        guard let link = links[number] else { throw .refused(state: "08003", message: "no such link") }
        link.query(sql, parameters)
        guard case .answered(let rows) = try event(of: link) else {
            throw .refused(state: "", message: "an unexpected answer to: \(sql)")
        }
        return rows
    }

    func close(_ number: UInt64) { links.removeValue(forKey: number)?.close() }

    private func event(of link: any PostgresLink) throws(LinkFailure) -> LinkEvent {
        while true {
            switch link.nextEvent() {
            case .failed(let state, let message), .lost(let state, let message):
                throw .refused(state: state, message: message)
            case .some(let event): return event
            case nil: try turn()
            }
        }
    }

    /// Lets `milliseconds` pass; other completions are dispatched meanwhile.
    func pause(milliseconds: UInt64) throws(LinkFailure) {
        _ = reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: Self.timerTag)
        while true {
            try turn()
            if others.contains(where: { $0.kind == .timer && $0.tag == Self.timerTag }) { return }
        }
    }

    /// From now on `exits` tells when this child ends.
    func watch(_ process: Int32) throws(LinkFailure) {
        do {
            try reactor.watchChild(process, tag: Self.childTag | UInt64(UInt32(bitPattern: process)))
        } catch { throw .system(error) }
    }

    /// The wait status of a watched child, when it has ended.
    func exit(of process: Int32) throws(LinkFailure) -> Int32 {
        while true {
            if let status = exits[process] { return status }
            try turn()
        }
    }

    /// Waits for ever, until a signal.
    func waitForSignal() {
        while (try? turn()) != nil {}
    }

    /// From here on signals are noted and end nothing: for cleaning up after one.
    func forgetInterruption() { isInterrupted = false }
}

/// Why a wait did not end with an answer.
enum LinkFailure: Error, Equatable, CustomStringConvertible {
    /// PostgreSQL, or the way to it, said no. `state` is the SQLSTATE, or empty.
    case refused(state: String, message: String)
    case system(SystemError)
    /// SIGINT or SIGTERM came.
    case interrupted

    var description: String {
        switch self {
        case .refused(let state, let message):
            SettingValue.trimmed(message) + (state.isEmpty ? "" : " (SQLSTATE \(state))")
        case .system(let error): "\(error)"
        case .interrupted: "interrupted"
        }
    }
}
