"""Network namespaces that last as long as a `with`: names carry this process's id, and all are
removed at the end, whatever happens."""

import itertools
import os
import subprocess

from deadline import Failure, remaining

NUMBERS = itertools.count()


def ip(*words):
    """One `ip` command."""
    process = subprocess.run(
        ["ip", *words], text=True, capture_output=True, timeout=remaining(10), check=False
    )
    if process.returncode:
        raise Failure(f"ip {' '.join(words)}: {process.stderr.strip()}")


class Namespaces:
    """A context manager; what stands in them is built by `build`."""

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
        """Makes the namespaces and what connects them."""
        raise NotImplementedError

    def add(self, name):
        """One namespace with its loopback up."""
        ip("netns", "add", self.name(name))
        self.made.append(name)
        ip("-n", self.name(name), "link", "set", "lo", "up")

    def cable(self, near, interface, far):
        """A cable from `interface` at `near` to `lan` at `far`."""
        ip(
            *("link", "add", interface, "netns", self.name(near), "type", "veth"),
            *("peer", "name", "lan", "netns", self.name(far)),
        )

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
