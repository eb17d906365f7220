"""Random SELECTs through pgcache and straight at the origin: cold, warm and after random changes, in simple, extended
and binary, the same bytes. Errors are answers, too.

The part that came from the cache is printed for each pattern, and must not fall below its floor. PGCACHE_QUERIES=10000
makes it a soak test; PGCACHE_TEST_SEED is where the seeds begin.
"""
import math
import os

import pytest

import wire as w
from proxy import DIRECT
from queries import Generator, Statement
from query_runs import (
    FORMS, Readers, Shares, answer, apply, describe, difference, is_meant, is_pattern, pass_watermark)
from query_schema import SCHEMA, Changes  # noqa: F401 (SCHEMA is read by the `database` fixture)

ONE_REACTOR = True
SEED = int(os.environ.get("PGCACHE_TEST_SEED", "1"))
COUNT = int(os.environ.get("PGCACHE_QUERIES", "400"))
BATCH = 200
CHANGES = 5  # transactions between two comparisons

# Below which share of a pattern's answers the cache must not fall; what has a reason to be forwarded is never cached.
# Only patterns with enough statements count. The lower ones are often mixed with what is forwarded: casts of
# expressions
# to dates, names for the columns of a join, casts to types of one's own.
ENOUGH = 60
CHANCE = 0.8
FLOOR = 0.80
FLOORS = {"composite": 0.70, "nested_join": 0.65}


class Results:
    """What a module notes; another one with the same tests has its own, and may say what has no part in its shares."""

    def __init__(self, excluded):
        self.shares = Shares()
        self.missed: list[str] = []
        self.excluded = excluded

    def add(self, statement: Statement, form: str, is_hit: bool):
        reason = self.excluded(statement) if is_meant(statement) else None
        self.shares.add([f"forwarded: {reason}"] if reason else statement.tags, is_hit)
        if not is_hit and not reason and is_meant(statement) and form == "simple":
            self.missed.append(statement.literal())


@pytest.fixture(scope="module")
def results(request):
    return Results(getattr(request.module, "excluded", lambda statement: None))


class Batch:
    """Statements of one seed, and the two sides that answer them."""

    def __init__(self, seed, proxy, origin, database, direct):
        self.seed, self.proxy, self.direct = seed, proxy, direct
        self.statements = Generator(seed).statements(min(BATCH, COUNT))
        self.readers = Readers(proxy, 6)
        # What is forwarded may end caching for its session, so it has one of its own.
        self.other = w.WireClient.logged_in(proxy.host, proxy.port, database)
        self.theirs = w.WireClient.logged_in(origin.host, origin.port, database)
        self.history: list[str] = []

    def close(self):
        for client in (*self.readers.clients, self.other, self.theirs):
            client.close()

    def expect(self):
        self.expected = {(number, form): answer(self.theirs, statement, form)
                         for number, statement in enumerate(self.statements) for form in FORMS}

    def compare(self, moment: str, places=None, is_counted: bool = False) -> list:
        """Asks pgcache everything again; returns what did not come from the cache, if that is counted."""
        forwarded, wrong = [], []
        for number, form in self.expected if places is None else places:
            statement = self.statements[number]
            if is_meant(statement):
                ours, is_hit = self.readers.ask(statement, form, is_counted)
            else:
                hits = 0 if DIRECT else self.readers.hits()
                ours, is_hit = answer(self.other, statement, form), False
                if not DIRECT and self.readers.hits() > hits:
                    wrong.append(f"from the cache: {describe(statement, form)}")
            if not is_hit:
                forwarded.append((number, form))
            if ours != self.expected[number, form]:
                wrong.append(f"{describe(statement, form)}{difference(ours, self.expected[number, form])}")
        assert not wrong, (f"{len(wrong)} wrong, seed {self.seed}, {moment}, changes {self.history[-CHANGES * 3:]}:\n"
                           + "\n".join(wrong[:5]))
        return forwarded

    def change(self, changes: Changes):
        for _ in range(CHANGES):
            transaction = changes.transaction()
            apply(self.direct, transaction)
            self.history += transaction


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(-(-COUNT // BATCH)))
def test_random_statements(proxy, origin, database, direct, results, number):
    play(proxy, origin, database, direct, results, number)


def play(proxy, origin, database, direct, results: Results, number: int):
    """One batch: cold, warm, and after changes."""
    changes = Changes(SEED + number)
    apply(direct, changes.fill())
    batch = Batch(SEED + number, proxy, origin, database, direct)
    try:
        batch.expect()
        pass_watermark(proxy, direct)
        batch.compare("cold")
        # What has a reason to be forwarded may empty the cache, as what may have changed the schema does.
        meant = [place for place in batch.expected if is_meant(batch.statements[place[0]])]
        others = sorted(set(batch.expected) - set(meant))
        batch.compare("warm", others)
        left = meant
        for moment in ("warm", "warm again", "warm at last"):
            pass_watermark(proxy, direct)
            left = batch.compare(moment, left, is_counted=True)
        missing = {*left, *others}
        for place in batch.expected:
            results.add(batch.statements[place[0]], place[1], place not in missing)
        for moment in ("after changes", "after more changes"):
            batch.change(changes)
            batch.expect()
            pass_watermark(proxy, direct)
            batch.compare(moment, meant)
            pass_watermark(proxy, direct)
            batch.compare(moment + ", again", meant)
        batch.compare("after all changes", others)
    finally:
        batch.close()


@pytest.mark.cached
def test_shares(request, proxy, results):
    expect_shares(request, proxy, results)


def expect_shares(request, proxy, results: Results):
    """What the cache took of each pattern, over all batches."""
    print("\nforwarded:", proxy.forwarded())
    shares, floor, floors = results.shares, request.module.FLOOR, request.module.FLOORS
    print("\nfrom the cache:\n" + shares.table())
    for sql in sorted(results.missed, key=len)[:25]:
        print("  not from the cache:", sql)
    for tag, (held, count) in shares.counts.items():
        assert held == 0 or is_pattern(tag), tag
    # Few statements say less: chance takes some.
    below = {tag: shares.share(tag) for tag, (_, count) in shares.counts.items()
             if is_pattern(tag) and count >= ENOUGH
             and shares.share(tag) < floors.get(tag, floor) - CHANCE / math.sqrt(count / len(FORMS))}
    assert not below, f"below the floor: {below}"
