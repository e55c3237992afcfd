"""A finished session, one file of it damaged, read and mended."""

from __future__ import annotations

from pathlib import Path

from campaign.attack import Study
from campaign.damage import Damaged
from campaign.judge import Reading, Reference
from campaign.tally import Tally
from custody import layout
from custody.journal.ledger import Ledger
from custody.journal.repair import repair
from custody.journal.segments import PACKED
from custody.testing.simulator import Simulator

RUN = 5000  # bytes in a row of a compressed segment: as long as whatever was there is made anew


def whole_session(folder: Path, *, compressed: bool = False) -> Reference:
    """Three writers, several segments, streams, calls with large bodies. With ``compressed``, each closed segment has
    a sidecar index, and those of more than 32 KB are compressed."""
    fields_of_all = {"compress_from": 32 * 1024, "index_from": 1} if compressed else {}
    with Simulator() as sim:
        study = Study(folder, sim, Tally("whole"))
        for calls, fields in ((8, {}), (14, {}), (2, {"prompt": 50_000, "kinds": ("chat",)})):
            with study.run(study.job(calls, rotate_bytes=24 * 1024, **fields, **fields_of_all)) as run:
                assert run.wait() == 0, study.last_words()
    assert study.path is not None
    return Reference.of(study.path)


class Patient:
    """A file to be damaged and mended."""

    def __init__(self, whole: Reference, name: str) -> None:
        self.whole, self.name, self.path = whole, name, whole.path / name
        self.data = self.path.read_bytes()
        self.borders = [0, *(end for _, end, _ in whole.lines[name])]

    def judged(self, case: Damaged, tally: Tally) -> None:
        """Damage it, read the session, mend it."""
        if case.data == self.data:
            return
        before = {p for p in self.whole.path.rglob("*") if p.is_file()}
        tally.states += 1
        self.path.write_bytes(case.data)
        try:
            self._judge(case, tally)
        finally:
            self.path.write_bytes(self.data)
            for path in {p for p in self.whole.path.rglob("*") if p.is_file()} - before:
                path.unlink()

    def _judge(self, case: Damaged, tally: Tally) -> None:
        state, packed = f"{self.name}, {case.what}", self.name.endswith(PACKED)
        reading = Reading(self.whole.path, self.whole, tally, state)
        undone = packed and self._is_undone(case)
        touched = set() if undone else self.whole.touched(self.name, case.start, case.end)
        untouched = {identity for identity, call in self.whole.ids.items() if call not in touched}
        tally.acknowledged += len(untouched)
        reading.requires(untouched)
        gone = {self.whole.ids[identity] for identity in self.whole.ids.keys() - reading.answered}
        if gone or packed or not (case.lost_tail or case.start == case.end):
            if not reading.names([self.name.removesuffix(".zst"), *touched]):
                tally.wrong(f"{state}: verify does not name it (gone: {len(gone)})")
        else:
            reading.verified()
        if undone:
            self._repaired(reading, tally, state)

    def _is_undone(self, case: Damaged) -> bool:
        """Whether a compressed segment has to give back every byte."""
        if case.lost_tail:
            return case.start >= self.whole.frames[self.name][0][-1]
        return case.end - case.start <= RUN

    def _repaired(self, reading: Reading, tally: Tally, state: str) -> None:
        ledger = self.whole.path / layout.SEGMENTS
        before = ledger.read_bytes()
        repair(reading.storage, Ledger(reading.storage))
        if not self.path.exists() or self.path.read_bytes() != self.data:
            tally.wrong(f"{state}: repair does not put it right")
        ledger.write_bytes(before)


def segments(whole: Reference) -> list[str]:
    """The files that hold calls, as they were written or compressed."""
    names = sorted(name for name in whole.lines if any(call for _, _, call in whole.lines[name]))
    return [name if (whole.path / name).exists() else f"{name}.zst" for name in names]
