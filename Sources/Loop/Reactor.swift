/// The loop's one interface: operations are submitted, completions come back.
///
/// Completion-shaped after the ring: whoever wants bytes submits a receive and gets one completion for
/// it. The epoll backend emulates that, and nobody above knows which backend runs. Every completion is queued
/// and handed out flat by `next()`; none is delivered from inside a submit.
///
/// A backend overrides the open methods; so does a scripted world that drives the shell in a test.
///
/// Invariants:
/// - One receive, one send and one poll at most are in flight per socket.
/// - Memory handed to `receive` and `send` stays untouched by its owner until their completion, or
///   until `.closed` when the socket was closed meanwhile.
/// - After `close` no completion of the socket is delivered but one `.closed`.
/// - Single thread: nothing here may be called from another.
open class Reactor {
    /// Nanoseconds of the monotonic clock, read once per turn by `wait`.
    public final internal(set) var nowNanoseconds: UInt64 = 0

    public init() {}

    /// Sets the clock: for a scripted world, whose time is its own.
    public final func setClock(nanoseconds: UInt64) { nowNanoseconds = nanoseconds }

    /// Listens on a TCP address or a Unix socket path; a `.accepted` completion follows for each client.
    open func listen(on address: SocketAddress, backlog: Int32, tag: UInt64) throws(SystemError) -> SocketID {
        preconditionFailure("abstract")
    }
    /// Stops accepting for now (descriptors are short), or goes on.
    open func setAccepting(_ listener: SocketID, _ accepting: Bool) { preconditionFailure("abstract") }
    /// Gives an accepted socket its owner's tag; it had the listener's.
    open func setTag(_ socket: SocketID, _ tag: UInt64) { preconditionFailure("abstract") }
    /// Starts to connect; `.connected` follows, its result 0 or a negative errno.
    open func connect(to address: SocketAddress, tag: UInt64) throws(SystemError) -> SocketID {
        preconditionFailure("abstract")
    }
    /// One receive into `memory`; `.received` follows: bytes, 0 at the end of the stream, or a negative errno.
    open func receive(_ socket: SocketID, into memory: UnsafeMutableRawPointer, capacity: Int) {
        preconditionFailure("abstract")
    }
    /// One gathered send of all slices; `.sent` follows once *all* bytes are with the kernel (result: the bytes),
    /// or with a negative errno. `slices` itself is copied where needed; the bytes it points to are
    /// not. At most `slicesMax`.
    open func send(_ socket: SocketID, _ slices: UnsafeBufferPointer<Slice>) { preconditionFailure("abstract") }
    /// Half-closes: no more bytes will be sent.
    open func shutdownSend(_ socket: SocketID) { preconditionFailure("abstract") }
    /// Ends every operation and closes the descriptor; `.closed` follows, after which memory may be reused.
    open func close(_ socket: SocketID) { preconditionFailure("abstract") }

    /// Wraps a descriptor that a library owns (libpq, c-ares, libmicrohttpd): never read, written or closed here.
    open func adopt(_ descriptor: Int32, tag: UInt64) throws(SystemError) -> SocketID {
        preconditionFailure("abstract")
    }
    /// Takes a connected socket over from a library that has given it up: it is read, written and closed here from now
    /// on, like one that `connect` made. Where that fails it is closed.
    open func takeOver(_ descriptor: Int32, tag: UInt64) throws(SystemError) -> SocketID {
        preconditionFailure("abstract")
    }
    /// Waits once for readiness of an adopted descriptor; `.ready` follows with a `Readiness` as its result.
    /// A poll that is already in flight takes the new interest instead.
    open func poll(_ socket: SocketID, _ interest: Readiness) { preconditionFailure("abstract") }
    /// Forgets an adopted descriptor, before its owner closes it. No completion follows.
    open func release(_ socket: SocketID) { preconditionFailure("abstract") }

    /// Delivers `signals` as `.signal` completions, result the number, instead of the default action.
    open func watchSignals(_ signals: [Int32], tag: UInt64) throws(SystemError) {
        preconditionFailure("abstract")
    }
    /// `.exited` follows when the child ends; result its wait status (as waitpid gives it), reaped.
    open func watchChild(_ process: Int32, tag: UInt64) throws(SystemError) {
        preconditionFailure("abstract")
    }
    /// One `.timer` completion, not before `nanoseconds` from now.
    open func startTimer(nanoseconds: UInt64, tag: UInt64) -> TimerID { preconditionFailure("abstract") }
    /// A timer that has fired already, or was cancelled, is ignored.
    open func cancelTimer(_ timer: TimerID) { preconditionFailure("abstract") }

    /// Waits until there is a completion. Submits what is queued first. Does not wait while completions are
    /// still queued. Updates the clock.
    open func wait() throws(SystemError) { preconditionFailure("abstract") }
    /// The next queued completion, flat.
    open func next() -> Completion? { preconditionFailure("abstract") }
    /// Puts a completion of the owner's own at the end of the queue (a library's event, a test's).
    open func enqueue(_ completion: Completion) { preconditionFailure("abstract") }

    /// More slices than this never go into one send (IOV_MAX is 1024).
    public static let slicesMax = 64
}

/// Bytes to send: borrowed until the send completes.
public struct Slice {
    public var base: UnsafeRawPointer
    public var count: Int
    @inlinable public init(base: UnsafeRawPointer, count: Int) {
        self.base = base
        self.count = count
    }
}

/// A socket of the reactor: a slot and the generation that makes stale numbers harmless.
public struct SocketID: Hashable, Sendable {
    public var index: UInt32
    public var generation: UInt32
    @inlinable public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
    public static let none = SocketID(index: .max, generation: 0)
}

public struct TimerID: Hashable, Sendable {
    public var value: UInt64
    @inlinable public init(_ value: UInt64) { self.value = value }
}

public struct Readiness: OptionSet, Sendable {
    public let rawValue: Int
    @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
    public static let readable = Readiness(rawValue: 1)
    public static let writable = Readiness(rawValue: 2)
    /// The descriptor has failed or hung up; reading or writing tells how.
    public static let failed = Readiness(rawValue: 4)
}

/// What became of an operation.
public struct Completion {
    public enum Kind: UInt8, Sendable {
        case accepted, connected, received, sent, closed, ready, timer, signal, exited
    }
    public var kind: Kind
    /// The socket it belongs to; for `.accepted` the new one.
    public var socket: SocketID
    /// The owner's number, given when the operation's object was made.
    public var tag: UInt64
    /// Bytes, readiness, signal number or status, or a negative errno.
    public var result: Int

    @inlinable public init(kind: Kind, socket: SocketID, tag: UInt64, result: Int) {
        self.kind = kind
        self.socket = socket
        self.tag = tag
        self.result = result
    }
}

/// Where to listen or to connect.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// A numeric IPv4 or IPv6 address. Names are resolved before (`NameResolver`).
    case tcp(address: String, port: UInt16)
    case unix(path: String)

    public var description: String {
        switch self {
        case .tcp(let address, let port):
            address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
        case .unix(let path): path
        }
    }
}

/// A system call failed.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    public var code: Int32
    /// The call and its object, `bind 127.0.0.1:6432`.
    public var call: String
    public init(_ code: Int32, _ call: String) {
        self.code = code
        self.call = call
    }
    public var description: String { "\(call): \(Syscalls.message(code))" }
}
