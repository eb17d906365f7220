"""Where rows end: changes of the schema, errors, tables that cannot be loaded, and rows that are missing elsewhere."""
import itertools

import pytest

import wire as w
from rowtier import ANSWERS, FRAGMENTS, ROWS, WITH_MEMO, module_proxy, pools
from stage import HIT, ORIGIN, Stage
from waiting import wait_until

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table item (id int primary key, kind int, name text, price int);
create index on item (kind);
create table odd (id int primary key, v int);
insert into odd select i, i from generate_series(1, 10) i;
create table keyless (a int, b text);
alter table keyless replica identity full;
insert into keyless values (1, 'x'), (1, 'x'), (2, 'y');
create table priced (id int primary key, cost money);
insert into priced values (1, 10), (2, 20.5::numeric::money);
create table documents (id int primary key, body xml);
insert into documents values (1, '<a/>');
create table guarded (id int primary key, owner text);
insert into guarded values (1, 'app_trust'), (2, 'app_scram'), (3, 'postgres');
alter table guarded enable row level security;
create policy own on guarded using (owner = current_user);
create table customer (id int primary key, region int, name text);
insert into customer select i, i % 4, 'c' || i from generate_series(1, 40) i;
create table purchase (id int primary key, customer_id int, state text);
insert into purchase select i, i % 30 + 1, (array['new', 'paid'])[i % 2 + 1] from generate_series(1, 50) i;
create table refund (customer_id int, state text);
alter table refund replica identity full;
insert into refund select i * 3, 'paid' from generate_series(1, 10) i;
create schema one;
grant select on all tables in schema public to app_trust;
"""

proxy = module_proxy(**ROWS)
parts = module_proxy(**FRAGMENTS)
both = module_proxy(**WITH_MEMO)


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


# Schema changes.

DDL = {
    "add a column": ("alter table {t} add column added int default 5",),
    "drop a column": ("alter table {t} drop column name",),
    "rename a column": ("alter table {t} rename column v to w", "alter table {t} rename column name to v"),
    "rewritten": ("alter table {t} alter column v type int using v * 2",),
    "another type": ("alter table {t} alter column v type text",),
    "another length": ("alter table {t} alter column name type varchar(40)",),
    "a generated column": ("alter table {t} add column twice int generated always as (v * 2) stored",),
    "made again": ("drop table {t}", "create table {t} (id int primary key, v int, name text)",
                   "insert into {t} values (1, 1000, 'again')"),
    "made again at once": ("begin; drop table {t}; create table {t} (id int primary key, v int, name text); "
                           "insert into {t} values (2, 7, 'b'); commit",),
    "renamed and replaced": ("begin; create table {t}_new (like {t} including all); "
                             "insert into {t}_new values (9, 9, 'n'); drop table {t}; "
                             "alter table {t}_new rename to {t}; commit",),
    "without its key": ("alter table {t} drop constraint {t}_pkey",),
    "another key": ("alter table {t} drop constraint {t}_pkey, add primary key (id, v)",),
    "full identity": ("alter table {t} replica identity full",),
    "a new index": ("create index on {t} (v)",),
    "moved": ("alter table {t} set schema one", "set search_path = one, public"),
    "vacuumed": ("vacuum full {t}",),
    "a default": ("alter table {t} alter column v set default 3",),
    "row security": ("alter table {t} enable row level security",),
}
_numbers = itertools.count(1)


@pytest.fixture
def altered(direct):
    name = f"altered_{next(_numbers)}"
    direct.execute(f"create table {name} (id int primary key, v int, name text)")
    direct.execute(f"insert into {name} select i, i * 10, 'n' || i from generate_series(1, 10) i")
    yield name
    direct.execute(f"drop table if exists {name}, one.{name} cascade")


class TestSchemaChanges:
    def reads(self, table):
        return [f"select * from {table} order by id", f"select v from {table} where id = 2",
                f"select count(*) from {table} where v > 50", [w.extended(f"select v from {table} where id = 3")]]

    @pytest.mark.parametrize("change", DDL)
    def test_by_others(self, stage, direct, altered, change):
        reads = self.reads(altered)
        stage.run(*[(read, HIT) for read in reads])
        for statement in DDL[change]:
            if statement.startswith("set"):
                stage.ask(statement)
            else:
                direct.execute(statement.format(t=altered))

        def is_right():
            for read in reads:
                stage.ask(read)
            return True

        # Noticed at the next poll, at the latest. [D1]
        wait_until(is_right, "the answers are right")
        for number in range(3):
            self.write_to(direct, altered, change, number)
            stage.proxy.settle(direct)
            wait_until(is_right, "the answers are right")
        for _ in range(10):
            is_right()

    def write_to(self, direct, table, change, number):
        if change == "without its key":
            direct.execute(f"insert into {table} values (3, {number}, 'x')")
            return
        schema = "one." if change == "moved" else ""
        direct.execute(f"update {schema}{table} set id = id + 1 where id = (select max(id) from {schema}{table})")

    @pytest.mark.parametrize("change", DDL)
    def test_by_the_session_itself(self, stage, altered, change):
        reads = self.reads(altered)
        stage.run(*[(read, HIT) for read in reads])
        for statement in DDL[change]:
            stage.ours.ask(w.query(statement.format(t=altered)))
            if statement.startswith("set"):
                stage.theirs.ask(w.query(statement))
        for _ in range(5):
            for read in reads:
                stage.ask(read)

    def test_a_label_is_renamed(self, stage, direct):
        direct.execute("create type colour as enum ('red', 'green'); "
                       "create table coloured (id int primary key, c colour); "
                       "insert into coloured values (1, 'red'), (2, 'green')")
        reads = ["select * from coloured order by id", "select id, c from coloured order by c"]
        stage.run(*[(read, HIT) for read in reads])
        for change in ("alter type colour rename value 'red' to 'scarlet'",
                       "alter type colour add value 'blue' before 'green'",
                       "insert into coloured values (3, 'blue')"):
            direct.execute(change)
            for read in reads:
                wait_until(lambda: stage.ask(read), "the new label")
            stage.run(*[(read, HIT) for read in reads])

    def test_what_follows_a_rewrite_is_right(self, stage, direct, altered):
        """A rewritten table's old and new rows do not meet in the pool."""
        read = f"select * from {altered} order by id"
        for number in range(4):
            stage.run((read, HIT))
            direct.execute(f"alter table {altered} alter column v type int using v + 1")
            direct.execute(f"update {altered} set name = name || '!' where id = 2")
            wait_until(lambda: stage.ask(read), "the rewritten rows")
        stage.run((read, HIT))


