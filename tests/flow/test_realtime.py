"""Realtime APIs through the SDKs: recorded frame by frame, refused when nothing may be sent."""

from __future__ import annotations

import asyncio
import json
import runpy
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import custody

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SERVER = runpy.run_path(str(Path(__file__).parents[1] / "seam" / "websocket_server.py"))
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
KEY = "sk-canary-0123456789abcdefghijklmnop"
EVENTS = ["session.created", "session.updated", *["response.output_text.delta"] * 3, "response.done"]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin that claims every websocket."""
    folder = tmp_path / "plugin"
    SERVER["install_plugin"](folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def server(plugin: Path) -> Iterator[Any]:
    with SERVER["running"]() as running:
        yield running


def talk(server: Any) -> list[Any]:
    client = openai.OpenAI(api_key=KEY, websocket_base_url=f"{server.url}/v1")
    with client, client.realtime.connect(model="gpt-realtime") as connection:
        connection.session.update(session={"type": "realtime", "instructions": "Be terse."})
        connection.response.create()
        heard = []
        for event in connection:
            heard.append(event.model_dump())
            if event.type == "response.done":
                break
    return heard


async def atalk(server: Any) -> list[Any]:
    client = openai.AsyncOpenAI(api_key=KEY, websocket_base_url=f"{server.url}/v1")
    async with client, client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Be terse."})
        await connection.response.create()
        heard = []
        async for event in connection:
            heard.append(event.model_dump())
            if event.type == "response.done":
                break
    return heard


def both(server: Any) -> list[list[Any]]:
    return [talk(server), asyncio.run(atalk(server))]


def frames(call: custody.Call) -> list[tuple[str, Any]]:
    assert call.response is not None
    found = call.response.frames
    return [(f"{f.direction} {f.kind}", json.loads(f.data) if f.kind == "text" else f.data) for f in found]


def test_openai_realtime(server: Any, root: Path) -> None:
    bare = both(server)
    assert [event["type"] for event in bare[0]] == EVENTS
    with custody.session("P", "E", root=root) as session:
        recorded = both(server)
    assert recorded == bare
    calls = custody.open(session.path).calls()
    assert len(calls) == 2
    for call in calls:
        assert (call.fields["operation"], call.fields["status"], call.outcome) == ("realtime", 101, "success")
        said = frames(call)
        assert [data["type"] for head, data in said if head == "received text"] == EVENTS
        assert [data["type"] for head, data in said if head == "sent text"] == ["session.update", "response.create"]
        assert [head for head, _ in said[-2:]] == ["sent close", "received close"]
        assert call.request["url"] == f"{server.url}/v1/realtime?model=gpt-realtime"
    for path in session.path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_conversation_is_shown_frame_by_frame(server: Any, tmp_path: Path, cli: Cli) -> None:
    with custody.session("P", "E", root=tmp_path) as session:
        talk(server)
    shown = cli("show", session.id, "000001")
    assert shown.returncode == 0, shown.stderr
    (line,) = [
        line for line in shown.stdout.splitlines() if "session.update" in line and '"session.updated"' not in line
    ]
    assert " ms  sent text " in line
    form = json.loads(cli("show", session.id, "000001", "--json").stdout)["response"]["frames"]
    assert [f["direction"] for f in form].count("sent") == 3
    # Both sides speak first, so the order is not said.
    assert any('"session.created"' in frame["body"].get("text", "") for frame in form)
    found = json.loads(cli("forensics", session.id, "--json").stdout)
    assert found["calls"][0]["operation"] == "realtime"


@pytest.mark.parametrize("recorded_before", [True, False])
def test_strict_refuses_before_the_network(
    server: Any, root: Path, recorded_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with custody.session("P", "E", root=root) as session:
        if recorded_before:
            both(server)
    handshakes = len(server.handshakes)

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address!r} was tried")

    with custody.session("P", "E", root=root, session=session.id, strict=True), monkeypatch.context() as patches:
        patches.setattr(socket.socket, "connect", refuse)
        with pytest.raises(custody.ReplayMiss, match="is not replayed, and nothing is sent"):
            talk(server)
        with pytest.raises(custody.ReplayMiss, match="is not replayed, and nothing is sent"):
            asyncio.run(atalk(server))
    assert len(server.handshakes) == handshakes
    assert len(custody.open(session.path).calls()) == (2 if recorded_before else 0)
    assert "llm_call_replayed" not in (session.path / "SESSION_CHRONOLOG.jsonl").read_text()


def test_a_resumed_program_connects_anew(server: Any, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with custody.session("P", "E", root=root) as session:
        talk(server)
        talk(server)
    assert "is on record" not in caplog.text, "two conversations of one run are two"
    with custody.session("P", "E", root=root, session=session.id):
        assert [event["type"] for event in talk(server)] == EVENTS
    assert "is on record, and is not replayed: it is held anew, and paid again" in caplog.text
    assert server.connections == 3
    assert len(custody.open(session.path).calls()) == 3


def test_nobody_waits_for_the_end_of_another_conversation(
    server: Any, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes, or two tasks, may converse at once under one name."""
    from custody.storage.local import LocalStorage

    taken: list[object] = []
    original = LocalStorage.claim

    def claim(self: LocalStorage, name: str, token: bytes) -> Any:
        taken.append(name)
        return original(self, name, token)

    async def at_once() -> None:
        await asyncio.gather(*(atalk(server) for _ in range(3)))

    with custody.session("P", "E", root=root) as session, pytest.MonkeyPatch.context() as patches:
        patches.setattr(LocalStorage, "claim", claim)
        both(server)
        asyncio.run(at_once())
    assert taken == []
    assert "in flight twice" not in caplog.text
    assert len(custody.open(session.path).calls()) == 5


