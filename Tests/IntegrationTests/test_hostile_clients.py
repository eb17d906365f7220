"""Whatever bytes come, from strangers or from those who logged in: the proxy lives, and who behaves
is served."""
import random
import socket
import struct

import pytest

import wire as w
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
"""

READ = "select name from item where id = 1"

pytestmark = pytest.mark.cached


@pytest.fixture(autouse=True)
def lives(proxy):
    yield
    assert proxy.alive()
    assert proxy.query(READ) == [("item 1",)]


def throw(proxy, data: bytes, seconds: float = 0.02):
    """Sends bytes to the port, reads what comes for a moment, and leaves."""
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass


def test_a_thousand_connections_of_random_bytes(proxy):
    source = random.Random(20_260_101)
    for _ in range(1000):
        throw(proxy, source.randbytes(source.choice([0, 1, 3, 4, 7, 8, 9, 64, 700, 5000])), 0.01)


def test_random_startups(proxy):
    source = random.Random(7)
    codes = [w.PROTOCOL_3_0, w.PROTOCOL_3_2, w.CANCEL_REQUEST, w.SSL_REQUEST, w.GSSENC_REQUEST,
             0, 2 << 16, 4 << 16, 0xFFFFFFFF, (3 << 16) | 9999]
    for _ in range(300):
        body = source.choice([
            b"", b"\0", b"user", b"user\0", b"user\0postgres", b"user\0postgres\0",
            b"user\0postgres\0\0", b"\0\0\0\0", b"user\0" + b"x" * 9000 + b"\0\0",
            b"database\0postgres\0\0", source.randbytes(40), b"user\0postgres\0user\0other\0\0"])
        length = source.choice([len(body) + 8] * 6 + [0, 4, 7, 8, 9, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])
        throw(proxy, struct.pack("!II", length, source.choice(codes)) + body, 0.01)


def test_random_messages_after_login(proxy, database):
    source = random.Random(11)
    for _ in range(150):
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            client.socket.settimeout(0.05)
            kinds = "QPBDECSHFXdcfp" + "azZ1\0\x7f"
            data = b""
            for _ in range(source.randrange(1, 12)):
                body = source.choice([
                    b"", b"\0", source.randbytes(source.randrange(40)), b"select 1\0",
                    READ.encode() + b"\0", b"\0" + READ.encode() + b"\0\0\0", b"S\0", b"P\0"])
                length = source.choice([len(body) + 4] * 9 + [0, 3, 4, 5, 100, 0x7FFFFFFF, 0xFFFFFFFF])
                data += source.choice(kinds).encode() + struct.pack("!I", length) + body
            try:
                client.send(data)
                while client.socket.recv(65536):
                    pass
            except OSError:
                pass


def test_valid_messages_cut_at_every_byte(proxy, database):
    whole = w.extended("select name from item where id = $1", ("1",)) + w.query(READ)
    for cut in range(0, len(whole), 3):
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            client.send(whole[:cut])


def test_valid_messages_one_byte_at_a_time(proxy, wire, origin_wire):
    whole = w.extended("select name from item where id = $1", ("1",))
    expected = origin_wire.ask(whole)
    for _ in range(4):
        for byte in whole:
            wire.send(bytes([byte]))
        assert wire.receive_until_ready() == expected


def test_flipped_bits(proxy, database):
    source = random.Random(13)
    whole = w.extended("select name from item where id = $1", ("1",), types=(23,)) + w.query(READ)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            broken[source.randrange(len(broken))] ^= 1 << source.randrange(8)
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            client.socket.settimeout(0.02)
            try:
                client.send(bytes(broken))
                while client.socket.recv(65536):
                    pass
            except OSError:
                pass


def test_startups_that_never_end(proxy):
    """Many who begin and say no more take nobody's place; all are let go in the end or by us."""
    half = [socket.create_connection((proxy.host, proxy.port), timeout=5) for _ in range(200)]
    for number, connection in enumerate(half):
        connection.sendall(w.startup({"user": "postgres"})[:number % 12])
    for _ in range(10):
        assert proxy.query(READ) == [("item 1",)]
    for connection in half:
        connection.close()


def test_a_startup_byte_by_byte(proxy):
    with w.WireClient(proxy.host, proxy.port) as client:
        for byte in w.startup({"user": "postgres", "database": proxy.database}):
            client.send(bytes([byte]))
        assert client.receive_until_ready()[-1].type == "Z"


def test_a_password_that_never_comes(proxy):
    waiting = []
    for _ in range(20):
        client = w.WireClient(proxy.host, proxy.port)
        client.send(w.startup({"user": "app_scram", "database": proxy.database}))
        assert client.receive().type == "R"
        waiting.append(client)
    assert proxy.query(READ) == [("item 1",)]
    for client in waiting:
        client.close()


def test_requests_before_the_login_is_over(proxy):
    """What a client sends too early is for the origin to judge; nothing of it is answered from here."""
    with w.WireClient(proxy.host, proxy.port) as client:
        client.send(w.startup({"user": "app_scram", "database": proxy.database}), w.query(READ))
        client.socket.settimeout(0.3)
        kinds = []
        try:
            while True:
                kinds.append(client.receive().type)
        except (ConnectionError, TimeoutError):
            pass
        assert kinds[0] == "R"
        assert "D" not in kinds


def test_plain_text_behind_an_encryption_request(proxy):
    """Bytes sent along with SSLRequest belong to nobody (CVE-2021-23222 is of this kind)."""
    with w.WireClient(proxy.host, proxy.port) as client:
        client.send(w.request(w.SSL_REQUEST),
                    w.startup({"user": "postgres", "database": proxy.database}))
        assert client.receive_bytes(1) == b"N"
        try:
            assert client.receive().type in "RE"
        except ConnectionError:
            pass


def test_http(proxy):
    throw(proxy, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_tls_hello(proxy):
    throw(proxy, bytes.fromhex("16030100c8010000c40303") + bytes(200))


def test_a_flood_of_connections(proxy):
    for _ in range(1000):
        socket.create_connection((proxy.host, proxy.port), timeout=5).close()
    wait_until(lambda: proxy.query(READ) == [("item 1",)], "it serves")


@pytest.mark.parametrize("data", [
    b"GET", b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"\0" * 100,
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET /status HTTP/1.1\r\n"])
def test_the_admin_port(proxy, data):
    with socket.create_connection((proxy.host, proxy.metrics_port), timeout=5) as connection:
        connection.settimeout(0.05)
        try:
            connection.sendall(data)
            while connection.recv(65536):
                pass
        except OSError:
            pass
    assert proxy.page("/healthz")[0] == 200
