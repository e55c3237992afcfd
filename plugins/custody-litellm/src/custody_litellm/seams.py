"""The calls of litellm: its functions, its Router, and the streams that it requests while they are read.

The requests of one call may go to several vendors (``mixed``), who claim them themselves. Where one of these
runs inside another, the outermost is the call. ``batch_completion`` is no seam: it is many calls.

A name that a program took before custody was there (``from litellm import completion``) is out of reach. The
requests of such a call still pass a method of litellm's HTTP clients, which then is the call: every attempt
one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from custody.plugin import CallSeam
from custody_litellm.describe import describer
from custody_litellm.results import rebuild, resulter
from custody_litellm.router import chooses_unseen

_SYNC = (
    "completion text_completion embedding responses image_generation transcription speech moderation rerank "
    "completion_with_retries"
).split()
_ASYNC = (
    "acompletion atext_completion aembedding aresponses aimage_generation atranscription aspeech amoderation "
    "arerank acompletion_with_retries anthropic_messages"
).split()

# Both the package and the module that defines: Router and others ask the package, retries the module.
_MAIN = frozenset(
    "completion acompletion text_completion atext_completion embedding aembedding transcription atranscription "
    "speech aspeech moderation amoderation completion_with_retries acompletion_with_retries".split()
)

_ROUTER_SYNC = "completion text_completion embedding image_generation _generic_api_call_with_fallbacks".split()
_ROUTER_ASYNC = (
    "acompletion atext_completion aembedding aimage_generation atranscription aspeech arerank "
    "_ageneric_api_call_with_fallbacks"
).split()

_STREAMS = "litellm.litellm_core_utils.streaming_handler"
_HTTP = "litellm.llms.custom_httpx.http_handler"

_BENEATH: tuple[tuple[str, str, Literal["sync", "async"]], ...] = (
    (_STREAMS, "CustomStreamWrapper.fetch_sync_stream", "sync"),
    (_STREAMS, "CustomStreamWrapper.fetch_stream", "async"),
    (_HTTP, "HTTPHandler.post", "sync"),
    (_HTTP, "AsyncHTTPHandler.post", "async"),
)


def seams() -> tuple[CallSeam, ...]:
    """All of them."""
    return tuple(_seams())


def _seams() -> Iterator[CallSeam]:
    for name in _SYNC:
        yield from _function(name, "sync")
    for name in _ASYNC:
        yield from _function(name, "async")
    if not chooses_unseen():
        for name in _ROUTER_SYNC:
            yield _seam("litellm.router", f"Router.{name}", "sync", keyed=True)
        for name in _ROUTER_ASYNC:
            yield _seam("litellm.router", f"Router.{name}", "async", keyed=True)
    for module, attribute, kind in _BENEATH:
        yield CallSeam(module, attribute, kind, client=(), mixed=True)


def _function(name: str, kind: Literal["sync", "async"]) -> Iterator[CallSeam]:
    if name in _MAIN:
        yield _seam("litellm.main", name, kind)
    yield _seam("litellm", name, kind)


def _seam(module: str, attribute: str, kind: Literal["sync", "async"], **more: Any) -> CallSeam:
    return CallSeam(
        module,
        attribute,
        kind,
        client=(),
        mixed=True,
        describe=describer(attribute),
        result=resulter(attribute),
        rebuild=rebuild,
        **more,
    )
