"""Functions of users whose bodies can be read, types made of known ones, and text search."""
import pytest

import wire as w

ONE_REACTOR = True

SCHEMA = """
create table items (id int primary key, name text, price numeric, at timestamptz, body text, doc tsvector);
insert into items values (1, 'one', 1.5, '2026-01-01 12:00+00', 'the quick brown foxes', null),
  (2, 'two', 2.5, '2026-02-01 23:30+00', 'lazy dogs sleep', null);
update items set doc = to_tsvector('english', body);
create table rates (id int primary key, rate numeric);
insert into rates values (1, 2), (2, 3);
create function twice(int) returns int language sql immutable as 'select $1 * 2';
create function twice_return(a int) returns int language sql immutable return a * 2;
create function rate_of(item int) returns numeric language sql stable as 'select rate from rates where id = item';
create function rate_atomic(item int) returns numeric language sql stable
  begin atomic select rate from rates where id = item; end;
create function chain(int) returns numeric language sql stable as 'select rate_of($1) * 10';
create function dear(bound numeric) returns setof items language sql stable
  as 'select * from items where price >= bound order by id';
create function priced() returns table (item int, total numeric) language sql stable
  as 'select i.id, i.price * r.rate from items i join rates r using (id) order by 1';
create function shown(timestamptz) returns text language sql stable as 'select to_char($1, ''YYYY-MM-DD HH24'')';
create function drawn() returns float language sql as 'select random()';
create function moment() returns timestamptz language sql stable as 'select now()';
create function in_plpgsql(int) returns int language plpgsql immutable as 'begin return $1 * 2; end';
create function definer(int) returns int language sql security definer as 'select $1 * 2';
create function volatile_reader(int) returns numeric language sql as 'select rate from rates where id = $1';
create function frozen(int) returns numeric language sql immutable as 'select rate from rates where id = $1';
create function harmless(int) returns int language sql as 'select $1 + 1';
create function recursive(n int) returns int language sql stable
  as 'select case when n <= 1 then 1 else n * recursive(n - 1) end';
create function for_few(int) returns int language sql stable as 'select $1 * 3';
revoke execute on function for_few(int) from public;
create table secret (id int primary key); insert into secret values (1);
create function of_secret() returns bigint language sql stable as 'select count(*) from secret';
grant select on items to app_trust;
create schema other;
create table other.rates (id int primary key, rate numeric); insert into other.rates values (1, 1000);
create type pair as (a int, b text);
create type span as range (subtype = numeric);
create table shapes (id int primary key, p pair, ps pair[], s span, r int4range, m datemultirange);
insert into shapes values (1, (1, 'x'), array[(2, 'y')::pair], '[1.5,2.5)', '[1,5)', '{[2026-01-01,2026-02-01)}'),
  (2, (3, null), null, 'empty', null, null);
create text search configuration mine (copy = english);
"""

READS = [
    "select id, twice(id) from items order by id",
    "select id from items where twice_return(id) = 4",
    "select id, rate_of(id) from items order by id",
    "select id, rate_atomic(id), chain(id) from items order by id",
    "select name from items where price > rate_of(1)",
    "select d.name from dear(2) d join rates using (id)",
    "select p.*, name from priced() p join items on id = item order by 1",
    "select shown(at) from items order by id",
    "select recursive(id + 3), harmless(id) from items order by id",
    # Stable functions of settings alone.
    "select to_char(at, 'Day DD'), at::date, date_trunc('month', at) from items order by id",
    "select id, g from items, generate_series(at, at + interval '2 days', interval '1 day') g order by 1, 2",
    "select count(*) from items where at > '2026-01-15'::date",
    "select row_to_json(i), json_build_object('a', at), jsonb_agg(price) over () from items i order by id",
    "select x.* from items, json_to_record('{\"a\": 1, \"b\": \"z\"}') as x(a int, b text) order by id",
    "select array_to_string(array[at], ','), concat(at, price) from items order by id",
    # Text search.
    "select id from items where doc @@ to_tsquery('english', 'fox')",
    "select id from items where to_tsvector('english', body) @@ plainto_tsquery('english', 'sleeping dogs')",
    "select id from items where to_tsvector('mine', body) @@ websearch_to_tsquery('mine', 'fox')",
    "select id from items where body @@ 'dog'",
    "select ts_headline('english', body, to_tsquery('english', 'fox')), ts_rank(doc, to_tsquery('fox')) "
    "from items order by id",
    "select to_tsvector('simple'::regconfig, name), 'english'::regconfig from items order by id",
    "select ts_lexize('english_stem', name) from items order by id",
    # Types.
    "select * from shapes order by id",
    "select id, (p).a, ps[1], lower(s), r && '[4,9)'::int4range, m from shapes order by id",
    "select p from shapes where p = (select p from shapes where id = 1) order by p",
    "select distinct s from shapes order by s",
    "select (id, p) from shapes order by id",
]


