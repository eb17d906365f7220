"""What a change costs pgcache by how many entries its relation has: transactions of one change on a table with few
entries and on one with many, each of which alters one of them."""
import statistics
import time

from peers import FIRST_KEY, Failure, note, until

FEW, MANY = 100, 100_000
# Transactions in a round.
CHANGES = 100
# Condition of the statement, and whether the stream brings old images.
KINDS = {
    "key": ("id = ######", False),
    "equality": ("tenant = ######", True),
    "range": ("size between ###### and ######", True),
}


class Table:
    """A table and an entry for each of its rows."""

    def __init__(self, origin, pgcache, new_load, kind, count):
        self.origin, self.pgcache, self.count = origin, pgcache, count
        self.name = f"{kind}_{count}"
        condition, has_old_images = KINDS[kind]
        origin.execute(f"""
            create table {self.name} (id int primary key, tenant int, size int, payload text);
            insert into {self.name} select k, k, k, md5(k::text)
                from generate_series({FIRST_KEY}, {FIRST_KEY + count - 1}) k;
            create index on {self.name} (tenant); create index on {self.name} (size);
            alter table {self.name} replica identity {'full' if has_old_images else 'default'};
            analyze {self.name}""")
        self.load = new_load(f"select id, payload from {self.name} where {condition}")
        self.rounds = 0

    def fill(self):
        def all_hit():
            before = self.pgcache.hits()
            self.load.run(self.count, order="sequential", keys=self.count)
            return self.pgcache.hits() - before == self.count

        until(all_hit, f"an entry for every row of {self.name}", 300)

    def round(self):
        """Microseconds of pgcache's processor for each transaction."""
        if self.count == CHANGES:
            self.fill()
        step = self.count // CHANGES
        keys = [FIRST_KEY + number * step + self.rounds % step for number in range(CHANGES)]
        # Where there are many, each round ends others.
        self.rounds += 37
        altered, spent = self.altered(), self.pgcache.cpu()
        self.origin.execute("".join(
            f"update {self.name} set payload = payload || '.' where id = {key};\n" for key in keys))
        # Nobody asks pgcache for anything until they have come through.
        time.sleep(0.3)
        spent = self.pgcache.cpu() - spent
        altered = self.altered() - altered
        if altered != CHANGES:
            raise Failure(f"{CHANGES} changes of {self.name} altered {altered} entries")
        return spent / CHANGES / 1000

    def altered(self):
        """How many entries a change has ended or, which is only possible by key, was written into."""
        return (self.pgcache.counter("pgcache_cache_invalidations")
                + self.pgcache.counter("pgcache_cache_memo_patches"))


def measure(origin, pgcache, new_load, kind, rounds):
    note(f"{FEW} and {MANY} entries by {kind}")
    few, many = (Table(origin, pgcache, new_load, kind, count) for count in (FEW, MANY))
    figures = {few: [], many: []}
    try:
        many.fill()
        for _ in range(rounds):
            for table in few, many:
                figures[table].append(table.round())
    finally:
        few.load.close()
        many.load.close()
    cheap, dear = statistics.median(figures[few]), statistics.median(figures[many])
    return {"kind": kind, "few_us": round(cheap, 2), "many_us": round(dear, 2), "ratio": round(dear / cheap, 3)}
