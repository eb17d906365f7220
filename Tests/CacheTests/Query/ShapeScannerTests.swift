import PGProtocol
import Testing

@testable import Cache

/// Which texts have one shape, and which constants are lifted [K2].
@Suite struct ShapeScannerTests {
    let scanner = ShapeScanner()

    /// The shape with `?i`, `?l`, `?n`, `?s`, `?w` for the constants; nil without one.
    private func shape(_ text: String, rest: [UInt8] = []) -> String? {
        withView(Array(text.utf8)) { text in
            withView(rest) { rest in
                scanner.scan(text, rest: rest).map { key in
                    let letters: [Character] = ["?", "i", "l", "n", "s", "w"]
                    return key.bytes.dropLast(rest.count + 1).reduce(into: "") { shown, byte in
                        shown += byte < 6 ? "?\(letters[Int(byte)])" : String(UnicodeScalar(byte))
                    }
                }
            }
        }
    }

    @Test(arguments: [
        ("select a from t where b = 1", "select a from t where b = ?i"),
        ("select a from t where b = 2147483647", "select a from t where b = ?i"),
        ("select a from t where b = 2147483648", "select a from t where b = ?l"),
        ("select a from t where b = 9223372036854775808", "select a from t where b = ?n"),
        ("select a from t where b = 1.0 or c=.5 or d = 5.", "select a from t where b = ?n or c=?n or d = ?n"),
        ("select a from t where b = -1", "select a from t where b = -?i"),
        ("select a from t where b = '1'", "select a from t where b = ?s"),
        ("select a from t where b = 'it''s'", "select a from t where b = ?s"),
        ("select a from t where b = 'é'", "select a from t where b = ?w"),
        ("select a from t where b=date '2024-01-01'", "select a from t where b=date ?s"),
        ("select a from t where b in (1,2, 'x')", "select a from t where b in (?i,?i, ?s)"),
        ("  select /* 7 */ a\n from t -- 8\n where b=1", "select a from t where b=?i"),
        ("select t1.c2, $1 from t1", "select t1.c2, $1 from t1"),
        ("insert into t (a, b) values (1, 'x'), (2, 'y')", "insert into t (a, b) values (?i, ?s), (?i, ?s)"),
        ("update t set a = 1 where id = 2;", "update t set a = ?i where id = ?i;"),
        ("select \"a1\", 1 from t", "select \"a1\", ?i from t"),
        ("select a from t where b = 1 and c = E'x'", "select a from t where b = ?i and c = E'x'"),
        ("select a from t where b = $x$1$x$ and c = 1", "select a from t where b = $x$1$x$ and c = ?i"),
    ])
    func constantsAreLifted(text: String, expected: String) {
        #expect(shape(text) == expected)
    }

    /// Numbers that are no values.
    @Test(arguments: [
        ("select a, b from t where c = 3 order by 1, 2 desc", "select a, b from t where c = ?i order by 1, 2 desc"),
        ("select a from t group by 1 having count(*) > 5", "select a from t group by 1 having count(*) > ?i"),
        ("select a from t where c = 3 limit 10 offset 20", "select a from t where c = ?i limit 10 offset 20"),
        ("select a from t fetch first 5 rows only", "select a from t fetch first 5 rows only"),
        ("select a::varchar(3), 4 from t", "select a::varchar(3), ?i from t"),
        ("select a::pg_catalog.bpchar(3), 4 from t", "select a::pg_catalog.bpchar(3), ?i from t"),
        ("select cast(a as numeric(10, 2)), 4 from t", "select cast(a as numeric(10, 2)), ?i from t"),
        ("select cast(a as mine(10)), 4 from t", "select cast(a as mine(10)), ?i from t"),
        ("select a::timestamp(3) with time zone, f(4) from t", "select a::timestamp(3) with time zone, f(?i) from t"),
        ("select interval '1' second(2), 4 from t", "select interval ?s second(2), ?i from t"),
        ("select a from (select b from t order by 1 limit 2) x where c = 3",
            "select a from (select b from t order by 1 limit 2) x where c = ?i"),
        ("select rank() over (partition by 1 order by 2), 3 from t",
            "select rank() over (partition by 1 order by 2), ?i from t"),
        ("select a from t order by 1 union select 2", "select a from t order by 1 union select ?i"),
        ("select a::text in ('x', 'y') from t", "select a::text in (?s, ?s) from t"),
        ("with x as (select 5) select 6 from x", "with x as (select ?i) select ?i from x"),
        ("with x as not materialized (select 5) select 6", "with x as not materialized (select ?i) select ?i"),
    ])
    func positionsAndModifiersAreNot(text: String, expected: String) {
        #expect(shape(text) == expected)
    }

