"""Where a message is served: Anthropic's own API, Amazon Bedrock, Vertex AI, Azure. Pure functions of the address.

Sources: the clients of the anthropic SDK for these platforms; AWS's and Google's lists of endpoints.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from custody.plugin import Finding, RequestHead, found, unknown

_OWN = {
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/messages/batches": "batches",
    "/v1/messages": "chat",
    "/v1/complete": "text_completion",
    "/v1/models": "models",
    "/v1/files": "files",
}
_VERTEX_HOST = re.compile(r"(?:[a-z0-9-]+-)?aiplatform(?:\.[a-z]+\.rep)?\.googleapis\.com")
_AWS_HOST = re.compile(
    r"(?:.*\.)?(bedrock-runtime(?:-fips)?|bedrock-mantle|aws-external-anthropic)"
    r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_BEDROCK = re.compile(r"/model/([^/]+)/invoke(?:-with-response-stream)?$")
_VERTEX = re.compile(
    r"/projects/([^/]+)/locations/([^/]+)/publishers/anthropic/models/([^/:]+):(?:rawPredict|streamRawPredict)$"
)
_GEOGRAPHY = re.compile(r"(?:arn:.*:inference-profile/)?(us|us-gov|eu|apac|jp|au|ca|global)\.[a-z0-9-]+\..+")


class Address(NamedTuple):
    """What a path says. ``model``, ``project``, ``location``: "" where it says nothing of it."""

    operation: str
    model: str = ""
    project: str = ""
    location: str = ""


def address(request: RequestHead) -> Address | None:
    """None where the path is nothing of Anthropic's on any platform."""
    return _address(request.parts.path)


@lru_cache(maxsize=256)
def _address(path: str) -> Address | None:
    if match := _VERTEX.search(path):
        project, location, model = map(unquote, match.groups())
        if model == "count-tokens":
            return Address("count_tokens", "", project, location)
        return Address("chat", model, project, location)
    if match := _BEDROCK.search(path):
        return Address("chat", unquote(match[1]))
    operation = next((name for part, name in _OWN.items() if part in path), None)
    return Address(operation) if operation else None


def vendor(request: RequestHead) -> str:
    """Who answers at the host: a cloud's platform where that serves the model. A host that nobody knows by itself."""
    host = (request.parts.hostname or "").lower()
    if aws := _AWS_HOST.fullmatch(host):
        return "Amazon Bedrock" if aws[1].startswith("bedrock") else "Anthropic"
    if _VERTEX_HOST.fullmatch(host):
        return "Google Vertex AI"
    if host.endswith(".services.ai.azure.com"):
        return "Azure AI Foundry"
    known = host == "api.anthropic.com" or host.endswith(".anthropic.com")
    return "Anthropic" if known else request.parts.netloc.rpartition("@")[2]


def is_ours(request: RequestHead) -> bool:
    """Without the SDK: by a header, a host or, on Vertex AI, the publisher in the path.

    On Bedrock the plugin for Bedrock claims what does not come from this SDK.
    """
    host = (request.parts.hostname or "").lower()
    if request.header("anthropic-version") is not None or host == "api.anthropic.com":
        return True
    return _VERTEX_HOST.fullmatch(host) is not None and _VERTEX.search(request.parts.path) is not None


def region(request: RequestHead) -> Finding:
    """The location in Vertex's path; a Bedrock profile's geography, else the region of AWS's endpoint."""
    at = address(request)
    if at is not None and at.location:
        return found(at.location, "url", "location")
    geography = _GEOGRAPHY.fullmatch(at.model) if at is not None else None
    if geography is not None:
        return found(geography[1], "url", "geography of the inference profile")
    host = _AWS_HOST.fullmatch((request.parts.hostname or "").lower())
    return found(host[2], "url", "region of the endpoint") if host else unknown("not_stated")