@pytest.mark.parametrize("protocol", ["simple", "extended", "binary"])
def test_reads_are_hits(twins, protocol):
    twins.warm(*READS, protocol=protocol)
    twins.repeat(*READS, protocol=protocol)


@pytest.mark.parametrize("change", [
    "update rates set rate = rate + 1 where id = 1", "insert into rates values (3, 4)",
    "delete from rates where id = 2",
    "insert into rates values (2, 9)", "truncate rates", "insert into rates values (1, 2), (2, 3)",
    "update items set price = 3 where id = 1", "insert into items (id, name, price, at, body) values "
    "(3, 'three', 5, '2026-03-03', 'more foxes')",
    "update shapes set p = row(7, 'q')::pair, s = '[3,4)' where id = 2",
])
def test_a_change_of_what_a_body_reads_shows(twins, change):
    twins.warm(*READS)
    twins.ours.ask(w.query(change))
    twins.repeat(*READS)
    twins.warm(*READS)


@pytest.mark.parametrize("setting", [
    "set timezone = 'Asia/Tokyo'", "set default_text_search_config = 'pg_catalog.simple'",
    "set search_path = other, public", "set datestyle = 'German'", "set extra_float_digits = -3",
])
def test_sessions_of_other_settings(twins, start_twins, setting):
    twins.warm(*READS)
    second = start_twins()
    second.say(setting)
    second.warm(*READS)
    twins.repeat(*READS)
    second.repeat(*READS)


@pytest.mark.parametrize("change, read", [
    ("create or replace function twice(int) returns int language sql immutable as 'select $1 * 3'", READS[0]),
    ("create or replace function rate_of(item int) returns numeric language sql stable as 'select 1.0'", READS[2]),
    ("alter text search configuration mine alter mapping for asciiword with simple", READS[17]),
    ("alter text search dictionary english_stem (stopwords)", READS[16]),
    ("alter text search configuration mine rename to yours; create text search configuration mine (copy = simple)",
     READS[17]),
    ("alter type pair add attribute c int", READS[22]),
    ("create function harmless(bigint) returns int language sql volatile as 'select 7'", READS[8]),
])
def test_a_change_of_the_schema_shows(twins, direct, change, read):
    twins.warm(read)
    direct.execute(change)
    twins.until_alike(w.query(read))
    twins.warm(read)


@pytest.mark.cached
@pytest.mark.parametrize("read, reason", [
    ("select drawn() from items", "volatile_function"), ("select moment() from items", "time_dependent"),
    ("select in_plpgsql(id) from items", "user_function"), ("select definer(id) from items", "user_function"),
    ("select volatile_reader(id) from items", "volatile_function"), ("select frozen(id) from items", "user_function"),
    ("select x.* from items, json_to_record('{\"a\": \"now\"}') as x(a timestamptz)", "time_dependent"),
    ("select 'items'::regclass from items", "catalog_dependent"),
])
def test_what_stays_forwarded(proxy, client, read, reason):
    def is_forwarded():
        before = proxy.forwarded().get(reason, 0)
        client.execute(read)
        return proxy.forwarded().get(reason, 0) > before

    proxy.wait_until_answer(is_forwarded, True)


def test_rights_of_the_caller(proxy, start_twins):
    few = "select for_few(id) from items order by id"
    hidden = "select id, rate_of(id) from items order by id"
    table = "select id, of_secret() from items order by id"
    for read in [few, hidden, table]:
        proxy.wait_until_cached(read)
    twins = start_twins("app_trust")
    for read in [few, hidden, table]:
        for _ in range(3):
            twins.ask(w.query(read))


def test_a_function_that_cannot_be_read_makes_the_session_unsure(proxy, direct):
    """What it set is seen; a body that can be read sets nothing and costs nothing."""
    direct.execute("create or replace function sets() returns text language sql as "
                   "'select set_config(''timezone'', ''Asia/Tokyo'', false)'")
    with proxy.connect() as client:
        read = "select at from items where id = 2"
        client.execute("set timezone = 'UTC'")
        before = proxy.wait_until_cached(lambda: client.execute("select at::text from items where id = 2").fetchall())
        client.execute("select sets()")
        after = client.execute("select at::text from items where id = 2").fetchall()
        assert before != after, read


def test_an_immutable_function_is_not_older_than_its_rows(proxy, direct):
    """A generic plan keeps what it was computed to; another session must not get it from the cache."""
    direct.execute("truncate rates; insert into rates values (1, 2), (2, 3)")
    with proxy.connect() as old, proxy.connect() as new:
        old.execute("prepare p as select frozen(1) from items where id = 1")
        for _ in range(8):
            old.execute("execute p").fetchall()
        direct.execute("update rates set rate = 77 where id = 1")
        for _ in range(4):
            old.execute("execute p").fetchall()
            assert new.execute("select frozen(1) from items where id = 1").fetchall()[0][0] == 77
