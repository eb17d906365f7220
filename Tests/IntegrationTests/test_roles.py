"""Roles that change under a session, and what the origin would refuse them (traps 27 to 32).

A session never reads from the cache what the origin would not show it at that moment: not what its former
role could read, not what another role's execution has proven [P1], not rows behind a policy [P2].
"""
import pytest

import wire as w
from twins import PROTOCOLS, Twins
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = """
create table public_note (id int primary key, note text);
insert into public_note values (1, 'public');
grant select on public_note to public;
create table secret (id int primary key, salary int, note text);
insert into secret values (1, 1000, 'secret');
create table by_column (id int primary key, name text, salary int);
insert into by_column values (1, 'one', 1000);
create table owned (id int primary key, owner text, note text);
insert into owned values (1, 'postgres', 'its'), (2, 'app_trust', 'hers'), (3, 'app_scram', 'his');
alter table owned enable row level security;
create policy own on owned using (owner = current_user);
create table hers (id int primary key, note text);
insert into hers values (1, 'seen'), (2, 'unseen');
alter table hers owner to app_trust;
create table member (name text primary key);
insert into member values ('app_trust');
create table by_member (id int primary key, note text);
insert into by_member values (1, 'for members');
alter table by_member enable row level security;
create policy members on by_member using (exists (select 1 from member where name = current_user));
create view owned_as_owner as select id, note from owned;
create view owned_as_invoker with (security_invoker) as select id, note from owned;
create view owned_behind_two as select note from owned_as_invoker;
create view secret_view as select id, note from secret;
create schema closed;
create table closed.thing (id int primary key, note text);
insert into closed.thing values (1, 'closed');
grant select on closed.thing to public;
create function as_definer() returns bigint language sql stable security definer as 'select count(*) from secret';
create function as_invoker() returns bigint language sql stable as 'select count(*) from secret';
create function lying() returns bigint language sql immutable security definer as 'select count(*) from secret';
create function who() returns text language sql immutable as 'select current_user::text';
create function restricted(int) returns int language sql immutable as 'select $1 + 1';
revoke execute on function restricted(int) from public;
grant select on owned, by_member, member, owned_as_owner, owned_as_invoker, owned_behind_two to public;
"""

SECRET = "select note from secret where id = 1"
REFUSED = "42501"


@pytest.fixture
def role(database, client):
    """A login role of the test's own, with no rights but everybody's; and a group beside it.

    It goes through the proxy, which has forgotten it when the next test makes another one of that name.
    """
    name = f"role_of_{database}"
    group = f"group_of_{database}"
    client.execute(f"create role {name} login; create role {group}")
    yield name
    for each in (name, group):
        if client.execute("select from pg_roles where rolname = %s", (each,)).fetchone() is not None:
            client.execute(f"reassign owned by {each} to postgres; drop owned by {each}; drop role {each}")


@pytest.fixture
def group(role, database):
    return f"group_of_{database}"


@pytest.fixture(params=["through the proxy", "elsewhere"])
def change(request, client, direct):
    """Executes what an administrator says; through the proxy it acts at once, elsewhere within the poll's interval."""
    def execute(text):
        (client if request.param == "through the proxy" else direct).execute(text)

    execute.acts_at_once = request.param == "through the proxy"
    return execute


def follow(twins, change, text, *reads, protocol="simple"):
    """After the change both say the same: at once, or once it is noticed; and it stays so."""
    change(text)
    for read in reads:
        if not change.acts_at_once:
            twins.until_alike(PROTOCOLS[protocol](read))
        twins.repeat(read, protocol=protocol)


def refused(twins, read, protocol="simple"):
    assert w.error(twins.ask(PROTOCOLS[protocol](read))) == REFUSED