# Errors.

@pytest.mark.parametrize("sql, cure", [
    ("select 100 / (v - 5) from odd order by id", "delete from odd where v = 5"),
    ("select sum(v + 2147483640) from odd where id > 9", "update odd set v = 0 where id > 9"),
    ("select v::int2 from odd where id > 0 and (v + 40000)::int2 > 0 order by id", "update odd set v = -30000"),
    ("select ('x' || v)::int from odd", "truncate odd"),
    ("select id from odd where sqrt(v - 6) >= 0 order by id", "delete from odd where v < 6"),
    ("select (select v from odd o where o.v > odd.v - 2 and o.v <= odd.v) from odd", "delete from odd where v > 1"),
])
def test_errors_are_the_origins(stage, direct, sql, cure):
    direct.execute("truncate odd; insert into odd select i, i from generate_series(1, 10) i")
    stage.run(("select count(*) from odd where id > 0", HIT))
    for what in (sql, [w.extended(sql)]):
        for _ in range(4):
            assert w.error(stage.ask(what))
    direct.execute(cure)
    stage.proxy.settle(direct)
    for what in (sql, [w.extended(sql)]):
        for _ in range(4):
            assert not [message for message in stage.ask(what) if message.type == "E"]


# What has no rows here.

@pytest.mark.parametrize("table, change", [
    ("keyless", "insert into keyless values (3, 'z')"), ("priced", "update priced set cost = cost * 2 where id = 1"),
])
def test_a_table_without_a_pool_stays_with_the_memo(both, origin, direct, table, change):
    read = f"select * from {table} order by 1"
    with Stage(origin, both) as stage:
        stage.run((read, HIT))
        answers = both.metric(ANSWERS)
        wait_until(lambda: pools(both)[f"public.{table}"]["state"].startswith("none"), "it is refused")
        direct.execute(change)
        both.settle(direct)
        stage.run((read, HIT))
        assert both.metric(ANSWERS) == answers


