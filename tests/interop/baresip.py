"""baresip, driven by JSON over its control socket, with files in place of a sound card."""

import json
import re
import socket
import subprocess
import threading
import time

from deadline import Failure, remaining
from phones import EVENT_SECS, Phone
from ports import free_ports
from tone import write_tone

LOG = "baresip.log"
START_SECS = 8
RING_SECS = 0.2
STATES = {
    "CALL_RINGING": "EARLY",
    "CALL_PROGRESS": "EARLY",
    "CALL_ESTABLISHED": "CONFIRMED",
    "CALL_CLOSED": "DISCONNECTED",
}
CONFIG = """\
poll_method epoll
sip_listen {bind}:{sip}
call_max_calls 1
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
audio_source aufile,{folder}/tone.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_ports {rtp}-{rtp_end}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {bind}:{control}
"""


class Baresip(Phone):
    """One baresip."""

    def start(self):
        """The account is made over the control socket, so that its registration is seen."""
        folder, bind = self.line.folder, self.line.bind
        # The port above the first is its TLS port. RTP takes a few from a range of its own.
        sip, self.control, rtp = free_ports(2)[0], free_ports(1)[0], free_ports(8)[0]
        fields = {"bind": bind, "sip": sip, "control": self.control, "folder": folder}
        text = CONFIG.format(**fields, rtp=rtp, rtp_end=rtp + 7)
        (folder / "config").write_text(text)
        (folder / "accounts").write_text("")
        (folder / "contacts").write_text("")
        write_tone(folder / "tone.wav")
        with (folder / LOG).open("ab") as log:
            self.spawn(["baresip", "-4", "-s", "-f", str(folder)], stdout=log)
        self.socket = self.connected()
        self.follow(self.read)
        self.register()

    def connected(self):
        """The control socket, as soon as the program listens."""
        end = time.monotonic() + remaining(START_SECS)
        while True:
            try:
                return socket.create_connection((self.line.bind, self.control))
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Failure(f"no baresip: see {self.line.folder}/{LOG}") from None
                time.sleep(0.05)

    def register(self):
        """Makes the account."""
        line = self.line
        self.command(
            "uanew",
            f"<{line.uri};transport={line.transport}>;auth_user={line.user}"
            f';auth_pass={line.password};outbound="{line.proxy}";regint=300',
        )

    def command(self, word, words=""):
        """One command as a netstring."""
        text = json.dumps({"command": word, "params": words}).encode()
        self.socket.sendall(b"%d:%s," % (len(text), text))

    def read(self):
        """Cuts netstrings from the socket."""
        data = b""
        while more := self.socket.recv(65536):
            data += more
            while b":" in data:
                size, _, rest = data.partition(b":")
                if len(rest) <= int(size):
                    break
                self.heard(json.loads(rest[: int(size)]))
                data = rest[int(size) + 1 :]

    def heard(self, told):
        """One message of the control socket in the suite's words."""
        kind = told.get("type", "")
        if kind in ("REGISTER_OK", "REGISTER_FAIL"):
            self.told("registration", code=code_of(told), reason=told.get("param"))
        elif kind == "CALL_REMOTE_SDP" and told.get("param") == "answer":
            self.told("media", status="answered")
        elif kind == "CALL_INCOMING":
            self.incoming()
        elif kind in STATES:
            self.told("call", state=STATES[kind], code=code_of(told), reason=told.get("param"))

    def incoming(self):
        """Does what was wished for."""
        self.told("incoming")
        word = {"answer": "accept", "decline": "hangup"}.get(self.manner)
        if word:
            threading.Timer(RING_SECS, self.command, [word]).start()

    def call(self, uri):
        """Starts a call."""
        self.command("dial", uri)

    def answer(self):
        """Takes the call that rings."""
        self.command("accept")

    def hangup(self):
        """Ends the call, gives it up, or declines it."""
        self.command("hangup")

    def hold(self):
        """Puts the other side on hold."""
        self.command("hold")
        self.expect("media", status="answered")

    def resume(self):
        """Talks to the other side again."""
        self.command("resume")
        self.expect("media", status="answered")

    def message(self, uri, text):
        """Sends a MESSAGE; this version sends them to its current contact only."""
        (self.line.folder / "contacts").write_text(f'"peer" <{uri}>\n')
        for word in ("rmmod", "insmod"):
            self.command(word, "contact.so")
        self.command("message", text)

    def received(self, text):
        """Looks into its trace, since this version tells nobody of a MESSAGE."""
        end = time.monotonic() + remaining(EVENT_SECS)
        wanted = re.compile(rb"MESSAGE sip:(?:.+\r\n)+\r\n" + re.escape(text.encode()))
        while not wanted.search((self.line.folder / LOG).read_bytes()):
            if time.monotonic() > end:
                raise Failure(f"{self.user}: no MESSAGE {text!r} in {self.line.folder}/{LOG}")
            time.sleep(0.05)

    def quit(self):
        """Unregisters and ends."""
        self.command("quit")
        self.socket.close()


def code_of(told):
    """The status code that leads the words of an event, if there is one."""
    word = str(told.get("param") or "").partition(" ")[0]
    return int(word) if word.isdigit() else None
