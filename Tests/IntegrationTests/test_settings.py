"""Settings that decide what an answer is: an answer is right only for those that it was made under (K1).

How settings change without a plain SET is the affair of test_settings_unseen.py.
"""
import pytest

import wire as w
from twins import PROTOCOLS

ONE_REACTOR = True

SCHEMA = r"""
create table moment (id int primary key, made timestamptz, born date, span interval);
insert into moment values (1, '2026-01-01 23:30+00', '2026-02-01', '1 day 02:03:04'),
    (2, '2026-07-01 12:00+00', '2026-01-02', '-1 day -02:03:00');
create table measure (id int primary key, size float8, small float4, data bytea, cost numeric, amount money);
insert into measure values (1, 1 / 3.0, 0.1, '\x27dead5c00', 1234567.891, 12.34::numeric::money),
    (2, 1e20, 3.3333333, '', -0.5, 1234.5::numeric::money);
create table word (id int primary key, name text, note varchar(20));
insert into word values (1, 'a\nb', 'plain'), (2, null, 'running dogs'), (3, 'naïve', 'User'), (4, 'a''b', 'a');
create table only_ascii (id int primary key, name text);
insert into only_ascii values (1, '漢');
create table owned (id int primary key, owner text);
insert into owned values (1, 'app_trust'), (2, 'app_scram');
alter table owned enable row level security;
create policy own on owned using (owner = current_user);
grant select on all tables in schema public to app_trust;
"""

HIT, FORWARD, EITHER = "hit", "forward", "either"


def case(trap, name, change, *reads, then=HIT, differs=True):
    """After `change`, a SET, the reads are answered from the cache, or forwarded, or nothing is promised.

    `differs`: the text of at least one answer is another then; so the case tries something.
    """
    return pytest.param(change, reads, then, differs, id=name, marks=pytest.mark.trap(trap))


MOMENTS = (
    "select made from moment order by id",
    "select made::date, made::timestamp, made::text from moment order by id",
    "select id from moment where made = '2026-01-01 23:30'",
    "select id from moment where made < '2026-01-02 04:00' order by id",
    "select date_trunc('day', made), extract(hour from made) from moment order by id",
    "select concat(made), to_char(made, 'HH24 TZ'), format('%s', made) from moment order by id",
    "select made || '' from moment order by id",
    "select array_agg(made) from moment where id = 1",
    "select id from moment where born < made order by id",
    "select to_json(made), jsonb_build_object('m', made) from moment order by id",
    "select count(*) from moment where made::date = '2026-01-02'",
    "select max(made), min(made) from moment",
)
DAYS = (
    "select born from moment order by id",
    "select made, born::text from moment order by id",
    "select id from moment where born = '02.01.2026'",
    "select id from moment where born = '01/02/2026'",
    "select born || '', concat(born), array[born] from moment order by id",
    "select to_json(born), to_char(born, 'DD.MM.YYYY') from moment order by id",
)
SPANS = (
    "select span from moment order by id",
    "select span::text, concat(span), span || '' from moment order by id",
    "select id from moment where span = '-1 2:03' order by id",
    "select sum(span) from moment",
)
FLOATS = (
    "select size, small from measure order by id",
    "select size::text, small || '', concat(size) from measure order by id",
    "select id from measure where size::text = '0.333333333333333'",
    "select array_agg(size order by id), to_json(max(small)) from measure",
    "select size::numeric from measure order by id",
)
BYTES = (
    "select data from measure order by id",
    "select data::text, length(data::text), concat(data) from measure order by id",
    "select id from measure where data::text like '%dead%'",
    "select id from measure where data = '\\x27dead5c00'",
)
MONEY = (
    "select amount, amount::text, amount::numeric from measure order by id",
    "select cost::money, sum(amount) from measure group by id, cost order by id",
    "select id from measure where amount = '12,34'",
    "select to_char(cost, 'L9G999G999D99') from measure order by id",
)

