"""Power cuts: a real file system is cut off in the middle of a run (FS_IOC_SHUTDOWN, without flushing its log),
mounted again, and the session goes on with everything that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import LONG, disks
from campaign.powercuts import cuts
from campaign.tally import Tallies

from custody.testing.simulator import Simulator

CUTS = 100 if LONG else 2  # of each file system

pytestmark = pytest.mark.timeout(3600 if LONG else 300)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_the_power_is_cut(tmp_path: Path, vendor: Simulator, tally: Tallies, kind: str) -> None:
    counted = tally("3 power cut")
    counted.skipped = disks.missing(kind)
    if counted.skipped:
        pytest.skip(counted.skipped)
    cuts(tmp_path, kind, CUTS, vendor, counted)
    assert counted.sound, counted.failures
