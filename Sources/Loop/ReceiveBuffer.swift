/// Where a socket's bytes arrive and are looked at in place, until they are consumed.
///
///     0 ≤ start ≤ end ≤ capacity       [start, end) was received and is not consumed
///                                      [end, capacity) may be written by a receive in flight
///
/// Memory moves or grows only in `space`, which the owner calls with no receive in flight. A buffer that
/// was filled whole doubles up to `capacityMax`: small conversations stay small, bulk gets big
/// reads. Owner: a connection, which frees it.
public struct ReceiveBuffer {
    public static let capacityMin = 8 * 1024
    public static let capacityMax = 128 * 1024

    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0

    public init() {}

    public var isEmpty: Bool { start == end }
    public var count: Int { end - start }
    /// What was received and is not consumed; valid until `space`.
    public var bytes: UnsafeRawBufferPointer {
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + start, count: end - start)
    }
    /// As full as it may get: what is there must be consumed first.
    public var isFull: Bool { end - start == ReceiveBuffer.capacityMax }

    public mutating func received(_ count: Int) {
        precondition(count >= 0 && end + count <= capacity, "more received than asked for")
        end += count
    }

    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && start + count <= end, "more consumed than received")
        start += count
    }

    /// Room for the next receive, with `needed` bytes in all from `start` on; nil when there is none.
    public mutating func space(needed: Int) -> UnsafeMutableRawBufferPointer? {
        let count = end - start
        let wasFilled = end == capacity && capacity > 0
        if start == end {
            start = 0
            end = 0
        }
        var wanted = max(capacity, ReceiveBuffer.capacityMin, needed)
        if wasFilled { wanted = max(wanted, capacity * 2) }
        wanted = min(wanted, ReceiveBuffer.capacityMax)
        if wanted > capacity {
            let larger = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
            if let base {
                larger.copyMemory(from: base + start, byteCount: count)
                base.deallocate()
            }
            base = larger
            capacity = wanted
            start = 0
            end = count
        } else if start > 0, capacity - end < capacity / 2 || start + needed > capacity, let base {
            base.copyMemory(from: base + start, byteCount: count)
            start = 0
            end = count
        }
        guard let base, end < capacity else { return nil }
        return UnsafeMutableRawBufferPointer(start: base + end, count: capacity - end)
    }

    /// Gives the memory back; nothing may be in flight.
    public mutating func free() {
        base?.deallocate()
        self = ReceiveBuffer()
    }
}
