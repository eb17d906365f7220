"""A pgcache process in front of an origin, as the tests see it: an address, counters and a log.

With PGCACHE_TEST_DIRECT=1 there is no process: the address is the origin's own and nothing is said
about hits. Run that way, the tests show that what they expect is what PostgreSQL does.
"""
import json
import os
import re
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psycopg

from origin import PASSWORDS, Origin, free_port
from waiting import die_with_parent, wait_until

DIRECT = os.environ.get("PGCACHE_TEST_DIRECT") == "1"
ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("PGCACHE_BINARY", ROOT / ".build/release/pgcache"))

HITS = "pgcache_queries_cache_hit"
MISSES = "pgcache_queries_cache_miss"
FORWARDED = "pgcache_queries_forwarded"

# What the tests need to be quick about; settings given to a test's own proxy replace these.
SETTINGS = {"catalog_poll_interval": "200ms", "cache_rows": "off"}

LINE = re.compile(r"^([a-zA-Z0-9_:]+)(?:\{(.*)\})? (\S+)$")


# A port that was free a moment ago may be another test's by now.
PORTS_TRIED = 5


class PortTaken(RuntimeError):
    pass


class Proxy:
    """One pgcache. `settings` become options: memo_cache_size=0 is `--memo-cache-size 0`."""

    def __init__(self, origin: Origin, database: str = "postgres", reactor: str = "epoll",
                 ready: bool = True, origin_user: str = "postgres", binary: Path = BINARY,
                 **settings):
        self.origin = origin
        self.database = database
        self.host = "127.0.0.1"
        self.port = origin.port if DIRECT else free_port()
        self.uses_rows = not DIRECT and {**SETTINGS, **settings}["cache_rows"] == "on"
        self.process = None
        self.log_path = Path(tempfile.mkstemp(prefix="pgcache-", suffix=".log")[1])
        self.command = [
            str(binary), "run",
            "--origin", origin.url(database, origin_user, PASSWORDS.get(origin_user, "")),
            "--reactor", reactor]
        for name, value in {**SETTINGS, **settings}.items():
            if value is not None:
                self.command += ["--" + name.replace("_", "-"), str(value)]
        self.choose_metrics_port()
        for _ in range(0 if "listen_socket" in settings else PORTS_TRIED):
            try:
                return self.start(ready)
            except PortTaken:
                self.port = free_port()
                self.choose_metrics_port()
        self.start(ready)

    def choose_metrics_port(self):
        self.metrics_port = free_port()
        self.sockets = ["--listen-socket", f"{self.host}:{self.port}",
                        "--metrics-socket", f"{self.host}:{self.metrics_port}"]

    # Its life.

    def start(self, ready: bool = True):
        """Starts the process; `ready` waits until /readyz says that answers are cached."""
        if DIRECT:
            return
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            self.command[:4] + self.sockets + self.command[4:], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        log.close()
        wait_until(lambda: self.alive() and self.page("/healthz")[0] == 200, "pgcache is up")
        if ready:
            self.wait_until_ready()

    def alive(self) -> bool:
        if DIRECT:
            return True
        status = self.process.poll()
        if status is not None:
            if "Address already in use" in self.log():
                raise PortTaken(f"pgcache ended with status {status}\n{self.log()}")
            raise RuntimeError(f"pgcache ended with status {status}\n{self.log()}")
        return True

    def wait_until_ready(self, seconds: float = 20.0):
        if not DIRECT:
            wait_until(lambda: self.alive() and self.page("/readyz")[0] == 200,
                       "pgcache is ready", seconds)

    def is_ready(self) -> bool:
        return DIRECT or self.page("/readyz")[0] == 200

    def send_signal(self, number: int):
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, how: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Ends the process and returns its exit status (0 in direct mode)."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"pgcache did not stop on signal {how}\n{self.log()}")
        self.process = None
        return status

    def remove(self):
        try:
            if self.process is not None:
                crashed = self.process.poll() is not None
                status = self.stop()
                assert not crashed, f"pgcache ended by itself with status {status}\n{self.log()}"
        finally:
            self.log_path.unlink(missing_ok=True)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-12000:]

    def resident_bytes(self) -> int:
        """Memory the process holds now, in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # Its pages.

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the admin server; status 0 when it does not answer."""
        url = f"http://{self.host}:{self.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict:
        code, body = self.page("/status")
        assert code == 200, f"/status answered {code}"
        return json.loads(body)

    def metrics(self) -> dict[str, float]:
        """Every sample, named as it is printed: `name` or `name{label="value"}`."""
        code, body = self.page("/metrics")
        assert code == 200, f"/metrics answered {code}"
        samples = {}
        for line in body.splitlines():
            found = LINE.match(line)
            if found:
                labels = "{" + found[2] + "}" if found[2] else ""
                samples[found[1] + labels] = float(found[3])
        return samples

    def metric(self, name: str) -> float:
        """One metric, summed over its labels."""
        return sum(value for sample, value in self.metrics().items()
                   if sample.split("{")[0] in (name, name + "_total"))

    def settle(self, connection):
        """Waits until the stream has told what `connection`, straight at the origin, can see committed. That is on
        disk, unless it was committed asynchronously; behind it may be WAL that nobody is about to flush."""
        if DIRECT:
            return
        (position,) = connection.execute("select (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone()
        # Right behind the header of a page of WAL is its start: no record ends in between.
        if position % 8192 in (24, 40):
            position -= position % 8192
        wait_until(lambda: self.metric("pgcache_cdc_applied_lsn") >= position, "the watermark passes a change")

    def settle_rows(self, seconds: float = 30.0):
        """Waits until the row tier has nothing to do: fragments that were wanted are loaded, changes are applied."""
        if not self.uses_rows:
            return

        def is_settled():
            found = self.metrics()
            return (found["pgcache_cache_rows_ready"] == 1 and found["pgcache_cache_populations_pending"] == 0
                    and found["pgcache_cache_rows_pending"] == 0
                    and all(table["state"] != "preparing" for table in self.status()["rows"]["tables"]))

        wait_until(is_settled, "the row tier has nothing to do", seconds)

    def hits(self) -> int:
        return 0 if DIRECT else int(self.metric(HITS))

    def misses(self) -> int:
        return 0 if DIRECT else int(self.metric(MISSES))

    def forwarded(self) -> dict[str, int]:
        """Statements sent to the origin, by reason."""
        reasons = {}
        for sample, value in self.metrics().items():
            found = re.match(FORWARDED + r'(?:_total)?\{.*reason="([^"]*)"', sample)
            if found:
                reasons[found[1]] = int(value)
        return reasons

    @contextmanager
    def expect_hits(self, count: int):
        """The block is answered from the cache exactly `count` times."""
        before = self.hits()
        yield
        if not DIRECT:
            assert self.hits() - before == count, \
                f"{self.hits() - before} hits, expected {count}; forwarded: {self.forwarded()}"

    @contextmanager
    def expect_forward(self, reason: str | None = None):
        """The block has no hit, and something in it is forwarded (for `reason`, if one is given)."""
        if DIRECT:
            yield
            return
        hits, before = self.hits(), self.forwarded()
        yield
        after = self.forwarded()
        assert self.hits() == hits, "answered from the cache"
        moved = {name for name, value in after.items() if value > before.get(name, 0)}
        assert moved and (reason is None or reason in moved), f"forwarded for {moved}"

    # Clients.

    def url(self, user: str = "postgres", database: str | None = None) -> str:
        secret = f":{PASSWORDS[user]}" if PASSWORDS.get(user) else ""
        secret = secret.replace(" ", "%20")
        return f"postgres://{user}{secret}@{self.host}:{self.port}/{database or self.database}"

    def connect(self, user: str = "postgres", database: str | None = None, **options):
        """An autocommit psycopg connection through the proxy; never prepares by itself."""
        options.setdefault("password", PASSWORDS.get(user) or None)
        options.setdefault("prepare_threshold", None)
        options.setdefault("autocommit", True)
        return psycopg.connect(
            host=self.host, port=self.port, dbname=database or self.database, user=user,
            connect_timeout=10, **options)

    def query(self, sql: str, user: str = "postgres", parameters=None) -> list[tuple]:
        with self.connect(user) as connection:
            return connection.execute(sql, parameters).fetchall()

    def wait_until_cached(self, ask, seconds: float = 10.0):
        """Asks until the answer is a hit, and returns that answer.

        `ask` is called again and again; a text is asked with the simple protocol on a connection
        of its own, as postgres.
        """
        if isinstance(ask, str):
            sql = ask
            with self.connect() as connection:
                return self.wait_until_cached(
                    lambda: connection.execute(sql).fetchall(), seconds)
        if DIRECT:
            ask()
            return ask()
        answer = None

        def is_hit():
            nonlocal answer
            before = self.hits()
            answer = ask()
            return self.hits() > before

        try:
            wait_until(is_hit, "an answer from the cache", seconds)
        except AssertionError as error:
            raise AssertionError(f"never cached; forwarded: {self.forwarded()}") from error
        return answer

    def wait_until_answer(self, ask, expected, seconds: float = 10.0):
        """Asks until the answer is `expected`: how long the cache may take to notice is bounded."""
        if isinstance(ask, str):
            sql = ask
            with self.connect() as connection:
                return self.wait_until_answer(
                    lambda: connection.execute(sql).fetchall(), expected, seconds)
        last = None

        def is_right():
            nonlocal last
            last = ask()
            return last == expected

        try:
            return wait_until(is_right, "the right answer", seconds)
        except AssertionError:
            raise AssertionError(f"still {last!r}, expected {expected!r}")
