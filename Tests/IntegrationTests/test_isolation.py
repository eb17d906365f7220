"""Rule S2, continued: other isolation levels and every way to come to them, implicit transactions of
pipelines and multi-statement texts, prepared transactions, and blocks that end from outside."""
import threading

import psycopg
import pytest

import wire as w
from proxy import DIRECT
from stage import HIT, LOCAL, ORIGIN, Stage, play
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, name text, price int);
insert into item select i, 'item ' || i, i * 10 from generate_series(1, 200) i;
create table log_line (id int primary key, line text);
grant all on item, log_line to app_trust, app_scram;
"""

READ = "select id, name from item where id = 1"
OTHER = "select id, name, price from item where id between 2 and 4 order by id"


@pytest.fixture(params=["simple", "extended"])
def form(request):
    return request.param


@pytest.fixture
def stage(origin, proxy, form):
    with Stage(origin, proxy, form) as pair:
        yield pair


def settled(proxy, read, value):
    """What was changed at the origin has reached the cache; whatever the database's default is."""
    with proxy.connect(options="-c default_transaction_isolation=read\\ committed") as other:
        proxy.wait_until_answer(lambda: other.execute(read).fetchall(), [(value,)])
        proxy.wait_until_cached(lambda: other.execute(read).fetchall())


@pytest.mark.trap(104)
class TestSnapshots:
    @pytest.mark.parametrize("begin", [
        "begin isolation level repeatable read", "start transaction isolation level serializable",
        "begin transaction isolation level repeatable read, read only",
        "begin isolation level serializable read only deferrable",
        "begin isolation level read committed, isolation level repeatable read",
        "begin read write isolation level serializable"])
    def test_are_kept(self, stage, proxy, direct, begin):
        """Neither a newer answer than the snapshot's, nor, once it is known, an older one."""
        read = "select name from item where id = 10"
        direct.execute("update item set name = 'first' where id = 10")
        settled(proxy, read, "first")
        stage.warm(read)
        stage.ask(begin)
        stage.ask("select price from item where id = 11")  # takes the snapshot
        direct.execute("update item set name = 'second' where id = 10")
        settled(proxy, read, "second")
        for _ in range(3):
            assert w.rows(stage.ask(read)) == [[b"first"]]
        stage.ask("commit")
        assert w.rows(stage.ask(read)) == [[b"second"]]

    @pytest.mark.parametrize("begin", [
        "begin isolation level repeatable read", "begin isolation level serializable"])
    def test_nothing_of_them_is_from_the_cache_or_for_it(self, stage, begin):
        stage.run(begin, (READ, ORIGIN), (OTHER, ORIGIN), (READ, ORIGIN), ("commit", ORIGIN), (READ, HIT))
        stage.run(begin, "savepoint a", (READ, ORIGIN), "rollback to a", (READ, ORIGIN), "rollback")

    def test_an_old_snapshots_answer_is_not_kept(self, stage, proxy, direct):
        """It is read after the change and is from before it (rule C4)."""
        for key in range(20, 24):
            direct.execute(f"update item set name = 'item {key}' where id = {key}")
            settled(proxy, f"select name from item where id = {key}", f"item {key}")
            read = f"select name, 'old snapshot' as why from item where id = {key}"
            for text in ("begin isolation level repeatable read", "select 1 from item where id = 2"):
                play(stage.ours, *stage.messages(text))
            direct.execute(f"update item set name = 'changed' where id = {key}")
            settled(proxy, f"select name from item where id = {key}", "changed")
            for _ in range(3):
                assert w.rows(play(stage.ours, *stage.messages(read)))[0][0] == f"item {key}".encode()
            play(stage.ours, *stage.messages("commit"))
            answer = proxy.wait_until_cached(lambda: play(stage.ours, *stage.messages(read)))
            assert w.rows(answer)[0][0] == b"changed"

    def test_serializable_still_finds_dangerous_reads(self, stage, proxy, origin, database):
        """Write skew: each reads what the other writes. A read from the cache would hide it."""
        reads = ["select price from item where id = 30", "select price from item where id = 31"]
        for read in reads:
            stage.warm(read)
        with origin.connect(database) as other:
            states = []
            play(stage.ours, *stage.messages("begin isolation level serializable"))
            other.execute("begin isolation level serializable")
            for read in reads:
                play(stage.ours, *stage.messages(read))
                other.execute(read)
            other.execute("update item set price = price + 1 where id = 30")
            other.execute("commit")
            for text in ("update item set price = price + 1 where id = 31", "commit"):
                answer = play(stage.ours, *stage.messages(text))
                states += [m.fields()["C"] for m in answer if m.type == "E"]
            assert states == ["40001"]

    @pytest.mark.trap(116)
    def test_read_only_deferrable(self, stage):
        stage.run("begin isolation level serializable, read only, deferrable", (READ, ORIGIN), "commit")
        stage.run("begin deferrable", READ, "commit", "begin not deferrable", READ, "commit", (READ, HIT))

    def test_set_transaction_after_a_hit(self, stage):
        """The hit was a query for the client, but the origin has seen none: then as now, 25001 or not."""
        for text in ("set transaction isolation level repeatable read",
                     "set transaction isolation level serializable", "set transaction read only",
                     "set transaction isolation level read committed", "set transaction read write"):
            stage.run(("begin", LOCAL), (READ, HIT), (text, ORIGIN), READ, "rollback", (READ, HIT))
            stage.run(("begin", LOCAL), (text, ORIGIN), READ, READ, "rollback", (READ, HIT))

    def test_set_transaction_outside_a_block_warns(self, stage):
        stage.run("set transaction isolation level serializable", (READ, HIT), "set transaction read only",
                 "show transaction_isolation", (READ, HIT))


