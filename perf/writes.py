"""Reads by key while a share of the requests updates the same keys, on the same connections; how late a change of
the origin is seen through pgcache; and whether pgcache keeps up with the origin's commits."""
import contextlib
import itertools
import socket
import statistics
import struct
import time

from peers import FIRST_KEY, Failure, until

TABLE = "account"
READ = f"select id, version, payload from {TABLE} where id = ######"
WRITE = f"update {TABLE} set version = version + 1 where id = ######"
CLIENTS = 8
KEYS = 1000
# Behind those of the load: changed at the origin, one after the other, to be seen through pgcache.
LAG_KEYS = 500
FIRST_LAG_KEY = FIRST_KEY + KEYS
MIXES = (0, 5, 10, 30, 50)
# The share of updates beside which the lag is measured, too.
LAG_MIX = 10
# Microseconds between an answer and the next request of a connection: as an application that does something with
# it, and as one that does nothing but ask, beside which the origin has no time left to decode its own changes.
PAUSES = (1000, 0)
# The 99th percentile of the reads through pgcache is at most this many times the origin's own. Without pauses, from
# this share of updates on, the origin's full processor cannot decode its commits as fast as it makes them: what then
# waits for the stream is told.
BOUND = 1.0
UNBOUNDED_WITHOUT_PAUSES = 30


def create(origin):
    origin.execute(f"""
        create table {TABLE} (id int primary key, version int not null, payload text not null) with (fillfactor = 50);
        insert into {TABLE} select k, 0, repeat(md5(k::text), 3)
            from generate_series({FIRST_KEY}, {FIRST_LAG_KEY + LAG_KEYS - 1}) k;
        vacuum analyze {TABLE}""")


def fill(load, pgcache):
    def all_hit():
        before = pgcache.hits()
        load.run(KEYS, order="sequential")
        return pgcache.hits() - before == KEYS

    load.run(KEYS, order="sequential")
    until(all_hit, "a pass of nothing but hits")


def through_pgcache(load, pgcache, requests, mix, pause=0):
    """A round, and how long pgcache took to hear of its updates."""
    hits, applied = pgcache.hits(), pgcache.counter("pgcache_cdc_updates")
    began = time.monotonic()
    figures = load.measure(requests, writes=mix, pause=pause)
    after = pgcache.counter("pgcache_cdc_updates") - applied
    seconds = figures["seconds"]
    if after < figures["writes"]:
        until(lambda: pgcache.counter("pgcache_cdc_updates") - applied >= figures["writes"], "the last change")
        seconds = time.monotonic() - began
    figures["hits"] = (pgcache.hits() - hits) / (requests - figures["writes"])
    figures["committed_per_second"] = figures["writes"] / figures["seconds"]
    figures["applied_per_second"] = figures["writes"] / seconds
    if mix == 0 and figures["hits"] != 1:
        raise Failure(f"{figures['hits']} of the reads were hits without any update")
    return figures


def same_rows(witness, load):
    """Nothing that pgcache answers is older than what the origin has by now."""
    digests = [each.run(KEYS, order="sequential", digest=1)["digest"] for each in (witness, load)]
    if digests[0] != digests[1]:
        raise Failure("pgcache gives other rows than the origin")


def measure(alone, origin, pgcache, new_load, rounds, quick):
    """`alone` is an origin without pgcache, `origin` the one behind it."""
    counts = {1000: 2_000 if quick else 3_000, 0: 5_000 if quick else 10_000}
    create(alone)
    create(origin)
    # With new tables its next look at the catalog would flush the cache.
    pgcache.restart()
    mixes = []
    with contextlib.ExitStack() as stack:
        def opened(peer, clients):
            load = new_load(peer, clients, READ, write=WRITE)
            stack.callback(load.close)
            peer.before_cell()
            return load

        direct, cached, witness = opened(alone, CLIENTS), opened(pgcache, CLIENTS), opened(origin, 1)
        direct.run(KEYS, writes=50)
        through_pgcache(cached, pgcache, KEYS, 50)
        for pause, mix in itertools.product(PAUSES, MIXES):
            fill(cached, pgcache)
            by_round = []
            for turn in range(rounds):
                pair = {}
                for load in (direct, cached) if turn % 2 else (cached, direct):
                    pair[load.peer.name] = (
                        through_pgcache(load, pgcache, counts[pause], mix, pause) if load is cached
                        else load.measure(counts[pause], writes=mix, pause=pause))
                by_round.append(pair)
                same_rows(witness, cached)
            mixes.append(summary(mix, pause, counts[pause], alone.name, by_round))
        lag = {"quiet": measure_lag(origin, pgcache, None)}
        cached.begin(30_000 if quick else 60_000, writes=LAG_MIX)
        lag["loaded"] = measure_lag(origin, pgcache, cached)
        lag["loaded"]["requests_per_second"] = round(cached.end()["per_second"])
    for name, figures in lag.items():
        beside = f"beside {CLIENTS} clients with {LAG_MIX} % updates" if name == "loaded" else "nothing beside it"
        print(f"  a change is seen after p50 {figures['p50_us']:.0f} µs  p99 {figures['p99_us']:.0f} µs"
              f"  ({figures['changes']} changes, {beside})", flush=True)
    return {"mixes": mixes, "lag": lag}


