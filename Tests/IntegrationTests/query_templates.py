"""Statements that are written out: recursive ones, those that stay forwarded with the reason, and those that fail.

In RECURSIVE, {n} is a constant. None of them depends on the order in which rows are found.
"""

RECURSIVE = [
    "with recursive t(id, label, depth) as (select id, label, 1 from node where parent_id is null union all "
    "select n.id, n.label, depth + 1 from node n join t on n.parent_id = t.id where depth < {n}) select * from t",
    "with recursive t as (select id, parent_id from node where id = {n} union "
    "select n.id, n.parent_id from node n join t on n.parent_id = t.id) select * from t order by id, parent_id",
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < {n}) "
    "select t.n, count(i.id) from t left join item i on i.kind = t.n group by t.n order by t.n",
    "with recursive t(id, boss_id) as (select id, boss_id from person where tenant = {n} union "
    "select p.id, p.boss_id from person p, t where p.id = t.boss_id) select count(*), sum(id), max(boss_id) from t",
    "with recursive t(id, parent_id) as (select id, parent_id from node union all "
    "select n.id, n.parent_id from node n, t where n.id = t.parent_id) cycle id set is_cycle using path "
    "select id, parent_id, is_cycle, cardinality(path) from t where id <= {n}",
    "with recursive t(id, label) as (select id, label from node where parent_id is null union all "
    "select n.id, n.label from node n join t on n.parent_id = t.id) search depth first by id set place "
    "select id, label from t order by place limit {n}",
    "with recursive t(id) as (values ({n}::int) union select v.node_id from part_of v, t where v.id = t.id + 1) "
    "select t.id, n.label from t left join node n on n.id = t.id",
    "select p.id, (with recursive up(id, boss_id) as (select q.id, q.boss_id from person q where q.id = p.boss_id "
    "union select q.id, q.boss_id from person q join up on q.id = up.boss_id) select count(*) from up) "
    "from person p where p.id > {n} order by 1",
]

FORWARDED = [
    ("volatile", "select id from person where random() < 2"),
    ("volatile", "select count(*) from (select id, random() >= 0 from item) t"),
    ("volatile", "with w as (select id, clock_timestamp() > '2020-01-01' as late from item) select id, late from w"),
    ("locking", "select id, kind from item where id = 3 for update"),
    ("locking", "select id from item where id in (select item_id from orders for share)"),
    ("data-modifying", "with gone as (delete from item where id = -1 returning id) select * from gone"),
    ("catalogs", "select count(*) > 0 from pg_class c, item i where c.relname = 'item' and i.id > 0"),
    ("catalogs", "select exists (select from information_schema.tables where table_name = 'item') from person"),
    ("catalogs", "select 'item'::regclass::text from person"),
    ("unlogged", "select kind, count(*) from unlogged_item group by kind"),
    ("unlogged", "select i.id from item i where not exists (select from unlogged_item u where u.id = i.id)"),
    ("materialized view", "select * from item_copy where kind = 2"),
    ("row security", "select s.id from secret s join item i on i.id = s.id"),
    ("sample", "select count(*) from item tablesample system (100)"),
    ("sample", "select id from (select id from person tablesample bernoulli (100) repeatable (1)) t"),
    ("system column", "select tableoid::regclass::text, count(*) from event group by 1"),
    ("system column", "select i.xmin is not null from item i where i.ctid is not null"),
    ("time", "select id from item where seen < now() - interval '200 years'"),
    ("time", "select id from item where made > 'today'::date + 100000"),
    ("time", "select count(*) from orders where placed < current_date - 100000"),
    ("time", "select i.id from item i left join orders o on o.item_id = i.id and o.placed > 'tomorrow'::date + 99999"),
    ("user function", "select id, plain_plus(kind, 1) from item"),
    ("user function", "select count(*) from item where plain_plus(id, kind) > 3"),
    ("no relation", "select 1"),
    ("no relation", "values (1, 'a'), (2, null)"),
    ("no relation", "select n from generate_series(1, 3) n"),
    ("recursion", "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3 and random() < 2) "
                  "select t.n, i.id from t join item i on i.kind = t.n"),
]

ERRORS = [
    "select 1 / (id - id) from vehicle", "select nothing from item", "select * from nowhere", "select id frm item",
    "select (select id from generate_series(1, 2) id) from person", "select id from item group by kind",
    "select 'abc'::int from person", "select sum(id) from item where sum(id) > 1",
    "select id from item union select id, kind from item", "select no_such_function(id) from item",
    "select id from item order by 9", "select a.id from item b", "select id from item i join orders o on i.id = o.id",
    "select 2147483647 + id from (values (1)) t(id), person", "select * from item limit -1",
    "select '{1,2'::int[] from item", "select id from item where name ~ '('", "select made + made from item",
    "select ('{\"a\": 1}'::jsonb -> 'a')::date from person", "with w as (select 1) select * from w, v",
    "select id from item where id in (select id, kind from item)", "select lag(id) from item",
    "select case when id > 0 then 'x'::int end from item", "select count(*) over w from item",
    "select distinct on (id) kind from item order by kind",
]
