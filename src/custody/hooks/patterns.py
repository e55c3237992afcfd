"""Whether redaction patterns can be honoured: a secret that a plugin names and custody cannot mask is not written."""

from __future__ import annotations

import re
from typing import Any

from custody.hooks.results import WrongResult, a

_HEX = "0123456789abcdef9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"
_STAMP = "2026-01-15T10:20:30.123456Z"

# What custody itself writes, and needs to read again: a pattern that matches in it would tear the record apart.
_OWN = (
    f'{{"kind":"request","seq":17,"exchange":"20260115T102030-{_HEX[:8]}-000017.1",'
    f'"call":"20260115T102030-{_HEX[:8]}-000017","salt":"{_HEX[:32]}","time":"{_STAMP}","scope":{{"run":3}},'
    f'"scope_key":"{_HEX}","request_key":"{_HEX}","replicate":1,"operation":"chat","body":{{"text":"","base64":""}}}}\n'
    f'{{"kind":"call","seq":18,"session":"session_20260115_102030_{_HEX[:8]}","outcome":"success","success":true,'
    '"answers":true,"ending":"complete","status":200,"error":null,"run_number":3,"streamed":false,"source":"wire",'
    '"attempts":[],"model_forensics":{},"response_metadata":{},"usage":null,"evidence":{},"hook_failures":[]}\n'
    '{"event":"session_start","project":"","experiment":"","created":"","pid":4711,"crc32":"0badcafe"}\n'
).encode()


def checked(given: Any) -> list[tuple[str, str]]:
    """The pairs that ``redaction_patterns`` gave. Raises WrongResult."""
    if not isinstance(given, (list, tuple)):
        raise WrongResult(f"it gave {a(given)}, and should give a list of pairs")
    return [_pair(pair) for pair in given]


def _pair(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(type(part) is str for part in pair):
        raise WrongResult("one of its patterns is no pair of texts: a literal, and a regular expression")
    literal, pattern = pair
    try:
        must, found = literal.encode(), re.compile(pattern.encode(), re.DOTALL)
    except UnicodeEncodeError:
        raise WrongResult("one of its patterns cannot be written as UTF-8") from None
    except Exception as error:
        raise WrongResult(f"{pattern!r} is no regular expression: {error}") from None
    if any(not match[0] for text in (b"", must + _OWN) for match in found.finditer(text)):
        raise WrongResult(f"{pattern!r} matches the empty text, and so everywhere")
    if must in _OWN and found.search(_OWN):
        raise WrongResult(
            f"{pattern!r} matches what custody itself writes, such as names of fields, ids and digests: "
            "say more of what stands around the secret"
        )
    return literal, pattern
