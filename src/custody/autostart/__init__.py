"""Starts capture in a Python process that ``custody run`` has started, without a change in its script.

``path/`` is put on PYTHONPATH; its ``sitecustomize`` calls ``activate``. Nothing heavy is loaded until
the program imports an HTTP client that custody knows, or custody itself.
"""

from __future__ import annotations

import os
from types import ModuleType

import wrapt

TRIGGERS = ("httpx", "httpx2", "aiohttp", "requests", "botocore", "grpc", "websockets")


armed = False
"""Whether this process will join the session when it imports a client."""


def activate() -> None:
    """Join the session named in the environment as soon as a client is imported."""
    global armed
    armed = True
    if os.environ.get("CUSTODY_NO_NETWORK") == "1":
        offline()
    for name in TRIGGERS:
        wrapt.register_post_import_hook(_join, name)


def offline() -> None:
    """Refuse every connection of this process but those to sockets in the file system."""
    import socket

    class Offline(socket.socket):
        def connect(self, address: object) -> None:
            _refuse(self, address)
            super().connect(address)  # type: ignore[arg-type]

        def connect_ex(self, address: object) -> int:
            _refuse(self, address)
            return super().connect_ex(address)  # type: ignore[arg-type]

    def _refuse(made: socket.socket, address: object) -> None:
        if made.family != getattr(socket, "AF_UNIX", None):
            raise ConnectionRefusedError(
                f"no network here: custody regenerate works from the archive alone ({address!r})"
            )

    socket.socket = Offline  # type: ignore[misc]


def _join(module: ModuleType) -> None:
    from custody.errors import CustodyError
    from custody.sessions import starting

    try:
        starting.join()
    except CustodyError as error:
        stop(f"custody: {error}")


def stop(message: str) -> None:
    """End this process before it spends money that nobody would record."""
    os.write(2, (message + "\n").encode())
    os._exit(2)
