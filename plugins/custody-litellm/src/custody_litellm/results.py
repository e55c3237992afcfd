"""What litellm returned without a request that could be seen: mocks, cache hits, and paths in compiled code.

A stream is not among them: its chunks are made while the program reads them. Those of a mock or of litellm's
cache cost nothing and are made again on replay; one of a lazy provider (Gemini) is requested when the program
reads it, which is a call seam of its own (``seams.py``).
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from custody.plugin import CallResult
from custody_litellm.describe import arguments, json_of, operation, plain
from custody_litellm.withheld import address

_MOCKS = "mock_response", "mock_tool_calls", "mock_timeout"
_HIDDEN = "model_id", "custom_llm_provider", "cache_hit", "cache_key", "response_cost", "api_base", "litellm_model_name"
_MODULES = "litellm.", "openai."
_BYTES = "bytes"


def resulter(name: str) -> Callable[[Sequence[Any], Mapping[str, Any], Any], CallResult | None]:
    """``CallSeam.result`` for one of litellm's functions."""

    def result(args: Sequence[Any], kwargs: Mapping[str, Any], value: Any) -> CallResult | None:
        response = document_of(value)
        if response is None:
            return None
        given = arguments(name, args, kwargs)
        router = args[0] if name.startswith("Router.") and args else None
        return CallResult(
            source=source_of(given, value, router),
            vendor=vendor_of(given, value),
            operation=operation(name, args, kwargs),
            request=plain(given),
            response=response,
        )

    return result


def rebuild(args: Sequence[Any], kwargs: Mapping[str, Any], document: Any) -> Any:
    """``CallSeam.rebuild``: the object of litellm's own class; None where that class is gone."""
    if not isinstance(document, Mapping):
        return None
    if document.get("class") == "dict":
        return document.get("value")
    made = _class(document.get("class"))
    value = document.get("value")
    if made is None or not isinstance(value, Mapping):
        return None
    rebuilt = made(**value)
    hidden = document.get("hidden")
    if isinstance(hidden, Mapping) and "api_base" in hidden:
        hidden = {**hidden, "api_base": _base(args, kwargs, hidden["api_base"])}
    held = getattr(rebuilt, "_hidden_params", None)
    if isinstance(hidden, Mapping) and isinstance(held, dict):
        held.update(hidden)
    elif isinstance(hidden, Mapping) and held is not None:
        for key, one in hidden.items():
            setattr(held, key, one)
    return rebuilt


def document_of(value: Any) -> dict[str, Any] | None:
    """A returned object as JSON with its class; None where it is a stream or nothing that could be rebuilt."""
    if isinstance(value, dict):
        return {"class": "dict", "value": json_of(value, secrets=True)}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    dump = getattr(value, "model_dump", None)
    if not callable(dump) or not kind.startswith(_MODULES):
        content = getattr(value, "content", None)  # speech: the bytes of an HTTP response
        if isinstance(content, bytes) and kind.startswith(_MODULES):
            return {"class": _BYTES, "base64": base64.b64encode(content).decode()}
        return None
    hidden = getattr(value, "_hidden_params", None)
    kept = {k: v for k in _HIDDEN if isinstance(v := _get(hidden, k), (str, int, float, bool))}
    if isinstance(base := kept.get("api_base"), str):
        kept["api_base"] = address(base)
    return {"class": kind, "value": json_of(dump(), secrets=True), "hidden": kept}


def source_of(given: Mapping[str, Any], value: Any, router: Any = None) -> Literal["mock", "cache", "unseen"]:
    """Who made the answer up. litellm marks what it takes from its cache; a mock is what the program asked for."""
    hidden = getattr(value, "_hidden_params", None)
    if _get(hidden, "cache_hit") is True:
        return "cache"
    if any(given.get(name) for name in _MOCKS):
        return "mock"
    for deployment in getattr(router, "model_list", None) or []:
        params, info = deployment.get("litellm_params") or {}, deployment.get("model_info") or {}
        if info.get("id") == _get(hidden, "model_id") and any(params.get(name) for name in _MOCKS):
            return "mock"
    return "unseen"


def vendor_of(given: Mapping[str, Any], value: Any) -> str:
    """As litellm names the provider: stated with the answer, else before the slash of the model's name."""
    stated = _get(getattr(value, "_hidden_params", None), "custom_llm_provider") or given.get("custom_llm_provider")
    if isinstance(stated, str) and stated:
        return stated
    model = given.get("model")
    return model.partition("/")[0] if isinstance(model, str) and "/" in model else "litellm"


def _base(args: Sequence[Any], kwargs: Mapping[str, Any], archived: Any) -> Any:
    """The address as the program gives it now, where it is the archived one but for what is not archived."""
    deployments = getattr(args[0], "model_list", None) if args else None
    given = [kwargs, *(one.get("litellm_params") for one in deployments or [] if isinstance(one, Mapping))]
    bases = [_get(one, name) for one in given for name in ("api_base", "base_url")]
    return next((base for base in bases if isinstance(base, str) and address(base) == archived), archived)


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _class(kind: Any) -> Any:
    if not isinstance(kind, str) or not kind.startswith(_MODULES):
        return None
    module, _, name = kind.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)  # the SDK is there: it is its call that is replayed
    except (ImportError, AttributeError):
        return None
