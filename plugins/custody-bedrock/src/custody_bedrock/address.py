"""What a request's address says: operation, model, region. Pure functions of the URL.

Sources: the service model ``bedrock-runtime`` (paths), AWS's lists of endpoints, of model ids, and of the
geographies of inference profiles.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from custody.plugin import Finding, RequestHead, found, unknown

_HOST = re.compile(
    r"(?:.*\.)?bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_MODEL = re.compile(
    r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream|"
    r"invoke-with-bidirectional-stream|count-tokens)"
)
_OTHERS = (
    (re.compile(r"/guardrail/[^/]+/version/[^/]+/apply"), "apply_guardrail"),
    (re.compile(r"/async-invoke(?:/.+)?"), "async_invoke"),
)
_BY_VERB = {"converse": "chat", "converse-stream": "chat", "count-tokens": "count_tokens"}
_BY_MODEL = (  # what InvokeModel does, by the beginning or a part of the model's name; the first one decides
    ("embed", "embeddings"),
    ("rerank", "rerank"),
    ("canvas", "image_generation"),
    ("titan-image", "image_generation"),
    ("stability.", "image_generation"),
    ("titan-text", "text_completion"),
    ("meta.", "text_completion"),
    ("mistral.mi", "text_completion"),
    ("cohere.command-text", "text_completion"),
    ("cohere.command-light", "text_completion"),
    ("ai21.j2", "text_completion"),
    ("claude-v2", "text_completion"),
    ("claude-instant", "text_completion"),
)
_GEOGRAPHY = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.([a-z0-9-]+\..+)")
_ARN = re.compile(r"arn:aws[a-z-]*:([a-z]+):([a-z0-9-]*):\d*:([a-z-]+)/(.+)")


class Address(NamedTuple):
    """``model`` is as the program named it: an id, an ARN; "" where the operation has none."""

    operation: str
    model: str


def of(request: RequestHead) -> Address | None:
    """None where it is nothing of Bedrock's runtime. A base path before it, of a gateway, is passed over."""
    path = request.parts.path
    if (at := path.find("/model/")) >= 0 and (match := _MODEL.fullmatch(path, at)):
        model = unquote(match[1])
        return Address(_BY_VERB.get(match[2]) or _invokes(model), model)
    for pattern, operation in _OTHERS:
        if any(pattern.fullmatch(path, i) for i in range(len(path)) if path[i] == "/"):
            return Address(operation, "")
    return None


def is_bedrock(request: RequestHead) -> bool:
    """Whether the host is AWS's."""
    return _HOST.fullmatch((request.parts.hostname or "").lower()) is not None


def served(model: str) -> Finding:
    """The model that an id leads to; an ARN of an application's own profile or endpoint hides it."""
    arn = _ARN.fullmatch(model)
    name = model
    if arn is not None:
        if arn[1] != "bedrock" or arn[3] not in ("foundation-model", "inference-profile"):
            return unknown("not_stated")
        name = arn[4]
    geography = _GEOGRAPHY.fullmatch(name)
    if geography is not None:
        return found(geography[2], "url", "model without its geography")
    return found(name, "url", "model") if "." in name else unknown("not_stated")


def region(request: RequestHead, model: str) -> Finding:
    """Where the model runs: a profile's geography, else the region of the endpoint."""
    arn = _ARN.fullmatch(model)
    if arn is not None and arn[3] == "application-inference-profile":
        return unknown("not_stated")
    geography = _GEOGRAPHY.fullmatch(arn[4] if arn else model)
    if geography is not None:
        return found(geography[1], "url", "geography of the inference profile")
    host = _HOST.fullmatch((request.parts.hostname or "").lower())
    return found(host[1], "url", "region of the endpoint") if host else unknown("host_unknown")


def _invokes(model: str) -> str:
    name = model.rpartition("/")[2]
    operation = next((operation for part, operation in _BY_MODEL if part in name), None)
    return operation or ("invoke" if model.startswith("arn:") and served(model).value is None else "chat")
