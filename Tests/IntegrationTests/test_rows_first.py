"""LIMIT over tables that are too large to be there: the first rows in the order of a column are loaded, and an answer
says whether they were enough."""
import random

import pytest

import wire as w
from origin import Origin
from rowtier import ANSWERS, FRAGMENTS, POPULATIONS, WITH_MEMO, ask_for_long, module_proxy, pools
from stage import HIT, Stage

ONE_REACTOR = True

pytestmark = pytest.mark.cached

TABLES = """
drop table if exists author, post;
create table author (id int primary key, name text);
create table post (id int primary key, forum int, author int, made timestamptz not null, seen timestamp, score numeric,
    title text, body text);
alter table post alter column body set storage external;
create index on post (made);
"""
COUNT = 1500

proxy = module_proxy(**FRAGMENTS)
remembering = module_proxy(**{**WITH_MEMO, "cache_table_size": 0})


@pytest.fixture
def stage(origin, proxy):
    with Stage(origin, proxy) as pair:
        yield pair


@pytest.fixture
def rows(direct, proxy):
    # New ones: what was loaded of the old ones is of no use.
    direct.execute(f"""
        {TABLES}
        insert into author select i, 'author ' || i from generate_series(1, 400) i;
        insert into post select i, i % 3, i % 399 + 1, '2026-01-01'::timestamptz + i * '1 minute'::interval,
            nullif('2026-01-01'::timestamp + i * '1 hour'::interval, '2026-01-03'), nullif(i % 500, 7) / 4.0,
            'post ' || i, repeat('b' || i, 600) from generate_series(1, {COUNT}) i;
    """)
    proxy.settle(direct)


READS = [
    "select id, made, title from post order by made desc, id limit 10",
    "select id, made from post where length(title) > 4 order by made desc, id limit 3 offset 20",
    "select * from post order by id limit 7",
    "select id as number, title from post order by number desc limit 4",
    "select id, title from post order by 1 desc limit 6 offset 2",
    "select p.id, a.name from post p join author a on a.id = p.author order by p.id desc limit 9",
    "select p.id, p.made, a.name from post p left join author a on a.id = p.author order by made desc, 1 limit 9",
    "select id, seen from post order by seen desc nulls last, id limit 12",
    "select id, seen from post order by seen, id limit 12",
    "select id, score from post order by score, id limit 12",
    "select * from (select id, title, forum from post where forum < 2) p order by id desc limit 5",
    "select id, length(body) from post where forum = 1 or forum = 2 order by id desc limit 8",
]
CHANGES = {
    "newer ones": f"insert into post select i, 1, 5, '2026-02-01'::timestamptz + i * '1 minute'::interval, null, -i, "
                  f"'new', 'b' from generate_series({COUNT + 1}, {COUNT + 30}) i",
    "older ones": "insert into post select -i, 1, 5, '2025-02-01'::timestamptz - i * '1 minute'::interval, "
                  "'2020-01-01'::timestamp + i * '1 day'::interval, 900 + i, 'old', 'b' from generate_series(1, 30) i",
    "some of the first": f"delete from post where id % 7 = 0 and (id < 50 or id > {COUNT - 50})",
    "most of the first": f"delete from post where id < 300 or id > {COUNT - 300}",
    "nearly all": "delete from post where id % 300 <> 1",
    "to the front": "update post set id = id + 10000, made = made + '1 year', score = -score, seen = '2019-01-01' "
                    "where id between 700 and 720",
    "to the back": f"update post set id = 700 - id, made = '2020-01-01', score = 1000, seen = null "
                   f"where id > {COUNT - 15}",
    "moved, with a TOASTed value": f"update post set made = made - '1 month'::interval where id > {COUNT - 5}",
    "ties": "update post set made = '2026-03-01' where id in (3, 900, 1400)",
    "others' values": "update post set title = 'x' || title, author = 400",
    "authors": "update author set name = upper(name)",
    "none": "truncate post",
    "none, and others": "begin; truncate post; insert into post select i, 1, 1, '2026-01-01'::timestamptz + i * "
                        "'1 s'::interval, null, i, 't', 'b' from generate_series(1, 400) i; commit",
}


@pytest.mark.parametrize("change", CHANGES)
def test_they_follow(stage, rows, direct, change):
    for read in READS:
        stage.warm(read)
    direct.execute(CHANGES[change])
    stage.proxy.settle(direct)
    for read in READS:
        ask_for_long(stage, read)


