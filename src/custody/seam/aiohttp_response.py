"""Responses for aiohttp's wire seam: the tee before a live one's bytes, and aiohttp's own class made of the archive.

aiohttp's ``StreamReader`` waits for data in one place, ``_wait``. Both readers here are aiohttp's with another
``_wait``, so lines, chunks, limits and iterators are aiohttp's own.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
from collections import deque
from types import ModuleType, SimpleNamespace
from typing import Any

from custody import encoding
from custody.errors import CustodyError, ReplayExhausted
from custody.exchange import Ack, Replay, RequestHead, ResponseHead, Turn
from custody.seam.wire import ending_of, left, settle

_LIMIT = 2**16  # bytes; what aiohttp's own sessions begin with


def multidict() -> Any:
    """aiohttp's own dependency, which is there when a request comes."""
    return importlib.import_module("multidict")


def replayed(module: ModuleType, session: Any, url: Any, request: RequestHead, replay: Replay, *, decodes: bool) -> Any:
    """aiohttp's own response, made of the archive. Raises aiohttp's error where there was none."""
    if replay.head is None:
        raise _connection_error(module, url, replay.error)
    kinds = multidict()
    head = replay.head
    loop = asyncio.get_running_loop()
    sent: Any = kinds.CIMultiDictProxy(kinds.CIMultiDict(request.headers))
    given = {
        "writer": None,
        "continue100": None,
        "timer": module.helpers.TimerNoop(),
        "request_info": module.RequestInfo(url, request.method, sent, url),
        "traces": [],
        "loop": loop,
        "session": session,
        "stream_writer": SimpleNamespace(output_size=0),
    }
    kind = session._response_class
    known = inspect.signature(kind.__init__).parameters  # they differ between aiohttp's versions
    response = kind(request.method, url, **{k: v for k, v in given.items() if k in known})
    raw = tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in head.headers)
    major, _, minor = head.http_version.rpartition("/")[2].partition(".")
    response.version = module.HttpVersion(int(major or 1), int(minor or 1))
    response.status, response.reason = head.status, head.reason
    names = _names(module)
    text = ((names.get(k.decode().lower(), k.decode()), v.decode("utf-8", "surrogateescape")) for k, v in raw)
    response._headers = kinds.CIMultiDictProxy(kinds.CIMultiDict(text))
    response._raw_headers = raw
    response.content = readers(module).archived(replay, decodes=decodes)
    response._closed = False
    response.content.on_eof(response._response_eof)
    return response


@functools.lru_cache(maxsize=1)
def _names(module: ModuleType) -> dict[str, str]:
    """Names of headers as aiohttp's parser in C writes them; the one in Python leaves them as they came."""
    parsers: Any = module.http_parser
    if parsers.HttpResponseParser is parsers.HttpResponseParserPy:
        return {}
    return {
        name.lower(): name for name in vars(module.hdrs).values() if isinstance(name, str) and type(name) is not str
    }


def _connection_error(module: ModuleType, url: Any, name: str | None) -> Any:
    """The error of the class that was raised where there was no response."""
    said = "replayed: the call got no response"
    kind: Any = getattr(module, name or "", None)
    if not (isinstance(kind, type) and issubclass(kind, module.ClientError)):
        return TimeoutError(said) if name == "TimeoutError" else module.ClientConnectionError(said)
    if issubclass(kind, module.ClientConnectorError):
        fields = {"host": url.host, "port": url.port, "is_ssl": url.scheme == "https", "ssl": True}
        key = SimpleNamespace(**fields, proxy=None, proxy_auth=None, proxy_headers_hash=None)
        try:
            return kind(key, OSError(None, said))
        except TypeError:
            return module.ClientConnectionError(said)
    try:
        return kind(said)
    except TypeError:
        return module.ClientConnectionError(said)


