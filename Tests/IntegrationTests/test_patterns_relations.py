"""Patterns (patterns.py) over partitions, inheritance, replica identities, views and functions of your own."""
from pathlib import Path

import pytest

from pattern_story import told
from pattern_tables import SCHEMA  # noqa: F401 (read by the `database` fixture)
from patterns import PATTERNS

ONE_REACTOR = True
CHOSEN = [pattern for pattern in PATTERNS if pattern.file == Path(__file__).name]
# The first test waits for the story of all of them.
pytestmark = [pytest.mark.timeout(240), pytest.mark.parametrize("pattern", CHOSEN, ids=lambda pattern: pattern.name)]


@pytest.fixture(scope="module")
def story(request, proxy, origin):
    yield from told(request, proxy, origin, CHOSEN)


def test_is_right(story, pattern):
    """Cold, warm and after every change, in every form of the protocol."""
    story.expect_right(pattern)


@pytest.mark.cached
def test_is_cached(story, pattern):
    """Warm, and again after every change."""
    story.expect_cached(pattern)


@pytest.mark.cached
def test_is_kept(story, pattern):
    """Changes that do not matter leave it in the cache."""
    story.expect_kept(pattern)
