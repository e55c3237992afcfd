"""The wire seam of aiohttp: real sessions over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

import custody
from custody.errors import ReplayExhausted
from custody.exchange import Replay, RequestHead
from custody.seam.aiohttp_response import replayed
from custody.testing.simulator import Fault, Simulator

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Name three rivers."}]}
STREAM = {**ASK, "stream": True}
KEY = {"Authorization": "Bearer sk-simulator"}

Scenario = Callable[[aiohttp.ClientSession], Coroutine[Any, Any, Any]]


class Wire:
    """Runs a scenario recording, or replaying with the simulator stopped."""

    def __init__(self, sim: Simulator, root: Path) -> None:
        self.sim, self.root = sim, root
        self.id, self.path = "", root

    def record(self, scenario: Scenario, **options: Any) -> Any:
        with custody.session("P", "E", root=self.root, new=True) as session:
            self.id, self.path = session.id, session.path
            return asyncio.run(self._run(scenario, options))

    def replay(self, scenario: Scenario, **options: Any) -> Any:
        self.sim.stop()
        with custody.session("P", "E", root=self.root, session=self.id, strict=True):
            return asyncio.run(self._run(scenario, options))

    async def _run(self, scenario: Scenario, options: dict[str, Any]) -> Any:
        async with aiohttp.ClientSession(self.sim.url, headers=KEY, **options) as session:
            return await scenario(session)

    def both(self, scenario: Scenario, **options: Any) -> Any:
        recorded = self.record(scenario, **options)
        assert self.replay(scenario, **options) == recorded
        return recorded

    @property
    def calls(self) -> list[Any]:
        return custody.open(self.path).calls()

    @property
    def call(self) -> Any:
        (call,) = self.calls
        return call


@pytest.fixture
def wire(sim: Simulator, root: Path) -> Wire:
    return Wire(sim, root)


def test_a_response_is_aiohttps_own(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=ASK, params={"beta": "1"}) as response:
            assert type(response) is aiohttp.ClientResponse
            assert isinstance(response.content, aiohttp.StreamReader)
            seen = [response.status, response.reason, response.version, response.method, str(response.url), response.ok]
            seen += [response.content_type, response.charset, response.headers["X-Request-Id"], response.history]
            seen += [str(response.request_info.url), response.request_info.headers["Authorization"]]
            seen += [await response.json(), await response.text(), await response.read()]
        return [*seen, response.closed]

    seen = wire.both(ask)
    assert seen[0] == 200
    assert wire.call.success
    assert wire.call.fields["transport"] == f"aiohttp {aiohttp.__version__}"
    assert wire.call.fields["streamed"] is False
    assert json.loads(wire.call.request_body) == ASK
    assert b"sk-simulator" not in b"".join(p.read_bytes() for p in wire.path.rglob("*") if p.is_file())


async def _lines(content: aiohttp.StreamReader) -> Any:
    return [line async for line in content]


async def _any(content: aiohttp.StreamReader) -> Any:
    return b"".join([data async for data in content.iter_any()])


async def _chunks(content: aiohttp.StreamReader) -> Any:
    return [piece async for piece in content.iter_chunks()]


async def _chunked(content: aiohttp.StreamReader) -> Any:
    return b"".join([data async for data in content.iter_chunked(7)])


async def _exactly(content: aiohttp.StreamReader) -> Any:
    return [await content.readexactly(10), await content.readuntil(b"\n\n"), await content.read(), content.at_eof()]


@pytest.mark.parametrize("read", [_lines, _any, _chunks, _chunked, _exactly], ids=lambda f: f.__name__)
def test_a_stream_reads_alike_in_every_manner(wire: Wire, read: Callable[[Any], Any]) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            return await read(response.content)

    seen = wire.both(ask)
    assert seen
    if read is _chunks:  # one server-sent event is one chunk of the transfer, and stays one
        assert len(seen) > 10
        assert all(data.endswith(b"\n\n") and end for data, end in seen)
    assert wire.call.fields["streamed"] is True


def test_nothing_is_held_back(wire: Wire) -> None:
    """The vendor writes an event when the program has the one before: what is held back is never followed."""
    wire.sim.inject(Fault(hold_after=1))

    async def ask(session: aiohttp.ClientSession) -> Any:
        came = 0
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            async for _ in response.content.iter_any():
                came += 1
                wire.sim.release()
        return came

    assert wire.record(ask) > 10


def test_the_last_bytes_come_when_the_call_is_durable(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            async for line in response.content:
                if line.startswith(b"data: [DONE]"):
                    return len(custody.open(wire.path).calls())

    assert wire.record(ask) == 1


def test_compressed_answers_are_recorded_as_decoded(root: Path) -> None:
    with Simulator(gzip=True) as sim:
        wire = Wire(sim, root)

        async def ask(session: aiohttp.ClientSession) -> Any:
            async with session.post("/v1/chat/completions", json=ASK) as response:
                assert response.headers["Content-Encoding"] == "gzip"
                return [await response.json(), response.headers["Content-Encoding"]]

        wire.both(ask)
        assert wire.call.success


def test_compressed_bytes_stay_compressed_for_who_wants_them(root: Path) -> None:
    with Simulator(gzip=True) as sim:
        wire = Wire(sim, root)

        async def ask(session: aiohttp.ClientSession) -> Any:
            async with session.post("/v1/chat/completions", json=ASK) as response:
                return await response.read()

        assert wire.both(ask, auto_decompress=False)[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("first", ["aiohttp", "httpx"])
def test_another_client_may_ask_the_second_time(root: Path, first: str, gzip: bool) -> None:
    with Simulator(gzip=gzip) as sim:
        wire = Wire(sim, root)

        async def by_aiohttp(session: aiohttp.ClientSession) -> Any:
            async with session.post("/v1/chat/completions", json=ASK) as response:
                return await response.json()

        async def by_httpx(_: aiohttp.ClientSession) -> Any:
            async with httpx.AsyncClient(headers=KEY) as client:
                return (await client.post(f"{sim.url}/v1/chat/completions", json=ASK)).json()

        one, other = (by_aiohttp, by_httpx) if first == "aiohttp" else (by_httpx, by_aiohttp)
        assert wire.record(one) == wire.replay(other)


def test_a_stream_left_early_is_closed_early(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession, further: bool = False) -> Any:
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            seen = [await response.content.readline() for _ in range(3)]
            return [*seen, await response.content.read()] if further else seen

    wire.sim.chunk_delay = 0.05
    wire.both(ask)
    assert wire.call.fields["ending"] == "closed_early"
    with pytest.raises(ReplayExhausted):
        wire.replay(lambda session: ask(session, further=True))


def test_a_response_that_nobody_reads_is_closed_early(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            return response.status

    wire.sim.chunk_delay = 0.05
    assert wire.both(ask) == 200
    assert wire.call.fields["ending"] == "closed_early"


def test_an_error_that_nobody_reads_is_complete(wire: Wire) -> None:
    """Programs look at the status and leave; the vendor's answer is there, and is kept and replayed."""

    async def ask(session: aiohttp.ClientSession) -> Any:
        with pytest.raises(aiohttp.ClientResponseError) as raised:
            async with session.post("/v1/chat/completions", json={"model": "gpt-4o"}) as response:
                await asyncio.sleep(0.05)
                response.raise_for_status()
        return raised.value.status

    assert wire.both(ask) == 400
    assert wire.call.fields["ending"] == "complete"
    assert "error" in wire.call.response.json


