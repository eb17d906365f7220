#if MUTANTS
import Glibc
#endif

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
    case finishedTakenForReceived = "finished-taken-for-received"
    case noReadBound = "no-read-bound"
    case constantNotInKey = "constant-not-in-key"
    case hitOvertakes = "hit-overtakes"
    case pinNotReleased = "pin-not-released"
    case followerGetsOldAnswer = "follower-gets-old-answer"
    case captureSurvivesError = "capture-survives-error"
    case noRightsCheck = "no-p1-check"
    case revokeUnnoticed = "revoke-unnoticed"
    case rowSecurityCached = "row-security-cached"
    case roleChangeUnnoticed = "role-change-unnoticed"
    case settingChangeUnnoticed = "setting-change-unnoticed"
    case settingUndoneUnnoticed = "setting-undone-unnoticed"
    case transitionIgnoresLogin = "transition-ignores-login"
    case profileNotInKey = "profile-not-in-key"
    case schemaMessageWithoutT2 = "schema-message-without-t2"
    case schemaChangeUnnoticed = "schema-change-unnoticed"
    case hitAfterOwnWriteInTransaction = "hit-after-write-in-transaction"
    case hitInRepeatableRead = "hit-in-repeatable-read"
    case hitInFailedTransaction = "hit-in-failed-transaction"
    case captureAfterOwnWrite = "capture-after-own-write"
    case beginNotSent = "begin-not-sent"
    case noNotificationBound = "no-notification-bound"
    case populationOverwritesChanges = "population-overwrites-changes"
    case populationBeforeVisible = "population-before-visible"
    case mergeBeforeWatermark = "merge-before-watermark"
    case readBeforeApplied = "read-before-applied"
    case readSurvivesChange = "read-survives-change"
    case rowsAheadOfOrigin = "rows-ahead-of-origin"
    case fragmentCoversWiderUse = "fragment-covers-wider-use"
    case onlyFirstUseCovered = "only-first-use-covered"
    case linkAcrossOuterJoin = "link-across-outer-join"
    case newKeyForgotten = "new-key-forgotten"
    case rankingUnproven = "ranking-unproven"
    case imageNotAwaited = "image-not-awaited"
    case untoldRowHarmless = "untold-row-harmless"
    case toastMissingIgnored = "toast-missing-ignored"
    case cleanupUnderRead = "cleanup-under-read"
    case absenceForgotten = "absence-forgotten"
    case patchIgnoresConditions = "patch-ignores-conditions"
    case patchWhileRead = "patch-while-read"
    case patchServableAtOnce = "patch-servable-at-once"

    #if MUTANTS
    /// Set once, before anything runs.
    nonisolated(unsafe) public static var active: Mutation?

    /// As PGCACHE_MUTANT says.
    public static func activateFromEnvironment() {
        active = getenv("PGCACHE_MUTANT").flatMap { Mutation(rawValue: String(cString: $0)) }
    }

    public var isOn: Bool { Mutation.active == self }
    #else
    @inlinable public var isOn: Bool { false }
    #endif
}
