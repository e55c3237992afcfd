"""The Vertex AI SDK against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from custody.sessions import starting
from custody.testing.simulator import Fault, gemini
from custody.testing.simulator.vertex_grpc import VertexSimulator

aiplatform: Any = pytest.importorskip("google.cloud.aiplatform")

pytestmark = [
    pytest.mark.filterwarnings("ignore:This feature is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PLACE = "projects/a-project/locations/europe-west4"
MODEL = f"{PLACE}/publishers/google/models/gemini-2.5-flash"
EMBEDDER = f"{PLACE}/publishers/google/models/text-embedding-005"
ASK: Any = [{"role": "user", "parts": [{"text": "Say something about rivers."}]}]


@pytest.fixture
def ways(three_ways: Any, vertex: VertexSimulator, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The driver, with Vertex AI as its vendor."""
    answer = gemini.answer

    def as_the_sdk_needs_it(*args: Any) -> Any:
        """The SDK's reader of a stream as one JSON array refuses a line feed behind it (api_core.rest_streaming)."""
        reply = answer(*args)
        if reply.frames and reply.frames[-1] == b"]\n":
            reply.frames[-1] = b"]"
        return reply

    monkeypatch.setattr(gemini, "answer", as_the_sdk_needs_it)
    return type(three_ways)(vertex, root)


def plain(message: Any) -> Any:
    """A message of the SDK's as plain data."""
    return (
        message.to_dict()
        if hasattr(message, "to_dict") and not isinstance(message, type) and _own(message)
        else (type(message).to_dict(message))
    )


def _own(message: Any) -> bool:
    return type(message).__module__.startswith("vertexai")


# -- the clients ----------------------------------------------------------------------------------------


def channel(vertex: VertexSimulator, *, aio: bool = False) -> Any:
    """A channel of the program's own, with TLS."""
    grpc = importlib.import_module("grpc")
    made = grpc.aio if aio else grpc
    return made.secure_channel(vertex.grpc_target, grpc.ssl_channel_credentials())


def client(vertex: VertexSimulator, version: str = "v1", service: str = "prediction_service") -> Any:
    base = f"google.cloud.aiplatform_{version}.services.{service}"
    name = {"prediction_service": "PredictionService", "llm_utility_service": "LlmUtilityService"}[service]
    transport = getattr(importlib.import_module(f"{base}.transports"), f"{name}GrpcTransport")
    return getattr(importlib.import_module(base), f"{name}Client")(transport=transport(channel=channel(vertex)))


def async_client(vertex: VertexSimulator, version: str = "v1") -> Any:
    base = f"google.cloud.aiplatform_{version}.services.prediction_service"
    transport = importlib.import_module(f"{base}.transports").PredictionServiceGrpcAsyncIOTransport
    made = importlib.import_module(base).PredictionServiceAsyncClient
    return made(transport=transport(channel=channel(vertex, aio=True)))


def generate(c: Any) -> Any:
    first = c.generate_content(model=MODEL, contents=ASK)
    config = {"temperature": 0.2, "max_output_tokens": 3, "candidate_count": 2}
    system = {"parts": [{"text": "Be brief."}]}
    second = c.generate_content(
        request={"model": MODEL, "contents": ASK, "generation_config": config, "system_instruction": system}
    )
    return [plain(first), plain(second)]


def stream(c: Any) -> Any:
    return [plain(chunk) for chunk in c.stream_generate_content(model=MODEL, contents=ASK)]


def stream_call(c: Any) -> Any:
    call = c.stream_generate_content(model=MODEL, contents=ASK, timeout=20)
    chunks = [plain(next(call)), *[plain(chunk) for chunk in call]]
    return [len(chunks), call.code().name, call.details(), call.is_active()]


def predict(c: Any) -> Any:
    types = importlib.import_module("google.protobuf.struct_pb2")
    instance = types.Value()
    instance.struct_value["content"] = "a text"
    answer = plain(c.predict(endpoint=EMBEDDER, instances=[instance]))
    answer["predictions"] = str(answer["predictions"])
    return answer


def embed(c: Any) -> Any:
    return plain(c.embed_content(model=EMBEDDER, content=ASK[0]))


