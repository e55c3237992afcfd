"""The pretended vendor: answers every request with its own text and a serial that never repeats."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2

_serials = itertools.count(1)


class EchoTransport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """In-process. ``failures`` are statuses to answer with first, for tests of retries.

    Attributes:
        requests: bodies of all requests, in order.
    """

    def __init__(self, failures: tuple[int, ...] = ()) -> None:
        self.requests: list[dict[str, Any]] = []
        self._failures = list(failures)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request.read())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(await request.aread())

    def _answer(self, content: bytes) -> httpx2.Response:
        body = json.loads(content)
        self.requests.append(body)
        headers = {"x-request-id": f"echo-{len(self.requests)}", "date": f"{datetime.now(UTC):%a, %d %b %Y %T GMT}"}
        if self._failures:
            status = self._failures.pop(0)
            return httpx2.Response(status, headers=headers, stream=_Bytes([b'{"error":"busy"}']))
        serial = next(_serials)
        if body.get("stream"):
            words = [f"data: {word}\n\n".encode() for word in (*body["text"].split(), str(serial))]
            headers["content-type"] = "text/event-stream"
            return httpx2.Response(200, headers=headers, stream=_Bytes([*words, b"event: end\ndata: {}\n\n"]))
        answer = {
            "model": f"{body['model']}-2026-01-15",
            "text": body["text"],
            "serial": serial,
            "usage": {"words": len(body["text"].split())},
        }
        headers["content-type"] = "application/json"
        return httpx2.Response(200, headers=headers, stream=_Bytes([json.dumps(answer).encode()]))


class _Bytes(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""
