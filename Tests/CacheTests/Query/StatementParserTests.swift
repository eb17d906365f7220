import PGProtocol
import Testing

@testable import Cache

func parse(_ text: String, standardConformingStrings: Bool = true) -> ParsedStatement {
    withView(Array(text.utf8)) {
        StatementParser.parse(
            $0, standardConformingStrings: standardConformingStrings, bytesMax: 1 << 24)
    }
}

extension ParsedStatement {
    var reason: ForwardReason? {
        if case .forward(let reason) = body { reason } else { nil }
    }
    var select: ParsedSelect? {
        if case .select(let select) = body { select } else { nil }
    }
}

@Suite struct StatementParserTests {
    @Test func theLayoutOfTheTreeIsTheLibrarys() {
        #expect(StatementParser.selfTest() == nil)
    }

    // MARK: What a statement may do

    static let write: StatementEffect = .mayWrite
    static let definition: StatementEffect = [.mayWrite, .changesSchema]
    static let temporary: StatementEffect = [.mayWrite, .changesSchema, .changesSession]
    static let effects: [(String, StatementEffect)] = [
        ("select * from t", []),
        ("select * from t where a = 1 and b in (1, 2) order by c limit 3", []),
        ("table t", []), ("values (1)", []), ("", []), (";", []), ("-- nothing", []),
        ("insert into t values (1)", write),
        ("insert into t select * from u on conflict (id) do update set a = excluded.a", write),
        ("insert into t values (1) on conflict (lower(a)) where b do nothing returning *", write),
        ("update t set (a, b) = (select 1, 2) where current of c", write),
        ("delete from t using u where t.a = u.a", write),
        ("merge into t using u on t.a = u.a when matched then delete"
            + " when not matched then insert (a) values (u.a)", write),
        ("with x as (delete from t returning *) select * from x", write),
        ("with x as (select 1), y as (insert into t values (1) returning a) select * from x", write),
        ("select * from t for update", write), ("select * from t for key share skip locked", write),
        ("select * from (select * from t for share) x", write),
        ("select nextval('s')", write), ("select * from t where nextval('s') > 1", write),
        ("select pg_advisory_lock(1)", write), ("select pg_try_advisory_xact_lock(1)", write),
        ("select pg_notify('a', 'b')", write), ("select lo_unlink(1)", write),
        ("truncate t", write), ("lock table t", write), ("notify a", write), ("vacuum t", write),
        ("analyze", write), ("comment on table t is 'x'", [.mayWrite, .changesSession]), ("checkpoint", write),
        ("reindex table t", [.mayWrite, .changesSession]), ("cluster t", write),
        ("fetch 1 from c", [.mayWrite, .callsUnknownCode]),
        ("copy t from stdin", write), ("copy t to stdout", []),
        ("copy (select * from t) to stdout", []),
        ("copy (delete from t returning *) to stdout", write),
        ("copy (select set_config('a.b', 'c', false)) to stdout", .changesSession),
        ("listen a", []), ("unlisten *", []), ("show timezone", []), ("close c", []),
        ("declare c cursor for select * from t", []),
        ("declare c cursor for select * from t for update", write),
        ("explain select * from t", []), ("explain analyze insert into t values (1)", write),
        ("explain analyze select set_config('a.b', 'c', false)", .changesSession),
        ("explain analyze create table x as select 1",
            [.mayWrite, .changesSchema, .changesSession, .namesPrepared]),
        ("explain execute p", [.namesPrepared, .mayWrite, .changesSession]),
        // Settings
        ("set search_path = a", .changesSession), ("set timezone = 'UTC'", .changesSession),
        ("set time zone 'UTC'", .changesSession), ("set local datestyle = iso", .changesSession),
        ("set names 'latin1'", .changesSession), ("set schema 'a'", .changesSession),
        ("set role bob", .changesSession), ("reset role", .changesSession),
        ("set session authorization bob", .changesSession), ("reset all", .changesSession),
        ("reset timezone", .changesSession), ("set timezone to default", .changesSession),
        ("set xml option document", .changesSession), ("set app.tenant = 1", .changesSession),
        ("set log_x.tenant = 1", .changesSession), ("set enable_me.x = 1", .changesSession),
        ("set row_security = off", .changesSession), ("set nosuch = off", .changesSession),
        ("set client_min_messages = error", .changesSession),
        ("set session_replication_role = replica", .changesSession),
        ("set transform_null_equals = on", .changesSession),
        ("set application_name = 'x'", []), ("SET STATEMENT_TIMEOUT = 5", []),
        ("set \"Work_Mem\" = 5", []), ("reset work_mem", []), ("set local lock_timeout to 5", []),
        ("set enable_seqscan = off", []), ("set jit = off", []), ("set log_duration = on", []),
        ("set tcp_keepalives_idle = 5", []), ("set idle_session_timeout = 5", []),
        ("set transaction isolation level serializable", .controlsTransaction),
        ("set transaction snapshot '1'", .controlsTransaction),
        ("set session characteristics as transaction read only",
            [.controlsTransaction, .changesSession]),
        ("set transaction_isolation = 'serializable'", [.controlsTransaction, .changesSession]),
        ("set default_transaction_isolation = 'serializable'", .changesSession),
        ("select set_config('timezone', 'UTC', true)", .changesSession),
        ("select pg_catalog.set_config('timezone', 'UTC', true) from t", .changesSession),
        ("select * from (select set_config('a', 'b', true)) x", .changesSession),
        ("select a from t order by set_config('a', 'b', true)", .changesSession),
        ("select count(*) filter (where set_config('a', 'b', true) = '') from t", .changesSession),
        ("select string_agg(a, b order by set_config('a', 'b', true)) from t", .changesSession),
        ("select sum(1) over (order by set_config('a', 'b', true)) from t", .changesSession),
        ("select sum(1) over w from t window w as (partition by set_config('a', 'b', true))",
            .changesSession),
        ("select * from t tablesample system (set_config('a', 'b', true)::int)", .changesSession),
        ("select * from set_config('a', 'b', true)", .changesSession),
        ("select * from t, rows from (set_config('a', 'b', true)) x", .changesSession),
        ("select * from t where a = any(array[set_config('a', 'b', true)])", .changesSession),
        ("select x[set_config('a', 'b', true)::int] from t", .changesSession),
        ("select case when a then set_config('a', 'b', true) end from t", .changesSession),
        ("select a from t union select set_config('a', 'b', true)", .changesSession),
        ("select a from t limit length(set_config('a', 'b', true))", .changesSession),
        ("select distinct on (set_config('a', 'b', true)) a from t", .changesSession),
        ("select xmlelement(name x, set_config('a', 'b', true)) from t", .changesSession),
        ("select f(x => set_config('a', 'b', true)) from t", .changesSession),
        ("select a from t group by rollup (set_config('a', 'b', true))", .changesSession),
        ("insert into t values (set_config('a', 'b', true))", [.mayWrite, .changesSession]),
        ("insert into t values (1) on conflict (a) do update set b = set_config('a', 'b', true)",
            [.mayWrite, .changesSession]),
        ("update t set a = 1 returning set_config('a', 'b', true)", [.mayWrite, .changesSession]),
        ("merge into t using u on true when matched and set_config('a','b',true) = '' then delete",
            [.mayWrite, .changesSession]),
        // Prepared statements and code
        ("prepare p as select 1", .namesPrepared), ("deallocate all", []), ("deallocate p", .namesPrepared),
        ("prepare p as select set_config('a', 'b', true)", [.namesPrepared, .changesSession]),
        ("execute p", [.namesPrepared, .mayWrite, .changesSession]),
        ("discard all", .changesSession),
        ("discard temp", .changesSession),
        ("do $$ begin end $$", .anything),
        ("call p()", [.mayWrite, .changesSession, .controlsTransaction]),
        ("load 'x'", [.mayWrite, .changesSession]),
        // Transactions
        ("begin", .controlsTransaction), ("start transaction read only", .controlsTransaction),
        ("commit", .controlsTransaction), ("end", .controlsTransaction),
        ("rollback", .controlsTransaction), ("abort and chain", .controlsTransaction),
        ("savepoint a", .controlsTransaction), ("rollback to a", .controlsTransaction),
        ("release a", .controlsTransaction),
        ("prepare transaction 'a'", [.controlsTransaction, .mayWrite]),
        ("commit prepared 'a'", [.controlsTransaction, .mayWrite, .changesSchema]),
        ("set constraints all immediate", [.controlsTransaction, .mayWrite]),
        // Definitions
        ("create table t (a int)", definition), ("alter table t add b int", definition),
        ("drop table t", definition), ("create index on t (a)", definition),
        ("create view v as select 1", definition), ("create schema s", definition),
        ("create function f() returns int language sql as 'select 1'", definition),
        ("alter function f() volatile", definition), ("grant select on t to bob", definition),
        ("revoke all on t from bob", definition), ("grant bob to alice", definition),
        ("create role bob", definition), ("alter role bob set timezone = 'UTC'", definition),
        ("alter database d set timezone = 'UTC'", definition), ("drop role bob", definition),
        ("reassign owned by bob to alice", definition), ("drop owned by bob", definition),
        ("create policy p on t", definition), ("create type e as enum ('a')", definition),
        ("alter type e rename value 'a' to 'b'", definition), ("create domain d as int", definition),
        ("refresh materialized view v", definition), ("create publication p", definition),
        ("create table x as select 1", definition), ("select 1 into x", definition),
        ("create trigger g after insert on t execute function f()", definition),
        ("alter system set work_mem = 1", definition), ("import foreign schema a from server b into c",
            definition),
        ("create cast (int as text) with inout", definition), ("drop schema s cascade", definition),
        ("alter default privileges grant select on tables to bob", definition),
        ("create temp table x (a int)", [.mayWrite, .changesSession]),
        ("create temporary view v as select 1", temporary),
        ("create local temp sequence s", temporary), ("select 1 into TEMP x", temporary),
        ("select 1 into temporary table x", temporary), ("create table pg_temp.x (a int)", temporary),
        ("create function PG_TEMP.f() returns int language sql as 'select 1'", temporary),
        ("create table U&\"pg\\005ftem\\0070\".x (a int)", temporary),
        ("create temp table x as select * from t", [.mayWrite, .changesSession]),
        ("create extension citext", temporary),
        // Several and none
        ("begin; select 1; commit", .controlsTransaction),
        ("select 1; insert into t values (1)", write),
        ("set timezone = 'UTC'; drop table t", temporary),
        ("selec 1", .anything), ("select 1_000_", .anything), ("select 'a", .anything),
    ]

