"""The harness itself, on recordings that are made here: what it lets pass, and that it sees what is wrong."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wireplay import compare, player, reader, recordings
from wireplay.oracle.expected import Asked
from wireplay.recordings import Recorded

from custody.hooks.discovery import discover
from custody.hooks.manager import PluginManager

RUN = Path(__file__).with_name("run.py")

ASKED = {"model": "gpt-made-up", "messages": [{"role": "user", "content": "Say something."}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-made-up-2026-01-02",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Something."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    "service_tier": "default",
}
CHUNKS = [
    {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-made-up", "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "Some"}, "finish_reason": None}]},
    {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-made-up", "choices": [
        {"index": 0, "delta": {"content": "thing."}, "finish_reason": "stop"}]},
]  # fmt: skip
HEADERS = {"content-type": ["application/json"], "x-request-id": ["req-1"], "openai-processing-ms": ["12"]}


def interaction(body: Any, answer: str, headers: dict[str, list[str]], status: int = 200) -> dict[str, Any]:
    return {
        "request": {
            "method": "POST",
            "uri": "https://api.openai.com/v1/chat/completions",
            "body": json.dumps(body),
            "headers": {"content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": status, "message": "OK" if status < 400 else "Bad Request"},
            "headers": headers,
            "body": {"string": answer},
        },
    }


@pytest.fixture
def wire(tmp_path: Path) -> Path:
    """A folder of recordings: a whole answer, a stream, an error, and one whose headers were dropped."""
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"
    error = json.dumps({"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}})
    made = [
        interaction(ASKED, json.dumps(ANSWER), HEADERS),
        interaction({**ASKED, "stream": True}, stream, {"content-type": ["text/event-stream"]}),
        interaction(ASKED, error, HEADERS, 400),
        interaction(ASKED, json.dumps(ANSWER), {}),
    ]
    path = tmp_path / "wire" / "made" / "openai" / "chat.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"interactions": made, "version": 1}))
    return tmp_path / "wire"


@pytest.fixture
def whole(wire: Path) -> Recorded:
    return next(recordings.read_all(wire))


def test_a_run_over_recordings_that_are_in_order(wire: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--wire", str(wire), "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["faults"] == []
    assert result["sent_while_replaying"] == 0
    ways = [set(one["ways"]) for one in result["exchanges"]]
    assert len(ways) == 4
    assert all(any(way.startswith("method of openai ") for way in each) for each in ways)
    assert [bool(one["mended"]) for one in result["exchanges"]] == [False, False, False, True]


def lines_of(recorded: Recorded) -> tuple[dict[str, Any], Asked]:
    fields = reader.read(PluginManager(discover({})), recorded)
    assert fields is not None
    return fields, Asked(recorded.request_headers, recorded.request_body)


def test_what_is_read_rightly_has_no_fault(whole: Recorded) -> None:
    fields, asked = lines_of(whole)
    assert compare.line(fields, whole, asked) == []


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("model_forensics", "actual_model"),
        ("model_forensics", "requested_model"),
        ("model_forensics", "vendor"),
        ("model_forensics", "model_build_date"),
        ("response_metadata", "provider_request_id"),
        ("response_metadata", "finish_reason"),
        ("response_metadata", "vendor_processing_ms"),
        ("response_metadata", "service_tier"),
        ("response_metadata", "tokens_used"),
        ("usage", "input"),
        ("usage", "output"),
        ("usage", "raw"),
    ],
)
def test_a_wrong_value_is_a_fault(whole: Recorded, section: str, name: str) -> None:
    fields, asked = lines_of(whole)
    wrong = copy.deepcopy(fields)
    wrong[section][name] = {"made_up": 1} if name == "raw" else "wrong"
    assert any(fault.startswith((name, section)) for fault in compare.line(wrong, whole, asked))


def test_a_wrong_outcome_and_a_missing_usage_are_faults(whole: Recorded) -> None:
    fields, asked = lines_of(whole)
    assert compare.line({**fields, "outcome": "empty"}, whole, asked)
    assert compare.line({**fields, "usage": None}, whole, asked)


def test_a_value_without_evidence_and_a_null_without_a_reason_are_faults(whole: Recorded) -> None:
    fields, asked = lines_of(whole)
    for name, evidence in (("actual_model", "unknown:not_stated"), ("deployment_region", "response_body:region")):
        wrong = {**fields, "evidence": {**fields["evidence"], name: evidence}}
        assert [fault.partition(" ")[0] for fault in compare.line(wrong, whole, asked)] == [name]


def test_a_stream_is_played_event_by_event(wire: Path) -> None:
    stream = list(recordings.read_all(wire))[1]
    frames = player.frames_of(stream)
    assert frames is not None
    assert len(frames) == len(CHUNKS) + 1
    assert b"".join(frames) == stream.body
