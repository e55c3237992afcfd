"""Plugins for the echo SDK with one fault each; entry points are named as the classes, in lower case."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from custody_echo.plugin import EchoPlugin, stream_end

from custody.plugin import (
    Claim,
    Event,
    Exchange,
    Finding,
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
    hookimpl,
    unknown,
)


class Sound:
    ends: Any = staticmethod(stream_end)

    @hookimpl
    def vendor(self) -> Vendor:
        return EchoPlugin().vendor()

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.parts.path.endswith("/v1/echo"):
            return Claim(type(self).__name__.lower(), "Echo", "echo", self.ends)
        return None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return self.read(exchange)

    def read(self, exchange: Exchange) -> Forensics:
        asked = exchange.request_json if isinstance(exchange.request_json, dict) else {}
        said = exchange.response_json if isinstance(exchange.response_json, dict) else {}
        raw = said["usage"] if isinstance(said.get("usage"), dict) else {}
        words, wanted = count(raw.get("words")), asked.get("model")
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
            },
            usage=Usage(words, words, raw={"words": words}) if words is not None else None,
            usage_reason=absence(exchange),
        )


class Greedy(Sound):
    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        return Claim("greedy", "Echo", "echo", stream_end)


class Misnamed(Sound):
    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        claim = super().claim_exchange(request)
        return replace(claim, plugin="another") if claim else None


class Moody(Sound):
    moods = itertools.count()

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        claim = super().claim_exchange(request)
        return replace(claim, operation=f"echo{next(self.moods)}") if claim else None


class Inventing(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        if read.findings["actual_model"].value is None:
            read.findings["actual_model"] = found("echo-1-2026-01-15", "response_body", "model")
        return read


class Echoing(Sound):
    """Takes the model that was asked for for the one that answered."""

    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        read.findings["actual_model"] = read.findings["requested_model"]
        return read


class Zeroing(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        read.usage = read.usage or Usage(0, 0)
        return read


class Miscounting(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        if read.usage is not None and read.usage.input is not None:
            read.usage = replace(read.usage, input=read.usage.input + 1)
        return read


class Unreasoned(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        read.findings["deployment_region"] = Finding(None, "")
        return read


class Silent(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        del read.findings["deployment_region"]
        return read


class Trusting(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        if exchange.head is not None and exchange.head.status == 200 and not exchange.events:
            _ = exchange.response_json["usage"]["words"]
        return super().read(exchange)


class Mutating(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        if isinstance(exchange.request_json, dict):
            exchange.request_json.pop("text", None)
        return super().read(exchange)


class Counting(Sound):
    calls = itertools.count()

    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        read.parameters["reads"] = next(self.calls)
        return read


class Talkative(Sound):
    def read(self, exchange: Exchange) -> Forensics:
        read = super().read(exchange)
        read.parameters["text"] = str(exchange.request_json)
        return read


class Endless(Sound):
    ends = None


class Hasty(Sound):
    @staticmethod
    def ends(event: Event) -> Terminal | None:
        return "complete"


class Unpatched(Sound):
    @hookimpl
    def vendor(self) -> Vendor:
        return replace(super().vendor(), seams=())


class Misspelt(Sound):
    @hookimpl
    def extract_forensic(self, exchange: Exchange) -> None:
        """No such hook."""
