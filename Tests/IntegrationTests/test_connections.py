"""Connections: who comes, who goes, who is too many, and what the other side is told."""
import os
import signal
import socket
import subprocess
import threading

import psycopg
import pytest

import wire as w
from origin import BINARIES, Origin
from proxy import Proxy
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
"""

READ = "select name from item where id = 1"


def backends(origin, database, name):
    return origin.value(
        "select count(*) from pg_stat_activity where datname = %s and application_name = %s",
        "postgres", (database, name))


class TestClientsThatGo:
    def test_terminate_ends_the_backend(self, proxy, origin, database):
        with w.WireClient.logged_in(
                proxy.host, proxy.port, database, application_name="leaves") as client:
            wait_until(lambda: backends(origin, database, "leaves") == 1, "it is there")
            client.send(w.TERMINATE)
            assert client.is_closed()
        wait_until(lambda: backends(origin, database, "leaves") == 0, "its backend is gone")

    def test_an_idle_client_that_vanishes_takes_its_backend_with_it(self, proxy, origin, database):
        client = w.WireClient.logged_in(
            proxy.host, proxy.port, database, application_name="vanishes")
        wait_until(lambda: backends(origin, database, "vanishes") == 1, "it is there")
        client.close()
        wait_until(lambda: backends(origin, database, "vanishes") == 0, "its backend is gone")

    def test_a_reset_connection(self, proxy, origin, database):
        client = w.WireClient.logged_in(
            proxy.host, proxy.port, database, application_name="resets")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        wait_until(lambda: backends(origin, database, "resets") == 0, "its backend is gone")

    @pytest.mark.cached
    def test_a_client_that_vanishes_while_its_statement_runs(self, proxy, origin, database):
        client = w.WireClient.logged_in(
            proxy.host, proxy.port, database, application_name="impatient")
        client.send(w.query("select count(*) from generate_series(1, 3000000)"))
        wait_until(lambda: backends(origin, database, "impatient") == 1, "it runs")
        client.close()
        wait_until(lambda: backends(origin, database, "impatient") == 0, "its backend is gone")

    def test_a_client_that_vanishes_in_the_middle_of_a_captured_answer(
            self, proxy, origin, database):
        for _ in range(20):
            client = w.WireClient.logged_in(proxy.host, proxy.port, database)
            client.send(w.query("select name from item where id < 1000 order by id"))
            client.close()
        assert proxy.query("select count(*) from item") == [(10,)]

    @pytest.mark.cached
    def test_connections_are_counted(self, proxy, database):
        before = proxy.metric("pgcache_connections_active")
        with w.WireClient.logged_in(proxy.host, proxy.port, database):
            assert proxy.metric("pgcache_connections_active") == before + 1
        wait_until(lambda: proxy.metric("pgcache_connections_active") == before, "it is gone")


class TestTooMany:
    @pytest.mark.cached
    def test_one_too_many_gets_53300(self, start_proxy, database):
        proxy = start_proxy(clients_max=3)
        clients = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(3)]
        with w.WireClient(proxy.host, proxy.port) as fourth:
            answer = fourth.start({"user": "postgres", "database": database})[-1].fields()
            assert (answer["S"], answer["C"]) == ("FATAL", "53300")
            assert fourth.is_closed()
        clients.pop().close()

        def enters():
            with w.WireClient(proxy.host, proxy.port) as again:
                try:
                    return again.start(
                        {"user": "postgres", "database": database})[-1].type == "Z"
                except ConnectionError:
                    return False

        wait_until(enters, "a place is free again")
        for client in clients:
            client.close()

    def test_the_origins_own_limit_reaches_the_client(self, proxy, origin, database, direct):
        direct.execute("alter role app_trust connection limit 1")
        try:
            with proxy.connect("app_trust"):
                with w.WireClient(proxy.host, proxy.port) as second:
                    answer = second.start({"user": "app_trust", "database": database})
                    assert answer[-1].fields()["C"] == "53300"
        finally:
            direct.execute("alter role app_trust connection limit -1")

    def test_many_clients_come_and_go(self, proxy, database):
        for _ in range(5):
            clients = [w.WireClient.logged_in(proxy.host, proxy.port, database) for _ in range(40)]
            for client in clients:
                client.send(w.query(READ))
            for client in clients:
                assert w.rows(client.receive_until_ready()) == [[b"item 1"]]
                client.close()


class TestAnOriginThatGoes:
    def test_a_terminated_backend(self, proxy, direct, database):
        """The origin's own FATAL, 57P01, then the end of the connection."""
        with w.WireClient.logged_in(
                proxy.host, proxy.port, database, application_name="victim") as client:
            client.ask(w.query(READ))
            direct.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                           "where application_name = 'victim' and datname = %s", (database,))
            fields = client.receive_until("E")[-1].fields()
            assert (fields["S"], fields["C"]) == ("FATAL", "57P01")
            assert client.is_closed()

    @pytest.mark.parametrize("how, states", [
        (signal.SIGINT, {"57P01"}), (signal.SIGQUIT, {"57P02", "57P01", "08006"}),
        (signal.SIGKILL, {"57P01", "57P02", "57P03", "08006"})])
    @pytest.mark.cached
    def test_a_stopped_server_and_its_return(self, reactor, how, states):
        """FATAL for who was there, FATAL for who comes, and right answers once it is back."""
        server = Origin()
        database = server.create_database()
        with server.connect(database) as connection:
            connection.execute(SCHEMA)
        proxy = Proxy(server, database, reactor)
        try:
            proxy.wait_until_cached(READ)
            with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
                client.ask(w.query(READ))
                server.stop(how)
                fields = client.receive_until("E")[-1].fields()
                assert fields["S"] == "FATAL" and fields["C"] in states, fields
                assert client.is_closed()
            with w.WireClient(proxy.host, proxy.port) as early:
                fields = early.start({"user": "postgres", "database": database})[-1].fields()
                assert fields["S"] == "FATAL" and fields["C"][:2] in ("08", "57"), fields
            server.start()
            with server.connect(database) as connection:
                connection.execute("update item set name = 'after' where id = 1")
            assert proxy.query(READ) == [("after",)]
            proxy.wait_until_ready(40)
            assert proxy.wait_until_cached(READ, seconds=20) == [("after",)]
            with server.connect(database) as connection:
                connection.execute("update item set name = 'later' where id = 1")
            proxy.wait_until_answer(READ, [("later",)])
        finally:
            proxy.remove()
            server.remove()


