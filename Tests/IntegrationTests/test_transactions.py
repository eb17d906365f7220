"""Rule S2: inside a transaction at READ COMMITTED answers come from the cache until it has written or
locked, or may have. Whatever way the cache takes, each answer, tag and status is the origin's."""
import pytest

import wire as w
from proxy import DIRECT
from stage import HIT, LOCAL, ORIGIN, Stage, play

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, name text, price int);
insert into item select i, 'item ' || i, i * 10 from generate_series(1, 200) i;
create table place (id int primary key, name text);
insert into place values (1, 'here'), (2, 'there');
create sequence numbers;
create function bump(int) returns int language sql as
    $$ update item set price = price + 1 where id = $1 returning price $$;
create function looks(int) returns int language plpgsql stable as
    $$ begin return (select price from item where id = $1); end $$;
create procedure nothing() language plpgsql as $$ begin null; end $$;
create function locks() returns bigint language sql as $$ select pg_advisory_xact_lock(3); select 1::bigint $$;
"""

READ = "select id, name from item where id = 1"
OTHER = "select id, name, price from item where id between 2 and 4 order by id"

# All of these keep READ COMMITTED.
BEGINS = [
    "begin", "BEGIN;", "begin work", "begin transaction", "start transaction", "begin read only",
    "begin read write", "begin isolation level read committed",
    "start transaction isolation level read uncommitted",
    "begin isolation level read committed, read only", "/* a comment */ begin -- and another",
]


@pytest.fixture(params=["simple", "extended"])
def form(request):
    return request.param


@pytest.fixture
def stage(origin, proxy, form):
    with Stage(origin, proxy, form) as pair:
        yield pair


@pytest.mark.trap(77)
class TestHits:
    @pytest.mark.parametrize("begin", BEGINS)
    def test_inside_a_block_that_the_origin_never_sees(self, stage, begin):
        for end in ("commit", "rollback", "end work", "ABORT;"):
            stage.run((begin, LOCAL), (READ, HIT), (OTHER, HIT), (READ, HIT), (end, LOCAL))

    def test_behind_reads_at_the_origin(self, stage):
        stage.run(("begin", LOCAL), (READ, HIT), ("select 1", ORIGIN), (READ, HIT),
                 ("show transaction_isolation", ORIGIN), (READ, HIT),
                 ("select name, random() < 2 from item where id = 1", ORIGIN), (OTHER, HIT),
                 ("commit", ORIGIN), (READ, HIT))

    def test_an_empty_block(self, stage):
        stage.run(("begin", LOCAL), ("commit", LOCAL), ("begin read only", LOCAL),
                 ("rollback", LOCAL), (READ, HIT))

    @pytest.mark.cached
    def test_the_origin_sees_begin_in_front_of_what_is_forwarded(self, stage):
        """In its own words and once, whatever came before it from the cache."""
        stage.warm(READ)
        mark = stage.log_mark()
        for text in ("start transaction read only", READ, "select 1", READ, "select 2", "commit"):
            stage.ask(text)
        assert stage.seen(mark) == ["start transaction read only", "select 1", "select 2", "commit"]

    def test_a_miss_inside_is_captured(self, stage, proxy):
        for key in range(10, 13):
            read = f"select name, 'miss inside' as why from item where id = {key}"
            # No hit yet for anyone; the session through the proxy asks it only inside blocks.
            stage.run("begin", read, "commit")
            if not DIRECT:
                for _ in range(200):
                    before = proxy.hits()
                    stage.run("begin", read, "commit")
                    if proxy.hits() > before:
                        break
                else:
                    raise AssertionError(f"never captured; forwarded: {proxy.forwarded()}")
            stage.run((read, HIT))

    def test_read_committed_sees_what_others_commit(self, stage, proxy, direct):
        """Each statement of its own moment, and none older than one before it (trap 105)."""
        read = "select name from item where id = 20"
        for version in range(5):
            stage.warm(read)
            stage.ask("begin")
            before = w.rows(stage.ask(read))
            direct.execute("update item set name = %s where id = 20", (f"v{version}",))
            proxy.wait_until_answer(
                lambda: w.rows(play(stage.ours, *stage.messages(read))), [[f"v{version}".encode()]])
            assert w.rows(stage.ask(read)) != before
            stage.ask("commit")


# What a transaction does, after which nothing of it may come from the cache.
WRITES = [
    "insert into item values (1000, 'new', 0)", "update item set name = 'mine' where id = 1",
    "delete from item where id = 1", "truncate item", "lock table item in share mode",
    "lock place", "select id from item where id = 1 for update",
    "select id from item where id = 1 for no key update", "select id from item where id = 1 for share",
    "select id from place where id = 1 for key share", "select pg_advisory_xact_lock(7)",
    "select pg_try_advisory_xact_lock(7)", "select bump(1)", "select locks()",
    "select nextval('numbers') > 0", "with n as (insert into item values (1001, 'w', 1) returning id) "
    "select id from n", "do $$ begin update item set name = 'done' where id = 1; end $$",
    "call nothing()", "create table made (id int)", "alter table place add column extra int",
    "merge into item using (values (1)) v(id) on item.id = v.id when matched then update set name = 'm'",
    "explain (analyze, costs off, timing off, summary off) update item set name = 'e' where id = 1",
    "select set_config('transaction_isolation', 'serializable', true)",
    "set transaction isolation level serializable", "set transaction isolation level repeatable read",
    "set transaction_isolation = 'repeatable read'",
]


@pytest.mark.trap(103)
class TestHitsEnd:
    @pytest.mark.parametrize("write", WRITES)
    def test_after_a_write_or_a_lock(self, stage, write):
        # As the first statement, and behind a hit (which took no snapshot at the origin).
        for begin in ("begin", "begin isolation level read committed"):
            stage.run((begin, LOCAL), (write, ORIGIN), (READ, ORIGIN), (OTHER, ORIGIN),
                     (READ, ORIGIN), "rollback")
        if "isolation" not in write:
            stage.run("begin", (READ, HIT), (write, ORIGIN), (READ, ORIGIN), "rollback", READ)

    @pytest.mark.trap(118)
    def test_what_was_locked_is_read_fresh(self, stage, direct):
        """Another session's change before the lock must be seen behind it (traps 117 and 118)."""
        read = "select name from item where id = 30"
        for number, lock in enumerate((
                "select id from item where id = 30 for update", "lock table item in share mode",
                "select pg_advisory_xact_lock(30)")):
            stage.warm(read)
            play(stage.ours, *stage.messages("begin"))
            play(stage.ours, *stage.messages(read))
            direct.execute("update item set name = %s where id = 30", (f"locked {number}",))
            play(stage.ours, *stage.messages(lock))
            answer = play(stage.ours, *stage.messages(read))
            play(stage.ours, *stage.messages("rollback"))
            assert w.rows(answer) == [[f"locked {number}".encode()]]

    @pytest.mark.trap(117)
    def test_an_advisory_lock_of_the_session(self, stage, direct):
        """Outside a block as well: who waited for a lock expects what its holder wrote."""
        read = "select name from item where id = 31"
        for number in range(10):
            stage.warm(read)
            direct.execute("update item set name = %s where id = 31", (f"holder {number}",))
            play(stage.ours, *stage.messages("select pg_advisory_lock(31)"))
            answer = play(stage.ours, *stage.messages(read))
            play(stage.ours, *stage.messages("select pg_advisory_unlock(31)"))
            assert w.rows(answer) == [[f"holder {number}".encode()]]

    def test_own_writes_are_seen_by_nobody_else(self, stage, proxy, origin, database):
        """A read of an uncommitted row is captured for nobody, this session included."""
        for key in range(40, 44):
            read = f"select name, 'uncommitted' as why from item where id = {key}"
            for text in ("begin", f"update item set name = 'mine' where id = {key}", read, read):
                answer = play(stage.ours, *stage.messages(text))
            assert w.rows(answer)[0][0] == b"mine"
            assert proxy.query(f"select name from item where id = {key}") == [(f"item {key}",)]
            play(stage.ours, *stage.messages("rollback"))
            answer = proxy.wait_until_cached(lambda: play(stage.ours, *stage.messages(read)))
            assert w.rows(answer) == [[f"item {key}".encode(), b"uncommitted"]]

    @pytest.mark.parametrize("end", ["commit", "commit and no chain", "end"])
    def test_a_committed_write_is_seen_behind_it(self, stage, direct, end):
        def restore():
            direct.execute("update item set name = 'item 50' where id = 50")

        read = "select name from item where id = 50"
        stage.run("begin", "update item set name = 'kept' where id = 50", (read, ORIGIN), end,
                 read, OTHER, restore=restore)

    def test_the_session_hits_again_after_the_block(self, stage):
        for end in ("rollback", "commit"):
            stage.run("begin", ("update item set price = 510 where id = 51", ORIGIN), end)
            stage.run(("begin", LOCAL), (READ, HIT), (OTHER, HIT), ("commit", LOCAL))


