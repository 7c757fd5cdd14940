"""Network namespaces: the server between two private networks, one phone in each.

Nothing forwards between the two networks, so a request that did not pass through the server
would be lost. Names carry this process's id; all are removed at the end.
"""

import itertools
import os
import subprocess

from deadline import Failure, remaining

NETWORKS = {"alice": "10.201.1", "bob": "10.201.2"}
NUMBERS = itertools.count()


def ip(*words):
    """One `ip` command."""
    process = subprocess.run(
        ["ip", *words], text=True, capture_output=True, timeout=remaining(10), check=False
    )
    if process.returncode:
        raise Failure(f"ip {' '.join(words)}: {process.stderr.strip()}")


class Network:
    """A context manager that makes the namespaces and removes them."""

    def __init__(self):
        self.made = []
        self.number = next(NUMBERS)

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def build(self):
        """Server and phones, each with its own interfaces."""
        self.add("server")
        for phone, network in NETWORKS.items():
            self.add(phone)
            ip(
                *("link", "add", phone, "netns", self.name("server"), "type", "veth"),
                *("peer", "name", "lan", "netns", self.name(phone)),
            )
            self.address("server", phone, f"{network}.1/24")
            self.address(phone, "lan", f"{network}.2/24")

    def add(self, name):
        """One namespace with its loopback up."""
        ip("netns", "add", self.name(name))
        self.made.append(name)
        ip("-n", self.name(name), "link", "set", "lo", "up")

    def address(self, name, interface, address):
        """One interface with its address."""
        ip("-n", self.name(name), "address", "add", address, "dev", interface)
        ip("-n", self.name(name), "link", "set", interface, "up")

    def remove(self):
        """Every namespace that was made, and with it its interfaces."""
        while self.made:
            name = self.name(self.made.pop())
            subprocess.run(["ip", "netns", "delete", name], timeout=10, check=False)

    def name(self, name):
        """The namespace's name on this machine."""
        return f"rempart-{os.getpid()}-{self.number}-{name}"

    def prefix(self, name):
        """The words before a command that runs in this namespace."""
        return ("ip", "netns", "exec", self.name(name))

    @staticmethod
    def server_addresses():
        """The server's address in each network."""
        return [f"{network}.1" for network in NETWORKS.values()]
