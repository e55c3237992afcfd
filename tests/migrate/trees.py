"""Synthetic trees of every older layout, each with the traps that real data has.

Texts are made up. What each tree must give is written by hand beside it (``EXPECTED`` in the tests), never
computed here. The old program's local time is four hours behind UTC.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

LOCAL = timedelta(hours=-4)
MODEL = "vertex_ai/gemini-2.5-pro"
FRAMEWORK = "# Framework\nFive axes, in (parentheses).\n"


def utc(seconds: float = 0.0, *, start: datetime = datetime(2025, 7, 17, 19, 51, 21)) -> str:
    return (start + timedelta(seconds=seconds)).isoformat() + "Z"


def naive(seconds: float = 0.0, *, start: datetime = datetime(2025, 7, 17, 15, 51, 21)) -> str:
    return (start + timedelta(seconds=seconds)).isoformat()


def write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def jsonl(values: list[Any], end: str = "\n") -> str:
    return "".join((value if isinstance(value, str) else json.dumps(value)) + end for value in values)


def machine_line(when: str, kind: str, speaker: str, data: Any, metadata: Any = None, **more: Any) -> dict[str, Any]:
    """A line of gen3b's machine log, with the digests that it has of itself."""
    return {
        "event_id": hashlib.sha256(f"{when}{kind}{speaker}".encode()).hexdigest()[:12],
        "timestamp": when,
        "session_id": "discernus_session_2025-07-17_15-51-21",
        "conversation_id": "conversation_20250717_155121_0a1b2c3d",
        "event_type": kind,
        "speaker": speaker,
        "data": data,
        "metadata": metadata or {},
        "content_hash": hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12],
        **more,
    }


def chronolog_line(when: str, event: str, session: str, project: str, data: Any, key: str = "default_dev_key") -> Any:
    line = {
        "timestamp": when, "event": event, "session_id": session, "project": project, "data": data,
        "event_id": f"00000000-0000-4000-8000-{hashlib.sha256(f'{when}{event}'.encode()).hexdigest()[:12]}",
    }  # fmt: skip
    signed = json.dumps(line, sort_keys=True, separators=(",", ":"))
    return {**line, "signature": hmac.new(key.encode(), signed.encode(), hashlib.sha256).hexdigest()}


def agent(run: int, document: str) -> str:
    return f"analysis_agent_run{run}_{MODEL.replace('/', '_')}_{document.rpartition('.')[0]}"


def answer(document: str, run: int) -> str:
    return f"Analysis of {document}, run {run}: dignity 0.{run}, “tribal” 0.2; ключ — {document}."


def result(run: int, document: str, seconds: float, content: str | None = None, **llm: Any) -> dict[str, Any]:
    data = {
        "agent_id": agent(run, document),
        "corpus_file": f"/data/projects/MVA/experiment_2/corpus/{document}",
        "model_name": MODEL,
        "content": answer(document, run) if content is None else content,
        "run_num": run,
    }
    usage = {"prompt_tokens": 700 + run, "completion_tokens": 40, "total_tokens": 740 + run}
    said = {"success": True, "model": MODEL, "usage": usage, "attempts": 1, **llm}
    return machine_line(utc(seconds), "ANALYSIS_RESULT", agent(run, document), data, {"llm_metadata": said})


