"""Who answered: of every call what is known, each value with its evidence, and what is flagged.

Rows are made one at a time from call lines, so that a session of 10^5 calls needs no more memory than
its index. Nothing of a line's form is taken for granted: a damaged one gives unknowns, never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from custody.record import FORENSIC_FIELDS, REASONS, RESPONSE_FIELDS
from custody.report.cost import origin_of
from custody.report.flags import Judgement, attempts_of, judge, part, text

USAGE = ("input", "output", "cache_read", "cache_write", "reasoning")
"""The disjoint classes of tokens, in the order of ``record.Usage``."""

TIMES = ("first_byte_ms", "response_time_ms")
"""Milliseconds from sending to the first byte, and to the end, of the last attempt."""

_OURS = ("tokens_used", "cost_usd", *TIMES)  # of response_metadata, what is not the vendor's word
_MEASURED = "measured:since the request was sent"


class Value(NamedTuple):
    """A value and where it comes from; without a value, ``evidence`` is ``unknown:`` and one of the reasons."""

    value: Any
    evidence: str | None

    @property
    def reason(self) -> str | None:
        """Why it is unknown; None where it is not."""
        return None if self.value is not None else (self.evidence or "").removeprefix("unknown:")

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "evidence": self.evidence}


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one call. ``line`` is its call line."""

    line: Mapping[str, Any]
    values: dict[str, Value]
    usage: dict[str, Value]
    judgement: Judgement

    @property
    def id(self) -> str:
        return text(self.line.get("id"))

    def value(self, name: str) -> Any:
        """The value of a field of ``values`` or ``usage``; None where it is unknown."""
        found = self.values.get(name) or self.usage.get(name)
        return found.value if found else None

    @property
    def parameters(self) -> Mapping[str, Any]:
        return part(self.line, "parameters")

    @property
    def attempts(self) -> list[Mapping[str, Any]]:
        return attempts_of(self.line)

    @property
    def origin(self) -> str | None:
        """The session that asked for a reused answer, and paid for it; None of a call that was made here."""
        return origin_of(self.line)

    @property
    def unknown(self) -> Counter[str]:
        """How many values are unknown, by reason."""
        return Counter(v.reason for v in (*self.values.values(), *self.usage.values()) if v.reason is not None)

    def as_dict(self) -> dict[str, Any]:
        line = self.line
        return {
            **{name: line.get(name) for name in ("id", "started", "ended", "operation", "scope", "replicate")},
            **{name: line.get(name) for name in ("outcome", "ending", "status", "error", "streamed")},
            "source": line.get("source", "wire"),
            "reused_from": line.get("reused_from"),
            "flags": self.judgement.flags,
            "unjudged": self.judgement.unjudged,
            "values": {name: value.as_dict() for name, value in self.values.items()},
            "usage": {name: value.as_dict() for name, value in self.usage.items()},
            "usage_raw": part(line, "usage").get("raw"),
            "parameters": {name: {"value": v, "evidence": "request"} for name, v in self.parameters.items()},
            "attempts": self.attempts,
            "unknown": dict(sorted(self.unknown.items())),
        }


