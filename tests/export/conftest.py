"""Sessions to export: made with a real SDK against the simulator, and made line by line."""

from __future__ import annotations

import runpy
from datetime import date
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.cost import library
from custody.redact import Redactor
from custody.sessions import manifest as manifests
from custody.testing.simulator import Fault, Simulator

Written: Any = runpy.run_path(str(Path(__file__).parents[1] / "journal" / "sessions.py"))["Written"]


@pytest.fixture
def made(sdk_env: Simulator, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven calls: three whole, three streamed without usage, one refused. A label is a formula to a spreadsheet."""
    (tmp_path / "rates.toml").write_text('[vendors]\n"127.0.0.1" = "openai"\n')
    monkeypatch.setenv("CUSTODY_RATES", str(tmp_path / "rates.toml"))
    monkeypatch.setattr(library, "fresh_until", lambda: date.max)  # whatever day it is
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root) as session, session.stage("analysis"):
        for run in range(3):
            with session.scope(corpus_file="=cmd()|a.txt", run=run, condition="x"):
                client.chat.completions.create(
                    model="gpt-4o", temperature=0.2, max_tokens=55, messages=[{"role": "user", "content": "Grüße"}]
                )
                list(
                    client.chat.completions.create(
                        model="gpt-4o", stream=True, messages=[{"role": "user", "content": "Hello"}]
                    )
                )
        sdk_env.inject(Fault(status=429))
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Refuse"}])
    return session.path


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Twenty calls in many small segments, whose lines state neither usage nor price."""
    session = Written(tmp_path / "written", rotate_bytes=6000)
    manifest = manifests.Manifest(session="session_x", project="P", experiment="E", created="", custody="0", python="3")
    manifests.write(session.storage, manifest, Redactor())
    early = session.request(1000, "early")
    sealed = session.sealed
    for number in range(20):
        session.call(number, [b"text %d" % number])
    session.sealed = sealed
    session.respond(early, 1000, [b"late, in another segment"])
    session.close()
    return session
