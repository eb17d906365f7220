"""Under the default replica identity the stream does not tell what a row was like before; the pool does. What a change
did not alter stays a hit."""
import itertools
import random

import pytest

import wire as w
from origin import Origin
from rowtier import ANSWERS, WITH_MEMO, module_proxy, pools
from stage import HIT, Stage
from waiting import wait_until

ONE_REACTOR = True

pytestmark = pytest.mark.cached

TABLES = """
drop table if exists purchase, shop;
create table shop (id int primary key, city text);
create table purchase (id int primary key, shop int, state text, amount numeric(10, 2), made timestamptz, note text,
    long text, parts text generated always as (state || '!') stored);
alter table purchase alter column long set storage external;
insert into shop select i, 'city ' || i % 4 from generate_series(1, 20) i;
insert into purchase select i, i % 20 + 1, (array['open', 'paid', 'sent'])[i % 3 + 1], i / 4.0,
    '2026-01-01'::timestamptz + i * '1 hour'::interval, nullif('note ' || i % 7, 'note 3'), repeat('x' || i, 900)
    from generate_series(1, 300) i;
"""
SPARED = "pgcache_cache_spared"

proxy = module_proxy(**WITH_MEMO)

OPEN = "select count(*), sum(amount) from purchase where state = 'open'"
SUM = "select sum(amount) from purchase"
CITY = ("select s.city, count(*) from purchase p join shop s on s.id = p.shop where p.state = 'sent' group by 1 "
        "order by 1")
LATEST = "select id, made from purchase where amount > 20 order by made desc limit 3"
UNNOTED = "select count(*) from purchase where note is null"
LONG = "select max(length(long)) from purchase where shop = 3"
PARTS = "select count(*) from purchase where parts = 'open!'"
SHOPS = "select count(*) from shop"
EXISTING = "select count(*) from shop s where exists (select from purchase p where p.shop = s.id and p.amount > 74)"
READS = [OPEN, SUM, CITY, LATEST, UNNOTED, LONG, PARTS, SHOPS, EXISTING]
# Change → the reads that it does not alter and that stay hits by what the row was like.
CHANGES = {
    "update purchase set note = 'other' where id = 7": {OPEN, SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set note = null where id = 8": {OPEN, SUM, CITY, LATEST, LONG, EXISTING},
    "update purchase set note = 'x' where note is null and id < 50": {OPEN, SUM, CITY, LATEST, LONG, EXISTING},
    "update purchase set state = 'paid' where id = 9": {SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set state = 'open' where id = 1": {SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set state = 'sent' where id = 3": {SUM, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set amount = amount + 1 where id = 4": {CITY, UNNOTED, LONG},
    "update purchase set amount = amount where id = 5": {OPEN, SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set long = 'short' where id = 2": {OPEN, SUM, CITY, LATEST, UNNOTED, EXISTING},
    "update purchase set long = 'short' where id = 9": {OPEN, SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "update purchase set id = 1000 where id = 6": {OPEN},
    "update purchase set shop = 7 where id = 11": {OPEN, SUM, LATEST, UNNOTED, LONG},
    "delete from purchase where id = 16": {OPEN, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "delete from purchase where id = 12": {CITY, LATEST, UNNOTED, LONG, EXISTING},
    "begin; update purchase set state = 'open' where id = 13; update purchase set state = 'paid' where id = 13; commit":
        {SUM, CITY, LATEST, UNNOTED, LONG, EXISTING},
    "begin; delete from purchase where id = 16; insert into purchase (id, state, amount) values (16, 'paid', 1); "
    "update purchase set amount = 2 where id = 16; commit": set(),
    "insert into purchase (id, state, amount) values (400, 'paid', 3)": {SHOPS},
}


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


@pytest.fixture
def rows(direct, proxy):
    direct.execute(TABLES)
    proxy.settle(direct)


def warm(stage):
    """Rows are there, and answers kept. What is kept does not ask for rows: other texts do."""
    for relation in ("purchase", "shop"):
        numbers = itertools.count()

        def is_loaded():
            stage.ask(f"select count(*) from {relation} where id > {next(numbers)}")
            return "all" in pools(stage.proxy).get(f"public.{relation}", {}).get("fragments", [])

        wait_until(is_loaded, f"all rows of {relation} are there")
    stage.proxy.settle_rows()
    for read in READS:
        stage.warm(read)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_altered_stays(stage, rows, direct, proxy, change):
    warm(stage)
    direct.execute(change)
    proxy.settle(direct)
    spared = [read for read in READS if read in CHANGES[change]]
    before = proxy.metric(ANSWERS), proxy.forwarded()
    stage.run(*[(read, HIT) for read in spared])
    assert (proxy.metric(ANSWERS), proxy.forwarded()) == before, "some were read anew"
    for read in READS:
        stage.ask(read)


def test_many_at_once(stage, rows, direct, proxy):
    """More than an answer waits for, and more answers than a change waits for."""
    warm(stage)
    direct.execute("update purchase set note = 'all'")
    direct.execute("update purchase set amount = amount + 1 where id < 100")
    direct.execute("delete from purchase where id between 30 and 60")
    proxy.settle(direct)
    for read in READS:
        stage.ask(read)
    reads = [f"select count(*) from purchase where amount > {number}" for number in range(80)]
    for read in reads:
        stage.warm(read)
    direct.execute("update purchase set amount = 20 where id = 100")
    proxy.settle(direct)
    for read in reads:
        stage.ask(read)


def test_while_everything_changes(stage, rows, origin: Origin, direct, proxy):
    warm(stage)
    chance = random.Random(5)
    before = proxy.metric(SPARED)
    for _ in range(120):
        one, other = chance.randrange(1, 320), chance.randrange(1, 320)
        direct.execute(chance.choice([
            f"update purchase set note = nullif('note {other % 7}', 'note 3') where id = {one}",
            f"update purchase set state = (array['open', 'paid', 'sent'])[{other % 3 + 1}] where id = {one}",
            f"update purchase set amount = {other} / 4.0, made = made + '1 s'::interval where id = {one}",
            f"update purchase set long = 'y' || long where id = {one}",
            f"update purchase set id = {other} where id = {one} "
            f"and not exists (select from purchase where id = {other})",
            f"delete from purchase where id = {one}",
            f"insert into purchase (id, shop, state, amount) values ({one}, {one % 20}, 'open', 1) "
            f"on conflict do nothing",
            f"begin; update purchase set state = 'x' where id = {one}; update purchase set amount = 9, state = 'open' "
            f"where id = {one}; delete from purchase where id = {other}; commit",
        ]))
        if chance.random() < 0.7:
            proxy.settle(direct)
            for what in chance.sample([*READS, [w.extended(OPEN, results=(1,))]], 4):
                stage.ask(what)
    proxy.settle(direct)
    for read in READS:
        stage.ask(read)
    assert proxy.metric(SPARED) > before + 50
