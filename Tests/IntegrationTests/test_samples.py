"""The sample shops of Tests/Samples: the same answers through the proxy as on the origin, most of them from the cache.

Each shop runs twice, on two databases with the same rows, and gets the same random requests, some of which write
and are followed by a read of what was written. It creates its tables through the address that it is given.
"""
import json
import random
import subprocess
import sys

import pytest

from proxy import DIRECT, ROOT
from rowtier import WITH_MEMO, wait_for_rows
from waiting import die_with_parent, wait_until

SAMPLES = ROOT / "Tests" / "Samples"
# What Python is to run.
SHOPS = {
    "sqlalchemy-psycopg": "sqlalchemy_shop.py DSN",
    "sqlalchemy-psycopg2": "sqlalchemy_shop.py DSN --driver psycopg2",
    "sqlalchemy-asyncpg": "sqlalchemy_shop.py DSN --driver asyncpg",
    "django": "-m django_shop DSN",
    "psycopg": "psycopg_shop.py DSN",
}
# Requests: the first ones as fast as they come, whatever the stream has told; of the rest hits are counted in the last.
RUSHED, WARM_UP, MEASURED = 150, 350, 200
PRODUCTS, CUSTOMERS, ORDERS = 24, 10, 20
# Of each shop; its visitors look into all of them soon.
TABLES = 6
# Reasons of statements that read nothing: no SELECT, or `SELECT 1`, which asks whether the server is there.
NOT_READS = {"not_select", "several_statements", "empty_statement", "no_relation"}


