"""A tiny S3 server for one bucket, whose faults can be chosen. No signature is checked."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class SmallS3(ThreadingHTTPServer):
    """Attributes:
    conditional: what becomes of ``If-None-Match: *``: "honoured", "ignored" or "refused" (501).
    lose_answers: so many next PUTs are stored, and the connection is cut instead of an answer.
    fail: status of every answer, until it is None again.
    asked: method and key of every request.
    headers: of the last PUT.
    """

    daemon_threads = True

    def __init__(self, conditional: str = "honoured") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.conditional, self.lose_answers = conditional, 0
        self.fail: int | None = None
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.delay = 0.0
        self.headers: dict[str, str] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallS3

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def _query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>SECRET in it</Message></Error>".encode())

    def _failing(self) -> bool:
        self.server.asked.append((self.command, self._key()))
        time.sleep(self.server.delay)
        status = self.server.fail
        if status is not None:
            self._refuse(status, "Broken")
        return status is not None

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._failing():
            return None
        key, server = self._key(), self.server
        server.headers = {name.lower(): value for name, value in self.headers.items()}
        condition = self.headers.get("If-None-Match") == "*" and server.conditional != "ignored"
        if condition and server.conditional == "refused":
            return self._refuse(501, "NotImplemented")
        with server.lock:
            if condition and key in server.objects:
                taken = True
            else:
                taken = False
                server.objects[key] = data, time.time()
            lost, server.lose_answers = server.lose_answers > 0, max(0, server.lose_answers - 1)
        if taken:
            return self._refuse(412, "PreconditionFailed")
        if lost:
            self.close_connection = True
            self.connection.close()
            return None
        return self._answer(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')

    def do_GET(self) -> None:
        if self._failing():
            return None
        query = self._query()
        if not self._key():
            return self._list(query)
        stored = self.server.objects.get(self._key())
        if stored is None:
            return self._refuse(404, "NoSuchKey")
        data, at = stored
        common = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last_Modified": formatdate(at, usegmt=True)}
        match = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            return self._answer(200, data, **common, Content_Length=str(len(data)))
        begin, end = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        if begin >= len(data):
            return self._refuse(416, "InvalidRange")
        part = data[begin : end + 1]
        return self._answer(206, part, **common, Content_Range=f"bytes {begin}-{end}/{len(data)}")

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        if not self._failing():
            with self.server.lock:
                self.server.objects.pop(self._key(), None)
            self._answer(204)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if not self._failing():
            with self.server.lock:
                for key in re.findall(r"<Key>(.*?)</Key>", data):
                    self.server.objects.pop(key, None)
            rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in re.findall(r"<Key>(.*?)</Key>", data))
            self._answer(
                200, f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</DeleteResult>'.encode()
            )

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        with self.server.lock:
            known = sorted(self.server.objects.items())
        rows, folders, more, newest = [], set(), "", ""
        for key, (data, at) in known:
            if not key.startswith(prefix) or (after and key <= after):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            if len(rows) == 1000:
                more = newest
                break
            newest = key
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
            rows.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{stamp}</LastModified><Size>{len(data)}</Size>"
                f'<ETag>"x"</ETag></Contents>'
            )
        rows += [f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(folders)]
        token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>bucket</Name><KeyCount>{len(rows)}</KeyCount><MaxKeys>1000</MaxKeys>"
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{''.join(rows)}</ListBucketResult>"
            ).encode(),
        )

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def small_s3(conditional: str = "honoured") -> Iterator[SmallS3]:
    server = SmallS3(conditional)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
