"""A defect of custody's own never breaks, loses or repeats the user's call: it is reported, loudly."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from custody.errors import CustodyError

log = logging.getLogger("custody")

F = TypeVar("F", bound=Callable[..., Any])


def isolated(method: F) -> F:
    """A method whose unexpected errors become None. What custody raises on purpose passes.

    The method's object has ``hooks``; under pytest (``hooks.raise_errors``) all errors pass.
    """

    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except CustodyError:
            raise
        except Exception as error:
            self = args[0]
            if self.hooks.raise_errors:
                raise
            self.damaged = True
            log.error(
                "custody: internal failure in %s (%s); the call itself goes on, but its record may be "
                "incomplete. Please report this",
                method.__qualname__,
                type(error).__name__,
                exc_info=True,
            )
            return None

    return guarded  # type: ignore[return-value]
