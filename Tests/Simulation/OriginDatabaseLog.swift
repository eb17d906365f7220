import PGProtocol

/// What happened to a row, as the log keeps it.
struct RowEdit {
    /// Position of its record.
    var lsn: LSN
    var table: Int
    /// The last is the event trigger's transactional message about a change of the schema.
    enum Kind { case insert(Row), update(old: Row, new: Row), delete(Row), truncate, schemaMessage }
    var kind: Kind
    /// The shape that the table had, where it can change.
    var sheet: Sheet?
}

/// One ended transaction, or something else that only takes room, in the order of the log.
struct LogRecord {
    enum Kind {
        case commit(xid: TransactionID, edits: [RowEdit])
        /// A change of the publication that committed.
        case publication(xid: TransactionID)
        case rollback(xid: TransactionID)
        case other
    }
    /// Where the record begins and ends; a commit's `end` is what pgoutput calls the end LSN.
    var start: LSN
    var end: LSN
    var kind: Kind
}

/// The end of the write-ahead log: hands out room for records.
///
/// The log is a sequence of pages, each with a header; records do not see headers, positions count them
/// (src/include/access/xlog_internal.h; src/backend/access/transam/xlog.c, XLogBytePosToEndRecPtr). A record that ends
/// with its page ends at the boundary, the next one begins behind the header.
struct LogEnd {
    static let pageBytes: UInt64 = 8192
    static let segmentBytes: UInt64 = 16 << 20

    /// Of the last record.
    private(set) var end: LSN
    private var random: Random
    private let recordBytesMax: Int

    init(_ surroundings: Surroundings) {
        random = surroundings.random("log")
        recordBytesMax = max(1, surroundings.parameters.recordBytesMax)
        // A little before a segment's end, so that both kinds of page headers are met.
        let before = UInt64(random.within(1...Int(Self.pageBytes) * 8))
        end = LSN(0x200_0000 - before)
        if end.value % Self.pageBytes < 40 { end.value += 40 }
    }

    /// Bytes of the header at a position: 0 unless a page begins there.
    private static func header(at position: UInt64) -> UInt64 {
        guard position % pageBytes == 0 else { return 0 }
        return position % segmentBytes == 0 ? 40 : 24
    }

    /// Where the next record begins.
    var next: LSN { LSN(end.value + Self.header(at: end.value)) }

    /// Takes room for a record.
    mutating func append() -> (start: LSN, end: LSN) {
        let start = next
        let room = Self.pageBytes - start.value % Self.pageBytes
        var bytes = UInt64(random.chance(300) ? 1 : random.within(1...recordBytesMax))
        // Records that end exactly with their page are what positions are easily wrong about.
        if room <= UInt64(recordBytesMax), random.chance(300) { bytes = room }
        var position = start.value
        while true {
            let room = Self.pageBytes - position % Self.pageBytes
            if bytes <= room { break }
            position += room
            position += Self.header(at: position)
            bytes -= room
        }
        // Only a record that began on an earlier page can end right where the long header of a segment would: none
        // is so short (LSN.withoutPageHeader).
        if position == start.value, (position + bytes) % Self.pageBytes == 40 { bytes += 1 }
        end = LSN(position + bytes)
        return (start, end)
    }
}
