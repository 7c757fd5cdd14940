"""linphonec, driven by its command line over a pipe, with files in place of a sound card."""

import os
import re
import subprocess
import threading
import time

from deadline import remaining
from phones import EVENT_SECS, Phone
from ports import free_ports
from tone import write_tone

RING_SECS = 0.2
# Its words for the ends it can tell apart.
REASONS = {"Busy": 486, "Call declined": 603, "No response": 408, "Not found": 404}
CALL = re.compile(r"Call \d+ (?:to|with) \S+ (ringing|connected|error|ended)(?: \((.*)\))?")
STATES = {"ringing": "EARLY", "connected": "CONFIRMED"}
MESSAGE = re.compile(r"Message received from \S+: (.*)")
CONFIG = """\
[sip]
{transports}
bind_address={bind}
default_proxy=0
guess_hostname=0
contact=sip:{user}@{bind}
inc_timeout=60

[proxy_0]
reg_proxy=<{proxy}>
reg_route=<{proxy};lr>
reg_identity={uri}
reg_expires=300
reg_sendregister=1
publish=0

[auth_info_0]
username={user}
passwd={password}
realm={realm}

[rtp]
audio_rtp_port={rtp}-{rtp_end}

[misc]
max_calls=1
"""


class Linphonec(Phone):
    """One linphonec. Its call states come as words, so a normal end has no code."""

    def start(self):
        """Everything it keeps is in the phone's folder."""
        line = self.line
        home = line.folder / "home"
        # Without this folder it has no database and breaks down at the first chat.
        (home / ".local/share/linphone").mkdir(parents=True, exist_ok=True)
        config = line.folder / "linphonerc"
        config.write_text(self.config())
        environment = dict(os.environ, HOME=str(home), PULSE_SERVER="/nonexistent")
        words = ["linphonec", "-c", str(config), "-d", "5", "-l", str(line.folder / "linphone.log")]
        self.spawn(words, stdout=subprocess.PIPE, env=environment)
        self.follow(self.read)
        write_tone(line.folder / "tone.wav")
        self.say("soundcard use files")
        self.say(f"play {line.folder / 'tone.wav'}")

    def config(self):
        """A configuration with one account and one listening port."""
        line, rtp = self.line, free_ports(8)[0]
        ports = {"udp": 0, "tcp": 0, "tls": 0} | {line.transport: free_ports(1)[0]}
        names = {"udp": "sip_port", "tcp": "sip_tcp_port", "tls": "sip_tls_port"}
        transports = "\n".join(f"{names[name]}={port}" for name, port in ports.items())
        fields = {"user": line.user, "password": line.password, "bind": line.bind}
        fields |= {"uri": line.uri, "proxy": line.proxy, "realm": line.domain}
        return CONFIG.format(transports=transports, rtp=rtp, rtp_end=rtp + 7, **fields)

    def registered(self):
        """Asks until it says so: this version does not tell by itself."""
        end = time.monotonic() + remaining(EVENT_SECS)
        while time.monotonic() < end and not any(told.get("code") == 200 for told in self.seen):
            self.say("status register")
            time.sleep(0.2)
            while not self.events.empty():
                self.seen.append(self.events.get())
        if not any(told.get("code") == 200 for told in self.seen):
            self.expect("registration", secs=0.1, code=200)

    def read(self):
        """Reads lines; what is typed comes back as an echo and means nothing."""
        with (self.line.folder / "linphonec.out").open("ab") as log:
            for data in self.process.stdout:
                log.write(data)
                log.flush()
                self.heard(data.decode(errors="replace").strip())

    def heard(self, text):
        """One printed line in the suite's words."""
        if "registered, identity=" in text:
            self.told("registration", code=200)
        elif "Receiving new incoming call" in text:
            self.incoming()
        elif "is now paused" in text:
            self.told("media", status="holding")
        elif found := MESSAGE.search(text):
            self.told("message", text=found[1])
        elif found := CALL.search(text):
            state = STATES.get(found[1], "DISCONNECTED")
            self.told("call", state=state, code=REASONS.get(found[2]), reason=found[2])

    def incoming(self):
        """Does what was wished for."""
        self.told("incoming")
        word = {"answer": "answer", "decline": "terminate"}.get(self.manner)
        if word:
            threading.Timer(RING_SECS, self.say, [word]).start()

    def call(self, uri):
        """Starts a call."""
        self.say(f"call {uri}")

    def answer(self):
        """Takes the call that rings."""
        self.say("answer")

    def hangup(self):
        """Ends the call, gives it up, or declines it."""
        self.say("terminate")

    def hold(self):
        """Puts the other side on hold."""
        self.say("pause")
        # Until it has paused it does not resume.
        self.expect("media", status="holding")

    def resume(self):
        """Talks to the other side again."""
        self.say("resume")

    def message(self, uri, text):
        """Sends a MESSAGE."""
        self.say(f"chat {uri} {text}")

    def quit(self):
        """Unregisters and ends."""
        self.say("quit")
