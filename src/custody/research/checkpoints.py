"""The files in which completed stages and steps are kept, through the hooks ``state_save`` and ``state_load``.

A file holds the entries of one stage, or of one step in one scope with one input; each is replaced atomically.
One that is lost or torn costs the time to do its work again: the answers are in the archive.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody import layout
from custody.hooks.manager import PluginManager
from custody.identity import Identity
from custody.redact import Redactor
from custody.stamps import now
from custody.storage import Storage

log = logging.getLogger("custody")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One entry into a stage, as it was completed.

    Attributes:
        answers: the identities that its work used.
        inner: how often each stage inside it was entered.
        code, inputs: digests; None where the stage did not say.
        state: as codecs wrote it; ``has_state`` tells a kept None from none.
    """

    answers: tuple[Identity, ...] = ()
    inner: Mapping[str, int] = field(default_factory=dict)
    code: str | None = None
    inputs: str | None = None
    state: Any = None
    has_state: bool = False
    completed: str = field(default_factory=now, compare=False)

    def as_fields(self) -> Fields:
        fields: Fields = {
            "completed": self.completed,
            "answers": [list(identity) for identity in self.answers],
            "inner": dict(self.inner),
        }
        if self.code is not None:
            fields["code"] = self.code
        if self.inputs is not None:
            fields["inputs"] = self.inputs
        if self.has_state:
            fields["state"] = self.state
        return fields

    @classmethod
    def of_fields(cls, fields: Fields) -> Entry:
        """Raises KeyError, TypeError, ValueError for what is no entry."""
        answers = tuple(Identity(str(scope), str(key), int(number)) for scope, key, number in fields["answers"])
        inner = {str(name): int(times) for name, times in fields.get("inner", {}).items()}
        return cls(
            answers, inner, fields.get("code"), fields.get("inputs"), fields.get("state"), "state" in fields,
            str(fields["completed"]),
        )  # fmt: skip


class Checkpoints:
    """A session's checkpoints. Thread-safe; of two processes that complete one stage at once, one entry may be lost."""

    def __init__(
        self, storage: Storage, hooks: PluginManager, redactor: Redactor, session: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._storage, self._hooks, self._redactor, self._session = storage, hooks, redactor, session
        self._lock = threading.RLock()
        self._files: dict[str, str] = {}
        self._found: set[str] = set()
        self._steps: dict[str, list[str]] | None = None  # those of earlier starts, by what comes before the input

    def load(self, file: str, number: str) -> Entry | None:
        """None where this entry was not completed, or cannot be read any more."""
        fields = self._entries(file).get(number)
        try:
            return Entry.of_fields(fields) if fields is not None else None
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning("custody: entry %s of %s is damaged and is made anew; no answer is lost by it", number, file)
            return None

    def save(self, file: str, stage: str, number: str, entry: Entry) -> bool:
        """Whether it was kept; if not, it was said why."""
        with self._lock:
            entries = {**self._entries(file), number: entry.as_fields()}
            text = json.dumps({"stage": stage, "entries": entries}, ensure_ascii=False, indent=1)
            data = text.encode("utf-8", "backslashreplace")
            scrubbed = self._redactor.scrub(data)
            if scrubbed != data and entry.has_state and self._hurt(scrubbed, number, entry):
                log.warning("custody: what %s keeps holds a secret, and is not written: it runs again on resume", stage)
                return False
            if not self._hooks.state_save(self._session(), file, scrubbed + b"\n"):
                log.warning("custody: the checkpoint of %s could not be kept; its answers are archived", stage)
                return False
            return True

    def stage_file(self, path: str) -> str:
        """The file of a stage. Its name is for people: "a/b" and "a-b" look alike there, so the content decides."""
        with self._lock:
            if path not in self._files:
                self._files[path] = self._find(path)
            return self._files[path]

    def other_inputs(self, path: str, labels: str, file: str) -> bool:
        """Whether this step was completed in this scope with another input, and with that one only."""
        with self._lock:
            if self._steps is None:
                self._steps = defaultdict(list)
                for entry in self._storage.list(f"{layout.STATE}/{layout.STEPS}/"):
                    name = entry.name.removeprefix(f"{layout.STATE}/")
                    self._steps[name[: name.rfind("-") + 1]].append(name)
            same = [name for name in self._steps.get(_step_prefix(path, labels), ()) if name not in self._found]
        return len(same) == 1 and same[0] != file

    def found(self, file: str) -> None:
        """A step's file of an earlier start is the one that is asked for: no other step has changed into it."""
        with self._lock:
            self._found.add(file)

    def _hurt(self, scrubbed: bytes, number: str, entry: Entry) -> bool:
        try:
            return bool(json.loads(scrubbed)["entries"][number]["state"] != entry.state)
        except (ValueError, KeyError):
            return True

    def _entries(self, file: str) -> dict[str, Fields]:
        data = self._hooks.state_load(self._session(), file)
        try:
            return dict(json.loads(data)["entries"]) if data else {}
        except (ValueError, KeyError, TypeError, RecursionError):
            log.warning("custody: %s is damaged and is made anew; no answer is lost by it", file)
            return {}

    def _find(self, path: str) -> str:
        names = [entry.name.rpartition("/")[2] for entry in self._storage.list(f"{layout.STATE}/stage_")]
        ending = f"_{path.replace('/', '-')}_complete.json"
        for name in names:
            number = name.removeprefix("stage_").removesuffix(ending)
            if name.endswith(ending) and number.isdigit() and self._of(name) in (self._redactor.text(path), None):
                return name
        taken = {*names, *self._files.values()}
        return f"stage_{len(taken) + 1}{ending}"

    def _of(self, file: str) -> str | None:
        """The stage that a file is of; None where it is damaged."""
        data = self._hooks.state_load(self._session(), file)
        try:
            return str(json.loads(data)["stage"]) if data else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def step_file(path: str, labels: str, inputs: str) -> str:
    """The file of a step in one scope with one input; digests are hexadecimal."""
    return f"{_step_prefix(path, labels)}{inputs[:16]}.json"


def _step_prefix(path: str, labels: str) -> str:
    return f"{layout.STEPS}/{path.replace('/', '-')}-{labels[:8]}-"