@pytest.mark.trap(11)
@pytest.mark.trap(104)
class TestDefaultIsolation:
    """What a plain BEGIN means, and what a statement alone is, may be set anywhere."""

    def check(self, stage, proxy, direct, level):
        """A plain block is at `level`; at REPEATABLE READ it keeps its snapshot."""
        read = "select name from item where id = 40"
        stage.run("show default_transaction_isolation", "begin", "show transaction_isolation", READ,
                 READ, "commit", READ)
        direct.execute("update item set name = 'first' where id = 40")
        settled(proxy, read, "first")
        stage.ask("begin")
        stage.ask("select price from item where id = 41")
        stage.ask(read)
        direct.execute("update item set name = 'second' where id = 40")
        settled(proxy, read, "second")
        answer = w.rows(play(stage.theirs, *stage.messages(read)))
        assert answer == ([[b"second"]] if level == "read committed" else [[b"first"]])
        if level == "read committed":
            proxy.wait_until_answer(
                lambda: w.rows(play(stage.ours, *stage.messages(read))), [[b"second"]])
        else:
            assert w.rows(play(stage.ours, *stage.messages(read))) == answer
        stage.ask("commit")

    @pytest.mark.parametrize("text", [
        "set default_transaction_isolation = 'repeatable read'",
        "set default_transaction_isolation to serializable",
        "set session characteristics as transaction isolation level repeatable read",
        "select set_config('default_transaction_isolation', 'repeatable read', false)",
        "do $$ begin set default_transaction_isolation = 'serializable'; end $$",
        "update pg_settings set setting = 'repeatable read' where name = 'default_transaction_isolation'"])
    def test_set_in_the_session(self, stage, proxy, direct, text):
        stage.run("begin", (READ, HIT), "commit")
        stage.ask(text)
        self.check(stage, proxy, direct, "repeatable read")
        stage.ask("reset all")
        self.check(stage, proxy, direct, "read committed")
        stage.run(("begin", LOCAL), (READ, HIT), ("commit", LOCAL))

    @pytest.mark.parametrize("startup", [
        {"options": "-c default_transaction_isolation=repeatable\\ read"},
        {"default_transaction_isolation": "serializable"}])
    def test_given_at_login(self, origin, proxy, direct, form, startup):
        with Stage(origin, proxy, form, **startup) as stage:
            self.check(stage, proxy, direct, "repeatable read")

    @pytest.mark.parametrize("text", [
        "alter role app_trust {} default_transaction_isolation{}",
        "alter role app_trust in database {database} {} default_transaction_isolation{}",
        "alter database {database} {} default_transaction_isolation{}"])
    def test_of_the_role_and_the_database(self, origin, proxy, database, direct, form, text):
        text = text.replace("{database}", database)
        direct.execute(text.format("set", " = 'repeatable read'"))
        try:
            with Stage(origin, proxy, form, "app_trust") as stage:
                self.check(stage, proxy, direct, "repeatable read")
        finally:
            direct.execute(text.format("reset", ""))
        with Stage(origin, proxy, form, "app_trust") as stage:
            self.check(stage, proxy, direct, "read committed")

    def test_undone_with_its_transaction(self, stage, proxy, direct):
        for end in ("rollback", "rollback to a; commit"):
            begin = ["begin", "savepoint a"]
            stage.run(*begin, "set default_transaction_isolation = 'repeatable read'",
                     *end.split("; "))
            self.check(stage, proxy, direct, "read committed")

    def test_a_block_as_read_only_by_default(self, stage):
        stage.ask("set default_transaction_read_only = on")
        answers = stage.run("begin", READ, "insert into log_line values (1, 'x')", "rollback",
                           "insert into log_line values (1, 'x')", READ)
        assert w.error(answers[2]) == w.error(answers[4]) == "25006"


