"""Settings that change without a plain SET that lasts: undone, in code, at log-in, by a reload (traps 14 to 17).

A session knows its settings exactly or does not use the cache [K3]. It learns what a statement does to
them once, so that what pools say at each checkout costs the origin nothing.
"""
import pytest

import wire as w
from twins import PROTOCOLS, Twins
from waiting import wait_until

ONE_REACTOR = True

SCHEMA = r"""
create table item (id int primary key, name text, made timestamptz, size float8, data bytea);
insert into item values (1, 'one', '2026-01-01 23:30+00', 1 / 3.0, '\x27dead5c');
create view tenants as select id, current_setting('app.tenant', true) as tenant from item;
create table tenant_rows (id int primary key, tenant text);
insert into tenant_rows values (1, 'a'), (2, 'b');
alter table tenant_rows enable row level security;
create policy own on tenant_rows using (tenant = current_setting('app.tenant', true));
create schema other;
create table other.item (id int primary key, name text);
insert into other.item values (1, 'other');
grant all on all tables in schema public, other to app_trust;
grant usage on schema other to app_trust;
create function german_constant(timestamptz) returns text language sql immutable set datestyle = 'German'
    as $$ select $1::text $$;
"""

# Code that changes the setting {name} to {value}, by each road; one schema for each setting.
CODE = """
create schema {name}_by;
set search_path = {name}_by;
create function change() returns text language sql as $$ select set_config('{name}', '{value}', false) $$;
create function change_by_set() returns int language plpgsql
    as $$ begin set {name} = '{value}'; return 1; end $$;
create function change_for_itself() returns text language plpgsql set {name} = '{value}'
    as $$ begin return '2026-01-01 23:30+00'::timestamptz::text || '\\x27'::bytea::text; end $$;
create function change_and_back() returns int language plpgsql set {name} from current
    as $$ begin perform set_config('{name}', '{value}', false); return 1; end $$;
create procedure change_by_call() language plpgsql as $$ begin set {name} = '{value}'; end $$;
create procedure change_and_commit() language plpgsql
    as $$ begin set local {name} = '{value}'; commit; set extra_float_digits = -3; rollback; end $$;
create function change_by_trigger() returns trigger language plpgsql
    as $$ begin perform {name}_by.change(); return null; end $$;
create table at_once (id int);
create trigger change after insert on at_once execute function change_by_trigger();
create table at_commit (id int);
create constraint trigger change after insert on at_commit deferrable initially deferred
    for each row execute function change_by_trigger();
create table by_default (id int, zone text default change());
create table by_check (id int check (change() is not null));
create view view as select change() as value;
create table by_rule (id int);
create rule change as on insert to by_rule do also select change();
reset search_path;
"""
# A setting that the server reports to its clients, and one that it does not.
ZONE = {"name": "timezone", "value": "Asia/Tokyo", "plain": "UTC", "third": "America/New_York", "shown": "TimeZone"}
BYTES = {"name": "bytea_output", "value": "escape", "plain": "hex", "third": "escape", "shown": "bytea_output"}
SCHEMA += CODE.format(**ZONE) + CODE.format(**BYTES)

READ = "select made, size, data from item order by id"
NAME = "select name from item where id = 1"

# Names of the setting and its values are filled into the texts below. What stands in `simple` is not for the
# extended protocol.


def simple(text):
    return lambda fill: w.query(fill(text))


def once(sql):
    return w.parse(sql) + w.bind() + w.execute()


SET = "set {name} = '{value}'"
SET_CONFIG = "select set_config('{name}', '{value}', false)"
SET_CONFIG_NUMBER = 2078  # in pg_proc

