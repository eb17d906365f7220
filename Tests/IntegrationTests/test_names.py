"""What a name means: the search path, temporary objects, shadows, case, other databases (traps 18 to 26).

An answer belongs to the relations that the session's names resolved to, never to the text alone [K1].
"""
import pytest

import wire as w
from proxy import Proxy
from twins import PROTOCOLS, Twins

ONE_REACTOR = True

SCHEMA = r"""
create schema a; create schema b; create schema app_trust authorization app_trust;
create schema "a,b"; create schema "Mixed";
create table public.thing (id int primary key, place text);
create table a.thing (id int primary key, place text);
create table b.thing (id int primary key, place text, extra int default 7);
create table app_trust.thing (id int primary key, place text);
create table "a,b".thing (id int primary key, place text);
create table "Mixed".thing (id int primary key, place text);
create table b.spare (id int, place text); insert into b.spare values (2, 'spare');
insert into public.thing values (1, 'public'); insert into a.thing values (1, 'a');
insert into b.thing values (1, 'b'); insert into app_trust.thing values (1, 'app_trust');
insert into "a,b".thing values (1, 'a,b'); insert into "Mixed".thing values (1, 'Mixed');
create table solid (id int primary key, place text);
insert into solid values (1, 'solid');
create table word (id int primary key, name text, note varchar(20), size int4);
insert into word values (1, 'ABC', 'DEF', 5), (2, 'Abc', 'Def', -5);
create type a.mood as enum ('x', 'y'); create type b.mood as enum ('y', 'x');
create function a.of_path() returns text language sql immutable as $$ select 'a' $$;
create function b.of_path() returns text language sql immutable as $$ select 'b' $$;
create schema own;
create function own.lower(text) returns text language sql immutable as $$ select 'own lower' $$;
create function own.upper(varchar) returns text language sql immutable as $$ select 'own upper' $$;
create function own.abs(int4) returns int4 language sql immutable as $$ select 42 $$;
create function own.equal(text, text) returns bool language sql immutable as $$ select false $$;
create function own.differ(varchar, varchar) returns bool language sql immutable as $$ select true $$;
create domain own.int4 as text;
create table own.pg_class (id int primary key, relname text);
insert into own.pg_class values (1, 'own');
create table "User" (id int primary key, name text); insert into "User" values (1, 'User');
create table "user" (id int primary key, name text); insert into "user" values (1, 'user');
create table "T" (id int primary key, "ID" int, name text); insert into "T" values (1, 2, 'T');
create table t (id int primary key, name text); insert into t values (1, 't');
create table data (id int primary key, name text); insert into data values (1, 'data');
create function temp_solid() returns int language plpgsql as $$ begin
    create temp table solid as select 1 as id, 'function'::text as place; return 1; end $$;
create table triggering (id int);
create function temp_by_trigger() returns trigger language plpgsql as $$ begin
    perform temp_solid(); return null; end $$;
create trigger temp after insert on triggering execute function temp_by_trigger();
grant usage on schema a, b, own, "a,b", "Mixed" to public;
grant all on all tables in schema public, a, b, own, app_trust, "a,b", "Mixed" to public;
"""

READ = "select * from thing where id = 1"
SOLID = "select place from solid order by id"

PATHS = [
    "public", "a", "b", "a, b", "b, a, public", '"$user", public', "'$user', a", "nowhere", "nowhere, b",
    '"a,b"', "'a,b'", "Mixed", '"Mixed"', "''", "pg_catalog, a", "A", "b,pg_temp", "'b', \"a\"",
]


@pytest.mark.trap(18)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_text_along_several_paths(twins, protocol):
    said = "simple" if protocol == "simple" else "extended"
    for _ in range(2):
        for path in PATHS:
            twins.say(f"set search_path = {path}", protocol=said)
            twins.repeat(READ, protocol=protocol, times=2)
    for path in ("a", "b", "public", '"a,b"'):
        twins.say(f"set search_path = {path}", protocol=said)
        twins.warm(READ, protocol=protocol)


