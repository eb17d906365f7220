import Cache
import Loop
import PGProtocol

/// Bytes of clients and their origin connections.
extension Proxy {
    // MARK: - Accepting

    func accepted(_ completion: Completion) {
        guard completion.kind == .accepted, completion.result >= 0 else { return }
        shellCounters.connections += 1
        let isTooMany = connections.count >= settings.clientsMax
        guard let connection = connections.insert(client: completion.socket) else {
            shellCounters.refused += 1
            reactor.setTag(
                completion.socket, Tag(.client, SessionNumber(index: .max, generation: 0)).value)
            reactor.close(completion.socket)
            return
        }
        connection.pointee.isTooMany = isTooMany
        let tag = Tag(.client, connection.pointee.session.number)
        reactor.setTag(completion.socket, tag.value)
        connection.pointee.deadlineNanoseconds = reactor.nowNanoseconds &+ 60_000_000_000
        receiveFromClient(connection)
    }

    /// Why a client that has sent its startup packet is not served: as from PostgreSQL it hears so then, and
    /// a CancelRequest still passes.
    private func refusal(_ connection: UnsafeMutablePointer<Connection>) -> WireError? {
        if isStopping {
            return WireError(.fatal, .adminShutdown, "the proxy is shutting down")
        }
        guard connection.pointee.isTooMany else { return nil }
        shellCounters.refused += 1
        return WireError(.fatal, .tooManyConnections, "sorry, too many clients already")
    }

    /// The connection of a completion, unless its slot has been given away since.
    private func connection(_ tag: Tag) -> UnsafeMutablePointer<Connection>? {
        guard let connection = connections.at(tag.index),
            connection.pointee.session.number.generation & 0xFF_FFFF == tag.generation
        else { return nil }
        return connection
    }

    // MARK: - The client's side

    func clientCompleted(_ completion: Completion, _ tag: Tag) {
        guard let connection = connection(tag) else { return }
        switch completion.kind {
        case .received:
            connection.pointee.isClientReceiving = false
            if completion.result > 0 {
                connection.pointee.clientInput.received(completion.result)
            } else if completion.result == 0 {
                connection.pointee.clientEnded = true
            } else {
                // Reset: nobody is there to read an answer.
                close(connection)
                return
            }
            process(connection)
        case .sent:
            connection.pointee.clientOutput.sent { store.unpin($0) }
            if completion.result < 0 {
                close(connection)
                return
            }
            clientDrained(connection)
        case .closed:
            connection.pointee.client = .none
            freeIfClosed(connection)
        case .accepted, .connected, .ready, .timer, .signal, .exited:
            break
        }
    }

    /// The kernel has taken all that was sent.
    private func clientDrained(_ connection: UnsafeMutablePointer<Connection>) {
        if connection.pointee.clientOutput.hasMore {
            markDirty(connection)
            return
        }
        if connection.pointee.state == .draining {
            close(connection)
            return
        }
        if !connection.pointee.isOriginReceiving, connection.pointee.isOriginConnected {
            relayFromOrigin(connection)
        }
        if !connection.pointee.isClientReceiving || !connection.pointee.clientInput.isEmpty {
            process(connection)
        }
    }

    /// Lets the session decide on as much of its client's input as can be decided.
    func process(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open else { return }
        connection.pointee.isParked = false
        while connection.pointee.state == .open {
            guard connection.pointee.clientOutput.count < Connection.outputBytesMax,
                connection.pointee.originOutput.count < Connection.outputBytesMax
            else { break }
            let view = ByteView(connection.pointee.clientInput.bytes)
            if view.count == 0 || view.count < connection.pointee.clientNeeded { break }
            connection.pointee.clientNeeded = 0
            let step = connection.pointee.session.clientSent(view, store)
            if !perform(step, view, connection) { break }
        }
        receiveFromClient(connection)
        if connection.pointee.clientEnded { clientEnded(connection) }
    }

