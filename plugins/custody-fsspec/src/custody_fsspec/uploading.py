"""Stores on the server what lies in a ``Part``, so that the server holds at each moment what the session was once.

Of what refers to something else the state is taken first, and it is stored last: an event's call, a digest's segment,
a checkpoint's answers are on the server before it. A log is only ever longer than it was.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import NamedTuple

from custody.plugin import StorageError
from custody_fsspec.compacting import MANY, compact, merge
from custody_fsspec.objects import Objects
from custody_fsspec.part import Part
from custody_fsspec.parts import FOLDER, look, part_key

log = logging.getLogger("custody")

EVERY = 0.25  # seconds between looks for what is new
_AGAIN = 1.0  # after one that failed
ARCHIVE = "llm_archive/"  # what everything else refers to (docs/format.md)
_PIECE = 16 * 1024 * 1024  # bytes of a log that are stored with one request
_AT_ONCE = 256 * 1024 * 1024  # bytes of objects that are held in memory
_CALL = b'{"kind":"call"'


class Missing(NamedTuple):
    """What the server lacks."""

    calls: int
    bytes: int


class _Object(NamedTuple):
    name: str
    stamp: tuple[int, int, int]
    data: bytes


class Uploading:
    """Of one part. One process and one thread at a time."""

    def __init__(self, part: Part, objects: Objects) -> None:
        self._part, self._objects = part, objects
        self._ends: dict[str, int] = {}  # up to which byte logs are on the server
        self._stored: dict[str, tuple[int, int, int]] = {}  # which objects, as they were then
        self._removed: set[str] = set()
        self._parts: dict[str, int] = {}  # parts of logs, since it was looked whether they are many

    def round(self) -> bool:
        """Store what there is at this moment; whether there was anything. Raises OSError, StorageError."""
        part = self._part
        for name in part.all_marked("removed"):
            if part.has(name):  # a log that was made anew: nothing of the old one is to stand before it
                self._remove(name)
                self._removed.discard(name)
                part.unmark("removed", name)
        removed = part.all_marked("removed") - self._removed
        wanted = part.all_marked("compact")
        others = self._changed(archive=False)
        shared = self._grown([name for name, begun in self._names()[0].items() if begun])
        beside = self._changed(archive=True)
        own = self._grown([name for name, begun in self._names()[0].items() if not begun])
        for name, end in own:
            self._extend(name, end, shared=False)
        for each in beside:
            self._put(each)
        for name, end in shared:
            self._extend(name, end, shared=True)
        for each in others:
            self._put(each)
        for name in removed:
            if not part.has(name):  # else made anew meanwhile: the next round
                self._remove(name)
        for name in wanted:
            self._compact(name)
        return bool(own or beside or shared or others or removed or wanted)

    def all(self, *, compacted: bool) -> None:
        """Until nothing is missing; ``compacted``: nobody goes on with the logs. Raises OSError, StorageError."""
        while self.round():
            pass
        if compacted:
            for name in self._names()[0]:
                if self._end(name):
                    compact(self._objects, name)

    def missing(self) -> Missing:
        """What the server lacks; what it is not known to have, where it cannot be asked."""
        try:
            stored = {each.key: each.size for each in self._objects.list()}
            logs, plain = self._names()
            ends = {name: self._end(name) for name in logs}
        except OSError:
            stored, (logs, plain), ends = {}, self._names(), self._ends
        calls = count = 0
        for name in logs:
            begun = self._part.begun(name)
            if begun is not None:
                data = self._part.files.read(name, max(0, ends.get(name, 0) - begun.begin))
                count += len(data)
                calls += sum(line.startswith(_CALL) for line in data.split(b"\n"))
        for name, size in plain.items():
            if stored.get(name) != size and self._stored.get(name) != self._stamp(name):
                count += size
        return Missing(calls, count)

    # -- what is here -------------------------------------------------------------------------------

    def _names(self) -> tuple[dict[str, bool], dict[str, int]]:
        """Logs, and whether many write to them; objects, and their sizes."""
        logs: dict[str, bool] = {}
        plain: dict[str, int] = {}
        for name, size in self._part.sizes().items():
            begun = self._part.begun(name)
            if begun is None:
                plain[name] = size
            else:
                logs[name] = begun.shared
        return logs, plain

    def _changed(self, *, archive: bool) -> list[_Object]:
        """Objects that are not on the server as they are here, oldest first, and not more than fit into memory."""
        wanted = []
        for name in self._names()[1]:
            stamp = self._stamp(name)
            if name.startswith(ARCHIVE) == archive and stamp is not None and self._stored.get(name) != stamp:
                wanted.append((stamp, name))
        found: list[_Object] = []
        size = 0
        for stamp, name in sorted(wanted):
            if found and size + stamp[1] > _AT_ONCE:
                break
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                found.append(_Object(name, stamp, self._part.files.read(name)))
                size += stamp[1]
        return found

    def _stamp(self, name: str) -> tuple[int, int, int] | None:
        try:
            known = (self._part.folder / "files" / name).stat()
        except FileNotFoundError:
            return None
        return known.st_mtime_ns, known.st_size, known.st_ino

    def _grown(self, names: list[str]) -> list[tuple[str, int]]:
        sizes = self._part.sizes()
        found = []
        for name in sorted(names):
            begun = self._part.begun(name)
            if begun is not None and name in sizes:
                end = begun.begin + sizes[name]
                if end > self._end(name) or (not begun.shared and name not in self._ends):
                    found.append((name, end))
        return found

    # -- to the server ------------------------------------------------------------------------------

    def _end(self, name: str) -> int:
        if name not in self._ends:
            known = look(self._objects, name)
            if known.plain < 0 and not known.pieces:
                return 0
            self._ends[name] = known.end
        return self._ends[name]

    def _extend(self, name: str, end: int, *, shared: bool) -> None:
        begun = self._part.begun(name)
        if begun is None:
            return
        at = self._end(name)
        if name not in self._ends:
            if not shared and not self._objects.put_new(name, b"") and self._objects.head(name).size:
                raise StorageError(
                    f"{self._objects.url}/{name} is somebody else's; {self._part.folder} is left as it is"
                )
            self._ends[name] = at
        while at < end:
            data = self._part.files.read(name, at - begun.begin, min(_PIECE, end - at))
            if not data:
                return
            key = part_key(name, at)
            # Else it is one of ours that was stored, and whose answer was lost.
            if not self._objects.put_new(key, data) and self._objects.get(key)[0] != data:
                self._ends.pop(name)
                raise StorageError(
                    f"{self._objects.url}/{key}: somebody else has ended or continued this log; what this machine has "
                    f"of it stays in {self._part.folder}"
                )
            at = self._ends[name] = at + len(data)
            self._parts[name] = self._parts.get(name, 0) + 1
        if shared and self._parts[name] >= MANY:
            self._parts[name] = 0
            merge(self._objects, name, at_least=MANY)

    def _put(self, one: _Object) -> None:
        self._objects.put(one.name, one.data)
        self._stored[one.name] = one.stamp

    def _remove(self, name: str) -> None:
        if name in self._removed:
            return
        self._objects.delete([name, *(each.key for each in self._objects.list(name + FOLDER))])  # seals, too
        self._removed.add(name)
        self._ends.pop(name, None)

    def _compact(self, name: str) -> None:
        if self._part.has(name):
            with contextlib.suppress(FileNotFoundError):
                compact(self._objects, name)
        self._part.unmark("compact", name)


class Uploader:
    """Does it in the background, and says once that it cannot."""

    def __init__(self, part: Part, objects: Objects) -> None:
        self._uploading, self._part, self._objects = Uploading(part, objects), part, objects
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="custody-upload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = EVERY
        while not self._stop.wait(pause):
            begun = time.monotonic()
            with self._turn:
                if self._stop.is_set():
                    return
                pause = EVERY if self._tried() else _AGAIN
            pause = max(pause, 10 * (time.monotonic() - begun)) if pause == EVERY else pause

    def _tried(self) -> bool:
        try:
            self._uploading.round()
        except Exception as error:
            if not self._failing:
                log.warning(
                    "custody: nothing can be stored at %s now (%s): what is answered is kept in %s, and stored later",
                    self._objects.url, error, self._part.folder,
                )  # fmt: skip
            self._failing = True
            return False
        if self._failing:
            log.warning("custody: %s can be reached again, and is given what it lacks", self._objects.url)
        self._failing = False
        return True

    def missing(self) -> Missing:
        return self._uploading.missing()

    def finish(self, seconds: float) -> bool:
        """Whether all is stored, for which it waits at most so long, and not at all after Ctrl-C."""
        until = time.monotonic() + seconds
        self._stop.set()
        said = False
        try:
            while (left := until - time.monotonic()) > 0:
                if not self._turn.acquire(timeout=left):  # in the middle of a request that is not answered
                    return False
                try:
                    self._uploading.all(compacted=False)
                    return True
                except Exception as error:
                    if not said:
                        log.warning(
                            "custody: waiting at most %.0f s until %s has all of it (%s); Ctrl-C leaves at once",
                            left, self._objects.url, error,
                        )  # fmt: skip
                    said = True
                finally:
                    self._turn.release()
                time.sleep(min(_AGAIN, max(0.0, until - time.monotonic())))
        except KeyboardInterrupt:
            pass
        return False
