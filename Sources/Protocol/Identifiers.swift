/// The number by which the origin knows an object (manual, 8.19 Object Identifier Types).
public struct OID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: UInt32

    @inlinable public init(_ value: UInt32) { self.value = value }

    public init?(_ text: some StringProtocol) {
        guard let value = UInt32(text) else { return nil }
        self.value = value
    }

    /// Objects that PostgreSQL itself brought have lower numbers (FirstNormalObjectId).
    @inlinable public var isBuiltIn: Bool { value < 16384 }
    @inlinable public static func < (left: OID, right: OID) -> Bool { left.value < right.value }
    public var description: String { String(value) }
}

/// A transaction number with its epoch: never wraps around (manual, xid8).
public struct TransactionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: UInt64

    @inlinable public init(_ value: UInt64) { self.value = value }

    /// Widens the 32 bits that the stream carries to the full number nearest to `reference`.
    public init(narrow: UInt32, near reference: TransactionID) {
        let difference = Int32(bitPattern: narrow &- UInt32(truncatingIfNeeded: reference.value))
        value = reference.value &+ UInt64(bitPattern: Int64(difference))
    }

    @inlinable public static func < (left: TransactionID, right: TransactionID) -> Bool {
        left.value < right.value
    }
    public var description: String { String(value) }
}

/// A moment of the loop's monotonic clock, in nanoseconds.
///
/// The pure machines read no clock: a moment reaches them as part of an event.
public struct Instant: Hashable, Comparable, Sendable {
    public var nanoseconds: UInt64

    @inlinable public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    @inlinable public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
    @inlinable public func advanced(byMilliseconds milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: nanoseconds &+ milliseconds &* 1_000_000)
    }
    /// Nanoseconds since `earlier`; zero if that is later.
    @inlinable public func since(_ earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }
}
