"""Partitioned and inherited tables: read through their roots, written wherever the rows are."""
import pytest

import wire as w

ONE_REACTOR = True

SCHEMA = """
create table measured (id int, day date, value int, note text, primary key (id, day)) partition by range (day);
create table measured_1 partition of measured for values from ('2026-01-01') to ('2026-02-01');
create table measured_2 (note text, gone int, value int, day date not null, id int not null, primary key (id, day));
alter table measured_2 drop column gone;
alter table measured attach partition measured_2 for values from ('2026-02-01') to ('2026-03-01');
create table measured_3 partition of measured for values from ('2026-03-01') to ('2026-05-01')
  partition by range (id);
create table measured_3a partition of measured_3 for values from (0) to (5);
create table measured_3b partition of measured_3 default;
create table measured_4 (id int, day date, value int, note text, primary key (id, day));
insert into measured_4 values (90, '2026-06-01', 5, 'late');
create table other (id int primary key, name text);
insert into other select n, 'o' || n from generate_series(1, 5) n;
create table elder (id int primary key, name text);
create table younger (name text, age int, primary key (id)) inherits (elder);
create table youngest (toy text, primary key (id)) inherits (younger);
create table spread (id int, primary key (id)) partition by range (id);
create unlogged table spread_1 partition of spread for values from (0) to (10);
create table guarded (id int, primary key (id)) partition by range (id);
create table guarded_1 partition of guarded for values from (0) to (10);
alter table guarded_1 enable row level security;
create table keyless (id int) partition by range (id);
create table keyless_1 partition of keyless for values from (0) to (10);
create table open_root (id int, primary key (id)) partition by range (id);
create table open_root_1 partition of open_root for values from (0) to (10);
insert into open_root values (1);
grant select on open_root to app_trust;
"""

FILL = """
truncate measured, elder;
insert into measured (id, day, value, note) values (1, '2026-01-05', 1, 'a'), (2, '2026-01-06', 2, 'b'),
  (3, '2026-02-05', 3, 'c'), (4, '2026-03-05', 1, 'd'), (5, '2026-03-06', 9, 'e');
insert into elder values (1, 'old'); insert into younger values (2, 'mid', 40);
insert into youngest values (3, 'kid', 7, 'car');
"""

READS = [
    "select * from measured order by id",
    "select note from measured where id = 3",
    "select * from measured where day = '2026-03-05'",
    "select count(*), sum(value) from measured",
    "select note from measured where value between 2 and 3 order by id",
    "select * from measured_1 order by id",
    "select * from measured_2",
    "select * from measured_3 order by id",
    "select m.note, o.name from measured m join other o using (id) order by id",
    "select name from other o where exists (select from measured m where m.id = o.id and m.value > 2) order by id",
    "select * from elder order by id",
    "select * from only elder",
    "select name from elder where id = 2",
    "select * from younger order by id",
    "select * from youngest",
    "select count(*) from elder where name like 'k%'",
]

CHANGES = [
    "insert into measured values (6, '2026-02-20', 4, 'f')",
    "insert into measured_1 values (7, '2026-01-20', 4, 'g')",
    "insert into measured_2 (id, day, value, note) values (8, '2026-02-21', 2, 'h')",
    "update measured set note = 'changed' where id = 3",
    "update measured_3b set value = 10 where id = 5",
    # Rows that move: a delete here, an insert there.
    "update measured set day = '2026-02-06' where id = 1",
    "update measured set id = 0 where id = 5",
    "update measured_3 set id = 6 where id = 4",
    "delete from measured where id = 4",
    "delete from measured_2",
    "truncate measured",
    "truncate measured_1",
    "truncate measured_3",
    "update measured set value = value + 1",
    "insert into youngest values (9, 'baby', 1, 'doll')",
    "update elder set name = 'renamed' where id = 3",
    "update only elder set name = 'older'",
    "delete from elder where id = 2",
    "update younger set age = 41",
    "truncate elder",
    "truncate only elder",
]


