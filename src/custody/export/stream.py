"""All rows of sessions, in groups, in bounded memory: what the writers of files take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from custody.engines import Engine
from custody.export import segment
from custody.export.columns import Column, chosen
from custody.export.segment import Made, SegmentRows
from custody.export.values import Values
from custody.journal.scan import Place
from custody.journal.segments import Segments, writer_of
from custody.report import repriced
from custody.report.by_segment import each
from custody.sessions import manifest as manifests
from custody.storage import Storage

GROUP = 32_768
"""Rows that are sorted together, and make one row group of a Parquet file: about 100 MB while they wait."""

_TEXT = 2048  # characters of content that weigh as much as a row


@dataclass
class Export:
    """What is exported. Iterating over it gives groups of rows, each in order of the calls' beginning.

    An archive of more than ``GROUP`` calls is in the order of its segments beyond that: to sort all would take memory
    for all. A question asks for the order that it wants.

    Attributes:
        content: requests and responses, too.
        rows, damaged: how many calls were exported, and places passed over that are no whole line; when it is done.
    """

    storages: Sequence[Storage]
    content: bool = False
    engine: Engine | None = None
    rows: int = 0
    damaged: int = 0
    columns: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = chosen(content=self.content)

    def __iter__(self) -> Iterator[list[Values]]:
        """Raises SessionNotFound, ArchiveDamaged."""
        for group in grouped(row for storage in self.storages for row in self._session(storage)):
            self.rows += len(group)
            yield group

    def _session(self, storage: Storage) -> Iterator[Made]:
        stated = manifests.read(storage)
        segments = Segments(storage)
        loose: dict[str, list[tuple[str, Place]]] = {}
        asked = (stated.project, stated.experiment, self.content)
        part: SegmentRows
        repricing = repriced.read(storage)
        costs = repricing.by_writer() if repricing is not None else {}
        for part in each(
            storage, segment.read, *asked, engine=self.engine, own=lambda name: (costs.get(writer_of(name), {}),)
        ):
            self.damaged += part.damaged
            for name, places in part.loose.items():
                loose.setdefault(name, []).extend(places)
            for position, (name, row) in part.wanting.items():
                segment.complete(row, segment.gathered(segments, loose.pop(name, [])), content=self.content)
                part.rows[position] = segment.made(row, content=self.content)
            yield from part.rows


def grouped(rows: Iterable[Made]) -> Iterator[list[Values]]:
    """Rows in groups of ``GROUP``, or fewer where they hold much text, each in order of the calls' beginning."""
    group: list[Made] = []
    weight = 0
    for row in rows:
        group.append(row)
        weight += 1 + row.text // _TEXT
        if weight >= GROUP:
            yield _sorted(group)
            group, weight = [], 0
    if group:
        yield _sorted(group)


def _sorted(group: list[Made]) -> list[Values]:
    group.sort(key=lambda row: row.began)
    return [row.values for row in group]
