"""A tour of the clients of the OpenAI SDK, and of the ways to run many calls at a time."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import openai
import pytest
import trio
from openai import AsyncOpenAI, OpenAI

from custody.sessions import starting
from custody.testing import both
from custody.testing.both import entered, every

Tour = Generator[Any, Any, Any]

http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
COUNT = 8


def ask(about: object = "rivers") -> Any:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": f"Say something about {about}."}]}


def usual(client: Any) -> Tour:
    """A whole answer, a stream, a raw answer, an upload and an error."""
    made = yield client.chat.completions.create(**ask())
    raw = yield client.chat.completions.with_raw_response.create(**ask("lakes"))
    chunks = yield every(client.chat.completions.create(**ask(), stream=True))
    file = yield client.files.create(file=("a.txt", b"abc"), purpose="user_data")
    stream = yield entered(client.chat.completions.with_streaming_response.create(**ask("seas"), stream=True))
    lines = yield every(stream.iter_lines())
    with pytest.raises(openai.NotFoundError) as missing:
        yield client.models.retrieve("nothing")
    return [
        made,
        raw.parse(),
        raw.headers,
        chunks,
        file,
        lines,
        missing.value.body,
        (yield client.files.delete(file.id)),
    ]


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
    "arguments": lambda sim, a: {
        "base_url": sim.openai_base_url + "/",
        "api_key": "k",
        "organization": "o",
        "project": "p",
    },
    "default_headers_and_query": lambda sim, a: {"default_headers": {"x-a": "b"}, "default_query": {"c": "d"}},
    "own_client": lambda sim, a: {"http_client": plain(a)(timeout=20)},
    "own_client_with_hooks": lambda sim, a: {"http_client": plain(a)(timeout=20, **hooks(a))},
    "sdk_default_client": lambda sim, a: {
        "http_client": (openai.DefaultAsyncHttpxClient if a else openai.DefaultHttpxClient)(headers={"x-own": "1"})
    },
    "proxy": lambda sim, a: {"base_url": "http://api.vendor.example/v1", "http_client": plain(a)(proxy=sim.url)},
    "mounts": lambda sim, a: {
        "http_client": plain(a)(mounts={"http://": (http.AsyncHTTPTransport if a else http.HTTPTransport)(retries=2)})
    },
    "redirects": lambda sim, a: {"http_client": plain(a)(follow_redirects=True)},
    "callable_key": lambda sim, a: {"api_key": callable_key(a)},
}


def callable_key(asynchronous: bool) -> Any:
    async def akey() -> str:
        return "sk-made-on-demand"

    return akey if asynchronous else lambda: "sk-made-on-demand"


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
@pytest.mark.parametrize("name", CLIENTS)
def test_every_client(three_ways: Any, name: str, kind: type[Any]) -> None:
    def options() -> dict[str, Any]:
        return CLIENTS[name](three_ways.sim, kind is AsyncOpenAI)

    if name == "own_client_with_hooks":  # on replay no hook of the client runs, and a stream is read as it comes
        three_ways.sim.chunk_delay = 0.001
    three_ways(both.scenario(kind, usual, options))
    assert len(three_ways.calls) == 7
    assert {call.fields["sdk"]["plugin"] for call in three_ways.calls} == {"openai"}


def test_a_client_of_aiohttp(three_ways: Any) -> None:
    """Two adapters see the traffic, one records it."""
    if not hasattr(openai, "DefaultAioHttpClient"):
        pytest.skip("this SDK has no client of aiohttp")
    try:
        asyncio.run(made_and_closed())
    except RuntimeError as error:
        pytest.skip(str(error))
    three_ways(both.scenario(AsyncOpenAI, usual, lambda: {"http_client": openai.DefaultAioHttpClient()}))
    assert len(three_ways.calls) == 7


async def made_and_closed() -> None:
    await openai.DefaultAioHttpClient().aclose()


def test_proxies_of_the_environment(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", three_ways.sim.url)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://api.vendor.example/v1")
    three_ways(both.scenario(OpenAI, usual))
    assert {seen.headers["host"] for seen in three_ways.sim.requests} == {"api.vendor.example"}


def test_the_modules_own_client(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario() -> Any:
        monkeypatch.setattr(openai, "max_retries", 0)
        openai._reset_client()
        try:
            made = openai.chat.completions.create(**ask())
            file = openai.files.create(file=("a.txt", b"abc"), purpose="user_data")
            said = openai.responses.create(model="gpt-4o", input="Hello")
            return [made, said, openai.files.delete(file.id), list(openai.models.list())]
        finally:
            openai._reset_client()

    three_ways(scenario)
    assert len(three_ways.calls) == 5


class Mine(OpenAI):
    """A client that somebody derived."""

    def twice(self, about: str) -> list[Any]:
        return [self.chat.completions.create(**ask(about)) for _ in range(2)]


def test_a_derived_class_and_a_client_in_use(three_ways: Any) -> None:
    with Mine() as client:
        client.twice("before custody")
        before = len(three_ways.sim.requests)
        three_ways(lambda: [client.twice("lakes"), client.with_options(timeout=9).twice("seas")])
    assert len(three_ways.calls) == 4 and len(three_ways.sim.requests) == before + 8


# -- many at a time -----------------------------------------------------------------------------------


async def one(client: AsyncOpenAI, number: int) -> Any:
    made = await client.chat.completions.create(**ask(number))
    stream: Any = await client.chat.completions.create(**ask(number), stream=True)
    return [made, [chunk async for chunk in stream]]


async def gathered() -> Any:
    async with AsyncOpenAI() as client:
        return list(await asyncio.gather(*(one(client, number) for number in range(COUNT))))


async def in_a_task_group() -> Any:
    async with AsyncOpenAI() as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(client, number)) for number in range(COUNT)]
    return [task.result() for task in tasks]


async def as_completed() -> Any:
    async with AsyncOpenAI() as client:
        tasks = [asyncio.create_task(one(client, number)) for number in range(COUNT)]
        for done in asyncio.as_completed(tasks):
            await done
        return [task.result() for task in tasks]


async def in_anyio() -> Any:
    results: dict[int, Any] = {}

    async def run(client: AsyncOpenAI, number: int) -> None:
        results[number] = await one(client, number)

    async with AsyncOpenAI() as client, anyio.create_task_group() as group:
        for number in range(COUNT):
            group.start_soon(run, client, number)
    return [results[number] for number in range(COUNT)]


def on_anyio_with(backend: str) -> Callable[[], Any]:
    return lambda: anyio.run(in_anyio, backend=backend)


def on_trio() -> Any:
    async def main() -> Any:
        results: dict[int, Any] = {}

        async def run(client: AsyncOpenAI, number: int) -> None:
            results[number] = await one(client, number)

        async with AsyncOpenAI() as client, trio.open_nursery() as nursery:
            for number in range(COUNT):
                nursery.start_soon(run, client, number)
        return [results[number] for number in range(COUNT)]

    return trio.run(main)


def sync_one(client: OpenAI, number: int) -> Any:
    made = client.chat.completions.create(**ask(number))
    return [made, list(client.chat.completions.create(**ask(number), stream=True))]


def in_a_pool() -> Any:
    with OpenAI() as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda number: sync_one(client, number), range(COUNT)))


def in_threads() -> Any:
    results: dict[int, Any] = {}

    def run(number: int) -> None:
        with OpenAI() as client:
            results[number] = sync_one(client, number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(COUNT)]


def in_contexts() -> Any:
    with OpenAI() as client:
        return [contextvars.Context().run(sync_one, client, number) for number in range(3)]


async def in_to_thread() -> Any:
    with OpenAI() as client:
        return list(await asyncio.gather(*(asyncio.to_thread(sync_one, client, number) for number in range(COUNT))))


async def sync_inside_async() -> Any:
    with OpenAI() as blocking:
        async with AsyncOpenAI() as client:
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
        with OpenAI() as client:
            return [sync_one(client, number) for number in reversed(range(COUNT))]

    again = three_ways.replay(backwards)
    assert [made.id for made, _ in reversed(again)] == [made.id for made, _ in recorded]


def test_scopes_tell_equal_calls_apart(three_ways: Any) -> None:
    async def scenario() -> Any:
        async def labelled(client: AsyncOpenAI, run: int) -> Any:
            session = starting.active()
            assert session is not None
            with session.scope(run=run):
                return await client.chat.completions.create(**ask("the same"))

        async with AsyncOpenAI() as client:
            return [made.id for made in await asyncio.gather(*(labelled(client, run) for run in range(COUNT)))]

    recorded = three_ways.record(scenario)
    assert three_ways.replay(scenario) == recorded and len(set(recorded)) == COUNT
