import PGProtocol

@testable import Cache

/// A PostgreSQL as far as the protocol goes (manual, 55.2): it knows prepared statements, portals,
/// transaction blocks and COPY in, answers every message, and skips to Sync after an error.
///
/// What a text does is decided by its first word; what a SELECT returns, by its text and its Bind
/// alone, so that every session and the cache must see the same bytes. Deterministic: the same bytes
/// get the same answer however they are cut.
struct ModelOrigin {
    private struct Portal {
        var text: [UInt8]
        var tail: [UInt8]
        var rowsSent = 0
        /// It was executed without a limit.
        var isSpent = false
    }

    /// How COPY in ends: a simple one with ReadyForQuery.
    private enum Copying { case no, simple, extended }

    private var unread: [UInt8] = []
    private var statements: [[UInt8]: [UInt8]] = [:]
    private var portals: [[UInt8]: Portal] = [:]
    private var status = TransactionStatus.idle
    private var isSkipping = false
    private var copying = Copying.no
    private var output: [UInt8] = []
    /// It ended the session, or the client did.
    private(set) var isGone = false
    /// The type of the last whole message.
    private(set) var lastType: UInt8 = 0

    /// How much of the answer came before the unnamed portal was used again although it was run to its end. A
    /// hit leaves no portal behind, and the session does not make up for that: no driver does such a thing.
    private(set) var bytesBeforeSpentPortal: Int?

    /// Nothing of a message is left over.
    var isBetweenMessages: Bool { unread.isEmpty }

    private static let rowsOfSelect = 2

    /// What it says to these bytes.
    mutating func heard(_ bytes: [UInt8]) -> [UInt8] {
        unread += bytes
        var position = 0
        while !isGone, unread.count - position >= 5 {
            let length = withView(unread) { Int($0.uint32(at: position + 1)) }
            guard length >= 4, length < 1 << 30 else {
                isGone = true
                break
            }
            guard unread.count - position >= 1 + length else { break }
            lastType = unread[position]
            answer(lastType, Array(unread[position + 5..<position + 1 + length]))
            position += 1 + length
        }
        if isGone { position = unread.count }
        unread.removeFirst(position)
        defer { output = [] }
        return output
    }

    private mutating func answer(_ type: UInt8, _ body: [UInt8]) {
        if copying != .no { return copy(type) }
        if isSkipping, type != FrontendType.sync, type != FrontendType.terminate { return }
        switch type {
        case FrontendType.query: query(body)
        case FrontendType.functionCall:
            output += OriginMessages.message(BackendType.functionCallResponse) { $0.uint32(.max) }
            ready()
        case FrontendType.parse: parse(body)
        case FrontendType.bind: bind(body)
        case FrontendType.describe: describe(body)
        case FrontendType.execute: execute(body)
        case FrontendType.close: close(body)
        case FrontendType.flush: if !body.isEmpty { refuse("08P01") }
        case FrontendType.sync:
            isSkipping = false
            if !body.isEmpty { fail("08P01") }
            ready()
        case FrontendType.copyData, FrontendType.copyDone, FrontendType.copyFail: break
        default: isGone = true
        }
    }

    private mutating func ready() {
        if status == .idle { portals.removeAll() }
        output += OriginMessages.ready(status.rawValue)
    }

    private mutating func fail(_ state: String) {
        output += OriginMessages.error(state)
        if status == .inTransaction { status = .failed }
    }

    /// An error in the extended protocol.
    private mutating func refuse(_ state: String) {
        fail(state)
        isSkipping = true
    }

    // MARK: - COPY in

    private mutating func copy(_ type: UInt8) {
        let wasSimple = copying == .simple
        switch type {
        case FrontendType.copyData, FrontendType.flush, FrontendType.sync: return
        case FrontendType.copyDone:
            copying = .no
            output += OriginMessages.commandComplete("COPY 1")
        case FrontendType.copyFail:
            copying = .no
            if wasSimple { fail("57014") } else { refuse("57014") }
        default:
            isGone = true
            return
        }
        if wasSimple { ready() }
    }

    // MARK: - Statements

    private enum Work { case nothing, select, begin, end, copy, set, command, failure }

