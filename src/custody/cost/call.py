"""A call as it is priced, and the terms that were found for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from custody.cost.names import When
from custody.cost.overlay import Entry
from custody.cost.record import Factor


class Call(NamedTuple):
    """What is known of a call; names are resolved, the rest is as the vendor or the caller wrote it.

    Attributes:
        model: in lower case; as the response names it, where the vendor's rules say so.
        tier: the tier as the caller states it.
        response: the body of the response as an object; empty where it is not known.
        deployment: Azure's type of deployment, as the caller states it.
    """

    vendor: str
    operation: str
    model: str
    usage: dict[str, Any]
    when: When
    tier: Any
    region: str | None
    batch: bool
    headers: dict[str, str]
    response: dict[str, Any]
    deployment: Any = None


@dataclass
class Terms:
    """By which terms a call is priced.

    Attributes:
        model: the name under which the price library knows it.
        tier: ``standard``, ``batch``, ``flex``, ``priority`` or ``fast``.
        region: as resolved; None where it plays no part.
        factors: for every token class.
        extra: units besides the usage, by class.
        free: the entry by which nothing is billed.
        beyond: something is billed that cannot be known: its reason.
    """

    model: str
    tier: str = "standard"
    region: str | None = None
    factors: list[Factor] = field(default_factory=list)
    extra: dict[str, int] = field(default_factory=dict)
    free: Entry | None = None
    beyond: str | None = None
    estimated: bool = False

    def multiply(self, name: str, entry: Entry) -> None:
        """By an entry of the overlay; a factor of 1 is no factor."""
        if entry["factor"] != "1":
            self.factors.append(Factor(name, Decimal(entry["factor"]), entry["id"]))
