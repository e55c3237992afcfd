"""Mocks, cache hits, and answers that no wire seam saw, told from real calls and replayed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from custody_litellm import results

from custody.report.flags import judge

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]


def sources(three_ways: Any) -> list[str]:
    """Where the answers were seen; what was not seen on the wire is flagged."""
    found = [call.fields["source"] for call in three_ways.calls]
    flags = {"mock": {"mock"}, "cache": {"cache"}, "unseen": {"unseen_on_wire"}, "wire": set()}
    every = set.union(*flags.values())
    judged = judge([call.fields for call in three_ways.calls])
    assert [set(one.flags) & every for one in judged] == [flags[source] for source in found]
    return found


def test_a_mock_is_told_from_a_call(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    def scenario() -> Any:
        mocked = litellm.completion(messages=ASK, mock_response="It flows.", **led("openai"))
        return [told(mocked), told(litellm.completion(messages=ASK, **led("openai")))]

    recorded = three_ways(scenario)
    assert recorded[0]["choices"][0]["message"]["content"] == "It flows."
    assert sources(three_ways) == ["mock", "wire"]
    mock, wire = three_ways.calls
    assert mock.fields["transport"] == "call"
    assert mock.fields["attempts"][0]["request_key"] != wire.fields["attempts"][0]["request_key"]
    assert three_ways.sim.count() == 2  # bare and recorded: a mock is not sent


def test_async_mocks_and_those_of_a_router(litellm: Any, three_ways: Any, led: Any, told: Any, at_least: Any) -> None:
    at_least("1.106", "hangs in a second loop")

    async def scenario() -> Any:
        params = {**led("openai"), "mock_response": "It flows."}
        router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": params}], num_retries=0)
        mocked = await litellm.acompletion(messages=ASK, mock_response="It runs.", **led("anthropic"))
        return [told(mocked), told(await router.acompletion(model="m", messages=ASK))]

    three_ways(scenario)
    assert sources(three_ways) == ["mock", "mock"]
    assert three_ways.sim.count() == 0


def test_a_mock_is_archived_without_secrets(litellm: Any, three_ways: Any, told: Any) -> None:
    base = "https://u:canary@gate.example/v1?key=canary"
    secrets = {
        "api_base": base,
        "api_key": "canary",
        "headers": {"x-gateway": "canary"},
        "extra_headers": {"x-gateway": "canary"},
        "mock_response": "It flows.",
    }
    more = {"extra_body": {"pw": "canary"}, "dynamic_callback_params": {"lk": "canary"}, "langfuse_secret": "canary"}

    def scenario() -> Any:
        params = {"model": "openai/gpt-4o", **secrets}
        router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": params}], num_retries=0)
        mocked = litellm.completion(model="gpt-4o", messages=ASK, **secrets, **more)
        routed = router.completion(model="m", messages=ASK)
        return [[told(one), one._hidden_params["api_base"]] for one in (mocked, routed)]

    recorded = three_ways(scenario)  # and replayed equal, the address included
    assert [one[1] for one in recorded] == [base, base]
    assert sources(three_ways) == ["mock", "mock"]
    assert json.loads(three_ways.calls[0].request_body)["api_base"] == "https://gate.example/v1?key="
    files = [path.read_bytes() for path in three_ways.path.rglob("*") if path.is_file()]
    assert any(b"It flows." in data for data in files)
    assert not any(b"canary" in data for data in files)


def test_a_mock_that_raises(litellm: Any, three_ways: Any, led: Any) -> None:
    def scenario() -> Any:
        with pytest.raises(litellm.RateLimitError) as caught:
            litellm.completion(messages=ASK, mock_response="litellm.RateLimitError", **led("openai"))
        return type(caught.value).__name__

    three_ways(scenario)
    assert three_ways.calls == []


def test_a_streamed_mock_is_made_again(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    """It is no answer of anybody's, and comes to be while the program reads it: nothing is archived."""

    def scenario() -> Any:
        return [told(c) for c in litellm.completion(messages=ASK, mock_response="Flow.", stream=True, **led("openai"))]

    three_ways(scenario)
    assert three_ways.calls == []
    assert three_ways.sim.count() == 0


