"""Flags: what somebody who relies on a call should look at. Computed from call lines alone.

The names are closed; docs/forensics.md says what each means. Where a rule cannot be applied (an Azure
deployment's name is its owner's choice), that is said too, and nothing is flagged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.report.model_names import parse, same_family, same_snapshot

FLAGS = (
    "alias_model",
    "model_differs",
    "vendor_differs",
    "model_changed",
    "fingerprint_changed",
    "empty",
    "truncated",
    "refused",
    "filtered",
    "error_in_200",
    "retried",
    "fallback",
    "unseen_on_wire",
    "mock",
    "cache",
    "salvaged",
    "incomplete",
)

_OF_OUTCOME = ("empty", "truncated", "refused", "filtered")
_OF_SOURCE = {"unseen": "unseen_on_wire", "mock": "mock", "cache": "cache", "legacy": "salvaged"}
_OF_ENDING = {
    "closed_early": "the program stopped reading",
    "broken": "the answer broke off",
    "cancelled": "the program cancelled it",
    "no_response": "no response came",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A call's flags, and the flags that could not be judged, each with the reason; in the order of ``FLAGS``."""

    flags: dict[str, str] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)


def judge(lines: Iterable[Mapping[str, Any]]) -> Iterator[Judgement]:
    """One judgement for each call line, in the order given: that of the calls' beginning.

    What changed during the session is measured against the first answer of the same requested model and vendor.
    """
    models: dict[tuple[str, str], str] = {}
    fingerprints: dict[tuple[str, str, str], str] = {}
    for line in lines:
        found = Judgement()
        names = _Names(line)
        _names(names, found)
        if names.requested and names.actual:
            first = models.setdefault((names.vendor, names.requested), names.actual)
            if first != names.actual:
                found.flags["model_changed"] = f"{names.requested} was {first} at first, here {names.actual}"
            fingerprint = text(part(line, "response_metadata").get("system_fingerprint"))
            if fingerprint:
                before = fingerprints.setdefault((names.vendor, names.requested, names.actual), fingerprint)
                if before != fingerprint:
                    found.flags["fingerprint_changed"] = f"{before} at first, here {fingerprint}"
        _outcome(line, found)
        _attempts(line, found)
        yield Judgement(
            {name: found.flags[name] for name in FLAGS if name in found.flags},
            {name: found.unjudged[name] for name in FLAGS if name in found.unjudged},
        )


class _Names:
    def __init__(self, line: Mapping[str, Any]) -> None:
        forensics, evidence = part(line, "model_forensics"), part(line, "evidence")
        self.requested = text(forensics.get("requested_model"))
        self.actual = text(forensics.get("actual_model"))
        self.vendor = text(forensics.get("vendor"))
        self.answered = line.get("answers") is True or line.get("success") is True
        self.deployment = self.vendor.startswith("Azure") or text(evidence.get("requested_model")).startswith(
            "url:path deployments"
        )


def _names(names: _Names, found: Judgement) -> None:
    if not names.requested or not (names.actual or names.answered):
        return
    asked, got = parse(names.requested), parse(names.actual)
    same = names.requested == names.actual or (bool(asked.tokens) and same_family(asked, got))
    cannot = _cannot_judge(names, same)
    if not asked.snapshot:
        if got.snapshot and cannot:
            found.unjudged["alias_model"] = cannot
        elif got.snapshot and names.deployment:
            found.unjudged["alias_model"] = "a deployment's name does not say whether its version is fixed"
        else:
            found.flags["alias_model"] = (
                f"{names.requested} was resolved to {names.actual}"
                if got.snapshot
                else f"neither {names.requested} nor {names.actual} names a snapshot"
                if names.actual
                else f"{names.requested} names no snapshot, and the answer no model"
            )
    if not names.actual:
        found.unjudged["model_differs"] = "the answer names no model"
    elif cannot:
        found.unjudged["model_differs"] = found.unjudged["vendor_differs"] = cannot
    elif not same:
        found.flags["model_differs"] = f"asked for {names.requested}, answered by {names.actual}"
        if asked.maker and got.maker and asked.maker != got.maker:
            found.flags["vendor_differs"] = f"asked for a model of {asked.maker}, answered by one of {got.maker}"
    elif asked.snapshot and not got.snapshot and names.requested != names.actual:
        found.unjudged["model_differs"] = "the answer names no snapshot"
    elif asked.snapshot and got.snapshot and not same_snapshot(asked.snapshot, got.snapshot):
        found.flags["model_differs"] = f"asked for the snapshot {names.requested}, answered by {names.actual}"


