"""Write damaged segments anew without what cannot be read; the damaged original is kept, byte for byte.

A compressed one whose bytes can all be made anew (``parity``) is put right, which the ledger's SHA-256 has to confirm.
Else no line is mended or guessed: each whole one is copied as it is, in its order. What was lost shows for ever, as
numbers that are missing and as an entry of the ledger.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from custody import layout
from custody.errors import ArchiveDamaged
from custody.journal.flaws import examine
from custody.journal.ledger import Ledger, read
from custody.journal.scan import SegmentScan, Source
from custody.journal.seekable import Seekable, salvaged
from custody.journal.segments import PLAIN, SIDECAR, Segments
from custody.journal.whose import touched
from custody.storage import Storage


@dataclass
class Repair:
    """What was done to one segment. Sizes in bytes.

    Attributes:
        original: where the damaged one is kept.
        calls: ids of calls that lost a line, where the damaged bytes still name them.
        corrected: nothing was lost: each byte is again what it was.
    """

    segment: str
    original: str
    damaged_bytes: int
    kept_lines: int
    calls: list[str] = field(default_factory=list)
    corrected: bool = False


def repair(storage: Storage, ledger: Ledger) -> list[Repair]:
    """Repair every damaged segment of a session that nobody has open. A torn tail is no damage: it stays.

    Killed at any step it is done by the next: the ledger is told first, and the damaged one goes last.
    """
    segments, done = Segments(storage), []
    for name, size in segments.list():
        stored = next(e.name for e in storage.list(name) if e.name in (name, f"{name}.zst"))
        healed = _from_packed(storage, name) if stored == name else _corrected(storage, name)
        if healed is not None:
            done.append(healed)
            continue
        source: Source = segments if size >= 0 else _Frames(storage.read(stored))
        scan = SegmentScan(source, name)
        kept = [line + b"\n" for _, line, _ in scan.lines()]
        damage = [each for each in scan.damage if size < 0 or not each.torn]
        if size >= 0 and (not damage or not kept):
            continue  # sound, or no segment at all
        calls = sorted({call for each in damage for call in touched(source, each)})  # while they stand where they stood
        original, known = _keep(storage, stored), name in read(storage)
        if kept or known:
            data = b"".join(kept)
            ledger.repaired(name, len(data), hashlib.sha256(data).hexdigest(), original, sum(d.size for d in damage))
            storage.put(name, data)
        if stored != name:
            storage.remove(stored)
        storage.remove(name.removesuffix(PLAIN) + SIDECAR)
        done.append(Repair(name, original, sum(d.size for d in damage), len(kept), calls))
    return done


def _from_packed(storage: Storage, name: str) -> Repair | None:
    """Where a crash left both forms of a segment, and only the plain one is not what was closed, it goes."""
    known, packed = read(storage).get(name), f"{name}.zst"
    size = next((e.size for e in storage.list(packed) if e.name == packed), None)
    if size is None or known is None or hashlib.sha256(storage.read(name)).hexdigest() == known.sha256:
        return None
    try:
        reader = Seekable(packed, lambda offset, wanted: storage.read(packed, offset, wanted), size)
    except ArchiveDamaged:
        return None
    plain = reader.read(0, reader.size)
    if hashlib.sha256(plain).hexdigest() != known.sha256:
        return None
    original = _keep(storage, name)
    storage.remove(name)
    return Repair(name, original, 0, plain.count(b"\n"), corrected=True)


def _corrected(storage: Storage, name: str) -> Repair | None:
    """A compressed segment whose damage can be undone is put right, and stays compressed."""
    stored, known = f"{name}.zst", read(storage).get(name)
    data = storage.read(stored)
    right, flaws = examine(data)
    if right is None or right == data:
        return None
    reader = Seekable(stored, lambda offset, size: right[offset : offset + size], len(right))
    plain = reader.read(0, reader.size)
    if known is not None and known.sha256 is not None:
        confirmed = hashlib.sha256(plain).hexdigest() == known.sha256
    else:
        confirmed = not reader.damaged and all(flaw.corrected for flaw in flaws)
    if not confirmed:
        return None
    original = _keep(storage, stored)
    storage.put(stored, right)
    return Repair(name, original, sum(abs(flaw.size) for flaw in flaws), plain.count(b"\n"), corrected=True)


class _Frames:
    """What stands in a compressed segment whose table of frames is lost."""

    def __init__(self, stored: bytes) -> None:
        self._plain = salvaged(stored)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return self._plain[offset : None if size is None else offset + size]


def _keep(storage: Storage, stored: str) -> str:
    data, base = storage.read(stored), stored.rpartition("/")[2]
    for number in range(1000):
        name = f"{layout.DAMAGED}/{base}" + (f".{number}" if number else "")
        if storage.put_if_absent(name, data) or storage.read(name) == data:
            return name
    raise FileExistsError(f"{layout.DAMAGED}/{base} was repaired a thousand times")
