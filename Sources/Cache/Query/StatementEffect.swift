/// What executing a statement may do beside returning rows: the union of everything that cannot be
/// ruled out from its text alone.
///
/// Code that is not PostgreSQL's own can do anything; whether a statement calls such code is not
/// in its text and is decided by resolution (`Resolution.forward(_:callsUnknownCode:)`).
public struct StatementEffect: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Not proven to be a pure read: it may change rows, take locks, or run a stored procedure.
    public static let mayWrite = StatementEffect(rawValue: 1 << 0)
    /// May change a setting, the role or the temporary objects of the session [K3].
    public static let changesSession = StatementEffect(rawValue: 1 << 1)
    /// Begins, ends or marks a transaction, or sets its properties.
    public static let controlsTransaction = StatementEffect(rawValue: 1 << 2)
    /// May change definitions, roles or rights [D1].
    public static let changesSchema = StatementEffect(rawValue: 1 << 3)
    /// Sees, makes or drops prepared statements by their SQL names.
    public static let namesPrepared = StatementEffect(rawValue: 1 << 4)
    /// Calls code that PostgreSQL did not bring; found out by resolution.
    public static let callsUnknownCode = StatementEffect(rawValue: 1 << 5)
    /// Reads which prepared statements there are.
    public static let seesPrepared = StatementEffect(rawValue: 1 << 6)

    /// What is assumed of a text that could not be read.
    public static let anything: StatementEffect = [
        .mayWrite, .changesSession, .controlsTransaction, .changesSchema, .namesPrepared,
    ]
}

/// Settings whose change alters no answer and no right: SET, RESET and SET LOCAL of these leave the
/// session as cacheable as it was [K3].
///
/// The list allows, it does not forbid: a setting that is not here, a newer release's included,
/// makes the session unknown. Each group says why its members are harmless (manual, chapter 20).
enum HarmlessSettings {
    static func contains(_ name: String) -> Bool {
        let name = name.lowercased()
        return names.contains(name)
            // A dot makes it a setting of an extension or of the application.
            || !name.utf8.contains(UInt8(ascii: ".")) && prefixes.contains { name.hasPrefix($0) }
    }

    /// The name of a setting with its ASCII letters in lower case, as PostgreSQL compares them (guc_name_compare).
    static func folded(_ name: String) -> String {
        String(decoding: name.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    private static let names: Set<String> = [
        // Labels for people.
        "application_name",
        // How long the origin waits. A hit needs no time, so it cannot exceed any of them.
        "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
        "idle_session_timeout", "deadlock_timeout", "client_connection_check_interval",
        // How much memory and how many workers a plan may use; never which rows it returns.
        "work_mem", "hash_mem_multiplier", "maintenance_work_mem", "logical_decoding_work_mem",
        "temp_buffers", "temp_file_limit", "effective_cache_size", "effective_io_concurrency",
        "maintenance_io_concurrency", "max_parallel_workers", "max_parallel_workers_per_gather",
        "max_parallel_maintenance_workers", "min_parallel_table_scan_size",
        "min_parallel_index_scan_size", "parallel_leader_participation",
        "parallel_setup_cost", "parallel_tuple_cost", "max_stack_depth",
        // What the planner prefers. The order of rows without ORDER BY is nobody's promise.
        "seq_page_cost", "random_page_cost", "cpu_tuple_cost", "cpu_index_tuple_cost",
        "cpu_operator_cost", "cursor_tuple_fraction", "from_collapse_limit",
        "join_collapse_limit", "geqo", "geqo_threshold", "geqo_effort", "geqo_pool_size",
        "geqo_generations", "geqo_selection_bias", "geqo_seed", "plan_cache_mode",
        "constraint_exclusion", "default_statistics_target", "recursive_worktable_factor",
        // When a commit is safe on disk: the watermark takes any of them into account.
        "synchronous_commit", "commit_delay", "commit_siblings",
        // What is recorded about statements that are executed.
        "track_activities", "track_counts", "track_io_timing", "track_wal_io_timing",
        "track_functions", "compute_query_id", "update_process_title",
    ]
    private static let prefixes = [
        "enable_",  // planner methods
        "jit",  // compilation of expressions
        "log_",  // the origin's own log
        "tcp_",  // keepalives of the connection
        "vacuum_",  // maintenance
    ]
}
