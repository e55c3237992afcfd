"""Content and names that nobody meant to write: no traceback, no byte lost, nothing outside of the destination."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from custody.migrate import apply, check, plan, report
from custody.report.stored import StoredSession

CONVERSATION = "conversation_20250705_172508_5ff0163e.jsonl"


def conversation(root: Path, data: bytes, name: str = CONVERSATION) -> Path:
    path = root / "conversations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return root


def line(kind: str, message: Any, speaker: str = "a", **said: Any) -> bytes:
    value = {"timestamp": "2025-07-05T17:25:08.1", "conversation_id": CONVERSATION.removesuffix(".jsonl"),
             "speaker": speaker, "message": message, "metadata": {"type": kind, **said}}  # fmt: skip
    return json.dumps(value).encode() + b"\n"


def made(source: Path, destination: Path) -> tuple[dict[str, Any], list[Any]]:
    """Plan, apply and verify; gives the report and the calls."""
    found = report.as_dict(plan.make(source))
    assert found["bytes"]["accounted_for"]
    apply.apply(plan.make(source), destination)
    (verdict,) = check.verify(destination, source)
    assert verdict.problems == []
    sessions = sorted(destination.glob("projects/*/experiments/*/sessions/session_*"))
    return found, [call for session in sessions for call in StoredSession(session).calls()]


DEEP = b"[" * 100_000
ODD_LINES = {
    "not an object": b"[1, 2]\n7\nnull\n\"text\"\n",
    "deep": DEEP + b"\n",
    "a deep repr": b"{'a': " * 50_000 + b"\n",
    "a large integer": b'{"timestamp": ' + b"9" * 6000 + b"}\n",
    "control characters": b"\x00\x01\x1b[2J\n",
    "bytes": b"\xff\xfe\xfa\n",
    "cut": b'{"timestamp": "2025-07-05T17:2',
    "not a number": b'{"timestamp": NaN, "metadata": {"type": "llm_response"}, "message": Infinity}\n',
    "no metadata": b'{"message": "x"}\n{"metadata": null}\n{"metadata": "text", "message": null}\n',
    "metadata of other types": b'{"metadata": {"type": ["llm_response"], "usage": "n", "agent_id": 7}, "message": 7}\n'
    b'{"metadata": {"type": "llm_response", "usage": {"prompt_tokens": -1, "total_tokens": "9"}}, "message": {}}\n',
    "stamps": b'{"timestamp": "yesterday"}\n{"timestamp": -1}\n{"timestamp": 1e300}\n{"timestamp": true}\n',
    "a large line": b'{"message": "' + b"x" * 3_000_000 + b'", "metadata": {"type": "llm_response"}}\n',
    "two on one line": b'{"metadata": {"type": "llm_response"}, "message": "1"}{"message": "2"}\n',
    "a call in a repr": b"{'message': __import__('os').system('touch /tmp/x')}\n",
    "a surrogate": b'{"message": "\\ud83d and more", "metadata": {"type": "llm_response"}}\n',
    "a null in a name": b'{"metadata": {"type": "llm_response", "agent_id": "a\\u0000b", "file_name": "c\\u0000"},'
    b' "message": "x"}\n',
    "utf-16": "{\"message\": \"ü\", \"metadata\": {\"type\": \"llm_response\"}}\n".encode("utf-16"),
    "empty": b"",
    "blank": b"\r\n \r\n\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_LINES)
def test_odd_lines_in_a_conversation(name: str, tmp_path: Path) -> None:
    source = conversation(tmp_path / "old", ODD_LINES[name] + line("llm_response", "good", agent_id="z"))
    _, calls = made(source, tmp_path / "new")
    assert "good" in {call.response.content.decode("utf-8", "replace") for call in calls if call.response} or name in (
        "cut", "utf-16",
    )  # fmt: skip


@pytest.mark.parametrize("name", ODD_LINES)
def test_odd_lines_in_every_other_log(name: str, tmp_path: Path) -> None:
    source, data = tmp_path / "old", ODD_LINES[name]
    for path in (
        "logs/session_20250717_155121/session_20250717_155121_machine.jsonl",
        "results/2025-07-17_15-51-21/state_after_step_1_AnalysisAgent.json",
        "results/2025-07-17_15-51-21/RUN_CHRONOLOG_session_20250717_155121.jsonl",
        "PROJECT_CHRONOLOG_P.jsonl",
        "sessions/session_20250717_155121/llm_archive/metadata.jsonl",
        "sessions/session_20250717_155121/llm_archive/response_001.txt",
    ):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    made(source, tmp_path / "new")


@pytest.mark.parametrize(
    "results",
    [
        {}, [], None, 7, "text", {"analysis_agent_run1_m_a": None}, {"analysis_agent_run1_m_a": ["x"]}, ["a", "b"],
        [None, 7, {"content": 7}], {"a": {"content": {"score": 1}}}, {"a": {"llm_metadata": {"llm_metadata": {}}}},
        "{'analysis_agent_run1_m_a': {'content': 'from a repr'}}",
    ],
)  # fmt: skip
def test_odd_states(results: Any, tmp_path: Path) -> None:
    path = tmp_path / "old/results/2025-07-17_15-51-21/state_after_step_1_AnalysisAgent.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"analysis_results": results, "session_id": 7, "framework_path": ["x"]}))
    _, calls = made(tmp_path / "old", tmp_path / "new")
    texts = [call.response.content.decode() for call in calls if call.response]
    assert texts == {
        True: ["from a repr"], False: ['{"score": 1}'] if isinstance(results, dict) and "a" in results
        and "content" in results["a"] else [],
    }[isinstance(results, str) and "repr" in results]  # fmt: skip


def test_a_surrogate_and_bytes_come_back_as_they_were(tmp_path: Path) -> None:
    data = line("llm_response", "\ud83d", agent_id="1") + b'{"metadata": {"type": "llm_response"}, "message": "\xff"}\n'
    _, (one, two) = made(conversation(tmp_path / "old", data), tmp_path / "new")
    assert {one.response.content, two.response.content} == {"\ud83d".encode("utf-8", "surrogatepass"), b"\xff"}


def test_names_and_paths(tmp_path: Path) -> None:
    """Folders with spaces, parentheses, other letters, a line break, and bytes that are no UTF-8; ids with paths."""
    source = tmp_path / "old"
    base = source / "projects" / "Über (2)\nProjekt" / "эксперимент 1 .. x"
    said = {"agent_id": "../../../../agent", "session_id": "../../../../tmp/session_20250705_172508",
            "file_name": "../../../../etc/passwd", "run_num": 1, "model_name": "../m"}  # fmt: skip
    conversation(base, line("llm_response", "text", **said))
    odd = os.fsencode(base) + b"/corpus/\xff\xfe (a)\\b.txt"
    os.makedirs(os.path.dirname(odd))
    with open(odd, "wb") as file:
        file.write(b"document")
    (base / "corpus" / ("n" * 240)).write_text("long name")
    found, (call,) = made(source, tmp_path / "new")
    assert call.scope == {"corpus_file": "passwd", "run": 1}
    inside = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert sum(b"\xff\xfe (a)" in os.fsencode(path) for path in inside) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old"]
    (session,) = found["sessions"]
    above = "projects/Über (2)_Projekt/experiments/эксперимент 1 .. x/sessions"
    assert session["folder"] == f"{above}/session_20250705_172508"
    for words in ((source, tmp_path / "new2"), ("--verify", tmp_path / "new")):
        command = [sys.executable, "-m", "custody.cli", "migrate", *map(str, words)]
        ran = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert b"Projekt/\n" not in ran.stdout and b"\x1b" not in ran.stdout
        assert b"Traceback" not in ran.stderr


def test_symlinks_lead_nowhere(tmp_path: Path) -> None:
    source, secret = tmp_path / "old", tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("not to be copied")
    conversation(source, line("llm_response", "text"))
    os.symlink(secret, source / "folder")
    os.symlink(secret / "key", source / "conversations" / "conversation_20250705_172509_5ff0163e.jsonl")
    os.symlink(source, source / "conversations" / "loop")
    os.symlink("results", source / "logs")
    if hasattr(os, "mkfifo"):
        os.mkfifo(source / "pipe")
    found, calls = made(source, tmp_path / "new")
    assert len(calls) == 1
    assert {f["path"]: f["kind"] for f in found["files"] if f["disposition"] == "ignored"} == {
        "folder": "symlink", "conversations/conversation_20250705_172509_5ff0163e.jsonl": "symlink",
        "conversations/loop": "symlink", "logs": "symlink", "pipe": "special",
    }  # fmt: skip
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_symlink()]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert b"not to be copied" not in everything


def test_text_shaped_like_a_key_is_counted(tmp_path: Path) -> None:
    data = line("llm_request", "my key is sk-proj-abcdefghijklmnopqrstuvwxyz012345") + line("llm_response", "thanks")
    found, (call,) = made(conversation(tmp_path / "old", data), tmp_path / "new")
    assert found["found"]["credentials_suspected"] == 1
    assert b"[REDACTED]" in call.request_body


def test_many_calls_in_little_time(tmp_path: Path) -> None:
    data = b"".join(
        line("llm_request", f"p{n}", f"agent_{n}") + line("llm_response", f"r{n}", f"agent_{n}") for n in range(1000)
    )
    found, calls = made(conversation(tmp_path / "old", data), tmp_path / "new")
    assert found["calls"]["captured"] == len(calls) == 1000


@pytest.mark.parametrize(
    ("text", "is_error"),
    [
        ("Error: litellm.RateLimitError: 429", True),
        ("[ERROR: APIConnectionError('refused')]", True),
        ("litellm.exceptions.Timeout: after 600 s", True),
        ("LLM call failed for analysis_agent_run1_m_a: Overloaded", True),
        ("Traceback (most recent call last):\n  File", True),
        ("ValueError: could not parse", True),
        ("API request timed out", True),
        ('{"error": {"message": "overloaded"}}', True),
        ("Failed to get a response from the model", True),
        ("", False),
        ("Error analysis shows that the speech ...", False),
        ("The model of populism failed to convince: in paragraph two ...", False),
        ("The speech is an exception: it unites.", False),
        ('{"error_analysis": 1, "score": 2}', False),
        ('{"error": null, "score": 2}', False),
        ('{"error": "none found", "dignity": 0.4}', False),
        ("# Analysis\n\nAn Error: the author ...", False),
        ("Error: " + "x" * 3000, False),
    ],
)
def test_what_is_an_error_and_what_only_speaks_of_one(text: str, is_error: bool) -> None:
    from custody.migrate import values

    assert values.is_error_text(text) is is_error
