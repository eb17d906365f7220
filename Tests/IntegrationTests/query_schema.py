"""The schema of the random SELECTs and the random changes of its rows.

Domains are small, so that conditions match and changes matter; NULLs are everywhere. Floats are multiples of a
quarter and numerics have two digits behind the point: whatever order they are added in, the sum is the same.
"""
import random
from typing import NamedTuple

SCHEMA = """
create type mood as enum ('sad', 'ok', 'happy');
create type pair as (a int, b text);
create domain level as int check (value < 1000);
create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

create table item (
    id int primary key, kind int, name text, price numeric(8, 2), score float8, made date, seen timestamptz,
    moment timestamp, is_open bool, tags text[], numbers int[], doc jsonb, span int4range, feeling mood, token uuid,
    words tsvector, both_of pair, rank level, code char(6), folded text collate folded, points bigint,
    doubled int generated always as (kind * 2) stored, body text);
alter table item alter body set storage external;
create table orders (
    id int primary key, item_id int, person_id int, quantity int, amount numeric(8, 2), placed date, note varchar(20),
    status text, twofold int generated always as (quantity * 2) stored);
alter table orders replica identity full;
create table person (
    id int primary key, name text, city varchar(20), boss_id int, tenant int not null, born date, active bool);
create table line (
    order_id int, number smallint, item_id int, quantity int, price numeric(8, 2), primary key (order_id, number));
create table node (id int primary key, parent_id int, label text);
create table part_of (id int primary key, node_id int references node on delete cascade, size bigint);
create table bag (a int, b text, c numeric(6, 2));
alter table bag replica identity full;
create table by_index (u int not null, v int, w text, body text);
alter table by_index alter body set storage external;
create unique index by_index_u on by_index (u);
alter table by_index replica identity using index by_index_u;

create table event (id int, region text, day date, value int, note text, primary key (id, region))
    partition by list (region);
create table event_north partition of event for values in ('north');
create table event_south (note text, value int, id int, gone int, region text, day date, primary key (id, region));
alter table event_south drop column gone;
alter table event_south alter region set not null;
alter table event attach partition event_south for values in ('south', 'east');
create table event_rest partition of event default partition by range (id);
create table event_low partition of event_rest for values from (minvalue) to (8);
create table event_high partition of event_rest for values from (8) to (maxvalue);

create table vehicle (id int primary key, wheels int, name text);
create table car (doors int, primary key (id)) inherits (vehicle);
create table truck (weight int, primary key (id)) inherits (vehicle);

create view open_item as select id, kind, name, price from item where is_open;
create view order_line as select o.id, o.status, l.number, l.quantity, l.item_id
    from orders o left join line l on l.order_id = o.id;
create view per_kind as select kind, count(*) as items, sum(price) as total from item group by kind;
create view open_order as select v.id, v.name, o.quantity, o.status
    from open_item v join orders o on o.item_id = v.id where o.status <> 'done';
create view own_person with (security_invoker) as select id, name, tenant, boss_id from person where tenant = 1;
create view order_short (id, quantity, item_id) as select quantity, id, person_id from orders where status is not null;
create view any_order as select * from orders;
create view first_items as select id, kind from item where kind < 3 order by id limit 5;
create view two_regions as select id, value, day from event where region = 'north'
    union all select id, value, day from event where region = 'south';

create function twice(n bigint) returns bigint immutable language sql as 'select $1 * 2';
create function shorten(t text, n int) returns text immutable strict language sql as 'select left($1, $2)';
create function in_kind(k int) returns bigint stable language sql as 'select count(*) from public.item where kind = $1';
create function plain_plus(a int, b int) returns int immutable language plpgsql as 'begin return a + b; end';

create unlogged table unlogged_item (id int primary key, kind int);
create materialized view item_copy as select id, kind from item;
create table secret (id int primary key, tenant int);
alter table secret enable row level security;
create policy everybody on secret using (tenant = 1);
do $$ begin execute format('alter database %I set jit = off', current_database()); end $$;
create table mark (id int primary key, n int not null);
insert into mark values (1, 0);
"""

# A column with a collation of its own keeps its table out of the row tier.
ROWS_SCHEMA = SCHEMA.replace("collate folded", "")

