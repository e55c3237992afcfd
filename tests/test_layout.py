"""Names of folders, ids of sessions, and where a session is found."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody import layout
from custody.errors import SessionNotFound, UsageError

NOW = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "MVA",
        "experiment_2",
        "étude (2)",
        "Исследование",
        "研究 一",
        "दस्तावेज़",
        "بحث",
        "a.b-c",
        "x" * 200,
        "CONsole",
        "v1.0",
    ],
)
def test_names_that_people_use(name: str) -> None:
    assert layout.checked_name("project", name) == unicodedata.normalize("NFC", name)


def test_one_name_however_it_is_composed() -> None:
    assert layout.checked_name("project", "e\u0301tude") == layout.checked_name("project", "\u00e9tude")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        ".",
        "..",
        ".hidden",
        "a.",
        "a/b",
        "a\\b",
        "a:b",
        "a*",
        "a?",
        'a"',
        "<a>",
        "a|b",
        "a\nb",
        "a\0b",
        "\x1b[2J",
        "con",
        "NUL",
        "nul.txt",
        "Com1",
        "lpt9.log",
        "x" * 201,
        "研" * 67,
        "\udc80",
        "a\u202eb",
        "\u2028",
    ],
)
def test_names_that_are_no_folders(name: str) -> None:
    with pytest.raises(UsageError, match=r"^stage name .* cannot be a folder's name") as caught:
        layout.checked_name("stage", name)
    str(caught.value).encode()  # it can be printed


@given(
    st.text()
    | st.text("研é. _(con)\u0301ि", max_size=120)
    | st.sampled_from(["con", "aux.", "x" * 79 + " y", "研" * 90])
)
def test_a_name_that_is_made_can_be_used(text: str) -> None:
    name = layout.name_from(text, "project")
    assert layout.checked_name("project", name) == name
    assert layout.name_from(name, "project") == name


def test_names_that_are_made() -> None:
    assert layout.name_from("my study!! (v2)", "x") == "my study_ (v2)"
    assert layout.name_from("दस्तावेज़ e\u0301", "x") == unicodedata.normalize("NFC", "दस्तावेज़ é")
    assert layout.name_from("///", "project") == "project"


def test_session_ids() -> None:
    assert layout.new_session_id(NOW) == "session_20261123_040506"
    assert layout.new_session_id(NOW.astimezone(timezone(timedelta(hours=5))), 1) == "session_20261123_040506_2"
    for name in ("session_20261123_040506", "session_20261123_040506_12"):
        assert layout.is_session_id(name)
    for name in (
        "session_20261123",
        "session_20261123_040506_",
        "session_20261123_040506\n",
        "xsession_20261123_040506",
        "session_٢٠٢٦١١٢٣_٠٤٠٥٠٦",
    ):
        assert not layout.is_session_id(name)


def test_sessions_oldest_first(tmp_path: Path) -> None:
    ids = [layout.new_session_id(NOW, n) for n in range(12)] + [layout.new_session_id(NOW + timedelta(seconds=1))]
    for name in sorted(ids, reverse=True):
        (tmp_path / "sessions" / name).mkdir(parents=True)
    (tmp_path / "sessions" / "notes").mkdir()
    (tmp_path / "sessions" / "session_20261123_040507_2").write_bytes(b"")
    assert [path.name for path in layout.sessions_of(tmp_path)] == ids
    assert layout.sessions_of(tmp_path / "nothing") == []


def made(root: Path, experiment: str, session: str = "session_20261123_040506") -> Path:
    path = layout.experiment_path(root, "P", experiment) / "sessions" / session
    (path / layout.STATE).mkdir(parents=True)
    (path / layout.MANIFEST).write_text("{}")
    return path.resolve()


def test_a_session_by_id_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, "one")
    assert layout.find_session(tmp_path, path.name) == path
    assert layout.find_session(tmp_path, str(path)) == path
    assert layout.find_session(tmp_path / "elsewhere", f"{path}/") == path
    monkeypatch.chdir(path.parent)
    assert layout.find_session(tmp_path / "elsewhere", path.name) == path


def test_an_id_that_exists_twice(tmp_path: Path) -> None:
    paths = made(tmp_path, "one"), made(tmp_path, "two")
    with pytest.raises(UsageError, match="exists 2 times") as caught:
        layout.find_session(tmp_path, paths[0].name)
    assert all(str(path) in str(caught.value) for path in paths)


def test_no_session(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file; a session is a folder"):
        layout.find_session(tmp_path, str(tmp_path / "file"))
    with pytest.raises(SessionNotFound, match=f"no session: it has no {layout.MANIFEST}"):
        layout.find_session(tmp_path, str(tmp_path))
    for name in (
        "session_20200101_000000",
        "nonsense",
        "x" * 5000,
        "a\0b",
        str(tmp_path / "file" / "below"),
        os.sep * 2 + "x",
    ):
        with pytest.raises(SessionNotFound, match=r"^no session "):
            layout.find_session(tmp_path, name)
