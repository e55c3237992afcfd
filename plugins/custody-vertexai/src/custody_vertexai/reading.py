"""Reads a finished exchange. Over REST it is Google's own JSON; over gRPC it is made into the same, and read alike.

What gRPC says elsewhere than REST keeps its own evidence: the model's resource name, with project and
region in it, is a field of the request, and the API's version is in the name of the package.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

from custody_google import reading

from custody.plugin import Chunk, Exchange, Finding, Forensics, RequestHead, ResponseHead, found, parse_json
from custody_vertexai.messages import HTTP_BODY, MESSAGES
from custody_vertexai.protobuf import decode

_METHOD = re.compile(
    r"/google\.cloud\.aiplatform\.(v\d\w*)\.(?:PredictionService|LlmUtilityService|ModelGardenService)/(\w+)"
)
_REGION = re.compile(
    r"([a-z0-9-]+)-aiplatform(?:\.mtls)?\.googleapis\.com|aiplatform\.([a-z0-9-]+)\.rep\.googleapis\.com"
)
_TRAILERS = 0x80


class Rpc(NamedTuple):
    """A method of the service, by what its path says."""

    version: str
    method: str


def rpc_of(request: RequestHead) -> Rpc | None:
    """None where it is no method that is read here."""
    matched = _METHOD.fullmatch(request.parts.path) if request.parts.scheme == "grpc" else None
    return Rpc(matched[1], matched[2]) if matched and matched[2] in MESSAGES else None


def read(exchange: Exchange) -> Forensics:
    """Everything that an exchange with Vertex AI says."""
    rpc = rpc_of(exchange.request)
    if rpc is None:
        forensics = reading.read(exchange)
        resource, place = "", "url"
    else:
        asked = decode(exchange.request_body, MESSAGES[rpc.method][1])
        resource = next((name for name in ("model", "endpoint", "name") if asked.get(name)), "")
        forensics = reading.read(_as_rest(exchange, rpc, asked, str(asked.get(resource, ""))))
        place = "request_body"
        forensics.findings["api_version"] = found(rpc.version, "url", "package")
    findings = forensics.findings
    if rpc is not None:
        for name in ("requested_model", "project", "deployment_region"):
            value = findings[name].value
            if value is not None:
                findings[name] = found(value, place, resource)
    if findings["deployment_region"].value is None:
        findings["deployment_region"] = _by_host(exchange, findings["deployment_region"])
    return forensics


def _by_host(exchange: Exchange, unknown: Finding) -> Finding:
    matched = _REGION.fullmatch((exchange.request.parts.hostname or "").lower())
    return found(matched[1] or matched[2], "url", "host") if matched else unknown


def _as_rest(exchange: Exchange, rpc: Rpc, asked: dict[str, Any], resource: str) -> Exchange:
    """The exchange as the REST API would have had it: the same names, in JSON."""
    method = rpc.method[0].lower() + rpc.method[1:]
    url = f"https://{exchange.request.parts.hostname or ''}/{rpc.version}/{resource}:{method}"
    request = replace(exchange.request, url=url, headers=_as_json(exchange.request.headers))
    made = replace(exchange, request=request, request_body=json.dumps(asked).encode(), decoded=True)
    head = exchange.head
    if head is None:
        return made
    documents = answers(exchange.content or b"", rpc)
    if head.status < 400 and (exchange.streamed or len(documents) > 1):
        kind, body = "text/event-stream", "".join(f"data: {json.dumps(one)}\n\n" for one in documents)
    else:
        kind, body = "application/json", json.dumps(documents[0]) if documents else ""
    made.head = ResponseHead(head.status, head.reason, head.http_version, _as_json(head.headers, kind))
    made.chunks = [Chunk(0.0, body.encode())]
    return made


def _as_json(headers: tuple[tuple[str, str], ...], kind: str = "application/json") -> tuple[tuple[str, str], ...]:
    return (("content-type", kind), *(pair for pair in headers if pair[0].lower() != "content-type"))


def answers(body: bytes, rpc: Rpc) -> list[dict[str, Any]]:
    """The messages of a response as JSON objects; a status that is not OK comes last, as an error."""
    table = MESSAGES[rpc.method][2]
    documents: list[dict[str, Any]] = []
    while len(body) >= 5:
        flags, size = body[0], int.from_bytes(body[1:5], "big")
        data, body = body[5 : 5 + size], body[5 + size :]
        if len(data) < size:
            break
        if flags & _TRAILERS:
            status = re.search(rb"^grpc-status:(\d+)", data, re.MULTILINE)
            if status and status[1] != b"0":
                documents.append({"error": {"code": int(status[1])}})
            break
        message = decode(data, table)
        if table is HTTP_BODY:
            inner = parse_json(message.get("data", b""))
            message = inner if isinstance(inner, dict) else {}
        documents.append(message)
    return documents