    /// Does what the session decided. False when it can decide nothing more for now.
    private func perform(
        _ step: Session.ClientStep, _ view: ByteView, _ connection: UnsafeMutablePointer<Connection>
    ) -> Bool {
        switch step {
        case .hit(let consumed, let hit):
            answer(hit, connection)
            connection.pointee.clientInput.consume(consumed)
        case .forward(let consumed):
            if connection.pointee.session.hasInjection {
                connection.pointee.originOutput.append(connection.pointee.session.takeInjection())
            }
            connection.pointee.originOutput.append(view.slice(from: 0, count: consumed).buffer)
            connection.pointee.clientInput.consume(consumed)
            markDirty(connection)
        case .needMore(let needed):
            connection.pointee.clientNeeded = needed
            return false
        case .park:
            connection.pointee.isParked = true
            patience(of: connection)
            return false
        case .reply(let consumed):
            connection.pointee.clientOutput.append(connection.pointee.session.takeOutgoing())
            connection.pointee.clientInput.consume(consumed)
            markDirty(connection)
        case .refuseEncryption(let consumed):
            connection.pointee.clientOutput.append([UInt8(ascii: "N")])
            connection.pointee.clientInput.consume(consumed)
            markDirty(connection)
        case .open(let consumed):
            if let error = refusal(connection) {
                connection.pointee.clientInput.consume(consumed)
                fail(connection, error)
                return false
            }
            connection.pointee.originOutput.append(view.slice(from: 0, count: consumed).buffer)
            connection.pointee.clientInput.consume(consumed)
            connectToOrigin(connection)
        case .cancel(let consumed, let key):
            cancel(key, view.slice(from: 0, count: consumed), connection)
            connection.pointee.clientInput.consume(consumed)
            return false
        case .terminate(let consumed):
            connection.pointee.clientInput.consume(consumed)
            connection.pointee.clientEnded = true
            if connection.pointee.isOriginConnected {
                connection.pointee.originOutput.append([UInt8(ascii: "X"), 0, 0, 0, 4])
                markDirty(connection)
            }
        case .fail(let error):
            fail(connection, error)
        }
        return true
    }

    /// A hit: the entry's bytes and the envelope around them, gathered for one send.
    private func answer(_ hit: Session.Hit, _ connection: UnsafeMutablePointer<Connection>) {
        let envelope = Envelope.shared
        if hit.parts.contains(.bindComplete) {
            connection.pointee.clientOutput.append(
                envelope.completions(withParse: hit.parts.contains(.parseComplete)))
        }
        let bytes = store.bytes(hit.entry, describes: hit.parts.contains(.description))
        if connection.pointee.clientOutput.append(bytes.buffer, pin: hit.entry.packed) {
            store.pin(hit.entry)
        }
        if hit.parts.contains(.ready) {
            connection.pointee.clientOutput.append(envelope.ready(isInBlock: hit.parts.contains(.isInBlock)))
        }
        shellCounters.bytesServed &+= UInt64(bytes.count)
        markDirty(connection)
    }

    func receiveFromClient(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open, !connection.pointee.isClientReceiving,
            !connection.pointee.clientEnded,
            connection.pointee.clientOutput.count < Connection.outputBytesMax,
            connection.pointee.originOutput.count < Connection.outputBytesMax,
            let space = connection.pointee.clientInput.space(
                needed: connection.pointee.clientNeeded),
            let memory = space.baseAddress
        else { return }
        connection.pointee.isClientReceiving = true
        reactor.receive(connection.pointee.client, into: memory, capacity: space.count)
    }

    /// The client will say nothing more. As a backend does, the origin reads on to the end of what it was sent.
    private func clientEnded(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open, !connection.pointee.isParked else { return }
        guard connection.pointee.isOriginConnected else {
            close(connection)
            return
        }
        if connection.pointee.originOutput.isEmpty, !connection.pointee.originShut {
            connection.pointee.originShut = true
            reactor.shutdownSend(connection.pointee.origin)
        }
    }

    // MARK: - The origin's side

    private func connectToOrigin(_ connection: UnsafeMutablePointer<Connection>) {
        guard let address = originAddress else {
            fail(connection, WireError(.fatal, .cannotConnect, "the origin's name is not resolved yet"))
            return
        }
        do throws(SystemError) {
            connection.pointee.origin = try reactor.connect(
                to: address, tag: Tag(.origin, connection.pointee.session.number).value)
        } catch {
            originFailed(connection, error.description)
        }
    }

