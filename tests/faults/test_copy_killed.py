"""SIGKILL before each write of a copy and of a move, and the same again: no half of a session passes for one."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from custody import layout
from custody.errors import SessionNotFound, SessionRemoved
from custody.report.verify import verify
from custody.storage.folders import at
from custody.transfer import copying, places, removing, streaming

_made: Any = runpy.run_path(str(Path(__file__).parents[1] / "transfer" / "study.py"))
study, tree, without_carried = _made["study"], _made["tree"], _made["without_carried"]

CALLS = ("open", "write", "link", "replace", "unlink", "rmdir", "mkdir", "fdatasync", "fsync")
pytestmark = pytest.mark.timeout(600)


def killed_before(number: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that is killed before its ``number``-th call that changes a disk. False: it ended."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)

            return call

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed by itself"
    return False


def copy(session: Path, root: Path) -> None:
    with places.held(session, "copied") as source:
        copying.copy(source, root)


STEP = 1 if os.environ.get("CUSTODY_FAULTS") == "long" else 5


@pytest.fixture
def session(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(streaming, "BLOCK", 4096)  # so that some files are larger
    made = study(root, calls=2, large=9000)
    assert isinstance(made, Path)
    return made


def whole_files(folder: Path) -> dict[str, bytes]:
    """Without what was half written, which nothing reads."""
    return {name: data for name, data in tree(folder).items() if not Path(name).name.startswith(".tmp-")}


def test_a_copy(session: Path, tmp_path: Path) -> None:
    whole = tree(session)
    number, unfinished, finished = 1, 0, 0
    while True:
        other = tmp_path / f"other-{number}"
        target = other / session.relative_to(session.parents[5])
        if not killed_before(number, partial(copy, session, other)):
            break
        assert tree(session) == whole, "the source was changed"
        if (target / layout.MANIFEST).exists():
            finished += 1
            held = {name: data for name, data in whole_files(target).items() if name != layout.COPYING}
            assert without_carried(held) == whole, "it looks like the session, and is not all of it"
            assert verify(at(target)).sound == (not (target / layout.COPYING).exists())
        else:
            unfinished += 1
            with pytest.raises(SessionNotFound):
                verify(at(target))
        copy(session, other)
        assert without_carried(tree(target)) == whole
        assert not list(target.rglob(".tmp-*")), "what the killed one left half written"
        assert verify(at(target), deep=True).sound
        shutil.rmtree(other)
        number += STEP
    assert unfinished > 10 and finished > 0, (unfinished, finished)


def test_a_move(session: Path, tmp_path: Path) -> None:
    """What a kill leaves of the source is all of it, or no session and a record of where the copy is."""
    whole, root = tree(session), session.parents[5]
    other = tmp_path / "other"
    copy(session, other)  # else most kills are in the copying
    target = other / session.relative_to(root)
    copied = tree(target)
    number, whole_left, some_left = 1, 0, 0
    while True:
        source = tmp_path / f"source-{number}"
        shutil.copytree(root, source)
        here = source / session.relative_to(root)
        if not killed_before(number, partial(removing.move, here, other)):
            break
        if (here / layout.MANIFEST).exists():
            whole_left += 1
            assert whole_files(here) == whole
            removing.move(layout.find_session(source, session.name), other)
        else:
            some_left += 1
            with pytest.raises(SessionRemoved, match=str(target)):
                layout.find_session(source, session.name)
            removing.finish(here)
        assert not here.exists()
        assert tree(target) == copied
        chronolog = (source / "projects/P/PROJECT_CHRONOLOG_P.jsonl").read_text()
        assert chronolog.count('"event":"session_removed"') == 1
        removing.finish(here)  # nothing is left to do
        shutil.rmtree(source)
        number += STEP
    assert whole_left > 3 and some_left > 3, (whole_left, some_left)
