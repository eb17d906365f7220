import Glibc
import Testing

@testable import Loop

/// Every rule of `Reactor` holds for both backends.
typealias Backend = ReactorBackend

extension ReactorBackend: CustomTestStringConvertible {
    public var testDescription: String { rawValue }
}

struct NothingCame: Error, CustomStringConvertible {
    var description: String
}

/// A reactor and the completions it has handed out, for tests that say what they expect next.
///
/// Nothing sleeps: an expectation waits in the reactor, and a guard timer ends it.
final class World {
    let reactor: KernelReactor
    /// Completions that came while another was expected.
    private(set) var others: [Completion] = []
    /// How often the reactor woke.
    private(set) var turns = 0
    private static let guardTag = UInt64.max

    init(_ backend: Backend) throws { reactor = try backend.makeReactor() }

    /// The next completion of `kind` (and of `socket`), in whatever order others come.
    @discardableResult
    func expect(
        _ kind: Completion.Kind, _ socket: SocketID? = nil, milliseconds: UInt64 = 10_000
    ) throws -> Completion {
        func matches(_ completion: Completion) -> Bool {
            completion.kind == kind && (socket == nil || completion.socket == socket)
        }
        if let place = others.firstIndex(where: matches) { return others.remove(at: place) }
        let limit = reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: Self.guardTag)
        defer { reactor.cancelTimer(limit) }
        while true {
            while let completion = reactor.next() {
                if completion.kind == .timer, completion.tag == Self.guardTag {
                    throw NothingCame(description: "no \(kind) of \(String(describing: socket))")
                }
                if matches(completion) { return completion }
                others.append(completion)
            }
            try reactor.wait()
            turns += 1
        }
    }

    /// Lets `milliseconds` pass; everything that comes is kept in `others`. Returns the number of turns.
    @discardableResult
    func pass(milliseconds: UInt64) throws -> Int {
        let before = turns
        let tag = Self.guardTag - 1
        _ = reactor.startTimer(nanoseconds: milliseconds * 1_000_000, tag: tag)
        while true {
            while let completion = reactor.next() {
                if completion.kind == .timer, completion.tag == tag { return turns - before }
                others.append(completion)
            }
            try reactor.wait()
            turns += 1
        }
    }

    func takeOthers() -> [Completion] {
        defer { others = [] }
        return others
    }

    /// A listener on a free port and a connected pair: the client's side and the server's.
    func pair() throws -> (client: SocketID, server: SocketID) {
        let listener = try reactor.listen(
            on: .tcp(address: "127.0.0.1", port: 0), backlog: 16, tag: 1)
        let pair = try connect(to: listener)
        reactor.close(listener)
        try expect(.closed, listener)
        return pair
    }

    func connect(to listener: SocketID) throws -> (client: SocketID, server: SocketID) {
        let port = reactor.boundPort(listener)
        let client = try reactor.connect(to: .tcp(address: "127.0.0.1", port: port), tag: 2)
        #expect(try expect(.connected, client).result == 0)
        return (client, try expect(.accepted).socket)
    }

    func send(_ socket: SocketID, _ buffer: UnsafeRawBufferPointer) {
        guard let base = buffer.baseAddress else { return }
        let slice = Slice(base: base, count: buffer.count)
        withUnsafePointer(to: slice) {
            reactor.send(socket, UnsafeBufferPointer(start: $0, count: 1))
        }
    }

    /// Sends `text` and waits until the kernel has it.
    func say(_ socket: SocketID, _ text: String) throws {
        let buffer = Buffer(Array(text.utf8))
        send(socket, UnsafeRawBufferPointer(buffer.bytes))
        #expect(try expect(.sent, socket).result == text.utf8.count)
    }

    /// One receive, as text.
    func hear(_ socket: SocketID) throws -> String {
        let buffer = Buffer(count: 65536)
        reactor.receive(socket, into: buffer.base, capacity: buffer.count)
        let count = try expect(.received, socket).result
        guard count >= 0 else { return "error \(Syscalls.message(Int32(-count)))" }
        return String(decoding: UnsafeRawBufferPointer(buffer.bytes)[..<count], as: UTF8.self)
    }
}

/// Memory that stays where it is, as a reactor needs it.
final class Buffer {
    let bytes: UnsafeMutableRawBufferPointer
    let base: UnsafeMutableRawPointer
    var count: Int { bytes.count }

    init(count: Int) {
        base = .allocate(byteCount: max(count, 1), alignment: 16)
        bytes = UnsafeMutableRawBufferPointer(start: base, count: count)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    convenience init(_ contents: [UInt8]) {
        self.init(count: contents.count)
        bytes.copyBytes(from: contents)
    }

    deinit { base.deallocate() }
}

/// A folder that goes away with its test.
final class TemporaryFolder {
    let path: String
    init() throws { path = try Syscalls.makeTemporaryFolder(prefix: "loop-test-") }
    deinit { Syscalls.removeTree(path) }
}
