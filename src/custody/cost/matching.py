"""Whether a rule of the price library means a model, or only matches its name.

The library's rules match by beginnings and parts of names, so that ``gemini-1.5-flash-8b`` gets the price of
``gemini-1.5-flash``. Here a rule has to name everything of the model but a date, a version or ``latest``.
"""

from __future__ import annotations

import re
from typing import Any

_SUFFIX = re.compile(
    r"(?:[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{3,4}|latest|preview|default|v\d+)(?=[-@:]|$)"
    r"|:\d+k?(?=:|$))*$"
)
_PREFIX = re.compile(r"((us|eu|apac|global|jp|au|ca|in|sa|us-gov)\.)?([a-z0-9]+\.)?$")


def means(clause: Any, name: str) -> bool:
    """Whether the library's clause names this model. Names are in lower case."""
    kind = type(clause).__name__
    if kind == "ClauseOr":
        return any(means(part, name) for part in clause.or_)
    if kind == "ClauseAnd":
        filters = [part for part in clause.and_ if type(part).__name__ == "ClauseRegex"]
        naming = [part for part in clause.and_ if type(part).__name__ != "ClauseRegex"]
        return (
            bool(naming)
            and all(means(part, name) for part in naming)
            and all(re.search(part.regex, name) for part in filters)
        )
    if kind == "ClauseEquals":
        return bool(name == clause.equals.lower())
    if kind == "ClauseRegex":
        found = re.search(clause.regex, name)
        return found is not None and found.start() == 0 and found.end() >= stem(name)
    return _by_part(kind, clause, name)


def _by_part(kind: str, clause: Any, name: str) -> bool:
    if kind == "ClauseStartsWith":
        text = clause.starts_with.lower()
        owned = text.startswith("ft:") or text.endswith(".ft-")  # what follows is the customer's
        return bool(name.startswith(text)) and (owned or len(text) >= stem(name))
    if kind == "ClauseEndsWith":
        text = clause.ends_with.lower()
        return bool(name.endswith(text)) and _PREFIX.match(name[: len(name) - len(text)]) is not None
    if kind == "ClauseContains":
        text = clause.contains.lower()
        at = name.find(text)
        return at >= 0 and _PREFIX.match(name[:at]) is not None and at + len(text) >= stem(name)
    return False


def stem(name: str) -> int:
    """Where in a model's name its dates and versions begin."""
    found = _SUFFIX.search(name)
    return found.start() if found else len(name)