@pytest.mark.trap(18)
@pytest.mark.parametrize("path", [
    "a", "b", "a,b", '"a,b"', "nowhere", "", '"$user",public', "Mixed", '"Mixed"', "public,pg_catalog",
    "pg_temp,a", 'b"', "b;select 1", "b'",
])
def test_a_path_in_the_startup_packet(start_twins, proxy, origin, database, path):
    start_twins().warm(READ)
    answers = []
    for port in (origin.port, proxy.port):  # some of these are refused at log-in
        with w.WireClient(proxy.host, port) as client:
            last = client.start({"user": "app_trust", "database": database, "search_path": path})[-1]
            answers.append([last.type, *(client.ask(w.query(READ)) for _ in range(4) if last.type == "Z")])
    assert answers[1] == answers[0]


@pytest.mark.trap(18)
def test_sessions_with_different_paths_share_what_resolves_alike(start_twins):
    qualified = "select place from a.thing where id = 1"
    start_twins().warm(qualified)
    for path in ("a", "b,public", "nowhere"):
        start_twins(search_path=path).expect_hit(qualified)


@pytest.mark.trap(18)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_types_and_functions_along_the_path(twins, protocol):
    reads = ("select 'x'::mood < 'y'::mood, id from public.solid", "select of_path() from public.solid")
    for path in ("a", "b", "a, b", "b, a", "public"):
        twins.say(f"set search_path = {path}")
        for read in reads:
            for _ in range(3):
                twins.made_here(PROTOCOLS[protocol](read))


@pytest.mark.trap(18)
def test_a_path_that_leads_somewhere_else_later(twins, client):
    """The same SET means something else once the schema is there, or gone, or may be used."""
    path = "set search_path = later, a"
    for _ in range(2):
        for _ in range(3):
            twins.say(path, READ)
        twins.say("reset search_path", READ)
        client.execute("create schema later; create table later.thing as select 1 as id, 'later'::text as place")
        twins.say(READ, path, READ, READ)
        client.execute("drop schema later cascade")
        twins.repeat(READ)
        twins.say("discard all", path, READ)


class TestShadows:
    """An object that comes to stand earlier in the path."""

    @pytest.fixture
    def pair(self, start_twins):
        return start_twins(search_path="a,public")

    SHADOWS = [
        ["create table a.solid as select 2 as id, 'shadow'::text as place", "drop table a.solid"],
        ["create view a.solid as select 2 as id, 'view'::text as place", "drop view a.solid"],
        ["create materialized view a.solid as select 2 as id, 'kept'::text as place",
         "drop materialized view a.solid"],
        ["alter table b.spare rename to solid; alter table b.solid set schema a",
         "alter table a.solid set schema b; alter table b.solid rename to spare"],
        ["alter schema a rename to gone; alter schema b rename to a; alter table a.thing rename to solid",
         "alter table a.solid rename to thing; alter schema a rename to b; alter schema gone rename to a"],
        ["begin; create table a.solid as select 2 as id, 'shadow'::text as place; rollback", "select"],
        ["create table a.solid (id int, place text, id2 int) partition by list (id)", "drop table a.solid"],
    ]

    @pytest.mark.trap(19)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("made, gone", SHADOWS, ids=range(len(SHADOWS)))
    def test_made_through_the_proxy(self, pair, client, made, gone, protocol):
        pair.warm(SOLID, protocol=protocol)
        for text in (made, gone):
            client.execute(text)
            pair.repeat(SOLID, protocol=protocol)
        pair.warm(SOLID, protocol=protocol)

    @pytest.mark.trap(19)
    @pytest.mark.parametrize("made, gone", SHADOWS, ids=range(len(SHADOWS)))
    def test_made_elsewhere(self, pair, direct, made, gone):
        pair.warm(SOLID)
        for text in (made, gone):
            direct.execute(text)
            pair.until_alike(w.query(SOLID))
            pair.repeat(SOLID)
        pair.warm(SOLID)

    @pytest.mark.trap(19)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_made_by_the_session_itself(self, pair, protocol):
        """Not committed, so nobody else sees it."""
        pair.warm(SOLID, protocol=protocol)
        pair.theirs.ask(w.query("begin; create table a.solid (id int primary key, place text)"))
        answers = [pair.theirs.ask(w.query(SOLID)), pair.theirs.ask(w.query("rollback"))]
        pair.ours.ask(w.query("begin; create table a.solid (id int primary key, place text)"))
        ours = [pair.ours.ask(w.query(SOLID)), pair.ours.ask(w.query("rollback"))]
        assert [w.rows(answer) for answer in ours] == [w.rows(answer) for answer in answers] == [[], []]
        pair.repeat(SOLID, protocol=protocol)
        pair.warm(SOLID, protocol=protocol)

    @pytest.mark.trap(19)
    def test_a_statement_that_was_prepared_before(self, pair, client):
        for protocol in PROTOCOLS:
            pair.warm(SOLID, protocol=protocol)
        pair.ask(w.parse(SOLID, "s") + w.describe_statement("s") + w.SYNC)
        run = w.bind("s") + w.execute() + w.SYNC
        pair.ask(run)
        client.execute("create table a.solid as select 2 as id, 'shadow'::text as place")
        for _ in range(3):
            pair.ask(run)
        client.execute("drop table a.solid")
        for _ in range(3):
            pair.ask(run)

    @pytest.mark.trap(19)
    def test_a_function_earlier_in_the_path(self, start_twins, client):
        twins = start_twins(search_path="a,b")
        read = "select late() from public.solid"
        client.execute("create function b.late() returns text language sql immutable as $$ select 'b' $$")
        twins.repeat(read, times=5)
        client.execute("create function a.late() returns text language sql immutable as $$ select 'a' $$")
        twins.repeat(read, times=5)
        client.execute("drop function a.late(); drop function b.late()")
        twins.repeat(read)


