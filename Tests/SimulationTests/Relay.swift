import Loop

@testable import Simulation

/// The least proxy: clients' bytes to the origin and back, on the scripted reactor. It shows what clients and the
/// origin make of each other when nothing is between them.
final class Relay {
    private let reactor: ScriptedReactor
    private var ends: [End] = []
    private static let listenerTag: UInt64 = 1 << 40

    /// One end of a connection; the other has its number with the lowest bit changed.
    private final class End {
        var socket: SocketID
        let received = Memory(count: 3000)
        let sending = Memory(count: 3000)
        var isConnected = false
        var isReceiving = false
        var isSending = false
        var hasEnded = false
        var isClosed = false
        /// Got for this end before it could be sent.
        var waiting: [UInt8] = []
        init(_ socket: SocketID) { self.socket = socket }
    }

    init(_ reactor: ScriptedReactor) throws {
        self.reactor = reactor
        _ = try reactor.listen(on: .unix(path: "relay"), backlog: 16, tag: Relay.listenerTag)
    }

    /// Connections that are open on either side.
    var openEnds: Int { ends.filter { !$0.isClosed }.count }

    /// Ends after 10 ms at the latest.
    func turn() throws {
        let timer = reactor.startTimer(nanoseconds: 10 * millisecond, tag: .max)
        reactor.wait()
        reactor.cancelTimer(timer)
        while let completion = reactor.next() { try take(completion) }
    }

    private func take(_ completion: Completion) throws {
        if completion.kind == .accepted {
            let number = UInt64(ends.count)
            reactor.setTag(completion.socket, number)
            let client = End(completion.socket)
            client.isConnected = true
            let origin = End(try reactor.connect(to: .unix(path: "origin"), tag: number + 1))
            ends += [client, origin]
            return receive(client)
        }
        guard completion.tag < UInt64(ends.count) else { return }
        let place = Int(completion.tag)
        let end = ends[place], other = ends[place ^ 1]
        switch completion.kind {
        case .connected where completion.result == 0:
            end.isConnected = true
            receive(end)
            flush(end, from: other)
        case .received where completion.result > 0:
            end.isReceiving = false
            other.waiting += end.received.bytes[..<completion.result]
            flush(other, from: end)
            receive(end)
        case .received where completion.result == 0:
            end.isReceiving = false
            end.hasEnded = true
            flush(other, from: end)
        case .sent where completion.result >= 0:
            end.isSending = false
            flush(end, from: other)
        case .closed: end.isClosed = true
        default:
            close(end)
            close(other)
        }
    }

    private func receive(_ end: End) {
        guard end.isConnected, !end.isReceiving, !end.hasEnded, end.socket != .none else { return }
        end.isReceiving = true
        reactor.receive(end.socket, into: end.received.base, capacity: end.received.count)
    }

    private func flush(_ end: End, from other: End) {
        guard end.isConnected, !end.isSending, end.socket != .none else { return }
        if end.waiting.isEmpty {
            guard other.hasEnded else { return }
            if end.hasEnded {
                close(end)
                close(other)
            } else {
                reactor.shutdownSend(end.socket)
            }
            return
        }
        let count = min(end.waiting.count, end.sending.count)
        end.sending.bytes.copyBytes(from: end.waiting[..<count])
        end.waiting.removeFirst(count)
        end.isSending = true
        let slice = Slice(base: UnsafeRawPointer(end.sending.base), count: count)
        withUnsafePointer(to: slice) {
            reactor.send(end.socket, UnsafeBufferPointer(start: $0, count: 1))
        }
    }

    private func close(_ end: End) {
        guard end.socket != .none else { return }
        reactor.close(end.socket)
        end.socket = .none
    }
}

/// Clients and the origin with a relay between, and everything that the clients were told.
final class RelayedWorld: ClientObserver {
    let surroundings: Surroundings
    let reactor: ScriptedReactor
    let origin: Origin
    let relay: Relay
    private(set) var clients: [Client] = []
    private(set) var exchanges: [Exchange] = []
    private(set) var violations: [Violation] = []
    private(set) var lost: [(name: String, outstanding: Int)] = []

    struct Stuck: Error { var clients: [String] }

    init(_ parameters: Parameters, plans: [ClientPlan]) throws {
        surroundings = Surroundings(parameters: parameters, isTraced: parameters.clients == 1)
        reactor = ScriptedReactor(surroundings)
        origin = Origin(surroundings)
        reactor.host = origin
        relay = try Relay(reactor)
        clients = plans.map { Client(surroundings, reactor, plan: $0, observer: self) }
        for client in clients { client.start() }
    }

    /// Until all are done; `each` is told between turns.
    func run(virtualSeconds: UInt64 = 300, _ each: () -> Void = {}) throws {
        let end = surroundings.scheduler.now + virtualSeconds * second
        while clients.contains(where: { !$0.isDone }), violations.isEmpty {
            guard surroundings.scheduler.now < end else {
                throw Stuck(clients: clients.filter { !$0.isDone }.map(\.name))
            }
            try relay.turn()
            each()
        }
    }

    /// Of the connection that began last.
    private(set) var socketOfClient: Socket?

    func began(client name: String, connection socket: Socket) { socketOfClient = socket }
    func answered(_ exchange: Exchange) { exchanges.append(exchange) }
    func violated(_ violation: Violation) { violations.append(violation) }
    func lost(client name: String, outstanding: Int) { lost.append((name, outstanding)) }
}
