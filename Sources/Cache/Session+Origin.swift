import Mutation
import PGProtocol

/// The origin's half: each reply is matched with its request and relayed, most of it without a look.
extension Session {
    /// Decides on the first undecided bytes of the origin. What a step says happens before the next call.
    public mutating func originSent(_ view: ByteView, _ store: CacheStore) -> OriginStep {
        if state == .opaque { return view.count == 0 ? .needMore(1) : .relay(view.count) }
        var position = 0
        if originRemaining > 0 {
            position = min(originRemaining, view.count)
            originRemaining -= position
            copy(view.slice(from: 0, count: position), store)
            if originRemaining == 0 { messageEnded(originType, store) }
            if isReplacing, !Session.isUnasked(originType) { return .swallow(position) }
        }
        while true {
            let left = view.count - position
            guard left >= 5 else { return position > 0 ? .relay(position) : .needMore(5) }
            let type = view[position]
            let total = 1 + Int(view.uint32(at: position + 1))
            guard total >= 5 else {
                becomeOpaque(store)
                return .relay(view.count)
            }
            if type == BackendType.dataRow, left >= total, isPassingRows {
                position += total
                continue
            }
            let isInjected = pipeline.first?.isInjected == true && !Session.isUnasked(type)
            if isInjected || Session.isReadWhole(type) {
                guard total <= ExtendedUnit.bytesMax else {
                    becomeOpaque(store)
                    return .relay(view.count)
                }
                guard left >= total else { return position > 0 ? .relay(position) : .needMore(total) }
            }
            if isInjected {
                if position > 0 { return .relay(position) }
                injectedAnswered(type, view.slice(from: 5, count: total - 5), store)
                return .swallow(total)
            }
            if isReplacing, !Session.isUnasked(type), type != BackendType.readyForQuery {
                if position > 0 { return .relay(position) }
                return replaced(type, view.slice(from: 0, count: min(total, left)), total, store)
            }
            if type == BackendType.readyForQuery {
                if holdsBack(view[position + 5], store) { return position > 0 ? .relay(position) : .hold }
                if isReadyOurs(view[position + 5]) {
                    if position > 0 { return .relay(position) }
                    readyReplaced(view[position + 5], store)
                    return .swallow(total)
                }
            }
            let taken = min(total, left)
            let message = view.slice(from: position, count: taken)
            originAnswered(type, message, total, store)
            if state == .opaque { return .relay(view.count) }
            copy(message, store)
            if taken == total { messageEnded(type, store) }
            position += taken
            originRemaining = total - taken
            originType = type
            if originRemaining > 0 || signals.contains(.loggedIn) { return .relay(position) }
        }
    }

    /// The client is in another state than the origin: in a block that the origin has not begun, or in one that has
    /// failed by an error of ours.
    private func isReadyOurs(_ status: UInt8) -> Bool {
        block == .local || isReplacing && status == TransactionStatus.inTransaction.rawValue
    }

    private mutating func readyReplaced(_ status: UInt8, _ store: CacheStore) {
        let isRefused = isReplacing
        ready(status, store)
        guard state == .ready else { return }
        if block == .local {
            outgoing += [BackendType.readyForQuery, 0, 0, 0, 5, self.status.rawValue]
        } else if isRefused {
            // The block must fail there, too. No savepoint has this name, and to say so takes no time.
            isFailingBlock = true
            ask(.query, [Array("ROLLBACK TO SAVEPOINT \"refused by pgcache\"".utf8)])
        }
    }

    /// The answer to a query of ours is over: a BEGIN, or what makes a block fail.
    private mutating func ownQueryAnswered(_ status: UInt8, _ store: CacheStore) {
        if isFailingBlock {
            isFailingBlock = false
            statusReported(status, store)
            outgoing += [BackendType.readyForQuery, 0, 0, 0, 5, status]
            return
        }
        isBeginning = false
        if status == TransactionStatus.idle.rawValue {
            // A cancel that came late has hit it. Nothing but a read went along: it is sent again with what comes next.
            block = .local
            beginFailures += 1
            if beginFailures > Session.beginFailuresMax { signals.insert(.blockWasRefused) }
        } else {
            forgetBegin(store)
        }
        statusReported(status, store)
    }

