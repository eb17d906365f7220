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
        let route = decide(execution, store)
        // What waits is looked at again.
        if case .park = route { return route }
        store.counters.queries += 1
        return route
    }

    private mutating func decide(_ execution: Execution, _ store: CacheStore) -> Route {
        guard execution.statement.pointee.state == .cacheable, standing == .cacheable else {
            return forward(reason(of: execution.statement.pointee), store)
        }
        // From here on it is whoever holds the answers that this one shares [K1].
        var execution = execution
        execution.statement = store.canonical(execution.statement)
        let statement = execution.statement
        guard schemaEpoch == store.schemaEpoch else { return forward(.pendingProfile, store) }
        guard store.isServing else { return forward(.streamDown, store) }
        guard allowsHits else { return forward(.inTransaction, store) }
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
        guard let entry = store.memo.find(statement, execution.key) ?? store.sharedWindow(execution) else {
            return miss(execution, store)
        }
        return route(entry, execution, store)
    }

    private mutating func route(
        _ entry: UnsafeMutablePointer<MemoEntry>, _ execution: Execution, _ store: CacheStore
    ) -> Route {
        let id = entry.pointee.id
        if bounds.highest > store.reachedBeat { return routeByBound(store) }
        switch entry.pointee.state {
        case .servable:
            break
        case .captured where entry.pointee.waits == .image && granted != id && declined != id:
            guard isQuiet, awaited != id else { return .park }
            awaited = id
            store.follow(id, number)
            return .park
        case .captured:
            if entry.pointee.waits.contains(.proof) { store.isVisibilityUrgent = true }
            // Only who waited for the leader may have its answer before the watermark has passed it [T4] [S6]; nobody,
            // once a change was written into it.
            guard granted == id, entry.pointee.patchedBy == 0, !entry.pointee.waits.contains(.image) else {
                store.beats.missed()
                return forward(.notYetServable, store)
            }
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
        // The leader's answer may be later than the watermark.
        if entry.pointee.state == .captured, store.limits.readYourWrites.isOn { bounds.read(before: store.beats.next) }
        granted = nil
        owesSnapshot = block != .none
        execution.statement.pointee.hits &+= 1
        store.counters.hits += 1
        return .hit(id)
    }

    /// What becomes of an execution whose answer is there, but perhaps older than what this session has seen.
    private mutating func routeByBound(_ store: CacheStore) -> Route {
        let bound = bounds.highest
        store.beats.want(bound)
        let isOwnWrite = bounds.written > store.reachedBeat
        if isOwnWrite, store.limits.readYourWrites != .wait { return forward(.ownWrite, store) }
        // Read at the origin again, it would have seen something later again: a busy session would
        // never hit. So it waits, if that does not take long, and is done with it.
        let isLate = isOwnWrite ? store.lateness == .writes : store.lateness != .none || store.isStalled
        guard !isLate, !declinesBeat else {
            declinesBeat = false
            return forward(isOwnWrite ? .ownWrite : .ownRead, store)
        }
        if isQuiet, !awaitsBeat {
            awaitsBeat = true
            awaitsOwnWrite = isOwnWrite
            store.wait(number, for: bound, mayBeForwarded: !isOwnWrite)
        }
        return .park
    }

    /// Why a statement is forwarded that could not be found cacheable, or not by this session.
    private func reason(of statement: Statement) -> ForwardReason {
        if !statement.mayBeCached, statement.reason != .pendingProfile { return statement.reason }
        switch standing {
        case .bypass(let reason), .refused(let reason): return reason
        case .unknown: return allowsHits ? .pendingProfile : .inTransaction
        case .cacheable: return statement.reason
        }
    }

    private func forward(_ reason: ForwardReason, _ store: CacheStore) -> Route {
        store.counters.forwarded(reason)
        return .forward(capture: nil)
    }

    private mutating func miss(_ execution: Execution, _ store: CacheStore) -> Route {
        if let route = readRows(execution, store) { return route }
        declined = nil
        granted = nil
        execution.statement.pointee.misses &+= 1
        store.counters.misses += 1
        return .forward(capture: capture(execution, store))
    }

    /// Waits for the row tier's answer, if it has one. Whoever has waited once, for an answer that then was none, goes
    /// to the origin.
    private mutating func readRows(_ execution: Execution, _ store: CacheStore) -> Route? {
        guard store.rows.isReady, granted == nil, declined == nil else { return nil }
        guard store.mayReadRows(execution) else { return nil }
        if bounds.highest > store.reachedBeat { return routeByBound(store) }
        guard isQuiet else { return .park }
        guard let id = store.beginRead(execution) else { return nil }
        awaited = id
        store.follow(id, number)
        return .park
    }

    /// Captures where a hit would be allowed, or would be but for the session's own bound [C4].
    private func capture(_ execution: Execution, _ store: CacheStore) -> EntryID? {
        let isAfterWrite = pipeline.writes > 0 || hasWritten
        guard !isAfterWrite || Mutation.captureAfterOwnWrite.isOn, !mayHaveBegun, allowsHits,
            !pipeline.isSkippingToSync
        else { return nil }
        return store.beginCapture(execution)
    }

    // MARK: - Notes

    /// What a statement may do, from the moment that it is sent. Where that is not all known yet, it may be anything
    /// that code can do [K3].
    mutating func apply(_ statement: Statement, _ store: CacheStore) {
        if statement.readsRows, store.limits.readYourWrites.isOn { bounds.sent() }
        switch statement.verb {
        case .savepoint:
            // The block goes on, and is what it was.
            return
        case .rollbackTo:
            if settings.blockChange != .none { forgetSettings(isSure: true) }
            return
        case .none, .begin, .start, .commit, .rollback, .commitAndChain, .rollbackAndChain:
            break
        }
        // In SQL, only what a PREPARE could hold: no definition, no SET.
        if statement.namesPrepared { prepared.hasUnseen = true }
        // What a chained block begins with, SET LOCAL was not a part of.
        let ends = statement.verb.ends && (settings.blockChange == .none || !statement.verb.chains)
        apply(statement.possibleEffect, statement.settingChange, ends: ends)
    }

    /// What it may do to the session, the data and the schema.
    mutating func apply(
        _ effect: StatementEffect, _ change: SettingChange = .none, ends: Bool = false
    ) {
        if effect.isEmpty { return }
        if effect.contains(.mayWrite) || effect.contains(.callsUnknownCode) { hasWritten = true }
        if effect.contains(.changesSession) {
            settingsMayChange(change, isSure: true)
        } else if effect.contains(.callsUnknownCode) {
            settingsMayChange(.none, isSure: false)
        }
        if effect.contains(.controlsTransaction) { mayHaveBegun = true }
        if effect.contains(.changesSchema) { hasChangedSchema = true }
        let isSetting = effect == .changesSession && change != .none
        if !ends, !isSetting { spoilBlock() }
    }

    /// Relays for good from here on: the origin must know every statement that the client does, and have answered
    /// what the client did not ask, since nobody would keep such a reply from it afterwards.
    mutating func opaque(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        guard !isFlushing else {
            if pipeline.owesInjected { return .park }
            return becomesOpaque(view, store)
        }
        _ = openBlock(before: [], store)
        for one in prepared.localOnes + prepared.localUnnamed {
            withView(one.name) { inject($0, one.statement, store, checks: false) }
        }
        guard pipeline.owesInjected else { return becomesOpaque(view, store) }
        isFlushing = true
        injection += [FrontendType.flush, 0, 0, 0, 4]
        return .forward(consumed: 0)
    }

    private mutating func becomesOpaque(_ view: ByteView, _ store: CacheStore) -> ClientStep {
        apply(.anything)
        becomeOpaque(store)
        return .forward(consumed: view.count)
    }

    /// A text for which there is no room: its effect is known, but nothing is remembered of it.
    mutating func forwardUnremembered(
        _ key: ByteView, _ total: Int, _ store: CacheStore
    ) -> ClientStep {
        let effect = store.effect(ofUnremembered: key, standardConformingStrings)
        if let step = openBlock(before: .anything, store) { return step }
        store.counters.forwarded(.noRoom)
        bounds.sent()
        prepared.hasUnseen = true
        apply(effect.union([.mayWrite, .callsUnknownCode]))
        sendPrepared(effect.union(.namesPrepared), store, ownSegment: true)
        pipeline.append(Pipeline.Owed(.query, isRead: effect.isEmpty))
        return .forward(consumed: total)
    }

    /// A text that nobody reads: it may do anything.
    mutating func forwardUnread(
        _ request: Pipeline.Request, _ view: ByteView, _ total: Int, _ store: CacheStore
    ) -> ClientStep {
        if let step = openBlock(before: .anything, store) { return step }
        store.counters.forwarded(.tooLong)
        prepared.hasUnseen = true
        apply(.anything)
        sendPrepared(.anything, store, ownSegment: true)
        pipeline.append(Pipeline.Owed(request))
        return relay(view, total)
    }

    mutating func forwardExecution(
        _ view: ByteView, _ unit: ExtendedUnit, capture: EntryID?, _ store: CacheStore
    ) -> ClientStep {
        let messages = view.slice(from: 0, count: unit.end)
        if mustOpenBlock, let step = openBlock(before: effect(of: messages, store), store) {
            if let capture { store.abandon(capture) }
            return step
        }
        store.counters.extendedQueries += 1
        guard let count = forwardMessages(messages, capture: capture, store) else {
            if let capture { store.abandon(capture) }
            return opaque(view, store)
        }
        if count < unit.end, let capture { store.abandon(capture) }
        return .forward(consumed: count)
    }

    /// What these messages may do, as far as is known before they are sent.
    func effect(of messages: ByteView, _ store: CacheStore) -> StatementEffect {
        var position = 0
        var effect: StatementEffect = []
        var parsed: StatementEffect?
        while position < messages.count {
            let total = 1 + Int(messages.uint32(at: position + 1))
            let body = messages.slice(from: position + 5, count: total - 5)
            switch messages[position] {
            case FrontendType.parse:
                guard let name = body.cString(at: 0) else { return .anything }
                parsed = store.statement(
                    profile: textProfile(store), key: body.dropFirst(name.count + 1), standardConformingStrings
                )?.pointee.effectInBlock ?? .anything
            case FrontendType.bind:
                guard let portal = body.cString(at: 0), let name = body.cString(at: portal.count + 1) else {
                    return .anything
                }
                let known = prepared.find(name).flatMap { store.statement($0.statement, standardConformingStrings) }
                effect.formUnion(parsed ?? known?.pointee.effectInBlock ?? .anything)
            case FrontendType.execute where position == 0:
                return .anything
            default: break
            }
            position += total
        }
        return effect
    }

    /// Notes whole messages that are sent to the origin, and tells how many bytes of them: what is injected goes
    /// before all of them, so they end before a message that needs it. Nil if one cannot be read.
    mutating func forwardMessages(
        _ view: ByteView, capture: EntryID? = nil, _ store: CacheStore
    ) -> Int? {
        if !segmentIsForwarded, prepared.hasLocal {
            let effect = effect(of: view, store)
            sendPrepared(effect.intersection([.changesSession, .callsUnknownCode]), store, ownSegment: true)
        }
        segmentIsForwarded = true
        var position = 0
        var bound: StatementEffect?
        var boundStatement = UInt64.max
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
                boundStatement = prepared.find(name)?.statement.packed ?? .max
            case FrontendType.describe:
                guard body.count >= 2, let name = body.cString(at: 1) else { return nil }
                noteDescribe(body[0], name, capture, store)
            case FrontendType.execute:
                // A portal that was bound before goes on with whatever it calls.
                if bound == nil { apply([.mayWrite, .callsUnknownCode]) }
                owe(
                    Pipeline.Owed(
                        .execute, isRead: bound?.isEmpty ?? false, statement: boundStatement,
                        capture: capture?.packed ?? .max),
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
        guard let known = prepared.find(name) else { return name.count == 0 && hasEndedUnnamed }
        if mustInject(name, known, store) { return true }
        guard let statement = store.statements[known.statement] else { return false }
        return !unsent(before: statement.pointee.possibleEffect, store).isEmpty
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
            let statement = store.statement(
                profile: textProfile(store), key: key, standardConformingStrings)
        else {
            if name.count == 0 { unnamedIsUnseen(store) } else { prepared.hasUnseen = true }
            owe(Pipeline.Owed(.parse, isRead: true), store)
            return
        }
        let id = statement.pointee.id
        store.statements.retain(id)
        parses &+= 1
        if name.count == 0 { hasEndedUnnamed = false }
        let old = prepared.insert(name, id, .sent(parses), schemaEpoch: store.schemaEpoch)
        if let old { store.statements.release(old) }
        owe(Pipeline.Owed(.parse, isRead: true, statement: id.packed, parse: parses), store)
    }

    /// The client's unnamed statement is one that nothing is known of here.
    private mutating func unnamedIsUnseen(_ store: CacheStore) {
        endUnnamed(store)
        prepared.hasUnseenUnnamed = true
        hasEndedUnnamed = false
    }

    /// A simple query ends the unnamed statement (manual, 55.2.3); so does a Parse of another.
    mutating func endUnnamed(_ store: CacheStore) {
        guard prepared.unnamed != nil || prepared.hasUnseenUnnamed else { return }
        if let old = prepared.removeUnnamed() { store.statements.release(old) }
        hasEndedUnnamed = true
    }

    /// Queries of ours, unseen by the client: one request.
    ///
    /// A simple query is the cheapest, but it ends the unnamed statement. Where the origin has one, a statement and a
    /// portal of our own carry the text; what an earlier one has left that failed halfway goes first.
    mutating func ask(_ request: Pipeline.Request, _ texts: [[UInt8]]) {
        var writer = ByteWriter()
        if prepared.isUnnamedAtOrigin {
            for text in texts { Self.extended(text, &writer) }
            writer.message(FrontendType.sync) { _ in }
        } else {
            writer.message(FrontendType.query) { body in
                body.append(Array(texts.joined(separator: Array("\n;".utf8))))
                body.uint8(0)
            }
        }
        injection += writer.bytes
        pipeline.append(Pipeline.Owed(request, isInjected: true, isRead: true))
    }

    private static func extended(_ text: [UInt8], _ writer: inout ByteWriter) {
        let name = "pgcache's own"
        func close(_ kind: Unicode.Scalar) {
            writer.message(FrontendType.close) { body in
                body.uint8(UInt8(ascii: kind))
                body.cString(name)
            }
        }
        close("S")
        writer.message(FrontendType.parse) { body in
            body.cString(name)
            body.append(text)
            body.append([0, 0, 0])
        }
        writer.message(FrontendType.bind) { body in
            body.cString(name)
            body.cString(name)
            body.append([0, 0, 0, 0, 0, 0])
        }
        writer.message(FrontendType.execute) { body in
            body.cString(name)
            body.uint32(0)
        }
        close("P")
        close("S")
    }

    /// Notes a request that is sent, unless the origin will drop it unanswered.
    private mutating func owe(_ owed: Pipeline.Owed, _ store: CacheStore) {
        if !pipeline.append(owed) { drop(owed, store) }
    }

    /// The origin does not have it, or nobody knows whether it still returns there what the client was told [S4].
    private func mustInject(_ name: ByteView, _ known: PreparedStatements.Found, _ store: CacheStore) -> Bool {
        known.place.needsParse || prepared.promise(name).map { $0.schemaEpoch != store.schemaEpoch } ?? false
    }

    /// Notes a Bind, and tells what its statement may do.
    private mutating func noteBind(_ name: ByteView, _ store: CacheStore) -> StatementEffect {
        guard let statement = prepared(name, store), let known = prepared.find(name) else {
            return noteUnknownBind(name, store)
        }
        if mustInject(name, known, store) { inject(name, known.statement, store) }
        var effect = statement.pointee.possibleEffect
        if statement.pointee.profile != textProfile(store) {
            // Nobody knows under which settings: the origin may analyze it again there [K1].
            prepared.mix(name)
            if statement.pointee.hasNames { effect.formUnion([.mayWrite, .callsUnknownCode]) }
        }
        if effect == statement.pointee.possibleEffect {
            apply(statement.pointee, store)
        } else {
            if store.limits.readYourWrites.isOn { bounds.sent() }
            apply(effect)
        }
        sendPrepared(effect, store, ownSegment: false)
        owe(
            Pipeline.Owed(
                .bind, isRead: effect.isEmpty, statement: UInt64(known.number) << 32 | UInt64(store.schemaEpoch)),
            store)
        return effect
    }

    /// A name that only the origin knows: PREPARE gave it, which takes no definitions and no SET. Or the unnamed
    /// statement, which a simple query has ended that the origin has not heard of: it must hear of that.
    private mutating func noteUnknownBind(_ name: ByteView, _ store: CacheStore) -> StatementEffect {
        if name.count == 0, hasEndedUnnamed {
            hasEndedUnnamed = false
            var writer = ByteWriter()
            writer.message(FrontendType.close) { body in
                body.uint8(UInt8(ascii: "S"))
                body.uint8(0)
            }
            injection += writer.bytes
            owe(Pipeline.Owed(.close, isInjected: true, isRead: true), store)
        }
        let effect: StatementEffect = [.mayWrite, .callsUnknownCode]
        if store.limits.readYourWrites.isOn { bounds.sent() }
        apply(effect)
        owe(Pipeline.Owed(.bind), store)
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
        if let known, known.place.needsParse { inject(name, known.statement, store) }
        owe(
            Pipeline.Owed(
                .describeStatement, isRead: true, statement: known?.statement.packed ?? .max), store)
    }

    /// Prepares at the origin, unseen by the client, what we had answered ourselves. If the schema has changed
    /// since, the origin is asked whether the statement still returns what the client was told [S4]. What the origin
    /// has is not prepared once more: its constants mean what they meant under the settings of that time [K1].
    ///
    /// - Parameter checks: false where it is not executed now: what it returns is another statement's affair.
    private mutating func inject(
        _ name: ByteView, _ id: StatementID, _ store: CacheStore, checks: Bool = true
    ) {
        guard let statement = store.statements[id] else { return }
        let promise = prepared.promise(name)
        let isOld = checks && promise.map { $0.schemaEpoch != store.schemaEpoch } ?? false
        let place = prepared.find(name)?.place ?? .local
        var writer = ByteWriter()
        if place == .refused {
            // It returns something else there: each use is refused anew.
            writer.message(FrontendType.close) { body in
                body.uint8(UInt8(ascii: "S"))
                body.append(name)
                body.uint8(0)
            }
            owe(Pipeline.Owed(.close, isInjected: true, isRead: true), store)
        }
        if place.needsParse {
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
        }
        if let promise, isOld {
            writer.message(FrontendType.describe) { body in
                body.uint8(UInt8(ascii: "S"))
                body.append(name)
                body.uint8(0)
            }
            promised.append((name.bytes, promise.shape, store.schemaEpoch))
            owe(Pipeline.Owed(.describeStatement, isInjected: true, isRead: true), store)
        }
        injection += writer.bytes
    }

    /// Nobody has described a statement that would else have been a hit: what it returns must be known before its
    /// Parse can be answered here [S4], so the origin is asked, unseen by the client. The Parse that follows replaces
    /// ours.
    mutating func askShape(
        _ unit: ExtendedUnit, _ statement: UnsafeMutablePointer<Statement>, _ store: CacheStore
    ) {
        guard let name = unit.statementName, name.count == 0, !mustOpenBlock, isQuiet,
            store.canonical(statement).pointee.rowShape == nil
        else { return }
        var writer = ByteWriter()
        writer.message(FrontendType.parse) { body in
            body.uint8(0)
            body.append(statement.pointee.parseTail)
        }
        writer.message(FrontendType.describe) { body in
            body.uint8(UInt8(ascii: "S"))
            body.uint8(0)
        }
        hasInjectedParse = true
        owe(Pipeline.Owed(.parse, isInjected: true, isRead: true), store)
        owe(
            Pipeline.Owed(
                .describeStatement, isInjected: true, isRead: true, statement: statement.pointee.id.packed), store)
        injection += writer.bytes
    }

    /// What the origin must know before a statement of this effect: all that it may see, or name, in SQL, and what
    /// would be analyzed as another if settings change [K1].
    private func unsent(before effect: StatementEffect, _ store: CacheStore) -> [PreparedStatements.Unsent] {
        guard prepared.hasLocal, !effect.isEmpty else { return [] }
        if !effect.isDisjoint(with: [.namesPrepared, .seesPrepared]) { return prepared.localOnes }
        guard !effect.isDisjoint(with: [.changesSession, .callsUnknownCode]) else { return [] }
        return (prepared.localOnes + prepared.localUnnamed).filter {
            store.statements[$0.statement]?.pointee.keepsSettings ?? false
        }
    }

    /// Prepares at the origin what it must know before a statement of this effect; in a segment of its own where that
    /// is possible, so that an error of it keeps nothing from being executed.
    mutating func sendPrepared(_ effect: StatementEffect, _ store: CacheStore, ownSegment: Bool) {
        let unsent = unsent(before: effect, store)
        for one in unsent { withView(one.name) { inject($0, one.statement, store, checks: false) } }
        if ownSegment, !unsent.isEmpty {
            injection += [FrontendType.sync, 0, 0, 0, 4]
            pipeline.append(Pipeline.Owed(.sync, isInjected: true, isRead: true))
        }
    }

    // MARK: - Messages that stand alone

    /// Parse or Bind with more bytes than are looked at together.
    mutating func oversize(_ view: ByteView, _ total: Int, _ store: CacheStore) -> ClientStep {
        let head = min(total, 4096)
        guard view.count >= head else { return .needMore(head) }
        let body = view.slice(from: 5, count: head - 5)
        guard let first = body.cString(at: 0) else { return opaque(view, store) }
        if let step = openBlock(before: .anything, store) { return step }
        segmentIsForwarded = true
        store.counters.forwarded(.tooLong)
        if view[0] == FrontendType.parse {
            if let known = prepared.find(first), first.count > 0, known.place == .local {
                inject(first, known.statement, store)
            } else if first.count == 0 {
                unnamedIsUnseen(store)
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
            if let step = openBlock(before: .anything, store) { return step }
            sendPrepared(.changesSession, store, ownSegment: true)
            apply([.mayWrite, .changesSession])
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
        let isStatement = body[0] == UInt8(ascii: "S")
        if isStatement, !segmentIsForwarded, status != .failed, prepared.find(name)?.place == .local {
            guard isQuiet else { return .park }
            if let old = prepared.remove(name) { store.statements.release(old) }
            segmentIsLocal = true
            outgoing = [BackendType.closeComplete, 0, 0, 0, 4]
            return .reply(consumed: total)
        }
        _ = openBlock(before: [], store)
        segmentIsForwarded = true
        // Behind an error the origin drops it, and the name goes on to mean what it meant.
        closing.append(isStatement ? prepared.take(name) : nil)
        owe(Pipeline.Owed(.close, isRead: true), store)
        return .forward(consumed: total)
    }
}
