"""The tables of the patterns, and the changes that are made to them.

Names are fixed, nulls are everywhere. Changes are a story: they are told in their order, and each leaves the next
something to change. `*_elsewhere` changes what no pattern with a constraint on tenant 1 has an interest in.
"""
from typing import NamedTuple

SCHEMA = """
create type mood as enum ('sad', 'ok', 'happy');
create type address as (street text, city text, zip int);

create table tenants (id int primary key, name text not null, plan varchar(10));
insert into tenants values (1, 'Ant', 'free'), (2, 'Bee', 'gold'), (3, 'Cat', null), (4, 'Dog', 'gold');

create table users (
    id int primary key, tenant_id int, name text not null, email varchar(60), age int, active bool, feeling mood,
    score numeric(8, 2), ratio float8, points bigint, joined date, seen timestamptz, visited timestamp, token uuid,
    profile jsonb, tags text[], lucky int[], home address, span int4range, words tsvector, code char(4));
insert into users select i, i % 4 + 1, (array['Ada', 'Bob', 'Cleo', 'Dan', 'Eve'])[i % 5 + 1] || ' ' || i,
    case when i % 5 = 0 then null else 'u' || i || '@example.org' end, case when i % 5 = 1 then null else 20 + i end,
    case when i % 7 = 0 then null else i % 3 = 0 end, (enum_range(null::mood))[i % 4], i * 7.25,
    case when i % 8 = 0 then null else i / 3.0 end, i * 10000000000, date '2026-01-01' + i,
    timestamptz '2026-01-01 12:00+00' + i * interval '7 hours', timestamp '2026-01-01' + i * interval '31 minutes',
    ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
    case when i % 9 <> 0 then
        jsonb_build_object('n', i, 'list', jsonb_build_array(i, i + 1), 'in', '{"a": 1}'::jsonb) end,
    array['t' || i % 3, 't' || i % 2], case when i % 4 <> 0 then array[i, null, i * 2] end,
    case when i % 3 <> 0 then row('Road ' || i, 'Oslo', i)::address end, int4range(i, i + 5),
    to_tsvector('english', 'the user has ' || i || ' cats and runs'), 'c' || i
    from generate_series(1, 24) i;

create table orders (
    id bigint primary key, user_id int, tenant_id int, status varchar(10), amount numeric(10, 2), placed date,
    placed_at timestamptz, note text, priority int);
insert into orders select i, case when i % 11 = 0 then null else i * 5 % 28 end, i % 4 + 1,
    (array['new', 'paid', 'sent', null])[i % 4 + 1], case when i % 10 = 0 then null else (i * 53 % 400) / 4.0 end,
    date '2026-01-01' + i % 40, timestamptz '2026-01-01 08:00+00' + i * interval '5 hours',
    case when i % 6 = 0 then null else 'note ' || i % 9 end, nullif(i % 5, 0)
    from generate_series(1, 48) i;

create table items (
    order_id bigint, line int, product_id int not null, quantity int, price numeric(8, 2),
    total numeric(10, 2) generated always as (quantity * price) stored, primary key (order_id, line));
insert into items select i / 2 + 1, i % 2 + 1, i * 11 % 14 + 1, nullif(i % 7, 0), (i * 17 % 90) / 2.0
    from generate_series(0, 71) i;

create table products (id int primary key, name text, price numeric(8, 2), category text);
insert into products select i, 'Product ' || i, i * i % 50, (array['book', 'toy', null])[i % 3 + 1]
    from generate_series(1, 12) i;

create table employees (id int primary key, boss_id int, name text, salary numeric(8, 2), department text);
insert into employees select i, nullif(i / 2, 0), 'E' || i, case when i % 6 = 0 then null else i * 100 % 700 end,
    (array['it', 'hr', 'law'])[i % 3 + 1] from generate_series(1, 14) i;

-- Partitions, one of them partitioned again, their columns not in the same places.
create table events (id int, day date, kind text, payload jsonb, primary key (id, day)) partition by range (day);
create table events_early partition of events for values from ('2026-01-01') to ('2026-02-01');
create table events_late (kind text, gone int, payload jsonb, day date not null, id int not null);
alter table events_late drop column gone;
alter table events attach partition events_late for values from ('2026-02-01') to ('2026-03-01');
create table events_rest partition of events default partition by range (id);
create table events_rest_low partition of events_rest for values from (0) to (50);
create table events_rest_high partition of events_rest default;
insert into events select i, date '2026-01-10' + i * 4, (array['click', 'view', 'odd', null])[i % 4 + 1],
    jsonb_build_object('n', i) from generate_series(1, 20) i;

-- Inheritance.
create table cities (id int primary key, name text, people int);
create table capitals (land text, primary key (id)) inherits (cities);
insert into cities values (1, 'Bergen', 290), (2, 'Graz', 300), (3, 'Lyon', null);
insert into capitals values (11, 'Oslo', 700, 'Norway'), (12, 'Wien', 2000, 'Austria'), (13, 'Paris', 2100, null);

-- Other replica identities.
create table parcels (id int, tenant_id int, state text, weight numeric(6, 2));
alter table parcels replica identity full;
insert into parcels select i, i % 4 + 1, (array['open', 'shut', null])[i % 3 + 1], i * 1.5
    from generate_series(1, 12) i;
create table labels (code text not null, tenant_id int not null, note text);
create unique index labels_key on labels (tenant_id, code);
alter table labels replica identity using index labels_key;
insert into labels select 'L' || i, i % 4 + 1, case when i % 3 = 0 then null else 'note ' || i end
    from generate_series(1, 12) i;

-- Views, and functions that can be seen to be pure.
create view active_users as select id, tenant_id, name, age from users where active;
create view older_users as select a.id, upper(a.name) as name, a.tenant_id from active_users a where a.age > 25;
create view user_totals as select u.id, u.name, count(o.id) as orders, sum(o.amount) as amount
    from users u left join orders o on o.user_id = u.id group by u.id, u.name;
create view invoker_orders with (security_invoker) as select id, tenant_id, amount from orders;
create function gross(net numeric) returns numeric language sql immutable as 'select round(net * 1.25, 2)';
create function shout(word text) returns text language sql immutable return upper(word) || '!';
create function orders_of(who int) returns bigint language sql stable
    as 'select count(*) from orders where user_id = who';
create function users_of(tenant int) returns setof users language sql stable
    as 'select * from users where tenant_id = tenant';
"""

