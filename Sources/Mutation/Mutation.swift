/// A rule that can be switched off, to prove that the simulator notices.
///
/// Each case names what is then wrong. Only a build with `MUTANTS` defined can switch one on (`make mutants`); in
/// every other build `isOn` is the constant false, and the compiler leaves the wrong branch out.
public enum Mutation: String, CaseIterable, Sendable {
    case noT1Check = "no-t1-check"
    case t1AtExecute = "t1-at-execute"
    case noT2Check = "no-t2-check"
    case noT3Wait = "no-t3-wait"
    case noT4Wait = "no-t4-wait"
    case noFlushAfterLoss = "no-flush-after-loss"
    case newImageOnly = "new-image-only"
    case onConstrainsRowSide = "on-constrains-row-side"
    case ownWriteOffByOne = "own-write-off-by-one"
    case noReadBound = "no-read-bound"
    case constantNotInKey = "constant-not-in-key"
    case hitOvertakes = "hit-overtakes"
    case pinNotReleased = "pin-not-released"
    case followerGetsOldAnswer = "follower-gets-old-answer"
    case captureSurvivesError = "capture-survives-error"

    #if MUTANTS
    /// Set once, before anything runs.
    nonisolated(unsafe) public static var active: Mutation?

    public var isOn: Bool { Mutation.active == self }
    #else
    @inlinable public var isOn: Bool { false }
    #endif
}