    @Test(arguments: effects)
    func aStatementMayDoNoMoreThanItsEffect(text: String, effect: StatementEffect) {
        #expect(parse(text).effect == effect)
    }

    // MARK: What is forwarded

    static let forwards: [(String, ForwardReason)] = [
        ("", .emptyStatement), (" ; ;", .emptyStatement), ("/* x */", .emptyStatement),
        ("select * from", .unparsable), ("select 'a", .unparsable), ("\u{1}\u{7f}", .unparsable),
        ("select 1 from t; select 2 from t", .severalStatements),
        ("insert into t values (1)", .notSelect), ("show all", .notSelect), ("begin", .notSelect),
        ("copy (select * from t) to stdout", .notSelect), ("explain select * from t", .notSelect),
        ("declare c cursor for select * from t", .notSelect), ("execute p", .notSelect),
        ("prepare p as select * from t", .notSelect), ("fetch 1 from c", .notSelect),
        ("select 1", .noRelation), ("select", .noRelation), ("values (1)", .noRelation),
        ("select now()", .noRelation), ("select $1", .noRelation),
        ("select * from t for update", .locking), ("select * from t for no key update", .locking),
        ("select * from t for share of t nowait", .locking),
        ("with x as (delete from t returning *) select * from x", .dataModifyingCTE),
        ("with a as (select 1), b as (update t set a = 1 returning *) select * from b",
            .dataModifyingCTE),
        ("select a into x from t", .selectInto),
        ("select * from (select 1) x", .noRelation), ("select * from (values (1)) x", .noRelation),
        ("select 1 union select 2", .noRelation), ("with x as (select 1) select * from x", .noRelation),
        ("with recursive x as (select 1 union all select 2) select * from x", .noRelation),
        ("select * from generate_series(1, 2)", .noRelation), ("select * from rows from (f()) x", .noRelation),
        ("select * from (select * from t for share) x", .locking),
        ("select * from t where a in (select a from u for update)", .locking),
        ("select * from t union (select * from u for update)", .locking),
        ("with x as (select * from t) select (with y as (delete from t returning 1) select 1) from x",
            .dataModifyingCTE),
        ("select * from (t join u on true) as x (a, b)", .unsupportedExpression),
        ("select * from t tablesample system (1)", .tableSample),
        ("select * from t, xmltable('/a' passing b columns c text) x", .unsupportedExpression),
        ("select current_date from t", .timeDependent),
        ("select * from t where a > current_timestamp(3)", .timeDependent),
        ("select localtime, localtimestamp from t", .timeDependent),
        ("select * from t where d = 'now'", .timeDependent),
        ("select * from t where d = 'TODAY'", .timeDependent),
        ("select * from t where d > timestamp 'yesterday 04:05'", .timeDependent),
        ("select * from t where d = E'tom\\x6frrow'", .timeDependent),
        ("select * from t where d = U&'\\006eow'", .timeDependent),
        ("select * from t where d = $$today04:05$$", .timeDependent),
        ("select * from t where r && '[now,]'", .timeDependent),
        ("select * from t where a like '% now %'", .timeDependent),
        ("select current_user from t", .volatileFunction), ("select user from t", .volatileFunction),
        ("select session_user, current_schema from t", .volatileFunction),
        ("select current_catalog from t", .volatileFunction),
        ("select xmlelement(name a) from t", .unsupportedExpression),
        ("select xmlserialize(content a as text) from t", .unsupportedExpression),
        ("select * from (select a from t where b > current_date) x", .timeDependent),
        ("select * from t where a = (select max(a) from u where b = 'today')", .timeDependent),
        ("select d.s.t.a from d.s.t", .unsupportedExpression),
        ("select * from t where a operator(s.=) any (select 1)", .userOperator),
        ("select a collate \"de_DE\" from t", .unsupportedExpression),
        ("select a collate s.\"C\" from t", .unsupportedExpression),
        ("select a operator(pg_catalog.+) 1 from t", .userOperator),
        ("select * from t where a operator(s.=) 1", .userOperator),
    ]

