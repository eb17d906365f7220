"""What the tests of random SELECTs share: asking, comparing, changing the rows, and knowing that it has arrived."""
import re
from collections import defaultdict

import wire as w
from proxy import DIRECT, HITS
from queries import Statement
from waiting import wait_until

FORMS = {
    "simple": lambda s: w.query(s.literal()),
    "extended": lambda s: w.extended(*s.prepared()),
    "binary": lambda s: binary(*s.typed()),
}


def binary(sql: str, types: list[int], values: list[bytes | None], formats: list[int]) -> bytes:
    """Parameters with declared types, binary where drivers have them so, and binary results."""
    return (w.parse(sql, types=tuple(types)) + w.bind(values=tuple(values), formats=tuple(formats), results=(1,))
            + w.describe_portal() + w.execute() + w.SYNC)


def is_pattern(tag: str) -> bool:
    """The cache takes it: it is no error, and no reason to be forwarded."""
    return tag != "error" and not tag.startswith("forwarded")


def is_meant(statement: Statement) -> bool:
    return all(is_pattern(tag) for tag in statement.tags)


# What keeps a statement from being answered from rows: what it reads or calls, as its text shows.
MEMO_ONLY = {
    "no primary key": r"bag", "a collation by name": r"collate",
    "functions of your own": r"twice|shorten|in_kind", "types of your own by name": r"mood|pair|level",
}
MEMO_ONLY_PATTERNS = {reason: re.compile(rf"\b({names})\b") for reason, names in MEMO_ONLY.items()}
MEMO_ONLY_PATTERNS["text search"] = re.compile("@@|to_tsvector|to_tsquery")


def memo_only(statement: Statement) -> str | None:
    """Why it is not answered from rows; None: it can be."""
    text = statement.literal()
    return next((reason for reason, pattern in MEMO_ONLY_PATTERNS.items() if pattern.search(text)), None)


def answer(client: w.WireClient, statement: Statement, form: str) -> list[w.Message]:
    """The answer, its rows sorted where their order is open."""
    found = client.ask(FORMS[form](statement))
    if statement.is_ordered:
        return found
    kinds = [message.type for message in found]
    rows = iter(sorted(message for message in found if message.type == "D"))
    return [next(rows) if kind == "D" else message for kind, message in zip(kinds, found)]


def difference(ours: list[w.Message], theirs: list[w.Message]) -> str:
    """What both said, where they begin to differ."""
    place = next((n for n, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    return (f"\n  expected ({w.types(theirs)[:60]}): {theirs[place:place + 3]}"
            f"\n  got      ({w.types(ours)[:60]}): {ours[place:place + 3]}")


def describe(statement: Statement, form: str) -> str:
    if form == "simple":
        return statement.literal()
    return " ".join(map(str, statement.prepared() if form == "extended" else statement.typed()))


def apply(direct, statements: list[str]):
    with direct.transaction():
        for sql in statements:
            direct.execute(sql)


def pass_watermark(proxy, direct):
    """Returns when every change made before is applied: a hit is true at W, and this one shows a later change.

    What is to be loaded into the row tier is loaded by then.
    """
    number = direct.execute("update mark set n = n + 1 returning n").fetchone()[0]
    with proxy.connect() as reader:
        wait_until(
            lambda: proxy.wait_until_cached(lambda: reader.execute("select n from mark").fetchall()) == [(number,)],
            "the watermark has passed the last change")
    proxy.settle_rows()


HIT = re.compile(rf"^{HITS}(?:_total)?(?:{{[^}}]*}})? (\S+)$", re.MULTILINE)


class Readers:
    """Sessions through the proxy, taken in turn: a forwarded read binds its session until W has passed it [S5]."""

    def __init__(self, proxy, count: int = 8, **parameters):
        self.proxy = proxy
        self.clients = [w.WireClient.logged_in(proxy.host, proxy.port, proxy.database, **parameters)
                        for _ in range(count)]
        self.turn = 0

    def next(self) -> w.WireClient:
        self.turn = (self.turn + 1) % len(self.clients)
        return self.clients[self.turn]

    def hits(self) -> int:
        """As the proxy says it, without reading the rest of the page."""
        return int(float(HIT.search(self.proxy.page("/metrics")[1])[1]))

    def close(self):
        for client in self.clients:
            client.close()

    def ask(self, statement: Statement, form: str, is_counted: bool = True) -> tuple[list[w.Message], bool]:
        """The answer, and whether it came from the cache; nothing tells when it is not counted, or asked directly."""
        if not is_counted or DIRECT:
            return answer(self.clients[self.turn], statement, form), True
        before = self.hits()
        found = answer(self.clients[self.turn], statement, form)
        is_hit = self.hits() > before
        if not is_hit:
            self.next()
        return found, is_hit


class Shares:
    """Of how many something holds, by pattern."""

    def __init__(self):
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, tags, holds: bool):
        for tag in tags:
            self.counts[tag][0] += holds
            self.counts[tag][1] += 1

    def share(self, tag: str) -> float:
        held, count = self.counts[tag]
        return held / count if count else 1.0

    def table(self) -> str:
        return "\n".join(f"  {tag:<32} {held:>6} of {count:>6}  {held / count:7.1%}"
                         for tag, (held, count) in sorted(self.counts.items()))
