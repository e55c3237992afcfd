"""The tree as data: every file that custody writes has exactly one role, and a role answers one question.

A pattern is a name relative to the folder of its level, as docs/format.md writes it: ``<n>`` stands for a number,
``<path>`` for a path, any other ``<word>`` for a part of a name, and a ``/`` at the end for everything below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from custody import layout
from custody.layout import KINDS

Level = Literal["project", "experiment", "session"]


@dataclass(frozen=True)
class Role:
    """``question``: what its files answer."""

    level: Level
    pattern: str
    question: str

    def fits(self, name: str) -> bool:
        return _expression(self.pattern).fullmatch(name) is not None


_STEPS = f"{layout.STATE}/{layout.STEPS}"
_OWN = f"{layout.SNAPSHOTS}/<kind>-<digest>"

ROLES: tuple[Role, ...] = (
    Role("project", "PROJECT_CHRONOLOG_<project>.jsonl", "which sessions began and ended when"),
    Role("experiment", layout.EXPERIMENT_TOML, "which files the experiment is about; yours"),
    Role("experiment", layout.EXPERIMENT_SNAPSHOT, "what the experiment was, word for word; frozen"),
    Role("experiment", layout.FRAMEWORK_SNAPSHOT, "by which framework, word for word; frozen"),
    Role("experiment", layout.CORPUS_MANIFEST, "with which documents: path, size, SHA-256; frozen"),
    Role("session", f"{layout.ARCHIVE}/<writer>-<n>.jsonl", "what was sent and what came back, of every call"),
    Role("session", f"{layout.ARCHIVE}/<writer>-<n>.jsonl.zst", "the same, compressed"),
    Role("session", f"{layout.ARCHIVE}/<writer>-<n>.idx", "where each call of a segment stands; can be made anew"),
    Role("session", layout.CHRONOLOG, "what happened when; no content"),
    *(Role("session", f"{folder}/", "the program's own results") for folder in layout.RESULTS),
    Role("session", layout.MANIFEST, "what the session is: names, versions, command"),
    Role("session", layout.REQUEST_KEY, "the secret under which request keys are made"),
    Role("session", layout.SEGMENTS, "which segments there are, and what each closed one hashes to"),
    *(Role("session", lock, "a kernel lock; always empty") for lock in layout.LOCKS),
    Role("session", f"{layout.WORKERS}/<holder>.json", "a worker's sign of life: that it is there"),
    *(Role("session", f"{lock.removesuffix('.lock')}/", "who holds it, or held it") for lock in layout.LOCKS),
    Role("session", f"{layout.STATE}/stage_<n>_<name>_complete.json", "which entries of a stage are done"),
    Role("session", f"{_STEPS}/<name>.json", "which step or item of a plan is done, and what it keeps"),
    Role("session", layout.BACKLOG, "which machine has written what is not stored here yet; gone when all is"),
    Role("session", layout.BUDGET, "what was reserved and spent of a budget; the last line counts"),
    Role("session", layout.REPRICED, "what the calls cost by later price tables"),
    Role("session", layout.MIGRATED, "which files of an older layout the session was made from"),
    Role("session", f"{layout.ORIGINALS}/<path>", "what these files were, byte for byte"),
    Role("experiment", f"{layout.ORIGINALS}/<path>", "files of an older layout, the experiment's, byte for byte"),
    Role("project", f"{layout.ORIGINALS}/<path>", "files of an older layout, the project's, byte for byte"),
    Role("session", layout.ENVIRONMENT, "on what it ran: Python, packages, machine, commit"),
    Role("session", layout.HEAD, "how far the chronologs had come, so that a cut one shows"),
    Role("session", f"{layout.CARRIED}<digest>.jsonl", "what the project's chronolog was where it was copied from"),
    Role("session", layout.COPYING, "that a copy has not come to its end, and from where it comes"),
    Role("experiment", f"{layout.REMOVED}/<session>.json", "what a removed session was, and where its copy is"),
    *(Role("session", f"{layout.SNAPSHOTS}/{kind}.json", f"to which frozen {kind} it is bound") for kind in KINDS),
    Role("session", f"{_OWN}.md", "what was live where it was not the frozen text"),
    Role("session", f"{_OWN}.json", "what was live where it was not the frozen corpus or environment"),
    Role("session", layout.CHECKPOINT, "what was there when it was last continued"),
    Role("session", layout.LOSSES, "which complete calls are gone, and that this was accepted"),
    Role("session", layout.PENDING, "what the plans are, and what of them was not done"),
    Role("session", f"{layout.DAMAGED}/<file>", "the damaged original of a segment that was repaired"),
    Role("session", f"{layout.RECOVERY}/crash_report.txt", "how the program ended that failed"),
    Role("session", f"{layout.RECOVERY}/strict_miss.json", "what a strict run asked for in vain"),
)  # fmt: skip

HALF_WRITTEN = Role("session", ".tmp-<name>", "left by a crash in the middle of a write; nothing reads it")


def roles_of(level: Level, name: str) -> list[Role]:
    """The roles that a file has: one, or none where it does not belong."""
    if name.rpartition("/")[2].startswith(".tmp-"):
        return [HALF_WRITTEN]
    return [role for role in ROLES if role.level == level and role.fits(name)]


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    words = {"<n>": r"\d+", "<digest>": "[0-9a-f]{16}", "<path>": ".+"}
    parts = re.split(r"(<\w+>)", pattern)
    text = "".join(words.get(part, "[^/]+") if part.startswith("<") else re.escape(part) for part in parts)
    return re.compile(text + ".+" if pattern.endswith("/") else text, re.DOTALL)
