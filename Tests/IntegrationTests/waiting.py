"""Waiting for a condition, the only place in the tests that lets time pass; and not outliving the tests.

A test never sleeps for as long as it thinks something takes. It names the condition, and a deadline
after which the condition counts as failed.
"""
import ctypes
import signal
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    """Runs in a child before its program: when the tests are killed, so is what they started."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(condition, what: str, seconds: float = 10.0):
    """Returns the first true value of `condition()`; fails after `seconds`, naming `what`.

    An AssertionError inside the condition means "not yet", and is shown when the deadline passes.
    """
    deadline = time.monotonic() + seconds
    refusal = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except AssertionError as error:
            refusal = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}") from refusal
        time.sleep(0.002)
