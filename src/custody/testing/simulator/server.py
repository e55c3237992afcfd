"""The HTTP side of the simulator: one thread per connection; serves faults, answers and the control paths."""

from __future__ import annotations

import contextlib
import gzip as gziplib
import hashlib
import json
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from custody.testing.simulator import Core, Fault, Seen, dialects
from custody.testing.simulator.answers import Reply

_CONTROL = "/_simulator/"
_ORIGIN = re.compile("^http://[^/?]*")  # a client that takes the simulator for its proxy sends the whole URL
_JSON = {"content-type": "application/json"}
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], core: Core) -> None:
        self.core = core
        self._open: dict[socket.socket, threading.Thread] = {}
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's looks the host name up
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open[request] = threading.current_thread()
        if self.core.stopping.is_set():
            _cut(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._open.pop(request, None)

    def hang_up(self, timeout: float) -> None:
        """Close what is open and wait at most `timeout` seconds for its threads."""
        with self._guard:
            left = dict(self._open)
        for request in left:
            _cut(request)
        end = time.monotonic() + timeout
        for thread in left.values():
            thread.join(max(0.0, end - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.core = self.server.core

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self._read()
        path, _, query = _ORIGIN.sub("", self.path).partition("?")
        if path.startswith(_CONTROL):
            return self._control(path.removeprefix(_CONTROL), body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        digest = hashlib.sha256(body).hexdigest()
        seen = Seen(path, self.command, digest, headers, time=time.time(), query=query)
        number, fault = self.core.log.arrive(seen, body)
        self._serve(number, seen, fault, body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _read(self) -> bytes:
        """The whole request body. Raises ConnectionError when the client goes away in the middle of it."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self._exactly(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self._line().split(b";")[0], 16):
            parts.append(self._exactly(size))
            self._line()
        while self._line().strip():
            pass  # trailers
        return b"".join(parts)

    def _line(self) -> bytes:
        line = self.rfile.readline(65537)
        if not line.endswith(b"\n"):
            raise ConnectionAbortedError
        return line

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionAbortedError
        return data

    def _control(self, name: str, body: bytes) -> None:
        status, document = 200, {"ok": True}
        try:
            if (self.command, name) == ("GET", "stats"):
                document = cast(Any, self.core.stats())
            elif (self.command, name) == ("POST", "inject"):
                fields = json.loads(body)
                times = int(fields.pop("times", 1))
                self.core.inject(Fault(**fields), times)
            elif (self.command, name) == ("POST", "release"):
                self.core.release()
            elif (self.command, name) == ("POST", "reset"):
                self.core.reset()
            else:
                status, document = 404, {"ok": False}
        except (ValueError, TypeError, AttributeError):
            status, document = 400, {"ok": False}
        data = json.dumps(document).encode()
        headers = {"content-type": "application/json", "content-length": str(len(data))}
        self.wfile.write(self._head(status, headers) + data)

    def _serve(self, number: int, seen: Seen, fault: Fault, body: bytes) -> None:
        begun = time.monotonic()
        if self.core.stopping.wait(self.core.latency + (fault.delay or 0.0)) or fault.drop:
            return self._hang_up()
        dialect = dialects.of(seen)
        source = self.core.source
        fixed = dialect.headers(source, time.monotonic() - begun)
        reply = dialect.error(fault.status) if fault.status else dialects.answer(dialect, seen, body, source)
        headers = {
            "date": self.date_time_string(),
            **(_JSON if reply.frames is None else _SSE),
            "connection": "close" if self.close_connection else "keep-alive",
            "server": "cloudflare",
            "cf-ray": source.hex("", 16) + "-SIM",
            "cf-cache-status": "DYNAMIC",
            "x-content-type-options": "nosniff",
            "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
            # without `Secure`, so that clients send it back over plain HTTP as they do to the vendor over TLS
            "set-cookie": f"__cf_bm=simulator-cookie-{source.id('', 32)}; path=/; HttpOnly; SameSite=None",
            **fixed,
            **reply.headers,
            **fault.headers,
        }
        if fault.retry_after is not None:
            headers["retry-after"] = f"{fault.retry_after:g}"
        self.core.log.mark(number, status=reply.status)
        try:
            if reply.frames is None:
                self._plain(number, reply, headers, fault, seen)
            else:
                self._stream(number, reply, headers, fault)
        except OSError:  # the client is gone
            self.core.log.mark(number, answered=False)
            self._hang_up()

    def _plain(self, number: int, reply: Reply, headers: dict[str, str], fault: Fault, seen: Seen) -> None:
        data = reply.body
        if fault.tail is not None:
            data, fault = data[: fault.cut_after] + fault.tail.encode(), replace(fault, cut_after=None)
        if self.core.gzip and "gzip" in seen.headers.get("accept-encoding", ""):
            data = gziplib.compress(data)
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        headers["content-length"] = str(len(data))
        head = self._head(reply.status, headers)
        if fault.cut_after is not None:
            self.wfile.write(head + data[: min(fault.cut_after, len(data) - 1)])
            return self._hang_up()
        self.wfile.write(head + data[:-1])
        self._last(number, data[-1:], reply.status)

    def _stream(self, number: int, reply: Reply, headers: dict[str, str], fault: Fault) -> None:
        status, frames = reply.status, reply.frames or []
        if fault.tail is not None:
            frames, fault = [*frames[: fault.cut_after], fault.tail.encode()], replace(fault, cut_after=None)
        released = self.core.released
        self.wfile.write(self._head(status, headers | {"transfer-encoding": "chunked"}))
        for index, frame in enumerate(frames):
            if index and self.core.stopping.wait(self.core.chunk_delay):
                return self._hang_up()
            held = fault.hold_after is not None and index >= fault.hold_after
            while held and not released.acquire(timeout=0.05):
                if self.core.stopping.is_set():
                    return self._hang_up()
            if fault.cut_after is not None and index >= min(fault.cut_after, len(frames) - 1):
                return self._hang_up()
            chunk = b"%x\r\n%s\r\n" % (len(frame), frame)
            if index < len(frames) - 1:
                self.wfile.write(chunk)
            else:  # the end goes along: a client that hangs up at the last event has had the whole answer
                self._last(number, chunk + b"0\r\n\r\n", status)

    def _last(self, number: int, data: bytes, status: int) -> None:
        """Write the end of an answer, marked first: a client that has it must not find it unmarked."""
        self.core.log.mark(number, answered=200 <= status < 300)
        self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Status"
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def _hang_up(self) -> None:
        self.close_connection = True
        _cut(self.connection)
