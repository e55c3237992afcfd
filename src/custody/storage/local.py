"""A session in a local folder: plain files, kernel locks, fdatasync.

Durability: a new file's folder is synced once, its data with fdatasync (on macOS F_FULLFSYNC, because
fsync there stops at the drive's cache). Objects are written beside their place and renamed or linked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

from custody.errors import StorageError, UsageError
from custody.storage import Entry, Lock, Log, SharedLog
from custody.storage.watch import FolderWatch

_CLAIM_SPAN = 2**62
_TAIL = 4096
_CUT = b"\x18"  # CAN: ends a line that a crash cut short; no text that is written here holds one


class LocalStorage:
    """Files below ``root``. Raises UsageError where ``root`` cannot be a writable folder."""

    keeps_appends: Literal[True] = True  # in the page cache

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        self.url = str(root)
        self._claims: dict[str, _ClaimFile] = {}
        self._claims_lock = threading.Lock()
        if create:
            try:
                make_folder(root)
            except FileExistsError as error:
                raise UsageError(f"{error.filename}: a file is where a folder should be") from error
            except NotADirectoryError as error:
                raise UsageError(f"{error.filename}: a file is in the way of this folder") from error
            except OSError as error:
                raise UsageError(f"{error.filename}: cannot make this folder: {error.strerror}") from error
            if not os.access(root, os.W_OK | os.X_OK):
                raise UsageError(f"{root}: this folder cannot be written")

    def create_log(self, name: str) -> Log:
        path = self._path(name)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        sync_folder(path.parent)
        return _LocalLog(fd)

    def shared_log(self, name: str) -> SharedLog:
        return _LocalSharedLog(self._path(name))

    def watch(self, folder: str, own: str) -> FolderWatch:
        return FolderWatch(self._path(f"{folder}/x").parent, own)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        return self.put_stream(name, (data,))

    def put_stream(self, name: str, blocks: Iterable[bytes]) -> bool:
        path = self._path(name)
        temporary = self._write_beside(path, blocks)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        sync_folder(path.parent)
        return True

    def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        temporary = self._write_beside(path, (data,))
        try:
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_folder(path.parent)

    def settle(self, name: str) -> None:
        fd = os.open(self._path(name, make=False), os.O_RDWR | os.O_CLOEXEC)
        try:
            _sync(fd)
        finally:
            os.close(fd)

    def modified(self, name: str) -> float:
        return self._path(name, make=False).stat().st_mtime

    def remove(self, name: str) -> None:
        path = self._path(name, make=False)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        path = self._path(name, make=False)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            wanted = os.fstat(fd).st_size - offset if size is None else size
            parts = []
            while wanted > 0 and (part := os.pread(fd, wanted, offset)):
                parts.append(part)
                wanted, offset = wanted - len(part), offset + len(part)
        except OSError as error:
            error.filename = os.fspath(path)  # a folder, a bad sector: the message names it
            raise
        finally:
            os.close(fd)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        above = prefix.rpartition("/")[0]
        folder = self._path(above, make=False) if above or prefix.startswith("/") else self.root
        found = []
        for where, _, files in os.walk(folder):
            for file in files:
                path = Path(where, file)
                name = path.relative_to(self.root).as_posix()
                if name.startswith(prefix) and not file.startswith(".tmp-"):
                    with contextlib.suppress(FileNotFoundError):
                        known = path.stat()
                        if stat.S_ISREG(known.st_mode):  # whoever opens a pipe waits for its other end
                            found.append(Entry(name, known.st_size))
        return iter(sorted(found))

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        fd = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return _FileLock(fd)

    def claim(self, name: str, token: bytes) -> Lock | None:
        with self._claims_lock:
            file = self._claims.get(name)
            if file is None or file.pid != os.getpid():
                file = self._claims[name] = _ClaimFile(self._path(name))
        return file.take(token)

    def _path(self, name: str, *, make: bool = True) -> Path:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise StorageError(f"{name!r} is not a name inside {self.root}")
        path = self.root.joinpath(*parts)
        if make and not path.parent.is_dir():
            if not self.root.is_dir():  # moved, deleted, unmounted: half a session must not be begun in its place
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root))
            make_folder(path.parent)
        return path

    def _write_beside(self, path: Path, blocks: Iterable[bytes]) -> Path:
        temporary = path.with_name(f".tmp-{path.name[:80]}-{secrets.token_hex(8)}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            for block in blocks:
                _write_all(fd, block)
            _sync(fd)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)
        return temporary


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, durably: a name is there after a power cut only when the folder in which
    it stands was synced. Raises OSError."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        sync_folder(path.parent)


class _LocalLog:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def append(self, data: bytes) -> None:
        _write_all(self._fd, data)

    def sync(self) -> None:
        _sync(self._fd)
        if os.fstat(self._fd).st_nlink == 0:  # durable, and nobody will ever find it
            raise FileNotFoundError(errno.ENOENT, "the file was deleted while it was written")

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class _LocalSharedLog:
    """The lock is on the log itself. The last line is remembered and read again only when the size moved.

    A line that a crash cut is kept and ended by ``_CUT`` and a newline; it is nobody's last line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.Lock()
        self._fd = -1
        _shared_logs.add(self)
        self._size = -1
        self._last: bytes | None = None

    def append(self, make: Callable[[bytes | None], list[bytes]]) -> None:
        with self._thread_lock:
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                stat = os.fstat(fd)
                if stat.st_nlink == 0:  # removed, or replaced by a copy, meanwhile
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    fd = self._open(anew=True)
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    stat = os.fstat(fd)
                size = stat.st_size
                heal = b""
                if size != self._size:
                    self._last, torn = _last_line(fd, size)
                    heal = _CUT + b"\n" if torn else b""
                lines = make(self._last)
                if not lines:
                    return
                data = heal + b"".join(lines)
                self._size = -1  # until the write is known to be whole
                _write_all(fd, data)
                self._size = size + len(data)
                self._last = lines[-1].rstrip(b"\n")
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)

    def _open(self, *, anew: bool = False) -> int:
        """The file, opened once."""
        if self._fd < 0 or anew:
            self.close()
            self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._fd

    def forked(self) -> None:
        """In a forked child: another thread may have been in the middle of an append."""
        self._thread_lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file; the next append opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    __del__ = close


