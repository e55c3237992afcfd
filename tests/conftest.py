"""Fixtures for all tests, and a guard that fails a test which leaves a patch, a session or a variable behind."""

from __future__ import annotations

import concurrent.futures
import os
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from custody.identity import scope
from custody.sessions import process, starting
from custody.testing.simulator import Simulator

settings.register_profile("custody", deadline=None)  # how long an example takes depends on who else is at work
settings.load_profile("custody")


_TERMINAL = ("COLUMNS", "LINES")  # which pytest-xdist sets, and what prints tables would take for a narrow window


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test has a spill folder of its own and ends as it began."""
    with pytest.MonkeyPatch.context() as patches:  # not the test's own: it is undone after this fixture
        for name in [name for name in os.environ if name.startswith("CUSTODY_") or name in _TERMINAL]:
            patches.delenv(name)
        patches.setenv("CUSTODY_SPILL_DIR", str(tmp_path_factory.mktemp("spill")))
        yield from _guarded()


def _guarded() -> Iterator[None]:
    patched = {concurrent.futures.ThreadPoolExecutor: "submit", threading.Thread: "start"}
    yield
    left = starting.active()
    if left is not None:
        left.close("failed")
    starting.uninstall()
    assert left is None, f"the test left {left.id} open"
    assert process.current() is None
    assert not scope.current().labels, "the test left a scope open"
    for owner, name in patched.items():
        assert not hasattr(vars(owner)[name], "__custody_original__"), f"{owner}.{name} is still patched"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A running vendor simulator."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def sdk_env(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The simulator, with the environment variables that lead the SDKs to it."""
    for name, value in sim.env().items():
        monkeypatch.setenv(name, value)
    return sim


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to hold projects/."""
    return tmp_path / "root"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests/faults tried and lost; with CUSTODY_FAULTS_OUT also as a file (tests/faults/page.py)."""
    dumped = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, value in report.user_properties
        if name == "faults"
    ]
    if not dumped:
        return
    tally = runpy.run_path(str(Path(__file__).parent / "faults/campaign/tally.py"))
    terminalreporter.section("what was broken on purpose, and what it cost")
    terminalreporter.write_line(tally["plain"](dumped))
    out = os.environ.get("CUSTODY_FAULTS_OUT")
    if out:
        Path(out).write_text("".join(line + "\n" for line in dumped))
