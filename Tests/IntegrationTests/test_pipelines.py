"""Several requests under way at once: answers keep the order of requests, whatever mixes hits and
forwards, and an error skips to Sync (rule S3)."""
import asyncio

import asyncpg
import psycopg
import pytest

import wire as w

SCHEMA = """
create table item (id int primary key, name text not null, price int);
insert into item select i, 'item ' || i, i * 10 from generate_series(1, 100) i;
create table log_line (id int primary key, line text);
"""

CACHED = "select id, name, price from item where id = {}"
# Volatile, so never cached; its answer is the same each time, so that two servers can be compared.
FORWARDED = "select id, name, random() < 2 as maybe from item where id = {}"


def warm(proxy, wire, *requests):
    for request in requests:
        proxy.wait_until_cached(lambda: wire.ask(request))


class TestSimpleQueriesInOnePacket:
    def test_hits_and_misses_keep_their_order(self, proxy, wire, origin_wire):
        warm(proxy, wire, w.query(CACHED.format(1)), w.query(CACHED.format(2)))
        statements = [CACHED.format(1), FORWARDED.format(3), CACHED.format(2), FORWARDED.format(4),
                      CACHED.format(5), CACHED.format(1)]
        for client in (wire, origin_wire):
            client.send(*[w.query(sql) for sql in statements])
        for sql in statements:
            ours, theirs = wire.receive_until_ready(), origin_wire.receive_until_ready()
            assert ours == theirs, sql

    def test_an_error_leaves_the_next_query_alone(self, proxy, wire):
        warm(proxy, wire, w.query(CACHED.format(1)))
        wire.send(w.query(CACHED.format(1)), w.query("select 1/0"), w.query(CACHED.format(1)))
        first, second, third = (wire.receive_until_ready() for _ in range(3))
        assert w.types(first) == w.types(third) == "TDCZ"
        assert w.error(second) == "22012"

    def test_an_error_behind_rows_is_given_each_time(self, proxy, wire, origin_wire):
        warm(proxy, wire, w.query(CACHED.format(1)))
        divides = w.query("select 10 / (id - 5) from item")
        expected = origin_wire.ask(divides)
        assert w.error(expected) == "22012"
        for _ in range(50):
            assert wire.ask(divides) == expected

    def test_a_thousand_queries_get_a_thousand_answers(self, proxy, wire):
        warm(proxy, wire, *[w.query(CACHED.format(i)) for i in (1, 2)])
        keys = [i % 7 + 1 for i in range(1000)]
        wire.send(*[w.query((FORWARDED if key == 3 else CACHED).format(key)) for key in keys])
        for key in keys:
            assert w.rows(wire.receive_until_ready())[0][0] == str(key).encode()


class TestExtendedPipelines:
    def test_hits_and_misses_before_one_sync(self, proxy, wire, origin_wire):
        cached, forwarded = CACHED.format("$1"), FORWARDED.format("$1")
        warm(proxy, wire, w.extended(cached, ("1",)), w.extended(cached, ("2",)))

        def one(sql, key):
            return w.parse(sql) + w.bind(values=(key,)) + w.describe_portal() + w.execute()

        pipeline = [one(cached, "1"), one(forwarded, "3"), one(cached, "2"), one(cached, "9"),
                    one(forwarded, "4"), one(cached, "1"), w.SYNC]
        assert wire.ask(*pipeline) == origin_wire.ask(*pipeline)

    def test_each_with_its_own_sync(self, proxy, wire, origin_wire):
        cached, forwarded = CACHED.format("$1"), FORWARDED.format("$1")
        warm(proxy, wire, w.extended(cached, ("1",)))
        requests = [w.extended(cached, ("1",)), w.extended(forwarded, ("3",)),
                    w.extended(cached, ("1",)), w.extended(cached, ("8",))]
        for client in (wire, origin_wire):
            client.send(*requests)
        for _ in requests:
            assert wire.receive_until_ready() == origin_wire.receive_until_ready()

    def test_an_error_skips_to_sync(self, proxy, wire, origin_wire):
        cached = CACHED.format("$1")
        warm(proxy, wire, w.extended(cached, ("1",)))
        one = w.parse(cached) + w.bind(values=("1",)) + w.describe_portal() + w.execute()
        broken = w.parse("select no_such_column from item") + w.bind() + w.execute()
        pipeline = [one, broken, one, one, w.SYNC]
        ours, theirs = wire.ask(*pipeline), origin_wire.ask(*pipeline)
        assert ours == theirs
        assert w.types(ours) == "12TDCEZ"
        assert wire.ask(one, w.SYNC) == origin_wire.ask(one, w.SYNC)

    def test_an_error_in_execution_skips_to_sync(self, proxy, wire, origin_wire):
        cached = CACHED.format("$1")
        one = w.parse(cached) + w.bind(values=("1",)) + w.execute()
        divides = w.parse("select 10 / (id - 5) from item order by id") + w.bind() + w.execute()
        pipeline = [one, divides, one, w.SYNC, one, w.SYNC]
        for client in (wire, origin_wire):
            client.send(*pipeline)
        for _ in range(2):
            assert wire.receive_until_ready() == origin_wire.receive_until_ready()

    def test_a_write_is_seen_by_the_read_behind_it(self, proxy, wire):
        read = "select count(*) from log_line"
        proxy.wait_until_cached(lambda: wire.ask(w.extended(read)))
        before = int(w.rows(wire.ask(w.extended(read)))[0][0])
        answer = wire.ask(
            w.parse(read) + w.bind() + w.execute(),
            w.parse(f"insert into log_line values ({before + 1}, 'x')") + w.bind() + w.execute(),
            w.parse(read) + w.bind() + w.execute(), w.SYNC)
        counts = [int(row[0]) for row in w.rows(answer)]
        assert counts == [before, before + 1]

    def test_a_write_rolled_back_by_an_error_in_the_same_pipeline_is_gone(self, proxy, wire):
        read = w.extended("select count(*) from log_line where id > 1000")
        answer = wire.ask(
            w.parse("insert into log_line values (1001, 'x')") + w.bind() + w.execute(),
            w.parse("select 1/0") + w.bind() + w.execute(), w.SYNC)
        assert w.error(answer) == "22012"
        assert w.rows(wire.ask(read)) == [[b"0"]]
        assert w.rows(proxy.wait_until_cached(lambda: wire.ask(read))) == [[b"0"]]

    def test_what_a_read_saw_of_a_write_that_is_rolled_back_is_not_kept(self, proxy, wire):
        """The statement is known, and this parameter was never asked: nothing else forbids to keep the answer."""
        read = "select name, 'rolled back' as why from item where id = $1"

        def ask(key):
            return w.parse(read) + w.bind("", [str(key)]) + w.execute()

        warm(proxy, wire, ask(1) + w.SYNC)
        for key in range(60, 64):
            answer = wire.ask(
                w.parse(f"update item set name = 'undone' where id = {key}") + w.bind() + w.execute()
                + ask(key) + w.parse("select 1 / (id - id) from item where id = 1") + w.bind() + w.execute() + w.SYNC)
            assert w.rows(answer)[0][0] == b"undone" and w.error(answer) == "22012"
            answer = proxy.wait_until_cached(lambda: wire.ask(ask(key) + w.SYNC))
            assert w.rows(answer) == [[f"item {key}".encode(), b"rolled back"]]

    def test_sync_alone_is_answered(self, wire):
        wire.send(w.SYNC, w.SYNC, w.SYNC)
        assert [wire.receive().status() for _ in range(3)] == ["I", "I", "I"]


