"""A stage on which a script is played twice: straight at the origin, and then through the proxy.

The first play is the oracle: in the second every answer must be the same bytes, notices and statuses
included. Besides, a step can say where the proxy must have found its answer; the origin logs what it sees.
"""
import itertools
import re

import wire as w
from origin import PASSWORDS
from proxy import DIRECT

HIT = "from the cache"  # the origin sees nothing of it
LOCAL = "without the origin"  # no hit either: BEGIN and COMMIT of a block that the origin never saw
ORIGIN = "from the origin"  # no hit

# How a statement is sent; keys are names of parametrized tests.
FORMS = {"simple": w.query, "extended": w.extended}

# Only the proxy's own question about a session's settings has this.
PROFILE = "current_schemas(true)"

_numbers = itertools.count(1)


def play(client: w.WireClient, *messages: bytes) -> list[w.Message]:
    """Sends, and returns everything up to ReadyForQuery, what is told by the way included."""
    client.send(*messages)
    return [message for message in client.receive_until_ready() if message.type not in "AK"]


def words(message: w.Message) -> str:
    """A message as a failed comparison shows it."""
    if message.type in "EN":
        fields = message.fields()
        return f"{message.type} {fields}"
    return f"{message.type} {bytes(message.body)[:200]!r}"


def said(message: w.Message | None):
    """What counts of a message: of an error, all but the place in PostgreSQL's own source."""
    if message is None or message.type not in "EN":
        return message
    return {name: text for name, text in message.fields().items() if name not in "FLR"}


def compare(ours, theirs, what, before=()):
    """Fails with the first messages that differ."""
    for mine, other in itertools.zip_longest(ours, theirs):
        if said(mine) != said(other):
            raise AssertionError(
                f"{what}\n  through the proxy: {mine and words(mine)}\n  at the origin:     "
                f"{other and words(other)}\n  types: {w.types(ours)} and {w.types(theirs)}"
                + "".join(f"\n  after {step}" for step in before))


class Stage:
    def __init__(self, origin, proxy, form: str = "simple", user: str = "postgres", **startup: str):
        self.origin, self.proxy, self.form = origin, proxy, FORMS[form]
        self.name = f"stage_{next(_numbers)}"
        if user == "postgres":  # nobody else may
            startup["options"] = f"-c log_statement=all {startup.get('options', '')}"
        arguments = (proxy.database, user, PASSWORDS.get(user, ""))
        self.ours = w.WireClient.logged_in(
            proxy.host, proxy.port, *arguments, application_name=self.name, **startup)
        self.theirs = w.WireClient.logged_in(
            origin.host, origin.port, *arguments, application_name=f"{self.name}_o", **startup)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ours.close()
        self.theirs.close()

    # What the origin saw.

    def log_mark(self) -> int:
        return self.origin.log_path.stat().st_size

    def seen(self, mark: int = 0) -> list[str]:
        """The statements that the origin got from the session through the proxy since `mark`."""
        with open(self.origin.log_path, "rb") as file:
            file.seek(mark)
            lines = file.read().decode(errors="replace").splitlines()
        pattern = re.compile(rf" {self.name} LOG:  (?:statement|execute [^:]*): (.*)")
        found = [match[1] for match in map(pattern.search, lines) if match]
        return [text for text in found if PROFILE not in text]

    # Telling both.

    def messages(self, what) -> tuple[bytes, ...]:
        """A statement in the form of this stage, or messages as they are."""
        return (self.form(what),) if isinstance(what, str) else tuple(what)

    def ask(self, what) -> list[w.Message]:
        """Tells both at once; for what neither keeps the other from."""
        ours, theirs = (play(client, *self.messages(what)) for client in (self.ours, self.theirs))
        compare(ours, theirs, what)
        return ours

    def warm(self, what):
        """Until the session through the proxy is answered from the cache."""
        self.proxy.wait_until_cached(lambda: play(self.ours, *self.messages(what)))

    def run(self, *steps, restore=None):
        """Plays the steps at the origin, and then through the proxy, and compares each answer.

        A step is a statement (or messages), or a pair of it and HIT, LOCAL or ORIGIN; what must be a
        hit is cached first. `restore` undoes what the first play has left. The steps must end the
        block that they begin. A hit where the origin had to be asked fails at once; one that is missing may be
        the fault of a change that others made, or of a bound that stands for a moment: all is played again.
        """
        steps = [step if isinstance(step, tuple) and step[-1] in (HIT, LOCAL, ORIGIN) else (step, None)
                 for step in steps]
        for _ in range(30):
            if restore:
                restore()
            expected = [play(self.theirs, *self.messages(what)) for what, _ in steps]
            if restore:
                restore()
            for what, route in steps:
                if route == HIT:
                    self.warm(what)
            answers, detours = [], []
            for number, ((what, route), wanted) in enumerate(zip(steps, expected)):
                answer, detour = self.step(what, route)
                compare(answer, wanted, what, [text for text, _ in steps[:number]])
                answers.append(answer)
                if detour:
                    detours.append(f"{what}: {detour}")
                    assert route != ORIGIN, detours[-1]
            if not detours:
                return answers
            with self.origin.connect(self.proxy.database) as direct:
                self.proxy.settle(direct)
        raise AssertionError("\n".join(detours))

    def step(self, what, route):
        """The proxy's answer, and what is wrong with the way that it took."""
        if DIRECT or route is None:
            return play(self.ours, *self.messages(what)), None
        mark, hits = self.log_mark(), self.proxy.hits()
        answer = play(self.ours, *self.messages(what))
        hits, seen = self.proxy.hits() - hits, self.seen(mark)
        if hits != (1 if route == HIT else 0):
            return answer, f"not {route}, but {hits} hits and {seen} at the origin"
        if route != ORIGIN and seen:
            return answer, f"not {route}, the origin saw {seen}"
        return answer, None
