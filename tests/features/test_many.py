"""Each SDK in threads, in tasks of asyncio, anyio and trio; out of patience, and cancelled."""

from __future__ import annotations

import asyncio
import importlib
import runpy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import custody
from custody.testing.simulator import Fault, Simulator

SDKS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("sdks.py")))["SDKS"]
ThreeWays: Any = runpy.run_path(str(Path(__file__).parents[2] / "plugins" / "conftest.py"))["ThreeWays"]
COUNT = 6

# The SDKs' own, bare too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*ReadOnly.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:coroutine 'LoggingWorker:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]

ALL = pytest.mark.parametrize("name", SDKS)
ASYNC = pytest.mark.parametrize("name", [sdk.name for sdk in SDKS.values() if sdk.asynchronous])
# Who runs on httpx alone runs on trio; the others need asyncio's loop by name (asyncio.to_thread, aiohttp, grpc.aio).
ON_TRIO = pytest.mark.parametrize("name", ["openai", "anthropic", "cohere"])


@pytest.fixture
def sdk(name: str) -> Any:
    """The SDK; the test is skipped where it is not installed."""
    found = SDKS[name]
    try:
        importlib.import_module(found.module)
    except ImportError:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def ways(sim: Simulator, root: Path) -> Iterator[Any]:
    """The driver: bare, recorded, and replayed with the vendor gone."""
    return ThreeWays(sim, root)


def complete(ways: Any, asked: int) -> None:
    assert len(ways.calls) == asked
    assert all(call.success and call.fields["hook_failures"] == [] for call in ways.calls)


@ALL
def test_threads(ways: Any, sdk: Any) -> None:
    """A client that is shared by a pool, and one that each thread makes."""

    def own(results: dict[int, str], number: int) -> None:
        with sdk.opened(ways.sim.url) as client:
            results[number] = sdk.ask(client, f"Thread {number}?")

    def scenario() -> Any:
        with sdk.opened(ways.sim.url) as client, ThreadPoolExecutor(3) as pool:
            shared = list(pool.map(lambda number: sdk.ask(client, f"Number {number}?"), range(COUNT)))
        results: dict[int, str] = {}
        threads = [threading.Thread(target=own, args=(results, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [shared, results]

    recorded = ways(scenario)
    assert len({*recorded[0], *recorded[1].values()}) == COUNT + 3
    complete(ways, COUNT + 3)


@ASYNC
def test_asynchronous(ways: Any, sdk: Any) -> None:
    async def scenario() -> Any:
        async with sdk.aopened(ways.sim.url) as client:
            return [await sdk.aask(client, "One?"), await sdk.aask(client, "Two?")]

    ways(scenario)
    complete(ways, 2)


@ASYNC
def test_gather(ways: Any, sdk: Any) -> None:
    async def scenario() -> Any:
        async with sdk.aopened(ways.sim.url) as client:
            return list(await asyncio.gather(*(sdk.aask(client, f"Number {number}?") for number in range(COUNT))))

    recorded = ways(scenario)
    assert len(set(recorded)) == COUNT
    complete(ways, COUNT)


def in_a_task_group(sdk: Any, url: str) -> Callable[[], Any]:
    async def main() -> Any:
        results: dict[int, str] = {}

        async def one(client: Any, number: int) -> None:
            results[number] = await sdk.aask(client, f"Number {number}?")

        async with sdk.aopened(url) as client, anyio.create_task_group() as group:
            for number in range(COUNT):
                group.start_soon(one, client, number)
        return [results[number] for number in range(COUNT)]

    return main


@ASYNC
def test_anyio(ways: Any, sdk: Any) -> None:
    main = in_a_task_group(sdk, ways.sim.url)
    recorded = ways(lambda: anyio.run(main, backend="asyncio"))
    assert len(set(recorded)) == COUNT
    complete(ways, COUNT)


@ON_TRIO
def test_trio(ways: Any, sdk: Any) -> None:
    """Bare first: an SDK that does not run on trio is no concern of custody's."""
    main = in_a_task_group(sdk, ways.sim.url)
    recorded = ways(lambda: trio.run(main))
    assert len(set(recorded)) == COUNT
    complete(ways, COUNT)


def ending_of(ask: Callable[[], Any]) -> list[str]:
    try:
        ask()
    except Exception as error:
        return [type(error).__module__, type(error).__name__]
    return []


@ALL
def test_timeouts(ways: Any, sdk: Any) -> None:
    """The exception is the SDK's own, and a strict replay raises it again; a resumed run asks again."""

    def ask(patience: float = 1.5) -> Any:
        with sdk.opened(ways.sim.url, patience) as client:
            return sdk.ask(client, "Are you there?")

    ways.sim.inject(Fault(delay=8.0))
    bare = ending_of(ask)
    ways.sim.inject(Fault(delay=8.0))
    assert ways.record(lambda: ending_of(ask)) == bare != []
    (call,) = ways.calls
    assert (call.outcome, call.fields["answers"]) == ("no_response", False)
    assert ways.replay(lambda: ending_of(ask)) == bare
    ways.sim.start()
    with custody.session("P", "E", root=ways.root, session=ways.session):
        assert ask(patience=20.0)
    assert [call.outcome for call in ways.calls] == ["no_response", "success"]


@ASYNC
def test_cancellation(ways: Any, sdk: Any) -> None:
    """The program gets its own cancellation. There is no answer: a strict replay says so."""

    async def cancelled() -> Any:
        async with sdk.aopened(ways.sim.url) as client:
            asked = ways.sim.count()
            task = asyncio.create_task(sdk.aask(client, "Are you there?"))
            while ways.sim.count() == asked:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await sdk.aask(client, "And now?")

    async def again() -> Any:
        async with sdk.aopened(ways.sim.url) as client:
            return await sdk.aask(client, "Are you there?")

    ways.sim.inject(Fault(delay=8.0))
    assert asyncio.run(cancelled())
    ways.sim.inject(Fault(delay=8.0))
    assert ways.record(cancelled)
    assert [(call.outcome, call.fields["answers"]) for call in ways.calls] == [("cancelled", False), ("success", True)]
    with pytest.raises(custody.ReplayError):
        ways.replay(again)
