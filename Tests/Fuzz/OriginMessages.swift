import PGProtocol

/// Messages as an origin writes them (manual, 55.7), for `ModelOrigin` and the log-in of a session.
enum OriginMessages {
    static func message(_ type: UInt8, _ body: (inout ByteWriter) -> Void = { _ in }) -> [UInt8] {
        var writer = ByteWriter()
        writer.message(type, body)
        return writer.bytes
    }

    static let logIn: [UInt8] =
        message(BackendType.authentication) { $0.uint32(0) }
        + parameterStatus("client_encoding", "UTF8") + parameterStatus("TimeZone", "UTC")
        + message(BackendType.backendKeyData) {
            $0.uint32(77)
            $0.uint32(99)
        } + ready(TransactionStatus.idle.rawValue)

    static func ready(_ status: UInt8) -> [UInt8] {
        message(BackendType.readyForQuery) { $0.uint8(status) }
    }
    static func parameterStatus(_ name: String, _ value: String) -> [UInt8] {
        message(BackendType.parameterStatus) {
            $0.cString(name)
            $0.cString(value)
        }
    }
    static func commandComplete(_ tag: String) -> [UInt8] {
        message(BackendType.commandComplete) { $0.cString(tag) }
    }
    static func error(_ state: String) -> [UInt8] {
        WireError(.error, SQLState(state), "words").encoded
    }
    static let notice: [UInt8] = message(BackendType.noticeResponse) {
        $0.uint8(UInt8(ascii: "M"))
        $0.cString("words")
        $0.uint8(0)
    }
    static let copyIn: [UInt8] = message(BackendType.copyInResponse) {
        $0.uint8(0)
        $0.uint16(0)
    }

    /// Columns of the relation `items`, all integers.
    static func rowDescription(_ columns: [String], format: UInt16) -> [UInt8] {
        message(BackendType.rowDescription) { body in
            body.uint16(UInt16(columns.count))
            for (index, column) in columns.enumerated() {
                body.cString(column)
                body.uint32(CannedShop.items.value)
                body.uint16(UInt16(index + 1))
                body.uint32(23)
                body.uint16(4)
                body.uint32(.max)
                body.uint16(format)
            }
        }
    }
    static func textRow(_ values: [String?]) -> [UInt8] {
        message(BackendType.dataRow) { body in
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
}

/// Messages as a client writes them, for sessions that a target drives itself.
enum ClientMessages {
    static func message(_ type: UInt8, _ body: (inout ByteWriter) -> Void = { _ in }) -> [UInt8] {
        OriginMessages.message(type, body)
    }
    static let startup: [UInt8] = {
        var writer = ByteWriter()
        writer.lengthPrefixed { body in
            body.uint32(196_608)
            for word in ["user", "app", "database", "shop"] { body.cString(word) }
            body.uint8(0)
        }
        return writer.bytes
    }()
    static func query(_ sql: String) -> [UInt8] { message(FrontendType.query) { $0.cString(sql) } }
    static func parse(_ sql: String, name: String = "") -> [UInt8] {
        message(FrontendType.parse) {
            $0.cString(name)
            $0.cString(sql)
            $0.uint16(0)
        }
    }
    static func bind(_ name: String = "", _ values: [String] = []) -> [UInt8] {
        message(FrontendType.bind) { body in
            body.cString("")
            body.cString(name)
            body.uint16(0)
            body.uint16(UInt16(values.count))
            for value in values {
                body.uint32(UInt32(value.utf8.count))
                body.append(Array(value.utf8))
            }
            body.uint16(0)
        }
    }
    static func describe(_ kind: Unicode.Scalar, _ name: String = "") -> [UInt8] {
        message(FrontendType.describe) {
            $0.uint8(UInt8(ascii: kind))
            $0.cString(name)
        }
    }
    static func execute(limit: UInt32 = 0) -> [UInt8] {
        message(FrontendType.execute) {
            $0.cString("")
            $0.uint32(limit)
        }
    }
    static let sync = message(FrontendType.sync)
    /// Parse, Bind, Describe, Execute, Sync of the unnamed statement.
    static func execution(_ sql: String, _ values: [String] = []) -> [UInt8] {
        parse(sql) + bind("", values) + describe("P") + execute() + sync
    }
}
