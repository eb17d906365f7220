"""Changes of the schema that others make, past the proxy, and what reports them (rule D1): the event trigger alone,
with a poll that never comes, and the poll alone. The origin is the oracle: names, types and rows."""
import psycopg
import pytest

from origin import Origin
from proxy import DIRECT, Proxy
from test_visibility import HeldCommit, hold_commits
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create role ddl_reader login;
create role ddl_group;
create role ddl_nobody login;
create schema front;
create schema aside;
grant usage on schema front, aside to public;
"""

NEVER = "3600s"
MODES = {
    "trigger": {"cdc_event_trigger": "on", "catalog_poll_interval": NEVER},
    "poll": {"cdc_event_trigger": "off", "catalog_poll_interval": "100ms"},
}


@pytest.fixture(scope="module", autouse=True)
def roles(origin):
    """Roles belong to the server: they outlive the database of a reactor."""
    yield
    with origin.connect() as connection:
        connection.execute("drop role if exists ddl_reader, ddl_group, ddl_nobody")


@pytest.fixture(scope="module")
def database(origin, reactor):
    name = origin.create_database()
    with origin.connect(name) as connection:
        connection.execute("drop role if exists ddl_reader, ddl_group, ddl_nobody")
        connection.execute(SCHEMA)
    yield name
    with origin.connect(name) as connection:
        connection.execute("drop owned by ddl_reader, ddl_group, ddl_nobody cascade")
    origin.drop_database(name)


@pytest.fixture(scope="module", params=sorted(MODES))
def mode(request):
    if DIRECT and request.param != "poll":
        pytest.skip("nobody notices anything without the proxy")
    return request.param


@pytest.fixture(scope="module")
def proxy(origin, database, reactor, mode):
    process = Proxy(origin, database, reactor, **MODES[mode])
    yield process
    process.remove()


def answer(connection, sql):
    """Names, types and rows, or the SQLSTATE."""
    try:
        cursor = connection.execute(sql)
        return [(c.name, c.type_code) for c in cursor.description], cursor.fetchall()
    except psycopg.Error as error:
        return error.sqlstate


def triggers(origin, database):
    return [name for (name,) in origin.query(
        "select evtname from pg_event_trigger where evtname like 'pgcache%%' order by 1", database)]


def functions(origin, database):
    return origin.value("select count(*) from pg_proc where proname like 'pgcache%%'", database)


def publications(origin, database):
    return [name for (name,) in origin.query("select pubname from pg_publication", database)]


def generation(proxy):
    return 0 if DIRECT else proxy.metric("pgcache_cache_generation")


TABLE = "create table {t} (id int primary key, name text); insert into {t} values (1, 'one'), (2, 'two')"
READ = "select * from {t} order by id"

# Name: setup, what is read, the change; with its options.
CHANGES = {
    "add column": (TABLE, READ, "alter table {t} add extra int default 7"),
    "drop column": (TABLE, READ, "alter table {t} drop name"),
    "rename column": (TABLE, READ, "alter table {t} rename name to title"),
    "alter type": (TABLE, READ, "alter table {t} alter name type varchar(2) using left(name, 2)"),
    "alter type of the key": (TABLE, READ, "alter table {t} alter id type bigint"),
    "swap columns by name": (
        TABLE + "; alter table {t} add other text default 'x'", "select name from {t} order by id",
        "begin; alter table {t} rename name to old; alter table {t} rename other to name; commit"),
    "rename table": (TABLE, READ, "alter table {t} rename to {t}_gone"),
    "swap tables": (
        TABLE + "; create table {t}_new (id int primary key, name text)", READ,
        "begin; alter table {t} rename to {t}_old; alter table {t}_new rename to {t}; commit"),
    "set schema": (TABLE, READ, "alter table {t} set schema aside"),
    "drop": (TABLE, READ, "drop table {t}"),
    "drop and create": (
        TABLE, READ, "drop table {t}; create table {t} (id int primary key, v int); insert into {t} values (3, 3)"),
    "enum value renamed": (
        "create type {t}_mood as enum ('sad', 'ok'); create table {t} (id int primary key, name {t}_mood); "
        "insert into {t} values (1, 'sad')", READ, "alter type {t}_mood rename value 'sad' to 'blue'"),
    "enum type renamed": (
        "create type {t}_mood as enum ('sad', 'ok'); create table {t} (id int primary key, name {t}_mood); "
        "insert into {t} values (1, 'sad')", READ, "alter type {t}_mood rename to {t}_moods"),
    "attach partition": (
        "create table {t} (id int primary key, name text) partition by range (id); "
        "create table {t}_1 partition of {t} for values from (0) to (10); create table {t}_2 (like {t} including all);"
        "insert into {t} values (1, 'a'); insert into {t}_2 values (11, 'b')", READ,
        "alter table {t} attach partition {t}_2 for values from (10) to (20)"),
    "detach partition": (
        "create table {t} (id int primary key, name text) partition by range (id); "
        "create table {t}_1 partition of {t} for values from (0) to (10); insert into {t} values (1, 'a')", READ,
        "alter table {t} detach partition {t}_1"),
    "attach a table that is read": (
        "create table {t}_root (id int primary key, name text) partition by range (id); " + TABLE, READ,
        "alter table {t}_root attach partition {t} for values from (0) to (10); "
        "insert into {t}_root values (3, 'by way of the root')"),
    "first child": (TABLE, READ, "create table {t}_child () inherits ({t}); insert into {t}_child values (3, 'x')"),
    "replace view": (
        TABLE + "; create view {t}_seen as select id, name from {t}", "select * from {t}_seen order by id",
        "create or replace view {t}_seen as select id, upper(name) as name from {t}"),
    "replace function": (
        TABLE + "; create function {t}_f(int) returns int language sql immutable as 'select $1 + 1'",
        "select {t}_f(id) from {t} order by id",
        "create or replace function {t}_f(int) returns int language sql immutable as 'select $1 + 10'"),
    "shadow a function": (
        TABLE, "select upper(name) from {t} order by id",
        "create function public.upper(text) returns text language sql immutable as 'select $1';"
        "drop function public.upper(text)"),
    "volatility": (
        TABLE + "; create function {t}_f(int) returns int language sql immutable as 'select $1 + 1'",
        "select {t}_f(id) from {t} order by id", "alter function {t}_f(int) volatile"),
    "replica identity full": (
        TABLE, READ, "alter table {t} replica identity full; update {t} set name = 'changed'"),
    "replica identity nothing": (
        TABLE, READ, "alter table {t} replica identity nothing; insert into {t} values (3, 'three')"),
    "replica identity index": (
        TABLE + "; alter table {t} alter name set not null; create unique index {t}_i on {t} (name)", READ,
        "alter table {t} replica identity using index {t}_i; update {t} set name = name || id, id = id + 10"),
    "column default": (
        TABLE, READ, "alter table {t} alter name set default 'by default'; insert into {t} (id) values (3)"),
    "generated column": (
        TABLE, READ, "alter table {t} add twice int generated always as (id * 2) stored; update {t} set id = id + 5"),
    "domain": (
        "create domain {t}_d as int; create table {t} (id int primary key, name {t}_d); "
        "insert into {t} values (1, 5)", "select id, name, 3::{t}_d as d from {t}",
        "alter domain {t}_d add constraint many check (value > 4)"),
    "trigger": (
        TABLE + "; create function {t}_f() returns trigger language plpgsql as "
        "$$ begin new.name := 'by trigger'; return new; end $$", READ,
        "create trigger {t}_t before insert on {t} for each row execute function {t}_f();"
        "insert into {t} values (3, 'mine')"),
    "rule": (TABLE, READ, "create rule {t}_r as on update to {t} do instead nothing; update {t} set name = 'x'"),
    "earlier in the path": (
        TABLE, READ, "create table front.{t} (id int primary key, name text)", {"path": "front,public"}),
    "no longer earlier in the path": (
        TABLE + "; create table front.{t} (id int primary key, name text)", READ, "drop table front.{t}",
        {"path": "front,public"}),
    "schema renamed": (
        TABLE + "; create schema {t}_s; create table {t}_s.{t} (id int primary key, name text)", READ,
        "alter schema {t}_s rename to {t}_x; drop schema {t}_x cascade", {"path": "{t}_s,public"}),
    "collation refreshed": (TABLE, READ, 'alter collation "C" refresh version'),
    "row security": (
        TABLE + "; grant select on {t} to ddl_reader", READ,
        "create policy p on {t} using (id > 1); alter table {t} enable row level security", {"user": "ddl_reader"}),
    "revoke": (
        TABLE + "; grant select on {t} to ddl_reader", READ, "revoke select on {t} from ddl_reader",
        {"user": "ddl_reader"}),
    "grant": (TABLE, READ, "grant select on {t} to ddl_reader", {"user": "ddl_reader"}),
    "revoke on the schema": (
        "create schema {t}_s; grant usage on schema {t}_s to ddl_reader; "
        "create table {t}_s.{t} (id int primary key); grant select on {t}_s.{t} to ddl_reader",
        "select * from {t}_s.{t}", "revoke usage on schema {t}_s from ddl_reader", {"user": "ddl_reader"}),
    "revoke from public": (
        TABLE + "; grant select on {t} to public", READ, "revoke select on {t} from public",
        {"user": "ddl_reader"}),
    "drop owned": (
        TABLE + "; grant select on {t} to ddl_reader", READ, "drop owned by ddl_reader", {"user": "ddl_reader"}),
    "by a function": (
        TABLE + "; create function {t}_f() returns void language plpgsql as "
        "$$ begin execute 'alter table {t} add extra int default 1'; end $$", READ, "select {t}_f()"),
    "by do": (TABLE, READ, "do $$ begin alter table {t} add extra int default 1; end $$"),
    "create table as": (TABLE, READ, "drop table {t}; create table {t} as select 9 as id, 'nine' as name"),
    "select into": (TABLE, READ, "drop table {t}; select 9 as id into {t}"),
    "in a savepoint": (TABLE, READ, "begin; savepoint a; alter table {t} add extra int default 1; release a; commit"),
}

# What fires no event trigger.
ONLY_POLLED = {
    "role leaves a group": (
        TABLE + "; grant select on {t} to ddl_group; grant ddl_group to ddl_reader; alter role ddl_reader inherit",
        READ, "revoke ddl_group from ddl_reader", {"user": "ddl_reader"}),
    "role joins a group": (
        TABLE + "; grant select on {t} to ddl_group; revoke ddl_group from ddl_reader; alter role ddl_reader inherit",
        READ, "grant ddl_group to ddl_reader", {"user": "ddl_reader"}),
    "role becomes noinherit": (
        TABLE + "; grant select on {t} to ddl_group; grant ddl_group to ddl_reader; alter role ddl_reader inherit",
        READ, "alter role ddl_reader noinherit", {"user": "ddl_reader"}),
    "role becomes superuser": (
        TABLE + "; alter role ddl_reader nosuperuser", READ, "alter role ddl_reader superuser",
        {"user": "ddl_reader"}),
    "role is no superuser any more": (
        TABLE + "; alter role ddl_reader superuser", READ, "alter role ddl_reader nosuperuser",
        {"user": "ddl_reader"}),
    "owner of a table changes": (
        TABLE + "; alter table {t} owner to ddl_reader", READ,
        "reassign owned by ddl_reader to ddl_nobody", {"user": "ddl_reader"}),
    "in replica mode": (
        TABLE, READ, "set session_replication_role = replica; alter table {t} add extra int default 7"),
}

# Refused, or forwarded for ever, before the change.
FORWARDED = {
    "attach partition", "detach partition", "domain", "grant", "replace function", "replace view",
    "role becomes superuser", "role joins a group", "volatility",
}


class TestWhatOthersChange:
    @pytest.mark.parametrize("name", sorted(CHANGES) + sorted(ONLY_POLLED))
    def test_is_noticed(self, proxy, origin, database, mode, name):
        if name in ONLY_POLLED and mode == "trigger":
            pytest.skip("fires no event trigger")
        case = {**CHANGES, **ONLY_POLLED}[name]
        table = f"{mode}_" + "".join(c if c.isalnum() else "_" for c in name)
        setup, read, change = (part.replace("{t}", table) for part in case[:3])
        options = case[3] if len(case) > 3 else {}
        path = options.get("path", "public").replace("{t}", table)
        login = {"user": options.get("user", "postgres"), "options": f"-c search_path={path}"}
        with origin.connect(database) as admin, origin.connect(database, **login) as oracle, \
                proxy.connect(**login) as reader:
            admin.execute(setup)
            # Refused or forwarded for ever is fine, too: whatever is asked must be right afterwards.
            proxy.wait_until_answer(lambda: answer(reader, read), answer(oracle, read))
            hits = proxy.hits()
            if name not in FORWARDED and not DIRECT:
                wait_until(lambda: answer(reader, read) and proxy.hits() > hits, "it is cached before")
            with origin.connect(database) as other:
                other.execute(change)
            expected = answer(oracle, read)
            proxy.wait_until_answer(lambda: answer(reader, read), expected)
            # And so it stays once it was noticed, when it is captured again: before, one answer may be the origin's,
            # and the next of the cache.
            wait_until(lambda: all(answer(reader, read) == expected for _ in range(20)), "it stays so")

    def test_rows_are_followed_behind_it(self, proxy, origin, database, mode):
        """A table that was made anew, or whose shape has changed, is followed again (trap 24)."""
        table = f"{mode}_again"
        read = f"select * from {table} order by id"
        with origin.connect(database) as admin, proxy.connect() as reader:
            for change in (TABLE, "alter table {t} add extra int", "drop table {t};" + TABLE,
                           "alter table {t} replica identity full", "alter table {t} alter name type varchar(9)"):
                admin.execute(change.replace("{t}", table))
                proxy.wait_until_answer(lambda: answer(reader, read), answer(admin, read))
                proxy.wait_until_cached(lambda: answer(reader, read))
                for value in ("a", "b"):
                    admin.execute(f"update {table} set name = %s where id = 1", (value,))
                    proxy.wait_until_answer(lambda: answer(reader, read), answer(admin, read))

    def test_settings_of_a_database_act_on_new_sessions(self, proxy, origin, database, mode):
        if mode == "trigger":
            pytest.skip("fires no event trigger")
        with origin.connect(database) as admin:
            admin.execute(f"create table {mode}_moment (id int primary key, at timestamptz)")
            admin.execute(f"insert into {mode}_moment values (1, '2026-01-01 12:00+00')")
        read = f"select at::text from {mode}_moment"
        for zone in ("Asia/Tokyo", "America/New_York"):
            proxy.wait_until_cached(read)
            with origin.connect(database) as admin:
                admin.execute(f"alter database {database} set timezone = '{zone}'")
            proxy.wait_until_answer(lambda: proxy.query(read), origin.query(read, database))
        with origin.connect(database) as admin:
            admin.execute(f"alter database {database} reset timezone")
        proxy.wait_until_answer(lambda: proxy.query(read), origin.query(read, database))

    def test_a_reloaded_configuration_acts_on_open_sessions(self, proxy, origin, database, mode):
        if mode == "trigger":
            pytest.skip("fires no event trigger")
        read = f"select at::text from {mode}_clock"
        with origin.connect(database) as admin:
            admin.execute(f"create table {mode}_clock (id int primary key, at interval)")
            admin.execute(f"insert into {mode}_clock values (1, '1 day 2 hours')")
        with origin.connect(database) as oracle, proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            try:
                oracle.execute("alter system set intervalstyle = 'iso_8601'")
                oracle.execute("select pg_reload_conf()")
                wait_until(lambda: oracle.execute(read).fetchall() == [("P1DT2H",)], "it is loaded")
                proxy.wait_until_answer(lambda: reader.execute(read).fetchall(), [("P1DT2H",)])
            finally:
                oracle.execute("alter system reset intervalstyle")
                oracle.execute("select pg_reload_conf()")
            proxy.wait_until_answer(lambda: reader.execute(read).fetchall(), [("1 day 02:00:00",)])


@pytest.mark.cached
class TestWhatDoesNotMatter:
    """An application does these all the time: the cache stays."""

    @pytest.mark.parametrize("statement", [
        "create temp table tt (id serial primary key, a text); alter table tt add b int; drop table tt",
        "create temp view tv as select 1 as a; drop view tv",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "begin; create temp table tt (id int) on commit drop; commit",
        "create index {t}_i on {t} (name)",
        "comment on table {t} is 'x'", "create sequence still_s_{m}", "truncate {t}_other", "analyze {t}", "vacuum {t}",
        "refresh materialized view {t}_kept", "begin; alter table {t} add gone int; rollback",
        "create publication still_p_{m}",
    ])
    def test_leaves_the_cache_alone(self, proxy, origin, database, mode, statement):
        table = f"{mode}_still"
        read = f"select name from {table} where id = 1"
        with origin.connect(database) as admin:
            if admin.execute(f"select to_regclass('{table}')").fetchone() == (None,):
                admin.execute(TABLE.replace("{t}", table))
                admin.execute(f"create table {table}_other (id int primary key)")
                admin.execute(f"create materialized view {table}_kept as select 1 as a")
            with proxy.connect() as reader:
                proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
                wait_until(lambda: self.is_quiet(proxy, admin, reader, read), "nothing is under way")
                for part in statement.replace("{t}", table).replace("{m}", mode).split("; "):
                    admin.execute(part)
                self.passes_by(proxy, admin)
                with proxy.expect_hits(1):
                    reader.execute(read)

    def is_quiet(self, proxy, admin, reader, read):
        """The set-up has been noticed by whoever notices it: the poll may come later than the message."""
        before = generation(proxy)
        self.passes_by(proxy, admin)
        reader.execute(read).fetchall()
        reader.execute(read).fetchall()
        hits = proxy.hits()
        reader.execute(read).fetchall()
        return generation(proxy) == before and proxy.hits() == hits + 1

    def passes_by(self, proxy, admin):
        """The stream has passed what was done up to now, and three polls have ended, if there are any."""
        proxy.settle(admin)
        if "100ms" in proxy.command:
            first = polls(proxy)
            wait_until(lambda: polls(proxy) >= first + 3, "three polls")

    def test_following_another_table_does_not(self, proxy, origin, database, mode):
        """Our own ALTER PUBLICATION."""
        read = f"select name from {mode}_kept where id = 1"
        with origin.connect(database) as admin, proxy.connect() as reader:
            admin.execute(TABLE.replace("{t}", f"{mode}_kept"))
            admin.execute(TABLE.replace("{t}", f"{mode}_joins"))
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            wait_until(lambda: self.is_quiet(proxy, admin, reader, read), "nothing is under way")
            before = generation(proxy)
            proxy.wait_until_cached(lambda: reader.execute(f"select * from {mode}_joins").fetchall())
            self.passes_by(proxy, admin)
            assert generation(proxy) == before
            with proxy.expect_hits(1):
                reader.execute(read)

    def test_truncating_while_others_are_learned_does_not(self, proxy, origin, database, mode):
        """TRUNCATE writes the table's row of pg_class, as ALTER does."""
        read = f"select name from {mode}_steady where id = 1"
        with origin.connect(database) as admin, proxy.connect() as reader:
            for table in ("steady", "staging", *range(4)):
                admin.execute(TABLE.replace("{t}", f"{mode}_{table}"))
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            wait_until(lambda: self.is_quiet(proxy, admin, reader, read), "nothing is under way")
            before = generation(proxy)
            for table in range(4):
                admin.execute(f"truncate {mode}_staging, {mode}_{table}")
                proxy.wait_until_cached(lambda: reader.execute(f"select * from {mode}_{table}").fetchall())
                admin.execute(f"truncate {mode}_staging, {mode}_{table}")
                self.passes_by(proxy, admin)
            assert generation(proxy) == before
            with proxy.expect_hits(1):
                reader.execute(read)

    def test_another_instance_that_comes_and_goes_does_not(self, proxy, origin, database, mode, reactor):
        read = f"select name from {mode}_beside where id = 1"
        with origin.connect(database) as admin, proxy.connect() as reader:
            admin.execute(TABLE.replace("{t}", f"{mode}_beside"))
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            wait_until(lambda: self.is_quiet(proxy, admin, reader, read), "nothing is under way")
            before = generation(proxy)
            other = Proxy(origin, database, reactor)
            other.wait_until_cached(read)
            assert len(triggers(origin, database)) == (4 if mode == "trigger" else 2)
            other.remove()
            self.passes_by(proxy, admin)
            assert generation(proxy) == before


