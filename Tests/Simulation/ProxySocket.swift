import Loop

/// The proxy's end of a connection: at most one receive and one send, and what becomes of them.
///
/// Bytes to send are taken from the proxy's own memory at the moment when the window has room for them, and not
/// earlier: what the proxy changes or frees too soon is seen by whoever reads. Bytes received are put into its memory
/// when they arrive. A drawn few submissions are looked at a little later, as by io_uring, instead of at once, as by
/// epoll.
///
/// Owner: `ScriptedReactor`, until it has handed out `.closed`.
final class ProxySocket {
    let id: SocketID
    /// The models' end.
    let socket: Socket
    var tag: UInt64
    private unowned let reactor: ScriptedReactor
    private var random: Random

    enum State: Equatable { case connecting, offered, open, closing }
    private(set) var state: State
    /// From the submission until `next` has handed out the completion.
    private(set) var isReceiving = false
    private(set) var isSending = false
    /// Bytes of sends whose completion has been handed out.
    private(set) var bytesSent = 0

    private struct Receive {
        var memory: UnsafeMutableRawPointer
        var capacity: Int
    }
    private var receive: Receive?
    private var outgoing: Gather?
    private var hasShutdown = false
    private var hasFailedSend = false

    // errno(3) on Linux.
    static let connectionRefused = 111
    static let connectionReset = 104
    static let brokenPipe = 32

    init(id: SocketID, socket: Socket, tag: UInt64, state: State, random: Random, _ reactor: ScriptedReactor) {
        self.id = id
        self.socket = socket
        self.tag = tag
        self.state = state
        self.random = random
        self.reactor = reactor
        socket.proxyEnd = self
    }

    // MARK: - Submissions

    func receive(into memory: UnsafeMutableRawPointer, capacity: Int) {
        precondition(state == .open, "\(socket.name): a receive before the connection is there")
        precondition(!isReceiving, "\(socket.name): one receive at a time")
        precondition(capacity > 0, "a receive needs room")
        isReceiving = true
        receive = Receive(memory: memory, capacity: capacity)
        soon { $0.fillReceive() }
    }

    func send(_ slices: UnsafeBufferPointer<Slice>) {
        precondition(state == .open, "\(socket.name): a send before the connection is there")
        precondition(!isSending, "\(socket.name): one send at a time")
        precondition(slices.count <= Reactor.slicesMax, "too many slices")
        isSending = true
        outgoing = Gather(slices)
        soon { $0.takeMore() }
    }

    func shutdownSend() {
        guard state == .open, !hasShutdown else { return }
        hasShutdown = true
        takeMore()
        socket.proxyEnded(isClosed: false)
    }

    func close() {
        state = .closing
        outgoing = nil
        // A host that has taken the connection hears of it, even if the proxy has not heard that it was taken.
        socket.proxyEnded(isClosed: true)
        guard random.chance(700) else { return finishClosing() }
        reactor.scheduler.after(UInt64(random.below(40)) * microsecond) { [self] in finishClosing() }
    }

    /// The kernel lets go of the memory with this, and may have written to it until now.
    private func finishClosing() {
        if let receive, random.chance(500) {
            receive.memory.initializeMemory(as: UInt8.self, repeating: 0xDB, count: min(receive.capacity, 256))
        }
        receive = nil
        complete(.closed, 0)
    }

    // MARK: - What comes of them

    /// The other end has answered: it takes the connection, or not.
    func connected(_ result: Int) {
        guard state == .connecting else { return }
        state = .open
        complete(.connected, result)
    }

    /// Something may have arrived: completes the receive that waits for it.
    func fillReceive() {
        guard state == .open, let receive,
            let result = socket.take(into: receive.memory, capacity: receive.capacity)
        else { return }
        self.receive = nil
        complete(.received, result)
    }

    /// The window may have room: takes bytes of the send that waits for it.
    func takeMore() {
        guard state == .open, outgoing != nil else { return }
        if hasShutdown || socket.hasResetArrived {
            // tcp(7): the first call is told of the reset, later ones that the pipe is broken.
            let isNews = !hasShutdown && !hasFailedSend && random.chance(500)
            hasFailedSend = true
            outgoing = nil
            return complete(.sent, -(isNews ? ProxySocket.connectionReset : ProxySocket.brokenPipe))
        }
        var left = socket.acceptRoom(for: outgoing?.left ?? 0)
        while left > 0 {
            let length = socket.pieceLength(of: left)
            guard let piece = outgoing?.take(length) else { return }
            socket.carry(piece)
            left -= length
        }
        if let total = outgoing?.total, outgoing?.left == 0 {
            outgoing = nil
            complete(.sent, total)
        }
    }

    /// The connection was reset: what arrived before can still be read.
    func wasReset() {
        takeMore()
        fillReceive()
    }

    /// `next` is about to hand this out: false where the proxy is not to hear of it any more.
    func handsOut(_ completion: Completion) -> Bool {
        guard state != .closing else { return completion.kind == .closed }
        switch completion.kind {
        case .accepted: state = .open
        case .received: isReceiving = false
        case .sent:
            isSending = false
            bytesSent += max(completion.result, 0)
        case .connected, .closed, .ready, .timer, .signal, .exited: break
        }
        return true
    }

    private func complete(_ kind: Completion.Kind, _ result: Int) {
        reactor.enqueue(Completion(kind: kind, socket: id, tag: tag, result: result))
    }

    /// Now, or a few microseconds later.
    private func soon(_ body: @escaping (ProxySocket) -> Void) {
        guard random.chance(200) else { return body(self) }
        reactor.scheduler.after(UInt64(random.within(1...8)) * microsecond) { [self] in body(self) }
    }
}

/// What one send has still to hand over: slices of the proxy's memory, borrowed until the send is over.
private struct Gather {
    private var slices: [Slice]
    private var first = 0
    /// Bytes in all, and those not taken yet.
    let total: Int
    private(set) var left: Int

    init(_ slices: UnsafeBufferPointer<Slice>) {
        self.slices = Array(slices)
        total = slices.reduce(0) { $0 + $1.count }
        left = total
    }

    /// Copies the next bytes out of the proxy's memory as it is now.
    mutating func take(_ length: Int) -> [UInt8] {
        precondition(length <= left, "more than there is")
        left -= length
        return [UInt8](unsafeUninitializedCapacity: length) { buffer, initialized in
            let target = UnsafeMutableRawBufferPointer(buffer)
            while initialized < length {
                let count = min(slices[first].count, length - initialized)
                UnsafeMutableRawBufferPointer(rebasing: target[initialized..<(initialized + count)])
                    .copyMemory(from: UnsafeRawBufferPointer(start: slices[first].base, count: count))
                initialized += count
                slices[first].base += count
                slices[first].count -= count
                if slices[first].count == 0 { first += 1 }
            }
        }
    }
}
