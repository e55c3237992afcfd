"""Numbers of replicates, against a model that is too simple to be wrong."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from custody.identity import Identity
from custody.identity.replicates import Replicates

KEYS = st.tuples(st.sampled_from(["{}", '{"run":1}']), st.sampled_from(["k", "l"]))


class Numbers(RuleBasedStateMachine):
    """The model: for each scope and key the sets of numbers in flight and used up; the next is the lowest other."""

    def __init__(self) -> None:
        super().__init__()
        self.replicates = Replicates()
        self.flying: dict[tuple[str, str], set[int]] = {}
        self.used: dict[tuple[str, str], set[int]] = {}
        self.warned = False

    issued = Bundle("issued")

    @rule(target=issued, where=KEYS)
    def issue(self, where: tuple[str, str]) -> Identity:
        flying, used = self.flying.setdefault(where, set()), self.used.setdefault(where, set())
        identity, warn = self.replicates.issue(*where)
        assert identity[:2] == where
        assert identity.replicate == min(set(range(1, 99)) - flying - used)
        assert warn == (bool(flying) and not self.warned)
        self.warned = self.warned or warn
        flying.add(identity.replicate)
        return identity

    @rule(identity=consumes(issued), consumed=st.booleans())
    def done(self, identity: Identity, consumed: bool) -> None:
        where = (identity.scope, identity.key)
        self.replicates.done(identity, consumed=consumed)
        self.flying[where].discard(identity.replicate)
        if consumed:
            self.used[where].add(identity.replicate)

    @rule(where=KEYS, number=st.integers(1, 9))
    def consume(self, where: tuple[str, str], number: int) -> None:
        if number not in self.flying.get(where, set()):
            self.replicates.consume(Identity(*where, number))
            self.used.setdefault(where, set()).add(number)

    @rule()
    def fork(self) -> None:
        if not any(self.flying.values()):
            self.replicates = self.replicates.forked()
            self.warned = False

    @invariant()
    def no_number_is_in_use_twice(self) -> None:
        for where, flying in self.flying.items():
            assert not flying & self.used[where]


TestNumbers = Numbers.TestCase


def test_threads_get_different_numbers() -> None:
    replicates = Replicates()
    warnings = []

    def work(_: int) -> list[int]:
        kept = []
        for n in range(60):
            identity, warn = replicates.issue("{}", "k")
            warnings.append(warn)
            replicates.done(identity, consumed=n % 3 != 0)
            if n % 3:
                kept.append(identity.replicate)
        return kept

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for kept in pool.map(work, range(8)) for number in kept]
    assert max(Counter(numbers).values()) == 1
    assert len(numbers) == 320
    assert max(numbers) <= 328, "freed numbers are used again"
    assert warnings.count(True) <= 1


def test_one_warning() -> None:
    replicates = Replicates()
    assert [replicates.issue("{}", "k")[1] for _ in range(6)] == [False, True, False, False, False, False]
    assert replicates.issue("{}", "other")[1] is False
