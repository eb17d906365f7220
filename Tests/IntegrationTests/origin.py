"""A throw-away PostgreSQL: the origin of the tests, and their oracle.

It lives in a temporary folder, listens on a free port of the loopback and on a Unix socket in its
folder, never syncs to disk, and is stopped by its process id. Its roles cover each way to log in.
"""
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg

from waiting import die_with_parent, wait_until

# Where Debian puts PostgreSQL 15, unless another build is named.
BINARIES = Path(os.environ.get("PGCACHE_TEST_POSTGRES", "/usr/lib/postgresql/15/bin"))

# Role → password. Each role's entry in pg_hba.conf asks for the method in its name.
PASSWORDS = {
    "app_trust": "",
    "app_password": "password pass",
    "app_md5": "md5 pass",
    "app_scram": "scram pass",
}

HBA = """
local all         app_md5                   md5
local all         app_scram                 scram-sha-256
local all         app_password              password
local all         all                       trust
host  all         app_md5      127.0.0.1/32 md5
host  all         app_scram    127.0.0.1/32 scram-sha-256
host  all         app_password 127.0.0.1/32 password
host  all         all          127.0.0.1/32 trust
host  replication all          127.0.0.1/32 trust
local replication all                       trust
"""

SETTINGS = {
    "wal_level": "logical",
    "max_connections": 200,
    "max_wal_senders": 40,
    "max_replication_slots": 40,
    "max_prepared_transactions": 10,
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "log_line_prefix": "%m [%p] %u@%d %a ",
    "lc_messages": "C",
    "timezone": "UTC",
    "autovacuum": "off",  # its locks hold up ALTER PUBLICATION, which is a test of its own
    "logging_collector": "off",
}


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Origin:
    """One PostgreSQL server. `settings` are added to, or replace, those above."""

    def __init__(self, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="pgcache-origin-", dir="/tmp"))
        self.data = self.folder / "data"
        self.log_path = self.folder / "log"
        self.host = "127.0.0.1"
        self.port = free_port()
        self.process = None
        self._databases = itertools.count(1)
        self._account = {}
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(self.folder, postgres.pw_uid, postgres.pw_gid)
            self._account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self.folder.chmod(0o755)
        # Where servers look for locales first; `compile_locale` fills it.
        self.locales = self.folder / "locales"
        self.locales.mkdir()
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8",
                  "--locale=C.UTF-8", "--no-instructions", "--pgdata", str(self.data))
        with open(self.data / "postgresql.auto.conf", "a") as file:
            for name, value in {**SETTINGS, **settings}.items():
                file.write(f"{name} = '{value}'\n")
        (self.data / "pg_hba.conf").write_text(HBA)
        self.start()
        with self.connect() as connection:
            for role, password in PASSWORDS.items():
                method = "md5" if role == "app_md5" else "scram-sha-256"
                connection.execute(f"set password_encryption = '{method}'")
                connection.execute(f"create role {role} login password '{password}'")
            connection.execute("create extension pg_stat_statements")

    def _run(self, program: str, *arguments: str):
        done = subprocess.run(
            [str(BINARIES / program), *arguments], cwd=self.folder, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **self._account)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self):
        """Starts the server and waits until it lets people in."""
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [str(BINARIES / "postgres"), "-D", str(self.data), "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"],
            cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "LOCPATH": str(self.locales)},
            start_new_session=True,
            preexec_fn=die_with_parent, **self._account)
        log.close()

        def answers():
            assert self.process.poll() is None, self.log()
            try:
                self.connect().close()
                return True
            except psycopg.OperationalError:
                return False

        wait_until(answers, "the origin lets people in", seconds=30)

    def stop(self, how: int = signal.SIGINT):
        """Stops the server: SIGINT fast, SIGQUIT at once, without a shutdown checkpoint."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=20)
        self.process = None

    def remove(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def compile_locale(self, name: str) -> str:
        """Makes a locale, such as de_DE, known to this server; returns what it is called there."""
        path = self.locales / f"{name}.utf8"
        if not path.exists():
            subprocess.run(["localedef", "-i", name, "-f", "UTF-8", str(path)], check=True)
        return path.name

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-8000:]

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        secret = f":{password}" if password else ""
        return f"postgres://{user}{secret}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = "postgres", **options):
        """An autocommit psycopg connection straight to the origin."""
        options.setdefault("password", PASSWORDS.get(user) or None)
        return psycopg.connect(host=self.host, port=self.port, dbname=database, user=user,
                               autocommit=True, connect_timeout=10, **options)

    def create_database(self) -> str:
        """A new, empty database that every role may create tables in; returns its name."""
        name = f"test_{next(self._databases)}"
        with self.connect() as connection:
            connection.execute(f"create database {name}")
        with self.connect(name) as connection:
            connection.execute("grant all on schema public to public")
        return name

    def drop_database(self, name: str):
        """Removes it, with sessions and slots that a failed test may have left in it."""
        with self.connect() as connection:
            def is_free():
                connection.execute(
                    "select pg_terminate_backend(active_pid) from pg_replication_slots "
                    "where database = %s and active_pid is not null", (name,))
                connection.execute(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                    "where database = %s and not active and not temporary", (name,))
                return connection.execute("select count(*) from pg_replication_slots "
                                          "where database = %s", (name,)).fetchone() == (0,)

            wait_until(is_free, "no slot is left in the database")
            connection.execute(f"drop database if exists {name} with (force)")

    def query(self, sql: str, database: str = "postgres", parameters=None) -> list[tuple]:
        """One statement on a connection of its own."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, database: str = "postgres", parameters=None):
        return self.query(sql, database, parameters)[0][0]
