"""Every answer in ``../shared/wire``: priced or null with a reason; nothing raises; the classes add up."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from custody.cost import price
from custody.cost.exchanges import price_exchange
from custody.exchange import Chunk, Exchange, RequestHead, ResponseHead
from custody.hooks.manager import PluginManager
from custody.pipeline.outcome import merge
from custody.record import PRICE_REASONS, Forensics

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from wireplay import recordings

WIRE = recordings.find(Path(__file__))
LATELY = datetime(2026, 11, 5, 12, tzinfo=UTC)

pytestmark = pytest.mark.skipif(WIRE is None, reason="the recordings in ../shared/wire are not there")


@pytest.fixture(scope="module")
def answers() -> list[tuple[Exchange, Forensics]]:
    manager = PluginManager.load({})
    assert WIRE is not None
    found = [
        (exchange, merge(manager.extract_forensics(exchange)))
        for recorded in recordings.read_all(WIRE)
        if (exchange := _exchange(manager, recorded)) is not None
    ]
    assert len(found) > 500
    return found


def test_every_answer_is_priced_or_says_why_not(answers: list[tuple[Exchange, Forensics]]) -> None:
    said: Counter[str] = Counter()
    for exchange, forensics in answers:
        for sent in (exchange.sent, LATELY):
            record = price_exchange(replace(exchange, sent=sent), forensics)
            said[str(record["reason"] or record["status"])] += 1
            if record["cost_usd"] is None:
                assert record["status"] == "unknown" and record["reason"] in PRICE_REASONS, exchange.id
            else:
                assert Decimal(record["cost_usd"]) == sum(Decimal(item["usd"]) for item in record["items"])
    assert said["priced"] > 400, said
    assert said["usage_inconsistent"] <= 4, said  # two recordings of invented counts, on two days


def test_the_classes_are_what_the_vendor_counted(answers: list[tuple[Exchange, Forensics]]) -> None:
    """Against the totals of the plugins' own reading, which is another piece of code."""
    compared = 0
    for exchange, forensics in answers:
        record = price_exchange(replace(exchange, sent=LATELY), forensics)
        tokens = [Decimal(item["count"]) for item in record["items"] if item["unit"].endswith("_tokens")]
        if record["resolved"]["vendor"] == "cohere":
            continue  # bills other counts than it states
        if tokens and forensics.usage is not None and forensics.usage.total is not None:
            assert sum(tokens) == forensics.usage.total, exchange.id
            compared += 1
    assert compared > 200


def test_no_usage_object_makes_it_raise(answers: list[tuple[Exchange, Forensics]]) -> None:
    """Whoever is said to have sent it."""
    for _, forensics in answers[::7]:
        for vendor in ("openai", "azure", "anthropic", "google", "vertexai", "bedrock", "openrouter", "cohere", "x-ai"):
            usage = forensics.usage.raw if forensics.usage else {}
            record = price(vendor=vendor, api="chat", model="gpt-4o", usage=usage, date=LATELY)
            assert (record["cost_usd"] is None) == (record["status"] == "unknown")


def _exchange(manager: PluginManager, recorded: recordings.Recorded) -> Exchange | None:
    request = RequestHead(recorded.method, recorded.url, tuple(recorded.request_headers.items()))
    claim = manager.claim_exchange(request)
    if claim is None:
        return None
    return Exchange(
        id=recorded.id,
        request=request,
        request_body=recorded.request_body,
        claim=claim,
        transport="recorded",
        sent=_sent(recorded),
        head=ResponseHead(recorded.status, recorded.reason, "HTTP/1.1", recorded.headers),
        chunks=[Chunk(0.0, recorded.body)],
        ending="complete",
    )


def _sent(recorded: recordings.Recorded) -> datetime:
    stated = recorded.header("date")
    return datetime.strptime(stated, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) if stated else LATELY
