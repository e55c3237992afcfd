"""Makes one object of a log's parts (see ``parts.py``). Every step leaves a log that reads the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from custody_fsspec.objects import InPieces, Objects
from custody_fsspec.parts import Piece, Table, is_part, look, merged_key, part_key
from custody_fsspec.reading import SUFFIX, Reading

CONFIRMED_FOR = 5.0  # seconds: whoever knew the end of a shared log longer ago looks again after appending
MANY = 64  # parts that are worth one piece
_SMALL = 1024 * 1024  # bytes that may be written anew at every start
_PIECE = 8 * 1024 * 1024
_GRAIN = 1.0  # seconds: S3 states times without their fraction


def compact(objects: Objects, name: str, *, conditional: bool = True) -> None:
    """A log of one writer is sealed and becomes the object of its name; of a shared log, which others may go on with,
    the end becomes one merged part: what is larger than all that follows stays as it is, so that a start does not write
    the events of 10^6 calls anew for the few that came since. Raises FileNotFoundError where there is no such log."""
    known = look(objects, name)
    if known.plain < 0 and not known.pieces:
        raise FileNotFoundError(f"{objects.url}/{name} does not exist")
    if not name.endswith(SUFFIX):
        return
    if known.plain == 0 and known.parts and not known.sealed:
        known = _seal(objects, name, known, conditional)
    if known.plain >= 0 and known.parts:
        _store(objects, name, name, 0, known.end)
        objects.delete([piece.key for piece in known.parts])
    elif len(small := _end(known.parts)) > 1:
        key = merged_key(name, small[0].begin, small[-1].end)
        _store(objects, key, name, small[0].begin, small[-1].end)
        objects.delete([piece.key for piece in small if piece.key != key])
    if known.covered:
        objects.delete(known.covered)


def _end(pieces: Sequence[Piece]) -> list[Piece]:
    """The last pieces, from behind as long as none is large, and larger than all that follow it."""
    end: list[Piece] = []
    for piece in reversed(pieces):
        if end and piece.end - piece.begin > max(_SMALL, end[-1].end - end[0].begin):
            break
        end.insert(0, piece)
    return end


def _store(objects: Objects, key: str, name: str, begin: int, end: int) -> None:
    """Bytes of a log as one object, of which no more than a piece is held where the client can do that."""
    reading = Reading(objects)

    def pieces() -> Iterator[bytes]:
        for at in range(begin, end, _PIECE):
            size = min(_PIECE, end - at)
            data = reading.read(name, at, size)
            if len(data) != size:
                raise OSError(f"{objects.url}/{name} ended while it was read; nothing was changed")
            yield data

    if isinstance(objects, InPieces) and end - begin > _PIECE:
        objects.put_pieces(key, pieces())
    else:
        objects.put(key, b"".join(pieces()))


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
    _store(objects, merged_key(name, begin, end), name, begin, end)
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