class TestGrants:
    @pytest.mark.trap(27)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_role_without_rights(self, start_twins, role, protocol):
        start_twins().warm(SECRET, protocol=protocol)
        for _ in range(3):
            refused(start_twins(role), SECRET, protocol)
        start_twins().warm(SECRET, protocol=protocol)

    CHANGES = [
        ("grant select on secret to {role}", "revoke select on secret from {role}"),
        ("grant select on all tables in schema public to {role}", "revoke all on secret from {role}"),
        ("grant select on secret to public", "revoke select on secret from public"),
        ("grant {group} to {role}; grant select on secret to {group}", "revoke {group} from {role}"),
        ("grant {group} to {role}; grant select on secret to {group}", "revoke select on secret from {group}"),
        ("grant {group} to {role}; grant select on secret to {group}", "alter role {role} noinherit"),
        ("grant pg_read_all_data to {role}", "revoke pg_read_all_data from {role}"),
        ("alter role {role} superuser", "alter role {role} nosuperuser"),
        ("alter table secret owner to {role}", "alter table secret owner to postgres"),
        ("grant select on secret to {role}", "revoke all on secret from {role}; grant insert on secret to {role}"),
        ("grant {group} to {role}; alter table secret owner to {group}", "alter table secret owner to postgres"),
        ("grant select on secret to {role}", "begin; revoke select on secret from {role}; rollback"),
    ]

    @pytest.mark.trap(27)
    @pytest.mark.parametrize("protocol", ["simple", "extended"])
    @pytest.mark.parametrize("grant, revoke", CHANGES)
    def test_granted_and_revoked(self, start_twins, role, group, change, grant, revoke, protocol):
        owner, twins = start_twins(), start_twins(role)
        owner.warm(SECRET, protocol=protocol)
        refused(twins, SECRET, protocol)
        follow(twins, change, grant.format(role=role, group=group), SECRET, protocol=protocol)
        twins.warm(SECRET, protocol=protocol)
        follow(twins, change, revoke.format(role=role, group=group), SECRET, protocol=protocol)
        if "rollback" not in revoke:
            refused(twins, SECRET, protocol)
        owner.warm(SECRET, protocol=protocol)

    @pytest.mark.cached
    @pytest.mark.trap(27)
    @pytest.mark.parametrize("grant, revoke", [
        ("alter role {role} superuser", "alter role {role} nosuperuser"),
        ("grant {group} to {role}", "revoke {group} from {role}"),
        ("grant pg_read_all_data to {role}", "revoke pg_read_all_data from {role}"),
        ("grant select on secret to {role}", "revoke select on secret from {role}"),
        ("grant select (id, note) on secret to {role}", "revoke select (id, note) on secret from {role}"),
    ])
    def test_given_and_taken_back_between_two_polls(self, start_proxy, origin, direct, role, group, grant, revoke):
        """The catalog looks the same to both polls; what was learned between them must not stay."""
        direct.execute(f"grant select on secret to {group}")
        proxy = start_proxy(catalog_poll_interval="500ms", cdc_event_trigger="off")
        with Twins(proxy, origin) as owner, Twins(proxy, origin, role) as twins:
            owner.warm(SECRET)
            for _ in range(2):
                direct.execute(grant.format(role=role, group=group))
                twins.repeat(SECRET, times=20)
                direct.execute(revoke.format(role=role, group=group))
                twins.until_alike(w.query(SECRET), seconds=4)
                refused(twins, SECRET)

    @pytest.mark.trap(27)
    def test_revoked_while_a_statement_is_prepared(self, start_twins, role, client):
        client.execute(f"grant select on secret to {role}")
        twins = start_twins(role)
        twins.warm(SECRET, protocol="extended")
        twins.ask(w.parse(SECRET, "s") + w.SYNC)
        run = w.bind("s") + w.execute() + w.SYNC
        twins.ask(run)
        client.execute(f"revoke select on secret from {role}")
        for _ in range(3):
            assert w.error(twins.ask(run)) == REFUSED

    @pytest.mark.trap(27)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("read", [
        "select case when {} then 0 else (select max(salary) from secret) end from public_note",
        "select coalesce({}::text, (select note from secret)) from public_note",
        "select id from public_note where {} or exists (select 1 from secret)",
        "select id from public_note where {} or id = (select max(salary) from secret)",
        "select p.id from public_note p left join secret s on {} is null",
        "select id from public_note where {} union all select id from secret where not {}",
        "select case when {} then 0 else restricted(id) end from public_note",
        "select case when {} then 0 else (select id from closed.thing) end from public_note",
    ])
    def test_what_constants_switch_off_is_no_proof(self, start_twins, role, read, protocol):
        """`1 = 1` succeeds for anybody, and proves nothing about `1 = 2`, nor about the same text for others."""
        allowed, other = start_twins(), start_twins(role)
        for _ in range(4):
            for condition in ("1 = 1", "true", "1 = 2", "false"):
                for twins in (other, allowed):
                    twins.ask(PROTOCOLS[protocol](read.format(condition, condition)))


