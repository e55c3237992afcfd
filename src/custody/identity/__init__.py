"""Identity: which answer belongs to which question, however often and in whatever order it is asked."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """What replay looks up.

    Attributes:
        scope: digest of the labels (``identity.scope.digest``): what is stored of them may have been masked.
        key: the request key, hexadecimal.
        replicate: 1 for the first call with this key in this scope.
    """

    scope: str
    key: str
    replicate: int
