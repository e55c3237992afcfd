"""Scopes: the labels under which calls are made.

They live in a context variable, so ``with`` blocks nest, tasks inherit them, and a generator that is
left early holds nothing open: a block that ends out of order, or in another context, is passed over
from then on.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from custody.errors import ScopeError
from custody.identity import Identity

Label = str | int | float | bool | None
Labels = Mapping[str, Label]


class Scope(NamedTuple):
    """What is in force at one place of the program.

    Attributes:
        labels: by name; ``stage`` is the path of the stages entered.
        used: where the innermost stage notes the answers that it used; None outside of stages.
        entered: where it notes the stages that were entered inside it.
    """

    labels: Labels
    used: list[Identity] | None = None
    entered: list[str] | None = None


class _Block:
    """A ``with`` block that was entered, and the one around it."""

    __slots__ = ("left", "outer", "scope")

    def __init__(self, scope: Scope, outer: _Block | None) -> None:
        self.scope, self.outer, self.left = scope, outer, False


_NOWHERE = Scope(MappingProxyType({}))
_current: ContextVar[_Block | None] = ContextVar("custody_scope", default=None)


def current() -> Scope:
    """The scope in force here."""
    block = _block()
    return block.scope if block is not None else _NOWHERE


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(labels: Labels) -> str:
    """The labels as one string: sorted, compact JSON; lone surrogates (of undecodable file names) escaped."""
    text = _encode(dict(labels))
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def digest(secret: bytes, labels: Labels) -> str:
    """The labels as an identity has them: an HMAC-SHA-256 under the session's key, hexadecimal."""
    return _digest(secret, canonical(labels))


@lru_cache(maxsize=256)
def _digest(secret: bytes, text: str) -> str:
    return hmac.digest(secret, b"scope:" + text.encode("utf-8", "surrogatepass"), "sha256").hex()


@contextmanager
def labelled(labels: Mapping[str, object]) -> Iterator[Scope]:
    """Add labels for a block; an inner label replaces an outer one of its name.

    Raises ScopeError for values that are not str, int, finite float, bool or None.
    """
    outer = current()
    with entered(outer._replace(labels={**outer.labels, **_checked(labels)})) as inside:
        yield inside


@contextmanager
def staged(name: str | None) -> Iterator[Scope]:
    """Enter a stage: its path is a label, and the answers used inside are noted. Without a name they are noted only."""
    outer = current()
    labels = dict(outer.labels)
    if name is not None:
        above = labels.get("stage")
        labels["stage"] = f"{above}/{name}" if above else name
    used: list[Identity] = []
    below: list[str] = []
    with entered(Scope(labels, used, below)) as inside:
        yield inside
    if outer.used is not None:
        outer.used.extend(used)  # whoever skips the outer stage skips this one too
    if outer.entered is not None:
        outer.entered.extend(below)


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Exactly this scope for a block."""
    block = _Block(scope._replace(labels=MappingProxyType(dict(scope.labels))), _block())
    token = _current.set(block)
    try:
        yield block.scope
    finally:
        block.left = _current.get() is not block
        if not block.left:
            try:
                _current.reset(token)
            except ValueError:  # in a copy of the context: the loop ends an abandoned asynchronous generator so
                block.left = True


def _block() -> _Block | None:
    block = _current.get()
    while block is not None and block.left:
        block = block.outer
    return block


def _checked(labels: Mapping[str, object]) -> dict[str, Label]:
    checked: dict[str, Label] = {}
    for name, value in labels.items():
        if name == "stage":
            raise ScopeError("the label 'stage' is set by session.stage(name); use another name here")
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            raise ScopeError(f"scope label {name}={value!r}: not a number that can be told from another")
        if isinstance(value, int) and value.bit_length() > 1024:
            raise ScopeError(f"scope label {name}: an integer of {value.bit_length()} bits; give a name or a digest")
        if type(value) not in (str, int, float, bool, type(None)):
            raise ScopeError(
                f"scope label {name}={type(value).__name__}(...): a label is a str, int, float, bool or None; "
                f"give for example {name}=str(...) or a name"
            )
        checked[name] = value  # type: ignore[assignment]
    return checked
