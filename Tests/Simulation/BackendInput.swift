import PGProtocol

/// A message of a client, taken apart (manual, 55.7 Message Formats).
///
/// It relies on nothing but the bytes: what a backend makes of it is the backend's.
enum FrontendMessage: Equatable {
    case query(String)
    /// `types`: as declared, 0 for "find out".
    case parse(name: String, text: String, types: [OID])
    case bind(Bind)
    /// `S` or `P`.
    case describe(kind: UInt8, name: String)
    /// `rowsMax`: 0 for all.
    case execute(portal: String, rowsMax: Int)
    case close(kind: UInt8, name: String)
    case flush, sync, terminate
    /// A message of a known type whose fields are not there.
    case malformed(String)
    case unknown(UInt8)

    struct Bind: Equatable {
        var portal: String
        var statement: String
        /// None: all text; one: of all; else one for each parameter.
        var formats: [Int16]
        /// nil for NULL.
        var values: [[UInt8]?]
        var resultFormats: [Int16]
    }

    /// For people.
    var title: String {
        switch self {
        case .query(let text): "Query \(text.prefix(100))"
        case .parse(let name, let text, _): "Parse \(name) \(text.prefix(100))"
        case .bind(let bind): "Bind \(bind.statement)"
        case .describe(_, let name): "Describe \(name)"
        case .execute(let name, _): "Execute \(name)"
        case .close(_, let name): "Close \(name)"
        case .flush, .sync, .terminate, .malformed, .unknown: "\(self)"
        }
    }

    /// Sent alone: its errors end with it, and ReadyForQuery follows it.
    var isSimple: Bool {
        if case .query = self { true } else { false }
    }
    /// CancelRequest finds something to interrupt in it.
    var isInterruptible: Bool {
        switch self {
        case .query, .bind, .execute: true
        default: false
        }
    }

    init(_ type: UInt8, _ body: [UInt8]) {
        do {
            self = try withView(body) { try FrontendMessage(type, reading: ByteReader($0)) }
        } catch {
            self = .malformed("\(error)")
        }
    }

    private init(_ type: UInt8, reading body: ByteReader) throws {
        var reader = body
        switch type {
        case FrontendType.query:
            self = .query(try reader.cString("query").string)
        case FrontendType.parse:
            let name = try reader.cString("statement").string
            let text = try reader.cString("query").string
            let types = try Self.list(&reader) { reader in try reader.oid("parameter type") }
            self = .parse(name: name, text: text, types: types)
        case FrontendType.bind:
            let portal = try reader.cString("portal").string
            let statement = try reader.cString("statement").string
            let formats = try Self.list(&reader) { reader in try reader.int16("parameter format") }
            let values: [[UInt8]?] = try Self.list(&reader) { reader in
                let length = Int(try reader.int32("parameter length"))
                return length < 0 ? nil : try reader.bytes(length, "parameter").bytes
            }
            let resultFormats = try Self.list(&reader) { reader in try reader.int16("result format") }
            self = .bind(
                Bind(
                    portal: portal, statement: statement, formats: formats, values: values,
                    resultFormats: resultFormats))
        case FrontendType.describe:
            self = .describe(kind: try reader.uint8("kind"), name: try reader.cString("name").string)
        case FrontendType.execute:
            let portal = try reader.cString("portal").string
            self = .execute(portal: portal, rowsMax: max(0, Int(try reader.int32("row limit"))))
        case FrontendType.close:
            self = .close(kind: try reader.uint8("kind"), name: try reader.cString("name").string)
        case FrontendType.flush: self = .flush
        case FrontendType.sync: self = .sync
        case FrontendType.terminate: self = .terminate
        default: self = .unknown(type)
        }
        guard reader.remaining == 0 || type == FrontendType.terminate else {
            throw ProtocolError("\(reader.remaining) bytes behind a message of type \(type)")
        }
    }

    private static func list<Element>(
        _ reader: inout ByteReader, _ element: (inout ByteReader) throws -> Element
    ) throws -> [Element] {
        let count = Int(try reader.uint16("count"))
        var list: [Element] = []
        for _ in 0..<count { list.append(try element(&reader)) }
        return list
    }
}
