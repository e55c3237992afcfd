"""boto3 against the simulator: bare, recorded, and replayed strictly with the simulator and the credentials gone."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from custody import redact

HAIKU = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
NOVA = "amazon.nova-micro-v1:0"
ASK: Any = {
    "modelId": NOVA,
    "messages": [{"role": "user", "content": [{"text": "Say something about rivers."}]}],
    "inferenceConfig": {"maxTokens": 100, "temperature": 0.5},
}
TOOLS: Any = {
    "tools": [
        {
            "toolSpec": {
                "name": "weather",
                "description": "The weather of a city.",
                "inputSchema": {
                    "json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
                },
            }
        }
    ]
}
CLAUDE: Any = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say something about rivers."}],
}
BODIES: Any = {
    HAIKU: CLAUDE,
    "anthropic.claude-v2:1": {"prompt": "Human: Rivers? Assistant:", "max_tokens_to_sample": 50},
    "meta.llama3-70b-instruct-v1:0": {"prompt": "Rivers?", "max_gen_len": 64, "temperature": 0.1},
    "amazon.titan-text-express-v1": {"inputText": "Rivers?", "textGenerationConfig": {"maxTokenCount": 64}},
    NOVA: {"messages": ASK["messages"], "inferenceConfig": {"maxTokens": 64}, "system": [{"text": "Be brief."}]},
    "mistral.mistral-7b-instruct-v0:2": {"prompt": "<s>[INST] Rivers? [/INST]", "max_tokens": 64},
    "cohere.command-r-v1:0": {"message": "Rivers?", "max_tokens": 64},
    "cohere.command-light-text-v14": {"prompt": "Rivers?", "max_tokens": 64},
}


def client(url: str = "", retries: int = 1, **options: Any) -> Any:
    config = Config(retries={"total_max_attempts": retries, "mode": "standard"}, **options)
    endpoint = {"endpoint_url": url} if url else {}
    return boto3.session.Session().client("bedrock-runtime", region_name="us-east-1", config=config, **endpoint)


def told(answer: Any) -> Any:
    """An answer without what a replay cannot have: headers that are not stored, the count of retries."""
    if isinstance(answer, dict):
        plain = {k: told(v) for k, v in answer.items()}
        if "HTTPHeaders" in plain:
            plain["HTTPHeaders"] = redact.response_headers(tuple(answer["HTTPHeaders"].items()))
            del plain["RetryAttempts"]
        return plain
    return [told(v) for v in answer] if isinstance(answer, list) else answer


def error_of(call: Callable[[], Any]) -> Any:
    """Type, message and content of what a call raises."""
    with pytest.raises(Exception) as caught:
        call()
    error = caught.value
    return [type(error).__name__, str(error), told(getattr(error, "response", None))]


def asked(one: Any, model: str = NOVA, **more: Any) -> Any:
    return one.converse(**{**ASK, "modelId": model, **more})


def events(one: Any, **more: Any) -> Any:
    answer = one.converse_stream(**{**ASK, **more})
    return [told(answer["ResponseMetadata"]), type(answer["stream"]).__name__, list(answer["stream"])]


def invoked(one: Any, model: str, body: Any) -> Any:
    answer = one.invoke_model(modelId=model, body=json.dumps(body))
    return [told({k: v for k, v in answer.items() if k != "body"}), json.loads(answer["body"].read())]


def chunks(one: Any, model: str, body: Any) -> Any:
    answer = one.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


# -- Converse -----------------------------------------------------------------------------------------


def converse(one: Any) -> Any:
    return told([asked(one), asked(one, system=[{"text": "Be brief."}]), asked(one, inferenceConfig={"maxTokens": 3})])


def converse_twice(one: Any) -> Any:
    return [asked(one)["output"], asked(one)["output"]]


def converse_features(one: Any) -> Any:
    known = one.meta.service_model.operation_model("Converse").input_shape.members
    if "performanceConfig" not in known:
        pytest.skip("this botocore is older than these features")
    return told(
        [
            asked(one, additionalModelRequestFields={"top_k": 5}, performanceConfig={"latency": "standard"}),
            asked(one, system=[{"text": "Long."}, {"cachePoint": {"type": "default"}}]),
            asked(one, requestMetadata={"study": "rivers"}),
        ]
    )


def converse_tools(one: Any) -> Any:
    first = asked(one, toolConfig=TOOLS)
    said = first["output"]["message"]
    (used,) = [block["toolUse"] for block in said["content"] if "toolUse" in block]
    result = {"toolResult": {"toolUseId": used["toolUseId"], "content": [{"json": {"degrees": 21}}]}}
    turn = [*ASK["messages"], said, {"role": "user", "content": [result]}]
    second = asked(one, messages=turn, toolConfig=TOOLS)
    assert "text" in second["output"]["message"]["content"][0]
    return told([first, second])


def converse_forced_tool(one: Any) -> Any:
    return told(asked(one, toolConfig={**TOOLS, "toolChoice": {"tool": {"name": "weather"}}}))


def converse_image(one: Any) -> Any:
    content = [{"text": "What is it?"}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG\x00\xff"}}}]
    return told(asked(one, messages=[{"role": "user", "content": content}]))


def converse_guarded(one: Any) -> Any:
    guard = {"guardrailIdentifier": "g1", "guardrailVersion": "1"}
    return told(asked(one, messages=[{"role": "user", "content": [{"text": "BLOCKED"}]}], guardrailConfig=guard))


def converse_models(one: Any) -> Any:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0"
    return told([asked(one, model) for model in (HAIKU, arn, "eu.amazon.nova-lite-v1:0", "meta.llama3-2-1b-v1:0")])


def stream(one: Any) -> Any:
    return events(one)


def stream_tools(one: Any) -> Any:
    return events(one, toolConfig=TOOLS)


def stream_guarded(one: Any) -> Any:
    guard = {"guardrailIdentifier": "g1", "guardrailVersion": "1"}
    return events(one, messages=[{"role": "user", "content": [{"text": "BLOCKED"}]}], guardrailConfig=guard)


def streams_interleaved(one: Any) -> Any:
    first, second = one.converse_stream(**ASK)["stream"], one.converse_stream(**{**ASK, "modelId": HAIKU})["stream"]
    pairs = list(zip(first, second, strict=False))
    return [pairs, list(first), list(second)]


def stream_closed_early(one: Any) -> Any:
    answer = one.converse_stream(**ASK)["stream"]
    seen = []
    for event in answer:
        seen.append(event)
        if len(seen) == 3:
            break
    answer.close()
    return seen


def stream_breaks(one: Any) -> Any:
    answer, seen = one.converse_stream(**{**ASK, "modelId": "amazon.breaks-v1:0"})["stream"], []
    with contextlib.closing(answer), pytest.raises(EventStreamError) as caught:
        for event in answer:
            seen.append(event)  # noqa: PERF402
    return [seen, str(caught.value), caught.value.response["Error"], caught.value.operation_name]


# -- InvokeModel -----------------------------------------------------------------------------------------


def invoke_every_maker(one: Any) -> Any:
    return [invoked(one, model, body) for model, body in BODIES.items()]


def invoke_stream_every_maker(one: Any) -> Any:
    return [chunks(one, model, body) for model, body in BODIES.items()]


def invoke_claude_tools(one: Any) -> Any:
    tool = {"name": "weather", "input_schema": TOOLS["tools"][0]["toolSpec"]["inputSchema"]["json"]}
    body = {**CLAUDE, "tools": [tool]}
    return [invoked(one, HAIKU, body), chunks(one, HAIKU, body)]


def invoke_read_in_parts(one: Any) -> Any:
    def body() -> Any:
        return one.invoke_model(modelId=NOVA, body=json.dumps(BODIES[NOVA]))["body"]

    parts = []
    two = body()
    while part := two.read(7):
        parts.append(part)
    into = bytearray(10)
    three = body()
    with body() as raw:
        entered = raw.read()
    # Texts differ in length, and so does the number of parts: what is the same is their size, and what they add up to.
    sizes = sorted({len(part) for part in parts[:-1]})
    return [
        b"".join(parts),
        sizes,
        two.tell() == sum(map(len, parts)),
        [three.readinto(into), bytes(into)] if hasattr(three, "readinto") else three.read(),
        entered,
        b"".join(body().iter_chunks(16)),
        list(body().iter_lines()),
        body().readlines(),
        [body().readable(), body().read(3)],
    ]


def invoke_file(one: Any) -> Any:
    file = io.BytesIO(json.dumps(BODIES[NOVA]).encode())
    return json.load(one.invoke_model(modelId=NOVA, body=file, contentType="application/json")["body"])


def invoke_embeddings(one: Any) -> Any:
    return [
        invoked(one, "amazon.titan-embed-text-v2:0", {"inputText": "Rivers", "dimensions": 256}),
        invoked(one, "cohere.embed-english-v3", {"texts": ["a", "b"], "input_type": "search_document"}),
    ]


def invoke_guarded(one: Any) -> Any:
    body = {"inputText": "BLOCKED", "textGenerationConfig": {"maxTokenCount": 64}}
    answer = one.invoke_model(
        modelId="amazon.titan-text-express-v1",
        body=json.dumps(body),
        guardrailIdentifier="g1",
        guardrailVersion="DRAFT",
        trace="ENABLED",
    )
    return json.loads(answer["body"].read())


def invoke_stream_closed_early(one: Any) -> Any:
    answer = one.invoke_model_with_response_stream(modelId=HAIKU, body=json.dumps(CLAUDE))["body"]
    first = next(iter(answer))
    answer.close()
    return first


def invoke_stream_breaks(one: Any) -> Any:
    seen: list[Any] = []

    def read() -> None:
        body = json.dumps({"prompt": "Rivers?"})
        answer = one.invoke_model_with_response_stream(modelId="meta.breaks-v1:0", body=body)
        with contextlib.closing(answer["body"]) as events:
            seen.extend(events)

    return [error_of(read), seen]


def count_tokens(one: Any) -> Any:
    if not hasattr(one, "count_tokens"):
        pytest.skip("this botocore is older than CountTokens")
    return told(one.count_tokens(modelId=HAIKU, input={"converse": {"messages": ASK["messages"]}}))


def apply_guardrail(one: Any) -> Any:
    def applied(text: str) -> Any:
        content = [{"text": {"text": text}}]
        return one.apply_guardrail(guardrailIdentifier="g1", guardrailVersion="1", source="INPUT", content=content)

    return told([applied("BLOCKED"), applied("fine")])


# -- errors and the rest -------------------------------------------------------------------------------


def invalid_model(one: Any) -> Any:
    body = json.dumps(CLAUDE)
    return [
        error_of(lambda: asked(one, "does-not-exist")),
        error_of(lambda: one.converse_stream(**{**ASK, "modelId": "does-not-exist"})),
        error_of(lambda: one.invoke_model(modelId="does-not-exist", body=body)),
        error_of(lambda: one.invoke_model_with_response_stream(modelId="does-not-exist", body=body)),
    ]


def modelled_error(one: Any) -> Any:
    with pytest.raises(one.exceptions.ValidationException) as caught:
        asked(one, "does-not-exist")
    return [caught.value.response["message"], caught.value.operation_name]


def refused_by_botocore(one: Any) -> Any:
    return [error_of(lambda: one.converse(modelId=NOVA)), error_of(lambda: one.converse(modelId=NOVA, wrong=1))]


def in_threads(one: Any) -> Any:
    def work(number: int) -> Any:
        return asked(one, messages=[{"role": "user", "content": [{"text": f"Number {number}"}]}])["output"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, range(8)))


def handlers_of_the_programs(one: Any) -> Any:
    seen = []
    one.meta.events.register("after-call.bedrock-runtime.Converse", lambda parsed, **_: seen.append(told(parsed)))
    one.meta.events.register("before-sign.bedrock-runtime.Converse", lambda request, **_: seen.append(request.method))
    asked(one)
    return seen


SCENARIOS = [
    converse,
    converse_twice,
    converse_features,
    converse_tools,
    converse_forced_tool,
    converse_image,
    converse_guarded,
    converse_models,
    stream,
    stream_tools,
    stream_guarded,
    streams_interleaved,
    stream_closed_early,
    stream_breaks,
    invoke_every_maker,
    invoke_stream_every_maker,
    invoke_claude_tools,
    invoke_read_in_parts,
    invoke_file,
    invoke_embeddings,
    invoke_guarded,
    invoke_stream_closed_early,
    invoke_stream_breaks,
    count_tokens,
    apply_guardrail,
    invalid_model,
    modelled_error,
    refused_by_botocore,
    in_threads,
    handlers_of_the_programs,
]


def run(scenario: Callable[[Any], Any], url: str) -> Any:
    one = client(url)
    try:
        return scenario(one)
    finally:
        one.close()


class Credentials:
    """The environment's: there while recording, taken away before the replay."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDSIMULATED")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "simulated-secret-key")
        patch.setenv("AWS_SESSION_TOKEN", "simulated-session-token")

    def gone(self) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            self.patch.delenv(name)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    return Credentials(monkeypatch)


@pytest.fixture
def ways(three_ways: Any, credentials: Credentials) -> Any:
    """three_ways, and no credentials are there when it replays."""
    replay = three_ways.replay

    def without(scenario: Callable[[], Any]) -> Any:
        credentials.gone()
        return replay(scenario)

    three_ways.replay = without
    return three_ways


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_is_the_same_three_ways(scenario: Callable[[Any], Any], ways: Any) -> None:
    ways(lambda: run(scenario, ways.sim.url))
