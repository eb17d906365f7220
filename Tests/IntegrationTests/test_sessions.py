"""What a session is, decides what its statements mean: settings, role, search path, temporary tables,
transactions. Every answer equals the origin's to a session that did the same."""
import pytest

import wire as w
from origin import PASSWORDS

ONE_REACTOR = True

SCHEMA = """
create table item (id int primary key, name text, made timestamptz, born date, size float8,
                   data bytea, span interval);
insert into item select i, 'item ' || i, '2026-01-01 23:30+00', '2026-02-01', i / 3.0::float8,
    '\\xdeadbeef', '1 day 02:03:04' from generate_series(1, 10) i;
create table shadowed (id int primary key, place text);
insert into shadowed values (1, 'public');
create schema other;
create table other.shadowed (id int primary key, place text);
insert into other.shadowed values (1, 'other');
create schema app_trust authorization app_trust;
create table app_trust.shadowed (id int primary key, place text);
insert into app_trust.shadowed values (1, 'app_trust');
grant all on all tables in schema public, other, app_trust to app_trust, app_scram;
grant usage on schema other, app_trust to app_trust, app_scram;
"""

EVERYTHING = "select id, made, born, size, data, span from item where id = 1"

SETTINGS = [
    "set timezone = 'Asia/Tokyo'", "set timezone = 'America/New_York'", "set datestyle = 'German'",
    "set datestyle = 'SQL, DMY'", "set intervalstyle = 'iso_8601'", "set extra_float_digits = -5",
    "set extra_float_digits = 3", "set bytea_output = 'escape'", "set client_encoding = 'latin1'",
    "set time zone 'Europe/Berlin'", "set local timezone = 'Asia/Tokyo'",
    "set standard_conforming_strings = off", "set work_mem = '5MB'",
]


@pytest.fixture
def pair(proxy, origin, database):
    """A new session through the proxy and its twin on the origin."""
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as ours:
        with w.WireClient.logged_in(origin.host, origin.port, database) as theirs:
            yield ours, theirs


def both(pair, *messages):
    ours, theirs = (client.ask(*messages) for client in pair)
    assert ours == theirs
    return ours


def both_rows(pair, *messages):
    """For what names objects that each session made for itself: their OIDs differ."""
    ours, theirs = (client.ask(*messages) for client in pair)
    assert w.types(ours) == w.types(theirs)
    assert w.rows(ours) == w.rows(theirs)


@pytest.mark.parametrize("statement", SETTINGS)
def test_a_setting_changes_the_answer(proxy, pair, statement):
    proxy.wait_until_cached(EVERYTHING)
    both(pair, w.query(EVERYTHING))
    both(pair, w.query(statement))
    for _ in range(3):
        both(pair, w.query(EVERYTHING))
        both(pair, w.extended(EVERYTHING))
    both(pair, w.query("reset all"))
    for _ in range(3):
        both(pair, w.query(EVERYTHING))


@pytest.mark.parametrize("way", [
    "select set_config('timezone', 'Asia/Tokyo', false)",
    "do $$ begin set timezone = 'Asia/Tokyo'; end $$",
    "begin; set timezone = 'Asia/Tokyo'; commit",
    "set session characteristics as transaction isolation level repeatable read",
    "select id from item where id = 1; set timezone = 'Asia/Tokyo'",
    "update pg_settings set setting = 'Asia/Tokyo' where name = 'TimeZone'",
])
def test_other_ways_to_change_a_setting(proxy, pair, way):
    proxy.wait_until_cached(EVERYTHING)
    both(pair, w.query(way))
    for _ in range(3):
        both(pair, w.query(EVERYTHING))


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_set_local_ends_with_the_transaction(proxy, pair, end):
    proxy.wait_until_cached(EVERYTHING)
    for text in ("begin", "set local timezone = 'Asia/Tokyo'", EVERYTHING, end, EVERYTHING,
                 EVERYTHING):
        both(pair, w.query(text))


