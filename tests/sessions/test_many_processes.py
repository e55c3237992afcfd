"""Eight processes, one session, one work list, killed at any time: paid once each, and nobody waits for the dead."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

ITEMS = 100 if os.environ.get("CUSTODY_FAULTS") == "long" else 40

WORKER = """
import os, sys
import custody, openai
client = openai.OpenAI(max_retries=0)
session = custody.session("P", "E")
print("ready", flush=True)
sys.stdin.readline()
for item in range(int(sys.argv[1])):
    with session.scope(item=item):
        made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    os.write(1, f"{item} {made.choices[0].message.content}\\n".encode())
"""

BOSS = """
import subprocess, sys
import custody
names = sys.argv[1:]
with custody.session("P", "E") as session:
    print(session.path, flush=True)
    sys.stdin.readline()
"""


def _popen(folder: Path, *command: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=folder, env={**os.environ, **env}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.timeout(240)
def test_eight_with_one_work_list_killed_at_random(tmp_path: Path, sdk_env: Simulator) -> None:
    rng = random.Random(8)
    sdk_env.latency = 0.03
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "boss.py").write_text(BOSS)
    boss = _popen(tmp_path, "boss.py")
    assert boss.stdout is not None and boss.stdin is not None
    path = Path(boss.stdout.readline().strip())

    def start() -> subprocess.Popen[str]:
        worker = _popen(tmp_path, "worker.py", str(ITEMS), CUSTODY_SESSION=str(path))
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        return worker

    workers = [start() for _ in range(8)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    killed = 0
    for victim in rng.sample(workers, 5):
        goal = sdk_env.paid() + rng.randint(1, 5)
        while sdk_env.paid() < goal and victim.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        if victim.poll() is None:
            victim.kill()
            killed += 1
    assert killed >= 4, "they finished before they were killed: the test proves too little"
    seen: dict[int, set[str]] = defaultdict(set)
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode in (0, -9), err
        lines = [line.split(" ", 1) for line in out.splitlines() if line.endswith(".")]
        assert worker.returncode == -9 or len(lines) == ITEMS
        for item, text in lines:
            seen[int(item)].add(text)
    boss.stdin.write("\n")
    boss.communicate(timeout=60)
    assert {len(texts) for texts in seen.values()} == {1} and len(seen) == ITEMS, "two answers to one question"
    stored = custody.open(path)
    answers = Counter(call.scope["item"] for call in stored.calls() if call.fields["answers"])
    assert answers == dict.fromkeys(range(ITEMS), 1), "an item was paid twice though its answer was there"
    doubts = stored.status()["in_doubt"]
    assert sdk_env.paid() == ITEMS + len(doubts) <= ITEMS + killed
    assert all(doubt["answered_by"] for doubt in doubts)
    assert verify(stored.storage).sound
