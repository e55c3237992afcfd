"""A session with all that it did to its disk, and the reading of what a power cut may leave of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from campaign import recording
from campaign.attack import Study
from campaign.crashstates import Disk, materialise
from campaign.judge import Reading, Reference, session_of
from campaign.recording import Op
from campaign.tally import Tally
from custody.testing.simulator import Simulator


class Recorded:
    """A session with all that it did to its disk."""

    def __init__(self, folder: Path, runs: int = 1, **fields: object) -> None:
        with Simulator() as sim:
            study = Study(folder, sim, Tally("recording"))
            self.ops: list[Op] = []
            calls = fields.pop("calls")
            assert isinstance(calls, int)
            for run in range(1, runs + 1):
                with study.run(study.job(calls * run, setup=recording.start, **fields)) as one:
                    assert one.wait() == 0, study.last_words()
                self.ops = recording.load(study.root)
        assert study.path is not None
        self.reference = Reference.of(study.path)
        self.check_that_nothing_is_missing(study.root)

    def check_that_nothing_is_missing(self, root: Path) -> None:
        disk = self.disk(len(self.ops))
        written = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        recorded = {path: data for path, data in disk.whole().items() if not path.endswith("/")}
        assert recorded.keys() == written.keys()
        assert [p for p in written if written[p] != recorded[p]] == [], "a way to write that is not recorded"

    def disk(self, upto: int) -> Disk:
        disk = Disk()
        for op in self.ops[:upto]:
            disk.apply(op)
        return disk


def judge(
    files: dict[str, bytes],
    disk: Disk,
    session: Recorded,
    scratch: Path,
    tally: Tally,
    state: str,
    *,
    killed: bool = False,
) -> None:
    """A state, read: all that was acknowledged is there, right, and the session can go on. After a mere kill nothing
    is damaged, and verify says so."""
    tally.states += 1
    tally.acknowledged += len(disk.acked)
    folder = scratch / "state"
    materialise(files, folder)
    try:
        path = session_of(folder)
        if path is None:
            if disk.acked:
                tally.lost(f"{state}: the session is not there at all", len(disk.acked))
            return
        reading = Reading(path, session.reference, tally, state)
        never = disk.acked.keys() - session.reference.items.keys()
        if never:
            tally.lost(f"{state}: {len(never)} calls were never on record", len(never))
        reading.requires(session.reference.items[item] for item in disk.acked.keys() - never)
        reading.resumable()
        verdict = reading.verified()
        if killed and verdict is not None and not verdict.sound:
            tally.wrong(f"{state}: a kill is called damage: {verdict.problems[:2]}")
    finally:
        shutil.rmtree(folder)
