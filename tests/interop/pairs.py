"""Two PJSUA2 phones that call each other: on loopback, by the server's address alone, and in two
private networks that only the server joins."""

import contextlib
import time

import calls
from deadline import remaining
from network import NETWORKS, Network
from phones import Line
from pjsua import Pjsua
from ports import free_ports
from report import Row
from server import SUBJECT, Server

USERS = [("alice", "wonder land"), ("bob", "b:u'i,lder")]
TRANSPORTS = [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")]
SIP_PORT = 5060
# The flood rule is in force as shipped where the phones are not on the server's own address, and
# no person makes six calls in a second.
PAUSE_SECS = 2
DOMAIN = "interop.test"


def rows(label, media, pause_secs=0):
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

    made = [row(scenario, check) for scenario, check in calls.PAIR]
    return [Row("pjsua2", label, "both register", both_register), *made]


@contextlib.contextmanager
def opened_pair(place, transports, **options):
    """Alice and Bob; `options` gives more of each line, by user."""
    with contextlib.ExitStack() as stack:
        pair = []
        for (user, password), transport in zip(USERS, transports):
            folder = calls.new_line_folder(place, user)
            line = Line(
                user=user, password=password, transport=transport, folder=folder, **options[user]
            )
            pair.append(stack.enter_context(Pjsua(line)))
        yield pair


def on_loopback(report, folder, transports, domain):
    """Two phones beside the server. Without a domain they know it by its address alone."""
    port = free_ports(1)[0]
    options = {"server": f"127.0.0.1:{port}", "domain": domain}

    @contextlib.contextmanager
    def opened():
        place = folder()
        server = Server(place, ["127.0.0.1"], port, DOMAIN, USERS, flood="1")
        with server, opened_pair(place, transports, alice=options, bob=options) as pair:
            yield pair

    label = "loopback" if domain else "by address"
    report.run(rows(f"{label} {named(transports)}", media=True), opened)


def in_namespaces(report, folder, transports):
    """A phone in each of two private networks that only the server joins."""

    @contextlib.contextmanager
    def opened():
        place = folder()
        with Network() as network:
            addresses, prefix = network.server_addresses(), network.prefix("server")
            # The peer has to be told each address to find the right one for either side.
            listen = addresses if SUBJECT == "kamailio" else ["0.0.0.0"]
            server = Server(place, listen, SIP_PORT, DOMAIN, USERS, flood="1", prefix=prefix)
            options = {user: namespace_line(network, user) for user, _ in USERS}
            with server, opened_pair(place, transports, **options) as pair:
                yield pair

    report.run(rows(f"namespaces {named(transports)}", False, PAUSE_SECS), opened)


def namespace_line(network, user):
    """A phone in a network of its own."""
    return {
        "server": f"{NETWORKS[user]}.1:{SIP_PORT}",
        "domain": DOMAIN,
        "bind": f"{NETWORKS[user]}.2",
        "prefix": network.prefix(user),
    }


def named(transports):
    """`udp`, or `udp-tcp` when the two phones differ."""
    return "-".join(dict.fromkeys(transports))
