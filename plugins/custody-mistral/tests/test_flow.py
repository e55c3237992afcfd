"""The Mistral SDK against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from pydantic import BaseModel

from custody.testing.simulator import Fault

try:
    from mistralai.client import Mistral
    from mistralai.client.errors import HTTPValidationError, SDKError
    from mistralai.client.utils import BackoffStrategy, RetryConfig
except ImportError:  # before 2.0
    from mistralai import Mistral  # type: ignore[attr-defined, no-redef]
    from mistralai.models import HTTPValidationError, SDKError  # type: ignore[no-redef]
    from mistralai.utils import BackoffStrategy, RetryConfig  # type: ignore[no-redef]

MODEL = "mistral-small-2506"
ASK: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Say something about rivers."}]}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class River(BaseModel):
    name: str
    length_km: int


def patience(*, connection: bool = False) -> RetryConfig:
    """Retries at once, and gives up after a second."""
    return RetryConfig("backoff", BackoffStrategy(1, 2, 1.0, 1000), connection)


# -- sync ---------------------------------------------------------------------------------------------


def chat(client: Mistral) -> Any:
    return client.chat.complete(**ASK, temperature=0.5, random_seed=7)


def chat_stream(client: Mistral) -> Any:
    with client.chat.stream(**ASK) as events:
        return list(events)


def tools(client: Mistral) -> Any:
    first = client.chat.complete(**ASK, tools=TOOLS)
    message = first.choices[0].message
    assert message is not None
    assert message.tool_calls
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "name": "weather", "content": "{}"}
    asked: Any = [*ASK["messages"], message, result]
    second = client.chat.complete(model=MODEL, messages=asked, tools=TOOLS)
    assert second.choices[0].message
    with client.chat.stream(**ASK, tools=TOOLS) as events:
        return [first, second, list(events)]


def json_mode(client: Mistral) -> Any:
    made = client.chat.complete(**ASK, response_format={"type": "json_object"})
    content = made.choices[0].message.content  # type: ignore[union-attr]
    assert isinstance(content, str)
    assert isinstance(json.loads(content), dict)
    return made


def parse(client: Mistral) -> Any:
    made = client.chat.parse(response_format=River, **ASK)
    assert isinstance(made.choices[0].message.parsed, River)  # type: ignore[index, union-attr]
    return made


def parse_stream(client: Mistral) -> Any:
    with client.chat.parse_stream(response_format=River, **ASK) as events:
        return list(events)


def embeddings(client: Mistral) -> Any:
    return client.embeddings.create(model="mistral-embed", inputs=["one", "two"])


def models(client: Mistral) -> Any:
    return [client.models.list(), client.models.retrieve(model_id=MODEL)]


def fim(client: Mistral) -> Any:
    whole = client.fim.complete(model="codestral-2508", prompt="def f(", suffix="return a")
    with client.fim.stream(model="codestral-2508", prompt="def f(") as events:
        return [whole, list(events)]


def moderations(client: Mistral) -> Any:
    return client.classifiers.moderate(model="mistral-moderation-latest", inputs=["rivers"])


def ocr(client: Mistral) -> Any:
    document: Any = {"type": "document_url", "document_url": "https://documents.example/river.pdf"}
    return client.ocr.process(model="mistral-ocr-2512", document=document)


def agents(client: Mistral) -> Any:
    whole = client.agents.complete(agent_id="ag_1", messages=ASK["messages"])
    with client.agents.stream(agent_id="ag_1", messages=ASK["messages"]) as events:
        return [whole, list(events)]


def conversations(client: Mistral) -> Any:
    started = client.beta.conversations.start(model=MODEL, inputs="Say something.")
    goes_on = client.beta.conversations.append(conversation_id=started.conversation_id, inputs="And then?")
    with client.beta.conversations.start_stream(model=MODEL, inputs="Say something.") as events:
        return [started, goes_on, list(events)]


def truncated(client: Mistral) -> Any:
    return client.chat.complete(**ASK, max_tokens=3)


SYNC = [
    chat,
    chat_stream,
    tools,
    json_mode,
    parse,
    parse_stream,
    embeddings,
    models,
    fim,
    moderations,
    ocr,
    agents,
    conversations,
    truncated,
]


@pytest.mark.parametrize("ask", SYNC, ids=lambda f: f.__name__)
def test_sync(three_ways: Any, client_of: Any, ask: Callable[[Mistral], Any]) -> None:
    def scenario() -> Any:
        with client_of() as client:
            try:
                return ask(client)
            except AttributeError as error:
                pytest.skip(f"this SDK has no such method: {error}")

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": "mistral", "version": f"mistralai {version('mistralai')}"}
        assert len(call.fields["attempts"]) == 1


# -- async --------------------------------------------------------------------------------------------


async def a_chat(client: Mistral) -> Any:
    return await client.chat.complete_async(**ASK)


async def a_chat_stream(client: Mistral) -> Any:
    async with await client.chat.stream_async(**ASK) as events:
        return [event async for event in events]


async def a_parse(client: Mistral) -> Any:
    return await client.chat.parse_async(response_format=River, **ASK)


async def a_embeddings(client: Mistral) -> Any:
    return await client.embeddings.create_async(model="mistral-embed", inputs="one")


async def a_fim(client: Mistral) -> Any:
    return await client.fim.complete_async(model="codestral-2508", prompt="def f(")


async def a_conversations(client: Mistral) -> Any:
    whole = await client.beta.conversations.start_async(model=MODEL, inputs="Say something.")
    async with await client.beta.conversations.start_stream_async(model=MODEL, inputs="Say more.") as events:
        return [whole, [event async for event in events]]


async def a_models(client: Mistral) -> Any:
    return await client.models.list_async()


ASYNC = [a_chat, a_chat_stream, a_parse, a_embeddings, a_fim, a_conversations, a_models]


@pytest.mark.parametrize("ask", ASYNC, ids=lambda f: f.__name__)
def test_async(three_ways: Any, client_of: Any, ask: Callable[[Mistral], Any]) -> None:
    async def scenario() -> Any:
        async with client_of() as client:
            try:
                return await ask(client)
            except AttributeError as error:
                pytest.skip(f"this SDK has no such method: {error}")

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"]["plugin"] == "mistral"


# -- failures -----------------------------------------------------------------------------------------


def test_retries_are_attempts_of_one_call(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of(retry_config=patience()) as client:
            return client.chat.complete(**ASK)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=503), times=2))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [503, 503, 200]
    assert call.success


def test_async_retries_of_a_stream_are_attempts_of_one_call(three_ways: Any, client_of: Any) -> None:
    async def scenario() -> Any:
        async with client_of(retry_config=patience()) as client:
            return await a_chat_stream(client)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429), times=2))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 429, 200]


def test_a_timeout_that_is_tried_again(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of(retry_config=patience(connection=True), timeout_ms=700) as client:
            return client.chat.complete(**ASK)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(delay=2.0)))
    (call,) = three_ways.calls
    assert [attempt["ending"] for attempt in call.fields["attempts"]] == ["no_response", "complete"]


@pytest.mark.parametrize(("status", "expected"), [(401, SDKError), (422, HTTPValidationError), (500, SDKError)])
def test_errors(three_ways: Any, client_of: Any, status: int, expected: Any) -> None:
    def scenario() -> Any:
        with client_of() as client, pytest.raises(expected) as caught:
            client.chat.complete(**ASK)
        return [caught.value.status_code, caught.value.body, caught.value.headers]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=status)))
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["status"]) == ("error", status)


def test_an_error_that_outlasts_the_patience(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of(retry_config=patience()) as client, pytest.raises(SDKError) as caught:
            client.chat.complete(**ASK)
        return [caught.value.status_code, caught.value.body]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429), times=1000))
    (call,) = three_ways.calls
    assert {attempt["status"] for attempt in call.fields["attempts"]} == {429}
    assert len(call.fields["attempts"]) > 1


def test_an_error_before_a_stream(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of() as client, pytest.raises(SDKError) as caught:
            client.chat.stream(**ASK)
        return [caught.value.status_code, caught.value.body]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429)))


def test_a_timeout_is_the_librarys_own(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of(timeout_ms=150) as client, pytest.raises(Exception) as caught:
            client.chat.complete(**ASK)
        return [type(caught.value).__module__, type(caught.value).__name__]

    three_ways.sim.inject(Fault(delay=1.0))
    bare = scenario()
    assert bare[1] == "ReadTimeout"
    three_ways.sim.inject(Fault(delay=1.0))
    assert three_ways.record(scenario) == bare
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["error"]) == ("no_response", "ReadTimeout")


def test_a_stream_left_early_says_so(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of() as client, client.chat.stream(**ASK) as events:
            return [next(events), next(events)]

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["outcome"] == "closed_early"


def test_hooks_of_the_programs_own_run(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        seen: list[str] = []

        class Watch:
            def before_request(self, context: Any, request: Any) -> Any:
                seen.append("before")
                request.headers["x-watched"] = "yes"
                return request

            def after_success(self, context: Any, response: Any) -> Any:
                seen.append(f"after {response.status_code}")
                return response

        with client_of() as client:
            hooks = client.sdk_configuration.__dict__["_hooks"]
            hooks.register_before_request_hook(Watch())
            hooks.register_after_success_hook(Watch())
            return [client.chat.complete(**ASK), seen]

    recorded = three_ways(scenario)
    assert recorded[1] == ["before", "after 200"]


# -- who answered -------------------------------------------------------------------------------------


def test_what_mistral_says_of_who_answered(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of() as client:
            return client.chat.complete(**ASK, temperature=0.5)

    three_ways.record(scenario)
    (call,) = three_ways.calls
    fields = call.fields
    assert fields["evidence"]["provider_request_id"] == "response_header:mistral-correlation-id"
    forensics = fields["model_forensics"]
    assert (forensics["requested_model"], forensics["actual_model"]) == (MODEL, MODEL)
    assert forensics["api_version"] == "v1"
    assert fields["response_metadata"]["service_tier"] == "standard"
    assert fields["usage"]["cache_read"] > 0
    assert fields["parameters"]["temperature"] == 0.5
