import PGProtocol

/// The client's half: what becomes of each message.
extension Session {
    /// Decides on the first undecided bytes of the client.
    public mutating func clientSent(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        if clientRemaining > 0 {
            let count = min(clientRemaining, view.count)
            if count == 0 { return .needMore(1) }
            clientRemaining -= count
            return .forward(consumed: count)
        }
        switch state {
        case .ready: return decide(view, store)
        case .opaque:
            return view.count == 0 ? .needMore(1) : .forward(consumed: view.count)
        case .loggingIn: return logIn(view, store)
        case .starting: return start(view)
        }
    }

    private mutating func start(_ view: ByteView) -> ClientStep {
        do throws(ProtocolError) {
            guard let length = try StartupPacket.length(view) else { return .needMore(4) }
            guard view.count >= length else { return .needMore(length) }
            switch try StartupPacket(view.slice(from: 0, count: length)) {
            case .sslRequest, .gssEncryptionRequest: return .refuseEncryption(consumed: length)
            case .cancel(let key): return .cancel(consumed: length, key: key)
            case .session(let version, let parameters):
                self.parameters = parameters
                state = version >> 16 == 3 ? .loggingIn : .opaque
                return .open(consumed: length)
            }
        } catch {
            return .fail(WireError(.fatal, .protocolViolation, error.message))
        }
    }

    /// Passwords pass, and whatever else comes instead of one; what comes early waits for ReadyForQuery.
    private mutating func logIn(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        guard view.count >= 5 else { return .needMore(5) }
        let total = 1 + Int(view.uint32(at: 1))
        guard total >= 5 else {
            return .fail(WireError(.fatal, .protocolViolation, "invalid message length"))
        }
        switch view[0] {
        case FrontendType.password: return relay(view, total)
        case FrontendType.terminate: return .terminate(consumed: min(total, view.count))
        default: return isChallenged ? relay(view, total) : .park
        }
    }

    /// Relays a message of which a part may not have come yet.
    mutating func relay(_ view: ByteView, _ total: Int) -> ClientStep {
        let count = min(total, view.count)
        clientRemaining = total - count
        return .forward(consumed: count)
    }

    private mutating func decide(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        if pipeline.isFull { return .park }
        guard view.count >= 5 else { return .needMore(5) }
        if standing == .unknown, view[0] != FrontendType.terminate {
            // The question for the settings is on its way; one round trip, once in a session.
            return .park
        }
        if hasInjectedParse, !segmentIsForwarded {
            // An error in its segment would make the origin drop it, and what comes now may need it [S3].
            guard !pipeline.owesInjected else { return .park }
            hasInjectedParse = false
        }
        if standing == .cacheable, schemaEpoch != store.schemaEpoch, isQuiet, status == .idle,
            !segmentIsForwarded, !segmentIsLocal
        {
            // The search path may lead elsewhere by now [K1].
            standing = .unknown
            askProfile(store)
            return .forward(consumed: 0)
        }
        let total = 1 + Int(view.uint32(at: 1))
        switch view[0] {
        case FrontendType.query: return query(view, total, store)
        case FrontendType.sync: return sync(view, total, store)
        case FrontendType.parse, FrontendType.bind, FrontendType.describe, FrontendType.execute:
            return extended(view, store)
        case FrontendType.terminate: return .terminate(consumed: min(total, view.count))
        default: return other(view, total, store)
        }
    }

    // MARK: - Simple protocol

    private mutating func query(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        guard total >= 6, !segmentIsForwarded else { return opaque(view, store) }
        guard total <= ExtendedUnit.bytesMax else {
            return forwardUnread(.query, view, total, store)
        }
        guard view.count >= total else { return .needMore(total) }
        let key = view.slice(from: 5, count: total - 5)
        // A simple query ends the unnamed statement (manual, 55.2.3).
        if let unnamed = prepared.remove(key.slice(from: 0, count: 0)) {
            store.statements.release(unnamed)
        }
        guard key.count <= store.limits.statementBytesMax else {
            return forwardUnread(.query, view, total, store)
        }
        guard let statement = store.statement(profile: profile, key: key, standardConformingStrings)
        else { return forwardUnremembered(key, total, store) }
        let noTail = key.slice(from: 0, count: 0)
        let execution = Execution(
            statement: statement, tail: noTail, key: noTail, isDescribed: true)
        switch route(execution, store) {
        case .hit(let entry):
            store.counters.simpleQueries += 1
            return .hit(consumed: total, Hit(entry: entry, parts: [.description, .ready]))
        case .park: return .park
        case .forward(let capture):
            store.counters.simpleQueries += 1
            apply(statement.pointee, store)
            sendPrepared(statement.pointee.effect, store, ownSegment: true)
            pipeline.append(
                Pipeline.Owed(
                    .query, isRead: statement.pointee.possibleEffect.isEmpty,
                    statement: statement.pointee.id.packed, capture: capture?.packed ?? .max))
            return .forward(consumed: total)
        }
    }

    // MARK: - Extended protocol

    private mutating func extended(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        let unit = ExtendedUnit.scan(view)
        switch unit.outcome {
        case .incomplete(let needed): return .needMore(needed)
        case .malformed: return opaque(view, store)
        case .oversize: return oversize(view, unit.end, store)
        case .preparation: return preparation(view, unit, store)
        case .execution: return execution(view, unit, store)
        case .messages, .message:
            return forwardUnit(view, unit, store)
        }
    }

