"""Texts that differ in constants only are parsed no more, and mean exactly what they say."""
import itertools

import pytest

import wire as w
from twins import PROTOCOLS, Twins

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, tenant bigint, name text, code varchar(20), price numeric(10, 2), flag bool,
    made timestamptz, key uuid);
insert into item select i, i % 7, 'item ' || i, 'c' || i % 5, i * 1.25, i % 2 = 0,
    '2026-01-01 00:00+00'::timestamptz + i * '1 day'::interval,
    ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid from generate_series(1, 60) i;
create table other (id int primary key, item int, note text);
insert into other select i, i % 20, 'note ' || i from generate_series(1, 40) i;
"""

# `%s` takes what the list has; each constant of it in turn.
READS = [
    ("select id, name from item where id = %s", ["1", "2", "17", "-1", "'3'", "4.0", "3000000000", "007", "'x'",
    "null"]),
    ("select id from item where tenant = %s order by id", ["0", "1", "'2'", "3.0", "-3", "+4", "5::int2"]),
    ("select id from item where name = %s", ["'item 1'", "'it''s'", "'item 2'", "E'item 3'", "$$item 4$$", "'größe'",
    "''"]),
    ("select id from item where name like %s order by id", ["'item 1'", "'item 1%%'", "'%%5'", "'item _'", "''"]),
    ("select id from item where price > %s order by id", ["70", "70.5", "'71'", "1e1", "-1"]),
    ("select id from item where flag = %s order by id limit 3", ["'t'", "'f'", "true", "'false'"]),
    ("select id from item where key = %s", [
        "'00000000-0000-4000-8000-000000000001'", "'00000000-0000-4000-8000-000000000002'",
        "'00000000000040008000000000000003'", "'00000000-0000-4000-8000-000000000004'::uuid"]),
    ("select id from item where made < %s order by id", ["'2026-01-05'", "'2026-01-09 12:00'",
    "'2026-02-01 00:00+02'"]),
    ("select id from item where id in (%s, %s) order by 1", ["3", "4", "'5'"]),
    ("select id, %s from item where id = %s", ["1", "2", "'2'", "3.50"]),
    ("select i.id, o.note from item i join other o on o.item = i.id and o.id > %s where i.tenant = %s order by 1, 2",
     ["1", "2", "30"]),
    ("select tenant, count(*) from item where id > %s group by 1 having count(*) > %s order by 1", ["2", "5"]),
    ("select id::varchar(%s) from item where id = 12", ["1", "2", "3"]),
    ("select id from item order by %s desc limit 2", ["1", "-id"]),
    ("select case when tenant = %s then %s else 'z' end from item where id < 4 order by id", ["1", "'b'"]),
]
# Changes: what they say of a row that some read shows.
CHANGES = [
    "update item set name = 'item %s' where id = %s", "update item set tenant = %s where id = %s",
    "delete from item where id = %s and tenant <> %s", "insert into other values (100 + %s, %s, 'new')",
    "update item set price = %s where id = %s", "update item set flag = not flag where id in (%s, %s)",
]


def texts(template: str, constants: list[str]) -> list[str]:
    return [template % chosen for chosen in itertools.product(constants, repeat=template.count("%s"))]


def all_reads() -> list[str]:
    return [text for template, constants in READS for text in texts(template, constants)]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_every_constant_means_what_it_says(proxy, origin, database, protocol):
    """Cold, warm and after changes, each text as the origin answers it."""
    reads = all_reads()
    with Twins(proxy, origin) as twins:
        for read in reads * 3:
            twins.say(read, protocol=protocol)
        for number, change in enumerate(CHANGES):
            for read in reads:
                twins.say(read, protocol=protocol)
            twins.ours.ask(PROTOCOLS[protocol](change % (number + 1, number + 3)))
            for read in reads:
                twins.say(read, protocol=protocol)


@pytest.mark.cached
def test_a_known_shape_is_not_parsed(proxy):
    def parsed():
        return proxy.metric("pgcache_cache_statements_parsed")

    def by_shape():
        return proxy.metric("pgcache_cache_statements_by_shape")

    with proxy.connect() as client:
        proxy.wait_until_cached(lambda: client.execute("select name from item where id = 1000"))
        client.execute("select name from item where id = 1001")
        client.execute("select name from item where id = 1002")
        before, known = parsed(), by_shape()
        for number in range(2000, 2100):
            client.execute(f"select name from item where id = {number}")
        assert parsed() == before
        assert by_shape() == known + 100
        client.execute("select name from item where id = '2100'")
        assert parsed() == before + 1


@pytest.mark.cached
def test_changes_find_the_entries_of_texts_that_were_not_parsed(proxy, origin, database):
    """[I1] The constant that was lifted constrains its own entry, and no other."""
    def text(tenant):
        return f"select count(*) from other where id = {tenant}"

    with proxy.connect() as client, origin.connect(database) as direct:
        for number in range(1, 12):
            proxy.wait_until_cached(lambda: client.execute(text(number)).fetchall())
        hits = proxy.hits()
        direct.execute("delete from other where id = 9")
        proxy.wait_until_answer(lambda: client.execute(text(9)).fetchall(), [(0,)])
        hits = proxy.hits()
        for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11):
            assert client.execute(text(number)).fetchall() == [(1,)]
        assert proxy.hits() == hits + 10


def test_writes_of_a_known_shape_are_seen(proxy, origin, database):
    """[S1] What is not parsed may write all the same."""
    with Twins(proxy, origin) as twins:
        for number in range(500, 520):
            twins.ours.ask(w.query(f"insert into other values ({number}, 1, 'it''s {number}')"))
            twins.say(f"select note from other where id = {number}", "select count(*) from other")
            twins.ours.ask(w.query(f"update other set note = 'again {number}' where id = {number}"))
            twins.say(f"select note from other where id = {number}", "select max(note) from other")


def test_errors_are_the_origins(proxy, origin, database):
    with Twins(proxy, origin) as twins:
        for value in ("1", "2", "'3'", "'4'", "'5'", "'x'", "'y'", "99999999999", "88888888888", "77777777777"):
            for _ in range(2):
                twins.say(f"select id from item where id = {value}",
                    f"select 1 / (id - {value}) from item where id < 3")
