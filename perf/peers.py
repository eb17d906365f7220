"""The servers that are measured beside each other, each a throw-away process on a free port.

Where a server's CPU time is measured it has one processor, and the load and the origin behind the proxies have another.
Where it is measured what clients see, the origin keeps its processor, and proxies have the load's. Nothing is
installed, no file outside the temporary folder is touched, and only processes that were started here are ended, by
their number.
"""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

FIRST_KEY = 100_000
READY_SECONDS = 30


class Failure(Exception):
    """The benchmark cannot go on; its text says why."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(ready, what, seconds=READY_SECONDS):
    """Polls `ready` up to a deadline; returns what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = ready()
        if value:
            return value
        time.sleep(0.02)
    raise Failure(f"{what}: not ready after {seconds} s")


def accepts(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def process_tree(root):
    """Numbers of a process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, rest = [], [root]
    while rest:
        process = rest.pop()
        found.append(process)
        rest += children.get(process, [])
    return found


def cpu_nanoseconds(processes):
    """CPU time of all threads of the processes, from the scheduler (proc(5): /proc/PID/schedstat)."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                text = pathlib.Path(f"/proc/{process}/task/{thread}/schedstat").read_text()
                total += int(text.split()[0])
    return total


class World:
    """Temporary folder, pinning and the processes of one run; ends them all when it is closed."""

    def __init__(self, server_cpu, load_cpu, programs):
        self.server_cpu, self.load_cpu, self.programs = server_cpu, load_cpu, programs
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pgcache-bench-"))
        self.folder.chmod(0o755)
        self.processes = []
        # postgres and pgbouncer refuse to run as root.
        self.servant = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.servant = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def start(self, name, command, cpu, port=None, stop=signal.SIGTERM, **options):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(
            ["taskset", "-c", str(cpu)] + [str(word) for word in command],
            stdin=options.pop("stdin", subprocess.DEVNULL), stdout=options.pop("stdout", log),
            stderr=log, cwd=self.folder, **options)
        self.processes.append((process, stop))

        def ready():
            if process.poll() is not None:
                raise Failure(f"{name} ended at once: {self.log_tail(name)}")
            return port is None or accepts(port)

        until(ready, name)
        return process

    def log_tail(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-600:]

    def run_once(self, command, **options):
        done = subprocess.run(
            [str(word) for word in command], cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options)
        if done.returncode:
            raise Failure(f"{command[0]}: {done.stdout[-600:]}")
        return done.stdout

    def close(self):
        for process, stop in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(stop)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Peer:
    """A server under measurement."""

    def __init__(self, name, port, process):
        self.name, self.port, self.process = name, port, process
        self.tree = [process.pid]

    def before_cell(self):
        self.tree = process_tree(self.process.pid)

    def move(self, cpu):
        """The process itself; what it started stays where it is."""
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})

    def cpu(self):
        return cpu_nanoseconds(self.tree)

    def entering_round(self):
        pass

    def leaving_round(self):
        pass


