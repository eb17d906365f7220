"""Which settings split the cache, and which rights and tables matter: K1, K3, K4 and P1.

A session whose settings differ from another's in nothing that a statement depends on gets the other's answer; in
anything that it does depend on, its own.
"""
import psycopg
import pytest

from proxy import DIRECT
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table plain (id int primary key, name text, n numeric, flag bool, j jsonb);
insert into plain values (1, 'one', 1.50, true, '{"a": 1.0}'), (2, 'two', 2, false, null);
create table timed (id int primary key, at timestamptz, f float8, b bytea, i interval, d date, list int[]);
insert into timed values (1, '2026-01-01 23:30+00', 0.1, '\\x00ff', '1 day 02:00', '2026-02-01', '{1,null}');
create schema one; create schema two;
create table one.named (id int primary key, note text);
create table two.named (id int primary key, note text);
insert into one.named values (1, 'one'); insert into two.named values (1, 'two');
create table tenants (id int primary key, tenant text);
insert into tenants values (1, 'a'), (2, 'b'), (3, 'a');
create table by_column (id int primary key, open text, closed text);
insert into by_column values (1, 'open', 'closed');
grant select (id, open) on by_column to app_trust;
create table by_table (id int primary key, open text);
insert into by_table values (1, 'open');
grant select on plain, timed, by_table to app_trust;
create table no_column (id int primary key);
create table quiet (id int primary key, name text);
create table loud (id int primary key, name text);
create function change_settings() returns trigger language plpgsql as $$
begin perform set_config('bytea_output', 'escape', false); return coalesce(new, old); end $$;
create trigger changes before insert on loud for each row execute function change_settings();
create table by_default (id int primary key, name text default set_config('bytea_output', 'escape', false));
create domain careful as text check (set_config('bytea_output', value, false) <> '');
create table by_domain (id int primary key, name careful);
create table parent (id int primary key);
insert into parent values (1);
create table child (id int primary key, parent int references parent on delete cascade);
insert into child values (1, 1);
create trigger changes before delete on child for each row execute function change_settings();
"""

READ_PLAIN = "select id, name, n, flag, j from plain order by id"

# A setting, a value of it, and a statement whose text or meaning it alters.
ACTING = [
    ("TimeZone", "Asia/Tokyo", "select at from timed"),
    ("TimeZone", "Asia/Tokyo", "select at::text from timed"),
    ("TimeZone", "Asia/Tokyo", "select at::date from timed"),
    ("TimeZone", "Asia/Tokyo", "select count(*) from timed where at = '2026-01-01 23:30'"),
    ("TimeZone", "Asia/Tokyo", "select * from timed"),
    ("TimeZone", "Asia/Tokyo", "select id || ' ' || at from timed"),
    ("TimeZone", "Asia/Tokyo", "select (id, at) from timed"),
    ("DateStyle", "German", "select d from timed"),
    ("DateStyle", "SQL, DMY", "select count(*) from timed where d = '01/02/2026'"),
    ("IntervalStyle", "iso_8601", "select i from timed"),
    ("extra_float_digits", "-5", "select f / 3 from timed"),
    ("extra_float_digits", "-5", "select (id + 1) ^ (0 - 1) from plain where id = 2"),
    ("extra_float_digits", "-5", "select + '0.1234567890123456', id from plain"),
    ("extra_float_digits", "-5", "select n::float8 / 3 from plain"),
    ("bytea_output", "escape", "select b from timed"),
    ("bytea_output", "escape", "select concat(b) from timed"),
    ("array_nulls", "off", "select id from plain where name <> all('{NULL,one}')"),
    ("standard_conforming_strings", "off", "select 'a\\nb', id from plain"),
    ("quote_all_identifiers", "on", "select quote_ident(name) from plain"),
]

# Statements that depend on none of the settings above.
PLAIN = [
    READ_PLAIN, "select count(*) from plain", "select id from timed", "select upper(name) from plain where id = 1",
    "select sum(id), avg(n), max(name) from plain", "select name from plain where n > 1.5 or flag",
    "select j -> 'a' from plain where id = 1", "select p.name from plain p join timed t on t.id = p.id",
]


def set_to(connection, setting, value):
    connection.execute("select set_config(%s, %s, false)", (setting, value))


def rows(connection, sql):
    return connection.execute(sql, binary=False).fetchall()


def text(connection, sql):
    """The rows as the text that the origin sends, whatever the types."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        result = cursor.pgresult
        return [[result.get_value(row, column) for column in range(result.nfields)]
                for row in range(result.ntuples)]


