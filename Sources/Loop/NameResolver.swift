import CLoop
import Glibc

/// Names of hosts to addresses, without blocking: c-ares, driven by the reactor.
///
/// libc's resolver blocks, and libpq calls it when it is given a name; so every name goes through here first. A
/// numeric address is answered without the library, /etc/hosts is honoured, and `localhost` works
/// without a network (RFC 6761, 6.3).
///
/// A question carries its asker's tag. The answer is announced with a `.ready` completion of that tag and no
/// socket, then taken with `takeAnswer`: nothing is called from inside. Completions with the resolver's own tag (its
/// sockets, its timer) go to `advance`.
///
/// Owner: the shell, one per reactor. Bounds: `queriesMax` questions without a taken answer; more fail at once.
public final class NameResolver {
    /// A question that was asked.
    public struct Query: Hashable, Sendable {
        fileprivate var number: UInt64
    }

    public enum Answer: Equatable, Sendable {
        /// In the order to try them; never empty.
        case found([SocketAddress])
        /// The resolver's words.
        case failed(String)
    }

    private enum Question {
        case open(name: String, port: UInt16, tag: UInt64)
        case answered(Answer)
    }

    private struct Watched {
        var socket: SocketID
        var interest: Readiness
    }

    private let reactor: Reactor
    private let tag: UInt64
    private let timeoutMilliseconds: Int32
    private let tries: Int32
    private var library: OpaquePointer?
    private var questions: [UInt64: Question] = [:]
    private var lastNumber: UInt64 = 0
    /// The library's descriptors.
    private var watched: [Int32: Watched] = [:]
    private var timer: TimerID?

    public static let queriesMax = 1024

    /// - Parameter timeoutMilliseconds: for the first try of one server; later tries wait longer.
    public init(
        reactor: Reactor, tag: UInt64, timeoutMilliseconds: Int32 = 2000, tries: Int32 = 3
    ) {
        self.reactor = reactor
        self.tag = tag
        self.timeoutMilliseconds = timeoutMilliseconds
        self.tries = tries
    }

    deinit {
        questions = [:]  // nobody takes an answer any more
        if let library { cloop_resolver_end(library) }
        if let timer { reactor.cancelTimer(timer) }
    }

    // MARK: - Questions

    /// Asks for the addresses of `name`. A `.ready` completion with `tag` follows, perhaps in this turn.
    public func resolve(_ name: String, port: UInt16, tag: UInt64) -> Query {
        lastNumber += 1
        let query = Query(number: lastNumber)
        questions[query.number] = .open(name: name, port: port, tag: tag)
        if cloop_is_numeric(name) != 0 {
            finish(query.number, .found([.tcp(address: name, port: port)]))
        } else if questions.count > Self.queriesMax {
            finish(query.number, .failed("too many names are being resolved"))
        } else if let library = startedLibrary() {
            if cloop_resolver_ask(library, query.number, name) < 0 {
                finish(query.number, .failed("out of memory"))
            }
            restartTimer()
        } else {
            finish(query.number, .failed("the resolver cannot be started"))
        }
        return query
    }

    /// The answer, once; nil while there is none.
    public func takeAnswer(_ query: Query) -> Answer? {
        guard case .answered(let answer) = questions[query.number] else { return nil }
        questions[query.number] = nil
        return answer
    }

    /// Forgets a question. Its completion may still come.
    public func cancel(_ query: Query) { questions[query.number] = nil }

    /// Uses this name server, `127.0.0.1:5353`, instead of those of /etc/resolv.conf.
    /// - Throws: EINVAL when it is not a numeric address.
    public func useServer(_ server: String) throws(SystemError) {
        guard let library = startedLibrary() else { throw SystemError(ENOMEM, "ares_init") }
        let result = cloop_resolver_use_server(library, server)
        guard result == 0 else { throw SystemError(-result, "name server \(server)") }
    }

