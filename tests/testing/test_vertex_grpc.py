"""Vertex AI's gRPC server of the simulator, asked by the SDK itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from custody.testing.simulator import Fault

grpc: Any = pytest.importorskip("grpc")
pytest.importorskip("google.cloud.aiplatform_v1")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MODEL = "projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-flash"
ASK: Any = {"model": MODEL, "contents": [{"role": "user", "parts": [{"text": "Rivers."}]}]}


@pytest.fixture
def vertex() -> Iterator[Any]:
    with importlib.import_module("custody.testing.simulator.vertex_grpc").VertexSimulator() as made:
        yield made


@pytest.fixture(params=["v1", "v1beta1"])
def client(request: pytest.FixtureRequest, vertex: Any) -> Iterator[Any]:
    base = importlib.import_module(f"google.cloud.aiplatform_{request.param}.services.prediction_service")
    transport = base.transports.PredictionServiceGrpcTransport(channel=grpc.insecure_channel(vertex.grpc_target))
    with base.PredictionServiceClient(transport=transport) as made:
        yield made


def test_answers_differ_and_are_counted(client: Any, vertex: Any) -> None:
    texts = [client.generate_content(request=ASK).candidates[0].content.parts[0].text for _ in range(2)]
    assert texts[0] != texts[1]
    assert set(texts) <= set(vertex.answers)
    assert (vertex.paid(), vertex.answered()) == (2, 2)
    assert list(vertex.by_body().values()) == [2]


def test_a_stream_adds_up_to_an_answer(client: Any, vertex: Any) -> None:
    chunks = list(client.stream_generate_content(request=ASK))
    assert len(chunks) > 2
    assert "".join(chunk.candidates[0].content.parts[0].text for chunk in chunks) in vertex.answers
    assert [chunk.candidates[0].finish_reason.name for chunk in chunks][-1] == "STOP"
    assert chunks[-1].usage_metadata.candidates_token_count > 0


@pytest.mark.parametrize(
    ("status", "name"), [(400, "InvalidArgument"), (429, "ResourceExhausted"), (503, "ServiceUnavailable")]
)
def test_faults_are_the_vendors_errors(client: Any, vertex: Any, status: int, name: str) -> None:
    exceptions = importlib.import_module("google.api_core.exceptions")
    vertex.inject(Fault(status=status, path="GenerateContent"))
    with pytest.raises(getattr(exceptions, name)) as caught:
        client.generate_content(request=ASK)
    assert caught.value.domain == "googleapis.com"
    assert client.generate_content(request=ASK).candidates
    assert (vertex.paid(), vertex.answered()) == (2, 1)


def test_a_stream_can_be_cut(client: Any, vertex: Any) -> None:
    exceptions = importlib.import_module("google.api_core.exceptions")
    vertex.inject(Fault(cut_after=2))
    chunks = client.stream_generate_content(request=ASK)
    assert next(chunks)
    assert next(chunks)
    with pytest.raises(exceptions.ServiceUnavailable):
        next(chunks)
    assert vertex.answered() == 0


def test_it_stops_and_starts_at_its_port(vertex: Any) -> None:
    port = vertex.grpc_port
    vertex.stop()
    channel = grpc.insecure_channel(vertex.grpc_target)
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/google.cloud.aiplatform.v1.PredictionService/GenerateContent")(b"", timeout=2)
    channel.close()
    vertex.start()
    assert vertex.grpc_port == port
