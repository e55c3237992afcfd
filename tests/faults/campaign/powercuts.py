"""A session on a file system that is cut off again and again (``disks.Disk.cut``)."""

from __future__ import annotations

import random
import time
from pathlib import Path

from campaign.attack import Study
from campaign.disks import Disk, disk
from campaign.tally import Tally
from custody.testing.simulator import Simulator

LENGTH = 60  # items of a session, until another one is begun


def cut(study: Study, small: Disk, rng: random.Random, plant: str | None) -> None:
    """Cut the power at a random moment. The spill is on the same disk: nothing survives elsewhere."""
    before = len(study.acks)
    with study.run(study.job(LENGTH * 2, rotate_bytes=32 * 1024, plant=plant)) as run:
        run.listen(before + rng.randint(1, 12))
        time.sleep(rng.random() * 0.02)
        small.cut()
        run.kill()
        run.wait()
        study.absorb(run)
    small.remount()


def cuts(folder: Path, kind: str, number: int, vendor: Simulator, counted: Tally, plant: str | None = None) -> None:
    rng = random.Random(f"{kind} {plant}")
    with disk(folder, kind) as small:
        sessions, study = 0, None
        for _ in range(number):
            if study is None or len(study.acks) > LENGTH:
                sessions += 1
                vendor.reset()
                study = Study(folder / f"{kind}_{sessions}", vendor, counted)
                study.root = small.path / f"root_{sessions}"
                study.env["CUSTODY_SPILL_DIR"] = str(small.path / f"spill_{sessions}")
            cut(study, small, rng, plant)
            counted.states += 1
            counted.acknowledged += len(study.acks)
            study.resume(rotate_bytes=32 * 1024)
            if plant and not counted.sound:
                return