class TestListening:
    @pytest.mark.cached
    def test_on_a_unix_socket(self, start_proxy, origin, database, tmp_path):
        path = tmp_path / ".s.PGSQL.6432"
        proxy = start_proxy(listen_unix_socket=str(path))
        with w.WireClient("", 0, unix_socket=str(path)) as client:
            client.start({"user": "postgres", "database": database})
            proxy.wait_until_cached(lambda: client.ask(w.query(READ)))
        connection = psycopg.connect(
            host=str(tmp_path), port=6432, dbname=database, user="postgres")
        assert connection.execute(READ).fetchone() == ("item 1",)
        connection.close()
        proxy.stop()
        assert not path.exists()

    @pytest.mark.cached
    def test_a_socket_left_by_a_killed_one_is_replaced(self, start_proxy, database, tmp_path):
        path = tmp_path / ".s.PGSQL.6432"
        first = start_proxy(listen_unix_socket=str(path))
        first.stop(signal.SIGKILL)
        start_proxy(listen_unix_socket=str(path))
        with w.WireClient("", 0, unix_socket=str(path)) as client:
            assert client.start({"user": "postgres", "database": database})[-1].type == "Z"

    @pytest.mark.cached
    def test_through_the_origins_unix_socket(self, start_proxy, origin, database):
        proxy = start_proxy(origin_host=str(origin.folder))
        proxy.wait_until_cached(READ)

    @pytest.mark.cached
    def test_a_port_in_use_is_said_and_ends_the_start(self, start_proxy, proxy):
        with pytest.raises(RuntimeError, match="ended with status"):
            start_proxy(listen_socket=f"127.0.0.1:{proxy.port}")


