"""Every pattern of SELECT that pgcache knows about: an example, and whether it is cached or why it is forwarded.

test_patterns_*.py try each of them, in every form of the protocol, through every change of pattern_tables.py.
`python patterns.py` writes the tables of docs/sql.md; `--check` only says whether they are up to date.
"""
import sys
from pathlib import Path

from pattern import GROUPS, NOTICE, PATTERNS, TEXT_ONLY, Pattern, add
from pattern_tables import CHANGES

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent.parent / "docs" / "sql.md"

# What leaves answers about tenant 1 alone: a new row of another tenant, or, with the answer's keys known, its changes.
USERS, USERS_HELD = ("user_in_elsewhere",), ("user_in_elsewhere", "user_out_elsewhere")
ORDERS, ORDERS_HELD = ("order_in_elsewhere",), ("order_in_elsewhere", "order_update_elsewhere")
# Why rows do not answer it. Numbers of types that are not PostgreSQL's own are others in the cache database.
COMPOSITE = dict(rows=TEXT_ONLY + "a composite value names types by number")
WHOLE_ROW = dict(rows="the type of a table's rows")
COLLATION = dict(rows="a collation by name")
TEXT_SEARCH = dict(rows="configurations of text search may be others")
NO_KEY = "no primary key"
KEY = ("user_in", "user_in_elsewhere", "user_unlike", "user_parts", "user_out_elsewhere", "user_key")

add("Single tables",
    ("all-columns", "select * from users order by id", COMPOSITE),
    ("star-and-more", "select *, id, id + 1 as next from products order by id"),
    ("no-columns", "select from users where tenant_id = 1", dict(keeps=USERS)),
    ("by-key", "select * from users where id = 5", dict(keeps=KEY, **COMPOSITE)),
    ("by-key-parameter", "select id, name from users where id = $1", dict(values=("5",), keeps=KEY)),
    ("by-keys", "select id, name from users where id in (3, 5, 7) order by id", dict(keeps=KEY)),
    ("by-two-keys", "select * from items where order_id = 3 and line = 2",
     dict(keeps=("item_in", "item_update", "item_out"))),
    ("by-column", "select id, name from users where tenant_id = 1 order by id", dict(keeps=USERS_HELD)),
    ("by-column-without-key", "select name from users where tenant_id = 1 order by id", dict(keeps=USERS)),
    ("alias", 'select u.id as number, u.name "Name" from users as u where u.tenant_id = 2 order by u.id',
     dict(keeps=USERS_HELD)),
    ("column-aliases", "select a, c from products as p(a, b, c) order by a"),
    ("whole-row", "select u from products u order by id", WHOLE_ROW),
    ("whole-row-of-function", "select to_jsonb(p) from products p order by id"),
    ("constant-columns", "select 1, 'one', null, true, 1.50, id from tenants order by id"),
    ("no-row", "select * from users where id = -1", dict(keeps=KEY, **COMPOSITE)),
    ("quoted-and-qualified", 'select "users"."id" from public."users" where users.id < 4 order by 1'))

add("Conditions",
    ("comparisons", "select id from orders where amount > 50 and priority <> 3 and placed >= '2026-01-10' order by id"),
    ("range", "select id, amount from orders where id between 3 and 9 order by id", dict(keeps=ORDERS_HELD)),
    ("range-of-column", "select id from orders where priority >= 2 and priority < 4 order by id",
     dict(keeps=ORDERS_HELD)),
    ("not-between", "select id from orders where priority not between 2 and 3 order by id"),
    ("between-symmetric", "select id from orders where id between symmetric 9 and 3 order by id",
     dict(keeps=ORDERS_HELD)),
    ("range-of-dates", "select id, note from orders where placed between date '2026-01-05' and date '2026-01-20' "
     "order by id", dict(keeps=ORDERS_HELD)),
    ("range-of-moments", "select id from orders where placed_at >= '2026-01-02 00:00:00+00' and placed_at < "
     "'2026-01-03 00:00:00+00' order by id", dict(keeps=ORDERS_HELD)),
    ("range-of-numerics", "select id, status from orders where amount between 10.50 and 99.5 order by id",
     dict(keeps=ORDERS_HELD)),
    ("or", "select id from orders where tenant_id = 1 or tenant_id = 2 order by id", dict(keeps=ORDERS_HELD)),
    ("or-of-columns", "select id from orders where tenant_id = 1 or user_id = 7 order by id", dict(keeps=ORDERS_HELD)),
    ("or-of-ands", "select id from orders where (tenant_id = 1 and status = 'paid') or (tenant_id = 2 and priority "
     "= 3) order by id", dict(keeps=ORDERS_HELD)),
    ("and-of-ors", "select id from orders where (tenant_id = 1 or tenant_id = 2) and (status = 'new' or priority = "
     "1) order by id", dict(keeps=ORDERS_HELD)),
    ("not", "select id from users where not active order by id"),
    ("not-of-and", "select id from users where not (active and age > 30) order by id"),
    ("in-with-null", "select id from orders where priority in (1, 2, null) order by id"),
    ("not-in", "select id from orders where status not in ('new', 'paid') order by id"),
    ("not-in-with-null", "select id from orders where priority not in (1, null) order by id"),
    ("is-null", "select id from users where age is null order by id", dict(keeps=("user_in_elsewhere",))),
    ("is-not-null", "select id from users where email is not null order by id"),
    ("is-true", "select id from users where active is not true order by id"),
    ("is-unknown", "select id from users where active is unknown order by id"),
    ("is-distinct", "select id from orders where status is distinct from 'new' order by id"),
    ("is-not-distinct", "select id from orders where status is not distinct from null order by id"),
    ("rows", "select id from orders where (tenant_id, status) = (2, 'paid') order by id"),
    ("rows-in-order", "select id from orders where (tenant_id, id) > (2, 30) order by id"),
    ("rows-in", "select line from items where (order_id, line) in ((3, 1), (3, 2)) order by 1"),
    ("like", "select id, name from users where name like 'Bob%' order by id", dict(keeps=USERS)),
    ("like-inside", "select id from users where name like '%a_1%' order by id"),
    ("like-escaped", "select id from users where name like 'A!_a%' escape '!' order by id"),
    ("not-like", "select id from users where name not like 'A%' order by id"),
    ("ilike", "select id from users where name ilike '%ADA%' order by id"),
    ("similar", "select id from users where name similar to '(Ada|Bob)%' order by id"),
    ("any-of-array", "select id from users where tenant_id = any(array[1, 3]) order by id", dict(keeps=USERS_HELD)),
    ("any-of-text", "select id from users where tenant_id = any('{1,3}') order by id", dict(keeps=USERS_HELD)),
    ("any-of-parameter", "select id from users where tenant_id = any($1) order by id",
     dict(values=("{1,3}",), keeps=USERS_HELD)),
    ("any-of-null", "select id from users where tenant_id = any('{null,1}') order by id"),
    ("all-of-array", "select id from users where id <> all('{1,2,null}') order by id"),
    ("operator-all", "select id from users where age > all(array[22, 25]) order by id"),
    ("any-of-column", "select id from users where 4 = any(lucky) order by id"),
    ("constant-condition", "select id from tenants where true order by id"),
    ("false-condition", "select id from tenants where 1 = 2"),
    ("case-in-where", "select id from orders where case when priority > 2 then amount > 50 else status = 'new' end "
     "order by id"),
    ("coalesce-in-where", "select id from orders where coalesce(status, 'new') = 'new' order by id"),
    ("immutable-function-in-where", "select id from users where lower(name) = 'bob 1' order by id"),
    ("text-equality", "select id from orders where status = 'paid' and tenant_id = 2 order by id",
     dict(keeps=ORDERS_HELD)),
    ("uuid", "select id from users where token = '00000000-0000-0000-0000-000000000007'",
     dict(keeps=("user_out_elsewhere",))),
    ("bool-column", "select id from users where active and tenant_id = 1 order by id", dict(keeps=USERS_HELD)),
    ("enum", "select id from users where feeling = 'happy' order by id"),
    ("enum-in-order", "select id from users where feeling > 'sad' order by id"),
    ("bigint", "select id from users where points = 30000000000", dict(keeps=("user_out_elsewhere",))))

