"""The patterns (patterns.py) with every answer from rows: the memo is off. docs/sql.md says which are answered so."""
import pytest

from pattern import GROUPS, TEXT_ONLY, Pattern
from pattern_story import told
from pattern_tables import SCHEMA  # noqa: F401 (read by the `database` fixture)
from patterns import PATTERNS
from query_runs import Shares
from rowtier import ROWS

ONE_REACTOR = True
PROXY = ROWS


def variants(pattern: Pattern) -> list[Pattern]:
    """Two where rows answer it in text alone."""
    if not pattern.rows or not pattern.rows.startswith(TEXT_ONLY):
        return [pattern]
    texts = tuple(form for form in pattern.forms if form != "binary")
    return [pattern._replace(forms=texts, rows=None),
            pattern._replace(name=f"{pattern.name}-binary", forms=("binary",))]


CHOSEN = [variant for pattern in PATTERNS if not pattern.reason for variant in variants(pattern)]
# The first test waits for the story of all of them.
pytestmark = pytest.mark.timeout(300)
of_patterns = pytest.mark.parametrize("pattern", CHOSEN, ids=lambda pattern: pattern.name)

# Of each group the share that must come from rows.
FLOORS = {
    "Single tables": 0.75, "Order and limits": 0.90, "Expressions and functions": 0.80, "WITH": 0.90,
    "Partitions and inheritance": 0.90, "Replica identities and generated columns": 0.60, "Views": 0.90,
    "Functions of your own": 0.0}


@pytest.fixture(scope="module")
def story(request, proxy, origin):
    yield from told(request, proxy, origin, CHOSEN, hopeless={pattern.name for pattern in CHOSEN if pattern.rows})


@of_patterns
def test_is_right(story, pattern):
    """Cold, warm and after every change, in every form of the protocol."""
    story.expect_right(pattern)


@pytest.mark.cached
@of_patterns
def test_is_from_rows(story, pattern):
    """Warm, and again after every change; what is said to be for the memo alone is not."""
    if pattern.rows:
        assert pattern.name not in story.unexpected, f"{pattern.sql}\nit is, although: {pattern.rows}"
    else:
        story.expect_cached(pattern)


@pytest.mark.cached
def test_shares(story):
    shares = Shares()
    for pattern in story.patterns:
        shares.add([pattern.group], pattern.name not in story.uncached)
    print("\nfrom rows:\n" + shares.table())
    below = {group: shares.share(group) for group in GROUPS if shares.share(group) < FLOORS.get(group, 1.0)}
    assert not below, f"below the floor: {below}"
