"""Where litellm's own stream ends, its exchange ends.

litellm stops reading some vendors' streams (Anthropic's, without async) at the event that carries the stop
reason, one before the last, and leaves the response to the garbage collector. The call would stay open until
then, and after the session. So the response is let go of when litellm says that the stream is over.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import Any

from custody.plugin import Patch

_HELD = "response_iterator", "streaming_response"


def patches() -> tuple[Patch, ...]:
    """litellm's stream wrapper, where it ends."""
    return (Patch("litellm.litellm_core_utils.streaming_handler", "CustomStreamWrapper.__next__", _next),)


def _next(original: Any) -> Any:
    @functools.wraps(original)
    def next_chunk(self: Any) -> Any:
        try:
            return original(self)
        except StopIteration:
            _let_go(self)
            raise

    return next_chunk


def _let_go(wrapper: Any) -> None:
    """Close the generator that reads the response's lines, as the garbage collector would have done."""
    stream = getattr(wrapper, "completion_stream", None)
    for held in (stream, *(getattr(stream, name, None) for name in _HELD)):
        if inspect.isgenerator(held):
            with contextlib.suppress(Exception):  # how a response closes that was read to its end concerns nobody
                held.close()
