"""The storage fails in the middle of a run: the answer reaches the program, its record the spill, and no further
call is paid for until the archive works; then the same command goes on, and pays for nothing twice."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import LONG, disks
from campaign.attack import Study
from campaign.disks import Disk, disk
from campaign.outage import broken_at, finished
from campaign.tally import Tallies, Tally

from custody.testing.simulator import Simulator

CALLS = 200 if LONG else 40
FULL = 20 if LONG else 2

pytestmark = pytest.mark.timeout(3600 if LONG else 300)


def mounted(counted: Tally, folder: Path, kind: str) -> disks.Disk:
    """A file system, or a skip that says why not."""
    reason = disks.missing(kind)
    if reason:
        counted.skipped = reason
        pytest.skip(reason)
    return disk(folder, kind)


@pytest.mark.parametrize("attempt", range(FULL))
def test_full_at_a_random_moment(tmp_path: Path, vendor: Simulator, tally: Tallies, attempt: int) -> None:
    counted = tally("4 full disk")
    kind = ("tmpfs", "ext4", "xfs")[attempt % 3]
    with mounted(counted, tmp_path, kind) as small:
        study = Study(tmp_path / f"full_{attempt}", vendor, counted)
        study.root = small.path / "root"
        counted.states += 1
        broken_at(study, random.Random(f"full {attempt}").randint(1, CALLS - 10), small.fill, CALLS)
        small.empty()
        finished(study, CALLS)
    assert counted.sound, counted.failures


def _cut_off(small: Disk) -> None:
    small.cut()


def _read_only(small: Disk) -> None:
    if not small.can_fail:
        pytest.skip("this kernel has no way to make ext4 fail")
    small.fail()


@pytest.mark.parametrize(("kind", "disaster"), [("ext4", _read_only), ("ext4", _cut_off), ("xfs", _cut_off)])
def test_a_file_system_that_fails(
    tmp_path: Path, vendor: Simulator, tally: Tallies, kind: str, disaster: Callable[[Disk], None]
) -> None:
    """Read-only in the middle, or every access an I/O error."""
    counted = tally("4 lost storage")
    with mounted(counted, tmp_path, kind) as small:
        for acks in (1, 17, 30) if LONG else (9,):
            vendor.reset()
            study = Study(tmp_path / f"{kind}_{disaster.__name__}_{acks}", vendor, counted)
            study.root = small.path / f"root_{acks}"
            counted.states += 1
            broken_at(study, acks, lambda: disaster(small), 40)
            small.remount()
            finished(study, 40)
    assert counted.sound, counted.failures


@pytest.mark.parametrize("acks", [1, 8, 20] if LONG else [8])
def test_a_folder_that_is_away_for_a_while(tmp_path: Path, vendor: Simulator, tally: Tallies, acks: int) -> None:
    counted = tally("4 lost storage")
    study = Study(tmp_path / "moved", vendor, counted)
    counted.states += 1

    def move() -> None:
        assert study.path is not None
        away.append(study.path)
        study.path.rename(tmp_path / "away")

    away: list[Path] = []
    broken_at(study, acks, move, 40)
    if away[0].exists():
        counted.lost(f"a folder is made anew where the session was: {sorted(away[0].rglob('*'))[:3]}")
    (tmp_path / "away").rename(away[0])
    finished(study, 40)
    assert counted.sound, counted.failures


def test_a_folder_that_is_deleted(tmp_path: Path, vendor: Simulator, tally: Tallies) -> None:
    """Nothing is acknowledged into a file that has no name any more."""
    counted = tally("4 lost storage")
    study = Study(tmp_path / "deleted", vendor, counted)
    counted.states += 1

    def delete() -> None:
        gone = study.path
        assert gone is not None
        while gone.exists():  # the run makes files in it meanwhile
            shutil.rmtree(gone, ignore_errors=True)

    # What is answered afterwards is in the spill; by the outage's rule the next paid call is refused.
    run = broken_at(study, 8, delete, 40)
    kept = b"".join(path.read_bytes() for path in (study.folder / "spill").rglob("*.jsonl"))
    late = len(run.acks) - 8 - kept.count(b'{"kind":"call"')
    if late > 3:  # those that were acknowledged while it was being deleted
        counted.lost(f"{late} answers were acknowledged into files without a name", late)
    assert counted.sound, counted.failures