class TestColumns:
    READS = [
        "select id from by_column", "select name from by_column", "select id, name from by_column where id = 1",
        "select salary from by_column", "select * from by_column", "select count(*) from by_column",
        "select id from by_column where salary > 0", "select id from by_column order by salary",
        "select by_column from by_column", "select b.id from by_column b join by_column c using (salary)",
        "select id from by_column group by id, salary", "select 1 from by_column", "table by_column",
        "select name from by_column limit 1", "select max(salary) from by_column", "select tableoid from by_column",
    ]

    @pytest.mark.trap(28)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_some_columns(self, start_twins, role, client, protocol):
        client.execute(f"grant select (id, name) on by_column to {role}")
        owner, twins = start_twins(), start_twins(role)
        owner.warm("select * from by_column", "select id from by_column", protocol=protocol)
        owner.repeat(*self.READS, protocol=protocol)
        twins.repeat(*self.READS, protocol=protocol, times=4)
        refused(twins, "select * from by_column", protocol)
        twins.warm("select id from by_column", "select id, name from by_column where id = 1", protocol=protocol)

    @pytest.mark.trap(28)
    def test_granted_and_revoked(self, start_twins, role, change):
        twins, reads = start_twins(role), self.READS[:8]
        start_twins().warm(*reads[:4])
        for text in ("grant select (id) on by_column to {}", "grant select (salary) on by_column to {}",
                     "revoke select (id) on by_column from {}", "grant select on by_column to {}",
                     "revoke select (salary) on by_column from {}", "revoke select on by_column from {}"):
            follow(twins, change, text.format(role), *reads)


class TestRowSecurity:
    READS = ["select note from owned order by id", "select count(*) from owned"]

    @pytest.mark.trap(29)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("read", [
        *READS, "select note from owned_as_owner order by id", "select note from owned_as_invoker order by id",
        "select note from owned_behind_two order by note", "select note from by_member",
        "select p.id, o.note from public_note p, owned o order by o.id",
        "select (select min(note) from owned) from public_note",
    ])
    def test_rows_behind_policies(self, start_twins, read, protocol):
        """The owner and superusers are exempt, views see what their owner sees, or their reader."""
        users = [start_twins(user) for user in ("postgres", "app_trust", "app_scram")]
        for _ in range(3):
            for twins in users:
                twins.expect_forward(read, protocol=protocol, times=1)

    @pytest.mark.trap(29)
    @pytest.mark.parametrize("protocol", ["simple", "extended"])
    def test_the_owner_and_force(self, start_twins, change, protocol):
        twins = start_twins("app_trust")
        read = "select note from hers order by id"
        twins.warm(read, protocol=protocol)
        for text in ("alter table hers enable row level security", "alter table hers force row level security",
                     "create policy seen on hers using (id = 1)", "alter table hers no force row level security",
                     "alter policy seen on hers using (id = 2)", "alter table hers force row level security",
                     "drop policy seen on hers", "alter table hers disable row level security",
                     "alter table hers no force row level security"):
            follow(twins, change, text, read, protocol=protocol)
        twins.warm(read, protocol=protocol)

    @pytest.mark.trap(29)
    def test_bypassrls(self, start_twins, role, change):
        twins = start_twins(role)
        twins.repeat(*self.READS)
        for option in ("bypassrls", "nobypassrls", "superuser", "nosuperuser"):
            follow(twins, change, f"alter role {role} {option}", *self.READS)

    @pytest.mark.trap(29)
    def test_a_policy_that_reads_another_table(self, start_twins, direct):
        read = "select note from by_member"
        users = [start_twins(user) for user in ("app_trust", "app_scram")]
        for text in ("insert into member values ('app_scram')", "delete from member where name = 'app_trust'",
                     "truncate member", "insert into member values ('app_trust')"):
            direct.execute(text)
            for twins in users:
                twins.repeat(read)


