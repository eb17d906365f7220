import PGProtocol

/// A message that the application or an event trigger wrote with `pg_logical_emit_message`.
public struct LogicalMessage: Equatable, Sendable {
    /// Behind the record of the message.
    public var lsn: LSN
    /// It belongs to the transaction around it; else to none, and what wrote it may have been rolled back.
    public var isTransactional: Bool
    public var prefix: String
    public var content: [UInt8]

    public init(lsn: LSN, isTransactional: Bool, prefix: String, content: [UInt8]) {
        self.lsn = lsn
        self.isTransactional = isTransactional
        self.prefix = prefix
        self.content = content
    }
}

/// One message of the output plugin `pgoutput` (manual, 55.9 Logical Replication Message Formats).
public enum PgOutputMessage: Equatable, Sendable {
    /// `finalLSN` is where the commit record starts.
    case begin(finalLSN: LSN, commitMicroseconds: Int64, narrowID: UInt32)
    /// `endLSN` is behind the commit record.
    case commit(commitLSN: LSN, endLSN: LSN, commitMicroseconds: Int64)
    case origin(commitLSN: LSN, name: String)
    case relation(RelationShape)
    case type(oid: OID, schema: String, name: String)
    case change(RowChange)
    case truncate(relations: [OID], cascades: Bool, restartsIdentity: Bool)
    case message(LogicalMessage)
}

/// Bytes of the stream could not be taken for what they should be. The stream cannot go on.
public enum PgOutputError: Error, Equatable, Sendable {
    case malformed(String)
    /// A message of protocol version 2 or later, which was not asked for.
    case notAskedFor(type: UInt8)
    case unknown(type: UInt8)
    /// More than is kept of what may not be dropped.
    case beyondLimit(String)
}

/// Decodes the messages of `pgoutput`, protocol version 1, each from its own bytes alone.
///
/// It holds no state: relations and transactions are put together by `SourceTransactionBuilder`.
/// A message is decoded whole or not at all; bytes that are left over are an error, because they mean
/// that something was misunderstood. No bytes of a peer can make it trap, and it reserves no memory
/// that the message's own length does not pay for.
public enum PgOutputDecoder {
    public static func decode(_ view: ByteView) throws(PgOutputError) -> PgOutputMessage {
        var reader = ByteReader(view)
        let message: PgOutputMessage
        do {
            message = try decode(&reader)
        } catch let error as PgOutputError {
            throw error
        } catch {
            throw .malformed((error as? ProtocolError)?.message ?? "\(error)")
        }
        guard reader.remaining == 0 else {
            throw .malformed("\(reader.remaining) bytes behind a message of type \(view[0])")
        }
        return message
    }

    /// The relation of an insert, update or delete, without decoding its images; nil for others.
    public static func changedRelation(_ view: ByteView) -> OID? {
        guard view.count >= 5 else { return nil }
        switch view[0] {
        case UInt8(ascii: "I"), UInt8(ascii: "U"), UInt8(ascii: "D"):
            return OID(view.uint32(at: 1))
        default:
            return nil
        }
    }

    private static func decode(_ reader: inout ByteReader) throws -> PgOutputMessage {
        let type = try reader.uint8("message type")
        switch type {
        case UInt8(ascii: "B"):
            return .begin(
                finalLSN: try reader.lsn("Begin final LSN"),
                commitMicroseconds: Int64(bitPattern: try reader.uint64("Begin time")),
                narrowID: try reader.uint32("Begin xid"))
        case UInt8(ascii: "C"):
            _ = try reader.uint8("Commit flags")
            return .commit(
                commitLSN: try reader.lsn("Commit LSN"), endLSN: try reader.lsn("Commit end LSN"),
                commitMicroseconds: Int64(bitPattern: try reader.uint64("Commit time")))
        case UInt8(ascii: "O"):
            return .origin(
                commitLSN: try reader.lsn("Origin LSN"),
                name: try reader.cString("Origin name").string)
        case UInt8(ascii: "R"): return .relation(try relation(&reader))
        case UInt8(ascii: "Y"):
            return .type(
                oid: try reader.oid("Type OID"), schema: try reader.cString("Type schema").string,
                name: try reader.cString("Type name").string)
        case UInt8(ascii: "I"): return .change(try insert(&reader))
        case UInt8(ascii: "U"): return .change(try update(&reader))
        case UInt8(ascii: "D"): return .change(try delete(&reader))
        case UInt8(ascii: "T"): return try truncate(&reader)
        case UInt8(ascii: "M"): return try logicalMessage(&reader)
        case UInt8(ascii: "S"), UInt8(ascii: "E"), UInt8(ascii: "c"), UInt8(ascii: "A"),
            UInt8(ascii: "b"), UInt8(ascii: "P"), UInt8(ascii: "K"), UInt8(ascii: "r"),
            UInt8(ascii: "p"):
            throw PgOutputError.notAskedFor(type: type)
        default:
            throw PgOutputError.unknown(type: type)
        }
    }

