"""What the tests of the row tier share: settings, and what can be said about it from outside.

`memo_cache_size=0` keeps no answer: each hit is read from rows then.
"""
import threading

import pytest

from origin import Origin
from proxy import Proxy
from stage import HIT, Stage
from waiting import wait_until

WITH_MEMO = {"cache_rows": "on"}
ROWS = {**WITH_MEMO, "memo_cache_size": 0}
# No table is small enough to be loaded whole; an empty one is.
FRAGMENTS = {**ROWS, "cache_table_size": 0}

POPULATIONS = "pgcache_cache_populations"
GIVEN_UP = "pgcache_cache_populations_given_up"
ANSWERS = "pgcache_cache_rows_answers"
REFUSED = "pgcache_cache_rows_refused"
RESETS = "pgcache_cache_rows_resets"
SUBSUMPTIONS = "pgcache_cache_subsumptions"


def has_rows(proxy: Proxy) -> bool:
    return proxy.metric("pgcache_cache_rows_ready") == 1


def wait_for_rows(proxy: Proxy, seconds: float = 30.0) -> Proxy:
    """The cache database is there."""
    wait_until(lambda: proxy.alive() and has_rows(proxy), "the cache database is ready", seconds)
    return proxy


def loads(proxy: Proxy) -> tuple[float, float]:
    """What has been loaded, and how often all of it was lost."""
    metrics = proxy.metrics()
    return tuple(metrics.get(name, metrics.get(name + "_total")) for name in (POPULATIONS, RESETS))


def survives(stage: Stage, change, *reads):
    """A change at the origin leaves what was loaded in place, and answers are the origin's behind it.

    `change` is SQL, or does it.
    """
    proxy = stage.proxy
    with stage.origin.connect(proxy.database) as direct:
        # What fixtures have created has been told of: it would be a change of the schema.
        proxy.settle(direct)
        for read in reads:
            stage.warm(read)
        before = loads(proxy)
        direct.execute(change) if isinstance(change, str) else change(direct)
        proxy.settle(direct)
    stage.run(*[(read, HIT) for read in reads])
    assert loads(proxy) == before, f"loaded anew after {change}"


def pools(proxy: Proxy) -> dict[str, dict]:
    """What /status tells of each relation, by its name with its schema."""
    return {relation["name"]: relation for relation in proxy.status()["rows"]["tables"]}


def existing_cluster(server: Origin) -> dict:
    """Settings for a cache database in a server that is there already: nothing has to be made first."""
    return {"cache_host": server.host, "cache_port": server.port, "cache_user": "postgres",
            "cache_database": server.create_database()}


def module_proxy(**settings):
    """A fixture: one for all tests of a module, with its cache database."""
    @pytest.fixture(scope="module")
    def started(origin, database, reactor):
        process = wait_for_rows(Proxy(origin, database, reactor, **settings))
        yield process
        process.remove()

    return started


# For a moment.
PASSING = {"pending_catalog", "pending_rights", "pending_profile", "not_followed", "own_read", "own_write"}


def ask_for_long(stage, what):
    """Until the answer is a hit, or will not become one."""
    proxy, misses = stage.proxy, 0
    while misses < 10:
        hits, before = proxy.hits(), proxy.forwarded()
        stage.ask(what)
        reasons = {name for name, count in proxy.forwarded().items() if count > before.get(name, 0)}
        if proxy.hits() > hits or reasons - PASSING:
            return
        misses += not reasons


def in_threads(*functions):
    """Runs them at the same time; fails with the first of their failures."""
    failures = []

    def run(function):
        try:
            function()
        except BaseException as error:  # noqa: B036
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
