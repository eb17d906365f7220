"""What sqlsmith makes of the schema and of PostgreSQL's own functions: pgcache answers it as the origin does.

Only in a soak (PGCACHE_SQLSMITH is how many statements), if Debian's sqlsmith is installed. It leaves the order of rows
open and knows no function that it would rather not call: a statement counts only if the origin itself gives the same
rows under another plan.
"""
import os
import re
import shutil
import subprocess

import pytest

import wire as w
from proxy import DIRECT
from query_runs import Readers, apply, pass_watermark
from query_schema import SCHEMA, Changes  # noqa: F401 (SCHEMA is read by the `database` fixture)

ONE_REACTOR = True
SEED = int(os.environ.get("PGCACHE_TEST_SEED", "1"))
COUNT = int(os.environ.get("PGCACHE_SQLSMITH", "0"))
BATCH = 500

# They act on the server or on the session, which both sides share or must not; or are another each time.
ACTING = re.compile(
    r"pg_(terminate|cancel|sleep|reload|rotate|switch|drop|create|replication|logical|advisory|try_adv|export|promote"
    r"|wal|backup|stop|start|notify|read|ls_|stat_reset|stat_clear|copy|log_|import|get_wal)|\blo_|\blo(read|write)"
    r"|gen_random_uuid|nextval|setval|set_config|_to_xml|cursor|brin_|gin_clean|binary_upgrade", re.IGNORECASE)
OTHER_PLAN = "-c enable_hashjoin=off -c enable_hashagg=off -c enable_indexscan=off -c enable_sort=off"
TIMEOUT = "-c statement_timeout=2000"


def determined(text: str) -> str:
    """Without samples and without a LIMIT that has no order."""
    text = re.sub(r"\(select (\w+) from (public\.\w+) limit 1 offset (\d+) *\)",
                  r"(select \1 from \2 order by 1 limit 1 offset \3)", text)
    text = re.sub(r" tablesample \w+ \([\d.]+\)", "", text)
    return re.sub(r" limit \d+(?! offset)", "", text)


def smith(origin, database, seed: int) -> list[str]:
    """SELECTs of one seed that do not act."""
    done = subprocess.run(
        ["sqlsmith", f"--target=host={origin.host} port={origin.port} dbname={database} user=postgres",
         f"--seed={seed}", "--dry-run", "--exclude-catalog", f"--max-queries={BATCH}"],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    texts = [determined(re.sub(r"\s+", " ", text).strip()) for text in done.stdout.split(";\n")]
    return [text for text in texts if text.startswith(("select", "with")) and not ACTING.search(text)
            and not re.search(r"\b(insert into|update|delete from|merge into)\b", text)]


def said(client: w.WireClient, sql: str):
    """Rows in any order and how it ended; of an error the SQLSTATE."""
    found = client.ask(w.query(sql))
    if "E" in w.types(found):
        return w.error(found)
    return sorted(found)


@pytest.mark.skipif(COUNT == 0 or not shutil.which("sqlsmith"), reason="for a soak, with sqlsmith installed")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", range(-(-COUNT // BATCH)))
def test_what_sqlsmith_makes(proxy, origin, database, direct, number):
    changes = Changes(3_000_000 + SEED + number)
    apply(direct, changes.fill())
    texts = smith(origin, database, SEED + number)
    start = (origin.host, origin.port, database)
    with (w.WireClient.logged_in(*start, options=TIMEOUT) as theirs,
          w.WireClient.logged_in(*start, options=f"{TIMEOUT} {OTHER_PLAN}") as otherwise):
        hits, compared, wrong = 0, 0, []
        for moment in range(3):
            expected = {}
            for sql in texts:
                expected[sql] = said(theirs, sql)
                if expected[sql] != said(otherwise, sql) or expected[sql] in ("57014", "54001", "53200"):
                    del expected[sql]
            texts = list(expected)
            readers = Readers(proxy, 8, options=TIMEOUT)
            try:
                for _ in range(3):
                    pass_watermark(proxy, direct)
                    for sql in texts:
                        before = 0 if DIRECT else readers.hits()
                        ours = said(readers.next(), sql)
                        compared += 1
                        hits += not DIRECT and readers.hits() > before
                        # What was left open may have come out alike by chance.
                        if ours != expected[sql] and said(theirs, sql) == expected[sql] != said(readers.next(), sql):
                            wrong.append(f"moment {moment}: {sql}\n  expected {str(expected[sql])[:600]}\n"
                                         f"  got {str(ours)[:600]}")
            finally:
                readers.close()
            for _ in range(5):
                apply(direct, changes.transaction())
        print(f"\nsqlsmith, seed {SEED + number}: {len(texts)} texts, {compared} answers, {hits} from the cache")
        assert not wrong, f"{len(wrong)} wrong, seed {SEED + number}\n" + "\n".join(wrong[:5])
