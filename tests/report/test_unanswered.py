"""Which of the calls in doubt cost nobody knows what."""

from __future__ import annotations

import json
from typing import Any

from custody.report.tally import Tally
from custody.report.unanswered import Reading, Requests, as_line, taken_in, unpaid_for


def doubt(name: str, sent: str) -> dict[str, Any]:
    return {"call_id": name, "sent": sent, "scope": {"stage": "s"}, "operation": "chat"}


def call(name: str, *exchanges: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "attempts": [{"exchange": exchange} for exchange in exchanges], **more}


def request(time: str) -> bytes:
    return json.dumps({"time": time, "scope": {"stage": "s"}, "operation": "chat", "body": "secret"}).encode()


def test_an_answer_that_was_taken_in_is_the_one_of_the_call_that_was_sent_last() -> None:
    doubts = {name: doubt(name, sent) for name, sent in (("w-1", "2026-01-01"), ("w-2", "2026-01-02"), ("w-3", "2026"))}
    left = unpaid_for(doubts, [["w-1", "w-2"], ["w-9"]])
    assert [one["call_id"] for one in left] == ["w-3", "w-1"], "one answer is one call's: the other was paid besides"
    assert unpaid_for(doubts, [["w-1"], ["w-2"], ["w-3"]]) == []


def test_what_a_call_line_says_of_it() -> None:
    assert taken_in({"annotations": {"reconciled": {"in_doubt": ["w-1"]}}}) == ["w-1"]
    for line in ({}, {"annotations": None}, {"annotations": {"reconciled": {"in_doubt": 7}}}):
        assert taken_in(line) == []


def test_lines_that_stand_in_several_segments() -> None:
    first, second = Reading(), Reading()
    first.request("w-1.1", request("2026-01-01"))
    first.request("w-2.1", request("2026-01-02"))
    first.request("w-2.2", request("2026-01-03"))
    first.request("w-3.1", request("2026-01-04"))
    second.request("w-1.2", request("2026-01-05"))
    second.call(call("w-1", "w-1.1", "w-1.2"))  # its first request is in the other segment
    second.request("w-4.1", request("2026-01-06"))
    second.call(call("w-4", "w-4.1", annotations={"reconciled": {"in_doubt": ["w-3"]}}))
    parts = [first.done(), second.done()]
    for order in (parts, parts[::-1]):
        whole = Requests()
        for part in order:
            whole.merge(part)
        (left,) = whole.unpaid_for
        assert left["time"] == "2026-01-03" and "body" not in left
    assert "w-4" not in whole.closed, "only what another segment may ask about is kept"


def test_what_it_is_counted_under() -> None:
    for by, name in (("stage", "s"), ("operation", "chat"), ("day", "2026-01-01"), ("model", "(unknown)"),
                     ("vendor", "(unknown)"), ("status", "(unknown)"), ("run", "(none)")):  # fmt: skip
        tally = Tally(by)
        tally.doubt(doubt("w-1", "2026-01-01T00:00:00Z"))
        assert tally.groups[name].in_doubt == tally.whole.in_doubt == 1
        assert tally.whole.sentence.startswith("unknown (1 more calls were sent") and not tally.whole.complete
        assert tally.methods.startswith("No call has an answer on record. What they cost is unknown")
    assert as_line({})["started"] == ""
