"""What a start refuses to guess: it would pay again for what is there."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

import custody
from custody import layout
from custody.errors import ArchiveDamaged, ReplayMiss, SessionFinished, UsageError
from custody.report.listing import sessions as listed
from custody.storage.folders import folder
from custody.testing.simulator import Simulator


def ask(root: Path, **given: object) -> None:
    with custody.session("P", "E", root=root, **given):  # type: ignore[arg-type]
        client = openai.OpenAI(max_retries=0)
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])


def test_a_session_that_lost_its_manifest_is_not_passed_over(sdk_env: Simulator, tmp_path: Path) -> None:
    ask(tmp_path)
    (path,) = layout.sessions_of(layout.experiment_path(tmp_path, "P", "E"))
    (path / layout.MANIFEST).rename(tmp_path / "aside")
    with pytest.raises(ArchiveDamaged, match=r"holds calls and has no system_state/session\.json"):
        ask(tmp_path)
    assert sdk_env.paid() == 1
    (row,) = listed(tmp_path)
    assert "holds calls" in row["reason"]
    ask(tmp_path, new=True)
    assert sdk_env.paid() == 2


def test_one_that_was_killed_while_it_was_made_holds_nothing(sdk_env: Simulator, tmp_path: Path) -> None:
    made = layout.experiment_path(tmp_path, "P", "E") / "sessions" / "session_20200101_000000"
    for name in layout.FOLDERS:
        (made / name).mkdir(parents=True)
    ask(tmp_path)
    assert sdk_env.paid() == 1


@pytest.mark.parametrize("text", ["s3:/bucket/study", "gs:/bucket", "file:/tmp/study", "https:/host/x"])
def test_a_mistyped_url_is_no_folder(text: str) -> None:
    with pytest.raises(UsageError, match=f"two slashes, {text.partition(':')[0]}://"):
        folder(text)
    assert folder(f"./{text}") == Path(text).resolve()


def test_a_root_within_another_ones_projects_is_refused(sdk_env: Simulator, tmp_path: Path) -> None:
    ask(tmp_path)
    for root in (tmp_path / "projects" / "P", tmp_path / "projects" / "P" / "experiments" / "E"):
        with pytest.raises(UsageError, match="within another one's projects/: start it in"):
            ask(root)
    assert sdk_env.paid() == 1
    other = tmp_path / "projects" / "notes"  # people have folders of these names, too
    (other / "experiments" / "one").mkdir(parents=True)
    ask(other)
    assert sdk_env.paid() == 2


def say(root: Path, text: str, **given: object) -> None:
    with custody.session("P", "E", root=root, **given):  # type: ignore[arg-type]
        client = openai.OpenAI(max_retries=0)
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])


@pytest.mark.parametrize("times", [1, 2])
def test_a_replay_that_fails_leaves_a_finished_session_finished(sdk_env: Simulator, tmp_path: Path, times: int) -> None:
    """Else the next start, with an edited prompt, would pay into it: two prompts in one session."""
    ask(tmp_path)
    (path,) = layout.sessions_of(layout.experiment_path(tmp_path, "P", "E"))
    for _ in range(times):
        with pytest.raises(ReplayMiss):
            say(tmp_path, "edited", session=path.name, strict=True)
    assert custody.open(path).status()["state"] == "finished"
    with pytest.raises(SessionFinished):
        say(tmp_path, "edited")
    assert sdk_env.paid() == 1
    with pytest.raises(ZeroDivisionError), custody.session("P", "E", root=tmp_path, session=path.name):
        _ = 1 / 0
    assert custody.open(path).status()["state"] == "finished"


def test_a_finished_session_that_paid_again_and_failed_is_not_finished(sdk_env: Simulator, tmp_path: Path) -> None:
    ask(tmp_path)
    (path,) = layout.sessions_of(layout.experiment_path(tmp_path, "P", "E"))
    with pytest.raises(ZeroDivisionError), custody.session("P", "E", root=tmp_path, session=path.name):
        openai.OpenAI(max_retries=0).chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "x"}]
        )
        _ = 1 / 0
    assert (custody.open(path).status()["state"], sdk_env.paid()) == ("failed", 2)
    say(tmp_path, "x")  # it is continued
    assert (len(layout.sessions_of(path.parent.parent)), custody.open(path).status()["state"]) == (1, "finished")
