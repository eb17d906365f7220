"""Rows that were loaded for one query answer narrower ones that nobody has asked before.

Each test loads a wide query, stops the origin's backend of the session that asks, and asks a narrower query for the
first time: an answer can come from rows alone.
"""
import os
import signal
from contextlib import contextmanager

import pytest

import wire as w
from proxy import Proxy
from rowtier import FRAGMENTS, ROWS, SUBSUMPTIONS, wait_for_rows

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table users (id int primary key, tenant_id int, status text, name text);
insert into users select i, i % 5, (array['active', 'locked', null])[i % 3 + 1], 'user ' || i
    from generate_series(1, 300) i;
create table item (id int primary key, value int, cost numeric(8,2), made timestamp, code text collate "C", kind int);
insert into item select i, i * 5 % 250, i * 0.5, timestamp '2026-01-01' + i * interval '1 hour', 'code' || i, i % 4
    from generate_series(1, 300) i;
create table part (id int primary key, item_id int, kind int, amount int);
insert into part select i, i % 300 + 1, i % 3, i from generate_series(1, 600) i;
"""


@pytest.fixture(scope="module")
def proxy(origin, database, reactor):
    """Loads fragments."""
    process = wait_for_rows(Proxy(origin, database, reactor, **FRAGMENTS))
    yield process
    process.remove()


@pytest.fixture(scope="module")
def whole(origin, database, reactor):
    """Loads whole tables."""
    process = wait_for_rows(Proxy(origin, database, reactor, **ROWS))
    yield process
    process.remove()


@contextmanager
def stopped_backend(origin, application: str):
    """The origin does not answer the session meanwhile."""
    process = origin.value("select pid from pg_stat_activity where application_name = %s", parameters=(application,))
    try:
        os.kill(process, signal.SIGSTOP)
        yield
    finally:
        os.kill(process, signal.SIGCONT)


# How a statement that was never executed is asked: what the origin may see, and what it must not be needed for. A
# statement that is prepared alone, or described, is the origin's affair: nobody else knows yet what it returns.
FORMS = {
    "simple": lambda sql: ([], [w.query(sql)]),
    "unnamed": lambda sql: ([], [w.extended(sql)]),
    "binary": lambda sql: ([], [w.extended(sql, results=(1,))]),
    "named": lambda sql: ([], [w.extended(sql, name="once")]),
    "prepared": lambda sql: ([w.parse(sql, "named") + w.SYNC],
                             [w.bind("named") + w.describe_portal() + w.execute() + w.SYNC]),
    "described": lambda sql: ([w.parse(sql, "named") + w.describe_statement("named") + w.SYNC],
                              [w.bind("named") + w.execute() + w.SYNC]),
}

# kind → (wide queries, narrow queries)
KINDS = {
    "narrower equality": (["select * from users where tenant_id = 1"], [
        "select * from users where tenant_id = 1 and status = 'active' order by id",
        "select name from users where status = 'active' and tenant_id = 1 and id > 7 order by id",
        "select name, count(*) from users where tenant_id = 1 and id < 50 group by name order by name",
        "select count(*) from users where tenant_id = 1 and status is null",
    ]),
    "tighter range": (["select * from item where value > 50"], [
        "select id from item where value > 100 order by id", "select id from item where value >= 51 order by id",
        "select count(*) from item where value > 60 and value < 80",
        "select id from item where value between 100 and 120 order by id",
    ]),
    "range containment": (["select * from item where value between 10 and 200"], [
        "select id from item where value >= 50 and value <= 150 order by id",
        "select id from item where value > 10 and value < 200 order by id",
        "select id from item where value between 10 and 200 and kind = 1 order by id",
    ]),
    "point in range": (["select * from item where value > 50"], [
        "select id from item where value = 100 order by id", "select id, cost from item where 55 = value order by id",
    ]),
    "subset of IN": (["select * from item where id in (1, 2, 3, 4, 5)"], [
        "select id, value from item where id in (2, 3) order by id", "select id, value from item where id = 4",
        "select id from item where id = any(array[1, 5]) order by id",
        "select id from item where id in (1, 2) and kind = 1",
    ]),
    "IN within a range": (["select * from item where value > 0"], [
        "select id from item where value in (50, 100) order by id",
        "select id from item where value in (5) order by id",
    ]),
    "other types": (
        ["select * from item where cost >= 10.5", "select * from item where made < '2026-01-05'",
         "select * from item where code in ('code1', 'code2', 'code250')"], [
            "select id from item where cost > 100 and cost < 120.25 order by id",
            "select id from item where made between '2026-01-02' and '2026-01-03 12:00:00' order by id",
            "select id from item where code = 'code250'",
            "select id from item where code in ('code1', 'code2') order by id",
        ]),
    "one column of two": (["select * from item where kind = 2 and value > 20"], [
        "select id from item where kind = 2 and value > 200 order by id",
        "select id from item where value = 30 and kind = 2 and cost > 1 order by id",
    ]),
    "IN out of single values": (["select * from users where id = 11", "select * from users where id = 12"], [
        "select id, name from users where id in (11, 12) order by id",
    ]),
    "join": (["select * from item where kind = 1", "select * from part where kind = 1"], [
        "select i.id, p.id from item i join part p on p.item_id = i.id where i.kind = 1 and p.kind = 1 "
        "and i.value > 50 order by 1, 2",
        "select i.id, sum(p.amount) from item i left join part p on p.item_id = i.id and p.kind = 1 "
        "where i.kind = 1 and i.id < 50 group by i.id order by i.id",
        "select id from item where kind = 1 and id > 9 and exists "
        "(select from part where kind = 1 and item_id = item.id) order by id",
        "select id from item where kind = 1 and id not in (select item_id from part where kind = 1 and id > 9) "
        "order by id",
    ]),
}


# Texts of the forms differ in what is no constant: none is a narrow query's second one.
LIMITS = {form: 1000 + number for number, form in enumerate(FORMS)}


def check(proxy, origin, wide, narrow, form):
    """Each is answered at once, without the origin, as the origin would."""
    name = f"narrow_{form}".replace(" ", "_")
    with w.WireClient.logged_in(origin.host, origin.port, proxy.database) as oracle, \
            w.WireClient.logged_in(proxy.host, proxy.port, proxy.database, application_name=name) as client:
        # The last is for the right to aggregates, which is asked for once.
        for sql in [*wide, "select count(*), sum(id), max(id) from users where id = 1"]:
            proxy.wait_until_cached(lambda: client.ask(w.query(sql)))
        client.socket.settimeout(15)
        before = proxy.metric(SUBSUMPTIONS)
        close = w.close_statement("named") + w.close_statement("once") + w.SYNC
        for sql in narrow:
            before_it, messages = FORMS[form](f"{sql} limit {LIMITS[form]}")
            for message in before_it:
                assert client.ask(message) == oracle.ask(message)
            expected = [oracle.ask(message) for message in [*messages, close]]
            with stopped_backend(origin, name), proxy.expect_hits(1):
                answers = [client.ask(message) for message in messages]
            assert [*answers, client.ask(close)] == expected, sql
        assert proxy.metric(SUBSUMPTIONS) == before + len(narrow)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_narrower_query(proxy, origin, kind, form):
    check(proxy, origin, *KINDS[kind], form)


PARAMETERS = [
    ("select * from users where tenant_id = 2", "select id from users where tenant_id = $1 and status = $2 order by id",
     ("2", "active")),
    ("select * from item where value > 120", "select id from item where value between $1 and $2 order by id",
     ("150", "200")),
    ("select * from item where id in (21, 22, 23)", "select id, cost from item where id = $1", ("22",)),
    ("select * from item where id in (31, 32, 33)", "select id from item where id = any($1::int[]) order by id",
     ("{31,33}",)),
]


@pytest.mark.parametrize("wide, narrow, values", PARAMETERS)
@pytest.mark.parametrize("form", ["unnamed", "binary", "prepared"])
def test_parameters(proxy, origin, wide, narrow, values, form):
    name, results = f"parameters_{form}", (1,) if form == "binary" else ()
    sql = f"{narrow} limit {LIMITS[form]}"
    message = w.extended(sql, values, results)
    with w.WireClient.logged_in(origin.host, origin.port, proxy.database) as oracle, \
            w.WireClient.logged_in(proxy.host, proxy.port, proxy.database, application_name=name) as client:
        proxy.wait_until_cached(lambda: client.ask(w.query(wide)))
        client.socket.settimeout(15)
        if form == "prepared":
            for connection in (oracle, client):
                connection.ask(w.parse(sql, "p") + w.SYNC)
            message = w.bind("p", values) + w.describe_portal() + w.execute() + w.SYNC
        expected = oracle.ask(message)
        with stopped_backend(origin, name), proxy.expect_hits(1):
            assert client.ask(message) == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_full_table(whole, origin, form):
    check(whole, origin, ["select * from users"], [
        "select * from users where id = 1",
        "select name from users where tenant_id = 2 and status = 'active' order by id",
        "select status, count(*), max(id) from users where id > 100 group by status order by status"], form)