WORDS = ("ash", "birch", "cedar", "elm", "Ash", "ash tree", "a%b", "it's", "")
NOTES = ("note a", "note b", "urgent", "")
STATUSES = ("new", "paid", "sent", "done")
CITIES = ("Oslo", "Köln", "Paris")
REGIONS = ("north", "south", "east", "west")
DOCUMENTS = ('{"n": 1, "k": "a", "list": [1, 2]}', '{"n": 2, "k": "b", "list": []}', '{"n": 3, "o": {"k": "a"}}',
             '{"k": null, "list": [3]}', '{}')


class Column(NamedTuple):
    """`sql` is how it is named where it is used; `domain` is (low, high) of numbers, words of texts."""

    sql: str
    type: str
    domain: tuple = ()


class Table(NamedTuple):
    keys: tuple[str, ...]
    columns: list[Column]
    rows: int = 26  # that it begins with


KEY = (1, 16)
KIND = (0, 4)
SMALL = (0, 9)


def columns(text: str, **domains) -> list[Column]:
    """"a:int b:text" with the domains of those that have one of their own."""
    found = []
    for word in text.split():
        name, kind = word.split(":")
        found.append(Column(name, kind, domains.get(name, DOMAINS.get(kind, ()))))
    return found


DOMAINS = {"int": SMALL, "text": WORDS, "numeric": (0, 60), "float": (0, 40), "date": (0, 30), "stamptz": (0, 30),
           "stamp": (0, 30), "bool": (0, 1), "uuid": (0, 5), "mood": ("sad", "ok", "happy"),
           "char": ("A1", "B2", "c", "A1  "),
           "int_array": SMALL, "text_array": WORDS,
           "folded": WORDS}

TABLES = {
    "item": Table(("id",), columns(
        "id:int kind:int name:text price:numeric score:float made:date seen:stamptz moment:stamp is_open:bool "
        "tags:texts numbers:ints doc:json span:range feeling:mood token:uuid words:vector both_of:pair rank:int "
        "code:char folded:folded points:int doubled:int body:text", id=KEY, kind=KIND, doubled=(0, 8))),
    "orders": Table(("id",), columns(
        "id:int item_id:int person_id:int quantity:int amount:numeric placed:date note:text status:text twofold:int",
        id=KEY, item_id=KEY, person_id=KEY, status=STATUSES, note=NOTES, twofold=(0, 18)), 30),
    "person": Table(("id",), columns(
        "id:int name:text city:text boss_id:int tenant:int born:date active:bool",
        id=KEY, city=CITIES, boss_id=KEY, tenant=(1, 3))),
    "line": Table(("order_id", "number"), columns(
        "order_id:int number:int item_id:int quantity:int price:numeric",
        order_id=KEY, number=(0, 2), item_id=KEY), 30),
    "node": Table(("id",), columns("id:int parent_id:int label:text", id=KEY, parent_id=(1, 8))),
    "part_of": Table(("id",), columns("id:int node_id:int size:int", id=KEY, node_id=KEY)),
    "bag": Table((), columns("a:int b:text c:numeric", a=KIND, b=NOTES), 10),
    "by_index": Table(("u",), columns("u:int v:int w:text body:text", u=KEY, v=KIND)),
    "event": Table(("id", "region"), columns(
        "id:int region:text day:date value:int note:text", id=KEY, region=REGIONS, note=NOTES), 30),
    "vehicle": Table(("id",), columns("id:int wheels:int name:text", id=KEY, wheels=KIND), 8),
    "car": Table(("id",), columns("id:int wheels:int name:text doors:int", id=KEY, wheels=KIND, doors=KIND), 8),
    "truck": Table(("id",), columns("id:int wheels:int name:text weight:int", id=KEY, wheels=KIND), 8),
}

VIEWS = {
    "open_item": columns("id:int kind:int name:text price:numeric", id=KEY, kind=KIND),
    "order_line": columns("id:int status:text number:int quantity:int item_id:int", id=KEY, status=STATUSES,
                          item_id=KEY, number=(0, 2)),
    "per_kind": columns("kind:int items:int total:numeric", kind=KIND),
    "open_order": columns("id:int name:text quantity:int status:text", id=KEY, status=STATUSES),
    "own_person": columns("id:int name:text tenant:int boss_id:int", id=KEY, tenant=(1, 2), boss_id=KEY),
    "order_short": columns("id:int quantity:int item_id:int", quantity=KEY, item_id=KEY),
    "any_order": columns("id:int item_id:int person_id:int quantity:int amount:numeric placed:date note:text "
                         "status:text twofold:int", id=KEY, item_id=KEY, person_id=KEY, status=STATUSES, note=NOTES),
    "first_items": columns("id:int kind:int", id=KEY, kind=KIND),
    "two_regions": columns("id:int value:int day:date", id=KEY),
}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def day(number: int) -> str:
    return f"2026-{1 + number // 28:02}-{1 + number % 28:02}"


