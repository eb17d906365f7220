"""Answers from the cache: the same bytes as the origin's, to whoever asks the same, and only to them."""
import asyncio

import asyncpg
import pg8000.dbapi
import pytest

import wire as w

SCHEMA = """
create table item (id int primary key, name text, price numeric(10, 2), made timestamptz);
insert into item select i, 'item ' || i, i * 1.5, '2026-01-01 00:00+00'
    from generate_series(1, 30) i;
create table pair (id int primary key, a int, b int, label text, made timestamp);
insert into pair values (1, 10, 20, 'abcdef', '2026-03-04 05:06:07'),
    (2, 30, 40, 'ghijkl', '2025-07-08 09:10:11'), (3, 50, 60, null, null);
create table tab123456 (id int primary key, t text);
insert into tab123456 values (1, 'six');
create table tab123457 (id int primary key, t text);
insert into tab123457 values (1, 'seven');
"""

# Each list holds statements that a careless key would take for one another (traps 144 and 144a).
LOOK_ALIKES = [
    ["select a, b from pair order by id", "select b, a from pair order by id"],
    ["select id as a from pair order by id", "select id as b from pair order by id",
     "select id from pair order by id"],
    ["select nullif(a, b) from pair order by id", "select nullif(b, a) from pair order by id"],
    ["select div(a, b) from pair order by id", "select div(b, a) from pair order by id"],
    ["select id from pair where id in (1)", "select id from pair where id in (1, 2, 3)",
     "select id from pair where id in (1, 2)"],
    ["select id from pair order by id limit 1", "select id from pair order by id limit 1 offset 2",
     "select id from pair order by id limit 2", "select id from pair order by id"],
    ["select 1 from pair", "select '1' from pair", "select null from pair",
     "select 1::int from pair", "select 1.0 from pair", "select 1.00 from pair",
     "select 1::bigint from pair", "select 1::text from pair", "select b'1' from pair"],
    ["select extract(year from made) from pair order by id",
     "select extract(day from made) from pair order by id",
     "select date_part('day', made) from pair order by id"],
    ["select label::varchar(3) from pair order by id",
     "select label::varchar(5) from pair order by id",
     "select label::varchar from pair order by id", "select label::char(3) from pair order by id"],
    ["select t from tab123456", "select t from tab123457"],
    ["select id, a from pair order by 1 desc", "select id, a from pair order by 2",
     "select id, a from pair order by 1"],
    ["select label from pair where label = 'abcdef'", "select label from pair where label = 'ABCDEF'",
     "select label from pair where label = 'abcdef '"],
    ["select id from pair where a = 10 and b = 20", "select id from pair where a = 20 and b = 10",
     "select id from pair where a = 10 or b = 40"],
    ["select id from pair where a < 30", "select id from pair where a <= 30",
     "select id from pair where a > 30"],
    ["select count(*) from pair", "select count(label) from pair", "select count(*) as c from pair",
     "select count(distinct a) from pair"],
    ["select id from pair where label is null", "select id from pair where label is not null"],
    ["select id from pair where not a = 10", "select id from pair where a = 10"],
    ["select \"id\" from pair", "select id AS \"ID\" from pair", "select ID from pair"],
    ["select 'a' from pair", "select 'A' from pair", "select E'a' from pair",
     "select U&'a' from pair", "select $$a$$ from pair"],
    ["select p.id, q.id from pair p join pair q on p.id = q.id order by 1",
     "select q.id, p.id from pair p join pair q on p.id = q.id order by 1",
     "select p.id, q.id from pair p left join pair q on p.id = q.id + 1 order by 1"],
    ["select id from pair order by a", "select id from pair order by a desc",
     "select id from pair order by label nulls first", "select id from pair order by label"],
    ["select a + b from pair order by id", "select a - b from pair order by id",
     "select a * b from pair order by id"],
    ["select a/2 from pair order by id", "select a/2.0 from pair order by id"],
    ["select * from pair order by id", "select id, a, b, label, made from pair order by id",
     "select pair.* from pair order by id"],
    ["select id from pair where label like 'a%'", "select id from pair where label like 'g%'",
     "select id from pair where label ilike 'A%'", "select id from pair where label not like 'a%'"],
    ["select id from pair -- where id = 1", "select id from pair -- where\nwhere id = 1"],
    ["select id from pair where id between 1 and 2", "select id from pair where id between 2 and 1",
     "select id from pair where id between symmetric 2 and 1"],
    ["select distinct a > 20 from pair", "select a > 20 from pair", "select all a > 20 from pair"],
]


@pytest.mark.parametrize("statements", LOOK_ALIKES, ids=lambda s: s[0][:40])
class TestLookAlikes:
    def test_keep_apart_cold_and_warm(self, proxy, wire, origin_wire, statements):
        asks = (w.query, w.extended, lambda sql: w.extended(sql, results=(1,)))
        expected = [[origin_wire.ask(ask(sql)) for sql in statements] for ask in asks]
        for _ in range(4):
            for ask, answers in zip(asks, expected):
                for sql, answer in zip(statements, answers):
                    assert wire.ask(ask(sql)) == answer, sql

    def test_keep_apart_when_each_is_cached(self, proxy, wire, origin_wire, statements):
        for sql in statements + statements[::-1]:
            answer = proxy.wait_until_cached(lambda: wire.ask(w.query(sql)))
            assert answer == origin_wire.ask(w.query(sql)), sql


POINT = "select id, name, price, made from item where id = $1"