add("Aggregates and groups",
    ("count", "select count(*) from users"),
    ("count-where", "select count(*), count(age), count(distinct age) from users where tenant_id = 1",
     dict(keeps=USERS)),
    ("sum-avg-min-max", "select sum(amount), avg(amount), min(placed), max(note) from orders where tenant_id = 2",
     dict(keeps=ORDERS)),
    ("filter", "select count(*) filter (where status = 'paid'), sum(amount) filter (where priority > 2) from orders"),
    ("distinct-inside", "select sum(distinct priority), array_agg(distinct status order by status) from orders"),
    ("ordered-inside", "select string_agg(name, ',' order by id desc) from products"),
    ("within-group", "select percentile_cont(0.5) within group (order by amount), mode() within group (order by "
     "priority) from orders"),
    ("hypothetical", "select rank(3) within group (order by priority) from orders"),
    ("statistics", "select round(stddev(amount), 4), round(variance(amount), 4), corr(id, priority)::numeric(6, 4) "
     "from orders"),
    ("bool-and-bit", "select bool_and(active), bool_or(active), every(active), bit_or(age) from users"),
    ("json-aggregates", "select jsonb_agg(name order by id), jsonb_object_agg(id, name) from tenants"),
    ("array-aggregate", "select array_agg(id order by id) from users where tenant_id = 1", dict(keeps=USERS)),
    ("group-by", "select status, count(*), sum(amount) from orders group by status order by status"),
    ("group-by-constraint", "select status, count(*) from orders where tenant_id = 1 group by status order by 1",
     dict(keeps=ORDERS)),
    ("group-by-position", "select tenant_id, status, max(amount) from orders group by 1, 2 order by 1, 2"),
    ("group-by-expression", "select placed - date '2026-01-01' as day, count(*) from orders group by 1 order by 1"),
    ("group-by-key", "select id, name, count(*) from products group by id order by id"),
    ("having", "select status, count(*) from orders group by status having count(*) > 11 order by status"),
    ("having-without-group", "select count(*) from orders having count(*) > 5"),
    ("distinct", "select distinct status, tenant_id from orders order by 1, 2"),
    ("distinct-on", "select distinct on (status) status, id, amount from orders order by status, id desc"),
    ("group-by-distinct", "select tenant_id, count(*) from orders group by distinct tenant_id order by 1"),
    ("grouping-sets", "select status, tenant_id, count(*), grouping(status, tenant_id) from orders group by "
     "grouping sets ((status, tenant_id), (status), ()) order by 1, 2, 4"),
    ("rollup", "select status, priority, sum(amount) from orders group by rollup (status, priority) order by "
     "status, priority, 3"),
    ("cube", "select tenant_id, status, count(*) from orders group by cube (tenant_id, status) order by 1, 2, 3"))

add("Order and limits",
    ("order-by-several", "select id, status, amount from orders order by status desc, amount, id"),
    ("order-by-nulls", "select id from orders order by priority nulls first, amount desc nulls last, id"),
    ("order-by-position", "select name, id from users order by 1 desc, 2"),
    ("order-by-expression", "select id from users order by length(name), id desc"),
    ("order-by-using", "select id from users order by age using >, id"),
    ("order-by-collation", 'select name from users order by name collate "C", id', COLLATION),
    ("limit", "select id, name from users order by id limit 5"),
    ("limit-offset", "select id, name from users order by id limit 5 offset 3"),
    ("limit-parameter", "select id, name from users where tenant_id = 1 order by id limit $1 offset $2",
     dict(values=("3", "1"), keeps=USERS)),
    ("limit-larger", "select id, name from users order by id limit 15"),
    ("limit-null", "select id from tenants order by id limit null"),
    ("limit-all", "select id from tenants order by id limit all"),
    ("limit-zero", "select id from users limit 0"),
    ("offset-beyond", "select id from users order by id offset 1000"),
    ("fetch-first", "select id from users order by id fetch first 3 rows only"),
    ("with-ties", "select tenant_id from users order by tenant_id fetch first 3 rows with ties"))

