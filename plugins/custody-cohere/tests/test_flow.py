"""The Cohere SDK against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError

from custody.testing.simulator import Fault

MODEL = "command-a-03-2025"
ASK: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Say something about rivers."}]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CANARY = "canary-0ddba11-token"


@pytest.fixture
def v1(three_ways: Any) -> Callable[..., cohere.Client]:
    return lambda **options: cohere.Client(**{"api_key": "cohere-key", "base_url": three_ways.sim.url, **options})


@pytest.fixture
def v2(three_ways: Any) -> Callable[..., cohere.ClientV2]:
    return lambda **options: cohere.ClientV2(**{"api_key": "cohere-key", "base_url": three_ways.sim.url, **options})


# -- version 1 ----------------------------------------------------------------------------------------


def chat(client: cohere.Client) -> Any:
    return client.chat(message="Say something.", model=MODEL, temperature=0.3, preamble="Be brief.")


def chat_stream(client: cohere.Client) -> Any:
    return list(client.chat_stream(message="Say something.", model=MODEL))


def chat_tools(client: cohere.Client) -> Any:
    tool: Any = {"name": "weather", "description": "tells it", "parameter_definitions": {"city": {"type": "str"}}}
    first = client.chat(message="How is it?", model=MODEL, tools=[tool])
    assert first.tool_calls
    results: Any = [{"call": first.tool_calls[0], "outputs": [{"degrees": 21}]}]
    return [first, client.chat(message="", model=MODEL, tools=[tool], tool_results=results)]


def generate(client: cohere.Client) -> Any:
    return [client.generate(prompt="Once"), list(client.generate_stream(prompt="Once"))]


def embed(client: cohere.Client) -> Any:
    asked: Any = {"model": "embed-v4.0", "input_type": "search_document"}
    return [
        client.embed(texts=["one", "two"], **asked),
        client.embed(texts=["one"], embedding_types=["float"], **asked),
    ]


def rerank(client: cohere.Client) -> Any:
    return client.rerank(query="river", documents=["one", "two"], model="rerank-v3.5", top_n=1)


def classify(client: cohere.Client) -> Any:
    return client.classify(inputs=["Rhine"], model="embed-v4.0")


def tokenize(client: cohere.Client) -> Any:
    told = client.tokenize(text="rivers run", model=MODEL, offline=False)
    return [told, client.detokenize(tokens=told.tokens, model=MODEL, offline=False)]


def models(client: cohere.Client) -> Any:
    return [client.models.list(), client.models.get(MODEL)]


V1 = [chat, chat_stream, chat_tools, generate, embed, rerank, classify, tokenize, models]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ask", V1, ids=lambda f: f.__name__)
def test_version_1(three_ways: Any, v1: Any, ask: Callable[[cohere.Client], Any]) -> None:
    def scenario() -> Any:
        with v1() as client:
            return ask(client)

    three_ways(scenario)
    check(three_ways)


# -- version 2 ----------------------------------------------------------------------------------------


def v2_chat(client: cohere.ClientV2) -> Any:
    return client.chat(**ASK, temperature=0.3)


def v2_chat_stream(client: cohere.ClientV2) -> Any:
    return list(client.chat_stream(**ASK))


def v2_tools(client: cohere.ClientV2) -> Any:
    first = client.chat(**ASK, tools=[TOOL])
    assert first.message.tool_calls
    result = {"role": "tool", "tool_call_id": first.message.tool_calls[0].id, "content": "{}"}
    asked: Any = [*ASK["messages"], first.message, result]
    second = client.chat(model=MODEL, messages=asked, tools=[TOOL])
    return [first, second, list(client.chat_stream(**ASK, tools=[TOOL]))]


def v2_json(client: cohere.ClientV2) -> Any:
    made = client.chat(**ASK, response_format={"type": "json_object"})
    assert made.message.content
    json.loads(made.message.content[0].text)  # type: ignore[union-attr]
    return made


def v2_embed(client: cohere.ClientV2) -> Any:
    return client.embed(texts=["one", "two"], model="embed-v4.0", input_type="search_query", embedding_types=["float"])


def v2_rerank(client: cohere.ClientV2) -> Any:
    return client.rerank(query="river", documents=["one", "two"], model="rerank-v3.5")


def v2_truncated(client: cohere.ClientV2) -> Any:
    return client.chat(**ASK, max_tokens=3)


def v2_raw(client: cohere.ClientV2) -> Any:
    raw = client.with_raw_response.chat(**ASK)
    with client.with_raw_response.chat_stream(**ASK) as stream:
        return [raw.data, raw.headers["x-debug-trace-id"], list(stream.data)]


V2 = [v2_chat, v2_chat_stream, v2_tools, v2_json, v2_embed, v2_rerank, v2_truncated, v2_raw]


@pytest.mark.parametrize("ask", V2, ids=lambda f: f.__name__)
def test_version_2(three_ways: Any, v2: Any, ask: Callable[[cohere.ClientV2], Any]) -> None:
    def scenario() -> Any:
        with v2() as client:
            if ask is v2_raw and not hasattr(client, "with_raw_response"):
                pytest.skip("this SDK has no raw responses")
            return ask(client)

    three_ways(scenario)
    check(three_ways)


def check(three_ways: Any) -> None:
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": "cohere", "version": f"cohere {cohere.__version__}"}
        assert len(call.fields["attempts"]) == 1


# -- async --------------------------------------------------------------------------------------------


async def a_chat(client: cohere.AsyncClientV2) -> Any:
    return await client.chat(**ASK)


async def a_chat_stream(client: cohere.AsyncClientV2) -> Any:
    return [event async for event in client.chat_stream(**ASK)]


async def a_embed(client: cohere.AsyncClientV2) -> Any:
    return await client.embed(texts=["one"], model="embed-v4.0", input_type="search_query", embedding_types=["float"])


async def a_rerank(client: cohere.AsyncClientV2) -> Any:
    return await client.rerank(query="river", documents=["one", "two"], model="rerank-v3.5")


@pytest.mark.parametrize("ask", [a_chat, a_chat_stream, a_embed, a_rerank], ids=lambda f: f.__name__)
def test_async(three_ways: Any, ask: Callable[[cohere.AsyncClientV2], Any]) -> None:
    async def scenario() -> Any:
        async with cohere.AsyncClientV2(api_key="cohere-key", base_url=three_ways.sim.url) as client:
            return await ask(client)

    three_ways(scenario)
    check(three_ways)


def test_async_version_1(three_ways: Any) -> None:
    async def scenario() -> Any:
        async with cohere.AsyncClient(api_key="cohere-key", base_url=three_ways.sim.url) as client:
            whole = await client.chat(message="Say something.", model=MODEL)
            return [whole, [event async for event in client.chat_stream(message="Say more.", model=MODEL)]]

    three_ways(scenario)
    check(three_ways)


def test_many_texts_are_a_call_for_each_request(three_ways: Any, v1: Any) -> None:
    texts = [f"text {number}" for number in range(200)]

    def scenario() -> Any:
        with v1() as client:
            return client.embed(texts=texts, model="embed-v4.0", input_type="search_document")

    recorded = three_ways.record(scenario)
    assert len(recorded.embeddings) == 200
    assert len(three_ways.calls) == 3
    assert three_ways.replay(scenario).embeddings == recorded.embeddings


# -- failures -----------------------------------------------------------------------------------------


def test_retries_are_attempts_of_one_call(three_ways: Any, v2: Any) -> None:
    def scenario() -> Any:
        with v2() as client:
            return client.chat(**ASK, request_options={"max_retries": 2})

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429, retry_after=1), times=1))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 200]
    assert call.success


def test_async_retries_are_attempts_of_one_call(three_ways: Any) -> None:
    async def scenario() -> Any:
        async with cohere.AsyncClientV2(api_key="cohere-key", base_url=three_ways.sim.url) as client:
            return await client.chat(**ASK, request_options={"max_retries": 2})

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=503, retry_after=1), times=1))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [503, 200]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_errors(three_ways: Any, v2: Any, status: int) -> None:
    def scenario() -> Any:
        with v2() as client, pytest.raises(ApiError) as caught:
            client.chat(**ASK, request_options={"max_retries": 0})
        return [type(caught.value).__name__, caught.value.status_code, caught.value.body]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=status)))
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["status"]) == ("error", status)


def test_an_error_before_a_stream(three_ways: Any, v2: Any) -> None:
    def scenario() -> Any:
        with v2() as client, pytest.raises(ApiError) as caught:
            list(client.chat_stream(**ASK))
        return [type(caught.value).__name__, caught.value.status_code, caught.value.body]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429)))
    (call,) = three_ways.calls
    assert call.fields["status"] == 429


@pytest.mark.parametrize("streamed", [False, True])
def test_a_timeout_is_the_librarys_own(three_ways: Any, v2: Any, streamed: bool) -> None:
    def scenario() -> Any:
        with v2(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout) as caught:
            list(client.chat_stream(**ASK)) if streamed else client.chat(**ASK)
        return str(caught.value)

    three_ways.sim.inject(Fault(delay=20.0))
    bare = scenario()
    three_ways.sim.inject(Fault(delay=20.0))
    assert three_ways.record(scenario) == bare
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["error"]) == ("no_response", "ReadTimeout")


@pytest.mark.parametrize("version", [1, 2])
def test_a_stream_left_early_says_so(three_ways: Any, v1: Any, v2: Any, version: int) -> None:
    def scenario() -> Any:
        if version == 1:
            with v1() as client:
                events = client.chat_stream(message="Say something.", model=MODEL)
                return [next(events), next(events), events.close()]
        with v2() as client:
            events = client.chat_stream(**ASK)
            return [next(events), next(events), events.close()]

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["outcome"] == "closed_early"


@pytest.mark.parametrize("version", [1, 2])
def test_a_stream_that_is_cut_is_no_answer(three_ways: Any, v1: Any, v2: Any, version: int) -> None:
    def scenario() -> Any:
        with pytest.raises(httpx.RemoteProtocolError):
            if version == 1:
                list(v1().chat_stream(message="Say something.", model=MODEL))
            else:
                list(v2().chat_stream(**ASK))

    three_ways.sim.inject(Fault(cut_after=3))
    three_ways.record(scenario)
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["answers"]) == ("incomplete", False)


# -- credentials --------------------------------------------------------------------------------------


def test_a_callable_key_is_asked_on_a_miss_only(three_ways: Any, v2: Any, root: Path) -> None:
    asked: list[str] = []
    forbidden: list[bool] = []

    def provider() -> str:
        assert not forbidden, "a replay asked for a credential"
        asked.append(f"{CANARY}-{len(asked) + 1}")
        return asked[-1]

    def scenario() -> Any:
        with v2(api_key=provider) as client:
            return [client.chat(**ASK), list(client.chat_stream(**ASK))]

    recorded = three_ways.record(scenario)
    sent = [seen.headers["authorization"] for seen in three_ways.sim.requests]
    assert sent == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    forbidden.append(True)
    replayed = three_ways.replay(scenario)
    assert [replayed[0], *replayed[1]] == [recorded[0], *recorded[1]]
    for path in [path for path in root.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path
        assert b"custody-deferred-" not in data, path


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_provider_raises_reaches_the_program_as_it_is(three_ways: Any, v2: Any, streamed: bool) -> None:
    class Expired(Exception):
        pass

    def provider() -> str:
        raise Expired("log in again")

    def scenario() -> Any:
        with v2(api_key=provider) as client, pytest.raises(Expired, match="log in again"):
            list(client.chat_stream(**ASK)) if streamed else client.chat(**ASK)

    scenario()
    three_ways.record(scenario)
    assert three_ways.sim.count() == 0


# -- who answered -------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_what_cohere_says_of_who_answered(three_ways: Any, v2: Any, streamed: bool) -> None:
    def scenario() -> Any:
        with v2() as client:
            return list(client.chat_stream(**ASK, seed=7)) if streamed else client.chat(**ASK, seed=7)

    three_ways.record(scenario)
    fields = three_ways.calls[0].fields
    forensics, evidence = fields["model_forensics"], fields["evidence"]
    assert (forensics["requested_model"], forensics["api_version"]) == (MODEL, "v2")
    assert (forensics["actual_model"], evidence["actual_model"]) == (None, "unknown:not_stated")
    assert evidence["provider_request_id"] == "response_header:x-debug-trace-id"
    assert fields["response_metadata"]["finish_reason"] == "COMPLETE"
    assert fields["usage"]["raw"]["tokens"]["input_tokens"] == fields["usage"]["input"] + 16
    assert fields["usage"]["cache_read"] == 16
    assert fields["parameters"]["seed"] == 7