def test_a_setting_rolled_back_to_a_savepoint(proxy, pair):
    proxy.wait_until_cached(EVERYTHING)
    for text in ("begin", "savepoint a", "set timezone = 'Asia/Tokyo'", "rollback to a",
                 "commit", EVERYTHING, EVERYTHING):
        both(pair, w.query(text))


@pytest.mark.parametrize("parameters", [
    {"TimeZone": "Asia/Tokyo"}, {"options": "-c datestyle=German"}, {"DateStyle": "SQL"},
    {"options": "--extra_float_digits=-3 -c bytea_output=escape"}, {"client_encoding": "LATIN1"},
    {"options": "-c search_path=other"}])
def test_settings_given_at_login(proxy, origin, database, parameters):
    for sql in (EVERYTHING, "select * from shadowed"):
        proxy.wait_until_cached(sql)
        with w.WireClient.logged_in(proxy.host, proxy.port, database, **parameters) as ours:
            with w.WireClient.logged_in(origin.host, origin.port, database, **parameters) as theirs:
                for _ in range(3):
                    both((ours, theirs), w.query(sql))


def test_settings_of_the_role_and_of_the_database(proxy, origin, database, direct):
    """They act at login without a word from the client, and most are not reported to it."""
    proxy.wait_until_cached(lambda: proxy.query(EVERYTHING, "app_scram"))
    direct.execute(f"alter role app_scram in database {database} set bytea_output = 'escape'")
    direct.execute("alter role app_scram set intervalstyle = 'iso_8601'")
    try:
        sessions = [
            w.WireClient.logged_in("127.0.0.1", port, database, "app_scram", PASSWORDS["app_scram"])
            for port in (proxy.port, origin.port)]
        for _ in range(3):
            both(sessions, w.query(EVERYTHING))
        for session in sessions:
            session.close()
    finally:
        direct.execute("alter role app_scram reset all")
        direct.execute(f"alter role app_scram in database {database} reset all")


def test_search_path(proxy, pair):
    read = "select place from shadowed where id = 1"
    for path in ("public", "other", "other, public", "public, other", '"$user", public', "nowhere"):
        both(pair, w.query(f"set search_path = {path}"))
        for _ in range(3):
            both(pair, w.query(read))
            both(pair, w.extended(read))


def test_search_path_at_login_splits_what_is_cached(proxy):
    read = "select place from shadowed where id = 1"
    for _ in range(3):
        for path in ("public", "other"):
            with proxy.connect(options=f"-c search_path={path}") as connection:
                answer = proxy.wait_until_cached(lambda: connection.execute(read).fetchall())
                assert answer == [(path,)]


def test_the_users_own_schema_comes_first(proxy):
    read = "select place from shadowed where id = 1"
    for _ in range(2):
        for user, place in (("postgres", "public"), ("app_trust", "app_trust")):
            with proxy.connect(user) as connection:
                assert proxy.wait_until_cached(
                    lambda: connection.execute(read).fetchall()) == [(place,)]


def test_set_role(proxy, pair):
    read = "select place, current_user from shadowed where id = 1"
    plain = "select place from shadowed where id = 1"
    proxy.wait_until_cached(plain)
    for text in (read, "set role app_trust", read, plain, plain, "reset role", read, plain, plain,
                 "set session authorization app_trust", read, plain, plain,
                 "reset session authorization", plain, read):
        both(pair, w.query(text))


def test_a_temporary_table_hides_another(proxy, pair):
    read = "select place from shadowed order by id"
    proxy.wait_until_cached(read)
    for text in (read, "create temp table shadowed (id int, place text)", read, read,
                 "insert into shadowed values (1, 'mine')", read, read, "drop table shadowed",
                 read, read):
        both_rows(pair, w.query(text))


