"""Concurrent identical misses share one execution on the origin (rule S6)."""
import threading

import pytest

import wire as w
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, name text, price int);
insert into item select i, 'item ' || i, i from generate_series(1, 3000) i;
create table lone (id int primary key);
"""

# Slow because of its size, and cacheable.
SLOW = ("select count(*), '{}' as mark from item a join item b on a.price <= b.price "
        "where a.price < 2500")

pytestmark = pytest.mark.cached


def calls(origin, database, mark):
    return origin.value(
        "select coalesce(sum(calls), 0)::int from pg_stat_statements s join pg_database d "
        "on d.oid = s.dbid where datname = %s and query like %s "
        "and query not like '%%pg_stat%%'", "postgres", (database, "%a.price <= b.price%"))


def together(proxy, count, sql):
    """The same statement by `count` clients at once; their answers."""
    clients = [w.WireClient.logged_in(proxy.host, proxy.port, proxy.database) for _ in range(count)]
    for client in clients:
        client.send(w.query(sql))
    answers = [client.receive_until_ready() for client in clients]
    for client in clients:
        client.close()
    return answers


def test_one_execution_for_many(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    before = calls(origin, database, "many")
    answers = together(proxy, 16, SLOW.format("many"))
    assert all(answer == answers[0] for answer in answers)
    assert calls(origin, database, "many") - before == 1


def test_a_slow_leader_releases_its_followers(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="10ms")
    proxy.wait_until_cached("select count(*) from item")
    answers = together(proxy, 8, SLOW.format("slow leader"))
    assert all(answer == answers[0] for answer in answers)


def test_a_leader_that_vanishes(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    sql = w.query(SLOW.format("vanished leader"))
    leader = w.WireClient.logged_in(proxy.host, proxy.port, database)
    leader.send(sql)
    wait_until(lambda: origin.value(
        "select count(*) from pg_stat_activity where query like '%%vanished leader%%' "
        "and state = 'active' and pid <> pg_backend_pid()") > 0, "the leader is under way")
    followers = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(4)]
    for client in followers:
        client.send(sql)
    leader.close()
    for client in followers:
        assert w.types(client.receive_until_ready()) == "TDCZ"
        client.close()


def test_a_leader_that_is_cancelled(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    sql = w.query(SLOW.format("cancelled leader"))
    leader = w.WireClient.logged_in(proxy.host, proxy.port, database)
    leader.send(sql)
    wait_until(lambda: origin.value(
        "select count(*) from pg_stat_activity where query like '%%cancelled leader%%' "
        "and state = 'active' and pid <> pg_backend_pid()") > 0, "the leader is under way")
    followers = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(4)]
    for client in followers:
        client.send(sql)
    leader.cancel()
    assert w.types(leader.receive_until_ready()) in ("EZ", "TEZ", "TDCZ")
    for client in followers:
        assert w.types(client.receive_until_ready()) == "TDCZ"
        client.close()
    leader.close()


def test_a_follower_can_be_cancelled(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    sql = w.query(SLOW.format("cancelled follower"))
    leader, follower = (
        w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(2))
    leader.send(sql)
    follower.send(sql)
    follower.cancel()
    assert w.types(leader.receive_until_ready()) == "TDCZ"
    assert w.types(follower.receive_until_ready()) in ("EZ", "TEZ", "TDCZ")
    assert w.types(follower.ask(w.query("select 1"))) == "TDCZ"
    leader.close()
    follower.close()


def test_a_follower_after_a_change_gets_the_answer_after_it(start_proxy, origin, database, direct):
    """Who asks after a change was made and acknowledged to it must not get what was read before."""
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from lone")
    problems = []
    stop = threading.Event()

    def others():
        """Keeps the same miss under way all the time."""
        try:
            with proxy.connect() as connection:
                while not stop.is_set():
                    connection.execute("select max(id), count(*) from lone")
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=others) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with proxy.connect() as writer:
            for key in range(1, 300):
                writer.execute(f"insert into lone values ({key})")
                assert writer.execute("select max(id), count(*) from lone").fetchone() == (key, key)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not problems


def test_who_asks_after_a_change_does_not_wait_for_an_older_leader(start_proxy, origin, database, direct):
    """The change was received: the answer that is still being made is of before it."""
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    for number in range(3):
        sql = SLOW.format(f"older leader {number}")
        leader, follower = (w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(2))
        leader.send(w.query(sql))
        wait_until(lambda: origin.value(
            "select count(*) from pg_stat_activity where state = 'active' and query like %s",
            parameters=(f"%older leader {number}%",)) > 0, "the leader is under way")
        received = proxy.metric("pgcache_cdc_inserts")
        direct.execute(f"insert into item values ({90_000 + number}, 'late', 2000)")
        wait_until(lambda: proxy.metric("pgcache_cdc_inserts") > received, "the change was received")
        answer = follower.ask(w.query(sql))
        assert w.rows(answer)[0][0] == str(direct.execute(sql).fetchone()[0]).encode()
        leader.receive_until_ready()
        for client in (leader, follower):
            client.close()


def test_rights_are_not_shared_by_coalescing(start_proxy, origin, database):
    proxy = start_proxy(coalesce_timeout="20s")
    proxy.wait_until_cached("select count(*) from item")
    sql = w.query(SLOW.format("rights"))
    leader = w.WireClient.logged_in(proxy.host, proxy.port, database)
    stranger = w.WireClient.logged_in(proxy.host, proxy.port, database, "app_trust")
    leader.send(sql)
    stranger.send(sql)
    assert w.error(stranger.receive_until_ready()) == "42501"
    assert w.types(leader.receive_until_ready()) == "TDCZ"
    leader.close()
    stranger.close()
