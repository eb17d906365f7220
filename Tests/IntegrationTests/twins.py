"""A session through the proxy and its twin on the origin: told the same, they must say the same.

Answers are compared byte for byte. The exception is what shows objects that each session made for itself,
whose OIDs differ: `made_here` compares types and rows alone.
"""
import wire as w
from origin import PASSWORDS
from proxy import DIRECT
from waiting import wait_until

# How a statement can be asked.
PROTOCOLS = {
    "simple": w.query,
    "extended": w.extended,
    "binary": lambda sql: w.extended(sql, results=(1,)),
}


class Twins:
    def __init__(self, proxy, origin, user: str = "postgres", database: str | None = None, **parameters):
        """Logs in twice; `parameters` stand in the startup packet."""
        self.proxy = proxy
        password = PASSWORDS.get(user, "")
        database = database or proxy.database
        self.theirs = w.WireClient.logged_in(
            origin.host, origin.port, database, user, password, **parameters)
        self.ours = w.WireClient.logged_in(
            proxy.host, proxy.port, database, user, password, **parameters)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ours.close()
        self.theirs.close()

    # Asking both. What comes back is the answer of ours.

    def ask(self, *messages: bytes) -> list[w.Message]:
        theirs, ours = self.theirs.ask(*messages), self.ours.ask(*messages)
        assert ours == theirs
        return ours

    def made_here(self, *messages: bytes) -> list[w.Message]:
        theirs, ours = self.theirs.ask(*messages), self.ours.ask(*messages)
        assert w.types(ours) == w.types(theirs)
        assert w.rows(ours) == w.rows(theirs)
        return ours

    def ask_with_notices(self, *messages: bytes) -> list[w.Message]:
        """The notices count, too."""
        answers = []
        for client in (self.theirs, self.ours):
            client.send(*messages)
            answers.append([m for m in client.receive_until_ready() if m.type not in "SKA"])
        assert answers[1] == answers[0]
        return answers[1]

    def say(self, *statements: str | bytes, protocol: str = "simple") -> list[w.Message]:
        """Texts are asked by the protocol, one after the other; bytes are messages as they stand."""
        answer = []
        for statement in statements:
            message = statement if isinstance(statement, bytes) else PROTOCOLS[protocol](statement)
            answer = self.ask(message)
        return answer

    def repeat(self, *reads: str, protocol: str = "simple", times: int = 3):
        """A stale answer shows at once; one that is captured wrongly shows in what follows."""
        for _ in range(times):
            for read in reads:
                self.ask(PROTOCOLS[protocol](read))

    # Hits.

    def warm(self, *reads: str, protocol: str = "simple", ask=None):
        """Asks until each of the reads has been a hit, and compares all the while."""
        ask = ask or self.ask
        waiting = dict.fromkeys(reads)

        def are_hits():
            for read in list(waiting):
                hits = self.proxy.hits()
                ask(PROTOCOLS[protocol](read))
                if DIRECT or self.proxy.hits() > hits:
                    del waiting[read]
            return not waiting

        mismatch = None

        def ask_on():
            nonlocal mismatch
            try:
                return are_hits()
            except AssertionError as error:  # a wrong answer is no reason to wait for a better one
                mismatch = error
                return True

        try:
            wait_until(ask_on, "answers from the cache", 5.0)
        except AssertionError as error:
            raise AssertionError(
                f"never cached: {list(waiting)}; forwarded: {self.proxy.forwarded()}") from error
        if mismatch:
            raise mismatch

    def expect_hit(self, read: str, protocol: str = "simple"):
        with self.proxy.expect_hits(1):
            self.ask(PROTOCOLS[protocol](read))

    def expect_forward(self, *reads: str, protocol: str = "simple", times: int = 3):
        """None of them is answered from the cache, however often they are asked."""
        with self.proxy.expect_forward():
            self.repeat(*reads, protocol=protocol, times=times)

    def until_alike(self, *messages: bytes, seconds: float = 10.0):
        """For what may take the proxy a bounded time to notice."""
        def are_alike():
            right, answer = self.theirs.ask(*messages), self.ours.ask(*messages)
            assert answer == right, f"{answer} and not {right}; {self.proxy.hits()} hits, {self.proxy.forwarded()}"
            return True

        wait_until(are_alike, "the origin's answer", seconds)
