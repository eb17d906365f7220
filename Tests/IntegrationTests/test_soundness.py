"""Whenever a change alters the origin's answer, the cached one is gone: for random statements and random changes.

Many statements are warmed (each is seen to come from the cache), the origin's rows are changed, the watermark passes
the change, and everything is asked again: an answer that is not the origin's is a missed invalidation. An answer that
is, and yet did not come from the cache, was invalidated for nothing: its share is printed for each pattern.
PGCACHE_PAIRS says how many pairs are tried, PGCACHE_TEST_SEED where the seeds begin.
"""
import os
import threading

import psycopg
import pytest

import wire as w
from queries import Generator
from query_runs import FORMS, Readers, Shares, answer, apply, describe, difference, is_meant, pass_watermark
from query_schema import SCHEMA, Changes  # noqa: F401 (SCHEMA is read by the `database` fixture)

ONE_REACTOR = True
SEED = int(os.environ.get("PGCACHE_TEST_SEED", "1"))
PAIRS = int(os.environ.get("PGCACHE_PAIRS", "1600"))
STATEMENTS = 80  # warmed before each change
TRANSACTIONS = 150  # beside reads
CHANGES = 10  # after each of which the same statements are asked


class Results:
    """What a module notes; another one with the same tests has its own, and may say what has no part in its shares."""

    def __init__(self, excluded):
        self.excluded = excluded
        self.warm, self.altered, self.needless, self.pairs = Shares(), Shares(), Shares(), 0


@pytest.fixture(scope="module")
def results(request):
    return Results(getattr(request.module, "excluded", lambda statement: None))


class Warmed:
    """Statements, each in one form, and the origin's answers to them."""

    def __init__(self, seed, proxy, origin, database, direct):
        self.seed, self.proxy, self.direct = seed, proxy, direct
        generator = Generator(1_000_000 + seed, narrow=0.5, relations=3)
        self.tables = generator.tables_read()
        self.statements = [s for s in generator.statements(STATEMENTS * 2) if is_meant(s)][:STATEMENTS]
        self.forms = [list(FORMS)[number % len(FORMS)] for number in range(len(self.statements))]
        self.theirs = w.WireClient.logged_in(origin.host, origin.port, database)
        self.expected = self.expect()

    def expect(self) -> list:
        return [answer(self.theirs, s, form) for s, form in zip(self.statements, self.forms)]

    def warm(self, readers: Readers) -> set[int]:
        """Asks until nothing more comes from the cache than before; returns what does."""
        left, hits = list(range(len(self.statements))), set()
        for _ in range(3):
            if not left:
                break
            pass_watermark(self.proxy, self.direct)
            for number in left:
                ours, is_hit = readers.ask(self.statements[number], self.forms[number])
                self.check(number, ours, "warm")
                if is_hit:
                    hits.add(number)
            left = [number for number in left if number not in hits]
        return hits

    def check(self, number: int, ours: list, moment):
        assert ours == self.expected[number], (
            f"seed {self.seed}, {moment}:\n{describe(self.statements[number], self.forms[number])}"
            + difference(ours, self.expected[number]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(-(-PAIRS // (STATEMENTS * CHANGES))))
def test_what_changed_was_invalidated(proxy, origin, database, direct, results, number):
    play(proxy, origin, database, direct, results, number)


def play(proxy, origin, database, direct, results: Results, number: int):
    apply(direct, Changes(SEED + number).fill())
    warmed = Warmed(SEED + number, proxy, origin, database, direct)
    changes = Changes(SEED + number, warmed.tables)
    readers = Readers(proxy, 16)
    try:
        for _ in range(CHANGES):
            hits = warmed.warm(readers)
            for place, statement in enumerate(warmed.statements):
                if not results.excluded(statement):
                    results.warm.add([*statement.tags, "all statements"], place in hits)
            transaction = changes.transaction()
            apply(direct, transaction)
            pass_watermark(proxy, direct)
            before, warmed.expected = warmed.expected, warmed.expect()
            for place in hits:
                ours, is_hit = readers.ask(warmed.statements[place], warmed.forms[place])
                warmed.check(place, ours, transaction)
                results.pairs += 1
                tags = [*warmed.statements[place].tags, "all statements"]
                is_altered = warmed.expected[place] != before[place]
                results.altered.add(tags, is_altered)
                if not is_altered:
                    results.needless.add(tags, not is_hit)
    finally:
        readers.close()
        warmed.theirs.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(max(1, PAIRS // 8000)))
def test_what_was_captured_beside_changes(proxy, origin, database, direct, number):
    """Answers are captured while rows change; those that are kept are the origin's in the end."""
    seed = 3_000_000 + SEED + number
    apply(direct, Changes(seed).fill())
    warmed = Warmed(seed, proxy, origin, database, direct)
    readers = Readers(proxy, 16)
    changes = Changes(seed, warmed.tables)
    transactions = [changes.transaction() for _ in range(TRANSACTIONS)]
    problems = []

    def write():
        try:
            with origin.connect(database) as writer:
                for transaction in transactions:
                    apply(writer, transaction)
        except psycopg.Error as problem:
            problems.append(problem)

    try:
        for _ in range(2):
            thread = threading.Thread(target=write)
            thread.start()
            while thread.is_alive():
                for statement, form in zip(warmed.statements, warmed.forms):
                    answer(readers.next(), statement, form)
            thread.join()
            assert not problems, problems
            pass_watermark(proxy, direct)
            warmed.expected = warmed.expect()
            for place in [*range(len(warmed.statements))] * 2:
                ours, _ = readers.ask(warmed.statements[place], warmed.forms[place], is_counted=False)
                warmed.check(place, ours, "after changes beside reads")
    finally:
        readers.close()
        warmed.theirs.close()


@pytest.mark.cached
def test_figures(results):
    """How often a change altered the answer, and how often it did not and the answer was dropped all the same."""
    print(f"\n{results.pairs} pairs; altered answers:\n{results.altered.table()}\n"
          f"invalidated though the answer is the same:\n{results.needless.table()}")
    assert results.pairs > 0 and results.altered.share("all statements") > 0