# What a name in a statement reads beyond the table of that name.
BEHIND = {
    "events": {"events_early", "events_late", "events_rest_low", "events_rest_high"},
    "events_rest": {"events_rest_low", "events_rest_high"},
    "cities": {"cities", "capitals"},
    "active_users": {"users"}, "older_users": {"users"}, "user_totals": {"users", "orders"},
    "invoker_orders": {"orders"}, "orders_of": {"orders"}, "users_of": {"users"},
}
TABLES = ["tenants", "users", "orders", "items", "products", "employees", "events_early", "events_late",
          "events_rest_low", "events_rest_high", "cities", "capitals", "parcels", "labels"]


class Change(NamedTuple):
    name: str
    tables: frozenset[str]  # that it changes
    sql: str
    through: bool = False  # made by the session that reads, through the proxy: it has to see it at once
    is_of_schema: bool = False  # drops everything, at once and when the catalog is looked at


def change(name: str, tables: str, sql: str, *how) -> Change:
    return Change(name, frozenset(tables.split()), sql, *how)


CHANGES = [
    change("user_in", "users",
           "insert into users (id, tenant_id, name, age, active, score, tags, span) "
           "values (101, 1, 'Ada 101', 33, true, 70.5, '{t1}', '[3,9)')"),
    change("user_in_elsewhere", "users",
           "insert into users (id, tenant_id, name, age, joined) values (102, 9, 'Zoe 102', 77, '2030-01-01')"),
    change("user_unlike", "users",
           "update users set name = 'Nil 101', email = 'u3@example.org', age = null where id = 101"),
    change("user_moves", "users", "update users set tenant_id = 2 where id = 4", True),
    change("user_parts", "users",
           "update users set profile = '{\"n\": 1, \"list\": [7]}', lucky = '{3,4}', home = row('X', 'Bonn', 1), "
           "words = to_tsvector('english', 'running dogs'), feeling = 'happy', ratio = 0.25, seen = null where id = 8"),
    change("user_key", "users", "update users set id = 103 where id = 101"),
    change("user_out_elsewhere", "users", "delete from users where id = 102"),
    change("user_out", "users", "delete from users where id in (8, 103)", True),
    change("tenant_name", "tenants", "update tenants set name = 'Ape', plan = null where id = 1", True),
    change("tenant_in", "tenants", "insert into tenants values (5, 'Elk', 'free')"),
    change("order_in", "orders",
           "insert into orders values (201, 5, 1, 'paid', 99.5, '2026-01-15', '2026-01-15 10:00+01', 'note 1', 3)",
           True),
    change("order_in_elsewhere", "orders",
           "insert into orders values (202, 99, 9, 'lost', 9000, '2031-01-01', '2031-01-01', 'other', 77)"),
    change("order_update", "orders",
           "update orders set amount = amount + 1, status = 'sent', note = null where id = 201"),
    change("order_update_elsewhere", "orders", "update orders set amount = 9001 where id = 202"),
    change("order_moves", "orders",
           "update orders set tenant_id = 3, user_id = 6, priority = null where id in (4, 8, 201)", True),
    change("order_out", "orders", "delete from orders where id in (12, 20, 202)"),
    change("item_in", "items", "insert into items values (5, 9, 3, 4, 2.5), (900, 1, 13, 1, 1)"),
    change("item_update", "items", "update items set quantity = 11 where order_id = 5 and line = 9"),
    change("item_out", "items", "delete from items where order_id in (5, 7)"),
    change("product_in", "products",
           "insert into products values (13, 'Product 13', null, 'book'), (14, 'New', 3, null)"),
    change("product_update", "products",
           "update products set price = price * 2, category = 'toy' where id in (3, 13)", True),
    change("employee_in", "employees",
           "insert into employees values (15, 3, 'E15', 950, 'it'), (16, 15, 'E16', null, null)"),
    change("employee_moves", "employees", "update employees set boss_id = 4, salary = 300 where id = 15", True),
    change("employee_out", "employees", "delete from employees where id in (9, 16)"),
    change("event_in", "events_early", "insert into events values (101, '2026-01-12', 'click', '{\"n\": 5}')"),
    change("event_in_late", "events_late",
           "insert into events_late (id, day, kind) values (102, '2026-02-12', 'view')"),
    change("event_moves", "events_early events_late", "update events set day = '2026-02-20' where id = 101", True),
    change("event_moves_below", "events_rest_low events_rest_high",
           "update events_rest set id = id + 50 where day > '2026-03-15'"),
    change("event_out", "events_late", "delete from events where id in (101, 102)"),
    change("city_in", "cities", "insert into cities values (4, 'Turin', 850)"),
    change("capital_in", "capitals", "insert into capitals values (14, 'Roma', 2800, 'Italy')"),
    change("capital_update", "capitals", "update cities set people = 701, name = 'Kristiania' where id = 11"),
    change("parcel_in", "parcels", "insert into parcels values (101, 1, 'open', 7), (102, 9, 'open', 8)"),
    change("parcel_update_elsewhere", "parcels", "update parcels set weight = 9 where id = 102"),
    change("parcel_weight", "parcels", "update parcels set weight = 9.5 where id = 101"),
    change("parcel_moves", "parcels", "update parcels set tenant_id = 2, state = null where id = 101", True),
    change("parcel_out_elsewhere", "parcels", "delete from parcels where id = 102"),
    change("label_in", "labels", "insert into labels values ('L101', 1, 'new'), ('L102', 9, 'new')"),
    change("label_update", "labels", "update labels set note = 'old' where code = 'L101'"),
    change("label_out_elsewhere", "labels", "delete from labels where code = 'L102'"),
    change("together", "users orders items",
           "begin; update users set tenant_id = 1 where id = 4; update orders set tenant_id = 1 where id = 8; "
           "update items set price = 5 where order_id = 8; commit", True),
    change("nothing", "", "begin; update users set age = age + 1; delete from orders; rollback"),
    change("truncate", "items", "truncate items"),
    change("truncate_leaf", "events_early", "truncate events_early"),
    change("truncate_several", "orders parcels labels", "truncate orders, parcels, labels"),
    change("truncate_root", "events_late events_rest_low events_rest_high", "truncate events"),
    change("truncate_parent", "cities capitals", "truncate cities"),
    change("view", "users", "create or replace view active_users as select id, tenant_id, name, age from users "
           "where active is not false", False, True),
    change("function", "products",
           "create or replace function gross(net numeric) returns numeric language sql immutable "
           "as 'select round(net * 1.5, 1)'", False, True),
    change("child", "cities", "create table villages (primary key (id)) inherits (cities); "
           "insert into villages values (21, 'Wald', 1), (22, 'Feld', null)", False, True),
    change("child_row", "cities", "update cities set people = 2 where id = 21"),
    change("attach", "events_early", "create table events_more (like events including all); "
           "insert into events_more values (201, '2025-12-02', 'odd'), (202, '2025-12-03', null); "
           "alter table events attach partition events_more for values from ('2025-12-01') to ('2026-01-01')",
           True, True),
    change("attached_row", "events_early", "delete from events where id = 201"),
    change("detach", "events_early", "alter table events detach partition events_more", False, True),
    change("empty_users", "users", "delete from users"),
]

