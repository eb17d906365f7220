import PGProtocol

/// The settings of a session that can alter the text or the meaning of a cached answer [K1, K3].
///
/// Read once, right after login, by `readSQL` in the client's own session, because a role, a
/// database, a start-up packet and a configuration file can all set what no ParameterStatus
/// reports. Two sessions with equal profiles read a statement alike and get the same bytes for it,
/// unless their roles' rights differ; the role is therefore not part of a profile, and `$user` is
/// already resolved in `searchPath`.
///
/// Left out on purpose: lc_messages (no message is ever cached), default_transaction_read_only (a
/// cached answer never needs to write), planner settings (they alter only an order that was never
/// promised), and timeouts. `search_path` itself is left out because what it resolves to is in.
public struct Profile: Hashable, Sendable {
    /// Existing schemas that the role may use, in order of search, pg_catalog included
    /// (`current_schemas(true)`).
    public let searchPath: [String]
    /// Values of `Profile.settings` in that order, normalized; empty where the origin lacks the
    /// setting.
    public let values: [String]
    /// Values of the settings that the operator has declared, in their order; nil where the session knows none [K4].
    public let customValues: [String?]

    /// Settings that split the cache. The origin may lack some: they came and went between 13 and
    /// 17.
    static let settings = [
        "TimeZone", "timezone_abbreviations", "DateStyle", "IntervalStyle", "extra_float_digits",
        "bytea_output", "client_encoding", "standard_conforming_strings", "lc_monetary", "lc_numeric",
        "lc_time", "backslash_quote", "escape_string_warning", "quote_all_identifiers", "array_nulls",
        "xmlbinary", "xmloption", "default_text_search_config", "row_security", "client_min_messages",
        "operator_precedence_warning", "restrict_nonsystem_relation_kind",
    ]
    /// The classes of `settings`; nil for those on which every statement depends.
    static let classes = settings.map { SettingClasses.ofSetting($0) }
    /// Those that the server reports by itself when they change (manual, 55.2.7), as `values` has them.
    func agrees(with reported: [String: String]) -> Bool {
        for (setting, value) in zip(Self.settings, values) {
            if let now = reported[setting], now != value { return false }
        }
        return true
    }

    private static let positionOfDigits = settings.firstIndex(of: "extra_float_digits")
    private static let positionOfEncoding = settings.firstIndex(of: "client_encoding")
    private static let positionOfStrings = settings.firstIndex(of: "standard_conforming_strings")

    /// Whether `\` in a plain string constant is an ordinary character: the parser must know.
    public var standardConformingStrings: Bool {
        Self.positionOfStrings.map { values[$0] } == "on"
    }

    /// pg_catalog first, and no schema that only this session sees.
    static func isPlain(searchPath: [String]) -> Bool {
        searchPath.first == "pg_catalog" && !searchPath.contains { $0.hasPrefix("pg_temp") }
    }
}

/// What a session's first query of ours brought: its profile, whose it is, and whether it may use
/// the cache.
public struct ProfileReading: Hashable, Sendable {
    public let profile: Profile
    /// The role whose rights count: current_user. Not part of the profile.
    public let role: String
    public let sessionUser: String
    /// `search_path` as it is set: what it leads to may change with the role.
    public let searchPathText: String
    /// Why the session's statements are forwarded; nil when they may be answered from the cache.
    public let refusal: Refusal?

    public var isCacheable: Bool { refusal == nil }

    public enum Refusal: String, Equatable, Sendable {
        case otherDatabase = "other_database"
        /// Not READ COMMITTED, now or by default [S2].
        case isolation
        /// A temporary schema could shadow any name.
        case temporarySchema = "temporary_schema"
        /// Another schema is searched before pg_catalog, so no built-in name is sure.
        case catalogNotFirst = "catalog_not_first"
        /// `x = NULL` would mean `x IS NULL`.
        case transformsNullEquals = "transform_null_equals"
        /// Triggers and rules fire as on a replica.
        case replicaRole = "session_replication_role"
        /// Index scans may leave rows out at random.
        case fuzzySearch = "gin_fuzzy_search_limit"
        /// The constants of a statement are not the bytes that the stream carries, which are UTF-8.
        case encoding = "client_encoding"
        /// A name or value that is not valid UTF-8 could be mistaken for another.
        case unreadable

        public var forwardReason: ForwardReason {
            self == .otherDatabase ? .otherDatabase : .sessionState
        }
    }
}

extension Profile {
    /// Settings that decide whether a session may use the cache at all, with what they must be.
    private static let required: [(name: String, value: String, refusal: ProfileReading.Refusal)] = [
        ("transaction_isolation", "read committed", .isolation),
        ("default_transaction_isolation", "read committed", .isolation),
        ("transform_null_equals", "off", .transformsNullEquals),
        ("session_replication_role", "origin", .replicaRole),
        ("gin_fuzzy_search_limit", "0", .fuzzySearch),
    ]

    /// The statement that is sent in the client's session, as its role, before its first own one.
    ///
    /// One row. No operator and no unqualified function: the search path is the client's.
    /// `missing_ok` lets one text serve all versions; pg_settings would cost several times a point
    /// select.
    public static let readSQL = readSQL(declared: [])

    /// The same with settings of the application behind it [K4].
    /// - Parameter declared: names for which `isCustomName` holds.
    public static func readSQL(declared: [String]) -> String {
        let names = required.map(\.name) + ["server_encoding", "search_path"] + settings + declared
        let columns = names.map { "pg_catalog.current_setting('\($0)', true)" }
        return "SELECT pg_catalog.current_database(), session_user, current_user, "
            + "pg_catalog.current_schemas(true)::pg_catalog.text, " + columns.joined(separator: ", ")
    }

