"""Who opens a URL, and what is said of a plugin that cannot: one line that names it, and nothing is sent or lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.errors import PluginError, StorageError, StorageNotFound
from custody.hooks.discovery import Found
from custody.hooks.manager import HookFailure, PluginManager
from custody.storage import Storage
from custody.storage.local import LocalStorage


def opening(then: Callable[[str, bool], Any], **rank: bool) -> object:
    class Plugin:
        @custody.hookimpl(**rank)
        def open_storage(self, url: str, create: bool) -> Any:
            return then(url, create) if url.startswith("box://") else None

    return Plugin()


def manager(**plugins: object) -> PluginManager:
    made = PluginManager([Found(name, "loaded", plugin) for name, plugin in plugins.items()])
    made.raise_errors = False
    return made


@pytest.fixture
def asked() -> list[tuple[str, bool]]:
    return []


@pytest.fixture
def place(tmp_path: Path, asked: list[tuple[str, bool]]) -> Callable[[str], Callable[[str, bool], Storage]]:
    def named(name: str) -> Callable[[str, bool], Storage]:
        def opened(url: str, create: bool) -> Storage:
            asked.append((name, create))
            if not create and not (tmp_path / name).exists():
                raise StorageNotFound(f"{url} does not exist")
            return LocalStorage(tmp_path / name, create=create)

        return opened

    return named


def test_two_of_one_rank_are_refused_whatever_their_order_and_nothing_is_made(place: Any, tmp_path: Path) -> None:
    for names in (("one", "two"), ("two", "one")):
        hooks = manager(**{name: opening(place(name)) for name in names})
        for _ in range(2):
            with pytest.raises(PluginError, match=r"the plugins one and two both open box://.*_DISABLED_PLUGINS=two"):
                hooks.open_storage("box://study", create=True)
    assert list(tmp_path.iterdir()) == []


def test_whose_url_it_is_is_found_out_once(place: Any, asked: list[tuple[str, bool]]) -> None:
    hooks = manager(one=opening(place("one")), two=opening(lambda url, create: None))
    for _ in range(3):
        assert hooks.open_storage("box://study", create=True)
    assert asked == [("one", False), *[("one", True)] * 3]


def test_nobody_takes_the_place_of_one_that_breaks_down_except_for_paths(place: Any, tmp_path: Path) -> None:
    class Broken:
        @custody.hookimpl
        def open_storage(self, url: str, create: bool) -> Any:
            raise KeyError("region")

    class Path_:
        @custody.hookimpl(trylast=True)
        def open_storage(self, url: str, create: bool) -> Any:
            return place("any")(url, create)

    hooks = manager(general=Path_(), mine=Broken())
    with pytest.raises(PluginError, match="the plugin mine broke down"):
        hooks.open_storage("box://study", create=True)
    assert list(tmp_path.iterdir()) == [], "the study would go on in another place, and be paid again"
    with hooks.collecting(failures := []):
        assert hooks.open_storage(str(tmp_path), create=True)
    assert failures == [HookFailure("mine", "open_storage", "KeyError")]


@pytest.mark.parametrize(("rank", "first"), [("tryfirst", "two"), ("trylast", "one")])
def test_a_rank_is_a_choice(place: Any, asked: list[tuple[str, bool]], rank: str, first: str) -> None:
    for names in (("one", "two"), ("two", "one")):
        given = {"one": opening(place("one")), "two": opening(place("two"), **{rank: True})}
        manager(**{name: given[name] for name in names}).open_storage("box://study", create=True)
    assert asked == [(first, True)] * 2


def test_a_word_of_the_plugins_to_the_user_stays_as_it_is() -> None:
    def refuse(url: str, create: bool) -> Any:
        raise StorageError("the password is wrong")

    for more in ({}, {"two": opening(lambda url, create: None)}):
        with pytest.raises(StorageError, match=r"^the password is wrong$"):
            manager(one=opening(refuse), **more).open_storage("box://study", create=True)


HALF = type("Half", (), {"url": "box://x", "list": None, "read": None, "put": None, "lock": None, "claim": None})()
NAMELESS = type("Nameless", (LocalStorage,), {"__init__": lambda self: None, "url": None})()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("storage", r"the plugin mine opened it as a str, which is no storage$"),
        (False, r"the plugin mine opened it as a bool, which is no storage$"),
        (HALF, r"the plugin mine opened it as a Half, which is half a storage: it has no create_log, shared_log, .*"),
        (NAMELESS, r"the storage of the plugin mine has None for a url, and not a text$"),
    ],
)
def test_what_is_no_storage_is_named(given: Any, said: str) -> None:
    with pytest.raises(PluginError, match=rf"^box://study: {said}"):
        manager(mine=opening(lambda url, create: given)).open_storage("box://study", create=True)


@pytest.mark.parametrize("error", [KeyError("region"), ImportError("No module\nnamed x"), TypeError("NoneType")])
def test_an_error_of_the_plugins_own_is_one_line_that_names_it(error: Exception) -> None:
    def broken(url: str, create: bool) -> Any:
        raise error

    with pytest.raises(PluginError) as told:
        manager(mine=opening(broken)).open_storage("box://study", create=True)
    assert str(told.value).startswith("box://study: the plugin mine broke down when it was to open it (")
    assert "\n" not in str(told.value) and type(error).__name__ in str(told.value)
    assert told.value.__cause__ is error


BROKEN = """
from custody import hookimpl
class Plugin:
    @hookimpl
    def open_storage(self, url, create):
        if url.startswith("rack://text"):
            return "storage"
        if url.startswith("rack://"):
            return {}["region"]
"""


@pytest.mark.parametrize(("url", "said"), [("rack://text", "as a str"), ("rack://error", "(KeyError: 'region')")])
@pytest.mark.parametrize("command", [["sessions", "URL"], ["run", "--root", "URL", "--", sys.executable, "-c", "1"]])
def test_a_command_says_it_in_one_line(tmp_path: Path, command: list[str], url: str, said: str) -> None:
    info = tmp_path / "custody_mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: custody-mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nmine = custody_mine:Plugin\n")
    (tmp_path / "custody_mine.py").write_text(BROKEN)
    words = [url if word == "URL" else word for word in command]
    ran = subprocess.run(
        [sys.executable, "-c", "from custody.cli.main import main; main()", *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"custody: {url}/projects") and ": the plugin mine " in line and said in line
