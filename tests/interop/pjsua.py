"""PJSUA2 phones: `phone.py` as a process, which already speaks the suite's vocabulary."""

import json
import subprocess
import sys
from pathlib import Path

from phones import Phone

PROGRAM = Path(__file__).with_name("phone.py")


class Pjsua(Phone):
    """One PJSUA2 phone."""

    def start(self):
        """The program takes the line as options and tells JSON lines."""
        line = self.line
        options = {"user": line.user, "password": line.password, "server": line.server}
        options |= {"transport": line.transport, "domain": line.domain, "bind": line.bind}
        options["log"] = str(line.folder / "pjsua.log")
        words = [f"--{name}={value}" for name, value in options.items()]
        self.spawn([sys.executable, "-u", str(PROGRAM), *words], stdout=subprocess.PIPE)
        self.follow(self.read)

    def read(self):
        """Moves events from the program's output to the queue."""
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.events.put(json.loads(line))

    def when_called(self, manner):
        """Waits until the phone knows."""
        self.say(f"when-called {manner}")
        self.expect("when-called", manner=manner)

    def call(self, uri):
        """Starts a call."""
        self.say(f"call {uri}")

    def answer(self):
        """Takes the call that rings."""
        self.say("answer")

    def hangup(self):
        """Ends the call, or gives it up."""
        self.say("hangup")

    def hold(self):
        """Puts the other side on hold."""
        self.say("hold")
        self.expect("media", status="holding")

    def resume(self):
        """Talks to the other side again."""
        self.say("resume")
        self.expect("media", status="active")

    def message(self, uri, text):
        """Sends a MESSAGE."""
        self.say(f"message {uri} {text}")

    def quit(self):
        """Unregisters and ends."""
        self.say("quit")
