"""What else a function's work depends on: the constants, helpers and classes of the program that it reads by name.

A prompt at the top of a script is as much a part of a step as the step's own lines. Followed are the program's own
functions and classes, not those of installed packages and of Python; of values those that cannot change while the
program runs, and of others (lists, dicts) the expression at the top of their module that makes them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_FOREIGN = tuple(
    str(Path(each).resolve()) for name, each in sysconfig.get_paths().items() if name not in ("scripts", "data")
)
_MOST = 500  # functions and constants; a program that reads more of itself is not followed to its end

Found = tuple[str, Any]
"""The name under which something is read, and the function, class, value or expression behind it."""


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands behind partials, methods and wrappers."""
    while isinstance(function, functools.partial):
        function = function.func
    behind: Callable[..., Any] = inspect.unwrap(getattr(function, "__func__", function))
    return behind


def parsed(function: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    """The definition, without decorators and docstring; None where there is no source, or it is an expression."""
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return None
    node.decorator_list = []
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


def reads(function: Callable[..., Any]) -> list[Found]:
    """All of it, the function itself left out, by the order of names; helpers' own reads among it."""
    found: dict[tuple[str, str], Any] = {}
    seen: set[int] = {id(plain(function))}
    todo = [plain(function)]
    while todo and len(found) < _MOST:
        reader = todo.pop()
        module = str(getattr(reader, "__module__", ""))
        for name, value in _named(reader):
            kept = _kept(reader, name, value)
            if kept is None:
                continue
            found[(module, name)] = kept
            if callable(kept) and id(kept) not in seen:
                seen.add(id(kept))
                todo.append(kept)
    return [(name, found[module, name]) for module, name in sorted(found)]


def _named(reader: Callable[..., Any]) -> Iterator[Found]:
    """What the names in it mean: variables of its module and of the functions around it, and what its modules have."""
    names, dotted, written = _names(reader)
    around = _around(reader)
    for name in sorted(names - written):
        if name in around:
            yield name, around[name]
    for first, second in sorted(dotted):
        holder = around.get(first)
        if isinstance(holder, ModuleType) and _own(holder) and second in vars(holder):
            yield f"{first}.{second}", vars(holder)[second]


def _names(reader: Callable[..., Any]) -> tuple[set[str], set[tuple[str, str]], set[str]]:
    """Names, names with one after the dot, and those that it makes global and writes itself."""
    return _names_in(reader) if isinstance(reader, (FunctionType, type)) else (set(), set(), set())


@functools.lru_cache(maxsize=512)  # a plan asks for each of its items; the values are looked up each time
def _names_in(reader: Callable[..., Any]) -> tuple[set[str], set[tuple[str, str]], set[str]]:
    node = parsed(reader)
    if node is None:
        code = getattr(reader, "__code__", None)
        return (set(_of_code(code)), set(), set()) if isinstance(code, CodeType) else (set(), set(), set())
    names: set[str] = set()
    dotted: set[tuple[str, str]] = set()
    written: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
            names.add(each.id)
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            dotted.add((each.value.id, each.attr))
        elif isinstance(each, (ast.Global, ast.Nonlocal)):
            written.update(each.names)
    return names, dotted, written


def _of_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _of_code(inner)


def _around(reader: Callable[..., Any]) -> Mapping[str, Any]:
    module = sys.modules.get(str(getattr(reader, "__module__", "")))
    around = dict(getattr(reader, "__globals__", None) or (vars(module) if module is not None else {}))
    if isinstance(reader, FunctionType) and reader.__closure__:
        for name, cell in zip(reader.__code__.co_freevars, reader.__closure__, strict=True):
            try:
                around[name] = cell.cell_contents
            except ValueError:  # not yet assigned
                around.pop(name, None)
    return around


def _kept(reader: Callable[..., Any], name: str, value: Any) -> Any:
    """The function, class, or a description of the value; None where it says nothing, or nothing that lasts."""
    if isinstance(value, (FunctionType, functools.partial, type)) or inspect.ismethod(value):
        behind = plain(value)
        return behind if _own(sys.modules.get(str(getattr(behind, "__module__", "")))) else None
    made = None if "." in name else _expression(str(getattr(reader, "__module__", "")), name)
    literal = made is None or made[0]
    if _fixed(value) and (literal or not isinstance(value, float)):  # a float that is worked out may be the time
        return repr(value)
    return made[1] if made is not None else None


def _fixed(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(_fixed(each) for each in value) and not (isinstance(value, frozenset) and len(value) > 1)
    return value is None or isinstance(value, (str, bytes, bool, int, float, complex, re.Pattern))


def _own(module: ModuleType | None) -> bool:
    """Whether a module belongs to the program, and not to Python or an installed package."""
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:  # a notebook, a console; not what is built in
        return module.__name__ == "__main__"
    return _own_file(str(file)) and module.__name__.partition(".")[0] != "custody"


@functools.lru_cache(maxsize=1024)
def _own_file(file: str) -> bool:
    path = Path(file).resolve()
    return not str(path).startswith(_FOREIGN) and not {"site-packages", "dist-packages"} & set(path.parts)


def _expression(module: str, name: str) -> tuple[bool, str] | None:
    """How a variable is made at the top of its module: whether by a literal, and by which expressions."""
    made = _assignments(module).get(name)
    if made is None:
        return None
    return all(_is_literal(each) for each in made), "; ".join(ast.unparse(each) for each in made)


def _is_literal(node: ast.expr) -> bool:
    return not any(isinstance(each, (ast.Call, ast.Name, ast.Attribute, ast.Await)) for each in ast.walk(node))


@functools.lru_cache(maxsize=64)
def _assignments(module: str) -> Mapping[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return found
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and value is not None:
            for target in targets:
                for each in ast.walk(target) if target is not None else ():
                    if isinstance(each, ast.Name):
                        found.setdefault(each.id, []).append(value)
    return found