WAYS = {
    "session": ["set session {name} = '{value}'"],
    "to default": [SET, "set {name} to default"],
    "reset": [SET, "reset {name}"],
    "reset all": [SET, "set bytea_output = escape", "reset all"],
    "discard all": [SET, "set bytea_output = escape", "discard all"],
    "committed": ["begin", SET, "commit"],
    "rolled back": ["begin", SET, READ, "rollback"],
    "local, committed": ["begin", "set local {name} = '{value}'", READ, "commit"],
    "local, rolled back": ["begin", READ, "set local {name} = '{value}'", READ, READ, "rollback"],
    "local outside": ["set local {name} = '{value}'"],
    "to a savepoint": ["begin", "savepoint a", SET, READ, "rollback to a", READ, READ,
                       "commit"],
    "local to a savepoint": ["begin", "savepoint a", "set local {name} = '{value}'", READ, "rollback to a",
                             READ, "commit"],
    "released": ["begin", "savepoint a", SET, "release a", READ, "commit"],
    "between savepoints": ["begin", SET, "savepoint a", "set {name} = '{plain}'",
                           "savepoint b", "set {name} = '{third}'", "rollback to b", READ,
                           "rollback to a", READ, "commit"],
    "failed block": ["begin", SET, "select 1 / 0", "commit"],
    "chained": ["begin", "set local {name} = '{value}'", "commit and chain", READ, "rollback"],
    "chained back": ["begin", SET, "rollback and chain", READ, "commit"],
    "several in one text": [simple("set {name} = '{value}'; select 1")],
    "several, failed": [simple("set {name} = '{value}'; select 1 / 0")],
    "several with a block": [simple("begin; set {name} = '{value}'; rollback; " + READ)],
    "several that leave a block": [simple("begin; set local {name} = '{value}'"), READ, "rollback"],
    "failed pipeline": [lambda fill: once(fill(SET)) + once("select 1 / 0") + w.SYNC],
    "pipeline": [lambda fill: once(fill(SET)) + w.extended(READ)],
    "set_config": [SET_CONFIG],
    "set_config, local": ["select set_config('{name}', '{value}', true)"],
    "set_config, local in a block": ["begin", "select set_config('{name}', '{value}', true)", READ, "commit"],
    "set_config in values": ["values (set_config('{name}', '{value}', false))"],
    "set_config in a condition": [
        "select id from item where set_config(substr('{name}', 1, 2) || substr('{name}', 3), '{value}', false) <> ''"],
    "set_config in WITH": ["with a as (select set_config('{name}', '{value}', false)) select * from a"],
    "set_config in LIMIT": ["select id from item limit length(set_config('{name}', '{value}', false))"],
    "set_config, explained": [
        "explain (analyze, costs off, timing off, summary off) select set_config('{name}', '{value}', false)"],
    "set_config, explained only": ["explain (costs off) select set_config('{name}', '{value}', false)"],
    "set_config, copied": [simple("copy (select set_config('{name}', '{value}', false)) to stdout")],
    "set_config by function call": [
        lambda fill: w.function_call(SET_CONFIG_NUMBER, fill("{name}").encode(), fill("{value}").encode(), b"f")],
    "set_config, prepared": [simple("prepare p as select set_config('{name}', $1, false)"),
                             simple("execute p('{value}')")],
    "set_config by a cursor": ["begin", "declare c cursor with hold for select set_config('{name}', '{value}', "
                               "false) from generate_series(1, 2)", "fetch c", READ, "commit", "fetch c", "close c"],
    "pg_settings": ["update pg_settings set setting = '{value}' where name = '{shown}'"],
    "do": ["do $$ begin set {name} = '{value}'; end $$"],
    "function": ["select {name}_by.change()"],
    "function with SET in it": ["select {name}_by.change_by_set()"],
    "function in FROM": ["select * from {name}_by.change()"],
    "function in a subquery": ["select id from item where id = (select {name}_by.change_by_set())"],
    "function that undoes it": ["select {name}_by.change_and_back()"],
    "function with a setting of its own": ["select {name}_by.change_for_itself()"],
    "function, rolled back": ["begin", "select {name}_by.change()", READ, "rollback"],
    "call": ["call {name}_by.change_by_call()"],
    "call with transactions": [simple("call {name}_by.change_and_commit()")],
    "view": ["select * from {name}_by.view"],
    "trigger": ["insert into {name}_by.at_once values (1)"],
    "trigger in a block": ["begin", "insert into {name}_by.at_once values (1)", READ, "rollback"],
    "trigger at commit": ["begin", "insert into {name}_by.at_commit values (1)", READ, "commit"],
    "trigger at commit, rolled back": ["begin", "insert into {name}_by.at_commit values (1)", "rollback"],
    "trigger made immediate": ["begin", "insert into {name}_by.at_commit values (1)", "set constraints all immediate",
                               READ, "commit"],
    "trigger and COPY": [
        lambda fill: w.query(fill("copy {name}_by.at_once from stdin")) + w.copy_data(b"1\n") + w.COPY_DONE],
    "default": ["insert into {name}_by.by_default values (1)"],
    "check": ["insert into {name}_by.by_check values (1)"],
    "rule": ["insert into {name}_by.by_rule values (1)"],
    "data-modifying WITH": ["with a as (insert into {name}_by.at_once values (1) returning id) select 1 from a"],
    "prepared insert": [simple("prepare p as insert into {name}_by.at_once values ($1)"), simple("execute p(1)")],
}


