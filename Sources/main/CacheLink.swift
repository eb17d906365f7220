import Loop

/// One connection to the cache database that speaks the protocol itself, as bytes on the reactor.
///
/// What the cache database answers goes to clients as it came, so nobody may take it apart and put it together again,
/// as libpq would. libpq makes the connection and authenticates; then its socket is taken over.
///
///     closed ─connect→ connecting (libpq) ─→ open ─→ closed
///                           └──────── .lost ──┘
///
/// Invariants:
/// - What is handed out is whole messages; their bodies are the server's, and are not looked at here.
/// - `.lost` is the last event of a connection. `connect` may follow it, and `close`.
/// - Memory that the kernel may still write to is freed when the reactor has said `.closed`, whatever began since.
///
/// Owner: the shell, which gives it every completion with its tag, takes its events after that, and keeps it until
/// the last connection is closed. Bounds: one message of `messageBytesMax`; the owner stops reading with `pause`, and
/// stops sending when `unsentBytes` says so.
final class CacheLink {
    enum Event: Equatable {
        case connected
        /// Whole messages, as many as have come.
        case received([UInt8])
        /// The connection is gone, or could not be made.
        case lost(String)
    }

    private enum State {
        case closed
        case connecting(LibpqLink)
        case open
    }

    /// A longer message ends the connection; PostgreSQL's own bound is 1 GiB.
    static let messageBytesMax = 256 << 20

    private let reactor: Reactor
    private let resolver: NameResolver
    private let tag: UInt64

    private var state = State.closed
    private var socket = SocketID.none
    private var input = ReceiveBuffer()
    private var output = SendQueue()
    /// The beginning of a message that is too long for `input`, and how long it will be.
    private var long: (bytes: [UInt8], count: Int) = ([], 0)
    /// Bytes that must be there before `input` is worth a look.
    private var needed = 0
    private var isReceiving = false
    private var isPaused = false
    /// The server takes nothing any more; its last words may still come.
    private var isDeaf = false
    private var events: [Event] = []
    private var eventsTaken = 0
    /// Sockets that are being closed, with the memory that belongs to them.
    private var closing: [(socket: SocketID, input: ReceiveBuffer, output: SendQueue)] = []
    /// The backend's process number; 0 before the connection.
    private(set) var backendProcess: Int32 = 0

    init(reactor: Reactor, resolver: NameResolver, tag: UInt64) {
        self.reactor = reactor
        self.resolver = resolver
        self.tag = tag
    }

    deinit { close() }

    var isOpen: Bool { if case .open = state { true } else { false } }
    /// Bytes that were sent here and are not with the kernel yet.
    var unsentBytes: Int { output.count }

    /// Starts to connect; `.connected` or `.lost` follows.
    /// - Parameter parameters: libpq's keywords, without TLS.
    func connect(_ parameters: [(keyword: String, value: String)]) {
        guard case .closed = state else { preconditionFailure("connects once at a time") }
        let link = LibpqLink(reactor: reactor, resolver: resolver, tag: tag)
        state = .connecting(link)
        backendProcess = 0
        link.connect(parameters)
    }

    /// Adds bytes to what goes out with the next `flush`. Without a connection they are dropped: its event says so.
    func send(_ bytes: [UInt8]) {
        guard isOpen, !isDeaf else { return }
        output.append(bytes)
    }

    /// The same, without an array.
    func send(_ bytes: UnsafeRawBufferPointer) {
        guard isOpen, !isDeaf else { return }
        output.append(bytes)
    }

    /// One gathered send of what has been added; while one is in flight the rest follows it by itself.
    func flush() {
        guard isOpen, !isDeaf else { return }
        output.flush(socket, reactor)
    }

    /// Reads no more, but for the receive that is in flight: a slow reader's bytes stay in the kernel, and then on the
    /// server. The end of the connection goes unnoticed until `resume`.
    func pause() { isPaused = true }

    func resume() {
        isPaused = false
        receive()
    }

    /// Ends the connection at once; no event follows.
    func close() {
        if case .connecting(let link) = state { link.close() }
        end()
        events = []
        eventsTaken = 0
    }

    // MARK: - Completions

