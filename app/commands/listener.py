"""The address that the service listens on, taken before anything is started for it."""

import socket

from app.commands.failure import Failed


def bound(host: str, port: int) -> socket.socket:
    """A socket of this address, not listening yet.

    Raises:
        Failed: the address is taken, or not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Failed(f"{host} is no address of this machine: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Failed(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it, or choose "
            "another with --port"
        ) from error
    return listener
