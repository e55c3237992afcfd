"""Copies a file of the source, checked while it is read: the copy is what was planned, or there is none."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from custody.errors import StorageError
from custody.migrate import source as sources
from custody.migrate.source import shown


def copy(source: Path, path: str, sha256: str, target: Path) -> None:
    """Copy ``path`` of the source to ``target``, durably and in one step. Does nothing where it is there already.

    Raises StorageError where the file is not what it was when the plan was made, or something else is in its place.
    """
    if target.is_file() and not target.is_symlink() and digest(target) == sha256:
        return
    if target.exists() or target.is_symlink():
        raise StorageError(f"{shown(str(target))} is there already, and is another file; nothing was overwritten")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    found = hashlib.sha256()
    try:
        with sources.opened(source / path) as old, temporary.open("wb") as new:
            stamps = os.fstat(old.fileno())
            while data := old.read(1 << 20):
                found.update(data)
                new.write(data)
            new.flush()
            os.fsync(new.fileno())
        if found.hexdigest() != sha256:
            raise StorageError(f"{shown(path)} was changed while it was migrated; plan it again")
        os.utime(temporary, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
        os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def beside(target: Path) -> Path:
    """Where a copy is written before it is in its place; one that a kill left is written again, or removed."""
    return target.parent / f".tmp-migrate-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}"


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            found.update(data)
    return found.hexdigest()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