def raw(c: Any) -> Any:
    endpoint = f"{PLACE}/endpoints/17"
    body = importlib.import_module("google.api.httpbody_pb2").HttpBody(data=b"{}", content_type="application/json")
    whole = c.raw_predict(endpoint=endpoint, http_body=body)
    streamed = list(c.stream_raw_predict(endpoint=endpoint, http_body=body))
    return [whole.data, whole.content_type, [one.data for one in streamed]]


def with_retry(c: Any) -> Any:
    retry = importlib.import_module("google.api_core.retry").Retry(initial=0.01, timeout=10)
    return plain(c.generate_content(model=MODEL, contents=ASK, retry=retry, metadata=(("x-mine", "1"),), timeout=20))


def blocked(c: Any) -> Any:
    kinds = ("simulate:block", "simulate:safety", "simulate:empty")
    return [plain(c.generate_content(model=MODEL, contents=[{"role": "user", "parts": [{"text": k}]}])) for k in kinds]


SYNC = [generate, stream, stream_call, predict, embed, raw, with_retry, blocked]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("ask", SYNC, ids=lambda f: f.__name__)
def test_the_client(ways: Any, ask: Callable[[Any], Any], version: str) -> None:
    def scenario() -> Any:
        with client(ways.sim, version) as made:
            return ask(made)

    ways(scenario)
    _all_right(ways, version)


def _all_right(ways: Any, version: str) -> None:
    assert ways.calls
    for call in ways.calls:
        fields = call.fields
        assert (fields["ending"], fields["hook_failures"], len(fields["attempts"])) == ("complete", [], 1)
        assert fields["sdk"] == {"plugin": "vertexai", "version": f"google-cloud-aiplatform {aiplatform.__version__}"}
        known = fields["model_forensics"]
        assert (known["api_version"], known["deployment_region"]) == (version, "europe-west4")
        assert fields["response_metadata"]["project"] == "a-project"


def test_counting_tokens(ways: Any) -> None:
    def scenario() -> Any:
        with client(ways.sim, "v1beta1") as one, client(ways.sim, "v1", "llm_utility_service") as two:
            request = {"endpoint": MODEL, "model": MODEL, "contents": ASK}
            counted = [made.count_tokens(request=request) for made in (one, two)]
            return [plain(answer) for answer in counted]

    ways(scenario)
    assert [call.fields["operation"] for call in ways.calls] == ["count_tokens"] * 2


async def a_generate(c: Any) -> Any:
    return plain(await c.generate_content(model=MODEL, contents=ASK))


async def a_stream(c: Any) -> Any:
    return [plain(chunk) async for chunk in await c.stream_generate_content(model=MODEL, contents=ASK)]


async def a_gather(c: Any) -> Any:
    texts = [[{"role": "user", "parts": [{"text": f"question {n}"}]}] for n in range(5)]
    return [plain(a) for a in await asyncio.gather(*(c.generate_content(model=MODEL, contents=t) for t in texts))]


async def a_embed(c: Any) -> Any:
    return plain(await c.embed_content(model=EMBEDDER, content=ASK[0]))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("ask", [a_generate, a_stream, a_gather, a_embed], ids=lambda f: f.__name__)
def test_the_async_client(ways: Any, ask: Callable[[Any], Any], version: str) -> None:
    async def scenario() -> Any:
        async with async_client(ways.sim, version) as made:
            return await ask(made)

    ways(scenario)
    _all_right(ways, version)


# -- vertexai.generative_models and language_models -------------------------------------------------------


def model(vertex: VertexSimulator, transport: str, **settings: Any) -> Any:
    """A ``GenerativeModel`` after ``vertexai.init``."""
    start(vertex, transport)
    return importlib.import_module("vertexai.generative_models").GenerativeModel("gemini-2.5-flash", **settings)


def start(vertex: VertexSimulator, transport: str) -> None:
    credentials = importlib.import_module("google.oauth2.credentials").Credentials("a-token-that-is-not-real")
    importlib.import_module("vertexai").init(
        project="a-project",
        location="europe-west4",
        api_transport=transport,
        api_endpoint=vertex.grpc_target if transport.startswith("grpc") else vertex.url,
        credentials=credentials,
    )


