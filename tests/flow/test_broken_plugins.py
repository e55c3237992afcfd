"""Plugins that fail in every way: the user's calls go on, none is lost, changed or repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import custody
from custody.testing.simulator import Simulator

RAISING = """
from custody import hookimpl
from custody.hookspecs import SPECS

class Plugin:
    pass

def _raising(name, parameters):
    # A hook with all its parameters, as pluggy wants them by name.
    scope = {}
    exec(f"def {name}(self, {', '.join(parameters)}): raise RuntimeError('sk-not-a-real-key-but-long-enough')", scope)
    return hookimpl(scope[name])

for spec in SPECS:
    for name, function in vars(spec).items():
        if not name.startswith("_") and name != "redaction_patterns":  # which stops the start, see below
            parameters = function.__code__.co_varnames[1:function.__code__.co_argcount]
            setattr(Plugin, name, _raising(name, parameters))
"""

STUDY = """
import custody, openai
client = openai.OpenAI()
with custody.session(project="P", experiment="E") as session:
    with session.stage("one"):
        for run in range(3):
            with session.scope(run=run):
                print(client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "Hello"}]).choices[0].message.content)
"""


def install(folder: Path, distribution: str, name: str, target: str, module: str | None = None) -> None:
    """A distribution as pip would leave it: metadata with an entry point, and perhaps a module."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[custody]\n{name} = {target}\n")
    if module is not None:
        (folder / f"{target.partition(':')[0]}.py").write_text(module)


