"""Debian's Kamailio as the foreign domain and as the telephone gateway, calls both ways."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import calls
from deadline import Failure, remaining
from phones import Line
from pjsua import Pjsua
from ports import free_ports
from report import Row
from server import Server

CONFIG = Path(__file__).with_name("kamailio.cfg")
# An address of its own: ours are ours on every port.
ADDRESS = "127.0.0.3"
FOREIGN = "foreign.test"
DOMAIN = "interop.test"
NUMBER = "+4930123456"
USERS = [("alice", "secret-alice")]
START_SECS = 10
STOP_SECS = 5


class Kamailio:
    """The peer; a context manager that ends its processes."""

    def __init__(self, folder, port, server_port, transport):
        folder.mkdir()
        self.folder = folder
        text = CONFIG.read_text()
        modules = next(Path("/usr/lib").glob("*/kamailio/modules"))
        fields = {"ADDRESS": ADDRESS, "PORT": port, "TRANSPORT": transport, "MODULES": modules}
        fields |= {"SERVER": f"127.0.0.1:{server_port}", "DOMAIN": DOMAIN}
        for name, value in fields.items():
            text = text.replace(name, str(value))
        (folder / "kamailio.cfg").write_text(text)

    def __enter__(self):
        words = ["kamailio", "-DD", "-E", "-f", self.folder / "kamailio.cfg", "-m", "64", "-M", "8"]
        words += ["-P", self.folder / "pid", "-Y", self.folder]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + remaining(START_SECS)
        # It writes the file when its configuration is accepted and its sockets are open.
        while not (self.folder / "pid").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise Failure(f"Kamailio does not start: see {self.folder}/log")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECS)


class Desk:
    """Alice's phone here; Carol's and a telephone at the peer."""

    def __init__(self, stack, place, port, peer_port, transport):
        def opened(user, password, server, domain):
            folder = calls.new_line_folder(place, user)
            line = Line(user, password, server, domain, "udp", folder)
            phone = stack.enter_context(Pjsua(line))
            phone.registered()
            return phone

        peer = f"{ADDRESS}:{peer_port}"
        self.alice = opened("alice", "secret-alice", f"127.0.0.1:{port}", DOMAIN)
        self.carol = opened("carol", "none", peer, FOREIGN)
        self.telephone = opened(NUMBER, "none", peer, FOREIGN)
        # What Alice dials. The gateway is chosen by the number alone.
        self.carol.uri = f"sip:carol@{peer};transport={transport}"
        self.telephone.uri = f"sip:{NUMBER}@{DOMAIN}"


def not_let_through(desk):
    """A foreign user asks our server for the telephone network."""
    desk.carol.call(f"sip:{NUMBER}@{DOMAIN}")
    desk.carol.ended(403)


def nobody_there(desk):
    """The foreign domain does not know the user, and the caller hears that."""
    desk.alice.call(desk.carol.uri.replace("carol", "nobody"))
    desk.alice.ended(404)


def held(caller, callee):
    """Both sides hold and resume."""
    calls.connect(caller, callee)
    calls.heard(caller, callee)
    calls.hold_and_resume(callee, caller)
    calls.hold_and_resume(caller, callee)
    calls.end(caller, callee)


SCENARIOS = {
    "foreign domain: called, caller hangs up": lambda d: calls.talk(d.alice, d.carol, d.alice, ()),
    "foreign domain: called, called hangs up": lambda d: calls.talk(d.alice, d.carol, d.carol, ()),
    "foreign domain: called, hold": lambda d: held(d.alice, d.carol),
    "foreign domain: called, busy": lambda d: calls.declined(d.alice, d.carol),
    "foreign domain: called, CANCEL": lambda d: calls.give_up(d.alice, d.carol),
    "foreign domain: called, unknown user": nobody_there,
    "foreign domain: calls, caller hangs up": lambda d: calls.talk(d.carol, d.alice, d.carol, ()),
    "foreign domain: calls, called hangs up": lambda d: calls.talk(d.carol, d.alice, d.alice, ()),
    "foreign domain: calls, hold": lambda d: held(d.carol, d.alice),
    "foreign domain: calls, busy": lambda d: calls.declined(d.carol, d.alice),
    "foreign domain: calls, CANCEL": lambda d: calls.give_up(d.carol, d.alice),
    "foreign domain: no way to the gateway": not_let_through,
    "gateway: called, caller hangs up": lambda d: calls.talk(d.alice, d.telephone, d.alice, ()),
    "gateway: called, called hangs up": lambda d: calls.talk(
        d.alice, d.telephone, d.telephone, (d.alice, d.telephone)
    ),
    "gateway: called, busy": lambda d: calls.declined(d.alice, d.telephone),
    "gateway: called, CANCEL": lambda d: calls.give_up(d.alice, d.telephone),
    "gateway: calls, caller hangs up": lambda d: calls.talk(
        d.telephone, d.alice, d.telephone, (d.alice, d.telephone)
    ),
    "gateway: calls, called hangs up": lambda d: calls.talk(d.telephone, d.alice, d.alice, ()),
    "gateway: calls, busy": lambda d: calls.declined(d.telephone, d.alice),
    "gateway: calls, CANCEL": lambda d: calls.give_up(d.telephone, d.alice),
}


def play(report, folder, transport):
    """Both roles, over one transport between the two servers; the phones speak UDP."""
    port, peer_port = free_ports(1)[0], free_ports(1)[0]

    @contextlib.contextmanager
    def opened():
        place = folder()
        gateway = f"{ADDRESS}:{peer_port};transport={transport}"
        server = Server(
            place, ["127.0.0.1"], port, DOMAIN, USERS, "raised", LAB_GATEWAY=gateway
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(Kamailio(place / "kamailio", peer_port, port, transport))
            stack.enter_context(server)
            yield Desk(stack, place, port, peer_port, transport)

    rows = [Row("kamailio", transport, scenario, check) for scenario, check in SCENARIOS.items()]
    report.run(rows, opened)
