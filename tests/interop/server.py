"""The server under test, started through the bench's adapters: Rempart, or the peer."""

import os
import subprocess
from pathlib import Path

from deadline import Failure, remaining

ADAPTERS = Path(__file__).resolve().parents[2] / "bench" / "adapter"
START_SECS = 25
SUBJECT = os.environ.get("REMPART_SUBJECT", "rempart")


def described():
    """Name and version of the server under test, in one line."""
    command = [str(ADAPTERS / SUBJECT), "describe"]
    return subprocess.check_output(command, text=True, timeout=START_SECS).strip()


class Server:
    """One server in a folder of its own; a context manager that stops it."""

    def __init__(self, folder, addresses, port, domain, users, flood, prefix=(), **settings):
        self.folder = folder
        self.port = port
        self.domain = domain
        # `prefix` runs the adapter inside a network namespace; `settings` are more of its
        # variables.
        self.command = [*prefix, str(ADAPTERS / SUBJECT)]
        self.environment = dict(
            os.environ,
            LAB_ADDR=" ".join(addresses),
            LAB_PORT=str(port),
            LAB_DOMAIN=domain,
            LAB_ANTIFLOOD=flood,
            LAB_SERVER_CPUS="",
            KAM_SHARED_MIB="64",
            **settings,
        )
        rows = "".join(f"{user}\t{domain}\t{password}\n" for user, password in users)
        self.adapter("add-user", rows)

    def adapter(self, word, stdin="", secs=None):
        """Runs one command of the adapter; a failure carries its words."""
        log = self.folder / f"{word}.txt"
        # The started server inherits what it is given, so output goes to a file, not a pipe.
        with log.open("w") as output:
            process = subprocess.run(
                [*self.command, word, str(self.folder)],
                input=stdin,
                text=True,
                stdout=output,
                stderr=output,
                env=self.environment,
                timeout=secs or remaining(START_SECS),
                check=False,
            )
        if process.returncode:
            raise Failure(f"{SUBJECT} {word}: {log.read_text().strip()[-600:]}")

    def __enter__(self):
        self.adapter("start")
        return self

    def __exit__(self, *_):
        # An ended run has no time left, and its servers must stop all the same.
        self.adapter("stop", secs=START_SECS)
