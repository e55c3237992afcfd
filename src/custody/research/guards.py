"""What is asked before the first call: is this the corpus and the framework that were meant?"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from custody.errors import UsageError
from custody.research.definitions import Given, Kind, Live
from custody.storage.folders import Folder

MOST_FILES = 1000
"""In a first corpus; more are asked for by name."""

_TIMES, _MORE = 3, 20
"""A corpus with more than three times the files of the last one, and at least so many more, was perhaps not meant."""

_NAMES_FRAMEWORK = re.compile(r"^[\s>#*_-]*framework(?:[\s_-]*file)?[\s*_`]*[:=]\s*(?P<name>\S.*?)\s*$", re.I | re.M)
_LINK = re.compile(r"\[[^\]]*\]\((?P<to>.+)\)")
_HAS_SUFFIX = re.compile(r"\.\w{1,5}\Z")


def check(live: Mapping[Kind, Live], given: Given, files_before: int | None) -> None:
    """Raises UsageError, with the way to go on. ``files_before``: of the experiment's last corpus."""
    if "corpus" in live:
        _growth(len(live["corpus"].documents), given, files_before)
    if "experiment" in live and "framework" in live and "framework" not in given.accept:
        _framework(live["experiment"], live["framework"])


def _growth(count: int, given: Given, before: int | None) -> None:
    if "growth" in given.accept:
        return
    on = "If they are meant: --accept growth (accept=('growth',)), or most_files in experiment.toml"
    if given.most_files is not None:
        if count > given.most_files:
            raise UsageError(f"the corpus has {count} files, and experiment.toml allows {given.most_files}. {on}")
    elif before is None:
        if count > MOST_FILES:
            raise UsageError(f"the corpus has {count} files; nothing was started. {on}")
    elif count > _TIMES * before and count - before >= _MORE:
        raise UsageError(f"the corpus has {count} files, and had {before} last time; nothing was started. {on}")


def _framework(experiment: Live, framework: Live) -> None:
    named = framework_named(experiment.content.decode("utf-8", "replace"))
    if named is not None and not _same_file(named, framework.source):
        raise UsageError(
            f"the experiment ({experiment.source}) names the framework {named!r}, the one given is "
            f"{framework.source}: give that one, mend the name, or go on with --accept framework "
            "(accept=('framework',))"
        )


def framework_named(text: str) -> str | None:
    """The file that an experiment's text names as its framework: ``Framework: x.md``; None where it names none."""
    for match in _NAMES_FRAMEWORK.finditer(text):
        name = match["name"]
        link = _LINK.search(name)
        name = (link["to"] if link else name).strip("*_`\"'<> ")
        if _HAS_SUFFIX.search(name):
            return name
    return None


def _same_file(named: str, source: str) -> bool:
    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", PurePosixPath(text.replace("\\", "/").replace("%20", " ")).name)

    return plain(named) == plain(source)


def count_files(manifest: Folder) -> int | None:
    """Files in a frozen corpus manifest; None where there is none."""
    try:
        return len(json.loads(manifest.read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