    func advance(_ completion: Completion) {
        if completion.kind == .closed { return freeClosed(completion.socket) }
        switch state {
        case .closed: return
        case .connecting(let link):
            link.advance(completion)
            while let event = link.nextEvent() { connecting(event, link) }
        case .open:
            guard completion.socket == socket else { return }
            exchange(completion)
        }
    }

    /// The oldest event that was not taken yet.
    func nextEvent() -> Event? {
        guard eventsTaken < events.count else { return nil }
        let event = events[eventsTaken]
        eventsTaken += 1
        if eventsTaken == events.count {
            events.removeAll(keepingCapacity: true)
            eventsTaken = 0
        }
        return event
    }

    private func connecting(_ event: LinkEvent, _ link: LibpqLink) {
        switch event {
        case .connected:
            backendProcess = link.backendProcess
            do throws(SystemError) {
                socket = try reactor.takeOver(try link.takeDescriptor(), tag: tag)
                state = .open
                events.append(.connected)
                receive()
            } catch {
                lose(error.description)
            }
        case .lost(_, let message): lose(message)
        case .answered, .failed, .streaming, .copyData: break
        }
    }

    private func exchange(_ completion: Completion) {
        switch completion.kind {
        case .received:
            isReceiving = false
            guard completion.result > 0 else {
                return lose(
                    completion.result == 0
                        ? "the server has closed the connection"
                        : Syscalls.message(Int32(clamping: -completion.result)))
            }
            input.received(completion.result)
            takeMessages()
            receive()
        case .sent:
            output.sent { _ in }
            guard completion.result < 0 else { return flush() }
            // What the server said before it went away is worth more than the error of the send.
            isDeaf = true
            resume()
        case .accepted, .connected, .closed, .ready, .timer, .signal, .exited: return
        }
    }

    private func receive() {
        guard isOpen, !isReceiving, !isPaused, let space = input.space(needed: needed),
            let memory = space.baseAddress
        else { return }
        isReceiving = true
        reactor.receive(socket, into: memory, capacity: space.count)
    }

    // MARK: - Messages

    /// Hands out what is whole. A message that does not fit into `input` is gathered beside it.
    private func takeMessages() {
        if long.count > 0 {
            let count = min(long.count - long.bytes.count, input.count)
            long.bytes += input.bytes[..<count]
            input.consume(count)
            guard long.bytes.count == long.count else { return }
            events.append(.received(long.bytes))
            long = ([], 0)
        }
        let bytes = input.bytes
        guard bytes.count >= needed else { return }
        let (whole, next) = Self.wholeMessages(bytes)
        if whole > 0 {
            events.append(.received(Array(bytes[..<whole])))
            input.consume(whole)
        }
        needed = next
        switch next {
        case ...0: lose("the server has sent a message of an impossible length")
        case ...ReceiveBuffer.capacityMax: break
        case ...Self.messageBytesMax:
            // It grows with what comes, not with what the server claims.
            long = (Array(input.bytes), next)
            input.consume(input.count)
            needed = 0
        default: lose("the server has sent a message of more than \(Self.messageBytesMax) bytes")
        }
    }

    /// The bytes of the whole messages at the beginning of `bytes`, and how long what follows will be as far as it can
    /// be told; 0 where no message can be as long as it claims to be.
    ///
    /// A message is a byte for its kind, and its length as a 32-bit number that counts itself (manual, 55.7).
    static func wholeMessages(_ bytes: UnsafeRawBufferPointer) -> (count: Int, next: Int) {
        var place = 0
        while bytes.count - place >= 5 {
            let length = Int(
                Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 1, as: Int32.self)))
            guard length >= 4 else { return (place, 0) }
            guard length < bytes.count - place else { return (place, length + 1) }
            place += length + 1
        }
        return (place, 5)
    }

    // MARK: - Ends

    private func lose(_ reason: String) {
        end()
        events.append(.lost(reason))
    }

    private func end() {
        if socket != .none {
            reactor.close(socket)
            closing.append((socket, input, output))
        }
        state = .closed
        socket = .none
        input = ReceiveBuffer()
        output = SendQueue()
        long = ([], 0)
        needed = 0
        isReceiving = false
        isPaused = false
        isDeaf = false
    }

    private func freeClosed(_ socket: SocketID) {
        guard let place = closing.firstIndex(where: { $0.socket == socket }) else { return }
        var last = closing.remove(at: place)
        last.input.free()
        last.output.free { _ in }
    }
}
