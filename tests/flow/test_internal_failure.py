"""A defect of custody's own: the user's call goes on, once, and it is said loudly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.hooks.discovery import Found
from custody.pipeline import flow, outcome, turn
from custody.sessions import process
from custody.testing.simulator import Simulator

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Patches that can be undone before the others."""
    with pytest.MonkeyPatch.context() as patches:
        yield patches


@pytest.mark.parametrize(
    ("module", "name"),
    [(flow, "canonical_request"), (flow, "LiveTurn"), (turn.lines, "pack"), (outcome, "merge"), (turn, "stamp")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_defect_of_our_own_does_not_reach_the_user(
    sdk_env: Simulator, root: Path, patch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    module: Any, name: str, stream: bool,
) -> None:  # fmt: skip
    def broken(*args: object, **kwargs: object) -> Any:
        raise ZeroDivisionError("a defect")

    with custody.session("P", "E", root=root), openai.OpenAI() as client:
        installed = process.current()
        assert installed is not None
        installed.hooks.raise_errors = False
        patch.setattr(module, name, broken)
        for _ in range(2):
            made: Any = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream)
            if stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in made if chunk.choices)
            else:
                text = made.choices[0].message.content
            assert "answer" in text
        patch.undo()
    assert sdk_env.paid() == 2, "the call was repeated"
    assert "internal failure in" in caplog.text and "Please report this" in caplog.text


def test_under_pytest_a_defect_is_seen(sdk_env: Simulator, root: Path, patch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> Any:
        raise ZeroDivisionError("a defect")

    with custody.session("P", "E", root=root), openai.OpenAI(max_retries=0) as client:
        patch.setattr(flow, "canonical_request", broken)
        with pytest.raises((ZeroDivisionError, openai.APIConnectionError)) as seen:  # older SDKs wrap what they meet
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert ZeroDivisionError in (type(seen.value), type(seen.value.__cause__))


@pytest.mark.parametrize("hook", ["extract_forensics", "price_call", "exchange_durable"])
def test_only_a_budget_may_stop_a_call(
    sdk_env: Simulator, root: Path, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A CustodyError after the vendor has answered would look like a broken connection, and be paid again."""

    def raising(self: object) -> None:
        raise custody.UsageError("no")

    plugin = type("Plugin", (), {hook: custody.hookimpl(raising)})
    with custody.session("P", "E", root=root) as session, openai.OpenAI() as client:
        installed = process.current()
        assert installed is not None
        installed.hooks.raise_errors = False
        installed.hooks._register(Found("raising", "loaded", plugin()))
        installed.hooks._implementations.clear()
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).id
    assert sdk_env.paid() == 1 == len(custody.open(session.path).find(outcome="success"))
    assert f"plugin raising failed in {hook}" in caplog.text


def test_a_budget_stops_a_call_at_once(sdk_env: Simulator, root: Path) -> None:
    class Budget:
        @custody.hookimpl
        def check_budget(self) -> None:
            raise custody.UsageError("the budget is spent")

    with custody.session("P", "E", root=root) as session, openai.OpenAI(max_retries=5) as client:
        installed = process.current()
        assert installed is not None
        installed.hooks._register(Found("my-budget", "loaded", Budget()))
        installed.hooks._implementations.clear()
        with pytest.raises(custody.UsageError, match="the budget is spent"):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert sdk_env.paid() == 0
    assert custody.open(session.path).calls() == []
