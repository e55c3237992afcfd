"""What is worked out of names, of headers above all: there are few, and they come again with every call."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)
T = TypeVar("T")

_MOST = 1024  # whoever is at the other end may think of any number of names


class Remembered(dict[N, T], Generic[N, T]):
    """``of(name)`` for each name that is asked for, as ``remembered[name]``."""

    __slots__ = ("_of",)

    def __init__(self, of: Callable[[N], T]) -> None:
        self._of = of

    def __missing__(self, name: N) -> T:
        if len(self) >= _MOST:
            self.clear()
        value = self[name] = self._of(name)
        return value


lowered: Remembered[str, str] = Remembered(str.lower)
decoded: Remembered[bytes, str] = Remembered(lambda name: name.decode("latin-1"))
