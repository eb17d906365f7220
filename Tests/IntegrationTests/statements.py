"""A generator of SELECT statements over a rich schema, the same ones for the same seed.

Every statement has exactly one right answer: results are ordered by unique keys, or have one row, or
the order of what is equal cannot be seen. `cacheable` says whether the generator built it from parts
that the cache is expected to take; the others are there because they must be right all the same.
"""
import random
from typing import NamedTuple


class Statement(NamedTuple):
    sql: str  # with $1, $2, … where it has parameters
    values: tuple[str, ...] = ()
    cacheable: bool = True
    pattern: str = "others"

    def literal(self) -> str:
        """The same with its parameters written into the text."""
        text = self.sql
        for number, value in reversed(list(enumerate(self.values, 1))):
            quoted = value if value.lstrip("-").isdigit() else "'" + value.replace("'", "''") + "'"
            text = text.replace(f"${number}", quoted)
        return text


SCHEMA = """
create type mood as enum ('sad', 'ok', 'happy');
create table customer (
    id int primary key, name text not null, email varchar(60), city text, active bool,
    balance numeric(12, 2), score float8, rating real, joined date, seen timestamptz,
    visited timestamp, born time, level smallint, points bigint, code char(6), token uuid,
    data bytea, span interval, doc jsonb, raw json, tags text[], numbers int[], feeling mood,
    address inet, flags bit(8), cost money, range int4range);
insert into customer select i, 'customer ' || i,
    case when i % 5 = 0 then null else 'c' || i || '@example.org' end,
    (array['Oslo', 'Köln', 'Zürich', 'new york', null])[i % 5 + 1], i % 3 = 0,
    case when i % 7 = 0 then null else (i * 37 % 1000)::numeric / 4 end,
    case when i % 11 = 0 then null when i = 5 then 'NaN' when i = 6 then 'Infinity'
         else i * 1.1 - 20 end,
    i / 3.0, date '2025-12-20' + i, timestamptz '2026-01-01 12:00+00' + i * interval '7 hours',
    timestamp '2026-01-01 00:00' + i * interval '31 minutes', time '08:00' + i * interval '1 minute',
    i % 4, i * 10000000000::bigint, 'C' || i, ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
    decode(lpad(to_hex(i), 4, '0'), 'hex'), i * interval '1 day 2 hours',
    jsonb_build_object('n', i, 'name', 'c' || i, 'list', jsonb_build_array(i, i + 1)),
    json_build_object('b', 1, 'a', i), array['t' || i % 3, 't' || i % 2],
    case when i % 4 = 0 then null else array[i, i * 2, null] end,
    (enum_range(null::mood))[i % 3 + 1], ('10.0.0.' || i)::inet, (i % 256)::bit(8),
    (i * 1.25)::numeric::money, int4range(i, i + 10)
    from generate_series(1, 40) i;
create table orders (
    id int primary key, customer_id int, status varchar(10), amount numeric(10, 2), placed date,
    note text, priority int);
insert into orders select i, case when i % 13 = 0 then null else i * 7 % 45 end,
    (array['new', 'paid', 'sent', 'done'])[i % 4 + 1], (i * 53 % 400)::numeric / 3,
    date '2026-01-01' + i % 60, case when i % 6 = 0 then null else 'note ' || i % 9 end, i % 5
    from generate_series(1, 120) i;
create table line (
    order_id int, number int, product_id int not null, quantity int, price numeric(8, 2),
    primary key (order_id, number));
insert into line select i / 3 + 1, i % 3, i * 11 % 25, i % 7, (i * 17 % 90)::numeric / 2
    from generate_series(0, 239) i;
create table product (id int primary key, "Name" text, price int, "order" int, parent_id int);
insert into product select i, 'Product ' || i, i * i % 50, 26 - i, nullif(i / 2, 0)
    from generate_series(1, 25) i;
create table empty_one (id int primary key, v text);
"""

