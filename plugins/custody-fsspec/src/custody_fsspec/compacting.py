"""Makes one object of a log's parts (see ``parts.py``). Every step leaves a log that reads the same."""

from __future__ import annotations

from custody_fsspec.objects import Objects
from custody_fsspec.parts import Table, look, merged_key, part_key
from custody_fsspec.reading import SUFFIX, Reading


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


def _seal(objects: Objects, name: str, known: Table, conditional: bool) -> Table:
    """An empty part where the log ends: a writer that was taken for dead cannot go on."""
    while not known.sealed:
        if conditional:
            objects.put_new(part_key(name, known.end), b"")
        else:
            objects.put(part_key(name, known.end), b"")
        known = look(objects, name)
    return known