    @Test(arguments: forwards)
    func whatIsNotCacheableIsForwardedForItsReason(text: String, reason: ForwardReason) {
        #expect(parse(text).reason == reason)
    }

    static let cacheable = [
        "select * from t", "select from t", "table t", "select t.* from t", "select a, b from s.t",
        "select * from only t", "select all a from t", "select a as b from t as x",
        "select * from t where a = 1 and (b < 2 or not c) and d is not null",
        "select * from t where a between symmetric 1 and 2 or a not between 3 and 4",
        "select * from t where a like 'x%' escape '!' or b ilike $1 or c similar to 'x'",
        "select * from t where a is distinct from 1 and b is true and c is not unknown",
        "select * from t where a in (1, 2) and b not in ('x') and c = any(array[1, 2])",
        "select * from t where a = any($1) and b <> all('{1,2}')",
        "select case a when 1 then 2 else 3 end, coalesce(a, 1), nullif(a, 1) from t",
        "select greatest(a, 1), least(a, 1), -a, a[1], a[1:2], array[a, 1], (a, 1) = (2, 3) from t",
        "select a::int, cast(a as varchar(3)), date '2024-01-01', interval '1 day' from t",
        "select count(*), sum(distinct a), avg(a) filter (where b), string_agg(a, ',' order by a)"
            + " from t group by b, lower(c) having count(*) > 1",
        "select distinct a from t", "select distinct on (a) a, b from t order by a, b desc nulls last",
        "select * from t order by a limit 10 offset 5", "select * from t limit all",
        "select * from t order by a fetch first 3 rows with ties", "select * from t limit $1",
        "select * from t, u", "select * from t cross join u", "select * from t natural join u",
        "select * from t join u on t.a = u.a left join v using (b)", "select a collate \"C\" from t",
        "select * from t where a = 'nowhere' or b = 'knowing' or c = 'todays'",
        "select extract(year from a), a at time zone 'UTC', substring(b from 1 for 2) from t",
        "select percentile_cont(0.5) within group (order by a) from t",
        "select make_interval(days => 1) from t", "select a || 'x' -> 'y' from t;",
        "select position('a' in b), trim(both from c), overlay(d placing e from 1) from t",
        "select * from t where (a, b) in ((1, 2), (3, 4))", "select 'ä' from \"Ü\"",
        "select * from t where a in (select 1) and exists (select 1) and b = any (select 1)",
        "select (select 1), array(select 1) from t", "select * from t, (values (1), (2)) x",
        "select 1 from t union select 2 from t", "select 1 from t except all select 2 from t",
        "table t intersect table u", "with x as materialized (select 1) select * from x, t",
        "with recursive x as (select a from t union all select a + 1 from x where a < 9) select * from x",
        "with recursive x as (select a from t union all select a from x) search depth first by a set o"
            + " cycle a set c to 1 default 0 using p select * from x",
        "select * from t full join u on true", "select * from t right join u on true",
        "select * from (t join u on true) as x", "select * from t join u using (a) as x",
        "select * from t, unnest(t.a)", "select * from t, lateral (select t.a) x",
        "select * from t, lateral f(t.a) with ordinality as x (b, n)",
        "select * from t, rows from (f(1), g(2) as (a int)) x",
        "select sum(a) over (), rank() over w from t window w as (partition by b order by a)",
        "select a from t group by rollup (a)", "select a from t group by cube (a, b)",
        "select grouping(a) from t group by grouping sets ((a), ())", "select a from t group by distinct a",
        "select count(t.*), row(t.*), (t).*, t.* is null, t from t", "select (a).b, (f(a)).c[1].d from t",
        "select * from t as x (a, b)",
    ]

