"""Answers from rows are the origin's to the byte, whatever their types, the settings, and the form of the protocol."""
import asyncio

import psycopg
import pytest
from psycopg import sql as composer

import wire as w
from rowtier import ROWS, ask_for_long, in_threads, module_proxy, survives
from stage import HIT, Stage

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table item (id int primary key, kind int, name text, price int);
create index on item (kind);
create schema one;
create schema two;
create table one.thing (id int primary key, name text);
create table two.thing (id int primary key, name text);
insert into one.thing values (1, 'one');
insert into two.thing values (1, 'two');
create table moment (id int primary key, at timestamptz, day date, span interval, data bytea, size float8, cost numeric,
                     word text);
insert into moment values
    (1, '2026-01-01 23:30+00', '2026-02-01', '1 day 02:03:04', '\\x27dead5c00', 1 / 3.0, 1234567.891, 'naïve'),
    (2, '2026-07-01 12:00+00', '2026-01-02', '-1 day -02:03:00', '', 1e20, -0.5, E'a\\nb');
"""

proxy = module_proxy(**ROWS)


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


@pytest.fixture
def items(direct, proxy):
    direct.execute("truncate item; "
                   "insert into item select i, i % 3, 'item ' || i, i * 10 from generate_series(1, 12) i")
    # Or the first answer may be of what the test before has left.
    proxy.settle(direct)


# Types.

TYPES = {
    "bool": ["true", "false"], "int2": ["-32768"], "int8": ["9223372036854775807"], '"char"': ["a", ""],
    "float4": ["NaN", "-Infinity", "0.1", "-0", "1e-40"],
    "float8": ["NaN", "Infinity", "0.1", "-0", "5e-324"],
    "numeric": ["NaN", "Infinity", "-Infinity", "1.10", "0.000", "1e130", "-12345678901234567890.123456789"],
    "numeric(10,3)": ["1.1", "-1234567"], "char(5)": ["ab", "     ", "äöüß"], "varchar(5)": ["ab ", ""],
    "text": ["", " \t\n\\\"'", "naïve 漢 😀"], "name": ["n"], "bytea": ["\\x", "\\x00ff5c27"],
    "bit(3)": ["101"], "varbit": ["", "1"],
    "date": ["infinity", "-infinity", "2026-02-28", "0044-03-15 BC", "5874897-12-31"],
    "time": ["24:00:00", "12:34:56.789012"], "timetz": ["12:34:56+05:30"],
    "timestamp": ["infinity", "2026-01-02 03:04:05.000001", "4713-01-01 BC"],
    "timestamptz": ["-infinity", "2026-01-02 03:04:05.6+09", "0001-01-01 00:00:00+00 BC"],
    "interval": ["1 year 2 mons -3 days 04:05:06.789", "-00:00:01", "0"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "json": ['{"b": 1,   "a": [1, 2], "a": null}'],
    "jsonb": ['{"b": 1.10, "a": [1, 2], "c": "\\u00e9"}', "null"], "jsonpath": ["$.a[*] ? (@ > 1)"],
    "int[]": ["{}", "[2:3]={1,NULL}", "{{1,2},{3,4}}"], "text[]": ['{a,"b c",NULL,"NULL","\\"",""}'],
    "numeric[]": ["{NaN,1.0}"], "timestamptz[]": ["{infinity,2026-01-01}"], "inet": ["192.168.0.1/24", "::1"],
    "cidr": ["10.0.0.0/8"], "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "int4range": ["empty", "[1,5)", "(,)"], "numrange": ["(1.50,]"], "tstzrange": ["[2026-01-01,infinity)"],
    "daterange": ["[2026-01-01,)"], "int4multirange": ["{[1,3),[5,7)}"], "point": ["(1,2.5)"],
    "box": ["(3,4),(1,2)"], "path": ["[(0,0),(1,1)]"], "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(1,2),3>"], "line": ["{1,2,3}"], "lseg": ["[(0,0),(1,1)]"],
    "tsvector": ["'a':1A 'b':2,3 'c d'"], "tsquery": ["'a' & !'b' <-> 'c':*"], "oid": ["4294967295"],
    "pg_lsn": ["16/B374D848"], "mood": ["sad", "ok", "it's \"fine\""], "mood[]": ["{sad,NULL,ok}"],
    "positive": ["7"], "label": ["abc"], "moods": ["{ok,sad}"], "positive[]": ["{1,2}"],
}
MADE_HERE = {"mood", "mood[]", "positive", "label", "moods", "positive[]"}


@pytest.fixture(scope="module")
def typed(origin, database):
    """A table for each type, made before anybody looks."""
    with origin.connect(database) as connection:
        connection.execute("""
            create type mood as enum ('sad', 'it''s "fine"', 'happy');
            alter type mood add value 'ok' before 'happy';
            create domain positive as int check (value > 0);
            create domain label as varchar(10) collate "C" default 'none';
            create domain moods as mood[];
            create table held (id int primary key, oid oid, v oid);
            insert into held values (1, 'item'::regclass, 'item'::regclass);
        """)
        for number, (name, values) in enumerate(TYPES.items()):
            rows = ", ".join(f"({key}, {composer.Literal(value).as_string(connection)}, 0)"
                             for key, value in enumerate([*values, None]))
            connection.execute(f"create table typed_{number} (id int primary key, v {name}, touched int)")
            connection.execute(f"insert into typed_{number} values {rows}")


class TestTypes:
    @pytest.mark.parametrize("name", TYPES)
    def test_are_the_same_bytes(self, typed, origin, stage, name):
        """As COPY has brought them, and then as the stream does."""
        number = list(TYPES).index(name)
        sql = f"select id, v from typed_{number} order by id"
        binary = [[w.extended(sql, results=(1,))], [w.extended(sql, results=(1, 0))]]
        # No column tells which type the array of a user's type is.
        texts = [f"select id, v::text, array_agg(v) over (order by id) from typed_{number} order by id"]
        reads = [sql, [w.extended(sql)]]
        if name not in MADE_HERE and "[]" not in name:
            reads += texts
            texts = []
        # An array of a user's type holds the type's number.
        if name not in ("mood[]", "moods", "positive[]"):
            reads += binary
            binary = []
        # What timetz means is the day's affair.
        if name != "timetz":
            survives(stage, f"update typed_{number} set touched = touched + 1", *reads)
        for read in texts + binary:
            ask_for_long(stage, read)

    @pytest.mark.parametrize("sql", [
        "select v, array_agg(v) from {mood} group by v order by v",
        "select v > 'sad', v from {mood} order by v desc",
        "select x from {mood} x where id = 1",
        "select row(id, v) from {mood} where id = 1",
        "select array_agg(x) from {mood} x where id = 1",
        "select min(v), max(v) from {mood} where id < 3",
        "select v + 1, v from {positive} where id = 0",
        "select array[v] from {mood} where id = 1",
        "select array_agg(v order by id) from {positive} where id = 0",
        "select unnest(v) from {mood[]} where id = 0",
        "select v[1] from {mood[]} where id = 0",
        "select row_to_json(x), to_jsonb(v) from {mood} x where id = 1",
        "select pg_typeof(v) from {mood} where id = 1",
        "select null::mood, v from {mood} where id = 1",
        "select enum_range(v), enum_first(v) from {mood} where id = 1",
        "select tableoid, v from {mood} where id = 1",
        "select tableoid::regclass, v from {mood} where id = 1",
        "select ctid, v from {mood} where id = 1",
        "select (x.*)::text, x.v from {mood} x where id = 1",
        "select hashenum(v), hashenumextended(v, 1), id from {mood} order by id",
        "select hash_array(array[v]), hash_array(array[1]), id from {mood} order by id",
        "select hash_record(row(v)), id from {mood} order by id",
        "select enum_send(v), array_send(array[v]), record_send(row(v)) from {mood} where id = 1",
        "select '{mood}'::regclass::oid, id from {mood} order by id",
        "select '{mood}'::regclass, 'mood'::regtype, id from {mood} order by id",
        "select to_regclass('{mood}')::oid, to_regtype('mood')::oid, id from {mood} order by id",
        "select pg_typeof(v)::oid, id from {mood} order by id",
        "select relname from pg_class where oid = '{mood}'::regclass and exists (select from {mood})",
        "select (select oid::regclass from held where id = 1), id from {mood} order by id",
        "select v::regclass, v::oid::regtype, format_type(v, -1) from held where id = 1",
        "select v::regclass::text from held where id = 1",
        "select format('%s', v::regclass), v::regclass || '' from held where id = 1",
        "select pg_relation_size(v), has_table_privilege(v, 'select') from held where id = 1",
        "select pg_get_viewdef(v), obj_description(v), col_description(v, 1) from held where id = 1",
    ])
    def test_what_is_made_of_types_of_users(self, typed, stage, sql):
        """From rows or not; numbers of types and tables are the origin's own everywhere in an answer."""
        numbers = {name: f"typed_{number}" for number, name in enumerate(TYPES)}
        for name in ("mood[]", "mood", "positive"):
            sql = sql.replace("{" + name + "}", numbers[name])
        stage.warm(f"select id, v from {numbers['mood']} order by id")
        stage.warm("select id from held")
        for message in (sql, [w.extended(sql)], [w.extended(sql, results=(1,))]):
            ask_for_long(stage, message)


