"""(c) How fast archived answers are replayed, beside the bare SDK against the local vendor."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks import rounds
from benchmarks.processes import Bench
from benchmarks.rounds import Spread


@dataclass
class Replay:
    """Calls per second, and ``ratio``: the replay's rate over the bare SDK's, by kind of call. ``most``: the rate
    of the SDK with a transport that answers at once from memory, over the bare SDK's."""

    bare: dict[str, Spread] = field(default_factory=dict)
    most: dict[str, Spread] = field(default_factory=dict)
    replayed: dict[str, Spread] = field(default_factory=dict)
    ratio: dict[str, Spread] = field(default_factory=dict)


KINDS = (("sync", 60, {}), ("stream", 30, {}), ("async", 128, {"in_flight": 16}))


def measure(bench: Bench, repeat: int, scale: float) -> Replay:
    """Record, close, open the session again, and ask the same in turns with the bare SDK."""
    found = Replay()
    bare, memory, recording = bench.subject("bare"), bench.subject("in memory"), bench.subject("custody")
    for kind, count, more in KINDS:
        count = max(16, int(count * scale))
        first = rounds.first_number(count * (repeat + 1))
        recording.do("calls", kind=kind, count=count * (repeat + 1), first=first, **more)
        recording.do("reopen")
        rates: dict[str, list[float]] = {"bare": [], "in memory": [], "custody": []}
        for number in range(repeat + 1):
            subjects = [bare, memory, recording]
            for subject in (*subjects[number % 3 :], *subjects[: number % 3]):
                told = subject.do("calls", kind=kind, count=count, first=first + number * count, **more)
                if number:
                    rates[subject.name].append(count / told["round_wall"])
        found.bare[kind], found.replayed[kind] = rounds.spread(rates["bare"]), rounds.spread(rates["custody"])
        for name, into in (("custody", found.ratio), ("in memory", found.most)):
            into[kind] = rounds.spread([r / b for r, b in zip(rates[name], rates["bare"], strict=True)])
    for subject in (bare, memory, recording):
        subject.stop()
    return found
