"""LISTEN and NOTIFY: what the origin says by itself reaches the client at once, cached reads or not."""
import wire as w

SCHEMA = """
create table item (id int primary key, name text);
insert into item select i, 'item ' || i from generate_series(1, 10) i;
"""


def test_a_notification_reaches_an_idle_listener(proxy, wire, direct):
    wire.ask(w.query("listen news"))
    direct.execute("notify news, 'first'")
    message = wire.receive()
    assert message.type == "A"
    assert message.body[4:] == b"news\0first\0"


def test_a_notification_reaches_a_listener_that_reads_from_the_cache(proxy, wire, direct):
    read = w.query("select id, name from item where id = 1")
    wire.ask(w.query("listen news"))
    proxy.wait_until_cached(lambda: wire.ask(read))
    direct.execute("notify news, 'second'")
    seen = []
    for _ in range(10_000):
        wire.send(read)
        seen += [m for m in wire.receive_until_ready() if m.type == "A"]
        if seen:
            break
    assert [m.body[4:] for m in seen] == [b"news\0second\0"]


def test_own_notifications(proxy, wire, origin_wire):
    for client, channel in ((wire, "ours"), (origin_wire, "theirs")):
        client.ask(w.query(f"listen {channel}"))
        client.send(w.query(f"notify {channel}, 'me'"))
        answer = client.receive_until_ready()
        assert "".join(m.type for m in answer if m.type in "CAZ") in ("ACZ", "CAZ")
        told = [m.body[4:] for m in answer if m.type == "A"]
        assert told == [f"{channel}\0me\0".encode()]


def test_psycopg_notifies(proxy, client, direct):
    client.execute("listen news")
    direct.execute("notify news, 'third'")
    for notification in client.notifies(timeout=10, stop_after=1):
        assert notification.payload == "third"
        return
    raise AssertionError("no notification came")


def test_a_read_after_a_notification_sees_what_was_announced(proxy, wire, direct):
    """Whoever was told that something changed must not read the answer from before (trap 120)."""
    wire.ask(w.query("listen changed"))
    read = w.query("select name from item where id = 5")
    for version in range(50):
        proxy.wait_until_cached(lambda: wire.ask(read))
        with direct.transaction():
            direct.execute("update item set name = %s where id = 5", (f"v{version}",))
            direct.execute("notify changed")
        while wire.receive().type != "A":
            pass
        assert w.rows(wire.ask(read)) == [[f"v{version}".encode()]]


def test_unlisten(proxy, wire, direct):
    wire.ask(w.query("listen news"))
    wire.ask(w.query("unlisten *"))
    direct.execute("notify news, 'unheard'")
    wire.send(w.query("select id from item where id = 1"))
    assert w.types(wire.receive_until_ready()) == "TDCZ"
