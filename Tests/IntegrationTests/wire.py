"""A client of bare protocol messages, for dialogues that no driver holds.

Every message that goes out is built by a function below; every message that comes in is a `Message`
with its type and its body as bytes, so that two answers can be compared byte for byte. The formats
are those of the PostgreSQL 15 manual, sections 55.2 (flow) and 55.7 (messages).
"""
import base64
import hashlib
import hmac
import os
import socket
import struct
from typing import NamedTuple

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = (3 << 16) | 2
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

# Sent at the server's own moments, and different for every connection: never compared.
ASYNCHRONOUS = b"NSKA"


class Message(NamedTuple):
    type: str
    body: bytes

    def fields(self) -> dict[str, str]:
        """An ErrorResponse or NoticeResponse: field letter → text."""
        assert self.type in "EN", self
        return {part[:1].decode(): part[1:].decode()
                for part in self.body.split(b"\0") if part}

    def values(self) -> list[bytes | None]:
        """A DataRow: its columns."""
        assert self.type == "D", self
        (count,) = struct.unpack_from("!H", self.body)
        offset, columns = 2, []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.body, offset)
            offset += 4
            if length < 0:
                columns.append(None)
            else:
                columns.append(self.body[offset:offset + length])
                offset += length
        return columns

    def column_names(self) -> list[str]:
        """A RowDescription: the names of its columns."""
        assert self.type == "T", self
        (count,) = struct.unpack_from("!H", self.body)
        offset, names = 2, []
        for _ in range(count):
            end = self.body.index(b"\0", offset)
            names.append(self.body[offset:end].decode())
            offset = end + 1 + 18
        return names

    def tag(self) -> str:
        assert self.type == "C", self
        return self.body[:-1].decode()

    def status(self) -> str:
        assert self.type == "Z", self
        return self.body.decode()


