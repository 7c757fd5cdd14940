"""Ports for servers and phones: each handed out once, below what the kernel picks by itself."""

import contextlib
import itertools
import os
import socket
import threading

LOWEST, COUNT = 11000, 20000
LOCK = threading.Lock()
# Two runs on one machine begin at different places.
NEXT = itertools.cycle(range(COUNT))
FIRST = os.getpid() * 101 % COUNT


def free_ports(count):
    """`count` ports in a row, free for UDP and TCP a moment ago."""
    found = []
    with LOCK:
        while len(found) < count:
            port = LOWEST + (FIRST + next(NEXT)) % COUNT
            if found and port != found[-1] + 1 or not is_free(port):
                found = []
            else:
                found.append(port)
    return found


def is_free(port):
    """Whether the port can be bound on every address."""
    with contextlib.ExitStack() as stack:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            listener = stack.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                listener.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
