"""The OpenAI SDK's streams: the vendor's chunks, cut as the vendor cuts them, none waiting for the next."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai._response import AsyncAPIResponse

from custody.testing import both
from custody.testing.both import entered, every
from custody.testing.simulator import Fault

Tour = Generator[Any, Any, Any]

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
SAY: Any = {"model": "gpt-4o", "input": "Say something about rivers."}


def chunk_by_chunk(three_ways: Any, read: Callable[[Any], Any], ask: Callable[[Any], Any]) -> Callable[[Any], Tour]:
    """The vendor writes the next chunk when the program has the last one: a chunk that waits for another hangs."""

    def steps(client: Any) -> Tour:
        stream = yield entered(ask(client))
        return (yield every(read(stream), seen=lambda _: three_ways.sim.release()))

    return steps


def raw_of(stream: Any) -> Any:
    asynchronous = isinstance(stream, AsyncAPIResponse)
    return stream.http_response.aiter_raw() if asynchronous else stream.http_response.iter_raw()


READERS: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda stream: stream.iter_bytes(),
    "text": lambda stream: stream.iter_text(),
    "raw": raw_of,
}
ASKS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda client: client.chat.completions.with_streaming_response.create(**ASK, stream=True),
    "responses": lambda client: client.responses.with_streaming_response.create(**SAY, stream=True),
    "speech": lambda client: client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hi"
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ask", ASKS)
def test_chunks_are_those_of_the_vendor(three_ways: Any, ask: str, reader: str, kind: type[Any]) -> None:
    if (ask, reader) == ("speech", "text"):
        pytest.skip("speech is no text")
    steps = chunk_by_chunk(three_ways, READERS[reader], ASKS[ask])
    hold = lambda: three_ways.sim.inject(Fault(hold_after=1))  # noqa: E731
    chunks = three_ways(both.scenario(kind, steps), before=hold)
    ends = [b"\n\n", "\n\n"] if ask != "speech" else [b"", ""]
    assert len(chunks) > 2 and all(chunk.endswith(ends[isinstance(chunk, str)]) for chunk in chunks)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
@pytest.mark.parametrize("helper", [False, True], ids=["create", "helper"])
def test_the_first_chunk_does_not_wait_for_the_second(three_ways: Any, kind: type[Any], helper: bool) -> None:
    """By the order of events: the vendor holds every further chunk back until the program has the one before."""

    def steps(client: Any) -> Tour:
        if helper:
            events = yield entered(client.chat.completions.stream(**ASK))
        else:
            events = client.chat.completions.create(**ASK, stream=True)
        got = yield every(events, seen=lambda _: three_ways.sim.release())
        return len(got)

    three_ways(both.scenario(kind, steps), before=lambda: three_ways.sim.inject(Fault(hold_after=1)))