    /// Whether a write's ReadyForQuery has to wait, so that every session's hits show what it wrote [S1].
    private mutating func holdsBack(_ status: UInt8, _ store: CacheStore) -> Bool {
        guard hasWritten, store.limits.readYourWrites == .commit, status == TransactionStatus.idle.rawValue,
            state == .ready, store.isServing, store.lateness != .writes
        else { return false }
        if heldForBeat == 0 {
            heldForBeat = store.beats.next
            store.beats.want(heldForBeat)
            store.wait(number, for: heldForBeat, mayBeForwarded: false)
            awaitsBeat = true
            awaitsOwnWrite = true
        }
        return awaitsBeat && heldForBeat > store.reachedBeat
    }

    /// Nobody keeps or replaces the rows that come now: most bytes of a forwarded answer are such.
    @inline(__always)
    private var isPassingRows: Bool {
        guard let owed = pipeline.first, owed.capture == .max, !owed.isInjected else { return false }
        return !isReplacing && !originDescribes
    }

    /// Messages that come whether or not something is owed.
    private static func isUnasked(_ type: UInt8) -> Bool {
        type == BackendType.noticeResponse || type == BackendType.notificationResponse
            || type == BackendType.parameterStatus
    }

    /// Short messages that must be read and not only relayed.
    private static func isReadWhole(_ type: UInt8) -> Bool {
        type == BackendType.readyForQuery || type == BackendType.parameterStatus
            || type == BackendType.authentication
            || type == BackendType.commandComplete || type == BackendType.portalSuspended
            || type == BackendType.backendKeyData
    }

    /// Keeps a copy of what an entry or a statement wants to remember.
    private mutating func copy(_ bytes: ByteView, _ store: CacheStore) {
        if originCapture != .max, !store.append(EntryID(packed: originCapture), bytes) {
            originCapture = .max
        }
        if originDescribes {
            if describing.count + bytes.count <= ExtendedUnit.bytesMax {
                describing += bytes.bytes
            } else {
                originDescribes = false
                describing = []
            }
        }
    }

    /// The beginning of a message, or all of it.
    private mutating func originAnswered(
        _ type: UInt8, _ message: ByteView, _ total: Int, _ store: CacheStore
    ) {
        originCapture = .max
        let isDescribing = originDescribes
        originDescribes = false
        switch type {
        case BackendType.dataRow:
            originCapture = pipeline.first?.capture ?? .max
        case BackendType.commandComplete:
            originCapture = pipeline.first?.capture ?? .max
            namesDropped(message.dropFirst(5), store)
        case BackendType.rowDescription, BackendType.noData:
            described(type, isDescribing, store)
        case BackendType.parameterDescription:
            describing = []
            originDescribes = pipeline.first?.request == .describeStatement
        case BackendType.parseComplete: answered(.parse, store)
        case BackendType.bindComplete: answered(.bind, store)
        case BackendType.closeComplete: answered(.close, store)
        case BackendType.emptyQueryResponse:
            abandonCapture(store)
            if pipeline.first?.request == .execute { pipeline.removeFirst() }
        case BackendType.portalSuspended:
            originCapture = pipeline.first?.capture ?? .max
        case BackendType.errorResponse: failed(message, total, store)
        case BackendType.notificationResponse:
            // Who is told of a change must not read what was before it [S1].
            if !Mutation.noNotificationBound.isOn { raiseBound(store) }
        case BackendType.authentication:
            isChallenged = message.count >= 9 && message.uint32(at: 5) != 0
        case BackendType.noticeResponse:
            // A hit would not raise it, nor a Parse that we answer [C3].
            pipeline.forgetCaptures { store.requestDropped($0) }
            if pipeline.first?.request == .parse { parseWasNoticed = true }
        case BackendType.parameterStatus: parameterReported(message.dropFirst(5), store)
        case BackendType.backendKeyData:
            guard message.count >= 9 else { break }
            key = BackendKey(process: message.uint32(at: 5), secret: message.dropFirst(9).bytes)
        case BackendType.readyForQuery: ready(message.count > 5 ? message[5] : 0, store)
        case BackendType.copyInResponse: copyInBegan(store)
        case BackendType.copyOutResponse: abandonCapture(store)
        case BackendType.copyBothResponse: becomeOpaque(store)
        default:
            // Authentication, COPY data, a function's result, what later versions will add: relayed.
            break
        }
    }

    private mutating func answered(_ request: Pipeline.Request, _ store: CacheStore) {
        guard let owed = pipeline.first, owed.request == request else {
            becomeOpaque(store)
            return
        }
        pipeline.removeFirst()
        switch request {
        case .parse: parsed(owed, store)
        case .bind where owed.statement != .max && !isReplacing:
            let number = UInt32(truncatingIfNeeded: owed.statement >> 32)
            prepared.bound(number, schemaEpoch: UInt32(truncatingIfNeeded: owed.statement))
        case .close where !owed.isInjected && !closing.isEmpty:
            if let closed = closing.removeFirst() { store.statements.release(closed.statement) }
        case .bind, .close, .describeStatement, .describePortal, .execute, .sync, .query, .functionCall, .profile:
            break
        }
    }

