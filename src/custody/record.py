"""What a call records: forensics with evidence, usage, price, outcome. Field names are the layout's (v3).

Nothing here is guessed. A value carries its ``evidence``, written ``<where>:<field>``, for example
``response_body:model`` or ``response_header:openai-version``; an unknown is None with a reason from
``REASONS``, written ``unknown:<reason>``. Unknown is never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

PLACES = (
    "request_body",
    "request_header",
    "response_body",
    "response_header",
    "url",
    "derived",
    "legacy_record",
)
"""Where evidence can lie. ``derived`` names the field and the rule it was derived by; ``legacy_record`` is what
an older program wrote down (``custody migrate``)."""

REASONS = (
    "not_stated",  # the vendor does not say it in this kind of response
    "alias_undated",  # the model's name carries no date
    "no_response",  # nothing came back
    "response_incomplete",  # the part that would say it did not arrive
    "unreadable",  # the body is not in the documented form
    "not_applicable",  # this operation has no such thing
    "host_unknown",  # no vendor is known by this host
    "no_reader",  # no plugin read this exchange
    "not_recorded",  # the older program that made this call did not write it down
)

LONGEST = 256
"""Characters of a value; what is beyond is cut off."""

PRICE_REASONS = (
    "usage_missing",
    "usage_inconsistent",
    "model_unresolved",
    "price_not_found",
    "date_out_of_range",
    "tier_unpriced",
    "region_unpriced",
    "unit_unpriced",
    "provisioned_throughput",
    "reserved_capacity",
    "committed_capacity",
    "free_allowance_unknown",
    "deployment_type_unknown",
)

PRICE_STATUSES = (
    "priced",  # exact, from a table
    "vendor_reported",  # the vendor's own figure
    "lower_bound",  # something is billed besides that cannot be known; the reason says what
    "estimated",  # by a rate that may not be the one that was charged
    "free",
    "replayed",  # nothing was sent
    "unknown",
)

Outcome = Literal[
    "success",
    "empty",  # complete, with neither text nor a tool call in it
    "truncated",  # complete, and cut at the token limit
    "refused",
    "filtered",
    "error",  # a status of 400 and above, or an error inside a 200
    "incomplete",  # broke off
    "closed_early",  # the program stopped reading
    "cancelled",
    "no_response",
]
OUTCOMES: tuple[str, ...] = get_args(Outcome)

FORENSIC_FIELDS = (
    "requested_model",
    "actual_model",
    "vendor",
    "api_version",
    "model_build_date",
    "deployment_region",
)
"""The six of ``model_forensics``; their order and names are fixed."""

RESPONSE_FIELDS = (
    "finish_reason",
    "provider_request_id",
    "response_id",
    "organization",
    "project",
    "system_fingerprint",
    "service_tier_requested",
    "service_tier",
    "vendor_processing_ms",
)


class Finding(NamedTuple):
    """One value and where it was found."""

    value: str | int | float | None
    evidence: str


def found(value: str | int | float, place: str, where: str) -> Finding:
    """A value read at ``where`` in ``place`` (one of ``PLACES``)."""
    if place not in PLACES:
        raise ValueError(f"evidence lies in one of {', '.join(PLACES)}, not in {place!r}")
    if isinstance(value, str):
        value = value[:LONGEST]
    return Finding(value, f"{place}:{where}")


@cache
def unknown(reason: str) -> Finding:
    """No value, and why (one of ``REASONS``)."""
    if reason not in REASONS:
        raise ValueError(f"an unknown has one of the reasons {', '.join(REASONS)}, not {reason!r}")
    return Finding(None, f"unknown:{reason}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in disjoint classes: they add up to what the vendor counted. None is unknown, not 0.

    Attributes:
        input: input tokens that were neither read from nor written to a cache.
        output: output tokens without reasoning tokens.
        raw: the vendor's own usage object, numbers and names only.
        evidence: where ``raw`` was found.
    """

    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    evidence: str = "response_body:usage"

    @property
    def total(self) -> int | None:
        """All classes together; None where neither input nor output is known."""
        if self.input is None and self.output is None:
            return None
        return (
            (self.input or 0) + (self.output or 0) + (self.cache_read or 0) + (self.cache_write or 0)
            + (self.reasoning or 0)
        )  # fmt: skip


@dataclass
class Forensics:
    """What a vendor plugin reads from an exchange.

    Attributes:
        findings: by field name (``FORENSIC_FIELDS``, ``RESPONSE_FIELDS``).
        parameters: as sent on the wire; numbers, booleans and short names only, never text.
        usage: None where the vendor does not say; then ``usage_reason`` is one of ``REASONS``.
        outcome: what the content says of itself; None leaves it to the status and the ending.
    """

    findings: dict[str, Finding] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    usage_reason: str = "not_stated"
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a call cost.

    Attributes:
        usd: US dollars, unrounded; None where it cannot be known.
        reason: one of ``PRICE_REASONS`` where ``usd`` is None, or a lower bound.
        evidence: which table, of which date, by which rates.
        status: one of ``PRICE_STATUSES``; without it ``priced`` or ``unknown``.
        details: what else the call line says under ``cost``, as plain JSON without text of anybody's:
            ``resolved``, ``items``, ``source`` (docs/format.md).
    """

    usd: Decimal | None
    reason: str | None = None
    evidence: str | None = None
    status: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        usd, reason, status = self.usd, self.reason, self.status
        if not status:
            status = "unknown" if usd is None else "priced"
            object.__setattr__(self, "status", status)
        if status == "priced" and usd is not None and reason is None:
            return
        if status not in PRICE_STATUSES:
            raise ValueError(f"the status of a price is one of {', '.join(PRICE_STATUSES)}, not {status!r}")
        if (usd is None) != (status == "unknown"):
            raise ValueError("a price has an amount, or it is unknown")
        if (reason is None) != (status not in ("unknown", "lower_bound")):
            raise ValueError("a price that is unknown or a lower bound has a reason, and no other has")
        if reason is not None and reason not in PRICE_REASONS:
            raise ValueError(f"the reason for no price is one of {', '.join(PRICE_REASONS)}, not {reason!r}")

    @property
    def line(self) -> dict[str, Any]:
        """As it stands on the call line."""
        usd = f"{self.usd:f}" if self.usd is not None else None
        return {"cost_usd": usd, "status": self.status, "reason": self.reason, **self.details}


_INT, _STR = frozenset((int,)), frozenset((str,))


def plain_numbers(value: Any, depth: int = 8) -> Any:
    """``value`` without its texts, down to ``depth``: what may stand on a call line of a vendor's usage object."""
    if isinstance(value, dict) and depth:
        if _INT.issuperset(map(type, value.values())):
            kept = dict(value)
        else:
            kept = {k: v if type(v) is int else plain_numbers(v, depth - 1) for k, v in value.items()}
        if not (_STR.issuperset(map(type, kept)) and len(max(kept, key=len, default="")) <= 64):
            kept = {str(k)[:64]: v for k, v in kept.items()}
        return {k: v for k, v in kept.items() if v is not None} if None in kept.values() else kept
    if isinstance(value, list) and depth:
        return [plain_numbers(v, depth - 1) for v in value[:64]]
    if isinstance(value, str):
        word = len(value) <= 32 and value.isascii() and value.isprintable() and " " not in value
        return value if word else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (bool, int)) else None
