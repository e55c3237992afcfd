"""A finished program replays without vendor and network; strict names what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import custody
from custody.testing.simulator import Fault, Simulator

GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-6"
HELLO: Any = [{"role": "user", "content": "Say hello to the harbour."}]


def program(session: custody.Session, prompt: Any = HELLO) -> list[Any]:
    """One of everything, as plain data."""
    gpt, claude = openai.OpenAI(), anthropic.Anthropic()
    found: list[Any] = []
    for run in range(2):
        with session.scope(run=run):
            found.append(gpt.chat.completions.create(model=GPT, messages=prompt).model_dump())
    found.append([c.model_dump() for c in gpt.chat.completions.create(model=GPT, messages=prompt, stream=True)])
    found.append([e.model_dump() for e in gpt.responses.create(model=GPT, input="Hello", stream=True)])
    found.append(gpt.embeddings.create(model="text-embedding-3-small", input="Hello").model_dump())
    raw = gpt.chat.completions.with_raw_response.create(model=GPT, messages=prompt)
    found.append((raw.content, raw.headers.get("x-request-id"), raw.parse().model_dump()))
    with gpt.chat.completions.with_streaming_response.create(model=GPT, messages=prompt) as streamed:
        found.append(list(streamed.iter_bytes()))
    found.append(claude.messages.create(model=CLAUDE, max_tokens=99, messages=prompt).model_dump())
    with claude.messages.stream(model=CLAUDE, max_tokens=99, messages=prompt) as stream:
        found.append([event.model_dump() for event in stream])
    found.append(asyncio.run(_concurrent(session, prompt)))
    gpt.close()
    claude.close()
    return found


async def _concurrent(session: custody.Session, prompt: Any) -> list[Any]:
    async with openai.AsyncOpenAI() as gpt, anthropic.AsyncAnthropic() as claude:

        async def one(run: int) -> Any:
            with session.scope(run=run, part="async"):
                whole = await gpt.chat.completions.create(model=GPT, messages=prompt)
                stream = await claude.messages.create(model=CLAUDE, max_tokens=99, messages=prompt, stream=True)
                return whole.model_dump(), [event.model_dump() async for event in stream]

        return await asyncio.gather(*(one(run) for run in range(8)))


def test_replays_without_vendor_and_network(
    sdk_env: Simulator, root: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with custody.session("P", "E", root=root) as recording:
        first = program(recording)
    paid = sdk_env.paid()
    sdk_env.stop()
    request.getfixturevalue("no_network")
    with custody.session("P", "E", root=root, session=recording.id, strict=True) as replaying:
        second = program(replaying)
    assert second == first
    assert paid == len(custody.open(recording.path).calls())


def test_strict_names_the_difference_at_once(sdk_env: Simulator, root: Path) -> None:
    with custody.session("P", "E", root=root) as recording:
        program(recording)
    paid = sdk_env.paid()
    other = [{"role": "user", "content": "Say hello to the harbor."}]
    gpt, claude = openai.OpenAI(max_retries=5), anthropic.Anthropic(max_retries=5)
    with custody.session("P", "E", root=root, session=recording.id, strict=True):
        with pytest.raises(custody.ReplayMiss, match=r"messages\[0\]\.content at character") as missed:
            gpt.chat.completions.create(model=GPT, messages=other)
        assert "harbour" in str(missed.value) and "harbor." in str(missed.value)
        with pytest.raises(custody.ReplayMiss, match="max_tokens: archived 99, asked 100"):
            claude.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)
        with pytest.raises(custody.ReplayMiss, match="archived, but in the scope"), recording_scope(run=7):
            gpt.chat.completions.create(model=GPT, messages=HELLO)

        async def in_async() -> None:
            async with openai.AsyncOpenAI(max_retries=5) as client:
                await client.chat.completions.create(model=GPT, messages=other, stream=True)

        with pytest.raises(custody.ReplayMiss):
            asyncio.run(in_async())
    assert sdk_env.paid() == paid, "a strict miss was sent"
    gpt.close()
    claude.close()


def recording_scope(**labels: object) -> Any:
    from custody.identity import scope

    return scope.labelled(labels)


def test_an_error_is_replayed_only_when_nothing_may_be_sent(sdk_env: Simulator, root: Path) -> None:
    sdk_env.inject(Fault(status=429, retry_after=0), times=10)
    gpt = openai.OpenAI(max_retries=1)
    with custody.session("P", "E", root=root) as recording, pytest.raises(openai.RateLimitError) as first:
        gpt.chat.completions.create(model=GPT, messages=HELLO)
    call = custody.open(recording.path).calls()[0]
    assert (call.outcome, [a["status"] for a in call.fields["attempts"]]) == ("error", [429, 429])
    assert not call.success
    with custody.session("P", "E", root=root, session=recording.id, strict=True):
        with pytest.raises(openai.RateLimitError) as second:
            gpt.chat.completions.create(model=GPT, messages=HELLO)
        assert second.value.body == first.value.body
    sdk_env.reset()
    with custody.session("P", "E", root=root, session=recording.id):
        answer = gpt.chat.completions.create(model=GPT, messages=HELLO)
    assert answer.choices[0].message.content
    assert sdk_env.paid() == 1, "an error was replayed although the vendor could be asked again"
    gpt.close()
