"""Answers that a change is written into: reads by primary key stay hits while their rows are written.

Each way it could go wrong is a case: columns that settings print, computed ones, conditions beside the key, formats,
NULLs, values that the change leaves out, rows that come, go and change their keys, several changes in one
transaction. The origin's own answer is the oracle, byte by byte."""
import itertools

import pytest

import wire as w
from twins import PROTOCOLS
from waiting import wait_until

ONE_REACTOR = True

TABLES = """
create table item (id int primary key, name text, n numeric(12, 4), flag bool, big bigint, small smallint, u uuid,
    j jsonb, c char(5), v varchar(20), made timestamptz default '2026-01-01', note text);
alter table item alter column note set storage external;
create table pair (a int, b text, value text, hidden bool default false, primary key (a, b));
create table made (id int primary key, a int, doubled int generated always as (a * 2) stored);
create table everything (id int primary key, name text);
alter table everything replica identity full;
create table loose (id int primary key, other int not null unique, name text);
alter table loose replica identity using index loose_other_key;
"""
ROWS = """
truncate item, pair, made, everything, loose;
insert into item select i, 'item ' || i, i / 3.0, i % 2 = 0, i * 10000000000, i, gen_random_uuid(),
    jsonb_build_object('i', i), 'c' || i, 'v' || i, now(), repeat('x', 5000) from generate_series(1, 50) i;
insert into pair select i, 'b' || i, 'value ' || i from generate_series(1, 20) i;
insert into made (id, a) select i, i from generate_series(1, 10) i;
insert into everything select i, 'row ' || i from generate_series(1, 10) i;
insert into loose select i, i + 100, 'row ' || i from generate_series(1, 10) i;
"""
SCHEMA = TABLES + ROWS

KEEP = ["select id, name, n, flag, big, small, u, j, c, v from item where id = 1", "select name from item where 1 = id",
        "select name, name as again, id from item i where i.id = 1", "select note, name from item where id = 1",
        "select * from pair where b = 'b1' and a = 1", "select value from pair where a = 1 and b = 'b1'",
        "select * from everything where id = 1 order by name", "select name from item where id in (1)",
        "select a, id from made where id = 1"]
# Whatever becomes of their entries: a computed column, a type that settings print, more than the key, a limit.
DROP = ["select id, made from item where id = 1", "select upper(name), id from item where id = 1",
        "select * from pair where a = 1 and b = 'b1' and not hidden", "select * from pair where a = 1",
        "select name from item where id = 1 or id = 2 order by id", "select name from item where id = 1 limit 1",
        "select * from made where id = 1", "select name from loose where id = 1",
        "select name from item where id = 1 and name like 'item%'", "select i from item i where id = 1",
        "select value from pair where (a, b) = (1, 'b1')",
        "select p.value, i.name from pair p join item i on i.id = p.a where p.a = 1 and p.b = 'b1'"]
CHANGES = [
    "update item set name = 'shorter' where id = 1", "update item set name = repeat('longer ', 300) where id = 1",
    "update item set name = null, n = null, j = null, c = null, note = null where id = 1",
    "update item set n = 1.50, flag = not flag, big = -1, small = -small, u = gen_random_uuid(), "
    "j = '{\"b\": [1, 2]}', c = 'ü', v = '' where id = 1", "update item set note = repeat('y', 6000) where id = 1",
    "update item set name = 'é\\n\t' where id = 1", "update pair set value = 'first' where a = 1",
    "begin; update pair set value = 'a'; update pair set value = 'b'; update pair set value = 'c' where a = 1; commit",
    "update pair set hidden = not hidden where a = 1", "update pair set value = null where b = 'b1'",
    "update everything set name = name || '!'", "update made set a = a + 1", "update loose set name = name || '!'",
    "begin; delete from item where id = 1; insert into item (id, name) values (1, 'again'); commit",
    "delete from item where id = 1", "insert into item (id, name, n) values (1, 'new', 0.10)",
    "begin; update item set id = -1 where id = 1; update item set id = 1, name = 'other' where id = 2; commit",
    "update item set id = 2, name = 'back' where id = 1", "update item set id = 1 where id = -1",
    "update loose set id = -id where id = 1", "update loose set id = 1, name = 'moved' where id = 2",
    "begin; update item set name = 'undone' where id = 1; rollback", "truncate pair",
    "insert into pair values (1, 'b1', 'here'), (1, 'b2', 'there')", "delete from everything where id = 1",
    "insert into everything values (1, 'once more')",
]


