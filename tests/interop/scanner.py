"""Runs a SIPVicious tool under another User-Agent: `scanner.py NAME ADDRESS TOOL WORDS...`.

The tools have no option for the name: who renames them changes this default in their source.
svcrack takes `--bindingip` and forgets it, so the address is given here.
"""

import importlib
import socket
import sys

from sipvicious.libs import svhelper

DEFAULT = "friendly-scanner"


class BoundSocket(socket.socket):
    """A socket that stands at one address wherever "any" was asked for."""

    address = ""

    def bind(self, place):
        super().bind((place[0] or self.address, *place[1:]))


def rename(name):
    """Makes every request of the tool carry this User-Agent."""
    request = svhelper.makeRequest
    if DEFAULT not in request.__defaults__:
        sys.exit(f"no default {DEFAULT}: another version of SIPVicious")
    changed = (name if value == DEFAULT else value for value in request.__defaults__)
    request.__defaults__ = tuple(changed)


def main():
    """An empty NAME leaves the tool its own."""
    name, BoundSocket.address, tool = sys.argv[1:4]
    if name:
        rename(name)
    socket.socket = BoundSocket
    sys.argv = [tool, *sys.argv[4:]]
    importlib.import_module(f"sipvicious.{tool}").main()


if __name__ == "__main__":
    main()
