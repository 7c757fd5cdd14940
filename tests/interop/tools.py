"""SIPp and sipsak against the server: registrations, authenticated calls, OPTIONS."""

import csv
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

SCENARIOS = Path(__file__).with_name("sipp")
USERS = [(f"phone{number:02d}", f"secret{number:02d}") for number in range(40)]
DOMAIN = "localhost"
CALLS = 100
CALLS_PER_SEC = 25
RUN_SECS = 30
SIPP_TRANSPORT = {"udp": "u1", "tcp": "t1"}


class Sipp:
    """One SIPp process."""

    def __init__(self, server, name, transport, port, *words):
        self.name = name
        self.base = server.folder / f"sipp-{name}-{transport}"
        self.output = Path(f"{self.base}.out").open("w")
        traces = ["-trace_stat", "-stf", f"{self.base}.csv", "-fd", "1"]
        traces += ["-trace_err", "-error_file", f"{self.base}.err"]
        traces += ["-trace_msg", "-message_file", f"{self.base}.messages"]
        self.process = subprocess.Popen(
            [
                *("sipp", f"127.0.0.1:{server.port}", "-sf", str(SCENARIOS / f"{name}.xml")),
                *("-t", SIPP_TRANSPORT[transport], "-i", "127.0.0.1", "-p", str(port)),
                *("-key", "domain", server.domain, "-nostdin", *words, *traces),
                *("-timeout", str(RUN_SECS), "-timeout_error"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
        )

    def finish(self, calls):
        """Waits for the end; a note of what it counted, or a failure."""
        try:
            code = self.process.wait(remaining(RUN_SECS + 5))
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end in {RUN_SECS} s") from None
        finally:
            self.end()
        row = self.counted()
        done, failed = row.get("SuccessfulCall(C)"), row.get("FailedCall(C)")
        if code or done != str(calls) or failed != "0":
            raise Failure(f"{self.name}: {done} done, {failed} failed: {self.complaint()}")
        return f"{done} done, {row.get('Retransmissions(C)')} retransmissions"

    def end(self):
        """Ends the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(3)
        self.output.close()

    def counted(self):
        """The last line of SIPp's own statistics."""
        path = Path(f"{self.base}.csv")
        if not path.exists():
            return {}
        with path.open(newline="") as text:
            rows = list(csv.DictReader(text, delimiter=";"))
        return rows[-1] if rows else {}

    def complaint(self):
        """The first lines of SIPp's error file, in one line."""
        path = Path(f"{self.base}.err")
        text = path.read_text(errors="replace") if path.exists() else ""
        return " ".join(text.split())[:300] or f"see {self.base}.out"


def accounts(server):
    """SIPp's injection file: user, credentials, user called."""
    path = server.folder / "accounts.csv"
    rows = ["SEQUENTIAL"]
    for place, (user, password) in enumerate(USERS):
        callee = USERS[(place + 1) % len(USERS)][0]
        rows.append(f"{user};[authentication username={user} password={password}];{callee}")
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def register(server, transport, ports):
    """40 phones register with digest; their calls shall reach the answering SIPp."""
    words = ["-inf", accounts(server), "-m", str(len(USERS)), "-r", "40"]
    words += ["-key", "contact_port", str(ports[1])]
    return Sipp(server, "register", transport, ports[0], *words).finish(len(USERS))


def hundred_calls(server, transport, ports):
    """100 authenticated calls at 25 a second, answered by another SIPp."""
    callee = Sipp(server, "callee", transport, ports[1], "-m", str(CALLS))
    try:
        time.sleep(remaining(0.5))
        words = ["-inf", accounts(server), "-m", str(CALLS), "-r", str(CALLS_PER_SEC)]
        note = Sipp(server, "caller", transport, ports[2], *words).finish(CALLS)
        callee.finish(CALLS)
    finally:
        callee.end()
    return note


def sipsak(server, transport, name, *words):
    """One run of sipsak: its exit code and what it printed."""
    process = subprocess.run(
        ["sipsak", "-E", transport, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=remaining(20),
        check=False,
    )
    text = process.stdout + process.stderr
    (server.folder / f"sipsak-{name}-{transport}.out").write_text(text)
    return process.returncode, text


def options(server, transport):
    """OPTIONS to the server itself."""
    uri = f"sip:{server.domain}:{server.port}"
    code, text = sipsak(server, transport, "options", "-vv", "-s", uri)
    if code or "SIP/2.0 200" not in text:
        raise Failure(f"exit {code}: {last_line(text)}")
    return "200"


def sipsak_registers(server, transport):
    """Registers a contact, then asks for it and finds it in the answer."""
    user, password = USERS[0]
    contact = f"sip:{user}@127.0.0.1:5999"
    # Left to itself this sipsak takes "USER@" for the digest's username.
    words = ["-U", "-u", user, "-a", password, "-s", f"sip:{user}@{server.domain}:{server.port}"]
    code, text = sipsak(server, transport, "register", *words, "-x", "60", "-C", contact)
    if code:
        raise Failure(f"exit {code}: {last_line(text)}")
    code, text = sipsak(server, transport, "query", *words, "-vvv", "-C", "empty")
    if code or contact not in text.partition("SIP/2.0 200")[2]:
        raise Failure(f"exit {code}, no {contact} in the answer: {last_line(text)}")
    return "bound"


def sipsak_wrong_password(server, transport):
    """A wrong password must not register: the run can see a failure."""
    user = USERS[1][0]
    words = ["-U", "-u", user, "-a", "guess", "-s", f"sip:{user}@{server.domain}:{server.port}"]
    code, _ = sipsak(server, transport, "guess", *words, "-C", f"sip:{user}@127.0.0.1:5998")
    if code == 0:
        raise Failure("sipsak says that a wrong password registers")
    return "refused"


MESSAGE = """\
MESSAGE {target} SIP/2.0
Max-Forwards: 70
From: <sip:{sender}@{domain}>;tag=sipsak
To: <{target}>
Call-ID: sipsak-{transport}
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Length: {size}

{text}"""


def sipsak_message(server, transport):
    """A MESSAGE to a phone. It is read from a file: this sipsak's -M ends in a crash."""
    (sender, secret), (user, password) = USERS[2:4]
    folder = calls.new_line_folder(server.folder, user)
    place = f"127.0.0.1:{server.port}"
    with Pjsua(Line(user, password, place, server.domain, transport, folder)) as phone:
        phone.registered()
        fields = {"target": phone.uri, "sender": sender, "domain": server.domain}
        fields |= {"transport": transport, "text": "hello", "size": len("hello")}
        request = folder / "message.sip"
        request.write_text(MESSAGE.format(**fields), newline="\r\n")
        words = ["-f", str(request), "-L", "-u", sender, "-a", secret]
        words += ["-s", f"sip:{user}@{server.domain}:{server.port}"]
        code, text = sipsak(server, transport, "message", *words, "-vv")
        if code:
            raise Failure(f"exit {code}: {last_line(text)}")
        phone.received("hello")


def last_line(text):
    """The last printed line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def rows(transport):
    """Both tools over one transport. The context is the server."""
    ports = free_ports(3)

    def row(client, scenario, check, *words):
        return Row(client, transport, scenario, lambda server: check(server, transport, *words))

    return [
        row("sipsak", "OPTIONS", options),
        row("sipsak", "registers", sipsak_registers),
        row("sipsak", "wrong password refused", sipsak_wrong_password),
        row("sipsak", "sends a MESSAGE", sipsak_message),
        row("sipp", "40 users register", register, ports),
        row("sipp", "100 calls at 25/s", hundred_calls, ports),
    ]


def play(report, folder):
    """More requests a second from one address than the flood rule allows."""
    port = free_ports(1)[0]

    def opened():
        return Server(folder(), ["127.0.0.1"], port, DOMAIN, USERS, flood="raised")

    report.run([*rows("udp"), *rows("tcp")], opened)
