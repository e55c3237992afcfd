"""Wire seam for gRPC's blocking API: calls with one request, and one answer or a stream of them.

Patched are the multicallables of ``grpc._channel``, beneath every interceptor, so channels that were made
before are covered. A request is sent through a copy of its multicallable whose deserializer shows the
raw bytes of each message; what comes back is the library's own call object, of a subclass that tells
the journal before the program. Credentials belong to the channel: on a hit they are not asked.

Calls whose requests are a stream (bidirectional ones, too) pass through unrecorded.
"""

from __future__ import annotations

import functools
import time
from types import ModuleType
from typing import Any

from custody.exchange import Headers, WireHandler
from custody.seam import grpc_aio, grpc_frames, grpc_turn
from custody.seam.grpc_calls import Recorder, kinds_of
from custody.seam.patching import Patches
from custody.seam.wire import CLAIM_PAUSE, ending_of, fill, inside, settle


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch the blocking API and the one for asyncio."""
    patches.when_imported("grpc._channel", functools.partial(_patch, patches, handler))
    grpc_aio.install(patches, handler)


def _patch(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    # The names are the library's own business: where they are others, its calls pass unrecorded, and it is said.
    with grpc_turn.reported():
        _patch_known(patches, handler, module)


def _patch_known(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    seam = _Seam(handler, module)
    unary = module._UnaryUnaryMultiCallable
    with_call = vars(unary)["with_call"]
    patches.replace(unary, "__call__", lambda original: seam.unary(original, with_call, only_response=True))
    patches.replace(unary, "with_call", lambda original: seam.unary(original, original, only_response=False))
    patches.replace(unary, "future", seam.future)
    patches.replace(module._UnaryStreamMultiCallable, "__call__", seam.stream)
    patches.replace(module._SingleThreadedUnaryStreamMultiCallable, "__call__", seam.stream)


class _Seam:
    """One installation: the handler and the library's module."""

    def __init__(self, handler: WireHandler, module: ModuleType) -> None:
        self.handler, self.module, self.kinds = handler, module, kinds_of(module)

    def unary(self, original: Any, with_call: Any, *, only_response: bool) -> Any:
        """``__call__`` or ``with_call``."""

        @functools.wraps(original)
        def call(multi: Any, request: Any, timeout: Any = None, metadata: Any = None, *args: Any, **kwargs: Any) -> Any:
            begun, metadata = self._begin(multi, request, metadata)
            if begun is None:
                return original(multi, request, timeout, metadata, *args, **kwargs)
            if begun.turn.replay is not None:
                made = self.kinds.answered(begun.turn.replay, multi._response_deserializer)
                if made.exception() is not None:
                    raise self.module._InactiveRpcError(made._state)
                return made.result() if only_response else (made.result(), made)
            token = inside.set(True)
            try:
                response, made = with_call(begun.multi, request, timeout, metadata, *args, **kwargs)
            except self.module.grpc.RpcError as error:
                begun.failed(error._state, streamed=False)
                raise
            except BaseException as error:
                settle(begun.turn, ending_of(error, "no_response"), error)
                raise
            finally:
                inside.reset(token)
            begun.answered(made._state)
            return response if only_response else (response, made)

        return call

    def future(self, original: Any) -> Any:
        @functools.wraps(original)
        def call(multi: Any, request: Any, timeout: Any = None, metadata: Any = None, *args: Any, **kwargs: Any) -> Any:
            begun, metadata = self._begin(multi, request, metadata)
            if begun is None:
                return original(multi, request, timeout, metadata, *args, **kwargs)
            if begun.turn.replay is not None:
                return self.kinds.answered(begun.turn.replay, multi._response_deserializer)
            made = self._send(begun, original, request, timeout, metadata, *args, **kwargs)
            made.__class__ = self.kinds.future
            made._custody = begun
            begun.watch(made._state)
            return made

        return call

    def stream(self, original: Any) -> Any:
        @functools.wraps(original)
        def call(multi: Any, request: Any, timeout: Any = None, metadata: Any = None, *args: Any, **kwargs: Any) -> Any:
            begun, metadata = self._begin(multi, request, metadata)
            if begun is None:
                return original(multi, request, timeout, metadata, *args, **kwargs)
            if begun.turn.replay is not None:
                return self.kinds.replayed(begun.turn.replay, multi._response_deserializer)
            made = self._send(begun, original, request, timeout, metadata, *args, **kwargs)
            made.__class__ = self.kinds.recorded[type(made)]
            made._custody = begun
            return made

        return call

    def _send(self, begun: Recorder, original: Any, *args: Any, **kwargs: Any) -> Any:
        token = inside.set(True)
        try:
            return original(begun.multi, *args, **kwargs)
        except BaseException as error:
            settle(begun.turn, ending_of(error, "no_response"), error)
            raise
        finally:
            inside.reset(token)

    def _begin(self, multi: Any, request: Any, metadata: Any) -> tuple[Recorder | None, Any]:
        """The exchange if it is to be recorded or replayed, and the metadata to send."""
        handler, channel = self.handler, multi._channel
        if not handler.active or inside.get():
            return None, metadata
        head = grpc_frames.request_head(channel.target().decode(), _text(multi._method), metadata)
        claim = handler.claim(head, channel)
        body = _serialised(multi, request) if claim is not None else None
        if claim is None or body is None:
            return None, metadata
        turn = handler.begin(head, claim, body, grpc_turn.transport(), channel)
        if turn is None:
            return None, filled(metadata, fill(head.headers))
        try:
            while not turn.ready():
                time.sleep(CLAIM_PAUSE)
            if turn.replay is None:
                headers = fill(head.headers)
                metadata = filled(metadata, headers)
                turn.sending(headers)
        except BaseException:
            turn.abandon()
            raise
        return Recorder(turn, multi, body), metadata


def _serialised(multi: Any, request: Any) -> bytes | None:
    try:
        return grpc_frames.serialised(request, multi._request_serializer)
    except Exception:
        return None  # the library meets the same, and says it in its own words


def filled(metadata: Any, headers: Headers | None) -> Any:
    """Metadata with the credentials that were deferred; ``headers`` begin with the content type."""
    return metadata if headers is None else grpc_frames.metadata_of(headers[1:])


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method
