import CLoop
import Glibc

/// One non-blocking PGconn on the reactor: the real `PostgresLink`.
///
/// libpq does the protocol, the authentication and TLS; the reactor tells when its descriptor is ready. Nothing here
/// blocks: names are resolved before libpq sees them, and results are taken only when they are whole. libpq changes
/// its descriptor while it connects (next address, TLS refused), so it is released before every PQconnectPoll and
/// adopted again after (manual, 34.1).
///
/// ```
/// closed ─connect→ resolving ─→ connecting ─→ idle ⇄ asking ⇄ copying
///    ↑                 │             │          │
///    └────── lost ←────┴─────────────┴──────────┴→ starting ─→ streaming
/// ```
///
/// Invariants:
/// - A connection that is there is always polled for input, so that its loss is noticed while idle; only `pause` ends
///   that, until `resume`.
/// - `.lost` is the last event of a connection; PGconn is finished by then. `connect` may follow.
/// - No event is made from inside a public call other than `advance`, but for a failure to send, whose event is
///   announced with a `.ready` completion, since nobody would look for it otherwise.
///
/// Owner: the shell. Bounds: a connection attempt lasts `connectTimeoutNanoseconds`; an answer holds
/// `answerBytesMax`; of copy data one read of libpq per turn is turned into events, which is at most what libpq has
/// grown its buffer to: twice the longest row so far; unsent copy data is limited to `unsentBytesMax`.
public final class LibpqLink: PostgresLink {
    private enum State: Equatable {
        case closed, resolving, connecting, idle, asking, copying, starting, streaming
    }

    /// What a query has given so far.
    private struct Outcome {
        /// Of the statement that ended last.
        var rows: [[String?]] = []
        /// Of the statement that is under way.
        var arriving: [[String?]] = []
        var bytes = 0
        var failure: (state: String, message: String)?
    }

    private let reactor: Reactor
    private let resolver: NameResolver
    private let tag: UInt64
    /// For the whole of a connection attempt, all addresses; `connect_timeout` among the parameters wins.
    public var connectTimeoutNanoseconds: UInt64 = 10_000_000_000
    /// An answer with more bytes of values than this ends the connection.
    public var answerBytesMax = 256 << 20
    /// More copy data than this that the server does not take ends the connection.
    public static let unsentBytesMax = 1 << 20

    private var state = State.closed
    private var connection: OpaquePointer?
    private var socket = SocketID.none
    private var timer: TimerID?
    private var parameters: [(keyword: String, value: String)] = []
    private var name: NameResolver.Query?
    private var events: [LinkEvent] = []
    private var eventsTaken = 0
    private var outcome = Outcome()
    /// Copy data that libpq has not handed to the kernel yet, in bytes; an upper bound.
    private var unsentBytes = 0
    private var isPaused = false
    /// What the server said before it hung up, while nothing was asked.
    private var lastWords: (state: String, message: String)?

    public init(reactor: Reactor, resolver: NameResolver, tag: UInt64) {
        self.reactor = reactor
        self.resolver = resolver
        self.tag = tag
    }

    deinit { finish() }

    public var isIdle: Bool { state == .idle }
    public var serverVersion: Int32 { connection.map { PQserverVersion($0) } ?? 0 }
    public var backendProcess: Int32 { connection.map { PQbackendPID($0) } ?? 0 }

    public func nextEvent() -> LinkEvent? {
        guard eventsTaken < events.count else { return nil }
        let event = events[eventsTaken]
        eventsTaken += 1
        if eventsTaken == events.count {
            events.removeAll(keepingCapacity: true)
            eventsTaken = 0
        }
        return event
    }

    // MARK: - Connecting

    public func connect(_ parameters: [(keyword: String, value: String)]) {
        precondition(state == .closed, "connects once at a time")
        self.parameters = parameters
        lastWords = nil
        unsentBytes = 0
        isPaused = false
        let limit = value("connect_timeout").flatMap { UInt64($0) } ?? 0
        timer = reactor.startTimer(
            nanoseconds: limit > 0 && limit < 100_000
                ? limit * 1_000_000_000 : connectTimeoutNanoseconds,
            tag: tag)
        let host = value("host") ?? ""
        if host.contains(",") {
            state = .connecting
            announce(.lost(state: "", message: "several hosts in one connection: \(host)"))
            finish()
        } else if host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@")
            || value("hostaddr") != nil
        {
            start()
        } else {
            state = .resolving
            name = resolver.resolve(host, port: 0, tag: tag)
        }
    }

    private func value(_ keyword: String) -> String? {
        parameters.last { $0.keyword == keyword && !$0.value.isEmpty }?.value
    }

