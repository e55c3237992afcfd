"""A migrated experiment is continued with real SDKs: what was salvaged is given, once, marked; the rest is paid for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.migrate import apply, check, plan
from custody.report.stored import StoredSession
from custody.report.verify import verify
from custody.testing.simulator import Simulator

openai = pytest.importorskip("openai")

Migrated = Callable[[str], Path]
ONE, TWO = "speech_one.txt", "речь (два).txt"
ASK = [{"role": "user", "content": "Analyse."}]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as running:
        for name, value in running.env().items():
            monkeypatch.setenv(name, value)
        yield running


def only_session(root: Path) -> StoredSession:
    (path,) = root.glob("projects/*/experiments/*/sessions/session_*")
    return StoredSession(path)


def notes(root: Path) -> list[dict[str, Any]]:
    return [n for n in only_session(root).archive.notes if n["note"] == "salvaged_answer_given"]


def study(root: Path, runs: range, stage: str = "analysis", documents: tuple[str, ...] = (ONE, TWO)) -> dict[Any, Any]:
    """The user's script; gives text and origin by document and run."""
    client, found = openai.OpenAI(), {}
    with custody.session("MVA", "experiment_2", root=root, session=only_session(root).path.name) as s, s.stage(stage):
        for document in documents:
            for run in runs:
                with s.scope(corpus_file=document, run=run):
                    raw = client.chat.completions.with_raw_response.create(model="gemini-2.5-pro", messages=ASK)
                text = raw.parse().choices[0].message.content
                found[document, run] = (text, raw.headers.get("x-custody-origin"))
    return found


def test_only_what_is_missing_is_paid(
    migrated: Migrated, simulator: Simulator, trees: Any, caplog: pytest.LogCaptureFixture
) -> None:
    root = migrated("gen3b")
    found = study(root, range(1, 4))
    assert simulator.paid() == 2  # one had an error for its answer, one died under way
    for document in (ONE, TWO):
        for run in (1, 2):
            assert found[document, run] == (trees.answer(document, run), "reconstructed")
        assert found[document, 3][1] is None
    assert caplog.text.count("answers salvaged from an older layout are given") == 1
    (path,) = root.glob("**/SESSION_CHRONOLOG.jsonl")
    replayed = [e for e in map(json.loads, path.read_text().splitlines()) if e["event"] == "llm_call_replayed"]
    assert [e["origin"] for e in replayed] == ["reconstructed"] * 4
    given = notes(root)
    assert [(n["scope"]["corpus_file"], n["scope"]["run"], n["matched_by"], n["prompt"]) for n in given] == [
        (ONE, 1, "labels", "not_recorded"), (ONE, 2, "labels", "not_recorded"),
        (TWO, 1, "labels", "not_recorded"), (TWO, 2, "labels", "not_recorded"),
    ]  # fmt: skip
    assert len({n["call"] for n in given}) == 4

    again = study(root, range(1, 4))  # another start: the same answers, nothing is paid
    assert again == found
    assert simulator.paid() == 2
    assert notes(root) == given
    session = only_session(root)
    assert verify(session.storage).problems == []
    (verdict,) = check.verify(root)
    assert verdict.sound and "2 calls of its own" in verdict.remarks[0]
    assert session.status()["calls"] == 7