@pytest.mark.trap(75)
class TestSeveralStatementsInOneText:
    @pytest.mark.parametrize("text", [
        f"begin; {READ}", f"begin; {READ}; commit", f"begin; {READ}; {OTHER}", f"{READ}; begin",
        f"begin; commit; begin; {READ}", f"begin; {READ}; rollback; {READ}", "begin; commit",
        "begin;;", f"begin; update item set name = 'x' where id = 1; {READ}",
        "begin isolation level repeatable read; select 1", "begin; select 1/0; select 1", "begin; selec",
        f"update item set name = 'x' where id = 1; begin; {READ}; rollback",
        "begin; savepoint a; update item set name = 'x' where id = 1; rollback to a",
        "set local timezone = 'Asia/Tokyo'; show timezone", f"commit; {READ}", "rollback; begin"])
    def test_are_one_transaction_or_what_they_say(self, proxy, origin, text):
        with Stage(origin, proxy) as stage:
            stage.run((READ, HIT), text, READ, OTHER, "show transaction_isolation", "rollback", READ)
            stage.run(("begin", LOCAL), (READ, HIT), text, READ, OTHER, "rollback", READ)

    def test_a_failing_one_undoes_all(self, proxy, origin):
        with Stage(origin, proxy) as stage:
            read = "select count(*) from log_line"
            stage.run((read, HIT), "insert into log_line values (1, 'x'); select 1/0", read, read)

    def test_a_write_then_a_read(self, proxy, origin, direct):
        with Stage(origin, proxy) as stage:
            read = "select name from item where id = 50"
            stage.run((read, HIT), f"update item set name = 'both' where id = 50; {read}", read,
                     restore=lambda: direct.execute("update item set name = 'one' where id = 50"))


def one(sql: str, *values: str, name: str = "") -> bytes:
    """A statement of a pipeline, before its Sync."""
    return w.parse(sql, name) + w.bind(name, values) + w.describe_portal() + w.execute()