def test_a_cache_hit_is_told_from_a_call(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    def scenario() -> Any:
        litellm.cache = litellm.Cache(type="local")
        return [told(litellm.completion(messages=ASK, **led("openai"))) for _ in range(2)]

    recorded = three_ways(scenario)
    first, second = (one["choices"][0]["message"]["content"] for one in recorded)
    assert first == second
    assert sources(three_ways) == ["wire", "cache"]


def test_a_cache_that_is_empty_on_replay(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    """What came from the cache is archived, so its replay does not depend on the cache's memory."""
    litellm.cache = litellm.Cache(type="local")
    litellm.completion(messages=ASK, **led("openai"))

    def scenario() -> Any:
        return told(litellm.completion(messages=ASK, **led("openai")))

    recorded = three_ways.record(scenario)
    assert sources(three_ways) == ["cache"]
    litellm.cache = litellm.Cache(type="local")
    assert three_ways.replay(scenario) == recorded


def test_an_async_cache_hit(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    async def scenario() -> Any:
        litellm.cache = litellm.Cache(type="local")
        first = await litellm.acompletion(messages=ASK, **led("anthropic"))
        for _ in range(50):  # written by a task of litellm's own
            await asyncio.sleep(0.02)
        return [told(first), told(await litellm.acompletion(messages=ASK, **led("anthropic")))]

    three_ways(scenario)
    assert sources(three_ways) == ["wire", "cache"]


def test_what_no_seam_saw_is_flagged(litellm: Any, three_ways: Any, led: Any, told: Any, caplog: Any) -> None:
    """A provider of the program's own, which asks nobody over HTTP, stands for compiled transports."""

    class Own(litellm.CustomLLM):  # type: ignore[misc, name-defined]
        def completion(self, *args: Any, **kwargs: Any) -> Any:
            return litellm.completion(model="gpt-4o", messages=ASK, mock_response="Out of sight.")

    def scenario() -> Any:
        litellm.custom_provider_map = [{"provider": "own", "custom_handler": Own()}]
        return told(litellm.completion(model="own/model", messages=ASK))

    try:
        three_ways(scenario)
    finally:
        litellm.custom_provider_map = []
    (call,) = three_ways.calls
    assert sources(three_ways) == ["unseen"]
    assert any("without a request that custody could see" in record.message for record in caplog.records)
    assert json.loads(call.request_body)["model"] == "own/model"


def test_every_kind_of_object_comes_back(litellm: Any) -> None:
    from litellm.types.utils import EmbeddingResponse, ImageResponse, ModelResponse, TextCompletionResponse

    vectors = [{"embedding": [0.5, 1.0], "index": 0, "object": "embedding"}]
    usage = {"prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 2}
    values = [
        ModelResponse(model="m", choices=[{"message": {"role": "assistant", "content": "x"}}]),
        TextCompletionResponse(model="m", choices=[{"text": "x", "index": 0, "finish_reason": "stop"}]),
        EmbeddingResponse(model="m", data=vectors, usage=usage),
        ImageResponse(created=1, data=[{"url": "https://images.example/1"}]),
        litellm.mock_responses_api_response("x"),
        {"type": "message", "content": [{"type": "text", "text": "x"}]},
    ]
    for value in values:
        document = json.loads(json.dumps(results.document_of(value)))
        again = results.rebuild((), {}, document)
        assert type(again) is type(value)
        dumped = [v.model_dump() if hasattr(v, "model_dump") else v for v in (again, value)]
        assert dumped[0] == dumped[1], type(value).__name__


def test_what_cannot_be_rebuilt_is_not_guessed() -> None:
    assert results.rebuild((), {}, {"class": "litellm.gone.Class", "value": {}}) is None
    assert results.rebuild((), {}, {"class": "os.system", "value": {}}) is None
    assert results.rebuild((), {}, None) is None
    assert results.document_of(iter(())) is None