def _cannot_judge(names: _Names, same: bool) -> str:
    """Why two names that differ say nothing; empty where they do, or are the same."""
    if same or not names.actual:
        return ""
    asked, got = parse(names.requested), parse(names.actual)
    if names.deployment:
        return "a deployment's name is chosen by its owner"
    if not asked.tokens or not got.tokens:
        return f"{names.actual if asked.tokens else names.requested} names a resource, not a model"
    if got.maker and not asked.maker:
        return f"{names.requested} is no known model's name: it may be an alias of a gateway"
    return ""


def _outcome(line: Mapping[str, Any], found: Judgement) -> None:
    outcome, ending, status = text(line.get("outcome")), text(line.get("ending")), line.get("status")
    finish = text(part(line, "response_metadata").get("finish_reason"))
    if outcome in _OF_OUTCOME:
        found.flags[outcome] = f"finish reason {finish}" if finish else "by its content"
    if outcome == "error" and isinstance(status, int) and 200 <= status < 300:
        found.flags["error_in_200"] = f"status {status}, and an error inside"
    if ending in _OF_ENDING:
        found.flags["incomplete"] = _OF_ENDING[ending]
    elif outcome == "incomplete":
        found.flags["incomplete"] = "the vendor says that it is not whole"
    source = text(line.get("source"))
    if source in _OF_SOURCE:
        found.flags[_OF_SOURCE[source]] = {
            "unseen": "archived as the SDK returned it, not as it came over the wire",
            "mock": "made up by the SDK, no vendor was asked",
            "cache": "from the SDK's own cache, no vendor was asked",
            "legacy": f"{text(line.get('origin'))}, from files of an older layout; custody saw nothing of it",
        }[source]


def _attempts(line: Mapping[str, Any], found: Judgement) -> None:
    attempts = attempts_of(line)
    if len(attempts) > 1:
        found.flags["retried"] = " ".join(str(a.get("status") or a.get("error") or "?") for a in attempts)
    if len(attempts) < 2:
        return
    vendors = [text(a.get("vendor")) for a in attempts]
    if len({v for v in vendors if v}) > 1:
        found.flags["fallback"] = "went to " + ", then ".join(_runs(vendors))
        if vendors[0] and vendors[-1] and vendors[0] != vendors[-1]:
            found.flags["vendor_differs"] = f"{vendors[0]} was asked first, {vendors[-1]} answered"
        return
    for name in ("model", "host"):
        asked = [text(a.get(name)) for a in attempts]
        if len({v for v in asked if v}) > 1:
            found.flags["fallback"] = f"{name}: " + ", then ".join(_runs(asked))
            return
    if len({text(a.get("request_key")) for a in attempts if a.get("request_key")}) > 1:
        found.flags["fallback"] = "the attempts asked different things: another model, host or deployment"


def _runs(values: list[str]) -> list[str]:
    return [v for n, v in enumerate(values) if v and (n == 0 or values[n - 1] != v)]


def part(line: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of a call line; an empty one where a damaged line has something else there."""
    value = line.get(name)
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A text of a call line; empty where there is none."""
    return value if isinstance(value, str) else ""


def attempts_of(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The attempts of a call line that can be read."""
    found = line.get("attempts")
    return [a for a in found if isinstance(a, dict)] if isinstance(found, list) else []
