"""The raw streams that botocore reads: a live one with a tee, and an archived one.

Both are what urllib3 gives botocore, a ``urllib3.HTTPResponse``: ``StreamingBody`` hands it out to programs
(``with response["body"] as stream``), so all of its ways of reading are there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import wrapt

from custody.errors import CustodyError, ReplayExhausted
from custody.exchange import Ack, Ending, Replay, Turn
from custody.seam.wire import ending_of, left, settle

_MOST = 2**16  # bytes of one read, as urllib3 has it


class _Reading:
    """Ways to read, all by ``read`` and ``stream``. urllib3's own would pass the tee by."""

    def stream(self, amt: int | None = _MOST, decode_content: bool | None = None) -> Iterator[bytes]:
        raise NotImplementedError

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        raise NotImplementedError

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        return self.read(_MOST if amt is None or amt < 0 else amt)

    def readinto(self, b: Any) -> int:
        data = self.read(len(b))
        b[: len(data)] = data
        return len(data)

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        return self.stream(amt, decode_content)

    def readline(self, size: int | None = -1) -> bytes:
        line = bytearray()
        while (size is None or size < 0 or len(line) < size) and not line.endswith(b"\n"):
            one = self.read(1)
            if not one:
                break
            line += one
        return bytes(line)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for data in self.stream():
            *lines, rest = (rest + data).split(b"\n")
            yield from (line + b"\n" for line in lines)
        if rest:
            yield rest

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError

    @property
    def data(self) -> bytes:
        return self.read()


class Tee(_Reading, wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A live stream, whose bytes go to the journal before they are handed on.

    A proxy, so that it passes for the stream in every other respect. With ``keep`` botocore reads the body
    itself: the last bytes' Ack is kept for later, and how a failure is called is left to botocore.
    """

    def __init__(self, raw: Any, turn: Turn, keep: Callable[[Ack], None] | None) -> None:
        super().__init__(raw)
        self._self_turn, self._self_keep = turn, keep
        length = raw.headers.get("content-length", "")
        self._self_missing = int(length) if length.isdigit() else 0

    def stream(self, amt: int | None = _MOST, decode_content: bool | None = None) -> Iterator[bytes]:
        try:
            for data in self.__wrapped__.stream(amt, decode_content):
                self._pass(data)
                yield data
        except GeneratorExit:
            raise
        except CustodyError:
            raise
        except BaseException as error:
            self._broke(error)
            raise
        self._over()

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        try:
            data: bytes = self.__wrapped__.read(amt, decode_content=decode_content)
        except BaseException as error:
            self._broke(error)
            raise
        self._pass(data)
        if amt is None or (amt > 0 and not data):
            self._over()
        return data

    def close(self) -> None:
        try:
            self.__wrapped__.close()
        finally:
            self._self_turn.end(left())

    def release_conn(self) -> None:
        self.__wrapped__.release_conn()

    def drain_conn(self) -> None:
        self.close()

    def __del__(self) -> None:
        self._self_turn.end(left())  # dropped unread: nobody shall wait for it

    def _pass(self, data: bytes) -> None:
        self._self_missing -= len(data)
        self._wait(self._self_turn.chunk(data) if data else None)

    def _over(self) -> None:
        # botocore does not ask urllib3 to count the bytes.
        ending: Ending = "broken" if self._self_missing > 0 else "complete"
        self._wait(self._self_turn.end(ending))

    def _wait(self, ack: Ack | None) -> None:
        if ack is None:
            return
        if self._self_keep is not None:
            self._self_keep(ack)
        else:
            ack.wait()

    def _broke(self, error: BaseException) -> None:
        if self._self_keep is None:
            settle(self._self_turn, ending_of(error, "broken"), error)


@functools.lru_cache(maxsize=2)
def archived(kind: Any) -> Any:
    """The class of archived streams, a ``kind`` (``urllib3.HTTPResponse``), to be given a Replay and its headers."""

    class Archived(_Reading, kind):  # type: ignore[misc]
        """Bytes in the chunks in which they came; past the end of a stream that was left early, ReplayExhausted."""

        def __init__(self, replay: Replay, headers: Any) -> None:
            assert replay.head is not None
            status, reason = replay.head.status, replay.head.reason
            super().__init__(b"", headers, status, reason=reason, preload_content=False)
            self._chunks = [chunk for chunk in replay.chunks if chunk]
            self._exhausted = replay.exhausted
            self._told = 0
            self._shut = False

        def stream(self, amt: int | None = _MOST, decode_content: bool | None = None) -> Iterator[bytes]:
            while data := self._next(None):
                yield data

        def read(
            self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False
        ) -> bytes:
            if amt is not None and amt >= 0:
                parts: list[bytes] = []
                while amt > 0 and (self._chunks or not parts) and (data := self._next(amt)):
                    parts.append(data)
                    amt -= len(data)
                return b"".join(parts)
            return b"".join(self.stream())

        def _next(self, most: int | None) -> bytes:
            """At most so many bytes of the next chunk."""
            if self._shut:
                return b""
            if not self._chunks:
                if self._exhausted is not None:
                    raise ReplayExhausted(self._exhausted)
                return b""
            data = self._chunks.pop(0)
            if most is not None and len(data) > most:
                self._chunks.insert(0, data[most:])
                data = data[:most]
            self._told += len(data)
            return data

        def tell(self) -> int:
            return self._told

        def readable(self) -> bool:
            return True

        @property
        def closed(self) -> bool:
            return self._shut

        def isclosed(self) -> bool:
            return self._shut

        def close(self) -> None:
            self._shut = True

        def release_conn(self) -> None:
            """There is none."""

        def drain_conn(self) -> None:
            self._chunks.clear()

    return Archived
