"""What the integration tests share: one origin for all, a pgcache per module and reactor.

`proxy` and `database` belong to a module: tests of a file share a pgcache and its database, and use
tables of their own. `start_proxy` gives a test one of its own, with settings. Everything that says
`reactor` runs once on epoll and once on io_uring.
"""
import pytest

from origin import Origin
from proxy import BINARY, DIRECT, Proxy
from rowtier import wait_for_rows
from twins import Twins
from wire import WireClient


def pytest_configure(config):
    if not DIRECT and not BINARY.exists() and not config.option.collectonly:
        pytest.exit(f"{BINARY} is missing: run `make build` first", returncode=2)


def pytest_collection_modifyitems(config, items):
    # What a statement means does not depend on how the loop asks the kernel: a module says so with ONE_REACTOR.
    superfluous = [
        item for item in items
        if getattr(item.module, "ONE_REACTOR", False)
        and getattr(item, "callspec", None) and item.callspec.params.get("reactor") == "io_uring"]
    if superfluous:
        config.hook.pytest_deselected(items=superfluous)
        items[:] = [item for item in items if item not in set(superfluous)]
    if DIRECT:
        skip = pytest.mark.skip(reason="needs the proxy")
        for item in items:
            if item.get_closest_marker("cached"):
                item.add_marker(skip)


def pytest_report_header():
    return "no proxy: clients talk to the origin itself" if DIRECT else f"pgcache: {BINARY}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its proxies logged."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Proxy) and not DIRECT and value.log_path.exists():
                report.sections.append(("pgcache log", value.log()))


@pytest.fixture(scope="session")
def origin():
    server = Origin()
    yield server
    server.remove()


@pytest.fixture(scope="module", params=["epoll", "io_uring"])
def reactor(request):
    if DIRECT and request.param != "epoll":
        pytest.skip("there is no reactor without the proxy")
    return request.param


@pytest.fixture(scope="module")
def database(request, origin, reactor):
    """A database of the module's own, with what its SCHEMA text creates.

    It is filled before any proxy looks at it: a table that appears later is a change of the catalog,
    which empties the cache at a moment that the test does not know.
    """
    name = origin.create_database()
    with origin.connect(name) as connection:
        connection.execute(getattr(request.module, "SCHEMA", "") or "select")
    yield name
    origin.drop_database(name)


@pytest.fixture(scope="module")
def proxy(request, origin, database, reactor):
    """With the PROXY of the module: settings, if it has any."""
    process = Proxy(origin, database, reactor, **getattr(request.module, "PROXY", {}))
    if process.uses_rows:
        wait_for_rows(process)
    yield process
    process.remove()


@pytest.fixture
def start_proxy(origin, database, reactor):
    """Starts a pgcache with the given settings; it ends with the test."""
    started = []

    def start(**settings) -> Proxy:
        settings.setdefault("reactor", reactor)
        settings.setdefault("database", database)
        process = Proxy(settings.pop("origin_server", origin), **settings)
        started.append(process)
        return process

    yield start
    for process in started:
        process.remove()


@pytest.fixture
def direct(origin, database):
    """A connection straight to the origin's database of this module: the oracle."""
    with origin.connect(database) as connection:
        yield connection


@pytest.fixture
def client(proxy):
    """A psycopg connection through the proxy."""
    with proxy.connect() as connection:
        yield connection


@pytest.fixture
def wire(proxy):
    """A client of bare messages through the proxy, logged in."""
    with WireClient.logged_in(proxy.host, proxy.port, proxy.database) as connection:
        yield connection


@pytest.fixture
def origin_wire(origin, database):
    """The same, straight to the origin."""
    with WireClient.logged_in(origin.host, origin.port, database) as connection:
        yield connection


@pytest.fixture
def twins(proxy, origin):
    """A new session through the proxy and its twin on the origin."""
    with Twins(proxy, origin) as pair:
        yield pair


@pytest.fixture
def start_twins(proxy, origin):
    """The same with the arguments of `Twins`; they end with the test."""
    started = []

    def start(*arguments, **parameters) -> Twins:
        started.append(Twins(proxy, origin, *arguments, **parameters))
        return started[-1]

    yield start
    for pair in started:
        pair.close()
