"""Changes that cannot alter an answer leave it cached, and those that can do not: for every form of condition, with the
default replica identity and with FULL, constants in the text and parameters in text and binary.

A change and a mark are written in one transaction; once a hit shows the mark, the change has been applied.
"""
import datetime
import decimal
import itertools
import re
import uuid

import pytest

from proxy import DIRECT
from waiting import wait_until

ONE_REACTOR = True
pytestmark = pytest.mark.skipif(DIRECT, reason="needs the proxy")

COLUMNS = """id int primary key, a int, b int8, name text, code varchar(20), k uuid, flag bool, day date,
    noted timestamp, at timestamptz, price numeric, loose text collate loose, fixed char(5), ratio float8,
    positive positive, mood mood, blob text, doubled int generated always as (a * 2) stored"""
SCHEMA = f"""
create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create domain positive as int check (value > 0);
create type mood as enum ('calm', 'wild');
create table plain ({COLUMNS});
create table whole ({COLUMNS});
alter table whole replica identity full;
create table dated (day date, price numeric, note int, primary key (day, price));
create table mark (id int primary key, n int);
insert into mark values (1, 0);
"""
ROW = """insert into {table} select i, i, i, 'name ' || i, 'c' || i, md5(i::text)::uuid, i % 2 = 0,
    date '2024-01-01' + i, timestamp '2024-01-01' + i * interval '1 day',
    timestamptz '2024-01-01 00:00:00+00' + i * interval '1 day', i + 0.50, 'L' || i, 'f' || i, i, i + 1,
    'calm', repeat('x', 10) from generate_series(1, 9) i"""

# Condition, columns that a row must get to be in (as an UPDATE of row 9), and to stay out.
CASES = [
    ("a = 3", "a = 3", "a = 4"),
    ("a = 3.0", "a = 3", "a = 4"),
    ("b in (2, 3)", "b = 3", "b = 100"),
    ("a between symmetric 4 and 2", "a = 3", "a = 5"),
    ("a is not distinct from 3", "a = 3", "a = null"),
    ("a = any('{2,3}')", "a = 3", "a = 4"),
    ("a = any(array[2, 3]::int[])", "a = 3", "a = 4"),
    ("name = 'name 3'", "name = 'name 3'", "name = 'NAME 3'"),
    ("name like 'name 3%'", "name = 'name 3x'", "name = 'name 40'"),
    ("name like 'name 3'", "name = 'name 3'", "name = 'name 3x'"),
    ("name like 'n\\_%'", "name = 'n_x'", "name = 'nax'"),
    ("code like 'c3_'", "code = 'c3x'", "code = 'x'"),
    ("day = '2024-01-04'", "day = '2024-01-04'", "day = '2024-01-05'"),
    ("day >= '2024-02-01'", "day = 'infinity'", "day = '2023-01-01'"),
    ("day < date '2023-01-01'", "day = '0044-03-15 BC'", "day = '2023-06-01'"),
    ("noted >= '2025-01-01 00:00:00'", "noted = '2025-01-01'", "noted = '2024-12-31 23:59:59.999999'"),
    ("noted >= date '2025-01-01'", "noted = '2025-01-01'", "noted = '2024-12-31 23:59:59.999999'"),
    ("noted = '2024-01-04 00:00:00.5'", "noted = '2024-01-04 00:00:00.500'", "noted = '2024-01-04'"),
    ("at >= '2025-01-01 00:00:00+01'", "at = '2024-12-31 23:00:00+00'", "at = '2024-12-31 22:59:59.999999+00'"),
    ("price = 3.5", "price = 3.500", "price = 3.501"),
    ("price = 3.50", "price = 3.5", "price = -3.5"),
    ("price > 100", "price = 'NaN'", "price = 99.999"),
    ("price between -2 and -1", "price = -1.0", "price = -0.999"),
    ("price < 0.001", "price = 0.0009", "price = 0.0010"),
    ("k = '00112233-4455-6677-8899-aabbccddeeff'", "k = '{00112233-4455-6677-8899-AABBCCDDEEFF}'",
        "k = '00112233-4455-6677-8899-aabbccddeefe'"),
    ("a < 0 or b > 1000", "b = 1001", "b = 1000"),
    ("a < 0 or b > 1000 and name = 'x'", "b = 1001, name = 'x'", "b = 1001, name = 'y'"),
    ("(a = -1 or a = -2) and (b = 9 or b = 10)", "a = -2, b = 10", "a = -2, b = 11"),
    ("a = 3 or a is null", "a = null", "a = 4"),
    ("flag and a > 100", "flag = true, a = 101", "flag = false, a = 101"),
]
# Nothing is certain about these: a change of another column of another row ends the answer.
VAGUE = [
    "loose = 'l3'", "fixed = 'f3'", "ratio = 3", "positive = 3", "mood = 'wild'", "name ilike 'NAME 3'", "doubled = 6",
    "name > 'name 3'", "at = '2024-01-04'", "a + 0 = 3", "not (a = 3 and b = 3)", "a = 3 or lower(name) = 'x'",
]