def summary(mix, pause, requests, alone, by_round):
    def median(value):
        return statistics.median(value(pair) for pair in by_round)

    def figures(name, keys):
        return {key: round(median(lambda pair: pair[name][key]), 3) for key in keys}

    keys = ["per_second", "p50_us", "p99_us"] + ["write_p50_us", "write_p99_us"] * (mix > 0)
    cell = {
        "updates_percent": mix, "clients": CLIENTS, "pause_us": pause, "requests": requests,
        "origin": figures(alone, keys),
        "pgcache": figures("pgcache", keys + ["hits", "committed_per_second", "applied_per_second"]),
        "p99_ratio": round(median(lambda pair: pair["pgcache"]["p99_us"] / pair[alone]["p99_us"]), 3),
    }
    print(f"  {mix} % updates, {CLIENTS} clients, " + (f"pauses of {pause} µs" if pause else "no pauses"))
    for name in "origin", "pgcache":
        its = cell[name]
        print(f"    {name:8} {its['per_second']:8.0f}/s  reads p50 {its['p50_us']:7.1f} µs  p99 {its['p99_us']:7.1f} µs"
              + (f"  writes p50 {its['write_p50_us']:7.1f} µs  p99 {its['write_p99_us']:7.1f} µs" if mix else ""))
    its = cell["pgcache"]
    bound = f" (bound {BOUND})" if is_bounded(cell) else ""
    print(f"    pgcache's p99 is {cell['p99_ratio']:.2f}×{bound}; {100 * its['hits']:.1f} % hits"
          + (f"; {its['committed_per_second']:.0f} commits/s, {its['applied_per_second']:.0f} applied" if mix else ""),
          flush=True)
    return cell


class Connection:
    """Simple queries, and the bytes of their answers."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        words = b"user\0postgres\0database\0bench\0\0"
        self._ask(struct.pack("!ii", 8 + len(words), 196_608) + words)

    def ask(self, text):
        return self._ask(b"Q" + struct.pack("!i", 5 + len(text)) + text.encode() + b"\0")

    def _ask(self, message):
        self.socket.sendall(message)
        answer = b""
        while answer[-6:-1] != b"Z\0\0\0\5":
            more = self.socket.recv(1 << 16)
            if not more or more.startswith(b"E"):
                raise Failure(f"no answer: {more[:200]}")
            answer += more
        return answer


def measure_lag(origin, pgcache, load):
    """From the answer to an update at the origin to the first answer through pgcache that shows it, where pgcache
    had the row before. A share of it is the wait for a processor: all but pgcache share one."""
    writer, reader = Connection(origin.port), Connection(pgcache.port)
    keys = range(FIRST_LAG_KEY, FIRST_LAG_KEY + LAG_KEYS)
    reads = {key: READ.replace("######", str(key)) for key in keys}
    old = {key: reader.ask(read) for key, read in reads.items()}

    def all_hit():
        before = pgcache.hits()
        for read in reads.values():
            reader.ask(read)
        return load or pgcache.hits() - before == LAG_KEYS

    until(all_hit, "an entry for every key")
    lags = []
    for key in keys:
        if load and not load.is_running():
            break
        writer.ask(WRITE.replace("######", str(key)))
        began = time.monotonic()
        while reader.ask(reads[key]) == old[key]:
            if time.monotonic() - began > 5:
                raise Failure("a change of the origin was not seen for 5 s")
        lags.append(time.monotonic() - began)
    lags.sort()
    return {"changes": len(lags), "p50_us": round(lags[len(lags) // 2] * 1e6, 1),
            "p99_us": round(lags[len(lags) * 99 // 100] * 1e6, 1), "max_us": round(lags[-1] * 1e6, 1)}


def is_bounded(cell):
    return cell["pause_us"] > 0 or cell["updates_percent"] < UNBOUNDED_WITHOUT_PAUSES


def slower(figures):
    """What is slower than the bound, and whether it is bounded."""
    for cell in figures["mixes"]:
        if cell["p99_ratio"] > BOUND:
            pauses = f"pauses of {cell['pause_us']} µs" if cell["pause_us"] else "no pauses"
            yield (is_bounded(cell),
                   f"writes, {cell['updates_percent']} % updates, {pauses}: p99 of the reads {cell['p99_ratio']}× the "
                   f"origin's, {BOUND} wanted")
