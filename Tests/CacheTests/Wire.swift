import PGProtocol

/// Messages as a client and an origin write them.
enum Wire {
    static func message(_ type: Character, _ body: (inout ByteWriter) -> Void = { _ in }) -> [UInt8] {
        var writer = ByteWriter()
        writer.message(type.asciiValue ?? 0, body)
        return writer.bytes
    }

    // MARK: - Of a client

    static func startup(_ parameters: [(String, String)]) -> [UInt8] {
        var writer = ByteWriter()
        writer.lengthPrefixed { body in
            body.uint32(196_608)
            for (name, value) in parameters {
                body.cString(name)
                body.cString(value)
            }
            body.uint8(0)
        }
        return writer.bytes
    }
    static func query(_ sql: String) -> [UInt8] { message("Q") { $0.cString(sql) } }
    static func parse(_ sql: String, name: String = "", types: [UInt32] = []) -> [UInt8] {
        message("P") { body in
            body.cString(name)
            body.cString(sql)
            body.uint16(UInt16(types.count))
            for type in types { body.uint32(type) }
        }
    }
    /// Parameters and results in text format.
    static func bind(
        _ statement: String = "", portal: String = "", _ parameters: [String] = []
    ) -> [UInt8] {
        message("B") { body in
            body.cString(portal)
            body.cString(statement)
            body.uint16(0)
            body.uint16(UInt16(parameters.count))
            for parameter in parameters {
                body.uint32(UInt32(parameter.utf8.count))
                body.append(Array(parameter.utf8))
            }
            body.uint16(0)
        }
    }
    static func describe(_ kind: Character, _ name: String = "") -> [UInt8] {
        message("D") { body in
            body.uint8(kind.asciiValue ?? 0)
            body.cString(name)
        }
    }
    static func execute(portal: String = "", limit: UInt32 = 0) -> [UInt8] {
        message("E") { body in
            body.cString(portal)
            body.uint32(limit)
        }
    }
    static func close(_ kind: Character, _ name: String) -> [UInt8] {
        message("C") { body in
            body.uint8(kind.asciiValue ?? 0)
            body.cString(name)
        }
    }
    static let sync = message("S")
    static let flush = message("H")

    /// Parse, Bind, Describe and Execute of the unnamed statement.
    static func execution(_ sql: String, _ parameters: [String] = []) -> [UInt8] {
        parse(sql) + bind(parameters) + describe("P") + execute()
    }
    private static func bind(_ parameters: [String]) -> [UInt8] { bind("", portal: "", parameters) }

    // MARK: - Of an origin

    static let parseComplete = message("1")
    static let bindComplete = message("2")
    static let closeComplete = message("3")
    static let noData = message("n")
    static let portalSuspended = message("s")
    static let copyIn = message("G") { body in
        body.uint8(0)
        body.uint16(0)
    }
    static func ready(_ status: Character = "I") -> [UInt8] {
        message("Z") { $0.uint8(status.asciiValue ?? 0) }
    }
    static func authentication(_ code: UInt32) -> [UInt8] { message("R") { $0.uint32(code) } }
    static func parameterStatus(_ name: String, _ value: String) -> [UInt8] {
        message("S") { body in
            body.cString(name)
            body.cString(value)
        }
    }
    static let keyData = message("K") { body in
        body.uint32(77)
        body.uint32(99)
    }
    static func rowDescription(_ columns: [String]) -> [UInt8] {
        message("T") { body in
            body.uint16(UInt16(columns.count))
            for (index, column) in columns.enumerated() {
                body.cString(column)
                body.uint32(20_001)
                body.uint16(UInt16(index + 1))
                body.uint32(23)
                body.uint16(4)
                body.uint32(.max)
                body.uint16(0)
            }
        }
    }
    static func parameterDescription(_ types: [UInt32]) -> [UInt8] {
        message("t") { body in
            body.uint16(UInt16(types.count))
            for type in types { body.uint32(type) }
        }
    }
    static func dataRow(_ values: [String?]) -> [UInt8] {
        message("D") { body in
            body.uint16(UInt16(values.count))
            for value in values {
                guard let value else {
                    body.uint32(.max)
                    continue
                }
                body.uint32(UInt32(value.utf8.count))
                body.append(Array(value.utf8))
            }
        }
    }
    static func commandComplete(_ tag: String) -> [UInt8] { message("C") { $0.cString(tag) } }
    static func error(_ state: String = "42P01", severity: String = "ERROR") -> [UInt8] {
        message("E") { fields(of: &$0, severity, state) }
    }
    static func notice() -> [UInt8] { message("N") { fields(of: &$0, "NOTICE", "00000") } }
    private static func fields(of body: inout ByteWriter, _ severity: String, _ state: String) {
        for (code, value) in [("S", severity), ("V", severity), ("C", state), ("M", "words")] {
            body.append(Array(code.utf8))
            body.cString(value)
        }
        body.uint8(0)
    }

    /// The answer to a simple SELECT, or to Describe and Execute of a portal.
    static func rows(_ rows: [[String?]], columns: [String] = ["id"]) -> [UInt8] {
        rowDescription(columns) + rows.flatMap { dataRow($0) } + commandComplete("SELECT \(rows.count)")
    }

    // MARK: - Reading

    /// The types of whole messages, as text; `?` for what is cut off.
    static func types(_ bytes: [UInt8]) -> String {
        var types = ""
        var position = 0
        while bytes.count - position >= 5 {
            let length = withView(bytes) { Int($0.uint32(at: position + 1)) }
            types.unicodeScalars.append(Unicode.Scalar(bytes[position]))
            position += 1 + length
        }
        return position == bytes.count ? types : types + "?"
    }
}
