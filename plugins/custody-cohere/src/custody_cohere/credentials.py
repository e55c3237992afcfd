"""A callable ``api_key`` is asked when a request is really sent, so that a replay needs none.

The SDK asks it for the headers of each attempt, inside the call.
"""

from __future__ import annotations

import functools
from typing import Any

from custody.plugin import Patch, defer


def _token(original: Any) -> Any:
    @functools.wraps(original)
    def _get_token(self: Any) -> Any:
        return original(self) if isinstance(self._token, str) else defer(lambda: original(self))

    return _get_token


PATCHES = (Patch("cohere.core.client_wrapper", "BaseClientWrapper._get_token", _token),)
