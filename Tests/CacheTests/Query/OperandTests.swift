import PGProtocol
import Testing

@testable import Cache

/// Which conditions say what of a column of each kind, and which nothing.
@Suite struct OperandTests {
    private func uses(_ text: String, _ types: [UInt32] = []) -> [[String]]? {
        let resolution = parse(text).resolved(with: FixtureCatalog(),
            declaredTypes: types.map { OID($0) }) { _ in true }
        guard case .cacheable(let query) = resolution else {
            Issue.record("\(text): \(resolution)")
            return nil
        }
        return query.uses.map { $0.constraints.map(describe) }
    }

    private static let midnight = 8766 * 86_400_000_000  // 2024-01-01

    @Test(arguments: [
        // date
        ("day = '2024-01-01'", ["day=8766"]), ("day = date '2024-01-01'", ["day=8766"]),
        ("'1999-12-31' < day", ["-1<day"]), ("day = '2024-01-01'::text", []), ("day = '01/02/2024'", []),
        ("day = '2024-1-1'", []), ("day = '2024-02-30'", []), ("day = 'infinity'", []), ("day = '0044-03-15 BC'", []),
        ("day = '2024-01-01 10:00:00'", []), ("day = '2024-01-01'::timestamp", []),
        ("day = '2024-01-01'::timestamptz", []),
        ("day between '2024-01-01' and '2024-12-31'", ["8766<=day<=9131"]), ("day = 'J2451545'", []),
        ("day in ('2024-01-01', '2024-01-02')", ["day in (8766, 8767)"]),
        ("day = any('{2024-01-01,2024-01-02}'::date[])", ["day in (8766, 8767)"]),
        ("day between symmetric '2024-01-02' and '2024-01-01'", ["day between symmetric 8767 and 8766"]),
        // timestamp
        ("noted = '2024-01-01'", ["noted=\(midnight)"]), ("noted >= date '2024-01-01'", ["\(midnight)<=noted"]),
        ("noted = '2024-01-01 00:00:00.5'", ["noted=\(midnight + 500_000)"]),
        ("noted = '2024-01-01T00:00:01'", ["noted=\(midnight + 1_000_000)"]), ("noted = '2024-01-01 00:00:00+00'", []),
        ("noted = '2024-01-01 24:00:00'", []), ("noted = '2024-01-01'::timestamp(0)", []),
        ("noted = '2024-01-01 10:00'", []),
        ("noted = '2024-01-01 00:00:00'::timestamptz", []),
        // timestamptz
        ("at = '2024-01-01 00:00:00+00'", ["at=\(midnight)"]),
        ("at = timestamptz '2024-01-01 02:00:00+02'", ["at=\(midnight)"]),
        ("at = '2023-12-31 18:30:00-05:30'", ["at=\(midnight)"]), ("at = '2024-01-01 00:00:00'", []),
        ("at = '2024-01-01'", []), ("at = '2024-01-01 00:00:00 UTC'", []), ("at = '2024-01-01 00:00:00Z'", []),
        ("at = date '2024-01-01'", []), ("at = timestamp '2024-01-01 00:00:00'", []),
        // numeric
        ("price = 1", ["price=#2.128.1.1"]), ("price = 1.00", ["price=#2.128.1.1"]),
        ("price = '1.0'", ["price=#2.128.1.1"]),
        ("price = 12.50", ["price=#2.128.2.1.2.5"]), ("price < -.5", ["price<#0.127.255.4.10"]),
        ("price = 0.0", ["price=#1"]),
        ("price = 1e3", []), ("price = 'NaN'", []), ("price = 'infinity'", []), ("price = 1::float8", []),
        ("price = 10::int", ["price=#2.128.2.1"]), ("price = 1.5::int", []), ("price = 1.005::numeric(5,2)", []),
        ("price = 1.5::numeric", ["price=#2.128.1.1.5"]),
        ("price in (1, 2.5)", ["price in (#2.128.1.1, #2.128.1.2.5)"]),
        ("price = any('{1,2.5}')", ["price in (#2.128.1.1, #2.128.1.2.5)"]),
        // Numbers with decimals beside integers
        ("a = 1.5", []), ("a = 2.0", ["a=2"]), ("a = -2.00", ["a=-2"]), ("a > 1.5", []), ("a = 1.5::int", []),
        ("o = 1.0", []),
        ("a = 99999999999999999999", []), ("a in (1, 2.0)", ["a in (1, 2)"]),
        // LIKE
        ("name like 'x'", ["name like 'x'"]), ("name like '%x'", ["name like '%x'"]), ("name ilike 'x%'", []),
        ("name not like 'x%'", []), ("name like 'x!%' escape '!'", []), ("label like 'x%'", []), ("key like 'x%'", []),
        ("code like 'x%'", ["code like 'x%'"]), ("'x' like name", []),
        // Arrays in one constant
        ("a = any('{1,2}'::int[])", ["a in (1, 2)"]), ("a = any('{\"1\",2}'::int8[])", ["a in (1, 2)"]),
        ("a = any('{1, 2}')", []), ("a = any('{}')", []), ("a = any('{1,null}')", []), ("a = any('{{1,2}}')", []),
        ("a = any('[0:1]={1,2}')", []), ("a = any('{1}'::text[]::int[])", []), ("a = any('{1}'::numeric[])", []),
        ("name = any('{x,\"y z\",\"\\\\\",\"NULL\"}')", ["name in ('x', 'y z', '\\', 'NULL')"]),
        ("name = any('{x,Null}')", []), ("name = any('{x}'::varchar(3)[])", []),
        ("a = any(array[1, 2]::int[])", ["a in (1, 2)"]),
        ("a = any(array['1', '2']::int[])", ["a in (1, 2)"]), ("a = any(array[1.5]::int[])", []),
        ("o = any('{1}')", []),
        ("price = any(array[1, 2]::numeric[])", ["price in (#2.128.1.1, #2.128.1.2)"]), ("a = all('{1}')", []),
        // IS NOT DISTINCT FROM
        ("a is not distinct from null", []), ("1 is not distinct from a", ["a=1"]), ("a is not distinct from b", []),
    ] as [(String, [String])])
    func aConstantIsReadAsTheColumnWould(condition: String, expected: [String]) {
        #expect(uses("select * from t where \(condition)") == [expected])
    }

