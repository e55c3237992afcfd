"""Installed, but no session: custody steps aside. Loading it imports no SDK."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import pytest

import custody
from custody.sessions import process
from custody.testing.simulator import Simulator

SDKS = ("openai", "anthropic", "httpx", "httpx2", "echo_sdk", "litellm", "google.genai", "vertexai", "boto3")


@pytest.mark.parametrize(
    "code",
    [
        "import custody",
        "from custody.hooks.manager import PluginManager; assert len(PluginManager.load().vendors()) >= 3",
        "import custody; custody.install()",
        "import custody; custody.session(project='P', experiment='E').close()",
    ],
)
def test_no_sdk_is_imported(tmp_path: Path, code: str) -> None:
    check = f"import sys\n{code}\nfound = [m for m in {SDKS!r} if m in sys.modules]\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_idle_seam_does_next_to_nothing(sdk_env: Simulator) -> None:
    """Counted, not timed: the functions of custody that an idle SDK call enters."""
    custody.install()
    client = openai.OpenAI()
    client.models.list()
    entered: list[str] = []

    def count(frame: object, event: str, argument: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and "/custody/" in code.co_filename and "simulator" not in code.co_filename:
            entered.append(code.co_name)

    sys.setprofile(count)
    try:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    finally:
        sys.setprofile(None)
    client.close()
    assert len(entered) <= 10, entered
    assert not {"begin", "append", "extract_forensics", "canonical_request"} & set(entered)


def test_everything_is_put_back() -> None:
    before = {
        (owner, name): vars(owner)[name]
        for owner, name in (
            (httpx2.Client, "send"),
            (httpx2.AsyncClient, "send"),
            (openai._base_client.SyncAPIClient, "request"),
            (openai._base_client.AsyncAPIClient, "request"),
        )
    }
    custody.install()
    assert all(vars(owner)[name] is not original for (owner, name), original in before.items())
    custody.uninstall()
    assert all(vars(owner)[name] is original for (owner, name), original in before.items())
    assert process.current() is None


def test_a_patch_on_top_of_ours_survives_the_undo() -> None:
    custody.install()
    ours = httpx2.Client.send

    def theirs(self: httpx2.Client, *args: object, **kwargs: object) -> object:
        return ours(self, *args, **kwargs)  # type: ignore[arg-type]

    httpx2.Client.send = theirs  # type: ignore[method-assign, assignment]
    try:
        custody.uninstall()
        assert httpx2.Client.send is theirs
    finally:
        httpx2.Client.send = ours.__custody_original__  # type: ignore[attr-defined, method-assign]


def test_traffic_that_nobody_claims_is_untouched(sim: Simulator, root: Path) -> None:
    with custody.session("P", "E", root=root) as session, httpx2.Client() as client:
        for path in ("/some/page", "/v1/models"):
            assert client.get(sim.url + path).status_code in (401, 404)
    assert sim.count() == 2
    assert custody.open(session.path).calls() == []
    assert not list((session.path / "llm_archive").iterdir())


def test_install_without_a_session_says_so(caplog: pytest.LogCaptureFixture) -> None:
    custody.install()
    assert "nothing is recorded" in caplog.text
