/// An error as the protocol carries it (manual, 55.8 Error and Notice Message Fields).
public struct WireError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Severity: String, Sendable { case error = "ERROR", fatal = "FATAL" }

    public var severity: Severity
    public var state: SQLState
    public var message: String
    public var hint: String?

    public init(_ severity: Severity, _ state: SQLState, _ message: String, hint: String? = nil) {
        self.severity = severity
        self.state = state
        self.message = message
        self.hint = hint
    }

    /// The ErrorResponse message.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.message(BackendType.errorResponse) { body in
            func field(_ code: Character, _ value: String) {
                body.uint8(code.asciiValue ?? 0)
                body.cString(value)
            }
            field("S", severity.rawValue)
            field("V", severity.rawValue)
            field("C", state.code)
            field("M", message)
            if let hint { field("H", hint) }
            body.uint8(0)
        }
        return writer.bytes
    }

    public var description: String { "\(severity.rawValue) \(state.code): \(message)" }
}

/// Five characters that name a kind of error (manual, appendix A).
public struct SQLState: Hashable, Sendable {
    public var code: String
    public init(_ code: String) { self.code = code }

    public static let adminShutdown = SQLState("57P01")
    public static let cannotConnectNow = SQLState("57P03")
    public static let connectionFailure = SQLState("08006")
    public static let cannotConnect = SQLState("08001")
    public static let featureNotSupported = SQLState("0A000")
    public static let insufficientPrivilege = SQLState("42501")
    public static let invalidCursorName = SQLState("34000")
    public static let lockNotAvailable = SQLState("55P03")
    public static let objectInUse = SQLState("55006")
    public static let outOfMemory = SQLState("53200")
    public static let protocolViolation = SQLState("08P01")
    public static let queryCanceled = SQLState("57014")
    public static let tooManyConnections = SQLState("53300")
    public static let undefinedObject = SQLState("42704")
}
