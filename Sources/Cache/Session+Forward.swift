import Mutation
import PGProtocol

/// Routing, and what the session notes about everything that goes to the origin.
extension Session {
    enum Route {
        case hit(EntryID)
        /// Not now: the origin still owes replies, or another session is fetching the same answer.
        case park
        case forward(capture: EntryID?)
    }

    /// Where the answer to an execution comes from. The one place where a hit is decided on.
    mutating func route(_ execution: Execution, _ store: CacheStore) -> Route {
        let statement = execution.statement
        store.counters.queries += 1
        guard statement.pointee.state == .cacheable else {
            store.counters.forwarded(statement.pointee.reason)
            return .forward(capture: nil)
        }
        guard standing == .cacheable else {
            if case .bypass(let reason) = standing { store.counters.forwarded(reason) }
            return .forward(capture: nil)
        }
        guard schemaEpoch == store.schemaEpoch else { return forward(.pendingProfile, store) }
        guard store.isServing else { return forward(.streamDown, store) }
        guard status == .idle else { return forward(.inTransaction, store) }
        if !store.mayRead(statement, role), let reason = store.askRights(statement, role) {
            // The answer is the same for everybody; only who may have it is not known yet.
            store.counters.forwarded(reason)
            return .forward(
                capture: reason == .pendingRights ? capture(execution, store) : nil)
        }
        guard !segmentIsForwarded else {
            store.counters.forwarded(.segmentForwarded)
            return .forward(capture: capture(execution, store))
        }
        guard let entry = store.memo.find(statement, execution.key) else {
            return miss(execution, store)
        }
        return route(entry, execution, store)
    }

    private mutating func route(
        _ entry: UnsafeMutablePointer<MemoEntry>, _ execution: Execution, _ store: CacheStore
    ) -> Route {
        let id = entry.pointee.id
        if bounds.highest > store.reachedBeat, let route = routeByBound(execution, store) { return route }
        switch entry.pointee.state {
        case .servable:
            break
        case .captured:
            // Only who waited for the leader may have its answer before the watermark has passed it [T4] [S6].
            guard granted == id else { return forward(.notYetServable, store) }
        case .capturing:
            guard declined != id else { return forward(.slowLeader, store) }
            // The client may send more while it waits; it waits once.
            guard isQuiet, awaited != id else { return .park }
            awaited = id
            store.follow(id, number)
            return .park
        case .dead, .free:
            return miss(execution, store)
        }
        if execution.isDescribed, entry.pointee.descriptionCount == 0 {
            // It was captured from an execution that nobody described.
            store.drop(id)
            return miss(execution, store)
        }
        guard isQuiet || Mutation.hitOvertakes.isOn else { return .park }
        if entry.pointee.state == .captured, store.limits.readsOwnWrites,
            let query = execution.statement.pointee.query
        {
            // The leader's answer may be later than the watermark.
            for use in query.uses { bounds.bind(use.relation, before: store.beats.next) }
        }
        granted = nil
        execution.statement.pointee.hits &+= 1
        store.counters.hits += 1
        return .hit(id)
    }

    /// What becomes of an execution whose answer is there, but perhaps older than what this session has seen;
    /// nil when it is not.
    private mutating func routeByBound(_ execution: Execution, _ store: CacheStore) -> Route? {
        guard let query = execution.statement.pointee.query else { return nil }
        let bound = bounds.bound(over: query.uses)
        guard bound > store.reachedBeat else { return nil }
        store.beats.want(bound)
        if bounds.written > store.reachedBeat { return forward(.ownWrite, store) }
        // Read at the origin again, it would have seen something later again: a busy session would
        // never hit. So it waits, if that does not take long, and is done with it.
        guard !store.isLagging else { return forward(.ownRead, store) }
        if isQuiet, !awaitsBeat {
            awaitsBeat = true
            store.wait(number, for: bound)
        }
        return .park
    }

    private func forward(_ reason: ForwardReason, _ store: CacheStore) -> Route {
        store.counters.forwarded(reason)
        return .forward(capture: nil)
    }

    private mutating func miss(_ execution: Execution, _ store: CacheStore) -> Route {
        declined = nil
        granted = nil
        execution.statement.pointee.misses &+= 1
        store.counters.misses += 1
        return .forward(capture: capture(execution, store))
    }

