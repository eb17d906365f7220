"""The extended protocol and its corners: every dialogue gives through the proxy, byte for byte, what
it gives on the origin, cold and warm."""
import pytest

import wire as w

SCHEMA = """
create table item (id int primary key, name text, price int);
insert into item select i, 'item ' || i, i * 10 from generate_series(1, 50) i;
create function greets(text) returns text language plpgsql as
    $$ begin raise notice 'hello %', $1; return $1; end $$;
"""

POINT = "select id, name from item where id = $1"
ALL = "select id, name from item order by id"


def check_same(proxy, wire, origin_wire, *messages):
    """Cold, and as often again as a cached answer would need to show."""
    theirs = origin_wire.ask(*messages)
    for _ in range(4):
        ours = wire.ask(*messages)
        assert ours == theirs
    return ours


class TestPortals:
    def test_a_row_limit_suspends(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(ALL)))
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(ALL), w.bind(), w.describe_portal(), w.execute(rows=20),
                            w.execute(rows=20), w.execute(rows=20), w.execute(rows=20), w.SYNC)
        assert w.types(answer) == "12T" + "D" * 20 + "s" + "D" * 20 + "s" + "D" * 10 + "CCZ"

    def test_a_limit_equal_to_the_rows_suspends(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(ALL)))
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(ALL), w.bind(), w.execute(rows=50), w.SYNC)
        assert w.types(answer).endswith("sZ")

    def test_an_exhausted_portal_says_so(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire,
                   w.parse(POINT), w.bind(values=("1",)), w.execute(), w.execute(), w.SYNC)

    def test_named_portals_interleave(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire,
                   w.parse(ALL, "s1"), w.bind("s1", portal="a"), w.bind("s1", portal="b"),
                   w.execute("a", 3), w.execute("b", 2), w.execute("a", 3), w.execute("b"),
                   w.close_portal("a"), w.close_portal("b"), w.close_statement("s1"), w.SYNC)

    def test_a_portal_dies_with_its_transaction(self, proxy, wire, origin_wire):
        for client in (wire, origin_wire):
            client.ask(w.parse(ALL), w.bind(portal="p"), w.execute("p", 3), w.SYNC)
        answer = check_same(proxy, wire, origin_wire, w.execute("p", 3), w.SYNC)
        assert w.error(answer) == "34000"

    def test_a_portal_lives_in_its_transaction(self, proxy, wire, origin_wire):
        for client in (wire, origin_wire):
            client.ask(w.query("begin"))
            client.ask(w.parse(ALL), w.bind(portal="p"), w.execute("p", 3), w.SYNC)
        assert wire.ask(w.execute("p", 3), w.SYNC) == origin_wire.ask(w.execute("p", 3), w.SYNC)
        for client in (wire, origin_wire):
            assert client.ask(w.query("commit"))[-1].status() == "I"

    def test_duplicate_portal(self, proxy, wire, origin_wire):
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(POINT), w.bind(values=("1",), portal="p"),
                            w.bind(values=("1",), portal="p"), w.execute("p"), w.SYNC)
        assert w.error(answer) == "42P03"


