"""Sound, pictures out, reranking, structured output and asynchronous invocations of Bedrock's runtime."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from custody.testing.simulator import bedrock as dialect
from custody.testing.simulator import bedrock_models
from custody.testing.simulator.answers import Reply, compact

NOVA = "amazon.nova-micro-v1:0"
CANVAS = "amazon.nova-canvas-v1:0"
RERANK = "cohere.rerank-v3-5:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/"


class Vendor:
    """The vendor's models for pictures and reranking, and its asynchronous invocations."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}

    def model(self, name: str, body: Any, answers: Any) -> Any:
        if name == CANVAS:
            pictures = [base64.b64encode(b"\x89PNG" + answers.text().encode()).decode()]
            return bedrock_models.Made({"images": pictures, "error": None}, None, None)
        scores = sorted(map(abs, answers.vector(len(body["documents"]))), reverse=True)
        return bedrock_models.Made(
            {"results": [{"index": n, "relevance_score": score} for n, score in enumerate(scores)]}, None, None
        )

    def answer(self, seen: Any, body: bytes, answers: Any) -> Reply:
        asked = dialect.object_of(body) or {}
        if seen.method == "POST":
            name = ARN + answers.hex("", 12)
            made = {"invocationArn": name, "modelArn": asked["modelId"], "status": "InProgress"}
            made |= {"submitTime": "2026-01-02T03:04:05Z", "outputDataConfig": asked["outputDataConfig"]}
            self.started[name] = made
            return Reply(200, compact({"invocationArn": name}).encode())
        if seen.path == "/async-invoke":
            return Reply(200, compact({"asyncInvokeSummaries": []}).encode())
        name = next(name for name in self.started if name.rpartition("/")[2] in seen.path)
        shown = dict(self.started[name])
        self.started[name]["status"] = "Completed"
        return Reply(200, compact(shown).encode())


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    more, whole, serves, answer = Vendor(), bedrock_models.whole, dialect.serves, dialect.answer

    def made(model: str, body: Any, answers: Any, guarded: bool) -> Any:
        return more.model(model, body, answers) if model in (CANVAS, RERANK) else whole(model, body, answers, guarded)

    def answered(seen: Any, body: bytes, answers: Any) -> Reply:
        if seen.path.startswith("/async-invoke"):
            return more.answer(seen, body, answers)
        return answer(seen, body, answers)

    monkeypatch.setattr(bedrock_models, "whole", made)
    monkeypatch.setattr(dialect, "serves", lambda seen: seen.path.startswith("/async-invoke") or serves(seen))
    monkeypatch.setattr(dialect, "answer", answered)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "AKIDSIMULATED")


def knows(one: Any, operation: str, member: str) -> None:
    """Skip where this botocore's model of the service has no such field."""
    shapes = one.meta.service_model
    fields = shapes.operation_model("Converse").input_shape.members if not operation else shapes.shape_for(operation)
    if member not in getattr(fields, "members", fields):
        pytest.skip(f"this botocore is older than {member}")


def asked(one: Any, *content: Any, **more: Any) -> Any:
    messages = [{"role": "user", "content": [{"text": "What is it?"}, *content]}]
    made = one.converse(modelId=NOVA, messages=messages, **more)
    return {key: made[key] for key in ("output", "usage", "stopReason")}


def sounds_in(one: Any) -> Any:
    knows(one, "ContentBlock", "audio")
    return asked(one, {"audio": {"format": "wav", "source": {"bytes": bytes(60)}}})


def documents_in(one: Any) -> Any:
    return asked(one, {"document": {"format": "txt", "name": "rivers", "source": {"bytes": b"The river is long."}}})


def structured(one: Any) -> Any:
    knows(one, "", "outputConfig")
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_schema", "structure": {"jsonSchema": {"name": "river", "schema": json.dumps(schema)}}}
    return asked(one, outputConfig={"textFormat": form})


def invoked(one: Any, model: str, body: Any) -> Any:
    return json.loads(one.invoke_model(modelId=model, body=json.dumps(body))["body"].read())


def pictures_out(one: Any) -> Any:
    made = invoked(one, CANVAS, {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "A river."}})
    assert base64.b64decode(made["images"][0]).startswith(b"\x89PNG")
    return made


def rerank(one: Any) -> Any:
    return invoked(one, RERANK, {"query": "river", "documents": ["one", "two"], "api_version": 2})


def later(one: Any) -> Any:
    """Started, looked at twice, listed; the results go to a bucket, which is another service's."""
    to = {"s3OutputDataConfig": {"s3Uri": "s3://a-bucket"}}
    if not hasattr(one, "start_async_invoke"):
        pytest.skip("this boto3 does not know invocations that run on their own")
    made = one.start_async_invoke(
        modelId="amazon.nova-reel-v1:0", modelInput={"taskType": "TEXT_VIDEO"}, outputDataConfig=to,
        clientRequestToken="a-token-of-the-programs-own",
    )  # fmt: skip
    looks = [one.get_async_invoke(invocationArn=made["invocationArn"]) for _ in range(2)]
    assert [look["status"] for look in looks] == ["InProgress", "Completed"]
    states = [[str(look["submitTime"]), look["status"], look["invocationArn"]] for look in looks]
    return [states, one.list_async_invokes()["asyncInvokeSummaries"]]


SCENARIOS: list[tuple[Callable[[Any], Any], set[str]]] = [
    (sounds_in, {"chat"}),
    (documents_in, {"chat"}),
    (structured, {"chat"}),
    (pictures_out, {"image_generation"}),
    (rerank, {"rerank"}),
    (later, {"async_invoke"}),
]


@pytest.mark.parametrize(("ask", "operations"), SCENARIOS, ids=[ask.__name__ for ask, _ in SCENARIOS])
def test_feature(three_ways: Any, ask: Callable[[Any], Any], operations: set[str]) -> None:
    def scenario() -> Any:
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
        one = boto3.session.Session().client(
            "bedrock-runtime", region_name="us-east-1", endpoint_url=three_ways.sim.url, config=config
        )
        try:
            return ask(one)
        finally:
            one.close()

    three_ways(scenario)
    assert {call.fields["operation"] for call in three_ways.calls} == operations
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"]["plugin"] == "bedrock"