class TestClasses:
    @pytest.mark.parametrize("setting, value, sql", ACTING)
    def test_k1_what_a_statement_depends_on_splits(self, proxy, direct, setting, value, sql):
        set_to(direct, setting, "UTC" if setting == "TimeZone" else direct.execute(f"show {setting}").fetchone()[0])
        ordinary = text(direct, sql)
        with proxy.connect() as first, proxy.connect() as second:
            proxy.wait_until_cached(lambda: text(first, sql))
            assert text(first, sql) == ordinary
            set_to(second, setting, value)
            set_to(direct, setting, value)
            other = text(direct, sql)
            assert other != ordinary, "the setting alters nothing: the test shows nothing"
            for _ in range(4):
                assert text(second, sql) == other
                assert text(first, sql) == ordinary

    @pytest.mark.cached
    @pytest.mark.parametrize("setting, value", sorted({(acting[0], acting[1]) for acting in ACTING}))
    def test_k1_what_it_does_not_depend_on_does_not(self, proxy, direct, setting, value):
        with proxy.connect() as first, proxy.connect() as second:
            set_to(second, setting, value)
            for sql in PLAIN:
                expected = proxy.wait_until_cached(lambda: text(first, sql))
                # The first look at it under these settings resolves it; from then on it is the first one's answer.
                proxy.wait_until_cached(lambda: text(second, sql))
                with proxy.expect_hits(1):
                    assert text(second, sql) == expected

    @pytest.mark.cached
    def test_k1_an_answer_that_is_shared_is_fetched_once(self, proxy):
        sql = "select name, id from plain where id = 2"
        with proxy.connect() as first, proxy.connect() as second:
            set_to(second, "TimeZone", "Asia/Tokyo")
            proxy.wait_until_cached(lambda: text(second, "select 1 from plain"))
            proxy.wait_until_cached(lambda: text(first, sql))
            misses = proxy.misses()
            proxy.wait_until_cached(lambda: text(second, sql))
            assert proxy.misses() == misses

    @pytest.mark.cached
    def test_k1_prepared_statements_are_shared(self, proxy):
        sql = "select name from plain where id = %s"
        with proxy.connect() as first, proxy.connect() as second:
            set_to(second, "TimeZone", "Asia/Tokyo")
            for connection in (first, second):
                answer = proxy.wait_until_cached(lambda: connection.execute(sql, (1,), prepare=True).fetchall())
                assert answer == [("one",)]
                for key, name in ((1, "one"), (2, "two"), (1, "one")):
                    assert connection.execute(sql, (key,), prepare=True).fetchall() == [(name,)]

    def test_k1_a_write_ends_it_for_all(self, proxy, direct):
        sql = "select note from one.named"
        with proxy.connect() as first, proxy.connect() as second:
            set_to(second, "TimeZone", "Asia/Tokyo")
            for number in range(5):
                direct.execute("update one.named set note = %s", (str(number),))
                for connection in (first, second):
                    proxy.wait_until_answer(lambda: connection.execute(sql).fetchall(), [(str(number),)])
            direct.execute("update one.named set note = 'one'")


class TestPaths:
    def test_k1_another_path_to_the_same_shares_and_to_another_does_not(self, proxy):
        sql = "select note from named"
        with proxy.connect() as one, proxy.connect() as two, proxy.connect() as longer:
            one.execute("set search_path = one")
            two.execute("set search_path = two, one")
            longer.execute("set search_path = public, one")
            for _ in range(5):
                assert one.execute(sql).fetchall() == [("one",)]
                assert two.execute(sql).fetchall() == [("two",)]
                assert longer.execute(sql).fetchall() == [("one",)]
            if DIRECT:
                return
            proxy.wait_until_cached(lambda: one.execute(sql).fetchall())
            proxy.wait_until_cached(lambda: longer.execute(sql).fetchall())
            with proxy.expect_hits(3):
                assert [c.execute(sql).fetchall() for c in (one, longer, one)] == [[("one",)]] * 3

    def test_k1_a_table_that_shadows_another_is_noticed(self, proxy, direct):
        sql = "select note from named"
        direct.execute("create schema front")
        try:
            with proxy.connect() as reader:
                reader.execute("set search_path = front, one")
                proxy.wait_until_cached(lambda: reader.execute(sql).fetchall())
                direct.execute("create table front.named (id int primary key, note text)")
                proxy.wait_until_answer(lambda: reader.execute(sql).fetchall(), [])
        finally:
            direct.execute("drop schema front cascade")


