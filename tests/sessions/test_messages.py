"""What a person is told who does what people do."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import openai
import pytest

import custody
from custody import layout
from custody.errors import NamesDisagree, SessionNotFound
from custody.sessions import manifest as manifests
from custody.testing.simulator import Simulator


def ask(text: str = "Hello") -> None:
    openai.OpenAI(max_retries=0).chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])


def run(folder: Path, *words: str, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "study.py").write_text(code)
    command = [sys.executable, "-m", "custody.cli", *words, "--", "python", "study.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


ASK = """
import openai
openai.OpenAI(max_retries=0).chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
"""


def test_a_session_that_is_printed_shows_no_key(sdk_env: Simulator, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as session:
        key = manifests.read_key(session.storage)
        shown = f"{session!r} {session.flow!r} {session}"
        assert repr(key) not in shown and key.hex() not in shown
        assert session.id in shown and "P/E, open" in shown and len(repr(session)) < 400


def test_a_call_after_the_end_is_said_to_be_unrecorded_once(
    sdk_env: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with custody.session("P", "E", root=tmp_path):
        ask()
    with caplog.at_level(logging.WARNING, logger="custody"):
        ask("again")
        ask("and again")
    (said,) = [each.getMessage() for each in caplog.records if "is not recorded" in each.getMessage()]
    assert "has ended" in said


def test_a_second_session_beside_an_open_one(sdk_env: Simulator, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path), pytest.raises(NamesDisagree, match="close that one first"):
        custody.session("P", "other", root=tmp_path)


def test_a_lost_key_is_named(sdk_env: Simulator, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as session:
        ask()
    (tmp_path / session.path / layout.REQUEST_KEY).unlink()
    with pytest.raises(SessionNotFound, match=r"request_key\.json.*Put it back from a copy"):
        custody.session("P", "E", root=tmp_path, session=session.id)


def test_status_says_what_is_gone(sdk_env: Simulator, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as session:
        ask()
    for each in (tmp_path / session.path / layout.ARCHIVE).iterdir():
        each.unlink()
    assert custody.open(session.path).status()["vanished"] == 1


def test_a_name_that_is_an_option(sdk_env: Simulator, tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--project", "--new", code=ASK)
    assert (done.returncode, sdk_env.paid()) == (2, 0)
    assert "'--new' looks like an option" in done.stderr and not (tmp_path / "projects").exists()


def test_objections_are_accepted_for_the_script_too(sdk_env: Simulator, tmp_path: Path) -> None:
    """The script names its corpus itself; the word that lets it grow is the command's."""
    code = f"import custody\nwith custody.session(corpus='corpus/*.txt', root={str(tmp_path)!r}):\n    pass\n"
    (tmp_path / "corpus").mkdir()
    for number in range(40):
        (tmp_path / "corpus" / f"{number:02}.txt").write_text("x")
        if number == 5:
            assert run(tmp_path, "run", "--root", ".", code=code).returncode == 0
    refused = run(tmp_path, "run", "--root", ".", "--new", code=code)
    assert refused.returncode == 1 and "--accept growth" in refused.stderr
    assert "no call was made, and nothing was paid" in refused.stderr
    wrong = run(tmp_path, "run", "--root", ".", "--new", "--accept", "growht", code=code)
    assert wrong.returncode == 2 and "what can be accepted is" in wrong.stderr
    accepted = run(tmp_path, "run", "--root", ".", "--new", "--accept", "growth", code=code)
    assert accepted.returncode == 0, accepted.stderr


def test_a_study_that_is_done_is_not_said_to_be_unrecorded(sdk_env: Simulator, tmp_path: Path) -> None:
    code = (
        "import custody, openai\nwith custody.session() as s:\n    @s.step\n    def one():\n"
        f"        exec({ASK!r})\n        return 1\n    one()\n"
    )
    assert run(tmp_path, "run", "--project", "P", "--experiment", "E", code=code).returncode == 0
    (path,) = layout.sessions_of(layout.experiment_path(tmp_path, "P", "E"))
    again = run(tmp_path, "run", "--project", "P", "--experiment", "E", "--session", path.name, code=code)
    assert (again.returncode, sdk_env.paid()) == (0, 1), again.stderr
    assert "nothing was asked: what earlier runs have done was skipped" in again.stderr
    assert "no call to a known vendor" not in again.stderr
