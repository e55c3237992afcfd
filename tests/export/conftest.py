"""Sessions to export: made with a real SDK against the simulator, and made line by line."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.redact import Redactor
from custody.sessions import manifest as manifests
from custody.testing.simulator import Simulator

Written: Any = runpy.run_path(str(Path(__file__).parents[1] / "journal" / "sessions.py"))["Written"]


@pytest.fixture
def made(sdk_env: Simulator, root: Path) -> Path:
    """Six calls, whole and streamed, and one that the vendor refused; a label that is a formula."""
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root) as session, session.stage("analysis"):
        for run in range(3):
            with session.scope(corpus_file="=cmd()|a.txt", run=run, condition="x"):
                client.chat.completions.create(
                    model="gpt-4o", temperature=0.2, max_tokens=55, messages=[{"role": "user", "content": "Grüße"}]
                )
                stream = client.chat.completions.create(
                    model="gpt-4o", stream=True, messages=[{"role": "user", "content": "Hello"}]
                )
                list(stream)
        sdk_env.script(openai_error()) if hasattr(sdk_env, "script") else None
    return session.path


def openai_error() -> Any:
    return None


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Call lines in many small segments, in which usage, price and forensics are missing."""
    session = Written(tmp_path / "written", rotate_bytes=6000)
    manifest = manifests.Manifest(session="session_x", project="P", experiment="E", created="", custody="0", python="3")
    manifests.write(session.storage, manifest, Redactor())
    for number in range(20):
        session.call(number, [b"text %d" % number])
    session.close()
    return session
