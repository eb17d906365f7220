/// Every metric, named once: what the proxy can count, and what the README lists.
///
/// The raw value follows the prefix `pgcache_`. Names of PgCache are kept where it has the same thing (its
/// dots are underscores here), also where Prometheus would rather have `_total` at the end.
public enum Metric: String, CaseIterable, Sendable {
    // Statements.
    case queriesTotal = "queries_total"
    case queriesCacheable = "queries_cacheable"
    case queriesUncacheable = "queries_uncacheable"
    case queriesCacheHit = "queries_cache_hit"
    case queriesCacheMiss = "queries_cache_miss"
    case queriesForwarded = "queries_forwarded"
    // Clients.
    case connectionsTotal = "connections_total"
    case connectionsActive = "connections_active"
    case connectionsErrors = "connections_errors"
    case protocolSimpleQueries = "protocol_simple_queries"
    case protocolExtendedQueries = "protocol_extended_queries"
    case protocolParseLocal = "protocol_parse_local"
    case protocolBlockLocal = "protocol_block_local"
    case sessionSettingsRead = "session_settings_read"
    // The change stream.
    case cdcEventsProcessed = "cdc_events_processed"
    case cdcInserts = "cdc_inserts"
    case cdcUpdates = "cdc_updates"
    case cdcDeletes = "cdc_deletes"
    case cdcTruncates = "cdc_truncates"
    case cdcTransactions = "cdc_transactions"
    case cdcLagBytes = "cdc_lag_bytes"
    case cdcLagSeconds = "cdc_lag_seconds"
    case cdcStalenessSeconds = "cdc_staleness_seconds"
    case cdcEventTrigger = "cdc_event_trigger"
    case cdcReceivedLSN = "cdc_received_lsn"
    case cdcAppliedLSN = "cdc_applied_lsn"
    case cdcLive = "cdc_live"
    case cdcRestarts = "cdc_restarts"
    case cdcBeats = "cdc_beats"
    // The cache.
    case cacheInvalidations = "cache_invalidations"
    case cacheSpared = "cache_spared"
    case cacheEvictions = "cache_evictions"
    case cacheFlushes = "cache_flushes"
    case cacheMemoHits = "cache_memo_hits"
    case cacheMemoCaptures = "cache_memo_captures"
    case cacheMemoCapturesUnfit = "cache_memo_captures_unfit"
    case cacheMemoPatches = "cache_memo_patches"
    case cacheMemoEvictions = "cache_memo_evictions"
    case cacheMemoEntries = "cache_memo_entries"
    case cacheMemoBytes = "cache_memo_bytes"
    case cacheMemoBytesMax = "cache_memo_bytes_max"
    case cacheQueriesRegistered = "cache_queries_registered"
    case cacheStatementsParsed = "cache_statements_parsed"
    case cacheStatementsByShape = "cache_statements_by_shape"
    case cacheWindowsShared = "cache_windows_shared"
    case cacheSubsumptions = "cache_subsumptions"
    case cacheRowsReady = "cache_rows_ready"
    case cacheRowsReads = "cache_rows_reads"
    case cacheRowsAnswers = "cache_rows_answers"
    case cacheRowsRefused = "cache_rows_refused"
    case cacheRowsOperations = "cache_rows_operations"
    case cacheRowsPending = "cache_rows_pending"
    case cacheRowsPools = "cache_rows_pools"
    case cacheRowsFragments = "cache_rows_fragments"
    case cacheRowsBytes = "cache_rows_bytes"
    case cacheRowsBytesMax = "cache_rows_bytes_max"
    case cacheRowsEvictions = "cache_rows_evictions"
    case cacheRowsResets = "cache_rows_resets"
    case cachePopulations = "cache_populations"
    case cachePopulationsPending = "cache_populations_pending"
    case cachePopulationsGivenUp = "cache_populations_given_up"
    case cacheTablesTracked = "cache_tables_tracked"
    case cacheGeneration = "cache_generation"
    case cacheCoalesceWaiting = "cache_coalesce_waiting"
    case cacheCoalesceServed = "cache_coalesce_served"
    case cacheCoalesceDeadlineForward = "cache_coalesce_deadline_forward_total"
    case cacheResidentBytes = "cache_rss_bytes"
    // The process.
    case processProcessorSeconds = "process_cpu_seconds"
    case processUptimeSeconds = "process_uptime_seconds"

    public enum Kind: String, Sendable { case counter, gauge }

