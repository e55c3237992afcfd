"""A folder in an object store, as custody's storage."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence

from custody.plugin import Backlog, Capabilities, Entry, Leases, Lock, Log, SharedLog, StorageError, UsageError
from custody.storage import Watch
from custody_fsspec import backlog, probe
from custody_fsspec.clients import objects_of
from custody_fsspec.compacting import compact, merge
from custody_fsspec.locks import machine_locks
from custody_fsspec.log import PartLog
from custody_fsspec.objects import InPieces, Objects
from custody_fsspec.part import parts
from custody_fsspec.parts import FOLDER, look
from custody_fsspec.reading import SUFFIX, Reading
from custody_fsspec.settings import Settings
from custody_fsspec.shared import CasLog
from custody_fsspec.watching import AlwaysChanged, Changes, MachineWatch

WORKER = "CUSTODY_WORKER"
"""Set in the processes of a worker, who shares the session with those on other machines."""

_AT_ONCE = 1000  # objects removed with one request
_shared: weakref.WeakValueDictionary[tuple[str, str], CasLog] = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()
_changes: dict[str, Changes] = {}


class ObjectStorage:
    """What lies below ``objects.url``. Thread-safe."""

    def __init__(self, objects: Objects, settings: Settings | None = None) -> None:
        self.url = objects.url
        self._objects, self._settings = objects, settings or Settings.from_environment()
        self._reading = Reading(objects)
        self.not_shared = ""  # why several workers cannot share it

    @property
    def capabilities(self) -> Capabilities:
        return probe.capabilities(self._objects)

    # -- what lies on machines (see ``behind.py``) ---------------------------------------------------

    def catch_up(self) -> None:
        for part in parts(self._objects.store, self.url):
            try:
                objects = objects_of(part.url, self._settings)
                assert objects is not None
                backlog.catch_up(objects, part)
            finally:
                part.close()

    def begin(self) -> None:
        backlog.require_none(self._objects)
        if self._settings.behind:
            raise UsageError(
                f"{self.url}: CUSTODY_DURABILITY=local-then-remote needs a server that keeps writers apart "
                f"({self.not_shared})"
            )

    def finish(self) -> None:
        """All is stored already."""

    def backlog(self) -> Backlog | None:
        return backlog.of(self._objects)

    # -- logs ---------------------------------------------------------------------------------------

    def create_log(self, name: str) -> Log:
        if not self.put_if_absent(name, b""):
            raise FileExistsError(f"{self.url}/{name} exists already")
        return PartLog(
            self._objects,
            name,
            flush=self._settings.flush,
            conditional=self.capabilities.put_if_absent,
            stored=self._changes.add,
        )

    def watch(self, folder: str, own: str) -> Watch:
        """Of all logs, whatever their folder."""
        return AlwaysChanged() if WORKER in os.environ else MachineWatch(self._changes)

    @property
    def _changes(self) -> Changes:
        guarded = f"{self._objects.store} {self.url}"
        with _shared_lock:
            if guarded not in _changes:
                _changes[guarded] = Changes(machine_locks(guarded).root / "changes")
            return _changes[guarded]

    def shared_log(self, name: str) -> SharedLog:
        key = self.url, self._checked(name)
        with _shared_lock:
            known = _shared.get(key)
            if known is None:
                known = _shared[key] = CasLog(
                    self._objects,
                    self._reading,
                    name,
                    conditional=self.capabilities.put_if_absent,
                    alone=self._alone,
                )
            return known

    def compact(self, name: str) -> None:
        """Make one object of a log; see ``compacting.py``."""
        compact(self._objects, self._checked(name), conditional=self.capabilities.put_if_absent)
        self._reading.forget(name)

    def merge(self, name: str) -> None:
        """Fewer pieces of a shared log that others may go on with."""
        if self.capabilities.put_if_absent:
            merge(self._objects, self._checked(name))

    # -- objects ------------------------------------------------------------------------------------

    def put_if_absent(self, name: str, data: bytes) -> bool:
        self._checked(name)
        if self.capabilities.put_if_absent:
            return self._objects.put_new(name, data)
        # One machine only: its own processes and threads are kept out between the look and the write.
        with self._alone(name):
            with contextlib.suppress(FileNotFoundError):
                self._objects.head(name)
                return False
            self._objects.put(name, data)
            return True

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        locks = machine_locks(f"{self._objects.store} {self.url}")
        while (held := locks.claim("absent.lock", name.encode())) is None:
            time.sleep(0.01)
        try:
            yield
        finally:
            held.release()

    def put_stream(self, name: str, blocks: Iterable[bytes]) -> bool:
        """Pieces know no put-if-absent: who streams has to own the session, so that nobody puts it meanwhile."""
        if not isinstance(self._objects, InPieces):
            return self.put_if_absent(name, b"".join(blocks))
        with contextlib.suppress(FileNotFoundError):
            self._objects.head(self._checked(name))
            return False
        self._objects.put_pieces(name, blocks)
        return True

    def put(self, name: str, data: bytes) -> None:
        self._objects.put(self._checked(name), data)

    def remove(self, name: str) -> None:
        self._objects.delete([self._checked(name)])
        if name.endswith(SUFFIX):
            self._reading.forget(name)
            self._objects.delete([each.key for each in self._objects.list(name + FOLDER)])  # seals, too

    def remove_all(self, names: Sequence[str]) -> None:
        for begin in range(0, len(names), _AT_ONCE):
            self._objects.delete([self._checked(name) for name in names[begin : begin + _AT_ONCE]])

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return self._reading.read(self._checked(name), offset, size)

    def modified(self, name: str) -> float:
        """By the server's clock, in seconds since 1970; of a log, when its last part was stored."""
        if self._checked(name).endswith(SUFFIX):
            known = look(self._objects, name)
            if known.pieces:
                return max(piece.modified for piece in known.pieces)
        return self._objects.head(name).modified

    def list(self, prefix: str = "") -> Iterator[Entry]:
        above = prefix.split("/")[:-1]
        if any(part in ("", ".", "..") for part in above):
            return iter(())
        return self._reading.list(prefix, lambda key: key.startswith(probe.CANARY))

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names of what lies in the folder itself."""
        names = {
            name.removesuffix(FOLDER[:-1]) for name in self._objects.names(prefix) if not name.startswith(probe.CANARY)
        }
        return iter(sorted(names))

    # -- locks --------------------------------------------------------------------------------------

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return machine_locks(f"{self._objects.store} {self.url}").lock(self._checked(name), shared=shared)

    def claim(self, name: str, token: bytes) -> Lock | None:
        return machine_locks(f"{self._objects.store} {self.url}").claim(self._checked(name), token)

    def _checked(self, name: str) -> str:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") or f"{part}/".endswith(FOLDER) for part in parts):
            raise StorageError(f"{name!r} is not a name inside {self.url}")
        return name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


class LeasedStorage(ObjectStorage):
    """Where the server keeps writers apart and has a clock, locks hold between machines, and claims of workers do.

    A session that has one owner is open on one machine, so that its processes claim by that machine's kernel: a claim
    costs no request.
    """

    def __init__(self, objects: Objects, settings: Settings | None = None) -> None:
        super().__init__(objects, settings)
        self.leases = Leases(self)

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return self.leases.lock(self._checked(name), shared)

    def claim(self, name: str, token: bytes) -> Lock | None:
        if WORKER not in os.environ:
            return super().claim(name, token)
        return self.leases.claim(self._checked(name), token)
