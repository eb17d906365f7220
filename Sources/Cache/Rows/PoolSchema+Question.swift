import PGProtocol

/// The question to the origin's catalog behind a `PoolSchema`.
///
/// One query, so one snapshot. Its rows are tagged, because relation, columns, types, fields, collations and indexes
/// have little in common: (tag, place, values), all of one width, each tag's in order of place. Expressions are printed
/// with the schemas of all that is not in pg_catalog: as for `CatalogQueries.relations`, the search path of the
/// connection must be pg_catalog alone; names and types do not depend on it.
extension PoolSchema {
    /// Values in a row behind its tag and place.
    static let rowWidth = 14

    /// About relation `oid`. No row for a relation that is not there any more.
    package static func question(_ oid: OID) -> OriginQuery {
        OriginQuery(sql, [oid.description])
    }

    private static let equals = CatalogQueries.equals
    private static let differs = CatalogQueries.differs
    private static let isUsers = "\(CatalogQueries.atLeast) \(CatalogQueries.firstUserOID)"
    private static let isColumn =
        "a.attrelid \(equals) $1::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 "
        + "AND NOT a.attisdropped"

    private static let sql = """
        WITH RECURSIVE used(oid) AS (
          SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE \(isColumn)
          UNION
          SELECT below.oid FROM used JOIN pg_catalog.pg_type t ON t.oid \(equals) used.oid
          CROSS JOIN LATERAL (
            SELECT t.typbasetype WHERE t.typtype \(equals) 'd'::pg_catalog."char"
            UNION ALL SELECT t.typelem WHERE \(isTrueArray("t"))
            UNION ALL SELECT f.atttypid FROM pg_catalog.pg_attribute f WHERE \(isField("f", of: "t"))) below(oid)
        )
        \(relation)
        UNION ALL
        \(columns)
        UNION ALL
        \(types)
        UNION ALL
        \(fields)
        UNION ALL
        \(collations)
        UNION ALL
        \(indexes)
        UNION ALL
        \(indexColumns)
        ORDER BY 1, 2
        """

    private static func arm(_ tag: Character, at place: String, _ values: [String], from: String) -> String {
        let padded = values + Array(repeating: "NULL", count: rowWidth - values.count)
        let texts = padded.map { "(\($0))::pg_catalog.text" }.joined(separator: ", ")
        return "SELECT '\(tag)'::pg_catalog.text, (\(place))::pg_catalog.int8, \(texts) FROM \(from)"
    }

    /// The size without indexes: what VACUUM has counted, or else the files, which takes a lock that any reader takes.
    private static let bytes = """
        CASE WHEN c.relpages OPERATOR(pg_catalog.>) 0
          THEN (c.relpages OPERATOR(pg_catalog.+) COALESCE((SELECT o.relpages FROM pg_catalog.pg_class o
              WHERE o.oid \(equals) c.reltoastrelid), 0))::pg_catalog.int8
            OPERATOR(pg_catalog.*) pg_catalog.current_setting('block_size')::pg_catalog.int8
          ELSE pg_catalog.pg_table_size(c.oid) END
        """
    private static let relation = arm(
        "r", at: "0",
        [
            "c.oid", "n.nspname", "c.relname", "c.relkind", "c.relpersistence", "c.relrowsecurity", "c.relreplident",
            bytes, "c.reltuples", "CASE WHEN \(CatalogPoll.counts) THEN \(CatalogPoll.version) END",
        ],
        from: """
            pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid \(equals) c.relnamespace
            WHERE c.oid \(equals) $1::pg_catalog.oid
            """)

    private static let columns = arm(
        "c", at: "a.attnum",
        [
            "a.attname", "a.atttypid", "a.atttypmod", keywords(for: "a.atttypid", "a.atttypmod"), "a.attnotnull",
            "a.attgenerated", "a.attcollation", "pg_catalog.pg_get_expr(d.adbin, d.adrelid)",
            isPlain("2604", "d.oid"), collations(in: "d.adbin"),
        ],
        from: """
            pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_attrdef d ON a.attgenerated \(differs) ''::pg_catalog."char"
              AND d.adrelid \(equals) a.attrelid AND d.adnum \(equals) a.attnum
            WHERE \(isColumn)
            """)

    private static let types = arm(
        "t", at: "0",
        [
            "t.oid", "t.typtype", "n.nspname", "t.typname",
            """
            CASE WHEN t.typtype \(equals) 'd'::pg_catalog."char" THEN t.typbasetype
              WHEN \(isTrueArray("t")) THEN t.typelem END
            """,
            isTrueArray("t"), keywords(for: "t.typbasetype", "t.typtypmod"), "t.typcollation", "t.typarray",
            """
            EXISTS (SELECT FROM pg_catalog.pg_depend u WHERE u.classid \(equals) '1247'::pg_catalog.oid
              AND u.objid \(equals) t.oid AND u.deptype \(equals) 'e'::pg_catalog."char")
            """,
            """
            EXISTS (SELECT FROM pg_catalog.pg_cast k WHERE k.oid \(isUsers)
                AND (k.castsource \(equals) t.oid OR k.casttarget \(equals) t.oid))
              OR EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.oid \(isUsers)
                AND o.opcintype \(equals) t.oid)
            """,
            """
            SELECT pg_catalog.array_agg(l.enumlabel::pg_catalog.text ORDER BY l.enumsortorder)
            FROM pg_catalog.pg_enum l WHERE l.enumtypid \(equals) t.oid
            """,
        ],
        from: """
            used JOIN pg_catalog.pg_type t ON t.oid \(equals) used.oid
            JOIN pg_catalog.pg_namespace n ON n.oid \(equals) t.typnamespace
            """)

