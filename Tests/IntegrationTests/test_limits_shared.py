"""Queries that differ only in LIMIT and OFFSET: rows of one answer are rows of the other."""
import pytest

import wire as w
from twins import PROTOCOLS, Twins

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, tenant int, name text);
insert into item select i, i % 3, 'item ' || i from generate_series(1, 60) i;
create table wide (id int primary key, a bigint, b numeric, c timestamptz, d bool, e bytea);
insert into wide select i, i * 10000000000, i / 7.0, '2026-01-01'::timestamptz + i * '1 hour'::interval, i % 2 = 0,
    decode(lpad(i::text, 4, '0'), 'hex')
    from generate_series(1, 30) i;
"""
BASE = "select id, name from item where tenant = 1 order by id"
WINDOWS = ["limit 3", "limit 0", "limit 1", "limit 9", "limit 2 offset 5", "offset 4 limit 3", "limit 4;", "LIMIT 10"]
READS = [
    BASE, "select * from wide order by id", "select tenant, count(*) from item group by tenant order by 1",
    "select distinct tenant from item order by 1",
    "select i.id, w.a from item i left join wide w using (id) order by i.id desc",
    "select id, generate_series(1, 2) from item order by 1, 2",
]


def shared(proxy) -> float:
    return proxy.metric("pgcache_cache_windows_shared")


@pytest.mark.cached
@pytest.mark.parametrize("window", WINDOWS)
def test_a_smaller_limit_is_a_prefix(proxy, origin, database, window):
    """The larger answer is there, the smaller one is made of it, byte for byte what the origin says."""
    with Twins(proxy, origin) as twins:
        twins.warm(f"{BASE} limit 12")
        before, hits = shared(proxy), proxy.hits()
        twins.say(f"{BASE} {window}")
        assert proxy.hits() == hits + 1
        assert shared(proxy) <= before + 1
        twins.say(f"{BASE} {window}")
        assert proxy.hits() == hits + 2


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("read", READS)
def test_every_window_is_right(proxy, origin, database, read, protocol):
    """Without and with what is larger, before and after changes."""
    reads = [read] + [f"{read} {window}" for window in WINDOWS] + [f"{read} limit 1000", f"{read} offset 58"]
    with Twins(proxy, origin) as twins:
        for _ in range(2):
            for one in reads + reads[::-1]:
                twins.say(one, protocol=protocol)
            for change in (
                    "delete from item where id = (select min(id) from item)",
                    "delete from wide where id = (select min(id) from wide)",
                    "insert into item select max(id) + 1, 1, 'new' from item"):
                twins.ours.ask(PROTOCOLS[protocol](change))


@pytest.mark.parametrize("results", [(), (1,), (0, 1)])
@pytest.mark.parametrize("binary", [False, True])
def test_a_parameter_may_be_the_limit(proxy, origin, database, binary, results):
    sql = "select id, name from item where tenant = $1 order by id limit $2 offset $3"

    def messages(tenant, limit, offset):
        values = [str(tenant).encode()]
        values += [number.to_bytes(8, "big") if binary else str(number).encode() for number in (limit, offset)]
        body = w.text("") + w.text("page") + (3).to_bytes(2, "big")
        body += b"".join(code.to_bytes(2, "big") for code in (0, int(binary), int(binary)))
        body += (3).to_bytes(2, "big") + b"".join(len(value).to_bytes(4, "big") + value for value in values)
        body += len(results).to_bytes(2, "big") + b"".join(code.to_bytes(2, "big") for code in results)
        return w.frame("B", body), w.describe_portal(), w.execute(), w.frame("S")

    with Twins(proxy, origin) as twins:
        twins.ask(w.parse(sql, "page"), w.frame("S"))
        for _ in range(3):
            for tenant in (0, 1, 2):
                for limit, offset in ((15, 0), (3, 0), (5, 5), (15, 3), (0, 0), (1, 14), (100, 0), (7, 90)):
                    twins.ask(*messages(tenant, limit, offset))
            twins.ours.ask(w.query("update item set tenant = (tenant + 1) % 3 where id % 5 = 0"))


@pytest.mark.cached
def test_what_was_made_is_invalidated(proxy, origin, database):
    """[I1] It depends on what the larger one depends on."""
    base = "select id from wide where a > 0 order by id"
    with proxy.connect() as client, origin.connect(database) as direct:
        proxy.wait_until_cached(lambda: client.execute(f"{base} limit 20").fetchall())
        before = shared(proxy)
        first = client.execute(f"{base} limit 2").fetchall()
        assert shared(proxy) == before + 1
        direct.execute("insert into wide (id, a) values (-5, 1)")
        proxy.wait_until_answer(lambda: client.execute(f"{base} limit 2").fetchall(), [(-5,), first[0]])


@pytest.mark.cached
def test_what_is_not_held_comes_from_the_origin(proxy, origin, database):
    base = "select id from item where tenant = 2 order by name"
    with Twins(proxy, origin) as twins:
        twins.warm(f"{base} limit 4")
        before = shared(proxy)
        for window in ("limit 4 offset 1", "limit 5", "offset 1", "limit all", "fetch first 3 rows with ties",
            "limit 3 for update"):
            twins.say(f"{base} {window}")
        assert shared(proxy) == before


@pytest.mark.cached
def test_rights_are_those_of_the_role(proxy, origin, database):
    with origin.connect(database) as direct:
        direct.execute("create role pager login")
        try:
            with Twins(proxy, origin) as twins, Twins(proxy, origin, user="pager") as others:
                twins.warm(f"{BASE} limit 12")
                for _ in range(3):
                    others.say(f"{BASE} limit 3")
        finally:
            direct.execute("drop role pager")