@pytest.mark.parametrize("way", [
    "create temp table shadowed as select 1 as id, 'temp'::text as place",
    "select 1 as id, 'temp'::text as place into temp shadowed",
    "create temp view shadowed as select 1 as id, 'view'::text as place",
    "do $$ begin create temp table shadowed as select 1 as id, 'do'::text as place; end $$",
    "create table pg_temp.shadowed as select 1 as id, 'pg_temp'::text as place",
])
def test_ways_to_a_temporary_table(proxy, pair, way):
    read = "select place from shadowed order by id"
    proxy.wait_until_cached(read)
    both_rows(pair, w.query(way))
    for _ in range(3):
        both_rows(pair, w.query(read))
    both_rows(pair, w.query("discard temp"))
    for _ in range(3):
        both_rows(pair, w.query(read))


@pytest.mark.parametrize("begin", [
    "begin", "begin isolation level repeatable read", "begin isolation level serializable",
    "start transaction read only"])
def test_transactions_see_what_the_origin_shows(proxy, pair, direct, begin):
    read = "select name from item where id = 9"
    direct.execute("update item set name = 'before' where id = 9")
    proxy.wait_until_answer(read, [("before",)])
    proxy.wait_until_cached(read)
    both(pair, w.query(begin))
    both(pair, w.query(read))
    direct.execute("update item set name = 'after' where id = 9")
    if "repeatable" not in begin and "serializable" not in begin:
        # READ COMMITTED shows what is there, and from the cache what was there when the stream last told.
        proxy.wait_until_answer(read, [("after",)])
    both(pair, w.query(read))
    both(pair, w.query("commit"))
    assert both(pair, w.query("show transaction_isolation"))
    proxy.wait_until_answer(read, [("after",)])


@pytest.mark.cached
def test_a_read_in_a_transaction_is_a_hit_until_it_writes(proxy, client):
    read = "select name from item where id = 2"
    proxy.wait_until_cached(lambda: client.execute(read).fetchall())
    client.execute("begin")
    with proxy.expect_hits(1):
        client.execute(read)
    client.execute("lock table item in access share mode")
    with proxy.expect_forward("in_transaction"):
        client.execute(read)
    client.execute("commit")
    proxy.wait_until_cached(lambda: client.execute(read).fetchall())


def test_own_uncommitted_changes_are_visible(proxy, client):
    read = "select name from item where id = 3"
    proxy.wait_until_cached(lambda: client.execute(read).fetchall())
    with client.transaction(force_rollback=True):
        client.execute("update item set name = 'mine' where id = 3")
        assert client.execute(read).fetchall() == [("mine",)]
        # Nobody else may see it, not even by way of the cache.
        assert proxy.query(read) == [("item 3",)]
    assert client.execute(read).fetchall() == [("item 3",)]


@pytest.mark.cached
@pytest.mark.parametrize("statement", [
    "set application_name = 'x'", "set statement_timeout = '10s'", "show timezone"])
def test_a_harmless_statement_keeps_the_session_cacheable(proxy, client, statement):
    client.execute(statement)
    proxy.wait_until_cached(lambda: client.execute("select name from item where id = 4").fetchall())


@pytest.mark.cached
def test_another_database_is_forwarded(proxy, origin):
    with proxy.connect(database="postgres") as connection:
        with proxy.expect_forward():
            assert connection.execute(
                "select datname from pg_database where datname = 'template1'").fetchone()


def test_the_same_name_in_another_database(proxy, origin, database):
    elsewhere = origin.create_database()
    with origin.connect(elsewhere) as connection:
        connection.execute("create table shadowed (id int primary key, place text)")
        connection.execute("insert into shadowed values (1, 'elsewhere')")
    read = "select place from public.shadowed where id = 1"
    proxy.wait_until_cached(read)
    with proxy.connect(database=elsewhere) as connection:
        for _ in range(3):
            assert connection.execute(read).fetchall() == [("elsewhere",)]
    origin.drop_database(elsewhere)
