"""Which salvaged answer a call may have: better none than a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from custody.exchange import RequestHead
from custody.journal.archive import StoredCall
from custody.salvage import asked, matching
from custody.salvage.asked import Asked
from custody.salvage.matching import Bindings
from custody.salvage.stored import Salvaged

NOTHING: Any = None


def answer(name: str, document: str | None = "a.txt", run: int | None = 1, **more: Any) -> Salvaged:
    fields: dict[str, Any] = {
        "origin": "reconstructed", "stage": None, "model": "vertex_ai/gemini-2.5-pro", "agent": "analysis_agent",
        "ended": f"2025-07-17T00:00:0{run or 0}Z", "tokens": (None, None), "prompt_recorded": False,
    }  # fmt: skip
    call: StoredCall = NOTHING
    return Salvaged(name, corpus_file=document, run=run, call=call, **{**fields, **more})


def question(body: bytes = b'{"model": "gemini-2.5-pro"}', **labels: Any) -> Asked:
    return asked.read(labels, RequestHead("POST", "https://x.example/v1/chat/completions", ()), body)


def ids(given: Asked, *shelf: Salvaged, bound: Bindings | None = None) -> list[str]:
    return [one.id for one in matching.candidates(given, shelf, bound or Bindings(), lambda one: None)[0]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.txt", "a.txt", True),
        ("a", "a.txt", True),
        ("a.txt", "a", True),
        ("corpus/a.txt", "/data/corpus/a.txt", True),
        ("C:\\corpus\\a.txt", "a.txt", True),
        ("a.md", "a.txt", False),
        ("A.txt", "a.txt", False),
        ("speech_v1.2", "speech_v1.2.txt", True),
        ("u\u0308ber.txt", "\u00fcber.txt", True),  # the same letters, composed and not
        ("a.txt", "aa.txt", False),
    ],
)
def test_documents(one: str, other: str, same: bool) -> None:
    assert matching.same_document(one, other) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gemini-2.5-pro", "vertex_ai/gemini-2.5-pro", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("GPT-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("openai/gpt-4o", "azure/gpt-4o", False),
        ("gpt-4o", None, True),
        (None, "gpt-4o", False),
    ],
)
def test_models(one: str | None, other: str | None, same: bool) -> None:
    assert matching.same_model(one, other) is same


def test_labels_by_other_names() -> None:
    shelf = (answer("1"), answer("2", run=2), answer("other", document="b.txt"))
    assert ids(question(document="a.txt", run_number=2), *shelf) == ["2"]
    assert ids(question(doc="a", rep="run_1"), *shelf) == ["1"]
    assert ids(question(file="corpus/a.txt"), *shelf) == ["1", "2"]
    assert ids(question(run=1), *shelf) == []
    assert ids(question(corpus_file="a.txt", run=7), *shelf) == []


def test_an_exact_name_goes_before_a_stem() -> None:
    shelf = (answer("stem", document="a"), answer("exact", document="a.txt"))
    assert ids(question(corpus_file="a.txt", run=1), *shelf) == ["exact"]
    assert ids(question(corpus_file="a.md", run=1), *shelf) == ["stem"]


def test_stages() -> None:
    one = answer("1")
    for stage in ("analysis", "Analyse", "analysis/second", "stage_1", "llm"):
        assert ids(question(corpus_file="a.txt", run=1, stage=stage), one) == ["1"], stage
    for stage in ("synthesis", "extraction", "screening"):
        assert ids(question(corpus_file="a.txt", run=1, stage=stage), one) == [], stage
    bound = Bindings()
    bound.bind(question(corpus_file="a.txt", run=1, stage="stage_1"), one)
    assert ids(question(corpus_file="a.txt", run=2, stage="stage_2"), answer("2", run=2), bound=bound) == []
    assert ids(question(corpus_file="a.txt", run=2, stage="stage_1"), answer("2", run=2), bound=bound) == ["2"]
    named = answer("3", stage="coding")
    assert ids(question(corpus_file="a.txt", run=1, stage="coding"), named) == ["3"]
    assert ids(question(corpus_file="a.txt", run=1, stage="analysis"), named) == []


def test_other_labels_are_the_same_for_one_document() -> None:
    bound, two = Bindings(), answer("2", run=2)
    bound.bind(question(corpus_file="a.txt", run=1, condition="A"), answer("1"))
    assert ids(question(corpus_file="a.txt", run=2, condition="A"), two, bound=bound) == ["2"]
    assert ids(question(corpus_file="a.txt", run=2, condition="B"), two, bound=bound) == []
    assert ids(question(corpus_file="b.txt", run=1, condition="B"), answer("3", document="b.txt"), bound=bound) == ["3"]


def test_runs_from_nought() -> None:
    shelf = (answer("1"), answer("2", run=2))
    bound = Bindings()
    assert ids(question(corpus_file="a.txt", run=0), *shelf, bound=bound) == ["1"]
    bound.bind(question(corpus_file="a.txt", run=0), shelf[0])
    assert ids(question(corpus_file="a.txt", run=1), shelf[1], bound=bound) == ["2"]
    bound = Bindings()
    bound.bind(question(corpus_file="a.txt", run=1), shelf[0])
    assert ids(question(corpus_file="a.txt", run=0), shelf[1], bound=bound) == []
    assert ids(question(corpus_file="a.txt", run=0), answer("0", run=0), answer("1")) == ["0"]


def test_texts_are_compared_letter_by_letter() -> None:
    prompts = {"plain": "Say it.", "both": "=== SYSTEM PROMPT ===\nBe brief.\n\n=== USER PROMPT ===\nSay it."}
    shelf = [answer(name, document=None, run=None, prompt_recorded=True) for name in prompts]

    def found(body: bytes, **labels: Any) -> list[str]:
        given = question(body, **labels)
        return [one.id for one in matching.candidates(given, shelf, Bindings(), lambda one: prompts[one.id])[0]]

    asks = b'{"model": "gemini-2.5-pro", "messages": [%b{"role": "user", "content": %b}]}'
    system = b'{"role": "system", "content": "Be brief."}, '
    assert found(asks % (b"", b'"Say it."')) == ["plain"]
    assert found(asks % (system, b'[{"type": "text", "text": "Say it."}]')) == ["plain", "both"]
    assert found(asks % (system, b'"Say it"')) == []
    gemini = b'{"contents": [{"parts": [{"text": "Say it."}]}], "model": "gemini-2.5-pro"}'
    assert found(gemini) == ["plain"]
    conversation = b'{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}, '
    assert found(asks % (conversation, b'"Say it."')) == []
    assert found(b"[]") == found(b"\xff") == found(b'{"model": "gemini-2.5-pro", "messages": [7]}') == []


def test_the_model_of_a_gemini_request_is_in_its_path() -> None:
    head = RequestHead("POST", "https://x.example/v1beta/models/gemini-2.5-pro:generateContent", ())
    assert asked.read({}, head, b"{}").model == "gemini-2.5-pro"
