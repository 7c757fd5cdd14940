"""One network of namespaces: the server, and each of the others behind a cable of its own.

Names carry this process's id; all are removed at the end. Nothing leads out of them.
"""

import os
import subprocess

ADDRESSES = {"phone": "192.0.2.101", "trunk": "192.0.2.10", "attacker": "192.0.2.66"}
SERVER = "192.0.2.1"


def ip(*words):
    """One `ip` command."""
    subprocess.run(["ip", *words], check=True, timeout=10)


class Network:
    """A context manager that makes the namespaces and removes them."""

    def __init__(self):
        self.made = []

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
        """A bridge at the server, a cable to everyone else."""
        self.add("server")
        server = self.name("server")
        ip("-n", server, "link", "add", "lan", "type", "bridge")
        self.up("server", "lan", SERVER)
        for place, address in ADDRESSES.items():
            self.add(place)
            ip(
                *("link", "add", place, "netns", server, "type", "veth"),
                *("peer", "name", "lan", "netns", self.name(place)),
            )
            ip("-n", server, "link", "set", place, "master", "lan", "up")
            self.up(place, "lan", address)

    def add(self, place):
        """One namespace with its loopback up."""
        ip("netns", "add", self.name(place))
        self.made.append(place)
        ip("-n", self.name(place), "link", "set", "lo", "up")

    def up(self, place, interface, address):
        """One interface with its address."""
        ip("-n", self.name(place), "address", "add", f"{address}/24", "dev", interface)
        ip("-n", self.name(place), "link", "set", interface, "up")

    def remove(self):
        """Every namespace that was made, and with it its interfaces."""
        while self.made:
            name = self.name(self.made.pop())
            subprocess.run(["ip", "netns", "delete", name], timeout=10, check=False)

    @staticmethod
    def name(place):
        """The namespace's name on this machine."""
        return f"hour-{os.getpid()}-{place}"

    def prefix(self, place):
        """The words before a command that runs in this namespace."""
        return ("ip", "netns", "exec", self.name(place))