    private mutating func parsed(_ owed: Pipeline.Owed, _ store: CacheStore) {
        guard owed.statement != .max else { return }
        let id = StatementID(packed: owed.statement)
        prepared.parsed(owed.parse)
        if !parseWasNoticed, sharesStatements(store), let statement = store.statements[id] {
            store.canonical(statement).pointee.wasParsed = true
        }
        parseWasNoticed = false
    }

    /// RowDescription or NoData: of a statement, of a portal, or of a simple query.
    private mutating func described(
        _ type: UInt8, _ isDescribing: Bool, _ store: CacheStore
    ) {
        guard let owed = pipeline.first else { return }
        switch owed.request {
        case .describeStatement:
            originDescribes = isDescribing || !describing.isEmpty
        case .describePortal:
            if type == BackendType.rowDescription { originCapture = owed.capture }
        case .query:
            originCapture = owed.capture
        case .parse, .bind, .execute, .close, .sync, .functionCall, .profile:
            break
        }
    }

    /// The last byte of a message has been relayed.
    private mutating func messageEnded(_ type: UInt8, _ store: CacheStore) {
        guard let owed = pipeline.first else { return }
        switch type {
        case BackendType.rowDescription, BackendType.noData:
            if owed.request == .describeStatement {
                pipeline.removeFirst()
                if originDescribes, owed.statement != .max, sharesStatements(store),
                    let statement = store.statements[StatementID(packed: owed.statement)]
                        .map({ store.canonical($0) })
                {
                    store.described(statement, withView(describing) { $0.lastMessage.rowShape }, reply: describing) {
                        pipeline.owes($0.packed)
                    }
                }
                originDescribes = false
                describing = []
            } else {
                if owed.capture != .max, type == BackendType.rowDescription {
                    store.descriptionEnded(EntryID(packed: owed.capture))
                }
                if owed.request == .describePortal { pipeline.removeFirst() }
            }
        case BackendType.commandComplete, BackendType.portalSuspended:
            guard owed.request == .execute || owed.request == .query else { return }
            if owed.capture != .max { store.finishCapture(EntryID(packed: owed.capture)) }
            if owed.request == .execute {
                pipeline.removeFirst()
            } else {
                var rest = owed
                rest.capture = .max
                pipeline.replaceFirst(rest)
            }
        default:
            break
        }
    }

    /// A message whose end was not in the same receive ends here.
    private mutating func abandonCapture(_ store: CacheStore) {
        guard var owed = pipeline.first, owed.capture != .max else { return }
        store.abandon(EntryID(packed: owed.capture))
        owed.capture = .max
        pipeline.replaceFirst(owed)
    }

    private mutating func failed(_ message: ByteView, _ total: Int, _ store: CacheStore) {
        isCopyingIn = false
        describing = []
        parseWasNoticed = false
        settings.hasFailed = true
        if message.count == total, message.isFatal { signals.insert(.originSaidFatal) }
        if Mutation.captureSurvivesError.isOn, let owed = pipeline.first, owed.capture != .max {
            store.finishCapture(EntryID(packed: owed.capture))
        }
        abandonCapture(store)
        guard state == .ready else { return }
        if message.count == total, message.isSyntaxError { textRejected(store) }
        var dropped: [Pipeline.Owed] = []
        pipeline.failed { dropped.append($0) }
        for owed in dropped { drop(owed, store) }
    }

    /// Neither our parser nor the origin's makes anything of a text: nothing of it was executed, whatever it might have
    /// been. Without this, a typing error would empty the cache.
    private mutating func textRejected(_ store: CacheStore) {
        // In a block, or behind another, something else may have changed the schema.
        guard status == .idle, pipeline.writes <= 1, let owed = pipeline.first,
            owed.request == .query || owed.request == .parse,
            store.statements[StatementID(packed: owed.statement)]?.pointee.reason == .unparsable
        else { return }
        hasChangedSchema = false
    }

