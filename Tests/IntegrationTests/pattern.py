"""A pattern of SELECT, and the list that patterns.py fills."""
import re
from typing import NamedTuple

from pattern_tables import BEHIND, TABLES

# The test file of each group; what is forwarded is tried in test_patterns_forwarded.py.
GROUPS = {
    "Single tables": "rows", "Conditions": "rows", "Aggregates and groups": "rows", "Order and limits": "rows",
    "Expressions and functions": "rows",
    "Joins": "queries", "Subqueries": "queries", "WITH": "queries", "Set operations": "queries",
    "Window functions": "queries", "VALUES, TABLE and functions in FROM": "queries",
    "Partitions and inheritance": "relations", "Replica identities and generated columns": "relations",
    "Views": "relations", "Functions of your own": "relations",
    "What a statement does": "forwarded", "What it calls": "forwarded", "What it reads": "forwarded",
}

# How a statement is asked.
FORMS = ("simple", "extended", "binary", "prepared")


class Pattern(NamedTuple):
    name: str
    group: str
    sql: str  # with $1, $2, … where it has parameters
    values: tuple[str, ...] = ()
    reason: str | None = None  # why it is forwarded; None: it is cached
    # Changes of what it reads that leave its answer in the cache, by name.
    keeps: tuple[str, ...] = ()
    # Of those the ones that drop it all the same: change → why that is accepted.
    relaxed: dict[str, str] = {}
    reads: frozenset[str] | None = None  # if not all that the text names
    rows: str | None = None  # why the row tier does not answer it; None: it does
    forms: tuple[str, ...] = FORMS

    @property
    def file(self) -> str:
        """The test file that tries it."""
        return f"test_patterns_{'forwarded' if self.reason else GROUPS[self.group]}.py"

    @property
    def relations(self) -> frozenset[str]:
        """The tables whose rows can matter to it."""
        if self.reads is not None:
            return self.reads
        words = set(re.findall(r"[a-z_]+", self.sql.lower()))
        found = words & set(TABLES)
        for name in words & set(BEHIND):
            found |= BEHIND[name]
        return frozenset(found)

    @property
    def is_ordered(self) -> bool:
        """The rows come in one order only."""
        text, count = self.sql.lower(), 1
        while count:
            text, count = re.subn(r"\([^()]*\)", "", text)
        return "order by" in text

    def literal(self) -> str:
        """The same with its parameters written into the text."""
        text = self.sql
        for number, value in reversed(list(enumerate(self.values, 1))):
            quoted = value if value.lstrip("-").isdigit() else "'" + value.replace("'", "''") + "'"
            text = text.replace(f"${number}", quoted)
        return text


# Begins why rows do not answer what they answer in text.
TEXT_ONLY = "in binary: "

# The reason of what is forwarded because its answer is never kept.
NOTICE = "notice"

PATTERNS: list[Pattern] = []


def add(group: str, *patterns: tuple, **common):
    """Patterns as (name, text) or (name, text, what else is to be said)."""
    for name, text, *more in patterns:
        PATTERNS.append(Pattern(name, group, text, **{**common, **(more[0] if more else {})}))
