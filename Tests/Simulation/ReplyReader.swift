/// Cuts what a client hears into messages, however it arrives, and keeps the position in the stream.
///
/// Reading is linear in the bytes: what has been taken is dropped when more arrives, and only if that is most of it.
/// Invariant: 0 <= head <= bytes.count, and `position` is that of `bytes[head]`.
struct ReplyReader {
    /// A message in the stream; `bytes` includes its type and length.
    struct Message {
        var type: UInt8
        var bytes: ArraySlice<UInt8>
        /// Of the byte behind it.
        var end: Int

        var body: ArraySlice<UInt8> { bytes.dropFirst(5) }
    }

    /// More than any answer of a world has.
    static let lengthMax = 1 << 24

    private var bytes: [UInt8] = []
    private var head = 0
    /// Bytes taken since the connection began.
    private(set) var position = 0

    /// Bytes that have come and were not taken.
    var pending: Int { bytes.count - head }

    mutating func append(_ piece: [UInt8]) {
        if head == bytes.count {
            bytes.removeAll(keepingCapacity: true)
            head = 0
        } else if head > bytes.count / 2 {
            bytes.removeFirst(head)
            head = 0
        }
        bytes.append(contentsOf: piece)
    }

    /// The next byte alone: the answer to an encryption request.
    mutating func byte() -> UInt8? {
        guard head < bytes.count else { return nil }
        defer {
            head += 1
            position += 1
        }
        return bytes[head]
    }

    /// The next message, once all of it has come.
    mutating func next() throws(Violation) -> Message? {
        guard pending >= 5 else { return nil }
        let length = Int(bytes[head + 1]) << 24 | Int(bytes[head + 2]) << 16 | Int(bytes[head + 3]) << 8
            | Int(bytes[head + 4])
        guard length >= 4, length <= ReplyReader.lengthMax else {
            throw Violation(rule: 5, text: "a message \(bytes[head]) with a length of \(length)")
        }
        guard pending > length else { return nil }
        let start = head
        head += 1 + length
        position += 1 + length
        return Message(type: bytes[start], bytes: bytes[start..<head], end: position)
    }
}

/// Reads the fields of a message's body; nil where there are too few bytes.
struct FieldReader {
    private var rest: ArraySlice<UInt8>
    init(_ body: ArraySlice<UInt8>) { rest = body }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func integer(_ size: Int) -> Int? {
        guard rest.count >= size else { return nil }
        var value = 0
        for byte in rest.prefix(size) { value = value << 8 | Int(byte) }
        rest = rest.dropFirst(size)
        return value
    }

    mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, rest.count >= count else { return false }
        rest = rest.dropFirst(count)
        return true
    }

    mutating func text() -> String? {
        guard let end = rest.firstIndex(of: 0) else { return nil }
        defer { rest = rest[(end + 1)...] }
        return String(decoding: rest[..<end], as: UTF8.self)
    }

    /// What is left.
    var remainder: [UInt8] { Array(rest) }
}
