import PGProtocol

/// What ended a statement's last entry before its time: for whoever asks why, never for a decision.
public struct Invalidation: Equatable, Sendable {
    public enum Cause: Equatable, Sendable {
        /// A change of the rows of a relation.
        case insert(OID)
        case update(OID)
        case delete(OID)
        /// TRUNCATE, or more rows at once than are told apart.
        case many(OID)
        /// The schema, privileges or roles changed, or may have.
        case schema
        /// The change stream was lost.
        case stream
    }
    public var cause: Cause
    /// The watermark then: the change lies behind it.
    public var watermark: LSN
}

extension BoundChange {
    var cause: Invalidation.Cause {
        switch extent {
        case .row(nil, _, _): .insert(relation)
        case .row(_, _, nil): .delete(relation)
        case .row: .update(relation)
        case .whole: .many(relation)
        }
    }
}
