"""Vertex AI with tokens: they are asked for when a request is really sent, and never written."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import pytest
from google import genai
from google.genai import types

import custody
from custody.testing.simulator import Simulator

# The SDK makes a subclass of aiohttp's session, which aiohttp does not like.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

CANARY = "canary-access-token-0123456789abcdef"
ASK: Any = {"model": "gemini-2.5-flash", "contents": "Say something about rivers."}


class Own(google.auth.credentials.Credentials):  # type: ignore[misc]
    """Credentials that issue the canary, and count how often they are asked."""

    def __init__(self, quota: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._quota_project_id = quota
        self.refreshed = 0

    def refresh(self, request: object) -> None:
        self.refreshed += 1
        self.token = f"{CANARY}-{self.refreshed}"
        self.expiry = datetime.now() + timedelta(hours=2)


def client(sim_url: str, **options: Any) -> genai.Client:
    given = types.HttpOptions(base_url=sim_url)
    return genai.Client(vertexai=True, project="p-1", location="europe-west4", http_options=given, **options)


def everything(made: genai.Client) -> list[Any]:
    """Sync and async, whole and streamed; one after another, so that later ones find the token loaded."""

    async def asynchronous() -> list[Any]:
        async with made.aio as aio:
            whole = await aio.models.generate_content(**ASK)
            chunks = await aio.models.generate_content_stream(**ASK)
            return [whole.text, [chunk.text async for chunk in chunks]]

    with made:
        whole = made.models.generate_content(**ASK)
        streamed = [chunk.text for chunk in made.models.generate_content_stream(**ASK)]
        return [whole.text, streamed, *asyncio.run(asynchronous())]


PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import custody
from test_credentials import client, everything
with custody.session("P", "E", root=sys.argv[2], session=sys.argv[3], strict=True):
    print(json.dumps(everything(client(sys.argv[4]))))
"""


def replay_elsewhere(root: Path, session: str, url: str, home: Path) -> Any:
    """In a fresh process without credentials: no variables, an empty home, nobody to ask."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE", "GCLOUD", "CLOUDSDK", "GEMINI"))}
    environ = {**keep, "HOME": str(home), "NO_GCE_CHECK": "true"}
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(root), session, url]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def written(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("quota", [None, "billed-project"])
@pytest.mark.parametrize("given", [True, False], ids=["given", "of_the_machine"])
def test_a_replay_needs_no_credentials(
    sim: Simulator, root: Path, home: Path, monkeypatch: pytest.MonkeyPatch, given: bool, quota: str | None
) -> None:
    credentials = Own(quota)
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "p-1"))
    with custody.session("P", "E", root=root) as session:
        options = {"credentials": credentials} if given else {}
        recorded = everything(client(sim.url, **options))
    assert credentials.refreshed == 1
    assert [seen.headers["authorization"] for seen in sim.requests] == [f"Bearer {CANARY}-1"] * 4
    assert [seen.headers.get("x-goog-user-project") for seen in sim.requests] == [quota] * 4
    sim.stop()
    assert replay_elsewhere(root, session.id, sim.url, home) == recorded
    assert CANARY.encode() not in written(root)
    assert b"custody-deferred" not in written(root)
    calls = custody.open(session.path).calls()
    assert [call.fields["model_forensics"]["deployment_region"] for call in calls] == ["europe-west4"] * 4
    assert [call.fields["response_metadata"]["project"] for call in calls] == ["p-1"] * 4


def test_a_quota_project_of_the_programs_own_is_sent(
    sim: Simulator, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google.auth, "default", lambda **_: (Own(), "p-1"))
    options = types.HttpOptions(base_url=sim.url, headers={"x-goog-user-project": "stated"})
    with (
        custody.session("P", "E", root=root),
        genai.Client(vertexai=True, project="p-1", location="global", http_options=options) as made,
    ):
        for _ in range(2):
            made.models.generate_content(**ASK)
    assert [seen.headers.get("x-goog-user-project") for seen in sim.requests] == ["stated"] * 2


def test_a_token_is_asked_for_on_a_miss_only(sim: Simulator, root: Path) -> None:
    credentials = Own()

    def run(prompts: list[str]) -> list[str | None]:
        with client(sim.url, credentials=credentials) as made:
            return [made.models.generate_content(model="gemini-2.5-flash", contents=p).text for p in prompts]

    with custody.session("P", "E", root=root) as session:
        first = run(["One?"])
    assert credentials.refreshed == 1
    credentials = Own()
    with custody.session("P", "E", root=root, session=session.id):
        assert run(["One?"]) == first
        assert credentials.refreshed == 0
        run(["Two?"])
        assert credentials.refreshed == 1


class Broken(Own):
    def refresh(self, request: object) -> None:
        raise google.auth.exceptions.RefreshError("the account is gone")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("recording", [False, True], ids=["bare", "recording"])
def test_what_the_credentials_raise_is_raised(sim: Simulator, root: Path, recording: bool) -> None:
    def ask() -> None:
        with client(sim.url, credentials=Broken()) as made:
            made.models.generate_content(**ASK)

    def recorded() -> None:
        with custody.session("P", "E", root=root):
            ask()

    run: Callable[[], None] = recorded if recording else ask
    with pytest.raises(google.auth.exceptions.RefreshError, match="the account is gone"):
        run()
    assert sim.count() == 0


def test_without_a_session_nothing_is_put_off(sim: Simulator) -> None:
    with client(sim.url, credentials=Own()) as made:
        assert made._api_client._access_token() == f"{CANARY}-1"