    // MARK: - Completions

    /// Goes on after a completion with the resolver's tag.
    public func advance(_ completion: Completion) {
        guard let library else { return }
        switch completion.kind {
        case .timer:
            timer = nil
            cloop_resolver_process(library, -1, -1)
        case .ready:
            guard let (descriptor, _) = watched.first(where: { $0.value.socket == completion.socket })
            else { return }
            let readiness = Readiness(rawValue: completion.result)
            let reads = !readiness.isDisjoint(with: [.readable, .failed])
            let writes = readiness.contains(.writable)
            cloop_resolver_process(library, reads ? descriptor : -1, writes ? descriptor : -1)
            if let after = watched[descriptor], after.socket == completion.socket {
                reactor.poll(after.socket, after.interest)
            }
        case .accepted, .connected, .received, .sent, .closed, .signal, .exited: return
        }
        restartTimer()
    }

    // MARK: - The library

    private func startedLibrary() -> OpaquePointer? {
        if let library { return library }
        library = cloop_resolver_make(
            Unmanaged.passUnretained(self).toOpaque(),
            { owner, descriptor, readable, writable in
                guard let owner else { return }
                Unmanaged<NameResolver>.fromOpaque(owner).takeUnretainedValue()
                    .interestChanged(descriptor, readable != 0, writable != 0)
            },
            { owner, number, addresses, count, reason in
                guard let owner else { return }
                var found: [String] = []
                for index in 0..<Int(count) {
                    if let text = addresses?[index] { found.append(String(cString: text)) }
                }
                Unmanaged<NameResolver>.fromOpaque(owner).takeUnretainedValue()
                    .answered(number, found, reason.map { String(cString: $0) } ?? "failed")
            }, timeoutMilliseconds, tries)
        return library
    }

    private func interestChanged(_ descriptor: Int32, _ readable: Bool, _ writable: Bool) {
        var interest: Readiness = []
        if readable { interest.insert(.readable) }
        if writable { interest.insert(.writable) }
        if let old = watched[descriptor] {
            if interest.isEmpty {
                reactor.release(old.socket)
                watched[descriptor] = nil
            } else {
                watched[descriptor] = Watched(socket: old.socket, interest: interest)
                reactor.poll(old.socket, interest)
            }
        } else if !interest.isEmpty, let socket = try? reactor.adopt(descriptor, tag: tag) {
            // Where the reactor is full the query runs into its timeout.
            watched[descriptor] = Watched(socket: socket, interest: interest)
            reactor.poll(socket, interest)
        }
    }

    private func answered(_ number: UInt64, _ addresses: [String], _ reason: String) {
        guard case .open(let name, let port, _) = questions[number] else { return }
        if !addresses.isEmpty {
            finish(number, .found(addresses.map { .tcp(address: $0, port: port) }))
        } else if Self.isLocal(name) {
            finish(
                number,
                .found([.tcp(address: "127.0.0.1", port: port), .tcp(address: "::1", port: port)]))
        } else {
            finish(number, .failed(reason))
        }
    }

    private static func isLocal(_ name: String) -> Bool {
        let lowered = name.lowercased()
        return lowered == "localhost" || lowered.hasSuffix(".localhost")
    }

    private func finish(_ number: UInt64, _ answer: Answer) {
        guard case .open(_, _, let asker) = questions[number] else { return }
        questions[number] = .answered(answer)
        reactor.enqueue(
            Completion(
                kind: .ready, socket: .none, tag: asker, result: Readiness.readable.rawValue))
    }

    private func restartTimer() {
        if let timer { reactor.cancelTimer(timer) }
        timer = nil
        guard let library else { return }
        let milliseconds = cloop_resolver_timeout(library)
        guard milliseconds >= 0 else { return }
        timer = reactor.startTimer(
            nanoseconds: UInt64(max(milliseconds, 1)) * 1_000_000, tag: tag)
    }
}
