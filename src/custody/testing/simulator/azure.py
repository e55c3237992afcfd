"""The Azure OpenAI dialect: OpenAI's bodies behind deployments, with Azure's headers and content filter.

Facts: the AzureOpenAI client of openai 3.54; recorded traffic of Azure of 2024 to 2026. Own wording.
A prompt with the word FORBIDDEN meets the filter before the model does, one with UNSEEMLY after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from custody.testing.simulator import openai
from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, object_of, sse

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

REGION = "Sweden Central"
MODEL = "gpt-4.1-mini-2025-04-14"  # behind every deployment of chat models
_PATH = re.compile(r"^/openai(?P<base>/deployments/(?P<deployment>[^/]+)|/v1)?(?P<endpoint>/.+)$")
_EMBEDDINGS = "text-embedding-3-small"
_ERRORS = {
    400: ("BadRequest", "the request is not acceptable"),
    401: ("401", "Access denied due to invalid subscription key or wrong API endpoint."),
    404: ("DeploymentNotFound", "The API deployment for this resource does not exist."),
    429: ("429", "the rate limit is reached"),
}


def serves(seen: Seen) -> bool:
    """Paths below /openai, except where a client says that it is Groq's, whose paths begin in the same way."""
    return seen.path.startswith("/openai/") and not seen.headers.get("user-agent", "").lower().startswith(
        ("groq/", "asyncgroq/")
    )


def error(status: int, message: str | None = None) -> Reply:
    """The vendor's error document."""
    code, text = _ERRORS.get(status, ("InternalServerError" if status >= 500 else "BadRequest", "error"))
    return Reply(status, compact({"error": {"code": code, "message": message or f"Simulated: {text}"}}).encode())


def headers(answers: Answers, seconds: float) -> dict[str, str]:
    """The vendor's response headers."""
    made = answers.hex("", 8) + "-0000-4000-8000-" + answers.hex("", 12)
    return {
        "apim-request-id": made,
        "x-request-id": answers.hex("", 8) + "-0000-4000-8000-" + answers.hex("", 12),
        "x-ms-client-request-id": made,
        "x-ms-region": REGION,
        "x-ms-rai-invoked": "true",
        "x-ratelimit-limit-requests": "250",
        "x-ratelimit-limit-tokens": "250000",
        "x-ratelimit-remaining-requests": "249",
        "x-ratelimit-remaining-tokens": "249984",
        "azureml-model-session": "d000-20260101000000",
    }


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, API version, then the endpoint behind the deployment."""
    key = key_of(seen.headers, "api-key")
    if not key or "invalid" in key:
        return error(401)
    found, document = _PATH.match(seen.path), object_of(body)
    if document is None and not seen.headers.get("content-type", "").startswith("multipart/"):
        return error(400, "Simulated: the body is not a JSON object.")
    if found is None or (found["base"] != "/v1" and "api-version=" not in seen.query):
        return error(404, "Resource not found")
    document = document or {}
    deployment = found["deployment"] or str(document.get("model", ""))
    if deployment == "missing":
        return error(404)
    if deployment:
        document["model"] = _EMBEDDINGS if found["endpoint"] == "/embeddings" else MODEL
    if "FORBIDDEN" in json.dumps(document):
        return _refused()
    inner = replace(seen, path="/v1" + found["endpoint"], headers={"authorization": f"Bearer {key}"})
    reply = openai.answer(inner, compact(document).encode() if seen.method == "POST" else b"", answers)
    if reply.status >= 400:
        return reply
    extra = {"x-ms-deployment-name": deployment, "x-ms-is-spilled-over": "false"} if deployment else {}
    if found["endpoint"] == "/chat/completions":
        reply = _filtered(reply, unseemly="UNSEEMLY" in json.dumps(document))
    return Reply(reply.status, reply.body, reply.frames, {**reply.headers, **extra})


def _refused() -> Reply:
    """The prompt met the content filter: nothing was asked of the model."""
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _ratings(violence="high")}
    document = {
        "message": "Simulated: the prompt met the content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": inner,
    }
    return Reply(400, compact({"error": document}).encode())


def _filtered(reply: Reply, *, unseemly: bool) -> Reply:
    """A chat answer with the filter's results in it; an unseemly one is cut at its first words."""
    prompt = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _ratings()}]}
    if reply.frames is None:
        document = json.loads(reply.body)
        for choice in document["choices"]:
            choice["content_filter_results"] = _ratings(violence="medium") if unseemly else _ratings()
            if unseemly:
                choice["finish_reason"], choice["message"] = "content_filter", {"role": "assistant", "content": None}
        return Reply(200, compact({**document, **prompt}).encode(), headers=reply.headers)
    empty: Json = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    frames = [sse({**empty, **prompt})]
    for frame in reply.frames:
        chunk = _chunk(frame)
        for choice in chunk["choices"] if chunk else ():
            choice["content_filter_results"] = _ratings() if choice["delta"].get("content") else {}
            if unseemly and choice["finish_reason"]:
                choice["finish_reason"] = "content_filter"
                choice["content_filter_results"] = _ratings(violence="medium")
        if chunk and unseemly and any(choice["delta"].get("content") for choice in chunk["choices"]):
            continue
        frames.append(sse(chunk) if chunk else frame)
    return Reply(frames=frames, headers=reply.headers)


def _chunk(frame: bytes) -> Any:
    data = frame.removeprefix(b"data: ").strip()
    return json.loads(data) if data.startswith(b"{") else None


def _ratings(**severities: str) -> Mapping[str, Json]:
    names = "hate", "self_harm", "sexual", "violence"
    return {name: {"filtered": name in severities, "severity": severities.get(name, "safe")} for name in names}
