"""What a run may cost before it is made: low, expected and high, from calls that were made or from a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from custody.cost import CostRecord, UserRates, price
from custody.cost.money import ZERO, dollars, plain, times, total
from custody.errors import UsageError
from custody.report.cost import cost_of, origin_of

_ROUGH = Context(prec=28, rounding=ROUND_HALF_EVEN)
_STEP = Decimal("0.000001")


@dataclass(frozen=True)
class Estimate:
    """In US dollars. ``basis`` says what it rests on, ``unpriced`` how many of its calls had no price."""

    calls: int
    low: Decimal
    expected: Decimal
    high: Decimal
    basis: str
    unpriced: int = 0
    saved_by_replay: Decimal = ZERO

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "calls": self.calls,
            "low_usd": plain(self.low),
            "expected_usd": plain(self.expected),
            "high_usd": plain(self.high),
            "unpriced_calls": self.unpriced,
            "saved_by_replay_usd": plain(self.saved_by_replay),
            "basis": self.basis,
        }


def from_session(lines: Sequence[Mapping[str, Any]], calls: int | None, answered: int) -> Estimate:
    """From what the calls of a session cost: the cheap tenth, the mean, the dear tenth. Raises UsageError.

    ``calls``: of the run to come; as many as there were where None. ``answered``: those of the session that
    replay would give again, were the run to continue it. Answers that it reused were paid for by another session, and
    are left out.
    """
    reused = len(lines)
    lines = [line for line in lines if origin_of(line) is None]
    reused -= len(lines)
    if reused and not lines:
        raise UsageError(
            f"all {reused} answers of this session were reused: estimate from the session that paid for them"
        )
    costs = sorted(usd for line in lines if (usd := dollars(cost_of(line).get("cost_usd"))) is not None)
    if not costs:
        raise UsageError(
            "none of the session's calls has a price: custody cost says why, custody cost reprice looks again"
        )
    number = Decimal(calls if calls is not None else len(costs))
    whole = total(costs)
    mean = _ROUGH.divide(whole, Decimal(len(costs)))
    again = min(Decimal(answered), number)
    return Estimate(
        int(number),
        _rough(costs[len(costs) // 10] * number),
        _rough(_ROUGH.multiply(mean, number)),
        _rough(costs[-1 - len(costs) // 10] * number),
        f"{len(costs)} calls that were made" + (f", without {reused} reused answers" if reused else ""),
        len(lines) - len(costs),
        _rough(_ROUGH.multiply(mean, again)),
    )


def from_plan(
    vendor: str,
    model: str,
    calls: int,
    inputs: tuple[int, int, int],
    outputs: tuple[int, int, int],
    *,
    batch: bool = False,
    region: str | None = None,
    rates: UserRates | None = None,
) -> Estimate:
    """From counts of tokens for each call: low, expected, high. Raises UsageError where there is no price."""
    amounts = []
    for given, made in zip(inputs, outputs, strict=True):
        record = price_of_tokens(vendor, model, given, made, batch=batch, region=region, rates=rates)
        usd = dollars(record["cost_usd"])
        if usd is None:
            raise UsageError(f"{model} at {vendor} has no price: {record['reason']} ({record['detail'] or '-'})")
        amounts.append(times(usd, Decimal(calls)))
    low, expected, high = amounts
    return Estimate(calls, low, expected, high, f"{model} at today's prices")


def price_of_tokens(
    vendor: str,
    model: str,
    given: int,
    made: int,
    *,
    batch: bool = False,
    region: str | None = None,
    rates: UserRates | None = None,
) -> CostRecord:
    """The price of so many plain tokens, without caches."""
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    return price(vendor=vendor, api="chat", model=model, usage=usage, batch=batch, region=region, rates=rates)


def _rough(amount: Decimal) -> Decimal:
    return amount.quantize(_STEP)