class TestRoles:
    @pytest.mark.trap(30)
    @pytest.mark.parametrize("protocol", ["simple", "extended"])
    @pytest.mark.parametrize("to, back", [
        ("set role {}", "reset role"), ("set role {}", "set role none"), ("set role '{}'", "set role to default"),
        ("set session authorization {}", "reset session authorization"),
        ("set session authorization {}", "set session authorization default"),
        ("set role {}", "discard all"), ("set session authorization {}", "discard all"),
        ("select set_config('role', '{}', false)", "select set_config('role', 'none', false)"),
        ("do $$ begin set role {}; end $$", "do $$ begin reset role; end $$"),
    ])
    def test_another_role(self, start_twins, role, to, back, protocol):
        twins = start_twins()
        twins.warm(SECRET, protocol=protocol)
        for _ in range(3):
            twins.say(to.format(role), protocol=protocol)
            refused(twins, SECRET, protocol)
            twins.say("reset all")  # does not reset the role
            refused(twins, SECRET, protocol)
            twins.say(back.format(role), protocol="simple" if "discard" in back else protocol)
            twins.repeat(SECRET, protocol=protocol)
        twins.warm(SECRET, protocol=protocol)

    @pytest.mark.trap(30)
    @pytest.mark.parametrize("protocol", ["simple", "extended"])
    @pytest.mark.parametrize("steps", [
        ["begin", "set local role {}", SECRET, "rollback"],
        ["begin", "set local role {}", "commit"],
        ["begin", "set role {}", "rollback"],
        ["begin", "savepoint s", "set role {}", SECRET, "rollback to s", SECRET, "commit"],
        ["begin", "set local session authorization {}", "commit"],
        ["set role {}", "begin", "set local role postgres", SECRET, "rollback", SECRET, "reset role"],
        ["begin", "set role {}", "commit", SECRET, "reset role"],
        ["set role {}", "set role nobody", SECRET, "reset role"],
        ["set session authorization {}", "set role postgres", SECRET, "reset session authorization"],
        ["set role {}", "set session authorization postgres", SECRET, "reset role", SECRET],
    ])
    def test_for_a_while(self, start_twins, role, steps, protocol):
        twins = start_twins()
        twins.warm(SECRET, protocol=protocol)
        for _ in range(2):
            for step in steps:
                twins.say(step.format(role), protocol=protocol)
            twins.repeat(SECRET, protocol=protocol)
        twins.warm(SECRET, protocol=protocol)

    @pytest.mark.trap(30)
    def test_in_one_pipeline(self, start_twins, role):
        twins = start_twins()
        twins.warm(SECRET, protocol="extended")
        for _ in range(3):
            change = w.parse(f"set role {role}") + w.bind() + w.execute()
            assert w.error(twins.ask(change + w.extended(SECRET))) == REFUSED  # and with it SET ROLE is undone
            twins.repeat(SECRET, protocol="extended")

    @pytest.mark.trap(30)
    def test_more_rights_by_set_role(self, start_twins, role, group, client):
        client.execute(f"alter role {role} noinherit; grant {group} to {role}; grant select on secret to {group}")
        twins = start_twins(role)
        for _ in range(3):
            refused(twins, SECRET)
            twins.say(f"set role {group}")
            twins.warm(SECRET)
            twins.say("reset role")
            refused(twins, SECRET)
        twins.say(f"set role {group}")
        client.execute(f"revoke {group} from {role}")
        twins.repeat(SECRET)  # PostgreSQL looks at the membership only when the role is set
        twins.say("reset role", f"set role {group}", SECRET)
        twins.repeat(SECRET)

    @pytest.mark.trap(30)
    def test_a_group_within_a_group(self, start_twins, role, group, change, database):
        outer = f"outer_of_{database}"
        change(f"create role {outer}; grant select on secret to {outer}; grant {outer} to {group}")
        try:
            twins = start_twins(role)
            follow(twins, change, f"grant {group} to {role}", SECRET)
            twins.warm(SECRET)
            follow(twins, change, f"revoke {outer} from {group}", SECRET)
            refused(twins, SECRET)
        finally:
            change(f"drop owned by {outer}; drop role {outer}")

    @pytest.mark.trap(30)
    def test_renamed(self, start_twins, role, change, client, database):
        client.execute(f"grant select on secret to {role}")
        twins = start_twins(role)
        twins.warm(SECRET)
        follow(twins, change, f"alter role {role} rename to renamed_{database}", SECRET)
        # Another role of the old name is not the one that this session is.
        client.execute(f"create role {role} login")
        twins.repeat(SECRET)
        refused(start_twins(role), SECRET)
        follow(twins, change, f"revoke select on secret from renamed_{database}", SECRET)
        client.execute(f"drop role renamed_{database}")

    @pytest.mark.trap(30)
    @pytest.mark.parametrize("text", [
        "drop owned by {role}; drop role {role}", "alter role {role} nologin", "alter role {role} password 'new'",
        "alter role {role} valid until '2001-01-01'", "alter role {role} connection limit 0",
    ])
    def test_dropped_or_barred_while_connected(self, start_twins, role, change, proxy, origin, database, text):
        """A session goes on with what PostgreSQL lets it read; no new one comes in."""
        change(f"grant select on secret to {role}")
        twins = start_twins(role)
        twins.until_alike(w.query(SECRET))
        twins.warm(SECRET)
        change(text.format(role=role))
        twins.until_alike(w.query(SECRET))
        twins.repeat(SECRET, "select note from public_note")
        answers = []
        for port in (origin.port, proxy.port):
            with w.WireClient(proxy.host, port) as client:
                last = client.start({"user": role, "database": database})[-1]
                answers.append(last.fields()["C"] if last.type == "E" else last.type)
        assert answers[0] == answers[1]