add("Expressions and functions",
    ("arithmetic", "select id + 1, -id, id * 2 - age, points / 7, points % 7, 2 ^ id, |/ ratio, @ score, score * "
     "1.10 from users order by id"),
    ("case", "select id, case when active then 'yes' when active is null then 'unknown' else 'no' end, case "
     "tenant_id when 1 then 'one' end from users order by id"),
    ("coalesce", "select id, coalesce(email, 'none'), nullif(age, 25), greatest(age, 23, id), least(score, 10) "
     "from users order by id"),
    ("casts", "select id::text, score::int, cast(age as numeric(10, 3)), name::varchar(4), points::float8, "
     "active::int from users order by id"),
    ("casts-of-dates", "select id, joined::text, seen::date, visited::time, seen::text from users order by id"),
    ("text-functions", "select upper(name), length(name), name || '!', substr(name, 1, 3), trim(code), md5(name), "
     "position('a' in name), overlay(name placing 'x' from 1), concat(name, '-', id), format('%s', name) from "
     "users order by id"),
    ("date-functions", "select id, joined + 1, visited + interval '1 day', extract(year from joined), "
     "date_trunc('month', visited), date_part('hour', seen), to_char(visited, 'YYYY-MM'), age(visited, "
     "'2026-01-01') from users order by id"),
    ("number-functions", "select round(score, 1), ceil(score), mod(id, 3), width_bucket(score, 0, 100, 5), "
     "to_char(score, '999D99') from users order by id"),
    ("regular-expressions", "select id, name ~ '^A', name ~* 'ADA', regexp_replace(name, '[0-9]+', '#'), "
     "(regexp_match(name, '([a-z]+) (.)'))[1], substring(name from '[0-9]+') from users order by id"),
    ("regular-expression-in-where", "select id from users where name ~ '^(Ada|Eve) [0-9]$' order by id"),
    ("json-operators", "select id, profile -> 'list', profile ->> 'n', profile #> '{in,a}', profile @> '{\"n\": "
     "3}', profile ? 'n', profile || '{\"z\": 0}', profile - 'list' from users order by id"),
    ("json-in-where", "select id from users where profile @> '{\"in\": {\"a\": 1}}' and (profile ->> 'n')::int > 4 "
     "order by id"),
    ("json-path", "select id, jsonb_path_query_first(profile, '$.list[0]'), profile @? '$.list[*] ? (@ > 5)' from "
     "users order by id"),
    ("json-building", "select jsonb_build_object('id', id, 'name', name), json_build_array(id, age), "
     "row_to_json(row(id, age)) from users order by id"),
    ("json-subscript", "select id, profile['n'], profile['list'][0] from users order by id"),
    ("array-operators", "select id, tags || 'x'::text, lucky[1], lucky[1:2], tags @> '{t1}', tags && '{t0,t2}', "
     "lucky = '{1,null,2}', array_length(lucky, 1), array_position(tags, 't1'), array_to_string(lucky, ',', "
     "'none') from users order by id"),
    ("array-constructor", "select array[id, age], array[[id], [age]], cardinality(array[id]) from users order by id"),
    ("range-operators", "select id, span @> 6, span && '[3,8)', span -|- '[6,9)', lower(span), upper_inf(span), "
     "span * '[2,7)' from users order by id"),
    ("range-in-where", "select id from users where span @> 7 order by id"),
    ("range-constructor", "select int4range(id, id + 2, '[]'), int4multirange(int4range(id, id + 1)) from users "
     "order by id"),
    ("text-search", "select id from users where words @@ to_tsquery('english', 'cat & run') order by id", TEXT_SEARCH),
    ("text-search-made", "select id, to_tsvector('english', name) @@ plainto_tsquery('english', 'ada'), "
     "ts_rank(words, 'cat'::tsquery)::numeric(8, 4) from users order by id", TEXT_SEARCH),
    ("composite", "select id, home, (home).city, (home).zip + 1 from users order by id", COMPOSITE),
    ("composite-in-where", "select id from users where (home).city = 'Oslo' and home is not null order by id"),
    ("composite-made", "select row(id, name), row('a', 'b', id)::address, (row('a', 'b', id)::address).zip from "
     "users order by id", dict(reason="user_type")),
    ("composite-all", "select id, (home).* from users order by id"),
    ("enum-functions", "select id, feeling, enum_range(null::mood), feeling::text from users order by id",
     dict(rows="a type of yours is looked up by name")),
    ("set-in-list", "select id, unnest(tags) from users order by 1, 2"),
    ("set-in-list-series", "select id, generate_series(1, 2) from tenants order by 1, 2"),
    ("set-in-list-regexp", "select id, regexp_split_to_table(name, ' ') from users order by 1, 2"),
    ("moment-of-zone", "select id, seen at time zone 'Asia/Tokyo', timezone('UTC', visited) from users order by id"),
    ("settings-of-the-session", "select id, seen, joined, ratio, to_char(seen, 'HH24:MI TZ') from users order by id"),
    ("collate", "select id from users where name collate \"C\" < 'C' order by id", COLLATION),
    ("quoting", "select id, quote_literal(name), quote_ident(name) from users order by id"))

