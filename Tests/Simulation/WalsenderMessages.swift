import CDC
import PGProtocol

/// The bytes that a walsender puts into CopyData: pgoutput's messages of protocol version 1 inside XLogData, and
/// keepalives (manual, 55.4 and 55.9; src/backend/replication/logical/proto.c).
struct WalsenderMessages {
    /// Microseconds since 2000-01-01, the origin's clock.
    var clock: UInt64
    /// Texts of so many bytes are TOASTed.
    var toastBytesMin = Int.max

    /// The virtual clock as the origin shows it.
    static func microseconds(_ nanoseconds: UInt64) -> UInt64 { 800_000_000_000_000 + nanoseconds / 1_000 }

    func keepalive(_ position: LSN, wantsReply: Bool) -> [UInt8] {
        var writer = ByteWriter(reserving: 18)
        writer.uint8(UInt8(ascii: "k"))
        writer.uint64(position.value)
        writer.uint64(clock)
        writer.uint8(wantsReply ? 1 : 0)
        return writer.bytes
    }

    private func walData(
        _ position: LSN, _ type: Unicode.Scalar, reserving size: Int = 32, _ body: (inout ByteWriter) -> Void
    ) -> [UInt8] {
        var writer = ByteWriter(reserving: 26 + size)
        writer.uint8(UInt8(ascii: "w"))
        writer.uint64(position.value)
        writer.uint64(position.value)
        writer.uint64(clock)
        writer.uint8(UInt8(ascii: type))
        body(&writer)
        return writer.bytes
    }

    func begin(_ xid: TransactionID, _ record: LogRecord, at position: LSN, committed: UInt64) -> [UInt8] {
        walData(position, "B") {
            $0.uint64(record.start.value)
            $0.uint64(committed)
            $0.uint32(UInt32(truncatingIfNeeded: xid.value))
        }
    }

    func commit(_ record: LogRecord, committed: UInt64) -> [UInt8] {
        walData(record.end, "C") {
            $0.uint8(0)
            $0.uint64(record.start.value)
            $0.uint64(record.end.value)
            $0.uint64(committed)
        }
    }

    /// A column is marked where it belongs to the replica identity, which is the whole row with FULL.
    func relation(_ table: Table, at position: LSN) -> [UInt8] {
        walData(position, "R", reserving: 128) {
            $0.uint32(table.oid.value)
            $0.cString(table.schema)
            $0.cString(table.name)
            $0.uint8(table.replicaIdentity.rawValue)
            $0.uint16(UInt16(table.columns.count))
            for (index, column) in table.columns.enumerated() {
                $0.uint8(index == 0 || table.replicaIdentity == .full ? 1 : 0)
                $0.cString(column.name)
                $0.uint32(column.type.oid.value)
                $0.uint32(UInt32(bitPattern: -1))
            }
        }
    }

    func insert(_ table: Table, _ row: Row, at position: LSN) -> [UInt8] {
        walData(position, "I", reserving: 64) {
            $0.uint32(table.oid.value)
            $0.uint8(UInt8(ascii: "N"))
            Self.image(row, &$0)
        }
    }

    /// The key never changes here, so there is an old image with FULL alone.
    func update(_ table: Table, old: Row, new: Row, at position: LSN) -> [UInt8] {
        walData(position, "U", reserving: 96) {
            $0.uint32(table.oid.value)
            if table.replicaIdentity == .full {
                $0.uint8(UInt8(ascii: "O"))
                Self.image(old, &$0)
            }
            $0.uint8(UInt8(ascii: "N"))
            let isUntouched = zip(old, new).map { old, new in
                guard old == new, case .text(let text) = new else { return false }
                return text.utf8.count >= toastBytesMin
            }
            Self.image(new, &$0, unchanged: isUntouched)
        }
    }

    func delete(_ table: Table, _ old: Row, at position: LSN) -> [UInt8] {
        walData(position, "D", reserving: 64) {
            $0.uint32(table.oid.value)
            if table.replicaIdentity == .full {
                $0.uint8(UInt8(ascii: "O"))
                Self.image(old, &$0)
            } else {
                $0.uint8(UInt8(ascii: "K"))
                Self.image(
                    old.enumerated().map { $0.offset == 0 ? $0.element : .null }, &$0)
            }
        }
    }

    func truncate(_ tables: [Table], at position: LSN) -> [UInt8] {
        walData(position, "T") {
            $0.uint32(UInt32(tables.count))
            $0.uint8(0)
            for table in tables { $0.uint32(table.oid.value) }
        }
    }

    /// A transactional logical message, as `pg_logical_emit_message(true, …)` writes it.
    func schemaMessage(at position: LSN) -> [UInt8] {
        walData(position, "M") {
            $0.uint8(1)
            $0.uint64(position.value)
            $0.cString("pgcache")
            $0.uint32(6)
            $0.append(Array("schema".utf8))
        }
    }

    /// TupleData, all values in text format.
    private static func image(_ row: Row, _ writer: inout ByteWriter, unchanged: [Bool] = []) {
        writer.uint16(UInt16(row.count))
        for (place, datum) in row.enumerated() {
            if place < unchanged.count, unchanged[place] {
                writer.uint8(UInt8(ascii: "u"))
                continue
            }
            switch datum {
            case .null: writer.uint8(UInt8(ascii: "n"))
            case .bool(let value): text(value ? "t" : "f", &writer)
            case .int(let value): text(String(value), &writer)
            case .text(let value): text(value, &writer)
            case .date(let days): text(Wire.date(days, .iso), &writer)
            case .bytes(let bytes): text(Wire.bytea(bytes, escapes: false), &writer)
            }
        }
    }

    private static func text(_ value: String, _ writer: inout ByteWriter) {
        writer.uint8(UInt8(ascii: "t"))
        writer.uint32(UInt32(value.utf8.count))
        writer.append(Array(value.utf8))
    }
}
