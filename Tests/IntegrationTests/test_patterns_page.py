"""docs/sql.md lists the patterns as they are tried."""
import subprocess
import sys

import patterns


def test_the_tables_are_up_to_date():
    done = subprocess.run([sys.executable, patterns.__file__, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
