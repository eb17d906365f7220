"""The row tier against a real PostgreSQL: rows of the origin, which the stream keeps up to date (T5, T6).

Nothing keeps answers here, so each hit is read from rows: from whole tables by `proxy`, from the parts of tables
that queries have asked for by `parts`.
"""
import itertools
import random
import threading

import psycopg
import pytest
from psycopg import sql as composer

import wire as w
from origin import Origin
from rowtier import (ANSWERS, FRAGMENTS, GIVEN_UP, POPULATIONS, ROWS, WITH_MEMO, ask_for_long, existing_cluster,
                     in_threads, loads, module_proxy, pools, survives, wait_for_rows)
from stage import HIT, ORIGIN, Stage
from waiting import wait_until

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table item (id int primary key, kind int, name text, price int);
create index on item (kind);
create table place (id int primary key, name text);
create table pair (a int, b text, v int, primary key (b, a));
create table large (id int primary key, kind int, note int, body text);
alter table large alter column body set storage external;
create table large_full (like large including all);
alter table large_full replica identity full;
alter table large_full alter column body set storage external;
create table left_side (id int primary key, v int not null);
create table right_side (id int primary key, v int not null);
insert into left_side select i, 100 from generate_series(1, 21) i;
insert into right_side select i, 100 from generate_series(1, 21) i;
create table version (id int primary key, v int not null);
insert into version select i, 0 from generate_series(1, 20) i;
create table written (id int primary key, v int);
create table tenant (id int primary key, tenant int not null, name text, filler text);
create index on tenant (tenant);
insert into tenant select i, i % 10, 'n' || i, repeat('f', 100) from generate_series(1, 5000) i;
create table computed (id int primary key, v int, twice int generated always as (v * 2) stored,
                       shout text generated always as ('<' || v || '>') stored);
insert into computed select i, i from generate_series(1, 9) i;
create schema "Odd ""Schema";
create table "Odd ""Schema"."select ""$1" ("Id ""'x" int, "ünï 漢" text, "order" int,
                                          primary key ("order", "Id ""'x"));
