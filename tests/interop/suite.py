"""Runs every client against the server and prints one line per scenario.

Closes with `N passed, N failed`; exit 1 on a failure. `run` beside it prepares the machine.
"""

import concurrent.futures
import functools
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import deadline
import document
import foreign
import matrix
import pairs
import scanners
import tools
from report import Report, Row
from server import SUBJECT, described

# Most of the time a phone waits for a timer or a person's pause.
AT_ONCE = 5


def parts(report, folder):
    """What can run at the same time: each has its server and its ports, the longest first."""
    made = [
        functools.partial(matrix.play, report, folder, client, transport)
        for client, transport in matrix.columns()
    ]
    for flood in scanners.FLOODS:
        made.append(functools.partial(scanners.play, report, folder, flood))
    for transport in ("udp", "tcp"):
        made.append(functools.partial(foreign.play, report, folder, transport))
    for transports in pairs.TRANSPORTS:
        made.append(functools.partial(pairs.in_namespaces, report, folder, transports))
        made.append(
            functools.partial(pairs.on_loopback, report, folder, transports, pairs.DOMAIN)
        )
    made.append(functools.partial(pairs.on_loopback, report, folder, ("udp", "udp"), ""))
    made.append(functools.partial(tools.play, report, folder))
    return made


def run_all(report, folder):
    """Runs the parts; when the run is ended, what is under way unwinds first."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(part) for part in parts(report, folder)]
        try:
            for part in running:
                part.result()
        except BaseException:
            deadline.stop()
            pool.shutdown(cancel_futures=True)
            raise


def write_page(report):
    """A page that is not what was committed is a failure that the next commit repairs."""
    row = Row("docs", "", "docs/phones.md is up to date", None)
    if document.written(report.verdicts):
        report.note(row, True, "")
    else:
        report.note(row, False, "it was not; it is written now: read it and commit it")


def main():
    """Everything; the folder with all logs stays when something failed."""
    # An ended run unwinds, so that servers, phones and namespaces end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="interop-"))
    report = Report()
    print(f"server: {described()}", flush=True)
    run_all(report, lambda: Path(tempfile.mkdtemp(prefix="server-", dir=folder)))
    if SUBJECT == "rempart" and not report.failed:
        write_page(report)
    if report.failed:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
