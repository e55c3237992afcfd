"""What a call gave the program, as plain data: so that two runs of it can be compared."""

from __future__ import annotations

import hashlib
from typing import Any

from custody import redact

_HEADERS = ("headers", "HTTPHeaders")  # of google-genai's responses, and of boto3's


def of_value(value: Any, depth: int = 30) -> Any:
    """``value`` as JSON-able data with the names of its classes, bytes as digests."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    if depth == 0:
        return type(value).__name__
    if isinstance(value, dict):
        return {
            str(k): _kept(v) if k in _HEADERS and isinstance(v, dict) else of_value(v, depth - 1)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [of_value(v, depth - 1) for v in value]
    if hasattr(value, "model_dump"):
        return {"class": type(value).__name__, "value": of_value(value.model_dump(warnings=False), depth - 1)}
    kind = type(value)
    if hasattr(kind, "to_dict"):  # proto-plus and vertexai's wrappers of it
        converted = kind.to_dict(value) if hasattr(kind, "pb") else value.to_dict()
        return {"class": kind.__name__, "value": of_value(converted, depth - 1)}
    if hasattr(value, "__dict__"):
        public = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        return {"class": kind.__name__, "value": of_value(public, depth - 1)}
    return str(value)


def _kept(headers: dict[str, Any]) -> Any:
    """Headers as far as custody stores them: a replay has no others."""
    made = ("content-length", "transfer-encoding")
    pairs = tuple((str(k).lower(), str(v)) for k, v in headers.items())
    return sorted(pair for pair in redact.response_headers(pairs) if pair[0] not in made)


def of_error(error: BaseException) -> Any:
    """Class, message and body of what the SDK raised."""
    told = {
        "raised": f"{type(error).__module__}.{type(error).__qualname__}",
        "says": str(error),
        "body": of_value(getattr(error, "body", None)),
    }
    headers = getattr(error, "headers", None)
    if isinstance(headers, dict):  # Cohere's errors say all headers in their text
        told |= {"says": getattr(error, "status_code", None), "headers": _kept(headers)}
    return told
