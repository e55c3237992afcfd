"""The source: every entry of a folder, read only, none followed out of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from custody.errors import StorageError, UsageError

Kind = Literal["file", "symlink", "special", "unreadable"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One entry. ``path`` is relative, with ``/``; bytes that are no UTF-8 are surrogate escapes.

    Attributes:
        size: bytes of a regular file; 0 for anything else, which has none of its own.
        target: where a symlink points to, as written.
        problem: why it could not be read.
    """

    path: str
    size: int
    kind: Kind
    sha256: str | None = None
    target: str = ""
    problem: str = ""


def walk(root: Path) -> list[SourceFile]:
    """Every entry below ``root`` that is no folder, sorted, with its SHA-256. Raises UsageError."""
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder" if not root.exists() else f"{root} is no folder")
    found: list[SourceFile] = []

    def refused(error: OSError) -> None:
        name = os.path.relpath(os.fspath(error.filename or root), root)
        found.append(SourceFile(name, 0, "unreadable", problem=error.strerror or str(error)))

    for where, folders, files in os.walk(root, onerror=refused, followlinks=False):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in (*links, *files):
            path = os.path.join(where, name)
            found.append(_entry(path, os.path.relpath(path, root).replace(os.sep, "/")))
    return sorted(found, key=lambda entry: os.fsencode(entry.path))


def read(root: Path, path: str) -> bytes:
    """A file's bytes. Raises StorageError."""
    try:
        with opened(root / path) as file:
            return file.read()
    except OSError as error:
        raise StorageError(f"{shown(path)} cannot be read: {error.strerror}") from error


def total(root: Path) -> int:
    """Bytes of all regular files below ``root``, counted by another way than ``walk`` goes."""
    size, waiting = 0, [os.fspath(root)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def shown(path: str) -> str:
    """A path as text: bytes that are no UTF-8 as ``\\xNN``. Two paths may be shown alike; digests tell them apart."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _entry(path: str, name: str) -> SourceFile:
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return SourceFile(name, 0, "symlink", target=os.readlink(path))
        if not stat.S_ISREG(mode):
            return SourceFile(name, 0, "special", problem="neither a file nor a folder")
        size = os.lstat(path).st_size
    except OSError as error:
        return SourceFile(name, 0, "unreadable", problem=error.strerror or str(error))
    digest, read_bytes = hashlib.sha256(), 0
    try:
        with opened(Path(path)) as file:
            while data := file.read(1 << 20):
                digest.update(data)
                read_bytes += len(data)
    except OSError as error:
        return SourceFile(name, size, "unreadable", problem=error.strerror or str(error))
    return SourceFile(name, read_bytes, "file", digest.hexdigest())


def opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