# table → (key columns, integer columns, text columns, all columns)
TABLES = {
    "customer": (["id"], ["id", "level", "points"], ["name", "email", "city"], [
        "id", "name", "email", "city", "active", "balance", "score", "rating", "joined", "seen",
        "visited", "born", "level", "points", "code", "token", "data", "span", "doc", "raw", "tags",
        "numbers", "feeling", "address", "flags", "cost", "range"]),
    "orders": (["id"], ["id", "customer_id", "priority"], ["status", "note"], [
        "id", "customer_id", "status", "amount", "placed", "note", "priority"]),
    "line": (["order_id", "number"], ["order_id", "number", "product_id", "quantity"], [], [
        "order_id", "number", "product_id", "quantity", "price"]),
    "product": (["id"], ["id", "price", '"order"', "parent_id"], ['"Name"'], [
        "id", '"Name"', "price", '"order"', "parent_id"]),
}

WORDS = {  # values to compare a text column with
    "name": ["customer 3", "customer 12", "c", "it's"], "email": ["c7@example.org", "c12@example.org"],
    "city": ["Oslo", "Köln", "Zürich", "new york", ""], "status": ["new", "paid", "sent", "done"],
    "note": ["note 4", "note 1", "none"], '"Name"': ["Product 7", "Product 12", "product"]}

JOINS = [  # left, right, condition
    ("customer", "orders", "{0}.id = {1}.customer_id"),
    ("orders", "line", "{0}.id = {1}.order_id"),
    ("line", "product", "{0}.product_id = {1}.id"),
    ("product", "product", "{0}.parent_id = {1}.id"),
    ("orders", "orders", "{0}.id = {1}.priority"),
]

EXPRESSIONS = [
    "id + 1", "-id", "id * 2 - level", "level / 2", "points % 7", "coalesce(email, 'none')",
    "nullif(city, 'Oslo')", "upper(name)", "length(name)", "name || '!'", "substr(name, 1, 3)",
    "case when active then 'yes' when active is null then 'unknown' else 'no' end",
    "case level when 1 then 'one' else 'other' end", "balance * 1.10", "round(balance, 1)",
    "score::numeric(10, 3)", "abs(score)", "id::text", "id::bigint", "name::varchar(4)",
    "doc -> 'list'", "doc ->> 'name'", "tags[1]", "numbers[2]", "joined + 1",
    "greatest(id, level, 3)", "least(balance, 10)", "id between 3 and 9", "name like '%1%'",
    "id in (1, 2, 3)", "email is null", "active and id > 3", "not active", "id = any(numbers)",
    "feeling > 'sad'", "md5(name)", "array[id, level]", "row(id, level)::text is null",
    "code || '|'", "flags & b'00001111'", "lower(range)", "date_part('month', visited)",
    "extract(year from joined)", "to_char(id, '0000')", "to_char(seen, 'YYYY-MM-DD HH24:MI TZ')",
    "joined::text", "seen::date", "span * 2", "cost", "concat(name, '-', id)", "trim(code)",
    "1", "'constant'", "null", "true", "1.50", "b'101'", "E'tab\\there'", "'it''s'",
]

AGGREGATES = [
    "count(*)", "count({0})", "count(distinct {0})", "sum({0})", "min({0})", "max({0})",
    "avg({0})", "sum({0}) filter (where {0} > 3)", "bool_and({0} > 0)", "bool_or({0} is null)",
    "array_agg({0} order by {0})", "string_agg({0}::text, ',' order by {0})",
    "max({0}) - min({0})", "coalesce(sum({0}), 0)",
]

# Forwarded now, and as right as everything else.
FORWARDED = [
    "select id, (select count(*) from orders o where o.customer_id = c.id) from customer c order by id",
    "select id from customer where id in (select customer_id from orders where amount > 50) order by id",
    "select id from customer c where exists (select from orders o where o.customer_id = c.id) "
    "order by id",
    "with o as (select * from orders where status = 'new') select id, amount from o order by id",
    "select id from customer union select id from orders order by id",
    "select id from customer intersect select customer_id from orders order by 1",
    "select id, row_number() over (order by id desc) from customer order by id",
    "select status, sum(amount) over (partition by status order by id) from orders order by id",
    "select status, priority, count(*) from orders group by rollup (status, priority) order by 1, 2",
    "select n from generate_series(1, 5) n",
    "select c.id, x.amount from customer c cross join lateral (select amount from orders o "
    "where o.customer_id = c.id order by o.id limit 1) x order by c.id",
    "select c.id, o.id from customer c full join orders o on c.id = o.customer_id order by 1, 2",
    "select c.id, o.id from customer c right join orders o on c.id = o.customer_id order by 1, 2",
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) select * from t",
    "select distinct on (status) status, id from orders order by status, id desc",
    "values (1, 'a'), (2, 'b')", "table empty_one", "select count(*) from pg_class where oid < 100",
    "select unnest(tags) from customer order by id, 1", "select from empty_one", "select from product",
    "select c from customer c where id = 1", "select current_database() is not null from product",
    "select id from customer where joined < current_date - 10000 order by id",
    "select id from orders order by id fetch first 3 rows with ties",
    "select id from customer where name collate \"C\" < 'customer 2' order by name collate \"C\"",
    "select 'now'::date > '2000-01-01' from product where id = 1",
]