add("Joins",
    ("inner", "select u.id, o.id from users u join orders o on o.user_id = u.id order by 1, 2"),
    ("inner-constraint", "select u.name, o.amount, o.id from users u join orders o on o.user_id = u.id where "
     "u.tenant_id = 1 and o.tenant_id = u.tenant_id order by o.id", dict(keeps=(*USERS, *ORDERS))),
    ("inner-constraint-in-on", "select o.id, i.line from orders o join items i on i.order_id = o.id and "
     "o.tenant_id = 1 order by 1, 2", dict(keeps=ORDERS)),
    ("key-through-join", "select u.name, o.amount from users u join orders o on o.user_id = u.id where u.id = 5 "
     "order by o.id",
     dict(keeps=(*ORDERS, "user_in", "user_in_elsewhere", "user_unlike", "user_parts", "user_out_elsewhere"))),
    ("using", "select id, users.name, products.name from users join products using (id) order by id"),
    ("natural", "select * from tenants natural join (select id, plan from tenants) x order by id"),
    ("using-alias", "select j.id, u.name from users u join products p using (id) as j order by j.id"),
    ("left", "select u.id, o.id, o.amount from users u left join orders o on o.user_id = u.id order by 1, 2"),
    ("left-constraint-in-on", "select u.id, o.id from users u left join orders o on o.user_id = u.id and "
     "o.tenant_id = 1 order by 1, 2", dict(keeps=ORDERS)),
    ("left-constraint-in-where", "select u.id, o.id from users u left join orders o on o.user_id = u.id where "
     "o.tenant_id = 1 order by 1, 2", dict(keeps=ORDERS)),
    ("left-anti", "select u.id from users u left join orders o on o.user_id = u.id where o.id is null order by 1"),
    ("left-anti-constraint", "select u.id from users u left join orders o on o.user_id = u.id and o.tenant_id = 1 "
     "where o.id is null and u.tenant_id = 1 order by 1", dict(keeps=(*USERS, *ORDERS))),
    ("left-outer-constraint", "select u.id, o.id from users u left join orders o on o.user_id = u.id where "
     "u.tenant_id = 1 order by 1, 2", dict(keeps=USERS)),
    ("right", "select u.id, o.id from users u right join orders o on o.user_id = u.id order by 2"),
    ("right-constraint", "select u.id, o.id from users u right join orders o on o.user_id = u.id and u.tenant_id = "
     "1 where o.tenant_id = 1 order by 2", dict(keeps=(*USERS, *ORDERS))),
    ("full", "select u.id, o.id from users u full join orders o on o.user_id = u.id order by 1, 2"),
    ("full-constraint", "select u.id, p.id from users u full join products p on p.id = u.id where u.tenant_id = 1 "
     "order by 1, 2", dict(keeps=USERS)),
    ("cross", "select t.id, p.id from tenants t cross join products p order by 1, 2"),
    ("comma", "select u.id, o.id from users u, orders o where o.user_id = u.id and u.tenant_id = 2 order by 1, 2",
     dict(keeps=USERS)),
    ("self", "select e.name, b.name from employees e join employees b on b.id = e.boss_id order by e.id"),
    ("non-equality", "select a.id, b.id from products a join products b on a.price < b.price and a.id < b.id order "
     "by 1, 2"),
    ("or-in-on", "select u.id, p.id from users u join products p on p.id = u.id or p.price = u.age order by 1, 2"),
    ("function-in-on", "select u.id, t.id from users u join tenants t on lower(t.name) < lower(u.name) order by 1, 2"),
    ("three", "select u.id, o.id, i.line, p.name from users u join orders o on o.user_id = u.id join items i on "
     "i.order_id = o.id left join products p on p.id = i.product_id where o.tenant_id = 1 order by 2, 3",
     dict(keeps=ORDERS)),
    ("nested-outer", "select u.id, o.id, i.line from users u left join (orders o join items i on i.order_id = "
     "o.id) on o.user_id = u.id where u.tenant_id = 3 order by 1, 2, 3", dict(keeps=USERS)),
    ("join-alias", "select j.id from (users u join products p using (id)) as j where j.tenant_id = 1 order by 1"),
    ("constants-through-equalities", "select count(*) from users u join orders o on o.tenant_id = u.tenant_id "
     "where u.tenant_id = 1", dict(keeps=(*USERS, *ORDERS))),
    ("lateral", "select u.id, x.id, x.amount from users u cross join lateral (select o.id, o.amount from orders o "
     "where o.user_id = u.id order by o.id desc limit 2) x order by 1, 2"),
    ("left-lateral", "select t.id, x.total from tenants t left join lateral (select sum(o.amount) as total from "
     "orders o where o.tenant_id = t.id) x on true order by 1"),
    ("lateral-function", "select u.id, t from users u, unnest(u.tags) t order by 1, 2"),
    ("grouped-join", "select t.name, count(o.id) from tenants t left join orders o on o.tenant_id = t.id group by "
     "t.id order by t.id"))

