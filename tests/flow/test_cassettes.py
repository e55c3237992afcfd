"""The project's own recordings, played by vcrpy beneath custody's seam: captured, then replayed without vcrpy."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

import custody

PROJECT = Path(__file__).parents[2]
RECORD = runpy.run_path(str(PROJECT / "tests" / "cassettes" / "record.py"))
NAMES = sorted(RECORD["QUESTIONS"])


def played(name: str) -> Any:
    """The question, answered by its cassette; vcrpy raises for anything else."""
    with RECORD["recorder"]().use_cassette(f"{name}.yaml", record_mode="none") as cassette:
        result = RECORD["QUESTIONS"][name](RECORD["HOST"])
    assert cassette.all_played
    return result


def dumped(result: Any) -> Any:
    return [part.model_dump() for part in result] if isinstance(result, list) else result.model_dump()


def recorded_body(name: str) -> bytes:
    (one,) = yaml.safe_load((PROJECT / "cassettes" / f"{name}.yaml").read_bytes())["interactions"]
    text = one["response"]["body"]["string"]
    return text if isinstance(text, bytes) else str(text).encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_captured_and_replayed(name: str, root: Path, no_network: None) -> None:
    bare = dumped(played(name))
    with custody.session(project="P", experiment="E", root=root) as session:
        assert dumped(played(name)) == bare
    with custody.session(project="P", experiment="E", root=root, session=session.id, strict=True):
        assert dumped(RECORD["QUESTIONS"][name](RECORD["HOST"])) == bare
    (call,) = custody.open(session.path).calls()
    assert call.success
    assert call.response is not None and call.response.content == recorded_body(name)
    assert call.model_forensics["actual_model"]
    assert call.response_metadata["tokens_used"] > 0
    assert call.model_forensics["vendor"] == "simulator.example"
    assert call.fields["hook_failures"] == []


def test_the_cassettes_are_small_and_hold_no_secret() -> None:
    files = sorted((PROJECT / "cassettes").glob("*.yaml"))
    assert [file.stem for file in files] == NAMES
    content = b"".join(file.read_bytes() for file in files)
    assert len(content) < 200_000
    for secret in (RECORD["KEY"], "authorization", "x-api-key", "cookie", "127.0.0.1"):
        assert secret.encode() not in content.lower(), secret