class TestStatements:
    def test_named_statement_executed_many_times(self, proxy, wire, origin_wire):
        parse = (w.parse(POINT, "by_id"), w.describe_statement("by_id"), w.SYNC)
        assert wire.ask(*parse) == origin_wire.ask(*parse)
        for key in ("1", "2", "1", "1", "999", "2"):
            check_same(proxy, wire, origin_wire, w.bind("by_id", (key,)), w.describe_portal(),
                       w.execute(), w.SYNC)

    def test_describe_statement(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(POINT), w.describe_statement(), w.SYNC)
        assert w.types(answer) == "1tTZ"

    def test_describe_a_statement_without_rows(self, proxy, wire, origin_wire):
        answer = check_same(proxy, wire, origin_wire,
                            w.parse("delete from item where id = $1"), w.describe_statement(),
                            w.SYNC)
        assert w.types(answer) == "1tnZ"

    def test_parse_answered_here_then_executed_there(self, proxy, wire, origin_wire):
        """Its text is known and its answer for "1" is cached; "41" the origin must be asked."""
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT, "known"), w.SYNC)
        for key in ("1", "41", "1", "42"):
            request = (w.bind("known", (key,)), w.describe_portal(), w.execute(), w.SYNC)
            assert wire.ask(*request) == origin_wire.ask(*request)
        execute = w.query("execute known(43)")
        assert wire.ask(execute) == origin_wire.ask(execute)

    def test_a_second_statement_of_one_name_is_refused(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT, "twice"), w.SYNC)
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(POINT, "twice"), w.bind("twice", ("1",)), w.execute(), w.SYNC)
        assert w.error(answer) == "42P05"
        check_same(proxy, wire, origin_wire,
                   w.bind("twice", ("1",)), w.describe_portal(), w.execute(), w.SYNC)

    def test_close_frees_the_name(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(POINT, "again"), w.bind("again", ("1",)), w.execute(),
                            w.close_statement("again"), w.close_statement("never was"), w.SYNC)
        assert w.types(answer) == "12DC33Z"
        assert w.error(wire.ask(w.bind("again", ("1",)), w.SYNC)) == "26000"

    def test_deallocate_frees_the_name(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT, "gone"), w.bind("gone", ("1",)), w.execute(), w.SYNC)
            assert client.ask(w.query("deallocate gone"))[0].tag() == "DEALLOCATE"
        request = (w.bind("gone", ("1",)), w.execute(), w.SYNC)
        assert w.error(wire.ask(*request)) == w.error(origin_wire.ask(*request)) == "26000"

    @pytest.mark.parametrize("statement", ["discard all", "deallocate all"])
    def test_all_names_freed(self, proxy, wire, origin_wire, statement):
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT, "s"), w.bind("s", ("1",)), w.execute(), w.SYNC)
            client.ask(w.query(statement))
        request = (w.bind("s", ("1",)), w.execute(), w.SYNC)
        assert w.error(wire.ask(*request)) == w.error(origin_wire.ask(*request)) == "26000"

    def test_sql_prepare_and_execute(self, proxy, wire, origin_wire):
        for client in (wire, origin_wire):
            client.ask(w.query("prepare q(int) as select name from item where id = $1"))
        check_same(proxy, wire, origin_wire, w.query("execute q(3)"))
        check_same(proxy, wire, origin_wire, w.bind("q", ("4",)), w.execute(), w.SYNC)

    def test_pg_prepared_statements_shows_what_the_client_prepared(self, proxy, wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        wire.ask(w.parse(POINT, "shown"), w.SYNC)
        listed = wire.ask(w.query("select name from pg_prepared_statements order by name"))
        assert w.rows(listed) == [[b"shown"]]

    def test_unnamed_statement_is_replaced(self, proxy, wire, origin_wire):
        for sql, values in ((POINT, ("1",)), (ALL, ()), (POINT, ("2",))):
            check_same(proxy, wire, origin_wire, w.extended(sql, values))
        check_same(proxy, wire, origin_wire, w.bind(values=("3",)), w.execute(), w.SYNC)

    def test_a_simple_query_drops_the_unnamed_statement(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.query("select id from item where id = 1")))
        for client in (wire, origin_wire):
            client.ask(w.parse(POINT), w.SYNC)
            client.ask(w.query("select id from item where id = 1"))
        request = (w.bind(values=("1",)), w.execute(), w.SYNC)
        assert w.error(wire.ask(*request)) == w.error(origin_wire.ask(*request)) == "26000"

    @pytest.mark.parametrize("types", [(), (23,), (20,), (25,), (1700,), (705,), (0,)])
    def test_declared_parameter_types(self, proxy, wire, origin_wire, types):
        check_same(proxy, wire, origin_wire,
                   w.extended("select id, name, $1 as given from item where id = 7",
                              ("7",), types=types))

    @pytest.mark.parametrize("values, formats", [
        ((b"\0\0\0\x05",), (1,)), (("5",), (0,)), ((None,), ()), (("bad",), ()),
        ((b"\0\x05",), (1,)), (("5", "6"), ()), ((), ())])
    def test_parameter_values(self, proxy, wire, origin_wire, values, formats):
        check_same(proxy, wire, origin_wire,
                   w.parse(POINT), w.bind(values=values, formats=formats), w.describe_portal(),
                   w.execute(), w.SYNC)

    @pytest.mark.parametrize("results", [(), (0,), (1,), (0, 1), (1, 0), (1, 1), (0, 1, 0), (2,)])
    def test_result_formats(self, proxy, wire, origin_wire, results):
        check_same(proxy, wire, origin_wire, w.extended(POINT, ("7",), results=results))

    def test_execute_without_describe_sends_no_description(self, proxy, wire, origin_wire):
        proxy.wait_until_cached(lambda: wire.ask(w.extended(POINT, ("1",))))
        answer = check_same(proxy, wire, origin_wire,
                            w.parse(POINT), w.bind(values=("1",)), w.execute(), w.SYNC)
        assert w.types(answer) == "12DCZ"

    def test_describe_portal_without_execute(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire,
                   w.parse(POINT), w.bind(values=("1",)), w.describe_portal(), w.SYNC)

    def test_bind_without_execute(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire, w.parse(POINT), w.bind(values=("1",)), w.SYNC)

    def test_bind_of_an_unknown_statement(self, proxy, wire, origin_wire):
        answer = check_same(proxy, wire, origin_wire,
                            w.bind("who", ("1",)), w.describe_portal(), w.execute(), w.SYNC)
        assert w.error(answer) == "26000"


