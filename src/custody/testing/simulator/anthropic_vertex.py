"""Anthropic's models on Vertex AI: its messages under Google's paths, headers and errors.

Facts: the client AnthropicVertex of the anthropic SDK; Google's published error document. Own wording.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from custody.testing.simulator import anthropic
from custody.testing.simulator.answers import Answers, Reply, compact, key_of, object_of

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

_PATH = re.compile(r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/]+):(\w+)")
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def serves(seen: Seen) -> bool:
    """By the publisher in the path."""
    return _PATH.fullmatch(seen.path) is not None


def headers(answers: Answers, elapsed: float) -> dict[str, str]:
    """Google's front end and Anthropic's request id; `elapsed` in seconds."""
    return {"request-id": answers.id("req_vrtx_01", 22), "server": "ESF", "via": "1.1 simulator"}


def error(status: int, message: str | None = None) -> Reply:
    """Google's error document, in the list that its gateway makes of it."""
    inner = {"code": status, "message": message or f"Simulated: status {status}.", "status": _STATUS.get(status, "")}
    return Reply(status, compact([{"error": inner}]).encode())


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """A message, whole or as server-sent events, or a count of tokens."""
    token = key_of(seen.headers)
    if not token or "invalid" in token:
        return error(401, f"Simulated: the token {token} is not accepted.")
    found, document = _PATH.fullmatch(seen.path), object_of(body)
    if found is None or document is None or "messages" not in document:
        return error(400)
    model, verb = found[1], found[2]
    if model == "count-tokens":
        return anthropic.count_tokens(document, answers)
    if verb != ("streamRawPredict" if document.get("stream") else "rawPredict"):
        return error(404)
    return anthropic.messages({**document, "model": model.partition("@")[0]}, answers)