@pytest.mark.trap(15)
@pytest.mark.parametrize("setting, protocol", [(BYTES, "simple"), (ZONE, "extended")], ids=["simple", "extended"])
@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_change_a_setting(twins, way, setting, protocol):
    """No answer comes under settings that the session no longer has; and it uses the cache again."""
    def fill(text):
        return text.format(**setting)

    twins.warm(READ, protocol=protocol)
    answers = [w.types(twins.say(step(fill) if callable(step) else fill(step), protocol=protocol))
               for step in WAYS[way]]
    assert any("E" in answer for answer in answers) == ("failed" in way)
    twins.repeat(READ, protocol=protocol)
    twins.warm(READ, protocol=protocol)
    twins.say("deallocate all", "reset all")
    twins.repeat(READ, protocol=protocol)
    twins.warm(READ, protocol=protocol)


@pytest.mark.trap(15)
@pytest.mark.parametrize("end", ["commit prepared", "rollback prepared"])
def test_a_setting_in_a_prepared_transaction(twins, end):
    """PREPARE TRANSACTION keeps what SET did, and the end of the transaction does not undo it."""
    twins.warm(READ)
    for client in (twins.theirs, twins.ours):
        for text in ("begin", "set timezone = 'Asia/Tokyo'", f"prepare transaction 'of {id(client)}'"):
            client.ask(w.query(text))
    twins.repeat(READ)
    for client in (twins.theirs, twins.ours):
        assert w.types(client.ask(w.query(f"{end} 'of {id(client)}'"))) == "CZ"
    twins.repeat(READ)
    twins.warm(READ)


@pytest.mark.trap(15)
def test_a_set_that_fails_changes_nothing(twins):
    twins.warm(READ)
    for text in ("set timezone = 'nowhere'", "set nothing = 1", "set role nobody", "set timezone"):
        assert w.types(twins.say(text)) == "EZ"
        twins.warm(READ)


class TestCheckouts:
    """A pool resets its sessions at each checkout: what that leads to is read once, ever."""

    @pytest.fixture
    def count_readings(self, origin):
        """How often sessions were asked for their settings, by the origin's own statistics."""
        def count():
            return origin.value("select coalesce(sum(calls), 0)::int from pg_stat_statements "
                                "where query ilike '%current_schemas(%current_setting(%'")
        return count

    @pytest.mark.trap(15)
    @pytest.mark.parametrize("checkout", [
        ["discard all"], ["reset all"], ["set search_path = other, public"],
        ["reset all", "set timezone = 'Asia/Tokyo'"], ["discard all", "set search_path to other"],
        ["set session characteristics as transaction isolation level read committed", "reset all"],
        ["set timezone = 'Asia/Tokyo'", "set timezone = 'UTC'"],
        ["set role app_trust", "reset role"], ["set session authorization default"],
    ], ids=", ".join)
    def test_reads_once(self, start_twins, count_readings, checkout):
        first = start_twins()
        first.say(*checkout)
        first.warm(NAME)
        first.say(*checkout)
        first.warm(NAME)
        for twins in (first, start_twins()):
            twins.warm(NAME)  # a session's first reading comes with its log-in
            twins.say(*checkout)
            twins.warm(NAME)  # what that has led to is over
            readings = []
            # Roles and configuration are the whole server's: what a test before has changed of them is noticed some
            # time, and has every session read its settings once more.
            while len(readings) < 3 and 0 not in readings:
                before = count_readings()
                for _ in range(5):
                    twins.say(*checkout)
                    twins.expect_hit(NAME)
                readings.append(count_readings() - before)
            assert readings[-1] == 0, readings

    @pytest.mark.trap(17)
    @pytest.mark.parametrize("text", [
        "set app.request_id = '{}'", "select set_config('app.request_id', '{}', false)",
        "set session app.request_id = 'request {}'", "reset app.request_id"])
    def test_a_setting_of_the_application_for_each_request(self, twins, count_readings, text):
        twins.say("set app.request_id = 'first'")
        twins.warm(NAME)
        before = count_readings()
        for number in range(5):
            twins.say(text.format(number))
            twins.expect_hit(NAME)
        assert count_readings() == before

    @pytest.mark.trap(17)
    def test_the_same_inside_a_transaction(self, twins):
        twins.warm(NAME)
        for number in range(3):
            twins.say("begin", f"set local app.request_id = '{number}'")
            twins.expect_hit(NAME)
            twins.say("commit")
            twins.expect_hit(NAME)


