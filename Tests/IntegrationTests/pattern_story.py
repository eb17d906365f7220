"""Plays the changes of pattern_tables.py to many patterns at once, and notes what each of them did.

All are asked in every form, on one session through the proxy and on one straight at the origin, until all are hits;
then comes a change, and all are asked again. A pattern's test only looks at what was noted of it: no pattern waits
for another, and none hides what is wrong with another.
"""
from collections import defaultdict

import wire as w
from pattern import Pattern
from pattern_tables import CHANGES, Change
from proxy import DIRECT
from waiting import wait_until

FLUSHES_MAX = 2  # without a change of the schema: a poll of the catalog may find one that is older
READY = b"Z\0\0\0\5"  # and the status of the block
SECONDS = 5.0  # that a miss may take to become a hit
SECONDS_OF_ROWS = 15.0  # the same where rows are loaded first


def request(pattern: Pattern, form: str) -> bytes:
    if form == "simple":
        return w.query(pattern.literal())
    if form == "prepared":
        return w.bind(pattern.name, pattern.values) + w.execute() + w.SYNC
    return w.extended(pattern.sql, pattern.values, results=(1,) if form == "binary" else ())


def answer_of(client: w.WireClient, message: bytes) -> bytes:
    """What comes up to ReadyForQuery, as it comes: thousands of answers are alike, and need not be taken apart."""
    client.send(message)
    answer = bytearray()
    while not answer[-6:-1] == READY:
        chunk = client.socket.recv(65536)
        if not chunk:
            raise ConnectionError(f"closed after {bytes(answer)!r}")
        answer += chunk
    return bytes(answer)


def comparable(pattern: Pattern, bytes_: bytes) -> list[w.Message]:
    """The messages of an answer, without what comes by itself; rows sorted where their order is open."""
    answer, offset = [], 0
    while offset < len(bytes_):
        end = offset + 1 + int.from_bytes(bytes_[offset + 1:offset + 5], "big")
        if bytes_[offset] not in w.ASYNCHRONOUS:
            answer.append(w.Message(chr(bytes_[offset]), bytes_[offset + 5:end]))
        offset = end
    if pattern.is_ordered:
        return answer
    rows = iter(sorted(message for message in answer if message.type == "D"))
    return [next(rows) if message.type == "D" else message for message in answer]


def shown(answer: list[w.Message]) -> str:
    words = (message.type + bytes(message.body).decode(errors="replace").replace("\0", " ") for message in answer)
    return " ".join(words)[:1500]