class TestFailedBlocks:
    @pytest.mark.trap(77)
    @pytest.mark.parametrize("failure", [
        "select 1/0", "selec", "select no_such_column from item", "insert into item values (1, 'x', 1)",
        "select * from no_such_table", "savepoint a; select 1/0"])
    def test_what_is_cached_gets_25P02_too(self, stage, failure):
        answers = stage.run("begin", (READ, HIT), (failure, ORIGIN), (READ, ORIGIN), (OTHER, ORIGIN),
                           "begin", "show timezone", "commit", READ)
        assert [w.error(answers[i]) for i in (3, 4)] == ["25P02", "25P02"]
        assert answers[7][-2].tag() == "ROLLBACK"

    def test_an_error_as_the_first_statement(self, stage):
        stage.run(("begin", LOCAL), ("select 1/0", ORIGIN), READ, "rollback", (READ, HIT))

    def test_a_savepoint_brings_it_back(self, stage):
        stage.run("begin", "savepoint a", "select 1/0", READ, "rollback to a", READ, OTHER, "release a",
                 READ, "commit", (READ, HIT))

    def test_an_error_of_the_client_side_protocol(self, stage):
        """A Bind of nothing fails the block as any error does."""
        bad = (w.bind("no such statement"), w.execute(), w.SYNC)
        stage.run("begin", (READ, HIT), bad, (READ, ORIGIN), "rollback", (READ, HIT))


