"""How a log lies in an object store, where nothing can be appended to an object.

``llm_archive/w-000001.jsonl`` is a log. While it is written, it is that name, empty, and its bytes are in **parts**
below ``llm_archive/w-000001.jsonl.parts/``:

* ``00000000000000004711`` begins with the byte of that number. Parts are immutable and put-if-absent, so that two
  writers cannot both go on from one byte.
* ``merged-<begin>-<end>`` holds the same bytes as the parts that it replaces.
* An empty part is a **seal**: the log ends here, and whoever still took it for theirs is refused.

A log that is compacted is one object under its own name, and then the parts that it covers do not count. So a reader
takes what is stored under the name, then whichever part reaches farthest from there, up to the first byte that nobody
has. Between the steps of a compaction the bytes are there twice, and never not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from custody_fsspec.objects import Objects, Stored

FOLDER = ".parts/"
_PART = re.compile(r"(?:(\d{20})|merged-(\d{20})-(\d{20}))")


class Piece(NamedTuple):
    """Bytes of a log from ``begin`` up to ``end``, which are all of one object."""

    begin: int
    end: int
    key: str
    modified: float


class Table(NamedTuple):
    """Where the bytes of a log are.

    Attributes:
        pieces: in order, without a gap; they may overlap.
        plain: size of what is stored under the log's own name; -1 where nothing is.
        sealed: the log ends with a seal.
        covered: keys of parts that others cover, left by a crash.
    """

    pieces: tuple[Piece, ...]
    plain: int
    sealed: bool = False
    covered: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        return self.pieces[-1].end if self.pieces else 0

    @property
    def parts(self) -> tuple[Piece, ...]:
        return self.pieces[1:] if self.plain > 0 else self.pieces


def part_key(name: str, begin: int) -> str:
    return f"{name}{FOLDER}{begin:020d}"


def merged_key(name: str, begin: int, end: int) -> str:
    return f"{name}{FOLDER}merged-{begin:020d}-{end:020d}"


def is_part(key: str) -> bool:
    """Whether it is one as it was written: neither merged nor the whole log."""
    match = _PART.fullmatch(key.rpartition(FOLDER)[2]) if FOLDER in key else None
    return match is not None and match[1] is not None


def log_of(key: str) -> str | None:
    """The name of the log that a part belongs to; None for any other object."""
    name, folder, part = key.rpartition(FOLDER)
    return name if folder and _PART.fullmatch(part) else None


def table(name: str, stored: Iterable[Stored], before: Table | None = None) -> Table:
    """Of a log, from a listing; with ``before``, from one of what came after."""
    found = {piece.key: piece for piece in before.pieces} if before is not None else {}
    plain = before.plain if before is not None else -1
    seals: set[int] = set()
    for each in stored:
        if each.key == name:
            plain = each.size
            if each.size:
                found[name] = Piece(0, each.size, name, each.modified)
        elif log_of(each.key) == name and (match := _PART.fullmatch(each.key.rpartition(FOLDER)[2])):
            begin = int(match[1] or match[2])
            if each.size:
                found[each.key] = Piece(begin, begin + each.size, each.key, each.modified)
            else:
                seals.add(begin)
    return _joined(name, list(found.values()), plain, seals)


def _joined(name: str, found: list[Piece], plain: int, seals: set[int]) -> Table:
    # A part counts only where the log ended before it. One that begins within what was merged is of a process that
    # slept through that: its name had become free, and what reaches beyond would be half a line.
    written = {piece.begin: piece for piece in found if is_part(piece.key)}
    made = sorted(
        (piece for piece in found if not is_part(piece.key)), key=lambda piece: (piece.key != name, piece.begin)
    )
    pieces: list[Piece] = []
    end = 0
    while True:
        reaching = [piece for piece in made if piece.begin <= end < piece.end]
        best = max(reaching, key=lambda piece: (piece.key == name, piece.end)) if reaching else written.get(end)
        if best is None:
            break
        pieces.append(best)
        end = best.end
    taken = {piece.key for piece in pieces}
    covered = tuple(piece.key for piece in found if piece.key not in taken and piece.begin < end)
    return Table(tuple(pieces), plain, end in seals, covered)


def look(objects: Objects, name: str, before: Table | None = None) -> Table:
    """The table of a log, asked of the server."""
    if before is not None and objects.ordered and before.parts:
        last = max(piece.begin for piece in before.parts)
        found = table(name, objects.list(name + FOLDER, after=part_key(name, last)), before)
        # Where nothing follows, it may be because all of it is one object now, which stands before all parts.
        if found.end > before.end or before.plain != 0 or _plain(objects, name) == 0:
            return found
    return table(name, objects.list(name))


def _plain(objects: Objects, name: str) -> int:
    """Size of what is stored under the log's own name; -1 where nothing is."""
    try:
        return objects.head(name).size
    except FileNotFoundError:
        return -1
