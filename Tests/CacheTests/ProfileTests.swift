import PGProtocol
import Testing

@testable import Cache

@Suite struct ProfileTests {
    /// A row of a session with ordinary settings, with changes by the names of its columns.
    static func row(_ changes: [String: String?] = [:]) -> [String?] {
        let names = columns
        return names.map { name in
            if let change = changes[name] { return change }
            return switch name {
            case "database": "shop"
            case "session_user", "current_user": "app"
            case "schemas": "{pg_catalog,public}"
            case "transaction_isolation", "default_transaction_isolation": "read committed"
            case "session_replication_role": "origin"
            case "gin_fuzzy_search_limit": "0"
            case "server_encoding", "client_encoding": "UTF8"
            case "standard_conforming_strings": "on"
            case "extra_float_digits": "1"
            default: "off"
            }
        }
    }
    /// The columns of `Profile.readSQL`, by what they read.
    static let columns: [String] = {
        let settings = Profile.readSQL.split(separator: "current_setting('").dropFirst().map {
            String($0.prefix { $0 != "'" })
        }
        return ["database", "session_user", "current_user", "schemas"] + settings
    }()

    static func reading(_ changes: [String: String?] = [:]) throws -> ProfileReading {
        try #require(Profile.parse(row: row(changes), database: "shop"))
    }

    @Test func anOrdinarySessionIsCacheable() throws {
        let reading = try Self.reading()
        #expect(reading.isCacheable && reading.role == "app" && reading.sessionUser == "app")
        #expect(reading.profile.searchPath == ["pg_catalog", "public"])
        #expect(reading.profile.standardConformingStrings)
    }

    @Test(arguments: [
        ("database", "other", ProfileReading.Refusal.otherDatabase),
        ("transaction_isolation", "serializable", .isolation),
        ("default_transaction_isolation", "repeatable read", .isolation),
        ("transform_null_equals", "on", .transformsNullEquals),
        ("session_replication_role", "replica", .replicaRole),
        ("gin_fuzzy_search_limit", "10", .fuzzySearch),
        ("schemas", "{pg_temp_3,pg_catalog,public}", .temporarySchema),
        ("schemas", "{public,pg_catalog}", .catalogNotFirst),
        ("schemas", "{}", .catalogNotFirst),
        ("client_encoding", "LATIN1", .encoding), ("client_encoding", "SJIS", .encoding),
        ("DateStyle", "a\u{FFFD}", .unreadable), ("current_user", "\u{FFFD}", .unreadable),
    ])
    func someSessionsForward(column: String, value: String, refusal: ProfileReading.Refusal) throws {
        let reading = try Self.reading([column: value])
        #expect(reading.refusal == refusal)
        #expect(
            refusal.forwardReason == (refusal == .otherDatabase ? .otherDatabase : .sessionState))
    }

    @Test func unconvertedBytesAreTheStreamsBytesOnlyIfTheServerHasUTF8() throws {
        #expect(try Self.reading(["client_encoding": "SQL_ASCII"]).isCacheable)
        let reading = try Self.reading(["client_encoding": "SQL_ASCII", "server_encoding": "LATIN1"])
        #expect(reading.refusal == .encoding)
    }

    @Test func everySettingSplitsAndTheRoleDoesNot() throws {
        let ordinary = try Self.reading().profile
        for setting in Profile.settings {
            #expect(try Self.reading([setting: "-2"]).profile != ordinary, "\(setting)")
        }
        #expect(try Self.reading(["schemas": "{pg_catalog,app}"]).profile != ordinary)
        let other = try Self.reading(["current_user": "bob", "session_user": "bob"])
        #expect(other.profile == ordinary && other.role == "bob")
        #expect(try !Self.reading(["standard_conforming_strings": "off"]).profile.standardConformingStrings)
    }

    @Test func allFloatDigitsAboveZeroAreOne() throws {
        let profiles = try ["1", "2", "3"].map { try Self.reading(["extra_float_digits": $0]).profile }
        #expect(Set(profiles).count == 1)
        #expect(try Self.reading(["extra_float_digits": "0"]).profile != profiles[0])
    }

    @Test func settingsThatTheServerLacksAreEmpty() throws {
        let reading = try Self.reading(["operator_precedence_warning": nil])
        #expect(reading.isCacheable)
    }

    @Test func aRowThatIsNoneIsRefused() {
        #expect(Profile.parse(row: [], database: "shop") == nil)
        #expect(Profile.parse(row: Array(Self.row().dropLast()), database: "shop") == nil)
        for column in ["database", "session_user", "current_user", "schemas"] {
            #expect(Profile.parse(row: Self.row([column: nil]), database: "shop") == nil)
        }
        #expect(Profile.parse(row: Self.row(["schemas": "pg_catalog"]), database: "shop") == nil)
        let withoutValue = Profile.parse(
            row: Self.row(["transaction_isolation": nil]), database: "shop")
        #expect(withoutValue?.refusal == .isolation)
    }

    @Test func onlyNamedStatusesAreHarmless() {
        for name in ["application_name", "in_hot_standby", "server_version"] {
            #expect(Profile.isHarmlessParameterStatus(name))
        }
        for name in [
            "TimeZone", "DateStyle", "IntervalStyle", "client_encoding", "standard_conforming_strings",
            "is_superuser", "session_authorization", "search_path", "something_new",
        ] {
            #expect(!Profile.isHarmlessParameterStatus(name))
        }
    }

    @Test func profilesAndRolesAreNumberedWithinBounds() throws {
        var profiles = Profiles(max: 2)
        let all = try ["UTC", "GMT", "EST"].map { try Self.reading(["TimeZone": $0]).profile }
        #expect(all.map { profiles.intern($0) } == [0, 1, nil])
        #expect(all.map { profiles.intern($0) } == [0, 1, nil])
        profiles.removeAll()
        #expect(profiles.intern(all[2]) == 2)

        var roles = Roles(max: 2)
        #expect(["a", "b", "c", "a"].map { roles.intern($0) } == [0, 1, nil, 0])
        #expect(roles.name(1) == "b" && roles.name(2) == nil)
        var set = RoleSet()
        for role in [0, 63, 64, 254] as [UInt8] {
            #expect(!set.contains(role))
            set.insert(role)
            #expect(set.contains(role))
        }
        #expect((0..<255).filter { set.contains($0) } == [0, 63, 64, 254])
    }
}

