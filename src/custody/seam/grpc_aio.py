"""Wire seam for gRPC's API for asyncio: ``UnaryUnaryCall`` and ``UnaryStreamCall`` of ``grpc.aio._call``.

These are the library's own call objects, beneath every interceptor. They get their bytes from one object
of the compiled core; here it is wrapped (or, on a hit, replaced by the archive), so that everything
above it is the library itself, and the bytes are those of the wire.
"""

from __future__ import annotations

import collections
import functools
import inspect
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from custody.errors import ReplayExhausted
from custody.exchange import Ack, Ending, Headers, Replay, RequestHead, Turn, WireHandler
from custody.seam import grpc_frames, grpc_turn
from custody.seam.grpc_frames import Status
from custody.seam.grpc_turn import exhausted, initial_metadata, named, replayed_status
from custody.seam.patching import Patches
from custody.seam.wire import afill, ending_of, inside, left, ready, settle


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch the call objects when they are imported."""
    patches.when_imported("grpc.aio._call", functools.partial(_patch, patches, handler))


def _patch(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    with grpc_turn.reported():
        _patch_known(patches, handler, module)


def _patch_known(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    for name in ("UnaryUnaryCall", "UnaryStreamCall"):
        patches.replace(getattr(module, name), "__init__", functools.partial(_wrap_init, handler, module))
    if not hasattr(module.cygrpc.AioChannel, "target"):
        patches.when_imported("grpc.aio._channel", functools.partial(_patch_channel, patches))


def _patch_channel(patches: Patches, module: ModuleType) -> None:
    patches.replace(module.Channel, "__init__", _remember_target)


_targets: dict[int, str] = {}  # by the id of the core's channel, where that does not say it (grpcio 1.80 and before)


def _remember_target(original: Any) -> Any:
    @functools.wraps(original)
    def init(self: Any, target: str, *args: Any, **kwargs: Any) -> None:
        original(self, target, *args, **kwargs)
        _targets[id(self._channel)] = target
        weakref.finalize(self, _targets.pop, id(self._channel), None)

    return init


def _target(channel: Any) -> str:
    """Where a channel leads; an old one that was made before the patch cannot tell."""
    return _text(getattr(channel, "target", None) or _targets.get(id(channel), "unknown"))


def _wrap_init(handler: WireHandler, module: ModuleType, original: Any) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(*args: Any, **kwargs: Any) -> None:
        if handler.active and not inside.get():
            bound = signature.bind(*args, **kwargs).arguments
            channel, method = bound["channel"], bound["method"]
            head = grpc_frames.request_head(_target(channel), _text(method), bound["metadata"])
            claim = handler.claim(head, channel)
            if claim is not None:
                begin = functools.partial(handler.begin, head, claim, transport=grpc_turn.transport(), client=channel)
                bound["channel"] = _Channel(channel, functools.partial(_Call, module, head, begin))
                bound["request_serializer"] = functools.partial(
                    grpc_frames.serialised, serializer=bound["request_serializer"]
                )
                original(**bound)
                return
        original(*args, **kwargs)

    return init


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class _Channel:
    """A channel of the core for one call."""

    def __init__(self, inner: Any, wrap: Callable[[Any], Any]) -> None:
        self._inner, self._wrap = inner, wrap

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._wrap(self._inner.call(*args, **kwargs))


class _Call:
    """The core's call object: the real one, or the archive's once it is known to have the answer."""

    def __init__(self, module: ModuleType, head: RequestHead, begin: Callable[..., Turn | None], inner: Any) -> None:
        self._module, self._head, self._begin, self._inner = module, head, begin, inner
        self._callbacks: list[Any] = []
        self._turn: Turn | None = None
        self._acks: list[Ack] = []
        self._headed = self._failure_told = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_inner"], name)

    def __repr__(self) -> str:
        return repr(self._inner)

    def add_done_callback(self, callback: Any) -> None:
        self._callbacks.append(callback)
        self._inner.add_done_callback(callback)

    def cancel(self, details: str) -> Any:
        if self._turn is not None:
            self._turn.end(left() if self._headed else "cancelled")
        return self._inner.cancel(details)

    async def _start(self, request: bytes) -> Headers | None:
        """Wait for the turn; the deferred credentials where it is to be sent.

        Only here the call gets its number, because one that is cancelled at once is never made.
        """
        turn = self._begin(request) if request is not None else None
        if turn is None:
            return await afill(self._head.headers)
        headers = None
        try:
            await ready(turn)
            if turn.replay is None:
                headers = await afill(self._head.headers)
                turn.sending(headers)
        except BaseException:
            turn.abandon()
            raise
        if turn.replay is None:
            self._turn = turn
        else:
            self._inner = _Replayed(self._module, turn.replay)
            for callback in self._callbacks:
                self._inner.add_done_callback(callback)
        return headers

    async def _send(self, name: str, request: bytes, metadata: Any, context: tuple[Any, ...]) -> Any:
        headers = await self._start(request)
        if headers is not None:  # the first is the content type, which the core sets itself
            metadata = grpc_frames.metadata_of(headers[1:])
        token = inside.set(True)
        try:
            return await getattr(self._inner, name)(request, metadata, *context)
        except BaseException as error:
            if self._turn is not None:
                settle(self._turn, ending_of(error, "no_response"), error)
            raise
        finally:
            inside.reset(token)

    async def unary_unary(self, request: bytes, metadata: Any, *context: Any) -> Any:
        data = await self._send("unary_unary", request, metadata, context)
        turn = self._turn
        if turn is not None:
            status = _status(await self._inner.status())
            if status.code == "OK":
                turn.head(grpc_frames.response_head("OK", await self._inner.initial_metadata()), streamed=False)
                self._end(turn, "complete", grpc_frames.frame(data), grpc_frames.trailers(status))
            else:
                self._failed(turn, status, streamed=False)
            await self._durable()
        return data

    async def initiate_unary_stream(self, request: bytes, metadata: Any, *context: Any) -> None:
        await self._send("initiate_unary_stream", request, metadata, context)
        if self._turn is not None:
            # The library may raise a failure before anybody has asked for a message.
            self._inner.add_done_callback(functools.partial(self._over, self._turn))

    def _over(self, turn: Turn) -> None:
        status = _status(self._inner._status)
        if status.code != "OK":
            self._failed(turn, status, streamed=True)

    async def receive_serialized_message(self) -> Any:
        turn = self._turn
        if turn is None:
            return await self._inner.receive_serialized_message()
        try:
            data = await self._inner.receive_serialized_message()
        except BaseException as error:
            settle(turn, ending_of(error, "broken" if self._headed else "no_response"), error)
            raise
        if data is not self._module.cygrpc.EOF:
            await self._open(turn)
            await _wait(turn.chunk(grpc_frames.frame(data)))
            return data
        status = _status(await self._inner.status())
        if status.code == "OK":
            await self._open(turn)
            self._end(turn, "complete", grpc_frames.trailers(status))
        else:
            self._failed(turn, status, streamed=True)
        await self._durable()
        return data

    async def _open(self, turn: Turn) -> None:
        if not self._headed:
            self._headed = True
            turn.head(grpc_frames.response_head("OK", await self._inner.initial_metadata()), streamed=True)

    def _failed(self, turn: Turn, status: Status, *, streamed: bool) -> None:
        if self._failure_told:
            return
        self._failure_told = True
        if not status.answered:
            ending: Ending = "cancelled" if status.code == "CANCELLED" else "no_response"
            settle(turn, "broken" if self._headed and ending == "no_response" else ending, named(status.code))
            return
        if not self._headed:
            turn.head(grpc_frames.response_head(status.code, self._inner._initial_metadata), streamed=streamed)
        self._end(turn, "broken" if self._headed else "complete", grpc_frames.trailers(status))

    def _end(self, turn: Turn, ending: Ending, *frames: bytes) -> None:
        acks = [turn.chunk(data) for data in frames]
        self._acks += [ack for ack in (*acks, turn.end(ending)) if ack is not None]

    async def _durable(self) -> None:
        acks, self._acks = self._acks, []
        for ack in acks:
            await ack.awaited()


async def _wait(ack: Ack | None) -> None:
    if ack is not None:
        await ack.awaited()


class _Replayed:
    """What the core would give for an archived call."""

    def __init__(self, module: ModuleType, replay: Replay) -> None:
        self._cygrpc: Any = module.cygrpc
        body = grpc_frames.parse(b"".join(replay.chunks))
        number, details = replayed_status(replay, body)
        said = f"replayed from call {replay.call_id}"
        self._messages = collections.deque(body.messages)
        self._exhausted = exhausted(replay, body)
        self._initial_metadata = initial_metadata(replay)
        self._last = self._cygrpc.AioRpcStatus(number, details, body.trailing, said)
        self._status: Any = None if self._messages or number == 0 else self._last
        self._callbacks: list[Any] = []
        self._cancelled = False

    def _finish(self, status: Any) -> None:
        if self._status is None:
            self._status = status
            for callback in self._callbacks:
                callback()

    def done(self) -> bool:
        return self._status is not None

    def cancelled(self) -> bool:
        return self._cancelled

    is_locally_cancelled = cancelled

    def is_ok(self) -> bool:
        return self._status is not None and self._status.code() == 0

    def cancel(self, details: str) -> None:
        if self._status is None:
            self._cancelled = True
            self._finish(self._cygrpc.AioRpcStatus(1, details, (), details))

    def add_done_callback(self, callback: Any) -> None:
        if self.done():
            callback()
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        return None

    async def initial_metadata(self) -> Any:
        return self._initial_metadata

    async def status(self) -> Any:
        return self._status or self._last

    async def unary_unary(self, *request: Any) -> Any:
        self._finish(self._last)
        return self._messages.popleft() if self._messages and self.is_ok() else None

    async def initiate_unary_stream(self, *request: Any) -> None:
        """Everything is here."""

    async def receive_serialized_message(self) -> Any:
        if self._messages and self._status is None:
            return self._messages.popleft()
        if self._status is None and self._exhausted is not None:
            raise ReplayExhausted(self._exhausted)
        self._finish(self._last)
        return self._cygrpc.EOF


def _status(status: Any) -> Status:
    number = status.code()
    names = list(grpc_frames.HTTP_STATUS)
    name = names[number] if isinstance(number, int) and 0 <= number < len(names) else "UNKNOWN"
    return Status(name, number, status.details() or "", tuple(status.trailing_metadata() or ()))