    private static func relation(_ reader: inout ByteReader) throws(ProtocolError) -> RelationShape {
        let oid = try reader.oid("Relation OID")
        let schema = try reader.cString("Relation schema").string
        let name = try reader.cString("Relation name").string
        let identity = try reader.uint8("Relation replica identity")
        let count = Int(try reader.uint16("Relation columns"))
        var columns: [RelationShape.Column] = []
        columns.reserveCapacity(min(count, reader.remaining / 10))
        for _ in 0..<count {
            let flags = try reader.uint8("column flags")
            columns.append(
                RelationShape.Column(
                    name: try reader.cString("column name").string,
                    type: try reader.oid("column type"),
                    typeModifier: try reader.int32("column type modifier"), isKey: flags & 1 != 0))
        }
        // The empty name stands for pg_catalog (manual, 55.9 Relation).
        return RelationShape(
            oid: oid, schema: schema.isEmpty ? "pg_catalog" : schema, name: name,
            replicaIdentity: identity, columns: columns)
    }

    private static func insert(_ reader: inout ByteReader) throws(ProtocolError) -> RowChange {
        let relation = try reader.oid("Insert relation")
        let mark = try reader.uint8("Insert mark")
        guard mark == UInt8(ascii: "N") else { throw ProtocolError("Insert: N expected, \(mark) came") }
        return RowChange(relation: relation, kind: .insert(new: try image(&reader)))
    }

    private static func update(_ reader: inout ByteReader) throws(ProtocolError) -> RowChange {
        let relation = try reader.oid("Update relation")
        var old = RowChange.OldImage.absent
        var mark = try reader.uint8("Update mark")
        if mark == UInt8(ascii: "K") || mark == UInt8(ascii: "O") {
            let row = try image(&reader)
            old = mark == UInt8(ascii: "K") ? .key(row) : .full(row)
            mark = try reader.uint8("Update second mark")
        }
        guard mark == UInt8(ascii: "N") else { throw ProtocolError("Update: N expected, \(mark) came") }
        return RowChange(relation: relation, kind: .update(old: old, new: try image(&reader)))
    }

    private static func delete(_ reader: inout ByteReader) throws(ProtocolError) -> RowChange {
        let relation = try reader.oid("Delete relation")
        let mark = try reader.uint8("Delete mark")
        switch mark {
        case UInt8(ascii: "K"):
            return RowChange(relation: relation, kind: .delete(old: .key(try image(&reader))))
        case UInt8(ascii: "O"):
            return RowChange(relation: relation, kind: .delete(old: .full(try image(&reader))))
        default:
            throw ProtocolError("Delete: K or O expected, \(mark) came")
        }
    }

    private static func image(_ reader: inout ByteReader) throws(ProtocolError) -> RowImage {
        let count = Int(try reader.uint16("image columns"))
        var image: RowImage = []
        // Every column has at least its kind's byte.
        image.reserveCapacity(min(count, reader.remaining))
        for _ in 0..<count {
            let kind = try reader.uint8("column kind")
            switch kind {
            case UInt8(ascii: "n"): image.append(.null)
            case UInt8(ascii: "u"): image.append(.unchanged)
            case UInt8(ascii: "t"), UInt8(ascii: "b"):
                let length = Int(try reader.int32("column length"))
                let value = try reader.bytes(length, "column value").bytes
                image.append(kind == UInt8(ascii: "t") ? .text(value) : .binary(value))
            default:
                throw ProtocolError("column kind: n, u, t or b expected, \(kind) came")
            }
        }
        return image
    }

    private static func truncate(_ reader: inout ByteReader) throws(ProtocolError) -> PgOutputMessage {
        let count = Int(try reader.uint32("Truncate relations"))
        let options = try reader.uint8("Truncate options")
        guard count <= reader.remaining / 4 else {
            throw ProtocolError("Truncate: \(count) relations in \(reader.remaining) bytes")
        }
        var relations: [OID] = []
        relations.reserveCapacity(count)
        for _ in 0..<count { relations.append(try reader.oid("Truncate relation")) }
        return .truncate(
            relations: relations, cascades: options & 1 != 0, restartsIdentity: options & 2 != 0)
    }

    private static func logicalMessage(
        _ reader: inout ByteReader
    ) throws(ProtocolError) -> PgOutputMessage {
        let flags = try reader.uint8("Message flags")
        let lsn = try reader.lsn("Message LSN")
        let prefix = try reader.cString("Message prefix").string
        let length = Int(try reader.int32("Message length"))
        let content = try reader.bytes(length, "Message content").bytes
        return .message(
            LogicalMessage(
                lsn: lsn, isTransactional: flags & 1 != 0, prefix: prefix, content: content))
    }
}