class TestForms:
    """The same question in every form that the protocol has."""

    FORMS = {
        "simple": lambda: [w.query("select id, name, price, made from item where id = 7")],
        "extended, text": lambda: [w.extended(POINT, ("7",))],
        "extended, binary": lambda: [w.extended(POINT, ("7",), results=(1,))],
        "extended, mixed": lambda: [w.extended(POINT, ("7",), results=(0, 1, 0, 1))],
        "extended, typed": lambda: [w.extended(POINT, ("7",), types=(23,))],
        "extended, binary parameter": lambda: [
            w.parse(POINT), w.bind(values=(b"\0\0\0\x07",), formats=(1,)), w.describe_portal(),
            w.execute(), w.SYNC],
        "without describe": lambda: [
            w.parse(POINT), w.bind(values=("7",)), w.execute(), w.SYNC],
        "described as a statement": lambda: [
            w.parse(POINT), w.describe_statement(), w.bind(values=("7",)), w.execute(), w.SYNC],
        "a constant": lambda: [
            w.extended("select id, name, price, made from item where id = 7")],
        "no row": lambda: [w.extended(POINT, ("700",))],
        "null": lambda: [w.extended(POINT, (None,))],
        "many rows": lambda: [w.extended("select * from item where id > $1 order by id", ("3",))],
        "aggregate": lambda: [w.query("select count(*), sum(price) from item where id < 9")],
        "closed after use": lambda: [
            w.parse(POINT, "c"), w.bind("c", ("7",), portal="p"), w.describe_portal("p"),
            w.execute("p"), w.close_portal("p"), w.close_statement("c"), w.SYNC],
    }

    @pytest.mark.parametrize("form", FORMS)
    def test_equals_the_origins_answer(self, proxy, wire, origin_wire, form):
        messages = self.FORMS[form]()
        expected = origin_wire.ask(*messages)
        assert wire.ask(*messages) == expected
        if form in ("closed after use", "described as a statement", "without describe"):
            for _ in range(4):
                assert wire.ask(*messages) == expected
        else:
            assert proxy.wait_until_cached(lambda: wire.ask(*messages)) == expected

    def test_prepared_once_executed_often(self, proxy, wire, origin_wire):
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT, "often"), w.describe_statement("often"), w.SYNC)
        request = (w.bind("often", ("7",)), w.execute(), w.SYNC)
        expected = origin_wire.ask(*request)
        assert proxy.wait_until_cached(lambda: wire.ask(*request)) == expected
        binary = (w.bind("often", ("7",), results=(1,)), w.execute(), w.SYNC)
        expected = origin_wire.ask(*binary)
        assert proxy.wait_until_cached(lambda: wire.ask(*binary)) == expected
        assert wire.ask(*request) != expected

    def test_sessions_share_answers(self, proxy, database):
        read = w.query("select name from item where id = 8")
        clients = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(5)]
        proxy.wait_until_cached(lambda: clients[0].ask(read))
        proxy.wait_until_cached(lambda: clients[1].ask(read))
        with proxy.expect_hits(3):
            assert all(w.rows(client.ask(read)) == [[b"item 8"]] for client in clients[2:])
        for client in clients:
            client.close()

    @pytest.mark.cached
    def test_the_origin_does_not_see_hits(self, proxy, origin, database, wire):
        read = "select name, 'unseen by the origin' as remark from item where id = 9"
        proxy.wait_until_cached(lambda: wire.ask(w.query(read)))
        calls = ("select coalesce(sum(calls), 0) from pg_stat_statements where query like "
                 "'%%remark from item%%' and query not like '%%pg_stat%%' "
                 "and dbid = (select oid from pg_database where datname = %s)")
        before = origin.value(calls, "postgres", (database,))
        with proxy.expect_hits(100):
            for _ in range(100):
                wire.ask(w.query(read))
        assert origin.value(calls, "postgres", (database,)) == before


class TestDrivers:
    def test_psycopg_text_and_binary(self, proxy, client, direct):
        sql = "select id, name, price, made from item where id = %s"
        for binary in (False, True):
            ask = lambda: client.execute(sql, (7,), binary=binary).fetchall()  # noqa: E731
            assert proxy.wait_until_cached(ask) == direct.execute(sql, (7,)).fetchall()

    def test_psycopg_prepared(self, proxy, client, direct):
        sql = "select id, name, price, made from item where id = %s"
        ask = lambda: client.execute(sql, (8,), prepare=True).fetchall()  # noqa: E731
        assert proxy.wait_until_cached(ask) == direct.execute(sql, (8,)).fetchall()

    def test_asyncpg(self, proxy, direct):
        async def ask():
            connection = await asyncpg.connect(proxy.url(), ssl=False)
            try:
                answers = set()
                for _ in range(30):
                    answers.add(tuple(await connection.fetchrow(POINT, 9)))
                return answers
            finally:
                await connection.close()

        expected = direct.execute("select id, name, price, made from item where id = 9").fetchone()
        with proxy.connect() as connection:
            proxy.wait_until_cached(lambda: connection.execute("select id from item").fetchall())
        before = proxy.hits()
        assert asyncio.run(ask()) == {expected}
        proxy.wait_until_cached(lambda: asyncio.run(ask()))
        assert proxy.hits() >= before

    def test_pg8000(self, proxy, direct):
        connection = pg8000.dbapi.connect(
            user="postgres", host=proxy.host, port=proxy.port, database=proxy.database)
        connection.autocommit = True
        cursor = connection.cursor()

        def ask():
            cursor.execute("select id, name, price, made from item where id = %s", (10,))
            return [tuple(row) for row in cursor.fetchall()]

        expected = direct.execute("select id, name, price, made from item where id = 10").fetchall()
        assert proxy.wait_until_cached(ask) == expected
        connection.close()
