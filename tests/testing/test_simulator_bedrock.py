"""The Bedrock dialect, and Anthropic's on Vertex AI, asked over plain HTTP and read with botocore's own parser."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from custody.testing.simulator import Fault, Simulator

frames = pytest.importorskip("botocore.eventstream", reason="botocore is not installed")

SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIDSIMULATED/20260101/us-east-1/bedrock/aws4_request"}
HELLO: Any = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
CLAUDE: Any = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}
VERTEX = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-6"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


class Answer:
    """Status, headers and body of one request."""

    def __init__(self, sim: Simulator, path: str, body: Any, headers: dict[str, str] | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=20)
        connection.request("POST", path, json.dumps(body), SIGNED if headers is None else headers)
        response = connection.getresponse()
        self.status, self.body = response.status, response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        connection.close()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Names and contents; botocore checks both checksums of every frame."""
        buffer = frames.EventStreamBuffer()
        buffer.add_data(self.body)
        return [(m.headers.get(":event-type") or m.headers[":exception-type"], json.loads(m.payload)) for m in buffer]


def test_converse_says_and_counts(sim: Simulator) -> None:
    answer = Answer(sim, "/model/amazon.nova-micro-v1%3A0/converse", HELLO)
    assert answer.status == 200
    said = answer.json
    assert said["output"]["message"]["content"][0]["text"] in sim.answers
    assert said["usage"]["totalTokens"] == said["usage"]["inputTokens"] + said["usage"]["outputTokens"]
    assert said["metrics"]["latencyMs"] >= 0
    assert len(answer.headers["x-amzn-requestid"]) == 36


def test_converse_stream_is_an_event_stream(sim: Simulator) -> None:
    answer = Answer(sim, "/model/amazon.nova-micro-v1%3A0/converse-stream", HELLO)
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    names = [name for name, _ in answer.events]
    assert names[0] == "messageStart"
    assert names[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    text = "".join(e["delta"]["text"] for name, e in answer.events if name == "contentBlockDelta")
    assert text in sim.answers
    assert answer.events[-1][1]["usage"]["outputTokens"] > 0


@pytest.mark.parametrize("verb", ["invoke", "invoke-with-response-stream"])
@pytest.mark.parametrize("name", ["anthropic.claude-3-haiku-20240307-v1%3A0", "us.anthropic.claude-sonnet-4-6"])
def test_claude_says_the_same_on_bedrock(sim: Simulator, verb: str, name: str) -> None:
    answer = Answer(sim, f"/model/{name}/{verb}", CLAUDE)
    if verb == "invoke":
        said = answer.json
        assert said["type"] == "message"
        assert answer.headers["x-amzn-bedrock-output-token-count"] == str(said["usage"]["output_tokens"])
        return
    assert {name for name, _ in answer.events} == {"chunk"}
    inner = [json.loads(base64.b64decode(e["bytes"])) for _, e in answer.events]
    assert [inner[0]["type"], inner[-1]["type"]] == ["message_start", "message_stop"]
    assert inner[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == inner[-2]["usage"]["output_tokens"]


@pytest.mark.parametrize(
    ("model", "body", "key"),
    [
        ("meta.llama3-70b-instruct-v1:0", {"prompt": "Hello"}, "generation"),
        ("amazon.titan-text-express-v1", {"inputText": "Hello"}, "results"),
        ("mistral.mistral-7b-instruct-v0:2", {"prompt": "Hello"}, "outputs"),
        ("cohere.command-r-v1:0", {"message": "Hello"}, "text"),
        ("cohere.command-text-v14", {"prompt": "Hello"}, "generations"),
        ("amazon.nova-lite-v1:0", HELLO, "output"),
        ("amazon.titan-embed-text-v2:0", {"inputText": "Hello"}, "embedding"),
        ("cohere.embed-english-v3", {"texts": ["Hello"]}, "embeddings"),
    ],
)
def test_every_maker_has_its_shape(sim: Simulator, model: str, body: Any, key: str) -> None:
    answer = Answer(sim, f"/model/{model}/invoke", body)
    assert answer.json[key]
    assert int(answer.headers["x-amzn-bedrock-input-token-count"]) > 0


def test_an_exception_comes_inside_of_a_stream(sim: Simulator) -> None:
    answer = Answer(sim, "/model/amazon.breaks-v1/converse-stream", HELLO)
    assert answer.status == 200
    assert answer.events[-1][0] == "modelStreamErrorException"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "ValidationException"), (429, "ThrottlingException"), (503, "ServiceUnavailableException")],
)
def test_an_error_has_aws_form(sim: Simulator, status: int, kind: str) -> None:
    sim.inject(Fault(status=status))
    answer = Answer(sim, "/model/amazon.nova-micro-v1%3A0/converse", HELLO)
    assert answer.status == status
    assert answer.headers["x-amzn-errortype"].partition(":")[0] == kind
    assert set(answer.json) == {"message"}


def test_a_request_is_looked_at(sim: Simulator) -> None:
    path = "/model/amazon.nova-micro-v1%3A0/converse"
    assert Answer(sim, path, HELLO, {}).status == 403
    refused = Answer(sim, path, HELLO, {"authorization": "Bearer invalid"})
    assert refused.headers["x-amzn-errortype"].startswith("UnrecognizedClientException")
    assert Answer(sim, "/model/does-not-exist/converse", HELLO).status == 400
    assert Answer(sim, path, {"messages": []}).status == 400


def test_a_guardrail_intervenes(sim: Simulator) -> None:
    blocked = {"messages": [{"role": "user", "content": [{"text": "BLOCKED"}]}]}
    guarded = {**blocked, "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}
    path = "/model/amazon.nova-micro-v1%3A0/converse"
    assert Answer(sim, path, guarded).json["stopReason"] == "guardrail_intervened"
    assert Answer(sim, path, blocked).json["stopReason"] == "end_turn"
    applied = {"source": "INPUT", "content": [{"text": {"text": "BLOCKED"}}]}
    assert Answer(sim, "/guardrail/g/version/1/apply", applied).json["action"] == "GUARDRAIL_INTERVENED"


def test_claude_says_the_same_on_vertex(sim: Simulator) -> None:
    token = {"authorization": "Bearer simulated-token"}
    body = {**CLAUDE, "anthropic_version": "vertex-2023-10-16"}
    whole = Answer(sim, f"{VERTEX}:rawPredict", body, token)
    assert whole.json["model"] == "claude-sonnet-4-6"
    assert whole.headers["request-id"].startswith("req_vrtx_")
    stream = Answer(sim, f"{VERTEX}:streamRawPredict", {**body, "stream": True}, token)
    assert stream.body.rstrip().endswith(b'{"type":"message_stop"}')
    named = {**body, "model": "claude-sonnet-4-6"}
    counted = Answer(sim, VERTEX.replace("claude-sonnet-4-6", "count-tokens") + ":rawPredict", named, token)
    assert counted.json["input_tokens"] > 0
    assert Answer(sim, f"{VERTEX}:rawPredict", body, {}).status == 401
    assert Answer(sim, f"{VERTEX}:predict", body, token).json[0]["error"]["status"] == "NOT_FOUND"