def gen3b(root: Path) -> Path:
    """``projects/MVA/experiment_2``: 2 documents x 3 runs; one result is an error, one call died under way.

    One run under four ids; results in two folders; the state as a dictionary, then as a list; a post-mortem
    note before the framework; symlinks; each document as .md and .txt.
    """
    base = root / "projects" / "MVA" / "experiment_2"
    write(base / "experiment_2.md", "# Experiment 2\n")
    write(base / "character_framework_v5.0 (final).md", FRAMEWORK)
    write(base / "AAA_post_mortem_note.md", "# What went wrong on Thursday\n")
    for document in ("speech_one", "речь (два)"):
        write(base / "corpus" / f"{document}.txt", f"Text of {document}.\n")
        write(base / "corpus" / f"{document}.md", f"# Text of {document}.\n")
    os.symlink("corpus", base / "corpus_link")
    os.symlink("/etc/hostname", base / "outside.txt")
    os.symlink("nowhere", base / "broken")

    one, two = "speech_one.txt", "речь (два).txt"
    started = machine_line(utc(0.2), "SESSION_START", "system", {"session_id": "session_20250717_155121"})
    lines: list[Any] = [
        started,
        result(1, one, 5),
        result(2, one, 9),
        result(1, two, 7.5),  # earlier than the line before it
        result(3, one, 12, content="Error: litellm.RateLimitError: 429 quota exceeded"),  # under success: true
        result(2, two, 15),
        machine_line(utc(16), "FORENSIC_VALIDATION", "system", {"valid": True}, session_id="unknown"),
        machine_line(utc(17), "LLM_CALL_STARTED", agent(3, two), {"agent_id": agent(3, two), "model_name": MODEL}),
        machine_line(utc(18), "ERROR", "orchestrator", {"error": "'str' object has no attribute 'get'"}),
        "{'event_type': 'ERROR', 'timestamp': '" + utc(19) + "', 'speaker': 'system', 'data': {'error': \"it's\"}}",
        "{this is no json",
    ]
    lines.insert(3, lines[1])  # an exact duplicate
    tampered = result(1, two, 20)
    tampered["event_type"], tampered["content_hash"] = "NOTE", "0" * 12
    lines.append(tampered)
    logs = base / "logs" / "session_20250717_155121"
    write(logs / "session_20250717_155121_machine.jsonl", jsonl(lines, "\r\n"))
    write(logs / "session_20250717_155121_human.md", "# Session\n")

    entries = {
        agent(run, document): {
            "agent_id": agent(run, document), "corpus_file": document, "file_name": document, "model_name": MODEL,
            "run_num": run, "analysis_response": answer(document, run),
        }
        for run, document in ((1, one), (2, one), (1, two), (2, two))
    }  # fmt: skip
    state = {
        "framework": FRAMEWORK, "experiment": "# Experiment 2\n", "corpus": [], "workflow": [],
        "analysis_agent_instructions": "Analyse.", "project_path": "projects/MVA/experiment_2",
        "framework_path": "projects/MVA/experiment_2/character_framework_v5.0 (final).md",
        "experiment_path": "projects/MVA/experiment_2/experiment_2.md", "corpus_path": "corpus",
        "session_results_path": "projects/MVA/experiment_2/results/2025-07-17_15-51-21",
        "conversation_id": "conversation_20250717_155121_0a1b2c3d", "analysis_results": entries,
        "provenance_report": {}, "session_id": "session_20250717_155122", "total_successful": 5, "total_failed": 0,
    }  # fmt: skip
    write(base / "results/2025-07-17_15-51-21/session_run.log", "")
    write(base / "results/2025-07-17_15-51-22/state_after_step_1_AnalysisAgent.json", json.dumps(state))
    later = {**state, "analysis_results": list(entries.values())}
    write(base / "results/2025-07-17_15-51-22/state_after_step_2_DataExtractor.json", "\ufeff" + json.dumps(later))
    write(base / "results/session_20250717_195121/summary.txt", "the same run, named in UTC\n")
    conversation = [
        {"timestamp": naive(1), "conversation_id": "conversation_20250717_155121_0a1b2c3d", "speaker": "system",
         "message": 'WORKFLOW_EXECUTION_STARTED: {"session_id": "session_20250717_155121"}',
         "metadata": {"type": "workflow_event", "event_type": "WORKFLOW_EXECUTION_STARTED"}},
    ]  # fmt: skip
    write(base / "conversations/conversation_20250717_155121_0a1b2c3d.jsonl", jsonl(conversation))
    log = [
        chronolog_line(utc(0), "PROJECT_INITIALIZATION", "session_20250717_155121", "MVA", {"user": "anna"}),
        chronolog_line(utc(1), "VALIDATION_STARTED", "session_20250717_155121", "MVA", {}, key="another key"),
        {"timestamp": utc(2), "event": "OLD", "session_id": "test_session", "project": "MVA", "data": {}},
    ]
    write(root / "projects/MVA/PROJECT_CHRONOLOG_MVA.jsonl", jsonl(log))
    write(root / "projects/MVA/README", b"\xff\xfe bytes that are no UTF-8")
    return root


def conversation_line(when: str, speaker: str, message: str, kind: str, **said: Any) -> dict[str, Any]:
    own = "conversation_20250705_172508_5ff0163e"
    return {"timestamp": when, "conversation_id": own, "speaker": speaker, "message": message,
            "metadata": {"type": kind, **said}}  # fmt: skip


