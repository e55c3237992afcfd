"""A strict replay of a program that handled failures: each failure once, in its place, and every answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

import custody
from custody.testing.simulator import Fault, Simulator


def ask(client: openai.OpenAI) -> str:
    try:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "same"}])
    except openai.OpenAIError as error:
        return type(error).__name__
    return str(answer.choices[0].message.content)


def run(workers: int) -> list[str]:
    with openai.OpenAI(max_retries=0) as client, ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda _: ask(client), range(5)))


@pytest.mark.parametrize("workers", [1, 5])
def test_each_failure_once_and_every_answer(sdk_env: Simulator, root: Path, workers: int) -> None:
    sdk_env.latency = 0.02
    sdk_env.inject(Fault(status=500))
    sdk_env.inject(Fault(status=403))
    with custody.session("P", "E", root=root) as session:
        recorded = run(workers)
    assert sorted(word for word in recorded if word.endswith("Error")) == [
        "InternalServerError",
        "PermissionDeniedError",
    ]
    sdk_env.stop()
    with custody.session("P", "E", root=root, session=session.id, strict=True):
        replayed = run(workers)
    if workers == 1:
        assert replayed == recorded
    assert sorted(replayed) == sorted(recorded)


def test_a_failure_that_a_resume_asked_again_is_not_repeated(sdk_env: Simulator, root: Path) -> None:
    sdk_env.inject(Fault(status=500))
    with openai.OpenAI(max_retries=0) as client:
        with custody.session("P", "E", root=root) as session:
            assert ask(client) == "InternalServerError"
        with custody.session("P", "E", root=root, session=session.id):
            said = ask(client)
        sdk_env.stop()
        with custody.session("P", "E", root=root, session=session.id, strict=True):
            assert ask(client) == said
