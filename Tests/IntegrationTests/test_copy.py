"""COPY in every direction and protocol, and what it changes."""
import os
import subprocess

import pytest

import wire as w
from origin import BINARIES

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
create table filled (id int primary key, name text);
create table big (id int primary key, filler text);
"""

COUNT = "select count(*), min(name) from filled"


@pytest.fixture(autouse=True)
def empty(direct):
    direct.execute("truncate filled, big")


def test_psql_copies_in_and_out(proxy, tmp_path):
    (tmp_path / "in.csv").write_text("1,one\n2,two\n")
    done = subprocess.run(
        [str(BINARIES / "psql"), "-X", "-q", "-h", proxy.host, "-p", str(proxy.port),
         "-U", "postgres", "-d", proxy.database,
         "-c", f"\\copy filled from {tmp_path}/in.csv csv",
         "-c", f"\\copy (select * from filled order by id) to {tmp_path}/out.csv csv"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text() == "1,one\n2,two\n"


def test_psycopg_copies_in_and_the_cached_answer_changes(proxy, client):
    proxy.wait_until_cached(COUNT)
    with client.cursor().copy("copy filled from stdin") as copy:
        for key in range(100):
            copy.write_row((key, f"name {key}"))
    # The session that wrote sees it at once, everybody else soon.
    assert client.execute(COUNT).fetchall() == [(100, "name 0")]
    proxy.wait_until_answer(COUNT, [(100, "name 0")])


def test_psycopg_copies_out(client):
    with client.cursor().copy("copy item to stdout") as copy:
        assert list(copy.rows())[:2] == [("1", "item 1"), ("2", "item 2")]


def test_binary_copy(client):
    with client.cursor().copy("copy filled from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        copy.write_row((7, "seven"))
    with client.cursor().copy("copy filled to stdout (format binary)") as copy:
        copy.set_types(["int4", "text"])
        assert list(copy.rows()) == [(7, "seven")]


def test_a_large_copy_both_ways(client):
    row = b"%d\t" + b"x" * 1000 + b"\n"
    with client.cursor().copy("copy big from stdin") as copy:
        for key in range(20_000):
            copy.write(row % key)
    received = 0
    with client.cursor().copy("copy big to stdout") as copy:
        for chunk in copy:
            received += len(chunk)
    assert received > 20_000_000
    assert client.execute("select count(*), sum(length(filler)) from big").fetchone() \
        == (20_000, 20_000_000)


def test_copy_fail(proxy, wire, origin_wire):
    for client in (wire, origin_wire):
        client.send(w.query("copy filled from stdin"))
        assert client.receive().type == "G"
        client.send(w.copy_data(b"1\tone\n"), w.copy_fail("changed my mind"))
    assert wire.receive_until_ready() == origin_wire.receive_until_ready()
    assert w.rows(wire.ask(w.query("select count(*) from filled"))) == [[b"0"]]


def test_copy_error(proxy, wire, origin_wire):
    for client in (wire, origin_wire):
        client.send(w.query("copy filled from stdin"))
        assert client.receive().type == "G"
        client.send(w.copy_data(b"not a number\tone\n"), w.COPY_DONE)
    assert wire.receive_until_ready() == origin_wire.receive_until_ready()


def test_copy_in_through_the_extended_protocol(wire, origin_wire, direct):
    answers = []
    for client in (origin_wire, wire):
        direct.execute("truncate filled")
        client.send(w.parse("copy filled from stdin"), w.bind(), w.execute(), w.FLUSH)
        got = client.receive_until("G")
        client.send(w.copy_data(b"1\tone\n"), w.copy_data(b"2\ttwo\n"), w.COPY_DONE, w.SYNC)
        answers.append(got + client.receive_until_ready())
    assert answers[0] == answers[1]
    assert w.rows(wire.ask(w.query("select count(*) from filled"))) == [[b"2"]]


def test_copy_out_through_the_extended_protocol(wire, origin_wire):
    request = (w.parse("copy item to stdout"), w.bind(), w.execute(), w.SYNC)
    assert wire.ask(*request) == origin_wire.ask(*request)


def test_copy_within_a_pipeline_of_cached_answers(proxy, wire, origin_wire):
    read = w.query("select id, name from item where id = 3")
    proxy.wait_until_cached(lambda: wire.ask(read))
    for client in (wire, origin_wire):
        client.send(read, w.query("copy item to stdout"), read)
    for _ in range(3):
        assert wire.receive_until_ready() == origin_wire.receive_until_ready()


def test_sync_sent_during_copy_in_is_ignored_by_the_origin(proxy, wire, origin_wire, direct):
    answers = []
    for client in (origin_wire, wire):
        direct.execute("truncate filled")
        client.send(w.query("copy filled from stdin"))
        got = client.receive_until("G")
        client.send(w.copy_data(b"1\tone\n"), w.SYNC, w.FLUSH, w.copy_data(b"2\ttwo\n"), w.COPY_DONE)
        answers.append(got + client.receive_until_ready())
    assert answers[0] == answers[1]


def test_a_client_that_vanishes_during_copy_leaves_nothing(proxy, origin, database):
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
        client.send(w.query("copy filled from stdin"))
        client.receive_until("G")
        client.send(w.copy_data(b"1\tone\n"))
    proxy.wait_until_answer("select count(*) from filled", [(0,)])


def test_an_error_of_the_client_inside_psycopg_copy(client):
    with pytest.raises(KeyError):
        with client.cursor().copy("copy filled from stdin") as copy:
            copy.write_row((1, "one"))
            raise KeyError("the application failed")
    assert client.execute("select count(*) from filled").fetchone() == (0,)