def test_runs_raised_and_runs_from_nought(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    root = migrated("gen3b")
    found = study(root, range(5))
    assert [found[ONE, run][1] for run in range(5)] == ["reconstructed", "reconstructed", None, None, None]
    assert found[ONE, 0][0] == trees.answer(ONE, 1)
    assert found[TWO, 1][0] == trees.answer(TWO, 2)
    assert simulator.paid() == 6
    assert study(root, range(5)) == found
    assert simulator.paid() == 6


def test_without_run_labels_each_answer_is_given_once(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    root, client = migrated("gen3b"), openai.OpenAI()

    def ask() -> list[str]:
        session = only_session(root).path.name
        with (
            custody.session("MVA", "experiment_2", root=root, session=session) as s,
            s.scope(corpus_file="speech_one"),
        ):
            answers = [client.chat.completions.create(model="gemini-2.5-pro", messages=ASK) for _ in range(3)]
        return [answer.choices[0].message.content for answer in answers]

    first = ask()
    assert first[:2] == [trees.answer(ONE, 1), trees.answer(ONE, 2)]
    assert len(set(first)) == 3
    assert simulator.paid() == 1
    assert ask() == first
    assert simulator.paid() == 1


def test_what_does_not_fit_is_paid(migrated: Migrated, simulator: Simulator) -> None:
    root, client = migrated("gen3b"), openai.OpenAI()
    with custody.session("MVA", "experiment_2", root=root) as s:
        with s.scope(corpus_file=ONE, run=1):
            client.chat.completions.create(model="gemini-2.5-flash", messages=ASK)  # another model
            client.embeddings.create(model="gemini-2.5-pro", input="x")
            client.chat.completions.create(model="gemini-2.5-pro", messages=ASK, n=2)
        with s.scope(corpus_file="speech_one.md", run=1):  # another document
            client.chat.completions.create(model="gemini-2.5-pro", messages=ASK)
        with s.scope(run=1):
            client.chat.completions.create(model="gemini-2.5-pro", messages=ASK)
        with s.stage("synthesis"), s.scope(corpus_file=ONE, run=1):  # another stage
            client.chat.completions.create(model="gemini-2.5-pro", messages=ASK)
    assert simulator.paid() == 6
    assert notes(root) == []


def test_a_second_stage_gets_none_of_the_first_ones_answers(migrated: Migrated, simulator: Simulator) -> None:
    root = migrated("gen3b")
    study(root, range(1, 2))
    study(root, range(1, 4), stage="extraction")
    assert simulator.paid() == 6
    assert {n["scope"]["stage"] for n in notes(root)} == {"analysis"}


def test_the_stages_name_may_be_given(migrated: Migrated, simulator: Simulator, tree: Any, tmp_path: Path) -> None:
    root = tmp_path / "named"
    apply.apply(plan.make(tree("gen3b"), stage="Kodierung"), root)
    assert {call.scope["stage"] for call in only_session(root).calls()} == {"Kodierung"}
    study(root, range(1, 3), stage="Kodierung")
    assert simulator.paid() == 0


def test_every_form_of_answer(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    anthropic = pytest.importorskip("anthropic")
    genai = pytest.importorskip("google.genai")
    root, client = migrated("gen3b"), openai.OpenAI()

    def with_call(run: int, document: str, call: Callable[[], Any]) -> Any:
        session = only_session(root).path.name
        with custody.session("MVA", "experiment_2", root=root, session=session) as s, s.scope(doc=document, run=run):
            return call()

    def gemini_stream() -> str:
        chunks = genai.Client().models.generate_content_stream(model="gemini-2.5-pro", contents="x")
        return "".join(chunk.text for chunk in chunks)

    def chat_stream() -> str:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(model="gemini-2.5-pro", messages=ASK, **options))
        assert chunks[-1].usage.completion_tokens == 40
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def responses_stream() -> str:
        with client.responses.stream(model="gemini-2.5-pro", input="x") as stream:
            for _ in stream:
                pass
            return str(stream.get_final_response().output_text)

    def messages_stream() -> str:
        with anthropic.Anthropic().messages.stream(model="gemini-2.5-pro", max_tokens=9, messages=ASK) as stream:
            return str(stream.get_final_text())

    assert with_call(1, ONE, chat_stream) == trees.answer(ONE, 1)
    assert with_call(2, ONE, responses_stream) == trees.answer(ONE, 2)
    assert with_call(1, TWO, messages_stream) == trees.answer(TWO, 1)
    assert with_call(2, TWO, gemini_stream) == trees.answer(TWO, 2)
    assert simulator.paid() == 0


def test_whole_answers_of_the_other_sdks(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    anthropic = pytest.importorskip("anthropic")
    genai = pytest.importorskip("google.genai")
    root = migrated("gen3b")
    with custody.session("MVA", "experiment_2", root=root) as s:
        with s.scope(corpus_file=ONE, run=1):
            response = openai.OpenAI().responses.create(model="gemini-2.5-pro", input="x")
        with s.scope(corpus_file=ONE, run=2):
            message = anthropic.Anthropic().messages.create(model="gemini-2.5-pro", max_tokens=9, messages=ASK)
        with s.scope(corpus_file=TWO, run=1):
            content = genai.Client().models.generate_content(model="gemini-2.5-pro", contents="x")
    assert response.output_text == trees.answer(ONE, 1)
    assert (message.content[0].text, message.usage.output_tokens) == (trees.answer(ONE, 2), 40)
    assert (content.text, content.usage_metadata.total_token_count) == (trees.answer(TWO, 1), 741)
    assert simulator.paid() == 0


def test_stored_prompts_answer_where_the_script_names_no_document(migrated: Migrated, simulator: Simulator) -> None:
    root, client = migrated("gen4"), openai.OpenAI()
    (first, _) = sorted(path.name for path in root.glob("projects/*/experiments/*/sessions/session_*"))

    def ask(text: str, system: str = "You are careful.") -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        return str(
            client.chat.completions.create(model="claude-3-5-sonnet", messages=messages).choices[0].message.content
        )

    with custody.session("old gen4", "study", root=root, session=first):
        assert ask("Text 1.") == "First.\n"
        assert ask("Text 1.") != "First.\n"  # once only
        assert ask("Text 2.") == "Second, \ufffd not UTF-8."
        assert ask("Text 3.") != ""  # its answer was an error
        assert ask("Text 2.", system="You are careless.").startswith("This is answer")
    assert simulator.paid() == 3
    session = StoredSession(next(root.glob(f"**/sessions/{first}")))
    assert [(n["matched_by"], n["prompt"]) for n in session.archive.notes] == [("texts", "equal")] * 2


def test_a_prompt_that_has_changed_is_said(
    migrated: Migrated, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    root, client = migrated("gen2"), openai.OpenAI()
    with custody.session("old gen2", "pilot study", root=root) as s:
        with s.scope(document="doc_1.txt"):
            answer = client.chat.completions.create(model="gpt-4o", messages=ASK)
        with s.scope(document="doc_2.txt"):
            prompt = "Instructions.\nFile: doc_2.txt\nContent:\nText 2."
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": prompt}])
    assert answer.choices[0].message.content == "Answer 1."
    assert [n["prompt"] for n in notes(root)] == ["differs", "equal"]
    assert caplog.text.count("though the prompt is not the one that was stored") == 1
    assert simulator.paid() == 0


SCRIPT = """
import os, sys
import custody, openai

with custody.session("MVA", "experiment_2", root=sys.argv[1]) as s:
    for run in (1, 2):
        with s.scope(corpus_file="speech_one.txt", run=run):
            answer = openai.OpenAI().chat.completions.create(
                model="gemini-2.5-pro", messages=[{"role": "user", "content": "Analyse."}])
            print(answer.choices[0].message.content)
        if os.environ.get("KILL"):
            os.kill(os.getpid(), 9)
"""


def test_a_kill_changes_nothing_of_it(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    root = migrated("gen3b")

    def run(*command: str, kill: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], env={**os.environ, "KILL": kill}, capture_output=True, text=True, check=False
        )

    assert run("-c", SCRIPT, str(root), kill="1").returncode == -9
    assert len(notes(root)) == 1
    ran = run("-c", SCRIPT, str(root), kill="")
    assert ran.stdout.splitlines() == [trees.answer(ONE, 1), trees.answer(ONE, 2)]
    assert len(notes(root)) == 2
    assert simulator.paid() == 0


def test_a_strict_run_is_given_them_too(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    root, client = migrated("gen3b"), openai.OpenAI()
    with custody.session("MVA", "experiment_2", root=root, strict=True) as s:
        with s.scope(corpus_file=ONE, run=1):
            answer = client.chat.completions.create(model="gemini-2.5-pro", messages=ASK)
        with s.scope(corpus_file=ONE, run=3), pytest.raises(custody.ReplayMiss):
            client.chat.completions.create(model="gemini-2.5-pro", messages=ASK)
    assert answer.choices[0].message.content == trees.answer(ONE, 1)
    assert simulator.paid() == 0


def test_two_processes_are_not_given_the_same_one(migrated: Migrated, simulator: Simulator, trees: Any) -> None:
    """Two children ask for the same document without a run: two answers, or one question with one answer."""
    root = migrated("gen3b")
    child = SCRIPT.replace("run=run", "worker=int(sys.argv[2])").replace("(1, 2)", "(1,)")
    parent = f"""
import subprocess, sys, custody
with custody.session("MVA", "experiment_2", root={str(root)!r}) as s:
    started = [subprocess.Popen([sys.executable, "-c", {child!r}, {str(root)!r}, str(n)]) for n in (1, 2)]
    sys.exit(max(p.wait() for p in started))
"""
    ran = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    given = notes(root)
    assert len({n["call"] for n in given}) == len(given) == 1  # other labels for one document: the second one pays
    assert simulator.paid() == 1


def test_a_session_with_more_answers_is_named(
    migrated: Migrated, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    root = migrated("gen3a")
    with custody.session("harbour", "01_smoke", root=root) as s:
        assert s.id == "session_20250714_170000"  # the newest, with one answer
    assert "session_20250714_130000 of the same experiment holds 2" in caplog.text
    assert "--session session_20250714_130000" in caplog.text
