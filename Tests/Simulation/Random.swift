/// A stream of draws from one number: every choice of a simulated world comes from one of these.
///
/// SplitMix64 (Steele, Lea, Flood 2014). Each thing that draws has a stream of its own, derived from the run's seed
/// and its name, so that leaving one thing out of a world does not change what the others draw.
struct Random {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    init(seed: UInt64, _ name: String, _ number: Int = 0) {
        state = seed ^ 0x9E37_79B9_7F4A_7C15
        for byte in name.utf8 { state = Random.mixed(state ^ UInt64(byte)) }
        state = Random.mixed(state ^ UInt64(bitPattern: Int64(number)))
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Random.mixed(state)
    }

    /// 0 up to but not including `bound`, which is at least 1.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }
    /// True in `perMille` of a thousand cases.
    mutating func chance(_ perMille: Int) -> Bool { below(1000) < perMille }
    mutating func pick<Element>(_ items: [Element]) -> Element { items[below(items.count)] }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var mixed = value
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