def test_few_rows_are_loaded_and_stay(stage, rows, direct, proxy):
    stage.warm(READS[0])
    table = pools(proxy)["public.post"]
    assert "all" not in table["fragments"] and any("made" in fragment for fragment in table["fragments"])
    populations = proxy.metric(POPULATIONS)
    for number in range(1, 25):
        direct.execute(f"insert into post values ({COUNT + number}, 1, 1, '2027-01-01'::timestamptz + "
                       f"{number} * '1 min'::interval); delete from post where id = {COUNT - 2 * number}")
        proxy.settle(direct)
        stage.run((READS[0], HIT))
    # More of the same order, and less; in binary, too.
    extended = "select id, made from post order by made desc, id limit $1 offset $2"
    for limit, offset in ((1, 0), (30, 0), (20, 60)):
        for results in ((), (1,)):
            ask_for_long(stage, [w.extended(extended, (str(limit), str(offset)), results=results)])
    assert proxy.metric(POPULATIONS) == populations
    # That is too many: once more, from farther behind.
    direct.execute(f"delete from post where id > {COUNT - 400}")
    proxy.settle(direct)
    stage.warm(READS[0])
    assert proxy.metric(POPULATIONS) == populations + 1


def test_what_has_no_first_rows(stage, rows, proxy):
    """Text, whose order is a collation's; a NULL before all others; a column that is not shown; what is computed,
    grouped or made of several rows."""
    answers = proxy.metric(ANSWERS)
    for read in ("select id, title from post order by title limit 5",
                 "select id, seen from post order by seen desc, id limit 5",
                 "select title from post order by id limit 5", "select id from post order by id + 0 limit 5",
                 "select id, count(*) from post group by id order by id limit 5",
                 "select distinct id from post order by id limit 5", "select max(id) from post order by 1 limit 5",
                 "select id, sum(forum) over () from post order by id limit 5",
                 "select a.id, p.id from post p left join author a on a.id = p.author + 390 order by 1 desc, 2 limit 5",
                 "select id from post union all select id from author order by id limit 5",
                 "select id, generate_series(1, 2) from post order by 1, 2 limit 5",
                 "select p.id from post p, post q where p.id = q.author order by p.id limit 5"):
        for _ in range(5):
            stage.ask(read)
            proxy.settle_rows()
        assert proxy.metric(ANSWERS) == answers, read


def test_too_many_are_equal(stage, rows, direct, proxy):
    direct.execute("update post set made = '2026-01-01' where id > 1")
    proxy.settle(direct)
    before = proxy.metric(ANSWERS)
    read = "select made from post order by made limit 20"
    for _ in range(8):
        stage.ask(read)
        proxy.settle_rows()
    assert proxy.metric(ANSWERS) == before


def test_a_null_where_there_can_be_none(stage, rows, direct, proxy):
    """The stream brings it before anybody has heard that the column may be NULL now, and it is the first of all."""
    stage.warm(READS[0])
    try:
        direct.execute("alter table post alter made drop not null")
        direct.execute("insert into post (id) values (-1)")
        proxy.settle(direct)
        for _ in range(5):
            stage.ask(READS[0])
    finally:
        direct.execute("delete from post where made is null; alter table post alter made set not null")


def test_what_is_behind_them_leaves_the_memo_as_it_is(origin, remembering, rows, direct):
    read = READS[0]
    remembering.settle(direct)
    with Stage(origin, remembering) as stage:
        stage.warm(read)
        for _ in range(6):
            direct.execute(f"update post set made = made + '1 s'::interval where id = {COUNT}")
            remembering.settle(direct)
            for _ in range(3):
                stage.ask(read)
            remembering.settle_rows()
        stage.run((read, HIT))
        answers = remembering.metric(ANSWERS)
        assert answers > 0
        direct.execute("insert into post values (-5, 1, 1, '2020-01-01')")
        remembering.settle(direct)
        stage.run((read, HIT))
        assert remembering.metric(ANSWERS) == answers
        direct.execute("insert into post values (100000, 1, 1, '2030-01-01')")
        remembering.settle(direct)
        stage.run((read, HIT))
        assert remembering.metric(ANSWERS) == answers + 1


def test_while_everything_changes(stage, rows, origin: Origin, direct):
    chance = random.Random(11)
    front, back = COUNT, 1
    for number in range(80):
        one = chance.randrange(1, COUNT)
        front += 1
        direct.execute(chance.choice([
            f"insert into post values ({front}, {one % 3}, {one % 399}, "
            f"'2026-06-01'::timestamptz + {number} * '1 s'::interval, '2018-01-01', {one}, 'n', 'b')",
            f"delete from post where id > {front - one // 3}",
            f"delete from post where id < {one // 3}",
            f"update post set made = made + '1 month'::interval, score = score - 100 where id % 100 = {one % 100}",
            f"update post set seen = null, score = null where id % 50 = {one % 50}",
            f"update post set id = id + {front + 1000} where id = {one}",
        ]))
        stage.proxy.settle(direct)
        for what in chance.sample([*READS, [w.extended(READS[2], results=(1,))]], 4):
            stage.ask(what)
