"""The Anthropic SDK's streams: the vendor's chunks, cut as the vendor cuts them, none waiting for the next."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic._response import AsyncAPIResponse

from custody.testing import both
from custody.testing.both import entered, every
from custody.testing.simulator import Fault

Tour = Generator[Any, Any, Any]

SAY: Any = [{"role": "user", "content": "Say something about rivers."}]
ASK: Any = {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": SAY}


def raw_of(stream: Any) -> Any:
    asynchronous = isinstance(stream, AsyncAPIResponse)
    return stream.http_response.aiter_raw() if asynchronous else stream.http_response.iter_raw()


READERS: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda stream: stream.iter_bytes(),
    "text": lambda stream: stream.iter_text(),
    "raw": raw_of,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [Anthropic, AsyncAnthropic], ids=["sync", "async"])
@pytest.mark.parametrize("reader", READERS)
def test_chunks_are_those_of_the_vendor(three_ways: Any, reader: str, kind: type[Any]) -> None:
    """The vendor writes the next chunk when the program has the last one: a chunk that waits for another hangs."""

    def steps(client: Any) -> Tour:
        stream = yield entered(client.messages.with_streaming_response.create(**ASK, stream=True))
        return (yield every(READERS[reader](stream), seen=lambda _: three_ways.sim.release()))

    arm = lambda: three_ways.sim.inject(Fault(hold_after=1))  # noqa: E731
    chunks = three_ways(both.scenario(kind, steps), before=arm)
    end = "\n\n" if reader == "text" else b"\n\n"
    assert len(chunks) > 20 and all(chunk.endswith(end) for chunk in chunks)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [Anthropic, AsyncAnthropic], ids=["sync", "async"])
@pytest.mark.parametrize("way", ["create", "helper", "text_stream"])
def test_the_first_chunk_does_not_wait_for_the_second(three_ways: Any, kind: type[Any], way: str) -> None:
    """By the order of events: the vendor holds a text back until the program has the one before."""
    first_text = 4  # message_start, content_block_start, ping, the first delta; the SDK hands no ping on

    def steps(client: Any) -> Tour:
        if way == "create":
            events = client.messages.create(**ASK, stream=True)
        else:
            helper = yield entered(client.messages.stream(**ASK))
            events = helper.text_stream if way == "text_stream" else helper
        got = yield every(events, seen=lambda _: three_ways.sim.release(3))
        return len(got)

    arm = lambda: three_ways.sim.inject(Fault(hold_after=first_text))  # noqa: E731
    three_ways(both.scenario(kind, steps), before=arm)
