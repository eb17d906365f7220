"""The tables of traps in docs/correctness.md, and the tests that try them.

A test carries the number of its trap, `@pytest.mark.trap(18)`. A row names the tests that say most; `python traps.py`
fills those that name none of its number, and prints what is wrong. `--check` changes nothing; test_traps.py runs that.
"""
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
TABLE = ROOT / "docs" / "correctness.md"

NUMBERS = ["0A", "0B", *(str(number) for number in (*range(1, 33), *range(64, 141)))]
ROW = re.compile(r"^\| (0A|0B|\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$")
NOT_COVERED = "not covered: "


class Collection:
    """Every test, as its file, class and function, and those of each number."""

    def __init__(self):
        self.names: set[str] = set()
        self.by_number: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            name = re.sub(r"\[.*", "", item.nodeid.rpartition("IntegrationTests/")[2], flags=re.DOTALL)
            self.names.add(name)
            for marker in item.iter_markers("trap"):
                for number in marker.args:
                    names = self.by_number.setdefault(str(number), [])
                    if name not in names:
                        names.append(name)


def collected() -> Collection:
    collection = Collection()
    status = pytest.main(["--collect-only", "-qq", "--no-header", str(FOLDER)], plugins=[collection])
    assert status == pytest.ExitCode.OK, "the tests cannot be collected"
    return collection


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def unnamed(row: re.Match, collection: Collection) -> list[str]:
    """The tests of the row's number, if it names none of them."""
    tests = collection.by_number.get(row[1], [])
    return [] if any(test in named(row[4]) for test in tests) else tests


def complete(text: str, collection: Collection) -> str:
    """The text with the missing names at the end of each row."""
    lines = []
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            cell = ", ".join([*filter(None, [row[4].strip()]), *(f"`{name}`" for name in unnamed(row, collection))])
            line = f"| {row[1]} |{row[2]}|{row[3]}| {cell} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def problems(text: str, collection: Collection) -> list[str]:
    found, seen = [], []
    swift = "".join(file.read_text() for file in (ROOT / "Tests").rglob("*.swift"))
    for row in filter(None, map(ROW.match, text.splitlines())):
        number, tests = row[1], named(row[4])
        seen.append(number)
        if not row[2].strip() or not row[3].strip():
            found.append(f"{number}: what the trap is, or its rule, is missing")
        if not tests and not row[4].strip().startswith(NOT_COVERED):
            found.append(f"{number}: neither a test nor `{NOT_COVERED}` and why")
        for test in tests:
            is_there = test in collection.names if "::" in test else f"func {test.split('.')[-1]}(" in swift
            if not is_there:
                found.append(f"{number}: there is no test {test}")
        if unnamed(row, collection):
            found.append(f"{number}: none of the tests with its number is named (`python traps.py` adds them)")
    if seen != NUMBERS:
        found.append(f"missing rows: {[n for n in NUMBERS if n not in seen]}; "
                     f"too many: {[n for n in seen if n not in NUMBERS or seen.count(n) > 1]}, or not in order")
    return found


if __name__ == "__main__":
    tests = collected()
    if "--check" not in sys.argv:
        TABLE.write_text(complete(TABLE.read_text(), tests))
    wrong = problems(TABLE.read_text(), tests)
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
