"""A plan over restarts: more runs, more documents, another order; scopes that are left when the loop is."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.identity import scope
from custody.research.matrix import Item


class Study:
    """One experiment that is started again and again."""

    def __init__(self, root: Path) -> None:
        self.root, self.transport = root, EchoTransport()
        self.client = EchoClient(transport=self.transport)
        self.id: str | None = None

    def start(self) -> custody.Session:
        opened = custody.session("P", "E", root=self.root, session=self.id)
        self.id = opened.id
        return opened

    def ask(self, text: str) -> int:
        return self.client.say(text).serial

    @property
    def sent(self) -> int:
        return len(self.transport.requests)


@pytest.fixture
def study(root: Path) -> Study:
    return Study(root)


def walk(study: Study, s: custody.Session, documents: Any, runs: int, **options: Any) -> dict[tuple[str, int], int]:
    """Every item asks the very same: only its labels tell its answer."""
    return {(item.name, item.run): study.ask("same") for item in s.plan(documents, runs=runs, **options)}


def test_more_runs_more_documents_another_order_send_only_what_is_new(study: Study) -> None:
    with study.start() as s:
        first = walk(study, s, ["a", "b"], 6)
    assert study.sent == 12
    with study.start() as s:
        more = walk(study, s, ["a", "b"], 10)
    assert study.sent == 20
    with study.start() as s:
        most = walk(study, s, ["c", "b", "a"], 10)
    assert study.sent == 30
    assert {key: more[key] for key in first} == first
    assert {key: most[key] for key in more} == more
    assert len(set(most.values())) == 30, "no answer is used for two runs"


def test_items_that_are_complete_are_skipped_on_request(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LookupError), study.start() as s:
        for item in s.plan(["a", "b"], runs=2):
            study.ask("same")
            if (item.name, item.run) == ("b", 1):
                raise LookupError
    with study.start() as s:
        plan = s.plan(["a", "b"], runs=3, skip_complete=True)
        assert [(i.name, i.run) for i in plan.holes()] == [("a", 3), ("b", 1), ("b", 2), ("b", 3)]
        worked = [(item.name, item.run, study.ask("same")) for item in plan]
        assert [(name, run) for name, run, _ in worked] == [("a", 3), ("b", 1), ("b", 2), ("b", 3)]
        # What the skipped items used stays used.
        with s.scope(corpus_file="a", run=1):
            study.ask("same")
    assert study.sent == 7
    assert "item (2 done before): 6 of 6" in capsys.readouterr().err
    events = [json.loads(line) for line in (s.path / "SESSION_CHRONOLOG.jsonl").read_text().splitlines()]
    count = Counter(event["event"] for event in events)
    assert (count["agent_spawn"], count["analysis_complete"]) == (3 + 4, 2 + 4)
    done = next(event for event in events if event["event"] == "analysis_complete")
    assert (done["corpus_file"], done["run"]) == ("a", 1)


def test_the_scope_is_left_with_the_loop(study: Study) -> None:
    seen = []
    with study.start() as s, s.scope(outer=1):
        plan = s.plan(["a", "b"], runs=2, progress=False)
        for item in plan:
            seen.append(dict(scope.current().labels))
            for inner in s.plan(["x"], conditions=["hot", "cold"], progress=False):
                seen.append(dict(scope.current().labels))
                assert inner.condition in ("hot", "cold")
                break
            assert scope.current().labels == {"outer": 1, **item.labels}
            if item.run == 2:
                break
        assert scope.current().labels == {"outer": 1}
        with pytest.raises(LookupError):
            for item in plan:
                raise LookupError(item.name)
        assert scope.current().labels == {"outer": 1}

        def left_by_return() -> Item:
            for item in plan:
                return item
            raise AssertionError

        assert left_by_return().name == "a"
        assert scope.current().labels == {"outer": 1}
    assert seen[:2] == [
        {"outer": 1, "corpus_file": "a", "run": 1},
        {"outer": 1, "corpus_file": "x", "condition": "hot", "run": 1},
    ]


def test_an_asynchronous_loop(study: Study) -> None:
    async def main(s: custody.Session) -> list[str]:
        names = []
        async for item in s.plan(["a", "b", "c"], progress=False):
            await asyncio.sleep(0)
            assert scope.current().labels == item.labels
            names.append(item.name)
            if item.name == "b":
                break
        assert not scope.current().labels
        return names

    with study.start() as s:
        assert asyncio.run(main(s)) == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 5])
def test_map_gives_kept_results_in_order(study: Study, workers: int) -> None:
    most, now, lock, full = 0, 0, threading.Lock(), threading.Event()
    calls = Counter[str]()

    def analyse(item: Item) -> tuple[str, int, int]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
            if most == workers:
                full.set()
        assert scope.current().labels == {"stage": "analysis", **item.labels}
        calls[item.key] += 1
        answer = study.ask("same")
        full.wait(20)
        with lock:
            now -= 1
        return item.name, item.run, answer

    def start(s: custody.Session, runs: int) -> list[tuple[str, int, int]]:
        with s.stage("analysis"):
            return s.plan(["a", "b", "c"], runs=runs).map(analyse, workers=workers)

    with study.start() as s:
        first = start(s, 2)
    assert [(name, run) for name, run, _ in first] == [(n, r) for n in "abc" for r in (1, 2)]
    assert most == workers
    with study.start() as s:
        again = start(s, 3)
    assert [row for row in again if row[1] < 3] == first
    assert study.sent == 9
    assert set(calls.values()) == {1}, "what is kept is not worked on again"


def test_map_stops_at_an_error_and_goes_on_from_there(study: Study) -> None:
    broken = True

    def analyse(item: Item) -> int:
        answer = study.ask("same")
        if broken and item.name == "d3":
            raise AttributeError("'str' object has no attribute 'get'")
        return answer

    documents = [f"d{n}" for n in range(40)]
    with pytest.raises(AttributeError), study.start() as s:
        s.plan(documents).map(analyse, workers=4)
    assert study.sent < 40
    broken = False
    with study.start() as s:
        assert len(set(s.plan(documents).map(analyse, workers=4))) == 40
    assert study.sent == 40


def test_amap(study: Study) -> None:
    in_flight, most = 0, 0

    async def analyse(item: Item) -> str:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        assert scope.current().labels == item.labels
        await asyncio.sleep(0.005)
        in_flight -= 1
        if item.run == 9 and broken:
            raise LookupError("nine")
        return f"{item.name}{item.run}"

    broken = True
    with study.start() as s:
        with pytest.raises(LookupError, match="nine"):
            asyncio.run(s.plan(["a"], runs=12).amap(analyse, workers=3))
        broken = False
        assert asyncio.run(s.plan(["a"], runs=12).amap(analyse, workers=3)) == [f"a{n}" for n in range(1, 13)]
    assert most == 3


def test_a_changed_document_is_worked_on_again(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus" / "über uns").mkdir(parents=True)
    (tmp_path / "corpus" / "a (1).txt").write_text("one")
    (tmp_path / "corpus" / "über uns" / "речь.txt").write_text("two")
    (tmp_path / "corpus" / ".DS_Store").write_text("not a document")

    def analyse(item: Item) -> tuple[str, int]:
        return item.name, study.ask(item.text)

    with study.start() as s:
        first = s.plan("corpus/**/*.txt").map(analyse)
        assert [name for name, _ in first] == ["a (1).txt", "über uns/речь.txt"]
        assert [item.name for item in s.plan("corpus", progress=False)] == ["a (1).txt", "über uns/речь.txt"]
    (tmp_path / "corpus" / "a (1).txt").write_text("one, edited")
    with caplog.at_level(logging.WARNING), study.start() as s:
        again = s.plan("corpus/**/*.txt").map(analyse)
    assert again[1] == first[1]
    assert study.sent == 3
    assert "analyse was completed before, but its inputs changed" in caplog.text


def test_a_failed_item_stays_pending(study: Study) -> None:
    with study.start() as s:
        plan = s.plan(["a", "b"])
        for item in plan:
            if item.name == "a":
                plan.fail(item)
        assert [item.name for item in plan.holes()] == ["a"]
        queue = json.loads((s.path / "fault_recovery" / "pending_work_queue.json").read_text())
    (recorded,) = queue["plans"]
    assert recorded["pending"] == [{"corpus_file": "a", "run": 1}]
    assert (recorded["items"], recorded["pending_count"], recorded["documents"]) == (2, 1, ["a", "b"])


@pytest.mark.parametrize(
    ("corpus", "options", "said"),
    [
        ([], {}, "corpus is empty"),
        ("no/such/*.txt", {}, "matches no file"),
        ([Path("a/x.txt"), Path("b/x.txt")], {}, "share their name"),
        ([object()], {}, "without a name"),
        (7, {}, "not int"),
        (["a"], {"runs": 0}, "at least 1"),
        (["a"], {"runs": [1, 1]}, "different numbers"),
        (["a"], {"conditions": {"run": ["x"]}}, "the plan's own"),
        (["a"], {"conditions": {"model": "gpt"}}, "needs a list"),
        (["a"], {"conditions": []}, "no level"),
    ],
)
def test_wrong_plans(study: Study, corpus: Any, options: dict[str, Any], said: str) -> None:
    with study.start() as s, pytest.raises(custody.UsageError, match=said):
        s.plan(corpus, **options)


def test_factors_are_crossed(study: Study) -> None:
    with study.start() as s:
        plan = s.plan({"a": {"title": "A"}}, runs=[3, 5], conditions={"model": ["x", "y"], "tone": [1, 2, 3]})
        assert len(plan) == len(list(plan)) == 12
        item = next(iter(plan.matrix))
    assert item.labels == {"corpus_file": "a", "model": "x", "tone": 1, "run": 3}
    assert item.document == {"title": "A"}
