import PGProtocol

/// A message that a client sends, as a value: what it asks for is known from it alone.
enum ClientRequest: Hashable {
    /// SSLRequest; the answer is one byte.
    case encryptionRequest
    case startup(applicationName: String, Login = .plain)
    case query(BoundStatement)
    case parse(String, Statement, ClientRequest.Declared)
    case describeStatement(String)
    case bind(Binding)
    case describePortal(String)
    /// `limit` 0 is all rows.
    case execute(portal: String, limit: Int)
    case closeStatement(String)
    case flush
    case sync
    case terminate

    /// What Parse says of the types of parameters.
    enum Declared: Hashable, CaseIterable {
        /// It lists none.
        case nothing
        /// It lists each as 0: the server is to find out.
        case unspecified
        case types
    }

    struct Binding: Hashable {
        var portal = ""
        var statement = ""
        var bound: BoundStatement
        var hasBinaryParameters = false
        var hasBinaryResults = false
        /// Formats are listed one by one, rather than once for all.
        var listsFormats = false
    }
}

extension ClientRequest {
    /// Appends it as PostgreSQL reads it (manual, 55.7).
    func write(to writer: inout ByteWriter, _ book: StatementBook) {
        switch self {
        case .encryptionRequest:
            writer.lengthPrefixed { $0.uint32(80_877_103) }
        case .startup(let name, let login):
            writer.lengthPrefixed { body in
                body.uint32(3 << 16)
                for parameter in login.parameters(name) {
                    body.cString(parameter.name)
                    body.cString(parameter.value)
                }
                body.uint8(0)
            }
        case .query(let bound):
            precondition(bound.parameters.isEmpty, "a simple query has no parameters")
            let text = book.text(of: bound.statement)
            writer.message(FrontendType.query) { $0.cString(text) }
        case .parse(let name, let statement, let declared):
            let text = book.text(of: statement)
            let types = declared == .nothing ? [] : statement.parameterTypes
            writer.message(FrontendType.parse) { body in
                body.cString(name)
                body.cString(text)
                body.uint16(UInt16(types.count))
                for type in types { body.uint32(declared == .types ? type.oid.value : 0) }
            }
        case .describeStatement(let name): named(FrontendType.describe, "S", name, &writer)
        case .describePortal(let name): named(FrontendType.describe, "P", name, &writer)
        case .closeStatement(let name): named(FrontendType.close, "S", name, &writer)
        case .bind(let binding):
            writer.message(FrontendType.bind) { binding.write(to: &$0) }
        case .execute(let portal, let limit):
            writer.message(FrontendType.execute) { body in
                body.cString(portal)
                body.uint32(UInt32(limit))
            }
        case .flush: writer.message(FrontendType.flush) { _ in }
        case .sync: writer.message(FrontendType.sync) { _ in }
        case .terminate: writer.message(FrontendType.terminate) { _ in }
        }
    }

    private func named(_ type: UInt8, _ kind: Character, _ name: String, _ writer: inout ByteWriter) {
        writer.message(type) { body in
            body.uint8(kind.asciiValue ?? 0)
            body.cString(name)
        }
    }

    /// For the trace.
    func words(_ book: StatementBook) -> String {
        switch self {
        case .encryptionRequest: "SSLRequest"
        case .startup: "StartupMessage"
        case .query(let bound): "Query \"\(book.text(of: bound.statement))\""
        case .parse(let name, let statement, _): "Parse \(name) \"\(book.text(of: statement))\""
        case .describeStatement(let name): "Describe statement \(name)"
        case .bind(let binding):
            "Bind \(binding.statement) \(binding.bound.parameters.map(\.words))"
                + (binding.hasBinaryResults ? " binary" : "")
        case .describePortal: "Describe portal"
        case .execute(_, let limit): limit == 0 ? "Execute" : "Execute, \(limit) rows"
        case .closeStatement(let name): "Close \(name)"
        case .flush: "Flush"
        case .sync: "Sync"
        case .terminate: "Terminate"
        }
    }
}

extension ClientRequest.Binding {
    fileprivate func write(to body: inout ByteWriter) {
        func formats(_ isBinary: Bool, _ count: Int) {
            if listsFormats {
                body.uint16(UInt16(count))
                for _ in 0..<count { body.uint16(isBinary ? 1 : 0) }
            } else if isBinary {
                body.uint16(1)
                body.uint16(1)
            } else {
                body.uint16(0)
            }
        }
        let types = bound.statement.parameterTypes
        precondition(types.count == bound.parameters.count, "a value for each parameter")
        body.cString(portal)
        body.cString(statement)
        formats(hasBinaryParameters, types.count)
        body.uint16(UInt16(types.count))
        for (type, value) in zip(types, bound.parameters) {
            guard let bytes = Wire.bytes(value, type, isBinary: hasBinaryParameters) else {
                body.uint32(UInt32.max)
                continue
            }
            body.uint32(UInt32(bytes.count))
            body.append(bytes)
        }
        formats(hasBinaryResults, bound.statement.columnCount)
    }
}

extension Statement {
    /// Columns of its rows.
    var columnCount: Int {
        switch self {
        case .select(let select): select.outputTypes.count
        case .ping: 1
        // Not known: one code stands for all columns.
        case .catalog(let statement): statement.isRead ? 1 : 0
        case .setting(let setting): setting.returnsRows ? 1 : 0
        case .insert, .update, .delete, .truncate, .begin, .commit, .rollback, .block, .channel, .nonsense: 0
        }
    }
}

extension Datum {
    /// For people.
    var words: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .text(let value): "'\(value)'"
        case .date(let days): "'\(Wire.date(days, .iso))'"
        case .bytes(let bytes): "'\(Wire.bytea(bytes, escapes: false))'"
        }
    }
}
