/// Why a statement goes to the origin instead of being answered from the cache.
///
/// The raw values are stable: they name the reason in metrics and in `/status`.
public enum ForwardReason: String, CaseIterable, Sendable {
    // The statement itself.
    case notSelect = "not_select"
    case unparsable
    case tooLong = "too_long"
    /// No room to remember the text.
    case noRoom = "no_room"
    case tooDeep = "too_deep"
    case severalStatements = "several_statements"
    case emptyStatement = "empty_statement"
    case noRelation = "no_relation"
    case locking
    case dataModifyingCTE = "data_modifying_cte"
    case selectInto = "select_into"
    case tableSample = "table_sample"
    case systemColumn = "system_column"
    case timeDependent = "time_dependent"
    case volatileFunction = "volatile_function"
    /// Stable for more than the session's settings, which are all that the key holds.
    case stableFunction = "stable_function"
    case unknownFunction = "unknown_function"
    case userFunction = "user_function"
    case userOperator = "user_operator"
    case userType = "user_type"
    /// A value that the origin computes from its catalogs, such as the name of a regclass.
    case catalogDependent = "catalog_dependent"
    case unsupportedExpression = "unsupported_expression"
    case unresolvedColumn = "unresolved_column"
    // What it reads.
    case unknownRelation = "unknown_relation"
    case systemCatalog = "system_catalog"
    case notATable = "not_a_table"
    case temporary
    case unlogged
    case rowSecurity = "row_security"
    case inheritance
    case rules
    case generatedColumn = "generated_column"
    case noReplicaIdentity = "no_replica_identity"
    case notAllowed = "not_allowed"
    case notFollowed = "not_followed"
    // Who asks, and when.
    case rights
    case pendingCatalog = "pending_catalog"
    case pendingRights = "pending_rights"
    case pendingProfile = "pending_profile"
    case sessionState = "session_state"
    case otherDatabase = "other_database"
    case inTransaction = "in_transaction"
    case ownWrite = "own_write"
    /// The session has seen what is later than the watermark [S5].
    case ownRead = "own_read"
    /// Captured, and the watermark has not passed it [T4].
    case notYetServable = "not_yet_servable"
    /// Another session's execution of the same took too long to wait for [S6].
    case slowLeader = "slow_leader"
    /// Prepared before the schema changed: the origin decides whether it may still be executed [S4].
    case preparedBefore = "prepared_before"
    case segmentForwarded = "segment_forwarded"
    case rowLimit = "row_limit"
    case namedPortal = "named_portal"
    case streamDown = "stream_down"
    case cacheOff = "cache_off"

    /// It is the relation that keeps the statement from being cached, not what the statement calls.
    var isAboutRelation: Bool {
        switch self {
        case .unknownRelation, .systemCatalog, .notATable, .temporary, .unlogged, .rowSecurity,
            .inheritance, .rules:
            true
        default:
            false
        }
    }
}
