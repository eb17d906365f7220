"""The changes of test_soundness.py with every answer from rows: the memo is off, so what a change did not alter in the
cache database is wrong at once, and what can be answered from rows is so again right behind the change.
"""
import os

import pytest

from query_runs import memo_only
from query_schema import ROWS_SCHEMA as SCHEMA  # noqa: F401 (read by the `database` fixture)
from rowtier import ROWS
from test_soundness import (  # noqa: F401 (tests and fixtures)
    CHANGES, STATEMENTS, play, results, test_what_was_captured_beside_changes)

ONE_REACTOR = True
PROXY = ROWS
excluded = memo_only

# Of what can be answered from rows the part that must be: before the changes, and of that right behind each of them.
FLOOR_WARM = 0.95
FLOOR_BEHIND = 0.95

PAIRS = int(os.environ.get("PGCACHE_PAIRS", "800"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(-(-PAIRS // (STATEMENTS * CHANGES))))
def test_what_changed_is_seen(proxy, origin, database, direct, results, number):
    play(proxy, origin, database, direct, results, number)


@pytest.mark.cached
def test_shares(results):
    print(f"\n{results.pairs} pairs; from rows, warm:\n{results.warm.table()}\n"
          f"not from rows behind a change that did not alter the answer:\n{results.needless.table()}")
    assert results.pairs > 0 and results.altered.share("all statements") > 0
    assert results.warm.share("all statements") >= FLOOR_WARM
    assert 1 - results.needless.share("all statements") >= FLOOR_BEHIND