@pytest.fixture(autouse=True)
def rows(direct):
    direct.execute("truncate plain, whole, dated; " + ROW.format(table="plain") + ";" + ROW.format(table="whole"))
    direct.execute("insert into dated select date '2024-01-01' + i, i + 0.50, 0 from generate_series(1, 3) i")


class Watch:
    """Whether changes at the origin leave an answer in the cache."""

    def __init__(self, proxy, direct, sql, parameters=None, **options):
        self.proxy, self.direct, self.sql = proxy, direct, sql
        self.parameters, self.options = parameters, options

    def __enter__(self):
        self.connection = self.proxy.connect()
        # What was changed before has reached the proxy as well.
        self.change("select")
        self.ask()
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self):
        with self.connection.cursor(binary=self.options.get("binary", False)) as cursor:
            return cursor.execute(self.sql, self.parameters, **self.options).fetchall()

    def change(self, change: str):
        with self.direct.transaction():
            self.direct.execute(change)
            mark = self.direct.execute("update mark set n = n + 1 returning n").fetchall()

        def is_applied():
            """Only a hit tells what the proxy has received."""
            hits = self.proxy.hits()
            return self.connection.execute("select n from mark where id = 1").fetchall() == mark \
                and self.proxy.hits() > hits

        wait_until(is_applied, "the mark", 10)

    def survives(self, change: str) -> bool:
        """The change is made and has reached the proxy. What is answered then is right in any case."""
        self.proxy.wait_until_cached(self.ask)
        self.change(change)
        is_kept = self.entries() > 0
        answer = self.ask()
        with self.direct.cursor() as cursor:
            assert answer == cursor.execute(self.sql, self.parameters).fetchall(), change
        return is_kept

    def entries(self) -> int:
        """Of this text, by what pgcache says of it. One more question might be forwarded for other reasons."""
        numbers = itertools.count(1)
        text = re.sub("%[tb]", lambda _: f"${next(numbers)}", self.sql) if self.parameters else self.sql
        said = dict(self.connection.execute("select pgcache_explain(%s)", [text]).fetchall())
        return int(said["entries"])


@pytest.mark.parametrize("table", ["plain", "whole"])
@pytest.mark.parametrize("condition, inside, outside", CASES, ids=[case[0] for case in CASES])
def test_a_row_that_comes_in_and_one_that_stays_out(proxy, direct, table, condition, inside, outside):
    # The key is shown: where an old image tells no more, the entry knows its rows by it.
    with Watch(proxy, direct, f"select id, a, b, name from {table} where {condition} order by id") as watch:
        assert watch.survives(f"update {table} set {outside} where id = 9")
        assert not watch.survives(f"update {table} set {inside} where id = 9")
        assert not watch.survives(f"update {table} set {outside} where id = 9")
        assert watch.survives(f"update {table} set {outside} where id = 9")
        assert not watch.survives(f"update {table} set {inside}, id = 10 where id = 9")
        assert not watch.survives(f"delete from {table} where id = 10")
        assert watch.survives(f"insert into {table} (id, a, b, blob) values (11, 555, 555, 'y')")
        assert watch.survives(f"delete from {table} where id = 11")
        assert not watch.survives(f"truncate {table}")


@pytest.mark.parametrize("condition", VAGUE)
def test_what_is_not_certain_may_match(proxy, direct, condition):
    with Watch(proxy, direct, f"select id, b from plain where {condition} order by id") as watch:
        assert not watch.survives("insert into plain (id, a, name) values (20, 20, 'name 20')")


PARAMETERS = [
    ("a = %s", (3,), "a = 3", "a = 4"),
    ("b = any(%s)", ([2, 3],), "b = 3", "b = 100"),
    ("name = any(%s)", (["x y", "q\"\\"],), "name = 'q\"\\'", "name = 'q'"),
    ("name like %s", ("name 3%",), "name = 'name 3x'", "name = 'name 4'"),
    ("k = any(%s)", ([uuid.UUID(int=7)],), f"k = '{uuid.UUID(int=7)}'", f"k = '{uuid.UUID(int=8)}'"),
    ("day between %s and %s", (datetime.date(2025, 1, 1), datetime.date(2025, 1, 31)),
        "day = '2025-01-31'", "day = '2025-02-01'"),
    ("noted >= %s", (datetime.datetime(2025, 1, 1),), "noted = '2025-01-01'", "noted = '2024-12-31 23:59:59'"),
    ("noted >= %s", (datetime.date(2025, 1, 1),), "noted = '2025-01-01'", "noted = '2024-12-31 23:59:59'"),
    ("at < %s", (datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),),
        "at = '2020-01-01 00:59:59+01'", "at = '2020-01-01 00:00:00+00'"),
    ("price = %s", (decimal.Decimal("3.50"),), "price = 3.5", "price = 3.51"),
    ("price = %s", (300,), "price = 300.00", "price = 300.01"),
    ("a between symmetric %s and %s", (400, 300), "a = 350", "a = 401"),
    ("a = %s or b = %s", (300, 400), "b = 400", "b = 300"),
]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("table", ["plain", "whole"])
@pytest.mark.parametrize("condition, parameters, inside, outside", PARAMETERS, ids=[
    f"{case[0]} {type(case[1][0]).__name__}" for case in PARAMETERS])
