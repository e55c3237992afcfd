"""The conformance run in this environment, as a test; the recordings lie beside the project.

An environment that is there for one SDK plays through that one; ``make conformance`` plays through all in each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


def driver() -> tuple[str, str, int]:
    """The driver that this environment is there for, empty for all; an SDK, and how many plays it has at least."""
    found = {one.name.lower(): one.version for one in metadata.distributions()}
    if "litellm" in found:
        return "LiteLLM", "litellm", 800
    if found.get("google-genai", "").startswith("3."):
        return "GenAI", "google-genai", 60
    return "", "openai", 900


@pytest.mark.timeout(600)
def test_every_recording_is_captured_read_and_replayed(tmp_path: Path) -> None:
    """In a process of its own: it needs its own proxy variables, and SDKs that are not imported yet."""
    through, sdk, least = driver()
    out = tmp_path / "result.json"
    command = [sys.executable, str(RUN), "--out", str(out), *(["--through", through] if through else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and not out.exists():
        pytest.skip(done.stdout.strip())
    assert out.is_file(), done.stderr[-4000:]
    result = json.loads(out.read_text())
    assert result["faults"] == []
    assert result["sent_while_replaying"] == 0
    played = [one for one in result["exchanges"] if any(f" of {sdk} " in way for way in one["ways"])]
    assert len(played) > least