    @Test(arguments: cacheable)
    func aPlainReadIsAPlainRead(text: String) {
        let statement = parse(text)
        #expect(statement.select != nil, "\(String(describing: statement.reason))")
        #expect(statement.effect == [])
    }

    // MARK: Attacks

    private func expectSelect(_ text: String) {
        #expect(parse(text).select != nil)
        #expect(parse(text).effect == [])
    }

    @Test func aMillionTermsNeedNoStack() {
        let terms = repeatElement("1", count: 1_000_000).joined(separator: "+")
        let statement = parse("select \(terms) from t")
        #expect(statement.effect == [] || statement.effect == .anything)
        let conjuncts = repeatElement("a=1", count: 200_000).joined(separator: " and ")
        expectSelect("select * from t where \(conjuncts)")
        let alternatives = repeatElement("a=1", count: 200_000).joined(separator: " or ")
        expectSelect("select * from t where \(alternatives)")
    }

    @Test func nestingIsParsedOrRefusedButNeverOverflows() {
        for count in [100, 5000, 100_000] {
            let open = String(repeating: "(", count: count)
            let close = String(repeating: ")", count: count)
            _ = parse("select \(open)1\(close) from t")
            _ = parse("select * from t where \(String(repeating: "not ", count: count))a")
            _ = parse("select \(String(repeating: "- ", count: count))1 from t")
            _ = parse("select \(String(repeating: "f(", count: count))1\(close) from t")
            _ = parse("select \(String(repeating: "(select ", count: count))1\(close)")
            _ = parse("select * from t\(String(repeating: " join t on true", count: count))")
            _ = parse("select a\(String(repeating: "::int", count: count)) from t")
            _ = parse("select a\(String(repeating: "[1]", count: count)) from t")
            _ = parse("select case \(String(repeating: "when a then b ", count: count)) end from t")
        }
    }

    @Test func aLongListIsReadAndDoesNotConstrain() {
        let list = (0..<1_000_000).map(String.init).joined(separator: ",")
        let select = parse("select * from t where a in (\(list))").select
        #expect(select?.conditions == [])
    }

    @Test func tooManyRelationsAreForwarded() {
        let relations = (0..<65).map { "t\($0)" }
        #expect(parse("select * from \(relations.joined(separator: ","))").reason == .tooDeep)
        #expect(parse("select * from \(relations.joined(separator: " cross join "))").reason == .tooDeep)
    }

    @Test func tooManySelectsAreForwarded() {
        func arms(_ count: Int) -> String {
            repeatElement("select a from t", count: count).joined(separator: " union ")
        }
        #expect(parse(arms(60)).select != nil)
        #expect(parse(arms(64)).reason == .tooDeep)
        #expect(parse(arms(30_000)).reason == .tooDeep)
        let close = String(repeating: ")", count: 70)
        let nested = parse("select \(String(repeating: "(select ", count: 70))f(a)\(close) from t")
        #expect(nested.reason == .tooDeep && nested.mentions.calls.map(\.name) == ["f"])
        let names = (0..<70).map { "x\($0) as (select a from t\($0))" }.joined(separator: ",")
        let commons = parse("with \(names) select * from x0")
        #expect(commons.reason == .tooDeep && commons.mentions.relations.count >= 70)
    }

    @Test func aTextBeyondTheLimitMayDoAnything() {
        let statement = withView(Array("select * from t".utf8)) {
            StatementParser.parse($0, standardConformingStrings: true, bytesMax: 14)
        }
        #expect(statement.reason == .tooLong)
        #expect(statement.effect == .anything)
        #expect(statement.mentions.isIncomplete)
    }

    @Test func bytesThatAreNoTextAreForwarded() {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        for count in 0..<400 {
            let bytes = (0..<count).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 56) | 1
            }
            withView(bytes) { view in
                _ = StatementParser.parse(view, standardConformingStrings: true, bytesMax: 1000)
            }
        }
        withView(Array("select \u{0} from t".utf8)) { view in
            let statement = StatementParser.parse(
                view, standardConformingStrings: true, bytesMax: 1000)
            #expect(statement.reason == .unparsable)
        }
        withView(Array("select '".utf8) + [0xE9] + Array("' from t".utf8)) { view in
            let statement = StatementParser.parse(
                view, standardConformingStrings: true, bytesMax: 1000)
            #expect(statement.reason == .unparsable && !statement.isASCII)
        }
    }

    // MARK: Reading

    @Test func theLexerFollowsStandardConformingStrings() {
        let text = #"select * from t where a = 'x\' or b = 'y'"#
        #expect(parse(text).select != nil)
        #expect(parse(text, standardConformingStrings: false).reason == .unparsable)
        let other = #"select * from t where a = 'n\157w'"#
        #expect(parse(other).select != nil)
        #expect(parse(other, standardConformingStrings: false).reason == .timeDependent)
    }

    @Test func mentionsHoldEveryNameWhereverItIs() {
        let mentions = parse(
            """
            with x as (select s.f(1) from a)
            select g(b.c) <+> 1 from b join (select d::u from v.e) y on true
            where exists (select 1 from h where i ~~~ 2)
            """
        ).mentions
        #expect(
            mentions.relations == [
                RelationName(schema: nil, name: "a"), RelationName(schema: nil, name: "b"),
                RelationName(schema: "v", name: "e"), RelationName(schema: nil, name: "h"),
            ])
        #expect(Set(mentions.calls.map(\.name)) == ["f", "g"])
        #expect(mentions.operators.isSuperset(of: ["<+>", "~~~"]))
        #expect(mentions.types.map(\.name) == ["u"])
        #expect(!mentions.isIncomplete)
    }