class TestTemporaryObjects:
    MADE = {
        "table": ["create temp table solid (id int, place text)"],
        "table as": ["create temp table solid as select 1 as id, 'temp'::text as place"],
        "select into": ["select 1 as id, 'temp'::text as place into temp solid"],
        "select into temporary table": ["select 1 as id, 'temp'::text as place into temporary table solid"],
        "view": ["create temp view solid as select 1 as id, 'view'::text as place"],
        "view of a temporary table": ["create temp table mine as select 1 as id, 'mine'::text as place",
                                      "create view solid_view as select * from mine",
                                      "create or replace temp view solid as select * from mine"],
        "pg_temp": ["create table pg_temp.solid as select 1 as id, 'pg_temp'::text as place"],
        "like": ["create temp table solid (like public.solid including all)"],
        "recursive view": ["create temp recursive view solid (id, place) as select 1, 'view'::text"],
        "renamed": ["create temp table other as select 1 as id, 'renamed'::text as place",
                    "alter table other rename to solid"],
        "do": ["do $$ begin create temp table solid as select 1 as id, 'do'::text as place; end $$"],
        "dynamic": ["do $$ begin execute 'create te' || 'mp table solid (id int, place text)'; end $$"],
        "function": ["select temp_solid()"],
        "trigger": ["insert into triggering values (1)"],
        "explain": ["explain (analyze, costs off, timing off, summary off) create temp table solid as "
                    "select 1 as id, 'explained'::text as place"],
        "prepared": [w.query("prepare p as select 1 as id, 'p'::text as place"),
                     "create temp table solid as execute p"],
        "several": [w.query("select 1; create temp table solid (id int, place text)")],
        "pipeline": [w.parse("create temp table solid as select 1 as id, 'pipe'::text as place") + w.bind()
                     + w.execute() + w.extended(SOLID)],
        "in a block": ["begin", "create temp table solid (id int, place text)", SOLID, "commit"],
        "rolled back": ["begin", "create temp table solid (id int, place text)", SOLID, "rollback"],
        "to a savepoint": ["begin", "savepoint s", "create temp table solid (id int, place text)", SOLID,
                           "rollback to s", SOLID, "commit"],
        "until commit": ["begin", "create temp table solid (id int, place text) on commit drop", SOLID, "commit"],
        "emptied at commit": ["begin", "create temp table solid on commit delete rows as select 1 as id, "
                              "'temp'::text as place", SOLID, "commit"],
    }
    UNDONE = ["discard temp", "drop table if exists pg_temp.solid cascade", "discard all"]

    @pytest.mark.trap(20)
    @pytest.mark.parametrize("protocol", ["simple", "extended"])
    @pytest.mark.parametrize("made", MADE)
    def test_hides_a_table_from_its_session_alone(self, start_twins, made, protocol):
        twins, others = start_twins(), start_twins()
        for pair in (twins, others):
            pair.warm(SOLID, protocol=protocol)
        for step in self.MADE[made]:
            twins.made_here(step if isinstance(step, bytes) else PROTOCOLS[protocol](step))
        for _ in range(3):
            twins.made_here(PROTOCOLS[protocol](SOLID))
            others.ask(PROTOCOLS[protocol](SOLID))
        others.warm(SOLID, protocol=protocol)
        for text in self.UNDONE:
            if "view" not in made or "drop table" not in text:
                twins.made_here(w.query(text))
            for _ in range(2):
                twins.made_here(PROTOCOLS[protocol](SOLID))

    @pytest.mark.trap(20)
    def test_a_temporary_type(self, twins):
        read = "select 'x'::mood < 'y'::mood from public.solid"
        twins.say("set search_path = a", read, read)
        twins.made_here(w.query("create type pg_temp.mood as enum ('y', 'x')"))
        for _ in range(3):
            twins.made_here(w.query(read))

    @pytest.mark.trap(20)
    def test_pg_temp_later_in_the_path(self, start_twins):
        twins = start_twins(search_path="public,pg_temp")
        twins.warm(SOLID)
        twins.made_here(w.query("create temp table solid as select 1 as id, 'temp'::text as place"))
        twins.repeat(SOLID)
        twins.say("set search_path = pg_temp, public")
        for _ in range(3):
            twins.made_here(w.query(SOLID))


