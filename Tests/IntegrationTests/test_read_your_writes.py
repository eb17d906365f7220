"""Rule S1: a session sees its own writes, at once, whatever the cache holds."""
import psycopg
import pytest

import wire as w

SCHEMA = """
create table item (id int primary key, version int not null);
insert into item select i, 0 from generate_series(1, 20) i;
create table event (id int primary key, kind text);
create function bump(int) returns int language sql as
    $$ update item set version = version + 1 where id = $1 returning version $$;
create table audited (id int primary key, version int);
insert into audited values (1, 0);
create function audit() returns trigger language plpgsql as
    $$ begin update audited set version = new.version where id = 1; return new; end $$;
create table source (id int primary key, version int);
insert into source values (1, 0);
create trigger audit after update on source for each row execute function audit();
"""


def test_a_thousand_inserts_are_each_seen_by_the_next_select(proxy, client, direct):
    direct.execute("truncate event")
    for key in range(1000):
        client.execute("insert into event values (%s, 'x')", (key,))
        assert client.execute("select count(*) from event").fetchone() == (key + 1,)


def test_a_thousand_updates_are_each_seen_by_the_next_select(proxy, wire):
    read = w.extended("select version from item where id = $1", ("1",))
    proxy.wait_until_cached(lambda: wire.ask(read))
    for version in range(1, 1001):
        wire.ask(w.query(f"update item set version = {version} where id = 1"))
        assert w.rows(wire.ask(read)) == [[str(version).encode()]]


def test_in_one_packet(proxy, wire):
    read = w.query("select version from item where id = 2")
    for version in range(1, 200):
        if version % 20 == 0:
            proxy.wait_until_cached(lambda: wire.ask(read))
        wire.send(w.query(f"update item set version = {version} where id = 2"), read)
        wire.receive_until_ready()
        assert w.rows(wire.receive_until_ready()) == [[str(version).encode()]]


def test_with_asynchronous_commit(proxy, client):
    client.execute("set synchronous_commit = off")
    for version in range(1, 300):
        client.execute("update item set version = %s where id = 3", (version,))
        assert client.execute("select version from item where id = 3").fetchone() == (version,)


def test_with_asynchronous_commit_of_the_role(proxy, origin, database, direct):
    """Nothing in the session's own texts says that its commits are asynchronous."""
    direct.execute("alter role app_trust set synchronous_commit = off")
    direct.execute("grant all on item to app_trust")
    try:
        proxy.wait_until_cached("select version from item where id = 4")
        with proxy.connect("app_trust") as connection:
            read = "select version from item where id = 4"
            for version in range(1, 300):
                if version % 50 == 0:
                    proxy.wait_until_cached(lambda: connection.execute(read).fetchall())
                connection.execute(f"update item set version = {version} where id = 4")
                assert connection.execute(read).fetchone() == (version,)
    finally:
        direct.execute("alter role app_trust reset synchronous_commit")


def test_a_write_inside_a_function(proxy, client):
    """Cached for others; who has called a function that nobody knows is forwarded."""
    read = "select version from item where id = 5"
    for _ in range(30):
        proxy.wait_until_cached(read)
        (version,) = client.execute("select bump(5)").fetchone()
        assert client.execute(read).fetchone() == (version,)


def test_a_write_by_a_trigger(proxy, client):
    """The text names `source`; what changes as well is `audited`."""
    read = "select version from audited where id = 1"
    for version in range(1, 50):
        proxy.wait_until_cached(lambda: client.execute(read).fetchall())
        client.execute(f"update source set version = {version} where id = 1")
        assert client.execute(read).fetchone() == (version,)


def test_a_write_that_returns_rows(proxy, client):
    read = "select version from item where id = 6"
    for version in range(1, 50):
        proxy.wait_until_cached(lambda: client.execute(read).fetchall())
        client.execute(f"with x as (update item set version = {version} where id = 6 returning id) "
                       "select * from x")
        assert client.execute(read).fetchone() == (version,)


def test_a_committed_transaction(proxy, client):
    read = "select version from item where id = 7"
    for version in range(1, 50):
        proxy.wait_until_cached(lambda: client.execute(read).fetchall())
        with client.transaction():
            client.execute(f"update item set version = {version} where id = 7")
            assert client.execute(read).fetchone() == (version,)
        assert client.execute(read).fetchone() == (version,)


def test_a_write_that_failed_changes_nothing(proxy, client):
    read = "select version from item where id = 8"
    proxy.wait_until_cached(lambda: client.execute(read).fetchall())
    with pytest.raises(psycopg.errors.UniqueViolation):
        client.execute("insert into item values (8, 99)")
    assert client.execute(read).fetchone() == (0,)


@pytest.mark.cached
def test_the_session_is_answered_from_the_cache_again_soon(proxy, client):
    read = "select version from item where id = 9"
    client.execute("update item set version = 1 where id = 9")
    assert proxy.wait_until_cached(lambda: client.execute(read).fetchall()) == [(1,)]


def test_what_another_session_wrote_and_then_told(proxy, database):
    """A reader may lag behind another session's write, but never goes back (trap 107)."""
    read = "select version from item where id = 10"
    with proxy.connect() as writer, proxy.connect() as reader:
        last = 0
        for version in range(1, 500):
            writer.execute(f"update item set version = {version} where id = 10")
            (seen,) = reader.execute(read).fetchone()
            assert last <= seen <= version
            last = seen
        proxy.wait_until_answer(lambda: reader.execute(read).fetchone(), (499,))