    private static func work(_ text: [UInt8]) -> (work: Work, isNoticed: Bool) {
        let words = text.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }
        let start = words.firstIndex { $0 > 0x20 } ?? words.count
        let end = words[start...].firstIndex { $0 <= 0x20 || $0 == UInt8(ascii: ";") } ?? words.count
        let isNoticed = words.holds("notice")
        if words.holds("fail") { return (.failure, isNoticed) }
        return switch String(decoding: words[start..<end], as: UTF8.self) {
        case "": (.nothing, isNoticed)
        case "select", "values", "with", "table", "show": (.select, isNoticed)
        case "begin", "start": (.begin, isNoticed)
        case "commit", "end", "rollback", "abort": (.end, isNoticed)
        case "copy": (.copy, isNoticed)
        case "set": (.set, isNoticed)
        default: (.command, isNoticed)
        }
    }

    private mutating func query(_ body: [UInt8]) {
        statements[[]] = nil
        portals[[]] = nil
        guard body.last == 0, !body.dropLast().contains(0) else {
            fail("08P01")
            return ready()
        }
        let text = Array(body.dropLast())
        if text == Self.settingsQuestion {
            output += Self.settingsAnswer
            return ready()
        }
        let (work, isNoticed) = Self.work(text)
        if status == .failed, work != .end {
            fail("25P02")
            return ready()
        }
        if isNoticed { output += OriginMessages.notice }
        switch work {
        case .copy:
            output += OriginMessages.copyIn
            copying = .simple
            return
        case .select:
            output += Self.description(text, format: 0)
            var portal = Portal(text: text, tail: [])
            rows(&portal, limit: 0)
        case .failure: fail("42P01")
        case .nothing: output += OriginMessages.message(BackendType.emptyQueryResponse)
        case .begin, .end, .set, .command: perform(work)
        }
        ready()
    }

    private mutating func perform(_ work: Work) {
        switch work {
        case .begin: status = .inTransaction
        case .end: status = .idle
        case .set: output += OriginMessages.parameterStatus("TimeZone", "Europe/Paris")
        case .nothing, .select, .copy, .command, .failure: break
        }
        output += OriginMessages.commandComplete("DONE")
    }

    private mutating func parse(_ body: [UInt8]) {
        guard let (name, rest) = body.cString, let (text, types) = rest.cString, types.count >= 2,
            types.count == 2 + 4 * (Int(types[types.startIndex]) << 8 | Int(types[types.startIndex + 1]))
        else { return refuse("08P01") }
        // The old one is gone whatever becomes of the new one (postgres.c, exec_parse_message).
        if name.isEmpty { statements[name] = nil }
        let (work, isNoticed) = Self.work(text)
        if status == .failed, work != .end { return refuse("25P02") }
        if work == .failure { return refuse("42P01") }
        if !name.isEmpty, statements[name] != nil { return refuse("42P05") }
        if isNoticed { output += OriginMessages.notice }
        statements[name] = text
        output += OriginMessages.message(BackendType.parseComplete)
    }

    private mutating func bind(_ body: [UInt8]) {
        guard let (portal, rest) = body.cString, let (name, tail) = rest.cString,
            withView(Array(tail), { (try? BindTail($0)) != nil })
        else { return refuse("08P01") }
        guard let text = statements[name] else { return refuse("26000") }
        if status == .failed, Self.work(text).work != .end { return refuse("25P02") }
        if !portal.isEmpty, portals[portal] != nil { return refuse("42P03") }
        portals[portal] = Portal(text: text, tail: Array(tail))
        output += OriginMessages.message(BackendType.bindComplete)
    }

    private mutating func describe(_ body: [UInt8]) {
        guard let kind = body.first, let (name, rest) = body.dropFirst().cString, rest.isEmpty else {
            return refuse("08P01")
        }
        switch kind {
        case UInt8(ascii: "S"):
            guard let text = statements[name] else { return refuse("26000") }
            if status == .failed, Self.work(text).work == .select { return refuse("25P02") }
            output += OriginMessages.message(BackendType.parameterDescription) { $0.uint16(0) }
                + Self.description(text, format: 0)
        case UInt8(ascii: "P"):
            guard let portal = portals[name] else { return refuse("34000") }
            noteUse(name, portal)
            if status == .failed, Self.work(portal.text).work == .select { return refuse("25P02") }
            output += Self.description(portal.text, format: Self.format(portal))
        default: refuse("08P01")
        }
    }

    private mutating func execute(_ body: [UInt8]) {
        guard let (name, rest) = body.cString, rest.count == 4 else { return refuse("08P01") }
        guard var portal = portals[name] else { return refuse("34000") }
        noteUse(name, portal)
        let limit = rest.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let (work, isNoticed) = Self.work(portal.text)
        if status == .failed, work != .end { return refuse("25P02") }
        if isNoticed { output += OriginMessages.notice }
        switch work {
        case .copy:
            output += OriginMessages.copyIn
            copying = .extended
        case .select:
            portal.isSpent = limit == 0
            rows(&portal, limit: limit)
            portals[name] = portal
        case .nothing: output += OriginMessages.message(BackendType.emptyQueryResponse)
        case .begin, .end, .set, .command, .failure: perform(work)
        }
    }

    private mutating func noteUse(_ name: [UInt8], _ portal: Portal) {
        if name.isEmpty, portal.isSpent, bytesBeforeSpentPortal == nil { bytesBeforeSpentPortal = output.count }
    }

    private mutating func close(_ body: [UInt8]) {
        guard let kind = body.first, let (name, rest) = body.dropFirst().cString, rest.isEmpty else {
            return refuse("08P01")
        }
        switch kind {
        case UInt8(ascii: "S"): statements[name] = nil
        case UInt8(ascii: "P"): portals[name] = nil
        default: return refuse("08P01")
        }
        output += OriginMessages.message(BackendType.closeComplete)
    }

    // MARK: - Rows

    private static func format(_ portal: Portal) -> UInt16 {
        withView(portal.tail) { (try? BindTail($0))?.resultFormat(of: 0)?.rawValue ?? 0 }
    }

    private static func description(_ text: [UInt8], format: UInt16) -> [UInt8] {
        guard work(text).work == .select else { return OriginMessages.message(BackendType.noData) }
        return OriginMessages.rowDescription(["id"], format: format)
    }

    private mutating func rows(_ portal: inout Portal, limit: UInt32) {
        var sum: UInt32 = 2_166_136_261
        for byte in portal.text + portal.tail { sum = (sum ^ UInt32(byte)) &* 16_777_619 }
        let isBinary = Self.format(portal) == 1
        var sent: UInt32 = 0
        while portal.rowsSent < Self.rowsOfSelect, limit == 0 || sent < limit {
            let value = sum % 1000 + UInt32(portal.rowsSent)
            output += OriginMessages.message(BackendType.dataRow) { body in
                body.uint16(1)
                let text = Array(String(value).utf8)
                body.uint32(isBinary ? 4 : UInt32(text.count))
                if isBinary { body.uint32(value) } else { body.append(text) }
            }
            portal.rowsSent += 1
            sent += 1
        }
        output += limit > 0 && sent == limit
            ? OriginMessages.message(BackendType.portalSuspended)
            : OriginMessages.commandComplete("SELECT \(sent)")
    }

    /// The question for a session's settings.
    private static let settingsQuestion = Array(Profile.readSQL.utf8)
    private static let settingsAnswer: [UInt8] = {
        let values = Profile.settings.map { setting -> String? in
            switch setting {
            case "client_encoding": "UTF8"
            case "standard_conforming_strings": "on"
            case "TimeZone": "UTC"
            default: "default"
            }
        }
        let row: [String?] = [
            "shop", "app", "app", "{pg_catalog,public}", "read committed", "read committed", "off", "origin", "0",
            "UTF8", "public",
        ]
        return OriginMessages.rowDescription([], format: 0) + OriginMessages.textRow(row + values)
            + OriginMessages.commandComplete("SELECT 1")
    }()
}

extension RandomAccessCollection<UInt8> where Index == Int {
    /// The bytes up to a NUL and what is behind it; nil without one.
    var cString: (text: [UInt8], rest: SubSequence)? {
        guard let end = firstIndex(of: 0) else { return nil }
        return (Array(self[startIndex..<end]), self[(end + 1)...])
    }

    func holds(_ word: StaticString) -> Bool {
        let letters = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard count >= letters.count else { return false }
        return (startIndex...endIndex - letters.count).contains { self[$0...].starts(with: letters) }
    }
}
