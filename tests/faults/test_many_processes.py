"""Processes with one and the same list of work in one session: each item is paid once, whoever dies."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from campaign import LONG
from campaign.attack import Study
from campaign.tally import Tallies, Tally
from campaign.team import Team

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

SIZE, ITEMS, KILLS = (8, 100, 40) if LONG else (4, 20, 4)

pytestmark = pytest.mark.timeout(1800 if LONG else 300)


def checked(study: Study, at_most: int) -> None:
    tally = study.tally
    tally.acknowledged += len(study.acks)
    paid = study.paid()
    if len({next(iter(shas)) for shas in study.acks.values()}) != ITEMS:
        tally.wrong("one answer was used for two items")
    if paid.total() > at_most:
        tally.repaid(f"{paid.total()} requests for {ITEMS} items, at most {at_most} are explained")
    assert study.path is not None
    verdict = verify(custody.open(study.path).storage)
    if not verdict.sound:
        tally.wrong(f"verify: {verdict.problems[:3]}")


def test_each_item_is_paid_once(tmp_path: Path, tally: Tallies) -> None:
    counted = tally("6 eight processes")
    with Simulator(latency=0.005) as vendor:
        study = Study(tmp_path, vendor, counted)
        with Team(study, SIZE, ITEMS) as team:
            team.finish()
        counted.states += 1
        checked(study, ITEMS)
    assert counted.sound, counted.failures


def test_any_of_them_is_killed(tmp_path: Path, tally: Tallies) -> None:
    """Paid again is only what was under way in a process that died: its answer had reached nobody."""
    counted, rng = tally("6 eight processes"), random.Random(8)
    with Simulator(latency=0.005) as vendor:
        study = Study(tmp_path, vendor, counted)
        with Team(study, SIZE, ITEMS) as team:
            for number in range(KILLS):
                time.sleep(rng.random() * 0.15)
                team.kill(rng)
                counted.states += 1
                if number == KILLS // 2:
                    team.kill_owner()
            team.finish()
        checked(study, ITEMS + 2 * KILLS)  # two are under way at once at most
        study.resume(ITEMS, kinds=("chat", "chat", "stream", "both"))
    assert counted.sound, counted.failures


@pytest.mark.parametrize("bug", ["no_claims", "no_second_look"])
def test_planted_bugs(tmp_path: Path, tally: Tallies, bug: str) -> None:
    counted = tally("6 eight processes")
    seen = Tally(counted.layer)
    with Simulator(latency=0.005) as vendor:
        study = Study(tmp_path, vendor, seen)
        with Team(study, 4, ITEMS, plant=bug) as team:
            team.finish()
        checked(study, ITEMS)
    assert counted.plant(bug, seen), f"{bug} was planted, and every item is paid once"
