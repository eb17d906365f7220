import PGProtocol

/// What of a database decides whether another one answers alike: asked of the origin and of the cache database.
package struct DatabaseFacts: Equatable, Sendable {
    /// server_version_num.
    package var serverVersion: Int
    package var encoding: String
    package var collate: String
    package var ctype: String
    /// pg_database.datlocprovider: `c` libc, `i` ICU, `b` PostgreSQL's own code; libc before PostgreSQL 15.
    package var provider: UInt8
    /// ICU's, or that of PostgreSQL's own code.
    package var locale: String?
    package var rules: String?
    /// Of the rules of the default collation as they are now; nil where nobody keeps one.
    package var collationVersion: String?
    /// Of libc's locales; nil if the database knows none but C.
    package var libcVersion: String?

    package init(
        serverVersion: Int, encoding: String, collate: String, ctype: String, provider: UInt8,
        locale: String? = nil, rules: String? = nil, collationVersion: String? = nil, libcVersion: String? = nil
    ) {
        self.serverVersion = serverVersion
        self.encoding = encoding
        self.collate = collate
        self.ctype = ctype
        self.provider = provider
        self.locale = locale
        self.rules = rules
        self.collationVersion = collationVersion
        self.libcVersion = libcVersion
    }

    private static let equals = CatalogQueries.equals

    /// One row. Columns that only some versions have are read through jsonb; the function that tells the version of
    /// the default collation came with PostgreSQL 15, and a text that names it is no statement before.
    package static func question(serverVersion: Int) -> OriginQuery {
        let column = { (name: String) in
            "pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) '\(name)'::pg_catalog.text"
        }
        let own = "pg_catalog.pg_database_collation_actual_version(d.oid)"
        return OriginQuery(
            """
            SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_encoding_to_char(d.encoding),
              d.datcollate, d.datctype, COALESCE(\(column("datlocprovider")), 'c'),
              COALESCE(\(column("datlocale")), \(column("daticulocale"))), \(column("daticurules")),
              \(serverVersion < 150_000 ? libcVersion : own), \(libcVersion)
            FROM pg_catalog.pg_database d WHERE d.datname \(equals) pg_catalog.current_database()
            """)
    }

    /// All of libc's locales are of one version, that of libc.
    private static let libcVersion = """
        (SELECT pg_catalog.max(pg_catalog.pg_collation_actual_version(l.oid)) FROM pg_catalog.pg_collation l
            WHERE l.collprovider \(equals) 'c'::pg_catalog."char")
        """

    /// Nil for rows that are not an answer to `question`.
    package init?(rows: [[String?]]) {
        guard rows.count == 1, rows[0].count == 9, let version = rows[0][0].flatMap({ Int($0) }),
            let encoding = rows[0][1], let collate = rows[0][2], let ctype = rows[0][3],
            let provider = SQLText.character(rows[0][4])
        else { return nil }
        let row = rows[0]
        self.init(
            serverVersion: version, encoding: encoding, collate: collate, ctype: ctype, provider: provider,
            locale: row[5], rules: row[6], collationVersion: row[7], libcVersion: row[8])
    }

    package struct Alikeness: Equatable, Sendable {
        package var majorVersion: Bool
        package var encoding: Bool
        /// Whether strings without a collation of their own are compared, and change their case, alike.
        package var defaultCollation: Bool
        /// Without these two there are no pools at all.
        package var allowsPools: Bool { majorVersion && encoding }

        package init(majorVersion: Bool, encoding: Bool, defaultCollation: Bool) {
            self.majorVersion = majorVersion
            self.encoding = encoding
            self.defaultCollation = defaultCollation
        }
    }

    /// How much the cache database is like this one, the origin's.
    package func alikeness(of cache: DatabaseFacts) -> Alikeness {
        Alikeness(
            majorVersion: serverVersion / 10_000 == cache.serverVersion / 10_000, encoding: encoding == cache.encoding,
            defaultCollation: hasCollation(of: cache))
    }

    private func hasCollation(of other: DatabaseFacts) -> Bool {
        guard provider == other.provider, locale == other.locale, rules == other.rules,
            Self.plainName(collate) == Self.plainName(other.collate),
            Self.plainName(ctype) == Self.plainName(other.ctype)
        else { return false }
        // Under other providers too libc says what a letter is, to text search for one.
        let isCtypeAlike = PoolCollation.neverChanges(ctype) || libcVersion != nil && libcVersion == other.libcVersion
        let isVersionAlike = collationVersion != nil && collationVersion == other.collationVersion
        return isCtypeAlike && (provider == UInt8(ascii: "c") && PoolCollation.neverChanges(collate) || isVersionAlike)
    }

    private static func plainName(_ locale: String) -> String { locale == "POSIX" ? "C" : locale }

    /// Statements that make the cache database, for a server of this one's version, to be tried in order: with the
    /// origin's locale, if the system has it; else with C, which every system has and no other resembles.
    package static func createDatabase(_ name: String, like origin: DatabaseFacts) -> [String] {
        let start = "CREATE DATABASE \(SQLText.identifier(name)) TEMPLATE template0 "
            + "ENCODING \(SQLText.literal(origin.encoding))"
        let hasProviders = origin.serverVersion >= 150_000
        var own = start
        if let locale = origin.locale, origin.provider == UInt8(ascii: "i") {
            own += " LOCALE_PROVIDER icu ICU_LOCALE \(SQLText.literal(locale))"
            if let rules = origin.rules { own += " ICU_RULES \(SQLText.literal(rules))" }
        } else if let locale = origin.locale, origin.provider == UInt8(ascii: "b") {
            own += " LOCALE_PROVIDER builtin BUILTIN_LOCALE \(SQLText.literal(locale))"
        } else if hasProviders {
            own += " LOCALE_PROVIDER libc"
        }
        own += " LC_COLLATE \(SQLText.literal(origin.collate)) LC_CTYPE \(SQLText.literal(origin.ctype))"
        let plain = start + (hasProviders ? " LOCALE_PROVIDER libc" : "") + " LC_COLLATE 'C' LC_CTYPE 'C'"
        return own == plain ? [own] : [own, plain]
    }
}