@pytest.mark.trap(121)
@pytest.mark.trap(124)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_read_follows_every_change(twins, direct, restored, protocol):
    """Not only at last: a read that was patched is compared after each change with what the origin has then."""
    reads = KEEP + DROP
    for read in reads:
        twins.repeat(read, protocol=protocol)
    for change in CHANGES:
        direct.execute(change)
        for read in reads:
            twins.until_alike(PROTOCOLS[protocol](read))
        twins.repeat(*reads, protocol=protocol, times=2)


@pytest.fixture
def restored(direct):
    direct.execute(ROWS)


def stays(proxy, twins, direct, read, protocol, changes):
    """Whether the read is a hit again behind each change, with the origin's answer, and was no miss meanwhile."""
    message = PROTOCOLS[protocol](read)
    for change in changes:
        twins.warm(read, protocol=protocol)
        misses, patches = proxy.misses(), proxy.metric("pgcache_cache_memo_patches")
        direct.execute(change)
        twins.until_alike(message)
        twins.warm(read, protocol=protocol)
        if proxy.misses() > misses or proxy.metric("pgcache_cache_memo_patches") == patches:
            return False
    return True


NUMBERS = itertools.count(1)


@pytest.mark.cached
@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("read", KEEP)
def test_a_read_by_key_stays_a_hit(proxy, twins, direct, restored, read, protocol):
    table = next(name for name in ("item", "pair", "everything", "made") if f" {name} " in read)
    column = {"pair": "value", "made": "a"}.get(table, "name")
    key = {"pair": "a = 1 and b = 'b1'"}.get(table, "id = 1")

    def stays_once():
        """Others may change something meanwhile: once is proof enough."""
        value = next(NUMBERS)
        change = f"update {table} set {column} = {value if table == 'made' else repr(f'text {value}')} where {key}"
        return stays(proxy, twins, direct, read, protocol, [change])

    wait_until(stays_once, "the read stays a hit")


@pytest.mark.cached
@pytest.mark.parametrize("protocol", ["simple", "extended", "binary"])
@pytest.mark.parametrize("read", [KEEP[0], *DROP[:5]])
def test_what_is_not_certain_is_dropped(proxy, twins, direct, restored, read, protocol):
    if read == KEEP[0] and protocol != "binary":
        pytest.skip("text is what is patched")
    patches = proxy.metric("pgcache_cache_memo_patches")
    for value in ("one", "two"):
        twins.warm(read, protocol=protocol)
        direct.execute(f"update item set name = 'item {value}', made = made + interval '1 day' where id = 1;"
                       f"update pair set value = '{value}' where a = 1")
        twins.until_alike(PROTOCOLS[protocol](read))
    assert proxy.metric("pgcache_cache_memo_patches") == patches


@pytest.mark.cached
def test_a_row_that_comes_and_goes(proxy, twins, direct, restored):
    read = "select name from item where id = 99"
    changes = [change for n in range(3) for change in (
        f"insert into item (id, name) values (99, 'come {n}')", "update item set name = 'here' where id = 99",
        "delete from item where id = 99")]
    wait_until(lambda: stays(proxy, twins, direct, read, "extended", changes), "the read stays a hit")


@pytest.mark.cached
def test_an_answer_that_grows_is_accounted_for(proxy, twins, direct, restored):
    read = "select name from item where id = 5"
    twins.warm(read)
    direct.execute("update item set name = repeat('0123456789', 5000) where id = 5")
    twins.until_alike(w.query(read))
    assert proxy.metric("pgcache_cache_memo_bytes") >= 50_000


@pytest.mark.cached
@pytest.mark.trap(85)
def test_what_a_slow_client_reads_stays_as_it_is(proxy, direct, database, restored):
    """Who has a part of an answer gets the rest of the same."""
    direct.execute("update item set note = repeat('x', 900000) where id = 7")
    read = w.query("select note from item where id = 7")
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as first:
        wait_until(lambda: b"xxx" in first.ask(read)[1].body, "the long value")
        before = proxy.wait_until_cached(lambda: first.ask(read))
    slow = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(4)]
    hits = proxy.hits()
    for client in slow:
        client.send(*[read] * 12)
    # More than the kernel takes: they are reading, and the last of their answers are not begun.
    wait_until(lambda: proxy.hits() >= hits + len(slow), "the answers have begun")
    direct.execute("update item set note = repeat('y', 900000) where id = 7")
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as late:
        wait_until(lambda: b"yyy" in late.ask(read)[1].body, "the other value")
        behind = late.ask(read)
    for client in slow:
        answers = [client.receive_until_ready() for _ in range(12)]
        assert all(answer in (before, behind) for answer in answers)
        client.close()