def a_model(vertex: VertexSimulator, transport: str) -> Any:
    return plain(model(vertex, transport).generate_content("Say something about rivers."))


def a_model_with_settings(vertex: VertexSimulator, transport: str) -> Any:
    kinds = importlib.import_module("vertexai.generative_models")
    made = model(vertex, transport, system_instruction=["Be brief."])
    answer = made.generate_content(
        ["One", "Two"],
        generation_config=kinds.GenerationConfig(temperature=0.1, top_p=0.9, max_output_tokens=50, seed=7),
        safety_settings={kinds.HarmCategory.HARM_CATEGORY_HARASSMENT: kinds.HarmBlockThreshold.BLOCK_NONE},
    )
    return [answer.text, answer.candidates[0].finish_reason.name, plain(answer)]


def a_model_stream(vertex: VertexSimulator, transport: str) -> Any:
    return [plain(chunk) for chunk in model(vertex, transport).generate_content("Rivers.", stream=True)]


def a_chat(vertex: VertexSimulator, transport: str) -> Any:
    chat = model(vertex, transport).start_chat()
    first = chat.send_message("Name a river.").text
    streamed = [chunk.text for chunk in chat.send_message("And another.", stream=True)]
    return [first, len(streamed), [content.role for content in chat.history]]


def a_function(vertex: VertexSimulator, transport: str) -> Any:
    kinds = importlib.import_module("vertexai.generative_models")
    declared = kinds.FunctionDeclaration(
        name="weather",
        description="The weather of a city.",
        parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    )
    chat = model(vertex, transport, tools=[kinds.Tool(function_declarations=[declared])]).start_chat()
    called = chat.send_message("How is the weather?").candidates[0].function_calls[0]
    result = kinds.Part.from_function_response(name=called.name, response={"degrees": 21})
    return [called.name, dict(called.args), chat.send_message(result).text]


def a_count(vertex: VertexSimulator, transport: str) -> Any:
    return plain(model(vertex, transport).count_tokens("Say something about rivers."))


def an_embedding(vertex: VertexSimulator, transport: str) -> Any:
    start(vertex, transport)
    language = importlib.import_module("vertexai.language_models")
    embedder = language.TextEmbeddingModel.from_pretrained("text-embedding-005")
    return [[one.values, one.statistics.token_count] for one in embedder.get_embeddings(["one", "two"])]


def an_embedding_by_rest(vertex: VertexSimulator) -> Any:
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    credentials = importlib.import_module("google.oauth2.credentials").Credentials("a-token-that-is-not-real")
    with base.PredictionServiceClient(
        transport="rest", credentials=credentials, client_options={"api_endpoint": vertex.url}
    ) as made:
        return [predict(made), plain(made.embed_content(model=EMBEDDER, content=ASK[0]))]


def test_embeddings_by_rest(ways: Any) -> None:
    ways(lambda: an_embedding_by_rest(ways.sim))
    assert [call.fields["operation"] for call in ways.calls] == ["embeddings"] * 2
    assert all(call.fields["usage"]["input"] for call in ways.calls)


MODELS = [a_model, a_model_with_settings, a_model_stream, a_chat, a_function, a_count]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("ask", MODELS, ids=lambda f: f.__name__)
def test_generative_models(ways: Any, ask: Callable[[VertexSimulator, str], Any], transport: str) -> None:
    ways(lambda: ask(ways.sim, transport))
    assert ways.calls
    for call in ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["transport"].startswith("grpc" if transport == "grpc" else "requests")
        assert call.fields["sdk"]["plugin"] == "vertexai"
        known = call.fields["model_forensics"]
        assert known["deployment_region"] == "europe-west4"
        assert known["requested_model"] in ("gemini-2.5-flash", "text-embedding-005")


def test_embedding_models(ways: Any) -> None:
    """The SDK looks the model up first: that is recorded, too, or a replay would need the network."""
    ways(lambda: an_embedding(ways.sim, "grpc"))
    assert [call.fields["operation"] for call in ways.calls] == ["models", "embeddings"]
    for call in ways.calls[1:]:
        assert call.fields["usage"]["input"] > 0


