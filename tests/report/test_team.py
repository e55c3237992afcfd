"""Who is at work: a worker that was killed and came back is not lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.report import team
from custody.storage.heartbeats import Seen


def seen(state: Any, *, began: float, silent: float) -> Seen:
    started = (datetime.now(UTC) - timedelta(seconds=began)).isoformat().replace("+00:00", "Z")
    return Seen(f"h{began}", "one", state, started, silent, {"calls": 3, "claims": 1})


@pytest.mark.parametrize(
    ("processes", "state"),
    [
        ([seen("lost", began=100, silent=80)], "lost"),
        ([seen("lost", began=100, silent=80), seen("ended", began=60, silent=5)], "ended"),
        ([seen("lost", began=100, silent=80), seen("alive", began=60, silent=1)], "alive"),
        ([seen("lost", began=100, silent=80), seen("lost", began=70, silent=60)], "lost"),
        # A child of the one that is lost ended before it: nobody has come back.
        ([seen("lost", began=100, silent=80), seen("ended", began=95, silent=85)], "lost"),
    ],
)
def test_state(monkeypatch: pytest.MonkeyPatch, processes: list[Seen], state: str) -> None:
    monkeypatch.setattr(team.workers, "seen", lambda storage: processes)
    (row,) = team.rows(None, [])  # type: ignore[arg-type]
    assert (row["state"], row["processes"]) == (state, len(processes))
