/// What a client sends first, before any typed message (manual, 55.7: StartupMessage,
/// SSLRequest, GSSENCRequest, CancelRequest).
public enum StartupPacket: Equatable, Sendable {
    case sslRequest
    case gssEncryptionRequest
    case cancel(BackendKey)
    /// A session; `parameters` in the order they came.
    case session(version: UInt32, parameters: [Parameter])

    public struct Parameter: Equatable, Sendable {
        public var name: String
        public var value: String
    }

    /// The longest packet that PostgreSQL accepts (MAX_STARTUP_PACKET_LENGTH).
    public static let lengthMax = 10_000

    /// The length of the whole packet once its first four bytes are there; nil before.
    /// Throws when no such packet can exist.
    public static func length(_ view: ByteView) throws(ProtocolError) -> Int? {
        guard view.count >= 4 else { return nil }
        let length = Int(view.uint32(at: 0))
        guard length >= 8, length <= lengthMax else {
            throw ProtocolError("startup packet: a length of \(length)")
        }
        return length
    }

    /// Parses a whole packet, its length included.
    public init(_ view: ByteView) throws(ProtocolError) {
        var reader = ByteReader(view)
        _ = try reader.uint32("startup packet length")
        let code = try reader.uint32("startup packet code")
        switch code {
        case 80_877_103: self = .sslRequest
        case 80_877_104: self = .gssEncryptionRequest
        case 80_877_102:
            let process = try reader.uint32("CancelRequest process")
            self = .cancel(BackendKey(process: process, secret: reader.rest.bytes))
        default:
            // What is not version 3 has another form; the origin knows what to say to it.
            guard code >> 16 == 3 else {
                self = .session(version: code, parameters: [])
                return
            }
            var parameters: [Parameter] = []
            while reader.remaining > 1 {
                let name = try reader.cString("startup parameter").string
                let value = try reader.cString("startup parameter value").string
                parameters.append(Parameter(name: name, value: value))
            }
            self = .session(version: code, parameters: parameters)
        }
    }
}

/// What a client needs to cancel a statement (manual, 55.7 BackendKeyData). The secret has four bytes
/// up to protocol 3.0 and up to 256 from 3.2 on.
public struct BackendKey: Hashable, Sendable {
    public var process: UInt32
    public var secret: [UInt8]
    public init(process: UInt32, secret: [UInt8]) {
        self.process = process
        self.secret = secret
    }

    /// The CancelRequest packet.
    public var cancelRequest: [UInt8] {
        var writer = ByteWriter()
        writer.lengthPrefixed { body in
            body.uint32(80_877_102)
            body.uint32(process)
            body.append(secret)
        }
        return writer.bytes
    }
}