class TestFlush:
    def test_answers_come_without_sync(self, proxy, wire, origin_wire):
        cached = CACHED.format("$1")
        warm(proxy, wire, w.extended(cached, ("1",)))
        for sql in (cached, FORWARDED.format("$1")):
            answers = []
            for client in (wire, origin_wire):
                client.send(w.parse(sql), w.FLUSH)
                got = client.receive_until("1")
                client.send(w.bind(values=("1",)), w.describe_portal(), w.FLUSH)
                got += client.receive_until("T")
                client.send(w.execute(), w.FLUSH)
                got += client.receive_until("C")
                client.send(w.SYNC)
                answers.append(got + client.receive_until_ready())
            assert answers[0] == answers[1]

    def test_flush_after_an_error_shows_the_error(self, wire):
        wire.send(w.parse("select from"), w.FLUSH)
        assert w.error(wire.receive_until("E")) == "42601"
        wire.send(w.bind(), w.FLUSH, w.execute(), w.SYNC)
        assert w.types(wire.receive_until_ready()) == "Z"


class TestDrivers:
    def test_psycopg_pipeline(self, proxy, client):
        ask = lambda: client.execute(CACHED.format("%s"), (1,)).fetchall()  # noqa: E731
        proxy.wait_until_cached(ask)
        with client.pipeline() as pipeline:
            cursors = []
            for key in (1, 2, 3, 1, 4):
                cursor = client.cursor()
                cursor.execute((FORWARDED if key == 3 else CACHED).format("%s"), (key,))
                cursors.append((key, cursor))
            pipeline.sync()
            assert [cursor.fetchone()[0] for _, cursor in cursors] == [1, 2, 3, 1, 4]

    def test_psycopg_pipeline_with_an_error(self, proxy, client):
        with pytest.raises(psycopg.errors.DivisionByZero):
            with client.pipeline():
                client.execute(CACHED.format(1))
                client.execute("select 1/0")
                client.execute(CACHED.format(2))
        assert client.execute(CACHED.format(2)).fetchone() == (2, "item 2", 20)

    def test_psycopg_executemany_returning(self, proxy, client):
        cursor = client.cursor()
        cursor.executemany("insert into log_line values (%s, %s) returning id",
                           [(5000 + i, "x") for i in range(20)], returning=True)
        ids = []
        while True:
            ids.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
        assert ids == list(range(5000, 5020))
        client.execute("delete from log_line where id >= 5000")

    def test_asyncpg_repeats_a_prepared_statement(self, proxy):
        async def ask():
            connection = await asyncpg.connect(proxy.url(), ssl=False)
            try:
                statement = await connection.prepare(CACHED.format("$1"))
                answers = [[tuple(row) for row in await statement.fetch(key)]
                           for key in (1, 2, 1, 2, 1, 999)]
                return answers
            finally:
                await connection.close()

        one, two = [(1, "item 1", 10)], [(2, "item 2", 20)]
        assert asyncio.run(ask()) == [one, two, one, two, one, []]