/// The statement that reads a profile, in sessions of a real PostgreSQL.
@Suite struct ProfileOriginTests {
    let database: CatalogOrigin.Database

    init() throws { database = try CatalogOrigin.shared.get().database() }

    func reading(after before: String = "", as role: String = "postgres") throws -> ProfileReading {
        let session = database.asRole(role)
        let row = try #require(try session.rows(OriginQuery(Profile.readSQL), after: before).last)
        return try #require(Profile.parse(row: row, database: database.name))
    }

    @Test func aPlainSessionIsCacheable() throws {
        let reading = try reading()
        #expect(reading.isCacheable && reading.role == "postgres")
        #expect(reading.profile.searchPath == ["pg_catalog", "public"])
    }

    @Test(arguments: [
        "SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'German'", "SET IntervalStyle = 'iso_8601'",
        "SET extra_float_digits = -5", "SET bytea_output = 'escape'", "SET xmloption = 'document'",
        "SET standard_conforming_strings = off", "SET row_security = off", "SET array_nulls = off",
        "SET default_text_search_config = 'pg_catalog.german'", "SET client_min_messages = 'debug1'",
        "SET search_path = pg_catalog", "SET lc_monetary = 'C.UTF-8'",
        "CREATE SCHEMA s; SET search_path = s, public", "CREATE SCHEMA postgres",
    ])
    func settingsSplit(statement: String) throws {
        let ordinary = try reading(after: "SET lc_monetary = 'C'")
        let other = try reading(after: "SET lc_monetary = 'C'; \(statement)")
        #expect(other.isCacheable && other.profile != ordinary.profile)
    }

    @Test(arguments: [
        ("CREATE TEMP TABLE t (a int)", ProfileReading.Refusal.temporarySchema),
        ("CREATE TEMP TABLE t (a int); SET search_path = public, pg_temp", .temporarySchema),
        ("SET search_path = public, pg_catalog", .catalogNotFirst),
        ("SET default_transaction_isolation = 'serializable'", .isolation),
        ("SET transform_null_equals = on", .transformsNullEquals),
        ("SET session_replication_role = replica", .replicaRole),
        ("SET gin_fuzzy_search_limit = 5", .fuzzySearch), ("SET client_encoding = 'LATIN1'", .encoding),
    ])
    func someForward(statement: String, refusal: ProfileReading.Refusal) throws {
        #expect(try reading(after: statement).refusal == refusal)
    }

    /// The session's own schemas must not be able to answer for PostgreSQL.
    @Test func aHostileSearchPathIsOfNoUse() throws {
        let reading = try reading(
            after: """
                CREATE SCHEMA evil; CREATE FUNCTION evil.current_setting(text, bool) RETURNS text
                LANGUAGE sql AS $$ SELECT 'x' $$; CREATE FUNCTION evil.current_schemas(bool) RETURNS name[]
                LANGUAGE sql AS $$ SELECT '{pg_catalog}'::name[] $$; SET search_path = evil, pg_catalog
                """)
        #expect(reading.refusal == .catalogNotFirst)
        #expect(reading.profile.searchPath == ["evil", "pg_catalog"])
    }

    @Test func aRolesOwnSchemaAndSettingsAreSeen() throws {
        let role = "p_\(database.name)"
        try database.run(
            "CREATE ROLE \(role) LOGIN; CREATE SCHEMA AUTHORIZATION \(role); "
                + "ALTER ROLE \(role) SET bytea_output = 'escape'")
        let reading = try reading(as: role)
        #expect(reading.isCacheable && reading.role == role)
        #expect(reading.profile.searchPath == ["pg_catalog", role, "public"])
        #expect(reading.profile.values.contains("escape"))
        #expect(try self.reading(after: "SET ROLE \(role)").role == role)
    }
}
