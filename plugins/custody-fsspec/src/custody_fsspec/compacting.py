"""Makes one object of a log's parts (see ``parts.py``). Every step leaves a log that reads the same."""

from __future__ import annotations

from custody_fsspec.objects import Objects
from custody_fsspec.parts import Piece, Table, is_part, look, merged_key, part_key
from custody_fsspec.reading import SUFFIX, Reading

CONFIRMED_FOR = 5.0  # seconds: whoever knew the end of a shared log longer ago looks again after appending
MANY = 64  # parts that are worth one piece
_GRAIN = 1.0  # seconds: S3 states times without their fraction


def compact(objects: Objects, name: str, *, conditional: bool = True) -> None:
    """A log of one writer is sealed and becomes the object of its name; a shared log, which others may go on with,
    becomes one merged part. Raises FileNotFoundError where there is no such log."""
    known = look(objects, name)
    if known.plain < 0 and not known.pieces:
        raise FileNotFoundError(f"{objects.url}/{name} does not exist")
    if not name.endswith(SUFFIX):
        return
    if known.plain == 0 and known.parts and not known.sealed:
        known = _seal(objects, name, known, conditional)
    if len(known.parts) > (0 if known.plain >= 0 else 1):
        data = Reading(objects).read(name, 0, known.end)
        if known.plain >= 0:
            objects.put(name, data)
        else:
            objects.put(merged_key(name, 0, known.end), data)
        objects.delete([piece.key for piece in known.parts if piece.key != merged_key(name, 0, known.end)])
    if known.covered:
        objects.delete(known.covered)


def merge(objects: Objects, name: str, *, at_least: int = 2) -> bool:
    """Make one piece of the newest parts of a shared log, while others go on with it; whether there were enough.

    Only of parts that are older than what anybody trusts to know of the log's end (``CONFIRMED_FOR``), by the server's
    clock: else a process that has not heard of a part yet could put another one under its name, where nobody reads.
    """
    known = look(objects, name)
    newest = max((piece.modified for piece in known.pieces), default=0.0)
    wanted: list[Piece] = []
    for piece in known.parts:
        if newest - piece.modified <= CONFIRMED_FOR + _GRAIN:
            break
        wanted = [*wanted, piece] if is_part(piece.key) else []  # else it was merged before
    if known.plain >= 0 or len(wanted) < at_least:
        return False
    begin, end = wanted[0].begin, wanted[-1].end
    data = Reading(objects).read(name, begin, end - begin)
    if len(data) != end - begin:
        return False
    objects.put(merged_key(name, begin, end), data)
    objects.delete([piece.key for piece in wanted])
    return True


def _seal(objects: Objects, name: str, known: Table, conditional: bool) -> Table:
    """An empty part where the log ends: a writer that was taken for dead cannot go on."""
    while not known.sealed:
        if conditional:
            objects.put_new(part_key(name, known.end), b"")
        else:
            objects.put(part_key(name, known.end), b"")
        known = look(objects, name)
    return known
