"""litellm against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
VENDORS = ["openai", "anthropic", "gemini", "azure", "groq", "mistral", "bedrock", "ollama_chat"]


def check(three_ways: Any, calls: int = 1) -> None:
    """Each call is one call of litellm's, archived as an answer, and recorded once."""
    assert len(three_ways.calls) == calls
    for call in three_ways.calls:
        fields = call.fields
        assert (fields["answers"], fields["source"], fields["hook_failures"]) == (True, "wire", [])
        assert fields["sdk"]["plugin"] == "litellm"
        assert [one["ending"] for one in fields["attempts"]][:-1] == []
        assert fields["model_forensics"]["requested_model"]
    sent = [a["exchange"] for call in three_ways.calls for a in call.fields["attempts"]]
    assert len(sent) == len(set(sent)) == calls


@pytest.mark.parametrize("vendor", VENDORS)
def test_completion(litellm: Any, three_ways: Any, led: Any, told: Any, vendor: str) -> None:
    three_ways(lambda: told(litellm.completion(messages=ASK, temperature=0.5, **led(vendor))))
    check(three_ways)
    assert three_ways.calls[0].success
    assert three_ways.calls[0].fields["usage"]["input"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_acompletion(litellm: Any, three_ways: Any, led: Any, told: Any, vendor: str) -> None:
    async def scenario() -> Any:
        return told(await litellm.acompletion(messages=ASK, **led(vendor)))

    three_ways(scenario)
    check(three_ways)


@pytest.mark.parametrize("vendor", VENDORS)
def test_stream(litellm: Any, three_ways: Any, led: Any, told: Any, vendor: str) -> None:
    three_ways(lambda: [told(chunk) for chunk in litellm.completion(messages=ASK, stream=True, **led(vendor))])
    check(three_ways)
    assert three_ways.calls[0].fields["streamed"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_async_stream(litellm: Any, three_ways: Any, led: Any, told: Any, vendor: str) -> None:
    async def scenario() -> Any:
        chunks = await litellm.acompletion(messages=ASK, stream=True, **led(vendor))
        return [told(chunk) async for chunk in chunks]

    three_ways(scenario)
    check(three_ways)
    assert three_ways.calls[0].fields["streamed"]


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "mistral", "ollama_chat"])
def test_tools_in_two_turns(litellm: Any, three_ways: Any, led: Any, told: Any, at_least: Any, vendor: str) -> None:
    """The second turn hands back the ids of the first, which litellm may have made up itself."""
    if vendor == "ollama_chat":
        at_least("1.106", "asks Ollama for its tools' calls in another form")

    def scenario() -> Any:
        first = litellm.completion(messages=ASK, tools=TOOLS, **led(vendor))
        message = first.choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": json.dumps({"degrees": 21})}
        second = litellm.completion(messages=[*ASK, message, result], tools=TOOLS, **led(vendor))
        return [told(first), told(second)]

    three_ways(scenario)
    check(three_ways, calls=2)


def test_sync_and_async_ask_the_same(litellm: Any, three_ways: Any, led: Any) -> None:
    """The bodies differ in their spaces only: they are replicates of one request."""

    async def both() -> None:
        for vendor in VENDORS:
            litellm.completion(messages=ASK, **led(vendor))
            await litellm.acompletion(messages=ASK, **led(vendor))

    three_ways.record(both)
    keys = [call.fields["request_key"] for call in three_ways.calls]
    assert keys[0::2] == keys[1::2]
    assert len(set(keys)) == len(VENDORS)
    assert [call.fields["replicate"] for call in three_ways.calls] == [1, 2] * len(VENDORS)


def embedding(litellm: Any, led: Any) -> Any:
    given = led("openai", "openai/text-embedding-3-small")
    return litellm.embedding(input=["one", "two"], dimensions=8, **given)


def responses(litellm: Any, led: Any) -> Any:
    return litellm.responses(input="Say something.", **led("openai"))


def responses_stream(litellm: Any, led: Any) -> Any:
    return list(litellm.responses(input="Say something.", stream=True, **led("openai")))


def text_completion(litellm: Any, led: Any) -> Any:
    return litellm.text_completion(prompt="Once", **led("openai", "text-completion-openai/gpt-3.5-turbo-instruct"))


def gemini_embedding(litellm: Any, led: Any) -> Any:
    return litellm.embedding(input=["one"], **led("gemini", "gemini/text-embedding-004"))


def structured(litellm: Any, led: Any) -> Any:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_schema", "json_schema": {"name": "river", "schema": schema}}
    return litellm.completion(messages=ASK, response_format=form, **led("openai"))


def image(litellm: Any, led: Any) -> Any:
    return litellm.image_generation(prompt="a river", **led("openai", "openai/gpt-image-1"))


def moderation(litellm: Any, led: Any) -> Any:
    given = led("openai", "omni-moderation-latest")
    return litellm.moderation(input="rivers", **given)


def retries_helper(litellm: Any, led: Any) -> Any:
    return litellm.completion_with_retries(messages=ASK, **led("openai"))


@pytest.mark.parametrize(
    "ask",
    [
        embedding,
        responses,
        responses_stream,
        text_completion,
        gemini_embedding,
        structured,
        image,
        moderation,
        retries_helper,
    ],
    ids=lambda ask: ask.__name__,
)
def test_operations(litellm: Any, three_ways: Any, led: Any, told: Any, at_least: Any, ask: Callable[..., Any]) -> None:
    if ask is gemini_embedding:
        at_least("1.106", "sends no key to another address")
    three_ways(lambda: told(ask(litellm, led)))
    check(three_ways)


async def a_embedding(litellm: Any, led: Any) -> Any:
    return await litellm.aembedding(input="one", dimensions=8, **led("openai", "openai/text-embedding-3-small"))


async def a_responses(litellm: Any, led: Any) -> Any:
    return await litellm.aresponses(input="Say something.", **led("openai"))


async def a_responses_of_another_vendor(litellm: Any, led: Any) -> Any:
    return await litellm.aresponses(input="Say something.", **led("anthropic"))


async def a_responses_stream(litellm: Any, led: Any) -> Any:
    events = await litellm.aresponses(input="Say something.", stream=True, **led("openai"))
    return [event async for event in events]


async def a_messages(litellm: Any, led: Any) -> Any:
    return await litellm.anthropic_messages(messages=ASK, max_tokens=50, **led("anthropic"))


async def a_text_completion(litellm: Any, led: Any) -> Any:
    given = led("openai", "text-completion-openai/gpt-3.5-turbo-instruct")
    return await litellm.atext_completion(prompt="Once", **given)


@pytest.mark.parametrize(
    "ask",
    [a_embedding, a_responses, a_responses_of_another_vendor, a_responses_stream, a_messages, a_text_completion],
    ids=lambda ask: ask.__name__,
)
def test_async_operations(litellm: Any, three_ways: Any, led: Any, told: Any, ask: Callable[..., Any]) -> None:
    async def scenario() -> Any:
        return told(await ask(litellm, led))

    three_ways(scenario)
    check(three_ways)
