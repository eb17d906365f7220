import PGProtocol

/// A column of a result, as RowDescription tells it (manual, 55.7 Message Formats), in the format of an execution.
struct ResultField {
    /// The relation whose column is shown as it is; 0 for what is computed.
    var table: OID
    var column: Int16
    var type: OID
    var format: BindTail.Format

    /// Those of the RowDescription among these messages; nil without one, and where a format is none.
    ///
    /// - Parameter tail: of the execution; nil for the simple protocol, whose description knows the formats.
    static func all(in messages: ByteView, tail: BindTail?) throws(ProtocolError) -> [ResultField]? {
        var messages = ByteReader(messages)
        var body: ByteView?
        while messages.remaining > 0, body == nil {
            let type = try messages.uint8("type")
            let length = try messages.int32("length")
            let content = try messages.bytes(Int(length) - 4, "body")
            if type == BackendType.rowDescription { body = content }
        }
        guard let body else { return nil }
        var reader = ByteReader(body)
        let count = Int(try reader.uint16("number of fields"))
        var fields: [ResultField] = []
        fields.reserveCapacity(min(count, reader.remaining / 19))
        for position in 0..<count {
            _ = try reader.cString("name of a field")
            let table = try reader.oid("table of a field")
            let column = try reader.int16("column of a field")
            let type = try reader.oid("type of a field")
            _ = try reader.int16("size of a field")
            _ = try reader.int32("modifier of a field")
            let described = BindTail.Format(rawValue: try reader.uint16("format of a field"))
            // A description of the statement does not know the formats; Bind does.
            guard let format = tail.map({ $0.resultFormat(of: position) }) ?? described else { return nil }
            fields.append(ResultField(table: table, column: column, type: type, format: format))
        }
        return fields
    }
}
