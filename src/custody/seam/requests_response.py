"""Responses of requests: the tee around a live one's bytes, and a real one made of archived bytes.

A live body is a ``urllib3.HTTPResponse``. Its object is given a subclass that shows the bytes where they
come off the connection: ``_fp_read`` for a body with a length or up to the connection's end, ``_handle_chunk``
for one in chunks (both in urllib3 1.26 and 2). An archived one is written down as an HTTP message, which the
standard library and urllib3 read as if it came from a socket, so that every way of reading it behaves.
"""

from __future__ import annotations

import functools
import http.client
import io
import sys
from datetime import timedelta
from types import ModuleType
from typing import Any

from custody.errors import ReplayExhausted
from custody.exchange import Ack, Replay, ResponseHead, Turn
from custody.seam.wire import ending_of, left, settle

_FRAMING = ("transfer-encoding", "content-length")


def transport() -> str:
    """The library's name and version."""
    return f"requests {getattr(sys.modules.get('requests'), '__version__', '')}".strip()


def tee(raw: Any, turn: Turn) -> bool:
    """Show the bytes of a live response to the journal; False where it is not urllib3's."""
    urllib3: Any = sys.modules.get("urllib3")
    if urllib3 is None or type(raw) is not urllib3.HTTPResponse:
        return False
    raw._custody = turn
    raw.__class__ = _tee_class(urllib3.HTTPResponse)
    return True


def is_over(raw: Any) -> bool:
    """Whether there is no body to come: nothing would be read, and nothing would be told."""
    fp = getattr(raw, "_fp", None)
    return bool(getattr(fp, "closed", False)) or raw.length_remaining == 0


def _tee_class(base: Any) -> Any:
    made = _tee_classes.get(base)
    if made is None:
        made = _tee_classes[base] = _make_tee_class(base)
    return made


_tee_classes: dict[Any, Any] = {}


def _make_tee_class(base: Any) -> Any:
    class HTTPResponse(base):  # type: ignore[misc]
        """Hands raw bytes to the journal before the caller sees them."""

        _custody: Turn
        _watching = False

        def _fp_read(self, amt: int | None = None, *args: Any, **kwargs: Any) -> bytes:
            data: bytes = self._watched(super()._fp_read, amt, *args, **kwargs)
            if data:
                _wait(self._custody.chunk(data))
            if amt is None or (not data and amt != 0):
                missing = (self.length_remaining or 0) - len(data) > 0
                _wait(self._custody.end("broken" if missing else "complete"))
            return data

        def _handle_chunk(self, amt: int | None) -> bytes:
            data: bytes = self._watched(super()._handle_chunk, amt)
            _wait(self._custody.chunk(data))
            return data

        def _update_chunk_length(self) -> None:
            self._watched(super()._update_chunk_length)
            if self.chunk_left == 0:
                _wait(self._custody.end("complete"))

        def _watched(self, read: Any, *args: Any, **kwargs: Any) -> Any:
            self._watching = True
            try:
                return read(*args, **kwargs)
            except BaseException as error:
                settle(self._custody, ending_of(error, "broken"), error)
                raise
            finally:
                self._watching = False

        def close(self) -> None:
            try:
                super().close()
            finally:
                if not self._watching:  # else the library closes it because of an error, which comes next
                    self._custody.end(left())

    HTTPResponse.__module__, HTTPResponse.__qualname__ = base.__module__, base.__qualname__
    return HTTPResponse


def _wait(ack: Ack | None) -> None:
    if ack is not None:
        ack.wait()


def replayed(module: ModuleType, request: Any, replay: Replay, head: ResponseHead) -> Any:
    """A ``requests.Response`` over archived bytes."""
    method = request.method or "GET"
    source = http.client.HTTPResponse(_Socket(_message(replay, head), replay.exhausted), method=method)  # type: ignore[arg-type]
    source.begin()
    urllib3: Any = sys.modules["urllib3"]
    headers = urllib3._collections.HTTPHeaderDict(source.msg.items())
    raw = urllib3.HTTPResponse(
        body=source,
        headers=headers,
        status=source.status,
        version=source.version,
        reason=source.reason,
        preload_content=False,
        decode_content=False,
        original_response=source,
        request_method=method,
        request_url=request.url,
    )
    response = _adapter(module).build_response(request, raw)
    response.elapsed = timedelta(0)
    return response


@functools.lru_cache(maxsize=4)
def _adapter(module: ModuleType) -> Any:
    return module.HTTPAdapter()


def _message(replay: Replay, head: ResponseHead) -> bytes:
    """The archived response as it stands on an HTTP/1.1 connection."""
    # The body is stored without an encoding that was undone before custody saw it.
    undone = replay.decoded and head.header("content-encoding") is not None
    dropped = {"content-encoding", *_FRAMING} if undone else set()
    lines = [(k, v) for k, v in head.headers if k.lower() not in dropped]
    framing = {k.lower(): v.lower() for k, v in lines}
    chunked = "chunked" in framing.get("transfer-encoding", "")
    start = f"HTTP/1.1 {head.status} {head.reason}\r\n"
    text = start + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    body = b"".join(_chunk(data) for data in replay.chunks if data) if chunked else b"".join(replay.chunks)
    if chunked and replay.exhausted is None:
        body += b"0\r\n\r\n"
    return text.encode("latin-1", "replace") + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Socket:
    """What http.client reads a response from."""

    def __init__(self, message: bytes, exhausted: str | None) -> None:
        self._file = _File(message, exhausted)

    def makefile(self, mode: str, *args: Any) -> _File:
        return self._file


class _File(io.BytesIO):
    """The bytes; where the program once left the stream early, there is no end but a message."""

    def __init__(self, message: bytes, exhausted: str | None) -> None:
        super().__init__(message)
        self._exhausted = exhausted

    def read(self, size: int | None = -1, /) -> bytes:
        return self._checked(super().read(size), size)

    def read1(self, size: int | None = -1, /) -> bytes:
        return self._checked(super().read1(size), size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._checked(super().readline(size), size)

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        self._checked(bytes(count), len(buffer))
        return count

    def _checked(self, data: bytes, size: int | None) -> bytes:
        if not data and size != 0 and self._exhausted is not None:
            raise ReplayExhausted(self._exhausted)
        return data
