"""The tour of the asynchronous SDK, over each HTTP library that it knows."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from google.genai import types
from pydantic import BaseModel

from custody.testing.simulator import Fault

# The SDK makes a subclass of aiohttp's session, which aiohttp does not like.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

MODEL = "gemini-2.5-flash"
ASK: Any = {"model": MODEL, "contents": "Say something about rivers."}


class River(BaseModel):
    name: str
    length_km: int


async def depth_of(river: str) -> dict[str, Any]:
    """The depth of a river in metres."""
    return {"river": len(river), "depth": 12}


async def asked(client: Any, **config: Any) -> Any:
    return await client.models.generate_content(**ASK, config=types.GenerateContentConfig(**config))


async def streamed(client: Any, **config: Any) -> Any:
    made = await client.models.generate_content_stream(**ASK, config=types.GenerateContentConfig(**config))
    return [chunk async for chunk in made]


async def text(client: Any) -> Any:
    return await client.models.generate_content(**ASK)


async def parameters(client: Any) -> Any:
    return await asked(client, temperature=0.5, seed=7, system_instruction="Be brief.", candidate_count=2)


async def stream(client: Any) -> Any:
    chunks = await streamed(client)
    assert len(chunks) > 3
    return chunks


async def stream_of_candidates(client: Any) -> Any:
    return await streamed(client, candidate_count=2)


async def thoughts(client: Any) -> Any:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=20)
    return [await asked(client, thinking_config=thinking), await streamed(client, thinking_config=thinking)]


async def cut_at_the_limit(client: Any) -> Any:
    return [await asked(client, max_output_tokens=3), await streamed(client, max_output_tokens=3)]


async def odd_endings(client: Any) -> Any:
    seen = []
    for word in ("simulate:block", "simulate:safety", "simulate:empty"):
        seen.append(await client.models.generate_content(model=MODEL, contents=word))
        made = await client.models.generate_content_stream(model=MODEL, contents=word)
        seen.append([chunk async for chunk in made])
    return seen


async def parsed(client: Any) -> Any:
    response = await asked(client, response_mime_type="application/json", response_schema=River)
    assert isinstance(response.parsed, River)
    return [response, await streamed(client, response_mime_type="application/json", response_schema=River)]


async def functions_called_by_the_sdk(client: Any) -> Any:
    response = await asked(client, tools=[depth_of])
    assert response.automatic_function_calling_history
    return response


async def functions_called_in_a_stream(client: Any) -> Any:
    return await streamed(client, tools=[depth_of])


async def chat(client: Any) -> Any:
    talk = client.chats.create(model=MODEL)
    first = await talk.send_message("Rivers?")
    second = [chunk async for chunk in await talk.send_message_stream("And lakes?")]
    return [first, second, talk.get_history()]


async def images(client: Any) -> Any:
    parts = ["What is it?", types.Part.from_bytes(data=b"\x89PNG\r\n", mime_type="image/png")]
    seen = await client.models.generate_content(model=MODEL, contents=parts)
    return [seen, await asked(client, response_modalities=["TEXT", "IMAGE"])]


async def embeddings_and_counts(client: Any) -> Any:
    made = await client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    return [made, await client.models.count_tokens(model=MODEL, contents="How many?")]


async def models(client: Any) -> Any:
    listed = [model async for model in await client.models.list()]
    return [listed, await client.models.get(model=MODEL)]


async def headers(client: Any) -> Any:
    response = await text(client)
    assert response.sdk_http_response.headers
    return [response.sdk_http_response, (await asked(client, should_return_http_response=True)).sdk_http_response]


async def options_of_a_request(client: Any) -> Any:
    given = types.HttpOptions(headers={"x-of-mine": "1"}, api_version="v1alpha", timeout=20_000)
    return [await asked(client, http_options=given), await streamed(client, http_options=given)]


async def files(client: Any) -> Any:
    pages = [file async for file in await client.files.list(config={"page_size": 1})]
    kept = await client.files.get(name="files/first")
    return [pages, kept, await client.files.delete(name="files/first")]


async def uploads(client: Any) -> Any:
    config = types.UploadFileConfig(mime_type="text/plain", display_name="rivers")
    return await client.files.upload(file=io.BytesIO(b"The Rhine is long."), config=config)


async def caches(client: Any) -> Any:
    config = types.CreateCachedContentConfig(contents="A long story.", display_name="story", ttl="300s")
    cache = await client.caches.create(model=MODEL, config=config)
    changed = await client.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="600s"))
    kept = await client.caches.get(name=cache.name)
    return [cache, changed, kept, await client.caches.delete(name=cache.name)]


async def batches(client: Any) -> Any:
    source = [{"contents": [{"parts": [{"text": "One?"}], "role": "user"}]}]
    job = await client.batches.create(model=MODEL, src=source)
    return [job, await client.batches.get(name=job.name), [each async for each in await client.batches.list()]]


async def interactions(client: Any) -> Any:
    made = await client.interactions.create(model=MODEL, input="Say something about rivers.")
    events = [each async for each in await client.interactions.create(model=MODEL, input="Lakes?", stream=True)]
    return [made, events]


async def the_same_six_times(client: Any) -> Any:
    answers = [await text(client) for _ in range(6)]
    assert len({answer.text for answer in answers}) == 6
    return answers


async def many_at_once(client: Any) -> Any:
    async def one(number: int) -> Any:
        return await client.models.generate_content(model=MODEL, contents=f"Number {number}")

    answers = await asyncio.gather(*(one(number) for number in range(16)))
    assert len({answer.text for answer in answers}) == 16
    return answers


async def streams_at_once(client: Any) -> Any:
    async def one(number: int) -> Any:
        made = await client.models.generate_content_stream(model=MODEL, contents=f"Number {number}")
        return [chunk async for chunk in made]

    return await asyncio.gather(*(one(number) for number in range(6)))


async def a_stream_left_early(client: Any) -> Any:
    chunks = await client.models.generate_content_stream(**ASK)
    first = await anext(aiter(chunks))
    await chunks.aclose()
    return first


TOUR = [
    text, parameters, stream, stream_of_candidates, thoughts, cut_at_the_limit, odd_endings, parsed,
    functions_called_by_the_sdk, functions_called_in_a_stream, chat, images, embeddings_and_counts, models, headers,
    options_of_a_request, files, uploads, caches, batches, the_same_six_times, many_at_once, streams_at_once,
    a_stream_left_early,
]  # fmt: skip


@pytest.mark.parametrize("ask", TOUR, ids=lambda f: f.__name__)
def test_developer_api(google: Any, async_library: str, ask: Any) -> None:
    google.sim.chunk_delay = 0.03 if ask is a_stream_left_early else 0.0
    google.asynchronous(ask)
    assert google.calls
    for call in google.calls:
        expected = "closed_early" if ask is a_stream_left_early else "complete"
        assert (call.fields["ending"], call.fields["hook_failures"]) == (expected, [])
        assert call.fields["transport"].split()[0] == async_library
        assert call.fields["sdk"]["plugin"] == "google"
        assert len(call.fields["attempts"]) == 1


@pytest.mark.parametrize("ask", [text, stream, functions_called_by_the_sdk, many_at_once], ids=lambda f: f.__name__)
def test_vertex(google: Any, ask: Any) -> None:
    google.vertex = True
    google.asynchronous(ask)
    assert {call.fields["model_forensics"]["api_version"] for call in google.calls} == {"v1beta1"}


@pytest.mark.filterwarnings("ignore:Async interactions client cannot use aiohttp:UserWarning")
def test_interactions(google: Any) -> None:
    google.asynchronous(interactions)
    assert [call.outcome for call in google.calls] == ["success", "success"]
    assert {call.fields["sdk"]["plugin"] for call in google.calls} == {"google"}


def test_the_first_chunk_comes_while_the_vendor_is_writing(google: Any, async_library: str) -> None:
    google.sim.inject(Fault(hold_after=1))

    async def scenario() -> Any:
        came = 0
        async with google.client().aio as client:
            async for _ in await client.models.generate_content_stream(**ASK):
                came += 1
                google.sim.release()  # the next is written when this one has come
        return came

    assert google.three_ways.record(scenario) > 3
    assert google.calls[0].fields["outcome"] == "success"


@pytest.mark.parametrize("recorded_by", ["aiohttp", "httpx"])
def test_another_library_may_replay(google: Any, recorded_by: str) -> None:
    """What is asked does not depend on who carries it: sync or async, this library or that."""

    async def asynchronous() -> Any:
        async with google.client().aio as client:
            return [(await text(client)).text, [chunk.text for chunk in await stream(client)]]

    def sync() -> Any:
        with google.client() as client:
            chunks = client.models.generate_content_stream(**ASK, config=types.GenerateContentConfig())
            return [client.models.generate_content(**ASK).text, [chunk.text for chunk in chunks]]

    one, other = (asynchronous, sync) if recorded_by == "aiohttp" else (sync, asynchronous)
    recorded = google.three_ways.record(one)
    assert google.three_ways.replay(other) == recorded


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_a_cancelled_call_is_recorded_as_such(google: Any, async_library: str, streaming: bool) -> None:
    """The program sees its own cancellation, and the next call goes its way."""
    google.sim.inject(Fault(hold_after=1) if streaming else Fault(delay=20))

    async def scenario() -> Any:
        async with google.client().aio as client:
            task = asyncio.ensure_future(stream(client) if streaming else text(client))
            while not google.sim.count():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.models.generate_content(model=MODEL, contents="Again?")).text

    assert google.three_ways.record(scenario)
    assert [call.fields["ending"] for call in google.calls] == ["cancelled", "complete"]
