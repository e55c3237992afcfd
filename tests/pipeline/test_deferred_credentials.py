"""A credential is asked for when a request is sent, and never when the archive answers."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import custody
from custody.testing.simulator import Simulator

SDK = '''
import httpx2

asked = []


class Client:
    def __init__(self, base_url, token):
        self._client, self.base_url, self._token = None, base_url, token

    def token(self):
        return self._token()

    def ask(self, text):
        with httpx2.Client() as self._client:
            return self._client.send(self._request(text)).raise_for_status().json()["id"]

    async def aask(self, text):
        async with httpx2.AsyncClient() as self._client:
            return (await self._client.send(self._request(text))).raise_for_status().json()["id"]

    def peek(self, url):
        """A request that no plugin claims, with the same credential."""
        with httpx2.Client() as self._client:
            return self._client.get(url, headers={"authorization": f"Bearer {self.token()}"}).request.headers

    def _request(self, text):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {self.token()}"}
        return httpx2.Request("POST", f"{self.base_url}/chat/completions", json=body, headers=headers)
'''

PLUGIN = """
from custody.plugin import CallSeam, Claim, Patch, Vendor, defer, hookimpl


def put_off(original):
    return lambda self: defer(lambda: original(self))


class Plugin:
    @hookimpl
    def claim_exchange(self, request):
        return Claim("token", "Token", "chat") if request.sdk == "token" and request.method == "POST" else None

    @hookimpl
    def vendor(self):
        seams = (
            CallSeam("token_sdk", "Client.ask", "sync"),
            CallSeam("token_sdk", "Client.aask", "async"),
            CallSeam("token_sdk", "Client.peek", "sync"),
        )
        return Vendor("token", seams, package="token_sdk", patches=(Patch("token_sdk", "Client.token", put_off),))
"""

SECRET = "canary-3f9c17d2e5b84a60"


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    home = tmp_path / "home"
    info = home / "token-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: token\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\ntoken = token_plugin:Plugin\n")
    (home / "token_plugin.py").write_text(PLUGIN)
    (home / "token_sdk.py").write_text(SDK)
    monkeypatch.syspath_prepend(home)
    yield importlib.import_module("token_sdk")
    for name in ("token_sdk", "token_plugin"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_asked_on_a_miss_only(sdk: Any, sim: Simulator, root: Path, asynchronous: bool) -> None:
    asked: list[str] = []

    def token() -> Any:
        asked.append("token")
        return SECRET

    async def atoken() -> Any:
        return token()

    def work(provider: Callable[[], Any]) -> Any:
        client = sdk.Client(f"{sim.url}/v1", provider)
        return [asyncio.run(client.aask("a")) if asynchronous else client.ask("a") for _ in range(2)]

    with custody.session("P", "E", root=root) as session:
        said = work(atoken if asynchronous else token)
    assert asked == ["token", "token"]
    assert [seen.headers["authorization"] for seen in sim.requests] == [f"Bearer {SECRET}"] * 2
    sim.stop()
    with custody.session("P", "E", root=root, session=session.id, strict=True):
        assert work(lambda: pytest.fail("asked for a token")) == said
    for path in root.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_what_the_provider_raises_reaches_the_program(sdk: Any, sim: Simulator, root: Path) -> None:
    def token() -> str:
        raise PermissionError("no credentials here")

    with custody.session("P", "E", root=root) as session:
        with pytest.raises(PermissionError, match="no credentials here"):
            sdk.Client(f"{sim.url}/v1", token).ask("a")
        assert sdk.Client(f"{sim.url}/v1", lambda: "other").ask("a")  # its number was given back
    assert sim.count() == 1
    assert [call.fields["replicate"] for call in custody.open(session.path).calls()] == [1]


def test_a_request_that_nobody_claims_gets_its_credential(sdk: Any, sim: Simulator, root: Path) -> None:
    with custody.session("P", "E", root=root):
        headers = sdk.Client(f"{sim.url}/v1", lambda: SECRET).peek(f"{sim.url}/_simulator/stats")
    assert headers["authorization"] == f"Bearer {SECRET}"


def test_without_a_session_nothing_is_put_off(sdk: Any, sim: Simulator) -> None:
    assert sdk.Client(f"{sim.url}/v1", lambda: SECRET).token() == SECRET


def test_no_credential_is_no_header(sdk: Any, sim: Simulator, root: Path) -> None:
    with custody.session("P", "E", root=root):
        headers = sdk.Client(f"{sim.url}/v1", lambda: None).peek(f"{sim.url}/_simulator/stats")
    assert "authorization" not in headers


def test_what_a_provider_sends_for_its_token_is_nobodys_call(sdk: Any, sim: Simulator, root: Path) -> None:
    """It would be claimed by its path, and on a resume yesterday's token would be replayed."""

    def token() -> str:
        httpx2.post(f"{sim.url}/v1/chat/completions", json={"messages": [], "secret": SECRET})
        return SECRET

    with custody.session("P", "E", root=root) as session:
        assert sdk.Client(f"{sim.url}/v1", token).ask("a")
    assert sim.count() == 2
    assert len(custody.open(session.path).calls()) == 1