def drawn(source: random.Random, kind: str, domain: tuple) -> str:
    """A value of the domain as the text that a parameter would carry."""
    if kind in ("text", "folded", "char", "mood"):
        return source.choice(domain)
    if kind == "int_array":
        return "{" + ",".join(str(source.randint(*domain)) for _ in range(source.randint(0, 3))) + "}"
    if kind == "text_array":
        return "{" + ",".join('"' + source.choice(domain) + '"' for _ in range(source.randint(0, 3))) + "}"
    number = source.randint(*domain) if domain else 0
    quarter = source.choice(["00", "25", "50", "75"])
    return {
        "int": str(number), "rows": str(number), "numeric": f"{number}.{quarter}", "float": f"{number}.{quarter}",
        "date": day(number),
        "stamptz": f"{day(number)} {number % 24:02}:30:00+00", "stamp": f"{day(number)} {number % 24:02}:30:00",
        "bool": "true" if number else "false", "uuid": f"00000000-0000-0000-0000-{number:012}",
    }[kind]


def value(source: random.Random, column: Column) -> str:
    """A value to store there, as an expression of SQL."""
    if source.random() < 0.15:
        return "null"
    kind = column.type
    some = source.sample(range(5), source.randint(0, 3))
    if kind == "texts":
        return "array[" + ", ".join(quoted("t" + str(n)) for n in some) + "]::text[]"
    if kind == "ints":
        return "array[" + ", ".join(map(str, some)) + source.choice(["", ", null"] if some else [""]) + "]::int[]"
    if kind == "json":
        return quoted(source.choice(DOCUMENTS))
    if kind == "range":
        low = source.randint(0, 9)
        return source.choice([f"int4range({low}, {low + source.randint(0, 6)})", f"int4range({low}, null)", "'empty'"])
    if kind == "vector":
        words = [source.choice(["ash", "elm", "oak"]) for _ in range(source.randint(0, 3))]
        return quoted(" ".join(words)) + "::tsvector"
    if kind == "pair":
        return f"row({source.choice(['1', '2', 'null'])}, {source.choice(['null', quoted('x')])})::pair"
    text = drawn(source, kind, column.domain)
    if column.sql == "body" and source.random() < 0.6:  # long enough to be stored out of line
        return f"repeat({quoted(text + ' ')}, 900)"
    return text if kind in ("int", "numeric", "float", "bool") else quoted(text)


NEVER_NULL = {"id", "u", "order_id", "number", "region", "tenant"}
COMPUTED = {"doubled", "twofold"}


