/// How old an answer from the cache can be: the age of the watermark.
///
/// A beat tells a position that is past everything that was visible when the beat began. So once the watermark has
/// passed that position, no hit lacks what was committed before. Only our own clock counts, and a stream that
/// hangs, half open, makes the age grow like one that is slow.
///
/// Bounds: `begunMax` beats that the watermark has not passed; of more, the latest are not noted, which makes the age
/// seem higher than it is.
struct Staleness {
    /// No answer may be older; 0 for no limit.
    let boundNanoseconds: UInt64
    private static let begunMax = 1024
    /// Beats that the watermark had not passed when it was last looked at, in order.
    private var begun: [(beat: UInt64, nanoseconds: UInt64)] = []
    /// When the latest beat began that the watermark has passed.
    private(set) var asOfNanoseconds: UInt64

    init(boundNanoseconds: UInt64, nowNanoseconds: UInt64) {
        self.boundNanoseconds = boundNanoseconds
        asOfNanoseconds = nowNanoseconds
    }

    mutating func beatBegan(_ beat: UInt64, nowNanoseconds: UInt64) {
        guard begun.count < Staleness.begunMax else { return }
        begun.append((beat, nowNanoseconds))
    }

    /// The watermark has passed this beat.
    mutating func reached(_ beat: UInt64) {
        guard let first = begun.first, first.beat <= beat else { return }
        let passed = begun.prefix { $0.beat <= beat }
        if let last = passed.last { asOfNanoseconds = last.nanoseconds }
        begun.removeFirst(passed.count)
    }

    func ageNanoseconds(now: UInt64) -> UInt64 { now > asOfNanoseconds ? now - asOfNanoseconds : 0 }

    /// A beat's position is WAL that nobody has flushed, and nobody will for a while: a read has pruned a page, or a
    /// transaction was rolled back. The stream sends what is flushed.
    func isStalled(now: UInt64) -> Bool {
        guard let first = begun.first else { return false }
        return now > first.nanoseconds && now - first.nanoseconds > Staleness.stallNanoseconds
    }
    static let stallNanoseconds: UInt64 = 250_000_000

    func isExceeded(now: UInt64) -> Bool {
        boundNanoseconds > 0 && ageNanoseconds(now: now) > boundNanoseconds
    }
}