def test_a_cancelled_reader_is_recorded_as_such(wire: Wire) -> None:
    wire.sim.inject(Fault(hold_after=3))

    async def ask(session: aiohttp.ClientSession) -> Any:
        reading = asyncio.Event()

        async def read() -> None:
            async with session.post("/v1/chat/completions", json=STREAM) as response:
                reading.set()
                await response.read()

        task = asyncio.ensure_future(read())
        await reading.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wire.record(ask)
    assert wire.call.fields["ending"] == "cancelled"


def test_a_reader_that_was_interrupted_goes_on_without_loss(wire: Wire) -> None:
    wire.sim.chunk_delay = 0.03

    async def ask(session: aiohttp.ClientSession) -> Any:
        interrupted, read = 0, b""
        async with session.post("/v1/chat/completions", json=STREAM) as response:
            while not response.content.at_eof():
                try:
                    read += await asyncio.wait_for(response.content.readany(), 0.01)
                except TimeoutError:
                    interrupted += 1
        assert interrupted or wire.sim.chunk_delay == 0
        return read

    recorded = wire.record(ask)
    assert recorded.endswith(b"data: [DONE]\n\n")
    assert wire.call.response.raw == recorded
    wire.sim.chunk_delay = 0
    assert wire.replay(ask) == recorded


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
def test_an_answer_that_breaks_off_is_aiohttps_error(wire: Wire, body: dict[str, Any]) -> None:
    wire.sim.inject(Fault(cut_after=3))

    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=body) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    wire.record(ask)
    assert wire.call.fields["ending"] == "broken"
    assert wire.call.fields["error"] == "ClientPayloadError"


def test_a_time_limit_is_aiohttps_error(wire: Wire) -> None:
    wire.sim.chunk_delay = 0.2

    async def ask(session: aiohttp.ClientSession) -> Any:
        limit = aiohttp.ClientTimeout(total=0.4)
        with pytest.raises(TimeoutError):
            async with session.post("/v1/chat/completions", json=STREAM, timeout=limit) as response:
                await response.read()

    wire.record(ask)
    assert not wire.call.success
    assert wire.call.fields["ending"] in ("broken", "cancelled")


def test_no_connection_is_no_response(wire: Wire) -> None:
    wire.sim.stop()

    async def ask(session: aiohttp.ClientSession) -> Any:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post("/v1/chat/completions", json=ASK)

    wire.record(ask)
    assert (wire.call.fields["ending"], wire.call.fields["error"]) == ("no_response", "ClientConnectorError")


