"""Every trap has a row in docs/correctness.md, and every row its tests."""
import subprocess
import sys

import traps


def test_the_table_is_complete():
    done = subprocess.run([sys.executable, traps.__file__, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
