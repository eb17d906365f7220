"""The SELECTs of test_patterns_traps.py with every answer from rows: the memo is off."""
import pytest

from pattern_story import told
from pattern_tables import SCHEMA  # noqa: F401 (read by the `database` fixture)
from pattern_traps import STORY, TRAPS
from rowtier import ROWS

ONE_REACTOR = True
PROXY = ROWS
pytestmark = pytest.mark.timeout(300)
# The table without a primary key, the type of a table's rows, and what is not cached at all.
HOPELESS = {trap.name for trap in TRAPS if "parcels" in trap.relations} | {"keys-that-are-held-36", "outer-joins-34"}

# The part of the others that is answered from rows: what is forwarded tries nothing.
FLOOR = 0.95


@pytest.fixture(scope="module")
def story(request, proxy, origin):
    yield from told(request, proxy, origin, TRAPS, STORY, HOPELESS)


@pytest.mark.parametrize("pattern", TRAPS, ids=lambda pattern: pattern.name)
def test_is_right(story, pattern):
    story.expect_right(pattern)


@pytest.mark.cached
def test_nearly_all_are_from_rows(story):
    missed = set(story.uncached) - HOPELESS
    share = 1 - len(missed) / (len(story.patterns) - len(HOPELESS))
    print(f"\nfrom rows: {share:.1%}; not: {sorted(missed)}")
    assert share >= FLOOR
