"""What a storage plugin implements. ``custody.testing.StorageContract`` is the suite to inherit.

Names are relative, written with ``/``. Errors are ``OSError`` or ``custody.errors.StorageError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable


class Entry(NamedTuple):
    """A stored object. ``size`` in bytes."""

    name: str
    size: int


class Log(Protocol):
    """An append-only log with one writer."""

    def append(self, data: bytes) -> None:
        """Hand ``data`` over. It need not be durable yet, but must survive the end of this process
        where the storage has a place for it that does (a local file's page cache)."""

    def sync(self) -> None:
        """Return when all that was appended is on stable storage. After an error the log is not used again."""

    def close(self) -> None: ...


class SharedLog(Protocol):
    """An append-only log with many writers, whose next entry may depend on the last one."""

    def append(self, make: Callable[[bytes | None], list[bytes]]) -> None:
        """Append the lines that ``make`` returns, given the last complete line (None when empty).
        No other writer appends in between. A line that a crash cut is ended by CAN and a newline
        (0x18 0x0A) before the next one, and is not complete."""


@runtime_checkable
class Batching(Protocol):
    """A shared log where each append waits for a server, and that can therefore also append in the background."""

    def append_soon(
        self, make: Callable[[bytes | None], list[bytes]], failed: Callable[[OSError], None] | None = None
    ) -> None:
        """As ``append``, soon and together with others; returns at once. What was given first is appended first,
        whether by this or by ``append``. What could not be written is tried again with what follows; ``failed`` is
        told of each attempt. What a killed process had given is lost."""

    def drain(self) -> None:
        """Return when all that was given to ``append_soon`` is stored. Raises OSError where it cannot be."""


class Lock(Protocol):
    """A lock that is released when its process dies, however it dies."""

    def release(self) -> None: ...


class Watch(Protocol):
    """Says cheaply whether other processes may have written to a session's logs."""

    def changed(self) -> bool:
        """Whether they may have, since ``taken`` was last called. Raises OSError."""

    def taken(self) -> None:
        """What ``changed`` found has been read."""


@runtime_checkable
class Watched(Protocol):
    """A storage that can say so; of any other one all logs are listed before each call."""

    def watch(self, folder: str, own: str) -> Watch:
        """For the logs in ``folder`` (no slash at its end), all but those whose names begin with ``own``."""


@runtime_checkable
class Settling(Protocol):
    """A storage where bytes can be read that are not on stable storage yet; in any other one they cannot."""

    def settle(self, name: str) -> None:
        """Return when all that can be read of an object or log is on stable storage."""


@runtime_checkable
class Clocked(Protocol):
    """A storage whose server says when an object was stored: a clock that all machines share."""

    def modified(self, name: str) -> float:
        """When the object was stored or replaced last, in seconds since 1970, by the server's clock.
        Raises FileNotFoundError."""


@runtime_checkable
class Foldered(Protocol):
    """A storage that can say what lies in a folder without listing all that is below."""

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names, not the paths, of the objects and folders in the folder ``prefix`` (no slash at its end)."""


@runtime_checkable
class Removing(Protocol):
    """A storage that removes many objects faster than one after another."""

    def remove_all(self, names: Sequence[str]) -> None:
        """``remove`` for objects that are no logs."""


@runtime_checkable
class Compacting(Protocol):
    """A storage that keeps a log in many pieces while it is written, and can make one of them."""

    def compact(self, name: str) -> None:
        """Make one object of a log. Only for who owns it alone: whoever still appended to a log of one writer is
        refused from here on. Nothing happens to what is one piece already. Raises FileNotFoundError, OSError."""


@runtime_checkable
class Merging(Protocol):
    """A storage that can make fewer pieces of a shared log, while others go on with it."""

    def merge(self, name: str) -> None:
        """Raises OSError."""


class Backlog(NamedTuple):
    """What lies on one machine and not yet in the storage.

    Attributes:
        machine: the name of the machine.
        since: when it began to write there first, as a stamp.
        here: it is this one. Only then the others are known:
        place: the folder.
        calls, bytes: how many wait to be stored.
    """

    machine: str
    since: str
    here: bool
    place: str = ""
    calls: int | None = None
    bytes: int | None = None


@runtime_checkable
class Behind(Protocol):
    """A storage that may be written on this machine first, and stored behind that."""

    def catch_up(self) -> None:
        """Store what dead processes of this machine have left to be stored, in this folder or below it.
        Raises OSError, StorageError."""

    def begin(self) -> None:
        """The owner's, before it reads or writes what others may have left; its manifest is stored by then. Raises
        BacklogElsewhere where calls may lie on another machine, OSError, UsageError."""

    def finish(self) -> None:
        """The owner's, last: wait for what is not stored yet, for a bounded time, and say what is left."""

    def backlog(self) -> Backlog | None:
        """None where nothing lies anywhere else. Raises OSError."""


@runtime_checkable
class Streaming(Protocol):
    """A storage that takes an object in pieces, so that nobody has to hold all of it."""

    def put_stream(self, name: str, blocks: Iterable[bytes]) -> bool:
        """As ``put_if_absent``, for who has the session alone: a store may only look before whether the name is taken.
        What ``blocks`` raises is raised, and nothing is stored then."""


class Capabilities(NamedTuple):
    """What a storage promises.

    Attributes:
        put_if_absent: of several writers exactly one stores an object, whatever machine they are on.
        why_not: where not, what was seen, for the message to who wanted several writers.
        durability: what a stored object survives: ``process`` nothing but this process, ``machine`` the kill of any
            process and, where its disk keeps its word, a power cut, ``server`` the loss of this machine.
        server_clock: ``Clocked.modified`` is a clock that all machines share.
        list_order: ``name`` where the server itself lists by name, else ``none`` (``list`` sorts in either case).
    """

    put_if_absent: bool
    durability: Literal["process", "machine", "server"]
    why_not: str = ""
    server_clock: bool = False
    list_order: Literal["name", "none"] = "none"


@runtime_checkable
class KeepsAppends(Protocol):
    """A storage whose ``Log.append`` is beyond this process: what was appended survives its kill before any ``sync``,
    as in a file. Of any other, requests are noted on this machine before they are sent (``journal.intents``)."""

    keeps_appends: Literal[True]


@runtime_checkable
class Capable(Protocol):
    """A storage that found out, when it was opened, what its server can do."""

    @property
    def capabilities(self) -> Capabilities:
        """Raises OSError where the server cannot be asked."""


@runtime_checkable
class Storage(Protocol):
    """One session's bytes."""

    url: str

    def create_log(self, name: str) -> Log:
        """A new, empty log. Raises FileExistsError where the name is taken."""

    def shared_log(self, name: str) -> SharedLog: ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Store an object durably and atomically unless the name is taken; False where it was."""

    def put(self, name: str, data: bytes) -> None:
        """Store or replace an object durably and atomically: readers see the old or the new, never a mix."""

    def remove(self, name: str) -> None:
        """Remove an object or a log that is not written to, durably. Nothing happens where it is not there."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes from ``offset``; fewer than ``size`` only at the end. Raises FileNotFoundError."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All objects and logs whose name begins with ``prefix``, sorted by name."""

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        """Take a lock without waiting; None where somebody else has it."""

    def claim(self, name: str, token: bytes) -> Lock | None:
        """The same for one of very many tokens within ``name``, without leaving anything behind."""