add("Subqueries",
    ("scalar", "select id, (select max(price) from products) from tenants order by id"),
    ("scalar-in-where", "select id from products where price > (select avg(price) from products) order by id"),
    ("scalar-correlated", "select t.id, (select count(*) from orders o where o.tenant_id = t.id) from tenants t "
     "order by 1"),
    ("scalar-constraint", "select id, (select sum(amount) from orders where tenant_id = 1) from tenants order by 1",
     dict(keeps=ORDERS)),
    ("in", "select id from users where id in (select user_id from orders where amount > 50) order by 1"),
    ("in-constraint", "select id from users where tenant_id = 1 and id in (select user_id from orders where "
     "tenant_id = 1) order by 1", dict(keeps=(*USERS, *ORDERS))),
    ("in-correlated", "select id from users u where 'paid' in (select status from orders o where o.user_id = u.id) "
     "order by 1"),
    ("not-in-subquery", "select id from users where id not in (select user_id from orders where user_id is not "
     "null) order by 1"),
    ("not-in-subquery-null", "select id from users where id not in (select user_id from orders) order by 1"),
    ("not-in-correlated", "select id from users u where 3 not in (select priority from orders o where o.user_id = "
     "u.id) order by 1"),
    ("exists", "select id from users u where exists (select from orders o where o.user_id = u.id) order by 1"),
    ("exists-constraint", "select id from users u where tenant_id = 1 and exists (select 1 from orders o where "
     "o.user_id = u.id and o.tenant_id = u.tenant_id) order by 1", dict(keeps=USERS)),
    ("exists-own-constraint", "select id from users u where exists (select 1 from orders o where o.user_id = u.id "
     "and o.tenant_id = 1) order by 1", dict(keeps=ORDERS)),
    ("not-exists", "select id from users u where not exists (select from orders o where o.user_id = u.id and "
     "o.status = 'paid') order by 1"),
    ("exists-uncorrelated", "select id from tenants where exists (select from products where price is null) order "
     "by 1"),
    ("correlated-non-equality", "select id from products p where exists (select from products q where q.price < "
     "p.price and q.id <> p.id) order by 1"),
    ("correlated-or", "select id from users u where exists (select from orders o where o.user_id = u.id or "
     "o.priority = u.age - 20) order by 1"),
    ("any-subquery", "select id from products where price >= any (select amount from orders where amount is not "
     "null) order by 1"),
    ("all-subquery", "select id from products where price < all (select amount from orders where tenant_id = 3 and "
     "amount > 20) order by 1"),
    ("row-subquery", "select id from items i join orders o on o.id = i.order_id where (order_id, line) in (select "
     "order_id, max(line) from items group by order_id) order by 1"),
    ("array-subquery", "select t.id, array(select u.id from users u where u.tenant_id = t.id order by u.id) from "
     "tenants t order by 1"),
    ("nested-three-deep", "select id from tenants where id in (select tenant_id from users where id in (select "
     "user_id from orders where id in (select order_id from items where quantity > 4))) order by 1"),
    ("in-from", "select x.id, x.name from (select id, name from users where tenant_id = 1) x order by 1",
     dict(keeps=USERS)),
    ("in-from-outer-constraint", "select x.id from (select id, tenant_id from users) x where x.tenant_id = 1 order "
     "by 1", dict(keeps=USERS)),
    ("in-from-grouped", "select x.status, x.n from (select status, count(*) as n from orders group by status) x "
     "where x.n > 11 order by 1"),
    ("in-from-limited", "select count(*), sum(amount) from (select amount from orders order by id limit 10) x"),
    ("in-from-joined", "select u.name, x.total from users u join (select user_id, sum(amount) as total from orders "
     "where tenant_id = 2 group by user_id) x on x.user_id = u.id order by u.id", dict(keeps=ORDERS)),
    ("in-from-nested", "select y.id from (select x.id from (select id from users where age > 25) x where x.id > 3) "
     "y order by 1"),
    ("in-case", "select id, case when exists (select from items i where i.order_id = o.id) then 'full' else "
     "'empty' end from orders o order by id"),
    ("in-order-by", "select id from tenants t order by (select count(*) from users u where u.tenant_id = t.id), id"),
    ("in-having", "select tenant_id, count(*) from orders group by tenant_id having count(*) > (select count(*) "
     "from tenants) order by 1"),
    ("in-limit", "select id from users order by id limit (select count(*) from tenants)"),
    ("in-on", "select u.id, o.id from users u join orders o on o.id = (select max(id) from orders m where "
     "m.user_id = u.id) order by 1"),
    ("in-aggregate", "select count(*) filter (where id in (select user_id from orders)) from users"),
    ("correlated-two-levels", "select t.id from tenants t where exists (select from users u where u.tenant_id = "
     "t.id and exists (select from orders o where o.user_id = u.id and o.tenant_id = t.id)) order by 1"))

add("WITH",
    ("with", "with paid as (select * from orders where status = 'paid') select id, amount from paid order by id"),
    ("with-constraint", "with mine as (select id, name from users where tenant_id = 1) select * from mine order by "
     "id", dict(keeps=USERS)),
    ("with-materialized", "with mine as materialized (select id from users where tenant_id = 1) select count(*) "
     "from mine", dict(keeps=USERS)),
    ("with-not-materialized", "with mine as not materialized (select * from users) select id from mine where age > "
     "30 order by id"),
    ("with-twice", "with t as (select tenant_id, count(*) as n from orders group by 1) select a.tenant_id, "
     "b.tenant_id from t a join t b on a.n = b.n and a.tenant_id <= b.tenant_id order by 1, 2"),
    ("with-several", "with a as (select id from users where tenant_id = 1), b as (select o.id from orders o join a "
     "on a.id = o.user_id) select count(*) from b", dict(keeps=USERS)),
    ("with-columns", "with a(x, y) as (select id, name from products) select y from a where x < 5 order by x"),
    ("with-unused", "with a as (select * from products) select id from tenants order by id"),
    ("with-name-of-table", "with tenants as (select id from products) select id from tenants order by id"),
    ("with-in-subquery", "select id from users where id in (with x as (select user_id from orders where amount > "
     "90) select user_id from x) order by id"),
    ("with-inside-with", "with a as (with b as (select id from tenants) select id + 1 as n from b) select n from a "
     "order by 1"),
    ("recursive-numbers", "with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) select n, "
     "p.name from t join products p on p.id = n order by n"),
    ("recursive-tree", "with recursive below as (select id, name, 1 as depth from employees where id = 2 union all "
     "select e.id, e.name, b.depth + 1 from employees e join below b on e.boss_id = b.id) select * from below "
     "order by id"),
    ("recursive-union", "with recursive up(id) as (select boss_id from employees where id = 13 union select "
     "e.boss_id from employees e join up on e.id = up.id where e.boss_id is not null) select id from up order by 1"),
    ("recursive-search", "with recursive t as (select id, boss_id from employees where boss_id is null union all "
     "select e.id, e.boss_id from employees e join t on e.boss_id = t.id) search depth first by id set place "
     "select id, place from t order by place",
     dict(rows=TEXT_ONLY + "a record names types by number")),
    ("recursive-cycle", "with recursive t as (select id, boss_id from employees where id = 1 union all select "
     "e.id, e.boss_id from employees e join t on e.boss_id = t.id) cycle id set again using path select id, again "
     "from t order by id"))

