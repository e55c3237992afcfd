"""The OpenAI SDK against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class River(BaseModel):
    name: str
    length_km: int


def second_turn(first: Any) -> Any:
    """The messages that hand a tool's result back; the vendor made the ids in them."""
    message = first.choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"degrees": 21})}
    return [*ASK["messages"], message.model_dump(exclude_none=True), result]


# -- sync ---------------------------------------------------------------------------------------------


def chat(client: OpenAI) -> Any:
    return [client.chat.completions.create(**ASK, temperature=0.5, seed=7), client.chat.completions.create(**ASK, n=2)]


def stream(client: OpenAI) -> Any:
    return list(client.chat.completions.create(**ASK, stream=True))


def stream_with_usage(client: OpenAI) -> Any:
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage is not None
    return chunks


def stream_as_context(client: OpenAI) -> Any:
    with client.chat.completions.create(**ASK, stream=True) as chunks:
        return list(chunks)


def stream_helper(client: OpenAI) -> Any:
    with client.chat.completions.stream(**ASK) as events:
        seen = [event.type for event in events]
        return [seen, events.get_final_completion()]


def raw_response(client: OpenAI) -> Any:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    return [raw.parse(), raw.content, raw.headers, raw.status_code, raw.http_version, raw.request_id]


def raw_response_of_a_stream(client: OpenAI) -> Any:
    raw = client.chat.completions.with_raw_response.create(**ASK, stream=True)
    return [list(raw.parse()), raw.headers]


def streaming_response(client: OpenAI) -> Any:
    made = client.chat.completions.with_streaming_response
    with made.create(**ASK) as one:
        whole = [one.read(), one.json(), one.headers]
    with made.create(**ASK, stream=True) as two:
        lines = list(two.iter_lines())
    with made.create(**ASK, stream=True) as three:
        pieces = b"".join(three.iter_bytes())
    with made.create(**ASK) as four:
        return [whole, lines, pieces, four.parse()]


def parse(client: OpenAI) -> Any:
    parsed = client.chat.completions.parse(**ASK, response_format=River)
    assert isinstance(parsed.choices[0].message.parsed, River)
    return parsed


def tools(client: OpenAI) -> Any:
    first = client.chat.completions.create(**ASK, tools=TOOLS)
    second = client.chat.completions.create(model="gpt-4o", messages=second_turn(first), tools=TOOLS)
    assert second.choices[0].message.content
    return [first, second, list(client.chat.completions.create(**ASK, tools=TOOLS, stream=True))]


def embeddings(client: OpenAI) -> Any:
    plain = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
    floats = client.embeddings.create(
        model="text-embedding-3-small", input="one", dimensions=8, encoding_format="float"
    )
    return [plain, floats]


def responses(client: OpenAI) -> Any:
    first = client.responses.create(model="gpt-4o", input="Say something.")
    second = client.responses.create(model="gpt-4o", input="And then?", previous_response_id=first.id)
    return [first, second, client.responses.create(model="gpt-4o", input="Short.", max_output_tokens=3)]


def responses_stream(client: OpenAI) -> Any:
    return list(client.responses.create(model="gpt-4o", input="Say something.", stream=True))


def responses_stream_helper(client: OpenAI) -> Any:
    with client.responses.stream(model="gpt-4o", input="Say something.") as events:
        return [[event.type for event in events], events.get_final_response()]


def responses_parse(client: OpenAI) -> Any:
    parsed = client.responses.parse(model="gpt-4o", input="A river.", text_format=River)
    assert isinstance(parsed.output_parsed, River)
    return parsed


def models(client: OpenAI) -> Any:
    return [list(client.models.list()), client.models.retrieve("gpt-4o")]


def moderations(client: OpenAI) -> Any:
    return client.moderations.create(input="rivers")


def legacy_completions(client: OpenAI) -> Any:
    asked: Any = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}
    return [client.completions.create(**asked), list(client.completions.create(**asked, stream=True))]


