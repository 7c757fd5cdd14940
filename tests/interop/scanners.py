"""SIPVicious against the server: no banner, no extension, no password.

With its own name it is answered as a known scanner. With another it is a stranger like any other,
and only what strangers are told keeps the secrets; once with the flood limit as shipped, and once
with a limit so high that every request is answered.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

import calls
from deadline import Failure, remaining
from phones import Line
from pjsua import Pjsua
from ports import free_ports
from report import Row
from server import Server

PROGRAM = Path(__file__).with_name("scanner.py")
DOMAIN = "interop.test"
USERS = [("100", "1234"), ("101", "tomorrow"), ("alice", "wonderland")]
NAMES = {"friendly-scanner": "", "renamed": "Yealink SIP-T46S 66.85.0.5"}
FLOODS = {"as shipped": "1", "limit raised": "raised"}
RUN_SECS = 30
# The right one is the fifth: behind what the guard lets anybody try.
GUESSES = ["0000", "1111", "2222", "3333", "1234", "4444"]


class Scan:
    """A server, and a scanner with an address of its own: ours would be exempt."""

    def __init__(self, server, name, address):
        self.server = server
        self.name = name
        self.address = address

    def run(self, tool, *words):
        """One run of a tool: all that it printed."""
        command = [sys.executable, str(PROGRAM), self.name, self.address, tool]
        command += ["-p", str(self.server.port), "-x", self.address, "-P", str(free_ports(1)[0])]
        process = subprocess.run(
            [*command, *words, "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=remaining(RUN_SECS),
            check=False,
        )
        (self.server.folder / f"{tool}-{self.address}.out").write_text(process.stdout)
        # Its exit code says what it found or that nobody answers, which is no fault.
        if "Traceback" in process.stdout or not process.stdout.strip():
            raise Failure(f"{tool}: exit {process.returncode}: {process.stdout[-300:]}")
        return process.stdout

    def listed(self, name, words):
        """A file with a word a line."""
        path = self.server.folder / f"{name}-{self.address}"
        path.write_text("\n".join(words) + "\n")
        return str(path)


def cells(text):
    """The rows of the table that a tool prints; its first row names the columns."""
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in row) for row in rows][1:]


def no_banner(scan):
    """svmap may see that something answers, not what it is."""
    for _, banner in cells(scan.run("svmap")):
        if banner not in ("unknown", "disabled"):
            raise Failure(f"svmap reads {banner!r}")


def no_extension(scan):
    """svwar tells no user from a name that nobody has, whatever it asks with."""
    names = ["100", "nobody", "alice", "101", "102"]
    words = ["-d", scan.listed("names", names), "--domain", DOMAIN, "--maximumtime", "3"]
    for more in (["-m", "REGISTER"], ["-m", "INVITE"], ["-m", "OPTIONS"], ["--force"]):
        if found := cells(scan.run("svwar", *words, *more)):
            raise Failure(f"svwar {' '.join(more)} finds {found}")


def crack(scan, guesses):
    """What svcrack takes for the password of extension 100."""
    words = ["-u", "100", "-d", scan.listed("guesses", guesses), "--domain", DOMAIN]
    return [password for _, password in cells(scan.run("svcrack", *words, "--maximumtime", "3"))]


def no_password(scan):
    """A scanner that is told 200 to everything takes that for "[no password]"."""
    found = crack(scan, GUESSES)
    if dict(USERS)["100"] in found:
        raise Failure(f"svcrack finds the password: {found}")


def can_find(scan):
    """The tool and this suite see a password where there is one: the first guess is right."""
    if crack(scan, ["1234", "0000"]) != ["1234"]:
        raise Failure("svcrack does not find a password that is its first guess")


def owner_registers(scan):
    """After all that the owner of extension 100 registers from his own address."""
    folder = calls.new_line_folder(scan.server.folder, "100")
    place = f"127.0.0.1:{scan.server.port}"
    with Pjsua(Line("100", "1234", place, DOMAIN, "udp", folder, bind="127.0.0.50")) as phone:
        phone.registered()


def rows(flood):
    """Each tool under each name, and at the end the owner. The context is the server."""
    made = []

    def add(tool, scenario, check, agent, address):
        def run(server):
            return check(Scan(server, NAMES[agent], f"127.0.0.{address}"))

        made.append(Row(tool, f"udp {flood}", f"{scenario}, {agent}", run))

    for number, agent in enumerate(NAMES):
        add("svmap", "no banner", no_banner, agent, 20 + 5 * number)
        add("svwar", "no extension", no_extension, agent, 21 + 5 * number)
        add("svcrack", "no password", no_password, agent, 22 + 5 * number)
    add("svcrack", "finds a first guess", can_find, "renamed", 40)
    add("svcrack", "the owner registers after it", owner_registers, "renamed", 50)
    return made


def play(report, folder, flood):
    """All tools against one server."""
    port = free_ports(1)[0]

    @contextlib.contextmanager
    def opened():
        server = Server(folder(), ["127.0.0.1"], port, DOMAIN, USERS, FLOODS[flood])
        with server:
            yield server

    report.run(rows(flood), opened)