@pytest.mark.parametrize("name", ["ClientConnectorError", "ServerDisconnectedError", "ClientPayloadError"])
def test_a_recorded_connection_error_is_raised_again(name: str) -> None:
    head = RequestHead("POST", "http://127.0.0.1:9/v1/chat/completions", ())

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            url = session._build_url(head.url)
            replayed(aiohttp, session, url, head, Replay("c.1", None, (), error=name), decodes=True)

    with pytest.raises(getattr(aiohttp, name)) as raised:
        asyncio.run(ask())
    assert type(raised.value).__name__ == name
    assert str(raised.value)


@pytest.mark.parametrize("where", ["request", "session", "callable"])
def test_a_status_is_raised_as_asked(wire: Wire, where: str) -> None:
    async def check(response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            raise ValueError(await response.text())

    async def ask(session: aiohttp.ClientSession) -> Any:
        options: Any = {"request": {"raise_for_status": True}, "callable": {"raise_for_status": check}}.get(where, {})
        try:
            await session.post("/v1/chat/completions", json={"model": "gpt-4o"}, **options)
        except aiohttp.ClientResponseError as error:
            return [error.status, error.message, str(error)]
        except ValueError as error:
            return [400, str(error)]

    assert wire.both(ask, raise_for_status=where == "session")[0] == 400
    assert wire.call.fields["status"] == 400
    assert wire.call.fields["ending"] in ("complete", "closed_early")


def test_bodies_of_every_kind_arrive_and_are_kept(wire: Wire, tmp_path: Path) -> None:
    text = json.dumps(ASK)
    (tmp_path / "ask.json").write_text(text)
    stated = {"Content-Type": "application/json"}

    async def pieces() -> AsyncIterator[bytes]:
        yield text[:20].encode()
        yield text[20:].encode()

    async def ask(session: aiohttp.ClientSession) -> Any:
        seen = []
        with (tmp_path / "ask.json").open("rb") as file:
            for data in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode()), pieces(), file):
                async with session.post("/v1/chat/completions", data=data, headers=stated) as response:
                    seen.append(await response.json())
        return seen

    recorded = wire.both(ask)
    assert len({answer["id"] for answer in recorded}) == 6
    assert {call.request_body for call in wire.calls} == {text.encode()}
    assert wire.sim.by_body() and len(wire.sim.by_body()) == 1


def test_a_form_is_read_once_and_sent_as_it_was(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        form = aiohttp.FormData()
        form.add_field("model", "gpt-4o")
        form.add_field("file", b"\x00\x01bytes", filename="a.bin", content_type="application/octet-stream")
        async with session.post("/v1/chat/completions", data=form) as response:
            return [response.status, await response.text()]

    wire.both(ask)
    assert b"\x00\x01bytes" in wire.call.request_body
    assert wire.sim.requests[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert list(wire.sim.by_body()) == [wire.sim.requests[0].body_digest]


def test_what_nobody_claims_passes_untouched(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.get("/elsewhere") as response:
            assert type(response.content) is aiohttp.StreamReader
            return response.status

    assert wire.record(ask) == 404
    assert wire.calls == []


def test_a_closed_session_says_so_on_replay_too(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with session.post("/v1/chat/completions", json=ASK) as response:
            return await response.json()

    async def closed(session: aiohttp.ClientSession) -> Any:
        await session.close()
        with pytest.raises(RuntimeError, match="closed"):
            await ask(session)

    wire.record(ask)
    wire.replay(closed)


class OverAiohttp(httpx.AsyncBaseTransport):
    """An httpx transport that sends by aiohttp, as some SDKs have."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = await self.session.request(
            request.method, str(request.url), data=await request.aread(), headers=dict(request.headers)
        )
        return httpx.Response(sent.status, headers=dict(sent.headers), content=sent.content.iter_any())


def test_one_client_over_another_is_recorded_once(wire: Wire) -> None:
    async def ask(session: aiohttp.ClientSession) -> Any:
        async with httpx.AsyncClient(transport=OverAiohttp(session), headers=KEY) as client:
            whole = await client.post(f"{wire.sim.url}/v1/chat/completions", json=ASK)
            async with client.stream("POST", f"{wire.sim.url}/v1/chat/completions", json=STREAM) as streamed:
                return [whole.json(), [line async for line in streamed.aiter_lines()]]

    wire.both(ask)
    assert len(wire.calls) == 2
    assert all(call.fields["transport"].startswith("httpx") for call in wire.calls)


def test_many_at_once_keep_their_answers(wire: Wire) -> None:
    async def one(session: aiohttp.ClientSession, number: int) -> str:
        asked = {**ASK, "seed": number}
        async with session.post("/v1/chat/completions", json=asked) as response:
            return str((await response.json())["choices"][0]["message"]["content"])

    async def ask(session: aiohttp.ClientSession) -> Any:
        return await asyncio.gather(*(one(session, number) for number in range(20)))

    assert len(set(wire.both(ask))) == 20
    assert len(wire.calls) == 20
