"""What every phone can do, whoever wrote it: one vocabulary of commands and events.

Events: `registration` (code), `incoming`, `call` (state, code), `media` (status), `message`
(text), `ended`. A code of None means that the phone does not say.
"""

import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from deadline import Failure, remaining

EVENT_SECS = 8
QUIT_SECS = 3


@dataclass(frozen=True)
class Line:
    """A user's line: who, where the server is, and where the phone itself stands."""

    user: str
    password: str
    # Address and port. Without a domain the phone knows the server by them alone.
    server: str
    domain: str
    transport: str
    folder: Path
    bind: str = "127.0.0.1"
    prefix: tuple = ()

    @property
    def uri(self):
        """The user's address of record."""
        return f"sip:{self.user}@{self.domain or self.server}"

    @property
    def proxy(self):
        """The server as the next hop."""
        return f"sip:{self.server};transport={self.transport}"


class Phone:
    """A phone that registers when it starts; a context manager that ends its process.

    A client's class starts its process in `start`, turns what it tells into events with `told`,
    and has the commands `call`, `hangup`, `hold`, `resume`, `message`, `when_called` and `quit`.
    """

    def __init__(self, line):
        self.line = line
        self.uri = line.uri
        self.user = line.user
        self.events = queue.Queue()
        self.seen = []
        self.manner = "answer"
        self.process = None
        try:
            self.start()
        except BaseException:
            # Nobody has this phone yet who could end it.
            self.vanish()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.quit()
            self.process.wait(QUIT_SECS)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.vanish()

    def vanish(self):
        """Ends the process as a power cut would: nothing is unregistered."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(QUIT_SECS)

    def spawn(self, words, **options):
        """Starts the client's program in a process group of its own."""
        options = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        self.process = subprocess.Popen(
            [*self.line.prefix, *words], start_new_session=True, **options
        )

    def follow(self, read):
        """Calls `read` in a thread until it ends; then the phone has ended."""

        def run():
            try:
                read()
            except (OSError, ValueError):
                pass
            self.told("ended")

        threading.Thread(target=run, daemon=True).start()

    def say(self, command):
        """Writes one line to the program's stdin."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def told(self, event, **facts):
        """Notes an event for whoever expects it."""
        self.events.put({"event": event, **facts})

    def expect(self, event, secs=EVENT_SECS, **facts):
        """Waits for an event with these facts; others before it are remembered and passed."""
        end = time.monotonic() + remaining(secs)
        wanted = {"event": event, **facts}
        while True:
            try:
                told = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(self.missing(wanted, secs)) from None
            self.seen.append(told)
            if wanted.items() <= told.items():
                return told
            if told["event"] in ("ended", "error"):
                raise Failure(self.missing(wanted, secs))

    def missing(self, wanted, secs):
        """The words of a failure: what was wanted, and the last that came."""
        last = self.seen[-1] if self.seen else "nothing"
        return f"{self.user}: no {wanted} in {secs} s; last: {last}"

    def registered(self):
        """Waits until the server has accepted the registration."""
        told = self.expect("registration")
        if told["code"] != 200:
            raise Failure(f"{self.user} registers: {told}")

    def ended(self, *codes, secs=EVENT_SECS):
        """Waits for the end of the call, with one of these codes if the phone tells one."""
        told = self.expect("call", secs=secs, state="DISCONNECTED")
        if told["code"] is not None and told["code"] not in codes:
            raise Failure(f"{self.user}: call ended with {told}, not {codes}")

    def received(self, text):
        """Waits for a MESSAGE with these words."""
        self.expect("message", text=text)

    def when_called(self, manner):
        """What the phone does with the next call: answer, ring or decline."""
        self.manner = manner
