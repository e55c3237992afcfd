"""What is said over one websocket connection: its frames as chunks of an exchange, and its end.

Frames are seen at ``Protocol``, websockets' core without I/O. One is in the journal before the program
gets it; the end of the connection is passed on when everything is durable.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import weakref
from typing import Any

from custody.errors import CustodyError
from custody.exchange import Ack, Ending, Headers, ResponseHead, Turn
from custody.seam.wire import ending_of, settle

log = logging.getLogger("custody")

_RECORDER = "_custody_recorder"
_NORMAL = (1000, 1001, 1005)  # closed as agreed; going away; closed without a code (RFC 6455, 7.4.1)
_FAILED = 1011  # what the library sends when the program left with an exception


def framed(direction: str, opcode: int, data: bytes, *, final: bool = True) -> bytes:
    """A frame as a chunk of the archive: ``sent text``, a newline, the payload.

    A ``+`` behind the kind says that a continuation follows. There is no length: a chunk is one frame, and a
    secret that is cut out of it would change it.
    """
    return f"{direction} {_KINDS[opcode]}{'' if final else '+'}\n".encode() + data


_KINDS = {0: "continuation", 1: "text", 2: "binary", 8: "close"}
"""Frames that are recorded, by opcode: pings and pongs say nothing."""


class Recorder:
    """Writes the frames of one connection. Thread-safe."""

    def __init__(self, turn: Turn, connection: Any) -> None:
        self._turn = turn
        self._waiting: list[bytes] | None = []  # frames that came with the handshake's response
        self._ended = False
        self._lock = threading.RLock()
        self._protocol = connection.protocol
        setattr(connection.protocol, _RECORDER, self)
        # Dropped without a close, with its event loop for example: nobody shall wait for it.
        weakref.finalize(connection, turn.end, "closed_early").atexit = False

    def opened(self, response: Any) -> None:
        with self._lock:
            self._turn.head(_head(response), streamed=True)
            waiting, self._waiting = self._waiting or [], None
            for data in waiting:
                self._write(data)

    def refused(self, response: Any, error: BaseException) -> Ack | None:
        """The handshake failed: with an answer that is no 101, or without any."""
        with self._lock, contextlib.suppress(CustodyError):
            self._ended = True
            if response is None or response.status_code == 101:
                settle(self._turn, ending_of(error, "no_response"), error)
                return None
            self._turn.head(_head(response), streamed=False, decoded=True)
            return self._turn.chunk(bytes(response.body or b"")) or self._turn.end("complete")
        return None

    def frame(self, direction: str, frame: Any) -> None:
        if frame.opcode not in _KINDS:
            return
        data = framed(direction, frame.opcode, bytes(frame.data), final=frame.fin)
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(data)
            else:
                self._write(data)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(CustodyError):  # said at the end
            self._turn.chunk(data)

    def end(self) -> Ack | None:
        """The connection is over."""
        with self._lock:
            if self._ended or self._waiting is not None:
                return None
            self._ended = True
            try:
                return self._turn.end(self._ending())
            except CustodyError as error:
                _lost(error)
                return None

    def _ending(self) -> Ending:
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        if received is None:  # no closing handshake: a program in a hurry, or the network
            return "closed_early" if sent is not None and sent.code in _NORMAL else "broken"
        if self._protocol.close_rcvd_then_sent is False and sent is not None and sent.code == _FAILED:
            return "cancelled"
        return "complete" if received.code in _NORMAL else "broken"


def seen(direction: str, original: Any) -> Any:
    @functools.wraps(original)
    def method(self: Any, frame: Any) -> Any:
        recorder = self.__dict__.get(_RECORDER)
        if recorder is not None:
            recorder.frame(direction, frame)
        return original(self, frame)

    return method


def ending_thread(original: Any) -> Any:
    """The connection's thread: whoever waits for its end waits for the disk, too."""

    @functools.wraps(original)
    def recv_events(self: Any) -> Any:
        try:
            return original(self)
        finally:
            recorder = self.protocol.__dict__.get(_RECORDER)
            ack = recorder.end() if recorder is not None else None
            if ack is not None:
                try:
                    ack.wait()
                except CustodyError as error:
                    _lost(error)

    return recv_events


def ending_callback(original: Any) -> Any:
    """The callback by which asyncio says that it is over: passed on when all is durable."""

    @functools.wraps(original)
    def connection_lost(self: Any, exc: Exception | None) -> Any:
        recorder = self.protocol.__dict__.get(_RECORDER)
        ack = recorder.end() if recorder is not None else None
        if ack is None:
            return original(self, exc)
        task = self.loop.create_task(_after(ack, original, self, exc))
        self.__dict__["_custody_ending"] = task  # a loop keeps only weak references
        return None

    return connection_lost


async def _after(ack: Ack, original: Any, connection: Any, exc: Exception | None) -> None:
    try:
        await ack.awaited()
    except CustodyError as error:
        _lost(error)
    finally:
        original(connection, exc)


def _lost(error: CustodyError) -> None:
    log.error("custody: a websocket conversation could not be archived whole: %s", error)


def _head(response: Any) -> ResponseHead:
    return ResponseHead(response.status_code, response.reason_phrase or "", "HTTP/1.1", pairs(response.headers))


def pairs(headers: Any) -> Headers:
    if headers is None:
        return ()
    if hasattr(headers, "raw_items"):
        headers = headers.raw_items()
    elif hasattr(headers, "items"):
        headers = headers.items()
    return tuple((str(name), str(value)) for name, value in headers)