    private static let fields = arm(
        "f", at: "f.attnum",
        ["t.oid", "f.attname", "f.atttypid", keywords(for: "f.atttypid", "f.atttypmod"), "f.attcollation"],
        from: """
            used JOIN pg_catalog.pg_type t ON t.oid \(equals) used.oid
            JOIN pg_catalog.pg_attribute f ON \(isField("f", of: "t"))
            """)

    private static let collations = arm(
        "o", at: "0", ["l.oid"] + PoolCollation.values,
        from: """
            pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid \(equals) l.collnamespace
            WHERE l.oid \(equals) ANY (SELECT a.attcollation FROM pg_catalog.pg_attribute a WHERE \(isColumn))
              OR l.oid \(equals) ANY (SELECT t.typcollation FROM used
                JOIN pg_catalog.pg_type t ON t.oid \(equals) used.oid)
              OR l.oid \(equals) ANY (SELECT f.attcollation FROM used
                JOIN pg_catalog.pg_type t ON t.oid \(equals) used.oid
                JOIN pg_catalog.pg_attribute f ON \(isField("f", of: "t")))
            """)

    private static let isIndex =
        "i.indrelid \(equals) $1::pg_catalog.oid AND i.indisvalid AND i.indisready AND i.indislive"
    private static let indexes = arm(
        "i", at: "x.oid",
        [
            "x.oid", "x.relname", "m.amname", "m.oid \(CatalogQueries.less) \(CatalogQueries.firstUserOID)",
            "i.indisprimary", "i.indisreplident", "i.indisunique AND i.indimmediate",
            "pg_catalog.pg_get_expr(i.indpred, i.indrelid)", isPlain("1259", "x.oid"),
            collations(in: "i.indpred"), collations(in: "i.indexprs"),
        ],
        from: """
            pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid \(equals) i.indexrelid
            JOIN pg_catalog.pg_am m ON m.oid \(equals) x.relam WHERE \(isIndex)
            """)

    /// Included columns have no operator class.
    private static let indexColumns = arm(
        "k", at: "k.ordinal",
        [
            "i.indexrelid", "k.attnum", "pg_catalog.pg_get_indexdef(i.indexrelid, k.ordinal::pg_catalog.int4, false)",
            "n.nspname", "o.opcname", "o.opcdefault", "(i.indcollation::pg_catalog.oid[])[\(position)]",
            "(i.indoption::pg_catalog.int2[])[\(position)]",
        ],
        from: """
            pg_catalog.pg_index i
            CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ordinal)
            LEFT JOIN pg_catalog.pg_opclass o ON o.oid \(equals) (i.indclass::pg_catalog.oid[])[\(position)]
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid \(equals) o.opcnamespace
            WHERE \(isIndex)
            """)
    /// These vectors count from 0.
    private static let position = "(k.ordinal \(CatalogQueries.minus) 1)::pg_catalog.int4"

    /// Whether type `alias` is the array type that belongs to its element; int2vector and its like are not.
    private static func isTrueArray(_ alias: String) -> String {
        """
        EXISTS (SELECT FROM pg_catalog.pg_type e
          WHERE e.oid \(equals) \(alias).typelem AND e.typarray \(equals) \(alias).oid)
        """
    }

    /// Whether `field` of pg_attribute is one of composite type `alias`, which is no table's.
    private static func isField(_ field: String, of alias: String) -> String {
        """
        \(field).attrelid \(equals) \(alias).typrelid AND \(alias).typtype \(equals) 'c'::pg_catalog."char"
          AND \(field).attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT \(field).attisdropped
          AND EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid \(equals) \(alias).typrelid
            AND r.relkind \(equals) 'c'::pg_catalog."char")
        """
    }

    /// The text of a type that is written in key words, which no search path redirects, and which alone take
    /// modifiers (format_type.c); of an array of such a type too. bpchar and bit without a length are not
    /// `character` and `bit`, which mean a length of 1.
    private static func keywords(for type: String, _ modifier: String) -> String {
        """
        SELECT pg_catalog.format_type(w.oid, \(modifier)) FROM pg_catalog.pg_type w
          WHERE w.oid \(equals) \(type)
            AND CASE WHEN \(isTrueArray("w")) THEN w.typelem ELSE w.oid END \(equals) ANY (
              CASE WHEN \(modifier) \(CatalogQueries.less) 0 THEN '{\(keywordTypes)}'::pg_catalog.oid[]
                ELSE '{\(keywordTypes),1042,1560}'::pg_catalog.oid[] END)
        """
    }
    private static let keywordTypes = "16,20,21,23,700,701,1043,1083,1114,1184,1186,1266,1562,1700"

    /// Whether an object depends on nothing that users made but its relation, the types of the columns, and collations,
    /// which are looked at apart.
    private static func isPlain(_ catalog: String, _ oid: String) -> String {
        """
        NOT EXISTS (SELECT FROM pg_catalog.pg_depend u
          WHERE u.classid \(equals) '\(catalog)'::pg_catalog.oid AND u.objid \(equals) \(oid)
            AND u.refobjid \(isUsers) AND u.refclassid \(differs) ALL ('{1259,2606,3456}'::pg_catalog.oid[])
            AND NOT (u.refclassid \(equals) '1247'::pg_catalog.oid
              AND u.refobjid \(equals) ANY (SELECT used.oid FROM used)))
        """
    }

    /// All collations that an expression names or uses, by what a node tree calls them.
    private static func collations(in tree: String) -> String {
        """
        SELECT pg_catalog.array_agg(DISTINCT found.parts[1]) FROM pg_catalog.regexp_matches(
          \(tree)::pg_catalog.text, ':[a-z_]*coll(?:id|Oid) ([1-9][0-9]*)', 'g') AS found(parts)
        """
    }
}