def gen2(root: Path) -> Path:
    """9 requests with 8 responses, one of them an error line, one an error as a response, one a Python repr."""
    base = root / "pilot study"
    at = datetime(2025, 7, 5, 17, 25, 8)
    lines: list[Any] = [
        {"timestamp": naive(0, start=at), "conversation_id": "conversation_20250705_172508_5ff0163e",
         "speaker": "system", "message": "CONVERSATION_START", "metadata": {"participants": ["a"]}},
    ]  # fmt: skip
    for n in range(1, 10):
        who = f"analysis_agent_{n}"
        prompt = f"Instructions.\nFile: doc_{n}.txt\nContent:\nText {n}."
        lines.append(conversation_line(naive(n, start=at), who, prompt, "llm_request", model_name="openai/gpt-4o"))
    for n in range(1, 9):
        who, text, said = f"analysis_agent_{n}", f"Answer {n}.", {"model_name": "openai/gpt-4o"}
        usage = {"prompt_tokens": 10, "completion_tokens": n, "total_tokens": 10 + n}
        kind, more = "llm_response", {"success": True, "model": "openai/gpt-4o", "usage": usage, "attempts": 1}
        if n == 3:
            kind, more, text = "llm_error", {"success": False, "error": "Timeout"}, "LLM call failed: Timeout"
        if n == 5:
            text = "[ERROR: APIConnectionError('refused')]"
        if n == 6:
            text = repr({"content": "Answer 6, it's in a repr.", "model": "openai/gpt-4o"})
        lines.append(conversation_line(naive(20 + n, start=at), who, text, kind, **said, **more))
    lines.insert(4, lines.pop(3))  # out of order
    lines.append(lines[-1])  # twice
    write(base / "conversations/conversation_20250705_172508_5ff0163e.jsonl", "\ufeff" + jsonl(lines))
    write(
        base / "results/2025-07-05_17-25-08/session_metadata.json",
        json.dumps({"session_id": "session_20250705_172508"}),
    )
    write(base / "results/2025-07-05_17-25-08/final_report.md", "# Report\n")
    write(base / "results/2025-07-05_17-25-08/RUN_CHRONOLOG_session_20250705_172508.jsonl", jsonl([
        chronolog_line(naive(1, start=at), "SESSION_START", "session_20250705_172508", "pilot study", {}),
    ]))  # fmt: skip
    write(base / ".git/config", "[core]\n")
    write(base / ".env", "OPENAI_API_KEY=sk-not-to-be-copied-anywhere-0123456789\n")
    return root


def gen3a(root: Path) -> Path:
    """Two runs of an experiment. Responses inside workflow events, once as a repr; one under session ``unknown``."""
    base = root / "projects/harbour/experiments/01_smoke"

    def event(start: datetime, seconds: float, own: str, name: str, data: Any, *, as_repr: bool = False) -> Any:
        message = f"{name}: {data!r}" if as_repr else f"{name}: {json.dumps(data)}"
        return {"timestamp": naive(seconds, start=start), "conversation_id": own, "speaker": "system",
                "message": message, "metadata": {"type": "workflow_event", "event_type": name}}  # fmt: skip

    def agent_of(document: str, run: int) -> str:
        return f"analysis_agent_anthropic_claude-3-5-sonnet_{document}_run{run}"

    first, own = datetime(2025, 7, 14, 9, 0, 0), "conversation_20250714_090000_aaaaaaaa"
    lines = [event(first, 0, own, "WORKFLOW_EXECUTION_STARTED", {"session_id": "session_20250714_090000"})]
    for n, (document, run) in enumerate((("a b", 1), ("a b", 2), ("ü", 1), ("ü", 2))):
        who = agent_of(document, run)
        lines.append(
            event(first, 1, own, "ANALYSIS_AGENT_SPAWNED", {"agent_id": who, "corpus_file": f"{document}.txt"})
        )
        started = {"agent_id": who, "model_name": "anthropic/claude-3-5-sonnet"}
        lines.append(event(first, 2, own, "LLM_CALL_STARTED", started))
        if (document, run) == ("ü", 2):
            continue  # died here
        if (document, run) == ("a b", 2):
            failed = {"agent_id": who, "error": f"LLM call failed for {who}: Overloaded"}
            lines.append(event(first, 4, own, "LLM_CALL_FAILED", failed))
            continue
        lines.append(event(first, 5 + n, own, "LLM_CALL_COMPLETED", {"agent_id": who}))
        raw = {"agent_id": who, "raw_response": f"Raw answer of {document}'s run {run}."}
        lines.append(event(first, 5 + n, own, "ANALYSIS_AGENT_RAW_RESPONSE", raw, as_repr=n == 0))
    write(base / f"conversations/{own}.jsonl", jsonl(lines))

    second, own = datetime(2025, 7, 14, 13, 0, 0), "conversation_20250714_130000_bbbbbbbb"
    lines = [event(second, 0, own, "WORKFLOW_EXECUTION_STARTED", {"session_id": "session_20250714_130000"})]
    write(base / f"conversations/{own}.jsonl", jsonl(lines))
    raw = {"agent_id": agent_of("a b", 1), "raw_response": "Raw answer of a b's run 1."}
    late = {"agent_id": agent_of("ü", 1), "model_name": "anthropic/claude-3-5-sonnet", "raw_response": "Late answer."}
    name = "ANALYSIS_AGENT_RAW_RESPONSE"
    write(root / "projects/harbour/PROJECT_CHRONOLOG_harbour.jsonl", jsonl([
        chronolog_line("2025-07-14T13:00:05Z", name, "session_20250714_090000", "harbour", raw),
        chronolog_line("2025-07-14T17:00:30Z", name, "unknown", "harbour", late),
    ]))  # fmt: skip
    for document in ("a b", "ü"):
        write(base / f"corpus/{document}.txt", "text\n")
    return root


