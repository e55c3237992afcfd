"""Verifies a stored session: every byte of its archive and chronologs against what it says of itself.

Checksums, hashes and a chain catch accidents, not an author who makes everything anew: that is what a seal is for.

``segments`` looks at each segment by itself, in several processes where there is much to do; what crosses segments is
judged here, from what they report. No index is believed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from custody import layout
from custody.engines import Engine
from custody.errors import ArchiveDamaged, CustodyError, SessionNotFound
from custody.integrity.chain import Chain
from custody.journal import ledger, lines, spill
from custody.journal.flaws import Flaw
from custody.journal.ranges import Ranges
from custody.journal.scan import Place
from custody.journal.segments import PACKED, PLAIN, SIDECAR, Segments, writer_of
from custody.report import events, surroundings
from custody.report.segments import SegmentReport, check_all
from custody.sessions import manifest as manifests
from custody.sessions.state import is_alive
from custody.storage import Storage


@dataclass
class Verdict:
    """``problems`` make a session unsound; ``remarks`` do not.

    Attributes:
        deep: every SHA-256 was recomputed, too.
    """

    session: str
    sound: bool = True
    deep: bool = False
    segments: int = 0
    lines: int = 0
    calls: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return vars(self)


def verify(storage: Storage, *, deep: bool = False, processes: int = 1, engine: Engine | None = None) -> Verdict:
    """Check a session. Raises SessionNotFound where there is nothing to verify.

    Args:
        deep: recompute every SHA-256 that a call line or the ledger states, besides the checksum of every line.
        processes: at most so many work at it. They are spawned, so that more than one wants a main module that can
            be imported.
        engine: what checks the segments, in place of processes of this one.
    """
    try:
        verdict = Verdict(manifests.read(storage).session, deep=deep)
    except ArchiveDamaged as error:
        verdict = Verdict(storage.url, deep=deep, problems=[str(error)])
    try:
        manifests.read_key(storage)
    except SessionNotFound:
        verdict.remarks.append(f"{layout.REQUEST_KEY} was withheld or is lost: it verifies, but does not replay")
    except ArchiveDamaged as error:
        verdict.problems.append(str(error))
    known = ledger.read(storage)
    repaired = {writer_of(name) for name, entry in known.items() if entry.repaired}
    calls = _archive(storage, known, repaired, verdict, processes, engine)
    around = surroundings.check(storage, _events(storage, calls, repaired, verdict))
    verdict.problems += around.problems
    verdict.remarks += around.remarks
    if repaired:
        verdict.remarks.append("it was damaged and repaired: what was lost is named here, and not held against it")
    verdict.sound = not verdict.problems
    return verdict


def _archive(
    storage: Storage, known: dict[str, ledger.Entry], repaired: set[str], verdict: Verdict, processes: int,
    engine: Engine | None,
) -> set[str]:  # fmt: skip
    """Judge all segments; gives the ids of the calls."""
    segments = Segments(storage)
    sizes = dict(segments.list())
    if not known.keys() <= sizes.keys():  # gone, or compressed at this moment: listed between its two forms
        sizes = dict(segments.list())
    for entry in storage.list(f"{layout.ARCHIVE}/"):
        if not entry.name.endswith((PLAIN, PACKED, SIDECAR)):
            verdict.problems.append(f"{entry.name} does not belong into {layout.ARCHIVE}/")
    numbers: dict[str, Ranges] = defaultdict(Ranges)
    calls: set[str] = set()
    loose: list[SegmentReport] = []
    for report in check_all(storage, sizes, known, deep=verdict.deep, processes=processes, engine=engine):
        if report.foreign:
            verdict.problems.append(f"{report.name} does not belong into {layout.ARCHIVE}/")
            continue
        numbers[writer_of(report.name)].update(Ranges(report.numbers))
        calls.update(report.calls)
        loose.append(report)
    verdict.calls = len(calls)
    gaps = {writer: gap for writer, seen in numbers.items() if (gap := seen.missing())[0]}
    for report in loose:
        # A crash ends what a writer wrote, or it wrote the lines again: before later lines a tail is lost, not torn.
        _segment(report, known.get(report.name), verdict, torn_is_lost=writer_of(report.name) in gaps)
    for writer, (missing, first) in gaps.items():
        text = f"writer {writer}: {missing} lines are missing, the first is number {first}"
        (verdict.remarks if writer in repaired else verdict.problems).append(text)
    for name, was in known.items():
        if name not in sizes:
            verdict.problems.append(f"{name} is gone; it had {was.size or 'some'} bytes")
    doubts = _across(segments, loose, calls, repaired, verdict)
    if doubts:
        verdict.remarks.append(f"{len(doubts)} calls have a request and no outcome: in doubt")
    return calls


def _segment(report: SegmentReport, entry: ledger.Entry | None, verdict: Verdict, *, torn_is_lost: bool) -> None:
    verdict.segments += 1
    verdict.lines += report.lines
    verdict.bytes += report.size
    verdict.problems += report.problems
    if report.opening is None and report.lines:  # one without a line was begun on a full disk, or in a crash
        told = verdict.remarks if entry is not None and entry.repaired else verdict.problems
        told.append(f"{report.name} does not begin with a segment line")
    elif report.opening is not None and report.opening.get("session") != verdict.session:
        verdict.problems.append(f"{report.name} belongs to session {report.opening.get('session')}")
    for damage, touched in report.damage:
        where = f"{report.name}: {damage.size} bytes at {damage.offset}"
        whose = f"; they belong to call {', '.join(touched)}" if touched else ""
        if damage.torn and not torn_is_lost:
            verdict.remarks.append(f"{where} are a torn tail, as a crash leaves it; no call was acknowledged in it")
        else:
            verdict.problems.append(f"{where} are no whole line (changed, or lost){whose}")
    verdict.problems += [_flaw(report.name, *each) for each in report.flaws]
    if entry is None or entry.size is None:
        return
    if report.size != entry.size:
        verdict.problems.append(f"{report.name} has {report.size} bytes, and had {entry.size} when it was closed")
    elif report.sha256 is not None and report.sha256 != entry.sha256:
        verdict.problems.append(f"{report.name} is not what it was when it was closed (SHA-256)")


def _flaw(name: str, flaw: Flaw, near: list[str]) -> str:
    last = flaw.offset + flaw.size - 1
    if flaw.size < 0:
        what = f"{-flaw.size} bytes are missing at {flaw.offset}"
    else:
        what = f"byte {flaw.offset} is damaged" if flaw.size == 1 else f"bytes {flaw.offset} to {last} are damaged"
    whose = f", in frames that hold call {', '.join(near)}" if near else ", which are no call's"
    undone = (
        "nothing is lost: they are made anew when they are read, and custody repair puts the file right"
        if flaw.corrected
        else "more is damaged than can be made anew"
    )
    return f"{name}.zst: {what}{whose}; {undone}"


def _across(
    segments: Segments, reports: list[SegmentReport], calls: set[str], repaired: set[str], verdict: Verdict
) -> set[str]:
    """Judge the calls whose lines stand in several segments; gives the calls in doubt."""
    spread: dict[str, dict[int, tuple[str, Place]]] = defaultdict(dict)
    for report in reports:
        for exchange, kind, place in report.loose:
            spread[exchange].setdefault(place.seq, (kind, place))
    for report in reports:
        for exchange, request, response in report.unsettled:
            found = spread.pop(exchange, {})
            if not verdict.deep:
                continue
            places = [found[number] for number in sorted(found)]
            for kind, expected in (("request", request), ("response", response)):
                wanted = [place for is_kind, place in places if (is_kind == "request") == (kind == "request")]
                if expected != _digest(segments, wanted):
                    call = exchange.rpartition(".")[0]
                    told = verdict.remarks if writer_of(report.name) in repaired else verdict.problems
                    told.append(f"call {call}: the {kind} of {exchange} is not what it committed to")
    open_requests = {exchange for exchange, found in spread.items() if any(k == "request" for k, _ in found.values())}
    return {exchange.rpartition(".")[0] for exchange in open_requests} - calls


def _digest(segments: Segments, places: list[Place]) -> str | None:
    digest = hashlib.sha256()
    for place in places:
        raw = segments.read(place.segment, place.offset, place.size)
        digest.update(raw + b"\n" if lines.check(raw) else b"")
    return digest.hexdigest() if places else None


def _events(storage: Storage, calls: set[str], repaired: set[str], verdict: Verdict) -> events.Events | None:
    told = events.follow(storage, calls)
    if told is not None:
        _chain(layout.CHRONOLOG, told.chain, verdict)
    elif verdict.segments:  # else it was killed while it was being created
        verdict.problems.append(f"{layout.CHRONOLOG} is missing")
    with contextlib.suppress(FileNotFoundError):
        _chain(layout.SEGMENTS, Chain().follow(events.blocks(storage, layout.SEGMENTS)), verdict)
    missing = told.vanished if told is not None else []
    alive, spilled = is_alive(storage), _spilled(storage)
    if spilled:
        verdict.remarks.append(f"{len(missing)} calls wait in the spill folder, to be taken in at the next start")
    for call_id in missing if not alive and not spilled else ():
        where = verdict.remarks if call_id.rpartition("-")[0] in repaired else verdict.problems
        where.append(f"call {call_id} was completed by the chronolog, but is not in the archive")
    if alive:
        verdict.remarks.append("the session is alive: what is being written now is not judged")
    return told


def _chain(name: str, chain: Chain, verdict: Verdict) -> None:
    verdict.problems += [f"{name}: {problem}" for problem in chain.problems]
    if chain.torn:
        verdict.remarks.append(f"{name} has a torn last line, as a crash leaves it")


def _spilled(storage: Storage) -> bool:
    try:
        return bool(spill.pending(manifests.unique_name(storage)))
    except CustodyError:
        return False
