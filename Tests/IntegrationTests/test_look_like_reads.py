"""Statements that look like reads, and reads of what no change stream tells (traps 89 to 102)."""
import psycopg
import pytest

import wire as w
from twins import PROTOCOLS

TABLES = """
create table item (id int primary key, name text);
insert into item values (1, 'one'), (2, 'two');
create table journal (note text);
create function noted() returns int language sql as $$ insert into journal values ('called') returning 1 $$;
create function counted() returns int language plpgsql stable
    as $$ begin return (select count(*) from item); end $$;
create table front (id int primary key, name text);
create rule away as on insert to front do instead insert into item values (new.id, new.name);
create rule too as on update to front do also insert into journal values ('by rule');
create table was_table (id int, name text);
create rule "_RETURN" as on select to was_table do instead select id, name from item;
create view plain as select id, name from item;
create view nested as select p.id, upper(p.name) as name from plain p;
create view barrier with (security_barrier) as select * from item where id < 3;
create view moment as select id, clock_timestamp() as at from item;
create unlogged table unlogged (id int primary key, name text);
insert into unlogged values (1, 'one');
create materialized view kept as select count(*) as n from item;
create sequence numbers;
create extension postgres_fdw;
create server here foreign data wrapper postgres_fdw options (dbname '{database}', port '{port}', host '127.0.0.1');
create user mapping for postgres server here options (user 'postgres', password_required 'false');
create foreign table far (id int, name text) server here options (table_name 'item');
create view far_view as select * from far;
create extension dblink;
"""

ONE_REACTOR = True


@pytest.fixture(scope="module")
def database(origin, reactor):
    """The foreign table needs the origin's address, so there is no SCHEMA."""
    name = origin.create_database()
    with origin.connect(name) as connection:
        connection.execute(TABLES.format(database=name, port=origin.port))
    yield name
    origin.drop_database(name)


def trap(number, *values):
    return pytest.param(*values, marks=pytest.mark.trap(number))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("read", [
    trap(89, "with gone as (delete from item where id < 0 returning 1 as n) select count(*) from gone"),
    trap(89, "with a as (insert into journal values ('by with') returning note) select note from a"),
    trap(89, "with a as (select id from item), b as (update item set name = name where id = 1 returning 1) "
             "select id from a order by id"),
    trap(90, "select id into temp made from item"),
    trap(90, "create temp table made_as as select id from item"),
    trap(91, "select name from item where id = 1 for update"),
    trap(91, "select name from item where id = 1 for no key update"),
    trap(91, "select name from item where id = 1 for share"),
    trap(91, "select name from item where id = 1 for key share nowait"),
    trap(91, "select name from item where id = 1 for update of item skip locked"),
    trap(91, "select id from (select id from item for share) x order by id"),
    trap(92, "select noted()"), trap(92, "select noted(), id from item order by id"),
    trap(92, "select id from item where noted() = 1 order by id"), trap(92, "select * from noted()"),
    trap(92, "select counted() from item"),
    trap(94, "values (1), (2)"),
    trap(102, "select state from pg_stat_activity where false"),
    trap(102, "select mode from pg_locks where false"),
])
def test_is_executed_each_time(twins, direct, read, protocol):
    direct.execute("truncate journal; insert into journal values ('there')")
    rounds = 4
    with twins.proxy.expect_forward():
        for _ in range(rounds):
            twins.made_here(PROTOCOLS[protocol](read))
    notes = direct.execute("select count(*) from journal where note in ('called', 'by with')").fetchone()[0]
    if "noted()" in read or "by with" in read:
        assert notes >= rounds


@pytest.mark.trap(91)
def test_a_locking_read_holds_its_lock(twins, client, direct):
    read = "select name from item where id = 2"
    twins.warm(read)
    for _ in range(2):
        client.execute("begin")
        client.execute(read + " for update")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            direct.execute(read + " for update nowait")
        client.execute("rollback")
        direct.execute(read + " for update nowait")


READS = [
    trap(93, "select id, name from was_table order by id", "update item set name = 'by {n}' where id = 1"),
    trap(93, "select id, name from item order by id", "insert into front values ({n}, 'by rule')"),
    trap(94, "table item", "update item set name = 'by {n}' where id = 1"),
    trap(95, "select id, name from far order by id", "update item set name = 'by {n}' where id = 1"),
    trap(95, "select id, name from far_view order by id", "update item set name = 'by {n}' where id = 1"),
    trap(95, "select f.name from item i join far f using (id) order by id",
         "update item set name = 'by {n}' where id = 1"),
    trap(95, "select * from dblink('dbname={database} port={port} host=127.0.0.1 user=postgres', "
             "'select name from item order by id') as t(name text)", "update item set name = 'by {n}' where id = 1"),
    trap(96, "select name from unlogged", "update unlogged set name = 'by {n}'"),
    trap(96, "select u.name from unlogged u join item using (id)", "update unlogged set name = 'by {n}'"),
    trap(98, "select n from kept", "insert into item values ({n}, 'more'); refresh materialized view kept"),
    trap(98, "select k.n from kept k, item i where i.id = 1", "refresh materialized view kept"),
    trap(99, "select id, name from plain order by id", "update item set name = 'by {n}' where id = 1"),
    trap(99, "select id, name from nested order by id", "update item set name = 'by {n}' where id = 1"),
    trap(99, "select id, name from barrier order by id", "update item set name = 'by {n}' where id = 1"),
    trap(99, "select id, name from plain order by id",
         "create or replace view plain as select id, 'replaced {n}'::text as name from item"),
    trap(99, "select id from moment order by id", "insert into item values ({n}, 'now')"),
    trap(100, "select last_value, is_called from numbers", "select nextval('numbers')"),
    trap(100, "select pg_sequence_last_value('numbers'), id from item where id = 1", "select nextval('numbers')"),
    trap(101, "select convert_from(lo_get(4242), 'UTF8')", "select lo_put(4242, 0, 'by {n}')"),
    trap(101, "select convert_from(data, 'UTF8') from pg_largeobject where loid = 4242",
         "select lo_put(4242, 0, 'by {n}')"),
    trap(102, "select count(*) from pg_prepared_xacts where gid = 'nobody'", "select"),
]

# What of these may be cached: the table that the change stream tells of, and the views that read it alone.
FOLLOWED = ["from item order", "table item", "was_table", "plain", "nested", "barrier"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("read, change", READS)
def test_follows_what_it_shows(twins, origin, database, direct, read, change, protocol):
    """At once where it is forwarded; a table that is followed may take as long as the stream."""
    if "4242" in read:
        direct.execute("select lo_from_bytea(4242, 'first')")
    read = read.format(database=database, port=origin.port)
    message = PROTOCOLS[protocol](read)
    try:
        for number in range(100, 103):
            twins.repeat(read, protocol=protocol)
            direct.execute(change.format(n=number))
            if any(name in read for name in FOLLOWED):
                twins.until_alike(message)
            twins.repeat(read, protocol=protocol)
    finally:
        direct.execute("delete from item where id >= 100; create or replace view plain as select id, name from item; "
                       "select lo_unlink(4242) from pg_largeobject_metadata where oid = 4242")


@pytest.mark.trap(97)
def test_temporary_tables_are_their_sessions(twins):
    """How they shadow others is the affair of trap 20."""
    read = "select name from mine"
    for text in ("create temp table mine as select 'first'::text as name", read, read,
                 "update mine set name = 'second'", read, read, "truncate mine", read, "drop table mine", read):
        twins.made_here(w.query(text))