add("Set operations",
    ("union", "select id from users union select id from products order by id"),
    ("union-all", "select id, 'user' from users where tenant_id = 1 union all select id, 'order' from orders where "
     "tenant_id = 1 order by 2, 1", dict(keeps=(*USERS, *ORDERS))),
    ("intersect", "select id from users intersect select user_id from orders order by 1"),
    ("intersect-all", "select user_id from orders intersect all select product_id from items order by 1"),
    ("except", "select id from users except select user_id from orders order by 1"),
    ("except-all", "select user_id from orders except all select id from users order by 1"),
    ("nested-set-operations", "(select id from users union select id from orders) except (select id from products "
     "intersect select id from tenants) order by 1"),
    ("union-with-limits", "(select id from users order by id limit 3) union all (select id from products order by "
     "id desc limit 2) order by 1"),
    ("union-in-from", "select count(*) from (select id from users where tenant_id = 1 union all select id from "
     "products) x", dict(keeps=USERS)),
    ("union-in-where", "select id from tenants where id in (select tenant_id from users union select 3) order by 1"),
    ("union-of-values", "select id from tenants union values (77::int), (78) order by 1"))

add("Window functions",
    ("row-number", "select id, row_number() over (order by amount nulls last, id) from orders order by id"),
    ("partition-by", "select id, sum(amount) over (partition by tenant_id order by id) from orders order by id"),
    ("window-constraint", "select id, rank() over (order by amount) from orders where tenant_id = 1 order by id",
     dict(keeps=ORDERS)),
    ("named-window", "select id, first_value(id) over w, lag(id) over w, lead(id, 2, 0) over w from orders window "
     "w as (partition by status order by id) order by id"),
    ("frames", "select id, sum(priority) over (order by id rows between 2 preceding and current row), count(*) "
     "over (order by priority range between 1 preceding and 1 following), count(*) over (order by priority groups "
     "between 1 preceding and current row exclude ties) from orders order by id"),
    ("window-over-groups", "select status, count(*), rank() over (order by count(*) desc, status) from orders "
     "group by status order by 1"),
    ("window-in-from", "select id, n from (select id, ntile(4) over (order by id) as n from users) x where n = 2 "
     "order by id"),
    ("window-filter", "select id, count(*) filter (where priority > 2) over (order by id) from orders order by id"))

add("VALUES, TABLE and functions in FROM",
    ("table", "table tenants"),
    ("values-in-from", "select u.id, v.word from users u join (values (1, 'one'), (2, 'two')) v(id, word) on v.id "
     "= u.id order by 1"),
    ("values-in-where", "select id from users where (id, tenant_id) in (values (1, 2), (4, 1)) order by id"),
    ("values-in-with", "with v(id) as (values (1), (2)) select t.* from tenants t join v using (id) order by t.id"),
    ("series", "select d::date, count(o.id) from generate_series(date '2026-01-01', date '2026-01-05', interval '1 "
     "day') d left join orders o on o.placed = d::date group by 1 order by 1", dict(reason="time_dependent")),
    ("unnest-of-parameter", "select u.id, n from users u join unnest($1::int[]) n on n = u.id order by 1",
     dict(values=("{3,4,5}",))),
    ("ordinality", "select u.id, t.tag, t.place from users u cross join unnest(u.tags) with ordinality t(tag, "
     "place) where u.tenant_id = 1 order by 1, 3", dict(keeps=USERS)),
    ("rows-from", "select t.id, a, b from tenants t, rows from (generate_series(1, 2), generate_series(5, 7)) x(a, "
     "b) order by 1, 2, 3"),
    ("json-elements", "select u.id, e from users u, jsonb_array_elements(u.profile -> 'list') e order by 1, 2"),
    ("json-record", "select u.id, r.n, r.list from users u, jsonb_to_record(u.profile) r(n int, list jsonb) order "
     "by 1"),
    ("json-each", "select u.id, k, v from users u, jsonb_each_text(u.profile) e(k, v) order by 1, 2"))

add("Partitions and inheritance",
    ("partitioned", "select id, day, kind from events order by id"),
    ("partitioned-constraint", "select id, kind from events where day >= '2026-01-01' and day < '2026-02-01' order "
     "by id", dict(keeps=("event_in_late",))),
    ("partitioned-key", "select * from events where id = 3 and day = '2026-01-22'",
     dict(keeps=("event_in", "event_in_late"))),
    ("partitioned-grouped", "select kind, count(*), max(day) from events group by kind order by kind"),
    ("partitioned-join", "select a.id, b.id from events a join events b on b.id = a.id + 1 order by 1"),
    ("partitioned-whole-row", "select e from events e where day < '2026-02-10' order by id", WHOLE_ROW),
    ("leaf", "select id, kind, payload from events_late order by id"),
    ("leaf-below", "select id, day from events_rest_low order by id"),
    ("middle", "select id, day from events_rest order by id"),
    ("leaf-and-root", "select (select count(*) from events), (select count(*) from events_early)"),
    ("parent", "select id, name, people from cities order by id"),
    ("parent-constraint", "select name from cities where id = 11", dict(keeps=("city_in", "capital_in"))),
    ("parent-star", "select * from cities* order by id"),
    ("only", "select id, name, people from only cities order by id", dict(reads=frozenset({"cities"}))),
    ("child", "select * from capitals order by id"),
    ("parent-grouped", "select count(*), sum(people) from cities"))

