"""Structured output, pictures, sound and anyio of the Vertex AI SDK, bare, recorded and replayed."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import custody
from custody.testing.simulator import Fault, gemini, vertex_grpc
from custody.testing.simulator.answers import Reply
from custody.testing.simulator.vertex_grpc import VertexSimulator

pytest.importorskip("google.cloud.aiplatform")
pytestmark = [
    pytest.mark.filterwarnings("ignore:This feature is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PLACE = "projects/a-project/locations/europe-west4"
MODEL = f"{PLACE}/publishers/google/models/gemini-2.5-flash"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture
def ways(three_ways: Any, vertex: VertexSimulator, root: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The driver, with Vertex AI as its vendor, which answers with sound where sound is asked for."""
    known = gemini._candidate

    def candidate(model: str, body: Any, contents: Any, said: str, answers: Any) -> Any:
        asked = (body.get("generationConfig") or {}).get("responseModalities") or ()
        if "AUDIO" in asked or 3 in asked:
            data = base64.b64encode(answers.text().encode()).decode()
            return [{"inlineData": {"mimeType": "audio/wav", "data": data}}], "STOP"
        return known(model, body, contents, said, answers)

    monkeypatch.setattr(gemini, "_candidate", candidate)
    return type(three_ways)(vertex, root)


def start(vertex: VertexSimulator, transport: str) -> None:
    credentials = importlib.import_module("google.oauth2.credentials").Credentials("a-token-that-is-not-real")
    importlib.import_module("vertexai").init(
        project="a-project",
        location="europe-west4",
        api_transport=transport,
        api_endpoint=vertex.grpc_target if transport == "grpc" else vertex.url,
        credentials=credentials,
    )


def asked(contents: Any, **config: Any) -> Any:
    kinds = importlib.import_module("vertexai.generative_models")
    model = kinds.GenerativeModel("gemini-2.5-flash")
    return model.generate_content(contents, generation_config=kinds.GenerationConfig(**config)).to_dict()


def structured() -> Any:
    made = asked("Name a river.", response_mime_type="application/json", response_schema=SCHEMA)
    assert '"name"' in made["candidates"][0]["content"]["parts"][0]["text"]
    return made


def pictures_in() -> Any:
    kinds = importlib.import_module("vertexai.generative_models")
    here = kinds.Part.from_data(b"\x89PNG\r\n", mime_type="image/png")
    away = kinds.Part.from_uri("gs://a-bucket/river.jpg", mime_type="image/jpeg")
    return [asked(["What is it?", here]), asked(["And that?", away])]


def sounds_in() -> Any:
    kinds = importlib.import_module("vertexai.generative_models")
    return asked(["What is it?", kinds.Part.from_data(bytes(60), mime_type="audio/wav")])


SCENARIOS: list[Callable[[], Any]] = [structured, pictures_in, sounds_in]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("ask", SCENARIOS, ids=lambda f: f.__name__)
def test_generative_models(ways: Any, ask: Callable[[], Any], transport: str) -> None:
    def scenario() -> Any:
        start(ways.sim, transport)
        return ask()

    ways(scenario)
    whole(ways)


def whole(ways: Any) -> None:
    assert ways.calls
    for call in ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"]["plugin"] == "vertexai"


def channel(vertex: VertexSimulator, *, aio: bool = False) -> Any:
    grpc = importlib.import_module("grpc")
    made = grpc.aio if aio else grpc
    return made.secure_channel(vertex.grpc_target, grpc.ssl_channel_credentials())


@pytest.mark.parametrize("modality", ["IMAGE", "AUDIO"])
def test_pictures_and_sounds_out(ways: Any, modality: str) -> None:
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    transports = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service.transports")
    kinds = importlib.import_module("google.cloud.aiplatform_v1.types").GenerationConfig.Modality

    def scenario() -> Any:
        transport = transports.PredictionServiceGrpcTransport(channel=channel(ways.sim))
        with base.PredictionServiceClient(transport=transport) as client:
            config = {"response_modalities": [kinds[modality]]}
            contents = [{"role": "user", "parts": [{"text": "A river."}]}]
            request = {"model": MODEL, "contents": contents, "generation_config": config}
            made = client.generate_content(request=request)
            assert made.candidates[0].content.parts[0].inline_data.data
            return type(made).to_dict(made)

    ways(scenario)
    whole(ways)


