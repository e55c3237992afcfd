"""Enters stages and steps: what was completed before is known, what changed is said, what is skipped is accounted.

Entries are told apart by the stage's path, the labels around it, and their number among the same. The answers
that skipped work used stay used, so that no later call is given one of them.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from custody import layout
from custody.codecs import CannotKeep, CannotRestore, Codecs
from custody.identity import scope
from custody.pipeline.flow import Flow
from custody.research import checkpoints, fingerprint
from custody.research.checkpoints import Checkpoints, Entry

log = logging.getLogger("custody")

NOTHING = object()


@dataclass
class Stage:
    """One entry into a stage.

    Attributes:
        name: the stage's path ("analysis", "analysis/second").
        completed: an earlier start of the program has completed this entry, with the same inputs and code.
        state: what that one saved; None where it saved nothing.
        changed: why a completed entry runs again ("its code changed"); None where it does not.
    """

    name: str
    completed: bool = False
    state: Any = None
    changed: str | None = None
    _saved: Any = field(default=NOTHING, repr=False)

    def save(self, value: Any) -> None:
        """Keep a value with the checkpoint, which is written when the block ends without an exception.

        It is what ``state`` gives on resume: plain values, dataclasses, pydantic models, and what a codec knows.
        A value that cannot be kept is said to be, and its stage runs again on resume.
        """
        self._saved = self.state = value


@dataclass(frozen=True)
class Work:
    """What is entered.

    Attributes:
        name: added to the path of stages; None where only the answers are to be noted.
        label: as what a work without a name is kept.
        inputs: what it depends on; ``NOTHING`` where that is not said.
        code: functions whose source it depends on.
        begin: called with the path before anybody hears of it.
        by: what tells it from others of its path, besides the labels around it and its number.
    """

    name: str | None
    label: str = ""
    inputs: Any = NOTHING
    code: tuple[Callable[..., Any], ...] = ()
    by: Literal["number", "inputs", "labels"] = "number"
    begin: Callable[[str], None] | None = None


class Stages:
    """The stages of a session in this process. Thread-safe."""

    def __init__(self, flow: Flow, session: Callable[[], Mapping[str, Any]]) -> None:
        self._flow, self._session = flow, session
        self.codecs = Codecs(flow.hooks.state_codecs())
        self.checkpoints = Checkpoints(flow.storage, flow.hooks, flow.redactor, session)
        self._entered: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._told: set[str] = set()

    @contextmanager
    def stage(
        self,
        name: str,
        inputs: Any = NOTHING,
        code: Iterable[Callable[..., Any]] = (),
        begin: Callable[[str], None] | None = None,
    ) -> Iterator[Stage]:
        """A ``with`` block of the program."""
        layout.checked_name("stage", name)
        with self.enter(Work(name, inputs=inputs, code=tuple(code), begin=begin)) as stage:
            yield stage

    @contextmanager
    def enter(self, work: Work) -> Iterator[Stage]:
        """Raises CannotKeep where the inputs cannot be written down."""
        flow, hooks = self._flow, self._flow.hooks
        outer = scope.current()
        inputs = None if work.inputs is NOTHING else fingerprint.of_inputs(flow.secret, self.codecs, work.inputs)
        code = fingerprint.of_code(work.code) if work.code else None
        with scope.staged(work.name) as inside:
            path = str(inside.labels["stage"]) if work.name is not None else work.label
            around = {label: value for label, value in outer.labels.items() if label != "stage" or work.name is None}
            digest = scope.digest(flow.secret, around) if around or work.by != "number" else ""
            token = "|".join(
                part for part in (path, digest[:16], (inputs or "") if work.by == "inputs" else "") if part
            )
            number, key = self._number(token, digest, work)
            file = self._file(work, path, digest, inputs)
            before = self.checkpoints.load(file, key)
            stage = self._judge(path, before, inputs, code)
            if before is not None and work.by == "inputs":
                self.checkpoints.found(file)
            elif work.by == "inputs" and self.checkpoints.other_inputs(path, digest, file):
                stage.changed = "its inputs changed"
                self._tell(stage)
            said = {"changed": stage.changed} if stage.changed else {}
            if work.begin is not None:
                work.begin(path)
            if work.name is not None:
                flow.chronolog.event("stage_start", stage=path, entry=number, **said)
                hooks.stage_started(self._session(), path)
            yield stage
            used, entered = inside.used, inside.entered
            assert used is not None and entered is not None
            skipped = stage.completed and not used and not entered and stage._saved is NOTHING
            if skipped and before is not None:
                self._account(before, used, entered)
            else:
                made = self._entry(stage, before, scope.Scope({}, used, entered), inputs, code)
                if made is not None and made != before and self.checkpoints.save(file, path, key, made):
                    flow.chronolog.event("checkpoint", stage=path, entry=number)
            entered.append(token)
            if work.name is not None:
                flow.chronolog.event(
                    "stage_complete", stage=path, entry=number, **({"skipped": True} if skipped else {})
                )
                hooks.stage_completed(self._session(), path)

    def is_complete(self, label: str, labels: scope.Labels) -> bool:
        """Whether work that is known by its labels was completed before."""
        digest = scope.digest(self._flow.secret, labels)
        return self.checkpoints.load(checkpoints.step_file(label, digest, digest[8:]), "1") is not None

    def _number(self, token: str, digest: str, work: Work) -> tuple[int, str]:
        """Which entry this is, and its name in the file: by number alone where nothing else tells them apart."""
        with self._lock:
            self._entered[token] += 1
            number = self._entered[token]
        return number, str(number) if work.by != "number" or not digest else f"{digest[:16]}.{number}"

    def _file(self, work: Work, path: str, labels: str, inputs: str | None) -> str:
        if work.by == "number":
            return self.checkpoints.stage_file(path)
        return checkpoints.step_file(path, labels, labels[8:] if work.by == "labels" else inputs or "")

    def _judge(self, path: str, before: Entry | None, inputs: str | None, code: str | None) -> Stage:
        if before is None:
            return Stage(path)
        changed = None
        if inputs is not None and before.inputs is not None and inputs != before.inputs:
            changed = "its inputs changed"
        if code is not None and before.code is not None and code != before.code:
            changed = "its inputs and its code changed" if changed else "its code changed (or what it reads by name)"
        stage = Stage(path, completed=changed is None, changed=changed)
        if changed is None and before.has_state:
            try:
                stage.state = self.codecs.decode(before.state)
            except CannotRestore as error:
                stage = Stage(path, changed=f"what it kept cannot be read: {error}")
        self._tell(stage)
        return stage

    def _tell(self, stage: Stage) -> None:
        told = f"{stage.name}: {stage.changed}"
        if stage.changed and told not in self._told:
            self._told.add(told)
            log.warning(
                "custody: %s was completed before, but %s: it runs again; what it asks again is answered "
                "from the archive",
                stage.name,
                stage.changed,
            )

    def _account(self, before: Entry, used: list[Any], entered: list[str]) -> None:
        """What skipped work used stays used, and whoever skips the stage around it skips this, too."""
        for answer in before.answers:
            self._flow.replicates.consume(answer)
        used.extend(before.answers)
        with self._lock:
            self._entered.update(before.inner)
        for token, times in before.inner.items():
            entered.extend([token] * times)

    def _entry(
        self, stage: Stage, before: Entry | None, noted: scope.Scope, inputs: str | None, code: str | None
    ) -> Entry | None:
        saved = stage._saved is not NOTHING
        state, has_state = None, False
        if saved:
            try:
                state, has_state = self.codecs.encode(stage._saved), True
            except CannotKeep as error:
                log.warning("custody: %s keeps nothing and runs again on resume: %s", stage.name, error)
                return None
        elif stage.completed and before is not None:
            state, has_state = before.state, before.has_state
        assert noted.used is not None and noted.entered is not None
        return Entry(tuple(noted.used), dict(Counter(noted.entered)), code, inputs, state, has_state)
