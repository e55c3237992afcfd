"""Damage anywhere: every call that it does not touch still replays byte for byte, verify names it, nothing
is made up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from campaign import LONG, damage
from campaign.damage import Damaged
from campaign.judge import Reading, Reference
from campaign.patient import Patient, segments, whole_session
from campaign.tally import Tallies, Tally
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody import layout
from custody.storage.local import LocalStorage

pytestmark = pytest.mark.timeout(7200 if LONG else 180)


@pytest.fixture(scope="module", params=["plain", "compressed"])
def whole(request: pytest.FixtureRequest, scratch: Path) -> Reference:
    return whole_session(scratch / request.param, compressed=request.param == "compressed")


def test_there_is_something_to_damage(whole: Reference) -> None:
    assert len(segments(whole)) >= 4
    assert len(whole.answers) == 16
    assert len({name.split("-")[1] for name in segments(whole)}) == 3, "three writers"
    if "compressed" in whole.path.parts:
        names = [entry.name for entry in LocalStorage(whole.path).list()]
        assert [n for n in names if n.endswith(".zst")] and [n for n in names if n.endswith(".idx")]


def test_every_border_and_samples_elsewhere(whole: Reference, tally: Tallies) -> None:
    counted, rng = tally("1 damage anywhere"), random.Random(1)
    for name in segments(whole):
        patient = Patient(whole, name)
        size = len(patient.data)
        borders = damage.near(patient.borders, size, 12 if LONG else 1)
        at = sorted({*borders, *(rng.randrange(size) for _ in range(400 if LONG else 4))})
        if not LONG:
            at = rng.sample(at, min(len(at), 8))
        cases = [
            *damage.truncations(patient.data, at),
            *damage.flips(patient.data, at, rng),
            *damage.pages(patient.data, rng, 150 if LONG else 3),
            *damage.zeroed(patient.data, rng, 150 if LONG else 3),
            *damage.doubled_tails(patient.data, patient.borders),
        ]
        for case in cases:
            patient.judged(case, counted)
    assert counted.sound, counted.failures


def test_no_bit_of_a_compressed_segment_costs_a_call(whole: Reference, tally: Tallies) -> None:
    counted, rng = tally("1 damage anywhere"), random.Random(3)
    compressed = [name for name in segments(whole) if name.endswith(".zst")]
    assert bool(compressed) == ("compressed" in whole.path.parts)
    for name in compressed:
        patient = Patient(whole, name)
        size, frames = len(patient.data), whole.frames[name][0]
        borders = damage.near([*frames, size], size, 30 if LONG else 2)
        at = {*borders, *(rng.randrange(size) for _ in range(4000 if LONG else 30))}
        for case in damage.flips(patient.data, sorted(at), rng):
            patient.judged(case, counted)
    assert counted.sound, counted.failures


@settings(
    max_examples=1500 if LONG else 25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
def _any(whole: Reference, counted: Tally, data: st.DataObject) -> None:
    """One to three places of one segment."""
    patient = Patient(whole, data.draw(st.sampled_from(segments(whole))))
    changed, size = bytearray(patient.data), len(patient.data)
    places = sorted({data.draw(st.integers(0, size - 1)) for _ in range(data.draw(st.integers(1, 3)))})
    for place in places:
        changed[place] ^= data.draw(st.integers(1, 255))
    one = Tally(counted.layer)
    # What lies between the places is called touched, too: the others are the claim.
    patient.judged(Damaged(f"bytes {places}", bytes(changed), places[0], places[-1] + 1), one)
    counted.add(one)
    assert one.sound, one.failures


def test_any_bytes(whole: Reference, tally: Tallies) -> None:
    _any(whole, tally("1 damage anywhere"))


def test_what_lies_beside_the_segments_costs_no_answer(whole: Reference, tally: Tallies) -> None:
    """Chronolog, checkpoints, indexes: changed, cut or gone, every call still replays."""
    counted, rng = tally("1 damage anywhere"), random.Random(2)
    kept = (layout.MANIFEST, layout.REQUEST_KEY)
    beside = [
        name
        for name in sorted(p.relative_to(whole.path).as_posix() for p in whole.path.rglob("*") if p.is_file())
        if name not in whole.lines and name not in kept and (whole.path / name).stat().st_size
    ]
    assert layout.CHRONOLOG in beside
    for name in beside:
        patient = Patient(whole, name)
        size = len(patient.data)
        at = [rng.randrange(size) for _ in range(200 if LONG else 3)]
        for case in (
            *damage.truncations(patient.data, [0, *at]),
            *damage.flips(patient.data, at, rng),
            *damage.zeroed(patient.data, rng, 20 if LONG else 3),
        ):
            counted.states += 1
            patient.path.write_bytes(case.data)
            try:
                reading = Reading(whole.path, whole, counted, f"{name}, {case.what}")
                reading.requires(whole.answers)
                counted.acknowledged += len(whole.answers)
                # Its last line is covered by no later one.
                chained = (
                    name == layout.CHRONOLOG and not case.lost_tail and case.start < patient.data[:-1].rfind(b"\n")
                )
                if chained and not reading.names([name]):
                    counted.wrong(f"{name}, {case.what}: verify does not name it")
                reading.verified()
            finally:
                patient.path.write_bytes(patient.data)
    assert counted.sound, counted.failures