class TestFunctionsAndSchemas:
    @pytest.mark.trap(31)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("call", ["as_definer()", "as_invoker()", "lying()", "who()", "restricted(1)"])
    def test_functions_and_who_calls_them(self, start_twins, role, call, protocol):
        read = f"select {call}, id from public_note"
        users = [start_twins(), start_twins(role), start_twins("app_scram")]
        for _ in range(3):
            for twins in users:
                twins.ask(PROTOCOLS[protocol](read))

    @pytest.mark.trap(31)
    @pytest.mark.parametrize("grant, revoke, read", [
        ("grant execute on function restricted(int) to {role}",
         "revoke execute on function restricted(int) from {role}",
         "select restricted(id) from public_note"),
        ("grant usage on schema closed to {role}", "revoke usage on schema closed from {role}",
         "select note from closed.thing"),
        ("grant usage on schema closed to public", "revoke usage on schema closed from public",
         "select note from closed.thing"),
        ("alter function as_invoker() security definer", "alter function as_invoker() security invoker",
         "select as_invoker() from public_note"),
        ("grant select on secret_view to {role}", "revoke select on secret_view from {role}",
         "select note from secret_view"),
    ])
    def test_granted_and_revoked(self, start_twins, role, change, grant, revoke, read):
        owner, twins = start_twins(), start_twins(role)
        owner.repeat(read, times=5)
        refused(twins, read)
        follow(twins, change, grant.format(role=role), read)
        twins.repeat(read, times=5)
        follow(twins, change, revoke.format(role=role), read)
        refused(twins, read)

    @pytest.mark.trap(31)
    def test_a_warm_connection_outlives_the_right_to_connect(self, start_twins, role, client, database, proxy, origin):
        twins = start_twins(role)
        read = "select note from public_note where id = 1"
        twins.warm(read)
        client.execute(f"revoke connect on database {database} from public")
        try:
            twins.repeat(read)
            codes = []
            for port in (origin.port, proxy.port):
                with w.WireClient(proxy.host, port) as late:
                    codes.append(w.error(late.start({"user": role, "database": database})))
            assert codes == [REFUSED, REFUSED]
        finally:
            client.execute(f"grant connect on database {database} to public")

    @pytest.mark.trap(31)
    def test_a_warm_connection_outlives_its_line_in_pg_hba(self, start_twins, role, direct, database, proxy, origin):
        twins = start_twins(role)
        read = "select note from public_note where id = 1"
        twins.warm(read)
        file = origin.data / "pg_hba.conf"
        kept = file.read_text()

        def log_in(port):
            with w.WireClient(proxy.host, port) as late:
                last = late.start({"user": role, "database": database})[-1]
                return last.fields()["C"] if last.type == "E" else last.type

        try:
            file.write_text(f"host all {role} all reject\n" + kept)
            direct.execute("select pg_reload_conf()")
            wait_until(lambda: log_in(origin.port) == "28000", "the line is in force")
            assert log_in(proxy.port) == "28000"
            twins.repeat(read)
            twins.warm(read)
        finally:
            file.write_text(kept)
            direct.execute("select pg_reload_conf()")
            wait_until(lambda: log_in(origin.port) == "Z", "the line is gone")


@pytest.mark.cached
@pytest.mark.trap(32)
def test_what_must_be_audited_is_asked_at_the_origin_each_time(start_proxy, origin, database):
    """The origin's log and pgaudit see no hit. Tables that are not in `allowed_tables` have none."""
    proxy = start_proxy(allowed_tables="public_note")

    def count(text):
        return origin.value("select coalesce(sum(s.calls), 0)::int from pg_stat_statements s join pg_database d "
                            "on d.oid = s.dbid where d.datname = %s and query = %s", parameters=(database, text))

    audited, cached = "select salary from secret", "select note from public_note"
    with Twins(proxy, origin) as twins:
        twins.warm(cached)

        def is_known():
            twins.ask(w.query(audited))
            return proxy.forwarded().get("not_allowed")

        wait_until(is_known, "it is known that the table is not to be cached")
        twins.warm(cached)
        before = count(audited)
        for _ in range(5):
            twins.ours.ask(w.query(audited))
            twins.ours.ask(w.query(cached))
        assert count(audited) == before + 5
        # The other table's is a hit again, when the stream has passed what was read at the origin.
        twins.warm(cached)
