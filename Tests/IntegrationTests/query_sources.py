"""What stands in FROM: tables and views under all sorts of names, joins of every kind, subqueries, functions."""
from typing import NamedTuple

from query_expressions import Expressions, Scope
from query_schema import KEY, SMALL, TABLES, VIEWS, Column


class Query(NamedTuple):
    sql: str
    columns: list[Column]  # as they are named outside, without what they belong to
    is_ordered: bool = False


class Source(NamedTuple):
    sql: str
    columns: list[Column]
    keys: list[str]
    has_comma: bool = False  # then a JOIN behind it does not see what stands before the comma


# How often a relation is drawn, and the patterns it stands for.
RELATIONS = [("item", 7, ())] + [(name, 4, ()) for name in ("orders", "person", "line")] + [
    ("node", 2, ()), ("part_of", 1, ()), ("bag", 1, ("full_identity",)), ("by_index", 1, ("index_identity",)),
    ("event", 2, ("partitioned",)), ("vehicle", 1, ("inheritance",)), ("car", 1, ("child",)),
    ("only vehicle", 1, ("only",)), ("event_north", 1, ("partition",)), ("event_south", 1, ("partition",))]
OPAQUE = ("folded", "other")  # never put out as they are, or used no further


class Sources(Expressions):
    def __init__(self, seed):
        super().__init__(seed)
        self.relations: list[tuple[str, int, tuple]] = RELATIONS
        self.tables: list[tuple[str, int, tuple]] = []  # those that no common table expression hides
        self.shared: list[tuple[str, list[Column]]] = []  # common table expressions in scope
        self.aliases = 0
        self.products = 0  # joins without an equality that may still be made: answers stay small

    def alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def from_clause(self, outer: Scope | None, depth: int) -> Source:
        count = self.pick([1, 1, 1, 2, 2, 3]) if depth > 0 else self.pick([1, 1, 2])
        first = self.relation(bare=count == 1 and self.chance(0.35))
        while count > 1 and self.products >= 0:
            count -= 1
            nested = count > 1 and self.chance(0.4)
            if nested:
                count -= 1
                first = self.joined(first, self.nested())
            else:
                first = self.joined(first, self.source(outer, depth), depth)
        return first

    def nested(self) -> Source:
        """A join in parentheses, under a name of its own or without one."""
        self.tag("nested_join")
        inner = self.joined(self.relation(), self.relation())
        while inner.has_comma:  # which parentheses do not take
            inner = self.joined(self.relation(), self.relation())
        if self.chance(0.7) or "using" in inner.sql or "natural" in inner.sql:
            return Source(f"({inner.sql})", inner.columns, inner.keys)
        alias = self.alias()
        names = [f"n{number}" for number in range(1, len(inner.columns) + 1)]
        columns = [c._replace(sql=f"{alias}.{name}") for c, name in zip(inner.columns, names)]
        places = {c.sql: new.sql for c, new in zip(inner.columns, columns)}
        return Source(f"({inner.sql}) as {alias} ({', '.join(names)})", columns, [places[key] for key in inner.keys])

    def relation(self, bare: bool = False) -> Source:
        """A table or a view, or a common table expression if there is one."""
        if self.shared and self.chance(0.5):
            name, columns = self.pick(self.shared)
            alias = self.alias()
            found = [c._replace(sql=f"{alias}.{c.sql}") for c in columns]
            return Source(f"{name} {alias}", found, [c.sql for c in found])
        if self.chance(0.1):
            name = self.pick(list(VIEWS) if self.relations is RELATIONS else [*VIEWS][:1])
            self.tag({"open_order": "view_over_view", "own_person": "invoker_view", "two_regions": "view_of_union",
                      "order_line": "view_of_join", "per_kind": "view_of_groups"}.get(name, "view"))
            alias = self.alias()
            found = [c._replace(sql=f"{alias}.{c.sql}") for c in VIEWS[name]]
            return Source(f"{name} {alias}", found, [c.sql for c in found])
        if self.chance(0.08):
            return self.renamed()
        tables = self.tables or [("item", 1, ())]
        name, _, tags = self.random.choices(tables, [t[1] for t in tables])[0]
        self.tag(*tags)
        table = TABLES.get(name.split(" ")[-1]) or TABLES["event"]
        alias = "" if bare else self.alias()
        prefix = f"{alias}." if alias else ""
        found = [c._replace(sql=prefix + c.sql) for c in table.columns]
        if name == "event_south":  # its columns stand in another order, which only names hide
            found = [found[4], found[3], found[0], found[1], found[2]]
        keys = [prefix + key for key in table.keys if name != "vehicle"] or [c.sql for c in found]
        return Source(f"{name} {alias}".rstrip(), found, keys)

    def renamed(self) -> Source:
        """A table whose columns go by each other's names."""
        self.tag("renamed")
        name, _, tags = self.pick([t for t in self.tables if TABLES.get(t[0])] or [("item", 1, ())])
        self.tag(*tags)
        alias, chosen = self.alias(), TABLES[name].columns[:4]
        names = [c.sql for c in chosen]
        turned = names[1:] + names[:1]
        if self.chance(0.5):
            rest = TABLES[name].columns[4:] if self.chance(0.5) else []
            found = [c._replace(sql=f"{alias}.{new}") for c, new in zip(chosen, turned)]
            found += [c._replace(sql=f"{alias}.{c.sql}") for c in rest]
            return Source(f"{name} {alias} ({', '.join(turned)})", found, [c.sql for c in found[:4]])
        inner = self.alias()
        where = self.where(Scope([c._replace(sql=f"{inner}.{c.sql}") for c in chosen], []), self.pick([0, 0, 1]))
        listed = ", ".join(f"{inner}.{old} as {new}" for old, new in zip(names, turned))
        found = [c._replace(sql=f"{alias}.{new}") for c, new in zip(chosen, turned)]
        return Source(f"(select {listed} from {name} {inner}{where}) {alias}", found, [c.sql for c in found])

    def source(self, outer: Scope | None, depth: int) -> Source:
        draw = self.random.random()
        if draw < 0.7 or depth <= 0:
            return self.relation()
        alias = self.alias()
        if draw < 0.86:
            self.tag("subquery_from")
            query = self.select(None, depth - 1) if self.chance(0.8) else self.set_operation(None, depth - 1)
            columns = [c._replace(sql=f"{alias}.{c.sql}") for c in query.columns]
            return Source(f"({query.sql}) {alias}", columns, [c.sql for c in columns])
        if draw < 0.93:
            self.tag("values")
            count = self.random.randint(1, 3)
            rows = ", ".join(f"({self.constant('int')}, {self.constant('text')})" for _ in range(count))
            columns = [Column(f"{alias}.n", "int", SMALL), Column(f"{alias}.word", "text")]
            return Source(f"(values {rows}, (3, null)) {alias} (n, word)", columns, [c.sql for c in columns])
        self.tag("function_from")
        columns = [Column(f"{alias}.n", "int", SMALL)]
        text = self.pick(["generate_series(1, 5)", "generate_series(8, 2, -3)", "unnest(array[1, 3, null, 3])",
                          "unnest('{2,4}'::int[])"])
        if self.chance(0.3):
            columns.append(Column(f"{alias}.place", "int", SMALL))
            return Source(f"{text} with ordinality {alias} (n, place)", columns, [c.sql for c in columns])
        return Source(f"{text} {alias} (n)", columns, [f"{alias}.n"])

    def lateral(self, left: Source, depth: int) -> Source | None:
        scope = Scope([c for c in left.columns if "." in c.sql], left.keys)
        alias = self.alias()
        column = self.any_column(scope, "ints", "texts", "json", "text")
        if column and self.chance(0.45):
            self.tag("function_from", "lateral")
            kind = "int" if column.type == "ints" else "text"
            call = {"ints": "unnest({0})", "texts": "unnest({0})", "json": "jsonb_array_elements_text({0} -> 'list')",
                    "text": "regexp_split_to_table({0}, ' ')"}[column.type].format(column.sql)
            found = Column(f"{alias}.n", kind)
            return Source(f"{self.pick(['', 'lateral '])}{call} {alias} (n)", [found], [found.sql])
        self.tag("lateral")
        query = self.select(scope, min(depth - 1, 0)) if not scope.columns else self.correlated(scope)
        columns = [c._replace(sql=f"{alias}.{c.sql}") for c in query.columns]
        return Source(f"lateral ({query.sql}) {alias}", columns, [c.sql for c in columns])

    def correlated(self, outer: Scope) -> Query:
        inner = self.relation()
        scope = Scope(inner.columns, inner.keys, outer)
        types = [self.pick(["int", "text", "numeric"]) for _ in range(self.random.randint(1, 2))]
        correlation = self.correlation(scope)
        if self.chance(0.3):
            self.tag("aggregate")
            values = [self.call(kind, scope) for kind in types]
        else:
            values = [self.expression(kind, scope, 1) for kind in types]
        return self.ending(len(values), f"select {self.outputs(values)} from {inner.sql} where {correlation}", types)

    def equality(self, left: list[Column], right: list[Column]) -> str | None:
        """Prefers columns of one domain, as keys and what refers to them are."""
        pairs = [(a, b) for a in left for b in right if a.type == b.type and a.type in ("int", "text", "date")]
        near = [(a, b) for a, b in pairs if a.domain == b.domain and a.domain == KEY]
        if near and self.chance(0.7):
            pairs = near
        if not pairs:
            return None
        one, two = self.pick(pairs)
        return f"{one.sql} = {two.sql}" if self.chance(0.8) else f"{two.sql} = {one.sql}"

    def joined(self, left: Source, right: Source, depth: int = 0) -> Source:
        both = Scope(left.columns + right.columns, left.keys + right.keys)
        if depth > 0 and self.chance(0.1) and (beside := self.lateral(left, depth)):
            join = self.pick([" cross join {0}", ", {0}", " left join {0} on true"]).format(beside.sql)
            has_comma = left.has_comma or join.startswith(",")
            return Source(left.sql + join, left.columns + beside.columns, left.keys + beside.keys, has_comma)
        equality = self.equality(left.columns, right.columns)
        kind = self.pick(["join", "join", "join", "left join", "left join", "left join", "right join", "full join",
                          "cross join", "comma", "using", "natural"])
        if kind == "full join" and not equality:
            kind = "left join"
        if left.has_comma:
            kind = self.pick(["cross join", "comma"])
        if kind == "natural":
            word = left.sql.split(" ")[0], right.sql.split(" ")[0]
            names = [{c.sql for c in TABLES[name].columns} if name in TABLES else set() for name in word]
            is_plain = all(len(side.sql.split(" ")) == 2 for side in (left, right))
            if is_plain and names[0] & names[1] and "folded" not in names[0] & names[1]:
                self.tag("natural_join")
                word = self.pick(["natural join", "natural left join", "natural full join"])
                return Source(f"{left.sql} {word} {right.sql}", both.columns, both.keys)
            kind = "join"
        if kind == "using":
            shared = sorted({c.sql.split(".")[-1] for c in left.columns if c.type == "int"}
                            & {c.sql.split(".")[-1] for c in right.columns if c.type == "int"})
            once = [name for name in shared if sum(c.sql.endswith("." + name) for c in left.columns) == 1
                    and sum(c.sql.endswith("." + name) for c in right.columns) == 1]
            if once and ") as" not in left.sql + right.sql:
                self.tag("using")
                word = self.pick(["join", "left join", "full join"])
                return Source(f"{left.sql} {word} {right.sql} using ({self.pick(once)})", both.columns, both.keys)
            kind = "join"
        if kind in ("cross join", "comma") or kind != "full join" and not equality:
            if self.products <= 0 and not left.has_comma and equality:
                kind = "join"
            self.products -= 1
        if kind == "cross join":
            self.tag("cross_join")
            return Source(f"{left.sql} cross join {right.sql}", both.columns, both.keys, left.has_comma)
        if kind == "comma":
            self.tag("comma_join")
            return Source(f"{left.sql}, {right.sql}", both.columns, both.keys, True)
        self.tag({"join": "inner_join"}.get(kind, kind.replace(" ", "_")))
        condition = equality
        if not equality or kind != "full join" and self.products > 0 and self.chance(0.08):
            self.products -= 1
            condition = self.condition(both, 0)
        extra = self.pick([None, None, right, right, left])
        if extra:
            condition += " and " + self.condition(Scope(extra.columns, extra.keys), 0)
        if self.chance(0.06):
            self.tag("function_join")
            one, two = (self.any_column(Scope(s.columns, []), "int") for s in (left, right))
            if one and two:
                condition = f"abs({one.sql}) = {two.sql} and {condition}"
        if kind == "join" and self.chance(0.2):
            kind = "inner join"
        return Source(f"{left.sql} {kind} {right.sql} on {condition}", both.columns, both.keys)

    # What the generator of whole statements makes.

    def select(self, outer: Scope | None, depth: int, types: list[str] | None = None) -> Query:
        raise NotImplementedError

    def set_operation(self, outer: Scope | None, depth: int, types: list[str] | None = None) -> Query:
        raise NotImplementedError

    def ending(self, width: int, head: str, types: list[str], share: float = 0.75) -> Query:
        raise NotImplementedError
