/// What is known of PostgreSQL's own functions beyond their declared volatility.
///
/// Immutable functions are trusted, volatile ones never; a stable one is cacheable only if it is
/// named here. The names are pg_proc's of PostgreSQL 15; a function that a newer release adds is in
/// no list and therefore forwarded unless it is immutable.
enum Volatility {
    /// Stable only because their result depends on settings of the session: TimeZone, DateStyle,
    /// IntervalStyle, extra_float_digits, bytea_output, lc_monetary, lc_numeric, lc_time, default_text_search_config.
    /// All of them are in the profile of the key [K1].
    static let settingsOnly: Set<String> = plainStable.union(comparisonsOfMoments)

    private static let plainStable: Set<String> = [
        // Formatting and parsing under a pattern.
        "to_char", "to_date", "to_number", "to_timestamp",
        // Text of values of any type.
        "concat", "concat_ws", "format", "quote_literal", "quote_nullable", "array_to_string",
        "array_to_json", "row_to_json", "to_json", "to_jsonb", "json_build_array",
        "json_build_object", "jsonb_build_array", "jsonb_build_object",
        "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "anytextcat", "textanycat",
        // Text that becomes values; see `buildsRecords`.
        "json_to_record", "json_to_recordset", "jsonb_to_record", "jsonb_to_recordset",
        // Moments in the session's zone.
        "date_part", "date_trunc", "extract", "timezone", "make_timestamptz", "overlaps", "generate_series",
        "date", "time", "timestamp", "timestamptz", "in_range",
        "timestamptz_pl_interval", "timestamptz_mi_interval", "interval_pl_timestamptz",
        // The session's currency.
        "money", "numeric",
        // length(bytea, name) reads in an encoding; the other overloads are immutable.
        "length",
        // The values of an enum, which the poll covers [D1].
        "enum_first", "enum_last", "enum_range",
        // Text search under a configuration, by the settings' or by its name.
        "to_tsvector", "to_tsquery", "plainto_tsquery", "phraseto_tsquery", "websearch_to_tsquery",
        "json_to_tsvector", "jsonb_to_tsvector", "ts_headline", "ts_match_tq", "ts_match_tt",
    ]

    /// `date_lt_timestamptz` and its kin.
    private static let comparisonsOfMoments: Set<String> = {
        var names: Set<String> = []
        for pair in [
            ("date", "timestamptz"), ("timestamp", "timestamptz"), ("timestamptz", "date"),
            ("timestamptz", "timestamp"),
        ] {
            for comparison in ["eq", "ne", "lt", "le", "gt", "ge", "cmp"] {
                names.insert("\(pair.0)_\(comparison)_\(pair.1)")
            }
        }
        return names
    }()

    /// They read text as the types of a column definition list, dates and times among them.
    static let buildsRecords: Set<String> = [
        "json_to_record", "json_to_recordset", "jsonb_to_record", "jsonb_to_recordset",
    ]

    /// What text search by this name, of a function or an operator, would run of code that PostgreSQL did not bring.
    static func textSearch(_ name: String) -> ForeignTextSearch {
        if name == "ts_lexize" { return .dictionaries }
        return textSearchNames.contains(name) ? .configurations : []
    }
    private static let textSearchNames: Set<String> = [
        "@@", "@@@", "to_tsvector", "to_tsquery", "plainto_tsquery", "phraseto_tsquery", "websearch_to_tsquery",
        "json_to_tsvector", "jsonb_to_tsvector", "ts_headline", "ts_match_tq", "ts_match_tt", "ts_parse",
        "ts_token_type",
    ]

    /// Functions of the time of the call.
    static func isOfTime(_ call: ParsedCall) -> Bool {
        switch call.name {
        case "age": call.argumentCount != 2  // age(x) counts from today
        case "timestamptz": call.argumentCount > 1  // (date, timetz)
        // Whatever takes or gives a timetz may convert to it by today's daylight saving time.
        default: ofTime.contains(call.name) || call.name.contains("timetz")
        }
    }
    private static let ofTime: Set<String> = [
        "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday",
    ]

    /// Declared immutable, and yet they read catalogs that change without a row of ours changing.
    static func isOfCatalogs(_ name: String) -> Bool {
        ofCatalogs.contains(name) || name.hasPrefix("reg") && name.hasSuffix("send")
    }
    private static let ofCatalogs: Set<String> = [
        "pg_partition_root", "satisfies_hash_partition", "aclinsert", "aclremove", "aclcontains",
        "aclitemeq", "hash_aclitem", "hash_aclitem_extended", "makeaclitem",
    ]

    /// PostgreSQL's own, but they execute a query or a view that the caller names, and with it
    /// whatever functions are in there.
    static let executingSQL: Set<String> = [
        "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml",
        "cursor_to_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema", "schema_to_xml",
        "schema_to_xml_and_xmlschema", "database_to_xml", "database_to_xml_and_xmlschema",
        "ts_stat", "ts_rewrite",
    ]

    /// What calling a function of this name may do, whosever it is.
    static func effect(ofCalling name: String) -> StatementEffect {
        if name == "set_config" { return .changesSession }
        if name.hasPrefix("pg_advisory_unlock") { return [] }
        if writing.contains(name) || writingPrefixes.contains(where: { name.hasPrefix($0) }) {
            return .mayWrite
        }
        return []
    }

    private static let writing: Set<String> = [
        "nextval", "setval", "loread", "lowrite", "pg_notify", "pg_logical_emit_message",
        "pg_export_snapshot", "pg_current_xact_id", "txid_current", "pg_sleep", "pg_sleep_for",
        "pg_sleep_until", "pg_cancel_backend", "pg_terminate_backend", "pg_reload_conf",
        "pg_import_system_collations", "query_to_xml", "query_to_xml_and_xmlschema",
        "cursor_to_xml", "ts_stat", "ts_rewrite",
    ]
    /// Locks count: who takes one expects to read what its last holder wrote.
    private static let writingPrefixes = [
        "lo_", "pg_advisory", "pg_try_advisory", "dblink", "pg_replication", "pg_create_",
        "pg_drop_", "pg_copy_", "brin_", "gin_",
    ]

    /// Types whose text PostgreSQL looks up in its catalogs, in either direction. Not regconfig and regdictionary: the
    /// poll covers what they name [D1].
    static let catalogTypes: Set<String> = [
        "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regcollation", "regtype",
        "regrole", "regnamespace", "aclitem",
    ]
    /// The same by pg_type's numbers, arrays included.
    static let catalogTypeOIDs: Set<UInt32> = [
        24, 2202, 2203, 2204, 2205, 4191, 2206, 4096, 4089, 1033,
        1008, 2207, 2208, 2209, 2210, 4192, 2211, 4097, 4090, 1034,
    ]
}
