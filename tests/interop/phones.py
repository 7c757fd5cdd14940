"""Drives PJSUA2 phones, each a process of its own."""

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from deadline import Failure, remaining

PROGRAM = Path(__file__).with_name("phone.py")
EVENT_SECS = 8
TALK_SECS = 1


class Phone:
    """A phone that registers when it starts; a context manager that ends its process."""

    def __init__(self, user, password, server, transport, log, domain="", bind="", prefix=()):
        self.user = user
        self.uri = f"sip:{user}@{domain or server}"
        options = {"user": user, "password": password, "server": server, "log": str(log)}
        options |= {"transport": transport, "domain": domain, "bind": bind or "127.0.0.1"}
        words = [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-u", str(PROGRAM), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.events = queue.Queue()
        self.seen = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Moves events from the phone's output to the queue."""
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.put(json.loads(line))
        self.events.put({"event": "ended"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.say("quit")
            self.process.wait(3)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(3)

    def say(self, command):
        """Sends one command line."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def expect(self, event, **facts):
        """Waits for an event with these facts; others before it are remembered and passed."""
        end = time.monotonic() + remaining(EVENT_SECS)
        wanted = {"event": event, **facts}
        while True:
            try:
                told = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(self.missing(wanted)) from None
            self.seen.append(told)
            if wanted.items() <= told.items():
                return told
            if told["event"] in ("ended", "error"):
                raise Failure(self.missing(wanted))

    def when_called(self, manner):
        """Tells the phone what to do with the next call, and waits until it knows."""
        self.say(f"when-called {manner}")
        self.expect("when-called", manner=manner)

    def missing(self, wanted):
        """The words of a failure: what was wanted, and the last that came."""
        last = self.seen[-1] if self.seen else "nothing"
        return f"{self.user}: no {wanted} in {EVENT_SECS} s; last: {last}"

    def registered(self):
        """Waits until the server has accepted the registration."""
        told = self.expect("registration")
        if told["code"] != 200:
            raise Failure(f"{self.user} registers: {told['code']} {told['reason']}")


def connect(caller, callee):
    """One phone calls the other, who rings and answers."""
    callee.when_called("answer")
    caller.say(f"call {callee.uri}")
    callee.expect("incoming")
    for phone in (caller, callee):
        phone.expect("call", state="CONFIRMED")


def end(phone, other):
    """One side hangs up, and both know it."""
    phone.say("hangup")
    for side in (phone, other):
        told = side.expect("call", state="DISCONNECTED")
        if told["code"] != 200:
            raise Failure(f"{side.user}: call ended with {told['code']} {told['reason']}")


def heard(*phones):
    """Each phone has sent and received media."""
    time.sleep(remaining(TALK_SECS))
    for phone in phones:
        phone.say("stats")
        stats = phone.expect("stats")
        if not (stats["sent"] and stats["received"]):
            raise Failure(f"{phone.user}: no media: {stats['sent']} out, {stats['received']} in")


def caller_hangs_up(alice, bob, media):
    """Alice calls and ends it."""
    connect(alice, bob)
    if media:
        heard(alice, bob)
    end(alice, bob)


def callee_hangs_up(alice, bob, media):
    """Alice calls, Bob ends it."""
    connect(alice, bob)
    if media:
        heard(alice, bob)
    end(bob, alice)


def call_the_other_way(alice, bob, _media):
    """Bob calls, Alice ends it."""
    connect(bob, alice)
    end(alice, bob)


def hold_and_resume(alice, bob, _media):
    """Both sides send requests inside the dialog: Bob holds and resumes, Alice ends."""
    connect(alice, bob)
    for command, mine, theirs in (("hold", "holding", "held"), ("resume", "active", "active")):
        bob.say(command)
        bob.expect("media", status=mine)
        alice.expect("media", status=theirs)
    end(alice, bob)


def cancel_while_ringing(alice, bob, _media):
    """Alice gives up before Bob answers."""
    bob.when_called("ring")
    alice.say(f"call {bob.uri}")
    alice.expect("call", state="EARLY")
    alice.say("hangup")
    for phone in (alice, bob):
        told = phone.expect("call", state="DISCONNECTED")
        if told["code"] != 487:
            raise Failure(f"{phone.user}: {told['code']} {told['reason']} after a CANCEL")


def declined(alice, bob, _media):
    """Bob is busy."""
    bob.when_called("decline")
    alice.say(f"call {bob.uri}")
    told = alice.expect("call", state="DISCONNECTED")
    if told["code"] != 486:
        raise Failure(f"{alice.user}: {told['code']} {told['reason']} from a busy phone")
    bob.expect("call", state="DISCONNECTED")


SCENARIOS = [
    ("caller hangs up", caller_hangs_up),
    ("callee hangs up", callee_hangs_up),
    ("call the other way", call_the_other_way),
    ("hold and resume", hold_and_resume),
    ("cancel while ringing", cancel_while_ringing),
    ("callee is busy", declined),
]