def derived_clients(client: OpenAI) -> Any:
    other = client.with_options(max_retries=0, timeout=20.0)
    return [other.chat.completions.create(**ASK), client.copy(max_retries=5).chat.completions.create(**ASK)]


SYNC = [
    chat,
    stream,
    stream_with_usage,
    stream_as_context,
    stream_helper,
    raw_response,
    raw_response_of_a_stream,
    streaming_response,
    parse,
    tools,
    embeddings,
    responses,
    responses_stream,
    responses_stream_helper,
    responses_parse,
    models,
    moderations,
    legacy_completions,
    derived_clients,
]


@pytest.mark.parametrize("ask", SYNC, ids=lambda f: f.__name__)
def test_sync(three_ways: Any, ask: Callable[[OpenAI], Any]) -> None:
    def scenario() -> Any:
        with OpenAI() as client:
            return ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": "openai", "version": f"openai {openai.__version__}"}


# -- async --------------------------------------------------------------------------------------------


async def a_chat(client: AsyncOpenAI) -> Any:
    return await client.chat.completions.create(**ASK)


async def a_stream(client: AsyncOpenAI) -> Any:
    return [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]


async def a_stream_with_usage(client: AsyncOpenAI) -> Any:
    made = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    return [chunk async for chunk in made]


async def a_stream_helper(client: AsyncOpenAI) -> Any:
    async with client.chat.completions.stream(**ASK) as events:
        seen = [event.type async for event in events]
        return [seen, await events.get_final_completion()]


async def a_raw_response(client: AsyncOpenAI) -> Any:
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    return [raw.parse(), raw.content, raw.headers, raw.status_code]


async def a_streaming_response(client: AsyncOpenAI) -> Any:
    made = client.chat.completions.with_streaming_response
    async with made.create(**ASK) as one:
        whole = [await one.read(), one.headers]
    async with made.create(**ASK, stream=True) as two:
        lines = [line async for line in two.iter_lines()]
    async with made.create(**ASK, stream=True) as three:
        return [whole, lines, b"".join([piece async for piece in three.iter_bytes()])]


async def a_parse(client: AsyncOpenAI) -> Any:
    return await client.chat.completions.parse(**ASK, response_format=River)


async def a_tools(client: AsyncOpenAI) -> Any:
    first = await client.chat.completions.create(**ASK, tools=TOOLS)
    return [first, await client.chat.completions.create(model="gpt-4o", messages=second_turn(first), tools=TOOLS)]


async def a_embeddings(client: AsyncOpenAI) -> Any:
    return await client.embeddings.create(model="text-embedding-3-small", input="one", dimensions=8)


async def a_responses(client: AsyncOpenAI) -> Any:
    whole = await client.responses.create(model="gpt-4o", input="Say something.")
    made = await client.responses.create(model="gpt-4o", input="Say something.", stream=True)
    parsed = await client.responses.parse(model="gpt-4o", input="A river.", text_format=River)
    async with client.responses.stream(model="gpt-4o", input="Say something.") as events:
        seen = [event.type async for event in events]
        return [whole, [event async for event in made], parsed, seen, await events.get_final_response()]


async def a_others(client: AsyncOpenAI) -> Any:
    listed = [model async for model in client.models.list()]
    return [
        listed,
        await client.models.retrieve("gpt-4o"),
        await client.moderations.create(input="rivers"),
        await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once"),
        await client.with_options(max_retries=0).chat.completions.create(**ASK),
    ]


ASYNC = [
    a_chat,
    a_stream,
    a_stream_with_usage,
    a_stream_helper,
    a_raw_response,
    a_streaming_response,
    a_parse,
    a_tools,
    a_embeddings,
    a_responses,
    a_others,
]


@pytest.mark.parametrize("ask", ASYNC, ids=lambda f: f.__name__)
def test_async(three_ways: Any, ask: Callable[[AsyncOpenAI], Any]) -> None:
    async def scenario() -> Any:
        async with AsyncOpenAI() as client:
            return await ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
