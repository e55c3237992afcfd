"""Which archived request is nearest to one that is not in the archive."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from custody.errors import ArchiveDamaged
from custody.identity.difference import PARTS, Difference, Leaves, differences, leaves, likeness
from custody.journal import lines
from custody.journal.archive import Archive, StoredCall
from custody.storage.local import LocalStorage

# Call lines, where not all are to be read; elsewhere each is a request to a server.
_LOOKED_AT, _ELSEWHERE = 2000, 400


class Nearest(NamedTuple):
    """A call, its exchange, and how that one's request differs; no differences: it is the same request."""

    call: StoredCall
    exchange: str
    differences: list[Difference]


def nearest(
    archive: Archive,
    labels: Mapping[str, Any],
    asked: Leaves,
    parts: Collection[str] = PARTS,
    most: int | None = None,
) -> Nearest | None:
    """The archived request with the fewest differences, then the most like one.

    Of requests that are equally near, one of a call with more of these labels. ``most`` bounds how many
    requests are read, those of the calls with the most of the labels first; where there are very many calls, the
    labels of some of them are compared then, because each takes reading a line. What cannot be read is passed over.
    """

    def closeness(call: StoredCall) -> int:
        theirs = call.fields.get("scope")
        theirs = theirs if isinstance(theirs, dict) else {}
        return -sum(1 for name, value in labels.items() if theirs.get(name) == value)

    best: tuple[int, float, Nearest] | None = None
    among = (
        archive.calls.values()
        if most is None
        else archive.calls.some(_LOOKED_AT if isinstance(archive.storage, LocalStorage) else _ELSEWHERE)
    )
    for call in islice(sorted(among, key=closeness), most):
        for exchange, theirs in _requests(archive, call, parts):
            found = list(islice(differences(theirs, asked), best[0] + 1 if best else None))
            if best is not None and len(found) > best[0]:
                continue
            like = likeness(theirs, asked) if found else float("inf")
            if best is None or (len(found), -like) < (best[0], -best[1]):
                best = len(found), like, Nearest(call, exchange, found)
    return best[2] if best else None


def stored_leaves(request: Mapping[str, Any], parts: Collection[str] = PARTS) -> Leaves:
    """The leaves of a request line, or of what has its fields. Raises ArchiveDamaged."""
    try:
        pairs = tuple((str(name), str(value)) for name, value in request["headers"])
        digests = dict(request.get("header_digests") or {})
        return leaves(request["method"], request["url"], pairs, lines.unpack(request["body"]), digests, parts)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArchiveDamaged(f"a stored request cannot be read: {error!r}") from error


def _requests(archive: Archive, call: StoredCall, parts: Collection[str]) -> Iterator[tuple[str, Leaves]]:
    """The requests of a call that differ among themselves: retries ask the same."""
    attempts = call.fields.get("attempts")
    keys = {a["exchange"]: a.get("request_key") for a in attempts or () if isinstance(a, dict) and "exchange" in a}
    by_key = {key: exchange for exchange, key in keys.items()}  # the last of each
    for exchange in by_key.values():
        try:
            yield exchange, stored_leaves(archive.request(call, exchange), parts)
        except (ArchiveDamaged, KeyError):
            continue