class TestSimpleProtocol:
    @pytest.mark.parametrize("sql", [
        "", ";", " ; ; ", "-- only a comment", "/* and */", "select 1; select 2",
        "select id from item where id = 1; select id from item where id = 2",
        "select id from item where id = 1;", "select 1/0", "selec", "select 'open",
        "select 1; select 1/0; select 3", "begin; select 1; commit", "select from item limit 3",
        "values (1), (2)", "table item", "show datestyle", "explain (costs off) table item",
        "select name from item where id = 1 \t\n", "do $$ begin end $$"])
    def test_is_answered_as_by_the_origin(self, proxy, wire, origin_wire, sql):
        check_same(proxy, wire, origin_wire, w.query(sql))

    def test_the_status_of_a_failed_block(self, proxy, wire, origin_wire):
        sql = "select id from item where id = 1"
        proxy.wait_until_cached(lambda: wire.ask(w.query(sql)))
        for text in ("begin", sql, "select 1/0", sql, "commit", sql):
            ours, theirs = wire.ask(w.query(text)), origin_wire.ask(w.query(text))
            assert ours == theirs, text

    def test_savepoints(self, proxy, wire, origin_wire):
        sql = "select id from item where id = 1"
        for text in ("begin", "savepoint a", "select 1/0", "rollback to a", sql, "release a",
                     "commit and chain", sql, "rollback"):
            assert wire.ask(w.query(text)) == origin_wire.ask(w.query(text)), text


class TestOtherMessages:
    def test_function_call(self, proxy, wire, origin_wire):
        call = w.function_call(1397, b"-5")  # pg_catalog.abs(int4)
        assert w.types(check_same(proxy, wire, origin_wire, call)) == "VZ"

    def test_function_call_that_fails(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire, w.function_call(4_000_000_000, b"1"))

    def test_an_unknown_type_ends_the_connection_as_the_origin_does(self, proxy, origin):
        answers = []
        for port in (origin.port, proxy.port):
            with w.WireClient.logged_in("127.0.0.1", port, proxy.database) as client:
                client.send(w.frame("y", b"what"))
                answers.append(client.receive().fields()["C"])
                assert client.is_closed()
        assert answers == ["08P01", "08P01"]

    @pytest.mark.parametrize("body", [b"", b"no end", b"S", b"Sno end", b"Zx\0"])
    @pytest.mark.parametrize("kind", list("PBDEC"))
    def test_a_malformed_message_gets_the_origins_answer(self, proxy, origin, kind, body):
        answers = []
        for port in (origin.port, proxy.port):
            with w.WireClient.logged_in("127.0.0.1", port, proxy.database) as client:
                client.send(w.frame(kind, body), w.SYNC)
                answers.append(client.receive())
        assert answers[0] == answers[1]

    def test_terminate_closes(self, proxy, wire):
        wire.send(w.TERMINATE)
        assert wire.is_closed()

    def test_copy_messages_outside_copy_are_ignored(self, proxy, wire, origin_wire):
        check_same(proxy, wire, origin_wire,
                   w.copy_data(b"x"), w.COPY_DONE, w.query("select 1"))


class TestNotices:
    def test_reach_the_client_every_time(self, proxy, wire):
        for _ in range(3):
            wire.send(w.query("select greets(name) from item where id = 1"))
            messages = wire.receive_until_ready()
            assert w.types(messages) == "TNDCZ"
            assert messages[1].fields()["M"] == "hello item 1"

    def test_parameter_status_follows_set(self, proxy, wire):
        wire.send(w.query("set application_name = 'renamed'"))
        messages = wire.receive_until_ready()
        status = [m.body for m in messages if m.type == "S"]
        assert b"application_name\0renamed\0" in status


@pytest.mark.trap(79)
class TestNoticesOfTheStatementItself:
    """What PostgreSQL says about a text it says each time: such an answer is not kept (rule C3)."""

    LONG = "a" * 70

    @pytest.mark.parametrize("sql", [
        f"select id as {LONG} from item where id = 1",  # 42622, identifier will be truncated
        f"select id from item {LONG} where {LONG}.id = 1"])
    def test_come_each_time(self, wire, origin_wire, sql):
        for ask in (w.query, w.extended):
            for _ in range(4):
                answers = []
                for client in (wire, origin_wire):
                    client.send(ask(sql))
                    answer = client.receive_until_ready()
                    # Statistics may read the text once more at its first time, and say it twice.
                    assert {m.fields()["C"] for m in answer if m.type == "N"} == {"42622"}
                    answers.append([m for m in answer if m.type != "N"])
                assert answers[0] == answers[1]

    def test_a_level_that_hides_them_decides(self, proxy, origin, database):
        """Cached for who does not want to hear of it, and said to who does."""
        sql = f"select id, name as {self.LONG} from item where id = 2"
        with w.WireClient.logged_in(proxy.host, proxy.port, database,
                                    options="-c client_min_messages=error") as quiet:
            for _ in range(4):
                quiet.send(w.query(sql))
                assert w.types(quiet.receive_until_ready()) == "TDCZ"
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as loud:
            for _ in range(2):
                loud.send(w.query(sql))
                assert w.types(loud.receive_until_ready()) == "NTDCZ"
