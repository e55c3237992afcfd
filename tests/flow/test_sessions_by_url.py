"""A root that is a URL: the whole way of a session through a storage plugin, and every command that looks at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from custody.testing.simulator import Simulator

SHELF = '''
"""shelf://...: a storage that has what the protocol asks and nothing more."""
import os
from pathlib import Path
from custody import hookimpl
from custody.storage.local import LocalStorage

class Shelf:
    def __init__(self, url, create):
        self.url = url
        place = Path(os.environ["SHELF"], *url.removeprefix("shelf://").split("/"))
        self._inner = LocalStorage(place, create=create)
        for name in ("create_log", "shared_log", "put_if_absent", "put", "remove", "read", "list", "lock", "claim"):
            setattr(self, name, getattr(self._inner, name))

class Plugin:
    @hookimpl
    def open_storage(self, url, create):
        return Shelf(url, create) if url.startswith("shelf://") else None
'''

STUDY = """
import os, sys
import custody, openai
client = openai.OpenAI(max_retries=0)
with custody.session(project="P", experiment="E", root="shelf://box/study") as session:
    with session.stage("one") as stage:
        for run in range(6):
            if os.environ.get("KILL") == str(run):
                os.kill(os.getpid(), 9)
            with session.scope(run=run):
                said = client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
                print(said.choices[0].message.content)
    print(session.results.final("all", {"runs": 6}))
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """``run(sim, *words, **env)``: Python, in an empty folder, with the plugin installed."""
    info = tmp_path / "site" / "custody_shelf-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: custody-shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nshelf = custody_shelf:Plugin\n")
    (tmp_path / "site" / "custody_shelf.py").write_text(SHELF)
    work = tmp_path / "work"
    work.mkdir()
    (work / "study.py").write_text(STUDY)

    def call(sim: Simulator, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(p for p in (str(tmp_path / "site"), os.environ.get("PYTHONPATH")) if p)
        environment = {**os.environ, **sim.env(), "PYTHONPATH": path, "SHELF": str(tmp_path / "shelf"), **env}
        return subprocess.run(
            [sys.executable, *words], cwd=work, env=environment, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    return call


def shelf(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "shelf/box/study/projects/P/experiments/E/sessions").iterdir()
    return found


def test_a_crashed_run_is_resumed_and_nothing_is_written_elsewhere(run: Any, tmp_path: Path) -> None:
    with Simulator() as sim:
        assert run(sim, "study.py", KILL="4").returncode == -9
        assert sim.paid() == 4
        again = run(sim, "study.py")
        assert again.returncode == 0, again.stderr
        assert "continuing" in again.stderr
        assert sim.paid() == 6
        assert len(set(again.stdout.split())) > 1
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["study.py"]
    kept = "analysis_results/final_deliverables/all.json"
    assert json.loads((shelf(tmp_path) / kept).read_text()) == {"runs": 6}
    assert f"shelf://box/study/projects/P/experiments/E/sessions/{shelf(tmp_path).name}/{kept}" in again.stdout


def test_every_command_that_looks_takes_the_url_or_the_id(run: Any, tmp_path: Path) -> None:
    with Simulator() as sim:
        assert run(sim, "study.py").returncode == 0
        name, root = shelf(tmp_path).name, "shelf://box/study"
        url = f"{root}/projects/P/experiments/E/sessions/{name}"
        looking = ("status", "calls", "verify", "cost", "forensics", "drift", "compress", "repair")
        for number, word in enumerate(looking):
            for place in ((url,), (name, "--root", root))[number % 2 :: 2]:
                done = run(sim, "-m", "custody.cli", word, *place)
                assert done.returncode == 0, (word, done.stderr)
                assert "Traceback" not in done.stderr
        listed = run(sim, "-m", "custody.cli", "sessions", root)
        assert (name in listed.stdout, "finished" in listed.stdout) == (True, True), listed.stderr
        again = run(sim, "-m", "custody.cli", "regenerate", url, "--", "python", "study.py")
        assert again.returncode == 0, again.stderr
        assert "1 files are the same, 0 are not" in again.stdout
        assert sim.paid() == 6


def test_custody_run_takes_a_root_by_url(run: Any, tmp_path: Path) -> None:
    with Simulator() as sim:
        words = ("-m", "custody.cli", "run", "--root", "shelf://box/study", "--", "python", "study.py")
        assert run(sim, *words, KILL="3").returncode == 137
        done = run(sim, *words)
        assert done.returncode == 0, done.stderr
        assert "6 calls: 3 replayed, 3 sent" in done.stderr
        again = run(sim, "-m", "custody.cli", "resume", shelf(tmp_path).name, "--root", "shelf://box/study")
        assert "6 calls: 6 replayed, 0 sent" in again.stderr, again.stderr
        assert sim.paid() == 6


def test_what_works_on_folders_only_says_so(run: Any) -> None:
    with Simulator() as sim:
        for words in (("init", "P", "--root", "shelf://box/x"), ("layout", "shelf://box/x")):
            done = run(sim, "-m", "custody.cli", *words)
            assert done.returncode == 2, done.stderr
            assert "folders of this machine" in done.stderr
        unknown = run(sim, "-m", "custody.cli", "sessions", "nowhere://box/x")
        assert unknown.returncode == 2, unknown.stderr
        assert "no plugin opens nowhere" in unknown.stderr