class Story:
    """What became of each pattern: wrong answers, hits that never came, hits that were lost without need.

    `hopeless` are not to be hits at all.
    """

    def __init__(self, proxy, origin, patterns: list[Pattern], changes: list[Change], hopeless: set[str]):
        self.proxy, self.patterns, self.changes, self.hopeless = proxy, patterns, changes, hopeless
        self.wrong, self.missed, self.dropped = (defaultdict(list) for _ in range(3))
        self.moment = "cold"
        self.is_settled = True  # nothing but changes of rows drops answers
        self.expected: dict[tuple[str, str], bytes] = {}  # the origin's answers of now
        self.flushed: list[str] = []  # changes at which the whole cache was emptied, for other reasons
        self.flushes_known = 0
        self.uncached: dict[str, dict[str, int]] = {name: {} for name in hopeless}  # forwarded for, by pattern
        self.unexpected: dict[str, int] = {}  # hits of the hopeless
        address = (proxy.database, "postgres")
        self.ours = w.WireClient.logged_in(proxy.host, proxy.port, *address)
        self.theirs = w.WireClient.logged_in(origin.host, origin.port, *address)
        self.writer = origin.connect(proxy.database)

    def close(self):
        for connection in (self.ours, self.theirs, self.writer):
            connection.close()

    # Asking.

    def ask(self, pattern: Pattern, forms: tuple[str, ...] = ()):
        for form in forms or pattern.forms:
            message = request(pattern, form)
            theirs = self.expected.get((pattern.name, form))
            if theirs is None:
                theirs = self.expected[pattern.name, form] = answer_of(self.theirs, message)
            ours = answer_of(self.ours, message)
            if ours == theirs:
                continue
            ours, theirs = comparable(pattern, ours), comparable(pattern, theirs)
            if ours != theirs and len(self.wrong[pattern.name]) < 3:
                self.wrong[pattern.name].append(
                    f"{form}, {self.moment}\n  through the proxy: {shown(ours)}\n  at the origin:     {shown(theirs)}")

    def hits_of(self, patterns: list[Pattern]) -> dict[str, int]:
        """Asks each in all its forms; how often it was answered from the cache."""
        counts, before = {}, self.proxy.hits()
        for pattern in patterns:
            self.ask(pattern)
            after = self.proxy.hits()
            counts[pattern.name], before = after - before, after
        return counts

    def warm(self, patterns: list[Pattern]):
        """Asks until all are hits in every form; those that never are, are noted, and not waited for again."""
        waiting = [pattern for pattern in patterns if pattern.name not in self.uncached]

        def are_hits() -> bool:
            before = self.proxy.hits()
            for pattern in waiting:
                self.ask(pattern)
            return DIRECT or self.proxy.hits() - before == sum(len(pattern.forms) for pattern in waiting)

        try:
            wait_until(are_hits, "all are hits", SECONDS_OF_ROWS if self.proxy.uses_rows else SECONDS)
        except AssertionError:
            for pattern in waiting:
                self.note_missed(pattern)

    def note_missed(self, pattern: Pattern):
        """Unless it only shared the fate of one that calls what nobody knows, and so counted as a write."""
        hits = 0

        def is_hit():
            nonlocal hits, before
            before = self.proxy.forwarded()
            hits = self.hits_of([pattern])[pattern.name]
            return hits == len(pattern.forms)

        before: dict[str, int] = {}
        try:
            wait_until(is_hit, "it is a hit by itself", 1.0)
            return
        except AssertionError:
            pass
        moved = {reason: count - before.get(reason, 0) for reason, count in self.proxy.forwarded().items()
                 if count > before.get(reason, 0)}
        self.missed[pattern.name].append(
            f"{self.moment}: {hits} of {len(pattern.forms)} forms are hits; forwarded: {moved}")
        self.uncached.setdefault(pattern.name, moved)

    # The changes.

    def flushes(self) -> int:
        return 0 if DIRECT else int(self.proxy.metric("pgcache_cache_flushes"))

    def play(self):
        for client in (self.ours, self.theirs):
            for pattern in self.patterns:
                client.ask(w.parse(pattern.sql, pattern.name), w.describe_statement(pattern.name), w.SYNC)
        for pattern in self.patterns:
            self.ask(pattern)
        self.moment = "warm"
        self.warm(self.patterns)
        if not DIRECT:
            counts = self.hits_of([pattern for pattern in self.patterns if pattern.name in self.hopeless])
            self.unexpected = {name: count for name, count in counts.items() if count}
        self.flushes_known = self.flushes()
        # From now on in two forms each: what an answer depends on is the same in all.
        self.patterns = [pattern._replace(forms=pattern.forms[:1] + pattern.forms[1 + number % 3:][:1])
                         for number, pattern in enumerate(self.patterns)]
        for change in self.changes:
            self.tell(change)
        return self

    def tell(self, change: Change):
        self.moment = f"after {change.name}"
        touched = [pattern for pattern in self.patterns if change.tables & pattern.relations]
        if change.tables and not touched:
            return
        for pattern in touched:
            for form in {*pattern.forms, "extended"}:
                self.expected.pop((pattern.name, form), None)
        if change.through:
            self.ours.ask(w.query(change.sql))
            for pattern in touched:
                self.ask(pattern, ("extended",))
            self.proxy.settle(self.writer)
        else:
            self.writer.execute(change.sql)
            self.proxy.settle(self.writer)
        self.is_settled = self.is_settled and not change.is_of_schema
        # Rows take a change in where memo entries are dropped.
        if self.is_settled and not change.through and not self.proxy.uses_rows:
            kept = [pattern for pattern in self.patterns
                    if (pattern not in touched or change.name in pattern.keeps) and pattern.name not in self.uncached]
            flushes = self.flushes()
            counts = {} if DIRECT else self.hits_of(kept)
            if self.flushes() != flushes or flushes != self.flushes_known:
                self.flushed.append(change.name)  # it says nothing about the change
                self.warm(self.patterns)
            else:
                for pattern in kept:
                    if counts and counts[pattern.name] < len(pattern.forms):
                        self.dropped[pattern.name].append((change.name, counts[pattern.name]))
        for pattern in touched:
            if pattern.name in self.uncached:
                self.ask(pattern)
        self.warm(self.patterns if change.is_of_schema else touched)
        self.flushes_known = self.flushes()

    # What the tests ask.

    def expect_right(self, pattern: Pattern):
        assert not self.wrong[pattern.name], "\n".join([pattern.sql, *self.wrong[pattern.name]])

    def expect_cached(self, pattern: Pattern):
        assert not self.missed[pattern.name], "\n".join([pattern.sql, *self.missed[pattern.name]])

    def expect_kept(self, pattern: Pattern):
        """What it does not read, or has no interest in, leaves its answers where they are."""
        assert pattern.name not in self.uncached, f"{pattern.sql}\nnever cached"
        assert len(self.flushed) <= FLUSHES_MAX, f"the whole cache was emptied at {self.flushed}"
        dropped = [f"{change}: {count} of {len(pattern.forms)} forms" for change, count in self.dropped[pattern.name]
                   if change not in pattern.relaxed]
        assert not dropped, "\n".join([pattern.sql, "still hits after", *dropped])


def told(request, proxy, origin, patterns: list[Pattern], changes: list[Change] = CHANGES, hopeless: set[str] = set()):
    """The story of those of the patterns whose tests run: the body of a module's fixture."""
    names = {item.callspec.params["pattern"].name for item in request.session.items
             if item.module is request.module and "pattern" in getattr(item, "callspec", item).params}
    story = Story(proxy, origin, [pattern for pattern in patterns if not names or pattern.name in names],
                  changes, hopeless)
    try:
        yield story.play()
    finally:
        story.close()