def gen4(root: Path) -> Path:
    """Two session folders in one second; the second one without metadata, and with a prompt that got no answer."""
    base = root / "study/sessions"
    one = base / "session_20250801_120000"
    for n in (1, 2, 3):
        prompt = f"=== SYSTEM PROMPT ===\nYou are careful.\n\n=== USER PROMPT ===\nText {n}."
        write(one / f"llm_archive/prompt_{n:03d}.txt", prompt)
    write(one / "llm_archive/response_001.txt", "First.\n")
    write(one / "llm_archive/response_002.txt", b"Second, \xff not UTF-8.")
    write(one / "llm_archive/response_003.txt", '{"error": {"message": "overloaded", "type": "overloaded_error"}}')
    said = [
        {"call": n, "prompt_file": f"prompt_{n:03d}.txt", "model": "claude-3-5-sonnet", "timestamp": utc(n),
         "corpus_file": f"d{n}.txt", "run": 1, "usage": {"prompt_tokens": 5, "completion_tokens": n}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    write(one / "llm_archive/metadata.jsonl", jsonl(said))
    two = base / "session_20250801_120000_2"
    write(two / "llm_archive/prompt_001.txt", "=== SYSTEM PROMPT ===\nYou are careful.\n\n=== USER PROMPT ===\nNo. 1.")
    write(two / "llm_archive/response_001.txt", "One.")
    write(two / "llm_archive/prompt_002.txt", "=== SYSTEM PROMPT ===\nYou are careful.\n\n=== USER PROMPT ===\nNo. 2.")
    return root


def ensemble(root: Path) -> Path:
    """gen2 as the ensemble wrote it: responses without requests; the chronologs of project and run have the events.

    Two answers, one failed call, and one call of a coordinator whose answer nobody wrote down. Agents are numbered,
    and the error of the workflow names an agent that there never was.
    """
    base, own = root / "projects/harbour", "conversation_20250713_190034_c0ffee00"
    at = datetime(2025, 7, 13, 23, 0, 34)

    def who(n: int) -> str:
        return f"analysis_agent_run1_vertex_ai_gemini-2.5-flash_{n}"

    events: list[Any] = []

    def event(seconds: float, name: str, data: Any) -> None:
        events.append(chronolog_line(utc(seconds, start=at), name, "session_20250713_190034", "harbour", data))

    lines: list[Any] = []
    event(0, "ENSEMBLE_STARTED", {"session_id": "session_20250713_190034"})
    for n in (1, 2, 3):
        document = f"speech_{n}.txt"
        asked = {"agent_id": who(n), "model_name": "vertex_ai/gemini-2.5-flash"}
        spawned = {**asked, "corpus_file": document, "run_num": 1}
        event(1, "ANALYSIS_AGENT_SPAWNED", spawned)
        event(2 + n, "LLM_CALL_STARTED", {**asked, "prompt_length": 900})
        if n == 3:
            event(20, "LLM_CALL_FAILED", {**asked, "error": "litellm.Timeout: after 600 s"})
            event(21, "ANALYSIS_AGENT_ERROR", {"agent_id": "analysis_agent_3", "error": "Timeout"})
            continue
        said = {"success": True, "usage": {"prompt_tokens": 90, "completion_tokens": n}, "attempts": 1}
        event(10 + n, "LLM_CALL_COMPLETED", {**asked, "response_length": 20, "metadata": said})
        text = f'{{"score": {n}.5}}'
        lines.append({
            "timestamp": utc(10 + n, start=at), "conversation_id": own, "speaker": who(n), "message": text,
            "metadata": {"type": "llm_response", "agent_id": who(n), "session_id": "session_20250713_190034",
                         "model_name": "vertex_ai/gemini-2.5-flash", "file_name": document, "run_num": 1},
        })  # fmt: skip
        event(10 + n, "ANALYSIS_AGENT_RAW_RESPONSE", {"agent_id": who(n), "raw_response": text})
    event(30, "LLM_CALL_STARTED", {"agent_id": "coordination_llm", "model_name": "m"})
    event(31, "LLM_CALL_COMPLETED", {"agent_id": "coordination_llm", "model_name": "m", "metadata": {"success": True}})
    results = base / "results/2025-07-13_19-00-34"
    write(results / f"{own}.jsonl", jsonl(lines))
    write(results / "RUN_CHRONOLOG_session_20250713_190034.jsonl", jsonl(events))
    write(base / "PROJECT_CHRONOLOG_harbour.jsonl", jsonl(events))
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "gen2": gen2,
    "ensemble": ensemble,
    "gen3a": gen3a,
    "gen3b": gen3b,
    "gen4": gen4,
}