    /// The origin will not answer this request.
    mutating func drop(_ owed: Pipeline.Owed, _ store: CacheStore) {
        store.requestDropped(owed)
        if owed.isInjected, owed.request == .describeStatement, owed.statement == .max, !promised.isEmpty {
            promised.removeFirst()
        }
        if owed.request == .close, !owed.isInjected, !closing.isEmpty, let slot = closing.removeFirst(),
            !prepared.restore(slot)
        {
            store.statements.release(slot.statement)
        }
        guard owed.request == .parse, owed.statement != .max else { return }
        let released = prepared.parseFailed(owed.parse, isInjected: owed.isInjected)
        if let released { store.statements.release(released) }
    }

    private mutating func copyInBegan(_ store: CacheStore) {
        abandonCapture(store)
        isCopyingIn = true
        if pipeline.first?.request == .execute {
            if !pipeline.dropSyncsBehindFirst() {
                becomeOpaque(store)
            } else {
                segmentIsForwarded = true
            }
        }
    }

    private mutating func ready(_ byte: UInt8, _ store: CacheStore) {
        isCopyingIn = false
        isReplacing = false
        if state == .loggingIn {
            status = TransactionStatus(rawValue: byte) ?? .failed
            loggedIn(store)
            return
        }
        if let owed = pipeline.first {
            switch owed.request {
            case .query, .sync, .functionCall, .profile:
                if owed.capture != .max { store.abandon(EntryID(packed: owed.capture)) }
                pipeline.removeFirst()
            case .parse, .bind, .describeStatement, .describePortal, .execute, .close:
                becomeOpaque(store)
                return
            }
        } else {
            pipeline.segmentEnded()
        }
        statusReported(byte, store)
    }

    /// DEALLOCATE and DISCARD ALL, which say in their tags what they have done.
    private mutating func namesDropped(_ tag: ByteView, _ store: CacheStore) {
        guard tag.count >= 11, tag[0] == UInt8(ascii: "D"), tag[1] != UInt8(ascii: "R") else { return }
        switch tag.cString(at: 0)?.string {
        case "DISCARD ALL", "DEALLOCATE ALL":
            for statement in prepared.removeNamed() { store.statements.release(statement) }
            if pipeline.count <= 1 { prepared.hasUnseen = false }
        case "DEALLOCATE":
            guard let owed = pipeline.first, owed.statement != .max else { return }
            for name in store.deallocated(by: StatementID(packed: owed.statement), standardConformingStrings) {
                guard let old = withView(Array(name.utf8), { prepared.remove($0) }) else { continue }
                store.statements.release(old)
            }
        default:
            break
        }
    }

    // MARK: - Statements that return something else now

    /// The origin describes a statement whose Parse we had answered. If that is not what the client was told, it
    /// gets the error that PostgreSQL would give (plancache.c) instead of what follows [S4].
    private mutating func promiseChecked(_ type: UInt8, _ body: ByteView) {
        pipeline.removeFirst()
        guard !promised.isEmpty else { return }
        let promise = promised.removeFirst()
        guard message(type, body, { $0.rowShape }) != promise.shape else {
            withView(promise.name) { prepared.confirm($0, schemaEpoch: promise.schemaEpoch) }
            return
        }
        withView(promise.name) { prepared.setPlace($0, .refused) }
        isReplacing = true
        outgoing += WireError(
            .error, .featureNotSupported, "cached plan must not change result type"
        ).encoded
    }

    /// What a statement returns that nobody had described.
    private mutating func shapeTold(_ type: UInt8, _ body: ByteView, _ store: CacheStore) {
        let owed = pipeline.removeFirst()
        guard sharesStatements(store), let statement = store.statements[StatementID(packed: owed.statement)]
        else { return }
        store.described(store.canonical(statement), message(type, body) { $0.rowShape }) { pipeline.owes($0.packed) }
    }

    private func message<Value>(_ type: UInt8, _ body: ByteView, _ use: (ByteView) -> Value) -> Value {
        var writer = ByteWriter()
        writer.message(type) { $0.append(body) }
        return withView(writer.bytes, use)
    }

    /// Notes an answer that the client does not get.
    private mutating func replaced(
        _ type: UInt8, _ message: ByteView, _ total: Int, _ store: CacheStore
    ) -> OriginStep {
        abandonCapture(store)
        originAnswered(type, message, total, store)
        originCapture = .max
        originDescribes = false
        originRemaining = total - message.count
        originType = type
        if originRemaining == 0 { messageEnded(type, store) }
        return .swallow(message.count)
    }

    // MARK: - Settings

    private mutating func loggedIn(_ store: CacheStore) {
        signals.insert(.loggedIn)
        guard !isReplication else {
            state = .opaque
            bypass(.sessionState)
            return
        }
        state = .ready
        guard store.isFollowed(database: startupDatabase) else {
            bypass(.otherDatabase)
            return
        }
        askProfile(store)
    }

