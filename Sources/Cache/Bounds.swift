import Mutation

/// How old an answer from the cache may be for one session, by numbers of beats (`Beats`) [S1] [S5].
///
/// What the session wrote, and what it read at the origin, bound every hit: a hit at an earlier position could show
/// what was before it, of the same rows or of others that one transaction has changed together with them. A bound costs
/// nothing until a hit has to look at it: no beat is asked for before.
///
/// Owned by a session.
struct Bounds {
    /// The higher of both bounds.
    private(set) var highest: UInt64 = 0
    /// Because of what was written.
    private(set) var written: UInt64 = 0
    /// Rows were read at the origin since the last ReadyForQuery, which do not bound yet.
    private var isReading = false

    /// Whatever was sent up to now may have written.
    mutating func wrote(before beat: UInt64) {
        written = beat
        highest = max(highest, beat)
    }

    /// A statement that may show rows goes to the origin; `answered` follows with its answer.
    mutating func sent() {
        if !Mutation.noReadBound.isOn { isReading = true }
    }

    /// The origin has answered. Unless that was all, what is still under way bounds again later.
    mutating func answered(before beat: UInt64, isAll: Bool) {
        if isReading { read(before: beat) }
        if isAll { isReading = false }
    }

    /// The session has seen what is no older than anything before the beat.
    mutating func read(before beat: UInt64) { highest = max(highest, beat) }
}