def polls(proxy):
    """How often the catalog of the proxy's database was polled."""
    return proxy.origin.value(
        "select coalesce(sum(calls), 0) from pg_stat_statements where query like '%%WITH lasting AS%%' "
        "and query like '%%pg_conf_load_time%%' and dbid = (select oid from pg_database where datname = %s)",
        parameters=(proxy.database,))


@pytest.fixture(scope="module")
def waiting_origin():
    server = Origin()
    with server.connect() as connection:
        connection.execute(
            "create schema front; create role held_reader login; "
            "create type mood as enum ('sad', 'ok')")
    yield server
    server.remove()


@pytest.mark.cached
class TestDecodedBeforeVisible:
    """The message arrives while the change is still invisible (T2): what is read meanwhile is the old, and no second
    message ever comes. None of these changes locks readers out."""

    CASES = {
        "earlier in the path": (
            TABLE, READ, "create table front.{t} (id int primary key, name text)", "drop table front.{t}"),
        "revoke": (
            TABLE + "; grant select on {t} to held_reader", READ, "revoke select on {t} from held_reader", ""),
        "grant": (TABLE, READ, "grant select on {t} to held_reader", ""),
        "enum value renamed": (
            "create table {t} (id int primary key, name mood); insert into {t} values (1, 'sad'); "
            "grant select on {t} to held_reader", READ, "alter type mood rename value 'sad' to 'blue'",
            "alter type mood rename value 'blue' to 'sad'"),
    }

    @pytest.mark.parametrize("name", sorted(CASES))
    def test_what_is_read_meanwhile_is_forgotten(self, waiting_origin, reactor, name):
        table = f"{reactor}_" + name.replace(" ", "_")
        setup, read, change, undo = (part.replace("{t}", table) for part in self.CASES[name])
        if "held_reader" not in setup and "grant" != name:
            setup += f"; grant select on {table} to held_reader"
        login = {"user": "held_reader", "options": "-c search_path=front,public"}
        with waiting_origin.connect() as admin:
            admin.execute("grant usage on schema front to public; " + setup)
        proxy = Proxy(waiting_origin, "postgres", reactor, **MODES["trigger"])
        try:
            with proxy.connect(**login) as reader, waiting_origin.connect(**login) as oracle:
                old = answer(oracle, read)
                hits = proxy.hits()
                wait_until(lambda: answer(reader, read) == old
                           and (proxy.hits() > hits or old == "42501"), "it is cached")
                before = generation(proxy)
                held = HeldCommit(waiting_origin, change)
                try:
                    wait_until(lambda: generation(proxy) > before, "the message has come")
                    assert answer(oracle, read) == old, "it is not visible"
                    for _ in range(100):
                        assert answer(reader, read) == old
                finally:
                    held.release()
                new = answer(oracle, read)
                assert new != old
                proxy.wait_until_answer(lambda: answer(reader, read), new)
                for _ in range(50):
                    assert answer(reader, read) == new
        finally:
            hold_commits(waiting_origin, False)
            proxy.remove()
            if undo:
                with waiting_origin.connect() as admin:
                    admin.execute(undo)