@pytest.mark.parametrize("table", ["documents", "guarded"])
def test_what_is_not_cached_is_not_loaded(both, origin, table):
    with Stage(origin, both) as stage:
        for _ in range(5):
            stage.run((f"select id from {table} order by id", ORIGIN) if table == "guarded"
                      else f"select * from {table} order by id")


@pytest.mark.parametrize("user", ["postgres", "app_trust"])
def test_row_level_security_is_forwarded(proxy, origin, user):
    with Stage(origin, proxy, user=user) as stage:
        for sql in ("select * from guarded order by id", "select i.id from item i join guarded g on g.id = i.id",
                    "select id from item where id in (select id from guarded) order by id"):
            def is_known():
                before = proxy.forwarded().get("row_security", 0)
                stage.ask(sql)
                return proxy.forwarded().get("row_security", 0) > before

            wait_until(is_known, "what it reads is known")
            for _ in range(4):
                with proxy.expect_forward("row_security"):
                    stage.ask(sql)


# Rows that are missing where another table's are not.

NEGATIONS = [
    "select id from customer c where region = 1 and not exists "
    "(select from {other} o where o.customer_id = c.id and o.state = 'paid') order by id",
    "select c.id, o.state from customer c left join {other} o on o.customer_id = c.id and o.state = 'paid' "
    "where c.region = 1 order by c.id, o.state",
    "select c.id from customer c left join {other} o on o.customer_id = c.id where c.region = 1 "
    "and o.customer_id is null order by c.id",
    "select id from customer where region = 1 and id not in (select customer_id from {other}) order by id",
    "select id from customer where region = 1 except select customer_id from {other} where state = 'paid' order by 1",
    "select id from customer where region = 1 and id <> all (select customer_id from {other} where state = 'paid') "
    "order by id",
    "select c.id, count(o.customer_id) from customer c left join {other} o on o.customer_id = c.id "
    "and o.state = 'paid' where c.region = 1 group by c.id order by c.id",
    "select c.id, (select max(o.state) from {other} o where o.customer_id = c.id) from customer c where region = 1 "
    "order by id",
    "select coalesce(c.id, o.customer_id), c.name, o.state from (select * from customer where region = 1) c "
    "full join (select * from {other} where state = 'paid') o on o.customer_id = c.id order by 1, 3",
]


@pytest.mark.parametrize("sql", NEGATIONS)
class TestNegations:
    def test_over_a_table_that_cannot_be_loaded(self, stage, direct, sql):
        sql = sql.format(other="refund")
        stage.run(("select count(*) from customer", HIT))
        for _ in range(3):
            with stage.proxy.expect_hits(0):
                stage.ask(sql)
        direct.execute("delete from refund where customer_id = 9")
        stage.proxy.settle(direct)
        stage.ask(sql)
        direct.execute("insert into refund values (9, 'paid')")

    def test_over_a_table_that_is_loaded_in_part(self, origin, parts, direct, sql):
        sql = sql.format(other="purchase")
        with Stage(origin, parts) as stage:
            stage.run(("select * from customer where region = 1 order by id", HIT),
                      ("select * from purchase where state = 'paid' and customer_id = 5 order by id", HIT))
            for _ in range(8):
                stage.ask(sql)
            for change in ("delete from purchase where id = 5", "insert into purchase values (5, 6, 'paid')",
                           "update purchase set state = 'paid' where id = 8",
                           "update customer set region = 1 where id = 2",
                           "update purchase set state = 'new' where id = 8; "
                           "update customer set region = 2 where id = 2"):
                direct.execute(change)
                parts.settle(direct)
                for _ in range(4):
                    stage.ask(sql)