def test_generative_models_of_asyncio(ways: Any) -> None:
    def scenario() -> Any:
        async def ask() -> Any:
            made = model(ways.sim, "grpc")
            whole = plain(await made.generate_content_async("Rivers."))
            chunks = [plain(c) async for c in await made.generate_content_async("Rivers.", stream=True)]
            chat = made.start_chat()
            said = (await chat.send_message_async("Name one.")).text
            return [whole, chunks, said, plain(await made.count_tokens_async("Rivers."))]

        return asyncio.run(ask())

    ways(scenario)
    assert len(ways.calls) == 4


# -- faults -----------------------------------------------------------------------------------------------


def said(error: Any) -> Any:
    """All that a program sees of an error."""
    cause = error.__cause__
    inner = [type(cause).__name__, cause.code().name, cause.details()] if hasattr(cause, "details") else None
    return [type(error).__name__, str(error), error.code, error.message, error.reason, error.domain, inner]


ERRORS = {
    "InvalidArgument": 400,
    "PermissionDenied": 403,
    "NotFound": 404,
    "ResourceExhausted": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "DeadlineExceeded": 504,
}


@pytest.mark.parametrize("kind", ["sync", "stream", "async", "async stream"])
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_the_same_error(ways: Any, name: str, kind: str) -> None:
    exceptions = importlib.import_module("google.api_core.exceptions")

    def sync() -> Any:
        with client(ways.sim) as made, pytest.raises(exceptions.GoogleAPICallError) as caught:
            stream(made) if kind == "stream" else generate(made)
        return said(caught.value)

    async def asynchronous() -> Any:
        async with async_client(ways.sim) as made:
            with pytest.raises(exceptions.GoogleAPICallError) as caught:
                await (a_stream(made) if kind == "async stream" else a_generate(made))
        return said(caught.value)

    def arm() -> None:
        ways.sim.inject(Fault(status=ERRORS[name]))

    got = ways(asynchronous if kind.startswith("async") else sync, before=arm)
    assert got[0] == name
    (call,) = ways.calls
    assert (call.outcome, call.fields["answers"], call.fields["status"]) == ("error", False, ERRORS[name])


@pytest.mark.parametrize("name", ["InvalidArgument", "Forbidden", "NotFound", "TooManyRequests", "InternalServerError"])
def test_an_error_over_rest_is_the_same_error(ways: Any, name: str) -> None:
    exceptions = importlib.import_module("google.api_core.exceptions")
    status = {"Forbidden": 403, "TooManyRequests": 429}.get(name) or ERRORS[name]

    def scenario() -> Any:
        with pytest.raises(exceptions.GoogleAPICallError) as caught:
            a_model(ways.sim, "rest")
        return [type(caught.value).__name__, caught.value.code, caught.value.message.replace(ways.sim.url, "")]

    ways(scenario, before=lambda: ways.sim.inject(Fault(status=status)))
    (call,) = ways.calls
    assert (call.outcome, call.fields["status"]) == ("error", status)


@pytest.mark.parametrize("kind", ["sync", "stream", "async"])
def test_retries_are_attempts_of_one_call(ways: Any, kind: str) -> None:
    core = importlib.import_module("google.api_core")
    retries = importlib.import_module("google.api_core.retry")
    again = retries.if_exception_type(core.exceptions.ResourceExhausted)
    policy: Any = retries.AsyncRetry if kind == "async" else retries.Retry
    retry = policy(predicate=again, initial=0.01, maximum=0.02, timeout=20)

    def sync() -> Any:
        with client(ways.sim) as made:
            if kind == "stream":
                return [plain(c) for c in made.stream_generate_content(model=MODEL, contents=ASK, retry=retry)]
            return plain(made.generate_content(model=MODEL, contents=ASK, retry=retry))

    async def asynchronous() -> Any:
        async with async_client(ways.sim) as made:
            return plain(await made.generate_content(model=MODEL, contents=ASK, retry=retry))

    ways(asynchronous if kind == "async" else sync, before=lambda: ways.sim.inject(Fault(status=429), 2))
    (call,) = ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [429, 429, 200]
    assert (call.outcome, call.fields["answers"]) == ("success", True)


