import PGProtocol

/// The types that a RowDescription names, and whether a row is of them.
enum ResultTypes {
    /// Of a RowDescription message; types that the model does not have count as text.
    static func of(_ description: [UInt8]) -> [ColumnType] {
        var types: [ColumnType] = []
        guard description.count >= 7 else { return types }
        var position = 7
        while position < description.count {
            while position < description.count, description[position] != 0 { position += 1 }
            guard position + 19 <= description.count else { break }
            let number = description[position + 7..<position + 11].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            types.append(ColumnType(OID(number)) ?? .text)
            position += 19
        }
        return types
    }

    /// Whether the body of a DataRow message has a value of each of these types.
    static func fit(_ row: some Collection<UInt8>, _ types: [ColumnType], isBinary: Bool) -> Bool {
        let row = Array(row)
        var position = 2
        guard row.count >= 2, Int(row[0]) << 8 | Int(row[1]) == types.count else { return false }
        for type in types {
            guard position + 4 <= row.count else { return false }
            let size = Int(Int32(bitPattern: row[position..<position + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }))
            position += 4
            guard size >= 0 else { continue }
            guard position + size <= row.count,
                Wire.datum(Array(row[position..<position + size]), type, isBinary: isBinary) != nil
            else { return false }
            position += size
        }
        return position == row.count
    }
}
