"""Views: read as what they stand for, with the rights of their owners, until somebody changes them."""
import psycopg
import pytest

import wire as w

ONE_REACTOR = True

SCHEMA = """
create schema app;
create table app.people (id int primary key, name text, age int, secret text);
insert into app.people values (1, 'ann', 30, 's1'), (2, 'bob', 17, 's2'), (3, 'eve', 40, 's3');
create table app.pets (id int primary key, person int, name text);
insert into app.pets values (1, 1, 'rex'), (2, 3, 'tom');
create view adults as select id, name as called, age from app.people where age >= 18;
create view adult_pets (person, pet) as select a.called, p.name from adults a left join app.pets p on p.person = a.id;
create view totals as select count(*) as n, sum(age) as years from app.people;
create view noisy as select id, random() as r from app.people;
create view today as select id from app.people where current_date > '2000-01-01';
create view constant as select 1 as one;
create view invoked with (security_invoker) as select id, name from app.people;
create view over_invoked as select id from invoked;
create view barred with (security_barrier) as select id, secret from app.people where age < 18;
create table guarded (id int primary key, owner text);
insert into guarded values (1, 'app_trust');
alter table guarded enable row level security;
create view of_guarded as select id from guarded;
create materialized view kept as select count(*) as n from app.people;
create view of_kept as select n from kept;
create view replaced as select id from app.people where id = 1;
create view secured_later as select id from app.people;
create table dropped (id int primary key); insert into dropped values (1);
create view of_dropped as select id from dropped;
create function in_view(int) returns int language sql immutable as 'select $1 * 2';
create view with_function as select in_view(id) as twice from app.people;
grant select on adults, adult_pets, invoked, over_invoked, barred to app_trust;
create role view_owner;
grant usage on schema app to view_owner, app_trust;
grant select on app.people to view_owner;
create view owned as select id, name from app.people;
alter view owned owner to view_owner;
grant select on owned to app_trust;
grant select (id) on app.people to app_trust;
"""


@pytest.fixture(scope="module", autouse=True)
def roles(origin, database):
    yield
    with origin.connect(database) as connection:
        connection.execute("drop owned by view_owner; drop role view_owner")


READS = [
    "select * from adults order by id",
    "select called from adults where id = 1",
    "select a.called, a.age from adults as a where a.age between 20 and 35",
    "select * from adult_pets order by person",
    "select person from adult_pets where pet is null",
    "select * from totals",
    "select n from (select * from totals) t",
    "select (select n from totals), id from adults order by id",
    "with v as (select * from adults) select count(*) from v join adult_pets on person = called",
    "select x.*, y.pet from adults x cross join lateral (select pet from adult_pets where person = x.called) y",
    "select id, secret from barred",
    "select twice from with_function order by twice",
    "table adults",
]


@pytest.mark.parametrize("protocol", ["simple", "extended", "binary"])
def test_reads_of_views_are_hits(twins, protocol):
    twins.warm(*READS, protocol=protocol)
    twins.repeat(*READS, protocol=protocol)


@pytest.mark.parametrize("change", [
    "insert into app.people values (4, 'kim', 50, 's4')",
    "update app.people set age = 18 where id = 2",
    "update app.people set name = 'anne' where id = 1",
    "update app.people set secret = 'other' where id = 2",
    "delete from app.people where id = 3",
    "insert into app.pets values (9, 1, 'leo')",
    "update app.pets set person = 1 where id = 2",
    "delete from app.pets",
    "truncate app.pets",
])
def test_a_change_below_a_view_shows(twins, direct, change):
    direct.execute("begin; truncate app.people, app.pets; "
                   "insert into app.people values (1, 'ann', 30, 's1'), (2, 'bob', 17, 's2'), (3, 'eve', 40, 's3'); "
                   "insert into app.pets values (1, 1, 'rex'), (2, 3, 'tom'); commit")
    twins.proxy.settle(direct)
    twins.warm(*READS)
    # Through the proxy, so that what follows has to see it [S1].
    twins.ours.ask(w.query(change))
    twins.repeat(*READS)
    twins.warm(*READS)


@pytest.mark.cached
@pytest.mark.parametrize("read, reason", [
    ("select * from noisy", "volatile_function"), ("select * from today", "time_dependent"),
    ("select * from of_guarded", "row_security"), ("select * from of_kept", "not_a_table"),
    ("select * from kept", "not_a_table"), ("select * from pg_views", "system_catalog"),
])
def test_what_stays_forwarded(proxy, client, read, reason):
    def is_forwarded():
        before = proxy.forwarded().get(reason, 0)
        client.execute(read)
        return proxy.forwarded().get(reason, 0) > before

    proxy.wait_until_answer(is_forwarded, True)


