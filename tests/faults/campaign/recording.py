"""Every operation on files of a real session, in order, with its acknowledgements between.

``start`` is a job's ``setup``: it puts itself between the program and the operating system. That it has
missed nothing is checked: what the operations add up to has to be the folder that is there, byte for byte.
"""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any, Literal

from campaign.work import Job

Kind = Literal["mkdir", "create", "link", "unlink", "rename", "write", "truncate", "sync", "syncdir", "ack", "durable"]

NAMES = ("mkdir", "create", "link", "unlink", "rename")
"""What changes a folder."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. Paths are relative to the root of the recording.

    Attributes:
        file: number of the file, a name of its own that no rename changes.
        at: offset of a write; new size of a truncation; of a sync, how many changes of the file
            or folder it covers.
        item: of an acknowledgement, with the answer's digest in ``path``.

    ``durable`` says that all before it, which the program has found there, is on the disk.
    """

    kind: Kind
    path: str = ""
    to: str = ""
    file: int = 0
    at: int = 0
    data: bytes = b""
    item: int = -1


def start(job: Job) -> None:
    """Record from here on; the file ``<root>.ops`` holds the operations when the program ends."""
    recorder = _Recorder(job.root)
    recorder.install()
    save = functools.partial(_save, recorder, Path(f"{job.root}.ops"))
    util.Finalize(None, save, exitpriority=0)  # multiprocessing's children run no atexit
    atexit.register(save)


def load(root: Path) -> list[Op]:
    """The operations that ``start`` recorded."""
    found: list[Op] = pickle.loads(Path(f"{root}.ops").read_bytes())
    return found


def _save(recorder: _Recorder, path: Path) -> None:
    recorder.recording = False
    path.write_bytes(pickle.dumps(recorder.ops))


class _Recorder:
    def __init__(self, root: Path) -> None:
        self.ops: list[Op] = []
        self.recording = True
        self._root = os.fspath(root)
        self._lock = threading.RLock()
        self._names: dict[str, int] = {}
        self._fds: dict[int, tuple[int, str]] = {}  # by descriptor: number and path; number 0 is a folder
        self._changes: dict[int, int] = {}
        self._entries: dict[str, int] = {}  # changes of a folder's names
        self._count = 0

    def install(self) -> None:
        for path in sorted(Path(self._root).rglob("*")):
            self._note("mkdir" if path.is_dir() else "create", os.fspath(path), file=self._named(path))
            if path.is_file():
                self._changed("write", os.fspath(path), self._names[os.fspath(path)], 0, path.read_bytes())
        self.ops.append(Op("durable"))
        between = {
            "open": self._open, "close": self._close, "write": self._write, "pwrite": self._pwrite,
            "fsync": self._sync, "fdatasync": self._sync, "ftruncate": self._truncate, "mkdir": self._mkdir,
            "link": self._link, "unlink": self._unlink, "remove": self._unlink, "rename": self._rename,
            "replace": self._rename,
        }  # fmt: skip
        for name, ours in between.items():
            setattr(os, name, functools.partial(ours, getattr(os, name)))

    def _named(self, path: str | Path) -> int:
        self._count += 1
        self._names[os.fspath(path)] = self._count
        return self._count

    def _mine(self, path: Any, **options: Any) -> str | None:
        if not self.recording or not isinstance(path, (str, os.PathLike)) or options.get("dir_fd") is not None:
            return None
        text = os.path.abspath(os.fspath(path)) if isinstance(os.fspath(path), str) else ""
        return text if text == self._root or text.startswith(self._root + "/") else None

    def _note(self, kind: Kind, path: str = "", to: str = "", **fields: Any) -> None:
        def relative(name: str) -> str:
            return os.path.relpath(name, self._root) if name else ""

        self.ops.append(Op(kind, relative(path), relative(to), **fields))
        if kind in NAMES and path != self._root:
            for folder in {os.path.dirname(name) for name in (path, to) if name}:
                self._entries[folder] = self._entries.get(folder, 0) + 1

    def _open(self, real: Callable[..., int], path: Any, flags: int, *rest: Any, **options: Any) -> int:
        mine = self._mine(path, **options)
        if mine is None:
            return real(path, flags, *rest, **options)
        with self._lock:
            new = not os.path.lexists(mine)
            fd = real(path, flags, *rest, **options)
            if os.path.isdir(mine):
                self._fds[fd] = (0, mine)
                return fd
            if new:
                self._note("create", mine, file=self._named(mine))
            self._fds[fd] = (self._names[mine], mine)
            if flags & os.O_TRUNC and not new:
                self._changed("truncate", mine, self._names[mine], 0)
            return fd

    def _close(self, real: Callable[..., None], fd: int) -> None:
        with self._lock:
            self._fds.pop(fd, None)
            real(fd)

    def _write(self, real: Callable[..., int], fd: int, data: Any) -> int:
        with self._lock:
            number, path = self._fds.get(fd, (0, ""))
            if not number:
                said = bytes(data[:200]).split()
                done = real(fd, data)
                if self.recording and said[:1] == [b"ack"]:
                    self.ops.append(Op("ack", said[2].decode(), item=int(said[1])))
                return done
            at = os.fstat(fd).st_size
            done = real(fd, data)
            self._changed("write", path, number, at, bytes(memoryview(data)[:done]))
            return done

    def _pwrite(self, real: Callable[..., int], fd: int, data: Any, at: int) -> int:
        with self._lock:
            done = real(fd, data, at)
            number, path = self._fds.get(fd, (0, ""))
            if number:
                self._changed("write", path, number, at, bytes(memoryview(data)[:done]))
            return done

    def _truncate(self, real: Callable[..., None], fd: int, size: int) -> None:
        with self._lock:
            real(fd, size)
            number, path = self._fds.get(fd, (0, ""))
            if number:
                self._changed("truncate", path, number, size)

    def _changed(self, kind: Kind, path: str, number: int, at: int, data: bytes = b"") -> None:
        self._changes[number] = self._changes.get(number, 0) + 1
        self._note(kind, path, file=number, at=at, data=data)

    def _sync(self, real: Callable[..., None], fd: int) -> None:
        with self._lock:
            number, path = self._fds.get(fd, (0, ""))
            # What is written while the disk works may not be in it.
            covered = self._changes.get(number, 0) if number else self._entries.get(path, 0)
        real(fd)
        with self._lock:
            if number:
                self._note("sync", path, file=number, at=covered)
            elif path:
                self._note("syncdir", path, at=covered)

    def _mkdir(self, real: Callable[..., None], path: Any, *rest: Any, **options: Any) -> None:
        mine = self._mine(path, **options)
        with self._lock:
            real(path, *rest, **options)
            if mine is not None:
                self._note("mkdir", mine)

    def _link(self, real: Callable[..., None], path: Any, to: Any, **options: Any) -> None:
        mine, there = self._mine(path), self._mine(to)
        with self._lock:
            real(path, to, **options)
            if mine is not None and there is not None:
                self._names[there] = self._names[mine]
                self._note("link", mine, there, file=self._names[mine])

    def _unlink(self, real: Callable[..., None], path: Any, **options: Any) -> None:
        mine = self._mine(path, **options)
        with self._lock:
            real(path, **options)
            if mine is not None:
                self._note("unlink", mine, file=self._names.pop(mine))

    def _rename(self, real: Callable[..., None], path: Any, to: Any, **options: Any) -> None:
        mine, there = self._mine(path), self._mine(to)
        with self._lock:
            real(path, to, **options)
            if mine is not None and there is not None:
                self._names[there] = self._names.pop(mine)
                self._note("rename", mine, there, file=self._names[there])
