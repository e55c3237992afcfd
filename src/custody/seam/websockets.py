"""Wire seam for websockets (13 and later): conversations are recorded frame by frame, and never replayed.

A connection is one exchange: the handshake is its request and its response head, every frame that
follows is a chunk (``framed``), in either direction, in the order in which the library handled them.
Frames are seen at ``Protocol``, the library's core without I/O, above compression and below its blocking
and asyncio connections alike (``websocket_frames``).

A frame is in the journal before the program gets it, as the chunks of a stream are; what has arrived
survives the death of the process. The end of the connection waits until all of it is durable: neither
``close()`` returns nor ``recv()`` raises before. No frame waits for the disk.

Frames depend on what both sides said and when, so there is nothing to replay: a strict session refuses
to connect, before the network is touched, and any other connects anew.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from custody.errors import ReplayMiss
from custody.exchange import RequestHead, Turn, WireHandler
from custody.seam.patching import Patches
from custody.seam.websocket_frames import Recorder, ending_callback, ending_thread, pairs, seen
from custody.seam.wire import CLAIM_PAUSE, ending_of, inside, ready, settle


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch each module when it is imported."""
    patches.when_imported("websockets.protocol", functools.partial(_patch_protocol, patches))
    patches.when_imported("websockets.sync.client", functools.partial(_patch_sync, patches, handler))
    patches.when_imported("websockets.asyncio.client", functools.partial(_patch_asyncio, patches, handler))


def _patch_protocol(patches: Patches, module: ModuleType) -> None:
    for name, direction in (("send_frame", "sent"), ("recv_frame", "received")):
        patches.replace(module.Protocol, name, functools.partial(seen, direction))