class Origin(Peer):
    """PostgreSQL. Where CPU time is measured it shares the load's processor behind a proxy, and is moved when it is
    measured itself."""

    def __init__(self, world, rows, name="origin"):
        bin_folder = self.binaries()
        data = world.folder / name
        world.run_once(
            [bin_folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync",
             "--locale=C", "-E", "UTF8"], **world.servant)
        port = free_port()
        (data / "postgresql.auto.conf").write_text(
            f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
            "wal_level = logical\nmax_connections = 600\nfsync = off\nautovacuum = off\n"
            "shared_buffers = 256MB\nlogging_collector = off\n"
            # It has one processor.
            "max_parallel_workers_per_gather = 0\n")
        process = world.start(
            name, [bin_folder / "postgres", "-D", data], world.load_cpu, port,
            stop=signal.SIGINT, **world.servant)
        super().__init__(name, port, process)
        self.world, self.home = world, world.load_cpu
        self.psql = [bin_folder / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                     "-p", port, "-U", "postgres", "-d"]
        until(lambda: not subprocess.run(
            [str(word) for word in self.psql + ["postgres", "-c", "select 1"]],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, name)
        world.run_once(self.psql + ["postgres", "-c", "create database bench"])
        world.run_once(self.psql + ["bench", "-c", f"""
            create table item (id int primary key, payload text not null);
            insert into item select k, substr(repeat(md5(k::text), 4), 1, 100)
                from generate_series({FIRST_KEY}, {FIRST_KEY + rows - 1}) k;
            """, "-c", "vacuum analyze item", "-c", "checkpoint"])

    def execute(self, sql):
        """Each statement of its own, in one session."""
        self.world.run_once([*self.psql, "bench", "-q"], input=sql)

    @staticmethod
    def binaries():
        candidates = [os.environ.get("PG_BIN", ""), "/usr/lib/postgresql/15/bin"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            candidates.append(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
        for candidate in candidates:
            if candidate and os.access(f"{candidate}/initdb", os.X_OK):
                return pathlib.Path(candidate)
        raise Failure("PostgreSQL's initdb was not found; set PG_BIN")

    def move(self, cpu):
        """All of it."""
        for process in process_tree(self.process.pid):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(process, {cpu})

    def entering_round(self):
        self.move(self.world.server_cpu)

    def leaving_round(self):
        self.move(self.home)


def start_yardstick(world, name, *arguments):
    port = free_port()
    return Peer(name, port, world.start(
        name, [world.programs / "pgcache-perf", name, "--port", port, *arguments],
        world.server_cpu, port))


def start_redis(world, values):
    """Redis with its defaults but no persistence; `values` maps a key to its value's length."""
    port = free_port()
    process = world.start("redis", [
        shutil.which("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", world.folder], world.server_cpu, port)
    command = b"".join(
        b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(key), key, size, b"v" * size)
        for key, size in values)
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(command)
        answers = b""
        while answers.count(b"\n") < len(values):
            answers += link.recv(1 << 16)
    if b"-" in answers:
        raise Failure(f"redis refused a SET: {answers[:200]}")
    return Peer("redis", port, process)


def start_pgbouncer(world, origin, pool_mode):
    name, port = f"pgbouncer-{pool_mode}", free_port()
    (world.folder / "users.txt").write_text('"postgres" ""\n')
    configuration = world.folder / f"{name}.ini"
    configuration.write_text(
        f"[databases]\nbench = host=127.0.0.1 port={origin.port} dbname=bench\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {world.folder}/users.txt\npool_mode = {pool_mode}\n"
        "default_pool_size = 100\nmax_client_conn = 400\nlog_connections = 0\n"
        "log_disconnections = 0\nlog_stats = 0\n")
    configuration.chmod(0o644)
    binary = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    return Peer(name, port, world.start(
        name, [binary, configuration], world.server_cpu, port, **world.servant))


class Pgcache(Peer):
    """The subject. Its counters prove that a hit was a hit and a forward a forward."""

    def __init__(self, world, origin, arguments):
        self.world, self.home = world, world.server_cpu
        port, self.metrics_port = free_port(), free_port()
        self.command = [
            os.environ.get("PGCACHE", world.programs / "pgcache"),
            "run", "--origin", f"postgres://postgres@127.0.0.1:{origin.port}/bench",
            "--listen-socket", f"127.0.0.1:{port}",
            "--metrics-socket", f"127.0.0.1:{self.metrics_port}",
            *arguments]
        super().__init__("pgcache", port, self._started(port))

    def _started(self, port):
        process = self.world.start("pgcache", [*self.command, "--cpu", self.home], self.home, port)
        until(lambda: self._get("/readyz"), "pgcache")
        return process

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(READY_SECONDS)

    def restart(self):
        """The same with an empty cache, and the cache database made."""
        self.stop()
        self.process = self._started(self.port)
        if not {"--cache-rows=off", "off"} & set(self.command):
            until(lambda: self.counter("pgcache_cache_rows_ready"), "pgcache's cache database")
        self.before_cell()

    def _get(self, path):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
                return answer.read().decode() or "ok"
        return None

    def counter(self, family):
        """The sum over all labels of one family of counters."""
        total = 0.0
        for line in (self._get("/metrics") or "").splitlines():
            name, _, rest = line.partition(" ")
            if name.partition("{")[0] == family:
                total += float(line.rpartition(" ")[2] if "{" in line else rest)
        return int(total)

    def hits(self):
        return self.counter("pgcache_queries_cache_hit")


def note(text):
    print(text, file=sys.stderr, flush=True)


def counted(clients):
    return f"{clients} client{'s' * (clients > 1)}"
