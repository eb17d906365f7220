"""Logging in: the origin decides, with each of its methods, and the proxy relays what both say."""
import asyncio
import os
import subprocess

import asyncpg
import pg8000.dbapi
import psycopg
import pytest

from origin import BINARIES, PASSWORDS
import wire
from wire import WireClient, request, types, GSSENC_REQUEST, PROTOCOL_3_2, SSL_REQUEST

SCHEMA = """
create table streamed (id int primary key, name text);
insert into streamed values (2, 'two');
"""

ROLES = sorted(PASSWORDS)


def run_psql(proxy, user, password, *arguments):
    return subprocess.run(
        [str(BINARIES / "psql"), "-X", "-At", "-h", proxy.host, "-p", str(proxy.port), "-U", user,
         "-d", proxy.database, *arguments],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": password}, capture_output=True, text=True,
        timeout=30)


@pytest.mark.parametrize("role", ROLES)
class TestEachMethod:
    def test_psql_logs_in(self, proxy, role):
        done = run_psql(proxy, role, PASSWORDS[role], "-c", "select current_user")
        assert (done.stdout.strip(), done.returncode) == (role, 0), done.stderr

    def test_psycopg_logs_in(self, proxy, role):
        assert proxy.query("select current_user", role) == [(role,)]

    def test_asyncpg_logs_in(self, proxy, role):
        async def ask():
            connection = await asyncpg.connect(proxy.url(role), ssl=False)
            try:
                return await connection.fetchval("select current_user::text")
            finally:
                await connection.close()

        assert asyncio.run(ask()) == role

    def test_pg8000_logs_in(self, proxy, role):
        connection = pg8000.dbapi.connect(
            user=role, password=PASSWORDS[role] or None, host=proxy.host, port=proxy.port,
            database=proxy.database)
        cursor = connection.cursor()
        cursor.execute("select current_user::text")
        assert list(cursor.fetchone()) == [role]
        connection.close()

    def test_a_bare_client_logs_in(self, proxy, role):
        with WireClient.logged_in(
                proxy.host, proxy.port, proxy.database, role, PASSWORDS[role]) as client:
            assert client.parameters["session_authorization"] == role
            assert len(client.key) == 8


@pytest.mark.parametrize("role", [role for role in ROLES if PASSWORDS[role]])
class TestWrongPassword:
    def test_the_client_gets_the_origins_28P01(self, proxy, origin, role):
        answers = []
        for port in (origin.port, proxy.port):
            with WireClient("127.0.0.1", port) as client:
                messages = client.start({"user": role, "database": proxy.database}, "not it")
                fields = messages[-1].fields()
                answers.append((fields["S"], fields["C"], fields["M"]))
                assert client.is_closed()
        assert answers[0] == answers[1]
        assert answers[1][:2] == ("FATAL", "28P01")

    def test_psql_shows_the_origins_words(self, proxy, role):
        done = run_psql(proxy, role, "not it", "-c", "select 1")
        assert done.returncode == 2
        assert f'password authentication failed for user "{role}"' in done.stderr

    def test_libpq_raises_it(self, proxy, role):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            proxy.connect(role, password="not it")


class TestRefusalsOfTheOrigin:
    def refusal(self, host, port, **parameters):
        with WireClient(host, port) as client:
            messages = client.start(parameters)
            assert messages[-1].type == "E"
            return messages[-1].fields()

    @pytest.mark.parametrize("parameters, state", [
        ({"user": "nobody_here", "database": "postgres"}, "28000"),
        ({"user": "postgres", "database": "no such database"}, "3D000"),
        ({"user": "postgres", "database": "postgres", "no_such_setting": "1"}, "42704"),
        ({"user": "postgres", "database": "postgres", "DateStyle": "nonsense"}, "22023"),
    ])
    def test_reach_the_client_unchanged(self, proxy, origin, parameters, state):
        ours = self.refusal(proxy.host, proxy.port, **parameters)
        theirs = self.refusal(origin.host, origin.port, **parameters)
        assert ours == theirs
        assert ours["C"] == state