class Generator:
    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def condition(self, table: str, prefix: str, values: list[str]) -> str:
        """One condition on a column of the table; may take a parameter."""
        _, integers, texts, _ = TABLES[table]
        draw = self.random.random()
        if draw < 0.55 or not texts:
            column = prefix + self.pick(integers)
            number = str(self.random.choice([-2, 0, 1, 2, 3, 4, 7, 12, 20, 33, 45]))
            kind = self.random.randrange(9)
            if kind < 3:
                return f"{column} {self.pick(['=', '<', '>', '<=', '>=', '<>'])} {number}"
            if kind == 3:
                values.append(number)
                return f"{column} = ${len(values)}"
            if kind == 4:
                values += [number, str(int(number) + 10)]
                return f"{column} between ${len(values) - 1} and ${len(values)}"
            if kind == 5:
                return f"{column} in ({number}, {self.random.randint(0, 45)}, 3)"
            if kind == 6:
                return f"{column} is {self.pick(['null', 'not null'])}"
            if kind == 7:
                return f"{column} not between {number} and {int(number) + 5}"
            return f"{number} < {column}"
        column = prefix + self.pick(texts)
        word = self.pick(WORDS[column.removeprefix(prefix)])
        quoted = word.replace("'", "''")
        kind = self.random.randrange(6)
        if kind < 2:
            return f"{column} = '{quoted}'"
        if kind == 2:
            values.append(word)
            return f"{column} = ${len(values)}"
        if kind == 3:
            part = word[:2].replace("'", "''")
            return f"{column} {self.pick(['like', 'ilike', 'not like', 'not like'])} '%{part}%'"
        if kind == 4:
            return f"{column} in ('{quoted}', 'sent', 'Zürich')"
        return f"{column} {self.pick(['>', '<>', '<>'])} '{quoted}'"

    def where(self, tables: list[tuple[str, str]], values: list[str]) -> str:
        parts = []
        for _ in range(self.pick([0, 1, 1, 1, 1, 2, 2, 3])):
            table, prefix = self.pick(tables)
            part = self.condition(table, prefix, values)
            if self.random.random() < 0.15:
                part = f"not ({part})"
            if self.random.random() < 0.2:
                other, other_prefix = self.pick(tables)
                part = f"({part} or {self.condition(other, other_prefix, values)})"
            parts.append(part)
        return " where " + " and ".join(parts) if parts else ""

    def page(self) -> str:
        return self.pick(["", "", "", " limit 5", " limit 3 offset 2", " limit 0", " offset 4",
                          " limit all", " fetch first 2 rows only"])

    def single(self) -> Statement:
        table = self.pick(list(TABLES))
        keys, _, _, columns = TABLES[table]
        values: list[str] = []
        if self.random.random() < 0.25:
            chosen = "*"
        else:
            picked = self.random.sample(columns, self.random.randint(1, min(6, len(columns))))
            if table == "customer" and self.random.random() < 0.5:
                picked += self.random.sample(EXPRESSIONS, 2)
            if self.random.random() < 0.3:
                picked[0] += self.pick([" as a", ' as "A b"', " as id", " x"])
            chosen = ", ".join(picked)
        direction = self.pick(["", " desc"])
        order = ", ".join(f"{table}.{key}{direction}" for key in keys)
        return Statement(f"select {chosen} from {table}{self.where([(table, '')], values)} "
                         f"order by {order}{self.page()}", tuple(values))

    def aggregate(self) -> Statement:
        table = self.pick(list(TABLES))
        _, integers, texts, _ = TABLES[table]
        values: list[str] = []
        chosen = [self.pick(AGGREGATES).format(self.pick(integers))
                  for _ in range(self.random.randint(1, 3))]
        condition = self.where([(table, "")], values)
        if self.random.random() < 0.5:
            return Statement(f"select {', '.join(chosen)} from {table}{condition}", tuple(values))
        group = self.pick(integers[1:] + texts)
        having = self.pick(["", "", f" having count(*) > {self.random.randint(0, 4)}"])
        return Statement(
            f"select {group}, {', '.join(chosen)} from {table}{condition} group by {group}{having} "
            f"order by {group} nulls first", tuple(values))

    def join(self) -> Statement:
        left, right, condition = self.pick(JOINS)
        kind = self.pick(["join", "inner join", "left join", "left outer join"])
        values: list[str] = []
        on = condition.format("a", "b")
        if self.random.random() < 0.35:
            on += " and " + self.condition(right, "b.", values)
        columns = ["a." + c for c in self.random.sample(TABLES[left][3], 2)]
        columns += ["b." + c for c in self.random.sample(TABLES[right][3], 2)]
        source = f"{left} a {kind} {right} b on {on}"
        order = [f"a.{key}" for key in TABLES[left][0]] + [f"b.{key}" for key in TABLES[right][0]]
        tables = [(left, "a."), (right, "b.")]
        if self.random.random() < 0.3:
            extra = [j for j in JOINS if j[0] == right]
            if extra:
                _, third, more = self.pick(extra)
                source += f" {self.pick(['join', 'left join'])} {third} c on {more.format('b', 'c')}"
                order += [f"c.{key}" for key in TABLES[third][0]]
                tables.append((third, "c."))
        if self.random.random() < 0.2:
            return Statement(f"select count(*), count(b.*) > 0 from {source}"
                             f"{self.where(tables, values)}", tuple(values), cacheable=False)
        return Statement(f"select {', '.join(columns)} from {source}{self.where(tables, values)} "
                         f"order by {', '.join(order)}{self.page()}", tuple(values))

    def distinct(self) -> Statement:
        table = self.pick(list(TABLES))
        column = self.pick(TABLES[table][1] + TABLES[table][2])
        values: list[str] = []
        return Statement(f"select distinct {column} from {table}{self.where([(table, '')], values)} "
                         f"order by {column}", tuple(values))

    def statements(self, count: int) -> list[Statement]:
        """`count` different generated statements, and the forwarded ones."""
        found: dict[str, Statement] = {}
        while len(found) < count:
            make = self.random.choices(
                [self.single, self.aggregate, self.join, self.distinct], [45, 20, 28, 7])[0]
            statement = make()._replace(pattern=make.__name__)
            found.setdefault(statement.sql, statement)
        return list(found.values()) + [Statement(sql, cacheable=False) for sql in FORWARDED]

    def changes(self, count: int) -> list[str]:
        """Changes of every kind, spread over all tables."""
        made = []
        for number in range(count):
            key, other = self.random.randint(1, 40), self.random.randint(1, 120)
            made.append(self.pick([
                f"update customer set name = 'renamed {number}' where id = {key}",
                f"update customer set level = {number % 5}, city = 'Oslo' where id = {key}",
                f"update customer set email = null where id = {key}",
                f"update customer set balance = balance + 1 where id < {key % 6}",
                f"update orders set status = 'paid', amount = amount + 1 where id = {other}",
                f"update orders set customer_id = {key} where id = {other}",
                f"update orders set id = id + 1000 where id = {other}",
                f"delete from orders where id = {other}",
                f"insert into orders values ({2000 + number}, {key}, 'new', 10, '2026-02-01', null, 2)",
                f"update line set quantity = quantity + 1 where order_id = {other % 80}",
                f"delete from line where order_id = {other % 80} and number = 1",
                f"insert into line values ({3000 + number}, 0, {key % 25}, 1, 1.5)",
                f"update product set price = {number}, parent_id = null where id = {key % 25}",
                f"insert into product values ({100 + number}, 'new', 1, 1, 1)",
                "insert into empty_one values (1, 'x') on conflict do nothing",
            ]))
        return made
