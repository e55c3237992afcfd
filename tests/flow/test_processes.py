"""Child processes of a recorded command: spawned, forked, pooled, started by a shell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

POOL = """
import multiprocessing, sys
import custody, openai

def work(run):
    client = openai.OpenAI()
    with custody.session(project="P", experiment="E").scope(run=run):
        return client.chat.completions.create(
            model="gpt-4o", messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content

if __name__ == "__main__":
    with custody.session(project="P", experiment="E") as session:
        first = openai.OpenAI().models.list()
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            answers = pool.map(work, range(12), chunksize=1)
            pool.close()
            pool.join()
    print("\\n".join(answers))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.timeout(120)
def test_a_pool_of_workers(cli: Cli, tmp_path: Path, sdk_env: Simulator, method: str) -> None:
    (tmp_path / "study.py").write_text(POOL.format(method=method))
    run = ("run", "--project", "P", "--experiment", "E")
    done = cli(*run, "--", "python", "-W", "ignore", "study.py")
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(set(answers)) == 12
    paid = sdk_env.paid()
    assert paid == 12
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    stored = custody.open(path)
    assert len(stored.find(operation="chat", outcome="success")) == 12
    assert len({call.id.rpartition("-")[0] for call in stored.calls()}) >= 2, "each process writes its own segment"
    assert verify(stored.storage).sound
    again = cli("resume", path.name, "--strict")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == answers
    assert sdk_env.paid() == paid


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_under_plain_python(tmp_path: Path, sdk_env: Simulator, method: str) -> None:
    """Without ``custody run`` children still record, and do not end their parent's session."""
    script = tmp_path / "study.py"
    script.write_text(POOL.format(method=method))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    stored = custody.open(path)
    assert stored.status()["state"] == "finished"
    assert len(stored.find(operation="chat", outcome="success")) == 12 == sdk_env.paid()
    assert verify(stored.storage).sound


def test_two_processes_with_one_work_list_pay_once(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    """Single flight between processes: whoever comes second waits, and gets the first one's answer."""
    sdk_env.latency = 0.05
    (tmp_path / "work.py").write_text(
        "import custody, openai\n"
        "client = openai.OpenAI()\n"
        "session = custody.session(project='P', experiment='E')\n"
        "for item in range(10):\n"
        "    with session.scope(item=item):\n"
        "        made = client.chat.completions.create(\n"
        "            model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello'}])\n"
        "        print(item, made.choices[0].message.content, flush=True)\n"
    )
    (tmp_path / "study.py").write_text(
        "import subprocess, sys\n"
        "start = lambda: subprocess.Popen([sys.executable, 'work.py'], stdout=subprocess.PIPE, text=True)\n"
        "workers = [start() for _ in range(4)]\n"
        "outputs = [worker.communicate()[0] for worker in workers]\n"
        "assert all(worker.returncode == 0 for worker in workers)\n"
        "assert len(set(outputs)) == 1, 'the workers saw different answers'\n"
        "assert outputs[0].count('\\n') == 10\n"
    )
    done = cli("run", "--project", "P", "--experiment", "E", "--", "python", "study.py")
    assert done.returncode == 0, done.stderr
    assert sdk_env.paid() == 10


def test_runs_in_processes_one_after_another_need_labels(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    """Six unlabelled runs in six processes are one question; custody cannot know better, but it says so."""
    (tmp_path / "one.py").write_text(
        "import os, custody, openai\n"
        "labels = {'run': int(os.environ['RUN'])} if os.environ.get('RUN') else {}\n"
        "with custody.session('P', 'E').scope(**labels):\n"
        "    print(openai.OpenAI().chat.completions.create(\n"
        "        model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello'}]).choices[0].message.content)\n"
    )
    names = ("run", "--project", "P", "--experiment", "E")
    done = cli(*names, "--", "sh", "-c", "python one.py && python one.py && exit 3")
    assert len(set(done.stdout.splitlines())) == 1 == sdk_env.paid()
    assert done.stderr.count("another process of this run has asked the same, without a label") == 1
    again = cli(*names, "--", "sh", "-c", "python one.py && exit 3")
    assert "another process of this run" not in again.stderr, "a resume is no other run of the experiment"
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    assert [note["note"] for note in custody.open(path).archive.notes] == ["shared_answer"]
    labelled = cli(
        *names, "--new", "--", "sh", "-c", "RUN=1 python one.py && RUN=2 python one.py && RUN=2 python one.py"
    )
    assert len(set(labelled.stdout.splitlines())) == 2 and "another process" not in labelled.stderr, labelled.stderr


def test_a_shell_and_an_interpreter_without_a_session_call(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    """A script that never heard of custody, below a shell, is recorded all the same."""
    (tmp_path / "plain.py").write_text(
        "import openai\n"
        "client = openai.OpenAI()\n"
        "for _ in range(2):\n"
        "    print(client.chat.completions.create(\n"
        "        model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello'}]).choices[0].message.content)\n"
    )
    done = cli("run", "--", "sh", "-c", "python plain.py && python plain.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == lines[2:], "the second process asks what the first has asked: it gets the same answers"
    assert "2 replayed, 2 sent" in done.stderr
    assert len(set(lines)) == 2 == sdk_env.paid()


def test_an_interpreter_that_cannot_import_custody_is_stopped(cli: Cli, tmp_path: Path) -> None:
    """Calls that nobody would record are not made in silence."""
    done = cli("run", "--", "python", "-S", "-c", "print('not reached under site')")
    assert done.returncode == 0, "python -S loads no site: nothing of ours runs, and the summary says so"
    assert "no call to a known vendor was seen" in done.stderr
    bare = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([bare, "-c", "import custody"], capture_output=True, check=False).returncode == 0:
        pytest.skip("the interpreter below this environment has custody too")
    harmless = cli("run", "--", bare, "-c", "print('a tool that makes no calls')")
    assert harmless.returncode == 0 and "a tool" in harmless.stdout, harmless.stderr
    (tmp_path / "openai.py").write_text("print('reached')\n")
    stopped = cli("run", "--new", "--", bare, "-c", "import openai")
    assert stopped.returncode == 2
    assert "cannot import custody" in stopped.stderr and "reached" not in stopped.stdout


def test_the_environments_own_sitecustomize_still_runs(cli: Cli, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import os\nos.environ['OWN_SITE'] = 'ran'\n")
    done = cli("run", "--", "python", "-c", "import os; print(os.environ['OWN_SITE'])", env={"PYTHONPATH": str(site)})
    assert done.stdout.strip() == "ran", done.stderr
