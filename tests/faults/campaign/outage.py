"""The storage fails in the middle of a run, and works again at the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import custody
from campaign.attack import Run, Study
from campaign.work import REFUSED
from custody.report.verify import verify


def broken_at(study: Study, acks: int, break_it: Callable[[], None], calls: int, **fields: Any) -> Run:
    """Run until so many items are acknowledged, break the storage, wait for the end."""
    with study.run(study.job(calls, **fields)) as run:
        run.listen(acks)
        break_it()
        code = run.wait()
    assert code in (0, REFUSED), (code, run.said[-2:], study.last_words())
    study.kept(run)
    study.absorb(run)
    if code != REFUSED:
        study.tally.repaid(f"{study.folder.name}: it paid on, although nothing could be archived")
    return run


def finished(study: Study, calls: int, **fields: Any) -> None:
    """It works again: the same command, to the end."""
    counted = study.tally
    study.resume(calls, **fields)
    counted.acknowledged += calls
    twice = [item for item, count in study.paid().items() if count != 1]
    if twice:
        counted.repaid(f"{study.folder.name}: items {twice} are paid {[study.paid()[i] for i in twice]} times")
    assert study.path is not None
    verdict = verify(custody.open(study.path).storage)
    if not verdict.sound or verdict.calls != calls:
        counted.lost(f"{study.folder.name}: {verdict.calls} calls, {verdict.problems[:3]}")
    if [p for p in (study.folder / "spill").rglob("*") if p.is_file()]:
        counted.lost(f"{study.folder.name}: what was spilled has not been taken in")
