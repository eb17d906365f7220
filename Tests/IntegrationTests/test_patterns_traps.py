"""SELECTs that a wrong constraint would answer wrongly (pattern_traps.py), through the same changes as the patterns."""
import pytest

from pattern_story import told
from pattern_tables import SCHEMA  # noqa: F401 (read by the `database` fixture)
from pattern_traps import STORY, TRAPS

ONE_REACTOR = True
pytestmark = pytest.mark.timeout(240)

# The part of them that is cached: what is forwarded tries nothing.
FLOOR = 0.95


@pytest.fixture(scope="module")
def story(request, proxy, origin):
    yield from told(request, proxy, origin, TRAPS, STORY)


@pytest.mark.parametrize("pattern", TRAPS, ids=lambda pattern: pattern.name)
def test_is_right(story, pattern):
    story.expect_right(pattern)


@pytest.mark.cached
def test_nearly_all_are_cached(story):
    share = 1 - len(story.uncached) / len(story.patterns)
    assert share >= FLOOR, f"{share:.1%} cached; not: {sorted(story.uncached)}"
