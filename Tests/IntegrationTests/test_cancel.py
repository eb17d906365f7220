"""CancelRequest reaches the statement it is for, and nothing else."""
import threading

import psycopg
import pytest

import wire as w
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
"""


def is_sleeping(origin, database):
    return origin.value(
        "select count(*) from pg_stat_activity where state = 'active' and wait_event = 'PgSleep' "
        "and datname = %s", "postgres", (database,)) > 0


def test_a_forwarded_statement_is_cancelled(proxy, origin, database, wire):
    wire.send(w.query("select pg_sleep(60)"))
    wait_until(lambda: is_sleeping(origin, database), "the statement runs on the origin")
    wire.cancel()
    assert w.error(wire.receive_until_ready()) == "57014"
    assert w.rows(wire.ask(w.query("select id from item where id = 1"))) == [[b"1"]]


def test_an_extended_statement_is_cancelled(proxy, origin, database, wire):
    wire.send(w.extended("select pg_sleep(60)"))
    wait_until(lambda: is_sleeping(origin, database), "the statement runs on the origin")
    wire.cancel()
    assert w.error(wire.receive_until_ready()) == "57014"


def test_libpq_cancels(proxy, origin, database, client):
    def cancel():
        wait_until(lambda: is_sleeping(origin, database), "the statement runs on the origin")
        client.cancel_safe()

    other = threading.Thread(target=cancel)
    other.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        client.execute("select pg_sleep(60)")
    other.join()
    assert client.execute("select 1").fetchone() == (1,)


def test_cancels_one_of_several(proxy, origin, database, wire):
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as other:
        other.send(w.query("select pg_sleep(0.7), 'slept'"))
        wire.send(w.query("select pg_sleep(60)"))
        wait_until(lambda: origin.value(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = %s",
            "postgres", (database,)) == 2, "both run")
        wire.cancel()
        assert w.error(wire.receive_until_ready()) == "57014"
        assert w.rows(other.receive_until_ready())[0][1] == b"slept"


def test_a_wrong_key_is_harmless(proxy, origin, database, wire):
    wire.send(w.query("select pg_sleep(0.5), 'slept'"))
    wait_until(lambda: is_sleeping(origin, database), "the statement runs on the origin")
    wire.cancel(wire.key[:4] + bytes(byte ^ 0xFF for byte in wire.key[4:]))
    wire.cancel(b"\0\0\0\0\0\0\0\0")
    assert w.rows(wire.receive_until_ready())[0][1] == b"slept"


def test_an_idle_session_does_not_mind(proxy, wire):
    read = w.query("select id from item where id = 2")
    proxy.wait_until_cached(lambda: wire.ask(read))
    for _ in range(5):
        wire.cancel()
        answer = wire.ask(read)
        # The origin may be told so late that the cancel meets this statement, as without a proxy.
        assert w.types(answer) in ("TDCZ", "EZ", "TEZ")
    assert w.rows(wire.ask(read)) in ([[b"2"]], [])


def test_every_session_has_a_key_of_its_own(proxy, database):
    sessions = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(5)]
    assert len({session.key for session in sessions}) == 5
    for session in sessions:
        session.close()


def test_cancel_of_a_session_that_is_gone(proxy, database, wire):
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as gone:
        key = gone.key
    wire.cancel(key)
    assert w.rows(wire.ask(w.query("select 1"))) == [[b"1"]]


def test_a_truncated_cancel_is_harmless(proxy, wire):
    with w.WireClient(proxy.host, proxy.port) as other:
        other.send(w.request(w.CANCEL_REQUEST, b"\0\0"))
        assert other.is_closed()
    assert w.rows(wire.ask(w.query("select 1"))) == [[b"1"]]