CASES = [
    case(1, "zone", "set timezone = 'Asia/Tokyo'", *MOMENTS),
    case(1, "zone by offset", "set time zone -9", *MOMENTS[:3]),
    case(1, "zone by interval", "set time zone interval '+05:30' hour to minute", *MOMENTS[:3]),
    case(1, "abbreviations", "set timezone_abbreviations = 'Australia'",
         "select id from moment where made = '2026-01-02 09:30 EST'", "select made from moment"),
    case(2, "German", "set datestyle = 'German'", *DAYS),
    case(2, "SQL, DMY", "set datestyle = 'SQL, DMY'", *DAYS),
    case(2, "Postgres, YMD", "set datestyle = 'Postgres, YMD'", "select made, born from moment order by id"),
    case(3, "iso_8601", "set intervalstyle = 'iso_8601'", *SPANS),
    case(3, "sql_standard", "set intervalstyle = 'sql_standard'", *SPANS),
    case(4, "-5", "set extra_float_digits = -5", *FLOATS),
    case(4, "0", "set extra_float_digits = 0", *FLOATS),
    case(4, "3", "set extra_float_digits = 3", *FLOATS, differs=False),
    case(5, "escape", "set bytea_output = 'escape'", *BYTES),
    case(6, "latin1", "set client_encoding = 'latin1'", "select name from word order by id",
         "select id from word where name = 'naïve'", "select length(name) from word order by id",
         "select name from only_ascii", then=FORWARD),
    case(6, "names", "set names 'win1252'", "select name from word order by id", then=FORWARD),
    case(6, "nothing converted", "set client_encoding = 'sql_ascii'", "select name from word order by id",
         differs=False),
    case(6, "the same by another name", "set client_encoding = 'unicode'", "select name from word order by id",
         differs=False),
    case(7, "lc_monetary", "set lc_monetary = 'de_DE.utf8'", *MONEY),
    case(7, "lc_numeric", "set lc_numeric = 'de_DE.utf8'",
         "select to_char(cost, '9G999G999D99') from measure order by id"),
    case(7, "lc_time", "set lc_time = 'de_DE.utf8'", "select to_char(made, 'TMMonth TMDay') from moment order by id"),
    case(8, "off", "set standard_conforming_strings = off", r"select id from word where name = 'a\nb'",
         r"select id, '\x41' from word order by id", r"select name = 'a\nb' from word order by id",
         "select name from word order by id", then=EITHER),
    case(8, "off, constants of other kinds", "set standard_conforming_strings = off",
         r"select id from word where name = E'a\nb'", r"select id from word where name = $$a\nb$$",
         r"select id from word where name = U&'na\00efve'", then=EITHER),
    case(9, "null = null", "set transform_null_equals = on", "select id from word where name = null",
         "select id from word where null = name", "select id from word where name is null", then=FORWARD),
    case(10, "backslash_quote", "set backslash_quote = off", r"select id from word where name = E'a\'b'",
         then=EITHER),
    case(10, "quote_all_identifiers", "set quote_all_identifiers = on",
         "select quote_ident(note) from word order by id", "select format('%I', note) from word order by id"),
    case(10, "array_nulls", "set array_nulls = off",
         "select '{NULL}'::text[] from word where id = 1",
         "select id from word where note = any ('{null,a}') order by id", then=EITHER),
    case(10, "xmlbinary", "set xmlbinary = hex", "select xmlelement(name x, data) from measure order by id",
         then=EITHER),
    case(10, "xmloption", "set xmloption = document",
         "select xmlserialize(content 'a<b/>'::xml as text) from word where id = 1",
         "select '<a/>'::xml from word where id = 1", then=EITHER),
    case(10, "default_text_search_config", "set default_text_search_config = 'simple'",
         "select to_tsvector(note) from word order by id",
         "select id from word where to_tsvector(note) @@ to_tsquery('dog')", then=EITHER),
    case(11, "reads only", "set default_transaction_read_only = on",
         "select name from word order by id", differs=False),
    case(11, "deferrable", "set default_transaction_deferrable = on",
         "select name from word order by id", differs=False),
    case(11, "repeatable read", "set default_transaction_isolation = 'repeatable read'",
         "select name from word order by id", then=FORWARD, differs=False),
    case(11, "serializable by characteristics",
         "set session characteristics as transaction isolation level serializable",
         "select name from word order by id", then=FORWARD, differs=False),
    case(12, "statement_timeout", "set statement_timeout = '10s'", "select name from word order by id", differs=False),
    case(12, "lock_timeout", "set lock_timeout = '10s'", "select name from word order by id", differs=False),
    case(13, "sequential scans", "set enable_seqscan = off", "select name from word order by id", differs=False),
    case(13, "where scans start", "set synchronize_seqscans = off", "select name from word order by id", differs=False),
    case(13, "compilation", "set jit = on", "select name from word order by id", differs=False),
]


@pytest.fixture(scope="module", autouse=True)
def german(origin):
    origin.compile_locale("de_DE")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("change, reads, then, differs", CASES)
