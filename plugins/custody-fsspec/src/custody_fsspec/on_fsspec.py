"""Every other kind of storage, by fsspec; put-if-absent only where its client has one (``conditional.py``)."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import fsspec
from fsspec.core import url_to_fs

from custody.plugin import UsageError
from custody_fsspec.conditional import Conditional, conditional
from custody_fsspec.objects import Stored, sort_key
from custody_fsspec.settings import Settings

T = TypeVar("T")

_PROCESS = ("memory",)
_MACHINE = ("file", "local")
_TIMES = ("LastModified", "last_modified", "mtime", "created", "updated", "modified")


def objects(url: str, scheme: str, settings: Settings) -> FsspecObjects | None:
    """None where fsspec does not know the scheme. Raises UsageError where its client is not installed."""
    if scheme not in fsspec.available_protocols():
        return None
    try:
        system, root = _system(url)
    except ImportError as error:
        hint = {
            "s3": "custody-fsspec[s3]",
            "s3a": "custody-fsspec[s3]",
            "sftp": "custody-fsspec[sftp]",
            "ssh": "custody-fsspec[sftp]",
        }.get(scheme)
        raise UsageError(f"{url}: {'pip install ' + chr(34) + hint + chr(34) if hint else error}") from None
    return FsspecObjects(url, system, root, conditional(system, settings))


def _system(url: str) -> tuple[Any, str]:
    """Raises ImportError, and OSError where it connects at once, and cannot."""
    options = ({"use_listings_cache": False, "skip_instance_cache": True}, {"skip_instance_cache": True})
    for given in options:  # some hand all that they do not know on to their client, which does not know it either
        try:
            found: tuple[Any, str] = url_to_fs(url, **given)
            return found
        except TypeError:
            continue
        except (ImportError, UsageError):
            raise
        except Exception as error:
            raise OSError(f"{_shown(url)}: no connection ({type(error).__name__})") from None
    raise UsageError(f"{_shown(url)}: its file system cannot be opened by its URL alone")


def _shown(url: str) -> str:
    """Without what stands before an ``@``."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"


class FsspecObjects:
    """Objects below ``root`` of a file system."""

    ordered = False

    def __init__(self, url: str, system: Any, root: str, how: Conditional | None) -> None:
        protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
        self.url = _shown(url)
        self.store = f"{protocol}://{self.url.partition('://')[2].partition('/')[0]} fsspec"  # whoever asks for it
        self.conditional = how is not None
        self.server_clock = protocol not in (*_PROCESS, *_MACHINE)
        self.durability: Literal["process", "machine", "server"] = (
            "process" if protocol in _PROCESS else "machine" if protocol in _MACHINE else "server"
        )
        self._system, self._root, self._how = system, root.rstrip("/"), how
        # What is not made for an event loop has one connection, which two threads must not use at once (SFTP, FTP).
        alone = self.server_clock and not getattr(system, "async_impl", False)
        self._connection: contextlib.AbstractContextManager[Any] = (
            threading.RLock() if alone else contextlib.nullcontext()
        )
        self._pid = os.getpid()

    def get(self, key: str, offset: int = 0, size: int | None = None) -> tuple[bytes, int]:
        if size is None and not offset:
            data = self._ask(key, self._system.cat_file)
            return data, len(data)
        whole = self.head(key).size
        end = whole if size is None else min(whole, offset + size)
        if offset >= end:
            return b"", whole
        return self._ask(key, lambda path: self._system.cat_file(path, start=offset, end=end)), whole

    def put(self, key: str, data: bytes) -> None:
        if self._how is not None and self._how.put is not None:
            replace = self._how.put
            self._ask(key, lambda path: replace(path, data))
        else:
            self._ask(key, lambda path: self._put(path, data))

    def _put(self, path: str, data: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            self._system.makedirs(self._system._parent(path), exist_ok=True)
        if hasattr(
            getattr(self._system, "ftp", None), "posix_rename"
        ):  # SFTP: files, not objects: whoever reads meanwhile, or after a crash, sees a part
            beside = f"{self._system._parent(path)}/.tmp-{secrets.token_hex(8)}"
            self._system.pipe_file(beside, data)
            self._system.mv(beside, path)
        else:
            self._system.pipe_file(path, data)

    def put_new(self, key: str, data: bytes) -> bool:
        how = self._how
        if how is None:
            raise OSError(f"{self.url}: this kind of storage has no put-if-absent")
        return self._ask(key, lambda path: how.put_new(path, data))

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self._ask(key, self._system.rm_file)

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stored]:
        folder = prefix.rpartition("/")[0]
        try:
            found = self._ask(folder, lambda path: self._system.find(path.rstrip("/"), detail=True))
        except FileNotFoundError:
            return
        begin = len(self._root) + 1
        listed = []
        for path, info in found.items():
            key = path[begin:]
            if key.startswith(prefix) and path.startswith(f"{self._root}/") and "/.tmp-" not in f"/{key}":
                listed.append(Stored(key, info["size"] or 0, _time(info)))
        yield from sorted(listed, key=lambda each: sort_key(each.key))

    def names(self, folder: str = "") -> Iterator[str]:
        try:
            found = self._ask(folder, lambda path: self._system.ls(path.rstrip("/"), detail=False))
        except FileNotFoundError:
            return
        yield from sorted({path.rstrip("/").rpartition("/")[2] for path in found})

    def head(self, key: str) -> Stored:
        info = self._ask(key, self._system.info)
        if info.get("type") == "directory":
            raise FileNotFoundError(f"{self.url}/{key} does not exist")
        return Stored(key, info["size"] or 0, _time(info))

    def _ask(self, key: str, request: Callable[[str], T]) -> T:
        if self._pid != os.getpid() and self.server_clock:
            raise OSError(
                f"{self.url}: a forked process cannot go on with its parent's connections; start processes "
                "with 'spawn' or 'forkserver'"
            )
        # What libraries say of an error may quote requests: only its kind is passed on, and nothing is chained.
        try:
            with self._connection:
                return request(f"{self._root}/{key}" if key else self._root)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(f"{self.url}/{key} does not exist") from None
        except PermissionError:
            raise PermissionError(f"{self.url}/{key}: not permitted") from None
        except OSError as error:
            raise OSError(*_told(self.url, key, error)) from None  # with a number it is of its kind again
        except Exception as error:
            raise OSError(f"{self.url}/{key}: {type(error).__name__}") from None


def _told(url: str, key: str, error: OSError) -> tuple[Any, ...]:
    if error.errno is not None:
        return error.errno, os.strerror(error.errno), f"{url}/{key}"
    return (f"{url}/{key}: {type(error).__name__}",)


def _time(info: dict[str, Any]) -> float:
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0