@pytest.mark.trap(114)
class TestSavepoints:
    def test_a_rolled_back_write(self, stage):
        read = "select name from item where id = 60"
        stage.run("begin", (read, HIT), "savepoint a", "update item set name = 'gone' where id = 60",
                 (read, ORIGIN), "rollback to savepoint a", (read, ORIGIN), "release savepoint a",
                 (read, ORIGIN), "commit", read)

    def test_nested(self, stage):
        stage.run("begin", "savepoint a", "savepoint a", "insert into place values (9, 'x')",
                 "rollback to a", "select count(*) from place", "release a", "rollback to a",
                 "select count(*) from place", "release a", "release a", READ, "rollback", READ)

    def test_outside_a_block(self, stage):
        stage.run("savepoint a", "release a", "rollback to a", (READ, HIT))

    def test_only_savepoints_and_reads(self, stage):
        stage.run("begin", "savepoint a", READ, "release a", READ, "savepoint b", READ, "rollback to b",
                 READ, "commit", (READ, HIT))


@pytest.mark.trap(77)
class TestChains:
    def test_of_local_blocks(self, stage):
        stage.run(("begin", LOCAL), (READ, HIT), ("commit and chain", LOCAL), (READ, HIT),
                 ("rollback and chain", LOCAL), (READ, HIT), ("commit", LOCAL))

    def test_keep_their_options(self, stage):
        show = "show transaction_read_only"
        for first, second in (("commit", "rollback"), ("rollback", "commit")):
            stage.run("begin read only", (READ, HIT), (f"{first} and chain", LOCAL), (READ, HIT), show,
                     (READ, HIT), (f"{second} and chain", ORIGIN), show, READ, "commit")
        stage.run("begin read only", (READ, HIT), ("commit and chain", LOCAL),
                 "insert into place values (8, 'x')", READ, "rollback")

    def test_of_blocks_at_the_origin(self, stage):
        stage.run("begin", "update place set name = 'chained' where id = 1", (READ, ORIGIN),
                 "rollback and chain", READ, "select name from place where id = 1", READ, "commit", READ)

    def test_keep_their_isolation(self, stage):
        show = "show transaction_isolation"
        stage.run("begin isolation level repeatable read", READ, "commit and chain", show,
                 (READ, ORIGIN), "rollback and chain", show, (READ, ORIGIN), "commit", show,
                 (READ, HIT))

    def test_of_a_failed_block(self, stage):
        stage.run("begin", "select 1/0", "commit and chain", READ, "commit", (READ, HIT))

    def test_outside_a_block(self, stage):
        stage.run("commit and chain", "rollback and chain", (READ, HIT))


