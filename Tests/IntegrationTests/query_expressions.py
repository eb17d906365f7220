"""Random expressions and conditions over the columns that are visible where they stand.

None of them can fail, whatever the plan; errors are patterns of their own. Types are families: `int` is any integer,
`numeric` has two digits behind the point so that what is equal is the same, `float` adds up exactly.
"""
import random
import re
from typing import NamedTuple

from query_schema import DOMAINS, SMALL, WORDS, Column, drawn, quoted

HOLE = re.compile("\x01(\\d+)\x02")


class Constant(NamedTuple):
    type: str
    domain: tuple
    text: str | None
    is_parameter: bool = False  # may be one; else it always stands in the text
    prefix: str = ""  # what makes its type plain: date '…'

    def written(self) -> str:
        if self.text is None:
            return "null"
        bare = self.type in ("int", "bool", "rows") or self.type == "numeric" and not self.prefix
        return self.prefix + (self.text if bare else quoted(self.text))

    def other(self, source: random.Random) -> "Constant":
        return self._replace(text=drawn(source, self.type, self.domain))


class Scope:
    """The columns of one level of a query, what tells its rows apart, and the level around it."""

    def __init__(self, found: list[Column], keys: list[str], outer: "Scope | None" = None):
        self.columns = found
        self.keys = keys
        self.outer = outer

    def of(self, *types: str) -> list[Column]:
        return [column for column in self.columns if column.type in types]

    def around(self) -> list[Column]:
        """What may be seen of the levels around this one, under names that nothing nearer has."""
        found, scope = [], self.outer
        nearer = {column.sql.split(".")[-1] for column in self.columns}
        while scope:
            found += [c for c in scope.columns if "." in c.sql or c.sql not in nearer]
            nearer |= {column.sql.split(".")[-1] for column in scope.columns}
            scope = scope.outer
        return found


# Where a constant of the type stands alone; beside a column its type is found by itself.
PREFIX = {"date": "date ", "stamptz": "timestamptz ", "stamp": "timestamp ", "float": "float8 ", "uuid": "uuid ",
          "mood": "mood ", "numeric": "", "char": "", "int": "", "bool": "", "int_array": "",
          "text_array": "", "text": "text ", "folded": "text "}
SCALARS = ("int", "text", "numeric", "date", "float", "bool", "stamp", "stamptz")
# Constants that are read in more ways than one.
ODD = {"date": ["'20260105'", "'Jan 5, 2026'", "'infinity'", "'-infinity'", "' 2026-01-07 '", "'2026-01-08 12:00:00'",
                "date '2026-01-09'", "'2026-01-10'::timestamp", "'0044-03-15 BC'", "'2026.011'"],
       "stamptz": ["'2026-01-05T05:30:00Z'", "'2026-01-06 08:30:00+02'", "'2026-01-07 07:30'", "'infinity'",
                   "'2026-01-08 08:30:00 UTC'", "'2026-01-09'", "'2026-01-10 10:30+00'::timestamptz"],
       "stamp": ["'2026-01-05T05:30'", "'2026-01-06 06:30:00+05'", "'2026-01-07'", "'2026-01-08'::date", "'-infinity'"],
       "char": ["'A1'::text", "'A1  '::char(6)", "'A1    '", "'B2'::varchar"],
       "text": ["'ash'::char(6)", "'ash'::varchar(2)", "e'ash'", "'a' || 'sh'", "'ash' collate \"C\""]}
COMPARABLE = ("int", "int", "int", "text", "text", "numeric", "date", "stamptz", "stamp", "float", "uuid", "mood",
              "char", "folded")


