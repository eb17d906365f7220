import PGProtocol

/// A private copy of a key's bytes in raw memory, so that comparing needs no reference count.
///
/// A plain value: its owner frees it exactly once. An empty key owns no memory.
struct KeyBytes {
    private let base: UnsafeMutableRawPointer?
    let count: Int

    static var empty: KeyBytes { KeyBytes(ByteView(UnsafeRawBufferPointer(start: nil, count: 0))) }

    init(_ view: ByteView) {
        count = view.count
        guard view.count > 0 else {
            base = nil
            return
        }
        let copy = UnsafeMutableRawPointer.allocate(byteCount: view.count, alignment: 1)
        copy.copyMemory(from: view.base, byteCount: view.count)
        base = copy
    }

    func free() { base?.deallocate() }

    /// Valid until `free`.
    @inline(__always) var view: ByteView {
        ByteView(UnsafeRawBufferPointer(start: UnsafeRawPointer(base), count: count))
    }

    /// Whether the bytes are the same, all of them: eight at a time, then the last eight again,
    /// which may overlap what was compared before.
    @inline(__always)
    func equals(_ other: ByteView) -> Bool {
        guard count == other.count else { return false }
        guard let base else { return true }
        let left = UnsafeRawPointer(base)
        let right = other.base
        guard count >= 8 else {
            var offset = 0
            while offset < count {
                if left.load(fromByteOffset: offset, as: UInt8.self)
                    != right.load(fromByteOffset: offset, as: UInt8.self)
                {
                    return false
                }
                offset &+= 1
            }
            return true
        }
        let last = count &- 8
        var offset = 0
        while offset < last {
            if left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset &+= 8
        }
        return left.loadUnaligned(fromByteOffset: last, as: UInt64.self)
            == right.loadUnaligned(fromByteOffset: last, as: UInt64.self)
    }
}
