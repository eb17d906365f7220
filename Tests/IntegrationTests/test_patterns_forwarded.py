"""Patterns (patterns.py) that stay forwarded, each with the reason that the metrics name."""
from pathlib import Path

import pytest

import wire as w
from pattern import FORMS, NOTICE
from pattern_story import request
from pattern_tables import FORWARDED_SCHEMA, SCHEMA
from patterns import PATTERNS
from proxy import DIRECT
from twins import Twins
from waiting import wait_until

ONE_REACTOR = True
CHOSEN = [pattern for pattern in PATTERNS if pattern.file == Path(__file__).name]
CHANGE = """
update tenants set plan = 'plan {n}' where id = 2;
update scratch set name = 'name {n}';
update secrets set owner = 'owner {n}' where id = 2;
insert into users (id, tenant_id, name) values (300 + {n}, {n}, 'more');
"""


@pytest.fixture(scope="module")
def database(origin, reactor):
    """The foreign table needs the origin's address, so there is no SCHEMA."""
    name = origin.create_database()
    with origin.connect(name) as connection:
        connection.execute(SCHEMA + FORWARDED_SCHEMA.replace("{database}", name).replace("{port}", str(origin.port)))
    yield name
    origin.drop_database(name)


@pytest.mark.parametrize("pattern", CHOSEN, ids=lambda pattern: pattern.name)
def test_is_forwarded(proxy, origin, direct, pattern):
    """It is never a hit, and always the origin's answer of now."""
    direct.execute("delete from users where id > 300")
    with Twins(proxy, origin) as twins:
        if pattern.name == "temporary":
            twins.made_here(w.query("create temp table mine as select 'first'::text as name"))
        twins.made_here(w.parse(pattern.sql, pattern.name), w.SYNC)
        hits, misses, before = proxy.hits(), proxy.misses(), {} if DIRECT else proxy.forwarded()
        for number in range(1, 4):
            for form in FORMS * 2:
                twins.made_here(request(pattern, form))
            direct.execute(CHANGE.format(n=number))
        if DIRECT:
            return
        assert proxy.hits() == hits, "answered from the cache"
        if pattern.reason == NOTICE:
            def is_missed():
                twins.made_here(request(pattern, "simple"))
                return proxy.misses() > misses

            wait_until(is_missed, "it is looked for in the cache, each time in vain")
            assert proxy.hits() == hits
            return

        def is_named():
            twins.made_here(request(pattern, "simple"))
            moved = {reason for reason, count in proxy.forwarded().items() if count > before.get(reason, 0)}
            assert pattern.reason in moved, f"{pattern.sql}\nforwarded for {moved}, expected {pattern.reason}"
            return True

        wait_until(is_named, "the reason", 3.0)
        assert proxy.hits() == hits, "answered from the cache"
