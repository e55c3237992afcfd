"""A bar on a terminal, lines elsewhere, nothing where nothing is wanted."""

from __future__ import annotations

import os
import pty
import select
import sys

import pytest

from custody.research.progress import Shown


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown("analysis", 200, None)
    for n in range(200):
        shown.step(skipped=n < 50, failed=n == 60)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert 5 <= len(lines) <= 12
    assert lines[-1] == "custody: analysis (50 done before, 1 failed): 200 of 200"
    quiet = Shown("analysis", 2, False)
    quiet.step()
    quiet.close()
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        shown, second = Shown("analysis", 2, None), Shown("another at the same time", 2, None)
        shown.step(), second.step(), shown.step()
        shown.close(), second.close()
        terminal.flush()
        drawn = ""
        while "1 of 2" not in drawn and select.select([ours], [], [], 10)[0]:  # it comes in pieces
            drawn += os.read(ours, 65536).decode()
    os.close(ours)
    assert "2/2" in drawn
    assert "custody: another at the same time: 1 of 2" in drawn