def _patch_sync(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    if hasattr(module, "reconnect"):  # 17 and later
        patches.replace(module.reconnect, "connect", functools.partial(_sync_connect, handler))
    else:
        patches.replace(module, "connect", functools.partial(_sync_connect, handler))
    patches.replace(module.ClientConnection, "handshake", functools.partial(_sync_handshake, handler))
    patches.replace(module.ClientConnection, "recv_events", ending_thread)


def _patch_asyncio(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    patches.replace(module.connect, "__await__", functools.partial(_async_connect, handler))
    patches.replace(module.ClientConnection, "handshake", functools.partial(_async_handshake, handler))
    base = next(c for c in module.ClientConnection.__mro__ if "connection_lost" in vars(c))
    patches.replace(base, "connection_lost", ending_callback)


# -- opening ------------------------------------------------------------------------------------------


class _Opening:
    """A connection that is being opened: its turn until the handshake takes it.

    The turn is begun before the network is touched, so that a refusal costs nothing.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn: Turn | None = turn

    def take(self) -> Turn | None:
        """The turn, once: after a redirect the next handshake is another exchange."""
        turn, self._turn = self._turn, None
        return turn

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Settles the turn of a connection that does not come to its handshake."""
        opening, nested = _opening.set(self), inside.set(True)
        try:
            yield
        except BaseException as error:
            turn = self.take()
            if turn is not None:
                settle(turn, ending_of(error, "no_response"), error)
            raise
        finally:
            inside.reset(nested)
            _opening.reset(opening)


_opening: ContextVar[_Opening | None] = ContextVar("custody_websocket_opening", default=None)


def _begin(handler: WireHandler, uri: str, headers: Any) -> Turn | None:
    # Only the headers that the program gave: the handshake's own differ every time.
    head = RequestHead("GET", uri, pairs(headers))
    claim = handler.claim(head, None)
    return handler.begin(head, claim, b"", _transport(), None) if claim is not None else None


def _sync_begin(handler: WireHandler, uri: str, headers: Any) -> Turn | None:
    turn = _begin(handler, uri, headers)
    if turn is not None:
        with _abandoning(turn):
            while not turn.ready():
                time.sleep(CLAIM_PAUSE)
            _send(turn, uri)
    return turn


async def _async_begin(handler: WireHandler, uri: str, headers: Any) -> Turn | None:
    turn = _begin(handler, uri, headers)
    if turn is not None:
        with _abandoning(turn):
            await ready(turn)
            _send(turn, uri)
    return turn


@contextlib.contextmanager
def _abandoning(turn: Turn) -> Iterator[None]:
    try:
        yield
    except BaseException:
        turn.abandon()
        raise


def _send(turn: Turn, uri: str) -> None:
    if turn.replay is not None:
        raise ReplayMiss(f"strict: a conversation is not replayed, and nothing is sent: {uri.partition('?')[0]}")
    turn.sending()


def _sync_connect(handler: WireHandler, original: Any) -> Any:
    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        uri, headers = _asked(args, kwargs)
        turn = _sync_begin(handler, uri, headers) if handler.active and not inside.get() else None
        if turn is None:
            return original(*args, **kwargs)
        with _Opening(turn).guarded():
            return original(*args, **kwargs)

    return connect


def _async_connect(handler: WireHandler, original: Any) -> Any:
    @functools.wraps(original)
    def __await__(self: Any) -> Any:  # noqa: N807
        if not handler.active or inside.get():
            return original(self)
        return _async_opened(handler, self, original).__await__()

    return __await__


async def _async_opened(handler: WireHandler, connecting: Any, original: Any) -> Any:
    given = connecting.__dict__  # 13 keeps the headers among the handshake's arguments
    headers = given["additional_headers"] if "additional_headers" in given else connecting.handshake_args[0]
    turn = await _async_begin(handler, connecting.uri, headers)
    if turn is None:
        return await _Awaitable(original, connecting)
    with _Opening(turn).guarded():
        return await _Awaitable(original, connecting)


class _Awaitable:
    """``original(self)`` is an iterator, which ``await`` does not take."""

    def __init__(self, original: Any, connecting: Any) -> None:
        self._original, self._connecting = original, connecting

    def __await__(self) -> Any:
        return self._original(self._connecting)


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
    """URI and headers, of ``connect(uri, additional_headers=...)`` or ``reconnect.connect(self)``."""
    if args and not isinstance(args[0], str):
        return args[0].uri, args[0].additional_headers
    return str(args[0] if args else kwargs.get("uri", "")), kwargs.get("additional_headers")


# -- the handshake ------------------------------------------------------------------------------------


def _sync_handshake(handler: WireHandler, original: Any) -> Any:
    @functools.wraps(original)
    def handshake(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _taken()
        if turn is None and _unseen(handler):
            turn = _sync_begin(handler, _uri(self), _headers(args, kwargs))
        if turn is None:
            return original(self, *args, **kwargs)
        recorder = Recorder(turn, self)
        try:
            original(self, *args, **kwargs)
        except BaseException as error:
            ack = recorder.refused(self.response, error)
            if ack is not None:
                ack.wait()
            raise
        recorder.opened(self.response)
        return None

    return handshake


def _async_handshake(handler: WireHandler, original: Any) -> Any:
    @functools.wraps(original)
    async def handshake(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _taken()
        if turn is None and _unseen(handler):
            turn = await _async_begin(handler, _uri(self), _headers(args, kwargs))
        if turn is None:
            return await original(self, *args, **kwargs)
        recorder = Recorder(turn, self)
        try:
            await original(self, *args, **kwargs)
        except BaseException as error:
            ack = recorder.refused(self.response, error)
            if ack is not None:
                await ack.awaited()
            raise
        recorder.opened(self.response)
        return None

    return handshake


def _taken() -> Turn | None:
    opening = _opening.get()
    return opening.take() if opening is not None else None


def _unseen(handler: WireHandler) -> bool:
    """Whether this handshake was not announced: ``connect`` was imported before it was patched, or a redirect."""
    return handler.active and (_opening.get() is not None or not inside.get())


def _headers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("additional_headers")


def _uri(connection: Any) -> str:
    uri = getattr(connection.protocol, "uri", None) or connection.protocol.wsuri
    scheme = "wss" if uri.secure else "ws"
    usual = uri.port == (443 if uri.secure else 80)
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return f"{scheme}://{host}{'' if usual else f':{uri.port}'}{uri.resource_name}"


@functools.lru_cache(maxsize=1)
def _transport() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"websockets {version('websockets')}"
    except PackageNotFoundError:
        return "websockets"
