"""The time the whole run may take; every wait is cut to what is left of it."""

import time

TOTAL_SECS = 240
END = time.monotonic() + TOTAL_SECS


class Failure(Exception):
    """A scenario that did not go as it should, said in one line."""


def remaining(wanted_secs):
    """The wait that is still allowed, at most `wanted_secs`."""
    left = END - time.monotonic()
    if left <= 0:
        raise Failure(f"the run passed its {TOTAL_SECS} s")
    return min(wanted_secs, left)
