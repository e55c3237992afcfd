"""A tour of the clients of the Anthropic SDK, and of the ways to run many calls at a time."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import anyio
import pytest
import trio
from anthropic import Anthropic, AsyncAnthropic

from custody.sessions import starting
from custody.testing import both
from custody.testing.both import entered, every

Tour = Generator[Any, Any, Any]

http: Any = importlib.import_module("httpx2" if int(anthropic.__version__.split(".")[0]) >= 1 else "httpx")
COUNT = 8


def ask(about: object = "rivers") -> Any:
    said: Any = [{"role": "user", "content": f"Say something about {about}."}]
    return {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": said}


def usual(client: Any) -> Tour:
    """A whole answer, a stream, a raw answer, a helper and an error."""
    made = yield client.messages.create(**ask())
    raw = yield client.messages.with_raw_response.create(**ask("lakes"))
    chunks = yield every(client.messages.create(**ask(), stream=True))
    helper = yield entered(client.messages.stream(**ask("ponds")))
    stream = yield entered(client.messages.with_streaming_response.create(**ask("seas"), stream=True))
    lines = yield every(stream.iter_lines())
    with pytest.raises(anthropic.NotFoundError) as missing:
        yield client.models.retrieve("nothing")
    whole = yield helper.get_final_message()
    return [made, (yield raw.parse()), raw.headers, chunks, whole, lines, missing.value.body]


# -- clients ------------------------------------------------------------------------------------------


def hooks(asynchronous: bool) -> dict[str, Any]:
    """Event hooks of the program's own, which read the answer before the SDK does."""

    def read(response: Any) -> None:
        response.read()

    async def aread(response: Any) -> None:
        await response.aread()

    return {"event_hooks": {"response": [aread if asynchronous else read]}}


def plain(asynchronous: bool) -> Any:
    return http.AsyncClient if asynchronous else http.Client


CLIENTS: dict[str, Callable[[Any, bool], dict[str, Any]]] = {
    "default": lambda sim, a: {},
    "arguments": lambda sim, a: {"base_url": sim.anthropic_base_url + "/", "api_key": "k"},
    "default_headers_and_query": lambda sim, a: {"default_headers": {"x-a": "b"}, "default_query": {"c": "d"}},
    "own_client": lambda sim, a: {"http_client": plain(a)(timeout=20)},
    "own_client_with_hooks": lambda sim, a: {"http_client": plain(a)(timeout=20, **hooks(a))},
    "sdk_default_client": lambda sim, a: {
        "http_client": (anthropic.DefaultAsyncHttpxClient if a else anthropic.DefaultHttpxClient)(
            headers={"x-own": "1"}
        )
    },
    "proxy": lambda sim, a: {"base_url": "http://api.vendor.example", "http_client": plain(a)(proxy=sim.url)},
    "mounts": lambda sim, a: {
        "http_client": plain(a)(mounts={"http://": (http.AsyncHTTPTransport if a else http.HTTPTransport)(retries=2)})
    },
    "redirects": lambda sim, a: {"http_client": plain(a)(follow_redirects=True)},
    "bearer_token": lambda sim, a: {"auth_token": "made-up-token"},
}


@pytest.mark.parametrize("kind", [Anthropic, AsyncAnthropic], ids=["sync", "async"])
@pytest.mark.parametrize("name", CLIENTS)
def test_every_client(three_ways: Any, name: str, kind: type[Any]) -> None:
    def options() -> dict[str, Any]:
        return CLIENTS[name](three_ways.sim, kind is AsyncAnthropic)

    if name == "own_client_with_hooks":  # on replay no hook of the client runs, and a stream is read as it comes
        three_ways.sim.chunk_delay = 0.001
    three_ways(both.scenario(kind, usual, options))
    assert len(three_ways.calls) == 6
    assert {call.fields["sdk"]["plugin"] for call in three_ways.calls} == {"anthropic"}


def test_a_client_of_aiohttp(three_ways: Any) -> None:
    """Two adapters see the traffic, one records it."""
    if not hasattr(anthropic, "DefaultAioHttpClient"):
        pytest.skip("this SDK has no client of aiohttp")
    try:
        asyncio.run(made_and_closed())
    except RuntimeError as error:
        pytest.skip(str(error))
    three_ways(both.scenario(AsyncAnthropic, usual, lambda: {"http_client": anthropic.DefaultAioHttpClient()}))
    assert len(three_ways.calls) == 6


async def made_and_closed() -> None:
    await anthropic.DefaultAioHttpClient().aclose()


