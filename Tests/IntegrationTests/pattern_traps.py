"""SELECTs that a wrong constraint would answer wrongly after one of the changes: each tries a trap of I1, I2 or C2.

They differ from the patterns in that nobody writes most of them; whether one of them is cached is of no interest, but
nearly all are, or they would try nothing.
"""
from pattern import FORMS, Pattern
from pattern_tables import CHANGES, change

TEXTS = {
    "Outer joins": [
        "select u.id, o.id from users u left join orders o on o.user_id=u.id and u.tenant_id = 1 order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where o.tenant_id = 1 or o.tenant_id "
        "is null order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where coalesce(o.tenant_id, 1) = 1 "
        "order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where (o.tenant_id = 1) is not false "
        "order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where not (o.tenant_id <> 1) order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where o.tenant_id is not distinct from "
        "1 order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where o.tenant_id is distinct from 1 "
        "order by 1,2",
        "select u.id, o.id from users u left join orders o on o.user_id=u.id where case when o.tenant_id = 1 then "
        "true else u.tenant_id = 2 end order by 1,2",
        "select u.id, p.id from users u full join products p on p.id=u.id and u.tenant_id = 1 order by 1,2",
        "select u.id, p.id from users u full join products p on p.id=u.id and u.tenant_id = 1 where p.price > 3 "
        "order by 1,2",
        "select u.id, p.id from users u full join products p on p.id=u.id where u.tenant_id = 1 or p.price > 10 "
        "order by 1,2",
        "select u.id, p.id from users u full join products p on p.id=u.id where u.tenant_id = 1 and p.category is "
        "null order by 1,2",
        "select t.id, u.id from tenants t left join users u on u.tenant_id = t.id and t.id = 1 order by 1,2",
        "select t.id, u.id from tenants t left join users u on u.tenant_id = t.id where t.id = 1 order by 1,2",
        "select t.id, u.id from tenants t right join users u on u.tenant_id = t.id and t.id = 1 order by 2",
        "select t.id, u.id, o.id from tenants t left join (users u left join orders o on o.user_id = u.id and "
        "o.tenant_id = 1) on u.tenant_id = t.id order by 1,2,3",
        "select t.id, u.id, o.id from tenants t left join (users u left join orders o on o.user_id = u.id and "
        "u.tenant_id = 1) on u.tenant_id = t.id order by 1,2,3",
        "select t.id, u.id, o.id from tenants t left join (users u join orders o on o.user_id = u.id and "
        "u.tenant_id = 1) on u.tenant_id = t.id order by 1,2,3",
        "select t.id, u.id, o.id from (tenants t left join users u on u.tenant_id = t.id) left join orders o on "
        "o.user_id = u.id and t.id = 1 order by 1,2,3",
        "select t.id, u.id, o.id from (tenants t left join users u on u.tenant_id = t.id and u.tenant_id = 1) left "
        "join orders o on o.tenant_id = u.tenant_id order by 1,2,3",
        "select t.id, u.id, o.id from (tenants t left join users u on u.tenant_id = t.id and u.tenant_id = 1) right "
        "join orders o on o.tenant_id = u.tenant_id order by 1,2,3",
        "select t.id, u.id from tenants t full join users u on u.tenant_id = t.id and u.tenant_id = 1 order by 1,2",
        "select t.id, u.id from tenants t full join users u on u.tenant_id = t.id where t.id = 1 order by 1,2",
        "select u.id from users u left join orders o on o.user_id = u.id and o.tenant_id = 1 where o.id is null "
        "order by 1",
        "select tenant_id, u.id, o.id from users u left join orders o using (tenant_id) where tenant_id = 1 order "
        "by 1,2,3",
        "select tenant_id, u.id, o.id from users u right join orders o using (tenant_id) where tenant_id = 1 order "
        "by 1,2,3",
        "select tenant_id, count(*) from users u full join orders o using (tenant_id) where tenant_id = 1 group by 1",
        "select tenant_id, count(*) from users u full join orders o using (tenant_id) where u.tenant_id is null "
        "group by 1 order by 1",
        "select id, u.name, p.name from users u full join products p using (id) where id = 3",
        "select id, u.name, p.name from users u full join products p using (id) where id = 13 or u.tenant_id = 1 "
        "order by 1",
        "select id, u.name, t.name from users u left join tenants t using (id) where id < 6 order by 1",
        "select * from tenants natural left join (select id, price from products where price > 3) x order by 1",
        "select j.id from (users u left join products p using (id)) j where j.tenant_id = 1 order by 1",
        "select j.tenant_id, count(*) from (users u full join orders o using (tenant_id)) as j(tenant_id) where "
        "j.tenant_id = 1 group by 1",
    ],
    "Names and levels": [
        "select id from users u where not exists (select from orders o where o.user_id=u.id and u.tenant_id = 1) "
        "order by 1",
        "select id, exists (select from items where user_id = 3 and order_id = orders.id) from orders order by 1",
        "select id, (select count(*) from items where tenant_id = 1 and order_id = orders.id) from orders order by 1",
        "select id from users u where exists (select from orders u where u.tenant_id = 1) order by 1",
        "select id from users u where not exists (select from orders u where u.tenant_id = 3 and u.amount > 1000) "
        "order by 1",
        "with orders as (select * from orders where tenant_id=1) select id, amount from orders order by 1",
        "with users as (select id, tenant_id as t from users) select count(*) from users where t = 1",
        "select (with users as (select 1 as id) select count(*) from users), (select count(*) from users) from "
        "tenants order by 1",
        "select t.id, (with orders as (select * from users where tenant_id = t.id) select count(*) from orders), "
        "(select count(*) from orders where tenant_id = t.id) from tenants t order by 1",
        "with a(id, tenant_id) as (select tenant_id, id from users) select * from a where tenant_id = 1 order by 1",
        "with a(id, tenant_id) as (select tenant_id, id from users) select * from a where id = 1 order by 2",
        "select * from (select id as tenant_id, tenant_id as id from users) x where x.tenant_id=4 order by 1",
        "select * from (select id as tenant_id, tenant_id as id from users) x where x.id=1 order by 1",
        "select * from (select id, tenant_id from users) x(tenant_id, id) where tenant_id=4 order by 1",
        "select * from (select id, tenant_id from users) x(tenant_id, id) where id=1 order by 1",
        "select * from (select id, tenant_id from users order by id limit 3) x where tenant_id=1 order by 1",
        "select * from (select id, tenant_id from users order by id offset 3) x where tenant_id=1 order by 1",
        "select * from (select distinct on (age) id, tenant_id, age from users order by age, id) x where tenant_id "
        "= 1 order by 1",
        "select * from (select id, tenant_id, row_number() over (order by id) n from users) x where tenant_id = 1 "
        "order by 1",
        "select * from (select tenant_id, count(*) from users group by tenant_id) x where tenant_id = 1",
        "select * from (select count(*) n, 1 as tenant_id from users) x where tenant_id = 1",
        "select * from (select max(tenant_id) as tenant_id from users) x where tenant_id = 1",
        "select tenant_id, count(*) from users group by tenant_id having tenant_id = 1",
        "select count(*) from users having min(tenant_id) = 1",
        "select * from (select id, tenant_id from users union select id, tenant_id from orders) x where tenant_id=1 "
        "order by 1",
        "select tenant_id from users except select tenant_id from orders where tenant_id=1 order by 1",
        "select tenant_id from users where tenant_id = 1 intersect select tenant_id from orders order by 1",
        "select id from users where tenant_id = 1 union all select id from orders order by 1",
        "select * from (select id, unnest(tags) t, tenant_id from users) x where tenant_id=1 order by 1,2",
        "select * from (select id, tenant_id, generate_subscripts(lucky,1) s from users) x where tenant_id=1 and s "
        "= 1 order by 1,2",
        "select t.id, x.id from tenants t left join lateral (select u.id from users u where u.tenant_id = t.id and "
        "t.id = 1) x on true order by 1,2",
        "select t.id, x.id from tenants t left join lateral (select u.id from users u where u.tenant_id = t.id) x "
        "on t.id = 1 order by 1,2",
        "select t.id, x.n from tenants t cross join lateral (select count(*) n from users u where u.tenant_id = "
        "t.id and t.id = 1) x order by 1,2",
        "select t.id, x.n from tenants t cross join lateral (select count(*) n from users u where u.tenant_id = "
        "t.id) x where t.id = 1 order by 1,2",
        "select (select max(id) from users where tenant_id = 1), count(*) from users",
        "select id from users where tenant_id = 1 or exists(select from products where price > 90) order by 1",
        "select id from users where (tenant_id = 1) is null order by 1",
        "select id from users where (tenant_id = 1) is not true order by 1",
        "select id from users where (tenant_id = 1) is false order by 1",
        "select id from users where (tenant_id = 1) = true order by 1",
        "select id from users where (tenant_id = 1) = (age = 24) order by 1",
        "select id from users where (tenant_id = 1) >= active order by 1",
        "select id from users where not tenant_id = 1 order by 1",
        "select id from users where not (not tenant_id = 1) order by 1",
        "select id from users where tenant_id in (select 1) order by 1",
        "select id from users where tenant_id = any(array[1,null]) order by 1",
        "select id from users where tenant_id <> all(array[1,3]) order by 1",
        "select id from users where tenant_id <> any(array[1,3]) order by 1",
        "select id from users where tenant_id = all(array[1]) order by 1",
        "select id from users where tenant_id = all(array[]::int[]) order by 1",
        "select id from users where tenant_id > any(array[1,3]) order by 1",
        "select id from users where (tenant_id, id) = (1, 4) order by 1",
        "select id from users where (tenant_id,id) in ((1,4),(2,5)) order by 1",
        "select id from users where (tenant_id,id) <> (1,4) order by 1",
        "select id from users where (tenant_id,id) >= (1,4) order by 1",
        "select id from users where row(tenant_id,id) is not distinct from row(1,4) order by 1",
        "select id from users where tenant_id = (select min(id) from tenants) order by 1",
        "select id from users where tenant_id = 1 and (select true) order by 1",
        "select id from users u where tenant_id = 1 and exists (select 1 from (select 2 as tenant_id) u where "
        "u.tenant_id = 2) order by 1",
        "select users.id from (select * from orders) users where users.tenant_id = 1 order by 1",
        "select x.n from (values (1, 2)) users(id, tenant_id), lateral (select count(*) n from orders where "
        "orders.tenant_id = users.tenant_id) x",
        "select count(*) from unnest(array[1,2]) tenant_id, products where tenant_id = 1",
        "with t(tenant_id) as (values (1)) select count(*) from t, products where tenant_id = 1 and price > 3",
        "select public.users.id from public.users where public.users.tenant_id = 1 order by 1",
        "select count(*) from users where exists (select 1 from orders limit 0)",
        "select count(*) from users where exists (select count(*) from orders where tenant_id = 77)",
        "select id from tenants where id not in (select tenant_id from users where tenant_id = 1) order by 1",
        "select id from tenants where 1 = all (select tenant_id from users where age > 43) order by 1",
        "select (select count(u.id)) from users u",
        "select id from users u where tenant_id=1 and id = (select user_id from orders o where o.tenant_id = "
        "u.tenant_id order by o.id desc limit 1) order by 1",
        "select id from users u where u.tenant_id = 1 or exists (select from orders o where o.tenant_id = "
        "u.tenant_id and o.priority = 77) order by 1",
        "select u.id, p.id from users u left join products p on p.id=u.id and exists(select from orders o where "
        "o.tenant_id = u.tenant_id and o.status='paid') where u.tenant_id = 1 order by 1",
        "select t.id, u.id, (select count(*) from orders o where coalesce(o.tenant_id,0) = coalesce(u.tenant_id,0)) "
        "from tenants t left join users u on u.tenant_id = t.id and u.tenant_id = 1 order by 1,2",
        "select t.id, u.id, (select count(*) from orders o where o.tenant_id = u.tenant_id) from tenants t left "
        "join users u on u.tenant_id = t.id and u.tenant_id = 1 order by 1,2",
        "select t.id, (select count(*) from orders o where o.tenant_id = t.id or o.tenant_id = 3) from tenants t "
        "where t.id = 1",
        "select t.id, (select count(*) from orders o left join users u on u.tenant_id = t.id) from tenants t where "
        "t.id = 1",
        "select t.id, (select count(*) from orders o left join users u on u.id = o.user_id and o.tenant_id = t.id) "
        "from tenants t where t.id = 1",
        "select t.id from tenants t where t.id = 1 union select tenant_id from users u where not exists (select "
        "from orders o where o.tenant_id = u.tenant_id) order by 1",
        "select max(t.id) from tenants t where t.id = 1 group by () having exists (select from users u where "
        "u.tenant_id = max(t.id) + 1)",
        "with recursive t(id, tenant_id) as (select id, tenant_id from users where id=4 union all select u.id, "
        "u.tenant_id from users u join t on u.id = t.id + 1 where t.tenant_id <> 9) select * from t order by 1",
        "with recursive t(id, tenant_id) as (select id, tenant_id from users where id=4 union all select u.id, "
        "u.tenant_id from users u join t on u.id = t.id + 4 and u.tenant_id = t.tenant_id where t.tenant_id = 1) "
        "select * from t order by 1",
        "with recursive users(id) as (select 1 union all select id + 1 from users where id < 4) select count(*) "
        "from users, public.users u where u.tenant_id = users.id",
        "with recursive a as (select id from users where tenant_id = 1), b as (select id from a union all select id "
        "+ 100 from b where id < 100) select count(*) from b",
        "with b as (select count(*) n from users), users as (select 7 as n) select b.n, users.n from b, users",
        "with a as (select id from users where tenant_id = 1), b as (select id from users where tenant_id = 2) "
        "select (select count(*) from a), (select count(*) from b)",
        "with a as (select * from users) select (select count(*) from a where tenant_id = 1), (select count(*) from "
        "a where tenant_id = 2)",
        "with a as (select * from users) select count(*) from a where tenant_id = 1",
        "with a as materialized (select * from users) select count(*) from a where tenant_id = 1",
        "with a as (select * from users order by id limit 5) select count(*) from a where tenant_id = 1",
    ],
    "Constants": [
        "select id from users where id = 4.0",
        "select id from users where id > 21.5 order by 1",
        "select id from users where id = '4'",
        "select id from users where id = ' 4 '",
        "select id from users where id = 4::bigint",
        "select id from users where id = 4e0",
        "select id from users where tenant_id = 1.0 order by 1",
        "select id from users where tenant_id = 1.5 order by 1",
        "select id from users where tenant_id = 0001 order by 1",
        "select id from users where tenant_id = +1 order by 1",
        "select id from users where - tenant_id = -1 order by 1",
        "select id from users where tenant_id = - -1 order by 1",
        "select id from users where tenant_id = '1'::text::int order by 1",
        "select id from users where tenant_id = true::int order by 1",
        "select id from users where tenant_id::text = '1' order by 1",
        "select id from users where tenant_id + 0 = 1 order by 1",
        "select id from users where 1 = tenant_id order by 1",
        "select id from users where 1 < tenant_id and 3 >= tenant_id order by 1",
        "select id from users where id between 23 and 99999999999 order by 1",
        "select id from orders where id = 201.0 order by 1",
        "select id from orders where id = '201' order by 1",
        "select id from orders where id = 201::smallint order by 1",
        "select id from orders where id between '199' and '203' order by 1",
        "select id from orders where amount = 99.50 order by 1",
        "select id from orders where amount in (99.5, 100.5) order by 1",
        "select id from orders where amount > '99.4' order by 1",
        "select id from orders where amount = 1.005e2 order by 1",
        "select id from orders where amount = 100.5::float8 order by 1",
        "select id from orders where amount > 99 and amount < 101 order by 1",
        "select id from orders where amount = 9000 order by 1",
        "select id from orders where amount between symmetric 101 and 99 order by 1",
        "select id from orders where amount = 99.5::real order by 1",
        "select id from orders where amount::int = 100 order by 1",
        "select id from orders where amount = 'NaN' order by 1",
        "select id from users where active = 't' order by 1",
        "select id from users where active = 'yes' order by 1",
        "select id from users where active = 'no'::bool order by 1",
        "select id from users where active > false order by 1",
        "select id from users where active in (true) and tenant_id = 1 order by 1",
        "select id from users where not active and tenant_id = 1 order by 1",
        "select id from users where active is null order by 1",
        "select id from orders where placed = '2026-01-15' order by 1",
        "select id from orders where placed = '20260115' order by 1",
        "select id from orders where placed = 'Jan 15 2026' order by 1",
        "select id from orders where placed < 'infinity' and priority = 3 order by 1",
        "select id from orders where placed = timestamp '2026-01-15 00:00' order by 1",
        "select id from orders where placed >= timestamp '2026-01-15 10:00' and placed < date '2026-01-17' order by 1",
        "select id from orders where placed = timestamptz '2026-01-15 00:00+00' order by 1",
        "select id from orders where placed_at = '2026-01-15 09:00+00' order by 1",
        "select id from orders where placed_at = '2026-01-15 10:00+01' order by 1",
        "select id from orders where placed_at = '2026-01-15 09:00' order by 1",
        "select id from orders where placed_at::date = '2026-01-15' order by 1",
        "select id from orders where placed_at >= '2026-01-15' and placed_at < '2026-01-16' order by 1",
        "select id from orders where placed_at > date '2026-01-15' and placed_at < date '2026-01-16' order by 1",
        "select id from orders where placed_at = '2026-01-15T09:00:00Z' order by 1",
        "select id from orders where placed_at between '2026-01-15 08:59:59.999999+00' and '2026-01-15 "
        "09:00:00.000001+00' order by 1",
        "select id from orders where placed + 0 = date '2026-01-15' order by 1",
        "select id from orders where placed between '2026-01-15' and '2026-01-15' order by 1",
        "select id from users where visited = '2026-01-01 02:04:00' order by 1",
        "select id from users where visited < '2026-01-01 02:04:00.5' order by 1",
        "select id from users where visited > date '2026-01-01' and tenant_id = 1 order by 1",
        "select id from users where joined > '2026-01-20' order by 1",
        "select id from users where token = '{00000000-0000-0000-0000-000000000008}' order by 1",
        "select id from users where token = '00000000000000000000000000000008' order by 1",
        "select id from users where token in ('00000000-0000-0000-0000-000000000008', "
        "'00000000-0000-0000-0000-000000000004') order by 1",
        "select id from users where code = 'c4' order by 1",
        "select id from users where code = 'c4  ' order by 1",
        "select id from users where code = 'c4'::text order by 1",
        "select id from users where code in ('c4','c8') order by 1",
        "select id from users where code like 'c4' order by 1",
        "select id from users where code like 'c4%' order by 1",
        "select id from users where email = 'u3@example.org' order by 1",
        "select id from users where email = 'u3@example.org'::varchar(4) order by 1",
        "select id from users where email like 'u3@%' order by 1",
        "select id from users where email >= 'u3' and email < 'u4' order by 1",
        "select id from users where name > 'Zo' order by 1",
        "select id from users where email = upper('u3@EXAMPLE.org') order by 1",
        "select id from users where name like 'Ada\\_%' order by 1",
        "select id from users where name like 'Nil%' order by 1",
        "select id from users where name like 'N_l%' order by 1",
        "select id from users where name like 'Nil 101' order by 1",
        "select id from users where name like '%Nil' or name like 'Nil%' order by 1",
        "select id from users where name like 'Nil' || '%' order by 1",
        "select id from users where name like 'ANil%' escape 'A' order by 1",
        "select id from users where name like '\\Nil%' order by 1",
        "select id from users where name ~~ 'Nil%' order by 1",
        "select id from users where name !~~ 'Ada%' order by 1",
        "select id from users where name ^@ 'Nil' order by 1",
        "select id from users where name ilike 'nil%' order by 1",
        "select id from users where name like all (array['Nil%','%1']) order by 1",
        "select id from users where name like any (array['Nil%','Zoe%']) order by 1",
        "select id from users where name not like 'A%' and tenant_id = 1 order by 1",
        "select id from users where starts_with(name, 'Nil') order by 1",
        "select id from users where name collate \"C\" = 'Nil 101' order by 1",
        "select id from users where name = 'Nil 101' collate \"C\" order by 1",
        "select id from users where id between 9 and 3 order by 1",
        "select id from users where id >= 20 and id < 5 or tenant_id = 1 order by 1",
        "select id from users where lucky = '{12,NULL,24}' order by 1",
        "select id from users where tags = '{t1}' order by 1",
        "select id from users where span = '[3,9)' order by 1",
        "select id from users where profile = '{\"n\":1,\"list\":[7]}' order by 1",
        ("select id from users where tenant_id = any($1) order by 1", "{1,null}"),
        ("select id from users where tenant_id = any($1) order by 1", '{"1"}'),
        ("select id from users where tenant_id = any($1) order by 1", " { 1 , 3 } "),
        ("select id from users where tenant_id = any($1) order by 1", "[0:0]={1}"),
        ("select id from users where tenant_id = any($1) order by 1", "{{1},{2}}"),
        ("select id from users where tenant_id = any($1) order by 1", "{}"),
        ("select id from users where name = any($1) order by 1", '{Nil 101,"Zoe 102",NULL}'),
        ("select id from users where name = any($1) order by 1", '{"NULL",Nil\\ 101}'),
        ("select id from users where id = $1", " 4"),
        ("select id from users where tenant_id = $1::int order by 1", "1"),
        ("select id from users where tenant_id = $1::numeric order by 1", "1.0"),
        ("select id from users where tenant_id::numeric = $1 order by 1", "1.0"),
        ("select id from orders where amount = $1 order by 1", "99.50"),
        ("select id from orders where amount = $1 order by 1", "100.500"),
        ("select id from orders where placed = $1 order by 1", "2026-01-15"),
        ("select id from orders where placed_at = $1 order by 1", "2026-01-15 09:00:00+00"),
        ("select id from orders where placed_at > $1 and placed_at < $2 order by 1",
         "2026-01-15 08:00:00+00", "2026-01-15 09:30:00+00"),
        ("select id from users where name = $1 order by 1", "Nil 101"),
        ("select id from users where name like $1 order by 1", "Nil%"),
        ("select id from users where code = $1 order by 1", "c4"),
        ("select id from users where email = $1 order by 1", "u3@example.org"),
        ("select id from users where active = $1 order by 1", "yes"),
        ("select id from users where token = $1 order by 1", "00000000-0000-0000-0000-000000000008"),
        ("select id from users where id between $1 and $2 order by 1", "100", "104"),
        ("select id from users where tenant_id in ($1, $2) order by 1", "1", "9"),
        ("select id from users where tenant_id = 1 limit $1", "1000"),
    ],
    "Keys that are held": [
        "select id, (select count(*) from orders) from users where tenant_id=1 order by 1",
        "select distinct on (tenant_id) tenant_id, id from users where age > 20 order by tenant_id, id",
        "select id, row_number() over (order by age, id) from users where tenant_id=1 order by 1",
        "select id from users where tenant_id=1 group by id order by 1",
        "select id, unnest(tags) from users where tenant_id = 1 order by 1,2",
        "select id, unnest(lucky) from users where tenant_id = 1 order by 1,2",
        "select id from users where tenant_id=1 and age > (select avg(age) from users) order by 1",
        "select id as x, tenant_id as id from users where tenant_id=1 order by 1",
        "select id+0 as id from users where tenant_id=1 order by 1",
        "select -id as id from users where tenant_id=1 order by 1",
        "select id::text from users where tenant_id=1 order by 1",
        "select 5 as id, name from users where tenant_id=1 order by 2",
        "select order_id, line from items where quantity=3 order by 1,2",
        "select line, order_id from items where quantity=3 order by 1,2",
        "select order_id as line, line as order_id from items where quantity = 3 order by 1,2",
        "select order_id, line from items where quantity = 4 order by 1,2",
        "select id from users where tenant_id=1 order by id offset 2",
        "select id from users where tenant_id=1 order by id limit 2",
        "select id from users where tenant_id = 1 order by id fetch first 1 rows with ties",
        "select id, n from users, generate_series(1,2) n where tenant_id=1 order by 1,2",
        "select id, n from users left join generate_series(24,40) n on n = age where tenant_id=1 order by 1,2",
        "select id, n from users, generate_series(24, age) n where tenant_id=1 order by 1,2",
        "select id from users u where tenant_id = 1 and exists (select from users v where v.id = u.id + 1) order by 1",
        "select u.id from users u, users v where u.tenant_id = 1 and v.id = u.id order by 1",
        "select x.id from (select id, tenant_id from users where age > 20 order by id limit 3) x where tenant_id = "
        "1 order by 1",
        "select x.id from (select id, tenant_id from users where age > 20) x where tenant_id = 1 order by 1",
        "select x.id from (select -id as id, tenant_id from users where age > 20) x where tenant_id = 1 order by 1",
        "select x.id from (select tenant_id as id, id as tenant_id from users where age > 20) x where id = 1 order "
        "by 1",
        "select id, count(*) over () from users where tenant_id = 1 order by 1",
        "select id, lag(id) over (order by id) from users where tenant_id = 1 order by 1",
        "select distinct id from users where tenant_id = 1 order by 1",
        "select id from users where tenant_id = 1 union all select null order by 1",
        "select max(id) as id from users where tenant_id = 1",
        "select id, array(select o.id from orders o where o.user_id = users.id order by 1) from users where "
        "tenant_id = 1 order by 1",
        "select u.* from users u where tenant_id = 1 order by id",
        "select u from users u where tenant_id = 1 order by id",
        "select (u).id from users u where tenant_id = 1 order by 1",
        "select id from users where tenant_id = 1 for read only",
    ],
    "Columns that are read": [
        "select count(*) from parcels where tenant_id=1",
        "select id from parcels order by weight, id",
        "select weight, count(*) from parcels group by weight order by 1",
        "select p from parcels p order by id",
        "select count(p.*) from parcels p where p.weight > 8",
        "select id, rank() over (order by weight) from parcels order by 1",
        "select row(p.*) from parcels p order by p.id",
        "select to_jsonb(parcels) from parcels order by id",
        "select p.a from parcels p(a,b,c,d) where d > 8 order by 1",
        "select a, d from parcels p(a,b,c,d) order by 1",
        "select id, weight(p) from parcels p order by 1",
        "select id, (p).weight from parcels p order by 1",
        "select id, (select p.weight) from parcels p order by 1",
        "select id, x.* from parcels p, lateral (select p.weight) x order by 1",
        "select x.* from parcels p, lateral (select p.*) x order by 1",
        "select state from parcels group by state having max(weight) > 9.2 order by 1",
        "select count(*) filter (where weight > 9.2) from parcels",
        "select percentile_disc(0.9) within group (order by weight) from parcels",
        "select id from tenants where id + 8.5 in (select weight from parcels) order by 1",
        "select array(select weight from parcels order by id)",
        "select id, row_to_json((select x from (select weight) x)) from parcels order by 1",
        "select id from parcels natural join (select 9.5::numeric(6,2) as weight) x order by 1",
        "select id from parcels join (select 9.5::numeric(6,2) as weight) x using (weight) order by 1",
        "select distinct on (tenant_id) tenant_id, id from parcels order by tenant_id, weight desc, id",
        "select sum(w) from (select weight as w from parcels) x",
        "select sum(d) from (select * from parcels) x(a,b,c,d)",
        "with w as (select * from parcels) select max(weight) from w",
        "select count(*) from parcels where parcels is not null",
        "select case when exists (select weight from parcels where weight = 9.5) then 1 end from tenants",
        "table parcels",
        "select max(weight) over (), id from parcels order by id limit 3",
        "select id from parcels order by (weight > 9.2), id",
        "select id, string_agg(state, ',' order by weight) from parcels group by id order by 1",
        "select id from parcels where state = 'open' order by id",
        "select id from parcels where state = 'open' and tenant_id = 1 order by id",
        "select count(*) from parcels a join parcels b on a.weight = b.weight",
        "select count(*) from parcels where weight between 9.25 and 9.75",
        "select count(*) from parcels where weight in (7, 8)",
        "select count(*) from parcels where weight = 7.00",
        "select id from parcels where tenant_id is null order by 1",
        "select code from labels where note like 'o%' order by 1",
        "select code, note from labels where tenant_id = 1 and note is null order by 1",
        "select note from labels where code = 'L101'",
        "select count(*) from labels where note = 'old'",
        "select count(*) from users where points = 1010000000000",
        "select count(*) from items where total > 40",
        "select total from items where order_id = 5 and line = 9",
        "select count(*) from items where quantity = 11",
        "select order_id, total from items where total = 27.5 order by 1",
    ],
}

