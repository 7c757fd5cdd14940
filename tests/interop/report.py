"""Rows, their verdicts as they come, and what stays of them for docs/phones.md."""

import subprocess
import threading
from dataclasses import dataclass
from typing import Callable

from deadline import Failure

FAULTS = (Failure, OSError, subprocess.SubprocessError)


@dataclass
class Row:
    """One scenario of one client; `check` takes the context and returns a note or nothing."""

    client: str
    transport: str
    scenario: str
    check: Callable


class Report:
    """Prints each verdict when it is known. Several threads write to it."""

    def __init__(self):
        self.passed = self.failed = 0
        self.verdicts = {}
        self.lock = threading.Lock()

    def note(self, row, passed, words):
        """Counts and prints one row."""
        with self.lock:
            self.passed += passed
            self.failed += not passed
            key = (row.client, row.transport, row.scenario)
            self.verdicts[key] = "pass" if passed else "FAIL"
            verdict = f"{'pass' if passed else 'FAIL'}  {words}".rstrip()
            print(f"{row.client:<10}{row.transport:<22}{row.scenario:<42}{verdict}", flush=True)

    def judge(self, row, context):
        """Runs one scenario; true when it passed."""
        try:
            words = row.check(context)
        except FAULTS as fault:
            self.fail(row, fault)
            return False
        self.note(row, True, words or "")
        return True

    def fail(self, row, fault):
        """Notes a scenario that failed."""
        self.note(row, False, " ".join(str(fault).split()))

    def run(self, rows, opened):
        """Runs rows in a context; one that failed leaves it in doubt, so the next has a new one."""
        pending = list(rows)
        try:
            while pending:
                with opened() as context:
                    while pending and self.judge(pending.pop(0), context):
                        pass
        except FAULTS as fault:
            for row in pending:
                self.fail(row, fault)
