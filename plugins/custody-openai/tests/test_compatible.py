"""Other vendors' SDKs of OpenAI's protocol: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest
from custody_openai.compatible import GroqPlugin, TogetherPlugin, VoyagePlugin
from custody_openai.plugin import OpenAIPlugin

from custody.plugin import RequestHead
from custody.testing import sample_exchange
from custody.testing.simulator import Fault

groq = pytest.importorskip("groq")
together = pytest.importorskip("together")
voyageai = pytest.importorskip("voyageai")

ASK: Any = {"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "Say something about rivers."}]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(params=["groq", "together"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client_of(three_ways: Any, name: str) -> Callable[..., Any]:
    """The SDK's client, sync or async, led to the simulator."""
    sync, asynchronous = {
        "groq": (groq.Groq, groq.AsyncGroq),
        "together": (together.Together, together.AsyncTogether),
    }[name]
    with sync(api_key="some-key") as usual:  # some majors have the version in the base URL, some in each path
        path = usual.base_url.path.rstrip("/")
    given = {"api_key": "some-key", "base_url": three_ways.sim.url + path}
    return lambda later=False, **options: (asynchronous if later else sync)(**{**given, **options})


def chat(client: Any) -> Any:
    return client.chat.completions.create(**ASK, temperature=0.5)


def stream(client: Any) -> Any:
    return list(client.chat.completions.create(**ASK, stream=True))


def tools(client: Any) -> Any:
    first = client.chat.completions.create(**ASK, tools=[TOOL])
    called = first.choices[0].message.tool_calls[0]
    said = {"role": "assistant", "tool_calls": [called.model_dump()]}
    result = {"role": "tool", "tool_call_id": called.id, "content": "{}"}
    asked = [*ASK["messages"], said, result]
    return [first, client.chat.completions.create(model=ASK["model"], messages=asked, tools=[TOOL])]


def json_mode(client: Any) -> Any:
    return client.chat.completions.create(**ASK, response_format={"type": "json_object"})


def embeddings(client: Any) -> Any:
    return client.embeddings.create(model="text-embedding-3-small", input="one")


def raw(client: Any) -> Any:
    answer = client.chat.completions.with_raw_response.create(**ASK)
    return [answer.parse(), answer.headers, answer.status_code]


def streaming_response(client: Any) -> Any:
    with client.chat.completions.with_streaming_response.create(**ASK) as answer:
        return [answer.read(), answer.status_code]


def text(client: Any) -> Any:
    if not hasattr(client, "completions"):
        pytest.skip("this SDK has no text completions")
    return client.completions.create(model="llama-3.3-70b", prompt="Once")


FEATURES = [chat, stream, tools, json_mode, embeddings, raw, streaming_response, text]


@pytest.mark.parametrize("ask", FEATURES, ids=lambda f: f.__name__)
def test_sync(three_ways: Any, name: str, client_of: Any, ask: Callable[[Any], Any]) -> None:
    def scenario() -> Any:
        with client_of() as client:
            return ask(client)

    three_ways(scenario)
    check(three_ways, name, name)


def test_async(three_ways: Any, name: str, client_of: Any) -> None:
    async def scenario() -> Any:
        async with client_of(True) as client:
            whole = await client.chat.completions.create(**ASK)
            return [whole, [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]]

    three_ways(scenario)
    check(three_ways, name, name)


def check(three_ways: Any, plugin: str, sdk: str) -> None:
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": plugin, "version": f"{sdk} {importlib.metadata.version(sdk)}"}
        assert len(call.fields["attempts"]) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_retries_are_attempts_of_one_call(three_ways: Any, client_of: Any, streamed: bool) -> None:
    def scenario() -> Any:
        with client_of() as client:
            return stream(client) if streamed else chat(client)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429, retry_after=0.01), times=2))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 429, 200]


def test_async_retries_are_attempts_of_one_call(three_ways: Any, client_of: Any) -> None:
    async def scenario() -> Any:
        async with client_of(True) as client:
            return await client.chat.completions.create(**ASK)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(drop=True)))
    (call,) = three_ways.calls
    assert [attempt["ending"] for attempt in call.fields["attempts"]] == ["no_response", "complete"]


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_errors(three_ways: Any, name: str, client_of: Any, status: int) -> None:
    kind = {"groq": groq, "together": together}[name].APIStatusError

    def scenario() -> Any:
        with client_of(max_retries=0) as client, pytest.raises(kind) as caught:
            chat(client)
        return [type(caught.value).__name__, caught.value.status_code, caught.value.body]

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=status)))
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["status"]) == ("error", status)


def test_a_stream_left_early_says_so(three_ways: Any, client_of: Any) -> None:
    def scenario() -> Any:
        with client_of() as client, client.chat.completions.create(**ASK, stream=True) as chunks:
            return [next(iter(chunks))]

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["outcome"] == "closed_early"


def test_groq_says_its_region_and_its_streams_their_usage(three_ways: Any) -> None:
    def scenario() -> Any:
        with groq.Groq(api_key="some-key", base_url=three_ways.sim.url) as client:
            return stream(client)

    three_ways.record(scenario)
    (call,) = three_ways.calls
    assert call.fields["evidence"]["deployment_region"] == "response_header:x-groq-region"
    assert call.fields["evidence"]["tokens_used"] == "response_body:chunk.x_groq.usage"


