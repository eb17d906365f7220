"""Joins of which one side is too large to be there: of what a fragment's rows join, just that is loaded, and what
changes of the rows makes necessary is fetched by key."""
import random

import pytest

import wire as w
from origin import Origin
from rowtier import ANSWERS, FRAGMENTS, POPULATIONS, ask_for_long, module_proxy, pools
from stage import HIT, Stage

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table buyer (id int primary key, name text, region int, notes text);
alter table buyer alter column notes set storage external;
create table purchase (id int primary key, shop int, buyer int, amount int);
create index on purchase (shop);
create table city (name text primary key, size numeric);
create table visit (id int primary key, kind int, city varchar(20), size numeric);
"""

proxy = module_proxy(**FRAGMENTS)


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


@pytest.fixture
def rows(direct):
    """A thousand buyers, of whom a shop's purchases name a few."""
    direct.execute("""
        truncate buyer, purchase;
        insert into buyer select i, 'buyer ' || i, i % 5, repeat('n' || i, 1000) from generate_series(1, 300) i;
        insert into purchase select i, i % 20, (i * 7) % 290, i from generate_series(1, 200) i;
        insert into purchase values (300, 3, null, 1), (301, 3, 1000, 1);
    """)


READS = [
    "select p.id, b.name from purchase p join buyer b on b.id = p.buyer where p.shop = 3 order by p.id",
    "select p.id, b.name, length(b.notes) from purchase p left join buyer b on b.id = p.buyer where p.shop = 3 "
    "order by p.id",
    "select b.name from (select * from buyer) b join (select buyer from purchase where shop = 3) p "
    "on p.buyer = b.id order by b.id, p.buyer",
    "select p.id, (select count(*) from buyer b where b.id = p.buyer) from purchase p where p.shop = 3 order by p.id",
    "select id from purchase p where shop = 3 and not exists (select from buyer b where b.id = p.buyer and "
    "b.region = 2) order by id",
    "select b.region, count(*), sum(p.amount) from buyer b right join purchase p on b.id = p.buyer where p.shop = 3 "
    "group by b.region order by 1",
]
CHANGES = {
    "another buyer": "update purchase set buyer = 297 where shop = 3 and id < 100",
    "new purchases": "insert into purchase values (400, 3, 298, 9), (401, 3, 299, 9), (402, 4, 296, 9)",
    "into the fragment": "update purchase set shop = 3 where shop = 4",
    "out of it": "update purchase set shop = 4 where shop = 3 and id < 100",
    "the one that was missing": "insert into buyer values (1000, 'late', 2, 'x')",
    "both at once": "begin; insert into buyer values (2000, 'new', 1, 'y'); "
                    "insert into purchase values (500, 3, 2000, 5); commit",
    "a buyer's name": "update buyer set name = upper(name)",
    "a buyer's key": "update buyer set id = id + 1000 where id between 20 and 60",
    "buyers' keys taken over": "begin; delete from buyer where id <= 150; "
                               "update buyer set id = id - 150 where id > 150; commit",
    "buyers that are gone": "delete from buyer where id % 2 = 0",
    "no buyers": "truncate buyer",
    "no purchases": "truncate purchase",
    "no buyers and new ones": "begin; truncate buyer; insert into buyer select i, 'n', i % 3, 'z' "
                              "from generate_series(1, 100) i; commit",
}


@pytest.mark.parametrize("change", CHANGES)
def test_partners_follow(stage, rows, direct, change):
    for read in READS:
        stage.warm(read)
    direct.execute(CHANGES[change])
    stage.proxy.settle(direct)
    for read in READS:
        stage.ask(read)
    stage.run(*[(read, HIT) for read in READS])


def test_just_what_joins_is_there(stage, rows, direct, proxy):
    stage.warm(READS[0])
    table = pools(proxy)["public.buyer"]
    assert "id in (?)" in table["fragments"] and "all" not in table["fragments"]
    # Another fragment is no part of it, and it has nothing for others.
    ask_for_long(stage, "select count(*) from buyer")
    stage.ask("select name from buyer where id = (select buyer from purchase where shop = 3 and id = 23)")
    # One purchase with a buyer that is not there: one population more, and it is an answer from rows again.
    before = proxy.metric(POPULATIONS)
    direct.execute("insert into purchase values (600, 3, 295, 1)")
    proxy.settle(direct)
    stage.run((READS[0], HIT))
    assert proxy.metric(POPULATIONS) == before + 1


def test_the_side_that_is_kept_has_to_be_there_as_a_whole(stage, rows, proxy):
    """Rows without a partner are in these answers."""
    answers = proxy.metric(ANSWERS)
    for read in ("select count(*), count(p.id) from buyer b left join purchase p on p.buyer = b.id and p.shop = 3",
                 "select count(*) from buyer b where not exists (select from purchase p where p.buyer = b.id "
                 "and p.shop = 3)",
                 # It could do with less, but what a subquery says of the rows around it is not looked at.
                 "select name from buyer b where exists (select from purchase p where p.buyer = b.id and p.shop = 3) "
                 "order by id",
                 "select count(*) from buyer b full join purchase p on p.buyer = b.id"):
        for _ in range(8):
            stage.ask(read)
            proxy.settle_rows()
    assert proxy.metric(ANSWERS) == answers


def test_keys_of_other_types(stage, direct):
    direct.execute("""
        truncate city, visit;
        insert into city select 'city ' || i, i * 1.50 from generate_series(1, 100) i;
        insert into city values ('', 0), ('a''b \\ ü', 1e3), ('NaN', 'NaN');
        insert into visit select i, i % 3, 'city ' || i % 7, (i % 5) * 1.5 from generate_series(1, 50) i;
        insert into visit values (100, 1, '', 1000), (101, 1, 'a''b \\ ü', 0.00), (102, 1, null, null);
    """)
    for read in ("select v.id, c.size from visit v join city c on c.name = v.city where v.kind = 1 order by 1",
                 "select v.id, c.name from visit v join city c on c.size = v.size where v.kind = 1 order by 1, 2 "
                 'collate "C"'):
        ask_for_long(stage, read)
        direct.execute("update visit set size = 'NaN' where id = 100; update visit set city = 'city 9' where id = 1")
        stage.proxy.settle(direct)
        ask_for_long(stage, read)
    stage.run(("select v.id, c.size from visit v join city c on c.name = v.city where v.kind = 1 order by 1", HIT))


def test_while_everything_changes(stage, rows, origin: Origin, direct):
    """Moves of rows into and out of the fragment, of keys, and of partners, each compared with the origin's answer."""
    chance = random.Random(7)
    extended = [w.extended(READS[0], results=(1,))]
    for _ in range(60):
        one, other = chance.randrange(1, 320), chance.randrange(1, 320)
        direct.execute(chance.choice([
            f"update purchase set buyer = {other} where id = {one}",
            f"update purchase set shop = 3 where id between {one} and {one + 3}",
            f"update purchase set shop = 9 where shop = 3 and id % 3 = {one % 3}",
            f"update buyer set region = {one % 5} where id = {other}",
            f"delete from buyer where id = {one}",
            f"insert into buyer values ({one}, 'again', 1, 'n') on conflict (id) do nothing",
            f"insert into purchase values ({1000 + one}, 3, {other}, 1) on conflict (id) do nothing",
        ]))
        stage.proxy.settle(direct)
        for what in chance.sample([*READS, extended], 3):
            stage.ask(what)
    for read in READS:
        stage.run((read, HIT))