class Changes:
    """Random changes, the same ones for the same seed. None of them fails."""

    def __init__(self, seed: int, tables: list[str] | None = None):
        self.random = random.Random(seed)
        self.tables = tables or [*TABLES, "item", "item", "orders", "orders", "person", "line", "event"]

    def value(self, column: Column) -> str:
        if column.sql == "node_id":  # what it refers to must be there
            return f"(select max(id) from node where id <= {self.random.randint(1, 16)})"
        found = value(self.random, column)
        while found == "null" and column.sql in NEVER_NULL:
            found = value(self.random, column)
        return found

    def insert(self, name: str, rows: int = 1) -> str:
        table = TABLES[name]
        chosen = [c for c in table.columns if c.sql not in COMPUTED]
        lines = ["(" + ", ".join(self.value(c) for c in chosen) + ")" for _ in range(rows)]
        return (f"insert into {name} ({', '.join(c.sql for c in chosen)}) values {', '.join(lines)}"
                + (" on conflict do nothing" if table.keys else ""))

    def where(self, name: str) -> str:
        table = TABLES[name]
        column = self.random.choice(table.columns[:4])
        if self.random.random() < 0.7 or column.type not in ("int", "text"):
            column = table.columns[0]
        if column.type == "text":
            return f"{column.sql} = {quoted(self.random.choice(column.domain))}"
        return f"{column.sql} {self.random.choice(['=', '=', '>'])} {self.random.randint(*column.domain)}"

    def update(self, name: str) -> str:
        table = TABLES[name]
        free = [c for c in table.columns if c.sql not in table.keys and c.sql not in COMPUTED]
        chosen = self.random.sample(free, min(self.random.choice([1, 1, 2]), len(free)))
        if name == "part_of":
            chosen = [c for c in free if c.sql == "size"]
        sets = ", ".join(f"{c.sql} = {self.value(c)}" for c in chosen)
        return f"update {name} set {sets} where {self.where(name)}"

    def new_key(self, name: str) -> str:
        """A row gets a key that nobody has; a moved one, perhaps, another partition."""
        table = TABLES[name]
        key = table.keys[0]
        old, new = self.random.randint(1, 16), self.random.randint(1, 16)
        rest = f" and {name}.{table.keys[1]} = other.{table.keys[1]}" if len(table.keys) > 1 else ""
        taken = f"(select from {name} other where other.{key} = {new}{rest})"
        fixed = " and not exists (select from part_of p where p.node_id = node.id)" if name == "node" else ""
        return f"update {name} set {key} = {new} where {key} = {old} and not exists {taken}{fixed}"

    def partition_move(self) -> str:
        old, new = self.random.sample(REGIONS, 2)
        return (f"update event set region = '{new}' where id > {self.random.randint(1, 16)} and region = '{old}' "
                f"and not exists (select from event other where other.id = event.id and other.region = '{new}')")

    def delete(self, name: str) -> str:
        only = "only " if name == "vehicle" and self.random.random() < 0.5 else ""
        return f"delete from {only}{name} where {self.where(name)}"

    def exchange(self, name: str) -> list[str]:
        """Two rows change keys, or one goes and comes again, within one transaction."""
        key, (one, two) = TABLES[name].keys[0], self.random.sample(range(1, 17), 2)
        if self.random.random() < 0.4:
            return [f"delete from {name} where {key} = {one}", self.insert(name, 2)]
        steps = [(one, -1), (two, one), (-1, two)]
        return [f"update {name} set {key} = {new} where {key} = {old}" for old, new in steps]

    def merge(self) -> str:
        key = self.random.randint(1, 16)
        return (f"merge into person using (values ({key})) new (id) on person.id = new.id when matched then "
                f"update set name = {quoted(self.random.choice(WORDS))} when not matched then "
                "insert (id, name, tenant) values (new.id, 'new', 1)")

    def leaf_insert(self) -> str:
        key = self.random.randint(1, 16)
        return f"insert into event_north (id, region, value) values ({key}, 'north', {key % 10}) on conflict do nothing"

    def one(self) -> list[str]:
        name = self.random.choice(self.tables)
        draw = self.random.random()
        if draw < 0.28:
            return [self.insert(name, self.random.choice([1, 1, 1, 3]))]
        if draw < 0.68:
            return [self.update(name)]
        if draw < 0.78 and TABLES[name].keys:
            return [self.new_key(name)]
        if draw < 0.82 and name in ("item", "orders", "person", "by_index"):
            return self.exchange(name)
        if draw < 0.87 and name == "event":
            return [self.partition_move() if draw < 0.84 else self.leaf_insert()]
        if draw < 0.87 and name == "person":
            return [self.merge()]
        if draw < 0.98:
            return [self.delete(name)]
        cascade = " cascade" if name == "node" else ""
        truncated = self.random.choice({
            "event": ["event", "event_north"], "vehicle": ["vehicle", "only vehicle"]}.get(name, [name]))
        return [f"truncate {truncated}{cascade}", self.insert(name, 8)]

    def transaction(self) -> list[str]:
        """The statements of one transaction: mostly a single change, now and then of several tables."""
        found = []
        for _ in range(self.random.choice([1, 1, 1, 1, 2, 3])):
            found += self.one()
        return found

    def fill(self) -> list[str]:
        """Rows for tables that lost theirs, and the first ones."""
        found = []
        for name, table in TABLES.items():
            if not table.keys:
                found.append(f"truncate {name}")
            found.append(self.insert(name, table.rows))
        return found
