/// Builds messages. Values are big-endian; `message` fills in the length when its body is written.
public struct ByteWriter {
    public private(set) var bytes: [UInt8] = []

    public init() {}
    public init(reserving capacity: Int) { bytes.reserveCapacity(capacity) }

    public mutating func uint8(_ value: UInt8) { bytes.append(value) }
    public mutating func uint16(_ value: UInt16) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
    public mutating func uint32(_ value: UInt32) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
    public mutating func uint64(_ value: UInt64) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
    public mutating func append(_ view: ByteView) { bytes.append(contentsOf: view.buffer) }
    public mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }
    public mutating func cString(_ text: some StringProtocol) {
        bytes.append(contentsOf: text.utf8)
        bytes.append(0)
    }

    /// A message of the protocol: its type, its length (which counts itself), its body.
    public mutating func message(_ type: UInt8, _ body: (inout ByteWriter) -> Void) {
        bytes.append(type)
        lengthPrefixed(body)
    }

    /// The same without a type byte, as a startup packet.
    public mutating func lengthPrefixed(_ body: (inout ByteWriter) -> Void) {
        let start = bytes.count
        uint32(0)
        body(&self)
        let length = UInt32(bytes.count - start)
        for (offset, byte) in withUnsafeBytes(of: length.bigEndian, Array.init).enumerated() {
            bytes[start + offset] = byte
        }
    }
}
