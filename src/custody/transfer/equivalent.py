"""Whether a copy has all that a session has: the same bytes, or the same lines of a segment in another form.

Either of the two may have been closed, compressed or compacted since it was copied. Then the lines of segments are
compared, the ledgers by what they say, and sidecars, which can be made anew at any time, not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from custody import layout
from custody.integrity import chronolog
from custody.journal import ledger
from custody.journal.segments import PACKED, PLAIN, SIDECAR, Segments
from custody.storage import Storage
from custody.transfer import contents
from custody.transfer.comparing import some
from custody.transfer.streaming import BLOCK, Digest, digest
from custody.transfer.together import together


@dataclass
class Equivalence:
    """``problems`` say what the copy has not.

    Attributes:
        digests: of all files of the session.
        otherwise: which of them the copy has in another form.
    """

    digests: dict[str, Digest]
    otherwise: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def compare(session: Storage, copy: Storage) -> Equivalence:
    """Read all of both. Raises OSError."""
    ours, theirs = contents.files(session), contents.files(copy)
    found = Equivalence(_digests(session, ours, ours))
    there = _digests(copy, (name for name in ours if name in theirs), theirs)
    lacking = {name for name, one in found.digests.items() if there.get(name) != one}
    extra = {name for name in theirs if name not in ours and not contents.is_carried(name)}
    archive = {name for name in lacking | extra if _is_segment(name)}
    if archive:
        found.problems += _segments(session, copy)
    if layout.SEGMENTS in lacking & there.keys():
        archive.add(layout.SEGMENTS)
        found.problems += _ledgers(session, copy)
    found.otherwise = lacking & archive
    if missing := sorted(lacking - archive - there.keys()):
        found.problems.append(f"the copy lacks {some(missing)}")
    if different := sorted((lacking - archive) & there.keys()):
        found.problems.append(f"the copy has another {some(different)}")
    if more := sorted(extra - archive):
        found.problems.append(f"the copy has {some(more)} besides: one of the two went on")
    return found


def _digests(storage: Storage, names: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Digest]:
    return together(lambda name: digest(storage, name, sizes[name]), names, sizes)


def _is_segment(name: str) -> bool:
    return name.startswith(f"{layout.ARCHIVE}/") and name.endswith((PLAIN, PACKED, SIDECAR))


def _segments(session: Storage, copy: Storage) -> list[str]:
    ours, theirs = Segments(session), Segments(copy)
    mine, there = dict(ours.list()), dict(theirs.list())
    if mine.keys() != there.keys():
        return [f"the copy has other segments: {some(sorted(mine.keys() ^ there.keys()))}"]
    wrong = [name for name in mine if mine[name] != there[name] or _sha256(ours, name) != _sha256(theirs, name)]
    return [f"the copy has other lines in {some(wrong)}"] if wrong else []


def _sha256(segments: Segments, name: str) -> str:
    found = hashlib.sha256()
    for block in segments.blocks(name, BLOCK):
        found.update(block)
    return found.hexdigest()


def _ledgers(session: Storage, copy: Storage) -> list[str]:
    """A ledger says more when segments were closed or compressed since; never something else."""
    if any(chronolog.problems(storage.read(layout.SEGMENTS)) for storage in (session, copy)):
        return [f"{layout.SEGMENTS} of one of the two is damaged"]
    ours, theirs = ledger.read(session), ledger.read(copy)
    same = ours.keys() == theirs.keys() and all(_agree(one, theirs[name]) for name, one in ours.items())
    return [] if same else [f"the copy has another {layout.SEGMENTS}"]


def _agree(one: ledger.Entry, other: ledger.Entry) -> bool:
    if one.repaired != other.repaired:
        return False
    return None in (one.sha256, other.sha256) or (one.size, one.sha256) == (other.size, other.sha256)
