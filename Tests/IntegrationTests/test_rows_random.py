"""The statements of test_random_queries.py with every answer from rows: the memo is off."""
import os

import pytest

from query_runs import memo_only
from query_schema import ROWS_SCHEMA as SCHEMA  # noqa: F401 (read by the `database` fixture)
from rowtier import ROWS
from test_random_queries import BATCH, expect_shares, play, results  # noqa: F401 (a fixture)

ONE_REACTOR = True
PROXY = ROWS
excluded = memo_only  # never from rows, and counted apart

# Below which share of a pattern's answers the rows must not fall: as test_random_queries.py has it for the cache.
FLOOR = 0.80
FLOORS = {"nested_join": 0.50}

COUNT = int(os.environ.get("PGCACHE_QUERIES", "200"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(-(-COUNT // BATCH)))
def test_random_statements(proxy, origin, database, direct, results, number):
    play(proxy, origin, database, direct, results, number)


@pytest.mark.cached
def test_shares(request, proxy, results):
    expect_shares(request, proxy, results)