class TestCustomSettings:
    @pytest.mark.cached
    def test_k4_a_setting_of_the_application_costs_no_hit(self, proxy, client):
        for number in range(5):
            # A read in a block may have been the origin's, which holds the next ones up for a moment.
            proxy.wait_until_cached(lambda: rows(client, READ_PLAIN))
            client.execute(f"set app.request_id = '{number}'")
            with proxy.expect_hits(1):
                rows(client, READ_PLAIN)
            client.execute("select set_config('app.user', %s, false)", (str(number),))
            with proxy.expect_hits(1):
                rows(client, READ_PLAIN)
            with client.transaction():
                client.execute(f"set local app.request_id = '{number}'")
                rows(client, READ_PLAIN)

    def test_k4_it_reaches_the_origin(self, client):
        client.execute("set app.request_id = 'x y'")
        assert client.execute("select current_setting('app.request_id')").fetchall() == [("x y",)]
        with client.transaction():
            client.execute("set local app.request_id = 'z'")
            assert client.execute("select current_setting('app.request_id')").fetchall() == [("z",)]
        assert client.execute("select current_setting('app.request_id')").fetchall() == [("x y",)]
        client.execute("reset app.request_id")
        assert client.execute("select current_setting('app.request_id')").fetchall() == [("",)]

    @pytest.mark.cached
    def test_k4_what_is_not_declared_is_forwarded(self, proxy, client):
        client.execute("set app.tenant = 'a'")
        sql = "select id from tenants where tenant = current_setting('app.tenant') order by id"
        proxy.wait_until_cached("select count(*) from tenants")
        for tenant, expected in (("a", [(1,), (3,)]), ("b", [(2,)]), ("a", [(1,), (3,)])):
            client.execute(f"set app.tenant = '{tenant}'")
            with proxy.expect_forward("stable_function"):
                assert client.execute(sql).fetchall() == expected

    def test_k4_what_is_declared_is_a_part_of_the_key(self, start_proxy):
        proxy = start_proxy(custom_settings="app.tenant")
        sql = "select id from tenants where tenant = current_setting('app.tenant', true) order by id"
        expected = {"a": [(1,), (3,)], "b": [(2,)], "": []}
        with proxy.connect() as one, proxy.connect() as two, proxy.connect() as none:
            one.execute("set app.tenant = 'a'")
            two.execute("set app.tenant = 'b'")
            for connection, tenant in ((one, "a"), (two, "b"), (none, "")):
                answer = proxy.wait_until_cached(lambda: connection.execute(sql).fetchall())
                assert answer == expected[tenant]
            for _ in range(3):
                assert one.execute(sql).fetchall() == expected["a"]
                assert two.execute(sql).fetchall() == expected["b"]
                assert none.execute(sql).fetchall() == expected[""]
            for tenant in ("b", "a", "", "b"):
                one.execute(f"set app.tenant = '{tenant}'")
                assert one.execute(sql).fetchall() == expected[tenant]
            two.execute("begin")
            two.execute("set local app.tenant = 'a'")
            assert two.execute(sql).fetchall() == expected["a"]
            two.execute("rollback")
            assert two.execute(sql).fetchall() == expected["b"]
            two.execute("select set_config('app.tenant', 'a', false)")
            assert two.execute(sql).fetchall() == expected["a"]
            two.execute("discard all")
            assert two.execute(sql).fetchall() == expected[""]
            # Who does not read it shares.
            plain = "select count(*) from tenants"
            proxy.wait_until_cached(lambda: two.execute(plain).fetchall())
            one.execute("set app.tenant = 'never seen'")
            assert one.execute(plain).fetchall() == [(3,)]

    @pytest.mark.cached
    def test_k4_settings_of_a_library_are_not_the_applications(self, proxy, client):
        proxy.wait_until_cached(lambda: rows(client, READ_PLAIN))
        client.execute("set pg_stat_statements.track = 'none'")
        reads = proxy.metric("pgcache_session_settings_read")
        proxy.wait_until_cached(lambda: rows(client, READ_PLAIN))
        assert proxy.metric("pgcache_session_settings_read") >= reads


