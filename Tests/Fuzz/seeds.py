#!/usr/bin/env python3
"""Writes the hand-made part of the corpus: corpus/<target>/seed-<what>, one file an input.

Run after a change of the inputs' form (FuzzInput.swift): the payload, then the controls, then their
number. What a fuzzing run found beside them is left alone.
"""
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def seed(target: str, name: str, payload: bytes, controls: bytes = b"") -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(payload + controls + bytes([len(controls)]))


# Messages of the wire protocol (manual, 55.7).

def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def query(sql: str) -> bytes:
    return message("Q", text(sql))


def parse(sql: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    return message("P", text(name) + text(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def values(*given: str | None) -> bytes:
    encoded = [b"\xff\xff\xff\xff" if one is None else struct.pack("!I", len(one)) + one.encode() for one in given]
    return struct.pack("!H", len(given)) + b"".join(encoded)


def tail(*given: str | None, formats: tuple[int, ...] = (), results: tuple[int, ...] = ()) -> bytes:
    return (struct.pack(f"!H{len(formats)}H", len(formats), *formats) + values(*given)
            + struct.pack(f"!H{len(results)}H", len(results), *results))


def bind(name: str = "", *given: str | None, portal: str = "", **formats) -> bytes:
    return message("B", text(portal) + text(name) + tail(*given, **formats))


def describe(kind: str, name: str = "") -> bytes:
    return message("D", kind.encode() + text(name))


def execute(portal: str = "", limit: int = 0) -> bytes:
    return message("E", text(portal) + struct.pack("!I", limit))


def close(kind: str, name: str = "") -> bytes:
    return message("C", kind.encode() + text(name))


SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")
ITEMS = "select id from items"
BY_ID = "select id from items where id = $1"
BY_TENANT = "select id, name from orders where tenant = 3"


def execution(sql: str, *given: str | None, **formats) -> bytes:
    return parse(sql) + bind("", *given, **formats) + describe("P") + execute()


def frontend() -> None:
    ways = {
        "simple": query(ITEMS) * 2,
        "simple-others": query("select 1") + query("") + query("select id from items; select 2"),
        "transaction": query("begin") + query(ITEMS) + query("insert into items values (1)")
        + query("commit") + query(ITEMS),
        "failed-transaction": query("begin") + query("fail") + query(ITEMS) + query("rollback") + query(ITEMS),
        "extended": execution(BY_ID, "7") + SYNC,
        "extended-miss": (execution(BY_ID, "8") + SYNC) * 2,
        "pipeline": execution(BY_ID, "7") + execution(BY_TENANT) + execution(ITEMS) + SYNC + query(ITEMS),
        "named": parse(BY_ID, "a") + describe("S", "a") + SYNC
        + (bind("a", "7") + describe("P") + execute() + SYNC) * 2 + close("S", "a") + SYNC,
        "named-again": parse(BY_ID, "a") + SYNC + parse(ITEMS, "a") + SYNC + bind("a", "9") + execute() + SYNC,
        "binary": execution(BY_ID, "\0\0\0\7", formats=(1,), results=(1,)) + SYNC,
        "portal": parse(ITEMS) + bind("", portal="p") + execute("p", 1) + execute("p", 5) + close("P", "p") + SYNC,
        "limit": parse(ITEMS) + bind() + execute(limit=1) + SYNC + execution(ITEMS) + FLUSH + SYNC,
        "error": parse("fail", "b") + bind("b") + execute() + SYNC + execution(BY_ID, "7") + SYNC,
        "unknown": bind("nothing") + execute() + SYNC + query(ITEMS),
        "notice": parse("select id from items -- notice") + bind() + execute() + SYNC + query("select 1 -- notice"),
        "settings": query("set timezone = 'Europe/Paris'") + query(ITEMS) + query("reset all"),
        "schema": query("create table more (id integer)") + query(ITEMS) * 2,
        "code": query("select effect() from items") + query(ITEMS) * 2,
        "prepared": parse(ITEMS, "a") + SYNC + query("execute a") + query("deallocate a"),
        "copy": query("copy items from stdin") + message("d", b"1\t2\n") + message("c") + query(ITEMS),
        "copy-extended": parse("copy items from stdin") + bind() + execute() + SYNC + message("d", b"1\n")
        + message("f", text("no")) + SYNC + query(ITEMS),
        "function": message("F", struct.pack("!IHHH", 100, 0, 0, 0)) + query(ITEMS),
        "spent-portal": (execution(BY_ID, "7") + parse("select 1") + execute() + SYNC) * 2,
        "flush": parse(ITEMS) + FLUSH + bind() + FLUSH + execute() + FLUSH + SYNC,
        "terminate": query(ITEMS) + TERMINATE,
        "unreadable": parse(ITEMS)[:-1] + b"Z" + query(ITEMS),
        "long": query("select id from items where id in (" + ", ".join(map(str, range(600))) + ")"),
        "waits": query("select id from items where id = 5") * 3 + execution(BY_ID, "7") + SYNC,
    }
    # All at once; in pieces; and with everything that can happen in between.
    for name, said in ways.items():
        seed("frontend", name, said)
        seed("frontend", f"{name}-cut", said, bytes([0x13, 0x05, 0x29, 0x4B]))
    # More than is looked at together: only the head is there.
    seed("frontend", "oversize", message("P", text("a") + b"x" * 70_000)[:4200])
    seed("frontend", "oversize-bind", parse(BY_ID, "a") + message("B", b"\0" + text("a") + b"x" * 70_000)[:4200])
    events = bytes((event << 4) | size for event, size in zip(range(16), [9, 10, 8, 11, 12, 9, 7, 13] * 2))
    for name in ["simple", "pipeline", "named", "extended-miss", "waits", "transaction"]:
        seed("frontend", f"{name}-events", ways[name] * 2, events)


# Messages of an origin.

def columns(*names: str, table: int = 20_001) -> bytes:
    fields = [text(name) + struct.pack("!IHIHIH", table, at + 1, 23, 4, 0xFFFFFFFF, 0)
              for at, name in enumerate(names)]
    return message("T", struct.pack("!H", len(names)) + b"".join(fields))


def row(*given: str | None) -> bytes:
    return message("D", values(*given))


def complete(tag: str) -> bytes:
    return message("C", text(tag))


def ready(status: str = "I") -> bytes:
    return message("Z", status.encode())


def report(kind: str, severity: str = "ERROR", state: str = "42P01") -> bytes:
    fields = b"".join(code.encode() + text(value) for code, value in
                      [("S", severity), ("V", severity), ("C", state), ("M", "words")])
    return message(kind, fields + b"\0")


def setting(name: str, value: str) -> bytes:
    return message("S", text(name) + text(value))


def backend() -> None:
    types = message("t", struct.pack("!HI", 1, 23))
    answer = columns("id", "name") + row("1", "2") + row("3", None) + complete("SELECT 2")
    log_in = (message("R", struct.pack("!I", 0)) + setting("client_encoding", "UTF8")
              + message("K", struct.pack("!II", 7, 9)) + ready())
    password = message("R", struct.pack("!I", 5) + b"salt")
    one, two = message("1"), message("2")
    said = {
        (0, "log-in"): log_in,
        (0, "password"): password + log_in,
        (0, "refused"): report("E", "FATAL", "28P01"),
        (1, "rows"): columns("name") + row("1") + complete("SELECT 1") + ready(),
        (1, "error"): report("E") + ready(),
        (1, "notice"): report("N", "NOTICE", "00000") + columns("name") + complete("SELECT 0") + ready(),
        (1, "many"): columns("name") + row("1") * 40 + complete("SELECT 40") + ready(),
        (1, "large"): columns("name") + row("1" * 3000) + complete("SELECT 1") + ready(),
        (2, "execution"): one + two + answer + ready(),
        (2, "suspended"): one + two + columns("id") + row("1") + message("s") + ready(),
        (2, "error"): one + report("E") + ready(),
        (3, "description"): one + types + columns("id") + ready(),
        (3, "no-data"): one + types + message("n") + ready(),
        (4, "injected"): one + two + columns("id") + row("8") + complete("SELECT 1") + ready(),
        (4, "injected-error"): report("E") + ready(),
        (5, "transaction"): complete("BEGIN") + ready("T") + complete("INSERT 0 1") + ready("T")
        + complete("COMMIT") + ready(),
        (6, "schema"): complete("CREATE TABLE") + ready() + answer + ready(),
        (7, "two"): (one + two + columns("id") + row("1") + complete("SELECT 1") + ready()) * 2,
        (8, "copy-in"): message("G", b"\0\0\0") + complete("COPY 1") + ready(),
        (8, "copy-out"): message("H", b"\0\0\0") + message("d", b"1\n") + message("c") + complete("COPY 1") + ready(),
        (8, "copy-both"): message("W", b"\0\0\0") + message("d", b"w"),
        (9, "copy-extended"): one + two + message("G", b"\0\0\0") + complete("COPY 1") + ready(),
        (10, "unknown"): report("E", "ERROR", "26000") + ready() + complete("DEALLOCATE ALL") + ready(),
        (11, "function"): message("V", b"\xff\xff\xff\xff") + ready(),
        (12, "hit"): message("A", struct.pack("!I", 5) + text("channel") + text("")) + setting("TimeZone", "UTC"),
        (12, "fatal"): report("E", "FATAL", "57P01"),
        (12, "empty"): message("I") + ready(),
    }
    for (script, name), answers in said.items():
        seed("backend", name, answers, bytes([script, 4, 6, 9, 1]))


def startup() -> None:
    def packet(body: bytes) -> bytes:
        return struct.pack("!I", len(body) + 4) + body

    def session(version: int, *words: str) -> bytes:
        return packet(struct.pack("!I", version) + b"".join(map(text, words)) + b"\0")

    usual = session(196_608, "user", "app", "database", "shop", "application_name", "it")
    ssl, gss = packet(struct.pack("!I", 80_877_103)), packet(struct.pack("!I", 80_877_104))
    for name, said in {
        "session": usual, "encrypted": gss + ssl + usual, "newer": session(196_610, "user", "app"),
        "replication": session(196_608, "user", "app", "replication", "database"),
        "old": packet(struct.pack("!I", 131_072) + b"app" + bytes(60)),
        "cancel": packet(struct.pack("!III", 80_877_102, 77, 99)),
        "cancel-long": packet(struct.pack("!II", 80_877_102, 77) + bytes(range(32))),
        "too-long": struct.pack("!II", 10_001, 196_608), "too-short": struct.pack("!II", 7, 196_608),
        "unterminated": packet(struct.pack("!I", 196_608) + b"user\0app"),
    }.items():
        seed("startup", name, said, bytes([1, 3, 2, 8]))


def pgoutput() -> None:
    def wal(payload: bytes, at: int) -> bytes:
        return b"w" + struct.pack("!QQQ", at, at, 2000) + payload

    def keepalive(at: int) -> bytes:
        return b"k" + struct.pack("!QQB", at, 2000, 1)

    def image(*given: bytes | None) -> bytes:
        shown = [b"n" if one is None else b"u" if one == b"?" else b"t" + struct.pack("!I", len(one)) + one
                 for one in given]
        return struct.pack("!H", len(given)) + b"".join(shown)

    def relation(oid: int, name: str, *names: str) -> bytes:
        described = [bytes([at == 0]) + text(one) + struct.pack("!II", 23, 0xFFFFFFFF)
                     for at, one in enumerate(names)]
        return (b"R" + struct.pack("!I", oid) + text("public") + text(name) + b"d"
                + struct.pack("!H", len(names)) + b"".join(described))

    def logical(prefix: str, content: bytes, inside: bool) -> bytes:
        return b"M" + struct.pack("!BQ", inside, 77) + text(prefix) + struct.pack("!I", len(content)) + content

    items, orders = struct.pack("!I", 20_001), struct.pack("!I", 20_002)
    shape = relation(20_001, "items", "id", "tenant", "name")
    row = image(b"7", b"3", b"1")
    changes = {
        "insert": [shape, b"I" + items + b"N" + row],
        "update": [shape, b"U" + items + b"N" + row, b"U" + items + b"K" + image(b"7", None, None) + b"N" + row,
                   b"U" + items + b"O" + row + b"N" + image(b"8", b"?", None)],
        "delete": [shape, b"D" + items + b"K" + image(b"7", None, None), b"D" + items + b"O" + row],
        "truncate": [shape, b"T" + struct.pack("!IB", 2, 3) + items + orders],
        "many": [shape] + [b"I" + items + b"N" + row] * 12,
        "reshaped": [shape, b"I" + items + b"N" + row, relation(20_001, "items", "id", "tenant"),
                     b"I" + items + b"N" + image(b"7", b"3")],
        "binary": [shape, b"I" + items + b"N" + struct.pack("!H", 3) + b"nn" + b"b" + struct.pack("!II", 4, 7)],
        "message": [logical("pgcache", b"ddl", True)],
        "others": [b"O" + struct.pack("!Q", 9) + text("elsewhere"),
                   b"Y" + struct.pack("!I", 16_390) + text("public") + text("mood")],
        "undescribed": [b"I" + orders + b"N" + row],
        "empty": [],
    }
    for name, inside in changes.items():
        messages = [b"B" + struct.pack("!QQI", 1100, 1000, 501), *inside,
                    b"C" + struct.pack("!BQQQ", 0, 1100, 1148, 1000)]
        stream = [keepalive(1050), *(wal(one, 1100) for one in messages), keepalive(1200)]
        if name == "message":
            stream.append(wal(logical("pgcache", b"late", False), 1300))
        seed("pgoutput", name, b"".join(struct.pack("!H", len(one)) + one for one in stream), bytes([2, 6, 11, 1]))


STATEMENTS = [
    ITEMS, BY_ID, BY_TENANT, "", ";", "select 1", "select id from items; select 2",
    "select * from items i left join orders o on o.id = i.id and o.tenant = $1 where i.tenant in (1, 2, 3)",
    "select count(*), sum(tenant) from items where made between '2020-01-01' and $1::timestamp group by 1 having true",
    "select distinct on (id) i.*, name::varchar(3)[] as d from public.items i natural join orders using (id) limit 1",
    "with a as (select 1) select * from a union all select id from items order by 1 offset 2",
    "select id from items where key = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' and flag and not flag is true",
    "select e'\\'', U&'d\\0061t', $tag$ text $tag$, b'101', x'1F', 1e-5, .5 from items -- comment",
    "select case when id is null then now() else current_date end from items where id <> all (array[1, null])",
    "insert into items values (1, 2, 'x') on conflict do nothing returning *", "update items set id = id + 1",
    "delete from items using orders", "create table more (id integer primary key)", "drop table more cascade",
    "begin isolation level serializable", "savepoint a", "set local role bob", "reset all", "discard all",
    "prepare a (int) as select $1", "execute a (1)", "deallocate all", "listen b", "copy items from stdin",
    "copy (select id from items) to stdout", "explain analyze select id from items", "do $$ begin end $$",
    "select id from items for update", "select id into b from items", "select effect(id) from items",
    "select (i).name, row_number() over (order by id) from items i, lateral (select 1) x", "lock table items",
    "select id from items where tenant = '3' or name like 'a%' and (id, tenant) > (1, 2)",
    "select \"Id\" from \"public\".\"items\" where name = 'today' and made = 'now'::timestamp",
    "/* a /* b */ c */ show all",
    "select lo_unlink(id) from items", "select id from only items tablesample system (1)",
    "select \u00e4 from items where name = '\u20ac'",
]


def statement() -> None:
    for number, sql in enumerate(STATEMENTS):
        seed("statement", f"{number:02}", sql.encode())


def bindings() -> None:
    uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    for name, given in {
        "none": tail(), "text": tail("7", None, "-12", "true"), "uuid": tail(uuid),
        "binary": tail("\0\0\0\7", "\0\1", "\0\0\0\0\0\0\0\1", formats=(1,), results=(1,)),
        "mixed": tail("t", "\1", formats=(0, 1), results=(0, 1, 0)), "cut": tail("7")[:-1],
    }.items():
        for kind in range(4):
            seed("bind", f"{name}-{kind}", given, bytes([kind * 2 + 1, kind, 9 - kind]))
    for number, value in enumerate(["7", "-9223372036854775808", "+0", "t", "false", uuid, uuid.replace("-", "")]):
        seed("bind", f"value-{number}", value.encode())


def catalog() -> None:
    def table(*lines: str) -> bytes:
        return "\n".join(lines).encode()

    facts = "5\tshop\t150018\tlogical\tUTF8\tf\tpgcache\tf\tt\tf"
    item = ["public\titems\t20001\tr\tp\tf\tf\tf\td\t1\tid\t23\tf\tt\tt\tt\tf\tt",
            "public\titems\t20001\tr\tp\tf\tf\tf\td\t2\ttenant\t25\tf\tf\tt\tf\tf\tt"]
    absent = "pg_catalog\titems" + "\t\\N" * 16
    functions = ["count\t2803\tpg_catalog\ti\ta\tf", "now\t1299\tpg_catalog\ts\tf\tf"]
    names = ["o\t@@@", "t\tmood", "c\ttext as integer", "x\tlower"]
    store = {
        "facts": (table(facts), b"\3\0"), "functions": (table(*functions), b"\0\0\5\0"),
        "names": (table(*names), b"\0\0\0\0\11\0"), "table": (table(absent, *item), b"\0\0\0\0\0\0\7\0"),
        "all": (table(facts, *functions, *names, absent, *item), b"\3\5\1\11\7\1\3"), "rights": (b"t", b"\1"),
    }
    for name, (rows, controls) in store.items():
        seed("catalog", f"store-{name}", rows, b"\0" + controls)
    slot = table("1\t1\t0/3E8\tshop", "f\tt\treserved\t0/3E8", "pgcache_fuzz\t0/3E8\t\\N\tpgoutput", "0/3E9\treserved")
    seed("catalog", "feed", slot, b"\1\0")
    seed("catalog", "feed-persistent", slot, b"\1\1")
    members = table("t", "", "publication\ttrue\t16400", "member\t20001\t5", "16400", "900", "901")
    seed("catalog", "publication", members, b"\2\0" + bytes([0x81, 0x82, 0x00, 0x83, 0x84, 0x25, 0x81, 0x45, 0x67]))
    seed("catalog", "publication-adopted", members, b"\2\1" + bytes([0x81, 0x87, 0x00, 0x83, 0x84, 0x45, 0x25]))
    texts = ["16/B374D848", "0/0", "900:950:901,902", "1:1:", "{pg_catalog,\"My \\\"schema\"}", "{}", "16384", "t"]
    seed("catalog", "texts", table(*texts), b"\3")
    path = "shop\tapp\tapp\t{pg_catalog,public}\tread committed\tread committed\toff\torigin\t0\tUTF8"
    seed("catalog", "profile", table(path, path.replace("public", "pg_temp_3"), path + "\tUTC\t\tISO\tiso\t3"), b"\3")


TOML = """\
num_workers = 4
allowed_tables = ["items", "public.orders"]
memo_cache_size = "64MiB"
memo_entry_max = 65536
cache_size = "1GiB"
cache_policy = "fifo"
admission_threshold = 2
read_your_writes = true
coalesce_timeout = "250ms"
statement_bytes_max = 1024
statements_max = 100
clients_max = 10
catalog_poll_interval = "1s"
reactor = "io_uring"
cpu = 1
shutdown_timeout = 0
log_level = "debug"
[origin]
url = "postgres://app:p%40ss@[::1]:5433/shop?sslmode=require"
host = "db"
port = 5432
user = "app"
password = "secret"
database = "shop"
ssl_mode = "verify-full"
[replication]
host = "/run/postgresql"
[cdc]
publication_name = "pub"
slot_name = "Slot"
slot = "persistent"
lag_limit_bytes = 1048576
silence_timeout = 5000
[listen]
socket = "127.0.0.1:6432"
unix_socket = "/tmp/.s.PGSQL.6432"
[metrics]
socket = "off"
"""


def settings() -> None:
    origin = "[origin]\nhost = 'db'\nuser = 'app'\ndatabase = 'shop'\n"
    files = {"whole": TOML, "small": origin,
             "nested": "[a.b.c.d.e.f]\ng = 1\n", "wrong": origin + "[cdc]\nslot = 5\n"}
    for name, words in files.items():
        seed("settings", f"file-{name}", words.encode(), b"\0\0")
    options = ["--origin=postgres://app:secret@db:5432/shop", "--listen-socket", "[::1]:6432", "--read-your-writes",
               "--memo-cache-size=1.5GiB", "--num-workers", "3", "--cache_policy", "CLOCK", "--coalesce-timeout=1min"]
    seed("settings", "options", "\n".join(options).encode(), b"\1\0")
    environment = ["ORIGIN_HOST=db", "ORIGIN_USER=app", "ORIGIN_DATABASE=shop", "CLIENTS_MAX=5", "TLS_CERT=x"]
    seed("settings", "environment", "\n".join(environment).encode(), b"\2\0")
    for number, url in enumerate([
            "postgres://app:s%65cret@db:5432/shop", "postgresql:///shop?host=/tmp&user=app&password=a&port=1",
            "postgres://[::1]/?dbname=a%2Fb&user=c", "postgres://a,b/c", "db"]):
        seed("settings", f"url-{number}", url.encode(), b"\3\0")


if __name__ == "__main__":
    for write in [frontend, backend, startup, pgoutput, statement, bindings, catalog, settings]:
        write()