def test_parameters(proxy, direct, table, condition, parameters, inside, outside, binary):
    form = "%b" if binary else "%t"
    sql = f"select id, a, name from {table} where {condition.replace('%s', form)} order by id"
    with Watch(proxy, direct, sql, parameters, prepare=True) as watch:
        assert watch.survives(f"update {table} set {outside} where id = 9")
        assert not watch.survives(f"update {table} set {inside} where id = 9")
        assert not watch.survives(f"update {table} set {outside} where id = 9")


# The same shape, other constants: what was learned from some texts is true of the others.
def test_constants_of_one_shape(proxy, direct):
    for day in ["2025-01-01", "2025-01-02", "2025-01-03", "2025-01-05"]:
        sql = f"select id, a from plain where noted >= date '{day}' order by id"
        with Watch(proxy, direct, sql) as watch:
            midnight = day[:10]
            assert watch.survives(f"update plain set noted = timestamp '{midnight}' - interval '1 us' where id = 9")
            assert not watch.survives(f"update plain set noted = '{midnight}' where id = 9")
            assert not watch.survives("update plain set noted = '2024-01-01' where id = 9")
    for pattern, text in [("a%", "ab"), ("a_c%", "abc"), ("b", "b"), ("c\\%%", "c%d"), ("1%", "12"), ("{1}", "{1}")]:
        sql = f"select id, a from plain where name like '{pattern}' order by id"
        with Watch(proxy, direct, sql) as watch:
            assert not watch.survives(f"update plain set name = '{text}' where id = 9")
            assert not watch.survives("update plain set name = 'other' where id = 9")
            assert watch.survives("update plain set name = 'others' where id = 9")
    for number in ["1000.5", "1001.0", "1002.25", "1003.0"]:
        with Watch(proxy, direct, f"select id, b from plain where a = {number} order by id") as watch:
            watch.survives(f"update plain set a = {number}::numeric::int where id = 9")
            watch.survives("update plain set a = 9 where id = 9")


def test_columns_that_are_not_read(proxy, direct):
    whole = "select id, name from whole where a < 5 order by id"
    with Watch(proxy, direct, whole) as watch:
        assert watch.survives("update whole set price = 77, mood = 'wild', blob = repeat('y', 9000) where id = 3")
        assert watch.survives("update whole set name = name where id = 3")
        assert watch.survives("update whole set b = b + 1")
        assert not watch.survives("update whole set name = 'x' where id = 3")
        assert not watch.survives("update whole set a = 4 where id = 3")
        assert not watch.survives("update whole set price = 78 where id = 3; delete from whole where id = 3")
    with Watch(proxy, direct, "select doubled from whole order by id") as watch:
        assert not watch.survives("update whole set a = 8 where id = 4")
    with Watch(proxy, direct, "select blob from whole where id = 4 and true") as watch:
        assert not watch.survives("update whole set blob = repeat(md5('1'), 9000) where id = 4")
        assert watch.survives("update whole set a = 9 where id = 4")
    # Rows are counted: only those that come and go matter, but an old image of the key alone tells of no condition.
    with Watch(proxy, direct, "select count(*) from plain") as watch:
        assert watch.survives("update plain set a = 1, name = 'x'")
        assert not watch.survives("delete from plain where id = 4")
    with Watch(proxy, direct, "select count(*) from plain where a > 100") as watch:
        assert not watch.survives("update plain set name = 'y' where id = 3")
    with Watch(proxy, direct, "select count(*) from whole where a > 100") as watch:
        assert watch.survives("update whole set name = 'y' where id = 5")
        assert watch.survives("update whole set a = 7 where id = 5")
        assert not watch.survives("update whole set a = 700 where id = 5")


def test_keys_that_are_dates_and_numbers(proxy, direct):
    with Watch(proxy, direct, "select * from dated where note = 0 and price < 100 order by day") as watch:
        direct.execute("insert into dated values ('2030-01-01', 7.0, 1)")
        assert watch.survives("update dated set note = 2 where day = '2030-01-01'")
        assert not watch.survives("update dated set note = 1 where price = 2.5")
        assert not watch.survives("update dated set day = day + 1 where price = 3.5")
        assert not watch.survives("update dated set price = 1.500 where price = 1.5")


def test_other_settings_of_the_session(proxy, direct):
    """Keys and constants are read under any DateStyle and TimeZone, or not at all."""
    for style in ["SQL, DMY", "German", "Postgres, MDY", "ISO, YMD"]:
        for zone in ["Asia/Kolkata", "America/St_Johns"]:
            sql = "select day, price from dated where note = 0 and day >= '2024-01-03' order by day"
            with Watch(proxy, direct, sql) as watch:
                for connection in (watch.connection, direct):
                    connection.execute(f"set datestyle = '{style}'; set timezone = '{zone}'")
                assert not watch.survives("update dated set note = 1 where day = date '2024-01-03'")
                assert not watch.survives("update dated set note = 0 where day = date '2024-01-03'")
    direct.execute("reset datestyle; reset timezone")
