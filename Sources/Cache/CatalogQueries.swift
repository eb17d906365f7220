/// One query for the origin: its text and its parameters, all in text format.
///
/// Values that come from names or from clients are always parameters, never part of the text.
public struct OriginQuery: Equatable, Sendable {
    public var sql: String
    public var parameters: [String?]

    public init(_ sql: String, _ parameters: [String?] = []) {
        self.sql = sql
        self.parameters = parameters
    }
}

/// The SQL by which the catalog of the origin is read.
///
/// It runs as pgcache's own role, which may be an ordinary one, on PostgreSQL 13 to 17: nothing
/// here reads pg_authid or needs a superuser. The role's search path is not trusted, so every
/// function, type and *operator* is qualified; that is also why there is no IN, no `CASE x WHEN y`
/// and no USING, which look `=` up by its bare name.
package enum CatalogQueries {
    /// Operators by their full names.
    static let equals = "OPERATOR(pg_catalog.=)"
    static let differs = "OPERATOR(pg_catalog.<>)"
    static let less = "OPERATOR(pg_catalog.<)"
    static let atLeast = "OPERATOR(pg_catalog.>=)"
    static let minus = "OPERATOR(pg_catalog.-)"
    static let plus = "OPERATOR(pg_catalog.+)"

    /// The first OID that is not PostgreSQL's own (FirstNormalObjectId).
    static let firstUserOID = "'16384'::pg_catalog.oid"

    /// Whether a namespace `alias` is neither a temporary nor a TOAST schema.
    static func isLasting(_ alias: String) -> String {
        "\(alias).nspname OPERATOR(pg_catalog.!~) '^pg_(toast$|temp_|toast_temp_)'::pg_catalog.text"
    }

    /// One row: what the origin is and who pgcache is there.
    package static let originFacts = """
        SELECT d.oid, d.datname, pg_catalog.current_setting('server_version_num'),
          pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('server_encoding'),
          pg_catalog.pg_is_in_recovery(), r.rolname, r.rolsuper, r.rolreplication, r.rolbypassrls
        FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
        WHERE d.datname \(equals) pg_catalog.current_database() AND r.rolname \(equals) current_user
        """

    /// Functions, aggregates and procedures; those with `oid >= 16384` or the others. For those of users three values
    /// more: a source, where it can be read (`FunctionBody`); whether that is the whole CREATE FUNCTION; the types of
    /// the result and the arguments.
    package static func functions(builtIn: Bool) -> String {
        """
        SELECT p.proname, p.oid, n.nspname, p.provolatile, p.prokind, p.proretset\(builtIn ? "" : source)
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid \(equals) p.pronamespace
        WHERE p.oid \(builtIn ? less : atLeast) \(firstUserOID) AND \(isLasting("n"))
        """
    }

    /// Of a function in SQL (language 14) that runs as its caller and under his settings, whose defaults are constants
    /// and whose types are known. In a body of the standard's form the names were bound when it was made, so it
    /// is shown with their schemas; PostgreSQL 13 has no such bodies, nor the column.
    private static let source = """
        , CASE WHEN p.prolang \(equals) '14'::pg_catalog.oid AND p.prokind \(equals) 'f'::pg_catalog."char"
              AND NOT p.prosecdef AND p.proconfig IS NULL
              AND (p.proargdefaults IS NULL
                OR p.proargdefaults::pg_catalog.text OPERATOR(pg_catalog.!~) '\\{(?!CONST )'::pg_catalog.text)
              AND (SELECT pg_catalog.bool_and(a.atttypid \(equals) ANY ('{2249,2278}'::pg_catalog.oid[])
                OR \(hasKnownType)) FROM pg_catalog.unnest(\(signature)) AS a(atttypid))
            THEN CASE WHEN \(isStandard) THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END END,
          \(isStandard), pg_catalog.array_to_string(\(signature), ' ')
        """
    private static let isStandard =
        "p.prolang \(equals) '14'::pg_catalog.oid AND (pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) "
        + "'prosqlbody'::pg_catalog.text) IS NOT NULL"
    private static let signature =
        "(p.prorettype OPERATOR(pg_catalog.||) COALESCE(p.proallargtypes, p.proargtypes::pg_catalog.oid[]))"

    /// An enum, or an array of one: only its labels are the user's, unless he has given it casts or operator classes.
    private static let isEnum = """
        ((t.typtype \(equals) 'e'::pg_catalog."char" OR EXISTS (SELECT FROM pg_catalog.pg_type e
            WHERE e.typarray \(equals) t.oid AND e.typtype \(equals) 'e'::pg_catalog."char"))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast k
            WHERE k.castsource \(equals) t.oid OR k.casttarget \(equals) t.oid)
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.opcintype \(equals) t.oid))
        """

    /// Rows (tag, name): `o` an operator, `t` a type that users made; `c` a cast between two types
    /// of PostgreSQL's own that users made; `x` a function behind an operator or a cast of
    /// PostgreSQL's own that not everyone may execute. The last two make statements mean, or need,
    /// what resolution cannot see. `p` and `l` are what settings of extensions begin with, and lists of libraries that
    /// may be loaded, whose settings mostly begin with the library's name; `p` is `*` where pgcache's role may not
    /// read which those are (it takes pg_read_all_settings). `s` is a configuration for text search, `d` a dictionary,
    /// that runs code which PostgreSQL did not bring.
    package static let userNames = """
        SELECT DISTINCT 'o', o.oprname::pg_catalog.text FROM pg_catalog.pg_operator o
        WHERE o.oid \(atLeast) \(firstUserOID)
        UNION ALL
        SELECT DISTINCT 't', t.typname::pg_catalog.text
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid \(equals) t.typnamespace
        WHERE t.oid \(atLeast) \(firstUserOID) AND \(isLasting("n")) AND NOT \(isEnum)
        UNION ALL
        SELECT DISTINCT 'e', t.typname::pg_catalog.text
        FROM pg_catalog.pg_type t WHERE t.oid \(atLeast) \(firstUserOID) AND \(isEnum)
        UNION ALL
        SELECT 'c', pg_catalog.format('%s as %s', pg_catalog.format_type(k.castsource, NULL),
          pg_catalog.format_type(k.casttarget, NULL))
        FROM pg_catalog.pg_cast k
        WHERE k.oid \(atLeast) \(firstUserOID) AND k.castsource \(less) \(firstUserOID)
          AND k.casttarget \(less) \(firstUserOID)
        UNION ALL
        SELECT 'x', p.proname::pg_catalog.text FROM pg_catalog.pg_proc p
        WHERE p.oid \(less) \(firstUserOID) AND p.proacl IS NOT NULL
          AND NOT pg_catalog.has_function_privilege('public'::pg_catalog.name, p.oid, 'EXECUTE') AND (
          EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oprcode::pg_catalog.oid \(equals) p.oid)
          OR EXISTS (SELECT FROM pg_catalog.pg_cast k WHERE k.castfunc \(equals) p.oid))
        UNION ALL
        SELECT 'p', e.extname::pg_catalog.text FROM pg_catalog.pg_extension e
        UNION ALL
        SELECT DISTINCT 'p', pg_catalog.split_part(s.name, '.', 1) FROM pg_catalog.pg_settings s
        WHERE s.name OPERATOR(pg_catalog.~~) '%.%'
        UNION ALL
        SELECT 'l', s.setting FROM pg_catalog.pg_settings s
        WHERE s.name OPERATOR(pg_catalog.~~) '%_preload_libraries'
        UNION ALL
        SELECT 'l', pg_catalog.split_part(c.setting, '=', 2)
        FROM pg_catalog.pg_db_role_setting x, pg_catalog.unnest(x.setconfig) AS c(setting)
        WHERE c.setting OPERATOR(pg_catalog.~~) '%_preload_libraries=%'
        UNION ALL
        SELECT DISTINCT 'l', p.probin FROM pg_catalog.pg_proc p
        WHERE p.oid \(atLeast) \(firstUserOID) AND p.probin IS NOT NULL
        UNION ALL
        SELECT 'p', '*' WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s
          WHERE s.name \(equals) 'session_preload_libraries')
        UNION ALL
        SELECT 's', g.cfgname::pg_catalog.text FROM pg_catalog.pg_ts_config g
        WHERE g.cfgparser \(atLeast) \(firstUserOID) OR EXISTS (
          SELECT FROM pg_catalog.pg_ts_config_map m JOIN pg_catalog.pg_ts_dict d ON d.oid \(equals) m.mapdict
          WHERE m.mapcfg \(equals) g.oid AND d.dicttemplate \(atLeast) \(firstUserOID))
        UNION ALL
        SELECT 'd', d.dictname::pg_catalog.text FROM pg_catalog.pg_ts_dict d
        WHERE d.dicttemplate \(atLeast) \(firstUserOID)
        """

    /// Types of PostgreSQL's own whose text depends on other objects: regproc, regclass, regtype
    /// and their kin, and aclitem, which prints the names of roles. Not regconfig and regdictionary: the poll
    /// covers what they name.
    static let typesThatNameObjects =
        "'{24,2202,2203,2204,2205,2206,4089,4096,4191,1033}'::pg_catalog.oid[]"

    /// Relations below one that are loaded with it; one more row says that there are more.
    package static let descendantsMax = 1000

    /// Everything of `Relation` for pairs of schema (`$1`) and name (`$2`) and, behind each, for all relations below it
    /// by inheritance or partitioning: a row per live column, or one row without a column; a pair that names nothing
    /// has no OID. The last five values: schema and name of the row's own relation; in the first row of a view
    /// its definition, and its owner unless it is a `security_invoker`; what the next poll must find
    /// (`CatalogPoll.version`).
    ///
    /// A primary key counts as such only where the stream would use it as replica identity: valid
    /// and not deferrable (RelationGetIndexList in relcache.c). Included columns are not part of a
    /// key. `pg_get_viewdef` leaves out the schemas of the search path: the connection's must be pg_catalog alone.
    package static let relations = """
        SELECT asked.schema, asked.name, c.oid, c.relkind, c.relpersistence, c.relrowsecurity,
          c.relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid \(equals) c.oid),
          EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class \(equals) c.oid
            AND w.rulename \(differs) '_RETURN'::pg_catalog.name),
          c.relreplident, a.attnum, a.attname, a.atttypid,
          a.attgenerated \(differs) ''::pg_catalog."char", a.attnotnull,
          COALESCE(l.collisdeterministic, true),
          \(isKeyColumn("i.indisprimary")), \(isKeyColumn("i.indisreplident")), \(hasKnownType),
          code.runs, \(baseType), space.nspname, c.relname,
          CASE WHEN COALESCE(a.attnum, '1'::pg_catalog.int2) \(equals) '1'::pg_catalog.int2 THEN code.definition END,
          code.owner, code.version
        FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
          AS asked(schema, name)
        LEFT JOIN pg_catalog.pg_namespace n ON n.nspname \(equals) asked.schema::pg_catalog.name
        LEFT JOIN pg_catalog.pg_class top ON top.relnamespace \(equals) n.oid
          AND top.relname \(equals) asked.name::pg_catalog.name
        LEFT JOIN LATERAL (\(tree)) part ON true
        LEFT JOIN pg_catalog.pg_class c ON c.oid \(equals) part.oid
        LEFT JOIN pg_catalog.pg_namespace space ON space.oid \(equals) c.relnamespace
        LEFT JOIN LATERAL (SELECT \(runsCode) AS runs, \(definition) AS definition, \(owner) AS owner,
            CASE WHEN \(CatalogPoll.counts) THEN \(CatalogPoll.version)::pg_catalog.text END AS version OFFSET 0) code
          ON true
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid \(equals) c.oid
          AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_collation l ON l.oid \(equals) a.attcollation
        ORDER BY asked.schema, asked.name, c.oid \(differs) top.oid, c.oid, a.attnum
        """

    /// The relation `top` and all below it.
    private static let tree = """
        WITH RECURSIVE tree(oid) AS (
            SELECT top.oid
            UNION
            SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent \(equals) tree.oid
            WHERE top.relkind \(equals) ANY ('{r,p}'::pg_catalog."char"[]))
          SELECT tree.oid FROM tree LIMIT \(descendantsMax + 2)
        """
    private static let isUsersView =
        "c.relkind \(equals) 'v'::pg_catalog.\"char\" AND c.oid \(atLeast) \(firstUserOID)"
    private static let definition =
        "CASE WHEN \(isUsersView) THEN pg_catalog.pg_get_viewdef(c.oid) END"
    private static let owner = """
        CASE WHEN \(isUsersView) AND NOT EXISTS (SELECT FROM pg_catalog.unnest(c.reloptions) AS o(text)
              WHERE o.text OPERATOR(pg_catalog.~) '^security_invoker='::pg_catalog.text
                AND pg_catalog.split_part(o.text, '=', 2)::pg_catalog.bool)
            THEN pg_catalog.pg_get_userbyid(c.relowner) END
        """

    /// Whether writing to table `c` runs code that PostgreSQL did not bring, or a cascade into other tables, or changes
    /// a setting: triggers; what its defaults, checks, indexes and domains depend on; `set_config` in one of those.
    ///
    /// Numbers of pg_proc.dat: 1646, 1647 and 1650 to 1653 are the triggers behind CASCADE, SET NULL and SET DEFAULT;
    /// 2078 is `set_config`, and the others execute a query that they are given. Objects that users made are recorded
    /// in pg_depend by whatever uses them; PostgreSQL's own are not.
    private static let runsCode = """
        EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid \(equals) c.oid
              AND (NOT g.tgisinternal
                OR g.tgfoid \(equals) ANY ('{1646,1647,1650,1651,1652,1653}'::pg_catalog.oid[])))
            OR EXISTS (SELECT FROM (
                SELECT '1259'::pg_catalog.oid, c.oid
                UNION ALL SELECT '1259'::pg_catalog.oid, i.indexrelid FROM pg_catalog.pg_index i
                  WHERE i.indrelid \(equals) c.oid
                UNION ALL SELECT '2604'::pg_catalog.oid, d.oid FROM pg_catalog.pg_attrdef d
                  WHERE d.adrelid \(equals) c.oid
                UNION ALL SELECT '2606'::pg_catalog.oid, k.oid FROM pg_catalog.pg_constraint k
                  WHERE k.conrelid \(equals) c.oid) part(catalog, oid)
              JOIN pg_catalog.pg_depend u ON u.classid \(equals) part.catalog AND u.objid \(equals) part.oid
              WHERE \(isUserCode))
            OR EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid \(equals) c.oid
              AND d.adbin::pg_catalog.text \(executesSQL))
            OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid \(equals) c.oid
              AND k.conbin::pg_catalog.text \(executesSQL))
            OR (EXISTS (SELECT FROM pg_catalog.pg_attribute b JOIN pg_catalog.pg_type t ON t.oid \(equals) b.atttypid
                WHERE b.attrelid \(equals) c.oid AND b.atttypid \(atLeast) \(firstUserOID)
                  AND t.typtype \(differs) 'e'::pg_catalog."char")
              AND (EXISTS (SELECT FROM pg_catalog.pg_constraint k
                  LEFT JOIN pg_catalog.pg_depend u ON u.classid \(equals) '2606'::pg_catalog.oid
                    AND u.objid \(equals) k.oid
                  WHERE k.contypid \(differs) '0'::pg_catalog.oid
                    AND (\(isUserCode) OR k.conbin::pg_catalog.text \(executesSQL)))
                OR EXISTS (SELECT FROM pg_catalog.pg_type t
                  LEFT JOIN pg_catalog.pg_depend u ON u.classid \(equals) '1247'::pg_catalog.oid
                    AND u.objid \(equals) t.oid
                  WHERE t.typtype \(equals) 'd'::pg_catalog."char" AND t.typdefaultbin IS NOT NULL
                    AND (\(isUserCode) OR t.typdefaultbin::pg_catalog.text \(executesSQL)))))
        """
    /// Whether row `u` of pg_depend refers to a function, operator or operator class that users made, or, in an
    /// expression, to a type that may run such code when a value of it is made: any but enums and arrays of them.
    private static let isUserCode = """
        u.refobjid \(atLeast) \(firstUserOID) AND (
                u.refclassid \(equals) ANY ('{1255,2616,2617,2753}'::pg_catalog.oid[])
                OR u.refclassid \(equals) '1247'::pg_catalog.oid
                  AND u.classid \(equals) ANY ('{2604,2606}'::pg_catalog.oid[])
                  AND u.deptype \(equals) 'n'::pg_catalog."char"
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_type y
                    LEFT JOIN pg_catalog.pg_type z ON z.oid \(equals) y.typelem
                    WHERE y.oid \(equals) u.refobjid
                      AND COALESCE(z.typtype, y.typtype) \(equals) 'e'::pg_catalog."char"))
        """
    private static let executesSQL = """
        OPERATOR(pg_catalog.~) ':funcid (2078|292[3-9]|293[0-9]|3685|3689|3690) '::pg_catalog.text
        """

    /// Whether column `a` belongs to the key of an index of `c` that is marked by `flag`.
    private static func isKeyColumn(_ flag: String) -> String {
        """
        EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid \(equals) c.oid AND \(flag)
            AND i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
            AND a.attnum \(equals) ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts \(minus) 1]))
        """
    }

    /// Whether the type of column `a` and all that it is made of (under domains, in arrays, composites, ranges) is an
    /// enum or PostgreSQL's own, and nobody has given it casts or operator classes of his own. A range's casts are
    /// PostgreSQL's code (language 12, `internal`). timetz, which is moved by today's rules, only where the
    /// column's type says so.
    private static let hasKnownType = """
        (WITH RECURSIVE part(oid) AS (
            SELECT a.atttypid
            UNION
            SELECT below.oid FROM part JOIN pg_catalog.pg_type t ON t.oid \(equals) part.oid
            CROSS JOIN LATERAL (
              SELECT t.typbasetype WHERE t.typtype \(equals) 'd'::pg_catalog."char"
              UNION ALL SELECT t.typelem WHERE \(isTrueArray)
              UNION ALL SELECT b.atttypid FROM pg_catalog.pg_attribute b
                WHERE t.typtype \(equals) 'c'::pg_catalog."char" AND b.attrelid \(equals) t.typrelid
                  AND b.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT b.attisdropped
              UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid \(equals) t.oid
              UNION ALL SELECT u.refobjid FROM pg_catalog.pg_depend u
                WHERE t.typtype \(equals) 'm'::pg_catalog."char" AND u.classid \(equals) '1247'::pg_catalog.oid
                  AND u.objid \(equals) t.oid AND u.refclassid \(equals) '1247'::pg_catalog.oid) below(oid))
          SELECT pg_catalog.bool_and(CASE WHEN t.oid \(less) \(firstUserOID)
            THEN t.typtype \(equals) ANY ('{b,r,m}'::pg_catalog."char"[])
              AND t.oid \(differs) ALL (\(typesThatNameObjects))
              AND (t.oid \(differs) '1266'::pg_catalog.oid
                OR a.atttypid \(equals) ANY ('{1266,1270}'::pg_catalog.oid[]))
            ELSE (t.typtype \(equals) ANY ('{c,d,e,m}'::pg_catalog."char"[]) OR \(isTrueArray)
                OR EXISTS (SELECT FROM pg_catalog.pg_range g WHERE g.rngtypid \(equals) t.oid
                  AND g.rngcanonical::pg_catalog.oid \(equals) '0'::pg_catalog.oid
                  AND g.rngsubdiff::pg_catalog.oid \(less) \(firstUserOID)
                  AND g.rngsubopc \(less) \(firstUserOID)))
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast k
                LEFT JOIN pg_catalog.pg_proc f ON f.oid \(equals) k.castfunc
                WHERE (k.castsource \(equals) t.oid OR k.casttarget \(equals) t.oid)
                  AND COALESCE(f.prolang, '0'::pg_catalog.oid) \(differs) '12'::pg_catalog.oid)
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.opcintype \(equals) t.oid) END)
          FROM part JOIN pg_catalog.pg_type t ON t.oid \(equals) part.oid)
        """
    /// The type of column `a` without its domains; 3500, `anyenum`, for an enum.
    private static let baseType = """
        (WITH RECURSIVE layer(oid) AS (
            SELECT a.atttypid
            UNION ALL
            SELECT t.typbasetype FROM layer JOIN pg_catalog.pg_type t ON t.oid \(equals) layer.oid
            WHERE t.typtype \(equals) 'd'::pg_catalog."char")
          SELECT CASE WHEN t.typtype \(equals) 'e'::pg_catalog."char" THEN '3500'::pg_catalog.oid ELSE t.oid END
          FROM layer JOIN pg_catalog.pg_type t ON t.oid \(equals) layer.oid
          WHERE t.typtype \(differs) 'd'::pg_catalog."char")
        """
    private static let isTrueArray = """
        EXISTS (SELECT FROM pg_catalog.pg_type e
              WHERE e.oid \(equals) t.typelem AND e.typarray \(equals) t.oid)
        """
}

