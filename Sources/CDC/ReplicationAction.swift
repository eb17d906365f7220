import PGProtocol

/// What the shell does for `ReplicationFeed`, in the order given.
public enum ReplicationAction: Equatable, Sendable {
    /// Connect the replication link: `replication=database` and the feed's `connectionOptions`.
    case connect
    /// Send one query on the replication link, by the simple protocol: a walsender knows no other.
    case query(String)
    case startReplication(String)
    case sendCopyData([UInt8])
    /// End the connection; its late events may still be given, they are ignored.
    case close
    /// The shape that the stream says a relation has. It comes before the transaction that needs it, and
    /// also without a change: whatever made PostgreSQL look again may be a change of the relation [D1].
    case relationDescribed(RelationShape)
    /// A new slot: what was committed before its position is never sent. Every such transaction has a lower number than
    /// this; until a snapshot shows all of those finished, an answer of the origin may lack what one of them
    /// wrote [T2].
    case fenced(below: TransactionID)
    /// One committed transaction, to be applied to every tier before the next action is performed.
    case transactionReceived(SourceTransaction)
    /// Every change up to here was given. Never goes back while the feed is live.
    case watermarkAdvanced(LSN)
    /// The stream has caught up; hits are allowed from here on. The watermark is exactly this, and may
    /// be lower than before after `lost(mustEmpty: true)` (another origin behind the same address).
    case live(LSN)
    /// Not following: everything is forwarded until `live`. With `mustEmpty` all tiers are emptied [T7].
    case lost(reason: LossReason, mustEmpty: Bool)
    /// Ask on another link who keeps the slot from being created, and tell the operator.
    case explainBlocker(sql: String)
    /// Call `clockReached` then, or later; replaces an earlier wake. Early calls do no harm.
    case wake(at: Instant)
    /// Stopped; nothing is left on the origin, or nothing that could be removed.
    case finished
}

/// Why the stream is not followed.
public enum LossReason: Equatable, Sendable, CustomStringConvertible {
    /// The connection ended or could not be made. `state` is a SQLSTATE or empty.
    case linkLost(state: String, message: String)
    /// The origin refused a step.
    case refused(step: String, state: String, message: String)
    /// The slot could not be created within the lock timeout: a transaction is open on the origin.
    case slotBlocked
    /// A step was not answered in time.
    case unanswered(step: String)
    /// Nothing came although a reply was asked for.
    case silent(milliseconds: UInt64)
    /// Behind, or holding back, more bytes than allowed.
    case lagLimit(bytes: UInt64)
    /// The slot is gone, or no longer where we left it.
    case slotLost(String)
    /// The publication does not exist at the stream's position.
    case publicationMissing
    /// Another publication is to be followed.
    case publicationReplaced
    case protocolViolation(String)

    public var description: String {
        switch self {
        case .linkLost(let state, let message): "connection lost: \(state) \(message)"
        case .refused(let step, let state, let message): "\(step) refused: \(state) \(message)"
        case .slotBlocked: "slot creation waits for an open transaction"
        case .unanswered(let step): "\(step) was not answered"
        case .silent(let milliseconds): "silent for \(milliseconds) ms"
        case .lagLimit(let bytes): "\(bytes) bytes behind"
        case .slotLost(let why): "slot lost: \(why)"
        case .publicationMissing: "publication missing"
        case .publicationReplaced: "publication replaced"
        case .protocolViolation(let what): "protocol violation: \(what)"
        }
    }
}