    private func nameAnswered() {
        guard let name, let answer = resolver.takeAnswer(name) else { return }
        self.name = nil
        switch answer {
        case .failed(let reason):
            lose("", "could not resolve \(value("host") ?? ""): \(reason)")
        case .found(let addresses):
            // libpq tries them in turn; it wants as many hosts as addresses.
            let numbers = addresses.compactMap { address in
                if case .tcp(let text, _) = address { text } else { nil }
            }
            let host = value("host") ?? ""
            parameters.removeAll { $0.keyword == "host" }
            parameters.append(("host", numbers.map { _ in host }.joined(separator: ",")))
            parameters.append(("hostaddr", numbers.joined(separator: ",")))
            start()
        }
    }

    private func start() {
        // Looking for Kerberos credentials reads files and may ask the network; only on demand.
        if value("gssencmode") == nil { parameters.append(("gssencmode", "disable")) }
        let keywords = CStrings(parameters.map { $0.keyword })
        let values = CStrings(parameters.map { $0.value })
        state = .connecting
        connection = withExtendedLifetime((keywords, values)) {
            PQconnectStartParams(keywords.constant, values.constant, 0)
        }
        guard let connection else { return loseSoon("", "out of memory") }
        guard PQstatus(connection) != CONNECTION_BAD else { return loseSoon("", errorText()) }
        // The only way libpq tells the SQLSTATE of a refused connection is inside its text.
        _ = PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        PQsetNoticeReceiver(
            connection,
            { link, notice in
                guard let link, let notice else { return }
                Unmanaged<LibpqLink>.fromOpaque(link).takeUnretainedValue().noticed(notice)
            }, Unmanaged.passUnretained(self).toOpaque())
        // "As if the last PQconnectPoll had returned PGRES_POLLING_WRITING" (manual, 34.1).
        watch(.writable)
    }

    private func advanceConnecting() {
        guard let connection else { return }
        release()
        switch PQconnectPoll(connection) {
        case PGRES_POLLING_READING: watch(.readable)
        case PGRES_POLLING_WRITING: watch(.writable)
        case PGRES_POLLING_OK:
            cancelTimer()
            _ = PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
            guard PQsetnonblocking(connection, 1) == 0 else { return lose("", errorText()) }
            state = .idle
            watch(.readable)
            if state == .idle { events.append(.connected) }
        default:
            let (state, message) = Self.sqlState(in: errorText())
            lose(state, message)
        }
    }

