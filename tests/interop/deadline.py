"""The time the whole run may take; every wait is cut to what is left of it."""

import threading
import time

TOTAL_SECS = 420
END = time.monotonic() + TOTAL_SECS
STOPPED = threading.Event()


class Failure(Exception):
    """A scenario that did not go as it should, said in one line."""


def stop():
    """Makes every later wait fail, so that all that runs unwinds."""
    STOPPED.set()


def remaining(wanted_secs):
    """The wait that is still allowed, at most `wanted_secs`."""
    left = END - time.monotonic()
    if STOPPED.is_set():
        raise Failure("the run was ended")
    if left <= 0:
        raise Failure(f"the run passed its {TOTAL_SECS} s")
    return min(wanted_secs, left)