def test_proxies_of_the_environment(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if int(anthropic.__version__.split(".")[0]) < 1:
        pytest.skip("older SDKs bring a transport of their own, which asks no environment")
    monkeypatch.setenv("HTTP_PROXY", three_ways.sim.url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://api.vendor.example")
    three_ways(both.scenario(Anthropic, usual))
    assert {seen.headers["host"] for seen in three_ways.sim.requests} == {"api.vendor.example"}


class Mine(Anthropic):
    """A client that somebody derived."""

    def twice(self, about: str) -> list[Any]:
        return [self.messages.create(**ask(about)) for _ in range(2)]


def test_a_derived_class_and_a_client_in_use(three_ways: Any) -> None:
    with Mine() as client:
        client.twice("before custody")
        before = len(three_ways.sim.requests)
        three_ways(lambda: [client.twice("lakes"), client.with_options(timeout=9).twice("seas")])
    assert len(three_ways.calls) == 4 and len(three_ways.sim.requests) == before + 8


# -- many at a time -----------------------------------------------------------------------------------


async def one(client: AsyncAnthropic, number: int) -> Any:
    made = await client.messages.create(**ask(number))
    stream: Any = await client.messages.create(**ask(number), stream=True)
    return [made, [chunk async for chunk in stream]]


async def gathered() -> Any:
    async with AsyncAnthropic() as client:
        return list(await asyncio.gather(*(one(client, number) for number in range(COUNT))))


async def in_a_task_group() -> Any:
    async with AsyncAnthropic() as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(client, number)) for number in range(COUNT)]
    return [task.result() for task in tasks]


async def as_completed() -> Any:
    async with AsyncAnthropic() as client:
        tasks = [asyncio.create_task(one(client, number)) for number in range(COUNT)]
        for done in asyncio.as_completed(tasks):
            await done
        return [task.result() for task in tasks]


async def in_anyio() -> Any:
    results: dict[int, Any] = {}

    async def run(client: AsyncAnthropic, number: int) -> None:
        results[number] = await one(client, number)

    async with AsyncAnthropic() as client, anyio.create_task_group() as group:
        for number in range(COUNT):
            group.start_soon(run, client, number)
    return [results[number] for number in range(COUNT)]


def on_anyio_with(backend: str) -> Callable[[], Any]:
    return lambda: anyio.run(in_anyio, backend=backend)


def on_trio() -> Any:
    async def main() -> Any:
        results: dict[int, Any] = {}

        async def run(client: AsyncAnthropic, number: int) -> None:
            results[number] = await one(client, number)

        async with AsyncAnthropic() as client, trio.open_nursery() as nursery:
            for number in range(COUNT):
                nursery.start_soon(run, client, number)
        return [results[number] for number in range(COUNT)]

    return trio.run(main)


def sync_one(client: Anthropic, number: int) -> Any:
    made = client.messages.create(**ask(number))
    return [made, list(client.messages.create(**ask(number), stream=True))]


def in_a_pool() -> Any:
    with Anthropic() as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda number: sync_one(client, number), range(COUNT)))


def in_threads() -> Any:
    results: dict[int, Any] = {}

    def run(number: int) -> None:
        with Anthropic() as client:
            results[number] = sync_one(client, number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(COUNT)]


def in_contexts() -> Any:
    with Anthropic() as client:
        return [contextvars.Context().run(sync_one, client, number) for number in range(3)]


async def in_to_thread() -> Any:
    with Anthropic() as client:
        return list(await asyncio.gather(*(asyncio.to_thread(sync_one, client, number) for number in range(COUNT))))


async def sync_inside_async() -> Any:
    with Anthropic() as blocking:
        async with AsyncAnthropic() as client:
            return [sync_one(blocking, 1), await one(client, 2)]


MANY: dict[str, Callable[[], Any]] = {
    "gather": gathered,
    "task_group": in_a_task_group,
    "as_completed": as_completed,
    "anyio_on_asyncio": on_anyio_with("asyncio"),
    "anyio_on_trio": on_anyio_with("trio"),
    "trio": on_trio,
    "pool": in_a_pool,
    "threads": in_threads,
    "contexts": in_contexts,
    "to_thread": in_to_thread,
    "sync_inside_async": sync_inside_async,
}


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the SDK leaves them on trio, bare too
@pytest.mark.parametrize("name", MANY)
def test_many_at_a_time(three_ways: Any, name: str) -> None:
    three_ways.sim.latency = 0.01
    results = three_ways(MANY[name])
    assert len(three_ways.calls) == 2 * len(results)
    assert all(call.success for call in three_ways.calls)


def test_replays_in_another_order(three_ways: Any) -> None:
    """Which thread asks first does not matter: what is asked does."""
    recorded = three_ways.record(in_a_pool)

    def backwards() -> Any:
        with Anthropic() as client:
            return [sync_one(client, number) for number in reversed(range(COUNT))]

    again = three_ways.replay(backwards)
    assert [made.id for made, _ in reversed(again)] == [made.id for made, _ in recorded]


def test_scopes_tell_equal_calls_apart(three_ways: Any) -> None:
    async def scenario() -> Any:
        async def labelled(client: AsyncAnthropic, run: int) -> Any:
            session = starting.active()
            assert session is not None
            with session.scope(run=run):
                return await client.messages.create(**ask("the same"))

        async with AsyncAnthropic() as client:
            return [made.id for made in await asyncio.gather(*(labelled(client, run) for run in range(COUNT)))]

    recorded = three_ways.record(scenario)
    assert three_ways.replay(scenario) == recorded and len(set(recorded)) == COUNT
