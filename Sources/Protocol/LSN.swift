/// A position in the origin's write-ahead log, in bytes since its beginning.
///
/// Printed by PostgreSQL as two hexadecimal halves, `16/B374D848` (manual, 8.20 pg_lsn Type).
public struct LSN: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: UInt64

    @inlinable public init(_ value: UInt64) { self.value = value }

    public static let zero = LSN(0)
    /// Later than every position: "not yet known".
    public static let never = LSN(.max)

    /// Parses `16/B374D848`; nil if the text is not an LSN.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, halves[0].count <= 8, halves[1].count <= 8,
            let high = UInt32(halves[0], radix: 16), let low = UInt32(halves[1], radix: 16)
        else { return nil }
        value = UInt64(high) << 32 | UInt64(low)
    }

    @inlinable public static func < (left: LSN, right: LSN) -> Bool { left.value < right.value }

    public var description: String {
        String(value >> 32, radix: 16, uppercase: true) + "/"
            + String(value & 0xFFFF_FFFF, radix: 16, uppercase: true)
    }

    /// The same position as a decoder can ever reach it: an insert position right behind a page or
    /// segment header is, for who waits, the start of that page [T8].
    ///
    /// Page size 8192; headers of 24 bytes, 40 on the first page of a segment
    /// (src/include/access/xlog_internal.h, SizeOfXLogShortPHD and SizeOfXLogLongPHD).
    public var withoutPageHeader: LSN {
        let offset = value & 8191
        return offset == 24 || offset == 40 ? LSN(value - offset) : self
    }
}
