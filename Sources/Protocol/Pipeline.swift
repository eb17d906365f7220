/// Who owes which reply: the requests that the origin has been sent and has not answered yet, in order.
///
/// One element per message that is answered. The origin answers in order and drops, after an
/// error in the extended protocol, everything up to the next Sync (manual, 55.2.3); `failed`
/// does the same here, so that a reply is always matched with its own request [S3].
///
/// Owned by a session. Bounded: the owner stops reading its client at `countMax` elements.
public struct Pipeline {
    public enum Request: UInt8, Sendable {
        case parse, bind, describeStatement, describePortal, execute, close, sync
        case query, functionCall
        /// The question for the session's settings, which the client did not ask.
        case profile
    }

    public struct Owed: Sendable {
        public var request: Request
        /// The client did not ask: its reply is kept from it.
        public var isInjected: Bool
        /// Nothing but reads: what follows it may still be captured [C4].
        public var isRead: Bool
        /// The statement that this concerns, and the entry that captures the answer, as the owner numbers them.
        public var statement: UInt64
        public var capture: UInt64
        /// Of a Parse: its number among the session's.
        public var parse: UInt32

        public init(
            _ request: Request, isInjected: Bool = false, isRead: Bool = false,
            statement: UInt64 = .max, capture: UInt64 = .max, parse: UInt32 = 0
        ) {
            self.request = request
            self.isInjected = isInjected
            self.isRead = isRead
            self.statement = statement
            self.capture = capture
            self.parse = parse
        }
    }

    public static let countMax = 8192

    private var ring: [Owed] = []
    private var head = 0
    public private(set) var count = 0
    /// Elements that are not reads: while there is one, nobody knows what state it leaves behind.
    public private(set) var writes = 0
    /// The origin failed in a segment whose Sync has not been sent yet.
    public private(set) var isSkippingToSync = false

    public init() {}

    @inlinable public var isEmpty: Bool { count == 0 }
    public var isFull: Bool { count >= Pipeline.countMax }

    /// The request that the next reply belongs to.
    public var first: Owed? { count == 0 ? nil : ring[head] }

    /// Something is owed that the client did not ask for.
    public var owesInjected: Bool {
        (0..<count).contains { ring[(head + $0) & (ring.count - 1)].isInjected }
    }

    /// What this entry captures is owed.
    public func owes(_ capture: UInt64) -> Bool {
        (0..<count).contains { ring[(head + $0) & (ring.count - 1)].capture == capture }
    }

    /// A ReadyForQuery will come without anything more being sent.
    public var owesReady: Bool {
        (0..<count).contains {
            switch ring[(head + $0) & (ring.count - 1)].request {
            case .query, .functionCall, .profile, .sync: true
            case .parse, .bind, .describeStatement, .describePortal, .execute, .close: false
            }
        }
    }

    /// False when the origin will read this and drop it, since it skips to the next Sync.
    @discardableResult
    public mutating func append(_ owed: Owed) -> Bool {
        if isSkippingToSync {
            guard owed.request == .sync else { return false }
            isSkippingToSync = false
        }
        if count == ring.count { grow() }
        ring[(head + count) & (ring.count - 1)] = owed
        count += 1
        if !owed.isRead { writes += 1 }
        return true
    }

    /// Replaces the first element, when a reply has answered a part of it.
    public mutating func replaceFirst(_ owed: Owed) {
        precondition(count > 0, "no request is owed a reply")
        ring[head] = owed
    }

    @discardableResult
    public mutating func removeFirst() -> Owed {
        precondition(count > 0, "no request is owed a reply")
        let owed = ring[head]
        head = (head + 1) & (ring.count - 1)
        count -= 1
        if !owed.isRead { writes -= 1 }
        return owed
    }

    /// The origin answered the first request with an error: it will not answer what follows it up to the Sync.
    /// A simple query or a function call is its own segment.
    /// - Parameter dropped: is told each request that gets no answer, the failed one included.
    public mutating func failed(_ dropped: (Owed) -> Void) {
        if isEmpty { return }
        while let owed = first {
            switch owed.request {
            case .query, .functionCall, .profile, .sync:
                return
            case .parse, .bind, .describeStatement, .describePortal, .execute, .close:
                dropped(owed)
                removeFirst()
            }
        }
        isSkippingToSync = true
    }

    /// Nothing of the segment that is being answered is to be captured.
    /// - Parameter forgotten: is told each request that was to be.
    public mutating func forgetCaptures(_ forgotten: (Owed) -> Void) {
        for offset in 0..<count {
            let index = (head + offset) & (ring.count - 1)
            if ring[index].request == .sync { return }
            guard ring[index].capture != .max else { continue }
            forgotten(ring[index])
            ring[index].capture = .max
        }
    }

    /// A ReadyForQuery came that nothing here was waiting for: a Sync that ended COPY in.
    public mutating func segmentEnded() { isSkippingToSync = false }

    /// COPY in began in the extended protocol: the origin ignores every Sync that was sent behind its Execute.
    /// False if anything else was sent, which it will not ignore.
    public mutating func dropSyncsBehindFirst() -> Bool {
        while count > 1 {
            let last = ring[(head + count - 1) & (ring.count - 1)]
            guard last.request == .sync else { return false }
            count -= 1
            if !last.isRead { writes -= 1 }
        }
        return true
    }

    private mutating func grow() {
        let capacity = max(16, ring.count * 2)
        var larger: [Owed] = []
        larger.reserveCapacity(capacity)
        for offset in 0..<count { larger.append(ring[(head + offset) & (ring.count - 1)]) }
        while larger.count < capacity { larger.append(Owed(.sync)) }
        ring = larger
        head = 0
    }
}