@pytest.mark.parametrize("sql", [
    "select current_database(), current_user, session_user, current_schema, id from held",
    "select current_setting('data_directory'), current_setting('port'), id from held",
    "select lower('ÄÖ' || id), upper('äö'), initcap('éa bé'), id from held",
    "select 'É' ~* 'é', 'é' ~ '[[:alpha:]]', 'Éa' ilike 'éA', to_tsvector('simple', 'ÉA'), id from held",
    "select id from (values ('a'), ('B'), ('_'), ('é'), ('Z')) x(t) join held on true order by t",
    "select string_agg(t, '' order by t) from (values ('a'), ('B'), ('_'), ('é'), ('Z')) x(t) join held on true",
    "select to_char(1234.5, 'L9G999D99'), to_char(date '2026-03-01', 'TMMonth'), id from held",
    "select 12.5::money, id from held",
    "select random() < 2, gen_random_uuid() is not null, now() is not null, id from held",
])
def test_what_a_server_knows_of_itself(typed, stage, sql):
    """Locales, settings and names are the origin's, whoever computes."""
    stage.warm("select id from held")
    for message in (sql, [w.extended(sql)]):
        ask_for_long(stage, message)


@pytest.mark.parametrize("sql", [
    "select inet_server_port(), pg_backend_pid(), version(), id from held",
    "select pg_current_wal_lsn(), txid_current(), pg_postmaster_start_time(), id from held",
    "select pg_size_pretty(pg_database_size(current_database())), id from held",
])
def test_what_only_the_origin_can_tell(typed, proxy, client, sql):
    for _ in range(4):
        with proxy.expect_hits(0):
            client.execute(sql)


