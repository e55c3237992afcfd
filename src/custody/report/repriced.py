"""Later figures of a session's calls, as ``custody cost reprice`` appended them: the last one of each call counts.

They stand beside the recorded ones and replace none: a sum is made of the one or of the other, and says of which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from custody import layout
from custody.cost.money import plain
from custody.exchange import parse_json
from custody.report.cost import Line, Sum
from custody.storage import Storage


@dataclass(frozen=True)
class Repricing:
    """The last run of it.

    Attributes:
        run: its number, from 1.
        time: when it was.
        costs: by call, the last figure with all that it rests on.
    """

    run: int
    time: str
    costs: Mapping[str, Mapping[str, Any]]

    def line(self, line: Line) -> Line:
        """A call line with the later figure in the place of its own; as it is, where there is none."""
        return replaced(line, self.costs.get(str(line.get("id"))))

    def by_writer(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """The figures by the writer of their calls, which is all that a segment needs."""
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        for call, cost in self.costs.items():
            found.setdefault(call.rpartition("-")[0], {})[call] = cost
        return found

    def told(self, later: Sum) -> dict[str, Any]:
        """Of a sum of such lines, as plain JSON."""
        return {
            "run": self.run,
            "time": self.time,
            "calls": later.repriced,
            "cost_usd": None if later.known is None else plain(later.known),
            "complete": later.complete,
            "cost": later.sentence,
        }

    def sentence(self, later: Sum, recorded: Sum) -> str:
        """ "$1.20; 8 of 8 calls priced anew on 2026-11-30 (run 2); 4 calls more have a price than on record"."""
        found = recorded.unpriced.total() - later.unpriced.total()
        news = f"; {abs(found)} calls {'more' if found > 0 else 'fewer'} have a price than on record" if found else ""
        how = f"{later.repriced} of {later.calls} calls priced anew on {self.day} (run {self.run})"
        return f"{later.sentence}; {how}{news}"

    @property
    def day(self) -> str:
        return self.time[:10]


def replaced(line: Line, cost: Mapping[str, Any] | None) -> Line:
    """A call line with a later figure, where there is one."""
    return line if cost is None else {**line, "cost": cost, "repriced": True}


def read(storage: Storage) -> Repricing | None:
    """What was appended so far; None where nothing was. A torn line, as a crash leaves it, is passed over."""
    try:
        data = storage.read(layout.REPRICED)
    except FileNotFoundError:
        return None
    run, time, costs = 0, "", {}
    for line in data.splitlines():
        fields = parse_json(line)
        if not isinstance(fields, dict):
            continue
        call, cost = fields.get("call"), fields.get("cost")
        if isinstance(call, str) and isinstance(cost, dict) and isinstance(fields.get("run"), int):
            costs[call] = cost
            run, time = fields["run"], str(fields.get("time"))
    return Repricing(run, time, costs) if costs else None
