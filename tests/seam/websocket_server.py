"""A server that speaks a little of the Realtime API, and a plugin that claims what is said to it."""

from __future__ import annotations

import http
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

PLUGIN = """
from custody.plugin import Claim, Forensics, found, hookimpl

class RealtimePlugin:
    @hookimpl(tryfirst=True)
    def claim_exchange(self, request):
        if request.parts.scheme in ("ws", "wss"):
            return Claim("realtime-test", "Test", "realtime")

    @hookimpl
    def extract_forensics(self, exchange):
        if exchange.claim.plugin == "realtime-test":
            said = [chunk.data.partition(b"\\n")[0].decode() for chunk in exchange.chunks]
            return Forensics(parameters={"frames": len(said)})
"""


def install_plugin(folder: Path) -> None:
    """As pip would leave it; ``folder`` has to be on the path."""
    info = folder / "custody_realtime_test-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: custody-realtime-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nrealtime-test = custody_realtime_test:RealtimePlugin\n")
    (folder / "custody_realtime_test.py").write_text(PLUGIN)


class Server:
    """``connections`` counts what was accepted; ``received`` is what clients said."""

    def __init__(self) -> None:
        self.connections = 0
        self.handshakes: list[Request] = []
        self.received: list[Any] = []
        self.port = 0
        self.scheme = "ws"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuses and redirects by path."""
        self.handshakes.append(request)
        if request.path.startswith("/refused"):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, '{"error": "no key"}')
        if request.path.startswith("/moved"):
            return Response(302, "Found", Headers([("Location", "/v1/realtime?model=moved"), ("Content-Length", "0")]))
        return None

    def talk(self, connection: ServerConnection) -> None:
        self.connections += 1
        path = connection.request.path if connection.request else ""
        with_google = "Bidi" in path
        try:
            if not with_google:
                connection.send(json.dumps({"type": "session.created", "event_id": "e0", "session": {"id": "s"}}))
            for message in connection:
                self.received.append(message)
                if isinstance(message, bytes) and not with_google:
                    connection.send(message[::-1])
                    continue
                for answer in google(json.loads(message)) if with_google else openai(json.loads(message)):
                    if answer is None:
                        connection.close(1011, "gone")
                        return
                    connection.send(json.dumps(answer))
        except ConnectionClosed:
            pass


def openai(event: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    kind = event["type"]
    if kind == "session.update":
        yield {"type": "session.updated", "event_id": "e1", "session": event["session"]}
    elif kind == "response.create":
        for word in ("All", " is", " well."):
            yield {"type": "response.output_text.delta", "event_id": "e2", "response_id": "r", "item_id": "i",
                   "output_index": 0, "content_index": 0, "delta": word}  # fmt: skip
        done = {"id": "r", "status": "completed", "usage": {"input_tokens": 5, "output_tokens": 3}}
        yield {"type": "response.done", "event_id": "e3", "response": done}
    elif kind == "die":
        yield None


def google(event: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    if "setup" in event:
        yield {"setupComplete": {}}
    else:
        yield {"serverContent": {"modelTurn": {"parts": [{"text": "All is well."}]}}}
        yield {"serverContent": {"turnComplete": True}}


@contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """``context``: a certificate for 127.0.0.1; then the server speaks TLS."""
    server = Server()
    server.scheme = "ws" if context is None else "wss"
    with serve(server.talk, "127.0.0.1", 0, process_request=server.check, ssl=context) as listening:
        server.port = listening.socket.getsockname()[1]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