class TestDescriptions:
    def test_columns_behind_dropped_ones(self, stage, direct):
        direct.execute("create table described (gone int, id int primary key, also_gone text, name varchar(7), "
                       "cost numeric(6,2), last char(3))")
        direct.execute("alter table described drop column gone, drop column also_gone, add column added bit(4)")
        direct.execute("insert into described values (1, 'n', 1.5, 'l', '1010')")
        for sql in ("select * from described", "select added, name, id + 1, name as other, cost::int from described",
                    "select d.last, e.added from described d join described e using (id)",
                    "select x.name, x.id from (select name, id from described) x"):
            survives(stage, "update described set cost = cost + 1", sql, [w.extended(sql)])

    def test_described_before_it_is_bound(self, stage):
        sql = "select id, name, price from item where id = $1"
        messages = [w.parse(sql, "s1") + w.describe_statement("s1") + w.SYNC]
        stage.ask(messages)
        read = [w.bind("s1", ("3",)) + w.execute() + w.SYNC]
        stage.run((read, HIT))
        stage.run(([w.bind("s1", ("3",), results=(1,)) + w.describe_portal() + w.execute() + w.SYNC], HIT))
        survives(stage, "update item set price = price + 1 where id = 3", read)


# Settings.

SETTINGS = [
    {}, {"TimeZone": "Asia/Tokyo"}, {"DateStyle": "SQL, DMY"}, {"IntervalStyle": "iso_8601"},
    {"bytea_output": "escape"}, {"extra_float_digits": "-3"}, {"client_encoding": "LATIN1"},
    {"TimeZone": "UTC", "DateStyle": "German", "IntervalStyle": "sql_standard", "bytea_output": "escape"}]
MOMENTS = ["select * from moment order by id",
           "select at::date, day::text, span::text, size::text from moment order by id",
           "select id from moment where at < '2026-01-02 04:00' order by id",
           "select data || '\\x00' from moment order by id"]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_decide_what_rows_look_like(origin, proxy, settings):
    with Stage(origin, proxy, **settings) as stage:
        for sql in MOMENTS:
            if settings.get("client_encoding"):
                # Such sessions are forwarded.
                stage.run(sql, [w.extended(sql)], sql)
            else:
                stage.run((sql, HIT), ([w.extended(sql)], HIT))


def test_settings_change_in_a_session(stage):
    for settings in [*SETTINGS, {}]:
        for name, value in settings.items():
            stage.ask(f"set {name} = '{value}'")
        for sql in MOMENTS:
            stage.run(sql if settings.get("client_encoding") else (sql, HIT))
        for name in settings:
            stage.ask(f"reset {name}")


