/// Bytes that somebody else owns: a pointer and a count, valid as long as the owner says.
///
/// The hot path passes these around instead of arrays: nothing is copied, retained or freed.
/// Reading outside is a bug of ours and traps; bytes of a peer are read through `ByteReader`,
/// which throws instead.
public struct ByteView {
    public let base: UnsafeRawPointer
    public let count: Int

    @inlinable public init(base: UnsafeRawPointer, count: Int) {
        self.base = base
        self.count = count
    }

    @inlinable public init(_ buffer: UnsafeRawBufferPointer) {
        // An empty buffer may have no address; any address does for no bytes.
        base = buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        count = buffer.count
    }

    @inlinable public var buffer: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }
    @inlinable public var bytes: [UInt8] { [UInt8](buffer) }
    public var string: String { String(decoding: buffer, as: UTF8.self) }

    @inlinable public subscript(offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < count, "byte outside of the view")
        return base.load(fromByteOffset: offset, as: UInt8.self)
    }

    @inlinable public func slice(from start: Int, count length: Int) -> ByteView {
        precondition(start >= 0 && length >= 0 && start <= count - length, "slice outside of the view")
        return ByteView(base: base + start, count: length)
    }
    @inlinable public func dropFirst(_ length: Int) -> ByteView {
        slice(from: length, count: count - length)
    }

    /// Big-endian, as everything on the wire (manual, 55.7 Message Data Types).
    @inlinable public func uint16(at offset: Int) -> UInt16 {
        precondition(offset >= 0 && offset <= count - 2, "integer outside of the view")
        return UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    @inlinable public func uint32(at offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset <= count - 4, "integer outside of the view")
        return UInt32(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    @inlinable public func uint64(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= count - 8, "integer outside of the view")
        return UInt64(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

/// Calls `body` with the array's bytes as a view that is valid inside the call.
@inlinable
public func withView<R>(_ bytes: [UInt8], _ body: (ByteView) throws -> R) rethrows -> R {
    try bytes.withUnsafeBytes { try body(ByteView($0)) }
}
