/// What becomes of a session's reads after its own writes, until the watermark has passed them [S1].
public enum ReadYourWrites: String, CaseIterable, Sendable {
    /// They are forwarded.
    case forward
    /// They wait for the watermark, for a moment; then they are forwarded.
    case wait
    /// The write's own answer waits, for a moment, so that every other session reads it from the cache, too.
    case commit
    /// Nothing: a session may read what was before its own write.
    case off

    var isOn: Bool { self != .off }
}
