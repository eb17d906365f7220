"""What is bounded stays bounded, and nothing that is too much for the cache is too much for a client."""
import pytest

import wire as w
from waiting import wait_until

SCHEMA = """
create table item (id int primary key, name text, filler text);
insert into item select i, 'item ' || i, repeat('x', 1000) from generate_series(1, 2000) i;
create table small (id int primary key);
insert into small select generate_series(1, 5);
"""

READ = "select name from item where id = {}"


class TestStatementsThatAreTooMuch:
    """Forwarded: the answer is the origin's, be it rows or its own complaint."""

    def same(self, wire, origin_wire, sql, asks=(w.query, w.extended)):
        for ask in asks:
            for _ in range(2):
                assert wire.ask(ask(sql)) == origin_wire.ask(ask(sql))

    def test_a_million_terms(self, proxy, wire, origin_wire):
        sql = "select id, " + "1+" * 1_000_000 + "1 from small where id = 1"
        self.same(wire, origin_wire, sql, (w.query,))
        assert proxy.query("select count(*) from small") == [(5,)]

    @pytest.mark.parametrize("open_, close", [("(", ")"), ("case when true then ", " end"),
                                              ("not ", ""), ("- ", ""), ("array[", "]")])
    @pytest.mark.parametrize("depth", [50, 400, 9000])
    def test_deep_nesting(self, proxy, wire, origin_wire, open_, close, depth):
        inner = "true" if open_ == "not " else "1"
        self.same(wire, origin_wire,
                  "select " + open_ * depth + inner + close * depth + " from small where id = 1",
                  (w.query,))

    @pytest.mark.parametrize("depth", [10, 200])
    def test_nested_subqueries(self, wire, origin_wire, depth):
        sql = "select id from small"
        for level in range(depth):
            sql = f"select id from ({sql}) s{level}"
        self.same(wire, origin_wire, sql + " where id = 1")

    @pytest.mark.parametrize("length", [60_000, 70_000, 5_000_000])
    def test_long_texts(self, proxy, wire, origin_wire, length):
        self.same(wire, origin_wire, "select id from small where id = 1 /*" + "x" * length + "*/")

    def test_a_long_list(self, proxy, wire, origin_wire):
        keys = ", ".join(str(key) for key in range(10_000))
        self.same(wire, origin_wire, f"select count(*) from item where id in ({keys})")

    @pytest.mark.cached
    def test_a_text_over_statement_bytes_max_is_forwarded(self, start_proxy):
        proxy = start_proxy(statement_bytes_max=200)
        with proxy.connect() as client:
            with proxy.expect_forward("too_long"):
                client.execute("select id from small where id = 1 /*" + "x" * 200 + "*/")
        proxy.wait_until_cached("select id from small where id = 1")

    @pytest.mark.parametrize("sql", [
        "select 1_000 from small", "select 0x1F from small", "select id from small where name is json",
        "select \"a from small", "select 'a\\' from small", "select $1 from small", "select",
        "select * from small where", "select id from small; --", "\ufeffselect 1", "select '\u0001'",
        "SELECT\tid\nFROM\r\nsmall\fwhere id=1", "select id from small where id = 99999999999",
        "select id from small where id = 1e400", "select id from small where id = '1 '",
        "select id from small where id = 'x'", "select U&'\\0061' from small",
        "select id from small where id = +1", "select id from small where id = - 1",
    ])
    def test_odd_texts(self, proxy, wire, origin_wire, sql):
        for _ in range(2):
            self.same(wire, origin_wire, sql)

    def test_bytes_that_are_no_text(self, proxy, wire, origin_wire):
        for body in (b"select '\xff\xfe' from small\0", b"\xc3\x28\0", b"\x80\0"):
            assert wire.ask(w.frame("Q", body)) == origin_wire.ask(w.frame("Q", body))

    def test_thousands_of_different_texts(self, proxy, wire):
        for turn in range(0, 3000, 100):
            wire.send(*[w.query(f"select {n} as n{n} from small where id = 1")
                        for n in range(turn, turn + 100)])
            for n in range(turn, turn + 100):
                assert w.rows(wire.receive_until_ready()) == [[str(n).encode()]]

    @pytest.mark.cached
    def test_more_texts_than_are_remembered(self, start_proxy, database):
        proxy = start_proxy(statements_max=50)
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as client:
            for n in range(2000):
                answer = client.ask(w.query(f"select {n} from small where id = 1"))
                assert w.rows(answer) == [[str(n).encode()]]
            proxy.wait_until_cached(lambda: client.ask(w.query("select id from small")))


