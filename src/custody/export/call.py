"""A call line as the columns read it. Nothing of its form is taken for granted: what is not there is None."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from custody.cost.money import dollars, plain
from custody.cost.names import vendor as vendor_by_name
from custody.journal.scan import Place
from custody.report.cost import cost_of, origin_of
from custody.report.flags import attempts_of, part

_PROVIDERS = {
    "anthropic": "anthropic", "azure": "azure.ai.openai", "bedrock": "aws.bedrock", "cohere": "cohere",
    "deepseek": "deepseek", "google": "gcp.gemini", "groq": "groq", "mistral": "mistral_ai", "openai": "openai",
    "perplexity": "perplexity", "vertexai": "gcp.vertex_ai", "x-ai": "x_ai",
}  # fmt: skip
"""OpenTelemetry's well-known values of ``gen_ai.provider.name``, by custody's vendors."""


class Row:
    """One call. Its parts are taken out of the line at once: 10^6 lines have 70 columns each to fill.

    Attributes:
        line: its call line.
        place: where that stands.
        url: of the last attempt's request; None where its line was not found.
        request_body, response_body: texts, where they were asked for.
        parameters: by the last part of their dotted names, as vendors nest them differently.
        last: the attempt that ended the call.
        repriced: its cost by the last repricing; empty where there is none.
    """

    __slots__ = (
        "cost", "experiment", "forensics", "last", "line", "metadata", "parameters", "place", "project",
        "repriced", "request_body", "response_body", "scope", "url", "usage",
    )  # fmt: skip

    def __init__(
        self, line: Mapping[str, Any], place: Place, project: str, experiment: str, url: str | None = None,
        repriced: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.line, self.place, self.project, self.experiment, self.url = line, place, project, experiment, url
        self.repriced = repriced or {}
        self.request_body: str | None = None
        self.response_body: str | None = None
        self.forensics, self.metadata = part(line, "model_forensics"), part(line, "response_metadata")
        self.usage, self.scope, self.cost = part(line, "usage"), part(line, "scope"), cost_of(line)
        self.parameters = {str(name).rpartition(".")[2]: value for name, value in part(line, "parameters").items()}
        attempts = attempts_of(line)
        self.last: Mapping[str, Any] = attempts[-1] if attempts else {}

    @property
    def attempts(self) -> int | None:
        return len(attempts_of(self.line)) if isinstance(self.line.get("attempts"), list) else None

    @property
    def provider(self) -> str | None:
        vendor = self.forensics.get("vendor")
        return provider(vendor) if isinstance(vendor, str) else None

    @property
    def finish_reasons(self) -> list[str] | None:
        reason = self.metadata.get("finish_reason")
        return [reason] if isinstance(reason, str) else None

    @property
    def host(self) -> str | None:
        return server(self.url)[0] if self.url else None

    @property
    def port(self) -> int | None:
        return server(self.url)[1] if self.url else None

    @property
    def error_type(self) -> Any:
        status = self.line.get("status")
        failed = isinstance(status, int) and status >= 400
        return self.line.get("error") or (str(status) if failed else None)

    @property
    def reused_from(self) -> Any:
        return origin_of(self.line)

    @property
    def usd(self) -> str | None:
        """What this session paid, as a decimal string: nothing for a reused answer."""
        return _exact(self.cost) if self.reused_from is None else "0"

    @property
    def reused_usd(self) -> str | None:
        """What a reused answer had cost where it was paid; None for a call that was made here."""
        return None if self.reused_from is None else _exact(self.cost)

    @property
    def repriced_usd(self) -> str | None:
        """``usd`` by the last repricing; None where it has no figure of the call."""
        if not self.repriced:
            return None
        return _exact(self.repriced) if self.reused_from is None else "0"

    @property
    def cost_source(self) -> Any:
        return part(self.cost, "source").get("kind")

    @property
    def sdk(self) -> Any:
        return part(self.line, "sdk").get("version")

    @property
    def duration(self) -> float | None:
        """Milliseconds."""
        began, ended = moment(self.line.get("started")), moment(self.line.get("ended"))
        return None if began is None or ended is None else round((ended - began).total_seconds() * 1000, 3)

    def tokens(self, first: str, *others: str) -> int | None:
        """A class of tokens, and what is known of others; None where the first is unknown."""
        total = count(self.usage.get(first))
        if total is not None:
            for name in others:
                total += count(self.usage.get(name)) or 0
        return total

    def label(self, *names: str) -> str | None:
        """The first of these labels that is there."""
        for name in names:
            value = self.scope.get(name)
            if value is not None:
                return value if isinstance(value, str) else str(value)
        return None

    def parameter(self, *names: str) -> Any:
        """The first of these parameters that was sent."""
        for name in names:
            value = self.parameters.get(name)
            if value is not None:
                return value
        return None


def _exact(cost: Mapping[str, Any]) -> str | None:
    stated = cost.get("cost_usd")
    amount = dollars(stated)
    return None if amount is None else stated if isinstance(stated, str) else plain(amount)


def count(value: Any) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(stamp: Any) -> datetime | None:
    """A time as the archive writes it; None for anything else."""
    try:
        found = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


@lru_cache(maxsize=256)
def provider(vendor: str) -> str:
    """OpenTelemetry's name of a vendor, else custody's."""
    return _PROVIDERS.get(vendor_by_name(vendor) or "", vendor)


_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


@lru_cache(maxsize=1024)
def server(url: str) -> tuple[str | None, int | None]:
    """Host and port of a URL."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
