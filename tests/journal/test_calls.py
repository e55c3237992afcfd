"""A few of very many calls are taken from where they are likely to help, and from everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from custody.journal import archive as archives
from custody.journal import closing
from custody.journal.archive import Archive

CALLS = 300


@pytest.fixture(params=["packed", "live"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch) -> Archive:
    if request.param == "packed":
        monkeypatch.setattr(archives, "PACK", 3)
        monkeypatch.setattr(closing, "PACK", 3)
    session = written(tmp_path / "session", rotate_bytes=100_000 if request.param == "packed" else 2**30)
    for number in range(CALLS):
        session.call(number)
    session.close()
    found = Archive(session.storage)
    found.refresh()
    assert (len(found.packed) > 1) == (request.param == "packed")
    return found


def numbers(archive: Archive, most: int) -> list[int]:
    found = archive.calls.some(most)
    assert len({call.id for call in found}) == len(found)
    return sorted(call.fields["run_number"] for call in found)


def test_all_where_there_are_no_more(archive: Archive) -> None:
    assert numbers(archive, CALLS) == list(range(CALLS))


def test_from_everywhere_where_nothing_was_replayed(archive: Archive) -> None:
    found = numbers(archive, 60)
    assert 50 <= len(found) <= 61
    assert all(any(n // 75 == quarter for n in found) for quarter in range(4))


@pytest.mark.parametrize("last", [0, 140])
def test_half_of_them_around_the_one_that_was_replayed_last(archive: Archive, numbered: Any, last: int) -> None:
    call = archive.answer(numbered(last))
    assert call is not None
    archive.response(call)
    found = numbers(archive, 60)
    around = [n for n in found if abs(n - last) <= 30]
    assert len(around) >= 29
    assert 45 <= len(found) <= 61
    assert any(abs(n - last) > 100 for n in found)
