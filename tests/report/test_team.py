"""Who is at work: a worker that was killed and came back is not lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.report import team
from custody.storage.heartbeats import Seen


def seen(state: Any, began: float, silent: float) -> Seen:
    started = (datetime.now(UTC) - timedelta(seconds=began)).isoformat().replace("+00:00", "Z")
    return Seen(f"h{began}", "one", state, started, silent, {"calls": 3, "claims": 1})


@pytest.mark.parametrize(
    ("processes", "state"),
    [
        ([("lost", 100, 80)], "lost"),
        ([("lost", 100, 80), ("ended", 60, 5)], "ended"),
        ([("lost", 100, 80), ("alive", 60, 1)], "alive"),
        ([("lost", 100, 80), ("lost", 70, 60)], "lost"),
        # A child of the one that is lost ended before it: nobody has come back.
        ([("lost", 100, 80), ("ended", 95, 85)], "lost"),
    ],
)
def test_state(monkeypatch: pytest.MonkeyPatch, processes: list[tuple[str, float, float]], state: str) -> None:
    monkeypatch.setattr(team.workers, "seen", lambda storage: [seen(*each) for each in processes])
    (row,) = team.rows(None, [])  # type: ignore[arg-type]
    assert (row["state"], row["processes"]) == (state, len(processes))
