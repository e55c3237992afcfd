"""Wire seam for httpx and httpx2: one adapter, given the module.

The seam is ``Client.send`` and ``AsyncClient.send``: public, the same in both, above transports,
mounts and proxies, and one attempt at a time. The original is always called with ``stream=True``; a
tee hands the raw, still content-encoded bytes to the journal before the caller sees them, and the
body is read here if the caller wanted it whole.

On replay no client-level event hook fires, and redirects are those that were followed when recording.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

from custody.errors import CustodyError, ReplayExhausted
from custody.exchange import Ack, Asking, Headers, Replay, RequestHead, ResponseHead, Turn, WireHandler
from custody.seam.patching import Patches
from custody.seam.wire import CLAIM_PAUSE, afill, ending_of, fill, inside, left, ready, settle, text_of

MODULES = ("httpx", "httpx2")


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch both modules, each when it is imported."""
    for name in MODULES:
        patches.when_imported(name, functools.partial(_patch, patches, handler))


def _patch(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    streams = _streams(module)
    transport = f"{module.__name__} {getattr(module, '__version__', '')}".strip()
    patches.replace(module.Client, "send", functools.partial(_sync_send, handler, module, streams, transport))
    patches.replace(module.AsyncClient, "send", functools.partial(_async_send, handler, module, streams, transport))


def _sync_send(handler: WireHandler, module: ModuleType, streams: Any, transport: str, original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        if not handler.active or inside.get():
            return original(self, request, **kwargs)
        head = _head(request)
        claim = handler.claim(head, self)
        turn = handler.begin(head, claim, request.read(), transport, self) if claim is not None else None
        if turn is None:
            _filled(request, fill(head.headers))
            return original(self, request, **kwargs)
        try:
            while not turn.ready():
                time.sleep(CLAIM_PAUSE)
            if turn.replay is None:
                filled = _filled(request, fill(head.headers))
                if turn.reconciling is not None and _asked(original, self, request, turn.reconciling):
                    ack = turn.take_in(filled)
                    if ack is not None:
                        ack.wait()
                else:
                    turn.sending(filled)
        except BaseException:
            turn.abandon()
            raise
        taken = turn.replay is not None
        if turn.replay is not None:
            response = _replayed(module, streams, request, turn.replay)
        else:
            token = inside.set(True)
            try:
                response = original(self, request, **{**kwargs, "stream": True})
            except BaseException as error:
                settle(turn, ending_of(error, "no_response"), error)
                raise
            finally:
                inside.reset(token)
            ack = _attach(turn, response, streams.sync, streamed=bool(kwargs.get("stream")))
            if ack is not None:
                ack.wait()
        if not kwargs.get("stream"):
            try:
                response.read()
                if not taken and turn.replay is not None:
                    # It came late, and another worker has sent the call meanwhile: its answer is the answer.
                    response = _replayed(module, streams, request, turn.replay)
                    response.read()
            except BaseException:
                response.close()
                raise
        return response

    return send


def _async_send(handler: WireHandler, module: ModuleType, streams: Any, transport: str, original: Any) -> Any:
    @functools.wraps(original)
    async def send(self: Any, request: Any, **kwargs: Any) -> Any:
        if not handler.active or inside.get():
            return await original(self, request, **kwargs)
        head = _head(request)
        claim = handler.claim(head, self)
        turn = handler.begin(head, claim, await request.aread(), transport, self) if claim is not None else None
        if turn is None:
            _filled(request, await afill(head.headers))
            return await original(self, request, **kwargs)
        try:
            await ready(turn)
            if turn.replay is None:
                filled = _filled(request, await afill(head.headers))
                if turn.reconciling is not None and await _async_asked(original, self, request, turn.reconciling):
                    ack = turn.take_in(filled)
                    if ack is not None:
                        await ack.awaited()
                else:
                    turn.sending(filled)
        except BaseException:
            turn.abandon()
            raise
        taken = turn.replay is not None
        if turn.replay is not None:
            response = _replayed(module, streams, request, turn.replay)
        else:
            token = inside.set(True)
            try:
                response = await original(self, request, **{**kwargs, "stream": True})
            except BaseException as error:
                settle(turn, ending_of(error, "no_response"), error)
                raise
            finally:
                inside.reset(token)
            ack = _attach(turn, response, streams.asynchronous, streamed=bool(kwargs.get("stream")))
            if ack is not None:
                await ack.awaited()
        if not kwargs.get("stream"):
            try:
                await response.aread()
                if not taken and turn.replay is not None:
                    # It came late, and another worker has sent the call meanwhile: its answer is the answer.
                    response = _replayed(module, streams, request, turn.replay)
                    await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    return send


def _asked(original: Any, client: Any, request: Any, asking: Asking) -> bool:
    """Ask the vendor what is to be asked; whether the call's answer was there."""
    url = asking.begin()
    while url is not None:
        token = inside.set(True)
        try:
            got = original(client, _question(client, request, url))
        except Exception as error:
            asking.failed(error)
            return False
        finally:
            inside.reset(token)
        url = asking.answered(got.status_code, _pairs(got.headers), got.content)
    return asking.found is not None


async def _async_asked(original: Any, client: Any, request: Any, asking: Asking) -> bool:
    url = asking.begin()
    while url is not None:
        token = inside.set(True)
        try:
            got = await original(client, _question(client, request, url))
        except Exception as error:
            asking.failed(error)
            return False
        finally:
            inside.reset(token)
        url = asking.answered(got.status_code, _pairs(got.headers), got.content)
    return asking.found is not None


_OF_A_BODY = frozenset(("content-length", "content-type", "transfer-encoding", "host", "idempotency-key"))


def _question(client: Any, request: Any, url: str) -> Any:
    headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1").lower() not in _OF_A_BODY]
    return client.build_request("GET", url, headers=headers)


def _attach(turn: Turn, response: Any, tee: Any, *, streamed: bool) -> Ack | None:
    """Put the tee around the response's bytes. A response that is read already is recorded at once."""
    head = ResponseHead(response.status_code, response.reason_phrase, response.http_version, _pairs(response.headers))
    if not hasattr(response, "_content"):
        turn.head(head, streamed=streamed)
        response.stream = tee(response.stream, turn)
        return None
    # A mock transport gave the whole body, or an event hook read it: its raw bytes are gone by then.
    turn.head(head, streamed=False, decoded=True)
    return turn.chunk(response.content) or turn.end("complete")


def _replayed(module: ModuleType, streams: Any, request: Any, replay: Replay) -> Any:
    if replay.head is None:  # no response then either
        raise _transport_error(module, replay.error)(
            f"replayed: call {replay.call_id} got no response", request=request
        )
    # The body is stored without an encoding that was undone before custody saw it.
    encoded = replay.decoded and replay.head.header("content-encoding") is not None
    dropped = {"content-encoding", "content-length"} if encoded else set()
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in replay.head.headers if k.lower() not in dropped]
    return module.Response(
        replay.head.status,
        headers=headers,
        stream=streams.replay(replay),
        request=request,
        extensions={
            "http_version": replay.head.http_version.encode("ascii", "replace"),
            "reason_phrase": replay.head.reason.encode("ascii", "replace"),
        },
    )


def _transport_error(module: ModuleType, name: str | None) -> Any:
    kind = getattr(module, name or "", None)
    known = isinstance(kind, type) and issubclass(kind, module.TransportError)
    return kind if known else module.ConnectError


@functools.lru_cache(maxsize=4)
def _streams(module: ModuleType) -> Any:
    """The stream classes of one module, made once: they must be instances of its own base classes."""

    class SyncTee(module.SyncByteStream):  # type: ignore[misc, name-defined]
        """Hands raw bytes to the journal before the caller sees them."""

        def __init__(self, inner: Any, turn: Turn) -> None:
            self._inner, self._turn = inner, turn

        @property
        def elapsed(self) -> timedelta | None:
            return getattr(self._inner, "elapsed", None)

        def __iter__(self) -> Iterator[bytes]:
            try:
                for data in self._inner:
                    ack = self._turn.chunk(data)
                    if ack is not None:
                        ack.wait()
                    yield data
            except GeneratorExit:
                self._turn.end(left())
                raise
            except CustodyError:
                raise
            except BaseException as error:
                settle(self._turn, ending_of(error, "broken"), error)
                raise
            ack = self._turn.end("complete")
            if ack is not None:
                ack.wait()

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._turn.end(left())

        def __del__(self) -> None:
            self._turn.end(left())  # dropped unread: nobody shall wait for it

    class AsyncTee(module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """The same for coroutines."""

        def __init__(self, inner: Any, turn: Turn) -> None:
            self._inner, self._turn = inner, turn

        @property
        def elapsed(self) -> timedelta | None:
            return getattr(self._inner, "elapsed", None)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            inner = self._inner.__aiter__()
            try:
                async for data in inner:
                    ack = self._turn.chunk(data)
                    if ack is not None:
                        await ack.awaited()
                    yield data
            except GeneratorExit:
                self._turn.end(left())
                raise
            except CustodyError:
                raise
            except BaseException as error:
                settle(self._turn, ending_of(error, "broken"), error)
                raise
            finally:
                if hasattr(inner, "aclose"):
                    await inner.aclose()
            ack = self._turn.end("complete")
            if ack is not None:
                await ack.awaited()

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._turn.end(left())

        def __del__(self) -> None:
            self._turn.end(left())

    class ReplayStream(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """Archived bytes in the chunks in which they came."""

        elapsed = timedelta(0)

        def __init__(self, replay: Replay) -> None:
            self._replay = replay

        def __iter__(self) -> Iterator[bytes]:
            yield from self._replay.chunks
            self._check_end()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for data in self._replay.chunks:
                yield data
            self._check_end()

        def close(self) -> None:
            """Nothing is held."""

        async def aclose(self) -> None:
            """Nothing is held."""

        def _check_end(self) -> None:
            if self._replay.exhausted is not None:
                raise ReplayExhausted(self._replay.exhausted)

    return _Streams(SyncTee, AsyncTee, ReplayStream)


class _Streams:
    def __init__(self, sync: type, asynchronous: type, replay: type) -> None:
        self.sync, self.asynchronous, self.replay = sync, asynchronous, replay


def _filled(request: Any, headers: Headers | None) -> Headers | None:
    """Put deferred credentials into the request."""
    if headers is not None:
        request.headers = type(request.headers)([(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers])
    return headers


def _head(request: Any) -> RequestHead:
    return RequestHead(request.method, str(request.url), _pairs(request.headers))


def _pairs(headers: Any) -> Headers:
    return text_of(headers.raw)
