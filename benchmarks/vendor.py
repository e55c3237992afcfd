"""The vendor that is measured against: the simulator's answers, each made once and then served at once.

``python -m benchmarks.vendor [--latency SECONDS]`` prints its URL and serves until its stdin ends. An answer
costs this process some 50 microseconds where the simulator needs a thread and half a millisecond, which
would hide the clients' own costs at 64 in flight. The bytes are the simulator's, headers included.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import re
import sys
from typing import ClassVar

from benchmarks import text
from custody.testing.simulator import Simulator

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_LONG = re.compile(rb'"model": ?"gpt-4o-long"')


class Answers:
    """Asks the simulator once for each kind of answer."""

    def __init__(self, simulator: Simulator) -> None:
        self._port = simulator.port
        self._known: dict[tuple[bytes, bool], list[bytes]] = {}
        self._long = text.Writer(seed=7)

    def of(self, path: bytes, head: bytes, body: bytes) -> list[bytes]:
        """The pieces of a raw HTTP response; each is written by itself."""
        key = path, _STREAM.search(body) is not None
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._ask(path, head, body)
        if _LONG.search(body):  # an answer of 3 KB, another one each time
            return [self._with_text(known[0])]
        return known

    def _ask(self, path: bytes, head: bytes, body: bytes) -> list[bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        connection.request("POST", path.decode(), body.replace(b"gpt-4o-long", b"gpt-4o"), {
            name: value for name, value in headers.items() if name.lower() != "content-length"
        })  # fmt: skip
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = "\r\n".join(f"{name}: {value}" for name, value in answer.getheaders())
        start = f"HTTP/1.1 {answer.status} {answer.reason}\r\n{kept}\r\n\r\n".encode("latin-1")
        if not key_is_stream(answer):
            return [start + content]
        events = [event + b"\n\n" for event in content.split(b"\n\n") if event]
        pieces = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
        return [start, *pieces[:-1], pieces[-1] + b"0\r\n\r\n"]

    def _with_text(self, answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        words = self._long.text(3000).encode().replace(b"\\", b"").replace(b'"', b"'").replace(b"\n", b"\\n")
        body = re.sub(rb'"content": ?"(?:[^"\\]|\\.)*"', lambda _: b'"content":"' + words + b'"', body, count=1)
        return _LENGTH.sub(b"content-length: %d" % len(body), head) + b"\r\n\r\n" + body


def key_is_stream(answer: http.client.HTTPResponse) -> bool:
    return (answer.getheader("content-type") or "").startswith("text/event-stream")


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, as SDKs send them."""

    answers: ClassVar[Answers]
    latency: ClassVar[float] = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._data, self._wanted = transport, bytearray(), 0

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= self._wanted:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._data[:end])
            length = _LENGTH.search(head)
            self._wanted = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < self._wanted:
                return
            body = bytes(self._data[end + 4 : self._wanted])
            del self._data[: self._wanted]
            self._wanted = 0
            pieces = self.answers.of(head.split(b" ", 2)[1], head, body)
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self._write, pieces)
            else:
                self._write(pieces)

    def _write(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._transport.write(piece)


async def _serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    with Simulator(seed=1) as simulator:
        Connection.answers, Connection.latency = Answers(simulator), latency
        server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=512)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vendor")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    asyncio.run(_serve(parser.parse_args().latency))


if __name__ == "__main__":
    main()
