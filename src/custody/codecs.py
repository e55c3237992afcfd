"""How the values that a stage keeps are written as JSON and read back as what they were. Never pickle.

JSON's own values stay as they are. Everything else becomes ``{"$custody": <codec>, "value": <JSON>}``: tuples,
sets, bytes, times, decimals, enumerations, dataclasses, pydantic models (so the answers of most SDKs), and
whatever a ``Codec`` knows. A file can name a class, but never causes an import: a class is looked up in modules
that the program has imported itself.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from custody.errors import UsageError

TAG = "$custody"


class CannotKeep(UsageError):
    """A value that no codec can write."""


class CannotRestore(Exception):
    """A kept value whose codec or class is not there any more; its stage runs again."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Writes values of one kind.

    Attributes:
        name: stands in the file; a name that is never given to another form.
        matches: whether it writes this value. Called for every value that JSON does not know.
        encode: gives JSON values, or values that other codecs know.
        decode: what ``encode`` gave, back to an equal value.
    """

    name: str
    matches: Callable[[Any], bool]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_registered: list[Codec] = []


def register_codec(codec: Codec) -> None:
    """Keep values of one more kind, in this process. A later codec is asked before an earlier one.

    Raises UsageError where the name is one of custody's own.
    """
    if codec.name in _OWN:
        raise UsageError(f"the codec name {codec.name!r} is custody's own; take another one, as 'mylab.{codec.name}'")
    _registered[:] = [codec, *(known for known in _registered if known.name != codec.name)]


class Codecs:
    """The codecs of a session: those that were registered, those of plugins, custody's own."""

    def __init__(self, of_plugins: Iterable[Codec] = ()) -> None:
        self._of_plugins = tuple(codec for codec in of_plugins if codec.name not in _OWN)

    def encode(self, value: Any) -> Any:
        """JSON of ``value``. Raises CannotKeep."""
        return self._encode(value, "value", 0)

    def decode(self, value: Any) -> Any:
        """What ``encode`` was given. Raises CannotRestore."""
        if isinstance(value, list):
            return [self.decode(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if TAG not in value:
            return {key: self.decode(inner) for key, inner in value.items()}
        codec = self._named(str(value[TAG]))
        try:
            return codec.decode(self.decode(value["value"]))
        except CannotRestore:
            raise
        except Exception as error:
            raise CannotRestore(f"a value kept by codec {codec.name!r} cannot be restored: {error}") from error

    def _encode(self, value: Any, where: str, depth: int) -> Any:
        if depth > 200:
            raise CannotKeep(f"{where} is nested too deep, or contains itself")
        kind = type(value)
        if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
            return value
        if kind is list:
            return [self._encode(inner, f"{where}[{n}]", depth + 1) for n, inner in enumerate(value)]
        if kind is dict and TAG not in value and all(type(key) is str for key in value):
            return {key: self._encode(inner, f"{where}[{key!r}]", depth + 1) for key, inner in value.items()}
        codec = next(
            (codec for codec in (*_registered, *self._of_plugins, *_OWN.values()) if codec.matches(value)), None
        )
        if codec is None:
            raise CannotKeep(
                f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be written as JSON: keep plain "
                "values, dataclasses or pydantic models, or give a codec with custody.register_codec"
            )
        return {TAG: codec.name, "value": self._encode(codec.encode(value), where, depth + 1)}

    def _named(self, name: str) -> Codec:
        for codec in (*_registered, *self._of_plugins):
            if codec.name == name:
                return codec
        if name in _OWN:
            return _OWN[name]
        raise CannotRestore(f"no codec {name!r} is registered")


def _class_name(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        raise CannotKeep(
            f"the class {kind.__qualname__} is made inside a function and cannot be found again: move it out"
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, base: Callable[[Any], bool]) -> Any:
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not base(found):
        raise CannotRestore(f"the class {name} is not there any more, or has not been imported yet")
    return found


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _encode_model(value: BaseModel) -> Any:
    kind = type(value)
    name = _class_name(kind)
    for unset in (True, False):  # what was never set stays unset, as in an SDK's answers, unless that loses a default
        for alias in (True, False):
            text = value.model_dump_json(by_alias=alias, exclude_unset=unset, warnings=False)
            try:
                if kind.model_validate_json(text) == value:
                    return {"class": name, "fields": json.loads(text)}
            except ValueError:
                continue
    raise CannotKeep(f"a {name} is another one after it was written as JSON and read back: keep its fields instead")


def _decode_model(value: Any) -> Any:
    return _class(value["class"], _is_model).model_validate_json(json.dumps(value["fields"]))


def _encode_dataclass(value: Any) -> Any:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {"class": _class_name(type(value)), "fields": fields}


def _decode_dataclass(value: Any) -> Any:
    kind = _class(value["class"], dataclasses.is_dataclass)
    given = dict(value["fields"])
    late = {field.name: given.pop(field.name) for field in dataclasses.fields(kind) if not field.init}
    made = kind(**given)
    for name, inner in late.items():
        object.__setattr__(made, name, inner)
    return made


def _exactly(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


_OWN = {
    codec.name: codec
    for codec in (
        Codec("tuple", _exactly(tuple), list, tuple),
        Codec("set", _exactly(set), lambda v: sorted(v, key=repr), set),
        Codec("frozenset", _exactly(frozenset), lambda v: sorted(v, key=repr), frozenset),
        Codec("dict", _exactly(dict), lambda v: [[k, inner] for k, inner in v.items()], lambda v: dict(map(tuple, v))),
        Codec("float", _exactly(float), repr, float),
        Codec("bytes", _exactly(bytes), lambda v: base64.b64encode(v).decode("ascii"), base64.b64decode),
        Codec("datetime", _exactly(datetime), datetime.isoformat, datetime.fromisoformat),
        Codec("date", _exactly(date), date.isoformat, date.fromisoformat),
        Codec("time", _exactly(time), time.isoformat, time.fromisoformat),
        Codec(
            "timedelta",
            _exactly(timedelta),
            lambda v: [v.days, v.seconds, v.microseconds],
            lambda v: timedelta(v[0], v[1], v[2]),
        ),
        Codec("decimal", _exactly(Decimal), str, Decimal),
        Codec("uuid", _exactly(UUID), str, UUID),
        Codec("path", lambda v: isinstance(v, PurePath), lambda v: v.as_posix(), Path),
        Codec(
            "enum",
            lambda v: isinstance(v, enum.Enum),
            lambda v: {"class": _class_name(type(v)), "name": v.name},
            lambda v: _class(v["class"], lambda kind: issubclass(kind, enum.Enum))[v["name"]],
        ),
        Codec("pydantic", lambda v: isinstance(v, BaseModel), _encode_model, _decode_model),
        Codec(
            "dataclass",
            lambda v: dataclasses.is_dataclass(v) and not isinstance(v, type),
            _encode_dataclass,
            _decode_dataclass,
        ),
    )
}
