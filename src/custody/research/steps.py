"""Functions that are skipped when they were completed before: ``@session.step``.

A step is known by its name, the labels around it and its arguments; it runs again when its own source changes.
What it returned is given back. Only what it returns is kept: a step should not change anything else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, ParamSpec, Protocol, TypeVar

from custody import layout
from custody.codecs import CannotKeep
from custody.errors import UsageError
from custody.identity import scope
from custody.research.stages import Stage, Stages, Work

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Makes a step of a function, and keeps its type."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


def step(
    stages: Callable[[], Stages],
    function: Callable[P, R],
    *,
    name: str | None = None,
    labels: Iterable[str] = (),
    ignore: Iterable[str] = (),
    code: Iterable[Callable[..., Any]] = (),
) -> Callable[P, R]:
    """The function as a step. Raises UsageError for what cannot be one.

    Args:
        stages: gives those of the session; asked at each call.
        name: of the step; the function's own by default.
        labels: arguments that become labels of the calls inside.
        ignore: arguments that say nothing of the result, as a client or a logger.
        code: further functions whose source the step depends on.
    """
    called = name or getattr(function, "__name__", "")
    if called == "<lambda>" or not called:
        raise UsageError("a step needs a name: s.step(name=...)")
    layout.checked_name("step", called)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"step {called} is a generator, which cannot be kept: let it return a list")
    signature = inspect.signature(function)
    parameters = set(signature.parameters)
    labels, ignore, code = tuple(labels), frozenset(ignore), (function, *code)
    unknown = sorted({*labels, *ignore} - parameters)
    if unknown:
        raise UsageError(f"step {called} has no argument {unknown[0]!r}; it has {', '.join(sorted(parameters))}")

    def enter(stack: ExitStack, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stage:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {key: value for key, value in bound.arguments.items() if key not in ignore}
        if labels:
            stack.enter_context(scope.labelled({key: bound.arguments[key] for key in labels}))
        try:
            return stack.enter_context(stages().enter(Work(called, inputs=given, code=code, by="inputs")))
        except CannotKeep as error:
            raise UsageError(
                f"step {called}: of its arguments, {str(error).removeprefix('value')}. An argument that says nothing "
                f"of the result is left out with s.step(ignore=(...))"
            ) from error

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with ExitStack() as stack:
                stage = enter(stack, args, kwargs)
                if not stage.completed:
                    stage.save(await function(*args, **kwargs))
                return stage.state

        return awaited  # type: ignore[return-value]

    @functools.wraps(function)
    def called_at_once(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            stage = enter(stack, args, kwargs)
            if not stage.completed:
                stage.save(function(*args, **kwargs))
            return stage.state  # type: ignore[no-any-return]

    return called_at_once