@functools.lru_cache(maxsize=1)
def readers(module: ModuleType) -> Any:
    """The reader classes, made once: they must be instances of aiohttp's own."""

    class Tee(module.StreamReader):  # type: ignore[misc, name-defined]
        """Takes what has arrived from aiohttp's reader, and gives it on when it is in the journal."""

        def __init__(self, inner: Any, turn: Turn, head: ResponseHead) -> None:
            super().__init__(_Protocol(), _LIMIT, loop=asyncio.get_running_loop())
            self._inner, self._turn = inner, turn
            self._held: deque[tuple[bytes, bool]] = deque()  # journalled, and not given on yet
            self._ack: Ack | None = None
            self._taken = self._ended = False
            self._low_water, self._high_water = inner._low_water, inner._high_water
            self._chunked = _chunked(head)
            if self._chunked:
                self.begin_http_chunk_receiving()

        async def _wait(self, func_name: str) -> None:
            if self._taken:
                raise RuntimeError(f"{func_name}() called while another coroutine is already waiting for incoming data")
            self._taken = True
            try:
                # A cancelled read loses nothing: the next one goes on where it stopped.
                if not self._held and not self._ended:
                    await self._take()
                if self._ack is not None:
                    await self._ack.awaited()
                    self._ack = None
                self._give()
            finally:
                self._taken = False

        async def _take(self) -> None:
            """At least one piece of what the connection has brought, and all that is there already."""
            try:
                while not self._ended and self._ack is None:
                    data, end_of_chunk = await self._inner.readchunk()
                    if not data and not end_of_chunk:
                        self._ended = True
                        self._ack = self._turn.end("complete")
                        return
                    if data:
                        self._ack = self._turn.chunk(data)
                    self._held.append((data, end_of_chunk))
                    if not self._inner._buffer:
                        return
            except (asyncio.CancelledError, CustodyError):
                raise
            except BaseException as error:
                settle(self._turn, ending_of(error, "broken"), error)
                raise

        def _give(self) -> None:
            while self._held:
                data, end_of_chunk = self._held.popleft()
                self.feed_data(data)
                if end_of_chunk and self._chunked:
                    self.end_http_chunk_receiving()
            if self._ended and not self._eof:
                self.feed_eof()

        async def wait_eof(self) -> None:
            await self._inner.wait_eof()

        def exception(self) -> BaseException | None:
            return self._exception or self._inner.exception()  # type: ignore[no-any-return]

        def set_exception(self, *error: Any) -> None:
            """The response is closed or released: nothing more will be read."""
            self._finish()
            super().set_exception(*error)
            self._inner.set_exception(*error)

        def _finish(self) -> None:
            """What has arrived in full is complete, though nobody has read it: the body of an error, mostly."""
            inner = self._inner
            ack: Any = None
            if inner.is_eof() and inner.exception() is None and not self._taken:
                rest = inner.read_nowait()
                ack = (self._turn.chunk(rest) if rest else None) or self._turn.end("complete")
            else:
                self._turn.end(left())
            if ack is not None:
                ack.unattended()  # the program goes on

        def __del__(self) -> None:
            self._finish()  # dropped unread: nobody shall wait for it

    class Archived(module.StreamReader):  # type: ignore[misc, name-defined]
        """Archived bytes in the chunks in which they came."""

        def __init__(self, replay: Replay, *, decodes: bool) -> None:
            super().__init__(_Protocol(), _LIMIT, loop=asyncio.get_running_loop())
            self._replay, self._left = replay, deque(replay.chunks)
            assert replay.head is not None
            coded = decodes and not replay.decoded and replay.head.header("content-encoding")
            self._decode = (encoding.decoder(coded) if coded else None) or bytes
            self._chunked = _chunked(replay.head)
            if not self._left and replay.exhausted is None:
                self.feed_eof()

        async def _wait(self, func_name: str) -> None:
            await asyncio.sleep(0)
            if self._left:
                if self._chunked:
                    self.begin_http_chunk_receiving()
                self.feed_data(self._decode(self._left.popleft()))
                if self._chunked:
                    self.end_http_chunk_receiving()
            elif self._replay.exhausted is not None:
                raise ReplayExhausted(self._replay.exhausted)
            else:
                self.feed_eof()

    return SimpleNamespace(tee=Tee, archived=Archived)


def _chunked(head: ResponseHead) -> bool:
    return "chunked" in (head.header("transfer-encoding") or "").lower()


class _Protocol:
    """The connection that a reader holds back when its buffer is full; here it is another reader."""

    connected = True
    _reading_paused = False

    def pause_reading(self, *_: Any, **__: Any) -> None:
        """The inner reader does that."""

    def resume_reading(self, *_: Any, **__: Any) -> None:
        """The inner reader does that."""