    @Test(arguments: [
        ("day = $1", [1082], ["day=$1"]), ("day = $1", [1114], []), ("day = $1", [25], []),
        ("noted >= $1", [1082], ["$1<=noted"]), ("noted >= $1", [1114], ["$1<=noted"]), ("noted >= $1", [1184], []),
        ("noted >= $1::date", [], []), ("noted >= $1::date", [1082], ["$1<=noted"]), ("noted >= $1::date", [25], []),
        ("at >= $1", [1184], ["$1<=at"]), ("at >= $1", [1082], []), ("at >= $1", [], ["$1<=at"]),
        ("price = $1", [], ["price=$1"]), ("price = $1", [1700], ["price=$1"]), ("price = $1", [20], ["price=$1"]),
        ("price = $1", [701], []), ("price = $1::int", [], []), ("price = $1::int", [23], ["price=$1"]),
        ("price = $1 and a = $1", [], []), ("price = $1 and a = $1", [1700], ["price=$1"]),
        ("a = $1", [1700], []), ("price in ($1, 1)", [], ["price in ($1, #2.128.1.1)"]),
        // One type for a whole list
        ("a in ($1, 1.0)", [], []), ("a in ($1, 2::numeric) and b = $1", [], []),
        ("name like $1", [], ["name like $1"]), ("name like $1", [25], ["name like $1"]), ("name like $1", [1042], []),
        ("name like $1 and name = $1", [], ["name like $1", "name=$1"]), ("a between symmetric $1 and 5", [],
            ["a between symmetric $1 and 5"]),
        ("a = any($1)", [], ["a=any($1)"]), ("a = any($1)", [1007], ["a=any($1)"]),
        ("a = any($1)", [1016], ["a=any($1)"]),
        ("a = any($1)", [1231], []), ("a = any($1)", [1009], []), ("a = any($1)", [23], []), ("a = $1", [1007], []),
        ("a = any($1::int[])", [], ["a=any($1)"]), ("a = any($1::int[])", [1007], ["a=any($1)"]),
        ("a = any($1::int[])", [25], []), ("a = any($1::text[])", [], []), ("a = any($1) and b = any($1)", [],
            ["a=any($1)", "b=any($1)"]),
        ("a = any($1) and a = $1", [], []), ("a = any($1) and $1 is not null", [], []),
        ("name = any($1)", [1009], ["name=any($1)"]), ("name = any($1)", [1015], ["name=any($1)"]),
        ("key = any($1::uuid[])", [], ["key=any($1)"]), ("day = any($1)", [1182], ["day=any($1)"]),
        ("noted = any($1)", [1182], ["noted=any($1)"]), ("price = any($1)", [1007], ["price=any($1)"]),
        ("label = any($1)", [1009], []), ("o = any($1)", [1007], []), ("a is not distinct from $1", [], ["a=$1"]),
    ] as [(String, [UInt32], [String])])
    func aParameterNeedsACertainType(condition: String, types: [UInt32], expected: [String]) {
        #expect(uses("select * from t where \(condition)", types) == [expected])
    }