    /// A CancelRequest goes to the origin as it came: the client was given the origin's own key. The client waits
    /// until the origin has closed, so that nothing it sends later can be hit.
    private func cancel(
        _ key: BackendKey, _ packet: ByteView, _ connection: UnsafeMutablePointer<Connection>
    ) {
        var target: UnsafeMutablePointer<Connection>?
        connections.forEach { if $0.pointee.session.key == key { target = $0 } }
        guard let target else {
            close(connection)
            return
        }
        shellCounters.cancels += 1
        if target.pointee.session.awaited != nil || target.pointee.session.awaitsBeat {
            // What waits here is not there yet: the origin must have it before it can cancel it.
            target.pointee.session.waitCancelled()
            wake(target)
        }
        connection.pointee.isCancel = true
        connection.pointee.originOutput.append(packet.buffer)
        connectToOrigin(connection)
    }

    private func originFailed(_ connection: UnsafeMutablePointer<Connection>, _ words: String) {
        shellCounters.connectionErrors += 1
        fail(
            connection,
            WireError(.fatal, .cannotConnect, "could not connect to the origin: \(words)"))
        resolveOrigin()
    }

    func originCompleted(_ completion: Completion, _ tag: Tag) {
        guard let connection = connection(tag) else { return }
        switch completion.kind {
        case .connected:
            guard completion.result == 0 else {
                originFailed(connection, Syscalls.message(Int32(-completion.result)))
                return
            }
            connection.pointee.isOriginConnected = true
            receiveFromOrigin(connection)
            markDirty(connection)
        case .received:
            connection.pointee.isOriginReceiving = false
            if completion.result > 0 {
                connection.pointee.originInput.received(completion.result)
            } else {
                connection.pointee.originEnded = true
            }
            relayFromOrigin(connection)
        case .sent:
            connection.pointee.originOutput.sent { store.unpin($0) }
            if completion.result < 0 {
                // Its last words may still be readable.
                return
            }
            if connection.pointee.originOutput.hasMore {
                markDirty(connection)
            } else {
                process(connection)
            }
        case .closed:
            connection.pointee.origin = .none
            freeIfClosed(connection)
        case .accepted, .ready, .timer, .signal, .exited:
            break
        }
    }

    /// Hands the origin's bytes to the session, and what it lets through to the client.
    private func relayFromOrigin(_ connection: UnsafeMutablePointer<Connection>) {
        var hasMoved = false
        var isHeld = false
        while connection.pointee.state == .open, !isHeld,
            connection.pointee.clientOutput.count < Connection.outputBytesMax
        {
            let view = ByteView(connection.pointee.originInput.bytes)
            if view.count == 0 || view.count < connection.pointee.originNeeded { break }
            connection.pointee.originNeeded = 0
            hasMoved = true
            let step = connection.pointee.session.originSent(view, store)
            if !connection.pointee.session.signals.isEmpty { signalled(connection) }
            switch step {
            case .relay(let count):
                connection.pointee.clientOutput.append(view.slice(from: 0, count: count).buffer)
                connection.pointee.originInput.consume(count)
            case .swallow(let count):
                connection.pointee.originInput.consume(count)
                connection.pointee.clientOutput.append(connection.pointee.session.takeOutgoing())
                if connection.pointee.session.hasInjection {
                    connection.pointee.originOutput.append(connection.pointee.session.takeInjection())
                }
            case .needMore(let needed):
                connection.pointee.originNeeded = needed
            case .hold:
                isHeld = true
                patience(of: connection)
            }
        }
        connection.pointee.isHeld = isHeld
        if hasMoved { markDirty(connection) }
        if connection.pointee.originEnded {
            originEnded(connection)
            return
        }
        receiveFromOrigin(connection)
        if connection.pointee.isParked, hasMoved { process(connection) }
    }

    /// What a step of the session wants of the shell.
    private func signalled(_ connection: UnsafeMutablePointer<Connection>) {
        let signals = connection.pointee.session.signals
        connection.pointee.session.signals = connection.pointee.session.signals
            .intersection(.originSaidFatal)
        if signals.contains(.loggedIn) {
            connection.pointee.deadlineNanoseconds = .max
            if connection.pointee.session.hasInjection {
                connection.pointee.originOutput.append(connection.pointee.session.takeInjection())
            }
            connection.pointee.isParked = true
            markDirty(connection)
        }
        if signals.contains(.wake) { connection.pointee.isParked = true }
        if signals.contains(.blockWasRefused) {
            fail(
                connection,
                WireError(.fatal, .connectionFailure, "the origin has refused to begin the transaction"))
        }
    }

