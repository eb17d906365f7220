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
        // The question for the settings is on its way.
        if settings.isAsked, view[0] != FrontendType.terminate { return .park }
        if hasInjectedParse, !segmentIsForwarded {
            // An error in its segment would make the origin drop it, and what comes now may need it [S3].
            guard !pipeline.owesInjected else { return .park }
            hasInjectedParse = false
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
        endUnnamed(store)
        guard key.count <= store.limits.statementBytesMax else {
            return forwardUnread(.query, view, total, store)
        }
        let profile = textProfile(store)
        guard let statement = store.statement(profile: profile, key: key, standardConformingStrings)
        else { return forwardUnremembered(key, total, store) }
        if profile == .max, statement.pointee.mayBeCached, let step = stepForSettings(store) { return step }
        if statement.pointee.verb != .none {
            switch answerVerb(statement, store) {
            case .answered:
                store.counters.queries += 1
                store.counters.simpleQueries += 1
                outgoing = commandComplete(statement.pointee.verb.tag) + readyForQuery
                return .reply(consumed: total)
            case .park: return .park
            case .forward: break
            }
        }
        if statement.pointee.isExplain, let step = explain(statement, total, store) { return step }
        if statement.pointee.deallocates, deallocates(statement.pointee, store) {
            outgoing = commandComplete("DEALLOCATE") + readyForQuery
            return .reply(consumed: total)
        }
        let effect = statement.pointee.effectInBlock
        if mustOpenBlock, !effect.isEmpty, let step = openBlock(before: effect, store) { return step }
        let noTail = key.slice(from: 0, count: 0)
        let execution = Execution(
            statement: statement, tail: noTail, key: noTail, isDescribed: true)
        switch route(execution, store) {
        case .hit(let entry):
            store.counters.simpleQueries += 1
            return .hit(consumed: total, Hit(entry: entry, parts: [.description, .ready, blockPart]))
        case .park: return .park
        case .forward(let capture):
            store.counters.simpleQueries += 1
            if mustOpenBlock { _ = openBlock(before: [], store) }
            let step = step(of: statement.pointee, store)
            apply(statement.pointee, store)
            settings.sent = step
            settings.hasFailed = false
            hasEndedUnnamed = false
            sendPrepared(statement.pointee.possibleEffect, store, ownSegment: true)
            pipeline.append(
                Pipeline.Owed(
                    .query, isRead: statement.pointee.possibleEffect.isEmpty,
                    statement: statement.pointee.id.packed, capture: capture?.packed ?? .max))
            return .forward(consumed: total)
        }
    }

    /// DEALLOCATE of a statement that the origin has not heard of, and would perhaps not accept any more.
    private mutating func deallocates(_ statement: Statement, _ store: CacheStore) -> Bool {
        guard statement.effect == .namesPrepared, statement.reason != .severalStatements, isQuiet,
            !segmentIsForwarded, !segmentIsLocal, status != .failed
        else { return false }
        let names = store.deallocated(by: statement.id, standardConformingStrings)
        guard names.count == 1, let name = names.first.map({ Array($0.utf8) }) else { return false }
        return withView(name) { name in
            guard prepared.find(name)?.place == .local, let old = prepared.remove(name) else { return false }
            store.statements.release(old)
            return true
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
        let messages = view.slice(from: 0, count: unit.end)
        if mustOpenBlock, let step = openBlock(before: effect(of: messages, store), store) { return step }
        return forwardMessages(messages, store).map { .forward(consumed: $0) } ?? opaque(view, store)
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
        if let step = stepBefore(statement, unit, store) { return step }
        if statement.pointee.verb != .none || statement.pointee.deallocates,
            let step = answerVerb(statement, bind, unit, store)
        {
            return step
        }
        if statement.pointee.isExplain, let step = explain(statement, bind, unit, store) { return step }
        let effect = statement.pointee.effectInBlock
        if mustOpenBlock, !effect.isEmpty, let step = openBlock(before: effect, store) { return step }
        if unit.parse == nil, let reason = doubt(bind.statement, statement, store) {
            store.counters.forwarded(reason)
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
                askShape(unit, statement, store)
                return forwardExecution(view, unit, capture: nil, store)
            }
            store.counters.extendedQueries += 1
            guard unit.following == FrontendType.sync else {
                segmentIsLocal = true
                return .hit(consumed: unit.end, Hit(entry: entry, parts: parts))
            }
            parts.formUnion([.ready, blockPart])
            segmentIsLocal = false
            return .hit(consumed: unit.end + 5, Hit(entry: entry, parts: parts))
        case .park: return .park
        case .forward(let capture):
            let isAlone = unit.following == FrontendType.sync && bind.hasNoParameters
            let step = isAlone ? step(of: statement.pointee, store) : nil
            let forwarded = forwardExecution(view, unit, capture: capture, store)
            if let step, pipeline.count > 0, !isBeginning {
                settings.sent = step
                settings.hasFailed = false
            }
            return forwarded
        }
    }

    /// Why a prepared statement may be something else now than its text would be.
    private mutating func doubt(
        _ name: ByteView, _ statement: UnsafeMutablePointer<Statement>, _ store: CacheStore
    ) -> ForwardReason? {
        guard let found = prepared.find(name) else { return .sessionState }
        // Something of it was read or computed under the settings under which it was prepared [K1].
        if found.isMixed, statement.pointee.keepsSettings { return .sessionState }
        if found.schemaEpoch == store.schemaEpoch { return nil }
        // PostgreSQL executes it only if it still returns what it did when it was prepared [S4].
        guard let promise = prepared.promise(name), promise.shape == store.canonical(statement).pointee.rowShape
        else {
            return .preparedBefore
        }
        prepared.confirm(name, schemaEpoch: store.schemaEpoch)
        return nil
    }

    /// The settings must be known before a text is analyzed, or an answer is looked for, that depends on them.
    private mutating func stepBefore(
        _ statement: UnsafeMutablePointer<Statement>, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep? {
        guard textProfile(store) == .max else { return nil }
        let isWorthwhile =
            unit.parse != nil
            ? statement.pointee.verb == .none && statement.pointee.settingChange == .none
            : statement.pointee.mayBeCached
        return isWorthwhile ? stepForSettings(store) : nil
    }

    /// BEGIN and the like in the extended protocol. Nil where the origin has to be asked.
    private mutating func answerVerb(
        _ statement: UnsafeMutablePointer<Statement>, _ bind: ExtendedUnit.BindHead, _ unit: ExtendedUnit,
        _ store: CacheStore
    ) -> ClientStep? {
        guard bind.hasNoParameters, unit.parse == nil || mayKeepLocal(unit, statement.pointee.id) else { return nil }
        var tag: StaticString = "DEALLOCATE"
        if statement.pointee.verb != .none {
            switch answerVerb(statement, store) {
            case .forward: return nil
            case .park: return .park
            case .answered: tag = statement.pointee.verb.tag
            }
        } else if unit.following != FrontendType.sync || !deallocates(statement.pointee, store) {
            return nil
        }
        store.counters.queries += 1
        store.counters.extendedQueries += 1
        outgoing = []
        if unit.parse != nil {
            _ = keepLocal(unit, statement.pointee.id, store)
            outgoing += [BackendType.parseComplete, 0, 0, 0, 4]
        }
        outgoing += [BackendType.bindComplete, 0, 0, 0, 4]
        if unit.describesPortal { outgoing += [BackendType.noData, 0, 0, 0, 4] }
        outgoing += commandComplete(tag)
        guard unit.following == FrontendType.sync else {
            segmentIsLocal = true
            return .reply(consumed: unit.end)
        }
        segmentIsLocal = false
        outgoing += readyForQuery
        return .reply(consumed: unit.end + 5)
    }

    private func commandComplete(_ tag: StaticString) -> [UInt8] {
        let length = UInt8(4 + tag.utf8CodeUnitCount + 1)
        return [BackendType.commandComplete, 0, 0, 0, length]
            + UnsafeBufferPointer(start: tag.utf8Start, count: tag.utf8CodeUnitCount) + [0]
    }

    var readyForQuery: [UInt8] { [BackendType.readyForQuery, 0, 0, 0, 5, status.rawValue] }

    /// Of a hit's ReadyForQuery.
    @inline(__always)
    private var blockPart: Hit.Parts { block == .none ? [] : .isInBlock }

    /// The statement that an execution is of: parsed in the same unit, or prepared before.
    private mutating func statement(
        of unit: ExtendedUnit, _ store: CacheStore
    ) -> UnsafeMutablePointer<Statement>? {
        if let parse = unit.parse, let name = unit.statementName {
            let key = parse.dropFirst(name.count + 1)
            return store.statement(profile: textProfile(store), key: key, standardConformingStrings)
        }
        return unit.bind.flatMap { prepared($0.statement, store) }
    }

    /// What a name stands for under the settings of now [K1]. PostgreSQL analyzes a statement again where it is
    /// executed under another search path; what its constants mean may stay as it was.
    mutating func prepared(_ name: ByteView, _ store: CacheStore) -> UnsafeMutablePointer<Statement>? {
        guard let found = prepared.find(name), let statement = store.statements[found.statement] else { return nil }
        let profile = textProfile(store)
        guard profile != .max, profile != statement.pointee.profile,
            let now = store.statement(
                profile: profile, key: statement.pointee.parseTail, standardConformingStrings)
        else { return store.statement(found.statement, standardConformingStrings) }
        store.statements.retain(now.pointee.id)
        if let old = prepared.replace(name, by: now.pointee.id) { store.statements.release(old) }
        return now
    }

    /// Remembers a Parse that we answer ourselves. False where only the origin can answer it.
    mutating func keepLocal(
        _ unit: ExtendedUnit, _ statement: StatementID, _ store: CacheStore
    ) -> Bool {
        guard mayKeepLocal(unit, statement), let name = unit.statementName else { return false }
        if name.count == 0, let unnamed = prepared.unnamed, unnamed.statement == statement, unnamed.place != .local,
            !unnamed.isMixed
        {
            return true
        }
        guard let known = store.statements[statement].map({ store.canonical($0) }) else { return false }
        // A block that fails takes its settings back, and then prepares nothing any more [K1].
        if settings.blockChange != .none, known.pointee.keepsSettings { return false }
        // What returns no rows has no description that could change.
        let shape = known.pointee.rowShape
        guard shape != nil || known.pointee.verb != .none || known.pointee.deallocates || known.pointee.isExplain
        else { return false }
        store.statements.retain(statement)
        let epoch = store.schemaEpoch
        let promise = shape.map { PreparedStatements.Promise(shape: $0, schemaEpoch: epoch) }
        let old = prepared.insert(name, statement, .local, promise, schemaEpoch: epoch)
        if let old { store.statements.release(old) }
        return true
    }

    /// Only the origin can tell whether a name is free that SQL may have given [trap 72].
    func mayKeepLocal(_ unit: ExtendedUnit, _ statement: StatementID) -> Bool {
        guard let name = unit.statementName, prepared.hasRoom(for: name) else { return false }
        return name.count == 0 || prepared.find(name) == nil && !prepared.hasUnseen
    }

    private mutating func preparation(
        _ view: ByteView, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep {
        if unit.parse != nil, textProfile(store) == .max, let statement = statement(of: unit, store),
            let step = stepBefore(statement, unit, store)
        {
            return step
        }
        if let step = prepareVerb(unit, store) { return step }
        if let statement = preparedOrParsed(unit, store), statement.pointee.isExplain,
            let step = prepareExplain(statement, unit, store)
        {
            return step
        }
        if sharesStatements(store), !segmentIsForwarded,
            let statement = preparedOrParsed(unit, store), statement.pointee.profile == profile,
            unit.parse != nil || isCurrent(unit, store),
            case let shared = store.canonical(statement), shared.pointee.wasParsed,
            shared.pointee.state == .cacheable, store.mayRead(shared, role),
            !unit.describesStatement || shared.pointee.describeReply != nil
        {
            guard isQuiet else { return .park }
            if unit.parse == nil || keepLocal(unit, statement.pointee.id, store) {
                if unit.parse != nil { outgoing = [BackendType.parseComplete, 0, 0, 0, 4] }
                if unit.describesStatement { outgoing += shared.pointee.describeReply ?? [] }
                store.counters.parsesAnswered += 1
                segmentIsLocal = true
                return .reply(consumed: unit.end)
            }
        }
        return forwardUnit(view, unit, store)
    }

    /// Parse and Describe of BEGIN and of what ends a block: nothing in them depends on anything.
    private mutating func prepareVerb(_ unit: ExtendedUnit, _ store: CacheStore) -> ClientStep? {
        guard block == .none && status == .idle || block == .local, !segmentIsForwarded, allowsHits,
            standing == .cacheable || standing == .unknown, store.limits.cachesInTransactions, store.isServing,
            let statement = preparedOrParsed(unit, store), statement.pointee.verb.isAnsweredHere,
            statement.pointee.declaredTypes.isEmpty,
            unit.parse != nil ? mayKeepLocal(unit, statement.pointee.id) : isLocal(unit)
        else { return nil }
        guard isQuiet else { return .park }
        outgoing = []
        if unit.parse != nil {
            _ = keepLocal(unit, statement.pointee.id, store)
            outgoing += [BackendType.parseComplete, 0, 0, 0, 4]
        }
        if unit.describesStatement {
            outgoing += [BackendType.parameterDescription, 0, 0, 0, 6, 0, 0, BackendType.noData, 0, 0, 0, 4]
        }
        store.counters.parsesAnswered += 1
        segmentIsLocal = true
        return .reply(consumed: unit.end)
    }

    func isLocal(_ unit: ExtendedUnit) -> Bool {
        guard let name = unit.statementName else { return false }
        return prepared.find(name)?.place == .local
    }

    private func isCurrent(_ unit: ExtendedUnit, _ store: CacheStore) -> Bool {
        guard let name = unit.statementName else { return false }
        return prepared.find(name)?.schemaEpoch == store.schemaEpoch
    }

    private mutating func preparedOrParsed(
        _ unit: ExtendedUnit, _ store: CacheStore
    ) -> UnsafeMutablePointer<Statement>? {
        if unit.parse != nil { return statement(of: unit, store) }
        return unit.statementName.flatMap { prepared($0, store) }
    }

    private mutating func sync(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        guard total == 5 else { return opaque(view, store) }
        if isCopyingIn { return relay(view, total) }
        if segmentIsLocal || block == .local, !segmentIsForwarded, status != .failed {
            guard isQuiet else { return .park }
            segmentIsLocal = false
            outgoing = readyForQuery
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
