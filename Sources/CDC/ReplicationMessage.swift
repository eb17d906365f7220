import PGProtocol

/// What a walsender puts into CopyData while it streams (manual, 55.4 Streaming Replication Protocol:
/// XLogData and Primary keepalive message). Clocks are microseconds since 2000-01-01, the origin's.
public enum ReplicationMessage {
    /// `payload` is one pgoutput message and lives as long as the bytes that were decoded.
    case walData(start: LSN, walEnd: LSN, clockMicroseconds: Int64, payload: ByteView)
    case keepalive(walEnd: LSN, clockMicroseconds: Int64, wantsReply: Bool)

    public init(_ view: ByteView) throws(ProtocolError) {
        var reader = ByteReader(view)
        let type = try reader.uint8("replication message")
        switch type {
        case UInt8(ascii: "w"):
            self = .walData(
                start: try reader.lsn("XLogData start"), walEnd: try reader.lsn("XLogData end"),
                clockMicroseconds: Int64(bitPattern: try reader.uint64("XLogData clock")),
                payload: reader.rest)
        case UInt8(ascii: "k"):
            self = .keepalive(
                walEnd: try reader.lsn("keepalive end"),
                clockMicroseconds: Int64(bitPattern: try reader.uint64("keepalive clock")),
                wantsReply: try reader.uint8("keepalive reply") != 0)
            guard reader.remaining == 0 else {
                throw ProtocolError("\(reader.remaining) bytes behind a keepalive")
            }
        default:
            throw ProtocolError("replication message: w or k expected, \(type) came")
        }
    }

    /// Standby status update (`r`): everything up to `position` is received, kept and applied.
    ///
    /// - Parameter clockMicroseconds: shown by the origin as reply_time and used for nothing else, so the
    ///   origin's own last clock does.
    public static func statusUpdate(
        position: LSN, clockMicroseconds: Int64, wantsReply: Bool
    ) -> [UInt8] {
        var writer = ByteWriter(reserving: 34)
        writer.uint8(UInt8(ascii: "r"))
        for _ in 0..<3 { writer.uint64(position.value) }  // received, flushed, applied
        writer.uint64(UInt64(bitPattern: clockMicroseconds))
        writer.uint8(wantsReply ? 1 : 0)
        return writer.bytes
    }
}
