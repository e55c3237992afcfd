"""Numbers the calls that ask the same thing in the same scope, in the order in which they are issued.

The counters belong to one process and one start of the program: a resumed program counts again from 1
and so finds the answers it had. A failed call gives its number back; work that a resumed program skips
has its numbers taken by ``consume``.
"""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass, field

from custody.identity import Identity


@dataclass
class _Counter:
    highest: int = 0
    free: list[int] = field(default_factory=list)
    in_flight: int = 0


class Replicates:
    """Thread-safe."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], _Counter] = {}
        self._lock = threading.RLock()  # an abandoned stream is done whenever it is collected
        self._warned = False

    def issue(self, scope: str, key: str) -> tuple[Identity, bool]:
        """The next identity, and whether to warn: the same question is in flight twice in one scope,
        so which of the two gets which number may differ on resume. True once only."""
        with self._lock:
            counter = self._counters.setdefault((scope, key), _Counter())
            if counter.free:
                number = heapq.heappop(counter.free)
            else:
                counter.highest = number = counter.highest + 1
            counter.in_flight += 1
            warn = counter.in_flight > 1 and not self._warned
            self._warned = self._warned or warn
            return Identity(scope, key, number), warn

    def done(self, identity: Identity, *, consumed: bool) -> None:
        """The call is over; a failed one consumes no number."""
        with self._lock:
            counter = self._counters[identity.scope, identity.key]
            counter.in_flight -= 1
            if not consumed:
                heapq.heappush(counter.free, identity.replicate)

    def consume(self, identity: Identity) -> None:
        """Take a number out of use: its answer was used by work that is skipped now."""
        with self._lock:
            counter = self._counters.setdefault((identity.scope, identity.key), _Counter())
            for number in range(counter.highest + 1, identity.replicate):
                heapq.heappush(counter.free, number)
            if identity.replicate in counter.free:
                counter.free.remove(identity.replicate)
                heapq.heapify(counter.free)
            counter.highest = max(counter.highest, identity.replicate)

    def forked(self) -> Replicates:
        """A copy for a forked process, whose calls go on counting from here."""
        copy = Replicates()
        for name, counter in self._counters.items():
            copy._counters[name] = _Counter(counter.highest, list(counter.free))
        return copy