def test_sessions_of_different_settings_at_the_same_time(origin, proxy):
    zones = ("Asia/Tokyo", "America/New_York", "UTC", "Europe/Berlin")
    sql = "select at, day, span, size from moment order by id"

    def ask(zone):
        with Stage(origin, proxy, TimeZone=zone, DateStyle="ISO, DMY" if "A" in zone else "ISO") as stage:
            stage.warm(sql)
            for _ in range(60):
                stage.ask(sql)

    # What a test before has changed of the schema may be noticed meanwhile, and empty the row tier.
    for _ in range(5):
        hits = proxy.hits()
        in_threads(*[lambda zone=zone: ask(zone) for zone in zones])
        if proxy.hits() - hits > 100:
            break
    else:
        pytest.fail("too few hits")


def test_one_name_in_two_schemas(stage):
    read = "select name from thing where id = 1"
    for path in ("one", "two, one", "one, two", "public, two"):
        stage.ask(f"set search_path = {path}")
        survives(stage, "update one.thing set name = name || '+'; update two.thing set name = name || '-'", read)
    stage.ask("set search_path = public, two")
    stage.run((read, HIT))
    stage.ask("create temp table thing (id int, name text)")
    stage.ask("insert into thing values (1, 'temporary')")
    for _ in range(5):
        # Its number is the session's own.
        assert w.rows(stage.ours.ask(w.query(read))) == [[b"temporary"]]


# Protocols.

class TestProtocols:
    READ = "select id, name, price from item where kind = 1 order by id"

    @pytest.mark.parametrize("options", [
        {}, {"prepare_threshold": 0}, {"cursor_factory": psycopg.ClientCursor}], ids=["extended", "prepared", "simple"])
    @pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
    def test_psycopg(self, proxy, origin, database, items, direct, options, binary):
        if options.get("cursor_factory") and binary:
            return  # there is no binary format in simple queries
        sql = "select id, name, price, kind = %s from item where kind = %s and price > %s order by id"
        with proxy.connect(**options) as client, \
                origin.connect(database, **{"prepare_threshold": None, **options}) as oracle:
            for price in (0, 20, 60):
                ask = lambda c: c.cursor(binary=binary).execute(sql, (1, 1, price)).fetchall()  # noqa: E731
                assert proxy.wait_until_cached(lambda: ask(client)) == ask(oracle)
                direct.execute("update item set name = name || '.' where id = 7")
                proxy.wait_until_answer(lambda: ask(client), ask(oracle))
                assert proxy.wait_until_cached(lambda: ask(client)) == ask(oracle)

    def test_asyncpg(self, typed, proxy, origin, database, items, direct):
        asyncpg = pytest.importorskip("asyncpg")
        mood = f"select id, v from typed_{list(TYPES).index('mood')} where id = $1"

        async def script():
            ours, theirs = [await asyncpg.connect(host=where.host, port=where.port, user="postgres", database=database)
                            for where in (proxy, origin)]
            try:
                for round in range(1000):
                    if proxy.hits() > hits + 20:
                        return
                    for sql, values in (("select * from item where kind = $1 order by id", (1,)), (mood, (round % 3,)),
                                        ("select at, day, span, cost from moment where id = $1", (1,))):
                        assert await ours.fetch(sql, *values) == await theirs.fetch(sql, *values)
                    async with ours.transaction():
                        assert await ours.fetchval("select count(*) from item where kind = 1") == 4
            finally:
                await ours.close()
                await theirs.close()

        hits = proxy.hits()
        asyncio.run(script())
        assert proxy.hits() > hits + 20, proxy.forwarded()

    def test_prepared_statements_and_portals(self, stage, items):
        sql = "select id, name from item where kind = $1 order by id"
        stage.ask([w.parse(sql, "p") + w.SYNC])
        for kind in ("0", "1", "2", None):
            stage.run(([w.bind("p", (kind,)) + w.execute() + w.SYNC], HIT))
        stage.run([w.bind("p", ("1",), portal="c") + w.execute("c", 2) + w.execute("c", 1) + w.execute("c") + w.SYNC])
        stage.run(([w.parse(sql) + w.bind("", ("1",)) + w.describe_portal() + w.execute() + w.SYNC], HIT))
        # Several in one pipeline, a write between them.
        read = w.bind("p", ("1",)) + w.execute()
        stage.run([read + w.SYNC, read + read + w.SYNC][1:])
        write = w.parse("update item set name = name || '?' where kind = 1") + w.bind() + w.execute()

        def restore():
            with stage.origin.connect(stage.proxy.database) as direct:
                direct.execute("update item set name = 'item ' || id where name <> 'item ' || id")
                stage.proxy.settle(direct)

        stage.run([read + write + read + w.SYNC], restore=restore)

    def test_inside_transactions(self, stage, items):
        read = self.READ
        stage.run("begin", (read, HIT), read, "commit")
        stage.run("begin isolation level repeatable read", read, read, "commit")
        stage.run("begin", "update item set name = 'own' where id = 1", read, "rollback", read)