    /// Captures where a hit would be allowed, or would be but for the session's own bound [C4].
    private func capture(_ execution: Execution, _ store: CacheStore) -> EntryID? {
        guard pipeline.writes == 0, !hasWritten, !mayHaveBegun, !pipeline.isSkippingToSync else {
            return nil
        }
        return store.beginCapture(execution)
    }

    // MARK: - Notes

    /// What a statement may do, from the moment that it is sent. Where that is not all known yet, the settings are
    /// read again before the session uses the cache [K3].
    mutating func apply(_ statement: Statement, _ store: CacheStore) {
        if store.limits.readsOwnWrites { bounds.sent(statement.reads) }
        var effect = statement.effect
        if effect.contains(.callsUnknownCode), statement.reason.isAboutRelation {
            // Policies, rules and views: what they call is written by who owns the relation.
            effect.remove(.callsUnknownCode)
            effect.insert(.mayWrite)
            schemaEpoch = .max
        }
        if statement.isEffectPending {
            // The code that it may turn out to call may write.
            effect.insert(.mayWrite)
            schemaEpoch = .max
        }
        apply(effect, store)
    }

    /// What it may do to the session, the data and the schema.
    mutating func apply(_ effect: StatementEffect, _ store: CacheStore) {
        if effect.isEmpty { return }
        if effect.contains(.mayWrite) || effect.contains(.callsUnknownCode) { hasWritten = true }
        if effect.contains(.controlsTransaction) { mayHaveBegun = true }
        if effect.contains(.changesSchema) { hasChangedSchema = true }
        if effect.contains(.changesSession) || effect.contains(.callsUnknownCode) {
            bypass(.sessionState)
        }
    }

    /// Relays for good from here on: the origin must know every statement that the client does, and have answered
    /// what the client did not ask, since nobody would keep such a reply from it afterwards.
    mutating func opaque(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        guard !isFlushing else {
            if pipeline.owesInjected { return .park }
            return becomesOpaque(view, store)
        }
        for one in prepared.localOnes { withView(one.name) { inject($0, one.statement, store) } }
        if let unnamed = prepared.unnamed, unnamed.place == .local {
            inject(view.slice(from: 0, count: 0), unnamed.statement, store)
        }
        guard pipeline.owesInjected else { return becomesOpaque(view, store) }
        isFlushing = true
        injection += [FrontendType.flush, 0, 0, 0, 4]
        return .forward(consumed: 0)
    }

    private mutating func becomesOpaque(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        apply(.anything, store)
        becomeOpaque(store)
        return .forward(consumed: view.count)
    }

    /// A text for which there is no room: its effect is known, but nothing is remembered of it.
    mutating func forwardUnremembered(
        _ key: ByteView, _ total: Int, _ store: CacheStore
    ) -> ClientStep {
        store.counters.forwarded(.noRoom)
        let effect = store.effect(ofUnremembered: key, standardConformingStrings)
        bounds.sent(.everything)
        apply(effect, store)
        schemaEpoch = .max
        sendPrepared(effect, store, ownSegment: true)
        pipeline.append(Pipeline.Owed(.query, isRead: effect.isEmpty))
        return .forward(consumed: total)
    }

    /// A text that nobody reads: it may do anything.
    mutating func forwardUnread(
        _ request: Pipeline.Request, _ view: ByteView, _ total: Int, _ store: CacheStore
    ) -> ClientStep {
        store.counters.forwarded(.tooLong)
        apply(.anything, store)
        sendPrepared(.anything, store, ownSegment: true)
        pipeline.append(Pipeline.Owed(request))
        return relay(view, total)
    }

    mutating func forwardExecution(
        _ view: ByteView, _ unit: ExtendedUnit, capture: EntryID?, _ store: CacheStore
    ) -> ClientStep {
        store.counters.extendedQueries += 1
        guard let count = forwardMessages(view.slice(from: 0, count: unit.end), capture: capture, store)
        else {
            if let capture { store.abandon(capture) }
            return opaque(view, store)
        }
        if count < unit.end, let capture { store.abandon(capture) }
        return .forward(consumed: count)
    }