class Expressions:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.constants: list[Constant] = []
        self.tags: set[str] = set()
        self.budget = 0  # subqueries that may still be begun

    # Drawing.

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, choices):
        return self.random.choice(choices)

    def tag(self, *names: str):
        self.tags.update(names)

    def constant(self, kind: str, domain: tuple = (), prefix: str | None = None, text: str | None = None,
                 parameter: bool = False) -> str:
        """A place in the text that a constant fills: another statement of the same shape has others."""
        domain = domain or DOMAINS[kind]
        text = drawn(self.random, kind, domain) if text is None else text
        prefix = PREFIX[kind] if prefix is None else prefix
        parameter = parameter and self.chance(0.5)
        if parameter and self.chance(0.03):
            text = None
        self.constants.append(Constant(kind, domain, text, parameter, prefix))
        return f"\x01{len(self.constants) - 1}\x02"

    def beside(self, column: Column) -> str:
        """A constant to compare the column with: bare, so that it may as well be a parameter."""
        return self.constant(column.type, column.domain, "", parameter=True)

    def any_column(self, scope: Scope, *types: str) -> Column | None:
        found = scope.of(*types)
        return self.pick(found) if found else None

    # Expressions by type.

    def expression(self, kind: str, scope: Scope, depth: int = 2) -> str:
        column = self.any_column(scope, kind)
        if depth <= 0 or self.chance(0.35):
            if column and (kind not in PREFIX or self.chance(0.9)):
                return column.sql
            return self.constant(kind, column.domain if column else ())
        if self.budget > 0 and self.chance(0.08) and kind in ("int", "text", "numeric"):
            self.budget -= 1
            return self.scalar_subquery(kind, scope)
        if self.chance(0.12):
            return self.choice(kind, scope, depth)
        made = getattr(self, "of_" + kind, None)
        if made is None and column:
            return column.sql
        return made(scope, depth - 1) if made else self.constant(kind)

    def choice(self, kind: str, scope: Scope, depth: int) -> str:
        """What takes one of several values of the same type."""
        one, two = (self.expression(kind, scope, depth - 1) for _ in range(2))
        form = self.random.randrange(5)
        if form == 0:
            self.tag("case")
            column = self.any_column(scope, "int")
            if column and self.chance(0.4):
                return f"case {column.sql} when {self.beside(column)} then {one} else {two} end"
            return f"case when {self.condition(scope, 0)} then {one} else {two} end"
        if form == 1:
            self.tag("case")
            return f"case when {self.condition(scope, 0)} then {one} end"
        self.tag("coalesce")
        if form == 2:
            return f"nullif({one}, {two})"
        if form == 3:
            return f"{self.pick(['greatest', 'least'])}({one}, {two})"
        return f"coalesce({one}, {two})"

    def of_int(self, scope: Scope, depth: int) -> str:
        def one(kind="int"):
            return self.expression(kind, scope, depth)

        form = self.random.randrange(18)
        if form < 6:
            self.tag("arithmetic")
            return [f"({one()} + {one()})", f"({one()} - {one()})", f"({one()} * {self.pick('23')})",
                    f"({one()} / {self.pick(['2', '3', '-2'])})", f"({one()} % 3)", f"(- {one()})"][form]
        if form in (6, 7):
            self.tag("function")
            return f"{self.pick(['length', 'ascii', 'octet_length'])}({one('text')})"
        if form in (8, 9):
            self.tag("function")
            return [f"abs({one()})", f"sign({one()})::int", f"mod({one()}, 4)", f"strpos({one('text')}, 's')"][
                self.random.randrange(4)]
        if form == 10:
            self.tag("cast")
            return self.pick([f"({one('bool')})::int", f"({one()})::text::int", f"({one('numeric')})::int",
                              f"cast({one('float')} as int)", f"({one()})::bigint"])
        if form == 11:
            self.tag("date")
            return self.pick([f"({one('date')} - date '2026-01-05')",
                              f"extract({self.pick(['day', 'month', 'dow'])} from {one('date')})::int",
                              f"date_part('hour', {one('stamp')})::int"])
        if form == 12 and (column := self.any_column(scope, "json")):
            self.tag("json")
            return self.pick(["({0} ->> 'n')::int", "({0} -> 'list' ->> 0)::int", "jsonb_array_length({0} -> 'list')",
                              "({0} #>> '{{list,1}}')::int"]).format(column.sql)
        if form == 13 and (column := self.any_column(scope, "ints", "texts")):
            self.tag("array")
            first = [f"{column.sql}[1]", f"array_position({column.sql}, {one()})"] if column.type == "ints" else []
            return self.pick(first + [f"cardinality({column.sql})", f"array_length({column.sql}, 1)"])
        if form == 14 and (column := self.any_column(scope, "range")):
            self.tag("range")
            return f"{self.pick(['lower', 'upper'])}({column.sql})"
        if form == 15 and (column := self.any_column(scope, "pair")):
            self.tag("composite")
            return f"({column.sql}).a"
        if form == 16:
            if self.chance(0.3):
                self.tag("function_reads")
                return f"in_kind(({one()})::int)"
            self.tag("user_function")
            return f"twice({one()})"
        return one()

    def of_text(self, scope: Scope, depth: int) -> str:
        def one(kind="text"):
            return self.expression(kind, scope, depth)

        form = self.random.randrange(13)
        if form < 2:
            self.tag("function")
            return f"({one()} || {one()})"
        if form < 5:
            self.tag("function")
            return self.pick(["upper({0})", "lower({0})", "substr({0}, 2, 2)", "left({0}, 3)", "reverse({0})",
                              "trim({0})", "lpad({0}, 5, '*')", "replace({0}, 'a', 'b')", "split_part({0}, ' ', 1)",
                              "initcap({0})", "md5({0})", "translate({0}, 'ah', 'xy')", "quote_literal({0})",
                              "concat({0}, '-')", "substring({0} from 1 for 2)", "overlay({0} placing 'z' from 1)",
                              ]).format(one())
        if form == 5:
            self.tag("regexp")
            return self.pick(["regexp_replace({0}, '[aeiou]', '.', 'g')", "substring({0} from 's.')",
                              "(regexp_match({0}, '^(.)'))[1]"]).format(one())
        if form == 6:
            self.tag("cast")
            return self.pick([f"({one('int')})::text", f"({one('date')})::text", f"({one('bool')})::text",
                              f"({one()})::varchar(3)", f"({one('stamptz')})::text", f"({one('numeric')})::text"])
        if form == 7:
            self.tag("date")
            return self.pick([f"to_char({one('date')}, 'YYYY-MM')", f"to_char({one('stamptz')}, 'HH24 TZ')",
                              f"to_char({one('int')}, '000')"])
        if form == 8 and (column := self.any_column(scope, "json")):
            self.tag("json")
            return self.pick(["({0} ->> 'k')", "({0} #>> '{{o,k}}')", "({0} -> 'list')::text",
                              "jsonb_typeof({0} -> 'k')"]).format(column.sql)
        if form == 9 and (column := self.any_column(scope, "texts")):
            self.tag("array")
            return self.pick([f"{column.sql}[1]", f"array_to_string({column.sql}, ',', '-')"])
        if form == 10 and (column := self.any_column(scope, "mood")):
            self.tag("enum")
            return f"{column.sql}::text"
        if form == 11:
            self.tag("user_function")
            return f"shorten({one()}, 2)"
        return one()

    def of_numeric(self, scope: Scope, depth: int) -> str:
        def one(kind="numeric"):
            return self.expression(kind, scope, depth)

        self.tag("arithmetic")
        return self.pick([lambda: f"({one()} + {one()})", lambda: f"({one()} - {one()})", lambda: f"({one()} * 2)",
                          lambda: f"round({one()} * 1.5, 2)", lambda: f"abs({one()})",
                          lambda: f"({one('int')})::numeric(12, 2)"])()

    def of_float(self, scope: Scope, depth: int) -> str:
        def one():
            return self.expression("float", scope, depth)

        self.tag("arithmetic")
        return self.pick([lambda: f"({one()} + {one()})", lambda: f"({one()} * 2 + 1)", lambda: f"floor({one()})"])()

    def of_date(self, scope: Scope, depth: int) -> str:
        self.tag("date")
        one = self.expression("date", scope, depth)
        return self.pick([f"({one} + {self.pick(['1', '7'])})", f"date_trunc('month', {one}::timestamp)::date",
                          f"({one} - interval '1 day')::date"])

    def of_stamp(self, scope: Scope, depth: int) -> str:
        self.tag("date")
        one = self.expression("stamp", scope, depth)
        return self.pick([f"({one} + interval '2 hours')", f"date_trunc('day', {one})"])

    def of_stamptz(self, scope: Scope, depth: int) -> str:
        self.tag("date")
        one = self.expression("stamptz", scope, depth)
        return self.pick([f"({one} - interval '90 minutes')", f"date_trunc('day', {one})"])

    def of_bool(self, scope: Scope, depth: int) -> str:
        return f"({self.condition(scope, depth)})"

    # Conditions.

    def where(self, scope: Scope, conjuncts: int | None = None) -> str:
        count = self.pick([0, 0, 1, 1, 1, 1, 2, 2]) if conjuncts is None else conjuncts
        if count == 0:
            return ""
        if count > 1:
            self.tag("and")
        return " where " + " and ".join(self.condition(scope) for _ in range(count))

    def condition(self, scope: Scope, depth: int = 2) -> str:
        if depth > 0:
            draw = self.random.random()
            if draw < 0.08:
                self.tag("or")
                return f"({self.condition(scope, depth - 1)} or {self.condition(scope, depth - 1)})"
            if draw < 0.12:
                self.tag("or", "and")
                one, two, three, four = (self.condition(scope, 0) for _ in range(4))
                return f"({one} and {two} or {three} and {four})"
            if draw < 0.19:
                self.tag("not")
                return f"not ({self.condition(scope, depth - 1)})"
            if draw < 0.30 and self.budget > 0:
                self.budget -= 1
                return self.subquery_condition(scope)
        forms = [self.comparison, self.comparison, self.comparison, self.list_condition, self.list_condition,
                 self.range_condition, self.null_condition, self.pattern, self.any_all, self.row_condition,
                 self.of_a_type, self.of_a_type, self.of_a_type, self.by_function]
        return self.pick(forms)(scope)

    def comparison(self, scope: Scope) -> str:
        column = self.any_column(scope, self.pick(COMPARABLE)) or self.any_column(scope, *COMPARABLE)
        if not column:
            return f"{self.expression('int', scope, 1)} > 2"
        self.tag("comparison")
        operator = self.pick(["=", "=", "<", ">", "<=", ">=", "<>"])
        draw = self.random.random()
        if draw < 0.6:
            sides = [column.sql, self.beside(column)]
        elif draw < 0.75:
            sides = [column.sql, self.pick(scope.of(column.type)).sql]
        elif column.type in SCALARS:
            sides = [self.expression(column.type, scope, 2), self.expression(column.type, scope, 1)]
        else:
            sides = [column.sql, self.constant(column.type, column.domain)]
        if column.type == "int" and self.chance(0.06):
            sides[1] = self.pick(["2.0", "1.5", "'3'", "' 4 '", "null", "3::bigint", "2::smallint", "99999999999",
                                  "5e0", "+6", "7::numeric", "(4)", "3::float8", "'5'::int",
                                  "date '2026-01-05' - '2026-01-01'"])
        if column.type == "numeric" and self.chance(0.2):
            sides[1] = self.pick(["12", "7.5", "3.250", "null", "4::float8", "1.2e1", "'12.5'", "'NaN'", "9::bigint"])
        if column.type in ODD and self.chance(0.15):
            sides[1] = self.pick(ODD[column.type])
        if self.chance(0.15):
            sides.reverse()
        return f"{sides[0]} {operator} {sides[1]}"

    def list_condition(self, scope: Scope) -> str:
        column = self.any_column(scope, "int", "text", "date", "char") or Column(self.constant("int"), "int", SMALL)
        values = [self.beside(column) for _ in range(self.random.randint(1, 4))]
        name = "in"
        if self.chance(0.25):
            name = "in_null"
            values.append("null")
        negated = self.chance(0.35)
        self.tag(("not_" if negated else "") + name)
        return f"{column.sql} {'not ' if negated else ''}in ({', '.join(values)})"

    def range_condition(self, scope: Scope) -> str:
        column = self.any_column(scope, "int", "date", "numeric", "stamptz", "text")
        if not column:
            return f"{self.expression('int', scope, 1)} between 1 and 5"
        symmetric = self.chance(0.3)
        self.tag("between_symmetric" if symmetric else "between")
        words = self.pick(["", "", "", "not "]) + "between" + (" symmetric" if symmetric else "")
        low, high = self.beside(column), self.beside(column)
        return f"{column.sql} {words} {low} and {high}"

    def null_condition(self, scope: Scope) -> str:
        column = self.pick(scope.columns) if scope.columns else Column("null::int", "int", SMALL)
        form = self.random.randrange(5)
        if form == 0 and column.type in COMPARABLE:
            self.tag("is_distinct")
            return f"{column.sql} is {self.pick(['', 'not '])}distinct from {self.beside(column)}"
        if form == 1:
            self.tag("is_true")
            word = self.pick(["true", "not true", "false", "not false", "unknown", "not unknown"])
            return f"({self.condition(scope, 0)}) is {word}"
        self.tag("is_null")
        return f"{column.sql} is {self.pick(['', 'not '])}null"

    def pattern(self, scope: Scope) -> str:
        column = self.any_column(scope, "text") or Column(self.constant("text"), "text", WORDS)
        form = self.random.randrange(8)
        if form < 4:
            insensitive = form == 3
            self.tag("ilike" if insensitive else "like")
            text = self.pick(["a%", "as%", "%h", "%e%", "_sh", "ash", "a\\%b", "NO%", "n%a", "%", "Os%"])
            operator = self.pick(["", "", "not "]) + ("ilike" if insensitive else "like")
            if self.chance(0.1):
                return f"{column.sql} {operator} 'a#%b' escape '#'"
            return f"{column.sql} {operator} {quoted(text)}"
        if form < 7:
            self.tag("regexp")
            operator, text = self.pick(["~", "~*", "!~", "!~*"]), self.pick(["^a", "s.$", "[nr]o", "x*"])
            return f"{column.sql} {operator} {quoted(text)}"
        self.tag("like")
        return self.pick(["{0} similar to '(a|b)%'", "starts_with({0}, 'a')", "{0} ^@ 'as'",
                          "position('s' in {0}) > 1"]).format(column.sql)

    def any_all(self, scope: Scope) -> str:
        column = self.any_column(scope, "int", "text")
        if not column:
            return "1 = any(array[1, 2])"
        values = ", ".join(self.constant(column.type, column.domain) for _ in range(self.random.randint(1, 3)))
        if self.chance(0.4):
            values = self.constant(column.type + "_array", column.domain, "", parameter=True)
            if self.chance(0.3):
                values += "::int[]" if column.type == "int" else "::text[]"
        elif column.type == "int" and self.chance(0.5):
            numbers = [str(self.random.randint(*column.domain)) for _ in range(3)] + self.pick([[], [], ["null"]])
            values = self.pick([f"'{{{','.join(numbers)}}}'"] * 4 + ["'{{1,2},{3,4}}'", "'[0:1]={5,6}'", "'{ 7 , 8}'"])
        else:
            values = f"array[{values}]"
        if self.chance(0.6):
            self.tag("any")
            return f"{column.sql} {self.pick(['=', '=', '=', '<', '<>'])} {self.pick(['any', 'some'])}({values})"
        self.tag("all")
        return f"{column.sql} {self.pick(['<>', '<>', '>', '>='])} all({values})"

    def row_condition(self, scope: Scope) -> str:
        one, two = self.any_column(scope, "int"), self.any_column(scope, "int", "text", "date")
        if not one or not two:
            return "(1, 2) < (1, 3)"
        self.tag("row_comparison")
        if self.chance(0.4):
            rows = ", ".join(f"({self.beside(one)}, {self.beside(two)})" for _ in range(2))
            return f"({one.sql}, {two.sql}) in ({rows})"
        operator = self.pick(["=", "<", ">=", "<>", "is distinct from"])
        return f"({one.sql}, {two.sql}) {operator} ({self.beside(one)}, {self.beside(two)})"

    def of_a_type(self, scope: Scope) -> str:
        """Operators of the types that only some relations have."""
        forms = {
            "json": ["{0} @> '{{\"n\": 1}}'", "{0} ? 'k'", "{0} ->> 'k' = 'a'", "{0} -> 'list' @> '[1]'",
                     "{0} ?| array['o', 'list']", "jsonb_path_exists({0}, '$.list[*] ? (@ > 1)')", "{0} @? '$.o.k'",
                     "({0} ->> 'n')::int > 1", "'{{}}'::jsonb <@ {0}", "{0} = '{{}}'"],
            "texts": ["{0} @> array['t1']", "{0} && array['t0', 't4']", "'t2' = any({0})", "{0} = '{{}}'",
                      "cardinality({0}) > 1", "'t3' <> all({0})", "{0} || 't1'::text = array['t1']"],
            "ints": ["{0} @> '{{1}}'", "2 = any({0})", "{0}[1] > 2", "{0} && array[0, 3]", "3 > all({0})"],
            "range": ["{0} @> 4", "{0} && int4range(2, 5)", "isempty({0})", "upper_inf({0})", "lower({0}) > 3",
                      "{0} <@ int4range(0, 20)", "{0} -|- int4range(6, 8)", "{0} << int4range(8, 9)"],
            "vector": ["{0} @@ 'ash'::tsquery", "{0} @@ 'elm & !oak'::tsquery", "{0} @@ '''ash'' | ''oak'''::tsquery",
                       "length({0}) > 1"],
            "pair": ["({0}).a = 1", "({0}).b is null", "{0} = row(1, 'x')::pair", "{0} is not null"],
            "mood": ["{0} > 'sad'", "{0} in ('ok', 'happy')"],
            "stamptz": ["{0} at time zone 'UTC' < '2026-01-20'", "{0}::date = '2026-01-12'"],
            "bool": ["{0}", "not {0}", "{0} is not true", "{0} = false"],
            "folded": ["{0} = 'ASH'", "{0} in ('ash', 'ELM')"],
        }
        tags = {"texts": "array", "ints": "array", "vector": "text_search", "pair": "composite", "mood": "enum",
                "stamptz": "date", "bool": "is_true", "folded": "collation"}
        column = self.any_column(scope, *forms)
        if not column:
            return self.comparison(scope)
        self.tag(tags.get(column.type, column.type))
        return self.pick(forms[column.type]).format(column.sql)

    def by_function(self, scope: Scope) -> str:
        self.tag("function_where")
        column = self.any_column(scope, "text", "int")
        if column and column.type == "text":
            return self.pick(["upper({0}) = 'ASH'", "length({0}) > 3", "lower({0}) like 'a%'",
                              "coalesce({0}, 'x') = 'x'", "shorten({0}, 1) = 'a'"]).format(column.sql)
        number = column.sql if column else "3"
        return self.pick(["abs({0}) = 3", "{0} % 2 = 0", "mod({0}, 3) <> 1", "coalesce({0}, 2) = 2", "twice({0}) > 9",
                          "nullif({0}, 3) is null", "to_char({0}, '99') like '%1'"]).format(number)

    # Subqueries, which the generator of whole statements makes.

    def scalar_subquery(self, kind: str, scope: Scope) -> str:
        raise NotImplementedError

    def subquery_condition(self, scope: Scope) -> str:
        raise NotImplementedError
