import Cache
import Loop
import PGProtocol
import Shell

/// What the proxy knew when it decided on each byte for a client: the watermark, the moment, whether it was serving.
///
/// A client's stream is what the network has taken of it and what the proxy still holds (`clientOutput`). The ledger
/// measures its length after each step of the proxy: bytes that were not there after the step before were decided on
/// in this one. Nothing but a completion of the change stream moves the watermark, and none of these also answers a
/// client, so the watermark behind a step is the one that the step was decided under.
///
/// Relies on `bytesTaken`: bytes of sends of a socket whose completion the proxy has been given. Marks that a client
/// has consumed are dropped.
final class Ledger: TurnObserver {
    struct Mark: Equatable {
        /// Position in the client's stream behind the last byte that this is true of.
        var upTo: Int
        var watermark: LSN
        /// `Scheduler.count`
        var event: UInt64
        var isServing: Bool
        /// Counts how often serving has ended: the watermark may be lower only in a later one.
        var epoch: Int
    }

    /// One client socket of the proxy's, and later perhaps the name of its client.
    private final class Stream {
        let socket: SocketID
        var length = 0
        var marks: [Mark] = []
        var first = 0

        init(_ socket: SocketID) { self.socket = socket }
    }

    var proxy: Proxy?
    private let scheduler: Scheduler
    private let bytesTaken: (SocketID) -> Int
    /// By the slot of the socket; a slot is used again under another generation.
    private var current: [Stream?] = []
    /// Generation and length by slot, as last seen: most connections have not moved since.
    private var lengths: [(generation: UInt32, length: Int)] = []
    private var named: [String: Stream] = [:]
    private var epoch = 0
    private var wasServing = false
    private var highest = LSN.zero
    /// The watermark went back while the proxy was serving; kept until the oracle takes it.
    private var setBack: Violation?

    init(_ scheduler: Scheduler, bytesTaken: @escaping (SocketID) -> Int) {
        self.scheduler = scheduler
        self.bytesTaken = bytesTaken
    }

    // MARK: - The proxy

    func proxyStepped(after socket: SocketID) { look() }
    func proxyWaits() { look() }

    /// All connections: there are few, and a step for one can move another.
    private func look() {
        guard let proxy else { return }
        let store = proxy.store
        noteState(watermark: store.watermark, isServing: store.isServing)
        proxy.connections.forEach { connection in
            let socket = connection.pointee.client
            guard socket != .none else { return }
            let length = bytesTaken(socket) + connection.pointee.clientOutput.count
            let slot = Int(socket.index)
            while lengths.count <= slot { lengths.append((0, 0)) }
            if lengths[slot] == (socket.generation, length) { return }
            lengths[slot] = (socket.generation, length)
            noteLength(length, of: socket)
        }
    }

    /// What holds for all bytes that are noted from now on.
    func noteState(watermark: LSN, isServing: Bool) {
        if wasServing, !isServing { epoch += 1 }
        if !wasServing || !isServing {
            highest = watermark
        } else if watermark < highest, setBack == nil {
            setBack = Violation(rule: 1, text: "the watermark went from \(highest) back to \(watermark)")
        }
        highest = max(highest, watermark)
        wasServing = isServing
        state = Mark(upTo: 0, watermark: watermark, event: scheduler.count, isServing: isServing, epoch: epoch)
    }
    private var state = Mark(upTo: 0, watermark: .zero, event: 0, isServing: false, epoch: 0)

    /// A client's stream is so long now. A shorter one is a connection that was closed: nothing more comes of it.
    func noteLength(_ length: Int, of socket: SocketID) {
        let stream = stream(of: socket)
        guard length > stream.length else { return }
        stream.length = length
        var mark = state
        mark.upTo = length
        if let last = stream.marks.last {
            mark.upTo = last.upTo
            let isSame = last == mark
            mark.upTo = length
            if isSame {
                stream.marks[stream.marks.count - 1] = mark
                return
            }
        }
        stream.marks.append(mark)
    }

    private func stream(of socket: SocketID) -> Stream {
        let slot = Int(socket.index)
        while current.count <= slot { current.append(nil) }
        if let stream = current[slot], stream.socket == socket { return stream }
        let stream = Stream(socket)
        current[slot] = stream
        return stream
    }

    // MARK: - The oracle

    /// The client of this name talks to the proxy through this socket of the proxy's.
    func began(_ client: String, on socket: SocketID) {
        precondition(named[client] == nil, "a name is of one connection")
        named[client] = stream(of: socket)
    }

    /// The connection is over and nothing more will be asked of it.
    func ended(_ client: String) { named[client] = nil }

    /// What was known when the byte before `position` was appended; nil where the proxy has appended none. Positions
    /// that are asked for rise: what is before them is forgotten.
    func mark(of client: String, at position: Int) -> Mark? {
        guard let stream = named[client] else { return nil }
        while stream.first < stream.marks.count, stream.marks[stream.first].upTo < position { stream.first += 1 }
        if stream.first > 256 {
            stream.marks.removeFirst(stream.first)
            stream.first = 0
        }
        return stream.first < stream.marks.count ? stream.marks[stream.first] : nil
    }

    func takeSetBack() -> Violation? {
        defer { setBack = nil }
        return setBack
    }
}