@pytest.mark.cached
class TestMemory:
    @pytest.mark.parametrize("policy", ["clock", "fifo"])
    def test_the_memo_keeps_its_bound(self, start_proxy, policy):
        bound = 2 << 20
        proxy = start_proxy(memo_cache_size=bound, cache_policy=policy)
        with proxy.connect() as client:
            ask = lambda key: client.execute(  # noqa: E731
                "select * from item where id between %s and %s + 20", (key, key)).fetchall()
            proxy.wait_until_cached(lambda: ask(1))
            for key in range(1, 1500):
                assert ask(key)[0][0] == key
                if key % 100 == 0:
                    assert proxy.metric("pgcache_cache_memo_bytes") <= bound
            wait_until(lambda: proxy.metric("pgcache_cache_memo_evictions") > 0, "evictions")
            assert proxy.metric("pgcache_cache_memo_bytes") <= bound
            proxy.wait_until_cached(lambda: ask(1400))

    def test_no_memo_no_hits(self, start_proxy):
        proxy = start_proxy(memo_cache_size=0)
        with proxy.connect() as client:
            for _ in range(50):
                assert client.execute(READ.format(1)).fetchall() == [("item 1",)]
        assert proxy.hits() == 0

    def test_an_answer_over_memo_entry_max_is_not_kept(self, start_proxy):
        proxy = start_proxy(memo_entry_max="64KiB")
        with proxy.connect() as client:
            proxy.wait_until_cached(lambda: client.execute(READ.format(1)).fetchall())
            hits = proxy.hits()
            for _ in range(20):
                assert len(client.execute("select * from item").fetchall()) == 2000
            assert proxy.hits() == hits

    def test_allowed_tables(self, start_proxy):
        proxy = start_proxy(allowed_tables="small")
        with proxy.connect() as client:
            proxy.wait_until_cached(lambda: client.execute("select id from small").fetchall())
            # The first time the catalog may still be on its way.
            client.execute(READ.format(1))
            proxy.wait_until_answer(
                lambda: client.execute(READ.format(1)) and proxy.forwarded().get("not_allowed", 0) > 0,
                True)


@pytest.mark.cached
class TestAdmission:
    def followed(self, proxy, client):
        """Another answer of the same table is cached: the table is followed, the catalog read."""
        for _ in range(2):
            proxy.wait_until_cached(lambda: client.execute("select count(*) from item").fetchall())

    def hits_at(self, proxy, client, key, asks=12):
        """The number of the first ask that was a hit."""
        for number in range(1, asks + 1):
            before = proxy.hits()
            client.execute(READ.format(key))
            if proxy.hits() > before:
                return number
        return None

    def test_clock_counts_to_the_threshold(self, start_proxy):
        proxy = start_proxy(admission_threshold=4, cache_policy="clock")
        with proxy.connect() as client:
            self.followed(proxy, client)
            assert self.hits_at(proxy, client, 10, asks=4) is None
            proxy.wait_until_cached(lambda: client.execute(READ.format(10)).fetchall())

    def test_what_was_invalidated_is_admitted_at_once(self, start_proxy, direct):
        proxy = start_proxy(admission_threshold=50, cache_policy="clock")
        with proxy.connect() as client:
            self.followed(proxy, client)
            ask = lambda: client.execute(READ.format(11)).fetchall()  # noqa: E731
            proxy.wait_until_cached(ask)
            direct.execute("update item set name = 'again' where id = 11")
            proxy.wait_until_answer(ask, [("again",)])
            # Long before fifty more asks.
            for _ in range(3):
                proxy.wait_until_cached(ask)
            direct.execute("update item set name = 'item 11' where id = 11")

    def test_fifo_ignores_the_threshold(self, start_proxy):
        proxy = start_proxy(admission_threshold=1000, cache_policy="fifo")
        with proxy.connect() as client:
            proxy.wait_until_cached(lambda: client.execute(READ.format(12)).fetchall())
