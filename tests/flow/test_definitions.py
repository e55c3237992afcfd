"""What a session is about: guarded before the first call, frozen once, bound by digest, drift said and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.research import guards
from tests.flow.conftest import Cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment's folder with a corpus, as the root and the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    for n in range(3):
        (tmp_path / "corpus" / f"speech {n} (März).txt").write_text(f"speech {n}")
    (tmp_path / "experiment.md").write_text("# Experiment\n\n**Framework**: [the one](MFT v2 (final).md)\n")
    (tmp_path / "MFT v2 (final).md").write_text("# Framework\n")
    return tmp_path


ALL = {"corpus": "corpus/*.txt", "framework": "MFT v2 (final).md", "definition": "experiment.md"}


def start(**options: Any) -> custody.Session:
    return custody.session("P", "E", **{**ALL, **options})


def binding(s: custody.Session, kind: str) -> dict[str, Any]:
    return json.loads((s.path / "system_state" / "snapshots" / f"{kind}.json").read_text())


def test_frozen_once_and_bound(here: Path) -> None:
    with start() as s:
        assert [item.name for item in s.plan(progress=False)] == [f"speech {n} (März).txt" for n in range(3)]
    experiment = here / "projects" / "P" / "experiments" / "E"
    manifest = json.loads((experiment / "corpus_manifest.json").read_text())
    assert manifest["base"] == "corpus"
    data = (here / "corpus" / "speech 0 (März).txt").read_bytes()
    assert manifest["files"][0] == {
        "path": "speech 0 (März).txt", "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "text/plain",
    }  # fmt: skip
    assert (experiment / "framework_snapshot.md").read_text() == "# Framework\n"
    for kind, name in (("experiment", "experiment_snapshot.md"), ("corpus", "corpus_manifest.json")):
        assert binding(s, kind)["sha256"] == hashlib.sha256((experiment / name).read_bytes()).hexdigest()
        assert (binding(s, kind)["frozen"], binding(s, kind)["differs_from"]) == ("experiment", None)
    assert str(here) not in "".join(p.read_text() for p in s.path.rglob("*.json*")), "no absolute path"


def test_a_new_session_with_another_definition_keeps_its_own_copy(
    here: Path, caplog: pytest.LogCaptureFixture, cli: Cli
) -> None:
    with start() as first:
        pass
    frozen = {p.name: p.read_bytes() for p in first.path.parents[1].iterdir() if p.is_file()}
    (here / "MFT v2 (final).md").write_text("# Framework\nsharpened\n")
    (here / "corpus" / "speech 3.txt").write_text("another")
    with caplog.at_level(logging.WARNING), start(new=True) as second:
        pass
    assert {p.name: p.read_bytes() for p in first.path.parents[1].iterdir() if p.is_file()} == frozen
    own = binding(second, "framework")
    assert (own["frozen"], own["differs_from"]) == ("session", binding(first, "framework")["sha256"])
    copy = second.path / "system_state" / "snapshots" / f"framework-{own['sha256'][:16]}.md"
    assert copy.read_text() == "# Framework\nsharpened\n"
    assert "the framework is another one than the experiment's frozen one: 1 lines added, 0 removed" in caplog.text
    assert "1 files added (speech 3.txt)" in caplog.text
    assert binding(second, "experiment")["frozen"] == "experiment"
    for session in (first, second):
        assert cli("verify", str(session.path)).returncode == 0
    shown = cli("drift", str(second.path))
    assert "+sharpened" in shown.stdout
    assert "speech 3.txt" in shown.stdout
    assert shown.returncode == 0
    assert "no difference" in cli("drift", str(first.path)).stdout
    copy.write_text("# Framework\nedited later\n")
    verdict = cli("verify", str(second.path))
    assert verdict.returncode == 1
    assert "was changed" in verdict.stdout
    (second.path.parents[1] / "experiment_snapshot.md").write_text("another\n")
    assert cli("verify", str(first.path)).returncode == 1


def test_a_resumed_session_keeps_its_binding_and_what_it_met(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LookupError), start() as s:
        raise LookupError
    bound = binding(s, "corpus")
    (here / "corpus" / "speech 4.txt").write_text("added")
    with caplog.at_level(logging.WARNING), start() as again:
        assert len(again.plan()) == 4
    assert binding(again, "corpus") == bound
    assert len(list((s.path / "system_state" / "snapshots").glob("corpus-*.json"))) == 1
    assert "than the one that this session is bound to: 1 files added" in caplog.text
    events = [json.loads(line) for line in (s.path / "SESSION_CHRONOLOG.jsonl").read_text().splitlines()]
    assert [e["kind"] for e in events if e["event"] == "snapshot"] == ["experiment", "framework", "corpus"]
    assert [e["kind"] for e in events if e["event"] == "drift"] == ["corpus"]


def refused(said: str, **options: Any) -> None:
    with pytest.raises(custody.UsageError, match=said), start(**options):
        pass
    assert not list(Path("projects").glob("*/*/*/sessions/*")), "nothing was made"


def test_guards(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    refused("matches no file below .*Put the documents there", corpus="corpus/*.md")
    refused("matches no file", corpus="corpse")
    refused("framework's file nowhere.md is not there", framework="nowhere.md")
    (here / "POST-MORTEM.md").write_text("what went wrong")
    refused("names the framework 'MFT v2 .final..md', the one given is POST-MORTEM.md", framework="POST-MORTEM.md")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.txt"
    elsewhere.write_text("x")
    refused("lies outside of", corpus=str(elsewhere))
    os.symlink(elsewhere, here / "corpus" / "link.txt")
    refused("link.txt lies outside of", corpus="corpus")
    other = here / "projects" / "P" / "experiments" / "other"
    other.mkdir(parents=True)
    (other / "a.txt").write_text("x")
    refused("belongs to the experiment projects/P/experiments/other", corpus=str(other))
    refused("what can be accepted is growth, framework, outside", accept=("everything",))
    with start(corpus=str(elsewhere), accept=("outside",)) as s:
        assert [item.name for item in s.plan(progress=False)] == ["x.txt"]
    assert str(elsewhere.parent) not in (s.path.parents[1] / "corpus_manifest.json").read_text()
    assert elsewhere.parent.name in (s.path.parents[1] / "corpus_manifest.json").read_text()


def test_far_more_files_than_last_time(here: Path) -> None:
    with start() as first:
        pass
    for n in range(40):
        (here / "corpus" / f"more {n}.txt").write_text("x")
    with pytest.raises(custody.UsageError, match=r"has 43 files, and had 3 last time.*--accept growth"):
        start(new=True)
    assert len(list(first.path.parent.iterdir())) == 1
    with start(new=True, accept=["growth"]):
        pass
    with start(new=True):
        pass


def test_a_first_corpus_of_thousands(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "MOST_FILES", 2)
    refused("the corpus has 3 files; nothing was started")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("framework: mft.md", "mft.md"),
        ("- **Framework:** `a/b (1).md`", "a/b (1).md"),
        ("Framework File = x.yaml", "x.yaml"),
        ("## Framework: [MFT](<frame works/MFT 2.md>)", "frame works/MFT 2.md"),
        ("The framework: we use moral foundations.", None),
        ("Framework: MFT v2", None),
        ("framework", None),
    ],
)
def test_the_framework_that_a_text_names(text: str, named: str | None) -> None:
    assert guards.framework_named(f"# E\n\n{text}\n\nmore") == named


def test_experiment_toml(here: Path, cli: Cli) -> None:
    assert cli("init", "P", "E").returncode == 0
    folder = here / "projects" / "P" / "experiments" / "E"
    with pytest.raises(custody.UsageError, match="matches no file"):
        custody.session("P", "E")
    (folder / "corpus" / "a.txt").write_text("a")
    with custody.session("P", "E") as s:
        assert [item.name for item in s.plan(progress=False)] == ["a.txt"]
    assert json.loads((folder / "corpus_manifest.json").read_text())["base"] == "corpus"
    assert (folder / "framework_snapshot.md").read_bytes() == (folder / "framework.md").read_bytes()
    with pytest.raises(custody.UsageError, match=r"not the one that experiment\.toml"):
        custody.session("P", "E", framework="MFT v2 (final).md", new=True)
    (folder / "experiment.toml").write_text('corpus = "corpus/*.txt"\nmost_files = 1\n')
    (folder / "corpus" / "b.txt").write_text("b")
    with pytest.raises(custody.UsageError, match=r"experiment\.toml allows 1"):
        custody.session("P", "E", new=True)
    for wrong, said in (("corpus = 3", "no str"), ("korpus = 'x'", "no setting"), ("corpus = ", "cannot be read")):
        (folder / "experiment.toml").write_text(wrong)
        with pytest.raises(custody.UsageError, match=said):
            custody.session("P", "E", new=True)


def test_custody_run_and_the_script_together(here: Path, cli: Cli) -> None:
    (here / "study.py").write_text(
        "import custody\n"
        "with custody.session('P', 'E', corpus='corpus/*.txt') as s:\n"
        "    print([item.name for item in s.plan(progress=False)])\n"
    )
    ran = cli("run", "--definition", "experiment.md", "--", "python", "study.py")
    assert ran.returncode == 0, ran.stderr
    assert "speech 2" in ran.stdout
    (session,) = here.glob("projects/P/experiments/E/sessions/*")
    assert sorted(p.name for p in session.glob("system_state/snapshots/*")) == ["corpus.json", "experiment.json"]
    empty = cli("run", "--new", "--corpus", "nothing/*", "--", "python", "study.py")
    assert empty.returncode == 2
    assert "Traceback" not in empty.stderr
    assert "matches no file" in empty.stderr
    assert len(list(session.parent.iterdir())) == 1


def test_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    git = ["git", "-c", "user.name=Canary Name", "-c", "user.email=canary@example.org"]
    monkeypatch.setenv("MY_API_KEY", "canary-key-123456789")
    (here / "study.py").write_text("one = 1\n")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "study.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    (here / "study.py").write_text("key = 'canary-key-123456789'\n")
    with pytest.raises(LookupError), custody.session("P", "E") as s:
        raise LookupError
    data = (s.path / "system_state" / "environment_snapshot.json").read_bytes()
    found = json.loads(data)
    assert found["packages"]["pydantic"]
    assert (len(found["git"]["commit"]), found["git"]["dirty"]) == (40, True)
    assert "+key = '[REDACTED]'" in found["git"]["diff"]
    for private in (b"Canary", b"canary", str(here).encode(), str(Path.home()).encode() + b"/"):
        assert private not in data
    from custody.research import environment

    packages = environment._packages()
    monkeypatch.setattr(environment, "_packages", lambda: (*packages, ("a-package", "99.0")))
    with caplog.at_level(logging.WARNING), custody.session("P", "E"):
        pass
    assert "than when this session began: a-package none -> 99.0\n" in caplog.text
    assert (s.path / "system_state" / "environment_snapshot.json").read_bytes() == data
    assert len(list(s.path.glob("system_state/snapshots/environment-*.json"))) == 1


def test_a_call_before_the_guards_is_not_possible(here: Path) -> None:
    transport = EchoTransport()
    with pytest.raises(custody.UsageError), start(corpus="nothing/*"):
        EchoClient(transport=transport).say("paid")
    assert not transport.requests
