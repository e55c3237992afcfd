"""Sums of costs: what they leave out, what replay and caches saved, by which dimension."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest

from custody.cost import price
from custody.errors import UsageError
from custody.report.cost import Sum, cache_savings, methods, shown, sums
from custody.report.cost_plot import bars
from custody.report.estimate import from_plan, from_session

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def line(number: int, usd: str | None = "0.01", reason: str | None = None, **more: Any) -> dict[str, Any]:
    status = more.pop("cost_status", "unknown" if usd is None else "priced")
    return {
        "id": f"w-{number}",
        "started": f"2026-11-{10 + number % 2}T07:15:07Z",
        "status": 200,
        "operation": "chat",
        "scope": {"stage": "analysis", "corpus_file": f"s{number % 2}.txt"},
        "model_forensics": {"actual_model": "gpt-4o", "requested_model": "gpt-4o", "vendor": "OpenAI"},
        "response_metadata": {"tokens_used": 10, "cost_usd": usd},
        "usage": {"input": 10},
        "evidence": {"tokens_used": "response_body:usage", "cost_usd": reason},
        "cost": {"cost_usd": usd, "status": status, "reason": reason, "items": [], "source": {}},
        **more,
    }


def whole(lines: list[dict[str, Any]], **replays: int) -> Sum:
    return sums(lines, {name.replace("_", "-"): n for name, n in replays.items()})[""]


def test_the_sentence_says_what_is_left_out() -> None:
    lines = [line(n, "0.0315") for n in range(39)] + [line(39, None, "usage_missing")]
    assert whole(lines).sentence == "at least $1.22 (1 of 40 calls unpriced: usage_missing)"
    assert whole(lines[:39]).sentence == "$1.23"
    bound = [line(1, cost_status="lower_bound", reason="free_allowance_unknown"), line(2)]
    assert whole(bound).sentence == "at least $0.02 (1 of 2 calls cost more than is known: free_allowance_unknown)"
    assert whole([line(1, None, "model_unresolved")]).sentence == "unknown (1 of 1 calls unpriced: model_unresolved)"
    assert whole([line(1, cost_status="estimated")]).sentence == "about $0.01 (1 of 1 calls estimated)"


def test_unknown_is_never_0() -> None:
    unknown = whole([line(1, None, "price_not_found")], w_1=2).as_dict()
    assert unknown["cost_usd"] is None and unknown["saved_by_replay_usd"] is None and not unknown["complete"]


def test_what_the_vendor_refused_is_not_unpriced() -> None:
    refused = line(1, None, "usage_missing", status=429, usage=None)
    assert whole([refused, line(2)]).sentence == "$0.01"
    assert whole([refused]).as_dict()["unbilled"] == 1


def test_replays_save_their_original_cost() -> None:
    found = whole([line(1, "0.25"), line(2, "0.5")], w_1=3, w_2=1)
    assert (found.replays, found.saved, found.usd) == (4, Decimal("1.25"), Decimal("0.75"))


def test_by_dimension_and_by_label() -> None:
    lines = [line(n) for n in range(5)]
    assert {k: v.calls for k, v in sums(lines, {}, "corpus_file").items()} == {"s0.txt": 3, "s1.txt": 2}
    assert {k: v.usd for k, v in sums(lines, {}, "day").items()} == {
        "2026-11-10": Decimal("0.03"),
        "2026-11-11": Decimal("0.02"),
    }
    for by in ("stage", "model", "vendor", "operation", "status", "run"):
        (only,) = sums(lines, {}, by).values()
        assert only.usd == Decimal("0.05")


def test_older_lines_without_a_cost_object() -> None:
    old = line(1, None)
    del old["cost"]
    old["evidence"]["cost_usd"] = "unknown:price_not_found"
    assert whole([old]).unpriced == {"price_not_found": 1}


def test_what_vendors_caches_saved() -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 4000,
             "cache_creation_input_tokens": 1000, "inference_geo": "us"}  # fmt: skip
    record = price(vendor="anthropic", api="messages", model="claude-opus-4-6", usage=usage, date="2026-11-05")
    # Reads: 4000 * (5 - 0.5) * 1.1; writes: 1000 * (5 - 6.25) * 1.1; by a million.
    assert cache_savings(record) == Decimal("0.0198") - Decimal("0.001375")


def test_a_sentence_for_the_methods_section() -> None:
    priced = {"cost": price(vendor="openai", api="chat", model="gpt-4o", usage=USAGE, date="2026-11-05")}
    text = methods([line(1, **priced), line(2, **priced)], {"w-1": 1})
    assert text.startswith("2 calls were made to gpt-4o between 2026-11-10 and 2026-11-11 (UTC). They cost $0.007 by")
    assert "genai-prices" in text and text.endswith("1 answers were replayed from the archive, which saved $0.0035.")


def test_the_plot_is_well_formed_whatever_the_names_are() -> None:
    lines = [
        line(n, scope={"doc": name}) for n, name in enumerate(("<script>alert(1)</script>", 'a"b&c', "\x1b[31m", ""))
    ]
    picture = bars(sums(lines, {}, "doc"), 'cost <of> & "all"')
    tree = ElementTree.fromstring(picture)
    assert not [e for e in tree.iter() if e.tag.endswith("script")]
    assert "\x1b" not in picture


@pytest.mark.parametrize(
    ("usd", "text"), [("1234.567", "$1,234.57"), ("1", "$1.00"), ("0.0123456", "$0.0123"), ("0", "$0"), ("0.1", "$0.1")]
)
def test_money_for_people(usd: str, text: str) -> None:
    assert shown(Decimal(usd)) == text


def test_an_estimate_from_calls_and_from_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.cost.library.fresh_until", lambda: date.max)
    lines = [line(n, f"0.0{n}") for n in range(1, 10)] + [line(10, None, "usage_missing")]
    found = from_session(lines, 100, 4)
    assert (found.low, found.expected, found.high) == (Decimal(1), Decimal(5), Decimal(9))
    assert found.unpriced == 1 and found.saved_by_replay == Decimal("0.2")
    assert json.dumps(found.as_dict())
    planned = from_plan("openai", "gpt-4o", 10, (1000, 1000, 1000), (0, 100, 1000))
    assert (planned.low, planned.expected, planned.high) == (Decimal("0.025"), Decimal("0.035"), Decimal("0.125"))
    with pytest.raises(UsageError, match="has no price: price_not_found"):
        from_plan("openai", "nothing", 1, (1, 1, 1), (1, 1, 1))
    with pytest.raises(UsageError, match="none of the session's calls"):
        from_session([line(1, None, "usage_missing")], None, 0)
