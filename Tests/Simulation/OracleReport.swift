import PGProtocol

/// Replies in words: for a violation's text, and for reading totals.
enum ReplyText {
    /// Rows of a text before it is cut.
    static let rowsMax = 8

    /// The values of DataRow messages; nil if they are not such.
    static func rows(_ bytes: [UInt8], _ types: [ColumnType], isBinary: Bool) -> [[Datum]]? {
        var rows: [[Datum]] = []
        var position = 0
        func integer(_ count: Int) -> Int? {
            guard position + count <= bytes.count else { return nil }
            var value = 0
            for place in position..<position + count { value = value << 8 | Int(bytes[place]) }
            position += count
            return count == 4 ? Int(Int32(truncatingIfNeeded: value)) : value
        }
        while position < bytes.count {
            guard bytes[position] == BackendType.dataRow else { return nil }
            position += 1
            guard integer(4) != nil, let columns = integer(2), columns == types.count else { return nil }
            var row: [Datum] = []
            for type in types {
                guard let length = integer(4) else { return nil }
                var value: [UInt8]?
                if length >= 0 {
                    guard position + length <= bytes.count else { return nil }
                    value = Array(bytes[position..<position + length])
                    position += length
                }
                // How a date or bytes look depends on the session.
                let shown = isBinary || (type != .date && type != .bytea) ? type : .text
                guard let datum = Wire.datum(value, shown, isBinary: isBinary) else { return nil }
                row.append(datum)
            }
            rows.append(row)
        }
        return rows
    }

    /// Behind a statement's text.
    static func parameters(_ parameters: [Datum]) -> String {
        parameters.isEmpty ? "" : " with (" + parameters.map(\.words).joined(separator: ", ") + ")"
    }

    static func got(_ exchange: Exchange) -> String { "  got:      " + reply(exchange.reply, exchange) }

    static func comparison(_ exchange: Exchange, expected: Reply) -> String {
        got(exchange) + "\n  expected: " + reply(expected, exchange)
    }

    private static func reply(_ reply: Reply, _ exchange: Exchange) -> String {
        switch reply {
        case .rows(_, let bytes, let tag): "\(tag) \(rowsText(bytes, exchange))"
        case .done(let tag): tag
        case .error(let state, let bytes): "ERROR \(state) behind \(rowsText(bytes, exchange))"
        case .empty: "nothing"
        }
    }

    private static func rowsText(_ bytes: [UInt8], _ exchange: Exchange) -> String {
        let types: [ColumnType] =
            switch exchange.statement {
            case .select(let select): select.outputTypes
            case .ping: [.int4]
            case .catalog: []
            case .setting(let setting): setting.returnsRows ? [.text] : []
            case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .block, .channel, .nonsense: []
            }
        guard let rows = rows(bytes, types, isBinary: exchange.isBinary) else {
            return "\(bytes.count) bytes that are no rows of this statement"
        }
        let texts = rows.prefix(rowsMax).map { "(" + $0.map(\.words).joined(separator: ", ") + ")" }
        let more = rows.count > rowsMax ? " …\(rows.count - rowsMax) more" : ""
        return "[" + texts.joined(separator: " ") + more + "]"
    }
}

extension RowName {
    var text: String { "\(OriginDatabase.name(of: table)) \(id)" }
}

extension Exchange {
    /// Who, which, what: `client-3.1 #17 select …`.
    var title: String {
        "\(client) #\(number) \(statement.sql)\(ReplyText.parameters(parameters))"
    }
}

extension Reply {
    /// Equal, but for a description that only one of them has.
    func isSame(as other: Reply) -> Bool {
        switch (self, other) {
        case (.rows(let left?, _, _), .rows(let right?, _, _)) where left != right: false
        case (.rows(_, let leftRows, let leftTag), .rows(_, let rightRows, let rightTag)):
            leftTag == rightTag && leftRows == rightRows
        case (.rows, _), (.done, _), (.error, _), (.empty, _): self == other
        }
    }
}

extension LogRecord {
    /// A commit that has changed one of the tables: `730 at 0/1000340: account 3, account 5`; nil for others.
    func text(_ tables: [Int]) -> String? {
        guard case .commit(let xid, let edits) = kind else { return nil }
        var parts: [String] = []
        for edit in edits where tables.contains(edit.table) {
            let table = OriginDatabase.name(of: edit.table)
            switch edit.kind {
            case .insert(let row): parts.append("+\(table) \(RowText.short(row))")
            case .update(_, let new): parts.append("\(table) \(RowText.short(new))")
            case .delete(let row): parts.append("-\(table) \(row.first?.words ?? "")")
            case .truncate: parts.append("truncate \(table)")
            case .schemaMessage: break
            }
        }
        guard !parts.isEmpty else { return nil }
        let more = parts.count > 4 ? " …" : ""
        return "\(xid) at \(end): " + parts.prefix(4).joined(separator: ", ") + more
    }
}

private enum RowText {
    static func short(_ row: Row) -> String { "(" + row.map(\.words).joined(separator: ", ") + ")" }
}

/// A number that sums up what was checked: FNV-1a, 64 bits (Fowler, Noll, Vo).
struct Digest: Equatable, CustomStringConvertible {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
    mutating func add(_ number: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> shift)) }
    }
    mutating func add(_ bytes: [UInt8]) {
        for byte in bytes { add(byte) }
    }
    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
    }

    mutating func add(_ exchange: Exchange) {
        add(exchange.client)
        add(UInt64(exchange.number))
        switch exchange.reply {
        case .rows(_, let rows, let tag):
            add(rows)
            add(tag)
        case .done(let tag): add(tag)
        case .error(let state, let rows):
            add(rows)
            add(state)
        case .empty: add(UInt8(0))
        }
    }

    var description: String { String(value, radix: 16) }
}
