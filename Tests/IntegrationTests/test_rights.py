"""Who may see an answer: the cache never shows a role what the origin would refuse it."""
import psycopg
import pytest

import wire as w

ONE_REACTOR = True

SCHEMA = """
create table open_to_all (id int primary key, note text);
insert into open_to_all values (1, 'open');
grant select on open_to_all to public;
create table secret (id int primary key, note text);
insert into secret values (1, 'secret');
create table for_one (id int primary key, note text);
insert into for_one values (1, 'for one');
grant select on for_one to app_trust;
create table by_column (id int primary key, note text);
insert into by_column values (1, 'by column');
grant select (id) on by_column to app_trust;
create schema closed;
create table closed.thing (id int primary key, note text);
insert into closed.thing values (1, 'closed');
grant select on closed.thing to app_trust;
create table owned (id int primary key, owner text, note text);
insert into owned values (1, 'app_trust', 'hers'), (2, 'app_scram', 'his');
grant select on owned to app_trust, app_scram;
alter table owned enable row level security;
create policy own on owned using (owner = current_user);
create table later_owned (id int primary key, owner text);
insert into later_owned values (1, 'app_trust'), (2, 'app_scram');
grant select on later_owned to app_trust, app_scram;
create table by_group (id int primary key, note text);
insert into by_group values (1, 'by group');
create table branches (id int primary key, note text);
insert into branches values (1, 'x');
create table for_function (id int primary key);
insert into for_function values (1);
grant select on for_function to public;
create function restricted(int) returns int language sql immutable as 'select $1';
revoke execute on function restricted(int) from public;
"""


def refused(proxy, sql, user="app_trust"):
    with proxy.connect(user) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql)


def allowed(proxy, sql, user="app_trust"):
    with proxy.connect(user) as connection:
        return connection.execute(sql).fetchall()


class TestTables:
    def test_a_role_without_rights_is_refused_what_is_cached_for_another(self, proxy):
        read = "select note from secret where id = 1"
        assert proxy.wait_until_cached(read) == [("secret",)]
        for _ in range(3):
            refused(proxy, read)
        assert proxy.wait_until_cached(read) == [("secret",)]

    def test_a_refusal_is_not_cached_for_others(self, proxy):
        read = "select id from secret where note = 'secret'"
        refused(proxy, read)
        refused(proxy, read)
        assert proxy.query(read) == [(1,)]

    def test_a_role_with_rights_shares_the_answer(self, proxy):
        read = "select note from open_to_all where id = 1"
        proxy.wait_until_cached(read)
        with proxy.connect("app_trust") as connection:
            proxy.wait_until_cached(lambda: connection.execute(read).fetchall())

    def test_the_error_is_the_origins(self, proxy, origin, database):
        read = "select note from secret where id = 1"
        proxy.wait_until_cached(read)
        answers = []
        for port in (origin.port, proxy.port):
            with w.WireClient.logged_in("127.0.0.1", port, database, "app_trust") as client:
                answers.append([client.ask(w.query(read)), client.ask(w.extended(read))])
        assert answers[0] == answers[1]

    def test_columns(self, proxy):
        proxy.wait_until_cached("select id, note from by_column")
        assert allowed(proxy, "select id from by_column") == [(1,)]
        for sql in ("select id, note from by_column", "select * from by_column",
                    "select id from by_column where note = 'by column'"):
            refused(proxy, sql)

    def test_a_schema(self, proxy):
        read = "select note from closed.thing"
        proxy.wait_until_cached(read)
        refused(proxy, read)

    def test_a_branch_that_constants_switch_off(self, proxy):
        """A success proves the right to that text with those constants, and nothing more (P1)."""
        sql = "select id from open_to_all where id = 1 and ({} or exists (select 1 from branches))"
        for _ in range(3):
            assert allowed(proxy, sql.format("true")) == [(1,)]
            refused(proxy, sql.format("false"))
            assert proxy.query(sql.format("false")) == [(1,)]

    def test_set_role_drops_rights(self, proxy, client):
        read = "select note from secret where id = 1"
        proxy.wait_until_cached(lambda: client.execute(read).fetchall())
        client.execute("set role app_trust")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute(read)

    def test_a_function(self, proxy):
        read = "select restricted(id) from for_function"
        proxy.query(read)
        refused(proxy, read)