    /// An answer that the client did not ask for.
    private mutating func injectedAnswered(_ type: UInt8, _ body: ByteView, _ store: CacheStore) {
        guard let owed = pipeline.first else { return }
        switch type {
        case BackendType.parseComplete where owed.request == .parse: answered(.parse, store)
        case BackendType.closeComplete where owed.request == .close: answered(.close, store)
        case BackendType.rowDescription where owed.request == .describeStatement,
            BackendType.noData where owed.request == .describeStatement:
            if owed.statement == .max { promiseChecked(type, body) } else { shapeTold(type, body, store) }
        case BackendType.dataRow where owed.request == .profile:
            profileRead(body, store)
        case BackendType.errorResponse:
            // Of the settings or of a BEGIN: what it means is told by the ReadyForQuery behind it.
            guard owed.request != .profile, owed.request != .query else { break }
            // The client's own Bind would fail alike; it is told so in its place.
            var dropped: [Pipeline.Owed] = []
            pipeline.failed { dropped.append($0) }
            for owed in dropped { drop(owed, store) }
            // In a segment of our own nothing of the client's has failed.
            if pipeline.first?.isInjected != true { injectionFailed(body) }
        case BackendType.readyForQuery:
            pipeline.removeFirst()
            let status = body.count > 0 ? body[0] : 0
            if owed.request == .query {
                ownQueryAnswered(status, store)
            } else {
                statusReported(status, store)
            }
            if owed.request == .profile { profileAnswered(store) }
        default:
            break
        }
    }

    /// An error that the client is owed although the message that caused it was ours.
    private mutating func injectionFailed(_ body: ByteView) {
        var writer = ByteWriter()
        writer.message(BackendType.errorResponse) { $0.append(body) }
        outgoing += writer.bytes
    }
}

extension ByteView {
    /// Behind all messages but the last; empty if these are not whole messages.
    var lastMessage: ByteView {
        var position = 0
        while count - position >= 5 {
            let total = 1 + Int(uint32(at: position + 1))
            guard total >= 5, position + total <= count else { return slice(from: 0, count: 0) }
            if position + total == count { return dropFirst(position) }
            position += total
        }
        return slice(from: 0, count: 0)
    }

    /// A RowDescription message with what PostgreSQL compares when it executes a statement again (equalTupleDescs):
    /// names, types and modifiers, neither formats nor where the columns come from. Nil if this is none.
    ///
    /// A field has a name, table and column (6 bytes), type (10) and format (2) (manual, 55.7).
    var rowShape: [UInt8]? {
        guard count >= 7, self[0] == BackendType.rowDescription else { return nil }
        var plain = bytes
        var position = 7
        for _ in 0..<Int(uint16(at: 5)) {
            guard let name = cString(at: position), position + name.count + 19 <= count else { return nil }
            for offset in 1...6 { plain[position + name.count + offset] = 0 }
            position += name.count + 19
            plain[position - 2] = 0
            plain[position - 1] = 0
        }
        return plain
    }

    /// The columns of a DataRow's body, all in text format; nil if it is malformed.
    public var textRow: [String?]? {
        do throws(ProtocolError) {
            var reader = ByteReader(self)
            let count = try reader.uint16("DataRow columns")
            var row: [String?] = []
            for _ in 0..<count {
                let length = try reader.int32("DataRow length")
                row.append(
                    length < 0 ? nil : try reader.bytes(Int(length), "DataRow value").string)
            }
            return row
        } catch {
            return nil
        }
    }

    /// An ErrorResponse, whole, whose severity ends the session (field V, which is never translated).
    var isFatal: Bool {
        let severity = field(UInt8(ascii: "V"))?.string
        return severity == "FATAL" || severity == "PANIC"
    }

    /// The origin's grammar does not accept the client's own text, as opposed to one that a function executes, which
    /// has a context: nothing of it was executed, the statements in front of the place included.
    var isSyntaxError: Bool {
        field(UInt8(ascii: "C"))?.string == "42601" && field(UInt8(ascii: "R"))?.string == "scanner_yyerror"
            && field(UInt8(ascii: "W")) == nil
    }

    /// A field of an ErrorResponse (manual, 55.8 Error and Notice Message Fields).
    private func field(_ wanted: UInt8) -> ByteView? {
        var reader = ByteReader(dropFirst(5))
        while let code = try? reader.uint8("field"), code != 0, let value = try? reader.cString("value") {
            if code == wanted { return value }
        }
        return nil
    }
}