def test_a_setting(twins, change, reads, then, differs, protocol):
    """The answer follows the setting there and back, cold and warm."""
    def answers():
        return [twins.ask(PROTOCOLS[protocol](read)) for read in reads]

    def warm():
        """Errors are never cached."""
        fine = [read for read, answer in zip(reads, answers()) if "E" not in w.types(answer)]
        twins.warm(*fine, protocol=protocol)

    if then is not EITHER:
        warm()
    before = answers()
    twins.say(change, protocol="simple" if protocol == "simple" else "extended")
    after = answers()
    if protocol != "binary":
        assert (before != after) == differs
    if then is HIT:
        warm()
    elif then is FORWARD:
        twins.expect_forward(*reads, protocol=protocol)
    else:
        twins.repeat(*reads, protocol=protocol)
    twins.say("reset " + changed(change))
    assert answers() == before
    if then is not EITHER:
        warm()


def changed(change: str) -> str:
    """The setting that a SET names."""
    name = change.split()[1]
    others = {"time": "timezone", "names": "client_encoding", "session": "default_transaction_isolation"}
    return others.get(name, name)


@pytest.mark.parametrize("change, sql, value", [
    pytest.param("set timezone = 'Asia/Tokyo'", "select id from moment where made = $1", "2026-01-01 23:30",
                 marks=pytest.mark.trap(1)),
    pytest.param("set datestyle = 'SQL, DMY'", "select id from moment where born = $1", "01/02/2026",
                 marks=pytest.mark.trap(2)),
    pytest.param("set intervalstyle = 'sql_standard'", "select id from moment where span = $1", "-1 2:03",
                 marks=pytest.mark.trap(3)),
    pytest.param("set lc_monetary = 'de_DE.utf8'", "select id from measure where amount = $1", "12,34",
                 marks=pytest.mark.trap(7)),
])
def test_a_parameter_is_read_under_the_setting(twins, change, sql, value):
    message = w.extended(sql, (value,))

    def ask(_):
        return twins.ask(message)

    twins.warm(sql, ask=ask)
    before = ask(sql)
    twins.say(change)
    assert ask(sql) != before
    twins.warm(sql, ask=ask)
    twins.say("reset " + changed(change))
    assert ask(sql) == before


@pytest.mark.trap(1)
@pytest.mark.parametrize("text", ["now", "today", " Tomorrow ", "yesterday", "now()", "epoch", "infinity"])
def test_a_parameter_that_is_a_moment_of_the_call(twins, text):
    """`now` is never kept; the other names of fixed moments may be."""
    message = w.extended("select id from moment where made < $1 order by id", (text,))
    for _ in range(3):
        twins.ask(message)


@pytest.mark.trap(10)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_warning_about_escapes_comes_each_time(twins, protocol):
    message = PROTOCOLS[protocol](r"select id from word where name = 'a\nb'")
    twins.say("set standard_conforming_strings = off")
    for _ in range(4):
        assert "N" in w.types(twins.ask_with_notices(message))
    twins.say("set escape_string_warning = off")
    for _ in range(4):
        assert "N" not in w.types(twins.ask_with_notices(message))


@pytest.mark.trap(8)
def test_constants_change_their_meaning_inside_a_pipeline(twins):
    """The origin's lexer follows the SET at once, long before its report of it arrives here."""
    read = r"select id from word where name = 'a\nb'"
    twins.warm(read, protocol="extended")
    before = twins.ask(w.extended(read))
    for change in ("set standard_conforming_strings = off", "set standard_conforming_strings = on"):
        once = w.parse(change) + w.bind() + w.execute()
        twins.ask(once + w.extended(read))
        twins.ask(w.extended(read))
    assert twins.ask(w.extended(read)) == before


@pytest.mark.trap(11)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_row_security_switched_off_is_an_error_for_who_is_under_it(start_twins, protocol):
    twins = start_twins("app_trust")
    read = "select id from owned order by id"
    twins.repeat(read, protocol=protocol)
    twins.say("set row_security = off")
    assert w.error(twins.ask(PROTOCOLS[protocol](read))) == "42501"
    twins.repeat(read, protocol=protocol)
    twins.say("reset row_security")
    twins.repeat(read, protocol=protocol)


@pytest.mark.trap(12)
def test_a_timeout_that_a_hit_cannot_exceed(twins):
    read = "select note from word order by id"
    twins.warm(read)
    # Long enough for the row's description to come first, always.
    twins.say("set statement_timeout = '200ms'")
    assert w.error(twins.say("select pg_sleep(10)")) == "57014"
    twins.say("set statement_timeout = 0")
    twins.warm(read)


@pytest.mark.trap(13)
def test_order_by_is_kept_whatever_the_plan(twins):
    read = "select a.id, b.id from word a join word b on a.id <= b.id order by 1 desc, 2"
    twins.warm(read)
    for setting in ("enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_sort"):
        twins.say(f"set {setting} = off")
        twins.repeat(read)
