"""Fixtures for the plugins' tests, a guard, and the driver that runs a scenario three ways."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody import redact
from custody.sessions import process, starting
from custody.testing.simulator import Simulator


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test has a spill folder of its own, and leaves no session and no patch."""
    for name in [name for name in os.environ if name.startswith("CUSTODY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUSTODY_SPILL_DIR", str(tmp_path_factory.mktemp("spill")))
    yield
    left = starting.active()
    if left is not None:
        left.close("failed")
    starting.uninstall()
    assert left is None, f"the test left {left.id} open"
    assert process.current() is None


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
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return sim


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to hold projects/."""
    return tmp_path / "root"


class ThreeWays:
    """Runs a scenario bare, recording, and replaying with the vendor gone; what it returns must be the same.

    The simulator never gives an answer twice, so bare and recorded results are compared by their shape,
    and recorded and replayed ones exactly.
    """

    def __init__(self, sim: Simulator, root: Path) -> None:
        self.sim, self.root = sim, root
        self.session = ""
        self.path = root

    def __call__(self, scenario: Callable[[], Any], *, before: Callable[[], None] = lambda: None) -> Any:
        """``before`` arms the simulator's faults for one live run. Returns the recorded result."""
        assert process.current() is None
        before()
        bare = run(scenario)
        before()
        recorded = self.record(scenario)
        assert shape(recorded) == shape(bare)
        replayed = self.replay(scenario)
        assert replay_of(replayed) == replay_of(recorded)
        assert_same_types(recorded, replayed)
        return recorded

    def record(self, scenario: Callable[[], Any]) -> Any:
        """Record into a new session."""
        with custody.session(project="P", experiment="E", root=self.root, new=True) as session:
            self.session, self.path = session.id, session.path
            return run(scenario)

    def replay(self, scenario: Callable[[], Any]) -> Any:
        """Replay what was recorded, strictly, with the simulator stopped."""
        asked = self.sim.count()
        self.sim.stop()
        with custody.session(project="P", experiment="E", root=self.root, session=self.session, strict=True):
            result = run(scenario)
        assert self.sim.count() == asked
        return result

    @property
    def calls(self) -> list[Any]:
        """The calls of the session, as stored."""
        return custody.open(self.path).calls()


def run(scenario: Callable[[], Any]) -> Any:
    """The scenario's result, of a function or a coroutine function."""
    return asyncio.run(scenario()) if inspect.iscoroutinefunction(scenario) else scenario()


def shape(value: Any) -> Any:
    """``value`` with its texts, bytes and numbers replaced by the names of their types."""
    if is_headers(value):
        return sorted(set(value))
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shape(v) for v in value]
    if hasattr(value, "model_dump"):
        return [type(value).__name__, shape(value.model_dump(warnings=False))]
    return value if value is None or isinstance(value, bool) else type(value).__name__


def replay_of(value: Any) -> Any:
    """``value`` as a replay must give it: model objects as their dumps, headers as far as they are stored."""
    if is_headers(value):
        pairs = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in value.raw)
        # A replayed failure says x-should-retry, lest the SDK wait and ask again for what cannot change.
        return [pair for pair in redact.response_headers(pairs) if pair != ["x-should-retry", "false"]]
    if isinstance(value, dict):
        return {k: replay_of(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [replay_of(v) for v in value]
    return value.model_dump(warnings=False) if hasattr(value, "model_dump") else value


def assert_same_types(one: Any, other: Any) -> None:
    """The objects are of the same classes, not only of the same content."""
    assert type(one) is type(other)
    if isinstance(one, (list, tuple)):
        for left, right in zip(one, other, strict=True):
            assert_same_types(left, right)


def is_headers(value: Any) -> bool:
    """Whether it is the headers of a response, of httpx or httpx2."""
    return hasattr(value, "multi_items")


@pytest.fixture
def three_ways(sdk_env: Simulator, root: Path) -> ThreeWays:
    """The driver, with the SDKs led to its simulator ``three_ways.sim``."""
    return ThreeWays(sdk_env, root)


@pytest.fixture
def wire() -> Path:
    """The recordings of real vendors beside the project; the test is skipped where there are none."""
    found = Path(__file__).parents[1].parent / "shared" / "wire"
    if not found.is_dir():
        pytest.skip("no recordings of real vendors at ../shared/wire: this is a plain clone")
    return found
