"""The dialect of Amazon Bedrock's runtime: Converse, InvokeModel, their streams, and guardrails applied alone.

Facts: the service model ``bedrock-runtime`` 2023-09-30; recorded traffic of 2024 to 2026. Own wording.

What a test may ask for by the name of the model: ``does-not-exist`` is no model, one with ``breaks`` in its name
fails in the middle of a stream. A request with a guardrail whose text has the word BLOCKED is intervened.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from custody.testing.simulator import bedrock_models, event_stream
from custody.testing.simulator.answers import Answers, Json, Reply, compact, object_of, pieces, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

_PATH = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)")
_GUARDRAIL = re.compile(r"/guardrail/[^/]+/version/[^/]+/apply")
_ERRORS = {  # status -> exception (service model), message
    400: ("ValidationException", "The request is not acceptable."),
    401: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    403: ("AccessDeniedException", "Access to the model is refused."),
    404: ("ResourceNotFoundException", "There is no such resource."),
    408: ("ModelTimeoutException", "The model took too long."),
    409: ("ConflictException", "The resource is in use."),
    424: ("ModelErrorException", "The model failed."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: ("InternalServerException", "The server failed."),
    503: ("ServiceUnavailableException", "The service is not available."),
}
_BROKE = event_stream.exception("modelStreamErrorException", "Simulated: the model broke off.")


def serves(seen: Seen) -> bool:
    """By path: this service's are unlike any other vendor's."""
    return bool(_PATH.fullmatch(seen.path) or _GUARDRAIL.fullmatch(seen.path))


def headers(answers: Answers, elapsed: float) -> dict[str, str]:
    """The service's response headers; `elapsed` in seconds is stated by some answers only."""
    return {"x-amzn-requestid": str(uuid.uuid4()), "server": "Server"}


def error(status: int, message: str | None = None, kind: str | None = None) -> Reply:
    """An error in AWS's JSON form: its type is a header, with the address of its definition after a colon."""
    name, text = _ERRORS.get(status, _ERRORS[500 if status >= 500 else 400])
    told = {"x-amzn-errortype": f"{kind or name}:http://internal.example/coral/bedrock/"}
    return Reply(status, compact({"message": message or f"Simulated: {text}"}).encode(), headers=told)


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: its signature or token is looked at, not verified."""
    given = seen.headers.get("authorization", "")
    if not given.startswith(("AWS4-HMAC-SHA256 ", "Bearer ")):
        return error(403, "Missing Authentication Token", "MissingAuthenticationTokenException")
    if "invalid" in given.lower():
        return error(403, f"Simulated: not accepted: {given}", "UnrecognizedClientException")
    document = object_of(body)
    if document is None or seen.method != "POST":
        return error(400, "Simulated: the body is not a JSON object.")
    if _GUARDRAIL.fullmatch(seen.path):
        return _applied(document)
    found = _PATH.fullmatch(seen.path)
    assert found is not None
    model, operation = unquote(found[1]), found[2]
    if "does-not-exist" in model:
        return error(400, "The provided model identifier is invalid.")
    if operation == "count-tokens":
        return _plain({"inputTokens": tokens(document)})
    guarded = "x-amzn-bedrock-guardrailidentifier" in seen.headers or "guardrailConfig" in document
    guarded = guarded and b"BLOCKED" in body
    if operation.startswith("converse"):
        return _converse(document, answers, guarded, model if operation == "converse-stream" else None)
    if operation == "invoke":
        return _invoked(bedrock_models.whole(model, document, answers, guarded))
    events = bedrock_models.stream(model, document, answers, guarded)
    return _streamed([event_stream.chunk(event) for event in events], model, {"x-amzn-bedrock-content-type": _JSON})


_JSON = "application/json"


def _plain(document: Json) -> Reply:
    return Reply(200, compact(document).encode())


def _invoked(made: bedrock_models.Made) -> Reply:
    """The model's own document, with Bedrock's counts in the headers."""
    told = {"x-amzn-bedrock-invocation-latency": "321"}
    counts = {"input": made.spent, "output": made.made, "cache-read-input": made.read, "cache-write-input": made.kept}
    told |= {f"x-amzn-bedrock-{name}-token-count": str(n) for name, n in counts.items() if n is not None}
    return Reply(200, compact(made.document).encode(), headers=told)


def _streamed(frames: list[bytes], model: str, more: Mapping[str, str] | None = None) -> Reply:
    if "breaks" in model:
        frames = [*frames[:2], _BROKE]
    return Reply(frames=frames, headers={"content-type": event_stream.TYPE, **(more or {})})


def _applied(body: Json) -> Reply:
    hit = "BLOCKED" in compact(body.get("content"))
    units = {"topicPolicyUnits": 1, "contentPolicyUnits": 1, "wordPolicyUnits": 0}
    return _plain(
        {
            "action": "GUARDRAIL_INTERVENED" if hit else "NONE",
            "actionReason": "Guardrail blocked." if hit else "No action.",
            "assessments": [{"invocationMetrics": {"guardrailProcessingLatency": 200, "usage": units}}],
            "outputs": [{"text": "The guardrail says no."}] if hit else [],
            "usage": units,
        }
    )


def _converse(body: Json, answers: Answers, guarded: bool, streamed: str | None) -> Reply:
    blocks, reason = bedrock_models.content(body, answers, guarded)
    cached = "cachePoint" in compact(body)
    spent, made = tokens([body.get("messages"), body.get("system") or ""]), sum(tokens(b) for b in blocks)
    usage: Json = {"inputTokens": spent, "outputTokens": made, "totalTokens": spent + made, "serverToolUsage": {}}
    if cached:
        usage |= {"cacheReadInputTokens": 40, "cacheWriteInputTokens": 8, "totalTokens": spent + made + 48}
    tail: Json = {"metrics": {"latencyMs": 321}, "usage": usage}
    if tier := body.get("serviceTier"):
        tail["serviceTier"] = tier
    if guarded:
        tail["trace"] = {"guardrail": {"actionReason": "Guardrail blocked."}}
    if streamed is None:
        message = {"content": blocks, "role": "assistant"}
        return _plain({**tail, "output": {"message": message}, "stopReason": reason})
    frames = [event_stream.event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        for name, payload in _block_events(block):
            frames.append(event_stream.event(name, {"contentBlockIndex": index, **payload}))
        frames.append(event_stream.event("contentBlockStop", {"contentBlockIndex": index}))
    frames.append(event_stream.event("messageStop", {"stopReason": reason}))
    return _streamed([*frames, event_stream.event("metadata", tail)], streamed)


def _block_events(block: Json) -> list[tuple[str, Json]]:
    """A text has no start event, a tool's use has one; its input comes as pieces of JSON, the first one empty."""
    if "text" in block:
        return [("contentBlockDelta", {"delta": {"text": piece}}) for piece in pieces(block["text"])]
    use: dict[str, Any] = block["toolUse"]
    start = {"toolUse": {"name": use["name"], "toolUseId": use["toolUseId"]}}
    parts = ["", *pieces(compact(use["input"]), 4)]
    return [
        ("contentBlockStart", {"start": start}),
        *(("contentBlockDelta", {"delta": {"toolUse": {"input": part}}}) for part in parts),
    ]