    @Test(arguments: [
        ("with x as (select 1 from a) select * from x", ["a"]),
        ("with a as (select 1 from a) select * from a", ["a"]),
        ("with x as (select 1 from y), y as (select 1 from x) select 1 from b", ["b", "y"]),
        ("with recursive x as (select 1 from y), y as (select 1 from x) select 1 from b", ["b"]),
        ("with x as (select 1) select * from s.x", ["s.x"]),
        ("select (with x as (select 1) select 1 from x) from x", ["x"]),
        ("with x as (select 1) select 1 from b where exists (select 1 from (select * from x) y)", ["b"]),
        ("(with x as (select 1) select * from x) union select * from x", ["x"]),
        ("(with x as (select 1) select 1 from x union select 2) union select * from x", ["x"]),
        ("with x as (select 1) select 1 from x union select 2 from x, b", ["b"]),
        ("with x as (with y as (select 1) select * from y, z) select * from x, y", ["y", "z"]),
    ])
    func aNameInWithIsNoRelationWhereItIsSeen(text: String, relations: [String]) {
        let found = parse(text).mentions.relations.map { ($0.schema.map { $0 + "." } ?? "") + $0.name }
        #expect(found.sorted() == relations)
    }

    @Test func mentionsAreBounded() {
        let calls = (0..<1000).map { "f\($0)()" }.joined(separator: ",")
        let mentions = parse("select \(calls) from t").mentions
        #expect(mentions.calls.count == Mentions.namesMax)
        #expect(mentions.isIncomplete)
    }

    @Test(arguments: [
        ("now", true), ("NOW", true), (" now ", true), ("2024-01-01 now", true), ("today04:05", true),
        ("4today", true), ("[now,today)", true), ("{yesterday}", true), ("Tomorrow!", true),
        ("", false), ("no w", false), ("snow", false), ("nowadays", false), ("todays", false),
        ("yesterda", false), ("2024-01-01", false), ("epoch", false), ("infinity", false),
    ])
    func wordsThatMeanTheMoment(text: String, isTimeDependent: Bool) {
        withView(Array(text.utf8)) {
            #expect(StatementParser.isTimeDependentText($0) == isTimeDependent)
        }
    }
}