class TestChangesOfRights:
    def read_until_refused(self, proxy, read):
        def is_refused():
            try:
                allowed(proxy, read)
                return False
            except psycopg.errors.InsufficientPrivilege:
                return True

        proxy.wait_until_answer(is_refused, True)

    def test_grant_and_revoke_through_the_proxy_act_at_once(self, proxy, client):
        read = "select note from for_one where id = 1"
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            for _ in range(3):
                client.execute("revoke select on for_one from app_trust")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(read)
                client.execute("grant select on for_one to app_trust")
                assert reader.execute(read).fetchall() == [("for one",)]
                proxy.wait_until_cached(lambda: reader.execute(read).fetchall())

    def test_revoke_elsewhere_is_noticed_by_the_poll(self, proxy, direct):
        read = "select id from for_one"
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
        direct.execute("revoke select on for_one from app_trust")
        self.read_until_refused(proxy, read)
        direct.execute("grant select on for_one to app_trust")
        assert allowed(proxy, read) == [(1,)]

    def test_leaving_a_group_is_noticed(self, proxy, direct):
        group = f"readers_of_{proxy.database}"
        direct.execute(f"create role {group}")
        direct.execute(f"grant select on by_group to {group}")
        direct.execute(f"grant {group} to app_trust")
        read = "select note from by_group"
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
        direct.execute(f"revoke {group} from app_trust")
        self.read_until_refused(proxy, read)
        direct.execute(f"drop owned by {group}")
        direct.execute(f"drop role {group}")

    def test_a_schema_closed_elsewhere_is_noticed(self, proxy, direct):
        direct.execute("grant usage on schema closed to app_trust")
        read = "select id from closed.thing"
        proxy.wait_until_answer(lambda: allowed(proxy, read), [(1,)])
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
        direct.execute("revoke usage on schema closed from app_trust")
        self.read_until_refused(proxy, read)


class TestRowSecurity:
    def test_each_role_sees_its_own_rows(self, proxy):
        read = "select note from owned order by id"
        for _ in range(4):
            assert allowed(proxy, read, "app_trust") == [("hers",)]
            assert allowed(proxy, read, "app_scram") == [("his",)]
            assert proxy.query(read) == [("hers",), ("his",)]

    @pytest.mark.cached
    def test_is_forwarded_always(self, proxy, client):
        for _ in range(5):
            with proxy.expect_forward():
                client.execute("select note from owned order by id")
        assert proxy.forwarded()["row_security"] > 0

    def test_enabled_through_the_proxy(self, proxy, client):
        read = "select id from later_owned order by id"
        with proxy.connect("app_trust") as reader:
            assert proxy.wait_until_cached(
                lambda: reader.execute(read).fetchall()) == [(1,), (2,)]
            client.execute("create policy own on later_owned using (owner = current_user)")
            client.execute("alter table later_owned enable row level security")
            for _ in range(3):
                assert reader.execute(read).fetchall() == [(1,)]
            client.execute("alter table later_owned disable row level security")
            assert reader.execute(read).fetchall() == [(1,), (2,)]
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())

    def test_enabled_elsewhere(self, proxy, direct):
        read = "select owner from later_owned order by id"
        with proxy.connect("app_trust") as reader:
            proxy.wait_until_cached(lambda: reader.execute(read).fetchall())
            direct.execute("alter table later_owned enable row level security")
            direct.execute("create policy elsewhere on later_owned using (owner = current_user)")
            proxy.wait_until_answer(lambda: reader.execute(read).fetchall(), [("app_trust",)])
            direct.execute("alter table later_owned disable row level security")
            direct.execute("drop policy elsewhere on later_owned")
