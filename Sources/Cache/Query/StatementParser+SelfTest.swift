import PGProtocol

extension StatementParser {
    /// Reads texts whose meaning is known, at start: nil when all came out right, else the first text
    /// that did not. The library was built from one minor release of PostgreSQL and its node types come
    /// from the headers of another: where their layouts differ, nothing may be cached.
    public static func selfTest() -> String? {
        for (text, isRight) in known where !isRight(parseForTest(text)) { return text }
        return nil
    }

    private static func parseForTest(_ text: String) -> ParsedStatement {
        withView(Array(text.utf8)) { view in
            parse(view, standardConformingStrings: true, bytesMax: 1 << 16)
        }
    }

    private typealias Known = (text: String, isRight: (ParsedStatement) -> Bool)

    private static var known: [Known] {
        typealias Operand = ParsedSelect.Operand
        func select(_ text: String, _ isRight: @escaping (ParsedSelect) -> Bool) -> Known {
            (text, { if case .select(let select) = $0.body { isRight(select) } else { false } })
        }
        func tests(_ select: ParsedSelect) -> [ParsedSelect.Test] { select.conditions.map(\.test) }
        return [
            select("select x.a from s.t x left join u on u.b = x.b where x.c = $3 limit 1") {
                $0.sources.map(\.content) == [
                    .relation(RelationName(schema: "s", name: "t")), .relation(RelationName(schema: nil, name: "u")),
                ] && $0.sources.map(\.name) == ["x", "u"] && $0.joins.map(\.kind) == [.left] && $0.levels[0].hasLimit
                    && $0.equalities.count == 1 && $0.parameterUses == [3: 1]
                    && tests($0) == [.among([Operand(literal: .parameter(3), cast: nil)])]
            },
            select("select * from t where a in (-5, 6000000000) and b between 'x' and $1::int8") {
                tests($0) == [
                    .among([
                        Operand(literal: .integer(-5), cast: nil),
                        Operand(literal: .integer(6_000_000_000), cast: nil),
                    ]),
                    .range(
                        lower: .init(
                            operand: Operand(literal: .string([0x78]), cast: nil),
                            isInclusive: true),
                        upper: .init(
                            operand: Operand(
                                literal: .parameter(1),
                                cast: ParsedTypeName(
                                    schema: nil, name: "int8", isArray: false, hasModifier: false)),
                            isInclusive: true)),
                ]
            },
            select("select * from t where a is null and b is not null and c is true and not d") {
                tests($0) == [.isNull, .isNotNull, .truth(true), .truth(false)]
            },
            select("select f(a, 2, 'x') filter (where b), c::varchar(3)[] as d from t group by 1") {
                $0.levels[0].calls == ["f"] && $0.levels[0].hasGrouping && !$0.levels[0].hasLimit
                    && $0.levels[0].outputs.map(\.name) == ["f", "d"]
                    && $0.casts.map(\.type) == [
                        ParsedTypeName(
                            schema: "pg_catalog", name: "varchar", isArray: true, hasModifier: true)
                    ]
            },
            select("select sum(a) over (order by b) from t") { $0.levels[0].hasWindow },
            select("with x as (select a from t) select x.a from x right join lateral f(1) y on true") {
                $0.sources.map(\.content) == [.derived(1), .opaque, .relation(RelationName(schema: nil, name: "t"))]
                    && $0.joins.map(\.kind) == [.right]
            },
            ("select a from t for update", { $0.body == .forward(.locking) }),
            ("select a into b from t", { $0.body == .forward(.selectInto) }),
            select("select a from t union all select 1") {
                $0.levels[0].isSetOperation && $0.levels.map(\.parent) == [nil, 0, 0]
            },
            ("select current_date from t", { $0.body == .forward(.timeDependent) }),
            ("select current_user from t", { $0.body == .forward(.volatileFunction) }),
            ("set local role bob", { $0.effect == .changesSession }),
            ("set session work_mem = 1", { $0.effect == [] }),
            ("reset all", { $0.effect == .changesSession }),
            ("savepoint a", { $0.effect == .controlsTransaction }),
            ("copy t from stdin", { $0.effect == .mayWrite }),
            ("copy t to stdout", { $0.effect == [] }),
        ]
    }
}