class Shop:
    """One process of a shop: a request goes in, its answer comes out."""

    def __init__(self, name: str, dsn: str):
        self.command = [sys.executable, *(dsn if part == "DSN" else part for part in SHOPS[name].split())]
        self.process = None

    def create(self):
        done = subprocess.run([*self.command, "--create"], cwd=SAMPLES, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def open(self):
        self.process = subprocess.Popen(
            self.command, cwd=SAMPLES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            preexec_fn=die_with_parent)
        return self

    def ask(self, request: tuple):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"{self.command} ended at {request}"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


def visits(seed: int):
    """Requests without end: (method, path, data). The front pages and a few products are looked at most."""
    draw = random.Random(seed)
    orders = ORDERS

    def somebody() -> int:
        return 1 + int(CUSTOMERS * draw.random() ** 2)

    def some_product() -> int:
        return 1 + int(PRODUCTS * draw.random() ** 2)

    while True:
        kind = draw.choices(
            ["product", "products", "categories", "search", "orders", "order", "bestsellers", "newest", "missing",
             "review", "buy", "reprice"],
            [36, 22, 8, 8, 8, 6, 8, 1, 1, 0.8, 0.9, 0.4])[0]
        if kind == "product":
            yield "GET", f"/products/{some_product()}", {"customer": somebody()}
        elif kind == "products":
            if draw.random() < 0.5:
                data = {"category": draw.choices(["Books", "Games", "Garden"], [4, 1, 1])[0]}
            else:
                data = {"page": draw.choices([0, 1, 2], [6, 1, 1])[0]}
            yield "GET", "/products", {**data, "sort": draw.choices(["name", "price"], [4, 1])[0]}
        elif kind == "search":
            yield "GET", "/search", {"words": draw.choices(["lamp", "chair", "blue", "nothing"], [5, 1, 1, 1])[0]}
        elif kind == "orders":
            who = somebody()
            yield "GET", f"/customers/{who}/orders", {"customer": who}
        elif kind == "order":
            yield "GET", f"/orders/{1 + int(orders * draw.random() ** 2)}", {"customer": somebody()}
        elif kind == "missing":
            yield "GET", "/products/999", {}
        elif kind == "review":
            number = some_product()
            yield "POST", f"/products/{number}/reviews", {
                "customer": somebody(), "rating": draw.randint(1, 5), "text": draw.choice(["Fine.", "It's ok"])}
            yield "GET", f"/products/{number}", {}
        elif kind == "buy":
            who, number = somebody(), some_product()
            items = [[number, draw.choice([1, 1, 1, 2, 99])]]
            yield "POST", "/orders", {"customer": who, "items": items}
            yield "GET", f"/customers/{who}/orders", {"customer": who}
            yield "GET", f"/products/{number}", {"customer": who}
            yield "GET", "/bestsellers", {}
        elif kind == "reprice":
            number = some_product()
            yield "POST", f"/products/{number}/price", {"price": f"{draw.randint(3, 90)}.50"}
            yield "GET", f"/products/{number}", {}
            yield "GET", "/products", {"sort": "price"}
        else:
            yield "GET", f"/{kind}", {}


def reads(proxy) -> tuple[int, int, dict]:
    """Hits, all SELECTs, and the reasons of those that were forwarded, since the start.

    Where a session forwards everything for a while, so do what is no SELECT: the ratio is at least this.
    """
    forwarded = {reason: count for reason, count in proxy.forwarded().items() if reason not in NOT_READS}
    hits = proxy.hits()
    return hits, hits + proxy.misses() + sum(forwarded.values()), forwarded


def visit(dsn: str, name: str, workers: int, after_warm_up=None, after_write=None) -> list:
    """A fresh shop in `dsn`, visited; its requests with their answers. Workers take turns by chance. `after_write` is
    called behind the first ones, and then behind each that writes."""
    shops = [Shop(name, dsn) for _ in range(workers)]
    shops[0].create()
    for shop in shops:
        shop.open()
    requests, draw, answers = visits(7), random.Random(8), []
    for number in range(WARM_UP + MEASURED):
        if number == WARM_UP and after_warm_up:
            after_warm_up()
        request = next(requests)
        answers.append((request, draw.choice(shops).ask(request)))
        if after_write and (number == RUSHED or number > RUSHED and request[0] == "POST"):
            after_write()
    for shop in shops:
        shop.close()
    return answers


# What the origin itself answers, by shop and workers.
expected_answers: dict[tuple[str, int], list] = {}


def expect(origin, name: str, workers: int) -> list:
    if (name, workers) not in expected_answers:
        database = origin.create_database()
        try:
            expected_answers[name, workers] = visit(origin.url(database), name, workers)
        finally:
            origin.drop_database(database)
    return expected_answers[name, workers]


def check(capsys, origin, start_proxy, name: str, workers: int = 1, **settings):
    """Visits the shop on the origin and through a proxy: equal answers, more than 0.8 of the reads hits.

    Where hits are counted, and a while before, the stream has told of each write, which takes longer on a busy machine;
    and reads that waited in vain for what their session had seen do not count."""
    database = origin.create_database()
    proxy = None
    direct = origin.connect(database)
    try:
        proxy = start_proxy(database=database, **settings)
        if proxy.uses_rows:
            wait_for_rows(proxy)
        before, generation = (0, 0, {}), 0

        def after_warm_up():
            nonlocal before, generation
            if not DIRECT:
                before, generation = reads(proxy), proxy.metric("pgcache_cache_generation")

        expected = expect(origin, name, workers)
        def after_write():
            if not DIRECT:
                wait_until(lambda: proxy.metric("pgcache_cache_tables_tracked") >= TABLES, "all tables are followed")
            proxy.settle(direct)

        answers = visit(proxy.url(), name, workers, after_warm_up, after_write)
        for mine, right in zip(answers, expected):
            assert mine == right
        if DIRECT:
            return
        hits, asked, forwarded = reads(proxy)
        emptied = proxy.metric("pgcache_cache_generation") - generation
        rest = {reason: count - before[2].get(reason, 0) for reason, count in forwarded.items()}
        ratio = (hits - before[0]) / (asked - before[1] - rest.get("own_read", 0))
        rows = f" ({proxy.metric('pgcache_cache_rows_answers'):.0f} read from rows)" if proxy.uses_rows else ""
        told = (f"{name}, {workers} workers: hit ratio: {ratio:.2f} of {asked - before[1]:.0f} SELECTs{rows}; emptied "
                f"{emptied:.0f} times; forwarded: { {reason: count for reason, count in rest.items() if count} }")
        with capsys.disabled():
            print(f"\n{told}")
        assert ratio > 0.8, f"{told}\n{proxy.metrics()}"
    finally:
        direct.close()
        if proxy is not None:
            proxy.remove()
        origin.drop_database(database)


@pytest.mark.parametrize("name", SHOPS)
def test_shop_answers_as_on_the_origin(capsys, origin, reactor, start_proxy, name):
    if reactor == "io_uring" and name != "sqlalchemy-psycopg":
        pytest.skip("one shop says enough about the other reactor")
    # How many reads behind a write find the watermark not far enough is a matter of the machine: they wait for it.
    check(capsys, origin, start_proxy, name, read_your_writes="wait", read_your_writes_timeout="10s")


@pytest.mark.parametrize("name", ["sqlalchemy-psycopg", "psycopg"])
def test_shop_with_two_workers_reads_each_others_writes(capsys, origin, reactor, start_proxy, name):
    if reactor == "io_uring":
        pytest.skip("one reactor is enough for what does not depend on it")
    check(capsys, origin, start_proxy, name, workers=2,
          read_your_writes="commit", read_your_writes_timeout="10s")


@pytest.mark.parametrize("name", ["sqlalchemy-psycopg", "django", "psycopg"])
def test_shop_with_rows(capsys, origin, reactor, start_proxy, name):
    """What its writes drop is answered from rows."""
    if reactor == "io_uring":
        pytest.skip("one reactor is enough for what does not depend on it")
    check(capsys, origin, start_proxy, name, read_your_writes="wait", read_your_writes_timeout="10s", **WITH_MEMO)