    /// Whether this is the name of a setting of an application, in lower case: identifiers with dots between them. What
    /// is more than ASCII is left to the origin.
    public static func isCustomName(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count > 1
            && parts.allSatisfy { part in
                let isIdentifier = part.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F || $0 == 0x24
                }
                guard isIdentifier, let first = part.utf8.first else { return false }
                return first > 0x39
            }
    }

    /// Number of columns of that row without declared settings.
    public static let readColumnCount = 4 + required.count + 2 + settings.count

    /// The row that `readSQL` brought.
    /// - Parameters:
    ///   - database: the one whose changes pgcache follows.
    ///   - declared: how many settings of the application were asked for.
    /// - Returns: nil when it is not such a row; the session then does not use the cache.
    public static func parse(row: [String?], database: String, declared: Int = 0) -> ProfileReading? {
        guard row.count == readColumnCount + declared, let currentDatabase = row[0], let sessionUser = row[1],
            let role = row[2], let searchPath = row[3].flatMap(SQLText.elements(ofArray:))
        else { return nil }
        let requiredValues = row[4..<4 + required.count]
        let serverEncoding = row[4 + required.count]
        let searchPathText = row[5 + required.count]
        var values = row[(6 + required.count)..<readColumnCount].map { $0 ?? "" }
        // All values above 0 select the shortest exact form (manual, 20.11.2).
        if let position = positionOfDigits, let digits = Int(values[position]), digits > 0 {
            values[position] = "1"
        }
        let profile = Profile(
            searchPath: searchPath, values: values, customValues: Array(row[readColumnCount...]))

        func refusal() -> ProfileReading.Refusal? {
            if currentDatabase != database { return .otherDatabase }
            if row.contains(where: { $0?.unicodeScalars.contains("\u{FFFD}") == true }) {
                return .unreadable
            }
            let encoding = positionOfEncoding.map { values[$0] }
            // SQL_ASCII as the client's encoding means that nothing is converted.
            guard encoding == "UTF8" || (encoding == "SQL_ASCII" && serverEncoding == "UTF8") else {
                return .encoding
            }
            for (setting, value) in zip(required, requiredValues) where value != setting.value {
                return setting.refusal
            }
            if searchPath.contains(where: { $0.hasPrefix("pg_temp") }) { return .temporarySchema }
            return isPlain(searchPath: searchPath) ? nil : .catalogNotFirst
        }
        return ProfileReading(
            profile: profile, role: role, sessionUser: sessionUser, searchPathText: searchPathText ?? "",
            refusal: refusal())
    }

    /// Whether a ParameterStatus after login leaves the profile as it was read. Settings that the
    /// server reports and that no answer depends on are named; all others count as a change of
    /// profile.
    public static func isHarmlessParameterStatus(_ name: String) -> Bool {
        switch name {
        case "application_name", "default_transaction_read_only", "in_hot_standby",
            "integer_datetimes", "scram_iterations", "server_encoding", "server_version":
            true
        default:
            false
        }
    }
}

/// Numbers for profiles, so that a key holds four bytes instead of thirty strings.
///
/// Owner: the cache store. Bounds: `max` profiles; a session whose profile finds no place forwards.
/// Numbers are given once and never again, so a key made before `removeAll` matches nothing after
/// it.
public struct Profiles: Sendable {
    public let max: Int
    private var numbers: [Profile: UInt32] = [:]
    private var profiles: [UInt32: Profile] = [:]
    private var next: UInt32 = 0

    public init(max: Int = 4096) { self.max = max }

    /// The profile that has this number.
    subscript(number: UInt32) -> Profile? { profiles[number] }

    /// The profile's number; nil when there is no place for it.
    public mutating func intern(_ profile: Profile) -> UInt32? {
        if let number = numbers[profile] { return number }
        guard numbers.count < max, next < .max else { return nil }
        defer { next += 1 }
        numbers[profile] = next
        profiles[next] = profile
        return next
    }

    public var count: Int { numbers.count }

    /// Makes room; only together with everything that is keyed by a number.
    public mutating func removeAll() {
        numbers.removeAll(keepingCapacity: true)
        profiles.removeAll(keepingCapacity: true)
    }
}

/// Numbers for the names of roles, from 0. Each has a bit in a statement's record of rights; who finds no number
/// forwards [P1].
///
/// Owner: the cache store. Bounds: `max` roles.
public struct Roles: Sendable {
    public let max: Int
    private var numbers: [String: UInt32] = [:]
    private var names: [String] = []

    public init(max: Int = RoleSet.countMax) { self.max = max }

    /// The role's number; nil when there is no place for it.
    public mutating func intern(_ name: String) -> UInt32? {
        if let number = numbers[name] { return number }
        guard names.count < max, let number = UInt32(exactly: names.count) else { return nil }
        numbers[name] = number
        names.append(name)
        return number
    }

    public func name(_ number: UInt32) -> String? {
        Int(number) < names.count ? names[Int(number)] : nil
    }

    public var count: Int { names.count }
}

/// Roles by their numbers.
public struct RoleSet: Equatable, Sendable {
    /// One number stands for a role that is not known yet.
    public static let countMax = 255

    private var bits = SIMD4<UInt64>.zero

    public init() {}

    @inline(__always)
    func contains(_ role: UInt8) -> Bool { bits[Int(role >> 6)] & (1 << UInt64(role & 63)) != 0 }

    mutating func insert(_ role: UInt8) { bits[Int(role >> 6)] |= 1 << UInt64(role & 63) }
}