class TestLogIn:
    """Roles, databases and start-up packets set what no statement shows and no report tells (14)."""

    @pytest.mark.trap(14)
    @pytest.mark.parametrize("parameters", [
        {"TimeZone": "Asia/Tokyo"}, {"options": "-c datestyle=German -c bytea_output=escape"},
        {"options": "--extra-float-digits=-3"}, {"bytea_output": "escape"}, {"extra_float_digits": "0"},
        {"options": "-c search_path=other"}, {"options": r"-c datestyle=SQL,\ DMY"}, {"search_path": "other"},
        {"options": "-c default_transaction_isolation=serializable"}, {"client_encoding": "latin1"},
    ], ids=str)
    def test_settings_in_the_startup_packet(self, start_twins, parameters):
        start_twins().warm(READ, NAME)
        twins = start_twins(**parameters)
        reads = [NAME] if "search_path" in str(parameters) else [READ, NAME]
        twins.repeat(*reads)
        if not any(word in str(parameters) for word in ("isolation", "latin1")):
            twins.warm(*reads)
        twins.say("set timezone = 'UTC'", "reset all")
        twins.repeat(*reads)
        twins.say("discard all")
        twins.repeat(*reads)

    @pytest.mark.trap(15)
    @pytest.mark.parametrize("undo", ["reset all", "discard all", "reset timezone", "set timezone to default",
                                      "set time zone local"])
    def test_reset_leads_back_to_what_each_session_logged_in_with(self, start_twins, undo):
        """The same text, said in sessions that are alike at that moment, has another effect in each."""
        logins = [{}, {"TimeZone": "Asia/Tokyo"}, {"TimeZone": "America/New_York"},
                  {"options": "-c bytea_output=escape"}]
        for _ in range(2):
            for parameters in logins:
                twins = start_twins(**parameters)
                for _ in range(2):
                    twins.say("set timezone = 'Europe/Berlin'", "set bytea_output = 'hex'")
                    twins.warm(READ)
                    twins.say(undo)
                    twins.repeat(READ)
                    twins.warm(READ)

    @pytest.mark.trap(14)
    def test_settings_of_the_role_and_of_the_database(self, start_twins, direct, database):
        """A session that logged in before keeps what it had, also when it resets."""
        role = f"app_{database}"
        direct.execute(f"create role {role} login; grant select on item to {role}")
        before = start_twins(role)
        before.warm(READ)
        direct.execute(f"alter role {role} in database {database} set bytea_output = 'escape'")
        direct.execute(f"alter database {database} set extra_float_digits = -2")
        direct.execute(f"alter role {role} set timezone = 'Asia/Tokyo'")
        try:
            after = start_twins(role)
            for _ in range(2):
                for twins in (before, after):
                    twins.repeat(READ)
                    twins.warm(READ)
                    twins.say("set bytea_output = 'hex'", "set timezone = 'UTC'")
                    twins.repeat(READ)
                    twins.say("reset all")
                    twins.repeat(READ)
        finally:
            direct.execute(f"alter database {database} reset all; drop owned by {role}; drop role {role}")

    @pytest.mark.trap(15)
    @pytest.mark.parametrize("setting, value", [("datestyle", "German"), ("bytea_output", "escape")])
    def test_a_reload_of_the_configuration(self, start_twins, direct, setting, value):
        """Also one that the server does not report; and what statements did before the reload is unlearned."""
        read = f"{READ} limit 7"
        changed, plain, started = start_twins(), start_twins(), start_twins(options="-c intervalstyle=iso_8601")
        for _ in range(2):
            changed.say("set timezone = 'Asia/Tokyo'")
            changed.warm(read)
            changed.say("reset all")
            changed.warm(read)
        for twins in (plain, started):
            twins.warm(read)
        try:
            direct.execute(f"alter system set {setting} = '{value}'")
            direct.execute("select pg_reload_conf()")
            shown = w.query(f"show {setting}")
            wait_until(lambda: plain.theirs.ask(shown)[1].values()[0].startswith(value.encode()), "the reload")
            for twins in (plain, started, changed):
                twins.until_alike(w.query(read))
                twins.repeat(read)
                twins.warm(read)
            changed.say("set timezone = 'Asia/Tokyo'")
            changed.repeat(read)
            changed.say("reset all")
            changed.repeat(read)
        finally:
            direct.execute(f"alter system reset {setting}")
            direct.execute("select pg_reload_conf()")
            for twins in (plain, started, changed):
                twins.until_alike(w.query(read))


