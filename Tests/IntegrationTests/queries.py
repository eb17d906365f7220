"""Random SELECTs over the schema of query_schema.py, the same ones for the same seed.

Every statement has one answer: `is_ordered` says that its rows come in one order, else they are a multiset. Whatever
SQL leaves open is not generated: LIMIT stands only behind an order of all output columns, what depends on the order of
rows is computed in the order of their keys. Each statement says which patterns it is made of.
"""
import struct
from datetime import date
from typing import NamedTuple

from query_expressions import HOLE, SCALARS, Constant, Scope
from query_schema import SMALL, TABLES, Column
from query_sources import OPAQUE, RELATIONS, Query, Source, Sources
from query_templates import ERRORS, FORWARDED, RECURSIVE


TYPES = {"text": 25, "folded": 25, "char": 1042, "numeric": 1700, "float": 701, "date": 1082, "stamp": 1114,
         "stamptz": 1184, "bool": 16, "uuid": 2950}
INTEGERS = {21: "!h", 23: "!i", 20: "!q"}


def wire_value(kind: str, value: str | None) -> tuple[int, bytes | None, int]:
    """OID, bytes and format code. Integers come in every width, some as numeric; integers and dates are binary."""
    if kind in ("int", "rows"):
        oid = 20 if kind == "rows" else [23, 20, 21, 23, 20, 1700][int(value or 0) % 6]
        if oid in INTEGERS:
            return oid, None if value is None else struct.pack(INTEGERS[oid], int(value)), 1
        return oid, value.encode(), 0
    oid = TYPES.get(kind, 0)
    if value is None:
        return oid, None, 0
    if kind == "date":
        return oid, struct.pack("!i", (date.fromisoformat(value) - date(2000, 1, 1)).days), 1
    return oid, value.encode(), 0


class Statement(NamedTuple):
    template: str  # with a hole for each constant
    constants: tuple[Constant, ...]
    tags: frozenset[str]
    is_ordered: bool

    def literal(self) -> str:
        return HOLE.sub(lambda hole: self.constants[int(hole[1])].written(), self.template)

    def prepared(self) -> tuple[str, tuple[str | None, ...]]:
        """The text with $1, $2, …, and their values."""
        numbers: dict[int, int] = {}

        def fill(hole):
            index = int(hole[1])
            if not self.constants[index].is_parameter:
                return self.constants[index].written()
            return f"${numbers.setdefault(index, len(numbers) + 1)}"

        return HOLE.sub(fill, self.template), tuple(self.constants[index].text for index in numbers)

    def typed(self) -> tuple[str, list[int], list[bytes | None], list[int]]:
        """The text, and of each parameter the type that a driver would declare, its bytes and their format."""
        sql, values = self.prepared()
        kinds = list(dict.fromkeys(
            index for index in map(int, HOLE.findall(self.template)) if self.constants[index].is_parameter))
        bound = [wire_value(self.constants[index].type, value) for index, value in zip(kinds, values)]
        return sql, [b[0] for b in bound], [b[1] for b in bound], [b[2] for b in bound]

    def other(self, source, type: str | None = None) -> "Statement":
        """The same shape with other constants, all of them or those of one type ("rows" are LIMIT and OFFSET)."""
        return self._replace(constants=tuple(
            constant.other(source) if type in (None, constant.type) else constant for constant in self.constants))