    @Test(arguments: [
        ("t where a = 1 or b = 2", [["a=1"], ["b=2"]]), ("t where a = 1 or a > 2", [["a=1"], ["2<a"]]),
        ("t where a = 1 or a is null", [["a=1"], ["a is null"]]), ("t where a = 1 or t.a = 2", [["a=1"], ["a=2"]]),
        ("t where c = 3 and (a = 1 or b = 2 and s = 4)", [["c=3", "a=1"], ["c=3", "b=2", "s=4"]]),
        ("t where (a < 1 or a > 2) and (b < 1 or b > 2)",
            [["a<1", "b<1"], ["a<1", "2<b"], ["2<a", "b<1"], ["2<a", "2<b"]]),
        ("t where a > 5 and (a < 9 or b = 1)", [["5<a<9"], ["5<a", "b=1"]]),
        // Every alternative has to say something of the relation
        ("t where a = 1 or lower(name) = 'x'", [[]]), ("t where a = 1 or not (b = 1 and c = 2)", [[]]),
        ("t where a = 1 or doubled = 1", [[]]), ("t where a = 1 or id is not null", [[]]),
        ("t where a = 1 or true", [[]]),
        ("t where not (a = 1 or b = 2)", [[]]), ("t where (a = 1 or b = 2) is true", [[]]),
        ("t where a = 1 or (b = 2 or c = 3)", [[]]), ("t where (a = 1 or b = 2) or c = 3", [["a=1"], ["b=2"], ["c=3"]]),
        ("t where a = 1 or b = 2 and (s = 3 or c = 4)", [["a=1"], ["b=2"]]),
        ("t, u where t.a = 1 or u.b = 2", [[], []]),
        ("t, u where t.a = 1 and u.b = 1 or t.a = 2 and u.b = 2 and u.c = 3",
            [["a=1"], ["a=2"], ["b=1"], ["b=2", "c=3"]]),
        // Where it stands, as for a conjunct
        ("t left join u on t.a = 1 or t.b = 2", [[], []]),
        ("t left join u on u.a = 1 or u.b = 2", [[], ["a=1"], ["b=2"]]),
        ("t left join u on true where u.a = 1 or u.b = 2", [[], ["a=1"], ["b=2"]]),
        ("t left join u on true where u.a = 1 or u.b is null", [[], []]),
        ("t left join u on true where u.a = 1 or u.b is null and u.c = 2", [[], ["a=1"], ["c=2"]]),
        ("t join u on u.a = 1 or u.b = 2", [[], ["a=1"], ["b=2"]]),
    ] as [(String, [[String]])])
    func anORIsSeveralUses(from: String, expected: [[String]]) {
        #expect(uses("select 1 from \(from)") == expected)
    }

    @Test func alternativesAreBounded() {
        func either(_ count: Int) -> String { (0..<count).map { "a = \($0) or b = \($0)" }.joined(separator: " or ") }
        #expect(uses("select 1 from t where \(either(8))")?.count == 16)
        #expect(uses("select 1 from t where \(either(9))") == [[]])
        let five = (0..<5).map { "(a < \($0) or b > \($0))" }.joined(separator: " and ")
        #expect(uses("select 1 from t where \(five)")?.count == 16)
        // A parameter in an OR has its type from there.
        #expect(uses("select 1 from t where a = $1 or b = $1") == [["a=$1"], ["b=$1"]])
        #expect(uses("select 1 from t where a = $1 or price = $1") == [[]])
    }

    @Test func rowsUnderAnORAreStillRowsOfTheTable() throws {
        let resolution = parse("select * from t where a < 1 or b = 2").resolved(with: FixtureCatalog()) { _ in true }
        guard case .cacheable(let query) = resolution else { throw CancellationError() }
        #expect(query.isRowForRow && query.uses.count == 2)
    }
}
