"""Where the peers send what they record: an HTTP server on loopback that notes which calls it was told of.

``python -m benchmarks.sink`` prints its URL. It answers whatever is posted with an empty JSON object, and
remembers the names of calls (``subject.CALL``) in each body; ``GET /seen`` lists them, ``GET /forget`` starts anew.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.calls import NAMED

_seen: set[str] = set()
_VERSION = b'{"min_required_weave_python_version": "0.0.0"}'
_WHO = json.dumps(
    {
        "data": {
            "viewer": {"username": "bench", "defaultEntity": {"name": "bench"}},
            "project": {"name": "bench"},
            "upsertModel": {"model": {"name": "bench", "description": ""}},
        }
    }
).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/forget":
            _seen.clear()
        self._answer(json.dumps(sorted(_seen)).encode() if self.path == "/seen" else _VERSION)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        coding = self.headers.get("content-encoding", "")
        if coding == "gzip":
            body = gzip.decompress(body)
        elif coding == "deflate":
            body = zlib.decompress(body)
        _seen.update(name.decode() for name in NAMED.findall(body))
        if self.path.endswith("/graphql"):  # Weave asks who it is, and for its project
            return self._answer(_WHO)
        # OTLP's answer is protobuf, and an empty one is a valid one.
        return self._answer(b"" if "protobuf" in self.headers.get("content-type", "") else b"{}")

    do_PUT = do_POST

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", self.headers.get("content-type") or "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
