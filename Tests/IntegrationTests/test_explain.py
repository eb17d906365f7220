"""`SELECT pgcache_explain('…')` and `pgcache explain`: what a statement reads, why it is cached or not, and what ended
its answers. The origin has no such function: whatever comes is pgcache's own answer."""
import subprocess

import psycopg
import pytest

from proxy import BINARY, DIRECT
from waiting import wait_until
from wire import SYNC, bind, describe_statement, execute, parse, types

ONE_REACTOR = True
pytestmark = pytest.mark.skipif(DIRECT, reason="needs the proxy")

SCHEMA = """
create table orders (id int primary key, tenant int, state text, total numeric);
insert into orders values (1, 1, 'paid', 10), (2, 1, 'open', 20), (3, 2, 'paid', 30);
create table items (id int primary key, orders int, at timestamptz);
insert into items values (1, 1, now());
create table hidden (id int primary key);
create unlogged table fleeting (id int primary key);
grant select on orders to app_trust;
"""

READ = "select id, total from orders where tenant = 1 and state in ('paid', 'open') order by id"


def explain(connection, sql, **options):
    """What it says, by item; items that come several times as lists."""
    found = {}
    for item, value in connection.execute("select pgcache_explain(%s)", [sql], **options).fetchall():
        found.setdefault(item, []).append(value)
    return {item: values[0] if len(values) == 1 and item != "reads" else values for item, values in found.items()}


def test_a_cached_statement(proxy, client):
    client.execute(READ)
    said = explain(client, READ)
    assert said["cached"] == "yes"
    assert said["reads"] == ["public.orders(id, tenant, state, total) where tenant = 1 and state in ('paid', 'open')"] \
        or said["reads"] == ["public.orders where tenant = 1 and state in ('paid', 'open')"]
    assert said["settings"] == "none"
    assert "reason" not in said


def test_what_it_depends_on(client):
    assert "TimeZone" in explain(client, "select at from items")["settings"]
    both = explain(client, "select * from orders o join items i on i.orders = o.id where o.id = 1")["reads"]
    assert len(both) == 2 and any("orders = 1" in one for one in both)


@pytest.mark.parametrize("sql, reason", [
    ("insert into orders values (9)", "not_select"),
    ("select 1", "no_relation"),
    ("select random() from orders", "volatile_function"),
    ("select now() from orders", "time_dependent"),
    ("select * from orders for update", "locking"),
    ("select * from pg_class", "system_catalog"),
    ("select * from fleeting", "unlogged"),
    ("select * from nowhere", "unknown_relation"),
    ("selekt", "unparsable"),
    ("", "empty_statement"),
])
def test_a_forwarded_statement(client, sql, reason):
    said = explain(client, sql)
    assert said["cached"] == "no"
    assert said["reason"].startswith(f"{reason}: ")


def test_the_role_counts(proxy):
    with proxy.connect(user="app_trust") as connection:
        assert explain(connection, READ)["cached"] == "yes"
        said = explain(connection, "select * from hidden")
        assert said["cached"] == "no" and said["reason"].startswith("rights: ")


def test_figures_and_what_ended_the_last_entry(proxy, client, direct):
    sql = "select total from orders where id = 2 and true"
    proxy.wait_until_cached(lambda: client.execute(sql).fetchall())
    said = explain(client, sql)
    assert said["entries"] == "1" and int(said["hits"]) >= 1 and int(said["misses"]) >= 1
    direct.execute("update orders set total = 21 where id = 2")
    wait_until(lambda: explain(client, sql)["entries"] == "0", "the entry is gone")
    assert explain(client, sql)["last invalidation"].startswith("update of public.orders, behind ")
    proxy.wait_until_cached(lambda: client.execute(sql).fetchall())
    direct.execute("alter table orders add note text")
    wait_until(lambda: "schema" in explain(client, sql)["last invalidation"], "the schema has changed")


def test_ways_to_ask(proxy):
    with psycopg.connect(proxy.url(), autocommit=True) as connection:
        rows = explain(connection, READ)
        assert explain(connection, READ, prepare=True) == rows
        assert explain(connection, READ, prepare=True) == rows
        assert explain(connection, READ, binary=True) == rows
        simple = connection.execute(f"select pgcache_explain('{READ.replace(chr(39), chr(39) * 2)}')").fetchall()
        assert simple[0] == ("cached", "yes")
        with psycopg.ClientCursor(connection) as cursor:
            assert cursor.execute("select pgcache_explain(%s)", [READ]).fetchall() == simple
    with psycopg.connect(proxy.url()) as connection:
        assert explain(connection, READ) == rows
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1/0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            explain(connection, READ)
        connection.rollback()
        connection.execute("insert into items values (7)")
        assert explain(connection, READ)["cached"] in ("yes", "no")
        connection.rollback()


def test_null_and_other_forms_are_not_ours(client):
    for sql in ("select pgcache_explain()", "select pgcache_explain('a', 'b')", "select pgcache_explain('a'), 1",
                "select pgcache_explain(null)"):
        with pytest.raises(psycopg.errors.UndefinedFunction):
            client.execute(sql)


def test_prepared_ahead(wire):
    """As drivers do that describe a statement before they execute it."""
    assert types(wire.ask(parse("select pgcache_explain($1)", "e"), describe_statement("e"), SYNC)) == "1tTZ"
    assert types(wire.ask(bind("e", (b"select 1",)), execute(), SYNC)) == "2DDCZ"


def test_command(proxy):
    def run(*arguments):
        return subprocess.run(
            [BINARY, "explain", *arguments], capture_output=True, text=True, timeout=60, check=False)

    said = run("--url", proxy.url(), READ)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[0].split() == ["cached", "yes"]
    said = run("--url", proxy.url().replace(str(proxy.port), "1"), READ)
    assert said.returncode == 1 and "pgcache explain: " in said.stderr
