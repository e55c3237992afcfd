"""A disk that fills up in the middle of a run: no answer is lost, no call is sent in vain, none is repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

STUDY = """
import os
import custody, openai
client = openai.OpenAI(max_retries=3)
ballast = os.environ.get("BALLAST")
with custody.session(project="P", experiment="E", root=os.environ["ROOT"]) as session:
    for run in range(40):
        if ballast and run == int(os.environ["FILL_AT"]):
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
        with session.scope(run=run):
            made = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Hello " * 400}])
        print(run, made.choices[0].message.content, flush=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small file system")
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


@pytest.mark.parametrize("fill_at", [0, 1, 17, 39])
def test_full_in_the_middle(tmp_path: Path, small_disk: Path, sim: Simulator, fill_at: int) -> None:
    script = tmp_path / "study.py"
    script.write_text(STUDY)
    ballast = small_disk / "ballast"
    environment = {**os.environ, **sim.env(), "ROOT": str(small_disk)}

    def run(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, env={**environment, **env}, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    first = run(BALLAST=str(ballast), FILL_AT=str(fill_at))
    if fill_at < 39:
        assert first.returncode == 1
        assert "ArchiveUnavailable" in first.stderr and "no further paid call is sent" in first.stderr
    else:  # the last call was answered; there was no further one to refuse
        assert first.returncode == 0
    answers = dict(line.split(" ", 1) for line in first.stdout.splitlines())
    paid = sim.paid()
    assert paid == len(answers), "an answer was lost, or a call was sent although nothing could be archived"
    assert first.stderr.count("records are kept in") == (1 if answers else 0), "said once, not for every line"
    ballast.unlink()

    second = run()
    assert second.returncode == 0, second.stderr
    later = dict(line.split(" ", 1) for line in second.stdout.splitlines())
    assert {run: later[run] for run in answers} == answers
    assert len(set(later.values())) == 40
    assert sim.paid() == 40, "a call that was answered before the disk was full has been paid again"
    (path,) = small_disk.glob("projects/P/experiments/E/sessions/*")
    stored = custody.open(path)
    assert len(stored.find(outcome="success")) == 40
    verdict = verify(stored.storage)
    assert verdict.sound, verdict.problems
    spill = Path(os.environ["CUSTODY_SPILL_DIR"])
    assert not [p for p in spill.rglob("*") if p.is_file()], "what was spilled has not been taken in"


def test_when_nothing_takes_it_the_error_carries_the_answer(tmp_path: Path, small_disk: Path, sim: Simulator) -> None:
    script = tmp_path / "study.py"
    script.write_text(
        STUDY.replace("    for run", "    import json\n    for run").replace(
            "            made = client", "          try:\n            made = client"
        ).replace(
            "        print(run",
            "          except custody.AnswerNotArchived as error:\n"
            "            print(json.dumps({'status': error.status, 'body': error.body.decode()}), flush=True)\n"
            "            break\n"
            "        print(run",
        )
    )  # fmt: skip
    environment = {**os.environ, **sim.env(), "ROOT": str(small_disk), "BALLAST": str(small_disk / "ballast"),
                   "FILL_AT": "2", "CUSTODY_SPILL_DIR": str(small_disk / "spill")}  # fmt: skip
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    if lines and lines[-1].startswith("{"):
        rescued = json.loads(lines[-1])
        assert rescued["status"] == 200 and "choices" in json.loads(rescued["body"])
        assert sim.paid() == 3
    else:
        assert "ArchiveUnavailable" in done.stderr, done.stderr
        assert sim.paid() == len(lines)