def frame(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def query(sql: str) -> bytes:
    return frame("Q", text(sql))


def parse(sql: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    oids = b"".join(struct.pack("!I", oid) for oid in types)
    return frame("P", text(name) + text(sql) + struct.pack("!H", len(types)) + oids)


def bind(statement: str = "", values: tuple = (), portal: str = "", results: tuple[int, ...] = (),
         formats: tuple[int, ...] = ()) -> bytes:
    """`values` are bytes, str or None; `results` and `formats` are format codes, 0 text, 1 binary."""
    body = text(portal) + text(statement)
    body += struct.pack("!H", len(formats)) + b"".join(struct.pack("!H", f) for f in formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = value.encode() if isinstance(value, str) else value
            body += struct.pack("!i", len(data)) + data
    body += struct.pack("!H", len(results)) + b"".join(struct.pack("!H", f) for f in results)
    return frame("B", body)


def describe_statement(name: str = "") -> bytes:
    return frame("D", b"S" + text(name))


def describe_portal(name: str = "") -> bytes:
    return frame("D", b"P" + text(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return frame("E", text(portal) + struct.pack("!i", rows))


def close_statement(name: str = "") -> bytes:
    return frame("C", b"S" + text(name))


def close_portal(name: str = "") -> bytes:
    return frame("C", b"P" + text(name))


def copy_data(data: bytes) -> bytes:
    return frame("d", data)


def function_call(oid: int, *arguments: bytes) -> bytes:
    """FunctionCall with text arguments and a text result."""
    body = struct.pack("!IHHH", oid, 1, 0, len(arguments))
    for argument in arguments:
        body += struct.pack("!i", len(argument)) + argument
    return frame("F", body + struct.pack("!H", 0))


SYNC = frame("S")
FLUSH = frame("H")
TERMINATE = frame("X")
COPY_DONE = frame("c")


def copy_fail(reason: str) -> bytes:
    return frame("f", text(reason))


def extended(sql: str, values: tuple = (), results: tuple[int, ...] = (), name: str = "",
             types: tuple[int, ...] = ()) -> bytes:
    """Parse, Bind, Describe the portal, Execute and Sync: what drivers send for one statement."""
    return (parse(sql, name, types) + bind(name, values, results=results) + describe_portal()
            + execute() + SYNC)


def startup(parameters: dict[str, str], version: int = PROTOCOL_3_0) -> bytes:
    body = struct.pack("!i", version)
    for name, value in parameters.items():
        body += text(name) + text(value)
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def request(code: int, body: bytes = b"") -> bytes:
    """SSLRequest, GSSENCRequest, CancelRequest: a startup packet with a code."""
    return struct.pack("!ii", 8 + len(body), code) + body


class WireClient:
    """One connection. Reading fails after `timeout` seconds without a byte."""

    def __init__(self, host: str, port: int, timeout: float = 20.0, unix_socket: str | None = None):
        if unix_socket:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(unix_socket)
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = (host, port)
        self.buffer = bytearray()
        self.parameters: dict[str, str] = {}
        self.key: bytes = b""  # process id and secret, as BackendKeyData has them

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # Bytes and messages.

    def send(self, *messages: bytes):
        self.socket.sendall(b"".join(messages))

    def receive_bytes(self, count: int) -> bytes:
        while len(self.buffer) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError(f"closed after {bytes(self.buffer)!r}")
            self.buffer += chunk
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def receive(self) -> Message:
        head = self.receive_bytes(5)
        (length,) = struct.unpack("!i", head[1:])
        return Message(head[:1].decode("latin1"), self.receive_bytes(length - 4))

    def receive_until(self, *kinds: str) -> list[Message]:
        """All messages up to and including the first of one of these types."""
        messages = []
        while True:
            message = self.receive()
            messages.append(message)
            if message.type in kinds:
                return messages

    def receive_until_ready(self) -> list[Message]:
        return self.receive_until("Z")

    def ask(self, *messages: bytes) -> list[Message]:
        """Sends, and returns the answer up to ReadyForQuery without what comes by itself."""
        self.send(*messages)
        return [m for m in self.receive_until_ready() if m.type.encode() not in ASYNCHRONOUS]

    def is_closed(self) -> bool:
        """Reads to the end; true when the other side has closed."""
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True

    # Logging in.

    def start(self, parameters: dict[str, str], password: str = "",
              version: int = PROTOCOL_3_0) -> list[Message]:
        """Startup and authentication up to ReadyForQuery or an error; returns what came."""
        self.send(startup(parameters, version))
        user, scram, messages = parameters["user"], None, []
        while True:
            message = self.receive()
            messages.append(message)
            if message.type == "R":
                (method,) = struct.unpack_from("!i", message.body)
                if method == 3:
                    self.send(frame("p", text(password)))
                elif method == 5:
                    self.send(frame("p", text(md5_response(user, password, message.body[4:8]))))
                elif method == 10:
                    scram = Scram(password)
                    first = scram.first()
                    self.send(frame("p", text("SCRAM-SHA-256")
                                    + struct.pack("!i", len(first)) + first))
                elif method == 11:
                    self.send(frame("p", scram.answer(message.body[4:])))
            elif message.type == "S":
                name, value = message.body[:-1].decode().split("\0")
                self.parameters[name] = value
            elif message.type == "K":
                self.key = message.body
            elif message.type in ("Z", "E"):
                return messages

    @classmethod
    def logged_in(cls, host: str, port: int, database: str, user: str = "postgres",
                  password: str = "", version: int = PROTOCOL_3_0, **parameters) -> "WireClient":
        client = cls(host, port)
        last = client.start({"user": user, "database": database, **parameters}, password, version)[-1]
        assert last.type == "Z", last.fields()
        return client

    def cancel(self, key: bytes | None = None):
        """A CancelRequest on a connection of its own; returns when the server has closed it."""
        with WireClient(*self.address) as other:
            other.send(request(CANCEL_REQUEST, self.key if key is None else key))
            assert other.is_closed()


def md5_response(user: str, password: str, salt: bytes) -> str:
    inner = hashlib.md5(password.encode() + user.encode()).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


class Scram:
    """SCRAM-SHA-256 without channel binding (RFC 7677), the client's side."""

    def __init__(self, password: str):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n=,r={self.nonce}"

    def first(self) -> bytes:
        return f"n,,{self.bare}".encode()

    def answer(self, challenge: bytes) -> bytes:
        parts = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password, base64.b64decode(parts["s"]), int(parts["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={parts['r']}"
        signed = ",".join([self.bare, challenge.decode(), final]).encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        return f"{final},p={base64.b64encode(proof).decode()}".encode()


def types(messages: list[Message]) -> str:
    """The types of an answer as one word, e.g. "12TDDCZ"."""
    return "".join(message.type for message in messages)


def rows(messages: list[Message]) -> list[list[bytes | None]]:
    return [message.values() for message in messages if message.type == "D"]


def error(messages: list[Message]) -> str:
    """The SQLSTATE of the first error of an answer."""
    for message in messages:
        if message.type == "E":
            return message.fields()["C"]
    raise AssertionError(f"no error in {messages}")
