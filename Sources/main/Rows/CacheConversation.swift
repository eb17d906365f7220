import CDC
import Cache
import PGProtocol

/// Requests to the cache database and their replies, in order: each request ends with one ReadyForQuery.
///
/// Requests are sent without waiting for the replies of those before (manual, 55.2.4 Pipelining). Owner: whoever
/// sends; `Request` says what a reply is for.
struct CacheConversation<Request> {
    private var requests: [Request] = []
    private var first = 0

    var count: Int { requests.count - first }
    var isEmpty: Bool { first == requests.count }

    /// What the messages that come now belong to.
    var current: Request? {
        get { first < requests.count ? requests[first] : nil }
        set { if let newValue, first < requests.count { requests[first] = newValue } }
    }

    mutating func sent(_ request: Request) { requests.append(request) }

    /// Those behind the oldest, in their order.
    mutating func changeLater(_ change: (inout Request) -> Void) {
        guard !isEmpty else { return }
        for index in (first + 1)..<requests.count { change(&requests[index]) }
    }

    /// The oldest request has been answered.
    mutating func ended() -> Request? {
        guard first < requests.count else { return nil }
        let request = requests[first]
        first += 1
        if first == requests.count {
            removeAll()
        } else if first > 1024, first * 2 > requests.count {
            requests.removeFirst(first)
            first = 0
        }
        return request
    }

    mutating func removeAll() {
        requests.removeAll(keepingCapacity: true)
        first = 0
    }
}

/// What has come of replies.
enum CacheReply {
    /// Whole messages that belong to the oldest request.
    case messages(ArraySlice<UInt8>)
    case ended

    /// Whole messages, apart where requests end.
    static func all(_ bytes: [UInt8]) -> [CacheReply] {
        var replies: [CacheReply] = []
        var start = 0
        var position = 0
        while bytes.count - position >= 5 {
            let total = CacheMessage.length(bytes[...], at: position)
            guard total >= 5, total <= bytes.count - position else { break }
            if bytes[position] == BackendType.readyForQuery {
                if position > start { replies.append(.messages(bytes[start..<position])) }
                replies.append(.ended)
                start = position + total
            }
            position += total
        }
        if position > start { replies.append(.messages(bytes[start..<position])) }
        return replies
    }
}

/// One message of a reply.
struct CacheMessage {
    var type: UInt8
    var body: ArraySlice<UInt8>

    /// Of the message that begins here, its type included.
    static func length(_ bytes: ArraySlice<UInt8>, at position: Int) -> Int {
        let length =
            Int(bytes[position + 1]) << 24 | Int(bytes[position + 2]) << 16 | Int(bytes[position + 3]) << 8
            | Int(bytes[position + 4])
        return 1 + length
    }

    /// All of them, of whole messages.
    static func all(_ bytes: ArraySlice<UInt8>) -> [CacheMessage] {
        var messages: [CacheMessage] = []
        var position = bytes.startIndex
        while bytes.endIndex - position >= 5 {
            let total = length(bytes, at: position)
            guard total >= 5, total <= bytes.endIndex - position else { break }
            messages.append(CacheMessage(type: bytes[position], body: bytes[(position + 5)..<(position + total)]))
            position += total
        }
        return messages
    }

    /// Of an ErrorResponse: its SQLSTATE and its words.
    var error: (state: String, message: String) {
        var fields: [UInt8: String] = [:]
        for field in body.split(separator: 0) {
            guard let code = field.first else { continue }
            fields[code] = String(decoding: field.dropFirst(), as: UTF8.self)
        }
        return (fields[UInt8(ascii: "C")] ?? "", fields[UInt8(ascii: "M")] ?? "")
    }

    /// Of a CommandComplete.
    var tag: String { String(decoding: body.dropLast(), as: UTF8.self) }

    /// Of a DataRow in text format.
    var row: [String?] {
        Array(body).withUnsafeBytes { ByteView($0).textRow ?? [] }
    }

    /// The same with the values' bytes; nil for what is none.
    var image: RowImage? {
        Array(body).withUnsafeBytes { bytes in
            do throws(ProtocolError) {
                var reader = ByteReader(ByteView(bytes))
                var image: RowImage = []
                for _ in 0..<Int(try reader.uint16("DataRow columns")) {
                    let length = try reader.int32("DataRow length")
                    image.append(length < 0 ? .null : .text(try reader.bytes(Int(length), "DataRow value").bytes))
                }
                return image
            } catch {
                return nil
            }
        }
    }
}
