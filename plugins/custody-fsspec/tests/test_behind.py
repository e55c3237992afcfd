"""CUSTODY_DURABILITY=local-then-remote: an outage of the server stops nothing, a kill loses nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from custody_fsspec.sync import sync
from small_s3 import SmallS3
from study import PAIR, ROOT, ended, session_of

import custody
from custody.report.verify import verify
from custody.sessions import behind
from custody.storage import folders
from custody.testing.simulator import Simulator

pytest.importorskip("openai", reason="the study asks by the openai SDK")
pytestmark = pytest.mark.timeout(300)

Start = Callable[..., subprocess.Popen[str]]
SETTING = {"CUSTODY_DURABILITY": "local-then-remote", "CUSTODY_UPLOAD_SECONDS": "120"}
AWAY = {**SETTING, "CUSTODY_UPLOAD_SECONDS": "1"}  # for a program that ends while the server is away
MARKER = "/system_state/backlog.json"


def told(process: subprocess.Popen[str], answers: int) -> str:
    assert process.stdout is not None
    return "".join(process.stdout.readline() for _ in range(answers))


def sound(url: str) -> None:
    verdict = verify(custody.open(url).storage, deep=True)
    assert verdict.sound, verdict.problems


def synced(*words: str) -> Result:
    return CliRunner().invoke(sync, words)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process is on the machine of the study."""
    monkeypatch.setenv("CUSTODY_LOCAL_DIR", str(tmp_path / "behind"))
    monkeypatch.setattr(folders, "_opened", {})  # those of the last test's server


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    return {"CUSTODY_LOCAL_DIR": str(tmp_path / "another machine")}


def parts(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "behind"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def calls_on(server: SmallS3) -> int:
    return sum(data.count(b'{"kind":"call"') for key, (data, _) in server.objects.items() if "/llm_archive/" in key)


def test_what_is_uploaded_in_the_end_is_the_session_and_nothing_is_left(
    start: Start, server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    code, _, err = ended(start("study.py", **SETTING))
    assert (code, sim.paid()) == (0, 8), err
    assert parts(tmp_path) == [], "the local part is not needed any more"
    assert not [key for key in server.objects if key.endswith(MARKER)]
    found = custody.open(session_of(server)).status()
    assert (found["calls"], found["state"], found["backlog"]) == (8, "finished", None)
    sound(session_of(server))


def test_an_outage_in_the_middle_does_not_stop_the_study(
    start: Start, server: SmallS3, sim: Simulator, tmp_path: Path, elsewhere: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("CUSTODY_FSSPEC_RETRY_SECONDS", "0.2")
    process = start("study.py", WAIT="2", **AWAY)
    told(process, 3)
    server.fail = 503
    code, _, err = ended(process)
    assert (code, sim.paid()) == (0, 8), err
    assert "on this machine only" in err and "custody sync" in err
    (part,) = parts(tmp_path)
    assert str(part) in err
    server.fail = None

    session = session_of(server)
    here = custody.open(session).status()["backlog"]
    assert (here["here"], here["calls"], here["place"]) == (True, 8 - calls_on(server), str(part))
    assert here["bytes"] > 0
    with monkeypatch.context() as moved:
        moved.setenv("CUSTODY_LOCAL_DIR", elsewhere["CUSTODY_LOCAL_DIR"])
        there = custody.open(session).status()["backlog"]
        assert (there["here"], there["machine"], there["calls"]) == (False, here["machine"], None)
        assert f"machine {there['machine']}" in behind.sentence(there)
    code, _, err = ended(start("study.py", **elsewhere))
    assert (code, sim.paid()) == (1, 8), "it paid again"
    assert f"may lie on machine {there['machine']}" in err
    for command in ("verify", "cost", "status"):
        code, out, err = ended(start("-m", "custody.cli", command, session, **elsewhere))
        assert f"may lie on machine {there['machine']}" in err, "what is missing is not said"
    # A log that is closed without what is to come takes nothing any more.
    code, out, err = ended(start("-m", "custody.cli", "compact", session, **elsewhere))
    assert code != 0 and f"may lie on machine {there['machine']}" in err, out

    server.fail = 503
    assert synced().exit_code == 1 and parts(tmp_path) == [part], "it cannot be stored, and stays"
    server.fail = None
    stored = synced()
    assert (stored.exit_code, parts(tmp_path)) == (0, []), stored.output
    assert f"{here['calls']} calls" in stored.output and calls_on(server) == 8
    assert "nothing was left" in synced().output
    found = custody.open(session).status()
    assert (found["calls"], found["state"], found["backlog"]) == (8, "finished", None)
    sound(session)


def test_processes_below_custody_run_write_to_the_part_of_their_owner(
    start: Start, server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "work" / "study.py").write_text(PAIR)
    names = ("--root", ROOT, "--project", "P", "--experiment", "E")
    code, out, err = ended(start("-m", "custody.cli", "run", *names, "--", "python", "study.py", **SETTING))
    assert (code, sim.paid()) == (0, 6), err
    told = out.splitlines()
    assert (len(told), len(set(told))) == (12, 6), "the two were told different answers"
    assert "6 sent" in err, err
    assert parts(tmp_path) == [] and calls_on(server) == 6
    sound(session_of(server))


@pytest.mark.parametrize("again", [{}, SETTING], ids=["without the setting", "with it"])
def test_a_killed_study_leaves_a_backlog_which_the_next_start_uploads_first(
    start: Start, server: SmallS3, sim: Simulator, tmp_path: Path, again: dict[str, str]
) -> None:
    process = start("study.py", WAIT="2", KILL="6", **SETTING)
    before = told(process, 3)
    server.fail = 503
    code, out, err = ended(process)
    assert (code, sim.paid()) == (-9, 6), err
    server.fail = None
    assert calls_on(server) < 6
    server.asked.clear()
    code, after, err = ended(start("study.py", CUSTODY_LEASE_SECONDS="5", **again))
    assert (code, sim.paid()) == (0, 8), err
    assert after.startswith(before + out), "an acknowledged answer is another one"
    assert parts(tmp_path) == [] and calls_on(server) == 8
    assert not [key for key in server.objects if key.endswith(MARKER)]
    sound(session_of(server))


def test_a_backlog_that_is_lost_is_given_up_by_a_word(
    start: Start, server: SmallS3, sim: Simulator, tmp_path: Path, elsewhere: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    process = start("study.py", WAIT="2", KILL="6", **SETTING)
    told(process, 3)
    server.fail = 503
    ended(process)
    server.fail = None
    stored = calls_on(server)
    assert "paid again" in synced("--give-up", session_of(server)).output
    code, _, err = ended(start("study.py", **elsewhere))
    assert (code, sim.paid()) == (0, 6 + 8 - stored), err
    assert synced().exit_code == 1 and "was given up" in caplog.text
    assert [path.name for path in parts(tmp_path) if "given-up" not in path.name] == []
    sound(session_of(server))


def test_several_workers_are_refused(start: Start, server: SmallS3, sim: Simulator) -> None:
    code, _, err = ended(
        start("study.py", CUSTODY_WORKER="one", CUSTODY_SESSION_ID="session_20260101_000000", **SETTING)
    )
    assert code != 0 and sim.paid() == 0, err
