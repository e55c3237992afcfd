"""Digests of what a stage depends on: the source of its functions, and its inputs.

Two digests that are equal mean the same work; two that differ mean only that it may be another one, and that it
is done again: answers come from the archive, so that costs time and no money.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import hmac
import inspect
import textwrap
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any

from custody.codecs import Codecs
from custody.identity.key import canonical_json


def of_inputs(secret: bytes, codecs: Codecs, inputs: Any) -> str:
    """A keyed digest of a value that can be kept, hexadecimal: a published one does not give away a short prompt.

    Raises CannotKeep.
    """
    text = canonical_json(codecs.encode(inputs)).encode("utf-8", "surrogatepass")
    return hmac.new(secret, b"inputs:" + text, hashlib.sha256).hexdigest()


def of_code(functions: Iterable[Callable[..., Any]]) -> str:
    """Of the functions' own source, without comments, layout, docstrings and decorators."""
    digest = hashlib.sha256()
    for function in functions:
        digest.update(_source(function).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _source(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        node = tree.body[0]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            return ast.unparse(node)
    except (OSError, TypeError, SyntaxError, IndexError):
        pass
    # A lambda, or a function without source (typed into a console): its compiled form.
    code = getattr(function, "__code__", None)
    return _compiled(code) if isinstance(code, CodeType) else f"{function.__module__}.{function.__qualname__}"


def _compiled(code: CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