class TestStopping:
    @pytest.mark.cached
    def test_sigterm_lets_a_statement_finish(self, start_proxy, origin, database):
        proxy = start_proxy()
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            client.send(w.query("select pg_sleep(1), 'finished'"))
            wait_until(lambda: origin.value(
                "select count(*) from pg_stat_activity where wait_event = 'PgSleep' "
                "and datname = %s", "postgres", (database,)) == 1, "the statement runs")
            proxy.send_signal(signal.SIGTERM)
            assert w.rows(client.receive_until_ready())[0][1] == b"finished"
            end = [m for m in iter_until_closed(client)]
            assert all(m.type != "E" or m.fields()["C"] == "57P01" for m in end)
        assert proxy.process.wait(timeout=20) == 0
        proxy.process = None

    @pytest.mark.cached
    def test_sigterm_does_not_wait_for_ever(self, start_proxy, origin, database):
        proxy = start_proxy(shutdown_timeout="500ms")
        client = w.WireClient.logged_in(proxy.host, proxy.port, database)
        client.send(w.query("select pg_sleep(60)"))
        wait_until(lambda: origin.value(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' "
            "and datname = %s", "postgres", (database,)) == 1, "the statement runs")
        assert proxy.stop(seconds=10) == 0
        client.close()
        origin.query("select pg_terminate_backend(pid) from pg_stat_activity "
                     "where wait_event = 'PgSleep' and datname = %s", "postgres", (database,))

    @pytest.mark.cached
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_proxy_stops_at_once(self, start_proxy, database, number):
        proxy = start_proxy(shutdown_timeout="30s")
        client = w.WireClient.logged_in(proxy.host, proxy.port, database)
        client.ask(w.query(READ))
        assert proxy.stop(number, seconds=10) == 0
        client.close()

    @pytest.mark.cached
    def test_new_clients_are_refused_while_stopping(self, start_proxy, origin, database):
        proxy = start_proxy()
        client = w.WireClient.logged_in(proxy.host, proxy.port, database)
        client.send(w.query("select pg_sleep(1)"))
        wait_until(lambda: origin.value(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' "
            "and datname = %s", "postgres", (database,)) == 1, "the statement runs")
        proxy.send_signal(signal.SIGTERM)

        def is_refused():
            try:
                with w.WireClient(proxy.host, proxy.port) as other:
                    answer = other.start({"user": "postgres", "database": database})
                    return answer[-1].type == "E" and answer[-1].fields()["C"] == "57P03"
            except ConnectionError:
                return True

        wait_until(is_refused, "nobody is let in any more")
        client.receive_until_ready()
        client.close()
        assert proxy.process.wait(timeout=20) == 0
        proxy.process = None

    @pytest.mark.cached
    def test_sighup_reloads_and_goes_on(self, start_proxy, origin, database, tmp_path):
        config = tmp_path / "pgcache.toml"
        config.write_text("")
        proxy = start_proxy(config=str(config))
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            proxy.wait_until_cached(lambda: client.ask(w.query(READ)))
            config.write_text('allowed_tables = ["nothing_else"]\n')
            proxy.send_signal(signal.SIGHUP)

            def is_not_allowed():
                before = proxy.forwarded().get("not_allowed", 0)
                client.ask(w.query(READ))
                return proxy.forwarded().get("not_allowed", 0) > before

            wait_until(is_not_allowed, "the table is not cached any more")
            config.write_text("")
            proxy.send_signal(signal.SIGHUP)
            proxy.wait_until_cached(lambda: client.ask(w.query(READ)))


def iter_until_closed(client):
    while True:
        try:
            yield client.receive()
        except ConnectionError:
            return


class TestPsql:
    def test_a_script(self, proxy, origin):
        """A dump of commands gives the same output through the proxy."""
        script = "\n".join([
            "\\timing off", "select * from item order by id;", "\\d item", "\\x",
            READ + ";", "\\x", "begin;", "select 1/0;", "rollback;", READ + " \\g",
            "select id from item \\gdesc", "prepare p as select 5;", "execute p;",
            "select generate_series(1, 3) as n \\gset x_", "\\echo :x_n", "select 1 \\; select 2;"])
        outputs = []
        for _ in range(2):
            for port in (origin.port, proxy.port):
                done = subprocess.run(
                    [str(BINARIES / "psql"), "-X", "-h", "127.0.0.1", "-p", str(port),
                     "-U", "postgres", "-d", proxy.database], input=script,
                    env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=30)
                outputs.append((done.stdout, done.stderr, done.returncode))
        assert all(output == outputs[0] for output in outputs)


def test_clients_on_threads(proxy):
    """Twenty clients at once, each checks its own answers."""
    problems = []

    def work(number):
        try:
            with proxy.connect() as connection:
                for turn in range(100):
                    key = (number * 7 + turn) % 10 + 1
                    name = connection.execute(
                        "select name from item where id = %s", (key,)).fetchone()
                    assert name == (f"item {key}",)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