class TestOddOnes:
    @pytest.mark.trap(77)
    def test_begin_inside_begin_warns(self, stage):
        for first, second in (("begin", "begin"), ("begin", "start transaction read only"),
                              ("begin", "begin isolation level repeatable read")):
            answers = stage.run(first, second, READ, "show transaction_isolation", "commit")
            assert "N" in w.types(answers[1]) or "E" in w.types(answers[1])
        stage.run("begin", (READ, HIT), "begin", READ, "rollback", (READ, HIT))

    @pytest.mark.trap(77)
    def test_an_end_without_a_beginning_warns(self, stage):
        for end in ("commit", "rollback", "end", "abort"):
            answers = stage.run(end, (READ, HIT))
            assert [m.fields()["C"] for m in answers[0] if m.type == "N"] == ["25P01"]

    def test_statements_that_no_block_may_hold(self, stage):
        for text in ("vacuum place", "create database inside", "discard all",
                     "alter system set work_mem = '4MB'"):
            answers = stage.run(("begin", LOCAL), (READ, HIT), (text, ORIGIN), (READ, ORIGIN), "rollback", READ)
            assert w.error(answers[2]) == "25001"

    def test_read_only_refuses_writes(self, stage):
        for begin in ("begin read only", "begin isolation level read committed, read only"):
            answers = stage.run((begin, LOCAL), (READ, HIT), ("delete from place", ORIGIN), READ, "rollback", READ)
            assert w.error(answers[2]) == "25006"

    def test_now_stands_still(self, stage):
        """Not the same at both sides, but one moment for a block, and not before its beginning."""
        for client in (stage.ours, stage.theirs):
            play(client, w.query("begin"))
            play(client, w.query(READ))
            first = w.rows(play(client, *stage.messages("select now(), now() = transaction_timestamp()")))
            play(client, w.query(READ))
            second = w.rows(play(client, *stage.messages("select now(), now() = transaction_timestamp()")))
            play(client, w.query("commit"))
            third = w.rows(play(client, *stage.messages("select now(), now() = transaction_timestamp()")))
            assert first == second != third

    @pytest.mark.trap(15)
    def test_set_local(self, stage):
        show, read = "show work_mem", "select id, '2026-01-01 12:00+00'::timestamptz from item where id = 1"
        stage.run("begin", (READ, HIT), "set local work_mem = '7MB'", show, READ, "commit", show, READ)
        for end in ("commit", "rollback"):
            stage.run("begin", "set local timezone = 'Asia/Tokyo'", read, read, end, read, read)
        stage.run("begin", "savepoint a", "set local timezone = 'Asia/Tokyo'", read, "rollback to a",
                 read, "commit", read)

    @pytest.mark.trap(72)
    def test_cursors(self, stage):
        stage.run("begin", (READ, HIT), "declare c cursor for select id, name from item order by id",
                 "fetch 3 from c", READ, "fetch 3 from c", "move 5 in c", "fetch backward 2 from c",
                 "close c", "commit", "fetch from c", READ)
        stage.run("begin", "declare h cursor with hold for select id from item order by id", "commit",
                 "fetch 2 from h", READ, "close h", READ)
        stage.run("declare c cursor for select id from item", READ)

    @pytest.mark.trap(72)
    def test_an_insensitive_cursor_keeps_its_moment(self, stage):
        stage.run("begin", "declare c cursor for select name from item where id < 3 order by id",
                 "update item set name = 'later' where id < 3", "fetch all from c", READ, "rollback",
                 READ)

    @pytest.mark.trap(81)
    def test_copy_in_a_block(self, stage):
        read = "select count(*), max(name) from item where id > 5000"
        stage.warm(read)
        for client in (stage.theirs, stage.ours):
            play(client, w.query("begin"))
            before = w.rows(play(client, *stage.messages(read)))
            client.send(w.query("copy item from stdin"))
            assert client.receive().type == "G"
            answer = play(client, w.copy_data(b"5001\tcopied\t1\n"), w.COPY_DONE)
            assert (answer[0].tag(), answer[-1].status()) == ("COPY 1", "T")
            assert w.rows(play(client, *stage.messages(read))) == [[b"1", b"copied"]]
            play(client, w.query("rollback"))
            assert w.rows(play(client, *stage.messages(read))) == before == [[b"0", None]]

    @pytest.mark.trap(81)
    def test_copy_out_in_a_block(self, stage):
        stage.run("begin", (READ, HIT), "copy (select id from item where id < 4 order by id) to stdout",
                 READ, "commit", READ)

    @pytest.mark.trap(88)
    def test_explain_is_never_from_the_cache(self, stage):
        for text in (f"explain (costs off) {READ}", f"explain (analyze, costs off, timing off, summary off) {READ}"):
            stage.run(text, ("begin", LOCAL), (text, ORIGIN), READ, "commit")

    @pytest.mark.trap(119)
    def test_an_exported_snapshot(self, stage, origin, database):
        """A transaction that takes another's snapshot sees what that one saw, and nothing cached."""
        read = "select name from item where id = 70"
        with origin.connect(database) as exporter:
            exporter.execute("begin isolation level repeatable read")
            (name,) = exporter.execute("select pg_export_snapshot()").fetchone()
            exporter.execute("select 1")
            try:
                origin.query("update item set name = 'after export' where id = 70", database)
                stage.proxy.wait_until_answer(read, [("after export",)])
                stage.run("begin isolation level repeatable read", f"set transaction snapshot '{name}'",
                         (read, ORIGIN), "commit", read)
            finally:
                exporter.execute("rollback")
                origin.query("update item set name = 'item 70' where id = 70", database)
                stage.proxy.wait_until_answer(read, [("item 70",)])