class TestFunctions:
    @pytest.mark.trap(16)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_an_immutable_function_with_a_setting_of_its_own(self, twins, protocol):
        read = "select german_constant(made) from item order by id"
        twins.repeat(read, protocol=protocol)
        twins.say("set datestyle = 'ISO'", "set timezone = 'Asia/Tokyo'")
        twins.repeat(read, protocol=protocol)
        twins.say("reset all")
        twins.repeat(read, protocol=protocol)

    @pytest.mark.trap(16)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_function_with_a_setting_of_its_own_leaves_the_sessions(self, twins, protocol):
        twins.warm(READ, protocol=protocol)
        for _ in range(3):
            twins.say("select timezone_by.change_for_itself() from item", protocol=protocol)
            twins.warm(READ, protocol=protocol)

    @pytest.mark.trap(16)
    def test_one_that_is_given_a_setting_later(self, twins, client):
        client.execute("create or replace function text_of(timestamptz) returns text language plpgsql immutable "
                       "as $$ begin return $1::text; end $$")
        read = "select text_of(made) from item order by id"
        twins.repeat(read, times=5)
        client.execute("alter function text_of(timestamptz) set datestyle = 'German'")
        twins.repeat(read)


class TestSettingsOfTheApplication:
    """`current_setting('app.tenant')` can be in a statement, a view, a policy, a function [K4]."""

    @pytest.mark.trap(17)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("read", [
        "select id from item where name = current_setting('app.tenant', true)",
        "select id, current_setting('app.tenant', true) from item",
        "select id, current_setting('app' || '.tenant', true) from item",
        "select id, current_setting('timezone') from item",
        "select tenant from tenants",
        "select id from tenant_rows",
    ])
    def test_is_forwarded(self, start_twins, read, protocol):
        twins = start_twins("app_trust")
        for value in ("a", "one", "b", ""):
            twins.say(f"set app.tenant = '{value}'")
            twins.expect_forward(read, protocol=protocol, times=2)

    @pytest.mark.trap(17)
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_is_part_of_the_key_when_declared(self, start_proxy, origin, protocol):
        read = "select id, name, current_setting('app.tenant', true) from item where name = " \
            "current_setting('app.tenant', true) or id = 1"
        proxy = start_proxy(custom_settings="app.tenant")
        with Twins(proxy, origin) as twins, Twins(proxy, origin, options="-c app.tenant=one") as other:
            twins.repeat(read, protocol=protocol)
            for value in ("one", "two", ""):
                twins.say(f"set app.tenant = '{value}'")
                twins.repeat(read, protocol=protocol)
                twins.warm(read, protocol=protocol)
                other.warm(read, protocol=protocol)
            twins.say("begin", "set local app.tenant = 'local'")
            twins.repeat(read, protocol=protocol)
            twins.say("rollback")
            twins.warm(read, protocol=protocol)
            twins.say("select set_config('app.' || 'tenant', 'by code', false)")
            twins.repeat(read, protocol=protocol)
            twins.say("reset app.tenant")
            twins.repeat(read, protocol=protocol)