class TestColumnRights:
    @pytest.mark.cached
    @pytest.mark.parametrize("sql", [
        "select id from by_column", "select id, open from by_column where open = 'open'",
        "select count(*) from by_column",
        "select b.open from by_column b join by_table t on t.id = b.id", "select 1 from by_column order by open"])
    def test_p1_rights_on_columns_are_enough(self, proxy, sql):
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(sql).fetchall())

    @pytest.mark.parametrize("sql", [
        "select * from by_column", "select closed from by_column", "select id from by_column where closed = 'closed'",
        "select id from by_column order by closed", "select count(closed) from by_column",
        "select b.* from by_column b", "select case when 1 = 1 then 'x' else closed end from by_column",
        "select b.id from by_column b join by_table t on b.closed = t.open",
        "select count(*) from no_column"])
    def test_p1_every_column_that_is_named_counts(self, proxy, sql):
        if not DIRECT:
            proxy.wait_until_cached(sql)
        with proxy.connect("app_trust") as reader:
            for _ in range(3):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(sql)

    def test_p1_a_right_on_a_column_that_is_taken_away(self, proxy, direct):
        sql = "select open, id from by_column"
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(sql).fetchall())
            direct.execute("revoke select (open) on by_column from app_trust")

            def is_refused():
                try:
                    reader.execute(sql)
                    return False
                except psycopg.errors.InsufficientPrivilege:
                    return True

            proxy.wait_until_answer(is_refused, True)
            direct.execute("grant select (open) on by_column to app_trust")
            proxy.wait_until_answer(is_refused, False)

    @pytest.mark.cached
    def test_p1_more_than_64_roles(self, proxy, origin, direct):
        names = [f"many_{proxy.database}_{number}" for number in range(70)]
        for name in names:
            direct.execute(f"create role {name} login; grant select on by_table to {name}")
        sql = "select open from by_table where id = 1"
        proxy.wait_until_cached(sql)
        try:
            for name in names:
                with psycopg.connect(host=proxy.host, port=proxy.port, dbname=proxy.database, user=name,
                                     autocommit=True) as reader:
                    assert reader.execute(sql).fetchall() == [("open",)]
                    if name == names[-1]:
                        proxy.wait_until_cached(lambda: reader.execute(sql).fetchall())
        finally:
            for name in names:
                direct.execute(f"drop owned by {name}; drop role {name}")


class TestTablesThatRunCode:
    """K3: whoever writes to a table may change settings by what hangs on it."""

    SHOWS = "select b from timed"

    @pytest.mark.parametrize("write", [
        "insert into loud values (1, 'x') on conflict do nothing", "insert into by_default (id) values (%s)",
        "insert into by_domain values (%s, 'escape')", "delete from parent where id = 1",
        "with x as (insert into by_default (id) values (%s) returning 1) select * from x",
        "update pg_settings set setting = 'escape' where name = 'bytea_output'"])
    def test_k3_settings_that_a_write_changes(self, proxy, direct, write):
        with proxy.connect() as warm:
            proxy.wait_until_cached(lambda: text(warm, self.SHOWS))
        direct.execute("delete from loud; delete from by_default; delete from by_domain")
        direct.execute("insert into parent values (1) on conflict do nothing")
        direct.execute("insert into child values (1, 1) on conflict do nothing")
        with proxy.connect() as client:
            assert text(client, self.SHOWS) == [[b"\\x00ff"]]
            try:
                client.execute(write.replace("%s", "7"))
            except psycopg.Error:
                pass
            now = client.execute("show bytea_output").fetchone()[0]
            assert now == "escape"
            for _ in range(4):
                assert text(client, self.SHOWS) == [[b"\\000\\377"]]
        with proxy.connect() as other:
            assert text(other, self.SHOWS) == [[b"\\x00ff"]]

    @pytest.mark.cached
    def test_k3_a_plain_insert_leaves_the_settings_known(self, proxy):
        read = "select id from plain where id = 1"
        with proxy.connect() as client:
            proxy.wait_until_cached(lambda: client.execute(read).fetchall())
            for number in (0, 0):
                # What they name is not known before.
                client.execute("insert into quiet values (%s, 'x') on conflict do nothing", (number,))
                client.execute("update quiet set name = 'y' where id = %s", (number,))
                proxy.wait_until_cached(lambda: client.execute(read).fetchall())

            def stays_known():
                reads = proxy.metric("pgcache_session_settings_read")
                for number in range(1, 4):
                    client.execute("insert into quiet values (%s, 'x') on conflict do nothing", (number,))
                    client.execute("update quiet set name = 'y' where id = %s", (number,))
                    proxy.wait_until_cached(lambda: client.execute(read).fetchall())
                return proxy.metric("pgcache_session_settings_read") == reads

            # Not while a change of the schema by an earlier test is still being noticed.
            wait_until(stays_known, "the settings stay known")
            reads = proxy.metric("pgcache_session_settings_read")
            client.execute("insert into loud values (1, 'x')")
            proxy.wait_until_cached(lambda: client.execute(read).fetchall())
            assert proxy.metric("pgcache_session_settings_read") > reads
