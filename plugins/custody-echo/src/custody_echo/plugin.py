"""A whole vendor plugin. docs/writing-a-plugin.md walks through it."""

from __future__ import annotations

from typing import Any

from custody.plugin import (
    CallSeam,
    Claim,
    Event,
    Exchange,
    Forensics,
    RequestHead,
    Terminal,
    Usage,
    Vendor,
    absence,
    body_finding,
    build_date,
    count,
    found,
    header_finding,
    hookimpl,
    unknown,
)

NAME = "echo"


class EchoPlugin:
    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="custody-echo",
            package="echo_sdk",
            seams=(
                CallSeam("echo_sdk", "EchoClient.request", "sync"),
                CallSeam("echo_sdk", "AsyncEchoClient.request", "async"),
            ),
        )

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.method == "POST" and request.parts.path.endswith("/v1/echo"):
            return Claim(NAME, "Echo", "echo", stream_end)
        return None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        if exchange.claim.plugin != NAME:
            return None
        asked, said = _object(exchange.request_json), _object(exchange.response_json)
        wanted, words = asked.get("model"), count(_object(said.get("usage")).get("words"))
        model = body_finding(exchange, said.get("model"), "model")
        return Forensics(
            findings={
                "requested_model": found(wanted, "request_body", "model")
                if isinstance(wanted, str)
                else unknown("not_stated"),
                "actual_model": model,
                "model_build_date": build_date(model),
                "api_version": found("v1", "url", "path"),
                "deployment_region": unknown("not_stated"),
                "provider_request_id": header_finding(exchange, "x-request-id"),
            },
            usage=Usage(input=words, output=words, raw={"words": words}) if words is not None else None,
            usage_reason=absence(exchange),
        )


def _object(value: Any) -> dict[str, Any]:
    """A vendor's body is read, never trusted."""
    return value if isinstance(value, dict) else {}


def stream_end(event: Event) -> Terminal | None:
    return "complete" if event.name == "end" else None