class Generator(Sources):
    def __init__(self, seed, narrow: float = 0.1, relations: int | None = None):
        """`narrow` is the share of statements over one table or two whose conditions say which rows matter.

        With `relations`, all read the same few ones, so that a change of their rows is likely to alter the answer.
        """
        super().__init__(seed)
        self.narrow_share = narrow
        self.relations = self.random.sample(RELATIONS, relations) if relations else RELATIONS

    # Whole statements.

    def statement(self) -> Statement:
        self.constants, self.tags, self.aliases, self.shared = [], set(), 0, []
        self.tables = list(self.relations)
        self.budget, self.products = self.pick([0, 0, 1, 1, 2, 3]), 1
        draw = self.random.random()
        if self.chance(self.narrow_share):
            query = self.narrow()
        elif draw < 0.60:
            query = self.select(None, 2)
        elif draw < 0.71:
            query = self.set_operation(None, 2)
        elif draw < 0.83:
            query = self.common_table_expressions()
        elif draw < 0.92:
            query = self.short()
        elif draw < 0.95:
            query = Query(self.filled(self.pick(RECURSIVE), "recursive"), [], False)
        elif draw < 0.98:
            reason, text = self.pick(FORWARDED)
            return Statement(text, (), frozenset(["forwarded: " + reason]), False)
        else:
            return Statement(self.pick(ERRORS), (), frozenset(["error"]), False)
        statement = Statement(query.sql, tuple(self.constants), frozenset(self.tags), query.is_ordered)
        if any(constant.is_parameter for constant in statement.constants):
            statement = statement._replace(tags=statement.tags | {"parameters"})
        return statement

    def tables_read(self) -> list[str]:
        """The tables whose rows the relations show."""
        names = {name.split(" ")[-1].split("_")[0] if name.startswith("event") else name.split(" ")[-1]
                 for name, _, _ in self.relations}
        return sorted(names | ({"car", "truck"} if "vehicle" in names else set()))

    def statements(self, count: int) -> list[Statement]:
        """Different ones; some differ from another in constants alone."""
        found: dict[str, Statement] = {}
        while len(found) < count:
            statement = self.statement()
            found.setdefault(statement.literal(), statement)
            for share, type, tag in ((0.2, None, "other_constants"), (0.4, "rows", "other_limit")):
                if any(type in (None, c.type) for c in statement.constants) and self.chance(share):
                    other = statement.other(self.random, type)
                    found.setdefault(other.literal(), other._replace(tags=other.tags | {tag}))
        return list(found.values())[:count]

    def filled(self, template: str, tag: str) -> str:
        self.tag(tag)
        while "{n}" in template:
            template = template.replace("{n}", self.constant("int", (1, 8), "", parameter=True), 1)
        return template

    def short(self) -> Query:
        """Forms that are a statement by themselves."""
        name, _, tags = self.pick([t for t in self.tables if " " not in t[0]] or [("item", 1, ())])
        table = TABLES.get(name) or TABLES["event"]
        self.tag(*tags)
        key = ", ".join(table.keys) if name != "vehicle" else ""  # children may have the same keys
        by_key = f" order by {key}" if key else ""
        scope = Scope(table.columns if name in TABLES else table.columns[:2], [])
        form = self.random.randrange(9)
        if form == 0:
            self.tag("table_command")
            return Query(f"table {name}", [])
        if form == 1:
            self.tag("empty_target")
            return Query(f"select from {name}{self.where(scope)}", [])
        if form == 2:
            self.tag("star")
            return Query(f"select *, {table.columns[0].sql} from {name}{self.where(scope)}{by_key}", [], bool(key))
        if form == 3:
            self.tag("star")
            return Query(f"select * from {name}{self.where(scope)}{by_key}", [], bool(key))
        if form == 4:
            self.tag("whole_row")
            whole = self.pick(["r", "to_jsonb(r)", "row(r.*)", "row_to_json(r)", "r is null", "r::text"])
            return Query(f"select {whole} from {name} r{by_key}", [], bool(key))
        if form == 5:
            self.tag("whole_row", "aggregate")
            return Query(f"select count(r), count(distinct r), max(r.{table.columns[0].sql}) from {name} r", [], True)
        if form == 6:
            self.tag("values", "in")
            values = ", ".join(f"({self.constant('int')})" for _ in range(3))
            where = f"{table.columns[0].sql} in (values {values})"
            return Query(f"select * from {name} where {where}{by_key}", [], bool(key))
        if form == 7:  # one row by its key, as applications ask
            self.tag("by_key")
            column = table.columns[0]
            where = " and ".join(f"{c.sql} = {self.beside(c)}" for c in table.columns[:max(1, len(table.keys))])
            return Query(f"select {column.sql}, {name}.* from {name} where {where}{by_key}", [], bool(key))
        self.tag("aggregate")
        return Query(f"select count(*) from {name}{self.where(scope)}", [], True)

    def narrow(self) -> Query:
        self.tag("narrow")
        self.budget = 0
        source = self.relation(bare=True)
        if self.chance(0.35):
            left = self.relation()
            source = self.joined(left, self.relation())
        scope = Scope(source.columns, source.keys)
        forms = [self.comparison] * 3 + [self.list_condition, self.range_condition, self.null_condition, self.pattern,
                                         self.any_all, self.row_condition, self.of_a_type]
        parts = []
        for _ in range(self.pick([1, 1, 2, 2, 3])):
            part = self.pick(forms)(scope)
            if self.chance(0.2):
                self.tag("or")
                part = f"({part} or {self.pick(forms)(scope)})"
            elif self.chance(0.1):
                self.tag("or", "and")
                one, two, three = (self.pick(forms)(scope) for _ in range(3))
                part = f"({part} and {one} or {two} and {three})"
            parts.append(part)
        outer = self.any_column(Scope([c for c in scope.columns if "." in c.sql], []), "int", "text")
        if outer and self.chance(0.3):  # a constant that may be known one level down
            parts += [f"{outer.sql} = {self.beside(outer)}", self.same_below(outer)]
        where = " where " + " and ".join(parts)
        shown = self.random.sample([c for c in scope.columns if c.type not in OPAQUE], 2)
        types = [c.type for c in shown]
        if self.chance(0.25):
            return self.ending(2, f"select count(*) as c1, min({shown[0].sql}::text) as c2 from {source.sql}{where}",
                               ["int", "text"])
        if self.chance(0.5):  # as applications ask: with the key
            values = [*scope.keys, *(c.sql for c in shown)]
            if self.chance(0.2) and "." in scope.keys[0]:  # or with what only looks like it
                self.tag("renamed")
                values = [f"{shown[0].sql} as id", *(f"{key} as {shown[1].sql.split('.')[-1]}" for key in scope.keys)]
            where += f" order by {', '.join(scope.keys)}"
            return Query(f"select {', '.join(values)} from {source.sql}{where}", [], True)
        return self.ending(2, f"select {self.outputs([c.sql for c in shown])} from {source.sql}{where}", types)

    def same_below(self, outer: Column) -> str:
        """A subquery over rows that have the same value in some column."""
        inner = self.relation()
        column = self.any_column(Scope(inner.columns, []), outer.type)
        if not column:
            return "true"
        self.tag("correlated_exists")
        level = Scope(inner.columns, inner.keys)
        more = f" and {self.condition(level, 0)}" if self.chance(0.5) else ""
        form = self.random.randrange(4)
        where = f"where {column.sql} = {outer.sql}{more}"
        if form < 2:
            return f"{self.pick(['', 'not '])}exists (select from {inner.sql} {where})"
        if form == 2:
            return f"{self.pick(['1', '2'])} <= (select count(*) from {inner.sql} {where})"
        return f"{outer.sql} {self.pick(['', 'not '])}in (select {column.sql} from {inner.sql} {where})"

    # One level.

    def select(self, outer: Scope | None, depth: int, types: list[str] | None = None) -> Query:
        """A SELECT with columns of these types (or of any), named c1, c2, …"""
        source = self.from_clause(outer, depth)
        scope = Scope(source.columns, source.keys, outer)
        shapes = [self.plain] * 9 + [self.aggregate] * 5 + [self.window] * 3 + [self.distinct, self.distinct_on]
        if not types:
            near = [c.type for c in scope.columns if c.type not in OPAQUE]
            types = [self.pick(near + ["int"]) for _ in range(self.random.randint(1, 4))]
        return self.pick(shapes)(source, scope, types)

    def outputs(self, values: list[str]) -> str:
        return ", ".join(f"{value} as c{number}" for number, value in enumerate(values, 1))

    def named(self, types: list[str]) -> list[Column]:
        return [Column(f"c{number}", kind, SMALL if kind == "int" else ()) for number, kind in enumerate(types, 1)]

    def ending(self, width: int, head: str, types: list[str], share: float = 0.75) -> Query:
        """Orders by all output columns, and limits what is ordered."""
        columns = self.named(types)
        if not self.chance(share):
            return Query(head, columns)
        self.tag("order_by")
        numbers = list(range(1, width + 1))
        self.random.shuffle(numbers)
        orders = [f"{n}{self.pick(['', '', ' desc', ' nulls first', ' desc nulls last'])}" for n in numbers]
        draw = self.random.random()
        if draw < 0.06:
            self.tag("with_ties")
            return Query(f"{head} order by {orders[0]} fetch first {self.random.randint(1, 5)} rows with ties", columns)
        head += " order by " + ", ".join(orders)
        if draw < 0.28:
            self.tag("limit")
            head += f" limit {self.constant('rows', self.pick([(0, 9), (3, 9)]), '', parameter=True)}"
        if 0.2 < draw < 0.34:
            self.tag("offset")
            head += f" offset {self.constant('rows', (0, 3), '', parameter=True)}"
        elif draw > 0.97:
            head += self.pick([" limit all", " fetch first row only", " limit null"])
        return Query(head, columns, True)

    def plain(self, source: Source, scope: Scope, types: list[str]) -> Query:
        values = [self.expression(kind, scope) for kind in types]
        types = list(types)
        if self.chance(0.05) and (column := self.any_column(scope, "texts", "ints")):
            self.tag("set_returning")
            position = self.random.randrange(len(values))
            if types[position] == ("text" if column.type == "texts" else "int"):
                values[position] = f"unnest({column.sql})"
        return self.ending(len(values), f"select {self.outputs(values)} from {source.sql}{self.where(scope)}", types)

    def distinct(self, source: Source, scope: Scope, types: list[str]) -> Query:
        self.tag("distinct")
        values = [self.expression(kind, scope) for kind in types]
        return self.ending(
            len(values), f"select distinct {self.outputs(values)} from {source.sql}{self.where(scope)}", types)

    def distinct_on(self, source: Source, scope: Scope, types: list[str]) -> Query:
        self.tag("distinct_on", "order_by")
        chosen = self.pick([c for c in scope.columns if c.type not in OPAQUE]).sql
        values = [self.expression(kind, scope) for kind in types]
        keys = ", ".join([chosen + self.pick(["", " desc"]), *scope.keys])
        return Query(f"select distinct on ({chosen}) {self.outputs(values)} from {source.sql}{self.where(scope)} "
                     f"order by {keys}", self.named(types), True)

    def call(self, kind: str, scope: Scope) -> str:
        """An aggregate with a result of this type."""
        column = self.any_column(scope, kind)
        one = column.sql if column and self.chance(0.7) else self.expression(kind, scope, 1)
        bag = "distinct " if self.chance(0.2) else ""
        found = [f"min({one})", f"max({one})"] if kind not in ("bool",) else []
        if kind == "int":
            found += ["count(*)", f"count({bag}{one})", f"sum({bag}{one})", f"bit_or({one})"]
            if other := self.any_column(scope, "text", "date"):
                found.append(f"count({bag}{other.sql})")
        elif kind in ("numeric", "float"):
            found += [f"sum({bag}{one})"] + ([f"round(avg({one}), 2)"] if kind == "numeric" else [])
        elif kind == "text":
            found += [f"string_agg({bag}{one}, ',' order by {one})", f"array_agg({bag}{one} order by {one})::text",
                      f"jsonb_agg({one} order by {one})::text"]
            if number := self.any_column(scope, "int"):
                found += [f"avg({bag}{number.sql})::text", f"var_pop({number.sql})::text",
                          f"array_agg({number.sql} order by {number.sql} desc)::text"]
        elif kind == "bool":
            found += [f"bool_and({one})", f"bool_or({one})", f"every({one})"]
        picked = self.pick(found)
        if picked.startswith(("string_agg", "array_agg", "jsonb_agg")):
            self.tag("aggregate_order_by")
        if "distinct " in picked:
            self.tag("aggregate_distinct")
        if kind in ("int", "text", "date") and self.chance(0.12):
            self.tag("within_group")
            functions = ["percentile_disc(0.5)", "percentile_disc(1)", "mode()"]
            if kind == "int":
                functions += ["rank(3)", "dense_rank(3)"]
            picked = f"{self.pick(functions)} within group (order by {one})"
        if self.chance(0.2) and "::" not in picked and not picked.startswith("round"):
            self.tag("aggregate_filter")
            picked += f" filter (where {self.condition(scope, 0)})"
        return picked

    def aggregate(self, source: Source, scope: Scope, types: list[str]) -> Query:
        self.tag("aggregate")
        types = [kind if kind in SCALARS else "int" for kind in types]
        where = self.where(scope)
        grouped = self.pick([0, 0, 1, 1, 1, 2]) if len(types) > 1 else self.pick([0, 0, 0, 1])
        grouped = min(grouped, len(types))
        values = []
        for position, kind in enumerate(types):
            if position < grouped:
                column = self.any_column(scope, kind)
                values.append(column.sql if column and self.chance(0.7) else self.expression(kind, scope, 1))
            else:
                values.append(self.call(kind, scope))
        keys = [str(number) for number in range(1, grouped + 1)]
        by = ""
        if grouped:
            self.tag("group_by")
            if self.chance(0.15):
                self.tag("grouping_sets")
                joined = ", ".join(keys)
                by = " group by " + self.pick([
                    f"rollup ({joined})", f"cube ({joined})", f"grouping sets (({joined}), ())",
                    f"grouping sets ({joined}, {keys[0]})"])
            else:
                by = " group by " + ", ".join(keys)
        having = ""
        if self.chance(0.25):
            self.tag("having")
            number = self.any_column(scope, "int")
            calls = ["count(*)"] + ([f"sum({number.sql})", f"max({number.sql})"] if number else [])
            having = f" having {self.pick(calls)} {self.pick(['>', '<', '>='])} {self.constant('int', (0, 6), '')}"
        return self.ending(len(values), f"select {self.outputs(values)} from {source.sql}{where}{by}{having}", types)

    def window(self, source: Source, scope: Scope, types: list[str]) -> Query:
        self.tag("window")
        values = []
        total = ", ".join(scope.keys)
        part = self.any_column(scope, "int", "text", "bool")
        partition = f"partition by {part.sql} " if part and self.chance(0.6) else ""
        frames = ["", "", "", " rows between 1 preceding and current row", " rows unbounded preceding",
                  " groups between current row and 1 following", " range between unbounded preceding and current row",
                  " rows between unbounded preceding and unbounded following exclude current row"]
        for kind in types:
            column = self.any_column(scope, kind)
            one = column.sql if column else self.expression(kind, scope, 1)
            calls = [f"{self.pick(['first_value', 'last_value', 'lag', 'lead', 'max', 'min'])}({one})"]
            if kind not in SCALARS:
                calls = [f"first_value({one})", f"nth_value({one}, 2)", f"lead({one})"]
            if kind == "bool":
                calls = [f"{self.pick(['first_value', 'lag', 'bool_or'])}({one})"]
            if kind in ("int", "numeric", "float"):
                calls.append(f"sum({one})")
            if kind == "int":
                calls += ["row_number()", "rank()", "dense_rank()", "count(*)", f"count({one})", "ntile(3)"]
            call = self.pick(calls)
            if call.startswith(("sum", "count", "max")) and self.chance(0.2):
                self.tag("aggregate_filter")
                call += f" filter (where {self.condition(scope, 0)})"
            values.append(call if self.chance(0.75) or kind == "bool" else one)
            if values[-1] == call:
                number = self.any_column(scope, "int")
                if number and call.startswith(("sum", "count", "rank", "dense", "max", "min")) and self.chance(0.4):
                    frame = self.pick(["", "", " range between 2 preceding and 1 following"])
                    values[-1] += f" over ({partition}order by {number.sql}{frame})"
                elif self.chance(0.3):
                    values[-1] += " over w"
                else:
                    values[-1] += f" over ({partition}order by {total}{self.pick(frames)})"
        where = self.where(scope)
        named = f" window w as ({partition}order by {total})" if any(v.endswith("over w") for v in values) else ""
        return self.ending(len(values), f"select {self.outputs(values)} from {source.sql}{where}{named}", types)

    # Several levels.

    def set_operation(self, outer: Scope | None, depth: int, types: list[str] | None = None) -> Query:
        types = types or [self.pick(SCALARS) for _ in range(self.random.randint(1, 3))]
        arms = self.pick([2, 2, 2, 3])
        text = ""
        for number in range(arms):
            arm = f"({self.select(outer, depth - 1, types).sql})"
            if number == 0:
                text = arm
                continue
            name = self.pick(["union", "union", "intersect", "except"])
            every = self.pick([" all", "", ""])
            self.tag(name + ("_all" if every else ""))
            text = f"{text} {name}{every} {arm}"
            if number < arms - 1 and self.chance(0.5):
                text = f"({text})"
        return self.ending(len(types), text, types)

    def common_table_expressions(self) -> Query:
        self.tag("cte")
        texts = []
        for _ in range(self.pick([1, 1, 2])):
            name = f"w{len(texts) + 1}"
            hidden = self.chance(0.12)
            if hidden:  # the name of a table, which it hides from here on
                name = self.pick(["person", "node", "line"])
            query = self.pick([self.select, self.select, self.set_operation])(None, 1)
            if hidden and any(name == other for other, _ in self.shared):
                continue
            if hidden:
                self.tag("cte_hides")
                self.tables = [t for t in self.tables if t[0] != name]
            how = self.pick(["", "", "materialized ", "not materialized "])
            if how:
                self.tag("cte_" + how.strip().replace(" ", "_"))
            texts.append(f"{name} as {how}({query.sql})")
            self.shared.append((name, query.columns))
        query = self.select(None, 2) if self.chance(0.8) else self.set_operation(None, 2)
        return Query(f"with {', '.join(texts)} {query.sql}", query.columns, query.is_ordered)

    # Subqueries in expressions.

    def correlation(self, scope: Scope) -> str:
        around = scope.around()
        if not around:
            return self.condition(scope, 0)
        draw = self.random.random()
        equality = self.equality(scope.columns, around)
        if equality and draw < 0.8:
            return equality + (f" and {self.condition(scope, 1)}" if self.chance(0.4) else "")
        one, two = (self.any_column(Scope(found, []), "int") for found in (scope.columns, around))
        if not one or not two:
            return self.condition(scope, 0)
        self.tag("unequal_correlation")
        if draw < 0.9 or not equality:
            return f"{one.sql} {self.pick(['<', '>', '<>', '<='])} {two.sql}"
        return f"({equality} or {one.sql} = {two.sql})"

    def inner(self, scope: Scope) -> tuple[Source, Scope, str, bool]:
        """FROM and WHERE of a subquery, mostly correlated with the levels around it."""
        found = self.relation(bare=self.chance(0.3))
        if self.chance(0.15):
            found = self.joined(self.relation(), self.relation())
        level = Scope(found.columns, found.keys, scope)
        is_correlated = self.chance(0.65) and bool(level.around())
        where = " where " + self.correlation(level) if is_correlated else self.where(level)
        if self.aliases > 2 and scope.outer:
            self.tag("nested_subquery")
        return found, level, where, is_correlated

    def scalar_subquery(self, kind: str, scope: Scope) -> str:
        found, level, where, is_correlated = self.inner(scope)
        self.tag("correlated_scalar" if is_correlated else "scalar_subquery")
        if self.chance(0.65):
            return f"(select {self.call(kind, level)} from {found.sql}{where})"
        one = self.expression(kind, level, 1)
        return f"(select {one} from {found.sql}{where} order by {', '.join([*found.keys])} limit 1)"

    def subquery_condition(self, scope: Scope) -> str:
        found, level, where, is_correlated = self.inner(scope)
        kind = "correlated_" if is_correlated else ""
        draw = self.random.random()
        if draw < 0.4:
            negated = self.pick(["", "not "])
            self.tag(kind + negated.replace(" ", "_") + "exists")
            chosen = self.pick(["", "1", "*", "null"])
            return f"{negated}exists (select {chosen} from {found.sql}{where})"
        inner = self.any_column(level, "int", "text")
        outer = self.any_column(scope, inner.type) if inner else None
        if not inner or not outer:
            self.tag(kind + "exists")
            return f"exists (select from {found.sql}{where})"
        if draw < 0.75:
            negated = self.pick(["", "not "])
            self.tag(kind + negated.replace(" ", "_") + "in_subquery")
            return f"{outer.sql} {negated}in (select {inner.sql} from {found.sql}{where})"
        if draw < 0.9:
            self.tag(kind + "any_all_subquery")
            words = self.pick(["= any", "<> all", "< any", ">= all", "= some"])
            return f"{outer.sql} {words} (select {inner.sql} from {found.sql}{where})"
        self.tag(kind + "array_subquery")
        return f"{outer.sql} = any(array(select {inner.sql} from {found.sql}{where}))"
