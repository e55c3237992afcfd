"""What a migrated session holds: calls with their origin, nothing invented, and every field documented."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli.main import main
from custody.report.stored import Call, StoredSession

Migrated = Callable[[str], Path]
PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
OURS = PAGE.partition("## A session made from an older layout\n")[2].partition("\n## ")[0]


def stored(destination: Path) -> list[StoredSession]:
    return [StoredSession(path) for path in sorted(destination.glob("projects/*/experiments/*/sessions/session_*"))]


def calls(destination: Path) -> list[Call]:
    return [call for session in stored(destination) for call in session.calls()]


def body(call: Call) -> str:
    assert call.response is not None
    return call.response.content.decode("utf-8", "surrogateescape")


def test_responses_are_byte_for_byte_what_was_stored(migrated: Migrated) -> None:
    one, two = (call for call in calls(migrated("gen4")) if call.scope.get("run") == 1 and call.fields["answers"])
    assert one.response is not None and one.response.content == b"First.\n"
    assert two.response is not None and two.response.content == b"Second, \xff not UTF-8."
    assert one.request_body.decode() == "=== SYSTEM PROMPT ===\nYou are careful.\n\n=== USER PROMPT ===\nText 1."
    assert one.fields["origin"] == "captured"


def test_labels_are_those_that_a_script_would_give(migrated: Migrated) -> None:
    found = calls(migrated("gen3b"))
    assert [call.scope for call in found] == [
        {"corpus_file": "speech_one.txt", "run": 1},
        {"corpus_file": "речь (два).txt", "run": 1},
        {"corpus_file": "speech_one.txt", "run": 2},
        {"corpus_file": "speech_one.txt", "run": 3},
        {"corpus_file": "речь (два).txt", "run": 2},
    ]
    assert [call.fields["run_number"] for call in found] == [1, 1, 2, 3, 2]
    assert body(found[1]) == "Analysis of речь (два).txt, run 1: dignity 0.1, “tribal” 0.2; ключ — речь (два).txt."


def test_what_was_never_stored_is_null_with_a_reason(migrated: Migrated) -> None:
    call = calls(migrated("gen3b"))[0]
    fields = call.fields
    assert fields["origin"] == "reconstructed" and fields["source"] == "legacy"
    assert call.model_forensics == {
        "requested_model": "vertex_ai/gemini-2.5-pro", "actual_model": None, "vendor": None, "api_version": None,
        "model_build_date": None, "deployment_region": None,
    }  # fmt: skip
    for name, value in {**call.model_forensics, **call.response_metadata}.items():
        if value is None and name not in ("cost_usd", "first_byte_ms"):
            assert fields["evidence"][name] == "unknown:not_recorded", name
    assert fields["evidence"]["requested_model"] == "legacy_record:model"
    assert fields["evidence"]["tokens_used"] == "legacy_record:usage"
    assert (fields["usage"]["input"], fields["usage"]["output"], fields["response_metadata"]["tokens_used"]) == (
        701, 40, 741,
    )  # fmt: skip
    assert call.request["body"] == {"text": ""} and call.request["unknown"] == {"body": "not_recorded"}
    assert call.response is not None and call.response.head.status is None
    assert fields["annotations"]["legacy"]["labels_by"] == {"run": "event data", "corpus_file": "event data"}


def test_failures_are_no_answers(migrated: Migrated) -> None:
    found = {call.fields["annotations"]["legacy"]["agent"]: call for call in calls(migrated("gen2"))}
    failed = {name: (c.outcome, c.success, c.fields["answers"]) for name, c in found.items() if not c.success}
    assert failed == {
        "analysis_agent_3": ("no_response", False, False),
        "analysis_agent_5": ("error", False, False),
    }
    assert found["analysis_agent_5"].fields["error"] == "APIConnectionError"
    assert body(found["analysis_agent_6"]) == "Answer 6, it's in a repr."
    assert found["analysis_agent_6"].fields["origin"] == "reconstructed"
    assert found["analysis_agent_1"].scope == {"corpus_file": "doc_1.txt"}  # by its prompt
    assert found["analysis_agent_1"].fields["annotations"]["legacy"]["labels_by"] == {"corpus_file": "prompt"}


def test_died_under_way_is_in_doubt(migrated: Migrated) -> None:
    (session,) = stored(migrated("gen2"))
    (doubt,) = session.status()["in_doubt"]
    assert doubt["scope"] == {"corpus_file": "doc_9.txt"} and doubt["answered_by"] is None
    assert session.status()["origins"] == {"captured": 7, "reconstructed": 1}


def test_an_answer_that_nobody_wrote_down_is_no_doubt(migrated: Migrated) -> None:
    (session,) = stored(migrated("ensemble"))
    assert session.status()["in_doubt"] == []
    (call,) = (c for c in session.calls() if c.fields["origin"] == "unknown")
    assert (call.outcome, call.fields["answers"], call.response) == ("no_response", False, None)
    assert call.fields["annotations"]["legacy"]["response"] == "not_recorded"
    answers = {c.scope["corpus_file"]: body(c) for c in session.calls() if c.fields["answers"]}
    assert answers == {"speech_1.txt": '{"score": 1.5}', "speech_2.txt": '{"score": 2.5}'}


def test_what_stands_in_three_places_is_one_call_that_names_them(migrated: Migrated) -> None:
    call = next(c for c in calls(migrated("ensemble")) if c.fields["answers"])
    legacy = call.fields["annotations"]["legacy"]
    assert legacy["file"].endswith("conversation_20250713_190034_c0ffee00.jsonl")
    assert [place.rpartition("/")[2].partition("_")[0] for place in legacy["also"]] == ["PROJECT", "RUN"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    return said.out


@pytest.mark.parametrize("name", ["gen3b", "gen2", "gen4", "ensemble"])
def test_the_commands_work_on_it(name: str, migrated: Migrated, capsys: pytest.CaptureFixture[str]) -> None:
    for session in stored(migrated(name)):
        path, found = str(session.path), session.calls()
        assert "of the calls are salvaged" in run(capsys, "status", path)
        assert all(f"({call.fields['origin']})" in run(capsys, "calls", path) for call in found[:2])
        assert "legacy_originals" in run(capsys, "show", path)
        assert "sound" in run(capsys, "verify", path)
        assert "salvaged" in run(capsys, "forensics", path)
        for call in found:
            assert "of an older layout" in run(capsys, "show", path, call.id)
            assert json.loads(run(capsys, "show", path, call.id, "--json"))["call"]["origin"] == call.fields["origin"]


# -- the format page ------------------------------------------------------------------------------------


def _lines(destination: Path) -> Iterator[dict[str, Any]]:
    for path in destination.glob("projects/*/experiments/*/sessions/*/llm_archive/*.jsonl"):
        for line in path.read_bytes().splitlines():
            yield json.loads(line)


def _documented(heading: str, column: int = 0) -> set[str]:
    section = re.split(r"^##", PAGE.partition(f"{heading}\n")[2], flags=re.MULTILINE)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[column])}


def _leaves(value: Any, path: str = "", stop: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict) and path not in stop:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, stop)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from _leaves(inner, f"{path}[]", stop)
    else:
        yield path


def test_every_field_of_a_line_is_documented(migrated: Migrated) -> None:
    found: dict[str, set[str]] = {}
    for name in ("gen2", "ensemble", "gen3b", "gen4"):
        for line in _lines(migrated(name)):
            stop = ("scope", "evidence", "usage.raw", "parameters", "annotations.legacy", "header_digests", "usage")
            found.setdefault(line["kind"], set()).update(_leaves(line, stop=stop))
    extra = {
        kind: fields - _documented(f"### `{kind}`") - {"kind", "seq", "crc32", "body.base64", "annotations.legacy"}
        for kind, fields in found.items()
    }
    assert extra == {
        "segment": set(),
        "request": {"origin", "unknown.body"},
        "response": {"origin"},
        "call": {"origin", "usage", "hook_failures"},  # two are documented by their members
    }
    assert {"origin", "unknown.body", "annotations.legacy"} <= set(re.findall(r"`([^`]+)`", OURS))


@pytest.mark.parametrize(
    ("heading", "pattern"),
    [
        ("### `system_state/migration.json`", "**/system_state/migration.json"),
        ("### `migrations/migration_<id>.json`", "migrations/migration_*.json"),
    ],
)
def test_every_field_of_the_other_files_is_documented(heading: str, pattern: str, migrated: Migrated) -> None:
    (path,) = migrated("gen3b").glob(pattern)
    assert set(_leaves(json.loads(path.read_text()), stop=("ids", "calls"))) == _documented(heading)


def test_every_event_is_documented(migrated: Migrated) -> None:
    destination = migrated("gen3b")
    (path,) = destination.glob("**/SESSION_CHRONOLOG.jsonl")
    start, told = (json.loads(line) for line in path.read_text().splitlines())
    assert start["event"] == "session_start"
    assert {k: v for k, v in told.items() if k not in ("seq", "time", "previous_sha256")} == {
        "event": "session_migrated", "session_id": "session_20250717_195121", "generations": ["gen3b"], "calls": 6,
        "answers": 4, "in_doubt": 1,
    }  # fmt: skip
    assert all(f"`{name}`" in OURS for name in ("session_migrated", "generations", "calls", "answers", "in_doubt"))
