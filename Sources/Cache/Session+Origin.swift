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
        case BackendType.dataRow, BackendType.commandComplete:
            originCapture = pipeline.first?.capture ?? .max
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
            raiseBound(store)
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
        if request == .parse { parsed(owed, store) }
    }

    private mutating func parsed(_ owed: Pipeline.Owed, _ store: CacheStore) {
        guard owed.statement != .max else { return }
        let id = StatementID(packed: owed.statement)
        prepared.parsed(owed.parse)
        if !parseWasNoticed, sharesStatements(store), let statement = store.statements[id] {
            statement.pointee.wasParsed = true
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
                {
                    statement.pointee.describeReply = describing
                    statement.pointee.rowDescription = withView(describing) {
                        $0.lastMessage.rowDescriptionAsText
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
        if message.count == total, message.isFatal { signals.insert(.originSaidFatal) }
        if Mutation.captureSurvivesError.isOn, let owed = pipeline.first, owed.capture != .max {
            store.finishCapture(EntryID(packed: owed.capture))
        }
        abandonCapture(store)
        guard state == .ready else { return }
        var dropped: [Pipeline.Owed] = []
        pipeline.failed { dropped.append($0) }
        for owed in dropped { drop(owed, store) }
    }

    /// The origin will not answer this request.
    mutating func drop(_ owed: Pipeline.Owed, _ store: CacheStore) {
        store.requestDropped(owed)
        if owed.isInjected, owed.request == .describeStatement, !promised.isEmpty {
            promised.removeFirst()
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
        status = TransactionStatus(rawValue: byte) ?? .failed
        isCopyingIn = false
        isReplacing = false
        if state == .loggingIn {
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
        transactionMayHaveEnded(store)
    }

    /// What was written is visible now, if the transaction has ended; what is still on its way stays noted.
    private mutating func transactionMayHaveEnded(_ store: CacheStore) {
        if store.limits.readsOwnWrites {
            bounds.answered(before: store.beats.next, isAll: pipeline.isEmpty)
        }
        guard status == .idle else { return }
        let isAllAnswered = pipeline.writes == 0
        if hasWritten {
            raiseBound(store)
            if isAllAnswered { hasWritten = false }
        }
        if isAllAnswered { mayHaveBegun = false }
        if hasChangedSchema {
            store.schemaChanged()
            if isAllAnswered { hasChangedSchema = false }
        }
    }

    // MARK: - Statements that return something else now

    /// The origin describes a statement whose Parse we had answered. If that is not what the client was told, it
    /// gets the error that PostgreSQL would give (plancache.c) instead of what follows [S4].
    private mutating func promiseChecked(_ type: UInt8, _ body: ByteView) {
        pipeline.removeFirst()
        guard !promised.isEmpty else { return }
        let promise = promised.removeFirst()
        var writer = ByteWriter()
        writer.message(type) { $0.append(body) }
        let now = withView(writer.bytes) { $0.rowDescriptionAsText }
        guard now != promise else { return }
        isReplacing = true
        outgoing += WireError(
            .error, .featureNotSupported, "cached plan must not change result type"
        ).encoded
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

    /// Asks the origin, unseen by the client, for the settings of this session [K3].
    ///
    /// What is read is as old as the question: a change of the schema on the way makes it be asked again.
    mutating func askProfile(_ store: CacheStore) {
        schemaEpoch = store.schemaEpoch
        var writer = ByteWriter()
        writer.message(FrontendType.query) { $0.cString(Profile.readSQL) }
        injection += writer.bytes
        pipeline.append(Pipeline.Owed(.profile, isInjected: true, isRead: true))
    }

    /// An answer that the client did not ask for.
    private mutating func injectedAnswered(_ type: UInt8, _ body: ByteView, _ store: CacheStore) {
        guard let owed = pipeline.first else { return }
        switch type {
        case BackendType.parseComplete:
            answered(.parse, store)
        case BackendType.rowDescription where owed.request == .describeStatement,
            BackendType.noData where owed.request == .describeStatement:
            promiseChecked(type, body)
        case BackendType.dataRow where owed.request == .profile:
            profileRead(body, store)
        case BackendType.errorResponse:
            guard owed.request != .profile else { break }
            // The client's own Bind would fail alike; it is told so in its place.
            var dropped: [Pipeline.Owed] = []
            pipeline.failed { dropped.append($0) }
            for owed in dropped { drop(owed, store) }
            // In a segment of our own nothing of the client's has failed.
            if pipeline.first?.isInjected != true { injectionFailed(body) }
        case BackendType.readyForQuery:
            status = TransactionStatus(rawValue: body.count > 0 ? body[0] : 0) ?? .failed
            pipeline.removeFirst()
            if owed.request == .profile, standing == .unknown { bypass(.sessionState) }
            transactionMayHaveEnded(store)
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

    private mutating func profileRead(_ body: ByteView, _ store: CacheStore) {
        guard let row = body.textRow,
            let reading = Profile.parse(row: row, database: store.limits.database)
        else { return }
        standardConformingStrings = reading.profile.standardConformingStrings
        switch store.intern(reading) {
        case .cacheable(let number, let role):
            self.profile = number
            self.role = role
            if standing == .unknown { standing = .cacheable }
        case .bypass(let reason):
            bypass(reason)
        }
    }

    /// ParameterStatus: at log-in it tells the settings, later it tells that one has changed [K3].
    private mutating func parameterReported(_ body: ByteView, _ store: CacheStore) {
        guard let name = body.cString(at: 0), let value = body.cString(at: name.count + 1) else { return }
        guard reported.count < Session.reportedMax || reported[name.string] != nil else {
            bypass(.sessionState)
            return
        }
        let old = reported.updateValue(value.string, forKey: name.string)
        if state != .loggingIn, old != value.string, !Profile.isHarmlessParameterStatus(name.string) {
            bypass(.sessionState)
        }
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

    /// A RowDescription message with all formats as text; nil if this is none.
    ///
    /// A field has a name and 18 bytes, of which the last two are the format (manual, 55.7).
    var rowDescriptionAsText: [UInt8]? {
        guard count >= 7, self[0] == BackendType.rowDescription else { return nil }
        var plain = bytes
        var position = 7
        for _ in 0..<Int(uint16(at: 5)) {
            guard let name = cString(at: position), position + name.count + 19 <= count else { return nil }
            position += name.count + 19
            plain[position - 2] = 0
            plain[position - 1] = 0
        }
        return plain
    }

    /// The columns of a DataRow's body, all in text format; nil if it is malformed.
    var textRow: [String?]? {
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
        var reader = ByteReader(dropFirst(5))
        while let code = try? reader.uint8("field"), code != 0, let value = try? reader.cString("value") {
            if code == UInt8(ascii: "V") {
                return value.string == "FATAL" || value.string == "PANIC"
            }
        }
        return false
    }
}
