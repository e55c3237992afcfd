"""Controls that must fail: each layer is shown bugs of the kind that it is for, and has to count what they cost."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import plants
import pytest
from campaign import LONG, damage, disks, syscalls
from campaign.attack import Study
from campaign.disks import disk
from campaign.freezing import frozen
from campaign.judge import Reference
from campaign.outage import broken_at, finished
from campaign.patient import Patient, segments, whole_session
from campaign.powercuts import cuts
from campaign.recorded import Recorded, judge
from campaign.tally import Tallies, Tally
from campaign.tampering import attacked, traced

from custody.testing.simulator import Simulator

pytestmark = pytest.mark.timeout(1800 if LONG else 300)


def caught(counted: Tally, bug: str, seen: Tally) -> None:
    assert counted.plant(bug, seen), f"{bug} was planted, and {seen.states} states of '{counted.layer}' cost nothing"


@pytest.mark.parametrize(
    "bug", ["early_ack", "no_sync", "no_folder_sync", "named_before_synced", "call_line_late", "buffered_in_memory"]
)
def test_on_paper(tmp_path: Path, scratch: Path, tally: Tallies, bug: str) -> None:
    counted, rng = tally("1 offline crash states"), random.Random(bug)
    session = Recorded(tmp_path, calls=5, kinds=("chat", "both"), plant=bug)
    seen = Tally(counted.layer)
    positions = [n for n, op in enumerate(session.ops, 1) if op.kind == "ack"]
    for position in positions:
        disk_then = session.disk(position)
        for files in (disk_then.whole(), disk_then.least(), disk_then.left(lambda most: rng.randint(0, most))):
            if seen.sound:
                judge(files, disk_then, session, scratch, seen, bug)
    caught(counted, bug, seen)


@pytest.fixture(scope="module")
def whole(scratch: Path) -> Reference:
    return whole_session(scratch)


@pytest.mark.parametrize("bug", ["bad_checksums_pass", "stops_at_damage", "damage_is_dropped", "half_an_answer"])
def test_reading_damage(whole: Reference, tally: Tallies, bug: str) -> None:
    counted, rng = tally("1 damage anywhere"), random.Random(bug)
    seen = Tally(counted.layer)
    with plants.planted(bug):
        for name in segments(whole):
            patient = Patient(whole, name)
            at = [rng.randrange(len(patient.data)) for _ in range(150)]
            for case in (*damage.flips(patient.data, at, rng), *damage.pages(patient.data, rng, 20)):
                if seen.sound:
                    patient.judged(case, seen)
    caught(counted, bug, seen)


@pytest.fixture(scope="module")
def compressed(scratch: Path) -> Reference:
    return whole_session(scratch / "compressed", compressed=True)


@pytest.mark.parametrize("bug", ["parity_ignored", "parity_unchecked", "flaws_unseen"])
def test_reading_damage_of_compressed_segments(compressed: Reference, tally: Tallies, bug: str) -> None:
    counted, rng = tally("1 damage anywhere"), random.Random(bug)
    seen = Tally(counted.layer)
    with plants.planted(bug):
        for name in segments(compressed):
            patient = Patient(compressed, name)
            at = [rng.randrange(len(patient.data)) for _ in range(40)]
            cases = (*damage.flips(patient.data, at, rng), *damage.pages(patient.data, rng, 20))
            for case in cases if name.endswith(".zst") else ():
                if seen.sound:
                    patient.judged(case, seen)
    caught(counted, bug, seen)


@pytest.mark.parametrize("bug", ["buffered_in_memory", "call_line_late", "answers_anew"])
def test_kills(tmp_path: Path, vendor: Simulator, tally: Tallies, bug: str) -> None:
    counted = tally("2 kill at a system call")
    counted.skipped = syscalls.missing()
    if counted.skipped:
        pytest.skip(counted.skipped)
    seen = Tally(counted.layer)
    every = [c for c in traced(Study(tmp_path / "dry", vendor, seen), 8, plant=bug) if c.name == "sendto"]
    for call in random.Random(bug).sample(every, 8):
        vendor.reset()
        study = Study(tmp_path / str(call.nth), vendor, seen)
        _, run, _ = attacked(study, f"{call.name}:signal=KILL:when={call.nth}", 8, plant=bug)
        study.absorb(run)
        seen.states += 1
        study.resume(plant=bug)
        if not seen.sound:
            break
    caught(counted, bug, seen)


def test_what_a_kill_would_leave(scratch: Path, vendor: Simulator, tally: Tallies) -> None:
    counted, bug = tally("2 kill at a system call"), "call_line_late"
    counted.skipped = syscalls.missing()
    if counted.skipped:
        pytest.skip(counted.skipped)
    seen = Tally(counted.layer)
    for state in frozen(Study(scratch / "late", vendor, seen), scratch / "frozen", 2, range(1, 2), plant=bug):
        if seen.sound:
            seen.states += 1
            state.study(vendor, seen).resume(plant=bug)
    caught(counted, bug, seen)


@pytest.mark.parametrize("bug", ["spill_forgotten", "pays_on", "spill_nowhere"])
def test_errors(tmp_path: Path, vendor: Simulator, tally: Tallies, bug: str) -> None:
    """The spill is the only place of the answer that came when the disk was full."""
    counted = tally("4 full disk")
    counted.skipped = disks.missing("tmpfs")
    if counted.skipped:
        pytest.skip(counted.skipped)
    seen = Tally(counted.layer)
    with disk(tmp_path, "tmpfs") as small:
        for attempt in range(5):
            vendor.reset()
            study = Study(tmp_path / f"full_{attempt}", vendor, seen)
            study.root = small.path / f"root_{attempt}"
            broken_at(study, 3 + attempt, small.fill, 24, plant=bug)
            seen.states += 1
            small.empty()
            finished(study, 24, plant=bug)
            shutil.rmtree(study.root)
            if not seen.sound:
                break
    caught(counted, bug, seen)


@pytest.mark.parametrize("bug", ["early_ack", "no_sync", "named_before_synced"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"] if LONG else ["xfs"])
def test_power_cuts(tmp_path: Path, vendor: Simulator, tally: Tallies, kind: str, bug: str) -> None:
    counted = tally("3 power cut")
    counted.skipped = disks.missing(kind)
    if counted.skipped:
        pytest.skip(counted.skipped)
    seen = Tally(counted.layer)
    cuts(tmp_path, kind, 10, vendor, seen, plant=bug)
    caught(counted, bug, seen)