/// Text that PostgreSQL reads and writes: array literals and quoted identifiers.
enum SQLText {
    /// An array literal (manual, 8.15.2 Array Value Input): every element quoted.
    static func array(_ elements: [String]) -> String {
        var text = "{"
        for (position, element) in elements.enumerated() {
            if position > 0 { text += "," }
            text += "\""
            for character in element.unicodeScalars {
                if character == "\"" || character == "\\" { text.unicodeScalars.append("\\") }
                text.unicodeScalars.append(character)
            }
            text += "\""
        }
        return text + "}"
    }

    /// The elements of a one-dimensional array without NULLs as PostgreSQL prints it; nil if it is
    /// not one.
    static func elements(ofArray text: String) -> [String]? {
        var elements: [String] = []
        var element = String.UnicodeScalarView()
        var isQuoted = false
        var wasQuoted = false
        var scalars = text.unicodeScalars.makeIterator()
        guard scalars.next() == "{" else { return nil }
        while let scalar = scalars.next() {
            if isQuoted {
                if scalar == "\\" {
                    guard let escaped = scalars.next() else { return nil }
                    element.append(escaped)
                } else if scalar == "\"" {
                    isQuoted = false
                } else {
                    element.append(scalar)
                }
                continue
            }
            switch scalar {
            case "\"":
                isQuoted = true
                wasQuoted = true
            case ",", "}":
                let isEmpty = element.isEmpty && !wasQuoted
                if scalar == "}" && isEmpty && elements.isEmpty {
                    return scalars.next() == nil ? [] : nil
                }
                if isEmpty { return nil }
                elements.append(String(element))
                element = String.UnicodeScalarView()
                wasQuoted = false
                if scalar == "}" { return scalars.next() == nil ? elements : nil }
            case "{":
                return nil
            default:
                element.append(scalar)
            }
        }
        return nil
    }

