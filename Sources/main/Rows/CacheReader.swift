import Cache
import Loop
import PGProtocol

/// One connection on which statements are executed in the cache database, many at a time (manual, 55.2.4).
///
/// A statement is prepared at its first execution, under a name of ours. Settings are those of the profile that asked
/// last; they are changed in the same transaction as the statement that needs them, so an error undoes both.
///
/// Owner: the cache database. Bounds: `statementsMax` prepared statements.
final class CacheReader {
    enum Event {
        /// Whole messages of an answer.
        case arrived(UInt64, [UInt8])
        case ended(UInt64)
        case lost(String)
    }
    private struct Request {
        var entry: UInt64
        var statement: UInt64
        var prepares: Bool
        /// The answer to set_config comes first.
        var setsProfile: Bool
    }

    static let statementsMax = 500

    let link: CacheLink
    /// Nil where it is not known.
    private(set) var profile: UInt32?
    private var conversation = CacheConversation<Request>()
    private var names: [UInt64: String] = [:]
    private var lastName = 0
    private var events: [Event] = []

    init(_ link: CacheLink) { self.link = link }

    /// Executions that are not answered yet.
    var count: Int { conversation.count }

    func close() {
        link.close()
        conversation.removeAll()
        names.removeAll()
        events.removeAll()
        profile = nil
    }

    func nextEvent() -> Event? { events.isEmpty ? nil : events.removeFirst() }

    /// False when the statement is gone.
    func send(
        _ read: RowRead, parseBody: (UInt64) -> [UInt8]?,
        settings: (UInt32) -> [(name: String, value: String)]
    ) -> Bool {
        var writer = ByteWriter()
        var request = Request(entry: read.entry, statement: read.statement, prepares: false, setsProfile: false)
        if names.count >= Self.statementsMax, names[read.statement] == nil { deallocate(&writer) }
        if profile != read.profile {
            CacheSQL.run(CacheSQL.setting(settings(read.profile)), &writer)
            request.setsProfile = true
        }
        let name: String
        if let known = names[read.statement] {
            name = known
        } else {
            guard let body = parseBody(read.statement) else { return false }
            lastName += 1
            name = "s\(lastName)"
            writer.message(FrontendType.parse) { message in
                message.cString(name)
                message.append(body)
            }
            request.prepares = true
            names[read.statement] = name
        }
        writer.message(FrontendType.bind) { message in
            message.cString("")
            message.cString(name)
            message.append(read.bindTail)
        }
        writer.message(FrontendType.describe) { message in
            message.uint8(UInt8(ascii: "P"))
            message.cString("")
        }
        writer.message(FrontendType.execute) { message in
            message.cString("")
            message.uint32(0)
        }
        CacheSQL.sync(&writer)
        profile = read.profile
        link.send(writer.bytes)
        conversation.sent(request)
        return true
    }

    /// All of them: which are of use any more is not known here.
    private func deallocate(_ writer: inout ByteWriter) {
        for name in names.values {
            writer.message(FrontendType.close) { message in
                message.uint8(UInt8(ascii: "S"))
                message.cString(name)
            }
        }
        names.removeAll()
    }

    func advance(_ completion: Completion) {
        link.advance(completion)
        while let event = link.nextEvent() {
            switch event {
            case .connected: break
            case .lost(let reason): events.append(.lost(reason))
            case .received(let bytes):
                for reply in CacheReply.all(bytes) {
                    switch reply {
                    case .messages(let messages): arrived(messages)
                    case .ended: if let request = conversation.ended() { events.append(.ended(request.entry)) }
                    }
                }
            }
        }
    }

    private func arrived(_ messages: ArraySlice<UInt8>) {
        guard var request = conversation.current else { return }
        var own: [UInt8] = []
        var position = messages.startIndex
        while messages.endIndex - position >= 5 {
            let type = messages[position]
            let total = CacheMessage.length(messages, at: position)
            guard total >= 5, total <= messages.endIndex - position else { break }
            if type == BackendType.errorResponse {
                // What was sent behind it may be under other settings than it was meant to be: none of it counts.
                profile = nil
                if request.prepares { names[request.statement] = nil }
            }
            if request.setsProfile, type != BackendType.errorResponse {
                if type == BackendType.commandComplete { request.setsProfile = false }
            } else if type != BackendType.closeComplete {
                own.append(contentsOf: messages[position..<(position + total)])
            }
            position += total
        }
        conversation.current = request
        if !own.isEmpty { events.append(.arrived(request.entry, own)) }
    }
}