def test_a_tools_credential_in_a_frame_is_not_kept(server: Any, root: Path) -> None:
    secret = "canary-Zx81Qw72Er63Ty54"
    tool: Any = {"type": "mcp", "server_label": "t", "server_url": "https://tool.example/mcp", "authorization": secret}
    with custody.session("P", "E", root=root) as session:
        client = openai.OpenAI(api_key=KEY, websocket_base_url=f"{server.url}/v1")
        with client, client.realtime.connect(model="gpt-realtime") as connection:
            connection.session.update(session={"type": "realtime", "tools": [tool]})
            assert [connection.recv().type for _ in range(2)] == EVENTS[:2]
    for path in session.path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate for the TLS that google-genai insists on")
    made = tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "only.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_bytes((tmp_path / "key.pem").read_bytes() + (tmp_path / "only.pem").read_bytes())
    return made


def test_google_live(certificate: Path, plugin: Path, root: Path) -> None:
    genai = pytest.importorskip("google.genai")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)

    async def live(port: int) -> list[str]:
        client = genai.Client(
            api_key=KEY,
            vertexai=False,
            http_options={
                "base_url": f"https://127.0.0.1:{port}/",
                "api_version": "v1beta",
                "async_client_args": {"ssl": ssl.create_default_context(cafile=str(certificate))},
            },
        )
        heard = []
        async with client.aio.live.connect(model="gemini-live", config={"response_modalities": ["TEXT"]}) as connection:
            await connection.send_client_content(turns={"role": "user", "parts": [{"text": "How is it?"}]})
            async for message in connection.receive():
                heard.append(str(message.text))
        await client.aio.aclose()
        return heard

    with SERVER["running"](serving) as server, custody.session("P", "E", root=root) as session:
        heard = asyncio.run(live(server.port))
    assert heard == ["All is well.", "None"]
    (call,) = custody.open(session.path).calls()
    assert (call.fields["operation"], call.fields["status"], call.outcome) == ("realtime", 101, "success")
    said = frames(call)
    assert [head for head, _ in said if "text" in head or "binary" in head] == [
        "sent text", "received text", "sent text", "received text", "received text",
    ]  # fmt: skip
    assert said[0][1]["setup"]["model"] == "models/gemini-live"
    assert call.request["url"].startswith("wss://127.0.0.1") and "BidiGenerateContent" in call.request["url"]
    for path in session.path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