    /// Takes the SQLSTATE out of `FATAL:  3D000: database "x" does not exist` and drops the LOCATION line.
    static func sqlState(in text: String) -> (state: String, message: String) {
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("LOCATION:") }
        var state = ""
        var kept: [String] = []
        for line in lines {
            let bytes = Array(line.utf8)
            var plain = String(line)
            var place = 0
            while place + 9 < bytes.count {
                let code = bytes[(place + 3)..<(place + 8)]
                if bytes[place] == UInt8(ascii: ":"), bytes[place + 1] == UInt8(ascii: " "),
                    bytes[place + 2] == UInt8(ascii: " "), bytes[place + 8] == UInt8(ascii: ":"),
                    bytes[place + 9] == UInt8(ascii: " "), code.allSatisfy(isStateByte)
                {
                    state = String(decoding: code, as: UTF8.self)
                    plain = String(
                        decoding: bytes[...(place + 2)] + bytes[(place + 10)...], as: UTF8.self)
                    break
                }
                place += 1
            }
            kept.append(plain)
        }
        return (state, kept.joined(separator: "\n"))
    }

    private static func isStateByte(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    // MARK: - Asking

    public func query(_ sql: String, _ parameters: [String?]) {
        guard let connection else { return }  // lost; its event says so
        precondition(state == .idle, "one query at a time")
        outcome = Outcome()
        state = .asking
        let values = CStrings(parameters)
        let sent = withExtendedLifetime(values) {
            parameters.isEmpty
                ? PQsendQuery(connection, sql)
                : PQsendQueryParams(
                    connection, sql, Int32(parameters.count), nil, values.constant, nil, nil, 0)
        }
        guard sent == 1 else { return loseSoon("", errorText()) }
        // Row by row, so that an answer that is too large is noticed before it is all in memory.
        _ = PQsetSingleRowMode(connection)
        flush()
    }

    public func startReplication(_ sql: String) {
        guard let connection else { return }
        precondition(state == .idle, "one query at a time")
        outcome = Outcome()
        state = .starting
        guard PQsendQuery(connection, sql) == 1 else { return loseSoon("", errorText()) }
        flush()
    }

    public func sendCopyData(_ bytes: [UInt8]) {
        guard let connection, state == .streaming else { return }
        let result = bytes.withUnsafeBytes { room in
            PQputCopyData(
                connection, room.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(room.count))
        }
        unsentBytes += bytes.count
        guard result == 1 else { return loseSoon("", errorText()) }
        flush()
        if unsentBytes > Self.unsentBytesMax {
            loseSoon("", "the server does not take what it is sent")
        }
    }

    /// Writes what libpq holds back; waits for room where the socket is full.
    private func flush() {
        guard let connection else { return }
        let input: Readiness = isPaused ? [] : .readable
        switch PQflush(connection) {
        case 0:
            unsentBytes = 0
            reactor.poll(socket, input)
        case 1: reactor.poll(socket, input.union(.writable))
        default:
            // The server may have said why before it hung up: read first.
            isPaused = false
            reactor.poll(socket, .readable)
            announceReady()
        }
    }

    public func pause() { isPaused = true }

    public func resume() {
        guard isPaused else { return }
        isPaused = false
        guard connection != nil, state != .connecting else { return }
        flush()
        // Of an encrypted connection libpq may hold what the socket does not show any more.
        announceReady()
    }

    public func close() {
        events = []
        eventsTaken = 0
        finish()
    }

    /// Gives the socket of an idle connection away, to somebody who speaks the protocol there from now on. The link is
    /// closed by that, and the server is told nothing.
    /// - Throws: EOPNOTSUPP when the connection is encrypted: what goes over it is libpq's.
    public func takeDescriptor() throws(SystemError) -> Int32 {
        precondition(state == .idle, "only an idle connection is given away")
        defer { close() }
        guard let connection, PQsslInUse(connection) == 0 else {
            throw SystemError(EOPNOTSUPP, "take a connection over from libpq")
        }
        release()
        // PQfinish says goodbye and closes: on another socket, which this puts in the place of the connection's.
        return try Syscalls.check(cloop_detach(PQsocket(connection)), "take a connection over from libpq")
    }

    // MARK: - Completions

    public func advance(_ completion: Completion) {
        switch completion.kind {
        case .timer:
            timer = nil
            if state == .resolving || state == .connecting {
                lose("", "the connection attempt took too long")
            }
        case .ready:
            if state == .resolving { return nameAnswered() }
            guard connection != nil,
                completion.socket == socket || completion.socket == .none
            else { return }
            if state == .connecting { advanceConnecting() } else { exchange() }
        case .accepted, .connected, .received, .sent, .closed, .signal, .exited: return
        }
    }

    /// Reads once, takes what is whole, writes what waits.
    private func exchange() {
        guard let connection else { return }
        if isPaused { return flush() }
        var isThere = PQconsumeInput(connection) == 1
        takeInput()
        if isThere, self.connection != nil, PQsslInUse(connection) == 1 {
            // libpq reads as much of a TLS record as it has room for, 8 kB at least, and servers from PostgreSQL 17 on
            // make larger ones. The socket does not show the rest, which fits now.
            isThere = PQconsumeInput(connection) == 1
            takeInput()
        }
        guard self.connection != nil else { return }
        guard isThere, PQstatus(connection) != CONNECTION_BAD else {
            let words = outcome.failure ?? lastWords ?? ("", errorText())
            return lose(words.state, words.message)
        }
        flush()
    }

    /// What libpq has read, as far as it is whole.
    private func takeInput() {
        dropNotifications()
        switch state {
        case .asking, .starting: takeResults()
        case .copying:
            takeCopyData()
            if state == .asking { takeResults() }
        case .streaming: takeCopyData()
        // Parses what an idle server says: parameters, notices, its last words.
        case .idle: if let connection { _ = PQisBusy(connection) }
        case .closed, .resolving, .connecting: return
        }
    }

    private func takeResults() {
        while let connection, state == .asking || state == .starting, PQisBusy(connection) == 0 {
            guard let result = PQgetResult(connection) else {
                if PQstatus(connection) != CONNECTION_BAD { endQuery() }
                return
            }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_SINGLE_TUPLE:
                takeRow(result)
                guard outcome.bytes <= answerBytesMax else {
                    return lose("", "an answer of more than \(answerBytesMax) bytes")
                }
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                takeRow(result)
                outcome.rows = outcome.arriving
                outcome.arriving = []
            case PGRES_COPY_BOTH where state == .starting:
                // From here PQgetResult would give this result again and again.
                state = .streaming
                events.append(.streaming)
                return takeCopyData()
            case PGRES_COPY_OUT where state == .asking:
                state = .copying
                events.append(.streaming)
                takeCopyData()
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                return lose("", "a COPY where rows were expected")
            default:
                if outcome.failure == nil { outcome.failure = Self.failure(result) }
            }
        }
    }

    private func endQuery() {
        let outcome = self.outcome
        self.outcome = Outcome()
        state = .idle
        if let failure = outcome.failure {
            events.append(.failed(state: failure.state, message: failure.message))
        } else {
            events.append(.answered(outcome.rows))
        }
    }

    private func takeCopyData() {
        while let connection {
            var message: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(connection, &message, 1)
            if count > 0, let message {
                let bytes = UnsafeRawBufferPointer(start: message, count: Int(count))
                events.append(.copyData(Array(bytes)))
                PQfreemem(message)
                continue
            }
            if count == 0 { return }
            if state == .copying, count == -1 {
                // How it ended is a result like any other.
                state = .asking
                return
            }
            // -1: the copy has ended, perhaps with an error; it has been read, so PQgetResult does not block.
            if count == -1, PQisBusy(connection) == 0, let result = PQgetResult(connection) {
                defer { PQclear(result) }
                if PQresultStatus(result) == PGRES_FATAL_ERROR {
                    let (state, message) = Self.failure(result)
                    return lose(state, message)
                }
                return lose("", "the server ended the stream")
            }
            return lose("", errorText())
        }
    }

    private func dropNotifications() {
        guard let connection else { return }
        while let notification = PQnotifies(connection) { PQfreemem(notification) }
    }

    /// Notices are of no use here, but for the FATAL that an idle server sends before it hangs up.
    private func noticed(_ notice: OpaquePointer) {
        let severity = Self.field(notice, "V")
        guard severity == "FATAL" || severity == "PANIC" else { return }
        lastWords = Self.failure(notice)
    }

    /// The rows of one result: one, or none at the end of a statement.
    private func takeRow(_ result: OpaquePointer) {
        let columns = PQnfields(result)
        for row in 0..<PQntuples(result) {
            var values: [String?] = []
            values.reserveCapacity(Int(columns))
            for column in 0..<columns {
                guard PQgetisnull(result, row, column) == 0,
                    let value = PQgetvalue(result, row, column)
                else {
                    values.append(nil)
                    continue
                }
                let length = Int(PQgetlength(result, row, column))
                let bytes = UnsafeRawBufferPointer(start: value, count: length)
                values.append(String(decoding: bytes, as: UTF8.self))
                outcome.bytes += length
            }
            outcome.arriving.append(values)
            // A row of nothing is not free either.
            outcome.bytes += 16 * (Int(columns) + 1)
        }
    }

    private static func failure(_ result: OpaquePointer) -> (state: String, message: String) {
        let message = field(result, "M")
        guard message.isEmpty else { return (field(result, "C"), message) }
        let text = PQresultErrorMessage(result).map { String(cString: $0) } ?? ""
        return (field(result, "C"), trimmed(text))
    }

    /// A field of an error by its code in the protocol (manual, 55.8).
    private static func field(_ result: OpaquePointer, _ code: Unicode.Scalar) -> String {
        guard let text = PQresultErrorField(result, Int32(code.value)) else { return "" }
        return String(cString: text)
    }

    private func errorText() -> String {
        guard let connection, let text = PQerrorMessage(connection) else { return "" }
        return Self.trimmed(String(cString: text))
    }

    private static func trimmed(_ text: String) -> String {
        var text = text
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }

    // MARK: - Ends

    private func watch(_ interest: Readiness) {
        guard let connection else { return }
        do throws(SystemError) {
            socket = try reactor.adopt(PQsocket(connection), tag: tag)
            reactor.poll(socket, interest)
        } catch {
            loseSoon("", error.description)
        }
    }

    private func release() {
        guard socket != .none else { return }
        reactor.release(socket)
        socket = .none
    }

    private func cancelTimer() {
        if let timer { reactor.cancelTimer(timer) }
        timer = nil
    }

    private func finish() {
        cancelTimer()
        release()
        if let name { resolver.cancel(name) }
        name = nil
        if let connection { PQfinish(connection) }
        connection = nil
        state = .closed
        outcome = Outcome()
    }

    private func lose(_ state: String, _ message: String) {
        finish()
        events.append(.lost(state: state, message: message))
    }

    /// Loses the connection outside of `advance`: a completion makes the owner look.
    private func loseSoon(_ state: String, _ message: String) {
        finish()
        announce(.lost(state: state, message: message))
    }

    private func announce(_ event: LinkEvent) {
        events.append(event)
        announceReady()
    }

    private func announceReady() {
        reactor.enqueue(
            Completion(
                kind: .ready, socket: .none, tag: tag, result: Readiness.readable.rawValue))
    }
}