def test_a_deadline_is_no_answer(ways: Any) -> None:
    """The next start asks again."""
    exceptions = importlib.import_module("google.api_core.exceptions")

    def scenario() -> Any:
        with client(ways.sim) as made:
            return plain(made.generate_content(model=MODEL, contents=ASK, timeout=0.3))

    ways.sim.inject(Fault(delay=2))
    with pytest.raises(exceptions.DeadlineExceeded):
        ways.record(scenario)
    (call,) = ways.calls
    assert (call.outcome, call.fields["error"]) == ("no_response", "DEADLINE_EXCEEDED")


def test_a_stream_that_is_left_early(ways: Any) -> None:
    def scenario() -> Any:
        with client(ways.sim) as made:
            chunks = made.stream_generate_content(model=MODEL, contents=ASK)
            got = [plain(next(chunks)), plain(next(chunks))]
            chunks.cancel()
            return got

    ways(scenario)
    assert [call.outcome for call in ways.calls] == ["closed_early"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_that_is_cut(ways: Any, kind: str) -> None:
    exceptions = importlib.import_module("google.api_core.exceptions")

    def sync() -> Any:
        with client(ways.sim) as made:
            return stream(made)

    async def asynchronous() -> Any:
        async with async_client(ways.sim) as made:
            return await a_stream(made)

    ways.sim.inject(Fault(cut_after=2))
    with pytest.raises(exceptions.ServiceUnavailable):
        ways.record(sync if kind == "sync" else asynchronous)
    (call,) = ways.calls
    assert (call.outcome, call.fields["ending"], call.fields["answers"]) == ("error", "broken", False)


def test_cancelling(ways: Any) -> None:
    async def scenario() -> Any:
        async with async_client(ways.sim) as made:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await made.generate_content(model=MODEL, contents=ASK)

    ways.sim.inject(Fault(delay=2))
    ways.record(scenario)
    assert [call.outcome for call in ways.calls] == ["cancelled"]


# -- many at once, and together with others -----------------------------------------------------------------


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_threads_get_their_own_answers(ways: Any, transport: str) -> None:
    """The same question, six runs at once."""

    def scenario() -> Any:
        made = model(ways.sim, transport)
        session = starting.active()

        def one(run: int) -> Any:
            with session.scope(run=run) if session else contextlib.nullcontext():
                whole = made.generate_content("Rivers.").text
                return [whole, [chunk.text for chunk in made.generate_content("Rivers.", stream=True)]]

        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(one, range(6)))

    recorded = ways(scenario)
    assert len({json.dumps(answer) for answer in recorded}) == 6
    assert len(ways.calls) == 12


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_every_request_is_recorded_once(ways: Any, transport: str) -> None:
    """With every plugin there is: as many exchanges as requests that the vendor saw."""
    ways.record(lambda: [a_model(ways.sim, transport), a_chat(ways.sim, transport)])
    assert sum(len(call.fields["attempts"]) for call in ways.calls) == ways.sim.paid() == 3
    assert {call.fields["sdk"]["plugin"] for call in ways.calls} == {"vertexai"}


def test_a_failure_that_the_program_catches_and_tries_again(ways: Any) -> None:
    """A second call of the program's own is a call of its own."""
    exceptions = importlib.import_module("google.api_core.exceptions")

    def scenario() -> Any:
        with client(ways.sim) as made:
            try:
                return plain(made.generate_content(model=MODEL, contents=ASK))
            except exceptions.ResourceExhausted:
                return plain(made.generate_content(model=MODEL, contents=ASK))

    ways.sim.inject(Fault(status=429))
    recorded = ways.record(scenario)
    assert [call.outcome for call in ways.calls] == ["error", "success"]
    assert ways.replay(scenario) == recorded


def test_a_stream_is_not_held_back(ways: Any) -> None:
    """Chunks are with the program as they come: five pauses of a tenth of a second lie between six chunks."""
    ways.sim.chunk_delay = 0.1

    def scenario() -> Any:
        with client(ways.sim) as made:
            return [time.monotonic() for _ in made.stream_generate_content(model=MODEL, contents=ASK)]

    came = ways.record(scenario)
    assert came[-1] - came[0] > 0.05 * (len(came) - 1)
    assert len(came) > 3
