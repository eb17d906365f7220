"""Several hundred generated statements: rows, tags and row descriptions of the proxy equal those of the
origin byte for byte, cold, warm and after changes, in every form of the protocol.

The share that is answered from the cache is printed, and must not fall below the floor committed here.
"""
import os
from typing import NamedTuple

import pytest

import wire as w
from proxy import DIRECT
from query_runs import Shares
from statements import SCHEMA, Generator  # noqa: F401 (SCHEMA is read by the `database` fixture)

ONE_REACTOR = True

SEED = int(os.environ.get("PGCACHE_TEST_SEED", "20260701"))
COUNT = int(os.environ.get("PGCACHE_TEST_STATEMENTS", "400"))

# Of the statements that the generator means to be cacheable, the part that must be; by pattern where it is less.
FLOORS = {"all": 0.95}

FORMS = {
    "simple": lambda s: [w.query(s.literal())],
    "extended": lambda s: [w.extended(s.sql, s.values)],
    "extended, binary": lambda s: [w.extended(s.sql, s.values, results=(1,))],
}


@pytest.fixture(scope="module")
def statements():
    return Generator(SEED).statements(COUNT)


@pytest.fixture(scope="module")
def floors(request):
    """Another module with the same tests has its own."""
    return request.module.FLOORS


class Sessions(NamedTuple):
    """Statements that are not meant to be cached may end caching for their session: they have one of
    their own."""

    cacheable: w.WireClient
    others: w.WireClient


@pytest.fixture
def sessions(proxy, database):
    with w.WireClient.logged_in(proxy.host, proxy.port, database) as first:
        with w.WireClient.logged_in(proxy.host, proxy.port, database) as second:
            yield Sessions(first, second)


def compare(ours, origin_wire, statement, form, moment):
    """Asks both; a difference is shown with the statement that has it."""
    messages = FORMS[form](statement)
    wire = ours
    if isinstance(ours, Sessions):
        wire = ours.cacheable if statement.cacheable else ours.others
    ours, theirs = wire.ask(*messages), origin_wire.ask(*messages)
    if ours != theirs:
        for mine, other in zip(ours, theirs):
            assert mine == other, f"{moment}, {form}: {statement}"
        assert w.types(ours) == w.types(theirs), f"{moment}, {form}: {statement}"
    return ours


class TestGeneratedStatements:
    """In this order, on one proxy: what one test cached, the next changes."""

    @pytest.mark.timeout(240)
    def test_cold(self, proxy, sessions, origin_wire, statements):
        for form in FORMS:
            for statement in statements:
                compare(sessions, origin_wire, statement, form, "cold")

    @pytest.mark.timeout(240)
    def test_warm(self, proxy, sessions, origin_wire, statements, reactor, floors):
        for _ in range(2):
            for form in FORMS:
                for statement in statements:
                    compare(sessions, origin_wire, statement, form, "warm")
            proxy.settle_rows()
        if DIRECT:
            return
        meant = [statement for statement in statements if statement.cacheable]
        shares, missed = {form: Shares() for form in FORMS}, {}
        for form in FORMS:
            for statement in meant:
                before = proxy.hits()
                answer = compare(sessions, origin_wire, statement, form, "counted")
                failed = any(message.type == "E" for message in answer)
                is_hit = failed or proxy.hits() > before
                shares[form].add(["all", statement.pattern], is_hit)
                if not is_hit:
                    missed.setdefault(statement.sql, form)
        print(f"\non {reactor}; forwarded: {proxy.forwarded()}")
        for form, found in shares.items():
            print(f"from the cache, {form}:\n{found.table()}")
        for sql in list(missed)[:20]:
            print("  not from the cache:", sql)
        for form, found in shares.items():
            below = {pattern: found.share(pattern) for pattern in found.counts
                     if found.share(pattern) < floors.get(pattern, floors["all"])}
            assert not below, f"{form}: below the floor: {below}"

    @pytest.mark.timeout(240)
    def test_after_changes(self, proxy, sessions, origin_wire, direct, statements):
        changes = Generator(SEED + 1).changes(40)
        for start in range(0, len(changes), 10):
            for change in changes[start:start + 10]:
                direct.execute(change)
            proxy.settle(direct)
            proxy.settle_rows()
            for form in FORMS:
                for statement in statements:
                    compare(sessions, origin_wire, statement, form, f"after {start + 10} changes")

    @pytest.mark.timeout(240)
    def test_after_changes_through_the_proxy(self, proxy, sessions, origin_wire, statements):
        """The session that writes is right at once, without waiting for anything."""
        for number, change in enumerate(Generator(SEED + 2).changes(12)):
            sessions.cacheable.ask(w.query(change))
            for statement in statements[number::12]:
                for form in FORMS:
                    # Only who wrote may rely on it.
                    compare(sessions.cacheable, origin_wire, statement, form, f"after {change}")

    @pytest.mark.timeout(240)
    def test_prepared(self, proxy, wire, origin_wire, statements):
        chosen = statements[::3]
        for number, statement in enumerate(chosen):
            request = [w.parse(statement.sql, f"s{number}"), w.describe_statement(f"s{number}"),
                       w.SYNC]
            assert wire.ask(*request) == origin_wire.ask(*request), statement
        for results in ((), (1,), ()):
            for number, statement in enumerate(chosen):
                request = [w.bind(f"s{number}", statement.values, results=results),
                           w.execute(), w.SYNC]
                assert wire.ask(*request) == origin_wire.ask(*request), statement

    @pytest.mark.timeout(240)
    def test_with_a_row_limit(self, proxy, wire, origin_wire, statements):
        for statement in statements[::5]:
            request = [w.parse(statement.sql), w.bind(values=statement.values),
                       w.describe_portal(), w.execute(rows=2), w.execute(rows=1), w.execute(),
                       w.SYNC]
            assert wire.ask(*request) == origin_wire.ask(*request), statement

    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("settings", [
        {"TimeZone": "Asia/Tokyo", "DateStyle": "German"},
        {"IntervalStyle": "iso_8601", "options": "-c extra_float_digits=0 -c bytea_output=escape"},
        {"client_encoding": "LATIN1"}, {"options": "-c enable_hashjoin=off -c jit=off"}])
    def test_under_other_settings(self, proxy, origin, database, statements, settings):
        with w.WireClient.logged_in(proxy.host, proxy.port, database, **settings) as ours:
            with w.WireClient.logged_in(origin.host, origin.port, database, **settings) as theirs:
                for _ in range(2):
                    for statement in statements[::4]:
                        if settings.get("client_encoding") and not statement.sql.isascii():
                            continue
                        for form in FORMS:
                            compare(ours, theirs, statement, form, str(settings))
