"""The harness is a package beside its tests; a test's ``Tally`` is added up at the end of the run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from campaign.tally import PROPERTY, Tallies, Tally

from custody.testing.simulator import Simulator


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tallies]:
    """``tally(layer)``: a new tally, reported at the end of the test, whatever its outcome."""
    made: list[Tally] = []

    def make(layer: str) -> Tally:
        made.append(Tally(layer))
        return made[-1]

    yield make
    for one in made:
        record_property(PROPERTY, one.dump())


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """In memory, where there is such a folder: thousands of states are written here."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="custody-faults-", dir=memory if memory.is_dir() else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def vendor() -> Iterator[Simulator]:
    """A simulator without delays."""
    with Simulator() as simulator:
        yield simulator