class TestTheUsersSchema:
    @pytest.mark.trap(21)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("path", ['"$user", public', 'a, "$user"', '"$user"'])
    @pytest.mark.parametrize("change, back", [
        ("set role app_trust", "reset role"), ("set role app_trust", "set role none"),
        ("set session authorization app_trust", "reset session authorization"),
        ("select set_config('role', 'app_trust', false)", "reset role"),
        ("set role app_trust", "discard all"),
    ])
    def test_follows_the_role(self, start_twins, path, change, back, protocol):
        said = "simple" if protocol == "simple" else "extended"
        twins = start_twins(options="-c search_path=" + path.replace(" ", ""))
        twins.repeat(READ, protocol=protocol)
        for _ in range(2):
            for text in (change, back):
                twins.say(text, protocol="simple" if "discard" in text else said)
                twins.repeat(READ, protocol=protocol, times=2)

    @pytest.mark.trap(21)
    def test_set_role_keeps_the_cache(self, twins):
        for text, times in (("set role app_trust", 2), ("reset role", 2)) * 2:
            twins.say(text)
            twins.warm(READ)

    @pytest.mark.trap(21)
    def test_local_to_a_transaction(self, twins):
        twins.warm(READ)
        for text in ("begin", READ, "set local role app_trust", READ, READ, "rollback", READ,
                     "begin", "set local role app_trust", READ, "commit", READ,
                     "begin", "savepoint s", "set role app_trust", READ, "rollback to s", READ, "commit", READ):
            twins.say(text)

    @pytest.mark.trap(21)
    def test_a_schema_of_the_role_that_comes_later(self, start_twins, client):
        twins = start_twins("app_scram")
        twins.warm(READ)
        client.execute("create schema app_scram authorization app_scram; "
                       "create table app_scram.thing as select 1 as id, 'app_scram'::text as place; "
                       "grant select on app_scram.thing to app_scram")
        twins.repeat(READ)
        client.execute("drop schema app_scram cascade")
        twins.repeat(READ)
        twins.warm(READ)


