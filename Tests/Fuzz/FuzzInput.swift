import PGProtocol

/// One input of the fuzzer: the bytes that a target decodes, and *controls*, small decisions such as
/// where those bytes are cut.
///
///     payload … │ controls, at most 63 │ number of controls (low 6 bits)
///
/// The controls stand at the end, so that a mutation of the payload leaves them where they are.
/// Valid as long as the fuzzer's own memory, that is for one call.
struct FuzzInput {
    let payload: ByteView
    private let controls: ByteView
    private var next = 0

    init(_ view: ByteView) {
        let last = view.count > 0 ? Int(view[view.count - 1] & 63) : 0
        let count = min(last, max(view.count - 1, 0))
        let end = max(view.count - 1 - count, 0)
        payload = view.slice(from: 0, count: end)
        controls = view.slice(from: end, count: count)
    }

    /// The next decision, from the beginning again when all were taken; 0 without any.
    mutating func control() -> UInt8 {
        guard controls.count > 0 else { return 0 }
        defer { next = (next + 1) % controls.count }
        return controls[next]
    }

    /// Every control, in order.
    var allControls: [UInt8] { controls.bytes }

    /// How many of the `remaining` bytes come next: few, some, or all. `selector` counts by its low four bits.
    static func piece(_ selector: UInt8, of remaining: Int) -> Int {
        switch Int(selector & 15) {
        case 0: remaining
        case let few where few < 9: min(few, remaining)
        case let some: min((some - 8) * 23, remaining)
        }
    }
}

/// Calls `body` with a copy that ends where its memory ends: what reads behind it is found out.
func withExactCopy<R>(_ bytes: ArraySlice<UInt8>, _ body: (ByteView) -> R) -> R {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    return body(ByteView(UnsafeRawBufferPointer(memory)))
}
