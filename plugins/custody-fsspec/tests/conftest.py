"""Fixtures that the tests of this plugin share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small_s3 import SmallS3, small_s3
from study import STUDY

from custody.testing.simulator import Simulator


@pytest.fixture(autouse=True)
def _no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
    with small_s3() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
        yield made


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


@pytest.fixture
def start(tmp_path: Path, server: SmallS3, sim: Simulator) -> Callable[..., subprocess.Popen[str]]:
    """``start("study.py", KILL="3")``: Python in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "study.py").write_text(STUDY)

    def begin(*words: str, **env: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ, **sim.env(), "CUSTODY_SPILL_DIR": str(tmp_path / "spill"),
            "CUSTODY_FSSPEC_RETRY_SECONDS": "1", "CUSTODY_LOCAL_DIR": str(tmp_path / "behind"), **env
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, *words], cwd=work, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return begin
