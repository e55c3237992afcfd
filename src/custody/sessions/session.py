"""What the program sees of a session: its stages and scopes. ``starting`` opens it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from custody.errors import UsageError
from custody.identity import scope
from custody.pipeline.flow import Flow
from custody.research import matrix as matrices
from custody.research import steps
from custody.research.matrix import Document
from custody.research.plan import Plan
from custody.research.queue import Queue
from custody.research.results import Results
from custody.research.stages import NOTHING, Stage, Stages
from custody.sessions import budgets, ends, workers
from custody.sessions.budgets import Budget
from custody.sessions.manifest import Manifest
from custody.storage import Storage
from custody.storage.folders import Folder

P = ParamSpec("P")
R = TypeVar("R")

_ENDING = 5.0  # seconds


@dataclass(repr=False)
class Session:
    """An open session. Use as a context manager; one at a time in a process.

    Attributes:
        id: ``session_YYYYMMDD_HHMMSS``.
        path: its folder: a ``pathlib.Path``, or a ``RemoteFolder`` where the root is a URL.
        resumed: it existed before.
        joined: it belongs to ``custody run``, which also ends it.
        beside: other workers were at work in it when this one began; what is common to all is theirs.
        documents: the corpus that was declared; None where none was.
    """

    manifest: Manifest
    path: Folder
    storage: Storage
    flow: Flow
    resumed: bool
    joined: bool
    report: dict[str, Any]
    budget: dict[str, dict[str, Any]]
    _on_close: Callable[[Session, str, dict[str, Any]], None]
    closed: bool = False
    ending: tuple[str, dict[str, Any]] | None = None
    _depth: int = 0
    documents: tuple[Document, ...] | None = None
    beside: bool = False
    _queue: Queue | None = None

    def __post_init__(self) -> None:
        self.stages = Stages(self.flow, lambda: self.record)

    def __repr__(self) -> str:
        """What a notebook shows."""
        state = "closed" if self.closed else "open"
        return (
            f"<custody session {self.id} of {self.manifest.project}/{self.manifest.experiment}, {state}: {self.path}>"
        )

    @property
    def id(self) -> str:
        return self.manifest.session

    def scope(self, **labels: object) -> AbstractContextManager[object]:
        """Label the calls of a block: ``with s.scope(corpus_file=doc.name, run=run):``.

        Raises ScopeError for values that are not plain, UsageError when the session is closed.
        """
        self._require_open()
        return scope.labelled(labels)

    def stage(
        self, name: str, *, inputs: Any = NOTHING, code: Iterable[Callable[..., Any]] = (), **budget: Unpack[Budget]
    ) -> AbstractContextManager[Stage]:
        """Enter a stage. On leaving without an exception it is completed and has a checkpoint.

        Python cannot skip a block, so a program does it itself where that is worth it::

            with s.stage("analysis") as stage:
                if not stage.completed:
                    stage.save(analyse(...))
            rows = stage.state

        The answers that skipped work used stay used, so that no later call is given one of them.

        Args:
            inputs: what the stage depends on (anything that can be kept); where it changed, ``completed`` is False.
            code: functions whose source it depends on.
            budget: of the stage, as ``custody.session`` takes it (``budget_usd``, ``budget_tokens``, ``max_calls``).

        Raises UsageError for a name or inputs that cannot be used, and when the session is closed.
        """
        self._require_open()
        limits = budgets.limits(**budget)
        begin = (lambda path: self.budget.update({path: limits})) if limits is not None else None
        return self.stages.stage(name, inputs, code, begin)

    @overload
    def step(
        self,
        function: Callable[P, R],
        /,
        *,
        name: str | None = None,
        labels: Iterable[str] = (),
        ignore: Iterable[str] = (),
        code: Iterable[Callable[..., Any]] = (),
    ) -> Callable[P, R]: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        labels: Iterable[str] = (),
        ignore: Iterable[str] = (),
        code: Iterable[Callable[..., Any]] = (),
    ) -> steps.Decorator: ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        labels: Iterable[str] = (),
        ignore: Iterable[str] = (),
        code: Iterable[Callable[..., Any]] = (),
    ) -> Any:
        """A function that is not called again where it was completed before; what it returned is given back.

        As a decorator, with or without options, or around a function: ``s.step(extract)(text)``. Coroutine
        functions too. A step is known by its name, the labels around it and its arguments, and runs again when its
        own source changed. Inside, its name is a stage.

        Args:
            name: of the step; the function's own by default.
            labels: names of arguments that become labels of the calls inside.
            ignore: names of arguments that say nothing of the result, as a client.
            code: further functions whose source it depends on.

        Raises UsageError for what cannot be a step; when it is called, for arguments that cannot be written down.
        """

        def stages() -> Stages:
            self._require_open()
            return self.stages

        def made(function: Callable[..., Any]) -> Callable[..., Any]:
            return steps.step(stages, function, name=name, labels=labels, ignore=ignore, code=code)

        return made if function is None else made(function)

    def plan(
        self,
        corpus: Any = None,
        *,
        runs: int | Iterable[int] = 1,
        conditions: Any = None,
        skip_complete: bool = False,
        progress: bool | None = None,
        agent: str | None = None,
    ) -> Plan:
        """The matrix of documents x conditions x runs, to be walked: ``for item in s.plan("corpus/*.txt", runs=6):``.

        In the body of the loop the item's labels are in force: ``corpus_file``, ``run`` and the conditions'. Also
        ``async for``, ``plan.map(function, workers=16)`` and ``await plan.amap(function, workers=16)``.

        Args:
            corpus: a pattern of files, paths, names, things with a ``name``, or a mapping of names to documents; by
                default the corpus that the session was given.
            runs: how many, numbered from 1; or their numbers.
            conditions: levels of one factor, or a mapping of factors to levels: plain values that become labels.
            skip_complete: leave out items that an earlier start of the program has completed.
            progress: False shows none.
            agent: how the chronolog calls who works on it; by default the stage.

        Raises UsageError for a corpus without documents, with a name twice, or what is none.
        """
        self._require_open()
        if corpus is None:
            if self.documents is None:
                raise UsageError("s.plan() needs a corpus: give it one, or give it to custody.session(corpus=...)")
            corpus = self.documents
        matrix = matrices.made(corpus, runs, conditions)
        queue = self._queue = self._queue or Queue(self.storage, self.flow.redactor, self.id)
        return Plan(
            matrix, self.stages, self.flow.chronolog, queue,
            skip_complete=skip_complete, progress=progress, agent=agent, order=workers.order(self.storage),
        )  # fmt: skip

    @property
    def results(self) -> Results:
        """Writes ``analysis_results/``: ``s.results.individual(item, row)``, ``.aggregated(name, rows)``, ``.final``.

        Raises UsageError when the session is closed.
        """
        self._require_open()
        return Results(self.path, self.storage, self.flow.redactor)

    @property
    def record(self) -> Mapping[str, Any]:
        """The session as hooks see it."""
        return {
            **self.manifest.model_dump(),
            "path": str(self.path),
            "resumed": self.resumed,
            "joined": self.joined or self.beside,
            "budget": self.budget,
            "storage": self.storage,
            "archive": self.flow.archive,
        }

    def __enter__(self) -> Self:
        self._require_open()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and not self.joined:
            clean = error is None or (isinstance(error, SystemExit) and not error.code)
            if isinstance(error, Exception):
                ends.crash(self, error)
            self.close("finished" if clean else "failed", error=type(error).__name__ if error else None)

    def _require_open(self) -> None:
        until = time.monotonic() + _ENDING
        while self.closed and self.flow.in_flight.holding and time.monotonic() < until:
            time.sleep(0.02)  # a signal ends the program at this moment, and this is no mistake of its
        if self.closed:
            raise UsageError(f"{self.id} is closed: use the session that custody.session(...) returned last")

    def close(self, outcome: str = "finished", **fields: Any) -> None:
        """Make everything durable and end the session, as finished or failed. Safe to call twice.

        Calls in flight in other threads get a bounded time (``CUSTODY_DRAIN_SECONDS``, 20) for their answers;
        of what is open then, a stream that nobody has read to its end for example, the archive keeps what came.
        On a running event loop nothing can be waited for: the end comes when its calls have their answers.
        """
        self._on_close(self, outcome, fields)
