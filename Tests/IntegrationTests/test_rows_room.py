"""What stays in the cache database, and what has to go: pinned queries and tables, the bound on all tiers."""
from contextlib import contextmanager

import pytest

from origin import Origin
from proxy import Proxy
from rowtier import ANSWERS, FRAGMENTS, REFUSED, ROWS, loads, pools, wait_for_rows
from waiting import wait_until

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table country (code text primary key, name text not null);
insert into country select 'c' || i, 'country ' || i from generate_series(1, 50) i;
create table "Odd Name" (id int primary key, v int);
insert into "Odd Name" select i, i from generate_series(1, 10) i;
create schema other;
create table other.rate (id int primary key, v numeric);
insert into other.rate select i, i * 1.5 from generate_series(1, 20) i;
create table visit (id int primary key, kind int not null, at date not null) ;
insert into visit select i, i % 10, date '2024-01-01' + i % 366 from generate_series(1, 2000) i;
create table parted (id int, day date, v int, primary key (id, day)) partition by range (day);
create table parted_1 partition of parted for values from ('2024-01-01') to ('2024-07-01');
create table parted_2 partition of parted for values from ('2024-07-01') to ('2025-01-01');
insert into parted select i, date '2024-01-01' + i, i from generate_series(1, 300) i;
create view recent as select id, v, day from parted where day > '2024-06-01';
create table wide_1 (id int primary key, pad text);
create table wide_2 (id int primary key, pad text);
create table wide_3 (id int primary key, pad text);
insert into wide_1 select i, repeat(md5(i::text), 30) from generate_series(1, 4000) i;
insert into wide_2 select i, repeat(md5(i::text), 30) from generate_series(1, 4000) i;
insert into wide_3 select i, repeat(md5(i::text), 30) from generate_series(1, 4000) i;
"""


@contextmanager
def running(origin: Origin, database: str, **settings):
    proxy = Proxy(origin, database, **settings)
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture(scope="module")
def database(origin: Origin):
    name = origin.create_database()
    with origin.connect(name) as direct:
        direct.execute(SCHEMA)
    return name


def serves(proxy: Proxy, query: str) -> list:
    """The answer, once it is read from rows and not from the origin."""
    with proxy.connect(autocommit=True) as client:
        def answer():
            before = proxy.hits()
            rows = client.execute(query).fetchall()
            return (rows,) if proxy.hits() > before else None
        return wait_until(answer, f"{query} is answered from rows", 30)[0]


class TestPinned:
    def test_is_loaded_before_anybody_asks(self, origin: Origin, database):
        with running(origin, database, **{
                **FRAGMENTS, "pinned_tables": "country,other.rate", "pinned_ready": "on",
                "pinned_queries": "select * from visit where kind = 3;select v from recent"}) as proxy:
            # Ready means loaded: nothing has been asked yet, and the first of its kind comes from rows.
            assert loads(proxy)[0] >= 4
            for query in ("select name from country where code = 'c7'", "select sum(v) from other.rate",
                          "select count(*) from visit where kind = 3 and id > 100", "select sum(v) from recent"):
                with origin.connect(database) as direct:
                    assert serves(proxy, query) == direct.execute(query).fetchall()

    def test_what_cannot_be_pinned_keeps_nobody_waiting(self, origin: Origin, database):
        with running(origin, database, **{
                **ROWS, "pinned_tables": "nothing_of_this_name,country", "pinned_ready": "on",
                "pinned_queries": "select random() from country;select ( from"}) as proxy:
            assert serves(proxy, "select count(*) from country") == [(50,)]

    def test_is_loaded_again_after_a_change_of_the_schema(self, origin: Origin, database):
        with running(origin, database, **{**FRAGMENTS, "pinned_tables": "country"}) as proxy:
            assert serves(proxy, "select count(*) from country") == [(50,)]
            with origin.connect(database) as direct:
                direct.execute("alter table country add column added int default 7")
            wait_until(lambda: proxy.metric("pgcache_cache_rows_resets") > 0, "the pools are gone")
            assert serves(proxy, "select distinct added from country") == [(7,)]


class TestRoom:
    def test_what_nobody_uses_goes_when_there_is_no_room(self, origin: Origin, database):
        with running(origin, database, **{
                **ROWS, "pinned_tables": "country", "cache_size": "12MiB", "cache_table_size": "64MiB"}) as proxy:
            wait_for_rows(proxy)
            for table in ("wide_1", "wide_2", "wide_3"):
                # A table of five megabytes is more than a quarter of the room: what is asked for is loaded by parts.
                for low in (1, 1001, 2001, 3001):
                    serves(proxy, f"select count(*), max(pad) from {table} where id between {low} and {low + 999}")
            wait_until(lambda: proxy.metric("pgcache_cache_rows_evictions") > 0, "something was evicted", 30)
            bound = proxy.metric("pgcache_cache_rows_bytes_max")
            wait_until(lambda: proxy.metric("pgcache_cache_rows_bytes") <= bound, "the pools fit", 30)
            assert pools(proxy)["public.country"]["fragments"] == ["all"]
            for table in ("wide_1", "wide_2", "wide_3"):
                query = f"select count(*), max(pad) from {table} where id between 500 and 600"
                with origin.connect(database) as direct, proxy.connect(autocommit=True) as client:
                    assert client.execute(query).fetchall() == direct.execute(query).fetchall()


class TestFamilies:
    """Partitions and views are read as one; what is below them is what is loaded."""

    def test_a_partitioned_table_and_a_view_of_it(self, origin: Origin, database):
        queries = ("select count(*), sum(v) from parted", "select v from parted where day = '2024-06-15'",
                   "select id from recent order by id limit 3", "select count(*) from parted_1")
        with running(origin, database, **ROWS) as proxy, origin.connect(database) as direct:
            for query in queries:
                assert serves(proxy, query) == direct.execute(query).fetchall(), query
            # A row that moves to another partition.
            direct.execute("update parted set day = '2024-12-24' where id = 5")
            proxy.settle(direct)
            for query in queries:
                assert serves(proxy, query) == direct.execute(query).fetchall(), query
            assert proxy.metric("pgcache_cache_rows_resets") == 0


def test_an_answer_that_is_too_large_for_the_memo_is_read_once(origin, database):
    """It goes to the client by way of the memo, and would go to the cache database in vain each time."""
    with running(origin, database, **{**ROWS, "memo_entry_max": 4096}) as proxy:
        wait_for_rows(proxy)
        with proxy.connect(autocommit=True) as client:
            def read(last):
                rows = client.execute(f"select id, pad from wide_1 where id <= {last} order by id").fetchall()
                assert [row[0] for row in rows] == list(range(1, last + 1))
                return proxy.metric(REFUSED)

            wait_until(lambda: read(50) > 0, "it is read from rows")
            refused = proxy.metric(REFUSED)
            for _ in range(5):
                read(50)
            assert proxy.metric(REFUSED) == refused
            # A smaller answer of the same shape is read there.
            before = proxy.metric(ANSWERS)
            read(2)
            assert proxy.metric(ANSWERS) == before + 1