@pytest.mark.trap(73)
class TestPipelines:
    @pytest.fixture
    def pair(self, origin, proxy):
        with Stage(origin, proxy, "extended") as stage:
            for read in (READ, OTHER):
                stage.warm(read)
            yield stage

    @pytest.mark.parametrize("texts", [
        ("begin", READ), ("begin", READ, OTHER), ("begin", READ, "commit"), ("begin", "select 1", READ),
        (READ, "begin", READ), ("begin", "begin", READ), ("begin", "select 1/0", READ),
        ("begin", "insert into log_line values (7, 'x')", READ, "select count(*) from log_line"),
        ("begin isolation level repeatable read", READ), ("begin read only", READ, "delete from item"),
        ("begin", READ, "rollback", "begin", READ), ("begin", "commit"), ("begin", "savepoint a", READ),
        ("begin", "set local timezone = 'Asia/Tokyo'", "show timezone", READ), ("commit", READ)])
    def test_begin_with_other_statements(self, pair, texts):
        """JDBC sends BEGIN in front of a block's first statement, before one Sync."""
        pipeline = (*map(one, texts), w.SYNC)
        for _ in range(2):
            pair.run((READ, HIT), pipeline, READ, OTHER, "select count(*) from log_line", "rollback", READ)
            pair.run((READ, HIT), ("begin", LOCAL), pipeline, READ, OTHER, "rollback", READ)

    def test_the_statement_behind_them_hits(self, pair):
        """However BEGIN came: the block is clean."""
        pair.run((one("begin"), one("select 1"), w.SYNC), (READ, HIT), (OTHER, HIT), "commit")
        pair.run((one("begin"), w.SYNC), (READ, HIT), ("commit", LOCAL))

    def test_several_syncs_in_one_packet(self, pair):
        messages = (one("begin"), w.SYNC, one(READ), w.SYNC, one("select 1"), w.SYNC, one(READ), w.SYNC,
                    one("commit"), w.SYNC, one(READ), w.SYNC)
        answers = []
        for client in (pair.theirs, pair.ours):
            client.send(*messages)
            answers.append([client.receive_until_ready() for _ in range(6)])
        assert answers[0] == answers[1]

    def test_simple_queries_in_one_packet(self, pair):
        for texts in (["begin", READ, OTHER, "commit", READ], ["begin", READ, "select 1", READ, "rollback"],
                      ["begin", "select 1/0", READ, "commit", READ], ["begin", "commit", "commit", READ],
                      ["begin", "update item set name = 'x' where id = 1", READ, "rollback", READ]):
            answers = []
            for client in (pair.theirs, pair.ours):
                client.send(*map(w.query, texts))
                answers.append([[m for m in client.receive_until_ready() if m.type not in "AK"]
                                for _ in texts])
            assert answers[0] == answers[1], texts

    def test_an_implicit_transaction_with_a_write(self, pair, direct):
        """No BEGIN at all: up to Sync it is one transaction all the same."""
        read = "select name from item where id = 60"

        def restore():
            direct.execute("update item set name = 'item 60' where id = 60")

        for write in ("update item set name = 'piped' where id = 60",
                      "select id from item where id = 60 for update"):
            pair.run((read, HIT), (one(read), one(write), one(read), one(OTHER), w.SYNC), read,
                     restore=restore)
        pair.run((one("update item set name = 'undone' where id = 60"), one("select 1/0"), one(read),
                  w.SYNC), read, restore=restore)

    def test_a_commit_in_the_middle(self, pair, direct):
        def restore():
            direct.execute("update item set name = 'item 61' where id = 61")

        read = "select name from item where id = 61"
        pair.run((one("begin"), one("update item set name = 'early' where id = 61"), one("commit"),
                  one(read), one("select 1/0"), one(read), w.SYNC), read, restore=restore)

    def test_with_flush(self, pair):
        answers = []
        for client in (pair.theirs, pair.ours):
            client.send(one("begin"), w.FLUSH)
            got = client.receive_until("C")
            client.send(one(READ), w.FLUSH)
            got += client.receive_until("C")
            client.send(one("select 1"), w.FLUSH)
            got += client.receive_until("C")
            client.send(w.SYNC)
            got += client.receive_until_ready()
            answers.append(got + play(client, w.query("rollback")))
        assert answers[0] == answers[1]

    @pytest.mark.trap(70)
    def test_portals_live_as_long_as_the_block(self, pair):
        """A portal bound here or there can be fetched from until COMMIT, and not behind it."""
        read = "select id from item order by id"
        pair.warm((w.parse(read), w.bind(), w.execute(rows=3), w.SYNC))
        pair.run(("begin", LOCAL), (w.parse(read, "s"), w.bind("s", portal="p"), w.execute("p", 3), w.SYNC),
                 (w.execute("p", 2), w.SYNC), READ, (w.execute("p", 2), w.SYNC), "commit",
                 (w.execute("p", 2), w.SYNC), (w.close_statement("s"), w.SYNC))


