import PGProtocol

/// What the shell does for `Publication`, in the order given.
public enum PublicationAction: Equatable, Sendable {
    /// Connect the publication link with the machine's `connectionOptions` and `applicationName`.
    case connect
    case query(String)
    /// End the connection at once; its late events are ignored.
    case close
    /// Call `clockReached` then, or later; replaces an earlier wake.
    case wake(at: Instant)
    /// Some relation waits for transactions to end: give `snapshotArrived` once [T8].
    case beatWanted
    /// The publication exists and is committed: the feed may be started with it. `isNew` says that it was
    /// made just now, so that a stream that already runs with its name has to start over.
    case ready(publication: String, isNew: Bool)
    /// From now on every change of these reaches the stream.
    case followed([OID])
    /// No longer sure that changes of these reach the stream. What depends on them is dropped; they are
    /// asked for again when needed.
    case unfollowed([OID])
    case refused(OID, RefusalReason)
    /// The operator has published more: what was refused may be asked for again.
    case grown
    /// Changes of the schema are in the stream from here on, for a stream that begins later.
    case eventTriggerReady
    /// They are not: only the poll tells of what others change.
    case eventTriggerMissing(state: String, message: String)
    /// What a dead instance had left.
    case orphanDropped(String)
    /// The same, but it could not be dropped.
    case orphanKept(String, state: String, message: String)
    /// No publication for now, so nothing is followed; tried again by itself.
    case unavailable(state: String, message: String)
    /// Stopped, and the publication is gone if it was ours and the origin let us.
    case finished
}

/// Why a relation is not followed.
public enum RefusalReason: Equatable, Sendable, CustomStringConvertible {
    /// The role does not own the relation (42501).
    case notOwner(String)
    /// VACUUM, ANALYZE or ALTER TABLE kept its lock for several attempts; may be asked for again.
    case locked
    /// The name belongs to another relation by now; ask the catalog again.
    case renamed
    /// Publishing it would make the application's UPDATE and DELETE fail [C2].
    case withoutReplicaIdentity
    /// The operator's publication does not hold it, or not all of its rows and columns.
    case notPublished
    /// More relations than a publication of ours follows.
    case tooMany
    case failed(state: String, message: String)

    public var description: String {
        switch self {
        case .notOwner(let message): "not the owner: \(message)"
        case .locked: "locked by another session"
        case .renamed: "renamed meanwhile"
        case .withoutReplicaIdentity: "without a usable replica identity"
        case .notPublished: "not in the publication"
        case .tooMany: "too many relations"
        case .failed(let state, let message): "\(state) \(message)"
        }
    }
}