    private mutating func forwardUnit(
        _ view: ByteView, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep {
        forwardMessages(view.slice(from: 0, count: unit.end), store).map { .forward(consumed: $0) }
            ?? opaque(view, store)
    }

    private mutating func execution(
        _ view: ByteView, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep {
        guard let bind = unit.bind else { return opaque(view, store) }
        // A portal that was not read to its end is closed by the Sync; without one it could be read on.
        let limit = unit.rowLimit
        let isFinal = limit == 0 || unit.following == FrontendType.sync
        guard bind.portal.count == 0, isFinal, ExtendedUnit.mayFollowHit(unit.following),
            let statement = statement(of: unit, store)
        else {
            store.counters.forwarded(bind.portal.count > 0 ? .namedPortal : .rowLimit)
            return forwardExecution(view, unit, capture: nil, store)
        }
        let execution = Execution(
            statement: statement, tail: bind.tail,
            key: limit == 0 ? bind.tail : store.tail(bind.tail, limit: limit),
            isDescribed: unit.describesPortal)
        switch route(execution, store) {
        case .hit(let entry):
            var parts: Hit.Parts = .bindComplete
            if unit.parse != nil { parts.insert(.parseComplete) }
            if unit.describesPortal { parts.insert(.description) }
            if unit.parse != nil, !keepLocal(unit, statement.pointee.id, store) {
                return forwardExecution(view, unit, capture: nil, store)
            }
            store.counters.extendedQueries += 1
            guard unit.following == FrontendType.sync else {
                segmentIsLocal = true
                return .hit(consumed: unit.end, Hit(entry: entry, parts: parts))
            }
            parts.insert(.ready)
            segmentIsLocal = false
            return .hit(consumed: unit.end + 5, Hit(entry: entry, parts: parts))
        case .park: return .park
        case .forward(let capture):
            return forwardExecution(view, unit, capture: capture, store)
        }
    }

    /// The statement that an execution is of: parsed in the same unit, or prepared before.
    private func statement(
        of unit: ExtendedUnit, _ store: CacheStore
    ) -> UnsafeMutablePointer<Statement>? {
        if let parse = unit.parse, let name = unit.statementName {
            let key = parse.dropFirst(name.count + 1)
            return store.statement(profile: profile, key: key, standardConformingStrings)
        }
        guard let bind = unit.bind, let known = prepared.find(bind.statement) else { return nil }
        return store.statement(known.statement, standardConformingStrings)
    }

    /// Remembers a Parse that we answer ourselves. False where only the origin can answer it.
    private mutating func keepLocal(
        _ unit: ExtendedUnit, _ statement: StatementID, _ store: CacheStore
    ) -> Bool {
        guard let name = unit.statementName else { return false }
        guard prepared.hasRoom(for: name) else { return false }
        if name.count > 0, prepared.find(name) != nil { return false }
        if name.count == 0, prepared.unnamed?.statement == statement,
            prepared.unnamed?.place != .local
        {
            return true
        }
        guard let description = store.statements[statement]?.pointee.rowDescription else { return false }
        store.statements.retain(statement)
        let promise = PreparedStatements.Promise(
            description: description, schemaEpoch: store.schemaEpoch)
        if let old = prepared.insert(name, statement, .local, promise) { store.statements.release(old) }
        return true
    }

    private mutating func preparation(
        _ view: ByteView, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep {
        if sharesStatements(store), !segmentIsForwarded,
            let statement = preparedOrParsed(unit, store), statement.pointee.wasParsed,
            statement.pointee.state == .cacheable, store.mayRead(statement, role),
            !unit.describesStatement || statement.pointee.describeReply != nil
        {
            guard isQuiet else { return .park }
            if unit.parse == nil || keepLocal(unit, statement.pointee.id, store) {
                if unit.parse != nil { outgoing = [BackendType.parseComplete, 0, 0, 0, 4] }
                if unit.describesStatement { outgoing += statement.pointee.describeReply ?? [] }
                store.counters.parsesAnswered += 1
                segmentIsLocal = true
                return .reply(consumed: unit.end)
            }
        }
        return forwardUnit(view, unit, store)
    }

    private func preparedOrParsed(
        _ unit: ExtendedUnit, _ store: CacheStore
    ) -> UnsafeMutablePointer<Statement>? {
        if unit.parse != nil { return statement(of: unit, store) }
        guard let name = unit.statementName, let known = prepared.find(name) else { return nil }
        return store.statement(known.statement, standardConformingStrings)
    }

    private mutating func sync(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        guard total == 5 else { return opaque(view, store) }
        if isCopyingIn { return relay(view, total) }
        if segmentIsLocal, !segmentIsForwarded, isQuiet, status == .idle {
            segmentIsLocal = false
            outgoing = [BackendType.readyForQuery, 0, 0, 0, 5, TransactionStatus.idle.rawValue]
            return .reply(consumed: 5)
        }
        segmentIsForwarded = false
        segmentIsLocal = false
        pipeline.append(Pipeline.Owed(.sync, isRead: true))
        return .forward(consumed: 5)
    }
}

extension ExtendedUnit {
    /// A hit leaves no portal behind at the origin; only what cannot miss it may follow.
    static func mayFollowHit(_ type: UInt8) -> Bool {
        type == FrontendType.sync || type == FrontendType.parse || type == FrontendType.bind
            || type == FrontendType.close
    }
}