    /// The libraries of a list such as `shared_preload_libraries` has them, or of pg_proc.probin, without folders and
    /// endings, in lower case.
    static func libraries(_ list: String) -> [String] {
        list.split(separator: ",").compactMap { item in
            let path = item.filter { $0 != "\"" && $0 != " " }.lowercased()
            return path.split(separator: "/").last?.split(separator: ".").first.map(String.init)
        }
    }

    /// A quoted identifier (manual, 4.1.1), for statements that a person is shown.
    static func identifier(_ name: String) -> String { quoted(name, by: "\"") }

    /// A string constant, under standard_conforming_strings, for statements that a person is shown.
    static func literal(_ value: String) -> String { quoted(value, by: "'") }

    private static func quoted(_ text: String, by quote: Unicode.Scalar) -> String {
        var scalars = String.UnicodeScalarView([quote])
        for scalar in text.unicodeScalars {
            if scalar == quote { scalars.append(quote) }
            scalars.append(scalar)
        }
        scalars.append(quote)
        return String(scalars)
    }

    /// A boolean as PostgreSQL prints it; nil for anything else, NULL included.
    static func boolean(_ text: String?) -> Bool? {
        switch text {
        case "t": true
        case "f": false
        default: nil
        }
    }

    /// The byte of a "char" value; 0 for an empty one, nil for NULL.
    static func character(_ text: String?) -> UInt8? {
        guard let text else { return nil }
        return text.utf8.first ?? 0
    }
}
