"""Changes of the schema: passing through they empty the cache at once; made by others they are noticed
by the poll of the catalog (rule D1). No statement of the application is ever refused because of us."""
import psycopg
import pytest

import wire as w
from proxy import DIRECT
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table one (id int primary key, name text);
insert into one values (1, 'one'), (2, 'two');
create type mood as enum ('sad', 'ok', 'happy');
create table feeling (id int primary key, mood mood);
insert into feeling values (1, 'sad');
create schema front;
create table behind (id int primary key, place text);
insert into behind values (1, 'public');
create table parent (id int primary key, note text);
create table measured (id int, day date, primary key (id, day)) partition by range (day);
create table measured_1 partition of measured for values from ('2026-01-01') to ('2026-02-01');
create table measured_2 (id int, day date, primary key (id, day));
insert into measured values (1, '2026-01-05');
insert into measured_2 values (2, '2026-02-05');
create view seen as select id, name from one;
create materialized view kept as select count(*) as n from one;
create table keyless (a int, b text);
insert into keyless values (1, 'x');
create table nothing (id int primary key, b text);
alter table nothing replica identity nothing;
insert into nothing values (1, 'x');
create table full_identity (a int, b text);
alter table full_identity replica identity full;
insert into full_identity values (1, 'x');
create unlogged table unlogged_one (id int primary key, b text);
insert into unlogged_one values (1, 'x');
create function answer() returns int language sql stable as 'select count(*)::int from one';
create function fixed(int) returns int language sql immutable as 'select $1 + 1';
"""

READ = "select * from one order by id"


@pytest.fixture(autouse=True)
def restore(direct):
    yield
    direct.execute("drop table if exists one, renamed, newcomer, front.one, front.behind cascade")
    direct.execute("create table one (id int primary key, name text)")
    direct.execute("insert into one values (1, 'one'), (2, 'two')")


CHANGES = [
    ("alter table one add column extra int default 7", [(1, "one", 7), (2, "two", 7)]),
    ("alter table one drop column name cascade", [(1,), (2,)]),
    ("alter table one alter column name type varchar(1) using 'x'", [(1, "x"), (2, "x")]),
    ("drop view if exists seen; alter table one alter column id type text",
     [("1", "one"), ("2", "two")]),
    ("drop table one cascade; create table one (id int primary key, name text); "
     "insert into one values (3, 'new')", [(3, "new")]),
    ("begin; alter table one rename to renamed; create table one (id int primary key, n int); "
     "commit", []),
]


class TestPassingThrough:
    @pytest.mark.parametrize("change, expected", CHANGES)
    def test_acts_at_once_for_everybody(self, proxy, client, change, expected):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            client.execute(change)
            for _ in range(3):
                assert reader.execute(READ).fetchall() == expected
            assert client.execute(READ).fetchall() == expected

    def test_a_dropped_table_is_gone(self, proxy, client):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            client.execute("drop table one cascade")
            with pytest.raises(psycopg.errors.UndefinedTable):
                reader.execute(READ)

    def test_a_renamed_column_has_its_new_name(self, proxy, client):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            client.execute("alter table one rename column name to title")
            assert [c.name for c in reader.execute(READ).description] == ["id", "title"]

    def test_a_table_earlier_in_the_path(self, proxy, client):
        read = "select place from behind"
        with proxy.connect(options="-c search_path=front,public") as reader:
            assert proxy.wait_until_cached(
                lambda: reader.execute(read).fetchall()) == [("public",)]
            client.execute("create table front.behind as select 1 as id, 'front'::text as place")
            assert reader.execute(read).fetchall() == [("front",)]
            client.execute("drop table front.behind")
            assert reader.execute(read).fetchall() == [("public",)]

    def test_inside_a_transaction_it_shows_after_commit(self, proxy, client):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            client.execute("begin")
            client.execute("alter table one add column extra int default 7")
            client.execute("commit")
            assert reader.execute(READ).fetchall() == [(1, "one", 7), (2, "two", 7)]

    def test_by_way_of_do(self, proxy, client):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            client.execute("do $$ begin execute 'alter table one add column e int default 1'; "
                           "end $$")
            proxy.wait_until_answer(lambda: reader.execute(READ).fetchall(),
                                    [(1, "one", 1), (2, "two", 1)])

    def test_a_prepared_statement_whose_result_changes_type(self, proxy, wire, origin_wire, direct):
        """0A000 (rule S4), also when its Parse was answered without the origin."""
        read = "select * from one where id = $1"
        proxy.wait_until_cached(lambda: wire.ask(w.extended(read, ("1",))))
        for client in (wire, origin_wire):
            client.ask(w.parse(read, "s"), w.bind("s", ("1",)), w.execute(), w.SYNC)
        generation = proxy.metric("pgcache_cache_generation")
        origin_wire.ask(w.query("alter table one add column extra int default 7"))
        request = (w.bind("s", ("1",)), w.describe_portal(), w.execute(), w.SYNC)
        assert w.error(origin_wire.ask(*request)) == "0A000"
        if not DIRECT:
            wait_until(lambda: proxy.metric("pgcache_cache_generation") > generation, "it is noticed")
        assert w.error(wire.ask(*request)) == "0A000"


class TestMadeByOthers:
    @pytest.mark.parametrize("change, expected", CHANGES)
    def test_is_noticed(self, proxy, direct, change, expected):
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            direct.execute(change)
            proxy.wait_until_answer(lambda: reader.execute(READ).fetchall(), expected)

    def test_an_enum_value_renamed(self, proxy, direct):
        read = "select mood from feeling where id = 1"
        assert proxy.query(read) == [("sad",)]
        proxy.query(read)
        direct.execute("alter type mood rename value 'sad' to 'blue'")
        proxy.wait_until_answer(read, [("blue",)])
        direct.execute("alter type mood rename value 'blue' to 'sad'")
        proxy.wait_until_answer(read, [("sad",)])

    def test_a_table_dropped_and_made_again_is_followed_again(self, proxy, direct):
        """The publication loses it without a word (trap 24)."""
        with proxy.connect() as reader:
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            direct.execute("drop table one cascade")
            direct.execute("create table one (id int primary key, name text)")
            direct.execute("insert into one values (1, 'a')")
            proxy.wait_until_answer(lambda: reader.execute(READ).fetchall(), [(1, "a")])
            proxy.wait_until_cached(lambda: reader.execute(READ).fetchall())
            direct.execute("update one set name = 'b'")
            proxy.wait_until_answer(lambda: reader.execute(READ).fetchall(), [(1, "b")])

    def test_a_table_earlier_in_the_path(self, proxy, direct):
        read = "select place from behind"
        with proxy.connect(options="-c search_path=front,public") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            direct.execute("create table front.behind as select 1 as id, 'front'::text as place")
            proxy.wait_until_answer(lambda: reader.execute(read).fetchall(), [("front",)])

    def test_a_partition_attached_and_detached(self, proxy, direct):
        read = "select count(*) from measured"
        assert proxy.query(read) == proxy.query(read) == [(1,)]
        direct.execute("alter table measured attach partition measured_2 "
                       "for values from ('2026-02-01') to ('2026-03-01')")
        proxy.wait_until_answer(read, [(2,)])
        direct.execute("alter table measured detach partition measured_2")
        proxy.wait_until_answer(read, [(1,)])

    def test_a_first_child(self, proxy, direct):
        read = "select count(*) from parent"
        proxy.wait_until_cached(read)
        direct.execute("create table child () inherits (parent)")
        direct.execute("insert into child values (1, 'x')")
        proxy.wait_until_answer(read, [(1,)])
        direct.execute("insert into child values (2, 'x')")
        proxy.wait_until_answer(read, [(2,)])
        direct.execute("drop table child")
        proxy.wait_until_answer(read, [(0,)])

    def test_a_function_replaced(self, proxy, direct):
        read = "select fixed(id) from behind"
        assert proxy.query(read) == proxy.query(read) == [(2,)]
        direct.execute("create or replace function fixed(int) returns int language sql immutable "
                       "as 'select $1 + 10'")
        proxy.wait_until_answer(read, [(11,)])
        direct.execute("create or replace function fixed(int) returns int language sql immutable "
                       "as 'select $1 + 1'")

    def test_a_table_read_before_it_exists(self, proxy, direct):
        with proxy.connect() as reader:
            for _ in range(3):
                with pytest.raises(psycopg.errors.UndefinedTable):
                    reader.execute("select id from newcomer")
            direct.execute("create table newcomer (id int primary key)")
            assert reader.execute("select id from newcomer").fetchall() == []
            proxy.wait_until_cached(lambda: reader.execute("select id from newcomer").fetchall())
            direct.execute("insert into newcomer values (1)")
            proxy.wait_until_answer(
                lambda: reader.execute("select id from newcomer").fetchall(), [(1,)])


class TestWhatIsNotFollowed:
    """Answers that no change of a followed table explains are right all the same."""

    @pytest.mark.parametrize("read, change", [
        ("select count(*) from seen", "insert into one values ({}, 'x')"),
        ("select answer()", "insert into one values ({}, 'x')"),
        ("select answer() from behind", "insert into one values ({}, 'x')"),
        ("select max(id) from unlogged_one", "insert into unlogged_one values ({}, 'x')"),
        ("select max(a) from keyless", "insert into keyless values ({}, 'x')"),
        ("select max(id) from nothing", "insert into nothing values ({}, 'x')"),
        ("select max(a) from full_identity", "insert into full_identity values ({}, 'x')"),
        ("select count(*) from measured", "insert into measured values ({}, '2026-01-06')"),
        ("select count(*) from measured_1", "insert into measured_1 values ({}, '2026-01-07')"),
    ])
    def test_is_right_after_a_change(self, proxy, client, direct, read, change):
        if "seen" in read:
            direct.execute("create or replace view seen as select id, name from one")
        for key in range(100, 105):
            proxy.query(read)
            before = proxy.query(read)
            client.execute(change.format(key))
            (after,) = client.execute(read).fetchone()
            assert (after,) != before[0]
            proxy.wait_until_answer(read, [(after,)])

    def test_a_materialized_view_after_refresh(self, proxy, direct):
        direct.execute("drop materialized view if exists kept")
        direct.execute("create materialized view kept as select count(*) as n from one")
        read = "select n from kept"
        proxy.query(read)
        direct.execute("insert into one values (50, 'x')")
        direct.execute("refresh materialized view kept")
        assert proxy.query(read) == [(3,)]
        direct.execute("drop materialized view kept")

    @pytest.mark.parametrize("table, key", [
        ("keyless", "a"), ("nothing", "id"), ("full_identity", "a"), ("unlogged_one", "id")])
    def test_the_application_may_still_write_it(self, proxy, client, table, key):
        """A published table without a usable key would refuse these (trap 122)."""
        for _ in range(3):
            client.execute(f"select * from {table}")
        client.execute(f"update {table} set b = 'y' where {key} = 1")
        client.execute(f"delete from {table} where {key} > 1000")
        assert client.execute(f"select b from {table} where {key} = 1").fetchone() == ("y",)

    @pytest.mark.cached
    @pytest.mark.parametrize("read, reason", [
        ("select count(*) from unlogged_one", "unlogged"),
        ("select count(*) from keyless", "no_replica_identity"),
        ("select count(*) from nothing", "no_replica_identity"),
        ("select count(*) from pg_class", "system_catalog"),
        ("select * from information_schema.tables", "system_catalog"),
        ("select 1", "no_relation"),
        ("select now() from one", "time_dependent"),
        ("select random() from one", "volatile_function"),
        ("select id from one for update", "locking"),
        ("select 1; select 2", "several_statements"),
    ])
    def test_has_a_named_reason(self, proxy, client, read, reason):
        def count():
            return sum(proxy.forwarded().get(name, 0) for name in reason.split("|"))

        def moved():
            before = count()
            client.execute(read)
            return count() > before

        # The first time the catalog may still be on its way.
        proxy.wait_until_answer(moved, True)


@pytest.mark.cached
@pytest.mark.parametrize("text", ["select id frm nothing", "alter table", "selekt 1; drop table nothing"])
def test_a_typing_error_empties_nothing(proxy, client, text):
    """What neither parser understands was not executed, whatever it might have been."""
    def generation():
        return proxy.metric("pgcache_cache_generation")

    def empties_nothing():
        before = generation()
        for ask in (lambda: client.execute(text), lambda: client.execute(text, prepare=True),
                    lambda: psycopg.ClientCursor(client).execute(text)):
            with pytest.raises(psycopg.errors.SyntaxError):
                ask()
        return generation() == before

    # What was done before this may come to be noticed meanwhile.
    wait_until(empties_nothing, "nothing is emptied")
    before = generation()
    with pytest.raises(psycopg.errors.SyntaxError):
        client.execute("do $$ begin execute 'selekt'; end $$")
    assert generation() > before