_shared_logs: weakref.WeakSet[_LocalSharedLog] = weakref.WeakSet()


def _in_forked_child() -> None:
    """A child that kept the files open would share its parent's locks, and hold them when the parent is killed."""
    for log in tuple(_shared_logs):
        log.close()
        log.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


class _FileLock:
    def __init__(self, fd: int) -> None:
        self._fd, self._pid = fd, os.getpid()

    def release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            if self._pid == os.getpid():  # a forked child has the file open, and may outlive this lock
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


class _ClaimFile:
    """Byte-range locks of one file: one descriptor a process, because closing any frees them all.

    POSIX locks belong to the process, so two threads of one are kept apart by ``_held``.
    """

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._lock = threading.RLock()  # an abandoned stream frees its claim whenever it is collected
        self._held: set[int] = set()

    def take(self, token: bytes) -> Lock | None:
        offset = int.from_bytes(sha256(token).digest()[:8]) % _CLAIM_SPAN
        with self._lock:
            if offset in self._held:
                return None
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return None
                raise
            self._held.add(offset)
        return _RangeLock(self, offset)

    def free(self, offset: int) -> None:
        with self._lock:
            if offset in self._held and self.pid == os.getpid():
                self._held.discard(offset)
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, offset)


class _RangeLock:
    def __init__(self, file: _ClaimFile, offset: int) -> None:
        self._file, self._offset = file, offset

    def release(self) -> None:
        self._file.free(self._offset)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync(fd: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _last_line(fd: int, size: int) -> tuple[bytes | None, bool]:
    """The last complete line of a file, and whether a torn one follows it."""
    tail, start = b"", size
    while True:
        whole, newline, torn = tail.rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        for line in reversed(lines if start == 0 else lines[1:]):  # the first may begin before the tail
            if not line.endswith(_CUT):
                return line, bool(torn)
        if start == 0:
            return None, bool(torn)
        step = min(max(_TAIL, len(tail)), start)
        start -= step
        tail = os.pread(fd, step, start) + tail
