"""Ports of this machine for servers that are started with a number."""

import random
import socket

# Linux takes the ports of outgoing connections, and those bound as 0, from above these.
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a port that nothing listens on, and that the system gives to nobody by itself."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            # As servers bind: connections that have ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
