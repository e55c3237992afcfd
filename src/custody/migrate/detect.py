"""Tells by its shape what a file of the source is: of which generation, experiment and run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from custody import layout
from custody.migrate import chronologs as chronolog
from custody.migrate import conversations, machine, prompts, times
from custody.migrate.source import SourceFile

FileKind = Literal[
    "conversation", "machine_log", "human_log", "state", "run_file", "archive", "chronolog", "experiment_file",
    "project_file", "ignored",
]  # fmt: skip

SHAPES = (
    "conversations/conversation_<stamp>_<8hex>.jsonl",
    "logs/<session>/<session>_machine.jsonl",
    "results/<stamp>/",
    "sessions/session_<stamp>/llm_archive/prompt_NNN.txt",
)

_IGNORED_FOLDERS = {
    ".git": "version control keeps its own data",
    ".hg": "version control keeps its own data",
    ".svn": "version control keeps its own data",
    "__pycache__": "made by Python, and made again",
    ".venv": "an environment, not data",
    "node_modules": "an environment, not data",
}
_IGNORED_FILES = {
    ".DS_Store": "made by the file browser",
    "Thumbs.db": "made by the file browser",
    "desktop.ini": "made by the file browser",
}
_ENVIRONMENT = re.compile(r"\.env(\..+)?", re.DOTALL)
_SESSION = re.compile(r"[A-Za-z_]*session.*\d{4}.*", re.DOTALL | re.IGNORECASE)


@dataclass
class Placed:
    """What a file is.

    Attributes:
        root: folder of the experiment, relative to the source; None where it belongs to none.
        ids: of the run it belongs to, by its place.
        reason: why it is ignored.
    """

    file: SourceFile
    kind: FileKind
    root: str | None = None
    ids: list[str] = field(default_factory=list)
    reason: str = ""


def place(files: list[SourceFile], source: Path) -> list[Placed]:
    """Every file with what it is, in order."""
    current = _current_sessions(files)
    placed = [_placed(file, current, source.name) for file in files]
    roots = sorted({p.root for p in placed if p.root is not None}, key=len, reverse=True)
    for p in placed:
        if p.root is None and p.kind == "project_file":
            root = next((root for root in roots if _below(p.file.path, root)), None)
            if root is not None and not chronolog.NAME.fullmatch(p.file.path.rpartition("/")[2]):
                p.kind, p.root = "experiment_file", root
    return placed


def _placed(file: SourceFile, current: set[str], source_name: str) -> Placed:
    path = file.path
    *folders, name = path.split("/")
    reason = _why_ignored(file, folders, name, current)
    if reason:
        return Placed(file, "ignored", reason=reason)
    for i, folder in enumerate(folders):
        root, below = "/".join(folders[:i]), folders[i + 1 :]
        if folder == "conversations" and name.endswith(".jsonl"):
            return Placed(file, "conversation", root)
        if folder == "logs" and (own := _of_log(below, name)) is not None:
            return Placed(file, _log_kind(name), root, [own])
        if folder == "results" and ((below and times.in_name(below[0])) or machine.STATE_NAME.fullmatch(name)):
            return _of_results(file, name, root, below[:1])
        if folder == "sessions" and below and _SESSION.fullmatch(below[0]):
            kind: FileKind = "archive" if below[1:] == [layout.ARCHIVE] and _is_archive(name) else "run_file"
            return Placed(file, kind, root, [below[0]])
        if folder == layout.ARCHIVE and not below and prompts.NAME.fullmatch(name):
            return Placed(file, "archive", "/".join(folders[: max(0, i - 1)]), [folders[i - 1] if i else source_name])
    here = "/".join(folders)
    if conversations.NAME.fullmatch(name):
        return Placed(file, "conversation", here)
    if name.endswith("_machine.jsonl"):
        return Placed(file, "machine_log", here, [name.removesuffix("_machine.jsonl")])
    if machine.STATE_NAME.fullmatch(name):
        return Placed(file, "state", here)
    if chronolog.NAME.fullmatch(name):
        return Placed(file, "chronolog", None)
    return Placed(file, "project_file")


def _of_log(below: list[str], name: str) -> str | None:
    """The run that a file below ``logs`` is of, by its folder, else by its name; None where it is of none."""
    known = re.fullmatch(r"(.+)_(?:machine\.jsonl|human\.md)", name, re.DOTALL)
    if below:
        session = _SESSION.fullmatch(below[0]) or times.in_name(below[0]) or known
        return below[0] if session else None
    return known[1] if known else None


def _of_results(file: SourceFile, name: str, root: str, ids: list[str]) -> Placed:
    if conversations.NAME.fullmatch(name):
        return Placed(file, "conversation", root, ids)
    if machine.STATE_NAME.fullmatch(name):
        return Placed(file, "state", root, ids)
    found = chronolog.NAME.fullmatch(name)
    if found is not None:
        return Placed(file, "chronolog", root, [*ids, found["of"]] if found["kind"] == "RUN" else [])
    return Placed(file, "run_file", root, ids)


def _log_kind(name: str) -> FileKind:
    if name.endswith("machine.jsonl"):
        return "machine_log"
    return "human_log" if name.endswith("human.md") else "run_file"


def _is_archive(name: str) -> bool:
    return name == prompts.METADATA or prompts.NAME.fullmatch(name) is not None


def _why_ignored(file: SourceFile, folders: list[str], name: str, current: set[str]) -> str:
    if file.kind == "symlink":
        return "a symlink; what it points to is taken where it lies, if it lies in the source"
    if file.kind in ("special", "unreadable"):
        return file.problem
    for folder in folders:
        if folder in _IGNORED_FOLDERS:
            return _IGNORED_FOLDERS[folder]
    if name in _IGNORED_FILES:
        return _IGNORED_FILES[name]
    if _ENVIRONMENT.fullmatch(name):
        return "a file for credentials"
    if any(_below(file.path, session) for session in current):
        return "of a session of layout v3 already: copy its folder as it is"
    return ""


def _current_sessions(files: Iterable[SourceFile]) -> set[str]:
    """Folders that are sessions of layout v3 already."""
    ending = f"/{layout.MANIFEST}"
    return {file.path.removesuffix(ending) for file in files if file.path.endswith(ending)}


def _below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")