    private func receiveFromOrigin(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open, !connection.pointee.isOriginReceiving,
            connection.pointee.isOriginConnected, !connection.pointee.originEnded,
            connection.pointee.clientOutput.count < Connection.outputBytesMax,
            let space = connection.pointee.originInput.space(
                needed: connection.pointee.originNeeded),
            let memory = space.baseAddress
        else { return }
        connection.pointee.isOriginReceiving = true
        reactor.receive(connection.pointee.origin, into: memory, capacity: space.count)
    }

    private func originEnded(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open else { return }
        // What could not be relayed yet goes first; a slow client gets to read it.
        guard connection.pointee.clientOutput.count < Connection.outputBytesMax else { return }
        // What is left is the beginning of a message that will not be whole, perhaps of one that the client did not
        // ask for: it is nobody's.
        connection.pointee.originInput.consume(connection.pointee.originInput.count)
        if connection.pointee.isCancel {
            close(connection)
            return
        }
        let session = connection.pointee.session
        if session.signals.contains(.originSaidFatal) || connection.pointee.clientEnded
            || session.isInsideMessage
        {
            drain(connection)
        } else {
            fail(
                connection,
                WireError(.fatal, .connectionFailure, "the origin closed the connection unexpectedly"))
        }
    }

    // MARK: - Waking, sending, ending

    /// Something that the session waited for has happened.
    func wake(_ connection: UnsafeMutablePointer<Connection>) {
        connection.pointee.followDeadlineNanoseconds = .max
        if connection.pointee.isHeld { relayFromOrigin(connection) }
        if connection.pointee.isParked { process(connection) }
    }

    func flush(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state != .closing else { return }
        connection.pointee.clientOutput.flush(connection.pointee.client, reactor)
        if connection.pointee.isOriginConnected, !connection.pointee.originEnded {
            connection.pointee.originOutput.flush(connection.pointee.origin, reactor)
        }
        if connection.pointee.state == .draining, connection.pointee.clientOutput.isEmpty {
            close(connection)
        }
    }

    /// The client hears an error, and the connection ends when it has been sent.
    func fail(_ connection: UnsafeMutablePointer<Connection>, _ error: WireError) {
        guard connection.pointee.state == .open else { return }
        connection.pointee.clientOutput.append(error.encoded)
        drain(connection)
    }

    func drain(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .open else { return }
        connection.pointee.state = .draining
        connection.pointee.deadlineNanoseconds = reactor.nowNanoseconds &+ 10_000_000_000
        markDirty(connection)
    }

    func close(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state != .closing else { return }
        connection.pointee.state = .closing
        connection.pointee.session.ended(store)
        if connection.pointee.origin != .none { reactor.close(connection.pointee.origin) }
        if connection.pointee.client != .none { reactor.close(connection.pointee.client) }
    }

    private func freeIfClosed(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.state == .closing, connection.pointee.client == .none,
            connection.pointee.origin == .none
        else { return }
        connection.pointee.clientInput.free()
        connection.pointee.originInput.free()
        connection.pointee.clientOutput.free { store.unpin($0) }
        connection.pointee.originOutput.free { store.unpin($0) }
        connections.remove(connection)
    }
}

/// The fixed messages around a cached answer, at fixed places in memory.
struct Envelope {
    nonisolated(unsafe) static let shared = Envelope()

    private let memory: UnsafeMutableRawBufferPointer

    private init() {
        let bytes: [UInt8] =
            [BackendType.parseComplete, 0, 0, 0, 4, BackendType.bindComplete, 0, 0, 0, 4]
            + [BackendType.readyForQuery, 0, 0, 0, 5, TransactionStatus.idle.rawValue]
            + [BackendType.readyForQuery, 0, 0, 0, 5, TransactionStatus.inTransaction.rawValue]
        memory = .allocate(byteCount: bytes.count, alignment: 8)
        memory.copyBytes(from: bytes)
    }

    /// BindComplete, with ParseComplete before it where the client asked for that too.
    func completions(withParse: Bool) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory[(withParse ? 0 : 5)..<10])
    }
    /// ReadyForQuery: idle, or in a transaction block.
    func ready(isInBlock: Bool) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: isInBlock ? memory[16..<22] : memory[10..<16])
    }
}