class TestSchema:
    def test_a_view_that_is_replaced(self, twins, direct):
        read = "select * from replaced"
        twins.warm(read)
        direct.execute("create or replace view replaced as select id from app.people where id = 3")

        twins.until_alike(w.query(read))
        twins.warm(read)
        assert w.rows(twins.ours.ask(w.query(read))) == [[b"3"]]

    def test_a_view_that_is_dropped_and_made_again(self, twins, direct):
        read = "select * from of_dropped"
        twins.warm(read)
        direct.execute("drop table dropped cascade; create table dropped (id int primary key, n int); "
                       "insert into dropped values (7, 8); create view of_dropped as select n as id from dropped")
        twins.until_alike(w.query(read))
        twins.warm(read)

    def test_columns_below_that_are_renamed(self, twins, direct):
        read = "select called from adults order by id"
        twins.warm(read)
        direct.execute("alter table app.people rename column name to title")
        twins.repeat(read)
        direct.execute("insert into app.people values (20, 'new', 60, 's')")
        twins.until_alike(w.query(read))
        direct.execute("alter table app.people rename column title to name")
        twins.warm(read)


class TestRights:
    def allowed(self, proxy, read):
        with proxy.connect("app_trust") as connection:
            return proxy.wait_until_cached(lambda: connection.execute(read).fetchall())

    def refused(self, proxy, read):
        for _ in range(3):
            with proxy.connect("app_trust") as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(read)

    def test_a_reader_needs_no_right_on_what_a_view_reads(self, proxy):
        read = "select secret from barred"
        proxy.wait_until_cached(read)
        assert self.allowed(proxy, read)
        self.refused(proxy, "select secret from app.people")
        assert self.allowed(proxy, "select called from adults where id = 1") == [("ann",)]

    def test_a_reader_needs_a_right_on_the_view(self, proxy):
        proxy.wait_until_cached("select n from totals")
        self.refused(proxy, "select n from totals")

    def test_the_owner_needs_rights_on_what_the_view_reads(self, proxy, direct):
        read = "select name from owned where id = 1"
        assert self.allowed(proxy, read) == [("ann",)]
        direct.execute("revoke select on app.people from view_owner")
        proxy.wait_until_answer(lambda: self.is_refused(proxy, read), True)
        self.refused(proxy, read)
        direct.execute("grant select (id) on app.people to view_owner")
        self.refused(proxy, read)
        direct.execute("grant select on app.people to view_owner")
        assert self.allowed(proxy, read) == [("ann",)]

    def is_refused(self, proxy, read):
        try:
            proxy.query(read, user="app_trust")
        except psycopg.errors.InsufficientPrivilege:
            return True
        return False

    def test_an_invokers_view_asks_for_the_rights_of_who_runs_the_statement(self, proxy):
        for read in ["select id from invoked", "select id from over_invoked"]:
            proxy.wait_until_cached(read)
        # It names columns that the reader has no right on, though the statement does not.
        expected = None
        for read in ["select id from invoked", "select name from invoked", "select id from over_invoked"]:
            with proxy.connect("app_trust") as connection:
                answers = []
                for _ in range(3):
                    try:
                        answers.append(connection.execute(read).fetchall())
                    except psycopg.errors.InsufficientPrivilege:
                        answers.append("refused")
                assert answers == [answers[0]] * 3
                expected = answers[0]
        assert expected is not None

    def test_every_role_gets_what_the_origin_gives(self, proxy, start_twins):
        twins = start_twins("app_trust")
        for read in ["select id from invoked", "select name from invoked", "select id from over_invoked",
                     "select called from adults", "select n from totals", "select name from owned",
                     "select secret from barred", "select * from of_guarded"]:
            for _ in range(3):
                twins.ask(w.query(read))

    def test_a_view_that_becomes_an_invokers(self, proxy, direct):
        read = "select id, secret from barred"
        assert self.allowed(proxy, read)
        direct.execute("alter view barred set (security_invoker)")
        proxy.wait_until_answer(lambda: self.is_refused(proxy, read), True)
        self.refused(proxy, read)
        direct.execute("alter view barred reset (security_invoker)")


class TestWriting:
    def test_what_is_written_through_a_view_is_seen(self, twins):
        twins.warm("select called from adults where id = 1")
        for client in (twins.ours,):
            client.ask(w.query("update adults set called = 'anna' where id = 1"))
        twins.repeat("select called from adults where id = 1", "select name from app.people where id = 1")
        twins.ours.ask(w.query("update adults set called = 'ann' where id = 1"))
        twins.repeat("select called from adults where id = 1")