    public var name: String { "pgcache_" + rawValue }
    public var kind: Kind { fact.kind }
    public var help: String { fact.help }

    private var fact: (kind: Kind, help: String) {
        switch self {
        case .queriesTotal: (.counter, "Statements that clients sent.")
        case .queriesCacheable: (.counter, "Statements that were hits or misses.")
        case .queriesUncacheable: (.counter, "Statements forwarded for one of the reasons, whatever the cache held.")
        case .queriesCacheHit: (.counter, "Statements answered from the cache.")
        case .queriesCacheMiss: (.counter, "Cacheable statements that the origin answered.")
        case .queriesForwarded: (.counter, "Statements forwarded, by reason.")
        case .connectionsTotal: (.counter, "Client connections accepted.")
        case .connectionsActive: (.gauge, "Client connections now.")
        case .connectionsErrors: (.counter, "Client connections refused or ended by an error.")
        case .protocolSimpleQueries: (.counter, "Query messages.")
        case .protocolExtendedQueries: (.counter, "Execute messages.")
        case .protocolParseLocal: (.counter, "Parse messages answered without the origin.")
        case .protocolBlockLocal: (.counter, "BEGIN, COMMIT and ROLLBACK answered without the origin.")
        case .sessionSettingsRead: (.counter, "Times that a session's settings were read from the origin.")
        case .cdcEventsProcessed: (.counter, "Row changes and truncations of the change stream.")
        case .cdcInserts: (.counter, "Rows inserted at the origin, as received.")
        case .cdcUpdates: (.counter, "Rows updated at the origin, as received.")
        case .cdcDeletes: (.counter, "Rows deleted at the origin, as received.")
        case .cdcTruncates: (.counter, "Tables truncated at the origin, as received.")
        case .cdcTransactions: (.counter, "Transactions of the origin, as received.")
        case .cdcLagBytes: (.gauge, "WAL that the origin has written and pgcache has not applied.")
        case .cdcLagSeconds: (.gauge, "Age of the newest applied change, by the origin's clock.")
        case .cdcStalenessSeconds: (.gauge, "No answer from the cache is older than this, by pgcache's own clock.")
        case .cdcEventTrigger: (.gauge, "1 while an event trigger reports changes of the schema, else 0.")
        case .cdcReceivedLSN: (.gauge, "Position received, in bytes of WAL.")
        case .cdcAppliedLSN: (.gauge, "The watermark, in bytes of WAL.")
        case .cdcLive: (.gauge, "1 while the change stream runs, else 0 and everything is forwarded.")
        case .cdcRestarts: (.counter, "Times the change stream was lost.")
        case .cdcBeats: (.counter, "Looks at the origin's snapshot and position.")
        case .cacheInvalidations: (.counter, "Entries dropped because a row changed.")
        case .cacheSpared: (.counter, "Answers that a change left as they were, by what the row was like before.")
        case .cacheEvictions: (.counter, "Entries dropped to make room.")
        case .cacheFlushes: (.counter, "Times the whole cache was emptied, by reason.")
        case .cacheMemoHits: (.counter, "Answers from the memo.")
        case .cacheMemoCaptures: (.counter, "Answers of the origin that were kept.")
        case .cacheMemoCapturesUnfit: (.counter, "Answers of the origin that were not kept, by reason.")
        case .cacheMemoPatches: (.counter, "Answers that a change was written into, which stay hits.")
        case .cacheMemoEvictions: (.counter, "Memo entries dropped to make room.")
        case .cacheMemoEntries: (.gauge, "Memo entries.")
        case .cacheMemoBytes: (.gauge, "Bytes in the memo.")
        case .cacheMemoBytesMax: (.gauge, "The memo's bound in bytes.")
        case .cacheQueriesRegistered: (.gauge, "Statements that are remembered as classified.")
        case .cacheStatementsParsed: (.counter, "Texts that were parsed, because their shapes were not known.")
        case .cacheStatementsByShape: (.counter, "New texts that differ from known ones in constants only: not parsed.")
        case .cacheWindowsShared: (.counter, "Answers made of the rows of another one, with another LIMIT or OFFSET.")
        case .cacheSubsumptions: (.counter, "Answers from rows that were loaded for a wider query.")
        case .cacheRowsReady: (.gauge, "1 while there is a cache database, else 0.")
        case .cacheRowsReads: (.counter, "Statements sent to the cache database.")
        case .cacheRowsAnswers: (.counter, "Answers of the cache database.")
        case .cacheRowsRefused: (.counter, "Answers of the cache database that were of no use.")
        case .cacheRowsOperations: (.counter, "Row changes, merges and removals sent to the cache database.")
        case .cacheRowsPending: (.gauge, "Those of them that it has not answered.")
        case .cacheRowsPools: (.gauge, "Relations that have a table in the cache database.")
        case .cacheRowsFragments: (.gauge, "Fragments of relations that are complete there.")
        case .cacheRowsBytes: (.gauge, "Bytes of these tables on disk, as measured last.")
        case .cacheRowsBytesMax: (.gauge, "Their bound.")
        case .cacheRowsEvictions: (.counter, "Fragments dropped to make room.")
        case .cacheRowsResets: (.counter, "Times the cache database was emptied or lost.")
        case .cachePopulations: (.counter, "Fragments whose loading was begun.")
        case .cachePopulationsPending: (.gauge, "Fragments that wait to be loaded, or are being loaded.")
        case .cachePopulationsGivenUp: (.counter, "Those of them that were too large, or lost a race with changes.")
        case .cacheTablesTracked: (.gauge, "Relations whose changes are followed.")
        case .cacheGeneration: (.gauge, "Number of the cache's present content; a flush begins a new one.")
        case .cacheCoalesceWaiting: (.gauge, "Misses that wait for the same miss of another client.")
        case .cacheCoalesceServed: (.counter, "Misses answered by the same miss of another client.")
        case .cacheCoalesceDeadlineForward: (.counter, "Misses that waited too long and were forwarded.")
        case .cacheResidentBytes: (.gauge, "Memory of the process.")
        case .processProcessorSeconds: (.counter, "Processor time of the process.")
        case .processUptimeSeconds: (.gauge, "Time since the start.")
        }
    }