    @Test(arguments: [
        "select 'a\\b' from t", "select a from t -- a\\b", "select b'01' from t",
        "select x'1F' from t", "select n'a' from t", "select U&'a' from t", "select U&\"a\" uescape '!' from t",
        "select 'a'\n'b' from t", "select 'a' -- x\n'b' from t", "select bit(3) '101' from t",
        "select mine(3) 'a' from t",
        "select 1e5 from t", "select 0x1F from t", "select 1_000 from t", "select 1a from t", "select a[1..2] from t",
        "select 'now'::timestamp from t", "select 'TODAY 04:05' from t", "select 1; select 2", "select 'open",
        "select /* open", "select \"open", "select $$open", "set a = 1", "explain select 1", "begin", "",
        "  ", ";", "show x", "copy t from stdin", "select \u{1} from t", "select \"a\u{2}b\" from t",
        "create table t (a int)",
    ])
    func whatIsNotCertainHasNoShape(text: String) {
        #expect(shape(text) == nil)
    }

    /// A difference that is none of a liftable constant is one of the shape.
    @Test(arguments: [
        ("select 1", "select '1'"), ("select 1", "select 1.0"), ("select 1", "select 3000000000"),
        ("select a, b from t", "select b, a from t"), ("select a from t limit 1", "select a from t limit 2"),
        ("select a::varchar(3) from t", "select a::varchar(5) from t"),
        ("select extract(year from a) from t", "select extract(day from a) from t"),
        ("select a from t order by 1", "select a from t order by 2"), ("select 'a'", "select 'é'"),
        ("select a from t where b in (1)", "select a from t where b in (1, 2)"), ("select -1", "select 1"),
        ("select a from t where b = $1", "select a from t where b = $2"), ("select \"a\"", "select a"),
        ("select $$a$$", "select $$b$$"), ("select E'a'", "select E'b'"),
    ])
    func k2WhatIsDifferentStaysDifferent(one: String, other: String) {
        let first = shape(one)
        #expect(first != nil && first != shape(other))
    }

    @Test func whatParseCarriesBelongsToTheShape() {
        withView(Array("select 1".utf8)) { text in
            let one = withView([0, 1, 0, 0, 0, 23]) { scanner.scan(text, rest: $0)?.bytes }
            let other = withView([0, 1, 0, 0, 0, 25]) { scanner.scan(text, rest: $0)?.bytes }
            #expect(one != nil && other != nil && one != other)
        }
    }

    /// Whatever bytes come: the scan ends, and constants are where digits or quotes are.
    @Test func anyBytesAreTaken() {
        let pieces = [
            "select ", "'", "''", "(", ")", "1", ".", "::", "a", "as ", "by ", "limit ", ";", "$", "$1", "\"", "--",
            "\n",
            "/*", "*/", "e'", "\\", "\u{e9}", "[", "]", "-", "union ", "numeric", " ", "\u{1}",
        ]
        var state: UInt64 = 1
        for _ in 0..<20_000 {
            var text = "select "
            for _ in 0..<12 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text += pieces[Int(state >> 33) % pieces.count]
            }
            withView(Array(text.utf8)) { view in
                guard scanner.scan(view, rest: view.slice(from: 0, count: 0)) != nil else { return }
                for constant in scanner.constants {
                    let first = view[constant.start]
                    #expect(constant.end > constant.start && constant.end <= view.count)
                    #expect(first == UInt8(ascii: "'") || first == UInt8(ascii: ".") || TextScanner.isDigit(first))
                }
            }
        }
    }
}