# More rows that come, go and lose what they were found by.
MORE = [
    change("low_user", "users",
           "insert into users (id, tenant_id, name, age, lucky, code) values (-1, 2, 'Low', 21, '{5}', 'c4')"),
    change("null_tenant", "users", "update users set tenant_id = null where id in (12, -1)"),
    change("back_tenant", "users", "update users set tenant_id = 1 where id = -1"),
    change("tags_empty", "users", "update users set tags = '{}', lucky = null, active = null where id in (16, 20)"),
    change("age_up", "users", "update users set age = age + 10 where tenant_id = 1"),
    change("low_gone", "users", "delete from users where id = -1"),
    change("order_null", "orders", "update orders set tenant_id = null where id in (16, 18)"),
    change("order_low", "orders",
           "insert into orders (id, user_id, tenant_id, status, amount, placed, placed_at) "
           "values (-5, 12, 3, 'paid', 2000, '2026-01-15', '2026-01-15 09:00+00')"),
    change("order_low_edit", "orders", "update orders set amount = 100.5, tenant_id = 1, priority = 77 where id = -5"),
    change("order_low_out", "orders", "delete from orders where id = -5"),
    change("tenant_out", "tenants", "delete from tenants where id = 1"),
    change("tenant_again", "tenants", "insert into tenants values (1, 'Ant', 'x')"),
    change("parcel_extra", "parcels", "insert into parcels values (301, 3, 'open', 9.5), (302, null, null, 9.5)"),
    change("parcel_extra_edit", "parcels", "update parcels set weight = 7, tenant_id = 1 where id = 302"),
    change("parcel_extra_out", "parcels", "delete from parcels where id in (301, 302)"),
    change("parcel_swap", "parcels", "update parcels set weight = 9.5 where weight = 1.5"),
    change("label_x", "labels", "update labels set note = null where tenant_id = 1"),
    change("label_y", "labels", "update labels set tenant_id = 1 where code = 'L2'"),
    change("product_90", "products", "update products set price = 95 where id = 2"),
    change("product_del", "products", "delete from products where id = 3"),
]
# Before what empties the tables.
_PLACE = next(number for number, each in enumerate(CHANGES) if each.name == "together")
STORY = CHANGES[:_PLACE] + MORE + CHANGES[_PLACE:]


def _patterns() -> list[Pattern]:
    """Each in one form of the protocol: what is right in all of them is the patterns' affair."""
    found = []
    for theme, texts in TEXTS.items():
        for number, text in enumerate(texts, 1):
            sql, *values = text if isinstance(text, tuple) else (text,)
            name = f"{theme.lower().replace(' ', '-')}-{number}"
            found.append(Pattern(name, theme, sql, tuple(values), forms=(FORMS[len(found) % len(FORMS)],)))
    return found


TRAPS = _patterns()