def test_anyio(ways: Any) -> None:
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    transports = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service.transports")

    async def main() -> Any:
        transport = transports.PredictionServiceGrpcAsyncIOTransport(channel=channel(ways.sim, aio=True))
        results: dict[int, Any] = {}
        async with base.PredictionServiceAsyncClient(transport=transport) as client:

            async def one(number: int) -> None:
                contents = [{"role": "user", "parts": [{"text": f"Number {number}?"}]}]
                made = await client.generate_content(model=MODEL, contents=contents)
                results[number] = type(made).to_dict(made)

            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(one, number)
        return [results[number] for number in range(5)]

    ways(lambda: anyio.run(main, backend="asyncio"))
    whole(ways)
    assert len(ways.calls) == 5


def look_up(monkeypatch: pytest.MonkeyPatch, schema: str) -> None:
    """The SDK looks a model up first, for the schema of what it is asked. Its numbers are floats, as Struct's are."""
    known, predicted = vertex_grpc._Method._answer, gemini.answer

    def answer(self: Any, raw: bytes, metadata: dict[str, str]) -> Any:
        reply = known(self, raw, metadata)
        body = reply.body.replace(b"text_embedding_1.0.0", schema.encode())
        return type(reply)(reply.status, body, reply.frames, reply.headers)

    def generated(seen: Any, body: bytes, answers: Any) -> Any:
        if b"text-bison" in seen.path.encode():
            said = {"content": answers.text(), "safetyAttributes": {"blocked": False, "scores": [], "categories": []}}
            return Reply(200, json.dumps({"predictions": [said]}).encode())
        return predicted(seen, body.replace(b'"sampleCount": 2.0', b'"sampleCount": 2'), answers)

    monkeypatch.setattr(vertex_grpc._Method, "_answer", answer)
    monkeypatch.setattr(gemini, "answer", generated)


def test_imagen(ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up(monkeypatch, "vision_generative_model_1.0.0")

    def scenario() -> Any:
        start(ways.sim, "grpc")
        vision = importlib.import_module("vertexai.vision_models")
        model = vision.ImageGenerationModel.from_pretrained("imagen-4.0-generate-001")
        made = model.generate_images("A river.", number_of_images=2)
        assert len(made.images) == 2
        return [image._image_bytes for image in made]

    ways(scenario)
    whole(ways)


def test_text_generation(ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up(monkeypatch, "text_generation_1.0.0")

    def scenario() -> Any:
        start(ways.sim, "grpc")
        language = importlib.import_module("vertexai.language_models")
        made = language.TextGenerationModel.from_pretrained("text-bison@002").predict("Once", temperature=0.1)
        assert made.text
        return made.text

    ways(scenario)
    whole(ways)


def test_cancellation(ways: Any) -> None:
    """There is no answer: a strict replay says so."""
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    transports = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service.transports")

    async def ask() -> None:
        transport = transports.PredictionServiceGrpcAsyncIOTransport(channel=channel(ways.sim, aio=True))
        async with base.PredictionServiceAsyncClient(transport=transport) as client:
            await client.generate_content(model=MODEL, contents=[{"role": "user", "parts": [{"text": "Now?"}]}])

    async def cancelled() -> str:
        asked = ways.sim.count()
        task = asyncio.create_task(ask())
        while ways.sim.count() == asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "cancelled"

    for run in (lambda: asyncio.run(cancelled()), lambda: ways.record(cancelled)):
        ways.sim.inject(Fault(delay=3))
        assert run() == "cancelled"
    assert [(call.outcome, call.fields["answers"]) for call in ways.calls] == [("cancelled", False)]
    with pytest.raises(custody.ReplayError):
        ways.replay(ask)