@pytest.fixture
def filled(direct, proxy):
    direct.execute(FILL)
    proxy.settle(direct)


@pytest.mark.parametrize("protocol", ["simple", "extended", "binary"])
def test_reads_are_hits(filled, twins, protocol):
    twins.warm(*READS, protocol=protocol)
    twins.repeat(*READS, protocol=protocol)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(filled, twins, direct, change):
    twins.warm(*READS)
    twins.ours.ask(w.query(change))
    twins.repeat(*READS)
    twins.warm(*READS)


@pytest.mark.parametrize("change", [
    "create table measured_5 partition of measured for values from ('2026-05-01') to ('2026-06-01'); "
    "insert into measured values (50, '2026-05-05', 1, 'new')",
    "alter table measured attach partition measured_4 for values from ('2026-06-01') to ('2026-07-01')",
    "insert into measured values (91, '2026-06-02', 5, 'into the attached')",
    "update measured_4 set note = 'later' where id = 91",
    "alter table measured detach partition measured_4",
    "update measured_4 set note = 'not seen' where id = 91",
    "drop table measured_5",
    "create table newest (id2 int, primary key (id)) inherits (elder); insert into newest values (60, 'n', 1)",
    "update newest set name = 'm'",
    "alter table newest no inherit elder",
    "drop table newest",
    "alter table measured rename column note to remark; alter table measured rename column remark to note",
])
def test_a_change_of_what_is_below_a_root(filled, twins, direct, change):
    """In this order: each goes on where the one before ended."""
    reads = [read for read in READS if "measured_5" not in read]
    twins.warm(*reads)
    direct.execute(change)
    for read in reads:
        twins.until_alike(w.query(read))
    twins.warm(*reads)
    direct.execute("update measured set value = value + 100; update elder set name = name || '!'")
    for read in reads:
        twins.until_alike(w.query(read))


@pytest.mark.cached
@pytest.mark.parametrize("read, reason", [
    ("select * from spread", "unlogged"), ("select * from guarded", "row_security"),
    ("select * from guarded_1", "row_security"), ("select * from keyless", "no_replica_identity"),
    ("select * from only measured", "no_relation"),
])
def test_a_root_is_as_good_as_its_worst_leaf(proxy, client, read, reason):
    def is_forwarded():
        before = proxy.forwarded().get(reason, 0)
        client.execute(read)
        return proxy.forwarded().get(reason, 0) > before

    proxy.wait_until_answer(is_forwarded, True)


def test_the_application_may_still_write_all_of_them(proxy, client):
    for table in ["spread", "guarded", "keyless", "elder", "measured"]:
        for _ in range(3):
            client.execute(f"select * from {table}")
        if table != "measured":
            client.execute(f"insert into {table} (id) values (5)")
        client.execute(f"update {table} set id = 6 where id = 5")
        client.execute(f"delete from {table} where id = 6")


def test_a_right_on_the_root_is_enough(proxy, start_twins):
    twins = start_twins("app_trust")
    proxy.wait_until_cached("select id from open_root")
    twins.warm("select id from open_root")
    for _ in range(3):
        twins.ask(w.query("select id from open_root_1"))
    proxy.wait_until_cached("select id from open_root_1")
    for _ in range(3):
        twins.ask(w.query("select id from open_root_1"))


def test_other_rows_do_not_matter(twins, direct):
    """An entry about one key is left alone by changes of other keys, in whatever leaf."""
    read = "select note from measured where id = 3"
    twins.ours.ask(w.query(FILL))
    twins.warm(read)
    direct.execute("insert into measured values (70, '2026-01-30', 1, 'x'), (71, '2026-02-15', 1, 'y')")
    other = "select count(*) from measured"
    twins.until_alike(w.query(other))
    twins.warm(other)
    twins.expect_hit(read)
