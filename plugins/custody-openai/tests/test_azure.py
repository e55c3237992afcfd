"""Azure OpenAI under the real SDK: deployments, Azure AD tokens and callable keys that a replay never asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import openai
import pytest
from custody_openai.plugin import OpenAIPlugin
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from custody.testing import sample_exchange
from custody.testing.simulator import Fault

VERSION = "2024-10-21"
ASK: Any = {"model": "deployed", "messages": [{"role": "user", "content": "Say something about rivers."}]}
MODEL = "gpt-4.1-mini-2025-04-14"
MODEL_FIELDS = ("requested_model", "actual_model", "model_build_date", "api_version", "deployment_region")


class River(BaseModel):
    name: str
    length_km: int


@pytest.fixture(autouse=True)
def no_credentials_about(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def azure(three_ways: Any) -> Callable[..., AzureOpenAI]:
    def client(**options: Any) -> AzureOpenAI:
        given = {"azure_endpoint": three_ways.sim.url, "api_version": VERSION, "api_key": "azure-key", **options}
        return AzureOpenAI(**{k: v for k, v in given.items() if v is not None})

    return client


@pytest.fixture
def azure_async(three_ways: Any) -> Callable[..., AsyncAzureOpenAI]:
    def client(**options: Any) -> AsyncAzureOpenAI:
        given = {"azure_endpoint": three_ways.sim.url, "api_version": VERSION, "api_key": "azure-key", **options}
        return AsyncAzureOpenAI(**{k: v for k, v in given.items() if v is not None})

    return client


# -- the SDK's features -------------------------------------------------------------------------------


def chat(client: AzureOpenAI) -> Any:
    return client.chat.completions.create(**ASK, temperature=0.5, seed=7)


def stream(client: AzureOpenAI) -> Any:
    return list(client.chat.completions.create(**ASK, stream=True))


def stream_with_usage(client: AzureOpenAI) -> Any:
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage is not None
    return chunks


def embeddings(client: AzureOpenAI) -> Any:
    return client.embeddings.create(model="vectors", input=["one", "two"], dimensions=8)


def responses(client: AzureOpenAI) -> Any:
    whole = client.responses.create(model="deployed", input="Say something.")
    return [whole, list(client.responses.create(model="deployed", input="Say something.", stream=True))]


def parse(client: AzureOpenAI) -> Any:
    parsed = client.chat.completions.parse(**ASK, response_format=River)
    assert isinstance(parsed.choices[0].message.parsed, River)
    return parsed


def tools(client: AzureOpenAI) -> Any:
    function: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    first = client.chat.completions.create(**ASK, tools=[function])
    called = first.choices[0].message.tool_calls
    assert called
    result: Any = {"role": "tool", "tool_call_id": called[0].id, "content": "{}"}
    asked: Any = [*ASK["messages"], {"role": "assistant", "tool_calls": [called[0].model_dump()]}, result]
    return [first, client.chat.completions.create(model="deployed", messages=asked, tools=[function])]


def raw(client: AzureOpenAI) -> Any:
    answer = client.chat.completions.with_raw_response.create(**ASK)
    return [answer.parse(), answer.content, answer.headers, answer.status_code]


def streaming_response(client: AzureOpenAI) -> Any:
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as answer:
        return list(answer.iter_lines())


def copied(client: AzureOpenAI) -> Any:
    return client.with_options(timeout=20.0).chat.completions.create(**ASK)


FEATURES = [chat, stream, stream_with_usage, embeddings, responses, parse, tools, raw, streaming_response, copied]


@pytest.mark.parametrize("ask", FEATURES, ids=lambda f: f.__name__)
def test_sync(three_ways: Any, azure: Any, ask: Callable[[AzureOpenAI], Any]) -> None:
    def scenario() -> Any:
        with azure() as client:
            return ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": "openai", "version": f"openai {openai.__version__}"}


def test_async(three_ways: Any, azure_async: Any) -> None:
    async def scenario() -> Any:
        async with azure_async() as client:
            whole = await client.chat.completions.create(**ASK)
            chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]
            return [whole, chunks, await client.embeddings.create(model="vectors", input="one", dimensions=8)]

    three_ways(scenario)
    assert [call.fields["outcome"] for call in three_ways.calls] == ["success"] * 3


def test_a_deployment_of_the_client(three_ways: Any, azure: Any) -> None:
    def scenario() -> Any:
        with azure(azure_deployment="of-the-client") as client:
            return client.chat.completions.create(model="ignored", messages=ASK["messages"])

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["model_forensics"]["requested_model"] == "of-the-client"
    assert call.fields["evidence"]["requested_model"] == "url:path deployments"


def test_the_v1_api_without_a_deployment_in_the_url(three_ways: Any) -> None:
    def scenario() -> Any:
        with OpenAI(base_url=f"{three_ways.sim.url}/openai/v1", api_key="azure-key") as client:
            return [
                client.chat.completions.create(**ASK),
                list(client.chat.completions.create(**ASK, stream=True)),
                client.responses.create(model="deployed", input="Say something."),
            ]

    three_ways(scenario)
    for call in three_ways.calls:
        assert call.fields["model_forensics"]["requested_model"] == "deployed"
        assert call.fields["evidence"]["requested_model"] == "request_body:model"
        assert call.fields["model_forensics"]["api_version"] == "v1"


# -- who answered -------------------------------------------------------------------------------------


def test_what_azure_says_of_who_answered(three_ways: Any, azure: Any) -> None:
    def scenario() -> Any:
        with azure() as client:
            return client.chat.completions.create(**ASK)

    three_ways.record(scenario)
    (call,) = three_ways.calls
    fields, evidence = call.fields, call.fields["evidence"]
    assert {name: (fields["model_forensics"][name], evidence[name]) for name in evidence if name in MODEL_FIELDS} == {
        "requested_model": ("deployed", "url:path deployments"),
        "actual_model": (MODEL, "response_body:model"),
        "model_build_date": ("2025-04-14", "derived:date in actual_model"),
        "api_version": (VERSION, "url:query api-version"),
        "deployment_region": ("Sweden Central", "response_header:x-ms-region"),
    }
    assert evidence["provider_request_id"] == "response_header:apim-request-id"
    headers = dict(call.response.head.headers)
    assert fields["response_metadata"]["provider_request_id"] == headers["apim-request-id"]
    assert headers["x-ms-deployment-name"] == "deployed"
    assert fields["usage"]["input"] > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_met_the_content_filter(three_ways: Any, azure: Any, streamed: bool) -> None:
    asked: Any = {"model": "deployed", "messages": [{"role": "user", "content": "Something UNSEEMLY."}]}

    def scenario() -> Any:
        with azure() as client:
            made = client.chat.completions.create(**asked, stream=streamed)
            return list(made) if streamed else made

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["outcome"] == "filtered"
    assert call.fields["response_metadata"]["finish_reason"] == "content_filter"


def test_a_prompt_that_met_the_content_filter(three_ways: Any, azure: Any) -> None:
    asked: Any = {"model": "deployed", "messages": [{"role": "user", "content": "Something FORBIDDEN."}]}

    def scenario() -> Any:
        with azure() as client, pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asked)
        return [caught.value.code, caught.value.param, caught.value.body, caught.value.status_code]

    three_ways(scenario)
    (call,) = three_ways.calls
    assert (call.fields["success"], call.fields["status"]) == (False, 400)


@pytest.mark.parametrize("status", [200, 400])
def test_a_filtered_prompt_is_read_as_filtered(status: int) -> None:
    refused = {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}
    url = f"https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version={VERSION}"
    plugin = OpenAIPlugin()
    exchange = sample_exchange(plugin, url, request=ASK, status=status, body=json.dumps(refused).encode())
    read = plugin.extract_forensics(exchange)
    assert read is not None
    assert (exchange.claim.vendor, read.outcome) == ("Azure OpenAI", "filtered")


@pytest.mark.parametrize(
    ("deployment", "key", "error"),
    [("missing", "azure-key", openai.NotFoundError), ("deployed", "invalid", openai.AuthenticationError)],
)
def test_errors(three_ways: Any, azure: Any, deployment: str, key: str, error: Any) -> None:
    def scenario() -> Any:
        with azure(api_key=key) as client, pytest.raises(error) as caught:
            client.chat.completions.create(**{**ASK, "model": deployment})
        return [caught.value.body, caught.value.status_code]

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["outcome"] == "error"


def test_retries_are_attempts_of_one_call(three_ways: Any, azure: Any) -> None:
    def scenario() -> Any:
        with azure() as client:
            return client.chat.completions.create(**ASK)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429, retry_after=0.01), times=2))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 429, 200]
