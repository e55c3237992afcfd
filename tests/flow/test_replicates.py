"""Six runs of one prompt stay six answers, whoever asks and in whatever order."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import openai
import pytest

import custody
from custody.testing.simulator import Fault, Simulator

HELLO: Any = [{"role": "user", "content": "Hello"}]


def ask(client: openai.OpenAI) -> str:
    return client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content or ""


def test_six_threads_without_labels(sdk_env: Simulator, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    client, together = openai.OpenAI(), Barrier(6)
    sdk_env.latency = 0.1
    answers: list[str] = []

    def work() -> None:
        together.wait()
        answers.append(ask(client))

    with caplog.at_level(logging.WARNING, "custody"), custody.session("P", "E", root=root) as s:
        threads = [Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(answers)) == 6
    warnings = [r.getMessage() for r in caplog.records if "in flight twice" in r.getMessage()]
    assert len(warnings) == 1 and "session.scope(run=...)" in warnings[0]
    stored = custody.open(s.path)
    assert sorted(call.fields["replicate"] for call in stored.calls()) == [1, 2, 3, 4, 5, 6]
    assert [n["note"] for n in stored.archive.notes] == ["unlabelled_replicates"]
    with custody.session("P", "E", root=root, session=s.id, strict=True):
        assert {ask(client) for _ in range(6)} == set(answers)
        with pytest.raises(custody.ReplayMiss, match="archived in this scope 6 times"):
            ask(client)
    client.close()


def test_labels_survive_another_order_and_threads(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI()

    def collect(session: custody.Session, order: list[int]) -> dict[int, str]:
        with ThreadPoolExecutor(4) as pool:
            futures = {}
            for run in order:
                with session.scope(run=run):
                    futures[run] = pool.submit(ask, client)
            return {run: future.result() for run, future in futures.items()}

    with custody.session("P", "E", root=root) as s:
        first = collect(s, [0, 1, 2, 3, 4, 5])
    assert len(set(first.values())) == 6
    with custody.session("P", "E", root=root, session=s.id) as s:
        again = collect(s, [5, 3, 1, 0, 2, 4, 6])
    assert {run: again[run] for run in first} == first
    assert again[6] not in first.values()
    assert sdk_env.paid() == 7
    client.close()


def test_a_failed_call_consumes_no_replicate(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root) as s:
        sdk_env.inject(Fault(status=500))
        with pytest.raises(openai.InternalServerError):
            ask(client)
        first, second = ask(client), ask(client)
    assert [c.fields["replicate"] for c in custody.open(s.path).calls()] == [1, 1, 2]
    with custody.session("P", "E", root=root, session=s.id):
        assert [ask(client), ask(client)] == [first, second]
    client.close()


def test_the_users_own_second_question_gets_a_second_answer(sdk_env: Simulator, root: Path) -> None:
    """After a parse failure people ask again: a cache keyed on the prompt would loop for ever."""
    client = openai.OpenAI()
    with custody.session("P", "E", root=root) as s, s.scope(run=1):
        answers = [ask(client), ask(client)]
    assert len(set(answers)) == 2
    with custody.session("P", "E", root=root, session=s.id, strict=True) as s, s.scope(run=1):
        assert [ask(client), ask(client)] == answers
    client.close()


def test_a_skipped_stage_keeps_its_answers(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI()

    def study(session: custody.Session, *, skip: bool) -> list[str]:
        with session.stage("draft") as stage:
            assert stage.completed == skip
            first = [] if skip else [ask(client), ask(client)]
        with session.stage("draft"):
            return [*first, ask(client)]

    with custody.session("P", "E", root=root) as s:
        first = study(s, skip=False)
    with custody.session("P", "E", root=root, session=s.id) as s:
        assert study(s, skip=True) == first[2:], "the second entry was given an answer of the skipped first one"
    assert sdk_env.paid() == 3
    client.close()


def test_a_stage_in_a_loop_pays_once(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI()

    def study(session: custody.Session) -> list[str]:
        answers = []
        for _ in range(4):
            with session.stage("analysis"):
                answers.append(ask(client))
        return answers

    with custody.session("P", "E", root=root) as s:
        first = study(s)
    with custody.session("P", "E", root=root, session=s.id) as s:
        assert study(s) == first
    assert sdk_env.paid() == 4
    client.close()
