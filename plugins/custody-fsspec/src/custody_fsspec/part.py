"""The part of a session that lies on this machine while its server is written behind it.

``<base>/<digest of the URL>/``::

    about.json     url, store, token (also in the marker on the server), since; what has none is not a part yet
    lock           shared by all who write, exclusive for who uploads what dead processes left
    files/         a folder as any local session's, of what was written here since the start
    logs/          of each log: from which byte on it is here, and whether many write to it
    removed/       names of what was removed, and may still be on the server
    compact/       names of logs that are to be one object as soon as they are uploaded
    uploaded       nothing here is missing on the server

In the three folders there is one file for each name, called by its digest: a name may be longer than a file's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from custody.plugin import Storage, UsageError
from custody.stamps import now
from custody.storage.local import LocalStorage, make_folder

_NAMED = 32  # hexadecimal digits
SEED = 8 * 1024 * 1024  # bytes: of a longer shared log only the last line is fetched


class Begun(NamedTuple):
    """A log of which the bytes from ``begin`` on are here."""

    begin: int
    shared: bool


def base() -> Path:
    """Where the parts of this machine are. Raises UsageError."""
    own, state, home = (os.environ.get(name) for name in ("CUSTODY_LOCAL_DIR", "XDG_STATE_HOME", "HOME"))
    if own:
        return Path(own)
    if state:
        return Path(state, "custody", "behind")
    if home:
        return Path(home, ".local", "state", "custody", "behind")
    raise UsageError("CUSTODY_DURABILITY=local-then-remote needs a folder on a disk: give one in CUSTODY_LOCAL_DIR")


def place(store: str, url: str) -> Path:
    return base() / hashlib.sha256(f"{store} {url}".encode("utf-8", "surrogateescape")).hexdigest()[:_NAMED]


class Part:
    """One that is there. Opening takes its lock; a part that others have locked otherwise raises BlockingIOError."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        """Raises FileNotFoundError where there is none."""
        self.folder = folder
        self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            self._read()
            if os.fstat(self._fd).st_nlink == 0:
                raise FileNotFoundError(folder)
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def make(cls, store: str, url: str) -> Part:
        """Raises FileExistsError where there is one; UsageError, OSError."""
        folder = place(store, url)
        if (folder / "about.json").exists():
            raise FileExistsError(folder)
        shutil.rmtree(folder, ignore_errors=True)  # a kill came while one was made
        for name in ("files", "logs", "removed", "compact"):
            make_folder(folder / name)
        os.chmod(folder, 0o700)
        (folder / "lock").touch()
        about = {"url": url, "store": store, "token": secrets.token_hex(16), "since": now()}
        LocalStorage(folder, create=False).put("about.json", json.dumps(about).encode() + b"\n")
        for _ in range(50):  # whoever looks for parts of dead processes holds it for a moment
            with contextlib.suppress(BlockingIOError):
                return cls(folder, alone=False)
            time.sleep(0.02)
        raise OSError(f"{folder} is in use by another process; try again")

    @classmethod
    def look(cls, folder: Path) -> Part:
        """Without its lock, for looking only. Raises FileNotFoundError where there is none."""
        made = cls.__new__(cls)
        made.folder, made._fd = folder, -1
        made._read()
        return made

    def _read(self) -> None:
        about = json.loads((self.folder / "about.json").read_bytes())
        self.url, self.store = str(about["url"]), str(about["store"])
        self.token, self.since = str(about["token"]), str(about["since"])
        self.files = LocalStorage(self.folder / "files", create=False)

    def alone(self) -> bool:
        """Whether nobody else has it; nobody comes in from then on."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @property
    def uploaded(self) -> bool:
        """Whether the server is known to have all of it."""
        return (self.folder / "uploaded").exists()

    def mark_uploaded(self) -> None:
        LocalStorage(self.folder, create=False).put("uploaded", b"")

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def remove(self) -> None:
        """Take it off this machine."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def set_aside(self) -> Path:
        """Out of the way, for a person to look at."""
        to = self.folder.with_name(f"{self.folder.name}-given-up-{self.token[:8]}")
        self.folder.rename(to)
        self.close()
        return to

    # -- what lies in it ----------------------------------------------------------------------------

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Of what lies in ``files``, as it lies there."""
        return {entry.name: entry.size for entry in self.files.list(prefix)}

    def has(self, name: str) -> bool:
        return (self.folder / "files" / name).is_file()

    def begun(self, name: str) -> Begun | None:
        """None of what is no log."""
        try:
            said = json.loads(self._mark("logs", name).read_bytes())
        except FileNotFoundError:
            return None
        return Begun(int(said["begin"]), bool(said["shared"]))

    def begin_log(self, name: str, begun: Begun) -> None:
        """Before its first byte is here: a file that is not known to be a log is taken for an object."""
        path = self._mark("logs", name)
        LocalStorage(path.parent, create=False).put(path.name, json.dumps(begun._asdict()).encode())

    def seed(self, name: str, remote: Storage, size: int) -> None:
        """A shared log of ``size`` bytes on the server is gone on with here."""
        with (self.folder / "logs.lock").open("ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if self.has(name):
                return
            begin = 0 if size <= SEED else _last_line(name, remote, size)
            data = remote.read(name, begin, size - begin) if size else b""
            self.begin_log(name, Begun(begin, shared=True))
            self.files.put(name, data)

    def forget(self, name: str) -> None:
        """It was removed."""
        self.mark("removed", name)
        self.files.remove(name)
        self._mark("logs", name).unlink(missing_ok=True)

    def mark(self, what: str, name: str) -> None:
        path = self._mark(what, name)
        LocalStorage(path.parent, create=False).put_if_absent(path.name, name.encode("utf-8", "surrogateescape"))

    def unmark(self, what: str, name: str) -> None:
        self._mark(what, name).unlink(missing_ok=True)

    def marked(self, what: str, name: str) -> bool:
        return self._mark(what, name).exists()

    def all_marked(self, what: str) -> set[str]:
        folder = self.folder / what
        return {os.fsdecode((folder / file).read_bytes()) for file in os.listdir(folder) if not file.startswith(".")}

    def _mark(self, what: str, name: str) -> Path:
        return self.folder / what / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def all_parts() -> Iterator[Part]:
    """Those of dead processes. They are locked, and to be closed."""
    with contextlib.suppress(FileNotFoundError, UsageError):
        for folder in sorted(base().iterdir()):
            if len(folder.name) == _NAMED:
                with contextlib.suppress(OSError, ValueError, KeyError):  # in use, or none
                    yield Part(folder, alone=True)


def parts(store: str, url: str) -> Iterator[Part]:
    """The same, of a folder in a store and of all that is below it."""
    for part in all_parts():
        if part.store == store and f"{part.url}/".startswith(f"{url}/"):
            yield part
        else:
            part.close()


def _last_line(name: str, remote: Storage, size: int) -> int:
    """The byte that a log's last whole line begins with."""
    step = SEED // 2
    tail = remote.read(name, size - step, step)
    end = tail.rfind(b"\n")
    begin = tail.rfind(b"\n", 0, end) if end > 0 else -1
    return size - step + begin + 1 if begin >= 0 else 0
