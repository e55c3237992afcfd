"""A vendor that answers with recordings: an HTTP proxy on loopback that ends TLS for every recorded host.

SDKs are left as they are, with their own base URLs: the environment's proxy variables lead them here, and
a certificate made for this run lets them believe. So hosts, paths and schemes are those of the vendors.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from wireplay.recordings import Recorded

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy")
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")


@dataclass(frozen=True)
class Sent:
    """A request as it arrived. ``path`` is unquoted."""

    method: str
    host: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Player:
    """Answers the next request to a host with the recording that is expected there. One request each.

    Attributes:
        unexpected: requests that no recording was waiting for, as "METHOD host/path".
        asked: how many requests came in all.
    """

    def __init__(self, folder: Path, hosts: Iterable[str]) -> None:
        """Raises FileNotFoundError where there is no ``openssl`` to make a certificate with."""
        self.certificate, key = _certificate(folder, sorted(set(hosts)))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.unexpected: list[str] = []
        self.asked = 0
        self._expected: dict[str, Recorded] = {}
        self._seen: dict[str, Sent] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What leads an SDK here; empty values are to be unset."""
        proxy = f"http://127.0.0.1:{self.port}"
        led = dict.fromkeys(_PROXIES, "") | dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy
        )
        return led | dict.fromkeys(_AUTHORITIES, str(self.certificate))

    def expect(self, recorded: Recorded) -> None:
        """The next request to this host is answered with this recording."""
        with self._lock:
            self._expected[recorded.host] = recorded
            self._seen.pop(recorded.id, None)

    def seen(self, recorded: Recorded) -> Sent | None:
        """The request that was answered with this recording; None where none came."""
        with self._lock:
            return self._seen.get(recorded.id)

    def stop(self) -> None:
        """Close everything. From now on connections are refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a close alone lets the waiting accept have one more
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(connection)
        try:
            with connection, contextlib.suppress(OSError, ValueError):
                line, _ = _read_head(connection.makefile("rb", buffering=0))
                if not line.startswith("CONNECT "):
                    self.unexpected.append(f"plain request {line!r}")
                    return
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    with self._lock:
                        self._open.add(tls)
                    self._serve(tls, line.split()[1].rpartition(":")[0])
                    with self._lock:
                        self._open.discard(tls)
        finally:
            with self._lock:
                self._open.discard(connection)

    def _serve(self, tls: ssl.SSLSocket, host: str) -> None:
        file = tls.makefile("rb")
        while True:
            line, headers = _read_head(file)
            if not line:
                return
            method, target, _ = line.split(" ", 2)
            parts = urlsplit(target)
            sent = Sent(method, host, unquote(parts.path), parts.query, headers, _read_body(file, headers))
            for data in self._answer(sent):
                tls.sendall(data)

    def _answer(self, sent: Sent) -> Iterable[bytes]:
        with self._lock:
            self.asked += 1
            recorded = self._expected.pop(sent.host, None)
            if recorded is not None:
                self._seen[recorded.id] = sent
        if recorded is None:
            self.unexpected.append(f"{sent.method} {sent.host}{sent.path}")
            return [b"HTTP/1.1 421 Misdirected Request\r\ncontent-length: 0\r\n\r\n"]
        return played(recorded)


def played(recorded: Recorded) -> list[bytes]:
    """The bytes of an answer: a stream in chunks of one event each, anything else with its length."""
    head = f"HTTP/1.1 {recorded.status} {recorded.reason}\r\n".encode("latin-1")
    head += b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in recorded.headers)
    if recorded.status == 204:
        return [head + b"\r\n"]
    frames = frames_of(recorded)
    if frames is None:
        return [head + f"content-length: {len(recorded.body)}\r\n\r\n".encode(), recorded.body]
    chunks = [f"{len(frame):x}\r\n".encode() + frame + b"\r\n" for frame in frames]
    return [head + b"transfer-encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


def frames_of(recorded: Recorded) -> list[bytes] | None:
    """A stream's body, cut after each event; None where it is not a stream."""
    if recorded.header("content-encoding"):
        return None
    if recorded.content_type == "text/event-stream":
        return [frame for frame in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", recorded.body) if frame]
    if recorded.content_type in ("application/stream+json", "application/x-ndjson"):
        return recorded.body.splitlines(keepends=True)
    if recorded.content_type == "application/vnd.amazon.eventstream":
        frames, rest = [], recorded.body
        while rest:
            size = int.from_bytes(rest[:4], "big")
            frames.append(rest[:size])
            rest = rest[size:]
        return frames
    return None


def _read_head(file: Any) -> tuple[str, dict[str, str]]:
    line = file.readline().decode("latin-1").strip()
    headers = {}
    while text := file.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return line, headers


def _read_body(file: BinaryIO, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return file.read(int(headers.get("content-length") or 0))
    body = b""
    while size := int(file.readline().split(b";")[0], 16):
        body += file.read(size)
        file.readline()
    while file.readline().strip():
        pass
    return body


def _certificate(folder: Path, hosts: list[str]) -> tuple[Path, Path]:
    """A certificate for these hosts, signed by itself, good for two days; and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError("the conformance run needs the command openssl to make its certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=wireplay"
    subprocess.run(
        [*command.split(), "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return certificate, key
