"""Writers run while readers compare: what holds at every moment on the origin holds for every answer.

The invariants: money moves between two accounts tables and their sum never changes; both sides of a
transaction show together; versions seen by one session never go back; a session sees its own writes.
In the end every key is compared with the origin. PGCACHE_SOAK_SECONDS makes it a soak test.
"""
import os
import random
import threading
import time

import pytest

from proxy import DIRECT

SECONDS = float(os.environ.get("PGCACHE_SOAK_SECONDS", "6"))
KEYS = 40
TOTAL = KEYS * 100 * 2

SCHEMA = f"""
create table checking (id int primary key, branch int not null, amount int not null,
                       version bigint not null default 0);
create table savings (id int primary key, branch int not null, amount int not null,
                      version bigint not null default 0);
insert into checking select i, i % 4, 100 from generate_series(1, {KEYS}) i;
insert into savings select i, i % 4, 100 from generate_series(1, {KEYS}) i;
create table own (id int primary key, version int not null);
insert into own select i, 0 from generate_series(1, 10) i;
create index on checking (branch);
"""


class Workers:
    """Threads that run until the time is over or one of them finds something wrong."""

    def __init__(self, seconds):
        self.deadline = time.monotonic() + seconds
        self.problems = []
        self.threads = []
        self.counts = {}

    def add(self, name, work, connect, seed):
        def run():
            try:
                with connect() as connection:
                    step = work(connection, random.Random(seed))
                    while time.monotonic() < self.deadline and not self.problems:
                        next(step)
                        self.counts[name] = self.counts.get(name, 0) + 1
            except Exception as problem:
                self.problems.append(f"{name}: {problem!r}")

        thread = threading.Thread(target=run)
        self.threads.append(thread)

    def run(self):
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems


def transfers(connection, source):
    """Money from one table to the other, in one transaction that also raises both versions."""
    while True:
        key, amount = source.randint(1, KEYS), source.randint(-5, 5)
        with connection.transaction():
            connection.execute("update checking set amount = amount + %s, version = version + 1 "
                               "where id = %s", (amount, key))
            connection.execute("update savings set amount = amount - %s, version = version + 1 "
                               "where id = %s", (amount, key))
        yield


def moves(connection, source):
    """Rows that change their branch, or their key and back within one transaction."""
    while True:
        key = source.randint(1, KEYS)
        if source.random() < 0.5:
            connection.execute(
                "update checking set branch = (branch + 1) % 4 where id = " + str(key))
        else:
            with connection.transaction():
                connection.execute("update checking set id = -id where id = %s", (key,))
                connection.execute("update checking set id = -id where id = %s", (-key,))
        yield


def joins(connection, source):
    """One statement over both tables sees a single moment."""
    while True:
        (total, rows) = connection.execute(
            "select sum(c.amount + s.amount), count(*) from checking c join savings s "
            "on c.id = s.id").fetchone()
        assert (total, rows) == (TOTAL, KEYS), f"torn: {total} in {rows} rows"
        key = source.randint(1, KEYS)
        versions = connection.execute(
            "select c.version, s.version, c.amount + s.amount from checking c join savings s "
            "on c.id = s.id where c.id = %s", (key,)).fetchone()
        assert versions is not None and versions[0] == versions[1] and versions[2] == 200, versions
        yield


def branches(connection, source):
    """The parts make the whole, each read by a statement that names its own branch only."""
    while True:
        rows = connection.execute(
            "select branch, count(*) from checking group by branch order by branch").fetchall()
        assert sum(count for _, count in rows) == KEYS
        branch = source.randint(0, 3)
        for (found,) in connection.execute(
                f"select branch from checking where branch = {branch}").fetchall():
            assert found == branch
        yield


def own_writes(connection, source, key):
    version = connection.execute(f"select version from own where id = {key}").fetchone()[0]
    while True:
        version += 1
        connection.execute("update own set version = %s where id = %s", (version, key))
        for _ in range(source.randint(1, 4)):
            seen = connection.execute(f"select version from own where id = {key}").fetchone()[0]
            assert seen == version, f"own write {version}, seen {seen}"
        yield


@pytest.mark.timeout(0)
def test_invariants_hold_while_writers_run(proxy, origin, database, reactor):
    workers = Workers(SECONDS)
    through, straight = proxy.connect, lambda: origin.connect(database)
    workers.add("transfers, direct", transfers, straight, 1)
    workers.add("transfers, through", transfers, through, 2)
    workers.add("moves", moves, straight, 3)
    for seed in (10, 11):
        workers.add("joins", joins, through, seed)
        workers.add("branches", branches, through, seed)
    for key in (1, 2):
        workers.add(
            "own writes", lambda c, s, key=key: own_writes(c, s, key), through, 20 + key)
    before = proxy.hits()
    workers.run()
    if not DIRECT:
        hits = proxy.hits() - before
        print(f"{reactor}: {hits} hits, {workers.counts}")
        assert hits > 100, f"the cache took no part: {proxy.forwarded()}"

    statements = [f"select * from {table} where id = {key}"
                  for table in ("checking", "savings") for key in range(1, KEYS + 1)]
    statements += [f"select id from checking where branch = {branch} order by id"
                   for branch in range(4)]
    statements += ["select sum(amount) from checking", "select sum(amount) from savings",
                   "select branch, count(*) from checking group by branch order by branch"]
    with origin.connect(database) as oracle, proxy.connect() as client:
        for sql in statements:
            expected = oracle.execute(sql).fetchall()
            proxy.wait_until_answer(lambda: client.execute(sql).fetchall(), expected)
        for sql in statements:
            assert client.execute(sql).fetchall() == oracle.execute(sql).fetchall(), sql
