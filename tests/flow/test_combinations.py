"""No call is recorded twice, whichever plugins are installed, and whichever HTTP library lies under which."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.testing.simulator import Simulator
from custody.testing.simulator.vertex_grpc import VertexSimulator

Ask = Callable[[Simulator], Any]
HELLO: Any = [{"role": "user", "content": "Hello"}]
PLUGINS = ("anthropic", "bedrock", "cohere", "google", "mistral", "openai", "vertexai")


def openai_sync(sim: Simulator) -> Any:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-x", max_retries=0) as client:
        return client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content


def openai_over_aiohttp(sim: Simulator) -> Any:
    openai = pytest.importorskip("openai")
    pytest.importorskip("aiohttp")

    async def main() -> Any:
        try:
            under = openai.DefaultAioHttpClient()
        except RuntimeError as error:  # older SDKs want a package for it
            pytest.skip(str(error))
        async with openai.AsyncOpenAI(base_url=sim.openai_base_url, api_key="sk-x", http_client=under) as client:
            return (await client.chat.completions.create(model="gpt-4o", messages=HELLO)).choices[0].message.content

    return asyncio.run(main())


def openai_stream(sim: Simulator) -> Any:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-x") as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        return [chunk.choices[0].delta.content for chunk in stream if chunk.choices]


def anthropic(sim: Simulator) -> Any:
    sdk = pytest.importorskip("anthropic")
    with sdk.Anthropic(base_url=sim.url, api_key="sk-x") as client:
        return client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=HELLO).content[0].text


def google(sim: Simulator, *, vertex: bool = False) -> Any:
    genai = pytest.importorskip("google.genai")
    with genai.Client(vertexai=vertex, api_key="x", http_options={"base_url": sim.url}) as client:
        return client.models.generate_content(model="gemini-2.5-flash", contents="Hello").text


def google_vertex(sim: Simulator) -> Any:
    return google(sim, vertex=True)


def google_async(sim: Simulator) -> Any:
    genai = pytest.importorskip("google.genai")

    async def main() -> Any:
        async with genai.Client(api_key="x", http_options={"base_url": sim.url}).aio as client:
            return (await client.models.generate_content(model="gemini-2.5-flash", contents="Hello")).text

    return asyncio.run(main())


def bedrock(sim: Simulator) -> Any:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=sim.url,
        aws_access_key_id="AKIDSIMULATED", aws_secret_access_key="simulated",
    )  # fmt: skip
    messages = [{"role": "user", "content": [{"text": "Hello"}]}]
    return client.converse(modelId="amazon.nova-micro-v1:0", messages=messages)["output"]["message"]["content"]


def mistral(sim: Simulator) -> Any:
    client = pytest.importorskip("mistralai.client").Mistral(api_key="x", server_url=sim.url)
    with client:
        return client.chat.complete(model="mistral-small-latest", messages=HELLO).choices[0].message.content


def cohere(sim: Simulator) -> Any:
    sdk = pytest.importorskip("cohere")
    client = sdk.ClientV2(api_key="x", base_url=sim.url)
    return client.chat(model="command-a-03-2025", messages=HELLO).message.content[0].text


def raw_requests(sim: Simulator) -> Any:
    requests = pytest.importorskip("requests")
    body = {"model": "gpt-4o", "messages": HELLO}
    with requests.Session() as session:
        answer = session.post(
            f"{sim.openai_base_url}/chat/completions", json=body, headers={"authorization": "Bearer x"}
        )
        return answer.json()["choices"][0]["message"]["content"]


def vertexai(sim: Simulator) -> Any:
    grpc, v1 = pytest.importorskip("grpc"), pytest.importorskip("google.cloud.aiplatform_v1")
    transports = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service.transports")
    assert isinstance(sim, VertexSimulator)
    with grpc.insecure_channel(sim.grpc_target) as channel:
        client = v1.PredictionServiceClient(transport=transports.PredictionServiceGrpcTransport(channel=channel))
        content = v1.Content(role="user", parts=[v1.Part(text="Hello")])
        model = "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash"
        return client.generate_content(model=model, contents=[content]).candidates[0].content.parts[0].text


ASKS: tuple[Ask, ...] = (
    openai_sync, openai_over_aiohttp, openai_stream, anthropic, google, google_vertex, google_async, bedrock, mistral,
    cohere, raw_requests, vertexai,
)  # fmt: skip

COMBINATIONS = [
    pytest.param("", id="all"),
    *(pytest.param(one, id=f"without-{one}") for one in PLUGINS),
    *(pytest.param(",".join(set(PLUGINS) - {one}), id=f"only-{one}") for one in PLUGINS),
]


@pytest.fixture
def vertex() -> Iterator[VertexSimulator]:
    pytest.importorskip("google.cloud.aiplatform_v1")
    with VertexSimulator() as simulator:
        yield simulator


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("disabled", COMBINATIONS)
def test_one_record_for_each_request(
    disabled: str, vertex: VertexSimulator, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODY_DISABLED_PLUGINS", disabled)
    sim, said = vertex, []
    with custody.session("P", "E", root=root) as session:
        for ask in ASKS:
            before = len(sim.requests)
            with session.scope(ask=ask.__name__):
                said.append(ask(sim))
            assert len(sim.requests) == before + 1, ask.__name__
    calls = custody.open(session.path).calls()
    recorded = [call.scope["ask"] for call in calls]
    assert len(recorded) == len(set(recorded)), "a call is recorded twice"
    assert all(len(call.fields["attempts"]) == 1 for call in calls)
    if disabled:
        return
    assert recorded == [ask.__name__ for ask in ASKS]
    sim.stop()
    with custody.session("P", "E", root=root, session=session.id, strict=True) as again:
        replayed = []
        for ask in ASKS:
            with again.scope(ask=ask.__name__):
                replayed.append(ask(sim))
    assert replayed == said
