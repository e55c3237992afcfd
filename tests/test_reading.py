"""What readers share: dates that are dates, values that are values, reasons that are true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from custody import reading
from custody.exchange import Chunk, Claim, Ending, Exchange, RequestHead, ResponseHead
from custody.record import Finding, found, unknown


def exchange(body: bytes | None, ending: Ending = "complete", **headers: str) -> Exchange:
    made = Exchange(
        "w-1.1", RequestHead("POST", "https://h/v1", ()), b"", Claim("p", "V", "chat"), "httpx", datetime.now(UTC)
    )
    if body is not None:
        pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        made.head, made.chunks, made.ending = ResponseHead(200, "OK", "HTTP/1.1", pairs), [Chunk(1.0, body)], ending
    return made


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4o-2024-08-06", "2024-08-06"),
        ("claude-sonnet-4-5-20250929", "2025-09-29"),
        ("ft:gpt-4o-2024-08-06:org::Abc123", "2024-08-06"),
        ("claude-3@20240229", "2024-02-29"),
        ("x-20241399-20240102", "2024-01-02"),
    ],
)
def test_a_date_in_a_name(model: str, day: str) -> None:
    assert reading.build_date(found(model, "response_body", "model")) == Finding(day, "derived:date in actual_model")


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4-0613",
        "x-1720240806",
        "x-202408061",
        "x-20230229",
        "x-2024-0806",
        "model-٢٠٢٤٠٨٠٦",
        "llama-3.1-70b",
    ],
)
def test_other_digits_are_no_date(model: str) -> None:
    assert reading.build_date(found(model, "response_body", "model")) == unknown("alias_undated")


def test_no_model_no_date() -> None:
    assert reading.build_date(unknown("response_incomplete")) == unknown("response_incomplete")
    assert reading.build_date(unknown("no_response")) == unknown("not_stated")


def test_headers() -> None:
    answered = exchange(b"", X_One="", x_two="2")
    assert reading.header_finding(answered, "x-one", "X-Two") == Finding("2", "response_header:X-Two")
    assert reading.header_finding(answered, "x-three") == unknown("not_stated")
    assert reading.header_finding(exchange(None), "x-one") == unknown("no_response")


@pytest.mark.parametrize("value", [None, True, [], {}, float("nan"), float("inf")])
def test_what_is_no_value(value: Any) -> None:
    assert reading.body_finding(exchange(b"{}"), value, "model") == unknown("not_stated")


@pytest.mark.parametrize("value", ["m", "", 0, 1.5])
def test_what_is_one(value: Any) -> None:
    assert reading.body_finding(exchange(b"{}"), value, "model") == Finding(value, "response_body:model")


def test_the_reasons_of_absence() -> None:
    assert reading.absence(exchange(None)) == "no_response"
    assert reading.absence(exchange(b"{}", "broken")) == "response_incomplete"
    assert reading.absence(exchange(b"<html>")) == "unreadable"
    assert reading.absence(exchange(b"\x1f\x8bnot gzip", content_encoding="gzip")) == "unreadable"
    assert reading.absence(exchange(b"{}")) == "not_stated"
    assert reading.absence(exchange(b"data: x\n\n", content_type="text/event-stream")) == "not_stated"


def test_parameters_are_numbers_and_short_words_and_never_text() -> None:
    body = {
        "temperature": 0,
        "stream": False,
        "effort": "high",
        "user": "Jane Doe",
        "stop": "停止生成这段文字",
        "long": "x" * 65,
        "nan": float("nan"),
        "inf": float("inf"),
        "empty": "",
        "nested": {"type": "json", "n": {"deep": 1}},
        "list": [1],
    }
    names = [*body, "nested.type", "nested.n.deep", "nested.type.more", "absent.x"]
    assert reading.scalars(body, *names) == {
        "temperature": 0,
        "stream": False,
        "effort": "high",
        "nested.type": "json",
        "nested.n.deep": 1,
    }
    assert reading.scalars(None, "x") == {}


def test_counts() -> None:
    assert [reading.count(value) for value in (0, 7, -1, True, 1.0, "1", None)] == [0, 7, None, None, None, None, None]