class Runner:
    """Runs the study with extra distributions on the path."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder, self.sim, self.site = folder, sim, folder / "site"
        (folder / "study.py").write_text(STUDY)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.sim.env(), "PYTHONPATH": str(self.site), **env}
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120
        )

    def study(self, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("study.py", **env)

    def plugins(self, **env: str) -> dict[str, dict[str, object]]:
        done = self.run("-m", "custody.cli", "plugins", "--json", **env)
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)}

    @property
    def session(self) -> custody.StoredSession:
        (path,) = self.folder.glob("projects/P/experiments/E/sessions/*")
        return custody.StoredSession(path)


@pytest.fixture
def runner(tmp_path: Path, sim: Simulator) -> Runner:
    return Runner(tmp_path, sim)


def test_one_that_raises_in_every_hook(runner: Runner) -> None:
    install(runner.site, "custody-raising", "raising", "raising_plugin:Plugin", RAISING)
    done = runner.study()
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(set(answers)) == 3 == runner.sim.paid()
    stored = runner.session
    assert len(stored.find(outcome="success")) == 3
    failures = {f["hook"] for call in stored.calls() for f in call.fields["hook_failures"]}
    assert failures == {"extract_forensics", "price_call"}
    notes = {n["hook"] for n in stored.archive.notes if n["note"] == "hook_failed"}
    assert {"claim_exchange", "before_send", "check_budget", "exchange_durable", "stage_started"} <= notes
    assert done.stderr.count("plugin raising failed in claim_exchange") == 1, "logged once, not for every call"
    assert "Traceback" not in done.stderr
    assert stored.calls()[0].model_forensics["actual_model"] == "gpt-4o-2024-08-06", "others had their turn"
    replay = runner.run("-m", "custody.cli", "run", "--project", "P", "--experiment", "E", "--session",
                        stored.path.name, "--strict", "--", "python", "study.py")  # fmt: skip
    assert replay.stdout.splitlines() == answers, replay.stderr
    assert runner.sim.paid() == 3


def test_one_that_cannot_be_imported(runner: Runner) -> None:
    install(runner.site, "custody-broken", "broken", "broken_plugin:Plugin", "import no_such_module\n")
    done = runner.study()
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3 == len(runner.session.calls())
    assert "custody-broken cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'" in done.stderr
    assert runner.plugins()["broken"]["state"] == "broken"


def test_one_that_exits_on_import_or_names_unknown_hooks(runner: Runner) -> None:
    install(runner.site, "custody-exits", "exits", "exits_plugin:Plugin", "raise SystemExit(3)\n")
    unknown = "import custody\nclass Plugin:\n    @custody.hookimpl\n    def price_kall(self): ...\n"
    install(runner.site, "custody-typo", "typo", "typo_plugin:Plugin", unknown)
    wrong = "import custody\nclass Plugin:\n    @custody.hookimpl\n    def price_call(self, forensix): ...\n"
    install(runner.site, "custody-argument", "argument", "argument_plugin:Plugin", wrong)
    assert runner.study().returncode == 0
    found = runner.plugins()
    assert [found[name]["state"] for name in ("exits", "typo", "argument")] == ["broken"] * 3
    assert "price_kall" in str(found["typo"]["problem"])
    assert "forensix" in str(found["argument"]["problem"])
    assert len(runner.session.calls()) == 3


def test_one_that_cannot_be_a_plugin_says_why_in_one_line(runner: Runner) -> None:
    head = "import custody\nclass Plugin:\n"
    install(
        runner.site, "custody-odd", "odd", "odd_plugin:Plugin", "class Odd(BaseException): pass\nraise Odd('a\\nb')\n"
    )
    mark = "    @custody.hookimpl\n"
    install(runner.site, "custody-waits", "waits", "waits_plugin:Plugin",
            f"{head}{mark}    async def price_call(self): ...\n")  # fmt: skip
    install(runner.site, "custody-bare", "bare", "bare_plugin:Plugin", f"{head}    def price_call(self): ...\n")
    install(runner.site, "custody-argument", "argument", "argument_plugin:Plugin",
            f"{head}{mark}    def price_call(self, forensix): ...\n")  # fmt: skip
    done = runner.study()
    assert done.returncode == 0 and "Traceback" not in done.stderr
    found = runner.plugins()
    for name, why in (
        ("odd", "custody-odd cannot be loaded: Odd: a b"),
        ("waits", "its price_call is a coroutine (async def), and nobody awaits a hook"),
        ("bare", "it has no hooks (is @hookimpl missing?)"),
        ("argument", "forensix"),
    ):
        assert found[name]["state"] == "broken"
        problem = str(found[name]["problem"])
        assert why in problem and "\n" not in problem
        assert sum(f"plugin {name} is not used" in line for line in done.stderr.splitlines()) == 1
    assert len(runner.session.calls()) == 3


def test_two_of_one_name(runner: Runner) -> None:
    good = "class Plugin:\n    pass\n"
    install(runner.site, "custody-twin-a", "twin", "twin_a:Plugin", good)
    install(runner.site, "custody-twin-b", "twin", "twin_b:Plugin", good)
    install(runner.site, "custody-fake-archive", "archive", "fake_archive:Plugin", good)
    done = runner.study()
    assert done.returncode == 0
    assert "twin is claimed by 2 distributions (custody-twin-a, custody-twin-b)" in done.stderr
    assert "archive is the name of a built-in (custody-fake-archive)" in done.stderr
    assert len(runner.session.calls()) == 3
    assert runner.plugins()["twin"]["state"] == "duplicate"


def test_a_required_one_that_is_missing(runner: Runner) -> None:
    done = runner.study(CUSTODY_REQUIRED_PLUGINS="openai,notary")
    assert done.returncode == 1
    missing = "RequiredPluginMissing: plugin notary is required (CUSTODY_REQUIRED_PLUGINS) and not installed"
    assert missing in done.stderr
    command = runner.run("-m", "custody.cli", "run", "--", "python", "study.py", CUSTODY_REQUIRED_PLUGINS="notary")
    assert command.returncode == 2
    assert command.stderr.strip().count("\n") == 0, "one clear line"
    assert runner.sim.paid() == 0, "money was spent without a required plugin"


def test_switches(runner: Runner) -> None:
    only = runner.plugins(CUSTODY_PLUGINS="echo,ghost")
    assert (only["openai"]["state"], only["echo"]["state"], only["ghost"]["state"]) == ("disabled", "loaded", "missing")
    off = runner.plugins(CUSTODY_DISABLED_PLUGINS="openai,cost")
    assert (off["openai"]["state"], off["cost"]["state"]) == ("disabled", "disabled")
    done = runner.study(CUSTODY_DISABLED_PLUGINS="openai")
    assert done.returncode == 0
    assert runner.session.calls() == [], "a disabled vendor's traffic passes through untouched"
    traced = runner.study(CUSTODY_TRACE_PLUGINS="1", CUSTODY_SESSION_NEW="1")
    assert traced.returncode == 1 and "SessionFinished" in traced.stderr
