"""What a hook may give, value by value: the plugin is named, what is well formed passes, and nothing is let through."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from custody.codecs import Codec
from custody.hooks.results import CHECKS, WrongResult, annotation, call_result, conclusion, plain, question, terminal
from custody.journal import lines
from custody.plugin import (
    CallResult,
    CallSeam,
    Claim,
    Finding,
    Forensics,
    Patch,
    Price,
    Replay,
    ResponseHead,
    Usage,
    Vendor,
    found,
    unknown,
)
from custody.storage.local import LocalStorage

HEAD = ResponseHead(200, "OK", "HTTP/1.1", (("content-type", "application/json"),))
SEAM = CallSeam("m", "C.call", "sync")
FIELD = {"deployment_region": found("eu", "url", "host")}
CODEC = Codec("mine", callable, str, str)


class Word(StrEnum):
    EU = "eu"


def loop() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


WRONG: list[tuple[str, Any]] = [
    *((hook, value) for hook in CHECKS for value in ("word", 7, [object()], object(), {"a": 1})),
    *((hook, b"bytes") for hook in CHECKS if hook != "state_load"),
    *((hook, True) for hook in CHECKS if hook != "state_save"),
    ("vendor", Vendor(None, 5)),  # type: ignore[arg-type]
    ("vendor", Vendor("")),
    ("vendor", Vendor("sdk", 5)),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", ("seam",))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", (replace(SEAM, kind="both"),))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", (replace(SEAM, module=None),))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", (replace(SEAM, client=(1,)),))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", (replace(SEAM, describe="x"),))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", patches=(SEAM,))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", patches=(Patch("m", "f", 5),))),  # type: ignore[arg-type]
    ("vendor", Vendor("sdk", package=5)),  # type: ignore[arg-type]
    ("claim_exchange", Claim("p", 5, "chat")),  # type: ignore[arg-type]
    ("claim_exchange", Claim("p", "V", None)),  # type: ignore[arg-type]
    ("claim_exchange", Claim("p", "V", "chat", "no function")),  # type: ignore[arg-type]
    ("claim_exchange", Claim("p", "V\ud800", "chat")),
    ("claim_exchange", Claim("p", "V", "chat", key_ignore="name")),  # type: ignore[arg-type]
    ("claim_exchange", Claim("p", "V", "chat", needs=("model",))),  # type: ignore[arg-type]
    ("before_send", Replay("c", "head", ())),  # type: ignore[arg-type]
    ("before_send", Replay(5, HEAD, ())),  # type: ignore[arg-type]
    ("before_send", Replay("c", HEAD, ("text",))),  # type: ignore[arg-type]
    ("before_send", Replay("c", HEAD, [b""])),  # type: ignore[arg-type]
    ("before_send", Replay("c", replace(HEAD, status="200"), ())),  # type: ignore[arg-type]
    ("before_send", Replay("c", replace(HEAD, reason=None), ())),  # type: ignore[arg-type]
    ("before_send", Replay("c", replace(HEAD, headers=(("a", 5),)), ())),  # type: ignore[arg-type]
    ("before_send", Replay("c", HEAD, (), note={"x": object()})),
    ("before_send", Replay("c", None, (), error=ValueError)),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(["a"])),  # type: ignore[arg-type]
    ("extract_forensics", Forensics({"actual_model": "zebra"})),  # type: ignore[dict-item]
    ("extract_forensics", Forensics({"actual_model": ("zebra", "url:host")})),  # type: ignore[dict-item]
    ("extract_forensics", Forensics({"actual_model": found(b"zebra", "url", "host")})),  # type: ignore[arg-type]
    ("extract_forensics", Forensics({"actual_model": found(object(), "url", "host")})),  # type: ignore[arg-type]
    ("extract_forensics", Forensics({"actual_model": found(math.nan, "url", "host")})),
    ("extract_forensics", Forensics({"actual_model": Finding("zebra", None)})),  # type: ignore[arg-type]
    ("extract_forensics", Forensics({"actual_model": Finding("x" * 2_000_000, "url:host")})),
    ("extract_forensics", Forensics({"actual_model": found(1 << 100_000, "url", "host")})),
    ("extract_forensics", Forensics({5: unknown("not_stated")})),  # type: ignore[dict-item]
    ("extract_forensics", Forensics(parameters={"x": object()})),
    ("extract_forensics", Forensics(parameters={"x": b"x"})),
    ("extract_forensics", Forensics(parameters={5: "x"})),  # type: ignore[dict-item]
    ("extract_forensics", Forensics(parameters=loop())),
    ("extract_forensics", Forensics(parameters={"x": nested(500)})),
    ("extract_forensics", Forensics(parameters={"x": {1, 2}})),
    ("extract_forensics", Forensics(parameters=[])),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage=7)),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage=Usage("many", 3))),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage=Usage(1.5, 3))),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage=Usage(True, 3))),
    ("extract_forensics", Forensics(usage=Usage(1 << 90, 3))),
    ("extract_forensics", Forensics(usage=Usage(1, 3, raw={"x": object()}))),
    ("extract_forensics", Forensics(usage=Usage(1, 3, raw=[]))),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage=Usage(1, 3, evidence=None))),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(usage_reason="because")),
    ("extract_forensics", Forensics(outcome="wonderful")),  # type: ignore[arg-type]
    ("price_call", Price(0.1)),  # type: ignore[arg-type]
    ("price_call", Price("lots")),  # type: ignore[arg-type]
    ("price_call", Price(Decimal(-1))),
    ("price_call", Price(Decimal("nan"))),
    ("price_call", Price(Decimal("inf"))),
    ("price_call", Price(Decimal("1e999999"))),
    ("price_call", Price(Decimal("1e-999999"))),
    ("price_call", Price(Decimal("0e-999999"))),
    ("price_call", Price(Decimal(1), evidence=5)),  # type: ignore[arg-type]
    ("price_call", Price(Decimal(1), details={"x": Decimal(1)})),
    ("price_call", Price(Decimal(1), details=[])),  # type: ignore[arg-type]
    ("state_codecs", [replace(CODEC, name=5)]),  # type: ignore[arg-type]
    ("state_codecs", [replace(CODEC, decode=None)]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("hook", "value"), WRONG, ids=lambda value: value if isinstance(value, str) else None)
def test_what_is_wrong_is_refused_in_one_short_line(hook: str, value: Any) -> None:
    with pytest.raises((WrongResult, TypeError)) as refused:
        CHECKS[hook](value)
    said = str(refused.value)
    assert "\n" not in said and len(said) < 200
    assert "zebra" not in said, "what it gave may be somebody's text"


@pytest.mark.parametrize(
    ("hook", "value"),
    [
        ("vendor", Vendor("sdk", (SEAM, replace(SEAM, describe=print)), "package", (Patch("m", "f", print),))),
        ("claim_exchange", Claim("p", "Völkel", "chat", print, frozenset({"x-a"}), frozenset({"model"}))),
        ("before_send", Replay("c", HEAD, (b"{}",), origin="reconstructed", note={"note": "x"})),
        ("before_send", Replay("c", None, (), error="ConnectError")),
        ("extract_forensics", Forensics()),
        ("extract_forensics", Forensics(FIELD, {"n": 1, "stop": None, "deep": {"a": [1.5, True]}}, Usage(1, None))),
        ("extract_forensics", Forensics({"vendor_processing_ms": found(1.5, "response_header", "x")})),
        ("price_call", Price(Decimal("0.000001"), evidence="table:x", details={"items": [{"usd": "0.000001"}]})),
        ("price_call", Price(None, "usage_missing")),
        ("state_save", True),
        ("state_load", b""),
        ("state_codecs", [CODEC]),
    ],
)
def test_what_is_well_formed_passes_unchanged(hook: str, value: Any) -> None:
    assert CHECKS[hook](value) == value


def test_who_has_not_kept_a_state_lets_the_next_one_keep_it() -> None:
    assert CHECKS["state_save"](False) is None


def test_a_storage_is_one_by_its_methods(tmp_path: Any) -> None:
    storage = LocalStorage(tmp_path)
    assert CHECKS["open_storage"](storage) is storage


def test_what_can_be_mended_is_mended_and_can_be_written_and_read() -> None:
    given = Forensics(
        {"deployment_region": found("\ud800 eu", "response_body", "r"), "actual_model": found(Word.EU, "url", "host")},
        {"big": 1 << 70, "inf": math.inf, "\udfff": ("a", Word.EU)},
        Usage(1, 2, raw={"half": "\ud83d"}),
    )
    mended = CHECKS["extract_forensics"](given)
    assert mended.findings["deployment_region"].value == "\\ud800 eu"
    assert type(mended.findings["actual_model"].value) is str
    assert mended.parameters == {"big": 1 << 70, "inf": None, "\\udfff": ["a", "eu"]}
    assert given.parameters["inf"] == math.inf, "the plugin's own object is left alone"
    line = lines.unsealed("call", 1, {"p": mended.parameters, "raw": mended.usage.raw}) + b"}"
    json.loads(line)["raw"]["half"].encode()


@pytest.mark.parametrize(
    ("check", "good", "wrong"),
    [
        (terminal, [None, "complete", "complete_at_eof", "error"], ["finished", True, b"complete", []]),
        (question, ["https://h/v1"], [None, 5, b"https://h", "\ud800"]),
        (conclusion, ["nothing there"], [None, 5, object()]),
        (call_result, [CallResult("mock", "V", "chat", {}, {})], ["x", CallResult("wire", "V", "chat", {}, {})]),  # type: ignore[arg-type]
    ],
)
def test_what_else_a_plugin_is_asked(check: Callable[[Any], Any], good: list[Any], wrong: list[Any]) -> None:
    for value in good:
        assert check(value) == value
    for value in wrong:
        with pytest.raises((WrongResult, TypeError)):
            check(value)


def test_an_annotation_is_plain_json() -> None:
    assert annotation("model", {"a": (1, "x")}) == ("model", {"a": [1, "x"]})
    for name, value in ((5, 1), ("x", object()), ("x", b""), ("x", "y" * 2_000_000), ("x", loop())):
        with pytest.raises(WrongResult):
            annotation(name, value)


@pytest.mark.parametrize("value", [None, True, "ä", 1 << 63, -0.5, [], {"a": {"b": [None]}}])
def test_plain_json_is_itself(value: Any) -> None:
    assert plain(value, "it") == value
