"""Which of litellm's requests are questions to a model, when no vendor's own plugin claims them.

Inside of its calls litellm also fetches tokens, asks metadata servers and tells observability services. So
a request is claimed by what its path says it asks for, and a path that names no operation of a model is
left alone; a call of which nothing was claimed is archived as litellm returned it.
"""

from __future__ import annotations

import re

from custody.plugin import Claim, Event, RequestHead, Terminal, parse_json

NAME = "litellm"

# In this order: the more special first. What is matched are whole words of the path.
_OPERATIONS = (
    (re.compile(r"/chat/completions|/v\d+/chat$|/api/chat$|/messages$|/converse(-stream)?$"), "chat"),
    (re.compile(r":(stream)?generatecontent$|:(stream)?rawpredict$"), "chat"),
    (re.compile(r"/invoke(-with-response-stream)?$|/invocations"), "chat"),
    (re.compile(r"/chat(/|$)|text/chat|/conversation"), "chat"),
    (re.compile(r"/responses"), "responses"),
    (re.compile(r"/embed|:(batch)?embedcontents?$|/feature-extraction"), "embeddings"),
    (re.compile(r"/rerank"), "rerank"),
    (re.compile(r"/moderations"), "moderation"),
    (re.compile(r"/images?/|/image-generation|/text-to-image|/generate-image|/imagen"), "image_generation"),
    (re.compile(r"/audio/|/speech|/listen$|/text-to-speech|/transcri"), "audio"),
    (re.compile(r"/ocr"), "ocr"),
    (re.compile(r"/videos?(/|$)"), "video"),
    (re.compile(r"/count_?tokens$|:counttokens$|/tokenize$"), "count_tokens"),
    (re.compile(r"/completions?$|/generate(_stream)?$|/generation|/text/generation|/complete$"), "text_completion"),
    (re.compile(r":predict(longrunning)?$|/predictions|/predict$|/infer(ence)?(/|$)|/models/|/run/"), "other"),
)  # fmt: skip
_POLLED = re.compile(r"/predictions/|/operations/|/requests/|/results?/|/jobs/|/images?/|/videos?/|/responses/")
_ELSEWHERE = re.compile(
    r"(^|[/.-])(oauth2?|oidc|sts|login|token|tokens|auth|iam|identity|metadata|ingestion|telemetry|traces|otel|"
    r"logs?|metrics|webhooks?|hooks|spans|callback)([/.:-]|$)"
)


def claim(request: RequestHead) -> Claim | None:
    """The claim on a request inside a call of litellm; None for what is no question to a model."""
    parts = request.parts
    path, host = parts.path.lower(), (parts.hostname or "").lower()
    if _ELSEWHERE.search(path) or _ELSEWHERE.search(host):
        return None
    if "x-www-form-urlencoded" in (request.header("content-type") or "").lower():
        return None  # how tokens are asked for
    if request.method not in ("GET", "POST") or (request.method == "GET" and not _POLLED.search(path)):
        return None
    operation = next((name for pattern, name in _OPERATIONS if pattern.search(path)), None)
    if operation is None:
        return None
    return Claim(NAME, parts.netloc.rpartition("@")[2], operation, stream_end)


def stream_end(event: Event) -> Terminal | None:
    """The ends of the protocols that are known: ``[DONE]``, ``message_stop``, a typed last event, ``done``."""
    data = event.data
    if data.startswith("[DONE]") or event.name in ("message_stop", "response.completed", "response.incomplete"):
        return "complete"
    if event.name in ("error", "response.failed") or event.name.endswith("Exception"):
        return "error"
    if event.name == "metadata" and '"usage"' in data:
        return "complete"  # Bedrock's converse stream
    if not any(word in data for word in _ENDING_WORDS):
        return None
    value = parse_json(data.encode())
    return _said(value) if isinstance(value, dict) else None


_ENDING_WORDS = '"error"', '"done"', '"type"', '"finish_reason"', '"finishReason"'


def _said(value: dict[str, object]) -> Terminal | None:
    kind = value.get("type")
    if kind in ("message_stop", "response.completed", "response.incomplete") or value.get("done") is True:
        return "complete"
    if value.get("error") or kind in ("error", "response.failed"):
        return "error"
    if kind == "message-end":
        return "complete"  # Cohere
    for name, field in (("choices", "finish_reason"), ("candidates", "finishReason")):
        parts = value.get(name)
        if isinstance(parts, list) and any(isinstance(part, dict) and part.get(field) for part in parts):
            return "complete_at_eof"
    return None