@pytest.mark.trap(112)
class TestPreparedTransactions:
    def test_through_the_proxy(self, stage, proxy):
        read = "select name from item where id = 70"
        for number, end in enumerate(("commit", "rollback")):
            expected = b"prepared" if end == "commit" else b"item 70"
            stage.warm(read)
            for text in ("begin", "update item set name = 'prepared' where id = 70",
                         f"prepare transaction 'p{number}'"):
                answer = play(stage.ours, *stage.messages(text))
            assert (answer[-2].tag(), answer[-1].status()) == ("PREPARE TRANSACTION", "I")
            assert w.rows(play(stage.ours, *stage.messages(read))) == [[b"item 70"]]
            play(stage.ours, *stage.messages(f"{end} prepared 'p{number}'"))
            assert w.rows(play(stage.ours, *stage.messages(read))) == [[expected]]
            play(stage.ours, w.query("update item set name = 'item 70' where id = 70"))

    def test_of_a_block_that_the_origin_never_saw(self, stage):
        stage.run(("begin", LOCAL), (READ, HIT), "prepare transaction 'empty'", "rollback prepared 'empty'", READ)
        stage.run(("begin", LOCAL), "prepare transaction 'bare'", "commit prepared 'bare'", READ)

    def test_that_cannot_be_prepared(self, stage):
        stage.run("prepare transaction 'no block'", READ, "begin", "select 1/0", "prepare transaction 'failed'",
                 READ, "commit prepared 'nothing'")


