import PGProtocol

/// What one connection of the load says, and how it knows that it was answered.
///
/// A request is built once per connection; only the digits of its keys change from one request to the
/// next, so that all peers cost the load the same. Keys have `keyDigits` digits, so sizes are constant.
struct Dialogue {
    enum Wire: String { case simple, prepared, redis, echo }
    /// Stands for the key in the text; as long as a key.
    static let keyMark = "######"
    /// Stands for the last key of a range that begins with the key.
    static let lastKeyMark = "@@@@@@"
    static let keyDigits = keyMark.utf8.count

    /// With marks for its keys, which begin at the offsets; negative: there is none.
    struct Request {
        var bytes: [UInt8] = []
        var keyOffset = -1
        var lastKeyOffset = -1

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            keyOffset = offset(of: Dialogue.keyMark)
            lastKeyOffset = offset(of: Dialogue.lastKeyMark)
        }
        private func offset(of mark: String) -> Int {
            let mark = Array(mark.utf8)
            return bytes.indices.first { bytes[$0...].starts(with: mark) } ?? -1
        }
    }

    let wire: Wire
    /// Sent one after the other before the first request, each until ReadyForQuery.
    private(set) var greetings: [[UInt8]] = []
    private(set) var read = Request([])
    /// What a round asks for in its share of writes.
    private(set) var write: Request?
    /// Bytes of an answer where the wire does not tell (echo, Redis).
    private let responseBytes: Int

    /// - Parameters:
    ///   - text: SQL, or the key of Redis, with marks where the digits go.
    ///   - writeText: SQL without an answer; empty: there are no writes.
    init(
        _ wire: Wire, text: String, writeText: String = "", requestBytes: Int, responseBytes: Int
    ) throws(UsageError) {
        self.wire = wire
        self.responseBytes = responseBytes
        switch wire {
        case .simple:
            greetings = [Self.startup()]
            read = Request(Self.query(text))
            if !writeText.isEmpty { write = Request(Self.query(writeText)) }
        case .prepared:
            greetings = [Self.startup(), Self.parse(text, name: "s")]
            read = Request(Self.execute(text, name: "s"))
            if !writeText.isEmpty {
                greetings.append(Self.parse(writeText, name: "w"))
                write = Request(Self.execute(writeText, name: "w"))
            }
        case .redis: read = Request(Array("*2\r\n$3\r\nGET\r\n$\(text.utf8.count)\r\n\(text)\r\n".utf8))
        case .echo:
            guard requestBytes >= 4, requestBytes <= 4096, responseBytes <= 65535 else {
                throw UsageError("an echo takes 4...4096 bytes and gives up to 65535")
            }
            read = Request([
                UInt8(requestBytes & 255), UInt8(requestBytes >> 8),
                UInt8(responseBytes & 255), UInt8(responseBytes >> 8),
            ] + [UInt8](repeating: UInt8(ascii: "q"), count: requestBytes - 4))
        }
        if wire != .echo, read.keyOffset < 0 { throw UsageError("no \(Self.keyMark) in the text") }
    }

    /// Bytes of the complete answer at `base`, 0 when more must come, or negative when it is not
    /// the answer to the request for `key`.
    func answerLength(_ base: UnsafeRawPointer, _ filled: Int, key: UnsafeRawPointer?) -> Int {
        switch wire {
        case .redis:
            guard filled > 0, base.load(as: UInt8.self) == UInt8(ascii: "$") else { return -1 }
            return filled < responseBytes ? 0 : filled == responseBytes ? filled : -1
        case .echo:
            return filled < responseBytes ? 0 : filled == responseBytes ? filled : -1
        case .simple, .prepared:
            return postgresAnswerLength(base, filled, key)
        }
    }

    /// Walks the messages to ReadyForQuery; the first column of every row must be the key.
    private func postgresAnswerLength(
        _ base: UnsafeRawPointer, _ filled: Int, _ key: UnsafeRawPointer?
    ) -> Int {
        var offset = 0
        while filled - offset >= 5 {
            let type = (base + offset).load(as: UInt8.self)
            let body = Int(UInt32(bigEndian: (base + offset + 1).loadUnaligned(as: UInt32.self)))
            guard body >= 4, type != BackendType.errorResponse else { return -1 }
            guard filled - offset > body else { return 0 }
            if type == BackendType.dataRow, let key {
                guard body >= 10 + Self.keyDigits, Self.same(base + offset + 11, key) else { return -1 }
            }
            offset += body + 1
            if type == BackendType.readyForQuery { return offset }
        }
        return 0
    }

    private static func same(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool {
        left.loadUnaligned(as: UInt32.self) == right.loadUnaligned(as: UInt32.self)
            && (left + 4).loadUnaligned(as: UInt16.self) == (right + 4).loadUnaligned(as: UInt16.self)
    }

    private static func startup() -> [UInt8] {
        var startup = ByteWriter()
        startup.lengthPrefixed { packet in
            packet.uint32(196_608)
            for word in ["user", "postgres", "database", "bench"] { packet.cString(word) }
            packet.uint8(0)
        }
        return startup.bytes
    }

    private static func query(_ text: String) -> [UInt8] {
        var query = ByteWriter()
        query.message(FrontendType.query) { $0.cString(text) }
        return query.bytes
    }

    /// Prepared and described, as drivers do.
    private static func parse(_ text: String, name: String) -> [UInt8] {
        var parse = ByteWriter()
        parse.message(FrontendType.parse) { message in
            message.cString(name)
            message.cString(text.replacing(keyMark, with: "$1").replacing(lastKeyMark, with: "$2"))
            message.uint16(0)
        }
        parse.message(FrontendType.describe) { message in
            message.uint8(UInt8(ascii: "S"))
            message.cString(name)
        }
        parse.message(FrontendType.sync) { _ in }
        return parse.bytes
    }

    private static func execute(_ text: String, name: String) -> [UInt8] {
        var execute = ByteWriter()
        execute.message(FrontendType.bind) { message in
            message.cString("")
            message.cString(name)
            message.uint16(0)
            let marks = text.contains(lastKeyMark) ? [keyMark, lastKeyMark] : [keyMark]
            message.uint16(UInt16(marks.count))
            for mark in marks {
                message.uint32(UInt32(keyDigits))
                message.append(Array(mark.utf8))
            }
            message.uint16(0)
        }
        execute.message(FrontendType.execute) { message in
            message.cString("")
            message.uint32(0)
        }
        execute.message(FrontendType.sync) { _ in }
        return execute.bytes
    }
}