# -- Voyage: over requests, and over aiohttp where asynchronous ---------------------------------------


def v_embed(client: Any) -> Any:
    return client.embed(["one", "two"], model="voyage-3")


def v_rerank(client: Any) -> Any:
    return client.rerank("river", ["one", "two"], model="rerank-2.5", top_k=1)


def v_contextualized(client: Any) -> Any:
    return client.contextualized_embed([["one", "two"], ["three"]], model="voyage-context-3", input_type="document")


VOYAGE = [v_embed, v_rerank, v_contextualized]


def plain(value: Any) -> Any:
    """Voyage's results compare by identity: their attributes do not."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    return plain(vars(value)) if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("ask", VOYAGE, ids=lambda f: f.__name__)
def test_voyage(three_ways: Any, ask: Callable[[Any], Any]) -> None:
    def scenario() -> Any:
        return plain(ask(voyageai.Client(api_key="some-key", base_url=f"{three_ways.sim.url}/v1")))

    three_ways(scenario)
    check(three_ways, "voyage", "voyageai")
    (call,) = three_ways.calls
    assert call.fields["usage"]["input"] > 0


@pytest.mark.parametrize("ask", VOYAGE, ids=lambda f: f.__name__)
def test_voyage_async(three_ways: Any, ask: Callable[[Any], Any]) -> None:
    async def scenario() -> Any:
        return plain(await ask(voyageai.AsyncClient(api_key="some-key", base_url=f"{three_ways.sim.url}/v1")))

    three_ways(scenario)
    check(three_ways, "voyage", "voyageai")


def test_voyages_retries_are_attempts_of_one_call(three_ways: Any) -> None:
    def scenario() -> Any:
        client = voyageai.Client(api_key="some-key", base_url=f"{three_ways.sim.url}/v1", max_retries=2)
        return plain(v_rerank(client))

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=429)))
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 200]


# -- whose traffic it is ------------------------------------------------------------------------------

JSON = (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("plugin", "url", "vendor"),
    [
        (GroqPlugin(), "https://api.groq.com/openai/v1/chat/completions", "Groq"),
        (TogetherPlugin(), "https://api.together.ai/v1/chat/completions", "Together"),
        (VoyagePlugin(), "https://api.voyageai.com/v1/rerank", "Voyage AI"),
    ],
)
def test_an_sdk_of_its_own_is_claimed_by_its_own_plugin(plugin: Any, url: str, vendor: str) -> None:
    inside = RequestHead("POST", url, JSON, sdk=plugin.name)
    claim = plugin.claim_exchange(inside)
    assert (claim.plugin, claim.vendor) == (plugin.name, vendor)
    assert OpenAIPlugin().claim_exchange(inside) is None
    outside = RequestHead("POST", url, JSON)
    assert plugin.claim_exchange(outside).plugin == plugin.name
    assert plugin.claim_exchange(RequestHead("POST", url, JSON, sdk="openai")) is None
    assert OpenAIPlugin().claim_exchange(RequestHead("POST", url, JSON, sdk="openai")).vendor == vendor  # type: ignore[union-attr]


@pytest.mark.parametrize("through", [None, "litellm"])
def test_a_path_is_claimed_on_any_host_outside_of_other_sdks(through: str | None) -> None:
    def request(sdk: str | None) -> RequestHead:
        return RequestHead("POST", "http://models.example:8000/v1/chat/completions", JSON, sdk=sdk, through=through)

    claim = OpenAIPlugin().claim_exchange(request(None))
    assert claim is not None
    assert (claim.vendor, claim.operation) == ("models.example:8000", "chat")
    assert OpenAIPlugin().claim_exchange(request("mistral")) is None


@pytest.mark.parametrize(
    ("url", "vendor", "region"),
    [
        ("https://eu.api.openai.com/v1/chat/completions", "OpenAI", "eu"),
        ("https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1/chat/completions", "Amazon Bedrock", "us-west-2"),
        ("https://bedrock-mantle.us-east-1.api.aws/openai/v1/responses", "Amazon Bedrock", "us-east-1"),
        (
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/endpoints/openapi"
            "/chat/completions",
            "Google Vertex AI",
            "europe-west4",
        ),
        ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "Google Gemini API", None),
        ("https://api.deepseek.com/v1/chat/completions", "DeepSeek", None),
    ],
)
def test_who_serves_the_protocol_and_where(url: str, vendor: str, region: str | None) -> None:
    plugin = OpenAIPlugin()
    exchange = sample_exchange(plugin, url, request=ASK, body=b"{}")
    read = plugin.extract_forensics(exchange)
    assert read is not None
    assert (exchange.claim.vendor, read.findings["deployment_region"].value) == (vendor, region)


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
        "https://bedrock-runtime.us-west-2.amazonaws.com/model/some.model/converse",
        "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/models/m:predict",
    ],
)
def test_a_vendors_own_protocol_is_left_to_its_plugin(url: str) -> None:
    assert OpenAIPlugin().claim_exchange(RequestHead("POST", url, JSON)) is None