# What only the forwarded patterns read. {database} and {port} are the origin's own.
FORWARDED_SCHEMA = """
create unlogged table scratch (id int primary key, name text);
insert into scratch values (1, 'one'), (2, null);
create materialized view kept as select tenant_id, count(*) as n from users group by tenant_id;
create table secrets (id int primary key, owner text);
insert into secrets values (1, 'postgres'), (2, 'app_trust');
alter table secrets enable row level security;
create policy own on secrets using (owner = current_user);
create table loose (id int, name text);
insert into loose values (1, 'one'), (1, 'one');
create table ruled (id int primary key, name text);
create rule twice as on insert to ruled do also insert into loose values (new.id, new.name);
create sequence numbers;
create view scratch_names as select s.name from scratch s join users u using (id);
create function dice() returns int language sql volatile as 'select 4';
create function rolled() returns double precision language sql volatile as 'select random()';
create function counted(tenant int) returns bigint language plpgsql stable
    as 'begin return (select count(*) from users where tenant_id = tenant); end';
create function written() returns int language sql as 'insert into loose values (7, null) returning id';
create function named() returns text language sql stable set search_path = public as 'select min(name) from users';
create function trusted() returns bigint language sql stable security definer as 'select count(*) from users';
create operator === (leftarg = int, rightarg = int, function = int4eq);
create type rating;
create function rating_in(cstring) returns rating language internal immutable strict as 'int4in';
create function rating_out(rating) returns cstring language internal immutable strict as 'int4out';
create type rating (input = rating_in, output = rating_out, like = int4);
create table rated (id int primary key, stars rating);
insert into rated values (1, '5'), (2, null);
create extension postgres_fdw;
create server here foreign data wrapper postgres_fdw options (dbname '{database}', port '{port}', host '127.0.0.1');
create user mapping for postgres server here options (user 'postgres', password_required 'false');
create foreign table far (id int, name text) server here options (table_name 'tenants');
"""