add("Replica identities and generated columns",
    ("identity-full", "select id, state, weight from parcels where tenant_id = 1 order by id",
     dict(keeps=("parcel_update_elsewhere", "parcel_out_elsewhere"), rows=NO_KEY)),
    ("identity-full-grouped", "select state, count(*) from parcels where tenant_id = 1 group by state order by 1",
     dict(keeps=("parcel_update_elsewhere", "parcel_out_elsewhere", "parcel_weight"), rows=NO_KEY)),
    ("identity-full-columns", "select id, state from parcels order by id",
     dict(keeps=("parcel_weight", "parcel_update_elsewhere"), rows=NO_KEY)),
    ("identity-index", "select code, note from labels where tenant_id = 1 order by code",
     dict(keeps=("label_out_elsewhere",))),
    ("identity-index-key", "select note from labels where tenant_id = 2 and code = 'L1'",
     dict(keeps=("label_in", "label_update", "label_out_elsewhere"))),
    ("generated", "select order_id, line, total from items order by 1, 2"),
    ("generated-in-where", "select order_id, line from items where total > 50 order by 1, 2"),
    ("generated-key", "select total from items where order_id = 8 and line = 1",
     dict(keeps=("item_in", "item_update", "item_out"))))

add("Views",
    ("view", "select id, name from active_users order by id"),
    ("view-constraint", "select id, name from active_users where tenant_id = 1 order by id", dict(keeps=USERS)),
    ("view-key", "select name from active_users where id = 3", dict(keeps=("user_in_elsewhere", "user_in"))),
    ("view-over-view", "select * from older_users order by id"),
    ("view-over-view-constraint", "select name from older_users where tenant_id = 1 order by id", dict(keeps=USERS)),
    ("view-grouped", "select * from user_totals order by id"),
    ("view-joined", "select v.name, o.amount from active_users v join orders o on o.user_id = v.id order by o.id"),
    ("view-security-invoker", "select id, amount from invoker_orders where tenant_id = 1 order by id",
     dict(keeps=ORDERS)),
    ("view-in-subquery", "select id from tenants where id in (select tenant_id from active_users) order by id"),
    ("view-whole-row", "select a from active_users a order by id", WHOLE_ROW))

add("Functions of your own",
    ("sql-function", "select id, gross(price) from products order by id"),
    ("sql-function-in-where", "select id from products where gross(price) > 20 order by id"),
    ("sql-function-in-on", "select t.id, p.id from tenants t join products p on gross(p.price) > t.id * 10 order "
     "by 1, 2"),
    ("sql-standard-body", "select id, shout(name) from tenants order by id"),
    ("function-that-reads", "select id, orders_of(id) from users order by id"),
    ("function-that-reads-in-from", "select id, name from users_of(1) order by id", dict(reason="no_relation")),
    ("function-beside-a-table", "select t.id, u.name from tenants t, users_of(t.id) u order by 1, u.id"),
    rows="functions of your own are not in the row tier")

add("What a statement does",
    ("insert", "insert into loose values (5, 'five') returning id", dict(reason="not_select")),
    ("for-update", "select id from users where id = 3 for update", dict(reason="locking")),
    ("for-share-in-subquery", "select id from (select id from users for share) x order by id", dict(reason="locking")),
    ("for-key-share-in-with", "with x as (select id from users for key share skip locked) select count(*) from x",
     dict(reason="locking")),
    ("data-modifying-with", "with gone as (delete from loose where id = 77 returning id) select id from tenants "
     "order by id", dict(reason="data_modifying_cte")),
    ("select-into", "select id into temp made from tenants", dict(reason="select_into")),
    ("several-statements", "select id from tenants where id = 1; select id from tenants where id = 2",
     dict(reason="several_statements")),
    ("no-relation", "select 1", dict(reason="no_relation")),
    ("values", "values (1, 'one'), (2, 'two')", dict(reason="no_relation")),
    ("function-alone", "select n from generate_series(1, 3) n", dict(reason="no_relation")),
    ("explain", "explain (costs off) select id from tenants", dict(reason="not_select")),
    ("cursor", "declare c cursor for select id from tenants", dict(reason="not_select")),
    ("notice", "select id from users where words @@ to_tsquery('english', 'the')", dict(reason="notice")))

add("What it calls",
    ("volatile", "select id, random() >= 0 from users order by id", dict(reason="volatile_function")),
    ("volatile-in-where", "select id from users where random() < 2 order by id", dict(reason="volatile_function")),
    ("volatile-in-subquery", "select id from users where id in (select (random() * 0)::int + 3 from tenants) order "
     "by id", dict(reason="volatile_function")),
    ("volatile-in-from", "select u.id from users u, generate_series(1, (random() * 0)::int + 1) order by 1",
     dict(reason="volatile_function")),
    ("volatile-in-recursive", "with recursive t(n) as (select 1 union all select n + 1 + (random() * 0)::int from "
     "t where n < 3) select u.id from users u join t on t.n = u.id order by 1", dict(reason="volatile_function")),
    ("sequence", "select id, nextval('numbers') > 0 from tenants order by id", dict(reason="volatile_function")),
    ("now", "select id from users where seen < now() order by id", dict(reason="time_dependent")),
    ("current-date", "select id from users where joined < current_date order by id", dict(reason="time_dependent")),
    ("today", "select id from users where joined < 'today'::date order by id", dict(reason="time_dependent")),
    ("today-parameter", "select id from users where joined < $1 order by id",
     dict(reason="time_dependent", values=("tomorrow",))),
    ("now-in-recursive", "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3 and now() > "
     "'2020-01-01') select u.id from users u join t on t.n = u.id order by 1", dict(reason="time_dependent")),
    ("age-of-today", "select id, age(joined) is null from users order by id", dict(reason="time_dependent")),
    ("text-to-date", "select id from users where ('2026-01-0' || tenant_id)::date < joined order by id",
     dict(reason="time_dependent")),
    ("current-user", "select id, current_user from tenants order by id", dict(reason="volatile_function")),
    ("current-setting", "select id, current_setting('app.tenant', true) from tenants order by id",
     dict(reason="stable_function")),
    ("advisory-lock", "select id from tenants where pg_try_advisory_xact_lock_shared(id) order by id",
     dict(reason="volatile_function")),
    ("catalog-names", "select id, 'users'::regclass::text from tenants order by id", dict(reason="catalog_dependent")),
    ("your-volatile-function", "select id, rolled() >= 0 from tenants order by id", dict(reason="volatile_function")),
    ("your-writing-function", "select id, written() from tenants order by id", dict(reason="user_function")),
    ("your-hidden-function", "select id, counted(id) from tenants order by id", dict(reason="user_function")),
    ("your-function-with-settings", "select id, named() from tenants order by id", dict(reason="user_function")),
    ("your-security-definer", "select id, trusted() from tenants order by id", dict(reason="user_function")),
    ("your-operator", "select id from users where id === 3 order by id", dict(reason="user_operator")),
    ("unknown-function", "select id, missing(id) from tenants", dict(reason="unknown_function")),
    ("xml", "select xmlelement(name x, name) from tenants order by id", dict(reason="unsupported_expression")))

