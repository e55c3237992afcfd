"""What a reader makes of a session's folder, held against a reading of the whole one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from campaign.tally import Tally
from custody import layout
from custody.errors import ArchiveDamaged, CustodyError, SessionNotFound
from custody.identity import Identity
from custody.journal.archive import Archive
from custody.journal.scan import SegmentScan
from custody.journal.seekable import borders, table
from custody.journal.segments import PACKED, Segments
from custody.report.verify import Verdict, verify
from custody.sessions import manifest as manifests
from custody.sessions import recovery
from custody.storage.local import LocalStorage

Answer = tuple[Any, ...]


def session_of(root: Path) -> Path | None:
    """The session below a root; None where it has no manifest."""
    found = sorted(root.glob(f"projects/*/experiments/*/sessions/*/{layout.MANIFEST}"))
    return found[0].parents[1] if found else None


def answer_of(archive: Archive, identity: Identity) -> Answer | None:
    """The bytes that a replay would hand out; None where nothing, or something damaged, is on record."""
    while (call := archive.answer(identity)) is not None:
        try:
            response = archive.response(call)
        except ArchiveDamaged:
            response = None
        if response is not None:
            return (response.head, tuple((c.at_ms, c.data) for c in response.chunks), response.decoded, response.ending)
        archive.discard(identity)
    return None


@dataclass
class Reference:
    """A whole session: what is right.

    Attributes:
        answers: of every identity, and its item.
        lines: by segment: where each line of a call stands (first byte, byte after the newline, id of the call).
        frames: by compressed segment: borders of its frames as stored, and before compression.
    """

    path: Path
    answers: dict[Identity, Answer] = field(default_factory=dict)
    items: dict[int, Identity] = field(default_factory=dict)
    ids: dict[Identity, str] = field(default_factory=dict)
    lines: dict[str, list[tuple[int, int, str]]] = field(default_factory=lambda: defaultdict(list))
    frames: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Reference:
        found = cls(path)
        storage = LocalStorage(path, create=False)
        archive = Archive(storage)
        archive.refresh()
        for identity in tuple(archive.replicates()):
            call, answer = archive.answer(identity), answer_of(archive, identity)
            assert call is not None and answer is not None
            found.answers[identity] = answer
            found.items[call.fields["scope"]["item"]] = identity
            found.ids[identity] = call.id
        segments = Segments(storage)
        for entry in storage.list():
            if entry.name.endswith(PACKED):
                rows = table(partial(storage.read, entry.name), entry.size)
                assert rows is not None
                found.frames[entry.name] = borders(rows)
        for name, _ in segments.list():
            for head, line, place in SegmentScan(segments, name).lines():
                call_id = head.exchange.rpartition(".")[0]
                if head.kind == "call":
                    call_id = next((i for i in found.ids.values() if f'"id":"{i}"'.encode() in line[:200]), "")
                found.lines[name].append((place.offset, place.offset + place.size + 1, call_id))
        return found

    def touched(self, segment: str, start: int, end: int) -> set[str]:
        """Ids of the calls that have a byte in this part of a file; of a compressed one, in the frames there."""
        if segment.endswith(PACKED):
            packed, plain = self.frames[segment]
            last = len(packed) - 1
            start = plain[min(last, max(0, bisect_right(packed, start) - 1))]
            end, segment = plain[min(last, bisect_left(packed, end))], segment.removesuffix(".zst")
        return {call for first, last, call in self.lines[segment] if first < end and start < last}


class Reading:
    """A folder, read: what is answered, what is named."""

    def __init__(self, path: Path, reference: Reference, tally: Tally, state: str) -> None:
        self._reference, self._tally, self._state = reference, tally, state
        self.storage = LocalStorage(path, create=False)
        self.archive = Archive(self.storage)
        self.refused = ""
        self.verdict: Verdict | None = None
        self.answered: set[Identity] = set()
        try:
            self.archive.refresh()
        except ArchiveDamaged as error:
            self.refused = str(error)
        except Exception as error:
            tally.wrong(f"{state}: the reader fails: {error!r}")
            return
        for identity, right in reference.answers.items():
            try:
                given = answer_of(self.archive, identity)
            except Exception as error:
                tally.wrong(f"{state}: the reader fails: {error!r}")
                continue
            if given is not None and given != right:
                tally.wrong(f"{state}: another answer is given for {identity.scope[:8]}/{identity.replicate}")
            elif given is not None:
                self.answered.add(identity)

    def requires(self, identities: Iterable[Identity]) -> set[Identity]:
        """Count those of them that are not answered as lost."""
        gone = set(identities) - self.answered
        if gone:
            why = self.refused or f"damage: {self.archive.damage[:2]}"
            self._tally.lost(f"{self._state}: {len(gone)} calls are not answered; {why}", len(gone))
        return gone

    def resumable(self) -> None:
        """A start would go on here."""
        try:
            manifests.read(self.storage)
            manifests.read_key(self.storage)
            recovery.refuse_if_vanished(self.storage, self.archive)
        except CustodyError as error:
            self._tally.lost(f"{self._state}: it cannot be resumed: {error}")

    def verified(self) -> Verdict | None:
        try:
            self.verdict = verify(self.storage)
        except SessionNotFound:
            return None
        return self.verdict

    def names(self, words: Iterable[str]) -> bool:
        """Whether verify's problems name one of these."""
        verdict = self.verdict or self.verified()
        return verdict is not None and any(word in problem for problem in verdict.problems for word in words)
