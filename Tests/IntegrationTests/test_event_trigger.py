"""What pgcache puts on the origin to hear of changes of the schema, and that it is in nobody's way; what others do to
a publication; and how old an answer may be (rules D1, T3, T7)."""
import os
import signal
import subprocess

import pytest

from origin import BINARIES
from proxy import BINARY, Proxy
from test_ddl import MODES, NEVER, TABLE, answer, functions, publications, triggers
from waiting import wait_until

pytestmark = pytest.mark.cached

ONE_REACTOR = True


@pytest.fixture(scope="module", autouse=True)
def role(origin):
    """Roles belong to the server: this one outlives the database of a reactor."""
    with origin.connect() as connection:
        connection.execute("drop role if exists ddl_nobody")
        connection.execute("create role ddl_nobody login")
    yield
    with origin.connect() as connection:
        connection.execute("drop role if exists ddl_nobody")


@pytest.fixture(autouse=True)
def nothing_is_left(origin, database):
    """Whatever a test did, it begins on an origin without a trace of pgcache."""
    yield
    subprocess.run([str(BINARY), "cleanup", "--origin", origin.url(database)], check=False, capture_output=True)


def hostile(connection):
    """Names that a function without qualified ones would fall for."""
    connection.execute(
        "create schema if not exists hostile; grant all on schema hostile to public; "
        "create or replace function hostile.coalesce_f(text) returns text language sql as 'select $1';"
        "create or replace function hostile.current_setting(text, boolean) returns text language plpgsql as "
        "$$ begin raise exception 'hostile'; end $$;"
        "create or replace function hostile.pg_logical_emit_message(boolean, text, text) returns int "
        "language plpgsql as $$ begin raise exception 'hostile'; end $$;"
        "create or replace function hostile.ne(text, text) returns boolean language plpgsql as "
        "$$ begin raise exception 'hostile'; end $$;")


