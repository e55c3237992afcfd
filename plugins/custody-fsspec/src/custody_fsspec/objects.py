"""What the storage asks of an object store. One module implements it for each client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable


class Stored(NamedTuple):
    """An object. ``size`` in bytes; ``modified`` in seconds since 1970, by the server's clock, 0 where unknown."""

    key: str
    size: int
    modified: float


class Unconditional(OSError):
    """The store says that it knows no put-if-absent (501 on S3)."""


class Objects(Protocol):
    """Objects below one URL, by keys relative to it. Every error is an OSError; none of them names a credential.

    Attributes:
        url: as given; never with a credential.
        store: the same for all that lies in one bucket of one server.
        conditional: the client has a put-if-absent; whether the server honours it, the probe finds out.
        ordered: the server lists by key, so that a listing can begin after one.
        server_clock: ``modified`` is the server's.
    """

    url: str
    store: str
    conditional: bool
    ordered: bool
    server_clock: bool
    durability: Literal["process", "machine", "server"]

    def get(self, key: str, offset: int = 0, size: int | None = None) -> tuple[bytes, int]:
        """Bytes, fewer than asked only at the end, and the size of all of it. Raises FileNotFoundError."""

    def put(self, key: str, data: bytes) -> None:
        """Store or replace, atomically."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Store unless the key is taken, atomically; False where it was. Raises Unconditional."""

    def delete(self, keys: Sequence[str]) -> None:
        """Keys that are not there are passed over."""

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stored]:
        """All objects whose key begins with ``prefix``; sorted, and only those after ``after``, if ``ordered``."""

    def names(self, folder: str = "") -> Iterator[str]:
        """What lies in a folder itself (no slash at its end)."""

    def head(self, key: str) -> Stored:
        """Raises FileNotFoundError."""


@runtime_checkable
class InPieces(Protocol):
    """A client that can store an object without holding all of it."""

    def put_pieces(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store or replace, atomically: what ``pieces`` raises is raised, and nothing is stored."""


def sort_key(key: str) -> bytes:
    """As servers sort."""
    return key.encode("utf-8", "surrogateescape")
