"""Digests of what a stage depends on: the source of its functions with what they read, and its inputs.

Two digests that are equal mean the same work; two that differ mean only that it may be another one, and that it
is done again: answers come from the archive, so that costs time and no money.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import hmac
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

from custody.codecs import Codecs
from custody.identity.key import canonical_json
from custody.research.reads import parsed, plain, reads


def of_inputs(secret: bytes, codecs: Codecs, inputs: Any) -> str:
    """A keyed digest of a value that can be kept, hexadecimal: a published one does not give away a short prompt.

    Raises CannotKeep.
    """
    text = canonical_json(codecs.encode(inputs)).encode("utf-8", "surrogatepass")
    return hmac.new(secret, b"inputs:" + text, hashlib.sha256).hexdigest()


def of_code(functions: Iterable[Callable[..., Any]]) -> str:
    """Of the functions' source, without comments, layout, docstrings and decorators, and of what they read by name."""
    digest = hashlib.sha256()
    for function in functions:
        digest.update(_source(function).encode("utf-8", "surrogatepass") + b"\0")
        for name, value in reads(function):
            said = f"{name}={_source(value) if callable(value) else value}"
            digest.update(said.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _source(function: Callable[..., Any]) -> str:
    function = plain(function)
    if isinstance(function, (FunctionType, type)):
        return _source_of(function)
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


@functools.lru_cache(maxsize=512)
def _source_of(function: Callable[..., Any]) -> str:
    node = parsed(function)
    if node is not None:
        return ast.unparse(node)
    # A lambda, or a function without source (typed into a console): its compiled form.
    code = getattr(function, "__code__", None)
    return _compiled(code) if isinstance(code, CodeType) else f"{function.__module__}.{function.__qualname__}"


def _compiled(code: CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