add("What it reads",
    ("catalog", "select count(*) from pg_class where oid < 100", dict(reason="system_catalog")),
    ("information-schema", "select count(*) from information_schema.tables where table_name = 'users'",
     dict(reason="system_catalog")),
    ("catalog-in-subquery", "select id from tenants where id in (select relnatts from pg_class) order by id",
     dict(reason="system_catalog")),
    ("catalog-in-recursive", "with recursive t(n) as (select 1 union all select n + 1 from t, pg_am a where n < 3 "
     "and a.amname = 'heap') select u.id from users u join t on t.n = u.id order by 1", dict(reason="system_catalog")),
    ("foreign", "select id, name from far order by id", dict(reason="not_a_table")),
    ("foreign-joined", "select t.id, f.name from tenants t join far f using (id) order by id",
     dict(reason="not_a_table")),
    ("unlogged", "select id, name from scratch order by id", dict(reason="unlogged")),
    ("unlogged-in-set-operation", "select id from tenants union select id from scratch order by 1",
     dict(reason="unlogged")),
    ("unlogged-in-recursive", "with recursive t(n) as (select 1 union all select s.id + 1 from t join scratch s on "
     "s.id = n) select u.id from users u join t on t.n = u.id order by 1", dict(reason="unlogged")),
    ("unlogged-behind-view", "select name from scratch_names order by 1", dict(reason="unlogged")),
    ("temporary", "select name from pg_temp.mine", dict(reason="session_state")),
    ("materialized-view", "select tenant_id, n from kept order by 1", dict(reason="not_a_table")),
    ("materialized-view-joined", "select t.id, k.n from tenants t join kept k on k.tenant_id = t.id order by 1",
     dict(reason="not_a_table")),
    ("sequence-state", "select is_called from numbers", dict(reason="not_a_table")),
    ("row-security", "select id, owner from secrets order by id", dict(reason="row_security")),
    ("row-security-in-exists", "select id from tenants t where exists (select from secrets s where s.id = t.id) "
     "order by id", dict(reason="row_security")),
    ("sample", "select id from users tablesample bernoulli (100) order by id", dict(reason="table_sample")),
    ("sample-repeatable", "select id from users tablesample system (100) repeatable (3) order by id",
     dict(reason="table_sample")),
    ("system-columns", "select id from users where ctid is not null order by id", dict(reason="system_column")),
    ("tableoid", "select id, tableoid <> 0 from events order by id", dict(reason="system_column")),
    ("no-identity", "select id, name from loose order by id, name", dict(reason="no_replica_identity")),
    ("rules", "select id from ruled order by id", dict(reason="rules")),
    ("your-base-type", "select id, stars from rated order by id", dict(reason="user_type")),
    ("unknown-relation", "select id from missing", dict(reason="unknown_relation")))


# The page.

MARKS = "<!-- patterns: {} -->", "<!-- /patterns -->"


def outcome(pattern: Pattern) -> str:
    if pattern.reason == NOTICE:
        return "forwarded: an answer that came with a notice is not kept"
    return f"forwarded: `{pattern.reason}`" if pattern.reason else "cached"


def from_rows(pattern: Pattern) -> str:
    if pattern.reason:
        return ""
    if pattern.rows and pattern.rows.startswith(TEXT_ONLY):
        return f"in text; memo only {pattern.rows}"
    return f"memo only: {pattern.rows}" if pattern.rows else "yes"


def row(pattern: Pattern) -> str:
    text = pattern.sql.replace("|", "\\|")
    return (f"| {pattern.name} | `{text}` | {outcome(pattern)} | {from_rows(pattern)} "
            f"| [{pattern.file.removesuffix('.py')}](../Tests/IntegrationTests/{pattern.file}) `[{pattern.name}]` |")


def table(group: str) -> str:
    head = "| pattern | example | outcome | from rows | test |\n|---|---|---|---|---|\n"
    return head + "".join(row(pattern) + "\n" for pattern in PATTERNS if pattern.group == group)


def filled(text: str) -> str:
    """The page with every group's table made anew."""
    for group in GROUPS:
        begin, end = MARKS[0].format(group), MARKS[1]
        head, found, rest = text.partition(begin + "\n")
        assert found, f"{PAGE.name} has no {begin}"
        text = head + found + table(group) + end + rest.partition(end)[2]
    return text


def problems(text: str) -> list[str]:
    found = [] if text == filled(text) else ["the tables of docs/sql.md are not those of patterns.py: run it"]
    names = [pattern.name for pattern in PATTERNS]
    found += [f"{name}: twice" for name in sorted(set(names)) if names.count(name) > 1]
    changes = {change.name: change for change in CHANGES}
    for pattern in PATTERNS:
        for name in {*pattern.keeps, *pattern.relaxed}:
            if name not in changes or not changes[name].tables & pattern.relations:
                found.append(f"{pattern.name}: {name} is no change of what it reads")
    return found


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(filled(PAGE.read_text()))
    wrong = problems(PAGE.read_text())
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
