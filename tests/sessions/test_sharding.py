"""Sessions for parts of a plan lie beside each other below one root, and each goes on as what it is."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

import custody
from custody import layout
from custody.errors import SessionFinished, UsageError
from custody.sessions import manifest as manifests
from custody.sessions import sharding
from custody.storage.local import LocalStorage
from custody.testing.simulator import Simulator

ITEMS = list("abcdefg")


def walked(
    root: Path, shard: str | None, monkeypatch: pytest.MonkeyPatch, stop: int = 100, **given: object
) -> list[str]:
    """The items that a start goes through, each with a paid call; it is killed, so to say, after so many."""
    if shard is None:
        monkeypatch.delenv(sharding.ENV, raising=False)
    else:
        monkeypatch.setenv(sharding.ENV, shard)
    client, found = openai.OpenAI(max_retries=0), []
    try:
        with custody.session("P", "E", root=root, **given) as session:  # type: ignore[arg-type]
            for item in session.plan(ITEMS, progress=False):
                if len(found) == stop:
                    raise InterruptedError
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": item.name}])
                found.append(item.name)
    except InterruptedError:
        pass
    return found


def sessions(root: Path) -> list[Path]:
    return layout.sessions_of(layout.experiment_path(root, "P", "E"))


def test_each_part_finds_its_own_session(sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert walked(tmp_path, "1/2", monkeypatch, stop=2) == ["a", "c"]
    assert walked(tmp_path, "2/2", monkeypatch, stop=1) == ["b"]
    assert walked(tmp_path, "1/2", monkeypatch) == ["a", "c", "e", "g"]
    assert walked(tmp_path, "2/2", monkeypatch) == ["b", "d", "f"]
    assert sdk_env.paid() == 7, "something was paid twice"
    shards = [manifests.read(LocalStorage(path)).shard for path in sessions(tmp_path)]
    assert shards == ["1/2", "2/2"]
    with pytest.raises(SessionFinished):
        walked(tmp_path, "1/2", monkeypatch)


def test_a_part_that_is_resumed_stays_a_part(
    sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(tmp_path, "1/2", monkeypatch)
    (path,) = sessions(tmp_path)
    assert walked(tmp_path, None, monkeypatch, session=path.name) == ["a", "c", "e", "g"]
    assert sdk_env.paid() == 4
    with pytest.raises(UsageError, match="for the part 1/2, not for 2/2"):
        walked(tmp_path, "2/2", monkeypatch, session=path.name)


def test_a_start_without_the_part_pays_for_nothing_again(
    sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(tmp_path, "1/2", monkeypatch, stop=1)
    with pytest.raises(UsageError, match="give --shard 1/2"):
        walked(tmp_path, None, monkeypatch)
    assert sdk_env.paid() == 1
    assert walked(tmp_path, None, monkeypatch, new=True) == ITEMS


def test_a_session_of_the_whole_plan_is_not_taken_for_a_part(
    sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(tmp_path, "1/1", monkeypatch, stop=1)
    (path,) = sessions(tmp_path)
    with pytest.raises(UsageError, match="for the whole plan, not for 1/2"):
        walked(tmp_path, "1/2", monkeypatch, session=path.name)
    assert walked(tmp_path, None, monkeypatch) == ITEMS
