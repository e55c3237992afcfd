"""The websockets library with and without custody: the same frames, all of them on record, none replayed."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.exceptions
import websockets.sync.client

import custody
from custody.sessions import starting

SERVER = runpy.run_path(str(Path(__file__).with_name("websocket_server.py")))
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
CREATE = json.dumps({"type": "response.create"})
DIE = json.dumps({"type": "die"})


@pytest.fixture
def server() -> Iterator[Any]:
    with SERVER["running"]() as running:
        yield running


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin that claims every websocket; gives the folder that has it."""
    folder = tmp_path / "plugin"
    SERVER["install_plugin"](folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def said(call: custody.Call) -> list[tuple[str, bytes]]:
    """The frames of a call: direction and kind, and payload."""
    assert call.response is not None
    found = []
    for chunk in call.response.chunks:
        head, _, payload = chunk.data.partition(b"\n")
        found.append((head.decode(), payload))
    return found


def only(session: custody.Session) -> custody.Call:
    (call,) = custody.open(session.path).calls()
    return call


def talk(url: str) -> list[Any]:
    """A conversation over a blocking connection; what was received."""
    with websockets.sync.client.connect(f"{url}/v1/realtime?model=m", additional_headers={"X-Odd": "1"}) as connection:
        heard: list[Any] = [connection.recv()]
        connection.send(CREATE)
        heard += [connection.recv() for _ in range(4)]
        connection.send(b"\x00\xff\x01")
        heard.append(connection.recv())
        connection.send(['{"type": ', '"response.create"}'])
        heard += [connection.recv() for _ in range(4)]
    return heard


async def atalk(url: str) -> list[Any]:
    """The same over an asyncio connection."""
    where = f"{url}/v1/realtime?model=m"
    async with websockets.asyncio.client.connect(where, additional_headers={"X-Odd": "1"}) as connection:
        heard: list[Any] = [await connection.recv()]
        await connection.send(CREATE)
        heard += [await connection.recv() for _ in range(4)]
        await connection.send(b"\x00\xff\x01")
        heard.append(await connection.recv())
        await connection.send(['{"type": ', '"response.create"}'])
        heard += [await connection.recv() for _ in range(4)]
    return heard


def both(url: str) -> list[list[Any]]:
    return [talk(url), asyncio.run(atalk(url))]


def test_every_frame_is_on_record_in_order(server: Any, root: Path) -> None:
    bare = both(server.url)
    with custody.session("P", "E", root=root) as session:
        recorded = both(server.url)
    assert recorded == bare
    calls = custody.open(session.path).calls()
    assert len(calls) == 2
    for call, heard in zip(calls, recorded, strict=True):
        frames = said(call)
        assert [kind for kind, _ in frames] == [
            "received text", "sent text", *["received text"] * 4, "sent binary", "received binary",
            "sent text+", "sent continuation+", "sent continuation", *["received text"] * 4,
            "sent close", "received close",
        ]  # fmt: skip
        received = [data for kind, data in frames if kind in ("received text", "received binary")]
        assert received == [h.encode() if isinstance(h, str) else h for h in heard]
        assert frames[1] == ("sent text", CREATE.encode())
        assert frames[6] == ("sent binary", b"\x00\xff\x01")
        fields = call.fields
        assert (call.outcome, fields["status"], fields["ending"], fields["operation"]) == (
            "success", 101, "complete", "realtime",
        )  # fmt: skip
        assert fields["answers"] is False, "a conversation is not replayed"
        assert fields["transport"].startswith("websockets ") and fields["parameters"] == {"frames": len(frames)}
        assert call.request["method"] == "GET" and call.request["url"] == f"{server.url}/v1/realtime?model=m"
        times = [chunk.at_ms for chunk in call.response.chunks] if call.response else []
        assert times == sorted(times)


def test_frames_carry_their_times(server: Any, root: Path) -> None:
    where = f"{server.url}/v1/realtime"
    with custody.session("P", "E", root=root) as session, websockets.sync.client.connect(where) as connection:
        connection.recv()
        time.sleep(0.2)
        connection.send(CREATE)
        for _ in range(4):
            connection.recv()
    response = only(session).response
    assert response is not None
    chunks = response.chunks
    assert chunks[1].at_ms - chunks[0].at_ms >= 190, "sent later"
    assert chunks[2].at_ms >= chunks[1].at_ms


def test_the_session_verifies_and_has_no_doubts(server: Any, root: Path) -> None:
    from custody.report.verify import verify
    from custody.storage.local import LocalStorage

    with custody.session("P", "E", root=root) as session:
        both(server.url)
    verdict = verify(LocalStorage(session.path, create=False))
    assert verdict.sound and not [r for r in verdict.remarks if "in doubt" in r]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_refused_handshake_is_an_answer(server: Any, root: Path, asynchronous: bool) -> None:
    async def in_async() -> None:
        async with websockets.asyncio.client.connect(f"{server.url}/refused"):
            pass

    def attempt() -> None:
        if asynchronous:
            asyncio.run(in_async())
        else:
            websockets.sync.client.connect(f"{server.url}/refused").close()

    with custody.session("P", "E", root=root) as session, pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        attempt()
    assert refused.value.response.status_code == 401
    call = only(session)
    assert (call.outcome, call.fields["status"]) == ("error", 401)
    assert call.response is not None and call.response.content == b'{"error": "no key"}'


def test_a_redirect_is_two_exchanges(server: Any, root: Path) -> None:
    with custody.session("P", "E", root=root) as session:

        async def moved() -> None:
            async with websockets.asyncio.client.connect(f"{server.url}/moved") as connection:
                await connection.recv()

        asyncio.run(moved())
    calls = custody.open(session.path).calls()
    assert [call.fields["status"] for call in calls] == [302, 101]
    assert calls[1].request["url"] == f"{server.url}/v1/realtime?model=moved"


def test_nobody_there(root: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"ws://127.0.0.1:{port}/v1/realtime"

    async def in_async() -> None:
        await websockets.asyncio.client.connect(url)

    with custody.session("P", "E", root=root) as session:
        with pytest.raises(ConnectionRefusedError):
            websockets.sync.client.connect(url)
        with pytest.raises(OSError):
            asyncio.run(in_async())
    calls = custody.open(session.path).calls()
    assert [(c.outcome, c.fields["error"]) for c in calls] == [("no_response", "ConnectionRefusedError")] * 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_dies(server: Any, root: Path, asynchronous: bool) -> None:
    async def in_async() -> None:
        async with websockets.asyncio.client.connect(f"{server.url}/v1/realtime") as connection:
            await connection.recv()
            await connection.send(DIE)
            await connection.recv()

    def in_sync() -> None:
        with websockets.sync.client.connect(f"{server.url}/v1/realtime") as connection:
            connection.recv()
            connection.send(DIE)
            connection.recv()

    with custody.session("P", "E", root=root) as session:
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            asyncio.run(in_async()) if asynchronous else in_sync()
        assert only(session).fields["ending"] == "broken", "durable before the program hears of the end"
    call = only(session)
    assert (call.outcome, call.success) == ("incomplete", False)
    assert said(call)[-2][0] == "received close" and b"gone" in said(call)[-2][1]


def test_a_program_that_fails_meanwhile(server: Any, root: Path) -> None:
    where = f"{server.url}/v1/realtime"
    with custody.session("P", "E", root=root) as session:

        def fail() -> None:
            with websockets.sync.client.connect(where) as connection:
                connection.recv()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
    assert only(session).outcome == "cancelled"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_durable_when_close_returns(server: Any, root: Path, asynchronous: bool) -> None:
    with custody.session("P", "E", root=root) as session:
        if asynchronous:

            async def in_async() -> str:
                connection = await websockets.asyncio.client.connect(f"{server.url}/v1/realtime")
                await connection.recv()
                await connection.close()
                return str(only(session).outcome)

            assert asyncio.run(in_async()) == "success"
        else:
            connection = websockets.sync.client.connect(f"{server.url}/v1/realtime")
            connection.recv()
            connection.close()
            assert only(session).outcome == "success"


def test_frames_are_in_the_journal_before_the_program_gets_them(server: Any, root: Path) -> None:
    where = f"{server.url}/v1/realtime"
    with custody.session("P", "E", root=root) as session, websockets.sync.client.connect(where) as connection:
        heard = connection.recv()
        (segment,) = (session.path / "llm_archive").glob("*.jsonl")
        last = json.loads(segment.read_bytes().splitlines()[-1])
        assert last["kind"] == "chunk"
        assert last["body"]["text"] == f"received text\n{heard!s}"


def test_two_at_once(server: Any, root: Path) -> None:
    """The same question in two connections: two calls, each with its own frames."""

    async def in_async() -> list[list[Any]]:
        return await asyncio.gather(*(atalk(server.url) for _ in range(4)))

    with custody.session("P", "E", root=root) as session:
        heard = asyncio.run(in_async())
    assert heard[0] == heard[1] == heard[2] == heard[3]
    calls = custody.open(session.path).calls()
    assert len(calls) == 4
    assert {tuple(said(call)) for call in calls} == {tuple(said(calls[0]))}


def test_a_connection_that_is_dropped_waits_for_nobody(server: Any, root: Path) -> None:
    async def in_async() -> None:
        connection = await websockets.asyncio.client.connect(f"{server.url}/v1/realtime")
        await connection.recv()
        connection.transport.abort()

    with custody.session("P", "E", root=root) as session:
        asyncio.run(in_async())
        gc.collect()
    assert only(session).fields["ending"] in ("broken", "closed_early")


def test_nothing_is_recorded_without_a_session(server: Any, root: Path) -> None:
    with custody.session("P", "E", root=root) as session:
        pass
    assert len(talk(server.url)) == 10
    assert custody.open(session.path).calls() == []


def test_a_connect_that_was_imported_earlier(server: Any, root: Path) -> None:
    from websockets.asyncio.client import connect as aconnect
    from websockets.sync.client import connect

    async def in_async() -> None:
        async with aconnect(f"{server.url}/v1/realtime") as connection:
            await connection.recv()

    with custody.session("P", "E", root=root) as session:
        with connect(f"{server.url}/v1/realtime", additional_headers={"X-Odd": "1"}) as connection:
            connection.recv()
        asyncio.run(in_async())
    calls = custody.open(session.path).calls()
    assert [call.request["url"] for call in calls] == [f"{server.url}/v1/realtime"] * 2
    assert calls[0].fields["request_key"] != calls[1].fields["request_key"], "a header of the program counts"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_strict_refuses_before_the_network(
    server: Any, root: Path, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_async() -> None:
        await websockets.asyncio.client.connect(f"{server.url}/v1/realtime?model=m")

    def attempt() -> None:
        if asynchronous:
            asyncio.run(in_async())
        else:
            websockets.sync.client.connect(f"{server.url}/v1/realtime?model=m")

    with custody.session("P", "E", root=root) as session:
        both(server.url)
    accepted = len(server.handshakes)

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address!r} was tried")

    with custody.session("P", "E", root=root, session=session.id, strict=True), monkeypatch.context() as patches:
        patches.setattr(socket.socket, "connect", refuse)
        with pytest.raises(custody.ReplayMiss, match="is not replayed, and nothing is sent"):
            attempt()
    assert len(server.handshakes) == accepted


def test_no_secret_is_kept(server: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "canary-0123456789-canary-9876543210"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    event = json.dumps({"type": "session.update", "session": {"instructions": f"My key is {secret}."}})
    with custody.session("P", "E", root=root) as session:
        where = f"{server.url}/v1/realtime?key={secret}"
        headers = {"Authorization": f"Bearer {secret}"}
        with websockets.sync.client.connect(where, additional_headers=headers) as connection:
            connection.recv()
            connection.send(event)
            assert secret in str(connection.recv()), "what the program sees is not touched"
    for path in session.path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    assert b"[REDACTED]" in said(only(session))[1][1]


STUDY = """
import sys, os, json, websockets.sync.client, custody, signal
with custody.session("P", "E", root=sys.argv[2]):
    with websockets.sync.client.connect(sys.argv[1]) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "response.create"}))
        for _ in range(4):
            connection.recv()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_arrived_survives_kill_9(server: Any, root: Path, plugin: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    command = [sys.executable, "-c", STUDY, f"{server.url}/v1/realtime", str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (segment,) = root.glob("projects/P/experiments/E/sessions/*/llm_archive/*.jsonl")
    lines = [json.loads(line) for line in segment.read_bytes().splitlines()]
    assert [line["kind"] for line in lines] == ["segment", "request", "response", *["chunk"] * 6]
    assert "response.done" in lines[-1]["body"]["text"]


def test_every_patch_is_taken_back(server: Any, root: Path) -> None:
    from websockets.protocol import Protocol

    before = vars(Protocol)["recv_frame"]
    with custody.session("P", "E", root=root):
        assert vars(Protocol)["recv_frame"] is not before
    starting.uninstall()
    assert vars(Protocol)["recv_frame"] is before
    assert "custody" not in repr(websockets.asyncio.client.connect.__await__)
