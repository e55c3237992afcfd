"""A study whose sessions lie on S3, as a program of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from small_s3 import SmallS3

from custody.testing.simulator import Simulator

ROOT = "s3://bucket/study"
STUDY = """
import os, sys
import custody, openai
client = openai.OpenAI(max_retries=0)
with custody.session(project="P", experiment="E", root="s3://bucket/study") as session:
    for run in range(8):
        if os.environ.get("KILL") == str(run):
            os.kill(os.getpid(), 9)
        with session.scope(run=run):
            said = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
            print(run, said.choices[0].message.content, flush=True)
            if os.environ.get("WAIT") == str(run):
                sys.stdin.readline()
"""

PAIR = """
import os, subprocess, sys
import openai, custody
if len(sys.argv) == 1:
    both = [subprocess.Popen([sys.executable, "study.py", str(n)]) for n in range(2)]
    sys.exit(max(each.wait() for each in both))
client = openai.OpenAI(max_retries=0)
with custody.session(project="P", experiment="E") as session:
    for run in range(6):
        with session.scope(run=run):
            said = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
            os.write(1, f"{run} {said.choices[0].message.content}\\n".encode())  # at once: the two share a pipe
"""

FORKING = """
import os
import custody, openai
client = openai.OpenAI(max_retries=0)
with custody.session(project="P", experiment="E", root="s3://bucket/study"):
    def ask(text):
        return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
    child = os.fork()
    if not child:
        try:
            ask("of the child")
        except custody.ArchiveUnavailable as error:
            os.write(1, b"ArchiveUnavailable\\n")
        os._exit(0)
    os.waitpid(child, 0)
    ask("of the parent")
    print("parent")
"""


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def killed_and_resumed(start: Callable[..., subprocess.Popen[str]], sim: Simulator, work: Path, root: str) -> None:
    """Before its sixth call a study below ``root`` is killed; started again, it pays for the other three."""
    (work / "study.py").write_text(STUDY.replace(ROOT, root))
    code, before, err = ended(start("study.py", KILL="5"))
    assert (code, sim.paid()) == (-9, 5), err
    code, out, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 8), err
    assert out.startswith(before), "an acknowledged answer is another one"


def session_of(server: SmallS3) -> str:
    (found,) = {key.partition("/sessions/")[2].partition("/")[0] for key in server.objects if "/sessions/" in key}
    return f"{ROOT}/projects/P/experiments/E/sessions/{found}"