    /// The table of the README.
    public static var markdown: String {
        var lines = ["| metric | kind | meaning |", "|---|---|---|"]
        for metric in allCases {
            lines.append("| `\(metric.name)` | \(metric.kind.rawValue) | \(metric.help) |")
        }
        return lines.joined(separator: "\n")
    }
}

/// One sample.
public struct MetricValue: Equatable, Sendable {
    public struct Label: Equatable, Sendable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }
    public enum Value: Equatable, Sendable {
        case integer(Int)
        case number(Double)
    }

    public var metric: Metric
    public var labels: [Label]
    public var value: Value

    public init(_ metric: Metric, _ value: Value, _ labels: [Label] = []) {
        self.metric = metric
        self.labels = labels
        self.value = value
    }
    /// A count, without a trap where it does not fit.
    public init(_ metric: Metric, _ count: some BinaryInteger, _ labels: [Label] = []) {
        self.init(metric, .integer(Int(clamping: count)), labels)
    }
    public init(_ metric: Metric, _ number: Double, _ labels: [Label] = []) {
        self.init(metric, .number(number), labels)
    }
}

/// Prometheus' text format 0.0.4: one HELP and one TYPE per family, its samples together.
public enum MetricsText {
    public static func render(_ values: [MetricValue]) -> String {
        var families: [Metric: [MetricValue]] = [:]
        for value in values { families[value.metric, default: []].append(value) }
        var text = ""
        for metric in Metric.allCases {
            guard let samples = families[metric] else { continue }
            text += "# HELP \(metric.name) \(escapedHelp(metric.help))\n"
            text += "# TYPE \(metric.name) \(metric.kind.rawValue)\n"
            for sample in samples { write(sample, to: &text) }
        }
        return text
    }

    private static func write(_ sample: MetricValue, to text: inout String) {
        let name = sample.metric.name
        switch sample.value {
        case .integer(let value): text += "\(name)\(labelText(sample.labels)) \(value)\n"
        case .number(let value): text += "\(name)\(labelText(sample.labels)) \(numberText(value))\n"
        }
    }

    private static func labelText(_ labels: [MetricValue.Label]) -> String {
        guard !labels.isEmpty else { return "" }
        let pairs = labels.map { "\($0.name)=\"\(escapedValue($0.value))\"" }
        return "{" + pairs.joined(separator: ",") + "}"
    }

    private static func numberText(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return String(value)
    }

    private static func escapedHelp(_ text: String) -> String {
        text.map { $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : String($0) }.joined()
    }
    private static func escapedValue(_ text: String) -> String {
        text.map { $0 == "\"" ? "\\\"" : $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : String($0) }.joined()
    }
}