class TestBuiltInNames:
    READS = [
        "select lower(name) from word order by id", "select upper(note) from word order by id",
        "select id from word where name = 'ABC'", "select abs(size) from word order by id",
        "select id, size::int4 from word order by id", "select relname from pg_class where relname = 'own'",
        "select id from word where note < 'Def'::varchar order by id",
    ]

    @pytest.fixture
    def operators(self, client):
        """For the test alone: their names are everybody's."""
        client.execute("create operator own.= (leftarg = text, rightarg = text, function = own.equal); "
                       "create operator own.< (leftarg = varchar, rightarg = varchar, function = own.differ)")
        yield
        client.execute("drop operator own.= (text, text); drop operator own.< (varchar, varchar)")

    @pytest.mark.trap(22)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("path", ["public", "own, public", "public, pg_catalog, own",
                                      "own, pg_catalog, public", "pg_catalog, own, public"])
    def test_pg_catalog_first_or_later(self, operators, twins, path, protocol):
        """Also when it comes first: an overload that fits better is taken from wherever it stands."""
        twins.repeat(*self.READS, protocol=protocol, times=2)
        twins.say(f"set search_path = {path}")
        twins.repeat(*self.READS, protocol=protocol, times=4)

    @pytest.mark.trap(22)
    def test_a_better_overload_that_comes_later(self, twins, client):
        read = "select length(note) from word order by id"
        twins.warm(read)
        client.execute("create function public.length(varchar) returns int language sql immutable "
                       "as $$ select 77 $$")
        try:
            twins.repeat(read)
        finally:
            client.execute("drop function public.length(varchar)")
        twins.repeat(read)


class TestSpelling:
    SPELLINGS = [
        'select name from "User"', 'select name from "user"', "select name from user", "select name from User",
        'select name from "T"', "select name from t", "select name from T", 'select "ID", id from "T"',
        'select ID from "T"', r'select name from U&"d\0061ta"', "select name from U&\"d!0061ta\" uescape '!'",
        "select name from data", "select NAME from DATA", 'select "NAME" from data',
        "select $$name$$, name from data", "select $a$na$$me$a$, name from data", "select 'name' 'x', name from data",
        "select 'na'\n'me', name from data", "select /* name */ name from data", "select name -- from t\nfrom data",
        "select /* a /* nested */ comment */ name from data", "select name as \"Name\" from data",
        "select name as Name from data", r"select E'\x6eame', name from data",
        r"select U&'n\0061me', name from data", "select N'name', name from data", "select 'Name', name from data",
        "select name as n from data", "select name n from data", "select data.name from data",
        "select public.data.name from public.data", "select d.name from data d", "select name from only data",
        'select name from "public"."data"', "select name from PUBLIC.data", 'select name from "PUBLIC".data',
        "select name from data;", "select name from data ;;", " select name from data",
        'select b\'1\', x\'1F\', name from data', "select 1, name from data", "select '1', name from data",
        "select 1.0, name from data", "select 1e0, name from data", "table data", "select from data",
    ]

    @pytest.mark.trap(23)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_texts_that_look_alike(self, twins, protocol):
        twins.repeat(*self.SPELLINGS, protocol=protocol, times=3)
        twins.warm("select name from data", "select name from T", 'select name from "T"',
                   'select name from "User"', protocol=protocol)
        twins.repeat(*self.SPELLINGS, protocol=protocol, times=1)


