"""What is wrong with one segment, by itself: a plain function of its bytes, so that any executor can run it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from custody.engines import Engine
from custody.errors import ArchiveDamaged
from custody.exchange import parse_json
from custody.journal import ledger
from custody.journal.entries import Commitment, committed_to, named
from custody.journal.flaws import Flaw
from custody.journal.ranges import Ranges
from custody.journal.scan import Damage, Place, SegmentScan
from custody.journal.segments import Segments, number_of, writer_of
from custody.journal.whose import touched
from custody.report.by_segment import reopened, url
from custody.storage import Storage
from custody.storage.local import LocalStorage

_NEWLINE = 10
ALONE = 128 * 1024 * 1024  # bytes below which one process is as fast


@dataclass
class SegmentReport:
    """Of one segment.

    Attributes:
        size: bytes as they were written.
        sha256: of them, where it was asked for.
        numbers: ranges of the lines' numbers, each first and last.
        loose: exchange, kind and place of lines whose call is not judged in this segment.
        unsettled: exchange, SHA-256 of request and of response of calls that are to be judged with other segments.
        damage: with the calls that it touches, where that can be read.
        flaws: of a compressed one's file, with calls in the frames that they touch.
    """

    name: str
    size: int = 0
    lines: int = 0
    foreign: bool = False
    opening: dict[str, Any] | None = None
    sha256: str | None = None
    numbers: list[tuple[int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    loose: list[tuple[str, str, Place]] = field(default_factory=list)
    unsettled: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    damage: list[tuple[Damage, list[str]]] = field(default_factory=list)
    flaws: list[tuple[Flaw, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_all(
    storage: Storage, sizes: Mapping[str, int], known: Mapping[str, ledger.Entry], *, deep: bool, processes: int,
    engine: Engine | None = None,
) -> Iterator[SegmentReport]:  # fmt: skip
    """Reports of all segments, in order; from an engine's tasks, one a segment, where there is one."""
    jobs = [(name, deep, deep and known.get(name, ledger.Entry()).sha256 is not None) for name in sizes]
    if engine is not None:
        yield from engine.map(partial(_check_elsewhere, url(storage)), jobs)
    elif processes > 1 and len(jobs) > 1 and sum(sizes.values()) > ALONE and isinstance(storage, LocalStorage):
        with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
            yield from pool.map(partial(_check_local, str(storage.root)), *zip(*jobs, strict=True))
    else:
        segments = Segments(storage)
        for job in jobs:
            yield check(segments, *job)


def _check_local(root: str, name: str, deep: bool, whole: bool) -> SegmentReport:
    return check(Segments(LocalStorage(Path(root), create=False)), name, deep, whole)


def _check_elsewhere(where: str, name: str, deep: bool, whole: bool) -> SegmentReport:
    return check(reopened(where), name, deep, whole)


def check(segments: Segments, name: str, deep: bool, whole: bool) -> SegmentReport:
    """Read a segment to its end.

    Args:
        deep: compare what its calls commit to.
        whole: take the SHA-256 of all its bytes.
    """
    source = _Hashing(segments) if whole else segments
    scan, found = SegmentScan(source, name), SegmentReport(name)
    numbers, waiting, hashes = Ranges(), dict[bytes, list[_Place]](), dict[bytes, _Hashes]()
    count, new = 0, numbers.add
    try:
        for match, block, begin, end, offset in scan.raw():  # of 10^6 calls: no object that is not asked for
            count += 1
            kind, number, exchange = match.groups()
            if kind == b"segment":
                if count == 1:
                    found.opening = parse_json(block[begin:end])
                    _named(found)
            elif not new(int(number)):
                continue
            elif kind == b"call":
                _call(found, block[begin:end], offset, waiting, hashes if deep else None)
            elif exchange:
                places = waiting.get(exchange)
                if places is None:
                    waiting[exchange] = [(kind, offset, end - begin, number)]
                else:
                    places.append((kind, offset, end - begin, number))
                if deep:
                    hashed = hashes.get(exchange)
                    if hashed is None:
                        hashed = hashes[exchange] = _Hashes()
                    hashed.take(kind, memoryview(block)[begin : end + 1])
    except ArchiveDamaged as error:
        found.problems.append(str(error))
    except OSError as error:
        found.problems.append(f"{name} cannot be read: {error}")
    found.lines = count
    found.foreign = not count and scan.first is not None
    found.numbers = list(numbers)
    found.size = scan.size
    for damage in scan.damage:
        found.damage.append((damage, touched(segments, damage)))
    try:
        for flaw in segments.flaws(name):
            found.flaws.append((flaw, touched(segments, Damage(name, flaw.start, flaw.end - flaw.start, torn=False))))
    except OSError as error:
        found.problems.append(f"{name} cannot be read: {error}")
    for left, its in waiting.items():
        found.loose += [
            (left.decode(), kind.decode(), Place(name, at, size, int(number))) for kind, at, size, number in its
        ]
    if isinstance(source, _Hashing):
        found.sha256 = source.digest.hexdigest()
    return found


_Place = tuple[bytes, int, int, bytes]
"""Kind, offset, size and number of a line, as the scan has them."""


class _Hashes:
    """Digests of an exchange's lines, as its call line commits to them."""

    __slots__ = ("request", "response")

    def __init__(self) -> None:
        self.request: str | None = None
        self.response: Any = None

    def take(self, kind: bytes, line: memoryview) -> None:
        """Hash a line with its newline; one that lost it is hashed as it was."""
        if line[-1] != _NEWLINE:
            line = memoryview(bytes(line) + b"\n")
        if kind == b"request":
            self.request = hashlib.sha256(line).hexdigest()
        elif self.response is None:
            self.response = hashlib.sha256(line)
        else:
            self.response.update(line)

    def said(self) -> tuple[str | None, str | None]:
        """Of the request, and of the response."""
        return self.request, self.response.hexdigest() if self.response else None


def _call(
    found: SegmentReport,
    line: bytes,
    offset: int,
    waiting: dict[bytes, list[_Place]],
    hashes: dict[bytes, _Hashes] | None,
) -> None:
    """``hashes``: what has been read of each exchange; None where that is not compared."""
    said = named(line)
    if said is None:
        found.damage.append((Damage(found.name, offset, len(line), torn=False), []))
        return
    call, exchanges = said
    found.calls.append(call.decode())
    committed: dict[bytes, Commitment] | None = None
    for name in exchanges:
        places = waiting.get(name)
        if hashes is None and places is not None and (places[0][0] == b"request" or _has_request(places)):
            del waiting[name]
            continue
        if committed is None:
            committed = committed_to(line) if hashes is not None else {}
        promised = committed.get(name, (None, None))
        if hashes is not None and places is not None and hashes[name].said() == promised:
            del waiting[name], hashes[name]
            continue
        found.unsettled.append((name.decode(), *promised))


def _has_request(places: list[_Place]) -> bool:
    return any(place[0] == b"request" for place in places)


def _named(found: SegmentReport) -> None:
    opening = found.opening
    if not isinstance(opening, dict):
        found.opening = None
        return
    if opening.get("writer") != writer_of(found.name) or opening.get("number") != number_of(found.name):
        found.problems.append(f"{found.name} is a copy or was renamed: it calls itself {opening.get('writer')}")


class _Hashing:
    """A source that hashes what is read of it from beginning to end."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._upto = 0
        self.digest = hashlib.sha256()

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        data = self._segments.read(name, offset, size)
        if offset == self._upto:
            self.digest.update(data)
            self._upto += len(data)
        return data
