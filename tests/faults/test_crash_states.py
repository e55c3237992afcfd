"""Power cuts on paper: every operation of a real session, and what may have reached the disk of those before it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from campaign import LONG
from campaign.recorded import Recorded, judge
from campaign.tally import Tallies, Tally
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SESSIONS = {
    "small": {"calls": 12, "rotate_bytes": 16 * 1024},
    "compressed": {"calls": 10, "rotate_bytes": 16 * 1024, "compress_from": 1, "index_from": 1},
    "large bodies": {"calls": 6, "rotate_bytes": 64 * 1024, "prompt": 40_000},
    "short writes": {"calls": 6, "rotate_bytes": 24 * 1024, "short_writes": True},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    found = {name: Recorded(tmp_path_factory.mktemp("recorded"), **fields) for name, fields in SESSIONS.items()}
    found["resumed"] = Recorded(tmp_path_factory.mktemp("recorded"), runs=2, calls=6, rotate_bytes=16 * 1024)
    return found


@pytest.mark.parametrize("name", [*SESSIONS, "resumed"])
def test_every_operation(recorded: dict[str, Recorded], scratch: Path, tally: Tallies, name: str) -> None:
    """A power cut after each operation: all of it on the disk, only what was synced, and some choices between."""
    counted, session = tally("1 offline crash states"), recorded[name]
    begin = next((n for n, op in enumerate(session.ops) if op.kind == "durable"), 0)
    rng = random.Random(name)
    positions = range(begin + 1, len(session.ops) + 1)
    disk = session.disk(begin)
    wanted = set(positions) if LONG else {*rng.sample(positions, min(25, len(positions))), len(session.ops)}
    for position in positions:
        disk.apply(session.ops[position - 1])
        if position not in wanted:
            continue
        what = f"{name}, operation {position} ({session.ops[position - 1].kind})"
        judge(disk.whole(), disk, session, scratch, counted, f"{what}, all of it", killed=True)
        judge(disk.least(), disk, session, scratch, counted, f"{what}, what was synced")
        for choice in range(6 if LONG else 1):
            chosen = disk.left(lambda most: rng.randint(0, most))
            judge(chosen, disk, session, scratch, counted, f"{what}, choice {choice}")
    assert counted.sound, counted.failures


@pytest.mark.parametrize("name", [*SESSIONS, "resumed"])
def test_any_choice(recorded: dict[str, Recorded], scratch: Path, tally: Tallies, name: str) -> None:
    counted, session = tally("1 offline crash states"), recorded[name]
    begin = next((n for n, op in enumerate(session.ops) if op.kind == "durable"), 0)

    @settings(
        max_examples=1000 if LONG else 25, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(position=st.integers(begin + 1, len(session.ops)), data=st.data())
    def try_one(position: int, data: st.DataObject) -> None:
        one, disk = Tally(counted.layer), session.disk(position)
        files = disk.left(lambda most: data.draw(st.integers(0, most)))
        judge(files, disk, session, scratch, one, f"{name}, operation {position}")
        counted.add(one)
        assert one.sound, one.failures

    try_one()