class TestDroppedAndMadeAgain:
    MAKE = "create table again (id int primary key, place text); insert into again values (1, '{}')"
    READ = "select place from again order by id"

    @pytest.fixture(autouse=True)
    def table(self, direct):
        direct.execute("drop table if exists again, again_2; " + self.MAKE.format("first"))

    CHANGES = [
        "drop table again; create table again (id int primary key, place text); insert into again values (2, 'new')",
        "begin; drop table again; create table again (id int primary key, place text); commit",
        "alter table again rename to again_2; create table again as select 3 as id, 'other'::text as place; "
        "alter table again add primary key (id)",
        "create table again_2 as select 4 as id, 'swap'::text as place; alter table again_2 add primary key (id); "
        "begin; alter table again rename to x; alter table again_2 rename to again; "
        "alter table x rename to again_2; commit",
        "drop table again; create view again as select 5 as id, 'view'::text as place",
    ]

    @pytest.mark.trap(24)
    @pytest.mark.parametrize("by", ["proxy", "others"])
    @pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
    def test_is_another_table(self, twins, client, direct, change, by):
        """And its rows are followed as the first one's were."""
        twins.until_alike(w.query(self.READ))
        twins.warm(self.READ)
        (client if by == "proxy" else direct).execute(change)
        twins.until_alike(w.query(self.READ))
        if by == "proxy":
            twins.repeat(self.READ)
        if "view" not in change:
            twins.warm(self.READ)
            for number in range(10, 12):
                direct.execute(f"insert into again values ({number}, 'later')")
                twins.until_alike(w.query(self.READ))
                twins.warm(self.READ)
        direct.execute("drop view if exists again" if "view" in change else "select")


class TestOtherDatabases:
    READ = "select place from public.thing where id = 1"

    @pytest.mark.trap(25)
    def test_a_copy_has_the_same_numbers(self, origin, reactor):
        """CREATE DATABASE with TEMPLATE copies the numbers of tables, too."""
        first = origin.create_database()
        with origin.connect(first) as connection:
            connection.execute("create table thing (id int primary key, place text)")
            connection.execute("insert into thing values (1, 'first')")
        second = first + "_copy"
        with origin.connect() as connection:
            connection.execute(f"create database {second} template {first}")
        with origin.connect(second) as connection:
            connection.execute("update thing set place = 'second'")
        proxy = Proxy(origin, first, reactor)
        try:
            here, there = Twins(proxy, origin), Twins(proxy, origin, database=second)
            here.warm(self.READ)
            for protocol in PROTOCOLS:
                there.repeat(self.READ, protocol=protocol)
            there.expect_forward(self.READ)
            there.say("update thing set place = 'changed'", self.READ)
            here.repeat(self.READ)
            here.warm(self.READ)
            for pair in (here, there):
                pair.close()
        finally:
            proxy.remove()
            origin.drop_database(first)
            origin.drop_database(second)


class TestCatalogs:
    READS = [
        "select relname from pg_class where relname = 'newcomer'",
        "select table_name from information_schema.tables where table_name = 'newcomer'",
        "select to_regclass('newcomer') is null from solid",
        "select 'newcomer'::text::regclass::text from solid",
        "select 'solid'::regclass::text from solid",
        "select has_table_privilege('app_trust', 'newcomer', 'select') from solid",
        "select pg_get_viewdef('pg_views') from solid", "select obj_description('solid'::regclass) from solid",
        "select col_description('solid'::regclass, 1) from solid", "select pg_typeof(place) from solid",
        "select format_type(23, 5) from solid", "select pg_relation_size('solid') from solid",
        "select regtypein('int4') from solid", "select pg_get_constraintdef(oid) from pg_constraint "
        "where conrelid = 'solid'::regclass", "select current_schemas(true) from solid",
        "select tableoid::regclass::text from solid", "select * from pg_indexes where tablename = 'newcomer'",
        "select setting from pg_settings where name = 'TimeZone'", "select count(*) from pg_stat_activity where false",
    ]

    @pytest.mark.trap(26)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_are_read_at_the_origin(self, twins, client, protocol):
        for read in self.READS:
            if "oid" not in read:
                twins.expect_forward(read, protocol=protocol, times=2)
        client.execute("create table newcomer (id int primary key); comment on table solid is 'commented'; "
                       "comment on column solid.id is 'commented'")
        try:
            for _ in range(2):
                for read in self.READS:
                    twins.ask(PROTOCOLS[protocol](read))
        finally:
            client.execute("drop table newcomer; comment on table solid is null; comment on column solid.id is null")
        twins.repeat(*self.READS, protocol=protocol, times=2)
