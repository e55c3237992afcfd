"""The call objects of gRPC's blocking API: those that record, and those that replay."""

from __future__ import annotations

import collections
import copy
import functools
import threading
from types import ModuleType
from typing import Any

from custody.errors import ReplayExhausted
from custody.exchange import Ack, Ending, Replay, Turn
from custody.seam import grpc_frames
from custody.seam.grpc_frames import Status
from custody.seam.grpc_turn import exhausted, initial_metadata, named, replayed_status
from custody.seam.wire import ending_of, left, settle


class Recorder:
    """An exchange under way. ``multi`` is the copy through which it is sent."""

    def __init__(self, turn: Turn, multi: Any, body: bytes) -> None:
        self.turn = turn
        self.raw: collections.deque[bytes] = collections.deque()
        self.multi = copy.copy(multi)
        self.multi._request_serializer = lambda request: body
        self.multi._response_deserializer = functools.partial(self._deserialize, multi._response_deserializer)
        self.headed = False
        self._ack: Ack | None = None
        self._once = threading.Lock()
        self._over = False

    def _deserialize(self, original: Any, data: bytes) -> Any:
        self.raw.append(data)
        return data if original is None else original(data)

    def answered(self, state: Any) -> None:
        """A single answer is there, whole."""
        self.turn.head(grpc_frames.response_head("OK", state.initial_metadata), streamed=False)
        self._ended("complete", grpc_frames.trailers(_status(state)))
        self.wait()

    def message(self, initial: Any) -> None:
        """The stream's next message is there."""
        self.head(initial)
        ack = self.turn.chunk(grpc_frames.frame(self.raw.popleft()))
        if ack is not None:
            ack.wait()

    def head(self, initial: Any) -> None:
        if not self.headed:
            self.headed = True
            self.turn.head(grpc_frames.response_head("OK", initial), streamed=True)

    def finished(self, state: Any) -> None:
        """The stream is complete."""
        self.head(state.initial_metadata)
        self._ended("complete", grpc_frames.trailers(_status(state)))
        self.wait()

    def failed(self, state: Any, *, streamed: bool) -> None:
        """The call ended with another status than OK."""
        status = _status(state)
        if not status.answered:
            ending: Ending = "cancelled" if status.code == "CANCELLED" else "no_response"
            settle(self.turn, "broken" if self.headed and ending == "no_response" else ending, named(status.code))
            return
        if not self.headed:
            self.turn.head(grpc_frames.response_head(status.code, state.initial_metadata), streamed=streamed)
        self._ended("broken" if self.headed else "complete", grpc_frames.trailers(status))
        self.wait()

    def _ended(self, ending: Ending, last: bytes) -> None:
        while self.raw:
            self._keep(self.turn.chunk(grpc_frames.frame(self.raw.popleft())))
        self._keep(self.turn.chunk(last))
        self._keep(self.turn.end(ending))

    def _keep(self, ack: Ack | None) -> None:
        self._ack = ack or self._ack

    def wait(self) -> None:
        ack, self._ack = self._ack, None
        if ack is not None:
            ack.wait()

    def watch(self, state: Any) -> None:
        """Record a future's end also where nobody asks for its result; holds no reference to the future."""
        with state.condition:
            if state.code is None:
                state.callbacks.append(functools.partial(self.settled, state))
                return
        self.settled(state)

    def settled(self, state: Any) -> None:
        with self._once:
            if self._over or state.code is None:
                return
            self._over = True
            if _status(state).code != "OK":
                self.failed(state, streamed=False)
                return
            self.turn.head(grpc_frames.response_head("OK", state.initial_metadata), streamed=False)
            self._ended("complete", grpc_frames.trailers(_status(state)))


def _status(state: Any) -> Status:
    details = state.details.decode("utf-8", "replace") if isinstance(state.details, bytes) else state.details or ""
    return Status(state.code.name, state.code.value[0], details, tuple(state.trailing_metadata or ()))


class Kinds:
    """Call objects of the library, made to record or to replay.

    Attributes:
        recorded: by the library's class of a stream, the one that records it.
        future: a single answer that is waited for later.
        replayed: a stream from the archive.
        answered: given a replay and a deserializer, a single answer from the archive.
    """

    recorded: dict[type, type]
    future: type
    replayed: type
    answered: Any


