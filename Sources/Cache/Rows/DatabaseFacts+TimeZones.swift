/// Whether two servers have the same data on time zones.
///
/// Nothing tells its version to an ordinary role, and pg_timezone_names reads a file per zone. So offsets from UTC are
/// compared, as digests that are text: the servers are alike as far as these are equal. Abbreviations, which
/// only some styles of DateStyle and to_char's TZ print, are not compared.
extension DatabaseFacts {
    /// Zones whose rules, past or announced, were changed by releases of the last years, or are others where the data
    /// was made with the option to keep what is only known from before 1970. Names that all releases have had for
    /// long: one that is unknown is an error (22023), and then nothing is known.
    private static let telling = """
        Africa/Cairo,Africa/Casablanca,Africa/Juba,America/Asuncion,America/Mexico_City,America/New_York,\
        America/Sao_Paulo,America/Scoresbysund,Antarctica/Vostok,Asia/Almaty,Asia/Amman,Asia/Gaza,Asia/Manila,\
        Asia/Shanghai,Asia/Tehran,Europe/Amsterdam,Europe/London,Europe/Moscow,Europe/Oslo,Pacific/Apia,Pacific/Fiji
        """

    /// One value: a digest of some zones at some moments; a cheap hint, not a proof for any zone.
    package static let zonesQuestion = OriginQuery(
        """
        SELECT pg_catalog.md5(pg_catalog.string_agg(\(local("z.name", "m.moment"))::pg_catalog.text, ','
          ORDER BY z.place, m.moment))
        FROM pg_catalog.unnest('{\(telling)}'::pg_catalog.text[]) WITH ORDINALITY AS z(name, place),
          (SELECT pg_catalog.generate_series('-2208988800'::pg_catalog.int8, '946684800'::pg_catalog.int8, 15778476)
            UNION ALL
            SELECT pg_catalog.generate_series('946684801'::pg_catalog.int8, '1924992000'::pg_catalog.int8, 2629746)
          ) AS m(moment)
        """)

    /// One value: a digest of all offsets of one zone and of the seconds at which they change. NULL when that cannot
    /// be told; an error (22023) when the server does not know the zone.
    ///
    /// Offsets are looked at every year from 1700 and every fortnight from 1900 to 2100, and a change between two
    /// looks is narrowed down to its second (OFFSET keeps a look from being taken three times). What is also an
    /// abbreviation, like CET, is taken for that by the function that is used here, though not by SET; only for those
    /// of UTC it is the same.
    /// - Parameter zone: as TimeZone has it, of any case.
    package static func zoneQuestion(_ zone: String) -> OriginQuery {
        let equals = CatalogQueries.equals
        return OriginQuery(
            """
            WITH RECURSIVE look(moment, shift) AS (
              SELECT l.moment, \(offset("$1", "l.moment")) FROM (
                SELECT pg_catalog.generate_series('-8520336000'::pg_catalog.int8, -2208988801, 31556952)
                UNION ALL
                SELECT pg_catalog.generate_series('-2208988800'::pg_catalog.int8, 4102444800, 1209600)
              ) AS l(moment)
            ), span(low, high, before, after) AS (
              SELECT p.low, p.high, p.before, p.after FROM (
                SELECT look.moment, pg_catalog.lead(look.moment) OVER w, look.shift,
                  pg_catalog.lead(look.shift) OVER w
                FROM look WINDOW w AS (ORDER BY look.moment)) AS p(low, high, before, after)
              WHERE p.before \(CatalogQueries.differs) p.after
              UNION ALL
              SELECT h.low, h.high, h.before, h.after FROM span
              CROSS JOIN LATERAL (
                SELECT (span.low \(CatalogQueries.plus) span.high) OPERATOR(pg_catalog./) 2) AS m(moment)
              CROSS JOIN LATERAL (SELECT \(offset("$1", "m.moment")) OFFSET 0) AS o(shift)
              CROSS JOIN LATERAL (VALUES (span.low, m.moment, span.before, o.shift),
                (m.moment, span.high, o.shift, span.after)) AS h(low, high, before, after)
              WHERE span.high \(CatalogQueries.minus) span.low OPERATOR(pg_catalog.>) 1
                AND h.before \(CatalogQueries.differs) h.after
            )
            SELECT CASE WHEN pg_catalog.upper($1) \(equals) ANY ('{UTC,UCT,GMT,Z,ZULU}'::pg_catalog.text[])
                OR NOT EXISTS (SELECT FROM pg_catalog.pg_timezone_abbrevs a
                  WHERE a.abbrev \(equals) pg_catalog.upper($1))
              THEN pg_catalog.md5(pg_catalog.concat(
                (SELECT pg_catalog.string_agg(look.shift::pg_catalog.text, ',' ORDER BY look.moment) FROM look), ';',
                (SELECT pg_catalog.string_agg(pg_catalog.concat(span.high, ':', span.after), ',' ORDER BY span.high)
                  FROM span WHERE span.high \(CatalogQueries.minus) span.low \(CatalogQueries.equals) 1))) END
            """, [zone])
    }

    /// The time in a zone as seconds; the moment is in seconds since 1970.
    private static func local(_ zone: String, _ moment: String) -> String {
        "pg_catalog.date_part('epoch', pg_catalog.timezone(\(zone)::pg_catalog.text, "
            + "pg_catalog.to_timestamp((\(moment))::pg_catalog.float8)))"
    }
    private static func offset(_ zone: String, _ moment: String) -> String {
        "\(local(zone, moment))::pg_catalog.int8 \(CatalogQueries.minus) \(moment)"
    }
}
