"""Every client, over every transport, in every scenario, against a PJSUA2 phone over UDP.

A new transport is one more word in a client's list.
"""

import contextlib
import dataclasses

import calls
from baresip import Baresip
from linphonec import Linphonec
from phones import Line
from pjsua import Pjsua
from ports import free_ports
from reasons import REASONS
from report import Row
from server import Server

CLIENTS = {
    "pjsua2": (Pjsua, ("udp", "tcp")),
    "baresip": (Baresip, ("udp", "tcp")),
    "linphonec": (Linphonec, ("udp", "tcp")),
}
USERS = [("alice", "secret-alice"), ("bob", "secret-bob"), ("carol", "secret-carol")]
DOMAIN = "interop.test"
OTHER_ADDRESS = "127.0.0.2"


class Desk:
    """A server, the phone under test as Alice, and Bob's phone; more phones as a row needs them."""

    def __init__(self, stack, server, kind, transport):
        self.stack = stack
        self.server = server
        self.kind = kind
        self.transport = transport
        self.alice = self.opened(kind, "alice", transport)
        self.bob = self.opened(Pjsua, "bob", "udp")
        self.alice.registered()
        self.bob.registered()

    def line(self, user, transport):
        """A new line of a user."""
        folder = calls.new_line_folder(self.server.folder, user)
        server = f"127.0.0.1:{self.server.port}"
        return Line(user, dict(USERS)[user], server, DOMAIN, transport, folder)

    def opened(self, kind, user, transport):
        """A phone that lasts as long as the desk."""
        return self.stack.enter_context(kind(self.line(user, transport)))

    @contextlib.contextmanager
    def more(self, *wanted):
        """Registered phones for one row, each a client and a user."""
        with contextlib.ExitStack() as stack:
            phones = [
                stack.enter_context(kind(self.line(user, self.transport))) for kind, user in wanted
            ]
            for phone in phones:
                phone.registered()
            yield phones


def holds(desk):
    """The phone under test puts Bob on hold."""
    calls.connect(desk.alice, desk.bob)
    calls.hold_and_resume(desk.alice, desk.bob)
    calls.end(desk.bob, desk.alice)


def is_held(desk):
    """Bob holds: his phone says so when the other has answered his re-INVITE."""
    calls.connect(desk.bob, desk.alice)
    calls.heard(desk.bob)
    desk.bob.hold()
    desk.bob.resume()
    calls.end(desk.alice, desk.bob)


def is_busy(desk):
    """Carol calls while the phone under test talks to Bob."""
    with desk.more((Pjsua, "carol")) as (carol,):
        calls.busy(desk.bob, desk.alice, carol)


def meets_busy(desk):
    """The phone under test calls Bob, who talks to Carol."""
    with desk.more((Pjsua, "carol")) as (carol,):
        calls.busy(carol, desk.bob, desk.alice)


def others(desk):
    """The clients of two more phones of the same user, each of another make."""
    return [(kind, "alice") for kind, _ in CLIENTS.values() if kind is not desk.kind]


def answers_first(desk):
    """Three makes ring for one user; the one under test answers."""
    with desk.more(*others(desk)) as ringing:
        calls.one_answers(desk.bob, desk.alice, ringing)


def stops_ringing(desk):
    """Three makes ring for one user; another than the one under test answers."""
    with desk.more(*others(desk)) as (answering, third):
        calls.one_answers(desk.bob, answering, (desk.alice, third))


def moves(desk):
    """The phone loses power and comes back at another address and port: the next call is there."""
    line = desk.alice.line
    desk.alice.vanish()
    moved = desk.kind(dataclasses.replace(line, bind=OTHER_ADDRESS))
    desk.alice = desk.stack.enter_context(moved)
    desk.alice.registered()
    calls.talk(desk.bob, desk.alice, desk.bob, ())


SCENARIOS = {
    # The desk opens when both phones have registered.
    "registers": lambda _desk: None,
    "calls, hangs up": lambda d: calls.talk(d.alice, d.bob, d.alice, (d.bob,)),
    "calls, the other hangs up": lambda d: calls.talk(d.alice, d.bob, d.bob, ()),
    "is called, hangs up": lambda d: calls.talk(d.bob, d.alice, d.alice, (d.bob,)),
    "is called, the other hangs up": lambda d: calls.talk(d.bob, d.alice, d.bob, ()),
    "holds and resumes": holds,
    "is held and resumed": is_held,
    "declines a call": lambda d: calls.declined(d.bob, d.alice),
    "is busy with another call": is_busy,
    "calls a busy phone": meets_busy,
    "gives up (CANCEL)": lambda d: calls.give_up(d.alice, d.bob),
    "the caller gives up (CANCEL)": lambda d: calls.give_up(d.bob, d.alice),
    "does not answer": lambda d: calls.no_answer(d.bob, d.alice),
    "calls, no answer": lambda d: calls.no_answer(d.alice, d.bob),
    "one of three, answers": answers_first,
    "one of three, another answers": stops_ringing,
    "sends a MESSAGE": lambda d: calls.message(d.alice, d.bob, "hello bob"),
    "receives a MESSAGE": lambda d: calls.message(d.bob, d.alice, "hello alice"),
    "moves to another address": moves,
}


def columns():
    """Each client with each of its transports."""
    return [(name, transport) for name in CLIENTS for transport in CLIENTS[name][1]]


def play(report, folder, client, transport):
    """All scenarios of one client over one transport."""
    kind = CLIENTS[client][0]
    port = free_ports(1)[0]

    @contextlib.contextmanager
    def opened():
        place = folder()
        server = Server(
            *(place, ["127.0.0.1"], port, DOMAIN, USERS, "raised"),
            LAB_ANSWER_SECS=str(calls.ANSWER_SECS),
        )
        with server, contextlib.ExitStack() as stack:
            yield Desk(stack, server, kind, transport)

    rows = [
        Row(client, transport, scenario, check)
        for scenario, check in SCENARIOS.items()
        if (client, scenario) not in REASONS
    ]
    report.run(rows, opened)
