"""Whatever the row tier relies on is killed, cut or filled up while clients read and write: no answer is wrong, no
client has an error that the origin would not have given, and rows answer again by themselves (T7, section 7)."""
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from origin import Origin
from proxy import Proxy
from rowtier import ANSWERS, RESETS, ROWS, WITH_MEMO, wait_for_rows
from stage import HIT, Stage
from waiting import wait_until

ONE_REACTOR = True

pytestmark = pytest.mark.cached

SCHEMA = """
create table debit (id int primary key, branch int not null, v int not null, filler text);
create table credit (id int primary key, branch int not null, v int not null, filler text);
create table branch (id int primary key, total int not null);
create table note (id int primary key, v int not null);
insert into debit select i, i % 5, 100, repeat('d', 300) from generate_series(1, 400) i;
insert into credit select i, i % 5, 100, repeat('c', 300) from generate_series(1, 400) i;
insert into branch select i, 8000 from generate_series(0, 4) i;
insert into note select i, 0 from generate_series(1, 10) i;
"""

# One transaction moves an amount between two rows, and adjusts what a branch has on its side.
READS = [
    ("select (select sum(v) from debit) + (select sum(v) from credit)", [(80000,)]),
    ("select b.id from branch b where b.total <> (select sum(v) from debit d where d.branch = b.id)", []),
    ("select sum(d.v + c.v) from debit d join credit c on c.id = d.id", [(80000,)]),
]
TABLES = ("debit", "credit", "branch", "note")


class Load:
    """Readers and writers at work, each answer checked; leaving waits for them, and fails as the first of them did.

    `tolerant`: the origin itself fails meanwhile, so lost connections are made anew.
    """

    def __init__(self, origin, proxy, tolerant=False):
        self.origin, self.proxy, self.tolerant = origin, proxy, tolerant
        self.stopping = threading.Event()
        self.failures = []
        self.rounds = {}

    def __enter__(self):
        work = {"reader 1": self.read, "reader 2": self.read, "writer": self.transfer,
                "own writer": self.write_and_read}
        self.rounds = {name: 0 for name in work}
        self.threads = [threading.Thread(target=self.run, args=item) for item in work.items()]
        for thread in self.threads:
            thread.start()
        try:
            self.goes_on()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()
        if self.failures:
            raise self.failures[0]

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def goes_on(self, rounds: int = 3, seconds: float = 30.0):
        """Everybody has done something since."""
        before = dict(self.rounds)

        def have_moved():
            if self.failures:
                raise self.failures[0]
            return all(self.rounds[name] >= before[name] + rounds for name in before)

        try:
            wait_until(have_moved, "everybody goes on", seconds)
        except AssertionError as error:
            stuck = [name for name in before if self.rounds[name] < before[name] + rounds]
            raise AssertionError(f"stuck: {stuck}; {self.proxy.status()['rows']}") from error

    def answers_from_rows(self, seconds: float = 40.0):
        before = self.proxy.metric(ANSWERS)

        def are_more():
            if self.failures:
                raise self.failures[0]
            return self.proxy.metric(ANSWERS) > before + 10

        wait_until(are_more, "rows answer again", seconds)

    # The work.

    def run(self, name, work):
        while not self.stopping.is_set():
            try:
                work(name)
            except psycopg.OperationalError as error:
                if not self.tolerant:
                    self.failures.append(error)
                    return
            except BaseException as error:  # noqa: B036
                self.failures.append(error)
                return

    def read(self, name):
        with self.proxy.connect() as connection:
            while not self.stopping.is_set():
                for sql, expected in READS:
                    answer = connection.execute(sql).fetchall()
                    assert answer == expected, f"{sql}: {answer}"
                self.rounds[name] += 1

    def transfer(self, name):
        """Changes that the readers must see whole; somebody reads between them."""
        with self.origin.connect(self.proxy.database) as connection:
            while not self.stopping.is_set():
                number = self.rounds[name]
                row, amount = number * 7 % 400 + 1, number % 13 + 1
                with connection.transaction():
                    connection.execute(f"update debit set v = v - {amount} where id = {row}")
                    connection.execute(f"update branch set total = total - {amount} where id = {row % 5}")
                    connection.execute(f"update credit set v = v + {amount} where id = {row}")
                self.rounds[name] += 1
                self.wait_for_reader()

    def write_and_read(self, name):
        """Sees what it wrote itself."""
        with self.proxy.connect() as connection:
            while not self.stopping.is_set():
                number = self.rounds[name] + 1
                connection.execute(f"update note set v = {number} where id = 1")
                (seen,) = connection.execute("select v from note where id = 1").fetchone()
                assert seen == number
                self.rounds[name] = number
                self.wait_for_reader()

    def wait_for_reader(self):
        seen = self.rounds["reader 1"]
        wait_until(lambda: self.stopping.is_set() or self.failures or self.rounds["reader 1"] > seen + 2,
                   "somebody reads", 60)


