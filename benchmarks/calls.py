"""The calls that every subject makes, and how each is timed. Needs nothing but the SDK."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

NAMED = re.compile(rb"bench-call-\d{7}")
"""How a call's prompt begins: what is kept after a kill is found by it."""

MODEL = "gpt-4o"
LARGE = 140_000


@dataclass(frozen=True)
class Work:
    """One round's calls.

    Attributes:
        kind: "sync", "stream" or "async".
        count: how many.
        first: number of the first call: each call of a session asks something else.
        size: characters of the prompt, besides its name.
        in_flight: at a time, for "async".
        slow: ask the vendor that takes its time.
    """

    kind: str
    count: int
    first: int = 0
    size: int = 60
    in_flight: int = 1
    slow: bool = False
    model: str = MODEL


@dataclass
class Times:
    """Seconds: of each call where they come one after another, and of the round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    first_chunk: list[float] = field(default_factory=list)
    round_wall: float = 0.0
    round_cpu: float = 0.0


def messages(number: int, size: int) -> list[dict[str, str]]:
    filler = "Say in a sentence what this document is about, and why. "
    return [{"role": "user", "content": f"bench-call-{number:07d} " + (filler * (size // len(filler) + 1))[:size]}]


def run(work: Work, client: Any, aclient: Any, after: Any = None) -> Times:
    """Make the calls. ``after`` is called after each synchronous call, within its time."""
    times = Times()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    if work.kind == "async":
        asyncio.run(_concurrently(work, aclient))
    else:
        one = _streamed if work.kind == "stream" else _whole
        for number in range(work.first, work.first + work.count):
            asked = messages(number, work.size)
            wall, cpu = time.perf_counter(), time.process_time()
            first = one(client, work.model, asked)
            if after is not None:
                after()
            times.cpu.append(time.process_time() - cpu)
            times.wall.append(time.perf_counter() - wall)
            if first:
                times.first_chunk.append(first - wall)
    times.round_wall, times.round_cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    return times


def _whole(client: Any, model: str, asked: Any) -> float:
    answer = client.chat.completions.create(model=model, messages=asked)
    assert answer.choices[0].message.content
    return 0.0


def _streamed(client: Any, model: str, asked: Any) -> float:
    first = 0.0
    for _ in client.chat.completions.create(model=model, messages=asked, stream=True):
        first = first or time.perf_counter()
    return first


async def _concurrently(work: Work, make: Any) -> None:
    numbers = iter(range(work.first, work.first + work.count))

    async def worker(client: Any) -> None:
        for number in numbers:
            await client.chat.completions.create(model=work.model, messages=messages(number, work.size))

    async with make() as client:
        await asyncio.gather(*(worker(client) for _ in range(work.in_flight)))
