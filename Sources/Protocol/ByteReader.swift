/// Bytes of a peer did not have the form that the protocol gives them.
public struct ProtocolError: Error, Equatable, Sendable {
    /// What was being read, what was expected and what came.
    public var message: String
    public init(_ message: String) { self.message = message }
}

/// Reads a message's fields in order; throws `ProtocolError` rather than reading outside.
public struct ByteReader {
    public let view: ByteView
    public private(set) var position: Int = 0

    public init(_ view: ByteView) { self.view = view }

    public var remaining: Int { view.count - position }
    public var rest: ByteView { view.dropFirst(position) }

    private mutating func advance(_ length: Int, _ what: StaticString) throws(ProtocolError) -> Int {
        guard length >= 0, remaining >= length else {
            throw ProtocolError("\(what): \(length) bytes expected, \(remaining) left")
        }
        defer { position += length }
        return position
    }

    public mutating func uint8(_ what: StaticString) throws(ProtocolError) -> UInt8 {
        view[try advance(1, what)]
    }
    public mutating func uint16(_ what: StaticString) throws(ProtocolError) -> UInt16 {
        view.uint16(at: try advance(2, what))
    }
    public mutating func uint32(_ what: StaticString) throws(ProtocolError) -> UInt32 {
        view.uint32(at: try advance(4, what))
    }
    public mutating func uint64(_ what: StaticString) throws(ProtocolError) -> UInt64 {
        view.uint64(at: try advance(8, what))
    }
    public mutating func int16(_ what: StaticString) throws(ProtocolError) -> Int16 {
        Int16(bitPattern: try uint16(what))
    }
    public mutating func int32(_ what: StaticString) throws(ProtocolError) -> Int32 {
        Int32(bitPattern: try uint32(what))
    }
    public mutating func lsn(_ what: StaticString) throws(ProtocolError) -> LSN {
        LSN(try uint64(what))
    }
    public mutating func oid(_ what: StaticString) throws(ProtocolError) -> OID {
        OID(try uint32(what))
    }
    public mutating func bytes(_ length: Int, _ what: StaticString) throws(ProtocolError) -> ByteView {
        view.slice(from: try advance(length, what), count: length)
    }

    /// Bytes up to a NUL, which is consumed and not part of the result.
    public mutating func cString(_ what: StaticString) throws(ProtocolError) -> ByteView {
        let start = position
        while position < view.count {
            if view[position] == 0 {
                position += 1
                return view.slice(from: start, count: position - 1 - start)
            }
            position += 1
        }
        throw ProtocolError("\(what): no terminating NUL")
    }
}