insert into "Odd ""Schema"."select ""$1" values (1, 'a', 1), (2, 'b', 1);
create table swapped (id int primary key deferrable, v int);
alter table swapped replica identity full;
create table ranked (id int primary key, place int unique deferrable, name text unique);
create table many (id int primary key, v int);
insert into many select i, i from generate_series(1, 20) i;
"""

proxy = module_proxy(**ROWS)
parts = module_proxy(**FRAGMENTS)


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


@pytest.fixture(params=["whole", "parts"])
def either(request, origin):
    """A stage in front of each of the two kinds of row tiers."""
    with Stage(origin, request.getfixturevalue("proxy" if request.param == "whole" else "parts")) as pair:
        yield pair


@pytest.fixture(scope="module")
def spare():
    """A server for cache databases: where there is one, a pgcache starts in no time."""
    server = Origin()
    yield server
    server.remove()


def call_count(origin, database, beginning: str) -> int:
    """How often the origin has executed statements that begin so."""
    return origin.value(
        "select coalesce(sum(calls), 0)::int from pg_stat_statements s join pg_database d on d.oid = s.dbid "
        "where datname = %s and starts_with(query, %s)", parameters=(database, beginning))


# Changes.

@pytest.fixture
def items(direct):
    direct.execute("""
        truncate item, place, pair;
        insert into item select i, i % 3, 'item ' || i, i * 10 from generate_series(1, 12) i;
        insert into place select i, 'p' || i from generate_series(0, 3) i;
        insert into pair select i % 3, 'b' || i, i from generate_series(1, 9) i;
    """)


# In `parts` each condition is a fragment of its own.
READS = [
    "select name from item where id = 3",
    "select name from item where id = 100",
    "select id, name from item where kind = 1 order by id",
    "select id from item where kind = 1 and price > 50 order by id",
    "select id from item where price between 30 and 60 order by id",
    "select id from item where id in (3, 4, 100) order by id",
    "select count(*), sum(price), max(name) from item where id > 0",
    "select kind, count(*) from item where kind is not null group by kind order by kind",
    "select i.id, p.name from item i join place p on p.id = i.kind where i.kind = 1 and p.id = 1 order by i.id",
    "select id from item where id < 0 order by id",
]

CHANGES = {
    "insert": "insert into item values (100, 1, 'new', 55)",
    "update": "update item set name = 'changed' where id = 3",
    "update to null": "update item set name = null, kind = null where id = 3",
    "into a fragment": "update item set kind = 1 where id = 3",
    "out of a fragment": "update item set kind = 2, price = 1000 where kind = 1",
    "another key": "update item set id = 100 where id = 3",
    "keys negated": "update item set id = -id",
    "keys swapped": "begin; update item set id = -id where id in (3, 4); "
                    "update item set id = 7 + id where id < 0; commit",
    "keys taken over": "begin; delete from item where id = 3; update item set id = 3 where id = 4; commit",
    "delete": "delete from item where id = 3",
    "delete of many": "delete from item where kind = 1",
    "delete of all": "delete from item",
    "insert and delete": "begin; insert into item values (100, 1, 'x', 1); "
                         "delete from item where id in (3, 100); commit",
    "upsert": "insert into item values (3, 2, 'u', 1), (100, 1, 'n', 35) on conflict (id) do update "
              "set name = excluded.name, kind = excluded.kind",
    "truncate": "truncate item",
    "truncate and insert": "begin; truncate item; insert into item values (3, 1, 'first', 40); commit",
    "two tables": "begin; update place set name = 'q' where id = 1; update item set kind = 1 where id = 5; "
                  "delete from place where id = 2; commit",
    "rolled back": "begin; delete from item; rollback",
    "savepoint": "begin; savepoint s; delete from item; rollback to s; "
                 "update item set name = 's' where id = 3; commit",
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_follow(either, items, change):
    survives(either, CHANGES[change], *READS)


@pytest.mark.parametrize("change", [
    "insert into pair values (7, 'b7x', 1)", "update pair set v = 100 where b = 'b4'",
    "update pair set a = a + 1", "update pair set b = b || 'z', v = 5 where a = 1", "delete from pair where a = 1",
    "insert into pair select a, b, 77 from pair on conflict (b, a) do update set v = excluded.v"])
def test_rows_with_composite_keys_follow(either, items, change):
    survives(either, change, "select * from pair where a = 1 order by a, b", "select v from pair where b = 'b4'",
             "select * from pair where (b, a) in (('b3', 0), ('b4', 1), ('b5', 2)) and v > 0 order by a, b")


KEYS = {
    "numeric": ["1.0", "2.50", "-3"], "char(4)": ["a", "b ", "äö"], "text": ["", "a'b", "\\x"],
    "float8": ["-0", "1.5", "NaN"],
    "timestamptz": ["2026-01-01 10:00+02", "infinity", "0044-03-15 BC"], "interval": ["1 mon", "31 days", "-1 day"],
    "bytea": ["\\x00", "\\x01ff", "\\x"], "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "bool": ["true", "false"],
    "int[]": ["{1,2}", "{}", "{NULL}"], "jsonb": ['{"a": 1}', "[]", "1.0"], "inet": ["::1", "10.0.0.1/8", "10.0.0.1"],
}


@pytest.fixture(scope="module")
def keyed(origin, database):
    with origin.connect(database) as connection:
        for number, (name, values) in enumerate(KEYS.items()):
            connection.execute(f"create table keyed_{number} (k {name} primary key, v int)")
            for value in values:
                connection.execute(f"insert into keyed_{number} values ({composer.Literal(value).as_string()}, 0)")


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_type(keyed, stage, name):
    table = f"keyed_{list(KEYS).index(name)}"
    reads = [f"select * from {table} order by k", [w.extended(f"select k, v from {table} order by k", results=(1,))]]
    key = composer.Literal(KEYS[name][0]).as_string()
    for change in (f"update {table} set v = v + 1", f"delete from {table} where k = {key}",
                   f"insert into {table} values ({key}, 7)", f"update {table} set v = 8 where k = {key}"):
        survives(stage, change, *reads)
    if name == "numeric":
        survives(stage, f"update {table} set k = 1.000 where k = 1", *reads)


class TestSpecialTables:
    @pytest.mark.parametrize("change", [
        "update computed set v = v + 1 where id < 5", "insert into computed values (100, 50)",
        "update computed set id = -id where id > 3",
        "alter table computed replica identity full; update computed set v = 0"])
    def test_generated_columns(self, stage, change):
        reads = ["select * from computed order by id", "select id, shout from computed where twice > 10 order by id"]
        if "alter" in change:
            stage.run(*[(read, HIT) for read in reads])
            stage.origin.query(change, stage.proxy.database)
            wait_until(lambda: [stage.ask(read) for read in reads], "the same rows")
        survives(stage, change.split("; ")[-1], *reads)

    def test_odd_names(self, stage):
        table = '"Odd ""Schema"."select ""$1"'
        reads = [f"select * from {table} order by 1",
                 f"""select "ünï 漢", "Id ""'x" from {table} where "order" = 1 order by 2"""]
        for change in (f"""update {table} set "ünï 漢" = 'c' where "Id ""'x" = 1""", f"delete from {table}",
                       f"insert into {table} values (3, 'x', 1)", f"""update {table} set "order" = 1, "Id ""'x" = 4"""):
            survives(stage, change, *reads)

    def test_keys_that_are_swapped_in_one_statement(self, stage, direct):
        """While it runs, two rows have one key."""
        direct.execute("truncate swapped; insert into swapped values (1, 10), (2, 20), (3, 30)")
        read = "select * from swapped order by id"
        for _ in range(3):
            ask_for_long(stage, read)
            for change in ("update swapped set id = 3 - id where id < 3", "update swapped set id = id % 3 + 1",
                           "begin; set constraints all deferred; update swapped set id = 2 where id = 1; "
                           "update swapped set id = 1 where id = 2 and v = (select max(v) from swapped "
                           "where id = 2); commit"):
                direct.execute(change)
                stage.proxy.settle(direct)
                ask_for_long(stage, read)

    def test_other_unique_columns_are_swapped(self, stage, direct):
        direct.execute("truncate ranked; insert into ranked select i, i, 'n' || i from generate_series(1, 5) i")
        read = "select * from ranked order by id"
        survives(stage, "update ranked set place = 6 - place", read, "select id from ranked where place = 2")
        survives(stage, "begin; update ranked set name = 'x' where id = 1; update ranked set name = 'n1' where id = 2; "
                 "update ranked set name = 'n2' where id = 1; commit", read)
        survives(stage, "update ranked set id = -id, place = place % 5 + 1", read)

    def test_more_statements_than_a_connection_keeps(self, stage):
        stage.warm("select * from many order by id")
        for number in range(520):
            stage.ask(f"select v, id as c{number} from many where id = {number % 20 + 1}")
        stage.run(("select v, id as c0 from many where id = 1", HIT))
        stage.run(("select v, id as c7 from many where id = 8", HIT))

def test_the_origin_hears_nothing_of_reads_that_follow_a_change(proxy, origin, database, direct):
    """Counted by the origin itself."""
    with proxy.connect() as reader, proxy.connect() as probe:
        read = "select v from version where id = 3"
        proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
        before = call_count(origin, database, "select v from version")
        assert before > 0
        for version in range(1, 30):
            direct.execute("update version set v = %s where id = 3", (version,))
            # Another session sees it from rows, so everybody does.
            with_hits = lambda: probe.execute("select max(v) from version").fetchone()  # noqa: E731

            def has_come():
                hits = proxy.hits()
                return with_hits() == (version,) and proxy.hits() == hits + 1

            wait_until(has_come, "the change is seen in rows")
            with proxy.expect_hits(1):
                assert reader.execute(read).fetchone() == (version,)
        assert call_count(origin, database, "select v from version") == before


# Transactions.

SUM = "select (select sum(v) from left_side where id <= 20) + (select sum(v) from right_side where id <= 20)"


def test_nobody_sees_half_of_a_transaction(either, origin, database):
    """Amounts wander between two tables; each answer shows all of them."""
    proxy = either.proxy
    proxy.wait_until_cached(SUM)
    hits, running = proxy.hits(), [3]
    reads = itertools.count()

    def write(seed):
        chance = random.Random(seed)
        with origin.connect(database) as connection:
            try:
                for _ in range(60):
                    amount, one, other = chance.randint(1, 50), chance.randint(1, 20), chance.randint(1, 20)
                    source, target = chance.sample(["left_side", "right_side"], 2)
                    # In order, so that nobody waits for each other.
                    changes = sorted([(source, one, -amount), (target, other, amount)])
                    with connection.transaction():
                        for table, row, difference in changes:
                            connection.execute(f"update {table} set v = v + {difference} where id = {row}")
                    # So that there are answers from rows between the changes.
                    seen = next(reads)
                    wait_until(lambda: next(reads) > seen + 6, "somebody reads")
            finally:
                running[0] -= 1

    def read():
        with proxy.connect() as connection:
            while running[0]:
                next(reads)
                assert connection.execute(SUM).fetchone() == (4000,)

    in_threads(*[lambda seed=seed: write(seed) for seed in range(3)], read, read)
    assert proxy.hits() - hits > 20
    survives(either, "update left_side set v = v + 1 where id = 1", SUM)
    origin.query("update left_side set v = v - 1 where id = 1", database)


def test_time_does_not_run_backwards_between_tables(proxy, direct):
    """The right side is written first, so who reads the left side first never sees less on the right."""
    left, right = (f"select v from {side}_side where id = 21" for side in ("left", "right"))
    (last,) = direct.execute(left).fetchone()
    direct.execute("update right_side set v = %s where id = 21", (last,))
    with proxy.connect() as reader:
        for sql in (left, right):
            proxy.wait_until_cached(lambda: reader.execute(sql).fetchall())
        lasts = last, last
        for version in range(last + 1, last + 150):
            direct.execute("update right_side set v = %s where id = 21", (version,))
            direct.execute("update left_side set v = %s where id = 21", (version,))
            for _ in range(4):
                (first,) = reader.execute(left).fetchone()
                (second,) = reader.execute(right).fetchone()
                assert lasts[0] <= first <= second <= version and lasts[1] <= second
                lasts = first, second


def test_own_writes_are_seen_at_once(proxy, client, direct):
    direct.execute("truncate written")
    proxy.wait_until_cached(lambda: client.execute("select count(*) from written").fetchall())
    for key in range(200):
        client.execute("insert into written values (%s, 0)", (key,))
        assert client.execute("select count(*) from written").fetchone() == (key + 1,)
    with client.transaction():
        client.execute("delete from written where id < 100")
        assert client.execute("select count(*) from written").fetchone() == (100,)
    assert client.execute("select count(*) from written").fetchone() == (100,)


# Loading.

def write_anything(connection, tables: list[str], chance: random.Random, stop: threading.Event):
    """One small transaction after the other, of every kind."""
    while not stop.is_set():
        table = chance.choice(tables)
        low = chance.randint(-2000, 2000)
        statement = chance.choice([
            "insert into {t} select i, {n}, {k}, 'new {n}' from generate_series({n}, {n} + 20) i "
            "on conflict do nothing",
            "update {t} set v = v + 1, name = 'u' || v where id between {n} and {n} + 30",
            "update {t} set kind = {k} where id between {n} and {n} + 30",
            "update {t} set id = -id where id between {n} and {n} + 5 and not exists "
            "(select from {t} o where o.id = -{t}.id)",
            "delete from {t} where id between {n} and {n} + 10",
            "insert into {t} values ({n}, {n}, {k}, repeat('long', 1000)) on conflict (id, kind) do update set v = 0",
            "update {t} set v = v + 1 where length(name) > 3000",
        ]).format(t=table, n=low, k=low % 5)
        if chance.random() < 0.002:
            statement = f"truncate {table}"
        try:
            with connection.transaction():
                connection.execute(statement)
                if chance.random() < 0.3:
                    connection.execute(f"update {chance.choice(tables)} set v = -v where id = {low}")
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
            pass


@pytest.mark.parametrize("kind", ["whole", "parts"])
def test_what_is_loaded_while_others_write_is_right(start_proxy, origin, spare, database, direct, kind):
    """Copies and changes meet in every order; in the end the tables are the same."""
    tables = [f"busy_{number}" for number in range(4)]
    for table in tables:
        direct.execute(f"drop table if exists {table}")
        direct.execute(f"create table {table} (id int, v int, kind int, name text, primary key (id, kind))")
        direct.execute(f"alter table {table} alter column name set storage external")
    direct.execute("alter table busy_1 replica identity full")
    settings = ROWS if kind == "whole" else FRAGMENTS
    conditions = ["id > -10000"] if kind == "whole" else ["kind = 1", "kind in (2, 3)", "v > 100"]
    reads = [f"select id, v, kind, md5(name) from {table} where {condition} order by id, kind"
             for table in tables for condition in conditions]
    cluster = existing_cluster(spare)
    for seed in range(3):
        for table in tables:
            direct.execute(f"insert into {table} select i, i, abs(i % 5), repeat('n', 100) "
                           "from generate_series(-2000, 2000) i on conflict do nothing")
        stop = threading.Event()

        def write(number):
            with origin.connect(database) as connection:
                write_anything(connection, tables, random.Random(seed * 10 + number), stop)

        # It ends with the thread that starts it.
        proxy = start_proxy(**settings, **cluster)

        def load():
            try:
                wait_for_rows(proxy)
                with proxy.connect() as client:
                    def are_loaded():
                        for sql in reads:
                            client.execute(sql)
                        return proxy.metric("pgcache_cache_rows_fragments") >= len(tables)

                    wait_until(are_loaded, "tables are loaded", 30)
            finally:
                stop.set()

        in_threads(lambda: write(0), lambda: write(1), load)
        with Stage(origin, proxy) as stage:
            proxy.settle(direct)
            stage.run(*[(sql, HIT) for sql in reads])
        assert proxy.stop() == 0


# Fragments.

def test_the_second_miss_loads_a_fragment(parts, origin):
    read = "select id, name from tenant where tenant = 7 order by id"
    with Stage(origin, parts) as stage:
        before = loads(parts)
        stage.run((read, ORIGIN))
        stage.run(("select 1 from tenant where tenant = 8 limit 1", ORIGIN))
        assert loads(parts) == before
        stage.run((read, HIT))
        assert loads(parts) == (before[0] + 1, before[1])
        assert "tenant = ?" in pools(parts)["public.tenant"]["fragments"]
        survives(stage, "update tenant set name = name || '!' where id % 100 = 7", read)
        survives(stage, "update tenant set tenant = 7 where id = 18", read)


def test_a_fragment_that_is_too_large_stays_with_the_memo(start_proxy, origin, spare, direct):
    proxy = wait_for_rows(start_proxy(
        **{**WITH_MEMO, "cache_table_size": 0, "cache_fragment_size": "64KiB"}, **existing_cluster(spare)))
    read = "select id, name from tenant where tenant < 9 order by id"
    with Stage(origin, proxy) as stage:
        def is_refused():
            # The memo would answer, and nothing would be missed.
            direct.execute("update tenant set name = name where id = 10")
            proxy.settle(direct)
            stage.run(read)
            return proxy.metric(GIVEN_UP) >= 1

        wait_until(is_refused, "the population is given up")
        answers = proxy.metric(ANSWERS)
        for name in "abc":
            direct.execute("update tenant set name = %s where id = 11", (name,))
            proxy.settle(direct)
            stage.run((read, HIT))
        assert proxy.metric(POPULATIONS) == 1
        assert proxy.metric(ANSWERS) == answers
        # A part of it is not too large.
        small = "select id, name from tenant where id between 1 and 50 order by id"
        direct.execute("update tenant set name = 'd' where id = 11")
        proxy.settle(direct)
        stage.run((small, HIT))


# Long values.

@pytest.mark.parametrize("table", ["large", "large_full"])
class TestLongValues:
    """Stored out of line, and not in the stream when an UPDATE leaves them alone (trap 124)."""

    READS = ["select id, note, md5(body), length(body) from {} where kind = 1 order by id",
             "select body from {} where id = 2"]

    @pytest.fixture(autouse=True)
    def rows(self, direct, table):
        direct.execute(f"truncate {table}")
        direct.execute(f"insert into {table} select i, i % 2, 0, repeat('x' || i, 10000) from generate_series(1, 9) i")

    @pytest.mark.parametrize("change", [
        "update {} set note = 5 where id = 3",
        "update {} set note = 6 where kind = 1",
        "update {} set id = 70 + id",
        "update {} set kind = 0, id = 20 where id = 1",
        "begin; update {} set note = 7 where id = 3; update {} set body = 'short' where id = 3; "
        "update {} set note = 8 where id = 3; commit",
        "update {} set body = null where id = 5",
        "update {} set body = body || 'longer' where kind = 1",
        "delete from {} where id = 3",
        "begin; insert into {} values (50, 1, 1, repeat('new', 9000)); update {} set note = 2 where id = 50; commit",
    ])
    def test_are_kept(self, either, table, change):
        survives(either, change.format(table, table, table), *[read.format(table) for read in self.READS])

    @pytest.mark.parametrize("change", [
        "update {} set kind = 1 where id = 4",
        "begin; update {} set kind = 1 where id = 4; update {} set note = 9 where id = 4; commit",
        "begin; update {} set kind = 0 where id = 5; update {} set kind = 1, note = 3 where id = 5; commit",
        "begin; update {} set id = 40, kind = 1 where id = 4; commit",
    ])
    def test_a_row_moves_into_a_fragment(self, origin, parts, direct, table, change):
        """Its body is nowhere but at the origin: the old image has it, or all of it is loaded again."""
        with Stage(origin, parts) as stage:
            read = self.READS[0].format(table)
            stage.warm(read)
            direct.execute(change.format(table, table))
            parts.settle(direct)
            stage.run((read, HIT))
            survives(stage, f"update {table} set note = note + 10", read)
