"""The two races that decide what may be kept: a change that is decoded before it is visible (rule T2),
and a change from before its table was published (rule T3). Both were seen on PostgreSQL 15."""
import threading

import pytest

from origin import Origin
from proxy import DIRECT, Proxy
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
create table gap (id int primary key, name text);
create table gap_updated (id int primary key, name text);
insert into gap_updated values (1, 'old');
"""

# More than a read by key, into which a change is written.
READ = "select name from item where id = 1 and true"
READ_BY_KEY = "select name from item where id = 1"
PATCHES = "pgcache_cache_memo_patches"


@pytest.fixture(scope="module")
def waiting_origin():
    """An origin whose commits wait, when told to, for a standby that does not exist."""
    server = Origin()
    with server.connect() as connection:
        connection.execute(SCHEMA)
    yield server
    server.remove()


def hold_commits(server, hold: bool):
    """From here on commits are decoded but stay invisible, until they are let go."""
    names = "nosuch" if hold else ""
    with server.connect() as connection:
        connection.execute(f"alter system set synchronous_standby_names = '{names}'")
        connection.execute("select pg_reload_conf()")
    wait_until(lambda: server.value("show synchronous_standby_names") == names, "it is set")
    # It takes effect when the checkpointer hears of it, which it does before it does as it is told.
    with server.connect() as connection:
        connection.execute("checkpoint")


class HeldCommit:
    """A statement whose commit waits for the standby; `release` lets it become visible."""

    def __init__(self, server, sql):
        self.server = server
        hold_commits(server, True)
        self.connection = server.connect()
        self.thread = threading.Thread(target=self.connection.execute, args=(sql,))
        self.thread.start()
        try:
            wait_until(lambda: server.value(
                "select count(*) from pg_stat_activity where wait_event = 'SyncRep'") > 0,
                "the commit waits")
        except AssertionError:
            self.release()
            raise

    def release(self):
        hold_commits(self.server, False)
        self.thread.join()
        self.connection.close()


@pytest.fixture
def proxy(waiting_origin, reactor):
    # A poll would see that the configuration was loaded again to let a commit go, and empty the cache at that.
    process = Proxy(waiting_origin, "postgres", reactor, catalog_poll_interval="3600s")
    yield process
    process.remove()


class TestDecodedBeforeVisible:
    """Trap A: the change is in the stream, and a read of the origin still gives the old row."""

    def test_an_answer_read_meanwhile_is_not_kept(self, waiting_origin, proxy):
        with waiting_origin.connect() as connection:
            connection.execute("update item set name = 'old' where id = 1")
        proxy.wait_until_answer(READ, [("old",)])
        proxy.wait_until_cached(READ)
        held = HeldCommit(waiting_origin, "update item set name = 'new' where id = 1")
        try:
            # The change has long been received; each of these misses reads the row from before.
            for _ in range(50):
                assert proxy.query(READ) in ([("old",)], [("new",)])
        finally:
            held.release()
        assert waiting_origin.query(READ) == [("new",)]
        proxy.wait_until_answer(READ, [("new",)])
        assert proxy.wait_until_cached(READ) == [("new",)]

    def test_an_answer_that_is_written_into_is_not_seen_meanwhile(self, waiting_origin, proxy):
        """It would be the new row, and the old one again from the origin in the next statement."""
        with waiting_origin.connect() as connection:
            connection.execute("update item set name = 'before' where id = 1")
        proxy.wait_until_answer(READ_BY_KEY, [("before",)])
        proxy.wait_until_cached(READ_BY_KEY)
        patches = 0 if DIRECT else proxy.metric(PATCHES)
        held = HeldCommit(waiting_origin, "update item set name = 'behind' where id = 1")
        try:
            wait_until(lambda: DIRECT or proxy.metric(PATCHES) > patches, "the change is written into the answer")
            for _ in range(50):
                assert proxy.query(READ_BY_KEY) == [("before",)]
                assert proxy.query(READ) == [("before",)]
        finally:
            held.release()
        proxy.wait_until_answer(READ_BY_KEY, [("behind",)])
        misses = 0 if DIRECT else proxy.misses()
        assert proxy.wait_until_cached(READ_BY_KEY) == [("behind",)]
        assert DIRECT or proxy.misses() == misses

    def test_a_first_read_meanwhile_is_not_kept(self, waiting_origin, proxy):
        """No entry is there to be invalidated when the change arrives."""
        read = "select id, name from item where id = {}"
        for key in range(2, 7):
            proxy.wait_until_cached("select count(*) from item")
            before = 0 if DIRECT else proxy.metric("pgcache_cdc_updates")
            held = HeldCommit(waiting_origin, f"update item set name = 'new' where id = {key}")
            try:
                wait_until(lambda: DIRECT or proxy.metric("pgcache_cdc_updates") > before,
                           "the change is received")
                for _ in range(5):
                    proxy.query(read.format(key))
            finally:
                held.release()
            proxy.wait_until_answer(read.format(key), [(key, "new")])
            assert proxy.wait_until_cached(read.format(key)) == [(key, "new")]

    def test_an_insert_meanwhile(self, waiting_origin, proxy):
        read = "select count(*) from item where id > 100"
        proxy.wait_until_cached(read)
        held = HeldCommit(waiting_origin, "insert into item values (101, 'x')")
        try:
            for _ in range(20):
                proxy.query(read)
        finally:
            held.release()
        proxy.wait_until_answer(read, [(1,)])
        assert proxy.wait_until_cached(read) == [(1,)]
        with waiting_origin.connect() as connection:
            connection.execute("delete from item where id > 100")
        proxy.wait_until_answer(read, [(0,)])

    def test_answers_that_the_change_cannot_alter_stay_cached(self, waiting_origin, proxy):
        other = "select name from item where id = 9"
        proxy.wait_until_cached(other)
        held = HeldCommit(waiting_origin, "update item set name = 'x' where id = 8")
        try:
            proxy.wait_until_cached(other)
        finally:
            held.release()

    def test_a_change_of_the_schema_meanwhile(self, waiting_origin, proxy):
        read = "select * from gap_updated"
        with waiting_origin.connect() as connection:
            connection.execute("truncate gap_updated")
            connection.execute("insert into gap_updated values (1, 'old')")
        proxy.wait_until_answer(read, [(1, "old")])
        held = HeldCommit(waiting_origin, "alter table gap_updated add column extra int default 5")
        held.release()
        proxy.wait_until_answer(read, [(1, "old", 5)])
        with waiting_origin.connect() as connection:
            connection.execute("alter table gap_updated drop column extra")
        proxy.wait_until_answer(read, [(1, "old")])


class TestPublicationGap:
    """Trap B: what an open transaction changed before its table was published never comes."""

    @pytest.mark.parametrize("before, after, read, expected", [
        ("insert into gap values (1, 'a')", "insert into gap values (2, 'b')",
         "select count(*) from gap", [(2,)]),
        ("insert into gap values (1, 'a')", "select 1", "select name from gap where id = 1",
         [("a",)]),
        ("update gap_updated set name = 'new' where id = 1", "select 1",
         "select name from gap_updated where id = 1", [("new",)]),
        ("delete from gap_updated", "select 1", "select count(*) from gap_updated", [(0,)]),
    ])
    def test_a_transaction_older_than_the_publication(
            self, waiting_origin, proxy, before, after, read, expected):
        with waiting_origin.connect() as setup:
            setup.execute("truncate gap, gap_updated")
            setup.execute("insert into gap_updated values (1, 'old')")
        with waiting_origin.connect() as writer:
            writer.execute("begin")
            writer.execute(before)
            # These make the proxy publish the table while the transaction is open.
            for _ in range(100):
                proxy.query(read)
            writer.execute(after)
            writer.execute("commit")
        proxy.wait_until_answer(read, expected)
        assert proxy.wait_until_cached(read) == expected
        assert proxy.query(read) == expected

    @pytest.mark.cached
    def test_the_table_is_not_cached_while_that_transaction_is_open(self, waiting_origin, proxy):
        with waiting_origin.connect() as setup:
            setup.execute("truncate gap")
        read = "select max(id) from gap"
        with waiting_origin.connect() as writer:
            writer.execute("begin")
            writer.execute("insert into gap values (7, 'x')")
            for _ in range(200):
                proxy.query(read)
            assert proxy.hits() == 0
            writer.execute("commit")
        assert proxy.wait_until_cached(read) == [(7,)]

    def test_a_prepared_transaction_older_than_the_publication(self, waiting_origin, reactor):
        """Its end is not the end of a session, and it may stay for long."""
        proxy = Proxy(waiting_origin, "postgres", reactor)
        try:
            with waiting_origin.connect() as setup:
                setup.execute("truncate gap")
                setup.execute("begin")
                setup.execute("insert into gap values (1, 'prepared')")
                setup.execute("prepare transaction 'gap'")
                read = "select count(*) from gap"
                for _ in range(50):
                    assert proxy.query(read) == [(0,)]
                setup.execute("commit prepared 'gap'")
            proxy.wait_until_answer(read, [(1,)])
            assert proxy.wait_until_cached(read) == [(1,)]
        finally:
            proxy.remove()


class TestCaptureRaces:
    """A change that happens while the answer is on its way makes it unfit (rules T1 and T4)."""

    def test_a_slow_answer_that_is_overtaken(self, waiting_origin, proxy):
        """Its snapshot is from before the change, its end from after."""
        with waiting_origin.connect() as setup:
            setup.execute("create table if not exists long (id int primary key, v int)")
            setup.execute("truncate long")
            setup.execute("insert into long select i, 0 from generate_series(1, 3000) i")
        proxy.wait_until_answer("select count(*) from long", [(3000,)])
        read = "select max(a.v) from long a join long b on a.v + a.id <= b.v + b.id"
        proxy.wait_until_cached("select count(*) from long")
        for version in range(1, 9):
            answers = []
            reader = threading.Thread(target=lambda: answers.append(proxy.query(read)))
            reader.start()
            wait_until(lambda: not reader.is_alive() or waiting_origin.value(
                "select count(*) from pg_stat_activity where state = 'active' "
                "and query like 'select max(a.v)%%' and pid <> pg_backend_pid()") > 0,
                "the statement runs")
            with waiting_origin.connect() as writer:
                writer.execute("update long set v = %s where id = 3000", (version,))
            reader.join()
            proxy.wait_until_answer(read, [(version,)])

    def test_a_storm_of_changes_and_reads(self, waiting_origin, proxy):
        """Whatever was kept in between, the last word is right."""
        stop = threading.Event()
        problems = []

        def reads():
            try:
                with proxy.connect() as connection:
                    while not stop.is_set():
                        connection.execute(READ).fetchall()
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=reads) for _ in range(4)]
        for thread in threads:
            thread.start()
        with waiting_origin.connect() as writer:
            for version in range(300):
                writer.execute("update item set name = %s where id = 1", (f"v{version}",))
                if version % 30 == 29:
                    proxy.wait_until_answer(READ, [(f"v{version}",)])
        stop.set()
        for thread in threads:
            thread.join()
        assert not problems
        proxy.wait_until_answer(READ, [("v299",)])
        with waiting_origin.connect() as writer:
            writer.execute("update item set name = 'item 1' where id = 1")
