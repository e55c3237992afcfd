"""Makes the answers: texts that never repeat, token counts, ids, instances of JSON schemas."""

from __future__ import annotations

import importlib
import json
import random
import re
import string
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.testing.simulator.store import Store

Json = dict[str, Any]

_WORDS = (
    "river stone window garden signal copper market winter ledger orbit lantern harbour thread meadow engine "
    "café naïve straße 日本 déjà façade 🙂 silver column bridge paper cloud number valley circle island"
).split()
_ALNUM = string.ascii_letters + string.digits
_DEEP = 6  # levels of nesting after which optional parts of a schema are left out
_FORMATS = {
    "date-time": "2024-05-06T07:08:09Z",
    "date": "2024-05-06",
    "time": "07:08:09Z",
    "duration": "P3D",
    "hostname": "host.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


@dataclass(frozen=True)
class Reply:
    """What a dialect answers: `body` when it is one document, else `frames`, the events of a stream in order.

    Without a `content-type` among `headers` a body is JSON and frames are server-sent events.
    """

    status: int = 200
    body: bytes = b""
    frames: list[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def compact(value: object) -> str:
    """JSON without white space, text beyond ASCII left as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event; `data` is a str taken as it is, or a value written as JSON."""
    text = data if isinstance(data, str) else compact(data)
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def key_of(headers: Mapping[str, str], *names: str) -> str:
    """The credential of a request: the first of the headers `names` that is there, else the bearer token, else ""."""
    bearer = headers.get("authorization", "").removeprefix("Bearer").strip()
    return next((headers[name] for name in names if headers.get(name)), bearer)


def object_of(body: bytes) -> Json | None:
    """A request body as a JSON object, {} when it is empty; None when it is anything else."""
    try:
        value = json.loads(body) if body else {}
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def fresh_id(prefix: str, length: int = 29, alphabet: str = _ALNUM) -> str:
    """A random id of `length` characters after the prefix (never seeded, so never repeated)."""
    return prefix + "".join(random.SystemRandom().choices(alphabet, k=length))


def tokens(value: object) -> int:
    """A plausible token count: one per four characters of the value as JSON or text, at least 1."""
    text = value if isinstance(value, str) else compact(value)
    return max(1, (len(text) + 3) // 4)


def pieces(text: str, count: int = 24) -> list[str]:
    """`text` cut into about `count` deltas, on words when there are enough of them."""
    words = re.findall(r"\s*\S+|\s+$", text)
    if len(words) < 12:
        size = max(4, -(-len(text) // count))
        return [text[i : i + size] for i in range(0, len(text), size)]
    size = -(-len(words) // count)
    return ["".join(words[i : i + size]) for i in range(0, len(words), size)]


class Answers:
    """The source of all answers of one simulator, with what the vendor keeps; safe to use from many threads."""

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._serial = 0
        self._given: list[str] = []
        self.store = Store()

    @property
    def given(self) -> list[str]:
        """Every text handed out so far: prose, JSON documents, and tool arguments (as JSON)."""
        with self._lock:
            return list(self._given)

    def clear(self) -> None:
        """Forget the given texts. Serials go on, so that no text is ever given twice."""
        with self._lock:
            self._given.clear()

    def _next(self) -> str:
        with self._lock:
            self._serial += 1
            return f"{self._serial:06d}"

    def text(self, limit: int | None = None) -> str:
        """A few sentences with a unique serial ("answer 000017"); only the serial when limit < 5 (tokens)."""
        serial = self._next()
        text = f"answer {serial}"
        if limit is None or limit >= 5:
            with self._lock:
                words = self._random.sample(_WORDS, 18)
            text = f"This is answer {serial}. " + " ".join(
                " ".join(words[i : i + 6]).capitalize() + "." for i in (0, 6, 12)
            )
        return self._note(text)

    def instance(self, schema: object) -> Any:
        """A value that is valid for a JSON schema; free strings in it carry the serial.

        Knows the part of JSON schema that vendors and pydantic use; `not`, `if` and `dependent*` are ignored.
        """
        value = _instance(schema, schema, self._next(), 0)
        self._note(compact(value))
        return value

    def document(self, schema: object) -> str:
        """`instance` as compact JSON text; an empty object when there is no schema."""
        return compact(self.instance({"type": "object"} if schema is None else schema))

    def _note(self, text: str) -> str:
        with self._lock:
            self._given.append(text)
        return text

    def id(self, prefix: str, length: int = 29, alphabet: str = _ALNUM) -> str:
        """`fresh_id`, for a dialect that has the answers at hand."""
        return fresh_id(prefix, length, alphabet)

    def hex(self, prefix: str, length: int = 32) -> str:
        """A fresh id in lower-case hex digits."""
        return self.id(prefix, length, "0123456789abcdef")

    def vector(self, size: int) -> list[float]:
        """A random direction of unit length."""
        with self._lock:
            values = [self._random.random() - 0.5 for _ in range(size)]
        norm = sum(v * v for v in values) ** 0.5 or 1.0
        return [v / norm for v in values]


def _resolve(schema: Json, root: object) -> Json:
    """`schema` with a local $ref followed and allOf merged in."""
    for _ in range(32):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            break
        target: Any = root
        for part in ref.lstrip("#").strip("/").split("/"):
            if part:
                target = target.get(part.replace("~1", "/").replace("~0", "~"), {})
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        schema = {**target, **rest} if isinstance(target, dict) else rest
    if "allOf" in schema:
        merged = {k: v for k, v in schema.items() if k != "allOf"}
        for part in schema["allOf"]:
            for key, value in _resolve(part, root).items():
                if key == "properties":
                    merged[key] = {**value, **merged.get(key, {})}
                elif key == "required":
                    merged[key] = [*merged.get(key, []), *value]
                else:
                    merged.setdefault(key, value)
        return merged
    return schema


def _instance(schema: object, root: object, serial: str, depth: int) -> Any:
    if not isinstance(schema, dict):
        return f"answer {serial}"
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][int(serial) % len(schema["enum"])]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            base = {k: v for k, v in schema.items() if k != key}
            options = [o for o in schema[key] if isinstance(o, dict)]
            null = [o for o in options if o.get("type") == "null"]
            other = [o for o in options if o not in null]
            chosen = (null or other[::-1]) if depth > _DEEP else (other or null)
            return _instance({**base, **_resolve(chosen[0], root)}, root, serial, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if depth > _DEEP and "null" in kind else next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    if kind == "object":
        return _object(schema, root, serial, depth)
    if kind == "array":
        return _array(schema, root, serial, depth)
    if kind in ("integer", "number"):
        return _number(schema, kind, int(serial))
    if kind == "boolean":
        return int(serial) % 2 == 0
    return None if kind == "null" else _string(schema, serial)


def _object(schema: Json, root: object, serial: str, depth: int) -> Json:
    required = schema.get("required", [])
    names: dict[str, object] = schema.get("properties", {})
    result = {
        name: _instance(part, root, serial, depth + 1)
        for name, part in names.items()
        if name in required or depth <= _DEEP
    }
    extra = schema.get("additionalProperties", True)
    missing = [name for name in required if name not in result]
    if isinstance(extra, dict) and not result and not missing and depth <= _DEEP:
        missing = ["key"]
    missing += [f"key{i}" for i in range(schema.get("minProperties", 0) - len(result) - len(missing))]
    for name in missing:
        result[name] = _instance(extra, root, serial, depth + 1)
    return result


def _array(schema: Json, root: object, serial: str, depth: int) -> list[Any]:
    first: list[object] = schema.get("prefixItems", [])
    least = max(schema.get("minItems", 0), len(first), 0 if depth > _DEEP else 1)
    count = min(least, schema.get("maxItems", least))
    items = schema.get("items", True)
    if items is False:
        count = min(count, len(first))
    return [  # a serial of its own for every element keeps uniqueItems; no answer is given such a serial
        _instance(first[i] if i < len(first) else items, root, f"{int(serial) + i * 10**6:06d}", depth + 1)
        for i in range(count)
    ]


def _number(schema: Json, kind: str, serial: int) -> int | float:
    step = schema.get("multipleOf") or (1 if kind == "integer" else 0.25)
    low: Any = schema.get("minimum")
    high: Any = schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is not None and high is not None:
        if kind == "number" and "multipleOf" not in schema:
            low, high = schema.get("exclusiveMinimum", low), schema.get("exclusiveMaximum", high)
            return float((low + high) / 2)
        low = -(-low // step) * step
        value: Any = low + step * (serial % (int((high - low) // step) + 1)) if high > low else low
        return int(value) if kind == "integer" else float(value)
    value = serial * step
    if low is not None:
        value += -(-low // step) * step
    if high is not None:
        value = (high // step) * step - value
    return int(value) if kind == "integer" else float(value)


def _string(schema: Json, serial: str) -> str:
    form = schema.get("format")
    if isinstance(pattern := schema.get("pattern"), str):
        return _matching(pattern)
    if form == "uuid":
        return str(uuid.uuid4())
    if form == "email":
        return f"answer{serial}@simulator.example"
    if form in ("uri", "url"):
        return f"https://simulator.example/answer/{serial}"
    if form in _FORMATS:
        return _FORMATS[form]
    text = f"answer {serial}".ljust(schema.get("minLength", 0), ".")
    return text if (most := schema.get("maxLength")) is None else text[max(0, len(text) - most) :]


def _matching(pattern: str) -> str:
    """A string that matches a regular expression; look-arounds are ignored, a negated class gives "~"."""
    parser = importlib.import_module("re._parser")

    def one(op: str, arg: Any) -> str:
        if op == "LITERAL":
            return chr(arg)
        if op == "ANY":
            return "a"
        if op == "IN":
            kind, first = str(arg[0][0]), arg[0][1]
            if kind == "NEGATE":
                return "~"
            return chr(first[0]) if kind == "RANGE" else one(kind, first)
        if op == "CATEGORY":
            name = str(arg)
            return {"CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_NOT_WORD": "~"}.get(name, "a")
        if op == "NOT_LITERAL":
            return "b" if chr(arg) == "a" else "a"
        if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return walk(arg[2]) * max(int(arg[0]), min(1, int(arg[1])))
        if op == "SUBPATTERN":
            return walk(arg[3])
        return walk(arg[1][0]) if op == "BRANCH" else ""

    def walk(tree: Any) -> str:
        return "".join(one(str(op), arg) for op, arg in tree)

    return walk(parser.parse(pattern))
