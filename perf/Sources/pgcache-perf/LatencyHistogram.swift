/// Latencies of one round, counted in buckets that are at most 1/32 wide.
///
/// Recording is a shift and an add, so that the load generator measures the server and not itself.
/// Owner: `LoadGenerator`. Bounds: 2048 counters, whatever is recorded.
struct LatencyHistogram {
    private var counts = [UInt32](repeating: 0, count: 64 * 32)
    private(set) var total = 0
    private(set) var maximumNanoseconds: UInt64 = 0

    mutating func record(nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        total += 1
        if nanoseconds > maximumNanoseconds { maximumNanoseconds = nanoseconds }
    }

    mutating func reset() { self = LatencyHistogram() }

    /// The latency that `share` (0...1) of the requests did not exceed, as the upper end of its bucket.
    func percentileNanoseconds(_ share: Double) -> UInt64 {
        let rank = Int(Double(total) * share)
        var seen = 0
        for (index, count) in counts.enumerated() {
            seen += Int(count)
            if seen > rank { return min(Self.upperEnd(index), maximumNanoseconds) }
        }
        return maximumNanoseconds
    }

    /// Values below 32 have a bucket each; above, five bits behind the leading one choose it.
    private static func bucket(_ value: UInt64) -> Int {
        if value < 32 { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        return (exponent - 4) * 32 + Int((value >> UInt64(exponent - 5)) & 31)
    }

    private static func upperEnd(_ bucket: Int) -> UInt64 {
        if bucket < 32 { return UInt64(bucket) }
        let exponent = UInt64(bucket / 32 + 4)
        return (UInt64(bucket % 32 + 33) << (exponent - 5)) - 1
    }
}
