"""Aggregates over ranges of 2 to 100 001 rows, from the origin and through pgcache: the first time that a range is
asked for, and later."""
import contextlib
import statistics

from peers import FIRST_KEY, Failure, counted, note

TEXT = "select count(*), sum(value), min(note) from readings_{clients} where id between ###### and @@@@@@"
CLIENTS = (8, 1)
ROWS = 900_000
# The last rows are for warming up.
WARM_UP_ROWS = 20_000
# Rows of a range → ranges that are asked for in a round.
RANGES = {2: 1000, 11: 1000, 101: 1000, 1001: 400, 10_001: 60, 100_001: 12}
QUICK_RANGES = {2: 400, 11: 400, 101: 300, 1001: 100, 10_001: 16, 100_001: 8}
# Cold passes in a round, over ranges that were not asked for before: one over small ranges is over in 60 ms.
COLD_PASSES = 4
COLD_PASSES_ROWS_MAX = 1001
# Requests through pgcache in a warm round, at least: hits are short.
WARM_REQUESTS = 2000
SETTLING_PASSES = 10
# pgcache's requests per second are at least this many of the origin's, with as many clients as make it a throughput.
# One alone, who waits for both hops, would not even get them through the relay: what that costs is told.
BOUND = 0.9
BOUNDED_CLIENTS = 8


def create(origin):
    """A table for each number of clients, so that what one asks for is not known from the other."""
    note(f"{len(CLIENTS)} tables of {ROWS} rows")
    for clients in CLIENTS:
        table = f"readings_{clients}"
        origin.execute(f"""
            create table {table} (id int not null, value int not null, note text not null);
            insert into {table} select k, k % 1000, substr(md5(k::text), 1, 12)
                from generate_series({FIRST_KEY}, {FIRST_KEY + ROWS - 1}) k;
            alter table {table} add primary key (id);
            vacuum analyze {table};
            checkpoint;
            set enable_seqscan = off; select count(*), min(note) from {table} where id > 0""")


def warm_up(load, pgcache):
    """Every connection has asked, and pgcache follows the table: what is cold are the ranges."""
    for _ in range(100):
        before = pgcache.hits()
        load.run(100, order="sequential", first=FIRST_KEY + ROWS - WARM_UP_ROWS, keys=100, stride=10, span=2, digest=1)
        if load.peer is not pgcache or pgcache.hits() > before:
            return
    raise Failure("no hit after 100 passes over 100 ranges")


class Round:
    """One size asked by one number of clients, cold and warm."""

    def __init__(self, loads, pgcache, clients, rows, ranges, number):
        self.loads, self.pgcache, self.clients, self.rows, self.ranges = loads, pgcache, clients, rows, ranges
        self.first = COLD_PASSES * number
        self.move(0)

    def move(self, number):
        """To ranges that nobody has asked for."""
        stride = (ROWS - WARM_UP_ROWS - self.rows) // self.ranges
        self.how = {
            "order": "sequential", "first": FIRST_KEY + 37 * (self.first + number) % stride, "keys": self.ranges,
            "stride": stride, "span": self.rows, "digest": 1}
        self.digest = None

    def passes(self, load, count):
        before = self.pgcache.hits()
        figures = load.measure(self.ranges * count, **self.how)
        self.digest = self.digest or figures["digest"]
        if figures["digest"] != self.digest * count % 2**64:
            raise Failure(f"{load.peer.name} gave other answers for {self.rows} rows than the first that was asked")
        figures["hits"] = (self.pgcache.hits() - before) / (self.ranges * count)
        return figures

    def settle(self, load):
        """Until a whole pass comes from the cache, or it is in vain."""
        for _ in range(SETTLING_PASSES):
            if self.passes(load, 1)["hits"] == 1:
                return

    def cold(self):
        passes = {load.peer.name: [] for load in self.loads}
        for number in range(COLD_PASSES if self.rows <= COLD_PASSES_ROWS_MAX else 1):
            self.move(number)
            for load in self.loads:
                passes[load.peer.name].append(self.passes(load, 1))
        return {
            name: {"per_second": statistics.harmonic_mean(figures["per_second"] for figures in some),
                   "hits": statistics.mean(figures["hits"] for figures in some)}
            for name, some in passes.items()}

    def run(self):
        """Figures by phase and peer."""
        cold, warm = self.cold(), {}
        for load in self.loads:
            if load.peer is self.pgcache:
                self.settle(load)
                warm["pgcache"] = self.passes(load, -(-WARM_REQUESTS // self.ranges))
            elif load.peer.name == "origin":
                warm["origin"] = self.passes(load, 1)
        return {"cold": cold, "warm": warm}


def measure(origin, relay, pgcache, new_load, rounds, quick):
    # It would read all of that from the stream.
    pgcache.stop()
    create(origin)
    sizes = QUICK_RANGES if quick else RANGES
    # (clients, rows, phase) → the rounds' figures by peer.
    figures = {}
    for number in range(rounds):
        pgcache.restart()
        for clients in CLIENTS:
            with contextlib.ExitStack() as stack:
                loads = [new_load(peer, clients, TEXT.format(clients=clients)) for peer in (origin, relay, pgcache)]
                for load in loads:
                    stack.callback(load.close)
                    load.peer.before_cell()
                    warm_up(load, pgcache)
                # Another one begins each time.
                loads = loads[number % 3:] + loads[:number % 3]
                # The small ones first: a large one would bring their rows.
                for rows, ranges in sizes.items():
                    for phase, by_peer in Round(loads, pgcache, clients, rows, ranges, number).run().items():
                        figures.setdefault((clients, rows, phase), []).append(by_peer)
    return [summary(*key, sizes[key[1]], by_round) for key, by_round in figures.items()]


def summary(clients, rows, phase, ranges, by_round):
    def median(value):
        return statistics.median(value(peers) for peers in by_round)

    def ratio(name):
        return round(median(lambda peers: peers[name]["per_second"] / peers["origin"]["per_second"]), 3)

    cell = {
        "clients": clients, "rows": rows, "phase": phase, "ranges": ranges,
        **{name: round(median(lambda peers: peers[name]["per_second"]), 1) for name in sorted(by_round[0])},
        "ratio": ratio("pgcache"), "hits": round(median(lambda peers: peers["pgcache"]["hits"]), 3),
    }
    if phase == "cold":
        cell["relay_ratio"] = ratio("relay")
        cell["ratio_to_relay"] = round(median(
            lambda peers: peers["pgcache"]["per_second"] / peers["relay"]["per_second"]), 3)
    print(f"  {counted(clients):9} {rows:7} rows {phase}  origin {cell['origin']:8.0f}/s"
          f"  pgcache {cell['pgcache']:8.0f}/s  {100 * cell['hits']:3.0f} % hits  {cell['ratio']:7.2f}×"
          + (f" (bound {BOUND})" if clients == BOUNDED_CLIENTS else "")
          + (f"  the relay {cell['relay_ratio']:.2f}×, {cell['ratio_to_relay']:.2f}× of that"
             if phase == "cold" else ""), flush=True)
    return cell


def slower(cells):
    """What is slower than the bound, and whether it is bounded."""
    for cell in cells:
        if cell["ratio"] < BOUND:
            yield (cell["clients"] == BOUNDED_CLIENTS,
                   f"cliff, {counted(cell['clients'])}, {cell['rows']} rows, {cell['phase']}: "
                   f"{cell['ratio']}× the origin's requests per second, {BOUND} wanted")