class TestStartup:
    def test_all_parameters_arrive(self, proxy):
        with WireClient.logged_in(
                proxy.host, proxy.port, proxy.database, application_name="a b c",
                TimeZone="Asia/Tokyo", options="-c work_mem=1234kB",
                extra_float_digits="2") as client:
            assert client.parameters["application_name"] == "a b c"
            assert client.parameters["TimeZone"] == "Asia/Tokyo"
            answer = client.ask(b"Q" + b"\0\0\0\x12show work_mem\0")
            assert answer[1].values() == [b"1234kB"]

    def test_the_database_defaults_to_the_user(self, proxy):
        with WireClient(proxy.host, proxy.port) as client:
            messages = client.start({"user": "postgres"})
            assert messages[-1].type == "Z"

    @pytest.mark.cached
    def test_encryption_is_answered_no(self, proxy):
        with WireClient(proxy.host, proxy.port) as client:
            client.send(request(SSL_REQUEST))
            assert client.receive_bytes(1) == b"N"
            client.send(request(GSSENC_REQUEST))
            assert client.receive_bytes(1) == b"N"
            messages = client.start({"user": "postgres", "database": proxy.database})
            assert messages[-1].type == "Z"

    def test_protocol_3_2_is_negotiated_as_the_origin_does(self, proxy, origin):
        answers = []
        for port in (origin.port, proxy.port):
            with WireClient("127.0.0.1", port) as client:
                messages = client.start(
                    {"user": "postgres", "database": proxy.database, "_pq_.unknown": "1"},
                    version=PROTOCOL_3_2)
                assert messages[-1].type == "Z"
                answers.append([m for m in messages if m.type == "v"])
        assert answers[0] and answers[0] == answers[1]

    def test_libpq_asking_for_3_2_connects(self, proxy):
        if psycopg.pq.version() < 180000:
            pytest.skip("libpq is older than protocol 3.2")
        with proxy.connect(max_protocol_version="3.2") as connection:
            assert connection.execute("select 1").fetchone() == (1,)

    @pytest.mark.cached
    def test_protocol_2_is_refused(self, proxy, origin):
        for port in (origin.port, proxy.port):
            with WireClient("127.0.0.1", port) as client:
                client.send(request(2 << 16, b"user\0postgres\0\0"))
                assert client.receive_bytes(1) == b"E"
                assert client.is_closed()

    def test_every_parameter_status_of_the_origin_arrives(self, proxy, origin, database):
        with WireClient.logged_in(origin.host, origin.port, database) as theirs:
            with WireClient.logged_in(proxy.host, proxy.port, database) as ours:
                assert ours.parameters == theirs.parameters


class TestReplicationConnection:
    def test_is_relayed(self, proxy):
        with WireClient.logged_in(
                proxy.host, proxy.port, proxy.database, replication="database") as client:
            answer = client.ask(b"Q\0\0\0\x14IDENTIFY_SYSTEM\0")
            assert types(answer) == "TDCZ"
            assert answer[1].values()[3] == proxy.database.encode()

    def test_streams_from_a_slot_of_its_own(self, proxy, origin, database):
        with WireClient.logged_in(
                proxy.host, proxy.port, database, replication="database") as client:
            made = client.ask(wire.query(
                'CREATE_REPLICATION_SLOT "through_proxy" TEMPORARY LOGICAL "pgoutput"'))
            assert wire.types(made) == "TDCZ"
            with origin.connect(database) as connection:
                connection.execute("create publication for_client for table streamed")
            try:
                client.send(wire.query('START_REPLICATION SLOT "through_proxy" LOGICAL 0/0 '
                                    "(proto_version '1', publication_names 'for_client')"))
                begun = client.receive_until("W", "E")[-1]
                assert begun.type == "W", begun.fields()
                with origin.connect(database) as connection:
                    connection.execute("update streamed set name = name where id = 2")
                kinds = []
                while b"C" not in kinds:
                    message = client.receive()
                    if message.type == "d" and message.body[:1] == b"w":
                        kinds.append(message.body[25:26])
                assert b"U" in kinds
                client.send(wire.COPY_DONE)
                assert client.receive_until_ready()[-1].type == "Z"
            finally:
                with origin.connect(database) as connection:
                    connection.execute("drop publication for_client")