class TestTheEventTrigger:
    def start(self, start_proxy, **settings):
        return start_proxy(**{"catalog_poll_interval": NEVER, **settings})

    def test_is_there_and_said_to_be(self, start_proxy, origin, database):
        proxy = self.start(start_proxy)
        assert len(triggers(origin, database)) == 2
        assert proxy.status()["cdc"]["event_trigger"] == "on"
        assert proxy.metric("pgcache_cdc_event_trigger") == 1

    def test_is_gone_at_the_end(self, start_proxy, origin, database):
        first, second = self.start(start_proxy), self.start(start_proxy)
        assert len(triggers(origin, database)) == 4
        assert first.stop() == 0
        assert len(triggers(origin, database)) == 2
        assert second.stop() == 0
        assert triggers(origin, database) == [] and functions(origin, database) == 0

    def test_can_be_switched_off(self, start_proxy, origin, database):
        proxy = start_proxy(cdc_event_trigger="off")
        assert triggers(origin, database) == []
        assert proxy.status()["cdc"]["event_trigger"] == "none: switched off"
        assert proxy.metric("pgcache_cdc_event_trigger") == 0

    def test_what_a_killed_one_left_is_removed_by_the_next(self, start_proxy, origin, database):
        first = self.start(start_proxy)
        left = triggers(origin, database)
        first.stop(signal.SIGKILL)
        # DDL goes on meanwhile.
        with origin.connect(database) as admin:
            admin.execute("create table orphaned (id int); drop table orphaned")
        wait_until(lambda: origin.value(
            "select count(*) from pg_stat_activity where application_name = 'pgcache publication' "
            "and datname = %s", "postgres", (database,)) == 0, "its session has ended")
        self.start(start_proxy)
        now = triggers(origin, database)
        assert len(now) == 2 and not set(now) & set(left)
        assert functions(origin, database) == 1

    def cleanup(self, origin, database, *options):
        done = subprocess.run(
            [str(BINARY), "cleanup", "--origin", origin.url(database), *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_cleanup_removes_what_nobody_holds(self, start_proxy, origin, database):
        first = self.start(start_proxy)
        kept = set(triggers(origin, database))
        killed = self.start(start_proxy)
        killed.stop(signal.SIGKILL)
        wait_until(lambda: "would be dropped" in self.cleanup(origin, database, "--dry-run"), "it is orphaned")
        assert len(triggers(origin, database)) == 4
        self.cleanup(origin, database)
        assert set(triggers(origin, database)) == kept and functions(origin, database) == 1
        assert len(publications(origin, database)) == 1
        assert first.stop() == 0
        assert self.cleanup(origin, database) == "nothing is left over\n"

    def test_with_an_operators_publication_too(self, start_proxy, origin, database):
        with origin.connect(database) as admin:
            admin.execute(TABLE.replace("{t}", "adopted") + "; create publication ops for table adopted")
        try:
            proxy = self.start(start_proxy, cdc_publication_name="ops")
            read = "select * from adopted order by id"
            proxy.wait_until_cached(read)
            assert len(triggers(origin, database)) == 2
            with origin.connect(database) as admin:
                admin.execute("alter table adopted add extra int default 3")
            proxy.wait_until_answer(read, [(1, "one", 3), (2, "two", 3)])
            assert proxy.stop() == 0
            assert triggers(origin, database) == []
            assert publications(origin, database) == ["ops"]
        finally:
            with origin.connect(database) as admin:
                admin.execute("drop publication ops; drop table adopted")

    @pytest.mark.parametrize("path", ["public", "hostile, pg_catalog", "''"])
    def test_ddl_by_a_role_without_any_right_of_ours(self, start_proxy, origin, database, path):
        proxy = self.start(start_proxy)
        read = "select * from public.nobodys order by id"
        with origin.connect(database) as admin, origin.connect(database, user="ddl_nobody") as nobody:
            hostile(admin)
            nobody.execute(f"set search_path = {path}")
            nobody.execute("create table public.nobodys (id int primary key, name text)")
            try:
                proxy.wait_until_answer(lambda: answer_of(proxy, read), answer(admin, read))
                nobody.execute("alter table public.nobodys add extra int; "
                               "insert into public.nobodys values (1, 'x', 1)")
                proxy.wait_until_answer(lambda: answer_of(proxy, read), answer(admin, read))
            finally:
                nobody.execute("drop table public.nobodys")
            proxy.wait_until_answer(lambda: answer_of(proxy, read), "42P01")

    def test_ddl_by_who_may_not_emit_messages(self, start_proxy, origin, database):
        """Nobody is told then, and nobody is kept from anything."""
        self.start(start_proxy)
        emit = "function pg_logical_emit_message(boolean, text, text)"
        with origin.connect(database) as admin, origin.connect(database, user="ddl_nobody") as nobody:
            for revoked in (emit, "function pg_event_trigger_ddl_commands()",
                            "function current_setting(text, boolean)"):
                admin.execute(f"revoke execute on {revoked} from public")
                try:
                    nobody.execute("create table silent (id int); alter table silent add a int; drop table silent")
                finally:
                    admin.execute(f"grant execute on {revoked} to public")

    def test_a_script_like_that_of_pg_dump(self, start_proxy, origin, database):
        """Thousands of statements in one transaction, without a search path."""
        proxy = self.start(start_proxy)
        with origin.connect(database) as admin:
            admin.execute(TABLE.replace("{t}", "dumped"))
            proxy.wait_until_cached("select * from public.dumped order by id")
            script = ["set statement_timeout = 0", "select pg_catalog.set_config('search_path', '', false)"]
            for number in range(300):
                script += [f"create table public.dumped_{number} (id integer not null, name text)",
                           f"alter table public.dumped_{number} owner to ddl_nobody",
                           f"alter table only public.dumped_{number} add constraint p_{number} primary key (id)"]
            script += ["alter table public.dumped add extra int default 9"]
            script += [f"drop table public.dumped_{number}" for number in range(300)]
            admin.execute("begin; " + "; ".join(script) + "; commit")
            proxy.wait_until_answer("select * from public.dumped order by id", [(1, "one", 9), (2, "two", 9)])
            proxy.wait_until_ready()
            assert proxy.metric("pgcache_cdc_restarts") == 0
            admin.execute("drop table public.dumped")

    def test_is_not_in_a_dump(self, start_proxy, origin, database):
        self.start(start_proxy)
        dump = subprocess.run(
            [str(BINARIES / "pg_dump"), "-h", origin.host, "-p", str(origin.port), "-U", "postgres", database],
            capture_output=True, text=True)
        assert dump.returncode == 0, dump.stderr
        assert "pgcache_ddl" not in dump.stdout and "CREATE EVENT TRIGGER" not in dump.stdout

    def test_dropping_plpgsql_takes_it_along(self, origin, reactor):
        database = origin.create_database()
        proxy = Proxy(origin, database, reactor)
        try:
            with origin.connect(database) as admin:
                admin.execute(TABLE.replace("{t}", "lonely"))
                proxy.wait_until_cached("select * from lonely order by id")
                admin.execute("drop extension plpgsql")
                assert triggers(origin, database) == [] and functions(origin, database) == 0
                wait_until(lambda: proxy.status()["cdc"]["event_trigger"] == "none: dropped or disabled", "it says so")
                admin.execute("alter table lonely add extra int default 4")
                proxy.wait_until_answer("select * from lonely order by id", [(1, "one", 4), (2, "two", 4)])
        finally:
            proxy.remove()
            origin.drop_database(database)

    def test_without_plpgsql_there_is_none(self, origin, reactor):
        database = origin.create_database()
        with origin.connect(database) as admin:
            admin.execute("drop extension plpgsql")
        proxy = Proxy(origin, database, reactor)
        try:
            assert "plpgsql" in proxy.status()["cdc"]["event_trigger"]
            assert "CREATE EXTENSION plpgsql" in check(origin.url(database))
        finally:
            proxy.remove()
            origin.drop_database(database)

    def test_can_be_disabled_by_an_operator(self, start_proxy, origin, database):
        proxy = start_proxy(catalog_poll_interval="100ms")
        name = triggers(origin, database)[0]
        with origin.connect(database) as admin:
            admin.execute(f"alter event trigger {name} disable")
            wait_until(lambda: proxy.metric("pgcache_cdc_event_trigger") == 0, "it is noticed")
            admin.execute(f"alter event trigger {name} enable")
            wait_until(lambda: proxy.metric("pgcache_cdc_event_trigger") == 1, "it is noticed")

    def test_a_role_that_may_not_make_one_caches_all_the_same(self, origin, reactor):
        """It says so, and the poll notices what others change."""
        database = origin.create_database()
        with origin.connect(database) as admin:
            admin.execute("create role ddl_plain login replication")
            admin.execute(f"grant create on database {database} to ddl_plain")
            admin.execute(TABLE.replace("{t}", "plain") + "; alter table plain owner to ddl_plain")
        proxy = Proxy(origin, database, reactor, origin_user="ddl_plain")
        try:
            assert triggers(origin, database) == []
            assert "permission denied" in proxy.status()["cdc"]["event_trigger"]
            assert "no event trigger" in proxy.log()
            output = check(origin.url(database, "ddl_plain"))
            assert "warning  event trigger: only a superuser may create one" in output
            proxy.wait_until_cached("select * from plain order by id")
            with origin.connect(database) as admin:
                admin.execute("alter table plain add extra int default 6")
            proxy.wait_until_answer("select * from plain order by id", [(1, "one", 6), (2, "two", 6)])
        finally:
            proxy.remove()
            origin.drop_database(database)
            with origin.connect() as admin:
                admin.execute("drop role ddl_plain")

    def test_check_says_that_it_can_be_made(self, origin, database):
        assert "ok       event trigger: role postgres may create one" in check(origin.url(database))


def check(url):
    return subprocess.run([str(BINARY), "check", "--origin", url], capture_output=True, text=True).stdout


def answer_of(proxy, sql):
    with proxy.connect() as connection:
        return answer(connection, sql)


class TestAPublicationThatOthersChange:
    """What was followed is not, until it has joined anew (T3)."""

    CHANGES = {
        "taken out": "alter publication {p} drop table {t}",
        "taken out and added again": "alter publication {p} drop table {t}; update {t} set name = 'missed'; "
                                     "alter publication {p} add table {t}",
        "only inserts": "alter publication {p} set (publish = 'insert')",
        "by way of the root": "alter publication {p} set (publish_via_partition_root = true)",
        "a column list": "alter publication {p} set table {t} (id)",
        "a row filter": "alter publication {p} set table {t} where (id > 5)",
        "dropped": "drop publication {p}",
    }
    REPAIRS = "drop publication if exists {p}; create publication {p} for table {t}"

    @pytest.mark.parametrize("mode", sorted(MODES))
    @pytest.mark.parametrize("name", sorted(CHANGES))
    @pytest.mark.parametrize("whose", ["own", "operator's"])
    def test_is_noticed(self, start_proxy, origin, database, mode, name, whose):
        table = "published"
        read = f"select name from {table} where id = 1"
        with origin.connect(database) as admin:
            admin.execute(f"drop table if exists {table} cascade; " + TABLE.replace("{t}", table))
            if whose == "own":
                proxy = start_proxy(**MODES[mode])
                (publication,) = publications_of_pgcache(origin, database)
            else:
                publication = "operators"
                admin.execute(f"drop publication if exists operators; create publication operators for table {table}")
                proxy = start_proxy(cdc_publication_name=publication, **MODES[mode])
            proxy.wait_until_cached(read)
            change = self.CHANGES[name].replace("{p}", f'"{publication}"').replace("{t}", table)
            for part in change.split("; "):
                admin.execute(part)
            # The stream does not tell of these: the publication has to be looked at.
            for value in ("first", "second"):
                admin.execute(f"update {table} set name = %s where id = 1", (value,))
                proxy.wait_until_answer(read, [(value,)], seconds=20)
            if whose != "own":
                admin.execute(self.REPAIRS.replace("{p}", publication).replace("{t}", table))
            # Once there is a publication that will do, it is followed again.
            proxy.wait_until_ready(40)
            if whose == "own" or mode == "poll":
                proxy.wait_until_cached(read, seconds=40)
            for value in ("third", "fourth"):
                admin.execute(f"update {table} set name = %s where id = 1", (value,))
                proxy.wait_until_answer(read, [(value,)], seconds=20)
            if whose != "own":
                proxy.stop()
                admin.execute("drop publication if exists operators")


def publications_of_pgcache(origin, database):
    return [name for name in publications(origin, database) if name.startswith("pgcache_pub_")]


class TestMaxStaleness:
    def test_a_stream_that_hangs_serves_no_longer_than_that(self, start_proxy, origin, database):
        """Long before its silence counts as a loss, and nothing is lost by it."""
        with origin.connect(database) as admin:
            admin.execute("drop table if exists ages; " + TABLE.replace("{t}", "ages"))
            proxy = start_proxy(max_staleness="1s", cdc_silence_timeout="600s", catalog_poll_interval=NEVER)
            read = "select name from ages where id = 1"
            with proxy.connect() as reader:
                ask = lambda: reader.execute(read).fetchall()  # noqa: E731
                proxy.wait_until_cached(ask)
                process = origin.value("select active_pid from pg_replication_slots where database = %s",
                                       "postgres", (database,))
                os.kill(process, signal.SIGSTOP)
                try:
                    admin.execute("update ages set name = 'late' where id = 1")
                    proxy.wait_until_answer(ask, [("late",)])
                    with proxy.expect_forward("stream_down"):
                        ask()
                    assert proxy.metric("pgcache_cdc_restarts") == 0
                    assert proxy.metric("pgcache_cdc_staleness_seconds") > 1
                finally:
                    os.kill(process, signal.SIGCONT)
                assert proxy.wait_until_cached(ask) == [("late",)]
                assert proxy.metric("pgcache_cdc_restarts") == 0

    def test_an_idle_stream_serves_on(self, start_proxy, origin, database):
        with origin.connect(database) as admin:
            admin.execute("drop table if exists idles; " + TABLE.replace("{t}", "idles"))
        proxy = start_proxy(max_staleness="500ms")
        read = "select name from idles where id = 1"
        with proxy.connect() as reader:
            ask = lambda: reader.execute(read).fetchall()  # noqa: E731
            proxy.wait_until_cached(ask)
            beats = proxy.metric("pgcache_cdc_beats")
            hits = proxy.hits()
            wait_until(lambda: ask() and proxy.metric("pgcache_cdc_beats") > beats + 12, "the age is looked at")
            assert proxy.hits() > hits + 12
            assert proxy.forwarded().get("stream_down", 0) <= 3
            assert proxy.metric("pgcache_cdc_staleness_seconds") < 0.5

    def test_without_a_bound_the_age_is_shown(self, start_proxy):
        proxy = start_proxy()
        wait_until(lambda: proxy.metric("pgcache_cdc_beats") > 2, "beats")
        wait_until(lambda: proxy.metric("pgcache_cdc_staleness_seconds") < 1.5, "it is young")