def check_tables(origin, proxy):
    """When the dust has settled, the tables are the origin's."""
    with Stage(origin, proxy) as stage, origin.connect(proxy.database) as direct:
        proxy.settle(direct)
        stage.run(*[(f"select * from {table} order by id", HIT) for table in TABLES])


def run_under_load(origin, proxy, harm, tolerant=False, times=1):
    """Does harm when rows are answering; then they do again."""
    with Load(origin, proxy, tolerant) as load:
        for _ in range(times):
            load.answers_from_rows()
            harm()
            load.goes_on()
        load.answers_from_rows()
    check_tables(origin, proxy)


# The server of the cache database.

def children(process: int) -> list[tuple[int, list[str]]]:
    """Processes that it has started, and their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"\nPPid:\t{process}\n" in (folder / "status").read_text():
                found.append((int(folder.name), (folder / "cmdline").read_text().split("\0")))
        except OSError:
            pass
    return found


class Cluster:
    """The embedded server of a proxy, as it is now."""

    def __init__(self, proxy: Proxy):
        wait_for_rows(proxy)
        ((self.process, command),) = [
            (process, command) for process, command in children(proxy.process.pid)
            if command[0].endswith("/postgres")]
        self.folder = Path(command[command.index("-D") + 1]).parent

    def connect(self):
        return psycopg.connect(host=str(self.folder), user="pgcache", dbname="pgcache", autocommit=True)

    def backends(self, application: str) -> list[int]:
        with self.connect() as connection:
            found = connection.execute("select pid from pg_stat_activity where application_name = %s", (application,))
            return [process for (process,) in found]


@pytest.fixture(scope="module")
def proxy(origin, database, reactor):
    process = wait_for_rows(Proxy(origin, database, reactor, **ROWS))
    yield process
    process.remove()


APPLICATIONS = ["pgcache rows", "pgcache read", "pgcache populate"]


class TestTheCacheDatabase:
    def test_its_server_is_killed(self, origin, proxy):
        def harm():
            cluster = Cluster(proxy)
            os.kill(cluster.process, signal.SIGKILL)
            wait_until(lambda: not cluster.folder.exists(), "its folder is removed")

        run_under_load(origin, proxy, harm)

    @pytest.mark.parametrize("application", APPLICATIONS[:2])
    def test_one_process_of_it_is_killed(self, origin, proxy, application):
        def harm():
            resets = proxy.metric(RESETS)
            os.kill(Cluster(proxy).backends(application)[0], signal.SIGKILL)
            wait_until(lambda: proxy.metric(RESETS) > resets, "it is lost")

        run_under_load(origin, proxy, harm)

    def test_connections_are_ended(self, origin, proxy):
        """Of each kind."""
        kinds = iter(APPLICATIONS)

        def harm():
            resets = proxy.metric(RESETS)
            with Cluster(proxy).connect() as connection:
                connection.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                                   "where application_name = %s limit 1", (next(kinds),))
            wait_until(lambda: proxy.metric(RESETS) > resets, "it is lost")

        run_under_load(origin, proxy, harm, times=len(APPLICATIONS))

    def test_it_is_shut_down_politely(self, origin, proxy):
        def harm():
            resets = proxy.metric(RESETS)
            os.kill(Cluster(proxy).process, signal.SIGINT)
            wait_until(lambda: proxy.metric(RESETS) > resets, "it is lost")

        run_under_load(origin, proxy, harm)

    @pytest.mark.parametrize("application", APPLICATIONS[:2])
    def test_it_hangs(self, origin, proxy, application):
        """Clients do not hang with it."""
        with Load(origin, proxy) as load:
            load.answers_from_rows()
            backends = Cluster(proxy).backends(application)
            try:
                for process in backends:
                    os.kill(process, signal.SIGSTOP)
                load.goes_on(10)
            finally:
                for process in backends:
                    os.kill(process, signal.SIGCONT)
            load.answers_from_rows()
        check_tables(origin, proxy)


@contextmanager
def small_disk(size: str):
    """A file system of its own, where we may make one."""
    folder = Path(f"/tmp/pgcache-disk-{os.getpid()}")
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def test_the_disk_is_full(start_proxy, origin, direct):
    with small_disk("200m") as folder:
        proxy = wait_for_rows(start_proxy(**ROWS, cache_data_directory=folder / "cache"))
        ballast = folder / "ballast"
        with Load(origin, proxy) as load:
            load.answers_from_rows()
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while file.write(b"\0" * 65536):
                        pass
                except OSError:
                    pass
            # More than there is room for, whatever was set aside.
            resets = proxy.metric(RESETS)
            direct.execute("create table if not exists bulk (id int primary key, filler text)")
            with proxy.connect() as client:
                client.execute("select count(*) from bulk")

                def is_in_trouble():
                    direct.execute("insert into bulk select i, repeat(md5(i::text), 100) from generate_series("
                                   "(select count(*) from bulk), (select count(*) from bulk) + 2000) i "
                                   "on conflict do nothing")
                    client.execute("select count(*) from bulk")
                    load.goes_on(1)
                    metrics = proxy.metrics()
                    return proxy.metric(RESETS) > resets or metrics["pgcache_cache_rows_ready"] == 0

                wait_until(is_in_trouble, "it is full", 60)
                load.goes_on(10)
                direct.execute("drop table bulk")
            ballast.unlink()
            load.answers_from_rows()
        check_tables(origin, proxy)
        assert proxy.stop() == 0
        wait_until(lambda: not list((folder / "cache").iterdir()), "nothing is left")


# The stream.

class TestTheStream:
    def test_is_cut(self, origin, database, proxy):
        """With the temporary slot."""
        def harm():
            origin.query("select pg_terminate_backend(active_pid) from pg_replication_slots where database = %s",
                         parameters=(database,))

        run_under_load(origin, proxy, harm, times=3)

    def test_goes_on_where_a_slot_is_kept(self, start_proxy, origin, database):
        proxy = wait_for_rows(start_proxy(**ROWS, cdc_slot="persistent", cdc_slot_name="kept_by_rows"))

        def harm():
            origin.query("select pg_terminate_backend(active_pid) from pg_replication_slots "
                         "where slot_name = 'kept_by_rows'")

        run_under_load(origin, proxy, harm)

    def test_loses_its_slot(self, start_proxy, origin, database):
        proxy = wait_for_rows(start_proxy(**ROWS, cdc_slot="persistent", cdc_slot_name="dropped_by_others"))

        def harm():
            def is_dropped():
                origin.query("select pg_terminate_backend(active_pid) from pg_replication_slots "
                             "where slot_name = 'dropped_by_others' and active_pid is not null")
                try:
                    return origin.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                                        "where slot_name = 'dropped_by_others'")
                except psycopg.errors.ObjectInUse:
                    return False

            wait_until(is_dropped, "the slot is dropped")

        run_under_load(origin, proxy, harm)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_the_origin_is_restarted(start_proxy, reactor, how):
    server = Origin()
    try:
        database = server.create_database()
        with server.connect(database) as connection:
            connection.execute(SCHEMA)
        proxy = wait_for_rows(start_proxy(**ROWS, origin_server=server, database=database))

        def harm():
            server.stop(how)
            server.start()

        run_under_load(server, proxy, harm, tolerant=True)
        assert proxy.stop() == 0
    finally:
        server.remove()


# pgcache itself.

def processes_in(folder: Path) -> list[int]:
    """Whose command lines name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("settings", [ROWS, WITH_MEMO], ids=["rows", "with memo"])
def test_pgcache_is_killed(start_proxy, origin, settings):
    """Its server dies with it; its folder goes when the next one starts."""
    place = Path(f"/tmp/pgcache-kill-{os.getpid()}")
    try:
        proxy = wait_for_rows(start_proxy(**settings, cache_data_directory=place))
        with Load(origin, proxy) as load:
            load.answers_from_rows()
        cluster = Cluster(proxy)
        assert processes_in(cluster.folder)
        proxy.stop(signal.SIGKILL)
        wait_until(lambda: not processes_in(cluster.folder), "its server is gone")
        assert cluster.folder.exists()
        second = wait_for_rows(start_proxy(**settings, cache_data_directory=place))
        wait_until(lambda: not cluster.folder.exists(), "what was left is removed")
        with Load(origin, second) as load:
            load.answers_from_rows()
        check_tables(origin, second)
        assert second.stop() == 0
        wait_until(lambda: not list(place.iterdir()), "nothing is left")
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)