class TestEndsFromOutside:
    def test_a_terminated_backend_during_a_local_block(self, proxy, origin, stage, direct):
        """The origin knows nothing of the block; its end is the session's end all the same."""
        stage.warm(READ)
        for text in ("begin", READ):
            play(stage.ours, *stage.messages(text))
        direct.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                       "where application_name = %s", (stage.name,))
        fields = stage.ours.receive_until("E")[-1].fields()
        assert (fields["S"], fields["C"]) == ("FATAL", "57P01")
        assert stage.ours.is_closed()

    @pytest.mark.trap(82)
    def test_a_cancel_during_a_local_block(self, stage):
        """An idle session does not mind; one at work in a block is cancelled and its block fails."""
        stage.warm(READ)
        for text in ("begin", READ):
            play(stage.ours, *stage.messages(text))
        stage.ours.send(w.query("select pg_sleep(60)"))
        wait_until(lambda: stage.origin.value(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' "
            "and application_name = %s", parameters=(stage.name,)) == 1, "it sleeps")
        stage.ours.cancel()
        answer = stage.ours.receive_until_ready()
        assert (w.error(answer), answer[-1].status()) == ("57014", "E")
        assert w.error(play(stage.ours, *stage.messages(READ))) == "25P02"
        assert play(stage.ours, *stage.messages("commit"))[-2].tag() == "ROLLBACK"

    def test_a_client_that_leaves_its_block(self, proxy, origin, database, direct):
        """What it wrote is undone; a local block leaves nothing."""
        for texts in (["begin", READ], ["begin", "update item set name = 'left' where id = 80"]):
            with w.WireClient.logged_in(proxy.host, proxy.port, database, application_name="leaver") as leaver:
                for text in texts:
                    play(leaver, w.query(text))
            wait_until(lambda: origin.value("select count(*) from pg_stat_activity "
                                            "where application_name = 'leaver'") == 0, "it is gone")
        assert proxy.query("select name from item where id = 80") == [("item 80",)]

    def test_idle_in_transaction(self, proxy, origin, database, form):
        """The origin's time limit counts only for a block that it knows."""
        with Stage(origin, proxy, form, options="-c idle_in_transaction_session_timeout=1s") as stage:
            stage.warm(READ)
            for text in ("begin", READ, "select 1"):
                play(stage.ours, *stage.messages(text))
            fields = stage.ours.receive_until("E")[-1].fields()
            assert (fields["S"], fields["C"]) == ("FATAL", "25P03")

    def test_a_transaction_aborted_by_a_deadlock(self, proxy, origin, database, form):
        with Stage(origin, proxy, form, options="-c deadlock_timeout=10ms") as stage:
            read = "select name from item where id = 90"
            stage.warm(read)
            with origin.connect(database) as other:
                other.execute("set deadlock_timeout = '1min'")
                other.execute("begin")
                other.execute("update item set name = 'other' where id = 91")
                play(stage.ours, *stage.messages("begin"))
                play(stage.ours, *stage.messages("update item set name = 'ours' where id = 90"))
                thread = threading.Thread(target=other.execute, args=(
                    "update item set name = 'other' where id = 90",))
                thread.start()
                wait_until(lambda: origin.value("select count(*) from pg_locks where not granted") > 0,
                           "the other waits")
                answer = play(stage.ours, *stage.messages("update item set name = 'ours' where id = 91"))
                assert (w.error(answer), answer[-1].status()) == ("40P01", "E")
                assert w.error(play(stage.ours, *stage.messages(read))) == "25P02"
                thread.join()
                other.execute("rollback")
                play(stage.ours, *stage.messages("rollback"))
            assert w.rows(play(stage.ours, *stage.messages(read))) == [[b"item 90"]]


@pytest.mark.cached
class TestForwardedByChoice:
    """`transactions = forward`: every block is the origin's affair."""

    @pytest.fixture
    def pair(self, origin, start_proxy, form):
        with Stage(origin, start_proxy(transactions="forward"), form) as stage:
            yield stage

    def test_nothing_inside_is_from_the_cache(self, pair):
        pair.run((READ, HIT), ("begin", ORIGIN), (READ, ORIGIN), (OTHER, ORIGIN), ("commit", ORIGIN),
                 (READ, HIT))
        mark = pair.log_mark()
        for text in ("begin", READ, "commit"):
            pair.ask(text)
        assert pair.seen(mark) == ["begin", READ, "commit"]


class TestDrivers:
    def test_psycopg_without_autocommit(self, proxy, origin, database):
        """Its default mode: every first statement opens a block."""
        expected = origin.query(READ, database)
        with proxy.connect(autocommit=False) as connection:
            def ask():
                answer = connection.execute(READ).fetchall()
                connection.commit()
                return answer

            assert proxy.wait_until_cached(ask) == expected
            if not DIRECT:
                with proxy.expect_hits(20):
                    for _ in range(20):
                        assert ask() == expected
            connection.execute("update item set name = 'uncommitted' where id = 1")
            assert connection.execute(READ).fetchall() == [(1, "uncommitted")]
            connection.rollback()
            assert connection.execute(READ).fetchall() == expected

    def test_psycopg_savepoints(self, proxy, client):
        with client.transaction():
            client.execute(READ)
            with pytest.raises(psycopg.errors.UniqueViolation):
                with client.transaction():
                    client.execute("insert into item values (1, 'x', 1)")
            assert client.execute(READ).fetchone() == (1, "item 1")

    def test_a_role_of_little_rights(self, proxy, origin, form):
        with Stage(origin, proxy, form, "app_scram") as stage:
            stage.warm(READ)
            for text in ("begin", READ, "select count(*) from pg_authid", READ, "rollback", READ):
                answer = stage.ask(text)
            assert w.rows(answer) == [[b"1", b"item 1"]]