    /// Notes whole messages that are sent to the origin, and tells how many bytes of them: what is injected goes
    /// before all of them, so they end before a message that needs it. Nil if one cannot be read.
    mutating func forwardMessages(
        _ view: ByteView, capture: EntryID? = nil, _ store: CacheStore
    ) -> Int? {
        segmentIsForwarded = true
        var position = 0
        var bound: StatementEffect?
        while position < view.count {
            let total = 1 + Int(view.uint32(at: position + 1))
            let body = view.slice(from: position + 5, count: total - 5)
            switch view[position] {
            case FrontendType.parse:
                guard let name = body.cString(at: 0) else { return nil }
                noteParse(name, body.dropFirst(name.count + 1), store)
            case FrontendType.bind:
                guard let portal = body.cString(at: 0),
                    let name = body.cString(at: portal.count + 1)
                else { return nil }
                if position > 0, needsInjection(name, store) { return position }
                bound = noteBind(name, store)
            case FrontendType.describe:
                guard body.count >= 2, let name = body.cString(at: 1) else { return nil }
                noteDescribe(body[0], name, capture, store)
            case FrontendType.execute:
                if bound == nil { hasWritten = true }
                owe(
                    Pipeline.Owed(
                        .execute, isRead: bound?.isEmpty ?? false, capture: capture?.packed ?? .max),
                    store)
            case FrontendType.flush:
                break
            default:
                return nil
            }
            position += total
        }
        return position
    }

    /// Whether the origin has to be told of statements before this one is bound.
    private func needsInjection(_ name: ByteView, _ store: CacheStore) -> Bool {
        guard let known = prepared.find(name) else { return false }
        if known.place == .local { return true }
        guard let statement = store.statements[known.statement], !prepared.localOnes.isEmpty else { return false }
        return !statement.pointee.possibleEffect.isDisjoint(with: [.namesPrepared, .seesPrepared])
    }

    private mutating func noteParse(_ name: ByteView, _ key: ByteView, _ store: CacheStore) {
        let known = prepared.find(name)
        if name.count > 0, let known {
            // The origin must know the first one to refuse the second.
            if known.place == .local { inject(name, known.statement, store) }
            owe(Pipeline.Owed(.parse, isRead: true), store)
            return
        }
        guard prepared.hasRoom(for: name),
            let statement = store.statement(profile: profile, key: key, standardConformingStrings)
        else {
            if let old = prepared.remove(name) { store.statements.release(old) }
            bypass(.sessionState)
            owe(Pipeline.Owed(.parse, isRead: true), store)
            return
        }
        let id = statement.pointee.id
        store.statements.retain(id)
        parses &+= 1
        if let old = prepared.insert(name, id, .sent(parses)) { store.statements.release(old) }
        owe(Pipeline.Owed(.parse, isRead: true, statement: id.packed, parse: parses), store)
    }

    /// Notes a request that is sent, unless the origin will drop it unanswered.
    private mutating func owe(_ owed: Pipeline.Owed, _ store: CacheStore) {
        if !pipeline.append(owed) { drop(owed, store) }
    }

    /// Notes a Bind, and tells what its statement may do.
    private mutating func noteBind(_ name: ByteView, _ store: CacheStore) -> StatementEffect {
        guard let known = prepared.find(name),
            let statement = store.statement(known.statement, standardConformingStrings)
        else {
            apply(.anything, store)
            owe(Pipeline.Owed(.bind), store)
            return .anything
        }
        if known.place == .local { inject(name, known.statement, store) }
        let effect = statement.pointee.possibleEffect
        apply(statement.pointee, store)
        sendPrepared(effect, store, ownSegment: false)
        owe(
            Pipeline.Owed(.bind, isRead: effect.isEmpty, statement: known.statement.packed), store)
        return effect
    }

    private mutating func noteDescribe(
        _ kind: UInt8, _ name: ByteView, _ capture: EntryID?, _ store: CacheStore
    ) {
        guard kind == UInt8(ascii: "S") else {
            owe(
                Pipeline.Owed(.describePortal, isRead: true, capture: capture?.packed ?? .max), store)
            return
        }
        let known = prepared.find(name)
        if let known, known.place == .local { inject(name, known.statement, store) }
        owe(
            Pipeline.Owed(
                .describeStatement, isRead: true, statement: known?.statement.packed ?? .max), store)
    }

