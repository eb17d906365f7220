import Cache
import Loop
import PGProtocol

/// One connection on which statements are executed in the cache database, many at a time (manual, 55.2.4).
///
/// A statement is prepared at its first execution, under a name of ours. Settings are those of the profile that asked
/// last; they are changed in the same transaction as the statement that needs them, so an error undoes both, and what
/// was sent behind it in good faith is executed under others: its answers do not count.
///
/// Owner: the cache database. Bounds: `statementsMax` prepared statements.
final class CacheReader {
    enum Event {
        /// Whole messages of an answer.
        case arrived(UInt64, [UInt8])
        case ended(UInt64)
        /// There is no answer this time.
        case failed(UInt64)
        case lost(String)
    }
    private struct Request {
        var entry: UInt64
        var statement: UInt64
        var prepares = false
        /// It begins with set_config, whose answer comes first.
        var setsProfile = false
        var isSet = false
        /// What it is answered is of no use.
        var isSpoiled = false
    }

    static let statementsMax = 500

    let link: CacheLink
    /// Nil where it is not known.
    private(set) var profile: UInt32?
    private var conversation = CacheConversation<Request>()
    private var names: [UInt64: String] = [:]
    private var lastName = 0
    /// Prepared in vain: closed with the next statement that is sent.
    private var goneNames: [String] = []
    private var events: [Event] = []

    init(_ link: CacheLink) { self.link = link }

    /// Executions that are not answered yet.
    var count: Int { conversation.count }

    func close() {
        link.close()
        conversation.removeAll()
        names.removeAll()
        goneNames.removeAll()
        events.removeAll()
        profile = nil
    }

    func nextEvent() -> Event? { events.isEmpty ? nil : events.removeFirst() }

    /// False when the statement is gone.
    func send(
        _ read: RowRead, parseBody: (UInt64) -> [UInt8]?,
        settings: (UInt32) -> [(name: String, value: String)]
    ) -> Bool {
        let known = names[read.statement]
        var request = Request(entry: read.entry, statement: read.statement, prepares: known == nil)
        let body = known == nil ? parseBody(read.statement) : []
        guard let body else { return false }
        if known == nil, names.count >= Self.statementsMax {
            // All of them: which are of use any more is not known here.
            goneNames += names.values
            names.removeAll()
        }
        var writer = ByteWriter()
        for name in goneNames {
            writer.message(FrontendType.close) { message in
                message.uint8(UInt8(ascii: "S"))
                message.cString(name)
            }
        }
        goneNames.removeAll()
        if profile != read.profile {
            CacheSQL.run(CacheSQL.setting(settings(read.profile)), &writer)
            request.setsProfile = true
        }
        if known == nil { lastName += 1 }
        let name = known ?? "s\(lastName)"
        names[read.statement] = name
        if request.prepares {
            writer.message(FrontendType.parse) { message in
                message.cString(name)
                message.append(body)
            }
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
                    case .ended:
                        guard let request = conversation.ended() else { continue }
                        events.append(request.isSpoiled ? .failed(request.entry) : .ended(request.entry))
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
                forgetName(preparedBy: request)
                if request.setsProfile { settingsAreUndone() }
                let message = CacheMessage(type: type, body: messages[(position + 5)..<(position + total)])
                if Self.isPassing(message.error.state) { request.isSpoiled = true }
            }
            if request.setsProfile, !request.isSet, type != BackendType.errorResponse {
                if type == BackendType.commandComplete { request.isSet = true }
            } else if type != BackendType.closeComplete {
                own.append(contentsOf: messages[position..<(position + total)])
            }
            position += total
        }
        conversation.current = request
        if !own.isEmpty, !request.isSpoiled { events.append(.arrived(request.entry, own)) }
    }

    /// The settings that the oldest request has made are undone: those behind it are executed, and were prepared, under
    /// others. What makes its own is not spared: it may execute what one of them has prepared.
    private func settingsAreUndone() {
        profile = nil
        conversation.changeLater { request in
            request.isSpoiled = true
            forgetName(preparedBy: request)
        }
    }

    private func forgetName(preparedBy request: Request) {
        if request.prepares, let name = names.removeValue(forKey: request.statement) { goneNames.append(name) }
    }

    /// Whether another execution may fare better (manual, Appendix A): conflicts, resources, an operator's doing. What
    /// took too long (57014) will again.
    static func isPassing(_ state: String) -> Bool {
        state != "57014" && ["40", "53", "55", "57", "58"].contains(state.prefix(2))
    }
}
