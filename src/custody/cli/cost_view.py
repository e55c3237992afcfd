"""What ``custody cost`` shows of its sums: a table and pairs for people, CSV and JSON for machines."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from custody.cli.table import Column
from custody.cost.money import plain
from custody.report.cost import Sum, named, shown
from custody.report.tally import SegmentTally, Tally


@dataclass(frozen=True)
class View:
    """``tally`` is the one of ``found`` that was asked for: by the recorded figures, or by those of a repricing."""

    found: SegmentTally
    tally: Tally

    @property
    def _other(self) -> Tally | None:
        """The other figures, which are always shown beside; None where there was no repricing."""
        return self.found.later if self.tally is self.found.tally else self.found.tally

    @property
    def _other_name(self) -> str:
        return "repriced" if self.tally is self.found.tally else "recorded"

    @property
    def _reused(self) -> bool:
        return self.tally.whole.reused is not None

    @property
    def columns(self) -> tuple[Column, ...]:
        whole = self.tally.whole
        return (
            Column(self.tally.by),
            Column("calls", right=True),
            Column("cost", right=True),
            *((Column(self._other_name, right=True),) if self._other else ()),
            Column("tokens", 2, right=True),
            *((Column("in doubt", 1, right=True),) if whole.in_doubt else ()),
            *((Column("reused", 1, right=True),) if self._reused else ()),
            Column("replayed", 3, right=True),
            Column("saved", 2, right=True),
            Column("unpriced", 1),
        )

    def rows(self) -> list[tuple[object, ...]]:
        """One for each group, in order of cost."""
        return [self._row(name, part) for name, part in self.tally.ordered.items()]

    def _row(self, name: str, part: Sum) -> tuple[object, ...]:
        return (
            name,
            part.calls,
            _amount(part),
            *((_amount(self._other.groups.get(name, Sum())),) if self._other else ()),
            part.tokens,
            *((part.in_doubt or "",) if self.tally.whole.in_doubt else ()),
            *((part.origins.total() or "",) if self._reused else ()),
            part.replays or "",
            _saved(part) if part.given_again else "",
            named(part.unpriced + part.beyond) if part.unpriced or part.beyond else "",
        )

    def pairs(self) -> list[tuple[str, object]]:
        """The sums in all, and what they rest on."""
        whole = self.tally.whole
        again = f"{whole.replays} answers given again"
        again += f", {whole.origins.total()} reused" if self._reused else ""
        return [
            *self._costs(),
            *((("reused", whole.reuse),) if self._reused else ()),
            ("saved by replay", f"{_saved(whole)} ({again})"),
            ("saved by vendors' caches", _signed(whole)),
            ("unbilled", f"{whole.unbilled} calls refused by their status, or without usage"),
            ("for the methods section", self.tally.methods),
        ]

    def _costs(self) -> list[tuple[str, object]]:
        recorded, later, repricing = self.found.tally.whole, self.found.later, self.found.repricing
        if later is None or repricing is None:
            return [("cost", recorded.sentence)]
        anew = repricing.sentence(later.whole, recorded)
        if self.tally is later:
            return [("cost, repriced", anew), ("cost, as recorded", recorded.sentence)]
        return [("cost", recorded.sentence), ("cost, repriced", anew)]

    def csv(self) -> str:
        """A row for each group, amounts exact."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = ("calls", "cost_usd", "complete", "priced", "unbilled", "tokens", "replays", "saved_by_replay_usd",
                 "saved_by_vendor_caches_usd")  # fmt: skip
        more = ("in_doubt", "reused", "reused_cost_usd", "recorded_cost_usd", "repriced_cost_usd")
        writer.writerow([self.tally.by, *names, "unpriced", *more])
        recorded, later = self.found.tally.groups, self.found.later
        for value, part in self.tally.ordered.items():
            fields = part.as_dict()
            label = f"'{value}" if value[:1] in "=+-@\t\r" else value  # no spreadsheet takes it for a formula
            writer.writerow([
                label, *(fields[name] for name in names), part.unpriced.total(), part.in_doubt,
                part.origins.total(), fields["reused_cost_usd"], _exact(recorded.get(value)),
                None if later is None else _exact(later.groups.get(value)),
            ])  # fmt: skip
        return out.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON: the figures that were asked for, and beside them those that were recorded, and repriced."""
        recorded, later, repricing = self.found.tally, self.found.later, self.found.repricing
        groups = []
        for value, part in self.tally.ordered.items():
            beside = {"recorded_cost_usd": _exact(recorded.groups.get(value))}
            beside["repriced_cost_usd"] = None if later is None else _exact(later.groups.get(value))
            groups.append({"value": value, **part.as_dict(), **beside})
        return {
            **self.tally.whole.as_dict(),
            "figures": "recorded" if self.tally is recorded else "repriced",
            "recorded": {"cost_usd": _exact(recorded.whole), "complete": recorded.whole.complete,
                         "cost": recorded.whole.sentence},
            "repriced_cost": None if repricing is None or later is None else repricing.told(later.whole),
            "by": self.tally.by,
            "groups": groups,
            "methods": self.tally.methods,
        }  # fmt: skip


def _exact(part: Sum | None) -> str | None:
    return None if part is None or part.known is None else plain(part.known)


def _amount(part: Sum) -> str:
    known: Decimal | None = part.known
    return "unknown" if known is None else f"{'>=' if part.least else ''}{shown(known, least=part.least)}"


def _saved(part: Sum) -> str:
    return "unknown" if part.known_saved is None else shown(part.known_saved)


def _signed(whole: Sum) -> str:
    return shown(whole.cache_saved) if whole.cache_saved >= 0 else f"-{shown(-whole.cache_saved)}"
