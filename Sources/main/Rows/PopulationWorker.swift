import Cache
import Loop
import PGProtocol

/// Copies rows from the origin into a table of their own in the cache database, one population at a time.
///
///     idle ─begin→ opening (table, COPY FROM) ─→ copying ─origin ends→ ending ─→ idle: loaded
///                                                    └─too large, error, cancelled→ ending ─→ idle: failed
///
/// The bytes of COPY go from one connection to the other as they came. Both connections stay for the next one; that to
/// the origin is made when it is needed.
///
/// Owner: the cache database. Bounds: what a plan allows; what waits to be sent, by pausing the origin.
final class PopulationWorker {
    enum Event {
        /// With the bytes that were copied.
        case loaded(PopulationID, Int, FirstRowsReach?)
        case failed(PopulationID, PopulationFailure)
        /// Without its connection to the cache database it is of no use.
        case lost(String)
    }
    private enum State {
        case idle
        case opening
        case copying
        /// The cache database answers the end of its COPY.
        case ending(PopulationFailure?)
    }
    private enum Request {
        case create
        case copy
        case drop
    }

    /// More that the cache database has not taken, and the origin waits.
    private static let unsentBytesMax = 4 << 20
    private static let chunkBytes = 64 << 10

    private let origin: any PostgresLink
    private let cache: CacheLink
    private let originParameters: [(keyword: String, value: String)]
    private var state = State.idle
    private var plan: PopulationPlan?
    private var sql: CacheSQL?
    private var bytes = 0
    /// Where first rows are copied.
    private var reach: FirstRowsReach?
    private var buffer = ByteWriter()
    private var isPaused = false
    private var isOriginConnected = false
    private var isConnecting = false
    /// The origin's COPY goes on although nobody wants it any more: the connection is ended instead.
    private var conversation = CacheConversation<Request>()
    private var failure: String?
    private var events: [Event] = []

    init(origin: any PostgresLink, cache: CacheLink, originParameters: [(keyword: String, value: String)]) {
        self.origin = origin
        self.cache = cache
        self.originParameters = originParameters
    }

    var isIdle: Bool {
        if case .idle = state { cache.isOpen && conversation.isEmpty } else { false }
    }
    var current: PopulationID? {
        if case .idle = state { nil } else { plan?.id }
    }

    func start(_ parameters: [(keyword: String, value: String)]) { cache.connect(parameters) }

    func close() {
        cache.close()
        closeOrigin()
        conversation.removeAll()
        events.removeAll()
        buffer = ByteWriter()
        failure = nil
        state = .idle
    }

    private func closeOrigin() {
        origin.close()
        isOriginConnected = false
        isConnecting = false
        isPaused = false
    }

    func nextEvent() -> Event? { events.isEmpty ? nil : events.removeFirst() }

    func flush() { cache.flush() }

    /// - Precondition: it is idle.
    func begin(_ plan: PopulationPlan, _ sql: CacheSQL) {
        self.plan = plan
        self.sql = sql
        bytes = 0
        reach = plan.first == nil ? nil : FirstRowsReach()
        failure = nil
        state = .opening
        send(.create, CacheSQL.query("CREATE UNLOGGED TABLE \(CacheSQL.staging(plan.id)) (LIKE \(sql.name))"))
        send(.copy, CacheSQL.query("COPY \(CacheSQL.staging(plan.id)) (\(sql.columnList)) FROM STDIN"))
        if !isOriginConnected, !isConnecting {
            isConnecting = true
            origin.connect(originParameters)
        }
    }

    private func send(_ request: Request, _ bytes: [UInt8]) {
        conversation.sent(request)
        cache.send(bytes)
    }

    /// Nobody wants it any more.
    func cancel() { end(.failed("cancelled")) }

    /// The copy leads to nothing.
    private func end(_ failure: PopulationFailure) {
        switch state {
        case .opening:
            // COPY is answered before it can be ended.
            state = .ending(failure)
        case .copying:
            closeOrigin()
            failCopy()
            state = .ending(failure)
        case .idle, .ending: break
        }
    }

    private func failCopy() {
        buffer = ByteWriter()
        var writer = ByteWriter()
        writer.message(FrontendType.copyFail) { $0.cString("of no use") }
        cache.send(writer.bytes)
    }