def kinds_of(module: ModuleType) -> Kinds:
    """The classes that are made from one module's."""
    kinds = Kinds()
    grpc: Any = module.grpc
    threaded = module._MultiThreadedRendezvous
    codes = {code.value[0]: code for code in grpc.StatusCode}

    class Stream:
        """Hands each message to the journal before the program gets it."""

        _custody: Recorder

        def _next(self) -> Any:
            begun = self._custody
            try:
                response = super()._next()  # type: ignore[misc]
            except StopIteration:
                begun.finished(self._state)  # type: ignore[attr-defined]
                raise
            except grpc.RpcError:
                begun.failed(self._state, streamed=True)  # type: ignore[attr-defined]
                raise
            except BaseException as error:
                settle(begun.turn, ending_of(error, "broken" if begun.headed else "no_response"), error)
                raise
            begun.message(self.initial_metadata())  # type: ignore[attr-defined]
            return response

        def cancel(self) -> Any:
            self._leave()
            return super().cancel()  # type: ignore[misc]

        def __del__(self) -> None:
            self._leave()
            super().__del__()  # type: ignore[misc]

        def _leave(self) -> None:
            self._custody.turn.end(left() if self._custody.headed else "cancelled")

    kinds.recorded = {
        kind: type(kind.__name__, (Stream, kind), {"__module__": kind.__module__})
        for kind in (threaded, module._SingleThreadedRendezvous)
    }

    class Future(threaded):  # type: ignore[misc, valid-type]
        """The same for a single answer."""

        _custody: Recorder

        def result(self, timeout: float | None = None) -> Any:
            return self._settled(super().result, timeout)

        def exception(self, timeout: float | None = None) -> Any:
            return self._settled(super().exception, timeout)

        def _settled(self, ask: Any, timeout: float | None) -> Any:
            try:
                return ask(timeout)
            finally:
                self._custody.settled(self._state)
                self._custody.wait()

    kinds.future = Future

    def state_of(replay: Replay) -> tuple[Any, Any, Any, grpc_frames.Body]:
        """Code, details, state with the metadata, and the body."""
        body = grpc_frames.parse(b"".join(replay.chunks))
        code, details = replayed_status(replay, body)
        state = module._RPCState(
            (), _tuples(module, initial_metadata(replay)), _tuples(module, body.trailing), None, None
        )
        state.debug_error_string = f"replayed from call {replay.call_id}"
        return codes.get(code, grpc.StatusCode.UNKNOWN), details, state, body

    def answered(replay: Replay, deserializer: Any) -> Any:
        code, details, state, body = state_of(replay)
        state.code, state.details, state.callbacks = code, details, None
        if code is grpc.StatusCode.OK:
            state.response = module._common.deserialize(body.messages[0] if body.messages else b"", deserializer)
            if state.response is None:
                state.code, state.details = grpc.StatusCode.INTERNAL, "Exception deserializing response!"
        return threaded(state, None, deserializer, None)

    kinds.answered = answered

    class Replayed(threaded):  # type: ignore[misc, valid-type]
        """A stream from the archive: message by message, then its status."""

        def __init__(self, replay: Replay, deserializer: Any) -> None:
            code, details, state, body = state_of(replay)
            super().__init__(state, None, deserializer, None)
            self._end, self._messages = (code, details), collections.deque(body.messages)
            self._exhausted = exhausted(replay, body)

        def _next(self) -> Any:
            if self._messages and self._state.code is None:
                response = module._common.deserialize(self._messages.popleft(), self._response_deserializer)
                if response is not None:
                    return response
                self._finish(grpc.StatusCode.INTERNAL, "Exception deserializing response!")
            if self._state.code is None and self._exhausted is not None:
                raise ReplayExhausted(self._exhausted)
            self._finish(*self._end)
            if self._state.code is grpc.StatusCode.OK:
                raise StopIteration
            raise self

        def _finish(self, code: Any, details: str) -> None:
            with self._state.condition:
                if self._state.code is not None:
                    return
                self._state.code, self._state.details = code, details
                callbacks, self._state.callbacks = self._state.callbacks, None
            for callback in callbacks:
                callback()

        def cancel(self) -> bool:
            if self._state.code is not None:
                return False
            self._state.cancelled = True
            self._finish(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
            return True

        def __del__(self) -> None:
            """There is nothing to cancel."""

        def code(self) -> Any:
            return self._end[0] if self._state.code is None else self._state.code

        def details(self) -> Any:
            return self._end[1] if self._state.details is None else self._state.details

    for own in (Future, Replayed):  # they show their names in their text
        own.__name__, own.__qualname__, own.__module__ = threaded.__name__, threaded.__qualname__, threaded.__module__
    kinds.replayed = Replayed
    return kinds


def _tuples(module: ModuleType, metadata: grpc_frames.Metadata) -> Any:
    pair = getattr(module.cygrpc, "_Metadatum", None)
    return tuple(pair(*one) for one in metadata) if pair is not None else metadata
