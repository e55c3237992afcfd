"""``CUSTODY_DURABILITY=local-then-remote``: a session is written on this machine first, and uploaded behind that.

Until ``begin`` everything goes to the server, and after ``finish`` again. In between the session is what lies in the
``Part`` of this machine, over what lay on the server when it began. Locks, heartbeats and claims are what they were.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Literal

from custody.plugin import Entry, Leases, Lock, Log, SeveralWritersRefused, SharedLog, StorageError
from custody.storage import Watch
from custody_fsspec import backlog
from custody_fsspec.objects import Objects
from custody_fsspec.part import Begun, Part, place
from custody_fsspec.settings import Settings
from custody_fsspec.storage import WORKER, LeasedStorage, ObjectStorage
from custody_fsspec.uploading import Uploader

_KEPT = 1024 * 1024  # bytes: smaller objects of the server are read once


class _Open:
    """A part that this process writes to; the same for all storages of it that are opened by the URL."""

    def __init__(self, part: Part, objects: Objects, *, owner: bool) -> None:
        self.part, self.remote = part, ObjectStorage(objects)
        # Whoever owns the session knows that nobody else writes to the server.
        self.stored = {entry.name: entry.size for entry in self.remote.list() if entry.name != backlog.MARKER}
        self.read: dict[str, bytes] = {}
        self.uploader = Uploader(part, objects) if owner else None


_open: dict[tuple[int, str, str], _Open] = {}
_lock = threading.RLock()


class BehindStorage(LeasedStorage):
    """Thread-safe."""

    keeps_appends: Literal[True] = True  # on this machine

    def __init__(self, objects: Objects, settings: Settings | None = None) -> None:
        super().__init__(objects, settings)
        self.leases = Leases(ObjectStorage(objects, self._settings))  # these are the server's, always
        self._key = os.getpid(), objects.store, objects.url

    # -- beginning and end --------------------------------------------------------------------------

    def begin(self) -> None:
        if WORKER in os.environ:
            raise SeveralWritersRefused(
                f"{self.url}: CUSTODY_DURABILITY=local-then-remote is for one owner: another worker would not see on "
                "the server what this one has been answered, and pay for it again. Unset it, or run without --worker"
            )
        backlog.require_none(self._objects)
        try:
            part = Part.make(self._objects.store, self.url)
        except FileExistsError as error:
            raise StorageError(
                f"{self.url}: a process that an earlier start left still writes to {error}; stop it, and try again"
            ) from None
        try:
            backlog.mark(self._objects, part)
            with _lock:
                _open[self._key] = _Open(part, self._objects, owner=True)
        except BaseException:
            with contextlib.suppress(OSError):
                backlog.clear(self._objects, part)
            raise

    def finish(self) -> None:
        opened = _open.get(self._key)
        if opened is None or opened.uploader is None:
            return None
        done = opened.uploader.finish(self._settings.waiting)
        with _lock:
            _open.pop(self._key, None)
        self._reading.forget_all()
        try:
            if done and opened.part.alone():
                return backlog.clear(self._objects, opened.part)
        except OSError:  # all is there, and the marker as well: it is taken away at the next start
            pass
        backlog.tell(self._objects.url, opened.part, opened.uploader.missing())
        return opened.part.close()

    def _now(self, *, writes: bool = False) -> _Open | None:
        """The part, where there is one: who joins a session comes in when it first writes."""
        found = _open.get(self._key)
        if found is None and writes and self._key[0] == os.getpid():
            with _lock:
                found = _open.get(self._key)
                if found is None:
                    try:
                        part = Part(place(self._objects.store, self.url), alone=False)
                    except FileNotFoundError:
                        return None
                    except BlockingIOError:
                        raise OSError(
                            f"{self.url}: what lay on this machine is just being uploaded; try again"
                        ) from None
                    found = _open[self._key] = _Open(part, self._objects, owner=False)
        return found

    # -- logs ---------------------------------------------------------------------------------------

    def create_log(self, name: str) -> Log:
        opened = self._now(writes=True)
        if opened is None:
            return super().create_log(name)
        stored = self._checked(name) in opened.stored and not opened.part.marked("removed", name)
        if stored or opened.part.has(name):  # else an object would be marked, and uploaded, as a log
            raise FileExistsError(f"{self.url}/{name} exists already")
        opened.part.begin_log(name, Begun(0, shared=False))
        return opened.part.files.create_log(name)

    def shared_log(self, name: str) -> SharedLog:
        opened = self._now(writes=True)
        if opened is None:
            return super().shared_log(name)
        opened.part.seed(self._checked(name), opened.remote, opened.stored.get(name, 0))
        return opened.part.files.shared_log(name)

    def watch(self, folder: str, own: str) -> Watch:
        opened = self._now()
        return super().watch(folder, own) if opened is None else opened.part.files.watch(folder, own)

    def compact(self, name: str) -> None:
        opened = self._now()
        if opened is not None and opened.part.has(self._checked(name)):
            opened.part.mark("compact", name)
        else:
            super().compact(name)

    def merge(self, name: str) -> None:
        """Whoever uploads does it."""
        if self._now() is None:
            super().merge(name)

    def settle(self, name: str) -> None:
        """What can be read of this machine's own is on its disk."""
        opened = self._now()
        if opened is not None and opened.part.has(self._checked(name)):
            opened.part.files.settle(name)

    # -- objects ------------------------------------------------------------------------------------

    def put_if_absent(self, name: str, data: bytes) -> bool:
        opened = self._now(writes=True)
        if opened is None:
            return super().put_if_absent(name, data)
        if self._checked(name) in opened.stored and not opened.part.marked("removed", name):
            return False
        opened.part.unmark("removed", name)
        return opened.part.files.put_if_absent(name, data)

    def put_stream(self, name: str, blocks: Iterable[bytes]) -> bool:
        opened = self._now(writes=True)
        if opened is None:
            return super().put_stream(name, blocks)
        if self._checked(name) in opened.stored and not opened.part.marked("removed", name):
            return False
        opened.part.unmark("removed", name)
        return opened.part.files.put_stream(name, blocks)

    def put(self, name: str, data: bytes) -> None:
        opened = self._now(writes=True)
        if opened is None:
            return super().put(name, data)
        opened.part.unmark("removed", self._checked(name))
        opened.part.unmark("logs", name)  # a closed log that is replaced is an object from then on
        opened.part.files.put(name, data)
        return None

    def remove(self, name: str) -> None:
        opened = self._now(writes=True)
        if opened is None:
            return super().remove(name)
        opened.part.forget(self._checked(name))
        return None

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        opened = self._now()
        if opened is None or name.startswith(self.leases.heartbeat.folder):
            return super().read(name, offset, size)
        part = opened.part
        if part.has(self._checked(name)):
            begun = part.begun(name)
            begin = begun.begin if begun is not None else 0
            if offset >= begin:
                return part.files.read(name, offset - begin, size)
            before = opened.remote.read(name, offset, begin - offset if size is None else min(size, begin - offset))
            return before + part.files.read(name, 0, None if size is None else size - len(before))
        if part.marked("removed", name):
            raise FileNotFoundError(f"{self.url}/{name} does not exist")
        return self._of_server(opened, name, offset, size)

    def _of_server(self, opened: _Open, name: str, offset: int, size: int | None) -> bytes:
        """Small objects once: nobody changes them, and the server may be away when they are read again."""
        if name not in opened.stored:
            raise FileNotFoundError(f"{self.url}/{name} does not exist")
        if name.endswith(".jsonl") or opened.stored[name] > _KEPT:
            return opened.remote.read(name, offset, size)
        if name not in opened.read:
            opened.read[name] = opened.remote.read(name)
        data = opened.read[name]
        return data[offset:] if size is None else data[offset : offset + size]

    def modified(self, name: str) -> float:
        opened = self._now()
        if opened is not None and opened.part.has(self._checked(name)):
            return opened.part.files.modified(name)
        return super().modified(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        opened = self._now()
        if opened is None or prefix.startswith(self.leases.heartbeat.folder):
            return super().list(prefix)
        removed = opened.part.all_marked("removed")
        found = {name: size for name, size in opened.stored.items() if name.startswith(prefix) and name not in removed}
        for name, size in opened.part.sizes(prefix).items():
            begun = opened.part.begun(name)
            found[name] = size + (begun.begin if begun is not None else 0)
        return iter(sorted((Entry(name, size) for name, size in found.items()), key=lambda each: each.name))

    def folders(self, prefix: str = "") -> Iterator[str]:
        if self._now() is None:
            return super().folders(prefix)
        below = f"{prefix}/" if prefix else ""
        return iter(sorted({entry.name.removeprefix(below).partition("/")[0] for entry in self.list(below)}))

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        if shared:
            self._now(writes=True)  # it joins
        return super().lock(name, shared=shared)
