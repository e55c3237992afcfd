"""Where sessions lie: a folder on disk, or one below a URL that a storage plugin opens.

``folder`` makes either from what a user wrote; ``at`` opens the storage of one. A ``RemoteFolder`` has those methods of
``pathlib.Path`` that custody asks of a folder of sessions, so that the layout is one for both.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from custody.errors import UsageError
from custody.storage import Foldered, Storage
from custody.storage.local import LocalStorage

opener: Callable[[str, bool], Storage] | None = None
"""Opens a URL by the storage plugins; set by whoever loads them (``sessions.process``)."""

_opened: dict[str, Storage] = {}  # for looking only, by URL: a probe and a connection each


class RemoteFolder:
    """A folder, or an object, below a URL as ``s3://bucket/study``. There is nothing to be made before it is used."""

    def __init__(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        parts = [part for part in rest.split("/") if part]
        if not separator or not scheme or any(part in (".", "..") for part in parts):
            raise UsageError(f"{url} is no URL of a storage: write it as s3://bucket/folder")
        # A third slash begins an absolute path: sqlite:///data/study.db is on this machine, and data is no host.
        self._head, self._parts = f"{scheme}:///" if rest.startswith("/") else f"{scheme}://", tuple(parts)

    @classmethod
    def _of(cls, head: str, parts: Sequence[str]) -> RemoteFolder:
        made = cls.__new__(cls)
        made._head, made._parts = head, tuple(parts)
        return made

    def __str__(self) -> str:
        return f"{self._head}{'/'.join(self._parts)}"

    def __repr__(self) -> str:
        return f"RemoteFolder({str(self)!r})"

    def __fspath__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFolder) and str(self) == str(other)

    def __lt__(self, other: RemoteFolder) -> bool:
        return self._parts < other._parts

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> RemoteFolder:
        return self._of(self._head, (*self._parts, *(part for part in name.split("/") if part)))

    @property
    def name(self) -> str:
        return self._parts[-1] if self._parts else ""

    @property
    def parent(self) -> RemoteFolder:
        return self._of(self._head, self._parts[:-1])

    @property
    def parents(self) -> Sequence[RemoteFolder]:
        """The nearest first; the last one is the bucket."""
        return [self._of(self._head, self._parts[:end]) for end in range(len(self._parts) - 1, 0, -1)]

    def resolve(self) -> RemoteFolder:
        return self

    def is_file(self) -> bool:
        """Whether there is an object of this name. Raises OSError."""
        above = _looking(self.parent) if self.name else None
        return above is not None and any(entry.name == self.name for entry in above.list(self.name))

    def is_dir(self) -> bool:
        """Whether there is anything below. Raises OSError."""
        storage = _looking(self)
        if storage is None:
            return False
        below = storage.folders() if isinstance(storage, Foldered) else storage.list()
        return next(iter(below), None) is not None

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[RemoteFolder]:
        """What lies in it: folders, where the storage can tell them without listing all that is in them."""
        storage = _looking(self)
        return (self / name for name in (_names(storage) if storage is not None else ()))

    def glob(self, pattern: str) -> Iterator[RemoteFolder]:
        """By parts with ``*`` within one, as ``projects/*/experiments/*``; a part without one is taken as there."""
        first, _, rest = pattern.partition("/")
        found = (each for each in self.iterdir() if fnmatchcase(each.name, first)) if "*" in first else (self / first,)
        for each in found:
            if rest:
                yield from each.glob(rest)
            elif "*" in first or each.exists():
                yield each

    def read_bytes(self) -> bytes:
        """Raises FileNotFoundError."""
        above = _looking(self.parent)
        if above is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return above.read(self.name)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Raises FileNotFoundError, UnicodeDecodeError."""
        return self.read_bytes().decode(encoding)


Folder: TypeAlias = Path | RemoteFolder


_ONE_SLASH = re.compile(r"(s3a?|gs|gcs|az|abfss?|sftp|ssh|memory|https?|file):/(?!/)")
"""A URL that is mistyped would be a folder here, on each machine another one."""


def folder(place: str | os.PathLike[str]) -> Folder:
    """What a user or a variable names, absolute. Raises UsageError."""
    if isinstance(place, RemoteFolder):
        return place
    text = os.fspath(place)
    if "://" in text and not text.startswith("file://"):
        return RemoteFolder(text)
    if match := _ONE_SLASH.match(text):
        raise UsageError(f"{text}: a URL has two slashes, {match[1]}://..., and a folder of this name is ./{text}")
    return Path(text.removeprefix("file://")).resolve()


def named(session: Folder) -> str:
    """How the next command names it: by its id, and by its URL where it lies below one."""
    return str(session) if isinstance(session, RemoteFolder) else session.name


def local(place: str | os.PathLike[str], what: str) -> Path:
    """One on disk, for what is done on disk only. Raises UsageError."""
    found = folder(place)
    if isinstance(found, RemoteFolder):
        raise UsageError(f"{what} works on folders of this machine, and {found} is none")
    return found


def at(place: Folder, *, create: bool = False) -> Storage:
    """The storage of a folder. Raises UsageError, PluginError, StorageError, OSError; FileNotFoundError where a plugin
    says that nothing is there."""
    if isinstance(place, Path):
        return LocalStorage(place, create=create)
    if opener is None:
        raise UsageError(f"{place}: no storage plugin is loaded that could open it")
    return opener(str(place), create)


def _looking(place: RemoteFolder) -> Storage | None:
    """None where nothing is: there may be something when it is asked again."""
    found = _opened.get(str(place))
    if found is None:
        try:
            found = _opened[str(place)] = at(place)
        except FileNotFoundError:
            return None
    return found


def _names(storage: Storage) -> list[str]:
    if isinstance(storage, Foldered):
        return list(storage.folders())
    return sorted({entry.name.partition("/")[0] for entry in storage.list()})
