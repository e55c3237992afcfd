"""What a session's chronolog says of its calls, for ``verify``: read once, in pieces."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from custody import layout
from custody.integrity import chronolog
from custody.integrity.chain import Chain
from custody.sessions import heads
from custody.storage import Storage

_BLOCK = 4 * 1024 * 1024


@dataclass
class Events:
    """Attributes:
    chain: followed to its end.
    vanished: calls that it says are complete and that are not archived, in order.
    unheard: how many archived calls have no event.
    cut: what it lacks of what ``chronolog_head.json`` binds.
    """

    chain: Chain
    vanished: list[str] = field(default_factory=list)
    unheard: int = 0
    cut: str | None = None


def follow(storage: Storage, calls: Collection[str]) -> Events | None:
    """Hold a session's chronolog against the ids of its archived calls; None where there is none."""
    bound = heads.bound(storage, "session")
    found = Events(Chain(bound[0] if bound else None))
    silent = {name.encode("utf-8", "backslashreplace") for name in calls}
    vanished: set[str] = set()
    try:
        for whole in chronolog.whole_lines(_through(found.chain, blocks(storage, layout.CHRONOLOG))):
            silent.difference_update(chronolog.HEARD.findall(whole))
            complete = (name.decode("utf-8", "replace") for name in chronolog.COMPLETE.findall(whole))
            vanished.update(name for name in complete if name not in calls)
        if silent:  # rare, and worth the slow way: an event may be written in another form
            silent -= set(_named(storage))
    except FileNotFoundError:
        return None
    found.chain.end()
    found.vanished, found.unheard, found.cut = sorted(vanished), len(silent), heads.cut(found.chain, bound)
    return found


def blocks(storage: Storage, name: str) -> Iterator[bytes]:
    """A file in pieces. Raises FileNotFoundError."""
    offset = 0
    while block := storage.read(name, offset, _BLOCK):
        yield block
        offset += len(block)


def _through(chain: Chain, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        chain.feed(piece)
        yield piece


def _named(storage: Storage) -> Iterator[bytes]:
    for whole in chronolog.whole_lines(blocks(storage, layout.CHRONOLOG)):
        for event in chronolog.read(whole):
            if event["event"] in chronolog.OF_CALLS:
                yield str(event.get("call_id")).encode("utf-8", "backslashreplace")


__all__ = ["Events", "blocks", "follow"]