def rows(lines: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """A row for each call line. ``lines`` in the order of the calls' beginning: flags look back."""
    lines = list(lines)
    for line, judgement in zip(lines, judge(lines), strict=True):
        yield Row(line, _values(line), _usage(line), judgement)


def in_order(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Call lines in the order of their beginning."""
    return sorted(lines, key=lambda line: (text(line.get("started")), text(line.get("id"))))


def _values(line: Mapping[str, Any]) -> dict[str, Value]:
    evidence, sdk = part(line, "evidence"), part(line, "sdk")
    forensics, metadata = part(line, "model_forensics"), part(line, "response_metadata")
    vendors = [*RESPONSE_FIELDS, *(n for n in metadata if n not in RESPONSE_FIELDS and n not in _OURS)]
    return {
        **{name: _stated(forensics.get(name), evidence.get(name)) for name in FORENSIC_FIELDS},
        **{name: _stated(metadata.get(name), evidence.get(name)) for name in vendors},
        **{name: _known(metadata.get(name), _MEASURED, "no_response") for name in TIMES},
        "sdk": _known(sdk.get("version"), "installed:distribution metadata", "not_applicable"),
        "transport": _known(line.get("transport"), "installed:module version", "not_applicable"),
    }


def _usage(line: Mapping[str, Any]) -> dict[str, Value]:
    usage, evidence = line.get("usage"), text(part(line, "evidence").get("tokens_used"))
    if not isinstance(usage, dict):
        return {name: _stated(None, evidence) for name in USAGE}
    return {name: _known(usage.get(name), evidence or None, "not_stated") for name in USAGE}


def _stated(value: Any, evidence: Any) -> Value:
    """A field as the line has it; one that the plugin does not read is unknown because of that."""
    if isinstance(value, (str, int, float)):
        return Value(value, evidence if isinstance(evidence, str) else None)
    if evidence is None:
        return Value(None, "unknown:no_reader")
    reason = text(evidence).removeprefix("unknown:")
    return Value(None, f"unknown:{reason if reason in REASONS else 'unreadable'}")


def _known(value: Any, evidence: str | None, otherwise: str) -> Value:
    known = isinstance(value, (str, int, float))
    return Value(value, evidence) if known else Value(None, f"unknown:{otherwise}")


@dataclass
class Group:
    """Calls that asked one vendor for one model and were answered by one.

    Attributes:
        key: requested_model, actual_model, vendor; None where it is unknown.
        reused: how many of the calls are answers of another session, by that session. They were answered by the same
            model, and have no part in the attempts and in the usage, which are what was sent and used here.
        constant: by field, the values that its calls have, in order of appearance.
        usage: sums by class, over the calls that state it.
        unstated: by class, how many calls do not.
    """

    key: tuple[Any, Any, Any]
    calls: int = 0
    attempts: int = 0
    reused: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    constant: dict[str, dict[Any, None]] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    unstated: Counter[str] = field(default_factory=Counter)

    SHOWN = (
        "api_version",
        "model_build_date",
        "deployment_region",
        "organization",
        "system_fingerprint",
        "service_tier_requested",
        "service_tier",
        "sdk",
        "transport",
    )
    _MOST = 100

    def add(self, row: Row) -> None:
        self.calls += 1
        self.outcomes[text(row.line.get("outcome")) or "unreadable"] += 1
        self.flags.update(row.judgement.flags.keys())
        self.unknown.update(row.unknown)
        for name in self.SHOWN:
            seen = self.constant.setdefault(name, {})
            if (value := row.value(name)) is not None and len(seen) < self._MOST:
                seen[value] = None
        if row.origin is not None:
            self.reused[row.origin] += 1
            return
        self.attempts += len(row.attempts)
        for name in USAGE:
            count = row.value(name)
            if isinstance(count, int) and not isinstance(count, bool):
                self.usage[name] = self.usage.get(name, 0) + count
            else:
                self.unstated[name] += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            **dict(zip(("requested_model", "actual_model", "vendor"), self.key, strict=True)),
            "calls": self.calls,
            "attempts": self.attempts,
            "reused": dict(sorted(self.reused.items())),
            "outcomes": dict(sorted(self.outcomes.items())),
            "flags": dict(sorted(self.flags.items())),
            "values": {name: list(seen) for name, seen in self.constant.items()},
            "usage": {name: self.usage.get(name) for name in USAGE},
            "calls_without_usage": {name: self.unstated[name] for name in USAGE},
            "unknown": dict(sorted(self.unknown.items())),
        }


def groups(found: Iterable[Row]) -> list[Group]:
    """The rows by model and vendor, the largest group first."""
    by_key: dict[tuple[Any, Any, Any], Group] = {}
    for row in found:
        key = (row.value("requested_model"), row.value("actual_model"), row.value("vendor"))
        by_key.setdefault(key, Group(key)).add(row)
    return sorted(by_key.values(), key=lambda group: (-group.calls, str(group.key)))


def flagged(lines: Iterable[Mapping[str, Any]]) -> int:
    """How many calls have a flag; ``lines`` are in order of their start."""
    return sum(1 for judgement in judge(lines) if judgement.flags)