    /// Prepares at the origin, unseen by the client, what we had answered ourselves. If the schema has changed
    /// since, the origin is asked whether the statement still returns what the client was told [S4].
    private mutating func inject(_ name: ByteView, _ id: StatementID, _ store: CacheStore) {
        guard let statement = store.statements[id] else { return }
        var writer = ByteWriter()
        writer.message(FrontendType.parse) { body in
            body.append(name)
            body.uint8(0)
            body.append(statement.pointee.parseTail)
        }
        parses &+= 1
        prepared.setPlace(name, .sent(parses))
        hasInjectedParse = true
        owe(
            Pipeline.Owed(.parse, isInjected: true, isRead: true, statement: id.packed, parse: parses), store)
        if let promise = prepared.promise(name), promise.schemaEpoch != store.schemaEpoch {
            writer.message(FrontendType.describe) { body in
                body.uint8(UInt8(ascii: "S"))
                body.append(name)
                body.uint8(0)
            }
            promised.append(promise.description)
            owe(Pipeline.Owed(.describeStatement, isInjected: true, isRead: true), store)
        }
        injection += writer.bytes
    }

    /// A statement is about to see, or name, prepared ones in SQL: the origin must know them all.
    mutating func sendPrepared(_ effect: StatementEffect, _ store: CacheStore, ownSegment: Bool) {
        guard effect.contains(.namesPrepared) || effect.contains(.seesPrepared) else { return }
        let local = prepared.localOnes
        for one in local { withView(one.name) { inject($0, one.statement, store) } }
        if ownSegment, !local.isEmpty {
            injection += [FrontendType.sync, 0, 0, 0, 4]
            pipeline.append(Pipeline.Owed(.sync, isInjected: true, isRead: true))
        }
        // What is left of them afterwards, only the origin knows.
        if effect.contains(.namesPrepared) { bypass(.sessionState) }
    }

    // MARK: - Messages that stand alone

    /// Parse or Bind with more bytes than are looked at together.
    mutating func oversize(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        let head = min(total, 4096)
        guard view.count >= head else { return .needMore(head) }
        let body = view.slice(from: 5, count: head - 5)
        guard let first = body.cString(at: 0) else { return opaque(view, store) }
        segmentIsForwarded = true
        store.counters.forwarded(.tooLong)
        if view[0] == FrontendType.parse {
            if let known = prepared.find(first), first.count > 0, known.place == .local {
                inject(first, known.statement, store)
            } else if first.count == 0, let old = prepared.remove(first) {
                store.statements.release(old)
            }
            owe(Pipeline.Owed(.parse, isRead: true), store)
        } else if view[0] == FrontendType.bind, let name = body.cString(at: first.count + 1) {
            _ = noteBind(name, store)
        } else {
            return opaque(view, store)
        }
        return relay(view, total)
    }

    /// Everything that is neither a query nor a part of a unit.
    mutating func other(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        guard total >= 5 else { return opaque(view, store) }
        switch view[0] {
        case FrontendType.close:
            return close(view, total, store)
        case FrontendType.flush:
            if segmentIsLocal, !segmentIsForwarded, isQuiet, view.count >= total {
                return .reply(consumed: total)
            }
        case FrontendType.functionCall:
            guard !segmentIsForwarded else { return opaque(view, store) }
            apply([.mayWrite, .changesSession], store)
            pipeline.append(Pipeline.Owed(.functionCall))
        case FrontendType.copyDone, FrontendType.copyFail:
            isCopyingIn = false
        default:
            break
        }
        return relay(view, total)
    }

    private mutating func close(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        guard total <= ExtendedUnit.bytesMax else { return opaque(view, store) }
        guard view.count >= total else { return .needMore(total) }
        let body = view.slice(from: 5, count: total - 5)
        guard let name = body.cString(at: 1) else { return opaque(view, store) }
        if body[0] == UInt8(ascii: "S") {
            let place = prepared.find(name)?.place
            if place == .local, !segmentIsForwarded {
                guard isQuiet else { return .park }
            }
            if let old = prepared.remove(name) { store.statements.release(old) }
            if place == .local, !segmentIsForwarded {
                segmentIsLocal = true
                outgoing = [BackendType.closeComplete, 0, 0, 0, 4]
                return .reply(consumed: total)
            }
        }
        segmentIsForwarded = true
        owe(Pipeline.Owed(.close, isRead: true), store)
        return .forward(consumed: total)
    }
}
