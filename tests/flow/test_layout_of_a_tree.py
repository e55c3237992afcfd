"""Each byte that is written has one role, and what does not belong is named; a session that was moved still works."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.layout import LAYOUT_VERSION
from custody.report.tree import explain
from custody.roles import ROLES, roles_of
from tests.flow.conftest import Cli

FORMAT = Path(__file__).parents[2] / "docs" / "format.md"


def study(root: Path, project: str, experiment: str, client: EchoClient, **options: bool) -> custody.Session:
    """Writes every kind of file that a session has."""
    with pytest.raises(LookupError), custody.session(project, experiment, root=root, **options) as s:  # type: ignore[arg-type]
        with s.stage("analysis") as stage:
            for item in s.plan(["a", "b"], runs=2, progress=False):
                client.say(item.name)
            stage.save(1)
        s.step(len)([])
        s.results.individual("a run 1", {"score": 1})
        s.results.aggregated("scores.csv", "a,1\n")
        s.results.final("report.md", "# Report\n")
        raise LookupError
    return s


@pytest.fixture
def produced(root: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Path:
    root.mkdir()
    monkeypatch.chdir(root)
    for experiment in ("E (1)", "Исследование 2"):
        cli("init", "Проект", experiment, cwd=root)
        folder = root / "projects" / "Проект" / "experiments" / experiment
        (folder / "corpus" / "a.txt").write_text("a")
        client = EchoClient(transport=EchoTransport())
        study(root, "Проект", experiment, client)
        (folder / "framework.md").write_text("changed")
        study(root, "Проект", experiment, client)
        study(root, "Проект", experiment, client, new=True)
    return root


def test_each_file_of_a_tree_has_one_role(produced: Path, cli: Cli) -> None:
    found = list(explain(produced))
    assert len(found) > 60
    assert not [one.name for one in found if one.foreign]
    counted = 0
    for session in produced.glob("projects/*/experiments/*/sessions/*"):
        for path in session.rglob("*"):
            if path.is_file():
                counted += 1
                assert len(roles_of("session", path.relative_to(session).as_posix())) == 1, path
    assert counted > 60
    for folder in (".", "projects/Проект", "projects/Проект/experiments/E (1)", str(session)):
        shown = cli("layout", folder, cwd=produced)
        assert shown.returncode == 0, shown.stderr
        assert "what happened when; no content" in shown.stdout


def test_what_does_not_belong_is_named(produced: Path, cli: Cli) -> None:
    session = next(produced.glob("projects/*/experiments/E (1)/sessions/*"))
    foreign = [
        session / "notes.txt",
        session / "llm_archive" / "copy of a segment.jsonl",
        session / "system_state" / "pickle.pkl",
        session.parent / "old" / "x.txt",
        produced / "projects" / "x.txt",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (session / "llm_archive" / "a-000001.jsonl").symlink_to("/etc/hostname")
    (produced / "projects" / "Проект" / "experiments" / "E (1)" / "study.py").write_text("mine")
    shown = json.loads((ran := cli("layout", "--json", cwd=produced)).stdout)
    assert ran.returncode == 1
    names = {one["name"] for one in shown if one["foreign"]}
    assert names == {p.relative_to(produced).as_posix() for p in (*foreign, session / "llm_archive/a-000001.jsonl")}
    assert json.loads(cli("layout", "--root", str(produced), "--json").stdout) == shown
    plain = cli("layout", str(session))
    assert plain.returncode == 1
    assert "FOREIGN" in plain.stdout
    assert cli("layout", str(produced / "projects" / "Проект" / "PROJECT_CHRONOLOG_Проект.jsonl")).returncode == 2
    assert cli("layout", "no/such/folder").returncode == 2


def test_the_roles_are_those_of_the_documented_format() -> None:
    table = FORMAT.read_text("utf-8").partition("## The files\n")[2].partition("\n## ")[0]
    documented = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall("`([^`]+)`", row.split("|")[1])
    }
    roles = {role.pattern for role in ROLES if role.level == "session"}
    plain = {re.sub(r"<n+>", "<n>", name) for name in documented}
    results = {role for role in roles if role.startswith("analysis_results/")}
    assert plain - {"analysis_results/"} == roles - results


def test_an_old_manifest_still_opens(produced: Path, cli: Cli) -> None:
    """Layout 3 as it first shipped: nothing but archive, manifest, key, chronolog, stages."""
    session = next(produced.glob("projects/*/experiments/E (1)/sessions/*"))
    for name in ("system_state/snapshots", "system_state/steps", "fault_recovery"):
        shutil.rmtree(session / name)
    for name in ("environment_snapshot.json", "chronolog_head.json"):
        (session / "system_state" / name).unlink()
    stage = next(session.glob("system_state/stage_*_analysis_complete.json"))
    value = json.loads(stage.read_text())
    for entry in value["entries"].values():
        entry.pop("state")
    stage.write_text(json.dumps(value))
    assert cli("status", str(session)).returncode == 0
    assert cli("verify", str(session)).returncode == 0
    with custody.session("Проект", "E (1)", root=produced, session=session.name) as s, s.stage("analysis") as entered:
        assert entered.completed
        assert entered.state is None
    manifest = session / "system_state" / "session.json"
    manifest.write_text(manifest.read_text().replace(f'"layout": {LAYOUT_VERSION}', f'"layout": {LAYOUT_VERSION + 1}'))
    newer = cli("status", str(session))
    assert (newer.returncode, "update custody" in newer.stderr) == (1, True)
    manifest.write_text(manifest.read_text().replace(f'"layout": {LAYOUT_VERSION + 1}', '"layout": 2'))
    older = cli("status", str(session))
    assert (older.returncode, "custody migrate" in older.stderr) == (1, True)


def test_moved_to_another_machine_and_path(produced: Path, tmp_path: Path, cli: Cli) -> None:
    session = next(produced.glob("projects/*/experiments/E (1)/sessions/*"))
    alone = Path(shutil.copytree(session, tmp_path / "elsewhere" / "a b (c)" / session.name))
    for path in (alone, Path(shutil.copytree(produced, tmp_path / "移動") / session.relative_to(produced))):
        assert cli("verify", str(path)).returncode == 0
        assert cli("status", str(path)).returncode == 0
    moved = tmp_path / "移動"
    transport = EchoTransport()
    with custody.session("Проект", "E (1)", root=moved, session=session.name) as s, s.stage("analysis"):
        for item in s.plan(["a", "b"], runs=2, progress=False):
            EchoClient(transport=transport).say(item.name)
    assert not transport.requests


def test_a_copy_that_cannot_be_written(produced: Path, cli: Cli) -> None:
    session = next(produced.glob("projects/*/experiments/E (1)/sessions/*"))
    everything = [session, *session.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for command in ("verify", "status", "calls", "show", "layout", "drift"):
            ran = cli(command, str(session))
            assert ran.returncode == 0, ran.stderr
    finally:
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_two_sessions_in_one_second(root: Path) -> None:
    ids = []
    for _ in range(3):
        with custody.session("P", "E", root=root, new=True) as s:
            ids.append(s.id)
    assert len(set(ids)) == 3
