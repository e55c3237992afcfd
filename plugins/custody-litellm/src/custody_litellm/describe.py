"""What a litellm call asks, as plain JSON: without credentials, and without what leaves the answer alone."""

from __future__ import annotations

import hashlib
import inspect
import math
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from custody_litellm.withheld import address, is_plain_query, is_withheld, without_secrets

# Names of arguments in the order in which litellm's functions take them.
_CHAT = "model", "messages"
_INPUT = "model", "input"
_POSITIONS: dict[str, tuple[str, ...]] = {
    "completion": _CHAT,
    "acompletion": _CHAT,
    "anthropic_messages": ("max_tokens", "messages", "model"),
    "text_completion": ("prompt", "model"),
    "atext_completion": ("prompt", "model"),
    "embedding": _INPUT,
    "aembedding": _INPUT,
    "responses": ("input", "model"),
    "aresponses": ("input", "model"),
    "image_generation": ("prompt", "model"),
    "aimage_generation": ("prompt", "model"),
    "transcription": ("model", "file"),
    "atranscription": ("model", "file"),
    "speech": ("model", "input", "voice"),
    "aspeech": ("model", "input", "voice"),
    "moderation": ("input", "model"),
    "amoderation": ("input", "model"),
    "rerank": ("model", "query", "documents"),
    "arerank": ("model", "query", "documents"),
    "ocr": ("model", "document"),
    "aocr": ("model", "document"),
    "Router.completion": _CHAT,
    "Router.acompletion": _CHAT,
    "Router.text_completion": ("model", "prompt"),
    "Router.atext_completion": ("model", "prompt"),
    "Router.embedding": _INPUT,
    "Router.aembedding": _INPUT,
    "Router.image_generation": ("prompt", "model"),
    "Router.aimage_generation": ("prompt", "model"),
    "Router.atranscription": ("file", "model"),
    "Router.aspeech": ("model", "input", "voice"),
    "Router.arerank": ("model",),
    "Router._generic_api_call_with_fallbacks": ("model", "original_function"),
    "Router._ageneric_api_call_with_fallbacks": ("model", "original_function"),
}

_OPERATIONS = {
    "completion": "chat",
    "acompletion": "chat",
    "anthropic_messages": "chat",
    "text_completion": "text_completion",
    "embedding": "embeddings",
    "responses": "responses",
    "image_generation": "image_generation",
    "transcription": "audio",
    "speech": "audio",
    "moderation": "moderation",
}

# Content of the call: kept word for word, whatever names are in it.
_CONTENT = frozenset(
    "messages input prompt tools functions tool_choice response_format query documents system instructions prediction "
    "text mock_response mock_tool_calls".split()
)

# Leaves the answer alone: how long to wait, how often to try, what to log, and objects of this process.
_ASIDE = frozenset(
    "timeout request_timeout stream_timeout num_retries max_retries retry_policy retry_strategy retry_after "
    "cooldown_time allowed_fails client shared_session http_client logger_fn verbose metadata "
    "litellm_metadata litellm_call_id litellm_trace_id litellm_session_id litellm_logging_obj litellm_params "
    "proxy_server_request callbacks success_callback failure_callback input_cost_per_token output_cost_per_token "
    "input_cost_per_second original_function attempt_function original_generic_function mock_delay acompletion "
    "aembedding max_parallel_requests no-log ttl rpm tpm weight order".split()
)
# Addresses, with or without a scheme; and queries by name.
_ADDRESSES = frozenset("api_base base_url aws_bedrock_runtime_endpoint".split())
_QUERIES = frozenset("extra_query default_query".split())
_DEEPEST = 60


def arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name; of a Router's method without the Router."""
    given = args[1:] if name.startswith("Router.") else args
    names = _POSITIONS.get(name, ())
    if len(given) > len(names):
        names = _parameters(name) or names
    return {**dict(zip(names, given, strict=False)), **kwargs}  # what has no name may be a credential: left out


def _parameters(name: str) -> tuple[str, ...]:
    """Names of a function's parameters, as the litellm that is running has them."""
    try:
        named = inspect.signature(operator.attrgetter(name)(sys.modules["litellm"])).parameters.values()
    except (KeyError, AttributeError, TypeError, ValueError):
        return ()
    taken = (one.name for one in named if one.kind is one.POSITIONAL_OR_KEYWORD)
    return tuple(one for one in taken if one != "self")


def describer(name: str) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    """``CallSeam.describe`` for one of litellm's functions."""

    def describe(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        given = arguments(name, args, kwargs)
        return {"call": f"litellm.{_called(name, args, kwargs)}", **_tags(given), **plain(given)}

    return describe


def _tags(given: Mapping[str, Any]) -> dict[str, Any]:
    """A Router with ``enable_tag_filtering`` chooses by them."""
    held = (given.get(name) for name in ("metadata", "litellm_metadata"))
    found = [one["tags"] for one in held if isinstance(one, Mapping) and one.get("tags")]
    return {"routing tags": json_of(found)} if found else {}


def operation(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What is asked for, in the words of ``Claim.operation``; the same for a function and its coroutine."""
    bare = _called(name, args, kwargs).removeprefix("Router.")
    return _OPERATIONS.get(bare) or _OPERATIONS.get(bare.removeprefix("a")) or bare.removeprefix("a")


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON: what is None is not said, what is secret is left out."""
    kept = {}
    for name, value in sorted(given.items(), key=lambda item: str(item[0])):
        if value is None or name in _ASIDE or is_withheld(str(name)):
            continue
        kept[str(name)] = json_of(value, secrets=True) if name in _CONTENT else _member(str(name), value, _DEEPEST)
    return kept


def json_of(value: Any, *, secrets: bool = False, depth: int = _DEEPEST) -> Any:
    """``value`` as JSON, stable from one process to the next; of what is no JSON, its kind or digest.

    ``secrets``: keep URLs, and values whose names look like those of secrets: they are the user's own words.
    """
    if isinstance(value, str):
        return value if secrets else without_secrets(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth <= 0:
        return {"type": type(value).__name__}
    if isinstance(value, (bytes, bytearray)):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        items = ((str(k), v) for k, v in value.items())
        if secrets and value.get("type") != "mcp":  # a tool that is a server: with its own headers and credentials
            return {k: json_of(v, secrets=True, depth=depth - 1) for k, v in items}
        return {k: _member(k, v, depth - 1) for k, v in items if not is_withheld(k)}
    if isinstance(value, (list, tuple)):
        return [json_of(v, secrets=secrets, depth=depth - 1) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(v) if secrets else without_secrets(str(v)) for v in value)
    if isinstance(value, type):
        schema = getattr(value, "model_json_schema", None)
        return schema() if callable(schema) else {"type": f"{value.__module__}.{value.__qualname__}"}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return json_of(dump(exclude_none=True), secrets=secrets, depth=depth - 1)
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}"}


def _member(name: str, value: Any, depth: int) -> Any:
    """``json_of`` for a value whose name says what it is."""
    if name in _ADDRESSES and isinstance(value, str):
        return address(value)
    if name in _QUERIES and isinstance(value, Mapping):
        value = {k: v if is_plain_query(str(k)) else "" for k, v in value.items()}
    return json_of(value, depth=depth)


def _called(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The function's own name; of the Router's generic methods, that of the function they stand for."""
    if "generic_api_call" not in name:
        return name
    target = arguments(name, args, kwargs).get("original_function")
    return f"Router.{getattr(target, '__name__', 'generic')}"