    func advance(_ completion: Completion, isOrigin: Bool) {
        if isOrigin {
            origin.advance(completion)
            while let event = origin.nextEvent() { originEvent(event) }
        } else {
            cache.advance(completion)
            while let event = cache.nextEvent() { cacheEvent(event) }
            if isPaused, cache.unsentBytes < Self.unsentBytesMax / 2 {
                isPaused = false
                origin.resume()
            }
        }
    }

    // MARK: - The origin

    private func originEvent(_ event: LinkEvent) {
        switch event {
        case .connected:
            isConnecting = false
            isOriginConnected = true
            if case .copying = state { copyOut() }
        case .lost(_, let message):
            closeOrigin()
            end(.failed(message))
        case .failed(_, let message): end(.failed(message))
        case .streaming: break
        case .copyData(let data): copied(data)
        case .answered:
            guard case .copying = state else { return }
            sendBuffer()
            var writer = ByteWriter()
            writer.message(FrontendType.copyDone) { _ in }
            cache.send(writer.bytes)
            state = .ending(nil)
        }
    }

    private func copyOut() {
        guard let plan, let sql else { return }
        let condition = plan.condition.map { " WHERE \($0)" } ?? ""
        let first = plan.first.map { " ORDER BY \($0.order) LIMIT \($0.countMax)" } ?? ""
        origin.query("COPY (SELECT \(sql.columnList) FROM ONLY \(sql.name)\(condition)\(first)) TO STDOUT", [])
    }

    private func copied(_ data: [UInt8]) {
        guard case .copying = state, let plan else { return }
        bytes += data.count
        guard bytes <= plan.bytesMax else { return end(.tooLarge) }
        if let first = plan.first, let position = sql?.table.columns.firstIndex(of: first.column) {
            reach?.append(Self.value(data, position))
        }
        buffer.message(FrontendType.copyData) { $0.append(data) }
        if buffer.bytes.count >= Self.chunkBytes { sendBuffer() }
        if cache.unsentBytes > Self.unsentBytesMax, !isPaused {
            isPaused = true
            origin.pause()
        }
    }

    /// Of a row as COPY writes it (manual, COPY, "Text Format"), for types whose values it writes as they are.
    private static func value(_ row: [UInt8], _ position: Int) -> [UInt8]? {
        let values = row.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
        guard values.indices.contains(position) else { return nil }
        let value = values[position].prefix { $0 != UInt8(ascii: "\n") }
        return value.elementsEqual("\\N".utf8) ? nil : Array(value)
    }

    private func sendBuffer() {
        if !buffer.bytes.isEmpty { cache.send(buffer.bytes) }
        buffer = ByteWriter()
    }

    // MARK: - The cache database

    private func cacheEvent(_ event: CacheLink.Event) {
        switch event {
        case .connected: break
        case .lost(let reason): events.append(.lost(reason))
        case .received(let bytes):
            for reply in CacheReply.all(bytes) {
                switch reply {
                case .messages(let messages): cacheAnswered(messages)
                case .ended: if let request = conversation.ended() { cacheEnded(request) }
                }
            }
        }
    }

    private func cacheAnswered(_ messages: ArraySlice<UInt8>) {
        for message in CacheMessage.all(messages) {
            switch message.type {
            case BackendType.errorResponse: failure = message.error.message
            case BackendType.copyInResponse:
                if case .ending = state { return failCopy() }
                state = .copying
                if isOriginConnected { copyOut() }
            default: break
            }
        }
    }

    private func cacheEnded(_ request: Request) {
        guard case .copy = request, let plan else { return }
        var outcome: PopulationFailure?
        if case .ending(let failure) = state { outcome = failure }
        if outcome == nil, let failure { outcome = .failed(failure) }
        // It ended before it was told to.
        if outcome == nil, case .copying = state { outcome = .failed("its copy ended early") }
        if case .copying = state { closeOrigin() }
        failure = nil
        state = .idle
        guard let outcome else {
            events.append(.loaded(plan.id, bytes, reach))
            return
        }
        send(.drop, CacheSQL.query("DROP TABLE IF EXISTS \(CacheSQL.staging(plan.id))"))
        events.append(.failed(plan.id, outcome))
    }
}
