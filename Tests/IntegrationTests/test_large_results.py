"""Results larger than any buffer, and clients slower than the origin: nobody else waits for them, and
the proxy holds no more of a result than its buffers do."""
import threading
import time

import pytest

import wire as w
from proxy import DIRECT
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
create table wide (id int primary key, body text);
alter table wide alter column body set storage external;
insert into wide select i, repeat('abcdefgh', 128 * 25) from generate_series(1, 40) i;
"""

HUGE = "select i, repeat('x', 1000) from generate_series(1, 130000) i"
MEGABYTE = 1 << 20


def test_is_complete(proxy, client):
    count = size = 0
    with client.cursor() as cursor:
        for number, text in cursor.stream(HUGE):
            count += 1
            size += len(text)
            assert number == count
    assert (count, size) == (130_000, 130_000_000)


@pytest.mark.cached
def test_a_slow_reader_stops_nobody_and_costs_no_memory(proxy, database):
    with proxy.connect() as other:
        ask = lambda: other.execute("select name from item where id = 1").fetchall()  # noqa: E731
        proxy.wait_until_cached(ask)
        before = proxy.resident_bytes()
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as slow:
            slow.send(w.query(HUGE))
            slow.receive()  # the description, and then nothing for a while
            slowest = 0.0
            for turn in range(500):
                started = time.monotonic()
                ask()
                other.execute("select count(*) from item, generate_series(1, 1)")
                slowest = max(slowest, time.monotonic() - started)
            assert proxy.resident_bytes() - before < 32 * MEGABYTE
            assert slowest < 1.0
            # And all of it is still there for whoever takes the time.
            received = len(slow.buffer)
            while not slow.buffer.endswith(b"Z\0\0\0\5I"):
                chunk = slow.socket.recv(MEGABYTE)
                assert chunk
                received += len(chunk)
                slow.buffer = bytearray((bytes(slow.buffer) + chunk)[-6:])
            assert received > 130 * MEGABYTE * 0.9
        assert proxy.resident_bytes() - before < 32 * MEGABYTE


@pytest.mark.cached
def test_several_slow_readers(proxy, database):
    before = proxy.resident_bytes()
    slow = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(8)]
    for client in slow:
        client.send(w.query(HUGE))
        client.receive()
    for _ in range(50):
        assert proxy.query("select name from item where id = 2") == [("item 2",)]
    assert proxy.resident_bytes() - before < 64 * MEGABYTE
    for client in slow:
        client.close()
    wait_until(lambda: proxy.origin.value(
        "select count(*) from pg_stat_activity where query like '%%generate_series(1, 130000)%%' "
        "and pid <> pg_backend_pid() and datname = %s", "postgres", (database,)) == 0,
        "their backends are gone", 20)


@pytest.mark.cached
def test_a_client_that_sends_and_never_reads(proxy, database):
    """Its answers fill every buffer; then its requests wait, and only its own."""
    before = proxy.resident_bytes()
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as deaf:
        deaf.socket.settimeout(0.3)
        request = w.query("select * from wide")
        proxy.wait_until_cached(lambda: proxy.query("select id, body from wide where id = 1"))
        try:
            for _ in range(20_000):
                deaf.send(request)
        except TimeoutError:
            pass
        for _ in range(100):
            assert proxy.query("select name from item where id = 3") == [("item 3",)]
        assert proxy.resident_bytes() - before < 64 * MEGABYTE


@pytest.mark.cached
def test_slow_readers_of_one_cached_answer_that_changes_meanwhile(proxy, direct, database):
    """An entry that is being sent outlives its invalidation, for those who already have a part."""
    read = w.query("select id, body from wide order by id limit 30")
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as first:
        expected = proxy.wait_until_cached(lambda: first.ask(read))
    # Eight times the answer is more than the kernel takes: the proxy must hold on to the entry.
    slow = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(6)]
    for client in slow:
        client.send(*[read] * 8)
    direct.execute("update wide set body = 'short' where id = 1")
    proxy.wait_until_answer("select body from wide where id = 1", [("short",)])
    # All but those that were asked after the change was known have the answer from before; nobody
    # has a mixture.
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as late:
        changed = late.ask(read)
    for client in slow:
        answers = [client.receive_until_ready() for _ in range(8)]
        assert all(answer in (expected, changed) for answer in answers)
        # And nobody goes back from the new one to the old.
        assert [answer == expected for answer in answers] == sorted(
            (answer == expected for answer in answers), reverse=True)
        client.close()


def test_one_long_value(proxy, wire, origin_wire):
    sql = "select repeat('x', 60000000)"
    ours, theirs = wire.ask(w.query(sql)), origin_wire.ask(w.query(sql))
    assert ours == theirs


def test_a_long_parameter(client):
    value = "y" * 30_000_000
    assert client.execute("select length(%s::text)", (value,)).fetchone() == (30_000_000,)


def test_many_large_results_at_once(proxy):
    problems = []

    def work():
        try:
            with proxy.connect() as connection, connection.cursor() as cursor:
                rows = sum(1 for _ in cursor.stream(
                    "select i, repeat('x', 1000) from generate_series(1, 10000) i"))
                assert rows == 10_000
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert DIRECT or proxy.alive()
