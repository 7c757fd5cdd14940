"""Runs every client against the server and prints one line per scenario.

Closes with `N passed, N failed`; exit 1 on a failure. `run` beside it prepares the machine.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import clients
import phones
from deadline import Failure, remaining
from network import NETWORKS, Network
from server import SUBJECT, Server, described

FAULTS = (Failure, OSError, subprocess.SubprocessError)
PHONE_USERS = [("alice", "wonder land"), ("bob", "b:u'i,lder")]
PHONE_TRANSPORTS = [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")]
SIP_PORT = 5060
# The flood rule is in force as shipped where the phones are not on the server's own address, and
# no person makes six calls in a second.
PAUSE_SECS = 2
DOMAIN = "interop.test"


@dataclass
class Row:
    """One scenario of one client; `check` returns a note or nothing."""

    client: str
    transport: str
    scenario: str
    check: Callable


class Report:
    """Prints each verdict when it is known, and counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def line(self, row, verdict):
        """One line of the table."""
        print(f"{row.client:<8}{row.transport:<21}{row.scenario:<28}{verdict}", flush=True)

    def judge(self, row, context):
        """Runs one scenario; true when it passed."""
        try:
            note = row.check(context)
        except FAULTS as fault:
            self.fail(row, fault)
            return False
        self.passed += 1
        self.line(row, f"pass  {note}" if note else "pass")
        return True

    def fail(self, row, fault):
        """Notes a scenario that failed."""
        self.failed += 1
        self.line(row, f"FAIL  {' '.join(str(fault).split())}")

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


def free_ports(count):
    """Ports that were free for UDP and TCP a moment ago."""
    with contextlib.ExitStack() as stack:
        found = []
        while len(found) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                found.append(port)
        return found


def tool_rows():
    """SIPp and sipsak, on loopback over both transports."""
    rows = []
    for transport in ("udp", "tcp"):
        ports = free_ports(3)

        def row(client, scenario, check, *words, transport=transport):
            def run(server):
                return check(server, transport, *words)

            rows.append(Row(client, transport, scenario, run))

        row("sipsak", "OPTIONS", clients.options)
        row("sipsak", "registers", clients.sipsak_registers)
        row("sipsak", "wrong password refused", clients.sipsak_wrong_password)
        row("sipp", "40 users register", clients.register, ports)
        row("sipp", "100 calls at 25/s", clients.calls, ports)
    return rows


def phone_rows(label, media, pause_secs=0):
    """The calls of two phones. The context is the pair of them."""

    def both_register(pair):
        for phone in pair:
            phone.registered()

    def row(scenario, check):
        def run(pair):
            # A pair that was opened after a failure has not been waited for.
            if not all(phone.seen for phone in pair):
                both_register(pair)
            time.sleep(remaining(pause_secs))
            check(*pair, media)

        return Row("pjsua2", label, scenario, run)

    calls = [row(scenario, check) for scenario, check in phones.SCENARIOS]
    return [Row("pjsua2", label, "both register", both_register), *calls]


@contextlib.contextmanager
def pair_of_phones(folder, transports, options):
    """Alice and Bob; `options` gives the rest of what each phone is told."""
    with contextlib.ExitStack() as stack:
        pair = []
        for (user, password), transport in zip(PHONE_USERS, transports):
            log = Path(tempfile.mkstemp(prefix=f"{user}-", suffix=".log", dir=folder)[1])
            phone = phones.Phone(user, password, transport=transport, log=log, **options(user))
            pair.append(stack.enter_context(phone))
        yield pair


def new_folder(folder):
    """A place for one server."""
    return Path(tempfile.mkdtemp(prefix="server-", dir=folder))


def tools(report, folder):
    """SIPp and sipsak: more requests a second from one address than the flood rule allows."""
    port = free_ports(1)[0]

    def opened():
        return Server(
            new_folder(folder), ["127.0.0.1"], port, "localhost", clients.USERS, flood="raised"
        )

    report.run(tool_rows(), opened)


def loopback_phones(report, folder, transports, domain):
    """Two phones beside the server. Without a domain they know it by its address alone."""
    port = free_ports(1)[0]
    address = f"127.0.0.1:{port}"

    @contextlib.contextmanager
    def opened():
        place = new_folder(folder)
        server = Server(place, ["127.0.0.1"], port, DOMAIN, PHONE_USERS, flood="1")
        options = {"server": address, "domain": domain}
        with server, pair_of_phones(place, transports, lambda _user: options) as pair:
            yield pair

    label = "loopback" if domain else "by address"
    report.run(phone_rows(f"{label} {named(transports)}", media=True), opened)


def namespace_phones(report, folder, transports):
    """A phone in each of two private networks that only the server joins."""

    @contextlib.contextmanager
    def opened():
        place = new_folder(folder)
        with Network() as network:
            addresses, prefix = network.server_addresses(), network.prefix("server")
            # The peer has to be told each address to find the right one for either side.
            listen = addresses if SUBJECT == "kamailio" else ["0.0.0.0"]
            server = Server(place, listen, SIP_PORT, DOMAIN, PHONE_USERS, flood="1", prefix=prefix)

            def options(user):
                return {
                    "server": f"{NETWORKS[user]}.1:{SIP_PORT}",
                    "domain": DOMAIN,
                    "bind": f"{NETWORKS[user]}.2",
                    "prefix": network.prefix(user),
                }

            with server, pair_of_phones(place, transports, options) as pair:
                yield pair

    label = f"namespaces {named(transports)}"
    report.run(phone_rows(label, media=False, pause_secs=PAUSE_SECS), opened)


def named(transports):
    """`udp`, or `udp-tcp` when the two phones differ."""
    return "-".join(dict.fromkeys(transports))


def main():
    """Everything; the folder with all logs stays when something failed."""
    # An ended run unwinds, so that servers, phones and namespaces end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="interop-"))
    report = Report()
    print(f"server: {described()}", flush=True)
    tools(report, folder)
    for transports in PHONE_TRANSPORTS:
        loopback_phones(report, folder, transports, DOMAIN)
    loopback_phones(report, folder, ("udp", "udp"), "")
    for transports in PHONE_TRANSPORTS:
        namespace_phones(report, folder, transports)
    if report.failed:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
