"""A session's call lines, segment by segment: what an archive that outgrows one machine is read with.

The function that reads a segment is a plain one, the same whether it runs here, or as a task of an engine's. What
crosses segments is put right here: a disk that refused a write may have lines stand twice, in two segments of one
writer, and then the first one counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from custody.engines import Engine
from custody.exchange import parse_json
from custody.journal.entries import summary
from custody.journal.indexing import check_format
from custody.journal.lines import LineHead
from custody.journal.ranges import Ranges
from custody.journal.scan import Place, SegmentScan
from custody.journal.segments import Segments, writer_of
from custody.storage import Storage
from custody.storage.local import LocalStorage


class Part(Protocol):
    """What a segment's function returns. ``numbers``: of the lines it read, as ranges."""

    numbers: list[tuple[int, int]]


P = TypeVar("P", bound=Part)
Skip = list[tuple[int, int]]


def each(
    storage: Storage, function: Callable[..., P], *arguments: Any, engine: Engine | None = None,
    own: Callable[[str], tuple[Any, ...]] = lambda name: (),
) -> Iterator[P]:  # fmt: skip
    """``function(segments, name, skip, *arguments, *own(name))`` of each segment, in order of their names.

    Args:
        function: to be pickled by its name where there is an engine. ``skip`` are ranges of numbers of lines that do
            not count, because an earlier segment of the writer has them.
    """
    segments = Segments(storage)
    names = [name for name, _ in segments.list()]
    if engine is None:
        parts: Iterable[P] = (function(segments, name, [], *arguments, *own(name)) for name in names)
    else:
        parts = engine.map(
            partial(_elsewhere, function), [(url(storage), name, *arguments, *own(name)) for name in names]
        )
    seen: dict[str, Ranges] = defaultdict(Ranges)
    for name, part in zip(names, parts, strict=True):
        known = seen[writer_of(name)]
        before = list(known)
        if not all(known.add_range(first, last) for first, last in part.numbers):
            part = function(segments, name, before, *arguments, *own(name))
            known.update(Ranges(part.numbers))
        yield part


def url(storage: Storage) -> str:
    """By which another process opens the storage."""
    return str(storage.root.resolve()) if isinstance(storage, LocalStorage) else storage.url


@lru_cache(maxsize=2)
def reopened(where: str) -> Segments:
    """The segments of a session, in a process of an engine's. Raises what the storage raises."""
    if "://" not in where:
        return Segments(LocalStorage(Path(where), create=False))
    from custody.hooks.manager import PluginManager

    return Segments(PluginManager.load().open_storage(where, create=False))


def _elsewhere(function: Callable[..., P], where: str, name: str, *arguments: Any) -> P:
    return function(reopened(where), name, [], *arguments)


class Fresh:
    """The lines of a segment that count: whole, and not seen before.

    Attributes:
        numbers: of them, and of those that were to be skipped.
        damaged: places that are no whole line, or a call line that says nothing, but no torn tails.
    """

    def __init__(self, segments: Segments, name: str, skip: Skip) -> None:
        self._scan = SegmentScan(segments, name)
        self._numbers = Ranges(skip)
        self._unusable = 0

    def lines(self) -> Iterator[tuple[LineHead, bytes, Place, Any]]:
        """Each with the object of a call line; that of another is None.

        Raises ArchiveDamaged for a format newer than this reader, or a compressed segment without its table.
        """
        for head, line, place in self._scan.lines():
            fields = parse_json(line) if head.kind in ("segment", "call") else None
            if head.kind == "segment":
                check_format(place.segment, fields if isinstance(fields, dict) else {})
            elif head.kind == "call" and (summary(line) is None or not isinstance(fields, dict)):
                self._unusable += 1
            elif self._numbers.add(head.seq):
                yield head, line, place, fields

    @property
    def numbers(self) -> list[tuple[int, int]]:
        return list(self._numbers)

    @property
    def damaged(self) -> int:
        return self._unusable + sum(1 for damage in self._scan.damage if not damage.torn)
