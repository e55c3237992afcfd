"""Stages and steps over restarts: what is skipped, what runs again, and that nothing is paid twice for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody


@dataclass
class Row:
    text: str
    run: int


class Lab:
    """One experiment that is started again and again; ``sent`` counts what a vendor would have seen."""

    def __init__(self, root: Path) -> None:
        self.root, self.transport = root, EchoTransport()
        self.client = EchoClient(transport=self.transport)
        self.session: str | None = None

    def start(self) -> custody.Session:
        opened = custody.session("P", "E", root=self.root, session=self.session)
        self.session = opened.id
        return opened

    def say(self, text: str) -> str:
        answer = self.client.say(text)
        return f"{answer.text} {answer.serial}"

    @property
    def sent(self) -> int:
        return len(self.transport.requests)


@pytest.fixture
def lab(root: Path) -> Iterator[Lab]:
    return Lab(root)


def test_a_completed_stage_gives_its_state_back(lab: Lab) -> None:
    worked = 0

    def study(s: custody.Session) -> Any:
        nonlocal worked
        with s.stage("analysis", inputs={"documents": ["a", "b"]}) as stage:
            if not stage.completed:
                worked += 1
                stage.save([Row(lab.say(text), 1) for text in ("a", "b")])
        return stage.state

    with lab.start() as s:
        first = study(s)
    with lab.start() as s:
        assert study(s) == first
        assert isinstance(first[0], Row)
    assert (worked, lab.sent) == (1, 2)


def test_changed_inputs_run_again_and_say_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def study(s: custody.Session, documents: list[str]) -> tuple[bool, str | None]:
        with s.stage("analysis", inputs=documents) as stage:
            if not stage.completed:
                stage.save([lab.say(text) for text in documents])
        return stage.completed, stage.changed

    with lab.start() as s:
        assert study(s, ["a", "b"]) == (False, None)
    with caplog.at_level(logging.WARNING), lab.start() as s:
        assert study(s, ["a", "b", "c"]) == (False, "its inputs changed")
    assert "analysis was completed before, but its inputs changed" in caplog.text
    assert lab.sent == 3, "only the new document was sent"
    with lab.start() as s:
        assert study(s, ["a", "b", "c"]) == (True, None)
    events = (s.path / "SESSION_CHRONOLOG.jsonl").read_text()
    assert '"changed":"its inputs changed"' in events
    assert events.count('"event":"checkpoint"') == 2
    assert events.count('"skipped":true') == 1


def test_a_step_is_skipped_by_itself(lab: Lab) -> None:
    worked: list[str] = []

    def study(s: custody.Session) -> list[Row]:
        @s.step(labels=("document", "run"), ignore=("client",))
        def analyse(client: EchoClient, document: str, run: int) -> Row:
            worked.append(document)
            return Row(str(client.say(f"Analyse {document}").serial), run)

        return [analyse(lab.client, document, run=run) for document in ("a", "b") for run in range(3)]

    with lab.start() as s:
        first = study(s)
    with lab.start() as s:
        assert study(s) == first
    assert (len(worked), lab.sent) == (6, 6)
    scopes = [call.scope for call in custody.open(s.path).calls()]
    assert scopes[0] == {"document": "a", "run": 0, "stage": "analyse"}


def test_a_step_whose_code_changed_runs_again_from_the_archive(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def first_version(text: str) -> str:
        return lab.say(text)

    def second_version(text: str) -> str:
        return lab.say(text).upper()

    with lab.start() as s:
        first = s.step(first_version, name="extract")("word")
    with caplog.at_level(logging.WARNING), lab.start() as s:
        assert s.step(name="extract")(second_version)("word") == first.upper()
        assert s.step(name="extract")(second_version)("word") != first.upper()
    assert "extract was completed before, but its code changed" in caplog.text
    assert lab.sent == 2, "the second call in one scope is another replicate"


def test_a_step_whose_input_changed_says_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def study(s: custody.Session, threshold: float) -> None:
        @s.step
        def synthesis(rows: list[str], threshold: float) -> list[str]:
            return rows[: int(threshold)]

        synthesis(["a", "b"], threshold)

    with caplog.at_level(logging.WARNING), lab.start() as s:
        study(s, 1)
        assert "synthesis" not in caplog.text
    with caplog.at_level(logging.WARNING), lab.start() as s:
        study(s, 2)
    assert "synthesis was completed before, but its inputs changed" in caplog.text


def test_a_step_in_a_loop_has_not_changed_its_input(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with lab.start() as s:
        s.step(len)(["a"])
    with caplog.at_level(logging.WARNING), lab.start() as s:
        for text in ("a", "b", "c"):
            s.step(len)([text])
    assert "changed" not in caplog.text


def test_skipped_steps_keep_their_answers(lab: Lab) -> None:
    """The same question outside of the step, later: it is given no answer that the step had used."""

    def study(s: custody.Session, *, outside: int) -> list[str]:
        with s.stage("outer"):

            @s.step
            def draft() -> str:
                return lab.say("same")

            inner = draft()
            with s.stage("draft"):
                rest = [lab.say("same") for _ in range(outside)]
        return [inner, *rest]

    with lab.start() as s:
        first = study(s, outside=1)
    with lab.start() as s:
        again = study(s, outside=2)
    assert again[:2] == first
    assert len(set(again)) == 3
    assert lab.sent == 3
    # The outer stage was completed by a start that skipped the step: who skips it now skips that answer, too.
    with lab.start() as s:
        with s.stage("outer") as stage:
            assert stage.completed
        entries = json.loads(next(s.path.glob("system_state/stage_*_outer_complete.json")).read_text())["entries"]
        assert len(entries["1"]["answers"]) == 3


def test_steps_in_threads_and_coroutines(lab: Lab) -> None:
    worked: list[int] = []

    def study(s: custody.Session) -> tuple[list[int], list[int]]:
        @s.step
        def double(n: int) -> int:
            worked.append(n)
            return 2 * n

        @s.step
        async def triple(n: int) -> int:
            worked.append(n)
            await asyncio.sleep(0)
            return 3 * n

        async def all_of_them() -> list[int]:
            return await asyncio.gather(*(triple(n) for n in range(8)))

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(double, range(8))), asyncio.run(all_of_them())

    with lab.start() as s:
        first = study(s)
    assert first == ([2 * n for n in range(8)], [3 * n for n in range(8)])
    with lab.start() as s:
        assert study(s) == first
    assert len(worked) == 16


def test_stages_in_labelled_scopes_in_another_order(lab: Lab) -> None:
    def study(s: custody.Session, order: list[str]) -> dict[str, Any]:
        states = {}
        for document in order:
            with s.scope(corpus_file=document), s.stage("extract") as stage:
                if not stage.completed:
                    stage.save(lab.say(document))
            states[document] = stage.state
        return states

    with lab.start() as s:
        first = study(s, ["a", "b"])
    with lab.start() as s:
        again = study(s, ["c", "b", "a"])
    assert {name: again[name] for name in first} == first
    assert lab.sent == 3


@pytest.mark.parametrize("damage", [b"", b"{", b'{"entries": []}', b'{"entries": {"1": 7}}', b"\xff\xff", None])
def test_a_lost_or_torn_checkpoint_costs_no_money(lab: Lab, damage: bytes | None) -> None:
    worked = 0

    def study(s: custody.Session) -> tuple[Any, str]:
        nonlocal worked

        @s.step
        def analyse(text: str) -> str:
            nonlocal worked
            worked += 1
            return lab.say(text)

        with s.stage("analysis") as stage:
            if not stage.completed:
                stage.save(lab.say("a"))
        return stage.state, analyse("b")

    with lab.start() as s:
        first = study(s)
    for file in (*s.path.glob("system_state/stage_*"), *s.path.glob("system_state/steps/*")):
        file.unlink() if damage is None else file.write_bytes(damage)
    with lab.start() as s:
        assert study(s) == first
    assert (worked, lab.sent) == (2, 2)
    with lab.start() as s:
        assert study(s) == first
    assert worked == 2, "the checkpoint was made anew"


def test_what_cannot_be_kept_stops_nothing(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def study(s: custody.Session) -> object:
        @s.step
        def analyse(text: str) -> object:
            lab.say(text)
            return object()

        return analyse("a")

    with caplog.at_level(logging.WARNING), lab.start() as s:
        assert type(study(s)) is object
    assert "analyse keeps nothing and runs again on resume: value is a builtins.object" in caplog.text
    with lab.start() as s:
        study(s)
    assert lab.sent == 1


def test_a_secret_is_not_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MY_API_KEY", "canary-1234567890abcdef")
    with caplog.at_level(logging.WARNING), lab.start() as s, s.stage("analysis") as stage:
        stage.save({"header": "canary-1234567890abcdef"})
    assert "holds a secret" in caplog.text
    assert not any(b"canary" in path.read_bytes() for path in s.path.rglob("*") if path.is_file())
    with lab.start() as s, s.stage("analysis") as stage:
        assert not stage.completed


def test_wrong_use(lab: Lab) -> None:
    with lab.start() as s:
        with pytest.raises(custody.UsageError, match=r"\['client'\] is a .*EchoClient.*ignore="):
            s.step(_takes_a_client)(lab.client)
        with pytest.raises(custody.UsageError, match="needs a name"):
            s.step(lambda: 1)
        with pytest.raises(custody.UsageError, match="generator"):
            s.step(_generator)
        with pytest.raises(custody.UsageError, match="has no argument 'run'"):
            s.step(labels=("run",))(_takes_a_client)
        with pytest.raises(custody.UsageError, match="cannot be a folder's name"):
            s.step(name="a/b")(_takes_a_client)
        kept = s.step(_plain)
    with pytest.raises(custody.UsageError, match="is closed"):
        kept()


def _takes_a_client(client: object) -> int:
    return 1


def _generator() -> Iterator[int]:
    yield 1


def _plain() -> int:
    return 1
