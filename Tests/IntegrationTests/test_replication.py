"""The stream of changes as a guest on the origin: what is left there, and what happens without it
(rules T7 and section 7 of the design)."""
import os
import signal

import psycopg
import pytest

from origin import Origin
from proxy import Proxy
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
create table other (id int primary key, name text);
"""

READ = "select name from item where id = 1"

pytestmark = pytest.mark.cached


@pytest.fixture(autouse=True)
def restore(direct):
    direct.execute("truncate other")
    direct.execute("update item set name = 'item ' || id where name <> 'item ' || id")


def slots(origin, database):
    return origin.query("select slot_name, temporary, active from pg_replication_slots "
                        "where database = %s", "postgres", (database,))


def publications(origin, database):
    return [name for (name,) in origin.query("select pubname from pg_publication", database)]


def walsenders(origin):
    return origin.value("select count(*) from pg_stat_replication")


class TestWhatIsLeft:
    def test_the_slot_is_temporary(self, start_proxy, origin, database):
        start_proxy()
        assert [(temporary, active) for _, temporary, active in slots(origin, database)] \
            == [(True, True)]

    def test_nothing_after_sigterm(self, start_proxy, origin, database):
        proxy = start_proxy()
        proxy.wait_until_cached(READ)
        assert publications(origin, database)
        assert proxy.stop() == 0
        wait_until(lambda: not slots(origin, database), "the slot is gone")
        assert publications(origin, database) == []

    def test_no_slot_after_sigkill(self, start_proxy, origin, database):
        proxy = start_proxy()
        proxy.wait_until_cached(READ)
        proxy.stop(signal.SIGKILL)
        wait_until(lambda: not slots(origin, database), "the slot is gone")

    def test_what_a_killed_one_left_is_removed_at_the_next_start(
            self, start_proxy, origin, database):
        first = start_proxy()
        first.wait_until_cached(READ)
        (left,) = publications(origin, database)
        first.stop(signal.SIGKILL)
        wait_until(lambda: not slots(origin, database), "the slot is gone")
        start_proxy().wait_until_cached(READ)
        assert left not in publications(origin, database)

    def test_two_instances_do_not_share(self, start_proxy, origin, database, direct):
        first, second = start_proxy(), start_proxy()
        for proxy in (first, second):
            proxy.wait_until_cached(READ)
        assert len(publications(origin, database)) == 2
        assert first.stop() == 0
        assert len(publications(origin, database)) == 1
        direct.execute("update item set name = 'second sees it' where id = 1")
        second.wait_until_answer(READ, [("second sees it",)])
        direct.execute("update item set name = 'item 1' where id = 1")

    def test_a_persistent_slot_by_choice(self, start_proxy, origin, database):
        proxy = start_proxy(cdc_slot="persistent", cdc_slot_name="kept_by_choice")
        proxy.wait_until_cached(READ)
        assert slots(origin, database) == [("kept_by_choice", False, True)]
        assert proxy.stop() == 0
        wait_until(lambda: not slots(origin, database), "a graceful stop drops it")

    def test_a_table_may_be_made_unlogged_once_pgcache_is_gone(
            self, start_proxy, origin, database, direct):
        proxy = start_proxy()
        proxy.wait_until_cached("select count(*) from other")
        proxy.stop()
        direct.execute("alter table other set unlogged")
        direct.execute("alter table other set logged")


class TestStreamLost:
    def test_a_killed_walsender(self, start_proxy, origin, database, direct):
        """Everything is forwarded until a new stream runs, then cached again, with right answers."""
        proxy = start_proxy()
        with proxy.connect() as client:
            read = lambda: client.execute(READ).fetchall()  # noqa: E731
            proxy.wait_until_cached(read)
            for turn in range(3):
                name = f"turn {turn}"
                with origin.connect() as admin:
                    admin.execute(
                        "select pg_terminate_backend(active_pid) from pg_replication_slots "
                        "where database = %s and active", (database,))
                direct.execute("update item set name = %s where id = 1", (name,))
                # The stream's end may reach us after the change; a bounded moment at most.
                proxy.wait_until_answer(read, [(name,)])
                proxy.wait_until_ready()
                assert proxy.wait_until_cached(read) == [(name,)]
                direct.execute("update item set name = %s where id = 1", (name + " again",))
                proxy.wait_until_answer(read, [(name + " again",)])
        direct.execute("update item set name = 'item 1' where id = 1")

    def test_a_dropped_publication(self, start_proxy, origin, database, direct):
        proxy = start_proxy()
        proxy.wait_until_cached(READ)
        (name,) = publications(origin, database)
        direct.execute(f'drop publication "{name}"')
        direct.execute("update item set name = 'unpublished' where id = 1")
        proxy.wait_until_answer(READ, [("unpublished",)], seconds=20)
        direct.execute("update item set name = 'item 1' where id = 1")
        proxy.wait_until_answer(READ, [("item 1",)], seconds=20)
        proxy.wait_until_cached(READ, seconds=20)

    def test_a_table_removed_from_the_publication_by_somebody(
            self, start_proxy, origin, database, direct):
        proxy = start_proxy()
        proxy.wait_until_cached(READ)
        (name,) = publications(origin, database)
        direct.execute(f'alter publication "{name}" drop table item')
        direct.execute("update item set name = 'unnoticed' where id = 1")
        proxy.wait_until_answer(READ, [("unnoticed",)], seconds=20)
        direct.execute("update item set name = 'item 1' where id = 1")
        proxy.wait_until_answer(READ, [("item 1",)], seconds=20)

    def test_a_stopped_walsender_is_noticed_by_its_silence(
            self, start_proxy, origin, database, direct):
        """A stream that hangs is a stream that is down: nothing is answered from the cache."""
        proxy = start_proxy(cdc_silence_timeout="1s")
        proxy.wait_until_cached(READ)
        process = origin.value("select active_pid from pg_replication_slots where database = %s",
                               "postgres", (database,))
        os.kill(process, signal.SIGSTOP)
        try:
            direct.execute("update item set name = 'behind' where id = 1")
            proxy.wait_until_answer(READ, [("behind",)])
        finally:
            os.kill(process, signal.SIGCONT)
        proxy.wait_until_ready()
        proxy.wait_until_cached(READ, seconds=20)
        direct.execute("update item set name = 'item 1' where id = 1")
        proxy.wait_until_answer(READ, [("item 1",)])


class TestLag:
    def test_moves_and_recovers(self, start_proxy, origin, database, direct):
        proxy = start_proxy(cdc_silence_timeout="60s")
        proxy.wait_until_cached(READ)
        process = origin.value("select active_pid from pg_replication_slots where database = %s",
                               "postgres", (database,))
        os.kill(process, signal.SIGSTOP)
        try:
            direct.execute("insert into other select i, 'x' from generate_series(1, 20000) i")
            wait_until(lambda: proxy.metric("pgcache_cdc_lag_bytes") > 100_000
                       or proxy.metric("pgcache_cdc_lag_seconds") > 0.2, "the lag shows")
        finally:
            os.kill(process, signal.SIGCONT)
        wait_until(lambda: proxy.metric("pgcache_cdc_lag_bytes") < 100_000
                   and proxy.metric("pgcache_cdc_lag_seconds") < 1, "the lag is gone")
        direct.execute("truncate other")

    def test_changes_of_unpublished_tables_are_acknowledged(
            self, start_proxy, origin, database, direct):
        """Otherwise the origin would keep its WAL for us (trap 135)."""
        proxy = start_proxy()
        proxy.wait_until_cached(READ)
        direct.execute("insert into other select i, 'x' from generate_series(1, 50000) i")
        direct.execute("truncate other")
        target = origin.value("select pg_current_wal_lsn()::text")
        wait_until(lambda: origin.value(
            "select bool_and(confirmed_flush_lsn >= %s::pg_lsn) from pg_replication_slots "
            "where database = %s", "postgres", (target, database)), "the slot has moved on")

    def test_beyond_the_limit_the_slot_is_dropped(self, start_proxy, origin, database, direct):
        proxy = start_proxy(cdc_lag_limit_bytes="1MiB", cdc_silence_timeout="60s")
        proxy.wait_until_cached(READ)
        (before,) = slots(origin, database)
        process = origin.value("select active_pid from pg_replication_slots where database = %s",
                               "postgres", (database,))
        os.kill(process, signal.SIGSTOP)
        try:
            direct.execute("insert into other select i, repeat('x', 500) "
                           "from generate_series(1, 10000) i")
            direct.execute("update item set name = 'far ahead' where id = 1")
            wait_until(lambda: not proxy.is_ready(), "everything is forwarded")
            assert proxy.query(READ) == [("far ahead",)]
        finally:
            os.kill(process, signal.SIGCONT)
        direct.execute("truncate other")
        proxy.wait_until_ready()
        proxy.wait_until_cached(READ, seconds=20)
        direct.execute("update item set name = 'item 1' where id = 1")
        proxy.wait_until_answer(READ, [("item 1",)])


@pytest.fixture(scope="module")
def plain():
    server = Origin(wal_level="replica")
    with server.connect() as connection:
        connection.execute(SCHEMA)
    yield server
    server.remove()


class TestOriginsThatCannot:
    """Without logical replication the proxy says so and forwards everything, rightly."""

    def test_wal_level(self, plain, reactor):
        proxy = Proxy(plain, "postgres", reactor, ready=False)
        try:
            with proxy.connect() as client:
                for turn in range(5):
                    client.execute("update item set name = %s where id = 1", (f"{turn}",))
                    assert client.execute(READ).fetchall() == [(f"{turn}",)]
            assert proxy.hits() == 0
            assert proxy.page("/readyz")[0] == 503
            wait_until(lambda: "wal_level" in proxy.page("/readyz")[1] + proxy.log(), "it says why")
        finally:
            proxy.remove()

    def test_no_right_to_replicate(self, start_proxy, origin, direct):
        direct.execute("grant all on item to app_scram")
        proxy = start_proxy(origin_user="app_scram", ready=False)
        with proxy.connect() as client:
            for turn in range(5):
                client.execute("update item set name = %s where id = 1", (f"{turn}",))
                assert client.execute(READ).fetchall() == [(f"{turn}",)]
        assert proxy.hits() == 0
        assert proxy.page("/healthz")[0] == 200
        direct.execute("update item set name = 'item 1' where id = 1")

    def test_wrong_password_of_pgcache_itself(self, start_proxy, origin):
        proxy = start_proxy(origin_user="app_scram", origin_password="wrong", ready=False)
        assert proxy.query("select count(*) from item") == [(10,)]
        assert proxy.page("/readyz")[0] == 503

    def test_no_slot_free(self, reactor):
        server = Origin(max_replication_slots=1, max_wal_senders=4)
        try:
            with server.connect() as connection:
                connection.execute(SCHEMA)
                connection.execute(
                    "select pg_create_logical_replication_slot('taken', 'pgoutput')")
                proxy = Proxy(server, "postgres", reactor, ready=False)
                try:
                    assert proxy.query(READ) == [("item 1",)]
                    assert proxy.page("/readyz")[0] == 503
                    connection.execute("select pg_drop_replication_slot('taken')")
                    proxy.wait_until_ready(40)
                    proxy.wait_until_cached(READ)
                finally:
                    proxy.remove()
        finally:
            server.remove()

    def test_an_open_transaction_delays_the_slot_and_nothing_else(
            self, start_proxy, origin, database):
        with origin.connect(database) as blocker:
            blocker.execute("begin")
            blocker.execute("update other set name = name")
            blocker.execute("select pg_current_xact_id()")
            proxy = start_proxy(ready=False)
            assert proxy.query(READ) == [("item 1",)]
            blocker.execute("rollback")
        proxy.wait_until_ready(40)
        proxy.wait_until_cached(READ)


class TestPages:
    def test_are_there(self, proxy):
        assert proxy.page("/healthz")[0] == 200
        # Not while a change of the schema by an earlier test is still being noticed.
        wait_until(lambda: proxy.page("/readyz")[0] == 200, "it is ready")
        assert proxy.page("/metrics")[0] == 200
        assert proxy.page("/nothing")[0] == 404
        assert isinstance(proxy.status(), dict)

    def test_metrics_have_help_and_type(self, proxy):
        body = proxy.page("/metrics")[1]
        names = {sample.split("{")[0] for sample in proxy.metrics()}
        assert {"pgcache_queries_cache_hit", "pgcache_cdc_lag_bytes"} <= {
            name.removesuffix("_total") for name in names}
        for name in names:
            base = name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket")
            assert f"# TYPE {base} " in body or f"# TYPE {name} " in body, name

    def test_show_no_constants_of_statements(self, proxy):
        proxy.wait_until_cached("select id from item where name = 'very private'")
        assert "very private" not in proxy.page("/metrics")[1]
        assert "very private" not in proxy.log()


class TestAlterPublicationIsPolite:
    def test_a_lock_on_a_table_delays_only_its_caching(self, start_proxy, origin, database):
        """ALTER PUBLICATION waits behind VACUUM and ALTER TABLE: with a limit, on its own link."""
        proxy = start_proxy()
        with origin.connect(database) as blocker:
            blocker.execute("begin")
            blocker.execute("lock table other in share update exclusive mode")
            for _ in range(10):
                assert proxy.query("select count(*) from other") == [(0,)]
            with origin.connect(database) as writer:
                writer.execute("set lock_timeout = '5s'")
                writer.execute("insert into other values (1, 'x')")
                writer.execute("delete from other")
            blocker.execute("rollback")
        proxy.wait_until_cached("select count(*) from other", seconds=20)

    def test_the_origin_is_usable_by_psycopg_while_the_stream_starts(self, start_proxy):
        proxy = start_proxy(ready=False)
        with pytest.raises(psycopg.errors.UndefinedTable):
            proxy.query("select * from no_such_table")
